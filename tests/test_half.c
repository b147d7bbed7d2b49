/* test_half.c -- float16 by its definition: all 65536 of them, the midpoints between neighbours,
 * and weights that are kept so in a file. */
#include "core/half.h"
#include "core/tape/params.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* sign, exponent of 5 bits with bias 15, significand of 10 bits */
static double defined(int half) {
  int exponent = half >> 10 & 31, significand = half & 1023;
  double sign = half & 0x8000 ? -1 : 1;
  if (exponent == 31) return significand ? NAN : sign * INFINITY;
  return sign * (exponent ? ldexp(1024 + significand, exponent - 25) : ldexp(significand, -24));
}

static void every_half_has_its_value_and_comes_back(void **state) {
  (void)state;
  for (int h = 0; h < 65536; h++) {
    double expected = defined(h), value = (double)half_value((uint16_t)h);
    if (isnan(expected)) {
      assert_true(isnan(value) && isnan(half_value(half_from((float)value))));
      continue;
    }
    assert_true(value == expected && !signbit(value) == !signbit(expected));
    assert_int_equal(half_from((float)value), h);
  }
}

/* between h and h + 1: the midpoint goes to the even one, and one float32 beside it decides */
static void rounding_is_to_the_nearest_and_of_ties_to_even(void **state) {
  (void)state;
  for (int h = 0; h < 0x7c00; h++) {
    /* what follows the greatest finite one counts as 2^16 */
    double next = h + 1 == 0x7c00 ? 65536 : defined(h + 1);
    float middle = (float)((defined(h) + next) / 2);
    int even = h % 2 ? h + 1 : h;
    assert_int_equal(half_from(middle), even);
    assert_int_equal(half_from(nextafterf(middle, 0)), h);
    assert_int_equal(half_from(nextafterf(middle, INFINITY)), h + 1);
    assert_int_equal(half_from(-middle), even | 0x8000);
  }
}

static void far_numbers_are_zero_or_infinite(void **state) {
  (void)state;
  assert_int_equal(half_from(1e-30f), 0);
  assert_int_equal(half_from(-1e-45f), 0x8000);
  assert_int_equal(half_from(3e38f), 0x7c00);
  assert_int_equal(half_from(-INFINITY), 0xfc00);
}

/* ---- weights in a file ----------------------------------------------------------------------- */

static Params *weights(Arena *arena) {
  Params *p = params_new(arena, "net");
  params_slot(p, "w", 1, 3, 5, 0.5);
  params_allocate(p);
  params_init(p, 1);
  return p;
}

static void weights_come_back_rounded(void **state) {
  (void)state;
  Arena *arena = arena_new();
  Params *p = weights(arena), *back = weights(arena);
  Checkpoint c, read;
  Error error;
  char path[64];
  snprintf(path, sizeof path, "/tmp/diffrl-half-%d.safetensors", (int)getpid());
  checkpoint_init(&c, arena), checkpoint_init(&read, arena);
  params_at(p, 0)[1] = (real)3e-6, params_at(p, 0)[2] = -65504; /* subnormal; the greatest */
  assert_true(params_save_half(p, &c, &error));
  assert_int_equal(checkpoint_bytes(&c.tensor[0]), 2 * 15);
  assert_true(checkpoint_save(&c, path, &error) && checkpoint_load(&read, path, NULL, &error));
  assert_string_equal(checkpoint_type_name(checkpoint_tensor(&read, "net/w")->type), "F16");
  assert_true(params_load(back, &read, &error));
  for (int r = 0; r < 3; r++)
    for (int j = 0; j < 5; j++) {
      int at = r * back->layout->slot[0].ld + j;
      assert_true(params_at(back, 0)[at] ==
                  (real)half_value(half_from((float)params_at(p, 0)[at])));
    }
  unlink(path);
  arena_free(arena);
}

static void what_float16_cannot_hold_is_refused(void **state) {
  (void)state;
  const double bad[] = { 65520, -1e6, INFINITY, NAN };
  for (int i = 0; i < 4; i++) {
    Arena *arena = arena_new();
    Params *p = weights(arena);
    Checkpoint c;
    Error error;
    checkpoint_init(&c, arena);
    params_at(p, 0)[4] = (real)bad[i];
    assert_false(params_save_half(p, &c, &error));
    assert_int_equal(error.kind, FAIL_INPUT);
    assert_non_null(strstr(error.text, "net/w"));
    arena_free(arena);
  }
}

/* weights must be finite, whoever wrote the file */
static void infinite_halves_are_no_weights(void **state) {
  (void)state;
  const uint16_t bad[] = { 0x7c00, 0xfc00, 0x7e00 };
  for (int i = 0; i < 3; i++) {
    Arena *arena = arena_new();
    uint16_t numbers[15] = { 0 };
    Checkpoint c;
    Error error;
    checkpoint_init(&c, arena);
    numbers[7] = bad[i];
    checkpoint_add(&c, "net/w", CHECKPOINT_F16, 2, (int64_t[]){ 3, 5 }, numbers);
    assert_false(params_load(weights(arena), &c, &error));
    assert_int_equal(error.kind, FAIL_INPUT);
    arena_free(arena);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_half_has_its_value_and_comes_back),
    cmocka_unit_test(rounding_is_to_the_nearest_and_of_ties_to_even),
    cmocka_unit_test(far_numbers_are_zero_or_infinite),
    cmocka_unit_test(weights_come_back_rounded),
    cmocka_unit_test(what_float16_cannot_hold_is_refused),
    cmocka_unit_test(infinite_halves_are_no_weights),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
