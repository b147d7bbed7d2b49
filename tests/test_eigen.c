/* test_eigen.c -- eigenvalues and eigenvectors: what defines them, and matrices that have known
 * ones. */
#include "core/maths/eigen.h"
#include "core/rng.h"
#include "tests/pool.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

static int setup(void **state) {
  *state = arena_new();
  return 0;
}

static int teardown(void **state) {
  arena_free(*state);
  return 0;
}

/* sum over k of value(k) v_k v_k', v_k the image of axis k in a mirror: x - 2 u (u.x) */
static double *with_values(Arena *arena, int n, double (*value_of)(int k)) {
  double *u = arena_array(arena, double, n), *a = arena_array(arena, double, n *n), norm = 0;
  Rng rng = rng_stream(3, "mirror");
  for (int i = 0; i < n; i++) u[i] = rng_normal(rng, 0, 0, (uint32_t)i), norm += u[i] * u[i];
  for (int i = 0; i < n; i++) u[i] /= sqrt(norm);
  for (int k = 0; k < n; k++)
    for (int i = 0; i < n; i++)
      for (int j = 0; j < n; j++)
        a[i * n + j] += value_of(k) * ((i == k) - 2 * u[i] * u[k]) * ((j == k) - 2 * u[j] * u[k]);
  return a;
}

/* |a v - value v| and |v v' - 1|, the greatest entry of both */
static double defect(const double *a, int n, const double *value, const double *vector, int count) {
  double most = 0;
  for (int i = 0; i < count; i++) {
    for (int r = 0; r < n; r++) {
      double sum = -value[i] * vector[i * n + r];
      for (int k = 0; k < n; k++) sum += a[r * n + k] * vector[i * n + k];
      most = fmax(most, fabs(sum));
    }
    for (int j = 0; j < count; j++) {
      double sum = i == j ? -1 : 0;
      for (int k = 0; k < n; k++) sum += vector[i * n + k] * vector[j * n + k];
      most = fmax(most, fabs(sum));
    }
  }
  return most;
}

/* ---- rotations ------------------------------------------------------------------------------- */

/* The second difference on n points: 2 - 2 cos(k pi / (n + 1)). */
static void the_second_difference_has_its_cosines(void **state) {
  enum { N = 40 };
  const double pi = 3.14159265358979323846;
  double *a = arena_array(*state, double, N *N), *b = arena_array(*state, double, N *N);
  double value[N], *vector = arena_array(*state, double, N *N);
  for (int i = 0; i < N; i++) {
    a[i * N + i] = 2;
    if (i) a[i * N + i - 1] = a[(i - 1) * N + i] = -1;
  }
  memcpy(b, a, sizeof *a * N * N);
  eigen_symmetric(b, N, value, vector);
  for (int k = 0; k < N; k++)
    assert_true(fabs(value[k] - 2 + 2 * cos((N - k) * pi / (N + 1))) < 1e-14 * N);
  assert_true(defect(a, N, value, vector, N) < 1e-14 * N);
}

static double both_signs(int k) { return k % 3 ? 1.0 / (1 + k) : -2.0 * k; }

static void values_descend_whatever_their_sign(void **state) {
  enum { N = 30 };
  double *a = with_values(*state, N, both_signs), *b = arena_array(*state, double, N *N);
  double value[N], *vector = arena_array(*state, double, N *N);
  memcpy(b, a, sizeof *a * N * N);
  eigen_symmetric(b, N, value, vector);
  for (int k = 1; k < N; k++) assert_true(value[k - 1] >= value[k]);
  assert_true(fabs(value[0] - 0.5) < 1e-13 && fabs(value[N - 1] + 54) < 1e-12);
  assert_true(defect(a, N, value, vector, N) < 1e-12);
}

static void a_diagonal_needs_no_rotation(void **state) {
  double a[] = { 1, 0, 0, 0, 3, 0, 0, 0, 2 }, value[3], vector[9];
  (void)state;
  eigen_symmetric(a, 3, value, vector);
  assert_true(value[0] == 3 && value[1] == 2 && value[2] == 1);
  assert_true(fabs(vector[1]) == 1 && fabs(vector[5]) == 1 && fabs(vector[6]) == 1);
}

/* ---- subspace iteration ---------------------------------------------------------------------- */

static double falling(int k) { return 100 / pow(1 + k, 1.2); } /* as those of pictures do */
static double few(int k) { return k < 5 ? 5.0 - k : 0; }

static void the_leading_are_found_among_many(void **state) {
  enum { N = 300, COUNT = 20 };
  double *a = with_values(*state, N, falling), value[COUNT];
  double *vector = arena_array(*state, double, COUNT *N);
  ArenaMark before = arena_mark(*state);
  assert_true(eigen_leading(*state, NULL, a, N, COUNT, 1e-10, value, vector));
  ArenaMark after = arena_mark(*state);
  assert_true(after.chunk == before.chunk && after.used == before.used);
  for (int k = 0; k < COUNT; k++) assert_true(fabs(value[k] / falling(k) - 1) < 1e-12);
  assert_true(defect(a, N, value, vector, COUNT) < 1e-8); /* tolerance times the first, 100 */
}

/* Most of the block has no direction of its own. */
static void a_matrix_of_low_rank_is_fine(void **state) {
  enum { N = 200, COUNT = 8 };
  double *a = with_values(*state, N, few), value[COUNT];
  double *vector = arena_array(*state, double, COUNT *N);
  assert_true(eigen_leading(*state, NULL, a, N, COUNT, 1e-10, value, vector));
  for (int k = 0; k < COUNT; k++) assert_true(fabs(value[k] - few(k)) < 1e-12);
  assert_true(defect(a, N, value, vector, COUNT) < 1e-9);
}

static void threads_change_no_bit(void **state) {
  enum { N = 150, COUNT = 10 };
  double *a = with_values(*state, N, falling), value[2][COUNT];
  double *vector[2];
  for (int i = 0; i < 2; i++) {
    Pool *pool = pool_of(i ? 3 : 1);
    vector[i] = arena_array(*state, double, COUNT *N);
    assert_true(eigen_leading(*state, pool, a, N, COUNT, 1e-9, value[i], vector[i]));
    pool_free(pool);
  }
  assert_memory_equal(value[0], value[1], sizeof value[0]);
  assert_memory_equal(vector[0], vector[1], sizeof(double) * COUNT * N);
}

#define FACT(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
    FACT(the_second_difference_has_its_cosines), FACT(values_descend_whatever_their_sign),
    FACT(a_diagonal_needs_no_rotation),          FACT(the_leading_are_found_among_many),
    FACT(a_matrix_of_low_rank_is_fine),          FACT(threads_change_no_bit),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
