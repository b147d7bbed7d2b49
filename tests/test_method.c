/* test_method.c -- what the stages of the methods are: one step under several names, known numbers,
 * budgets, and polynomials they must integrate exactly.  (Orders: test_solver_order.c.) */
#include "diffusion/method.h"
#include "tests/chain.h"

static const double mu = 0.7, c = 0.5;
static Truth gaussian(double x, double a, double s) {
  double x0 = mu + a * c * c * (x - a * mu) / (a * a * c * c + s * s);
  return (Truth){ x0, (x - a * x0) / s };
}

/* ---- one step -------------------------------------------------------------------------------- */

/* x' of a stage of one question in terms of x and x_0 */
typedef struct {
  double x, x0, noise;
} Step;
static Step step_of(const Stage *s) {
  return (Step){ s->base + s->out[0] * s->back.to_x, s->out[0] * s->back.to_out, s->noise };
}
static Step step_between(Arena *arena, const char *schedule, const char *method, double eta,
                         double t, double t1) {
  Oracle net = oracle(a_schedule(arena, schedule, 0), PREDICTS_VELOCITY, 1, gaussian);
  const SamplerSpec spec = { .method = method, .eta = eta, .steps = 1, .times = &t, .final = t1 };
  return step_of(&a_sampler(arena, &spec, &net.base)->stage[0]);
}
static bool same(Step a, Step b) {
  return near(a.x, b.x, 1e-12) && near(a.x0, b.x0, 1e-12) && near(a.noise, b.noise, 1e-12);
}

/* A x + B + sqrt(V) z for the Gaussian, from t = 0.6 to 0.5 */
static void one_step_has_the_known_numbers(void **state) {
  (void)state;
  static const char *const methods[] = { "ddpm", "ddim", "sde_dpmpp_1", "sde_dpmpp_2m" };
  Arena *arena = arena_new();
  for (int i = 0; i < 4; i++) {
    Step s = step_between(arena, "vp-sde", methods[i], i == 1, 0.6, 0.5);
    Level l = schedule_level(a_schedule(arena, "vp-sde", 0), 0.6);
    double rest = gaussian(0, l.a, l.s).x0, gain = gaussian(1, l.a, l.s).x0 - rest;
    assert_true(near(s.x + s.x0 * gain, 0.552372203, 1e-9));
    assert_true(near(s.x0 * rest, 0.134241670, 1e-9));
    assert_true(near(s.noise * s.noise, 0.632326434, 1e-9));
  }
  arena_free(arena);
}

/* what is one step under different names */
static void first_orders_coincide(void **state) {
  (void)state;
  static const char *const schedules[] = { "vp-sde", "sub-vp", "ve", "flow", "gvp", "edm" };
  static const char *const ddims[] = { "dpm_2m",   "dpm_3m", "dpmpp_2m",
                                       "dpmpp_3m", "unipc",  "unipc_bh1" };
  Arena *arena = arena_new();
  for (int i = 0; i < 6; i++)
    for (double t = 0.95; t > 0.1; t -= 0.17) {
      Step ddim = step_between(arena, schedules[i], "ddim", 0, t, 0.6 * t);
      for (int m = 0; m < 6; m++)
        assert_true(same(step_between(arena, schedules[i], ddims[m], 0, t, 0.6 * t), ddim));
      Step ddpm = step_between(arena, schedules[i], "ddpm", 0, t, 0.6 * t);
      assert_true(same(step_between(arena, schedules[i], "ddim", 1, t, 0.6 * t), ddpm));
      assert_true(same(step_between(arena, schedules[i], "sde_dpmpp_1", 0, t, 0.6 * t), ddpm));
    }
  arena_free(arena);
}

/* The ancestral predictor is the posterior: with the large variance where a^2 + s^2 = 1, with the
 * small one where a = 1. */
static void ancestral_is_the_posterior(void **state) {
  (void)state;
  static const char *const pairs[][2] = {
    { "vp-sde", "ddpm_large" }, { "gvp", "ddpm_large" }, { "ve", "ddpm" }, { "edm", "ddpm" }
  };
  Arena *arena = arena_new();
  for (int i = 0; i < 4; i++) {
    Oracle net = oracle(a_schedule(arena, pairs[i][0], 0), PREDICTS_VELOCITY, 1, gaussian);
    SamplerSpec spec = { .method = "ancestral", .steps = 6, .from = 0.9 };
    const Sampler *ancestral = a_sampler(arena, &spec, &net.base);
    spec.method = pairs[i][1];
    const Sampler *ddpm = a_sampler(arena, &spec, &net.base);
    for (int j = 0; j < 5; j++) /* the last step of the predictor is its mean */
      assert_true(same(step_of(&ancestral->stage[j]), step_of(&ddpm->stage[j])));
    assert_true(ancestral->stage[5].noise == 0);
  }
  arena_free(arena);
}

/* Euler on straight paths, and in sigma where a = 1, is DDIM. */
static void euler_is_ddim(void **state) {
  (void)state;
  static const char *const schedules[] = { "flow", "edm" };
  Arena *arena = arena_new();
  for (int i = 0; i < 2; i++)
    for (double t = 0.95; t > 0.1; t -= 0.17) {
      Step ddim = step_between(arena, schedules[i], "ddim", 0, t, 0.6 * t);
      assert_true(same(step_between(arena, schedules[i], "euler", 0, t, 0.6 * t), ddim));
      if (i == 0) assert_true(same(step_between(arena, "flow", "flow_sde", 0, t, 0.6 * t), ddim));
    }
  arena_free(arena);
}

/* To clean data, Heun of Karras et al. takes an Euler step, which is DDIM's. */
static void the_last_step_of_edm_is_ddim(void **state) {
  (void)state;
  Arena *arena = arena_new();
  Oracle net = oracle(a_schedule(arena, "cosine", 30), PREDICTS_X0, 1, gaussian);
  const Sampler *heun = a_sampler(arena, &(SamplerSpec){ .method = "edm_heun" }, &net.base);
  const Sampler *ddim = a_sampler(arena, &(SamplerSpec){ .method = "ddim" }, &net.base);
  assert_true(heun->stages == 59 && heun->evaluations == 59);
  assert_true(same(step_of(&heun->stage[58]), step_of(&ddim->stage[29])));
  arena_free(arena);
}

/* The levels of Karras et al., table 1, for 18 steps. */
static void edm_has_its_levels(void **state) {
  (void)state;
  static const double sigma[] = { 80,      57.58598, 40.78557, 28.37458, 19.35245, 12.91008,
                                  8.40094, 5.31519,  3.25682,  1.92334,  1.08817,  0.58535,
                                  0.29644, 0.13952,  0.05995,  0.02293,  0.00753,  0.002 };
  Arena *arena = arena_new();
  Oracle net = oracle(a_schedule(arena, "edm", 0), PREDICTS_EDM, 1, gaussian);
  const SamplerSpec spec = {
    .method = "edm_heun", .steps = 18, .spacing = "karras", .end = END_CLEAN
  };
  const Sampler *table = a_sampler(arena, &spec, &net.base);
  assert_true(table->evaluations == 35 && table->start == 80);
  for (int i = 0; i < 18; i++) assert_true(fabs(table->stage[2 * i].at.s - sigma[i]) < 5e-6);
  arena_free(arena);
}

/* churn: to sigma (1 + min(S/N, sqrt 2 - 1)) between the limits, and asked there */
static void churn_is_asked_where_it_arrives(void **state) {
  (void)state;
  Arena *arena = arena_new();
  Oracle net = oracle(a_schedule(arena, "edm", 0), PREDICTS_EDM, 1, gaussian);
  SamplerSpec spec = { .method = "edm_heun",
                       .steps = 18,
                       .spacing = "karras",
                       .end = END_CLEAN,
                       .churn = 40,
                       .churn_min = 0.05,
                       .churn_max = 50,
                       .churn_noise = 1.003 };
  const Sampler *table = a_sampler(arena, &spec, &net.base);
  int churned = 0;
  for (int i = 0; i < table->stages; i++) {
    const Stage *s = &table->stage[i];
    if (s->evaluates) continue;
    double sigma = s->at.s, hat = s[1].at.s, gamma = sqrt(2) - 1;
    assert_true(sigma >= 0.05 && sigma <= 50 && near(hat, sigma * (1 + gamma), 1e-12));
    assert_true(near(s->noise, 1.003 * sqrt(hat * hat - sigma * sigma), 1e-12) && s->base == 1);
    churned++;
  }
  assert_int_equal(churned, 13); /* of 18: 40.8 .. 0.0599 */
  arena_free(arena);
}

/* ---- budgets --------------------------------------------------------------------------------- */

/* M evaluations: for order 3, threes and an end of 2 1, 1 or 2 (M mod 3 = 0, 1, 2); for order 2,
 * twos and perhaps a 1.  Every step is that method's own. */
static void budgets_are_spent(void **state) {
  (void)state;
  for (int highest = 2; highest <= 3; highest++)
    for (int M = 1; M <= 40; M++) {
      int order[40], steps = method_budget(M, highest, order), sum = 0;
      int ends = highest == 2 ? M % 2 : M % 3 ? 1 : 2;
      for (int i = 0; i < steps; i++) {
        assert_true(order[i] == highest || i >= steps - ends);
        sum += order[i];
      }
      assert_int_equal(sum, M);
      assert_int_equal(steps, highest == 2 ? (M + 1) / 2 : M / 3 + 1);
      assert_int_equal(order[steps - 1], highest == 2 ? (M % 2 ? 1 : 2) : M % 3 == 2 ? 2 : 1);
    }
}

static void steps_of_a_budget_are_single_steps(void **state) {
  (void)state;
  static const char *const pairs[][4] = { { "dpm_fast", "ddim", "dpm_2s", "dpm_3s" },
                                          { "dpmpp_fast", "ddim", "dpmpp_2s", "dpmpp_3s" } };
  Arena *arena = arena_new();
  Oracle net = oracle(a_schedule(arena, "vp-sde", 0), PREDICTS_X0, 1, gaussian);
  for (int f = 0; f < 2; f++) {
    const SamplerSpec fast = { .method = pairs[f][0], .steps = 12, .spacing = "lambda" };
    const Sampler *table = a_sampler(arena, &fast, &net.base);
    assert_int_equal(table->evaluations, 12);
    static const int order[] = { 3, 3, 3, 2, 1 };
    for (int i = 0, at = 0; i < 5; at += order[i++]) {
      double t = table->stage[at].at.time;
      double t1 = i < 4 ? table->stage[at + order[i]].at.time : net.base.schedule->t_min;
      const SamplerSpec one = {
        .method = pairs[f][order[i]], .steps = 1, .times = &t, .final = t1
      };
      const Sampler *single = a_sampler(arena, &one, &net.base);
      assert_int_equal(single->stages, order[i]);
      for (int k = 0; k < order[i]; k++) {
        const Stage *a = &table->stage[at + k], *b = &single->stage[k];
        if (order[i] == 1) {
          assert_true(same(step_of(a), step_of(b)));
          continue;
        }
        assert_true(near(a->base, b->base, 1e-12) && a->rebase == b->rebase);
        for (int j = 0; j < 3; j++) assert_true(near(a->out[j], b->out[j], 1e-12));
      }
    }
  }
  arena_free(arena);
}

/* ---- polynomials ----------------------------------------------------------------------------- */

/* M = c0 + c1 lambda + c2 lambda^2, and the integral of e^(k lambda) M: by parts */
typedef double Poly[3];
static double poly(const Poly p, double l) { return p[0] + l * (p[1] + l * p[2]); }
static double poly_integral(const Poly p, double k, double from, double to) {
  double end[2];
  for (int i = 0; i < 2; i++) {
    double l = i ? to : from;
    end[i] =
        exp(k * l) * (poly(p, l) / k - (p[1] + 2 * p[2] * l) / (k * k) + 2 * p[2] / (k * k * k));
  }
  return end[1] - end[0];
}

/* the mean of the solution: data form (s'/s) x + s' I, noise form (a'/a) x - a' I, I the integral
 * of e^(+-lambda) M; the SDE in data form doubles it to 2 e^(2 lambda) and decays once more */
static double exact_step(bool data, bool sde, const Level *l, const Level *l1, const Poly p,
                         double x) {
  double f = l->lambda, t = l1->lambda;
  if (!data) return l1->a / l->a * x - (sde ? 2 : 1) * l1->a * poly_integral(p, -1, f, t);
  if (!sde) return l1->s / l->s * x + l1->s * poly_integral(p, 1, f, t);
  return l1->s / l->s * exp(f - t) * x + 2 * l1->a * exp(-2 * t) * poly_integral(p, 2, f, t);
}

/* the last of three steps, lambda -1, -.6, -.1 -> .7, from x = .3 */
typedef struct {
  Arena *arena;
  const Sampler *table;
  Level l, l1;
  double x; /* where it arrives */
} Last;
static Last last_step(const SamplerSpec *settings, const Poly p) {
  static const double lambda[] = { -1, -0.6, -0.1, 0.7 };
  Last last = { .arena = arena_new() };
  Schedule *s = a_schedule(last.arena, "vp-sde", 0);
  Oracle net = oracle(s, PREDICTS_X0, 1, gaussian);
  double times[4];
  for (int i = 0; i < 4; i++) times[i] = schedule_time(s, lambda[i]);
  SamplerSpec spec = *settings;
  spec.steps = 3, spec.times = times, spec.final = times[3];
  last.table = a_sampler(last.arena, &spec, &net.base);
  last.l = schedule_level(s, times[2]), last.l1 = schedule_level(s, times[3]);
  const Stage *stage = &last.table->stage[last.table->stages - 1];
  last.x = 0.3 * stage->base;
  for (int j = 0; j < 3; j++) last.x += stage->out[j] * poly(p, lambda[2 - j]);
  return last;
}

/* Solvers by k points integrate polynomials of degree k - 1 exactly.  With the second difference
 * halved, as published codes have it, 3M does not: 1.0918 instead of 1.2817. */
static void solvers_integrate_polynomials_exactly(void **state) {
  (void)state;
  static const Poly constant = { 1, 0, 0 }, linear = { 1, 2, 0 }, quadratic = { 1, 2, 3 };
  static const struct {
    SamplerSpec spec;
    const Poly *p;
    bool sde;
    double known; /* 0: not */
  } cases[] = {
    { { .method = "dpmpp_2m" }, &constant, false, 0 },
    { { .method = "dpmpp_2m", .taylor = true }, &linear, false, 0 },
    { { .method = "dpm_2m", .taylor = true }, &linear, false, 0 },
    { { .method = "dpmpp_3m" }, &quadratic, false, 1.281718322662 },
    { { .method = "dpm_3m" }, &quadratic, false, 0 },
    { { .method = "unipc", .order = 3 }, &quadratic, false, 1.281718322662 },
    { { .method = "unipc_bh1", .order = 3 }, &quadratic, false, 1.281718322662 },
    { { .method = "sde_dpmpp_1" }, &constant, true, 0 },
    { { .method = "sde_dpm_1" }, &constant, true, 0 },
    { { .method = "sde_dpmpp_2m", .taylor = true }, &linear, true, 0 },
    { { .method = "sde_dpm_2m", .taylor = true }, &linear, true, 0 },
    { { .method = "sde_dpmpp_3m" }, &quadratic, true, 0 },
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    Last last = last_step(&cases[i].spec, *cases[i].p);
    double expected =
        exact_step(last.table->data_form, cases[i].sde, &last.l, &last.l1, *cases[i].p, 0.3);
    if (!near(last.x, expected, 1e-12) ||
        (cases[i].known > 0 && !near(last.x, cases[i].known, 1e-12)))
      fail_msg("%s: %.15g, exact %.15g", cases[i].spec.method, last.x, expected);
    arena_free(last.arena);
  }
  Last halved = last_step(&(SamplerSpec){ .method = "dpmpp_3m", .compat = true }, quadratic);
  assert_true(near(halved.x, 1.091829378601, 1e-12));
  arena_free(halved.arena);
}

/* Both solve for the polynomial through the last three outputs. */
static void the_predictor_of_unipc_3_is_3m(void **state) {
  (void)state;
  static const Poly p = { 0 };
  Last unipc = last_step(&(SamplerSpec){ .method = "unipc" }, p);
  Last multi = last_step(&(SamplerSpec){ .method = "dpmpp_3m" }, p);
  const Stage *a = &unipc.table->stage[unipc.table->stages - 1], *b = &multi.table->stage[2];
  assert_true(near(a->base, b->base, 1e-12));
  for (int j = 0; j < 3; j++) assert_true(near(a->out[j], b->out[j], 1e-12));
  arena_free(unipc.arena), arena_free(multi.arena);
}

/* the lower orders at the end: 3 points, then 2, then 1, as at the beginning */
static void orders_fall_at_the_end_if_asked(void **state) {
  (void)state;
  static const int most[] = { 1, 2, 3, 3, 2, 1 };
  Arena *arena = arena_new();
  Oracle net = oracle(a_schedule(arena, "vp-sde", 0), PREDICTS_X0, 1, gaussian);
  const SamplerSpec spec = { .method = "dpmpp_3m", .steps = 6, .lower_final = true };
  const Sampler *table = a_sampler(arena, &spec, &net.base);
  for (int i = 0; i < 6; i++)
    for (int j = 0; j < 3; j++) assert_true((table->stage[i].out[j] != 0) == (j < most[i]));
  arena_free(arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(one_step_has_the_known_numbers),
    cmocka_unit_test(first_orders_coincide),
    cmocka_unit_test(ancestral_is_the_posterior),
    cmocka_unit_test(euler_is_ddim),
    cmocka_unit_test(the_last_step_of_edm_is_ddim),
    cmocka_unit_test(edm_has_its_levels),
    cmocka_unit_test(churn_is_asked_where_it_arrives),
    cmocka_unit_test(budgets_are_spent),
    cmocka_unit_test(steps_of_a_budget_are_single_steps),
    cmocka_unit_test(solvers_integrate_polynomials_exactly),
    cmocka_unit_test(the_predictor_of_unipc_3_is_3m),
    cmocka_unit_test(orders_fall_at_the_end_if_asked),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
