/* test_importance.c -- n drawn where the loss is large: expectations stay, variance falls. */
#include "diffusion/importance.h"
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

enum { N = 5, LD = 16, DRAWS = 4000 };

/* the loss of each n; n sees its loss times 1, 1, .. and once, first, times 1000 */
static const double loss[N] = { 9, 4, 1, 0.5, 0.1 };

static void feed(Importance *im, int n, double value) {
  real at[LD] = { (real)n }, losses[LD] = { (real)value };
  importance_update(im, 1, at, losses);
}

static Importance *trained(Arena *arena) {
  Importance *im = importance_new(arena, N);
  for (int n = 0; n < N; n++) feed(im, n, 1000 * loss[n]);
  for (int i = 0; i < IMPORTANCE_HISTORY; i++)
    for (int n = 0; n < N; n++) feed(im, n, loss[n]);
  return im;
}

static void uniform_until_each_has_ten(void **state) {
  (void)state;
  Arena *arena = arena_new();
  Importance *im = importance_new(arena, N);
  for (int i = 0; i < 10 * N - 1; i++) {
    feed(im, i % N, loss[i % N]);
    for (int n = 0; n < N; n++) assert_true(im->p[n] == 1.0 / N);
  }
  feed(im, N - 1, NAN); /* does not count */
  assert_true(im->p[0] == 1.0 / N);
  feed(im, N - 1, loss[N - 1]);
  assert_true(im->p[0] > 0.6);
  arena_free(arena);
}

/* p_n of the last ten: 99.9 % by root mean square, 0.1 % even */
static void probabilities_are_the_published_ones(void **state) {
  (void)state;
  Arena *arena = arena_new();
  const Importance *im = trained(arena);
  double total = 0;
  for (int n = 0; n < N; n++) total += (double)(real)loss[n];
  for (int n = 0; n < N; n++)
    assert_true(fabs(im->p[n] - (0.999 * (double)(real)loss[n] / total + 0.001 / N)) < 1e-14);
  Importance *mixed = importance_new(arena, 1);
  for (int i = 1; i <= 12; i++) feed(mixed, 0, i);
  double sum = 0;
  for (int i = 0; i < 10; i++) sum += mixed->losses[i];
  assert_true(sum == 3 + 4 + 5 + 6 + 7 + 8 + 9 + 10 + 11 + 12 && mixed->p[0] == 1);
  arena_free(arena);
}

/* The expectation over n of weight times f is the mean of f, whatever f; for the loss itself, that
 * probabilities follow, next to no variance is left. */
static void weights_are_unbiased(void **state) {
  (void)state;
  Arena *arena = arena_new();
  const Importance *im = trained(arena);
  static real n[DRAWS * LD], weight[DRAWS * LD];
  double weight_of[N] = { 0 }, count[N] = { 0 }, eps = sizeof(real) == 8 ? 1e-12 : 1e-5;
  importance_draw(im, rng_stream(2, "n"), 3, DRAWS, n, weight);
  for (int i = 0; i < DRAWS; i++)
    weight_of[(int)n[i * LD]] = (double)weight[i * LD], count[(int)n[i * LD]]++;
  double sums[2] = { 0 }, means[2] = { 0 }, plain2 = 0, weighted2 = 0;
  for (int k = 0; k < N; k++) {
    double f[2] = { k * k - 3, loss[k] };
    assert_true(fabs(count[k] - DRAWS * im->p[k]) < 4 * sqrt(DRAWS * im->p[k]));
    for (int i = 0; i < 2; i++) sums[i] += im->p[k] * weight_of[k] * f[i], means[i] += f[i] / N;
    plain2 += f[1] * f[1] / N, weighted2 += im->p[k] * pow(weight_of[k] * f[1], 2);
  }
  for (int i = 0; i < 2; i++) assert_true(fabs(sums[i] - means[i]) < eps * 10);
  double mean2 = means[1] * means[1];
  assert_true(weighted2 - mean2 < 1e-3 * (plain2 - mean2));
  arena_free(arena);
}

static void a_checkpoint_brings_it_back(void **state) {
  (void)state;
  Arena *arena = arena_new();
  Error error;
  Importance *im = trained(arena), *back = importance_new(arena, N),
             *other = importance_new(arena, 3);
  Checkpoint file;
  checkpoint_init(&file, arena);
  importance_save(im, "times", &file);
  assert_true(importance_load(back, "times", &file, &error));
  assert_memory_equal(back->p, im->p, N * sizeof *im->p);
  feed(im, 2, 7), feed(back, 2, 7); /* the ring goes on at the same place */
  assert_memory_equal(back->losses, im->losses, N * IMPORTANCE_HISTORY * sizeof *im->losses);
  assert_false(importance_load(other, "times", &file, &error));
  assert_int_equal(error.kind, FAIL_INPUT);
  assert_non_null(strstr(error.text, "times/losses is of another size"));
  assert_false(importance_load(back, "else", &file, &error));
  assert_non_null(strstr(error.text, "missing"));
  arena_free(arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(uniform_until_each_has_ten),
    cmocka_unit_test(probabilities_are_the_published_ones),
    cmocka_unit_test(weights_are_unbiased),
    cmocka_unit_test(a_checkpoint_brings_it_back),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
