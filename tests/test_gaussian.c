/* test_gaussian.c -- fits and Frechet distances where they are known. */
#include "core/maths/gaussian.h"
#include "core/rng.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>

static int setup(void **state) {
  *state = arena_new();
  return 0;
}

static int teardown(void **state) {
  arena_free(*state);
  return 0;
}

static void near(double value, double expected, double error) {
  if (!(fabs(value - expected) <= error)) fail_msg("%.17g, expected %.17g", value, expected);
}

/* ---- distances ------------------------------------------------------------------------------- */

static double mean_a[] = { 1, -2, 0.5 }, mean_b[] = { 0.5, 1, -1 };
static double covariance_a[] = { 4, 1, -2, 1, 3, 1, -2, 1, 5 };
static double covariance_b[] = { 2, -1, 0, -1, 6, 2, 0, 2, 3 };
static const Gaussian a = { 3, mean_a, covariance_a }, b = { 3, mean_b, covariance_b };

static void a_gaussian_is_nowhere_far_from_itself(void **state) {
  near(gaussian_frechet(*state, &a, &a), 0, 1e-14);
  near(gaussian_frechet(*state, &b, &b), 0, 1e-14);
}

static void a_shift_counts_its_square(void **state) {
  Gaussian moved = { 3, mean_b, covariance_a };
  near(gaussian_frechet(*state, &a, &moved), 0.25 + 9 + 2.25, 1e-14);
}

/* Diagonal ones: the deviations' difference, squared. */
static void deviations_count_their_difference(void **state) {
  double one[] = { 4, 0, 0, 0, 1, 0, 0, 0, 0 }, other[] = { 9, 0, 0, 0, 0.25, 0, 0, 0, 4 };
  Gaussian x = { 3, mean_a, one }, y = { 3, mean_a, other };
  near(gaussian_frechet(*state, &x, &y), 1 + 0.25 + 4, 1e-14);
}

/* A quarter of a turn of diag(p, q): 2 (p + q) - 4 sqrt(p q), as for deviations exchanged. */
static void a_turn_exchanges_deviations(void **state) {
  double p = 9, q = 4, m[] = { 0, 0 };
  double flat[] = { p, 0, 0, q }, upright[] = { q, 0, 0, p };
  Gaussian x = { 2, m, flat }, y = { 2, m, upright };
  near(gaussian_frechet(*state, &x, &y), 2 * (p + q) - 4 * sqrt(p * q), 1e-13);
}

/* NumPy 2.4: |m - n|^2 + trace(a + b) - 2 * sqrt(eigvals(a @ b)).sum() */
static void covariances_that_do_not_commute(void **state) {
  near(gaussian_frechet(*state, &a, &b), 13.882195433870248, 1e-13);
  near(gaussian_frechet(*state, &b, &a), 13.882195433870248, 1e-13);
}

static void it_leaves_no_memory(void **state) {
  ArenaMark before = arena_mark(*state);
  gaussian_frechet(*state, &a, &b);
  ArenaMark after = arena_mark(*state);
  assert_true(after.chunk == before.chunk && after.used == before.used);
}

/* ---- fits ------------------------------------------------------------------------------------ */

static void moments_of_three_points(void **state) {
  static const double x[] = { 1, 0, 2, 3, 6, 3 };
  Gaussian g = gaussian_fit(*state, x, 3, 2);
  near(g.mean[0], 3, 1e-15), near(g.mean[1], 2, 1e-15);
  near(g.covariance[0], 7, 1e-14), near(g.covariance[3], 3, 1e-14);
  near(g.covariance[1], 3, 1e-14), near(g.covariance[2], 3, 1e-14);
}

/* Two samples of n points of N(0, 1) in d dimensions: the means are 2 d / n apart, the covariances
 * add |C1 - C2|^2 / 4, which is d (d + 1) / (2 n).  Times n: 33 with deviation 9.5 for d = 6. */
static void two_samples_come_nearer_with_their_size(void **state) {
  enum { DIM = 6, MOST = 16000 };
  double *x = arena_array(*state, double, 2 * MOST * DIM);
  for (int i = 0; i < 2 * MOST * DIM; i++)
    x[i] = rng_normal(rng_stream(5, "points"), 0, 0, (uint32_t)i);
  for (int n = MOST; n >= MOST / 64; n /= 8) {
    Gaussian p = gaussian_fit(*state, x, n, DIM), q = gaussian_fit(*state, x + MOST * DIM, n, DIM);
    near(n * gaussian_frechet(*state, &p, &q), 33, 2 * 9.5);
  }
}

#define FACT(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
    FACT(a_gaussian_is_nowhere_far_from_itself),
    FACT(a_shift_counts_its_square),
    FACT(deviations_count_their_difference),
    FACT(a_turn_exchanges_deviations),
    FACT(covariances_that_do_not_commute),
    FACT(it_leaves_no_memory),
    FACT(moments_of_three_points),
    FACT(two_samples_come_nearer_with_their_size),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
