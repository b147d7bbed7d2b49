/* test_field.c -- a network as a function: rows with times of their own, and divergences. */
#include "diffusion/field.h"
#include "policy/nets/denoiser_mlp.h"
#include "tests/chain.h"
#include "tests/exact.h"
#include <stdio.h>

enum { EXACT_REAL = sizeof(real) == 8 };
static const double tight = EXACT_REAL ? 1e-11 : 5e-4;

static Field *a_field(Arena *arena, const Denoiser *d, const Params *p, Prediction wanted,
                      Divergence divergence, int rows) {
  Error error;
  const FieldSpec spec = { a_graph(NULL, rows), wanted, divergence, 0, NULL };
  Field *field = field_new(arena, d, p, &spec, &error);
  if (!field) fail_msg("%s", error.text);
  return field;
}

/* a small random network of four dimensions */
static Denoiser *a_network(Arena *arena, Params **p, int cond) {
  *p = params_new(arena, "net");
  Denoiser *d =
      mlp_denoiser_new(arena, *p, a_schedule(arena, "vp-sde", 0), PREDICTS_EPS, 4, cond, 16);
  params_allocate(*p), params_init(*p, 5);
  return d;
}

/* ---- what it says ---------------------------------------------------------------------------- */

/* x = a x_0 + s eps, score = -eps/s and velocity = a' x_0 + s' eps of the exact mixture, whatever
 * kind of output says so, in one batch of many times */
static double slope_of(const Exact *mix, const Level *l, double x) {
  const double h = 1e-5;
  return (exact_log_p(mix, l, x + h) - exact_log_p(mix, l, x - h)) / (2 * h);
}
static void all_forms_of_one_truth_agree(void **state) {
  (void)state;
  enum { ROWS = 6, KINDS = 5 };
  static const Prediction kinds[KINDS] = { PREDICTS_EPS, PREDICTS_X0, PREDICTS_SCORE, PREDICTS_V,
                                           PREDICTS_VELOCITY };
  const double t[ROWS] = { 0.9, 0.05, 0.3, 0.5, 0.05, 0.7 };
  const double x[ROWS] = { -2, -1.1, 0.3, 0.1, 0.8, 1.5 };
  Arena *arena = arena_new();
  const Schedule *s = a_schedule(arena, "vp-sde", 0);
  Exact mix = exact_mixture(s, 1);
  double said[PREDICTIONS][ROWS];
  for (int i = 0; i < KINDS * KINDS; i++) {
    mix.base.predicts = kinds[i / KINDS];
    Field *field = a_field(arena, &mix.base, NULL, kinds[i % KINDS], DIVERGENCE_NONE, ROWS);
    field_at(field, ROWS, NULL, t, x, said[kinds[i % KINDS]], NULL);
    if (i % KINDS < KINDS - 1) continue;
    for (int r = 0; r < ROWS; r++) {
      Level l = schedule_level(s, t[r]);
      double eps = said[PREDICTS_EPS][r], x0 = said[PREDICTS_X0][r];
      assert_true(
          near(said[PREDICTS_SCORE][r], slope_of(&mix, &l, x[r]), EXACT_REAL ? 1e-8 : 1e-3));
      assert_true(near(l.a * x0 + l.s * eps, x[r], tight));
      assert_true(near(-l.s * said[PREDICTS_SCORE][r], eps, tight));
      assert_true(near(said[PREDICTS_V][r], l.a * eps - l.s * x0, tight));
      assert_true(near(said[PREDICTS_VELOCITY][r], l.da * x0 + l.ds * eps, 10 * tight));
    }
  }
  arena_free(arena);
}

/* A row asked alone, or among others in another order, says the same bits. */
static void a_row_does_not_see_the_others(void **state) {
  (void)state;
  enum { ROWS = 7, DIM = 4, COND = 3 };
  Arena *arena = arena_new();
  Params *p;
  const Denoiser *d = a_network(arena, &p, COND);
  Error error;
  const FieldSpec spec = { a_graph(NULL, ROWS), PREDICTS_VELOCITY, DIVERGENCE_EXACT, COND, NULL };
  Field *field = field_new(arena, d, p, &spec, &error);
  double t[ROWS], x[ROWS * DIM], all[ROWS * DIM], divergence[ROWS], alone[DIM], one;
  real *cond = arena_array(arena, real, ROWS * row_stride(COND));
  for (int r = 0; r < ROWS; r++) {
    t[r] = 0.01 + 0.12 * r;
    for (int j = 0; j < DIM; j++) x[r * DIM + j] = sin(1 + r * DIM + j);
    for (int j = 0; j < COND; j++) cond[r * row_stride(COND) + j] = (real)cos(r * COND + j);
  }
  field_samples(field, &(FieldSamples){ .cond = cond });
  field_at(field, ROWS, NULL, t, x, all, divergence);
  for (uint32_t r = 0; r < ROWS; r++) {
    field_at(field, 1, &r, t + r, x + r * DIM, alone, &one);
    assert_memory_equal(alone, all + r * DIM, sizeof alone);
    assert_true(one == divergence[r]);
  }
  arena_free(arena);
}

/* ---- guides ---------------------------------------------------------------------------------- */

static Tensor *halve(const Guide *guide, const NetInput *input, Tensor *x, Tensor *x0) {
  (void)guide, (void)x;
  return t_mul(x0, t_col(input->own, 1));
}
static void half(const Guide *guide, const Level *level, double own[GUIDE_NUMBERS]) {
  (void)guide, own[1] = level->time < 0.4 ? 0.5 : 1;
}

/* A guide that halves x_0 at early times shows in the velocity as a' x_0 / 2 + s' eps with the eps
 * that belongs to the halved x_0. */
static void guides_have_the_numbers_of_their_row(void **state) {
  (void)state;
  Arena *arena = arena_new();
  const Schedule *s = a_schedule(arena, "vp-sde", 0);
  Exact mix = exact_mixture(s, 1);
  const Guide guide = { .after = halve, .numbers = half };
  const Guide *const guides[] = { &guide, NULL };
  FieldSpec spec = { a_graph(NULL, 2), PREDICTS_VELOCITY, DIVERGENCE_NONE, 0, guides };
  Error error;
  Field *guided = field_new(arena, &mix.base, NULL, &spec, &error);
  const double t[2] = { 0.3, 0.5 }, x[2] = { 0.4, 0.4 };
  double x0[2], u[2];
  field_at(a_field(arena, &mix.base, NULL, PREDICTS_X0, DIVERGENCE_NONE, 2), 2, NULL, t, x, x0,
           NULL);
  field_at(guided, 2, NULL, t, x, u, NULL);
  for (int r = 0; r < 2; r++) {
    Level l = schedule_level(s, t[r]);
    double kept = r ? x0[r] : 0.5 * x0[r], eps = (x[r] - l.a * kept) / l.s;
    assert_true(near(u[r], l.da * kept + l.ds * eps, 10 * tight));
  }
  arena_free(arena);
}

/* ---- divergences ----------------------------------------------------------------------------- */

static void the_exact_divergence_is_the_sum_of_difference_quotients(void **state) {
  (void)state;
  enum { DIM = 4 };
  Arena *arena = arena_new();
  Params *p;
  const Denoiser *d = a_network(arena, &p, 0);
  Field *field = a_field(arena, d, p, PREDICTS_VELOCITY, DIVERGENCE_EXACT, 1);
  for (double t = 0.05; t < 1; t += 0.3) {
    double x[DIM] = { 0.5, -1, 0.2, 1.3 }, h = EXACT_REAL ? 1e-5 : 0.02, sum = 0;
    double up[DIM], down[DIM], exact;
    for (int j = 0; j < DIM; j++) {
      x[j] += h, field_at(field, 1, NULL, &t, x, up, NULL);
      x[j] -= 2 * h, field_at(field, 1, NULL, &t, x, down, NULL);
      x[j] += h, sum += (up[j] - down[j]) / (2 * h);
    }
    field_at(field, 1, NULL, &t, x, up, &exact);
    assert_true(near(exact, sum, EXACT_REAL ? 1e-8 : 5e-3));
  }
  arena_free(arena);
}

/* E[e . J e] = tr J for signs e, here over all 2^4 of them: no Monte Carlo is left */
static void the_mean_over_all_signs_is_the_trace(void **state) {
  (void)state;
  enum { DIM = 4, SIGNS = 16 };
  Arena *arena = arena_new();
  Params *p;
  const Denoiser *d = a_network(arena, &p, 0);
  double x[SIGNS * DIM], t[SIGNS], probe[SIGNS * DIM], out[SIGNS * DIM], div[SIGNS], exact, sum = 0;
  double worst = 0;
  for (int r = 0; r < SIGNS; r++) {
    t[r] = 0.2;
    for (int j = 0; j < DIM; j++)
      x[r * DIM + j] = 0.3 * j - 0.5, probe[r * DIM + j] = r >> j & 1 ? 1 : -1;
  }
  field_at(a_field(arena, d, p, PREDICTS_VELOCITY, DIVERGENCE_EXACT, 1), 1, NULL, t, x, out,
           &exact);
  Field *field = a_field(arena, d, p, PREDICTS_VELOCITY, DIVERGENCE_PROBE, SIGNS);
  field_samples(field, &(FieldSamples){ .probe = probe });
  field_at(field, SIGNS, NULL, t, x, out, div);
  for (int r = 0; r < SIGNS; r++) sum += div[r], worst = fmax(worst, fabs(div[r] - exact));
  assert_true(near(sum / SIGNS, exact, EXACT_REAL ? 1e-13 : 1e-5));
  assert_true(worst > 1e-3); /* one probe alone is an estimate */
  arena_free(arena);
}

/* ---- refusals -------------------------------------------------------------------------------- */

static Truth of_nobody(double x, double a, double s) { return (void)a, (void)s, (Truth){ x, x }; }

static void what_it_cannot_know_is_refused(void **state) {
  (void)state;
  Arena *arena = arena_new();
  Error error;
  const Schedule *flow = a_schedule(arena, "flow", 0);
  Oracle opaque = oracle(flow, PREDICTS_EPS, 1, of_nobody);
  FieldSpec spec = { a_graph(NULL, 1), PREDICTS_VELOCITY, DIVERGENCE_EXACT, 0, NULL };
  assert_null(field_new(arena, &opaque.base, NULL, &spec, &error));
  assert_int_equal(error.kind, FAIL_USAGE);
  assert_non_null(strstr(error.text, "derivative"));

  Exact wide = exact_mixture(flow, FIELD_EXACT_MOST + 1);
  assert_null(field_new(arena, &wide.base, NULL, &spec, &error));
  assert_non_null(strstr(error.text, "at most 16"));

  Exact mix = exact_mixture(flow, 1);
  Field *field = field_new(arena, &mix.base, NULL, &spec, &error);
  assert_true(field_tells(field, 0.999, &error));
  assert_false(field_tells(field, 1, &error)); /* eps alone: there is no signal at t = 1 */
  assert_non_null(strstr(error.text, "flow"));
  arena_free(arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(all_forms_of_one_truth_agree),
    cmocka_unit_test(a_row_does_not_see_the_others),
    cmocka_unit_test(guides_have_the_numbers_of_their_row),
    cmocka_unit_test(the_exact_divergence_is_the_sum_of_difference_quotients),
    cmocka_unit_test(the_mean_over_all_signs_is_the_trace),
    cmocka_unit_test(what_it_cannot_know_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
