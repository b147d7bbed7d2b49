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

int main(void) {
  const struct CMUnitTest tests[] = {
    FACT(a_shift_counts_its_square_over_the_dimension),
    FACT(gaussians_apart_by_a_shift),
    FACT(on_a_line_it_is_exact),
    FACT(a_set_is_nowhere_far_from_itself),
    FACT(it_is_symmetric_repeatable_and_leaves_no_memory),
    FACT(numbers_that_are_not_finite_give_nan),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
