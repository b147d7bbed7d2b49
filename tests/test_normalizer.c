/* test_normalizer.c -- fitted rows have mean 0 and deviation 1; inverting gives them back. */
#include "core/maths/normalizer.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>

enum { ROWS = 1000, DIM = 3 };

/* Entries far from zero, tiny, and constant. */
static float *rows(Arena *arena) {
  float *x = arena_array(arena, float, ROWS *DIM);
  for (int i = 0; i < ROWS; i++) {
    x[DIM * i] = 5000 + 3 * (float)sin(i);
    x[DIM * i + 1] = 1e-5f * (float)cos(i);
    x[DIM * i + 2] = 0.1f;
  }
  return x;
}

static void test_fitted_rows_are_standard(void **state) {
  (void)state;
  Arena *arena = arena_new();
  Normalizer n = normalizer_new(arena, DIM);
  float *x = rows(arena);
  real out[DIM];
  double sum = 0, squares = 0, tiny = 0;
  normalizer_fit(&n, x, NULL, ROWS);
  for (int i = 0; i < ROWS; i++) {
    normalizer_apply(&n, x + DIM * i, out);
    sum += (double)out[0], squares += (double)(out[0] * out[0]);
    tiny += (double)(out[1] * out[1]);
    assert_true(out[2] == 0);
  }
  assert_true(fabs(sum / ROWS) < 1e-3); /* the mean is stored as a float: 5000 +- 2e-4 */
  assert_true(fabs(squares / ROWS - 1) < 1e-3);
  assert_true(fabs(tiny / ROWS - 1) < 1e-3); /* whatever the unit */
  assert_true(n.std[2] == 0.1f);
  arena_free(arena);
}

static void test_only_listed_rows_count(void **state) {
  (void)state;
  Arena *arena = arena_new();
  Normalizer n = normalizer_new(arena, 1);
  normalizer_fit(&n, (float[]){ 1, 100, 3, -100 }, (int64_t[]){ 0, 2 }, 2);
  assert_true(n.mean[0] == 2 && n.std[0] == 1); /* divides by count, not count - 1 */
  arena_free(arena);
}

static void test_invert_undoes_apply(void **state) {
  (void)state;
  Arena *arena = arena_new();
  Normalizer n = normalizer_new(arena, DIM);
  float *x = rows(arena), back[DIM];
  real out[DIM];
  normalizer_apply(&n, x, out); /* new: the identity */
  for (int j = 0; j < DIM; j++) assert_true(out[j] == (real)x[j]);
  normalizer_fit(&n, x, NULL, ROWS);
  for (int i = 0; i < ROWS; i++) {
    normalizer_apply(&n, x + DIM * i, out);
    normalizer_invert(&n, out, back);
    for (int j = 0; j < DIM; j++)
      assert_true(fabsf(back[j] - x[DIM * i + j]) <= 2e-7f * fabsf(x[DIM * i + j]));
  }
  arena_free(arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_fitted_rows_are_standard),
    cmocka_unit_test(test_only_listed_rows_count),
    cmocka_unit_test(test_invert_undoes_apply),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
