/* test_bf16.c -- products of bf16 numbers: every bit of every path against the definition in
 * scalar arithmetic (core/kernels/bf16.h), and against double. */
#include "core/kernels/bf16.h"
#include "core/kernels/kernels.h"
#include "core/parallel.h"
#include "core/rng.h"
#include <stdarg.h>
#include <stdbool.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 70, COLUMNS = 80 };

static int tables_of(const Kernels *table[4]) {
  static const char *const names[] = { "plain", "avx2", "avx512", "amx" };
  int count = 0;
  for (int i = 0; i < 4; i++) {
    Error error;
    const Kernels *found = kernels_find(names[i], &error);
    if (found) table[count++] = found;
  }
  return count;
}

/* normals; one in eight is 0 or so small that products of two are denormal or nothing */
static void fill(const char *stream, uint64_t step, real *x, size_t count) {
  Rng rng = rng_stream(7, stream);
  for (size_t i = 0; i < count; i++) {
    uint64_t kind = rng_below(rng, step, (uint32_t)i, 9, 16);
    real draw = (real)rng_normal(rng, step, (uint32_t)i, 0);
    x[i] = kind == 0 ? (real)1e-22 * draw : kind == 1 ? (real)0 * draw : draw;
  }
}

/* the definition, for one output; beyond k are zeros */
static float sum_of(const float *a, const float *b, ptrdiff_t b_step, int k, float init) {
  for (int from = 0; from < k; from += 32) {
    float even = 0, odd = 0;
    for (int u = from; u < from + 32; u += 2) {
      even = u < k ? fmaf(a[u], b[u * b_step], even) : fmaf(0, 0, even);
      odd = u + 1 < k ? fmaf(a[u + 1], b[(u + 1) * b_step], odd) : fmaf(0, 0, odd);
    }
    init += even + odd;
  }
  return init;
}

/* operands and what they are when rounded; room for the largest of the shapes */
typedef struct {
  int m, n, k;
  real *a, *b, *columns, *init, *c; /* columns: A's transpose */
  float *a_half, *b_half, *want;
  uint16_t *panels, *turned; /* from rows and from columns of B, which must be equal */
} Case;

static Case *case_new(int m, int n, int k, uint64_t step) {
  Case *s = calloc(1, sizeof *s);
  size_t mk = (size_t)(m * k), kn = (size_t)(k * n), mn = (size_t)(m * n);
  *s = (Case){ .m = m, .n = n, .k = k };
  s->a = malloc(mk * sizeof *s->a), s->columns = malloc(mk * sizeof *s->a);
  s->b = malloc(kn * sizeof *s->b), s->init = malloc(mn * sizeof *s->b);
  s->c = malloc(mn * sizeof *s->b), s->want = malloc(mn * sizeof *s->want);
  s->a_half = malloc(mk * sizeof(float)), s->b_half = malloc(kn * sizeof(float));
  s->panels = malloc(bf16_panels(k, n) * 2), s->turned = malloc(bf16_panels(k, n) * 2);
  fill("a", step, s->a, mk), fill("b", step, s->b, kn), fill("init", step, s->init, mn);
  for (int i = 0; i < m; i++)
    for (int u = 0; u < k; u++) {
      s->columns[u * m + i] = s->a[i * k + u];
      s->a_half[i * k + u] = bf16_round((float)s->a[i * k + u]);
    }
  for (size_t i = 0; i < kn; i++) s->b_half[i] = bf16_round((float)s->b[i]);
  return s;
}
static void case_free(Case *s) {
  free(s->a), free(s->b), free(s->columns), free(s->init), free(s->c), free(s->a_half);
  free(s->b_half), free(s->want), free(s->panels), free(s->turned), free(s);
}

static void expect(Case *s, int k, bool initial) {
  for (int i = 0; i < s->m; i++)
    for (int j = 0; j < s->n; j++)
      s->want[i * s->n + j] = sum_of(s->a_half + i * s->k, s->b_half + j, s->n, k,
                                     initial ? (float)s->init[i * s->n + j] : 0);
}

/* m x n x k of the case in one of eight ways: A by rows or columns, B packed or not, init or not */
static void multiply(const Kernels *kernels, Case *s, int m, int n, int k, int way) {
  Bf16Gemm p = { .m = m, .n = n, .k = k, .c = s->c, .ldc = s->n };
  p.a = way & 1 ? s->columns : s->a, p.ai = way & 1 ? 1 : s->k, p.ak = way & 1 ? s->m : 1;
  p.b = s->b, p.bk = s->n;
  if (way & 2) p.panels = s->panels;
  if (way & 4) p.init = s->init, p.init_row = s->n;
  for (int i = 0; i < s->m * s->n; i++) s->c[i] = 7;
  kernels->gemm_bf16(&p);
}

static void compare(const Kernels *kernels, const Case *s, int m, int n, int k) {
  for (int i = 0; i < s->m; i++)
    for (int j = 0; j < s->n; j++) {
      float want = i < m && j < n ? s->want[i * s->n + j] : 7, is = (float)s->c[i * s->n + j];
      if (memcmp(&want, &is, sizeof is))
        fail_msg("%s: %d x %d x %d at [%d, %d]: %a instead of %a", kernels->name, m, n, k, i, j,
                 (double)is, (double)want);
    }
}

/* rows and columns of a product do not depend on each other, so one matrix of definitions serves
 * every m and n.  Plain C, whose code does not depend on m and n, takes a part of them. */
static void every_small_shape_has_the_bits_of_the_definition(void **state) {
  (void)state;
  if (sizeof(real) == 8) skip(); /* MODE=double has no bf16 */
  const Kernels *table[4];
  const int tables = tables_of(table);
  unsigned before = denormals_off();
  Case *s = case_new(MOST, COLUMNS, MOST, 1);
  for (int k = 1; k <= MOST; k++) {
    const int way = k % 8;
    expect(s, k, way & 4);
    for (int n = 16; n <= COLUMNS; n += 16) {
      table[0]->pack_bf16(s->b, s->n, 1, k, n, s->panels);
      for (int t = 0; t < tables; t++)
        for (int m = 1; m <= MOST; m += t ? 1 : 23) {
          multiply(table[t], s, m, n, k, m % 2 ? way : way ^ 3);
          compare(table[t], s, m, n, k);
        }
    }
  }
  case_free(s);
  denormals_restore(before);
}

static int below(uint64_t trial, uint32_t draw, int n) {
  return (int)rng_below(rng_stream(3, "shapes"), trial, 0, draw, (uint64_t)n);
}

static void random_shapes_have_the_bits_of_the_definition(void **state) {
  (void)state;
  if (sizeof(real) == 8) skip();
  const Kernels *table[4];
  const int tables = tables_of(table);
  unsigned before = denormals_off();
  for (uint64_t trial = 0; trial < 200; trial++) {
    const int m = 1 + below(trial, 0, trial % 8 ? 100 : 500);
    const int n = 16 * (1 + below(trial, 1, 12)), k = 1 + below(trial, 2, trial % 8 ? 200 : 700);
    Case *s = case_new(m, n, k, trial);
    expect(s, k, trial & 4);
    for (int t = trial % 10 ? 1 : 0; t < tables; t++) {
      table[t]->pack_bf16(s->b, n, 1, k, n, s->panels);
      multiply(table[t], s, m, n, k, (int)trial % 8);
      compare(table[t], s, m, n, k);
    }
    case_free(s);
  }
  denormals_restore(before);
}

/* from rows, from columns (a transposed matrix), and the formula */
static void packing_puts_every_number_in_its_place(void **state) {
  (void)state;
  if (sizeof(real) == 8) skip();
  const Kernels *table[4];
  const int tables = tables_of(table);
  for (int k = 1; k <= MOST; k += 3)
    for (int n = 1; n <= MOST; n += 2) {
      Case *s = case_new(n, n, k, 2); /* columns [k, n] is the transpose of a [n, k] */
      size_t count = bf16_panels(k, n);
      for (int t = 0; t < tables; t++) {
        memset(s->panels, 1, count * 2), memset(s->turned, 2, count * 2);
        table[t]->pack_bf16(s->columns, n, 1, k, n, s->panels);
        table[t]->pack_bf16(s->a, 1, k, k, n, s->turned);
        for (int u = 0; u < bf16_up(k); u++)
          for (int j = 0; j < bf16_up(n); j++) {
            uint16_t want = u < k && j < n ? bf16_from((float)s->a[j * k + u]) : 0;
            assert_int_equal(s->panels[bf16_at(k, u, j)], want);
          }
        assert_memory_equal(s->panels, s->turned, count * 2);
      }
      case_free(s);
    }
}

static void rounding_is_to_nearest_even(void **state) {
  (void)state;
  static const struct {
    uint32_t from;
    uint16_t to;
  } row[] = {
    { 0x3f800000, 0x3f80 }, { 0x3f808000, 0x3f80 }, /* a tie, to even: down, */
    { 0x3f818000, 0x3f82 },                         /* and up */
    { 0x3f808001, 0x3f81 }, { 0x3f807fff, 0x3f80 }, { 0xbf818000, 0xbf82 },
    { 0x7f7fffff, 0x7f80 }, /* the greatest float is beyond the greatest bf16 */
    { 0xff800000, 0xff80 }, { 0x7f800001, 0x7fc0 }, /* infinity; a NaN is not made one */
    { 0x007fffff, 0x0000 }, { 0x80000001, 0x8000 }, /* denormals are zero */
    { 0x00800000, 0x0080 }, { 0x80000000, 0x8000 },
  };
  for (size_t i = 0; i < sizeof row / sizeof *row; i++)
    assert_int_equal(bf16_of_bits(row[i].from), row[i].to);
}

/* Either operand is off by 2^-9 of itself at most, so a product by 2^-8 + 2^-18; the float sums of
 * k <= 300 terms add less than 2^-14 of the sum of |a b| */
static void products_are_within_the_rounding_of_operands(void **state) {
  (void)state;
  if (sizeof(real) == 8) skip();
  const Kernels *table[4];
  const int tables = tables_of(table);
  Case *s = case_new(40, 64, 300, 5);
  table[0]->pack_bf16(s->b, s->n, 1, s->k, s->n, s->panels);
  for (int t = 0; t < tables; t++) {
    multiply(table[t], s, s->m, s->n, s->k, 2);
    for (int i = 0; i < s->m; i++)
      for (int j = 0; j < s->n; j++) {
        double sum = 0, size = 0;
        for (int u = 0; u < s->k; u++) {
          double term = (double)s->a[i * s->k + u] * (double)s->b[u * s->n + j];
          sum += term, size += fabs(term);
        }
        const double bound = 2 * 0x1p-9 + 0x1p-18 + 0x1p-14;
        assert_true(fabs((double)s->c[i * s->n + j] - sum) <= bound * size);
      }
  }
  case_free(s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(rounding_is_to_nearest_even),
    cmocka_unit_test(packing_puts_every_number_in_its_place),
    cmocka_unit_test(every_small_shape_has_the_bits_of_the_definition),
    cmocka_unit_test(random_shapes_have_the_bits_of_the_definition),
    cmocka_unit_test(products_are_within_the_rounding_of_operands),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
