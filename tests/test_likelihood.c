/* test_likelihood.c -- log-densities against the exact ones, and what probes estimate. */
#include "diffusion/bound.h"
#include "diffusion/likelihood.h"
#include "policy/nets/denoiser_mlp.h"
#include "tests/chain.h"
#include "tests/exact.h"

enum { EXACT_REAL = sizeof(real) == 8 };
static const double tolerance = EXACT_REAL ? 1e-9 : 1e-5, tight = EXACT_REAL ? 1e-6 : 2e-3;

static Likelihood *a_likelihood(Arena *arena, const Denoiser *d, const Params *p,
                                const LikelihoodSpec *spec, int rows) {
  Error error;
  LikelihoodSpec full = *spec;
  full.graph = a_graph(NULL, rows), full.stream = "probes";
  if (!full.ode.steps) full.ode.rtol = full.ode.atol = tolerance;
  Likelihood *l = likelihood_new(arena, d, p, &full, &error);
  if (!l) fail_msg("%s", error.text);
  return l;
}
static void run(Likelihood *l, const LikelihoodRows *who, const double *x, double *log_p) {
  Error error;
  if (!likelihood_run(l, who, x, log_p, NULL, NULL, &error)) fail_msg("%s", error.text);
}

/* ---- exact ----------------------------------------------------------------------------------- */

typedef struct {
  const Exact *exact;
  double t;
} Marginal;
static double marginal(void *user, const double *x, int dim) {
  const Marginal *m = user;
  Level l = schedule_level(m->exact->base.schedule, m->t);
  double sum = 0;
  for (int j = 0; j < dim; j++) sum += exact_log_p(m->exact, &l, x[j]);
  return sum;
}

/* the golden log-densities at t = 1e-3 of vp-sde: with the exact p_1, and with N(0, 1) for it,
 * which is off by a thousandth of a nat because a(1) = 0.0066 */
static void the_three_reference_densities_are_met(void **state) {
  (void)state;
  const double x[3] = { -1.2, 0.1, 0.9 }, truth[3] = { -1.33190570, -3.53581383, 0.02992212 };
  const double with_normal[3] = { -1.329639, -3.534927, 0.028718 };
  Arena *arena = arena_new();
  Exact mix = exact_mixture(a_schedule(arena, "vp-sde", 0), 1);
  Marginal end = { &mix, 1 };
  LikelihoodSpec spec = { .divergence = DIVERGENCE_EXACT, .prior = marginal, .user = &end };
  const LikelihoodRows who = { .rows = 3 };
  double log_p[3], biased[3];
  run(a_likelihood(arena, &mix.base, NULL, &spec, 3), &who, x, log_p);
  spec.prior = NULL;
  run(a_likelihood(arena, &mix.base, NULL, &spec, 3), &who, x, biased);
  Level first = schedule_level(mix.base.schedule, 1e-3);
  for (int r = 0; r < 3; r++) {
    assert_true(fabs(exact_log_p(&mix, &first, x[r]) - truth[r]) < 1e-8);
    assert_true(fabs(log_p[r] - truth[r]) < tight);
    assert_true(fabs(biased[r] - with_normal[r]) < tight);
    assert_true(fabs(biased[r] - truth[r]) > (EXACT_REAL ? 8e-4 : 0));
  }
  arena_free(arena);
}

/* Where the prior is what is really there, nothing is off: straight paths end in N(0, 1) itself. */
static void on_straight_paths_the_normal_prior_is_exact(void **state) {
  (void)state;
  const double x[4] = { -1.2, 0.1, 0.9, -0.7 };
  Arena *arena = arena_new();
  Exact mix = exact_mixture(a_schedule(arena, "flow", 0), 2);
  mix.base.predicts = PREDICTS_VELOCITY;
  const LikelihoodSpec spec = { .divergence = DIVERGENCE_EXACT };
  double log_p[2];
  run(a_likelihood(arena, &mix.base, NULL, &spec, 2), &(LikelihoodRows){ .rows = 2 }, x, log_p);
  Marginal first = { &mix, 1e-3 };
  for (int r = 0; r < 2; r++) assert_true(near(log_p[r], marginal(&first, x + 2 * r, 2), tight));
  arena_free(arena);
}

/* sigma up to 80: N(0, 80^2) is off by about m x / 80^2, and the exact prior by nothing */
static void where_the_signal_stays_the_prior_is_as_wide_as_the_noise(void **state) {
  (void)state;
  const double x[2] = { -1.2, 0.9 };
  Arena *arena = arena_new();
  Exact mix = exact_mixture(a_schedule(arena, "edm", 0), 1);
  Marginal first = { &mix, 0.002 }, last = { &mix, 80 };
  for (int exact = 0; exact < 2; exact++) {
    const LikelihoodSpec spec = { .divergence = DIVERGENCE_EXACT,
                                  .prior = exact ? marginal : NULL,
                                  .user = &last };
    double log_p[2];
    run(a_likelihood(arena, &mix.base, NULL, &spec, 2), &(LikelihoodRows){ .rows = 2 }, x, log_p);
    for (int r = 0; r < 2; r++)
      assert_true(near(log_p[r], marginal(&first, x + r, 1), exact ? tight : 1e-2));
  }
  arena_free(arena);
}

/* ---- probes ---------------------------------------------------------------------------------- */

static Denoiser *a_network(Arena *arena, Params **p) {
  *p = params_new(arena, "net");
  Denoiser *d = mlp_denoiser_new(arena, *p, a_schedule(arena, "vp-sde", 0), PREDICTS_EPS, 4, 0, 16);
  params_allocate(*p), params_init(*p, 5);
  return d;
}

/* E over all 2^4 signs of the estimate is the exact one, in steps that do not look at it */
static void the_mean_over_all_signs_is_exact(void **state) {
  (void)state;
  enum { DIM = 4, SIGNS = 16 };
  Arena *arena = arena_new();
  Params *p;
  const Denoiser *d = a_network(arena, &p);
  double x[SIGNS * DIM], probe[SIGNS * DIM], log_p[SIGNS], exact, sum = 0, furthest = 0;
  for (int r = 0; r < SIGNS; r++)
    for (int j = 0; j < DIM; j++)
      x[r * DIM + j] = 0.4 * j - 0.5, probe[r * DIM + j] = r >> j & 1 ? 1 : -1;
  LikelihoodSpec spec = { .divergence = DIVERGENCE_EXACT, .ode.steps = 20 };
  run(a_likelihood(arena, d, p, &spec, 1), &(LikelihoodRows){ .rows = 1 }, x, &exact);
  spec.divergence = DIVERGENCE_PROBE;
  const LikelihoodRows who = { .rows = SIGNS, .probe = probe };
  run(a_likelihood(arena, d, p, &spec, SIGNS), &who, x, log_p);
  for (int r = 0; r < SIGNS; r++)
    sum += log_p[r], furthest = fmax(furthest, fabs(log_p[r] - exact));
  assert_true(near(sum / SIGNS, exact, EXACT_REAL ? 1e-12 : 1e-5));
  assert_true(furthest > 1e-3);
  arena_free(arena);
}

/* Independent dimensions have a diagonal Jacobian, and e_j^2 = 1: signs are exact, normals not. */
static void signs_are_exact_for_independent_dimensions(void **state) {
  (void)state;
  enum { DIM = 20 }; /* more than an exact trace takes */
  Arena *arena = arena_new();
  Exact mix = exact_mixture(a_schedule(arena, "vp-sde", 0), DIM);
  Marginal first = { &mix, 1e-3 }, last = { &mix, 1 };
  double x[DIM], log_p;
  for (int j = 0; j < DIM; j++) x[j] = 0.9 * sin(j);
  for (int normal = 0; normal < 2; normal++) {
    LikelihoodSpec spec = { .divergence = DIVERGENCE_PROBE, .prior = marginal, .user = &last };
    spec.probe = normal ? PROBE_NORMAL : PROBE_SIGNS;
    run(a_likelihood(arena, &mix.base, NULL, &spec, 1), &(LikelihoodRows){ .rows = 1 }, x, &log_p);
    double error = fabs(log_p - marginal(&first, x, DIM));
    assert_true(normal ? error > 1e-2 : error < 10 * tight);
  }
  arena_free(arena);
}

/* A probe belongs to (step, row id): the same sample, elsewhere in another batch, is the same. */
static void a_sample_keeps_its_probe(void **state) {
  (void)state;
  enum { DIM = 4, ROWS = 3 };
  Arena *arena = arena_new();
  Params *p;
  const Denoiser *d = a_network(arena, &p);
  const LikelihoodSpec spec = { .divergence = DIVERGENCE_PROBE, .probe = PROBE_NORMAL };
  Likelihood *l = a_likelihood(arena, d, p, &spec, ROWS);
  double x[ROWS * DIM], all[ROWS], alone, other;
  const uint32_t ids[ROWS] = { 7, 2, 9 };
  for (int j = 0; j < ROWS * DIM; j++) x[j] = cos(j);
  run(l, &(LikelihoodRows){ .rows = ROWS, .step = 5, .row_ids = ids }, x, all);
  run(l, &(LikelihoodRows){ .rows = 1, .step = 5, .row_ids = ids + 2 }, x + 2 * DIM, &alone);
  run(l, &(LikelihoodRows){ .rows = 1, .step = 6, .row_ids = ids + 2 }, x + 2 * DIM, &other);
  assert_true(alone == all[2]);
  assert_true(other != all[2]);
  arena_free(arena);
}

/* ---- units and refusals ---------------------------------------------------------------------- */

/* Uniform data say nothing: 8 bits a dimension, on [0, 1] and on [-1, 1] alike. */
static void uniform_data_take_all_their_bits(void **state) {
  (void)state;
  assert_true(near(bits_per_dim(0, 12, 1.0 / 256), 8, 1e-15));
  assert_true(near(bits_per_dim(12 * log(2), 12, 2.0 / 256), 8, 1e-14));
  assert_true(near(bits_per_dim(3, 1, 2.0 / 256), 3 / log(2) + 7, 1e-15));
}

static void bad_settings_are_refused_with_a_sentence(void **state) {
  (void)state;
  Arena *arena = arena_new();
  Exact mix = exact_mixture(a_schedule(arena, "flow", 0), 1);
  const GraphSpec graph = a_graph(NULL, 1);
  const struct {
    LikelihoodSpec spec;
    const char *word;
  } bad[] = { { { .graph = graph }, "divergence" },
              { { .graph = graph, .divergence = DIVERGENCE_PROBE }, "stream" },
              { { .graph = graph, .divergence = DIVERGENCE_EXACT, .ode.method = "dpm_12" }, "dp5" },
              { { .graph = graph, .divergence = DIVERGENCE_EXACT, .from = 0.5, .to = 0.2 }, "0.5" },
              /* eps alone at the end of a straight path, where there is no signal */
              { { .graph = graph, .divergence = DIVERGENCE_EXACT }, "velocity" },
              { { .graph = graph, .divergence = DIVERGENCE_EXACT, .to = 0.9, .ode.rtol = -1 },
                "tolerances" } };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    Error error = { .text = "" };
    assert_null(likelihood_new(arena, &mix.base, NULL, &bad[i].spec, &error));
    assert_int_equal(error.kind, FAIL_USAGE);
    if (!strstr(error.text, bad[i].word)) fail_msg("%s", error.text);
  }
  arena_free(arena);
}

static void a_path_that_does_not_arrive_is_no_density(void **state) {
  (void)state;
  Arena *arena = arena_new();
  Exact mix = exact_mixture(a_schedule(arena, "vp-sde", 0), 1);
  const LikelihoodSpec spec = { .divergence = DIVERGENCE_EXACT, .ode.most = 13 };
  Likelihood *l = a_likelihood(arena, &mix.base, NULL, &spec, 1);
  double x = 0.1, log_p = 0;
  OdeResult result;
  Error error;
  assert_false(
      likelihood_run(l, &(LikelihoodRows){ .rows = 1 }, &x, &log_p, NULL, &result, &error));
  assert_int_equal(error.kind, FAIL_DIVERGED);
  assert_true(isnan(log_p) && result.status == ODE_LIMIT);
  arena_free(arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_three_reference_densities_are_met),
    cmocka_unit_test(on_straight_paths_the_normal_prior_is_exact),
    cmocka_unit_test(where_the_signal_stays_the_prior_is_as_wide_as_the_noise),
    cmocka_unit_test(the_mean_over_all_signs_is_exact),
    cmocka_unit_test(signs_are_exact_for_independent_dimensions),
    cmocka_unit_test(a_sample_keeps_its_probe),
    cmocka_unit_test(uniform_data_take_all_their_bits),
    cmocka_unit_test(bad_settings_are_refused_with_a_sentence),
    cmocka_unit_test(a_path_that_does_not_arrive_is_no_density),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
