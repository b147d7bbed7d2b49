/* test_pairing.c -- noise paired with data: the same noise, nearer. */
#include "diffusion/pairing.h"
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>

enum { ROWS = 50, LD = 16 };

typedef struct {
  real x0[ROWS * LD], drawn[ROWS * LD], eps[ROWS * LD];
  double cost, cost_as_drawn;
} Batch;

static int ascending(const void *a, const void *b) {
  const real *x = *(const real *const *)a, *y = *(const real *const *)b;
  return (*x > *y) - (*x < *y);
}
static void sorted(const real *rows, int n, const real **order) {
  for (int i = 0; i < n; i++) order[i] = rows + i * LD;
  qsort(order, (size_t)n, sizeof *order, ascending);
}

static double mean_distance(const real *x, const real *y, int dim) {
  double sum = 0;
  for (int r = 0; r < ROWS; r++)
    for (int j = 0; j < dim; j++) sum += pow((double)x[r * LD + j] - (double)y[r * LD + j], 2);
  return sum / ROWS;
}

static void draw(Batch *b, int dim, int piece) {
  Arena *arena = arena_new();
  Rng data = rng_stream(1, "data"), noise = rng_stream(1, "noise");
  *b = (Batch){ .cost = 0 };
  for (uint32_t r = 0; r < ROWS; r++) {
    float row[3];
    rng_normals(noise, 5, r, row, dim);
    for (int j = 0; j < dim; j++) {
      b->x0[r * LD + (uint32_t)j] = (real)(rng_uniform(data, 0, r, (uint32_t)j) * 4 - 3);
      b->drawn[r * LD + (uint32_t)j] = (real)row[j];
    }
  }
  b->cost = pairing_draw(pairing_new(arena, piece, dim), noise, 5, ROWS, b->x0, b->eps);
  b->cost_as_drawn = mean_distance(b->x0, b->drawn, dim);
  arena_free(arena);
}

/* piece by piece the same rows in another order, padding zero */
static void noise_keeps_its_rows(void **state) {
  (void)state;
  for (int piece = 7; piece <= 64; piece += 57) {
    Batch b;
    draw(&b, 3, piece);
    for (int from = 0; from < ROWS; from += piece) {
      int n = ROWS - from < piece ? ROWS - from : piece;
      const real *before[ROWS], *after[ROWS];
      sorted(b.drawn + from * LD, n, before), sorted(b.eps + from * LD, n, after);
      for (int i = 0; i < n; i++) assert_memory_equal(before[i], after[i], LD * sizeof(real));
    }
  }
}

static void transport_costs_less(void **state) {
  (void)state;
  Batch whole, pieces;
  draw(&whole, 3, ROWS), draw(&pieces, 3, 7);
  assert_true(fabs(whole.cost - mean_distance(whole.x0, whole.eps, 3)) < 1e-12);
  assert_true(fabs(pieces.cost - mean_distance(pieces.x0, pieces.eps, 3)) < 1e-12);
  assert_true(whole.cost < pieces.cost && pieces.cost < pieces.cost_as_drawn);
}

/* on a line the best pairing is the monotone one */
static void on_a_line_it_is_sorting(void **state) {
  (void)state;
  Batch b;
  draw(&b, 1, ROWS);
  const real *x0[ROWS], *eps[ROWS];
  sorted(b.x0, ROWS, x0), sorted(b.eps, ROWS, eps);
  for (int i = 0; i < ROWS; i++) assert_int_equal(x0[i] - b.x0, eps[i] - b.eps);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(noise_keeps_its_rows),
    cmocka_unit_test(transport_costs_less),
    cmocka_unit_test(on_a_line_it_is_sorting),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
