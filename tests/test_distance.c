/* test_distance.c -- what the sliced Wasserstein distance is for sets where it is known. */
#include "core/maths/distance.h"
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

static double *normals(Arena *arena, const char *name, int count) {
  double *x = arena_array(arena, double, count);
  for (int i = 0; i < count; i++) x[i] = rng_normal(rng_stream(1, name), 0, 0, (uint32_t)i);
  return x;
}

/* A direction sees delta . u of a shift, and the mean of (delta . u)^2 is |delta|^2 / dim. */
static void a_shift_counts_its_square_over_the_dimension(void **state) {
  enum { N = 500, DIM = 4 };
  static const double delta[DIM] = { 1, -2, 0.5, 3 };
  double *a = normals(*state, "a", N * DIM), *b = arena_array(*state, double, N *DIM);
  for (int i = 0; i < N * DIM; i++) b[i] = a[i] + delta[i % DIM];
  double sw = distance_sliced_wasserstein(*state, a, b, N, DIM, 4000, 7);
  assert_true(fabs(sw * sw / (14.25 / DIM) - 1) < 0.06); /* 4000 directions: deviation 0.014 */
}

/* Two samples of Gaussians at a distance: the same, up to what a finite sample adds. */
static void gaussians_apart_by_a_shift(void **state) {
  enum { N = 4000, DIM = 2 };
  double *a = normals(*state, "a", N * DIM), *b = normals(*state, "b", N * DIM);
  double floor = distance_sliced_wasserstein(*state, a, b, N, DIM, 500, 7);
  for (int i = 0; i < N; i++) b[2 * i] += 3, b[2 * i + 1] += 4;
  double sw = distance_sliced_wasserstein(*state, a, b, N, DIM, 500, 7);
  assert_true(floor > 0 && floor < 0.1);
  assert_true(fabs(sw * sw - 25 / 2.0) < 1.5);
}

/* On a line there is one direction and its opposite: the distance is that of the sorted sets. */
static void on_a_line_it_is_exact(void **state) {
  const double a[] = { 3, 1, 2, 0 }, b[] = { 7, 0, 1, 2 }, scaled[] = { 6, 2, 4, 0 };
  assert_true(fabs(distance_sliced_wasserstein(*state, a, b, 4, 1, 3, 1) - 2) < 1e-12);
  double sw = distance_sliced_wasserstein(*state, a, scaled, 4, 1, 3, 1);
  assert_true(fabs(sw - sqrt(14 / 4.0)) < 1e-12);
}

static void a_set_is_nowhere_far_from_itself(void **state) {
  enum { N = 300, DIM = 3 };
  double *a = normals(*state, "a", N * DIM), *b = arena_array(*state, double, N *DIM);
  for (int i = 0; i < N * DIM; i++) b[i] = a[(i + 5 * DIM) % (N * DIM)]; /* in another order */
  assert_true(distance_sliced_wasserstein(*state, a, b, N, DIM, 50, 7) == 0);
}

static void it_is_symmetric_repeatable_and_leaves_no_memory(void **state) {
  enum { N = 300, DIM = 3 };
  double *a = normals(*state, "a", N * DIM), *b = normals(*state, "b", N * DIM);
  ArenaMark before = arena_mark(*state);
  double once = distance_sliced_wasserstein(*state, a, b, N, DIM, 50, 7);
  assert_true(once == distance_sliced_wasserstein(*state, b, a, N, DIM, 50, 7));
  assert_true(once != distance_sliced_wasserstein(*state, b, a, N, DIM, 50, 8));
  ArenaMark after = arena_mark(*state);
  assert_true(after.chunk == before.chunk && after.used == before.used);
}

static void numbers_that_are_not_finite_give_nan(void **state) {
  double a[] = { 1, 2, 3, 4 }, b[] = { 1, 2, NAN, 4 };
  assert_true(isnan(distance_sliced_wasserstein(*state, a, b, 2, 2, 5, 1)));
  b[2] = 0, a[3] = -INFINITY;
  assert_true(isnan(distance_sliced_wasserstein(*state, a, b, 2, 2, 5, 1)));
}

#define FACT(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* ---- kernel distance ------------------------------------------------------------------------- */

/* a = {1, 2}, b = {0, 3} by hand: k(1, 2) = 27, k(0, 3) = 1, k(1, 0) = k(2, 0) = 1, k(1, 3) = 64,
 * k(2, 3) = 343; 27 + 1 - 2 (1 + 64 + 1 + 343) / 4 */
static void a_kernel_distance_by_hand(void **state) {
  (void)state;
  double a[] = { 1, 2 }, b[] = { 0, 3 };
  assert_true(fabs(distance_kernel(a, 2, b, 2, 1) - (28 - 204.5)) < 1e-12);
  /* two equal dimensions: x.y / 2 is as before */
  double aa[] = { 1, 1, 2, 2 }, bb[] = { 0, 0, 3, 3 };
  assert_true(fabs(distance_kernel(aa, 2, bb, 2, 2) - (28 - 204.5)) < 1e-12);
}

/* Of a set and itself, pairs (x, x) are in one mean alone: 2 / n times (mean over pairs of two
 * members - mean of k(x, x)). */
static void of_a_set_and_itself_only_the_diagonal_is_left(void **state) {
  enum { N = 40 };
  double *a = normals(*state, "same", N), pairs = 0, own = 0;
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) {
      double k = pow(a[i] * a[j] + 1, 3);
      if (i == j)
        own += k / N;
      else
        pairs += k / (N * (N - 1));
    }
  assert_true(fabs(distance_kernel(a, N, a, N, 1) - 2 * (pairs - own) / N) < 1e-12);
}

/* In one dimension N(0, 1) and N(mu, 1): E k = E (x y + 1)^3, of which the third and second moments
 * are known; the mean over sets of any size is the distance itself. */
static void a_kernel_distance_has_no_bias(void **state) {
  enum { SETS = 4000, N = 8 };
  const double mu = 0.5, second = mu * mu + 1, third = mu * mu * mu + 3 * mu;
  /* E (x y + 1)^3 = m3 m3' + 3 m2 m2' + 3 m1 m1' + 1 */
  double expected =
      (3 + 1) + (third * third + 3 * second * second + 3 * mu * mu + 1) - 2 * (3 * second + 1);
  double sum = 0, squares = 0;
  double *a = normals(*state, "unbiased a", SETS * N), *b = normals(*state, "unbiased b", SETS * N);
  for (int i = 0; i < SETS * N; i++) b[i] += mu;
  for (int s = 0; s < SETS; s++) {
    double d = distance_kernel(a + s * N, N, b + s * N, N, 1);
    sum += d / SETS, squares += d * d / SETS;
  }
  double error = sqrt((squares - sum * sum) / SETS);
  assert_true(fabs(sum - expected) < 4 * error && error < 0.5);
}

/* ---- balls ----------------------------------------------------------------------------------- */

static void a_set_covers_itself(void **state) {
  enum { N = 60, DIM = 3 };
  double *a = normals(*state, "covered", N * DIM);
  assert_true(distance_coverage(*state, a, N, a, N, DIM, 3) == 1);
}

/* on a line: neighbours of 0 1 3 7 to the first are 1 1 2 4 apart */
static void balls_reach_to_the_neighbour(void **state) {
  const double y[] = { 0, 1, 3, 7 }, inside[] = { -1, 2, 5, 11 }, outside[] = { -1.01, 11.01 };
  assert_true(distance_coverage(*state, inside, 4, y, 4, 1, 1) == 1);
  assert_true(distance_coverage(*state, outside, 2, y, 4, 1, 1) == 0);
}

/* Of two equal modes far apart one is dropped: all samples are like real ones, half of which is
 * not reached. */
static void a_dropped_mode_halves_the_recall(void **state) {
  enum { N = 400, DIM = 2 };
  double *real_ones = normals(*state, "modes", N * DIM), *made = normals(*state, "mode", N * DIM);
  for (int i = 0; i < N; i++) real_ones[i * DIM] += i % 2 ? 50 : 0;
  double precision = distance_coverage(*state, made, N, real_ones, N, DIM, 3);
  double recall = distance_coverage(*state, real_ones, N, made, N, DIM, 3);
  assert_true(precision > 0.9 && recall > 0.45 && recall <= 0.5);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    FACT(a_kernel_distance_by_hand),
    FACT(of_a_set_and_itself_only_the_diagonal_is_left),
    FACT(a_kernel_distance_has_no_bias),
    FACT(a_set_covers_itself),
    FACT(balls_reach_to_the_neighbour),
    FACT(a_dropped_mode_halves_the_recall),
    FACT(a_shift_counts_its_square_over_the_dimension),
    FACT(gaussians_apart_by_a_shift),
    FACT(on_a_line_it_is_exact),
    FACT(a_set_is_nowhere_far_from_itself),
    FACT(it_is_symmetric_repeatable_and_leaves_no_memory),
    FACT(numbers_that_are_not_finite_give_nan),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
