/* test_schedule.c -- schedules against 50-digit numbers, and the identities they must obey. */
#include "core/ops.h"
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
  Schedule *s = schedule_new(arena, name, steps, &error);
  if (!s) fail_msg("%s", error.text);
  return s;
}

static bool near(double value, double expected, double relative) {
  return fabs(value - expected) <= relative * fabs(expected);
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

/* ---- what every listed schedule obeys -------------------------------------------------------- */

/* times from early to late, away from the ends */
static double sample_time(const Schedule *s, int i, int count) {
  double u = (i + 0.5) / count;
  return s->steps ? u * (s->steps - 1) : s->t_min + u * (1 - s->t_min);
}

static void signal_falls_noise_grows_variance_is_kept(void **state) {
  (void)state;
  Arena *arena = arena_new();
  size_t count;
  const ScheduleDef *const *list = schedule_list(&count);
  for (size_t i = 0; i < count; i++) {
    const Schedule *s = schedule(arena, list[i]->name, 40);
    for (int j = 0; j < 200; j++) {
      double t = sample_time(s, j, 200), later = sample_time(s, j + 1, 200);
      double a = schedule_a(s, t), n = schedule_s(s, t);
      assert_true(near(a * a + n * n, 1, 1e-14));
      assert_true(near(schedule_lambda(s, t), log(a / n), 1e-9));
      if (j == 199) break;
      assert_true(schedule_a(s, later) < a && schedule_s(s, later) > n);
    }
  }
  arena_free(arena);
}

/* Between the integers ln a is linear; below 0 and beyond the end it stays. */
static void discrete_times_interpolate(void **state) {
  (void)state;
  Arena *arena = arena_new();
  const Schedule *s = schedule(arena, "cosine", 20);
  for (int n = 0; n < 19; n++) {
    double middle = (schedule_log_a(s, n) + schedule_log_a(s, n + 1)) / 2;
    assert_true(near(schedule_log_a(s, n + 0.5), middle, 1e-14));
    assert_true(near(schedule_log_a(s, n), 0.5 * s->log_abar[n], 1e-15));
  }
  assert_true(schedule_log_a(s, -1) == schedule_log_a(s, 0));
  assert_true(schedule_log_a(s, 100) == schedule_log_a(s, 19));
  arena_free(arena);
}

/* dx = f x dt + g dw keeps x_t = a x_0 + s eps: f = (ln a)', g^2 = (s^2)' - 2 f s^2, and for this
 * SDE f = -beta/2, g^2 = beta = b0 + t (b1 - b0). */
static void the_sde_has_the_drift_and_diffusion_of_its_name(void **state) {
  (void)state;
  Arena *arena = arena_new();
  const Schedule *s = schedule(arena, "vp-sde", 0);
  for (int i = 1; i < 10; i++) {
    double t = 0.1 * i, h = 1e-5, beta = s->b0 + t * (s->b1 - s->b0), v = schedule_s(s, t);
    double f = (schedule_log_a(s, t + h) - schedule_log_a(s, t - h)) / (2 * h);
    double up = schedule_s(s, t + h), down = schedule_s(s, t - h);
    double g2 = (up * up - down * down) / (2 * h) - 2 * f * v * v;
    double dlambda = (schedule_lambda(s, t + h) - schedule_lambda(s, t - h)) / (2 * h);
    assert_true(near(f, -beta / 2, 1e-8));
    assert_true(near(g2, beta, 1e-8));
    assert_true(near(-2 * v * v * dlambda, beta, 1e-8));
  }
  arena_free(arena);
}

static void time_is_the_inverse_of_lambda(void **state) {
  (void)state;
  Arena *arena = arena_new();
  const Schedule *s = schedule(arena, "vp-sde", 0);
  for (int i = 0; i <= 1000; i++) {
    double t = s->t_min + i * (1 - s->t_min) / 1000;
    assert_true(near(schedule_time(s, schedule_lambda(s, t)), t, 1e-12));
  }
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

static void an_unknown_name_gets_the_nearest(void **state) {
  (void)state;
  Arena *arena = arena_new();
  Error error;
  assert_null(schedule_new(arena, "cosin", 5, &error));
  assert_int_equal(error.kind, FAIL_USAGE);
  assert_non_null(strstr(error.text, "cosine"));
  arena_free(arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(discrete_schedules_are_exact),
    cmocka_unit_test(the_sde_is_exact),
    cmocka_unit_test(signal_falls_noise_grows_variance_is_kept),
    cmocka_unit_test(discrete_times_interpolate),
    cmocka_unit_test(the_sde_has_the_drift_and_diffusion_of_its_name),
    cmocka_unit_test(time_is_the_inverse_of_lambda),
    cmocka_unit_test(vp_ends_at_the_same_noise),
    cmocka_unit_test(posteriors_compose_to_the_marginals),
    cmocka_unit_test(marginals_are_columns_of_a_table),
    cmocka_unit_test(an_unknown_name_gets_the_nearest),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
