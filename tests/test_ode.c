/* test_ode.c -- embedded pairs: orders, the mixture's probability flow, samples on their own. */
#include "diffusion/ode.h"
#include "policy/nets/denoiser_mlp.h"
#include "tests/chain.h"
#include "tests/exact.h"
#include <stdlib.h>

enum { EXACT_REAL = sizeof(real) == 8 };

static Ode *an_ode(Arena *arena, const OdeSpec *spec, int rows, int n) {
  Error error;
  Ode *ode = ode_new(arena, spec, rows, n, &error);
  if (!ode) fail_msg("%s", error.text);
  return ode;
}
static Field *a_field(Arena *arena, const Denoiser *d, const Params *p, Prediction wanted,
                      Divergence divergence, int rows) {
  Error error;
  const FieldSpec spec = { a_graph(NULL, rows), wanted, divergence, 0, NULL };
  Field *field = field_new(arena, d, p, &spec, &error);
  if (!field) fail_msg("%s", error.text);
  return field;
}

/* ---- Dormand-Prince -------------------------------------------------------------------------- */

static void decay(void *user, int rows, const uint32_t *ids, const double *t, const double *y,
                  double *dy) {
  int *asked = user;
  (void)ids;
  for (int r = 0; r < rows; r++) dy[r] = -y[r] + sin(t[r]);
  if (asked) *asked += rows;
}
static double decay_exact(double t) { return 1.5 * exp(-t) + 0.5 * (sin(t) - cos(t)); } /* y(0)=1 */

/* y' = -y + sin t on [0, 2], N equal steps: golden errors, order 5 and a little more */
static void dormand_prince_is_of_order_five(void **state) {
  (void)state;
  const double golden[] = { 2.42e-8, 5.1e-10, 1.25e-11, 3.4e-13 };
  Arena *arena = arena_new();
  for (int i = 0; i < 4; i++) {
    int N = 10 << i;
    double y = 1;
    OdeResult result;
    Ode *ode = an_ode(arena, &(OdeSpec){ .steps = N }, 1, 1);
    ode_run(ode, decay, NULL, 1, 0, 2, &y, &result);
    double error = fabs(y - decay_exact(2));
    assert_true(fabs(error - golden[i]) < 0.03 * golden[i]);
    assert_int_equal(result.evaluations, 1 + 6 * N);
    assert_true(result.t == 2);
  }
  arena_free(arena);
}

/* There and back again, each way within a few tolerances; forward time as well as backward. */
static void control_keeps_the_tolerance_in_either_direction(void **state) {
  (void)state;
  Arena *arena = arena_new();
  for (double tol = 1e-4; tol > 1e-11; tol /= 100) {
    Ode *ode = an_ode(arena, &(OdeSpec){ .rtol = tol, .atol = tol }, 1, 1);
    double y = 1;
    OdeResult there, back;
    ode_run(ode, decay, NULL, 1, 0, 2, &y, &there);
    assert_true(fabs(y - decay_exact(2)) < 5 * tol);
    ode_run(ode, decay, NULL, 1, 2, 0, &y, &back);
    assert_true(fabs(y - 1) < 5 * exp(2) * tol); /* backwards, errors grow as e^t */
    assert_true(there.status == ODE_DONE && back.status == ODE_DONE && back.t == 0);
    assert_int_equal(there.evaluations, 1 + 6 * (there.accepted + there.rejected));
  }
  arena_free(arena);
}

/* ---- the probability flow of the mixture ----------------------------------------------------- */

enum { STARTS = 5 };
static const double start[STARTS] = { -1.3, -0.4, 0.15, 0.9, 1.7 };
/* at t = 1e-3 by 60000 steps of RK4, VP-SDE from t = 1 */
static const double vp_end[STARTS] = { -1.185190056, 0.416858763, 0.716873693, 0.958164613,
                                       1.180991159 };

typedef struct {
  double error;
  int fewest, most; /* evaluations of a sample */
} Run;

static Run flow_run(Arena *arena, const OdeSpec *spec, const Exact *mix, const double *end) {
  Prediction wanted = spec->schedule ? PREDICTS_EPS : PREDICTS_VELOCITY;
  Field *field = a_field(arena, &mix->base, NULL, wanted, DIVERGENCE_NONE, STARTS);
  Run run = { .fewest = 1 << 30 };
  OdeResult result[STARTS];
  double x[STARTS];
  Error error;
  memcpy(x, start, sizeof x);
  ode_flow(an_ode(arena, spec, STARTS, 1), field, STARTS, 1, 1e-3, x, result);
  if (!ode_arrived(result, STARTS, &error)) fail_msg("%s", error.text);
  for (int r = 0; r < STARTS; r++) {
    run.error = fmax(run.error, fabs(x[r] - end[r]));
    if (result[r].evaluations < run.fewest) run.fewest = result[r].evaluations;
    if (result[r].evaluations > run.most) run.most = result[r].evaluations;
  }
  return run;
}

/* the golden table: tolerance, greatest error, evaluations of a sample (1 + 6 an attempt) */
static void rk45_on_the_mixture_has_the_golden_errors_and_costs(void **state) {
  (void)state;
  static const struct {
    double tolerance, error;
    int fewest, most;
  } golden[] = { { 1e-3, 1.05e-2, 43, 49 }, { 1e-5, 5.5e-5, 73, 91 }, { 1e-7, 1.0e-6, 121, 163 } };
  Arena *arena = arena_new();
  const Schedule *s = a_schedule(arena, "vp-sde", 0);
  Exact mix = exact_mixture(s, 1);
  for (int i = 0; i < (EXACT_REAL ? 3 : 2); i++) {
    double tol = golden[i].tolerance;
    Run run = flow_run(arena, &(OdeSpec){ .rtol = tol, .atol = tol, .first = 1e-3 }, &mix, vp_end);
    /* in float, rounding moves the steps, and with them an error that luck has a part in */
    if (EXACT_REAL)
      assert_true(fabs(run.error - golden[i].error) < 0.03 * golden[i].error);
    else
      assert_true(run.error < 100 * tol);
    assert_true(abs(run.fewest - golden[i].fewest) <= (EXACT_REAL ? 0 : 12));
    assert_true(abs(run.most - golden[i].most) <= (EXACT_REAL ? 0 : 12));
  }
  arena_free(arena);
}

/* Straight paths, from pure noise at t = 1, where only a velocity still tells. */
static void the_flow_path_starts_where_there_is_no_signal(void **state) {
  (void)state;
  const double end[STARTS] = { -1.182916599, 0.418602331, 0.716904918, 0.957617466, 1.180000950 };
  const double tol = EXACT_REAL ? 1e-9 : 1e-5;
  Arena *arena = arena_new();
  Exact mix = exact_mixture(a_schedule(arena, "flow", 0), 1);
  mix.base.predicts = PREDICTS_VELOCITY;
  Run run = flow_run(arena, &(OdeSpec){ .rtol = tol, .atol = tol }, &mix, end);
  assert_true(run.error < (EXACT_REAL ? 2e-8 : 1e-3));
  arena_free(arena);
}

/* From noise to data and back: the flow is a bijection. */
static void the_flow_can_be_turned_round(void **state) {
  (void)state;
  Arena *arena = arena_new();
  double tol = EXACT_REAL ? 1e-9 : 1e-5, x[STARTS];
  Exact mix = exact_mixture(a_schedule(arena, "sub-vp", 0), 1);
  Field *field = a_field(arena, &mix.base, NULL, PREDICTS_VELOCITY, DIVERGENCE_NONE, STARTS);
  Ode *ode = an_ode(arena, &(OdeSpec){ .rtol = tol, .atol = tol }, STARTS, 1);
  OdeResult result[STARTS];
  memcpy(x, start, sizeof x);
  ode_flow(ode, field, STARTS, 1, 1e-3, x, result);
  ode_flow(ode, field, STARTS, 1e-3, 1, x, result);
  for (int r = 0; r < STARTS; r++) assert_true(fabs(x[r] - start[r]) < 2e4 * tol);
  arena_free(arena);
}

/* ---- DPM-Solver-12 and -23 ------------------------------------------------------------------- */

/* With equal steps in lambda they are single-step DPM-Solver-2 and -3: their golden errors. */
static void with_equal_steps_the_pairs_are_dpm_solver(void **state) {
  (void)state;
  static const struct {
    const char *method;
    int order;
    double error[3]; /* N = 20, 80, 320 */
  } golden[] = { { "dpm_12", 2, { 1.74e-2, 9.9e-4, 6.0e-5 } },
                 { "dpm_23", 3, { 1.67e-4, 2.6e-6, 4.9e-8 } } };
  Arena *arena = arena_new();
  const Schedule *s = a_schedule(arena, "vp-sde", 0);
  Exact mix = exact_mixture(s, 1);
  for (int i = 0; i < 2; i++)
    for (int j = 0; j < (EXACT_REAL ? 3 : 2 - i); j++) {
      int N = 20 << 2 * j;
      OdeSpec spec = { .method = golden[i].method, .schedule = s, .steps = N };
      Run run = flow_run(arena, &spec, &mix, vp_end);
      assert_true(fabs(run.error - golden[i].error[j]) < 0.03 * golden[i].error[j]);
      assert_int_equal(run.most, golden[i].order * N);
    }
  arena_free(arena);
}

/* The error follows the tolerance, and the price is what the lower formula's order k asks:
 * tol^(-1/k) more evaluations for a smaller tolerance. */
static void the_dpm_pairs_keep_their_tolerance(void **state) {
  (void)state;
  Arena *arena = arena_new();
  const Schedule *s = a_schedule(arena, "vp-sde", 0);
  Exact mix = exact_mixture(s, 1);
  for (int k = 2; k <= 3; k++) {
    int before = 0;
    for (double tol = 1e-2; tol > (EXACT_REAL ? 1e-6 : 1e-3); tol /= 10) {
      OdeSpec spec = { k == 2 ? "dpm_12" : "dpm_23", s, tol, tol, 0, 0, 0 };
      Run run = flow_run(arena, &spec, &mix, vp_end);
      assert_true(run.error < 2 * tol);
      if (before) assert_true(run.most < 1.6 * pow(10, 1.0 / k) * before);
      before = run.most;
    }
  }
  Run run = flow_run(arena, &(OdeSpec){ .method = "dpm_23", .schedule = s }, &mix, vp_end);
  assert_true(run.error < 0.05 && run.most <= 60); /* as published: 0.05 and 0.0078 */
  arena_free(arena);
}

/* ---- samples on their own -------------------------------------------------------------------- */

/* Alone or among others: the same bits and the same number of evaluations, with a real network. */
static void a_sample_does_not_see_the_others(void **state) {
  (void)state;
  enum { ROWS = 6, DIM = 3 };
  Arena *arena = arena_new();
  const Schedule *s = a_schedule(arena, "vp-sde", 0);
  Params *p = params_new(arena, "net");
  const Denoiser *d = mlp_denoiser_new(arena, p, s, PREDICTS_EPS, DIM, 0, 16);
  params_allocate(p), params_init(p, 5);
  const OdeSpec specs[] = { { .rtol = 1e-4, .atol = 1e-4 }, { .method = "dpm_23", .schedule = s } };
  bool unlike = false;
  for (int i = 0; i < 2; i++) {
    Prediction wanted = i ? PREDICTS_EPS : PREDICTS_VELOCITY;
    Field *field = a_field(arena, d, p, wanted, i ? DIVERGENCE_NONE : DIVERGENCE_EXACT, ROWS);
    int n = field_width(field);
    Ode *ode = an_ode(arena, &specs[i], ROWS, n);
    double all[ROWS * (DIM + 1)], one[DIM + 1];
    OdeResult results[ROWS], result;
    for (int j = 0; j < ROWS * n; j++) all[j] = sin(j) * (j / n + 0.5);
    ode_flow(ode, field, ROWS, 1, 1e-3, all, results);
    for (int r = 0; r < ROWS; r++) {
      for (int j = 0; j < n; j++) one[j] = sin(r * n + j) * (r + 0.5);
      ode_flow(ode, field, 1, 1, 1e-3, one, &result);
      assert_memory_equal(one, all + r * n, (size_t)n * sizeof *one);
      assert_int_equal(result.evaluations, results[r].evaluations);
      unlike = unlike || result.evaluations != results[0].evaluations;
    }
  }
  assert_true(unlike); /* they do choose steps of their own */
  arena_free(arena);
}

/* y' = l y with l of the sample: rows asked for are exactly the samples' own evaluations */
typedef struct {
  double rate[4];
  int rows;
} Rates;
static void rates(void *user, int rows, const uint32_t *ids, const double *t, const double *y,
                  double *dy) {
  Rates *all = user;
  (void)t;
  for (int r = 0; r < rows; r++) dy[r] = all->rate[ids[r]] * y[r];
  all->rows += rows;
}
static void samples_that_have_arrived_cost_nothing(void **state) {
  (void)state;
  Arena *arena = arena_new();
  Rates all = { { -0.1, 3, -40, 0 }, 0 };
  double y[4] = { 1, 1, 1, 1 };
  OdeResult result[4];
  ode_run(an_ode(arena, &(OdeSpec){ .rtol = 1e-8, .atol = 1e-10 }, 4, 1), rates, &all, 4, 0, 1, y,
          result);
  int sum = 0;
  for (int r = 0; r < 4; r++) {
    sum += result[r].evaluations;
    assert_true(near(y[r], exp(all.rate[r]), 1e-6));
  }
  assert_int_equal(all.rows, sum);
  assert_true(result[2].evaluations > 4 * result[3].evaluations);
  arena_free(arena);
}

/* ---- bad luck and bad settings --------------------------------------------------------------- */

/* sample 0: y' = y^2, whose solution ends at t = 1; 1: not a number past t = 0.5; 2: fine */
static void hopeless(void *user, int rows, const uint32_t *ids, const double *t, const double *y,
                     double *dy) {
  (void)user;
  for (int r = 0; r < rows; r++)
    dy[r] = ids[r] == 0 ? y[r] * y[r] : ids[r] == 1 && t[r] > 0.5 ? NAN : 1;
}
static void a_run_always_ends_and_says_how(void **state) {
  (void)state;
  Arena *arena = arena_new();
  Error error;
  double y[3] = { 1, 1, 1 };
  OdeResult result[3];
  ode_run(an_ode(arena, &(OdeSpec){ .steps = 0 }, 3, 1), hopeless, NULL, 3, 0, 2, y, result);
  assert_int_equal(result[0].status, ODE_UNDERFLOW);
  assert_true(near(result[0].t, 1, 1e-3));
  assert_int_equal(result[1].status, ODE_NOT_FINITE);
  assert_true(near(result[1].t, 0.5, 1e-9) && near(y[1], 1.5, 1e-9));
  assert_int_equal(result[2].status, ODE_DONE);
  assert_true(near(y[2], 3, 1e-12));
  assert_false(ode_arrived(result, 3, &error));
  assert_int_equal(error.kind, FAIL_DIVERGED);
  assert_non_null(strstr(error.text, "sample 0"));
  assert_true(ode_arrived(result + 2, 1, &error));

  double z = 1;
  ode_run(an_ode(arena, &(OdeSpec){ .most = 20 }, 1, 1), decay, NULL, 1, 0, 2, &z, result);
  assert_int_equal(result[0].status, ODE_LIMIT);
  assert_true(result[0].evaluations <= 20 && result[0].t < 2);
  arena_free(arena);
}

static void bad_settings_are_refused_with_a_sentence(void **state) {
  (void)state;
  static const struct {
    OdeSpec spec;
    const char *word;
  } bad[] = { { { .method = "dp4" }, "dp5" },      { { .method = "dpm_12" }, "schedule" },
              { { .rtol = -1 }, "tolerances" },    { { .rtol = NAN }, "tolerances" },
              { { .first = -0.1 }, "first step" }, { { .steps = -1 }, "steps" },
              { { .most = 3 }, "attempt" } };
  Arena *arena = arena_new();
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    Error error;
    assert_null(ode_new(arena, &bad[i].spec, 1, 1, &error));
    assert_int_equal(error.kind, FAIL_USAGE);
    if (!strstr(error.text, bad[i].word)) fail_msg("%s", error.text);
  }
  arena_free(arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(dormand_prince_is_of_order_five),
    cmocka_unit_test(control_keeps_the_tolerance_in_either_direction),
    cmocka_unit_test(rk45_on_the_mixture_has_the_golden_errors_and_costs),
    cmocka_unit_test(the_flow_path_starts_where_there_is_no_signal),
    cmocka_unit_test(the_flow_can_be_turned_round),
    cmocka_unit_test(with_equal_steps_the_pairs_are_dpm_solver),
    cmocka_unit_test(the_dpm_pairs_keep_their_tolerance),
    cmocka_unit_test(a_sample_does_not_see_the_others),
    cmocka_unit_test(samples_that_have_arrived_cost_nothing),
    cmocka_unit_test(a_run_always_ends_and_says_how),
    cmocka_unit_test(bad_settings_are_refused_with_a_sentence),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
