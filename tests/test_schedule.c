/* test_schedule.c -- schedules against 50-digit numbers, and the identities they must obey. */
#include "core/ops/ops.h"
#include "diffusion/schedule.h"
#include "tests/golden.h"
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static Schedule *schedule(Arena *arena, const char *name, int steps) {
  Error error;
  Schedule *s = schedule_new(arena, &(ScheduleSpec){ .name = name, .steps = steps }, &error);
  if (!s) fail_msg("%s", error.text);
  return s;
}

static double log_a(const Schedule *s, double t) { return log(schedule_a(s, t)); }

static bool near(double value, double expected, double relative) {
  return value == expected || fabs(value - expected) <= relative * fabs(expected);
}

/* ---- golden numbers -------------------------------------------------------------------------- */

static void discrete_schedules_are_exact(void **state) {
  (void)state;
  static const struct {
    const char *name;
    int steps;
  } cases[] = { { "vp", 5 },        { "vp", 10 },    { "vp", 50 },     { "linear", 100 },
                { "linear", 1000 }, { "cosine", 5 }, { "cosine", 20 }, { "cosine", 1000 } };
  Golden golden;
  golden_open(&golden, "tests/golden/schedules.safetensors");
  for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
    const Schedule *s = schedule(golden.arena, cases[c].name, cases[c].steps);
    static const char *const columns[] = { "beta", "abar", "c1", "c2", "variance" };
    const CheckpointTensor *column[5];
    for (int i = 0; i < 5; i++) {
      char name[64];
      snprintf(name, sizeof name, "%s_%d/%s", cases[c].name, cases[c].steps, columns[i]);
      column[i] = golden_tensor(&golden, name);
    }
    for (int n = 0; n < s->steps; n++) {
      Posterior q = schedule_posterior(s, n);
      const double value[] = { s->beta[n], exp(s->log_abar[n]), q.c0, q.c1, q.variance };
      for (int i = 0; i < 5; i++)
        if (!near(value[i], golden_at(column[i], (size_t)n), 1e-12))
          fail_msg("%s %s at %d of %d: %.17g, expected %.17g", s->def->name, columns[i], n,
                   s->steps, value[i], golden_at(column[i], (size_t)n));
    }
  }
  golden_close(&golden);
}

static void the_sde_is_exact(void **state) {
  (void)state;
  Golden golden;
  golden_open(&golden, "tests/golden/schedules.safetensors");
  const Schedule *s = schedule(golden.arena, "vp-sde", 0);
  for (size_t i = 0; i < 4; i++) {
    double t = golden_at(golden_tensor(&golden, "vp_sde/t"), i);
    assert_true(near(schedule_a(s, t), golden_at(golden_tensor(&golden, "vp_sde/a"), i), 1e-12));
    assert_true(near(schedule_s(s, t), golden_at(golden_tensor(&golden, "vp_sde/s"), i), 1e-12));
    double lambda = golden_at(golden_tensor(&golden, "vp_sde/lambda"), i);
    assert_true(near(schedule_lambda(s, t), lambda, 1e-12));
  }
  golden_close(&golden);
}

/* Table B of the literature: abar at these steps. */
static void published_numbers_are_met(void **state) {
  (void)state;
  static const struct {
    const char *name;
    int n;
    double abar, digits;
  } cases[] = { { "linear", 0, 0.9999, 1e-9 },
                { "linear", 249, 0.52408537, 1e-8 },
                { "linear", 499, 0.07858724, 1e-7 },
                { "linear", 749, 0.00335055, 2e-6 },
                { "linear", 999, 4.03582977e-5, 1e-8 },
                { "cosine", 0, 0.99995872, 1e-8 },
                { "cosine", 499, 0.49384359, 1e-8 },
                { "cosine", 998, 2.42876691e-6, 1e-8 },
                { "cosine", 999, 2.42876691e-9, 1e-8 },
                { "scaled-linear", 0, 0.99915, 1e-9 },
                { "scaled-linear", 499, 0.2776697, 1e-6 },
                { "scaled-linear", 999, 0.00466010, 1e-5 } };
  Arena *arena = arena_new();
  for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
    const Schedule *s = schedule(arena, cases[c].name, 1000);
    assert_true(near(exp(s->log_abar[cases[c].n]), cases[c].abar, cases[c].digits));
  }
  arena_free(arena);
}

/* diffusers' tables, with and without the last signal taken away (Lin et al. 2024, algorithm 1) */
static void tables_are_those_of_diffusers(void **state) {
  (void)state;
  static const char *const names[][2] = { { "linear", "linear" },
                                          { "scaled-linear", "scaled" },
                                          { "cosine", "cosine" } };
  Golden golden;
  golden_open(&golden, "tests/golden/diffusers.safetensors");
  for (int c = 0; c < 3; c++)
    for (int zero = 0; zero < 2; zero++) {
      Error error;
      const ScheduleSpec spec = { .name = names[c][0], .steps = 1000, .zero_snr = zero };
      const Schedule *s = schedule_new(golden.arena, &spec, &error);
      const char *kind = zero ? "zsnr_abar" : "abar";
      const CheckpointTensor *abar =
          golden_tensor(&golden, arena_text(golden.arena, "schedule/%s/%s", names[c][1], kind));
      for (int n = 0; n < 1000; n++) {
        double found = exp(s->log_abar[n]), expected = golden_at(abar, (size_t)n);
        if (!(fabs(found - expected) <= 1e-12 * expected + 1e-15))
          fail_msg("%s %s at %d: %.17g, diffusers %.17g", names[c][0], kind, n, found, expected);
      }
      if (zero) assert_true(schedule_a(s, 999) == 0 && schedule_s(s, 999) == 1);
    }
  golden_close(&golden);
}

/* ---- what every listed schedule obeys -------------------------------------------------------- */

/* every schedule, and every one that can be shifted or rescaled, that way too */
typedef void CheckSchedule(const Schedule *s);
static void every_schedule(CheckSchedule *check) {
  Arena *arena = arena_new();
  Error error;
  size_t count;
  const ScheduleDef *const *list = schedule_list(&count);
  for (size_t i = 0; i < count; i++) {
    const ScheduleSpec specs[] = { { .name = list[i]->name, .steps = 40 },
                                   { .name = list[i]->name, .steps = 40, .shift = 3 },
                                   { .name = list[i]->name, .steps = 40, .rescale = true },
                                   { .name = list[i]->name, .steps = 40, .zero_snr = true } };
    for (int j = 0; j < 4; j++) {
      const Schedule *s = schedule_new(arena, &specs[j], &error);
      if (s)
        check(s);
      else if (!j)
        fail_msg("%s", error.text);
    }
  }
  arena_free(arena);
}

/* times from early to late, away from the ends and from the corners of tables */
static double sample_time(const Schedule *s, int i, int count) {
  double u = (i + 0.5) / count;
  return s->steps ? floor(u * (s->steps - 2)) + 0.4 : s->t_min + u * (s->t_max - s->t_min);
}

static void check_levels(const Schedule *s) {
  double before = INFINITY;
  for (int j = 0; j < 30; j++) {
    Level l = schedule_level(s, sample_time(s, j, 30));
    if (s->def->preserves) assert_true(near(l.a * l.a + l.s * l.s, 1, 1e-14));
    assert_true(near(exp(l.lambda), l.a / l.s, 1e-12));
    assert_true(l.lambda < before);
    before = l.lambda;
  }
}
static void signal_to_noise_falls(void **state) {
  (void)state;
  every_schedule(check_levels);
}

/* a', s', f = (ln a)', g^2 = (s^2)' - 2 f s^2 = -2 s^2 lambda', each by central differences */
static void check_slopes(const Schedule *s) {
  for (int j = 0; j < 12; j++) {
    double t = sample_time(s, j, 12), h = 1e-5 * (s->steps ? 1 : t);
    Level l = schedule_level(s, t), up = schedule_level(s, t + h), down = schedule_level(s, t - h);
    double f = (log(up.a) - log(down.a)) / (2 * h);
    double g2 = (up.s * up.s - down.s * down.s) / (2 * h) - 2 * f * l.s * l.s;
    double by_lambda = -2 * l.s * l.s * (up.lambda - down.lambda) / (2 * h);
    double size = fabs(f) + fabs(l.ds) + 1;
    assert_true(fabs((up.a - down.a) / (2 * h) - l.da) < 1e-7 * size);
    assert_true(fabs((up.s - down.s) / (2 * h) - l.ds) < 1e-7 * size);
    assert_true(fabs(f - level_f(&l)) < 1e-7 * size);
    if (!(fabs(g2 - level_g2(&l)) < 1e-6 * size) || !(fabs(by_lambda - g2) < 1e-6 * size))
      fail_msg("%s at %g: g^2 %.12g, differences %.12g and %.12g", s->def->name, t, level_g2(&l),
               g2, by_lambda);
    assert_true(level_g2(&l) > 0);
  }
}
static void diffusions_are_those_of_the_marginals(void **state) {
  (void)state;
  every_schedule(check_slopes);
}

/* f and g^2 as they are published */
static void published_sdes_are_met(void **state) {
  (void)state;
  static const char *const names[] = { "vp-sde", "sub-vp", "ve", "flow", "gvp", "edm" };
  Arena *arena = arena_new();
  for (int i = 0; i < 6; i++)
    for (double t = 0.05; t < 1; t += 0.1) {
      const Schedule *s = schedule(arena, names[i], 0);
      Level l = schedule_level(s, t);
      double beta = s->low + t * (s->high - s->low), a4 = pow(l.a, 4),
             tangent = tan(acos(-1) / 2 * t);
      const double f[] = { -beta / 2, -beta / 2, 0, -1 / (1 - t), -acos(-1) / 2 * tangent, 0 };
      const double g2[] = { beta,
                            beta * (1 - a4),
                            2 * l.s * l.s * log(s->high / s->low),
                            2 * t / (1 - t),
                            acos(-1) * tangent,
                            2 * t };
      assert_true(near(level_f(&l), f[i], 1e-12) && near(level_g2(&l), g2[i], 1e-12));
    }
  arena_free(arena);
}

static void check_inverse(const Schedule *s) {
  for (int i = 0; i <= 60; i++) {
    double t = s->t_min + i * (s->t_max - s->t_min) / 60;
    Level l = schedule_level(s, t);
    if (isinf(l.lambda)) continue;
    double time = schedule_time(s, l.lambda);
    /* as well as lambda tells the time: its last digits, divided by its slope */
    double slope = l.da / l.a - l.ds / l.s, digits = 1e-14 * fmax(1, fabs(l.lambda)) / fabs(slope);
    if (!(fabs(time - t) <= 1e-12 * fmax(1, t) + 4 * digits))
      fail_msg("%s at %.17g: back %.17g", s->def->name, t, time);
    assert_true(fabs(schedule_lambda(s, time) - l.lambda) <= 1e-12 * fmax(1, fabs(l.lambda)));
  }
}
static void time_is_the_inverse_of_lambda(void **state) {
  (void)state;
  every_schedule(check_inverse);
}

/* Between the integers ln a is linear; below 0 and beyond the end it stays. */
static void discrete_times_interpolate(void **state) {
  (void)state;
  Arena *arena = arena_new();
  const Schedule *s = schedule(arena, "cosine", 20);
  for (int n = 0; n < 19; n++) {
    double middle = (log_a(s, n) + log_a(s, n + 1)) / 2;
    assert_true(near(log_a(s, n + 0.5), middle, 1e-14));
    assert_true(near(log_a(s, n), 0.5 * s->log_abar[n], 1e-15));
  }
  assert_true(log_a(s, -1) == log_a(s, 0));
  assert_true(log_a(s, 100) == log_a(s, 19));
  arena_free(arena);
}

/* x_{n+1} = keep x_n + sqrt(s'^2 - keep^2 s^2) z, from clean data: mean and variance after n steps
 * are those of the jump. */
static void check_jump(const Schedule *s) {
  if (!s->steps) return;
  double mean = 1, variance = 0, a = 1, v = 0;
  for (int n = 0; n < s->steps; n++) {
    Level l = schedule_level(s, n);
    double keep = l.a / a, added = l.s * l.s - keep * keep * v;
    assert_true(added > 0 && (!s->beta || near(added, s->beta[n], 1e-9)));
    mean *= keep, variance = keep * keep * variance + added;
    a = l.a, v = l.s * l.s;
    assert_true(fabs(mean - l.a) < 1e-12 && near(variance, v, 1e-12));
  }
}
static void the_chain_composed_is_the_jump(void **state) {
  (void)state;
  every_schedule(check_jump);
}

/* the density of .3 N(-1, .4^2) + .7 N(.8, .25^2) after a, s, and its score */
static double mixture(double x, const Level *l, double *score) {
  static const double w[] = { 0.3, 0.7 }, m[] = { -1, 0.8 }, c[] = { 0.4, 0.25 };
  double p = 0, slope = 0;
  for (int i = 0; i < 2; i++) {
    double v = l->a * l->a * c[i] * c[i] + l->s * l->s, d = x - l->a * m[i];
    double q = w[i] * exp(-0.5 * d * d / v) / sqrt(2 * acos(-1) * v);
    p += q, slope -= q * d / v;
  }
  *score = slope / p;
  return p;
}
/* dp/dt = -d/dx ((f x - g^2/2 score) p): Fokker and Planck, by differences */
static void check_fokker_planck(const Schedule *s) {
  if (s->steps) return;
  for (int i = 0; i < 5; i++) {
    double t = s->t_min + (i + 1) * 0.15 * (1 - s->t_min), h = 1e-4, score;
    Level l = schedule_level(s, t), up = schedule_level(s, t + h * t),
          down = schedule_level(s, t - h * t);
    for (double x = -1.6; x < 1.7; x += 0.4) {
      double dp = (mixture(x, &up, &score) - mixture(x, &down, &score)) / (2 * h * t), flow[2];
      for (int k = 0; k < 2; k++) {
        double y = x + (k ? -h : h), p = mixture(y, &l, &score);
        flow[k] = (level_f(&l) * y - 0.5 * level_g2(&l) * score) * p;
      }
      double divergence = (flow[0] - flow[1]) / (2 * h);
      if (!(fabs(dp + divergence) < 1e-5 * (1 + fabs(dp))))
        fail_msg("%s at %g: dp/dt %.9g, -div %.9g", s->def->name, t, dp, -divergence);
    }
  }
}
static void densities_obey_fokker_and_planck(void **state) {
  (void)state;
  every_schedule(check_fokker_planck);
}

/* N steps of linear betas from b0/N to b1/N are the VP-SDE as N grows, at rate 1/N. */
static void ddpm_tends_to_the_vp_sde(void **state) {
  (void)state;
  Arena *arena = arena_new();
  const Schedule *sde = schedule(arena, "vp-sde", 0);
  double error[2];
  for (int k = 0; k < 2; k++) {
    int N = 1000 << k;
    const ScheduleSpec spec = { .name = "linear", .steps = N, .rescale = true };
    Error why;
    const Schedule *s = schedule_new(arena, &spec, &why);
    assert_true(near(s->beta[0], 0.1 / N, 1e-12) && near(s->beta[N - 1], 20.0 / N, 1e-12));
    error[k] = 0;
    for (int n = 0; n < N; n += N / 10)
      error[k] = fmax(error[k], fabs(schedule_a(s, n) - schedule_a(sde, (n + 1.0) / N)));
  }
  assert_true(error[0] < 2e-3 && fabs(log2(error[0] / error[1]) - 1) < 0.05);
  arena_free(arena);
}

/* ---- outside conventions --------------------------------------------------------------------- */

/* The same level in every language: there and back, and to the level it names. */
static void conventions_translate(void **state) {
  (void)state;
  Arena *arena = arena_new();
  const Schedule *vp = schedule(arena, "vp-sde", 0), *flow = schedule(arena, "flow", 0);
  for (double t = 0.02; t < 1; t += 0.07) {
    Level l = schedule_level(vp, t), path = schedule_level(flow, t);
    const struct {
      const char *name;
      double value;
    } same[] = { { "lambda", l.lambda },
                 { "logsnr", 2 * l.lambda },
                 { "snr", l.a * l.a / l.s / l.s },
                 { "abar", l.a * l.a },
                 { "sigma", l.s / l.a },
                 { "flow", l.s / (l.a + l.s) },
                 { "flow-data", l.a / (l.a + l.s) } };
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
      assert_true(near(level_from(same[i].name, same[i].value), l.lambda, 1e-11));
      assert_true(near(level_to(same[i].name, l.lambda), same[i].value, 1e-12));
      assert_string_equal(level_convention(i), same[i].name);
    }
    assert_true(near(level_to("flow", path.lambda), t, 1e-12));
    assert_true(near(level_to("flow-data", path.lambda), 1 - t, 1e-11));
  }
  assert_true(isnan(level_from("snrr", 1)) && isnan(level_to("snrr", 1)));
  assert_null(level_convention(7));
  arena_free(arena);
}

/* abar of the VP schedule telescopes: exp(-5.05) at the end, whatever the number of steps. */
static void vp_ends_at_the_same_noise(void **state) {
  (void)state;
  Arena *arena = arena_new();
  for (int steps = 1; steps <= 1000; steps = 3 * steps + 1) {
    const Schedule *s = schedule(arena, "vp", steps);
    assert_true(near(s->log_abar[steps - 1], -5.05, 1e-12));
  }
  arena_free(arena);
}

/* q(x_{n-1} | x_n, x_0), averaged over q(x_n | x_0), is q(x_{n-1} | x_0). */
static void posteriors_compose_to_the_marginals(void **state) {
  (void)state;
  Arena *arena = arena_new();
  size_t count;
  const ScheduleDef *const *list = schedule_list(&count);
  for (size_t i = 0; i < count; i++) {
    if (!list[i]->discrete) continue;
    const Schedule *s = schedule(arena, list[i]->name, 30);
    for (int n = 1; n < 30; n++) {
      Posterior q = schedule_posterior(s, n);
      double a = schedule_a(s, n), v = schedule_s(s, n), v1 = schedule_s(s, n - 1);
      assert_true(near(q.c0 + q.c1 * a, schedule_a(s, n - 1), 1e-12));
      assert_true(near(q.c1 * q.c1 * v * v + q.variance, v1 * v1, 1e-12));
    }
    Posterior q = schedule_posterior(s, 0);
    assert_true(near(q.c0, 1, 1e-12) && q.c1 == 0 && q.variance == 0);
  }
  arena_free(arena);
}

/* ---- on the tape, and by name ---------------------------------------------------------------- */

static void marginals_are_columns_of_a_table(void **state) {
  (void)state;
  Arena *arena = arena_new();
  Error error;
  const Schedule *s = schedule(arena, "vp", 5);
  Graph *g =
      graph_new(arena, &(GraphSpec){ .kernels = kernels_find("own", &error), .max_rows = 1 });
  Tensor *m = t_marginal(s, t_table(g, (double[]){ 0, 1, 2, 3, 4 }, 5, 1));
  graph_keep(m);
  graph_seal(g);
  graph_run(g, 1, 0, NULL);
  for (int n = 0; n < 5; n++) {
    assert_true(graph_values(m)[n * 16] == (real)schedule_a(s, n));
    assert_true(graph_values(m)[n * 16 + 1] == (real)schedule_s(s, n));
    for (int j = 2; j < 16; j++) assert_true(graph_values(m)[n * 16 + j] == 0);
  }
  arena_free(arena);
}

static void somebody_elses_betas_are_a_schedule(void **state) {
  (void)state;
  Arena *arena = arena_new();
  Error error = { 0 };
  const Schedule *s = schedule(arena, "cosine", 30);
  const Schedule *copy = schedule_from_betas(arena, s->beta, 30, &error);
  for (int n = 0; n < 30; n++) assert_true(schedule_a(copy, n) == schedule_a(s, n));
  assert_null(schedule_from_betas(arena, (double[]){ 0.1, 0, 0.2 }, 3, &error));
  assert_int_equal(error.kind, FAIL_USAGE);
  assert_non_null(strstr(error.text, "beta[1] = 0"));
  arena_free(arena);
}

static void bad_settings_are_refused_with_a_sentence(void **state) {
  (void)state;
  static const struct {
    ScheduleSpec spec;
    const char *says;
  } cases[] = {
    { { .name = "cosin", .steps = 5 }, "did you mean cosine" },
    { { .name = "vp" }, "number of steps" },
    { { .name = "vp", .steps = -3 }, "number of steps" },
    { { .name = "cosine", .steps = 5, .rescale = true }, "no betas to rescale" },
    { { .name = "ncsn", .steps = 5, .zero_snr = true }, "zero terminal SNR" },
    { { .name = "vp-sde", .zero_snr = true }, "zero terminal SNR" },
    { { .name = "linear", .steps = 1, .zero_snr = true }, "two steps" },
    { { .name = "linear", .steps = 5, .shift = 3 }, "only continuous times shift" },
    { { .name = "flow", .shift = -3 }, "positive shift" },
    { { .name = "flow", .shift = NAN }, "positive shift" },
    { { .name = "edm", .shift = 3 }, "no unit of time" },
    { { .name = "flow", .low = 1, .high = 2 }, "no numbers to choose" },
    { { .name = "ve", .low = 50, .high = 0.01 }, "noise must grow" },
    { { .name = "vp-sde", .low = NAN, .high = 20 }, "noise must grow" },
    { { .name = "vp-sde", .low = 0.1, .high = INFINITY }, "noise must grow" },
    { { .name = "linear", .steps = 5, .low = 0.1, .high = 1.5 }, "between 0 and 1" },
    { { .name = "linear", .steps = 10, .rescale = true }, "between 0 and 1" },
  };
  Arena *arena = arena_new();
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    Error error = { 0 };
    if (schedule_new(arena, &cases[i].spec, &error)) fail_msg("case %zu: not refused", i);
    assert_int_equal(error.kind, FAIL_USAGE);
    if (!strstr(error.text, cases[i].says))
      fail_msg("case %zu says \"%s\", not \"%s\"", i, error.text, cases[i].says);
  }
  arena_free(arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(discrete_schedules_are_exact),
    cmocka_unit_test(the_sde_is_exact),
    cmocka_unit_test(published_numbers_are_met),
    cmocka_unit_test(tables_are_those_of_diffusers),
    cmocka_unit_test(signal_to_noise_falls),
    cmocka_unit_test(diffusions_are_those_of_the_marginals),
    cmocka_unit_test(published_sdes_are_met),
    cmocka_unit_test(time_is_the_inverse_of_lambda),
    cmocka_unit_test(discrete_times_interpolate),
    cmocka_unit_test(the_chain_composed_is_the_jump),
    cmocka_unit_test(densities_obey_fokker_and_planck),
    cmocka_unit_test(ddpm_tends_to_the_vp_sde),
    cmocka_unit_test(conventions_translate),
    cmocka_unit_test(vp_ends_at_the_same_noise),
    cmocka_unit_test(posteriors_compose_to_the_marginals),
    cmocka_unit_test(marginals_are_columns_of_a_table),
    cmocka_unit_test(somebody_elses_betas_are_a_schedule),
    cmocka_unit_test(bad_settings_are_refused_with_a_sentence),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
