/* test_kernels.c -- one arithmetic, three instruction sets: equal bits, and errors against libm.
 * Promises B5, B6, B7 and R5 of docs/design.md. */
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

#ifdef DIFFRL_DOUBLE
#define FMA fma
#else
#define FMA fmaf
#endif

enum { MAX_M = 40, MAX_N = 272, MAX_K = 300, GAP = 3 };

/* the tables this CPU runs whose bits must be equal */
static int own_tables(const Kernels *table[3]) {
  static const char *const names[] = { "plain", "avx2", "avx512" };
  int count = 0;
  for (int i = 0; i < 3; i++) {
    Error error;
    const Kernels *found = kernels_find(names[i], &error);
    if (found && (!count || found != table[count - 1])) table[count++] = found;
  }
  return count;
}

static void fill(const char *stream, uint64_t step, real *x, size_t count) {
  Rng rng = rng_stream(7, stream);
  for (size_t i = 0; i < count; i++) x[i] = (real)(float)rng_normal(rng, step, (uint32_t)i, 0);
}

/* ---- products -------------------------------------------------------------------------------- */

/* memory of one random product: rows of A may lie apart, or A may be transposed */
typedef struct {
  Gemm gemm;
  real a[(MAX_M + GAP) * (MAX_K + GAP)], b[MAX_K * (MAX_N + 32)], init[MAX_M * MAX_N];
  real c[MAX_M * (MAX_N + 16)], start[MAX_M * (MAX_N + 16)];
} Product;

static int below(uint64_t trial, uint32_t draw, int n) {
  return (int)rng_below(rng_stream(3, "shapes"), trial, 0, draw, (uint64_t)n);
}

static void draw_product(Product *p, uint64_t trial) {
  Gemm *g = &p->gemm;
  *g = (Gemm){ .m = 1 + (int)trial % MAX_M,
               .n = 16 * (1 + below(trial, 1, MAX_N / 16)),
               .k = 1 + below(trial, 2, MAX_K),
               .a = p->a,
               .b = p->b,
               .c = p->c };
  bool transposed = below(trial, 3, 2), packed = below(trial, 4, 2);
  g->ai = transposed ? 1 : g->k + below(trial, 5, GAP);
  g->ak = transposed ? g->m + below(trial, 5, GAP) : 1;
  g->bk = packed ? 32 : g->n, g->bpanel = packed ? 32 * g->k : 32;
  g->ldc = g->n + 16;
  g->a_in_l2 = below(trial, 7, 2), g->c_in_l2 = below(trial, 8, 2); /* change no bit */
  int init = below(trial, 6, 4); /* none, one row for all, a row each, accumulate */
  g->init = init == 0 ? NULL : init == 3 ? p->c : p->init;
  g->init_row = init == 1 ? 0 : init == 2 ? MAX_N : g->ldc;
  fill("a", trial, p->a, sizeof p->a / sizeof *p->a);
  fill("b", trial, p->b, (size_t)(g->k * (g->n + 32)));
  fill("init", trial, p->init, sizeof p->init / sizeof *p->init);
  fill("c", trial, p->start, sizeof p->start / sizeof *p->start);
}

static const real *multiply(const Kernels *kernels, Product *p) {
  memcpy(p->c, p->start, sizeof p->c);
  kernels->gemm(&p->gemm);
  return p->c;
}

static real b_at(const Gemm *g, int k, int j) {
  return g->b[(j / 32) * g->bpanel + k * g->bk + j % 32];
}

/* the definition: one chain of fused multiply-adds, k ascending, from the initial value */
static real chain(const Product *p, int i, int j) {
  const Gemm *g = &p->gemm;
  const real *init = g->init == p->c ? p->start : g->init;
  real sum = init ? init[i * g->init_row + j] : 0;
  for (int k = 0; k < g->k; k++) sum = FMA(g->a[i * g->ai + k * g->ak], b_at(g, k, j), sum);
  return sum;
}

static void every_output_is_one_chain_over_k(void **state) {
  (void)state;
  const Kernels *table[3];
  int tables = own_tables(table);
  Product *p = malloc(sizeof *p);
  for (uint64_t trial = 0; trial < 4 * MAX_M; trial++) {
    draw_product(p, trial);
    const Gemm *g = &p->gemm;
    for (int t = 0; t < tables; t++) {
      const real *c = multiply(table[t], p);
      for (int i = 0; i < g->m; i++) {
        for (int j = 0; j < g->n; j += 1 + 5 * (t == 0))
          if (c[i * g->ldc + j] != chain(p, i, j))
            fail_msg("%s, trial %d: [%d, %d] of %d x %d x %d", table[t]->name, (int)trial, i, j,
                     g->m, g->n, g->k);
        assert_memory_equal(c + i * g->ldc + g->n, p->start + i * g->ldc + g->n, 16 * sizeof *c);
      }
    }
  }
  free(p);
}

static void a_row_alone_equals_the_row_in_a_batch(void **state) {
  (void)state;
  const Kernels *table[3];
  int tables = own_tables(table);
  Product *p = malloc(sizeof *p);
  for (int t = 0; t < tables; t++)
    for (uint64_t trial = 30; trial < 40; trial++) {
      draw_product(p, trial);
      const Gemm *g = &p->gemm;
      static real all[sizeof p->c / sizeof *p->c];
      memcpy(all, multiply(table[t], p), sizeof all);
      for (int i = 0; i < g->m; i++) {
        memcpy(p->c, p->start, sizeof p->c);
        Gemm row = *g;
        row.m = 1, row.a += i * row.ai, row.c += i * row.ldc;
        if (row.init) row.init += i * row.init_row;
        table[t]->gemm(&row);
        assert_memory_equal(row.c, all + i * g->ldc, (size_t)g->n * sizeof(real));
      }
    }
  free(p);
}

static void openblas_agrees_up_to_rounding(void **state) {
  (void)state;
  Error error;
  const Kernels *blas = kernels_find("openblas", &error);
  if (!blas && strstr(error.text, "built without")) skip(); /* for ARM */
  assert_non_null(blas);
  if (blas == &kernels_plain) skip(); /* MODE=double has the plain kernels alone */
  Product *p = malloc(sizeof *p);
  for (uint64_t trial = 0; trial < MAX_M; trial++) {
    draw_product(p, trial);
    Gemm *g = &p->gemm;
    g->bk = g->n, g->bpanel = 32; /* it takes plain rows */
    const real *c = multiply(blas, p);
    for (int i = 0; i < g->m; i++)
      for (int j = 0; j < g->n; j += 7) {
        double size = 1;
        for (int k = 0; k < g->k; k++)
          size += fabs((double)(g->a[i * g->ai + k * g->ak] * b_at(g, k, j)));
        assert_true(fabs((double)(c[i * g->ldc + j] - chain(p, i, j))) < 1e-6 * size);
      }
  }
  free(p);
}

/* ---- functions ------------------------------------------------------------------------------- */

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double softplus(double x) { return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x)); }
static double normal_cdf(double x) { return 0.5 * erfc(-x / sqrt(2)); }
static double normal_density(double x) { return exp(-x * x / 2) / sqrt(2 * acos(-1)); }
static double sech2(double x) { return 4 / (exp(2 * x) + 2 + exp(-2 * x)); }

static double mish(double x) { return x * tanh(softplus(x)); }
static double d_mish(double x) { return tanh(softplus(x)) + x * sech2(softplus(x)) * sigmoid(x); }
static double relu(double x) { return x > 0 ? x : 0; }
static double d_relu(double x) { return x > 0; }
static double silu(double x) { return x * sigmoid(x); }
static double d_silu(double x) { return sigmoid(x) * (1 + x * sigmoid(-x)); }
static double gelu(double x) { return x * normal_cdf(x); }
static double d_gelu(double x) { return normal_cdf(x) + x * normal_density(x); }
static double square(double x) { return x * x; }
static double d_square(double x) { return 2 * x; }
static double d_abs(double x) { return (x > 0) - (x < 0); }
static double d_log(double x) { return 1 / x; }
static double d_sqrt(double x) { return 0.5 / sqrt(x); }
static double d_cos(double x) { return -sin(x); }

/* |f - f*| <= rel |f*| + abs on a dense grid, the same for f'; in double both are rounding */
static const struct {
  Map map;
  double (*f)(double), (*slope)(double);
  double low, high, rel, abs;
} functions[] = {
  { MAP_mish, mish, d_mish, -60, 60, 6e-7, 5e-7 },
  { MAP_relu, relu, d_relu, -9, 9, 0, 0 },
  { MAP_tanh, tanh, sech2, -20, 20, 2e-7, 2e-7 },
  { MAP_silu, silu, d_silu, -60, 60, 6e-7, 4e-7 },
  { MAP_gelu, gelu, d_gelu, -20, 20, 4e-7, 4e-7 },
  { MAP_exp, exp, exp, -86, 87, 2.5e-7, 0 },
  { MAP_square, square, d_square, -9, 9, 1e-7, 0 },
  { MAP_abs, fabs, d_abs, -9, 9, 0, 0 },
  { MAP_softplus, softplus, sigmoid, -60, 60, 2e-7, 2e-7 },
  { MAP_log, log, d_log, 1e-6, 1e4, 2e-7, 1e-7 },
  { MAP_sqrt, sqrt, d_sqrt, 1e-6, 1e4, 1.5e-7, 0 },
  { MAP_sin, sin, cos, -1e5, 1e5, 0, 1.5e-7 },
  { MAP_cos, cos, d_cos, -1e5, 1e5, 0, 1.5e-7 },
  { MAP_ndtr, normal_cdf, normal_density, -13, 13, 1e-6, 0 },
};

static void functions_are_libms_within_stated_bounds(void **state) {
  (void)state;
  Error error;
  MapKernel *const *map = kernels_find("plain", &error)->map;
  assert_int_equal(sizeof functions / sizeof *functions, MAP_COUNT); /* a new map needs a line */
  for (size_t f = 0; f < MAP_COUNT; f++) {
    enum { POINTS = 200000 };
    double rel = sizeof(real) == 8 ? 4e-15 : functions[f].rel, worst[2] = { 0 };
    double abs = sizeof(real) == 8 ? 1e-14 : functions[f].abs;
    for (int i = 0; i <= POINTS; i++) {
      real y[2], x = (real)(functions[f].low + (functions[f].high - functions[f].low) * i / POINTS);
      map[functions[f].map](&x, &y[0], &y[1], 1);
      const double want[2] = { functions[f].f((double)x), functions[f].slope((double)x) };
      for (int s = 0; s < 2; s++)
        worst[s] = fmax(worst[s], fabs((double)y[s] - want[s]) - rel * fabs(want[s]));
    }
    if (!(worst[0] <= abs && worst[1] <= abs))
      fail_msg("%s: beyond the relative bound by %.2g, its slope by %.2g",
               map_name(functions[f].map), worst[0], worst[1]);
  }
}

static void sines_near_zero_are_x(void **state) {
  (void)state;
  Error error;
  MapKernel *const *map = kernels_find("plain", &error)->map;
  for (double x = 1e-12; x < 1e-2; x *= 1.7)
    for (int sign = -1; sign <= 1; sign += 2) {
      real y, slope, at = (real)(sign * x);
      map[MAP_sin](&at, &y, &slope, 1);
      assert_true(fabs((double)y - sin((double)at)) <= 1.5e-7 * fabs((double)at));
    }
}

static void functions_have_the_same_bits_in_every_table(void **state) {
  (void)state;
  enum { N = 4000 };
  static real x[N], y[2][N], slope[2][N];
  const Kernels *table[3];
  int tables = own_tables(table);
  unsigned before = denormals_off(); /* as in every run of a tape */
  fill("x", 0, x, N);
  for (int i = 0; i < N; i++) x[i] *= (real)(i % 4 == 0 ? 40 : i % 4 == 1 ? 1e-3 : 3);
  static const double special[] = { 0, -0.0, 1e30, -1e30, 88, -88, 0.625, 20, 1e-38, INFINITY };
  for (size_t i = 0; i < sizeof special / sizeof *special; i++) x[i] = (real)special[i];
  for (int m = 0; m < MAP_COUNT; m++)
    for (int t = 0; t < tables; t++) {
      int into = t > 0;
      table[t]->map[m](x, y[into], slope[into], N);
      if (t && (memcmp(y[0], y[1], sizeof *y) || memcmp(slope[0], slope[1], sizeof *slope)))
        fail_msg("%s differs between %s and %s", map_name((Map)m), table[0]->name, table[t]->name);
      for (int n = 1; n < 40; n++) { /* in place, without slopes, any length */
        real z[40];
        memcpy(z, x + 10, sizeof z);
        table[t]->map[m](z, z, NULL, n);
        assert_memory_equal(z, y[into] + 10, (size_t)n * sizeof *z);
        assert_memory_equal(z + n, x + 10 + n, (size_t)(40 - n) * sizeof *z);
      }
    }
  denormals_restore(before);
}

/* ---- element-wise kernels -------------------------------------------------------------------- */

static void sums_products_and_adam_have_the_same_bits(void **state) {
  (void)state;
  enum { N = 1003 };
  static real a[N], b[N], out[3][5][N];
  const Kernels *table[3];
  int tables = own_tables(table);
  AdamStep step = { (real)3e-4, (real)0.9, (real)0.999, (real)1e-8, (real)1e-6, (real)0.7, 2, 3 };
  fill("a", 0, a, N), fill("b", 0, b, N);
  for (int t = 0; t < tables; t++) {
    table[t]->add(a, b, out[t][0], N), table[t]->mul(a, b, out[t][1], N);
    for (int i = 0; i < N; i++)
      assert_true(out[t][0][i] == a[i] + b[i] && out[t][1][i] == a[i] * b[i]);
    fill("m", 0, out[t][2], N), fill("v", 0, out[t][3], N), fill("w", 0, out[t][4], N);
    for (int i = 0; i < N; i++) out[t][3][i] *= out[t][3][i];
    table[t]->adam(&step, a, out[t][2], out[t][3], out[t][4], N);
    table[t]->lerp(out[t][3], b, (real)0.3, N);
    assert_memory_equal(out[t], out[0], sizeof *out);
  }
}

/* All of it and nothing beside it, whatever the shape. */
static void a_transposed_matrix_has_rows_for_columns(void **state) {
  (void)state;
  enum { M = 37, N = 41, FROM = 48, TO = 50 };
  static real from[M * FROM], to[N * TO];
  const Kernels *table[3];
  int tables = own_tables(table);
  fill("from", 0, from, M * FROM);
  for (int t = 0; t < tables; t++)
    for (int m = 1; m <= M; m += 4)
      for (int n = 1; n <= N; n += 5) {
        for (int i = 0; i < N * TO; i++) to[i] = 7;
        table[t]->transpose(from, FROM, m, n, to, TO);
        for (int j = 0; j < N; j++)
          for (int i = 0; i < TO; i++)
            assert_true(to[j * TO + i] == (i < m && j < n ? from[i * FROM + j] : 7));
      }
}

/* sixteen counters at a time and one by one (Random123): the same numbers, nothing beside them */
static void numbers_are_those_of_rng_h(void **state) {
  (void)state;
  enum { ROWS = 37, WIDTH = 70 };
  const Kernels *table[3];
  const int tables = own_tables(table);
  const uint64_t step = 0x123456789abcdefu;
  Rng rng = rng_stream(11, "numbers");
  uint32_t row[ROWS];
  for (int r = 0; r < ROWS; r++) row[r] = UINT32_MAX - 97 * (uint32_t)r;
  for (int t = 0; t < tables; t++)
    for (int width = 1; width <= WIDTH; width++) {
      float normal[ROWS * WIDTH + 1], expected[WIDTH];
      double uniform[WIDTH + 1];
      const int rows = 1 + width % ROWS;
      normal[rows * width] = -7, uniform[width] = -7;
      table[t]->normals(rng, step, row, rows, width, normal);
      table[t]->uniforms(rng, step, row[1], 1000, uniform, width);
      for (int r = 0; r < rows; r++) {
        rng_normals(rng, step, row[r], expected, width);
        assert_memory_equal(normal + r * width, expected, (size_t)width * sizeof *expected);
      }
      for (int j = 0; j < width; j++)
        assert_true(uniform[j] == rng_uniform(rng, step, row[1], 1000 + (uint32_t)j));
      assert_true(normal[rows * width] == -7 && uniform[width] == -7);
    }
}

static void an_unknown_table_is_refused(void **state) {
  (void)state;
  if (sizeof(real) == 8) skip(); /* MODE=double has the plain kernels alone */
  Error error = { .kind = FAIL_NONE };
  assert_null(kernels_find("mkl", &error));
  assert_int_equal(error.kind, FAIL_USAGE);
  assert_non_null(strstr(error.text, "openblas"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_output_is_one_chain_over_k),
    cmocka_unit_test(a_row_alone_equals_the_row_in_a_batch),
    cmocka_unit_test(openblas_agrees_up_to_rounding),
    cmocka_unit_test(functions_are_libms_within_stated_bounds),
    cmocka_unit_test(sines_near_zero_are_x),
    cmocka_unit_test(functions_have_the_same_bits_in_every_table),
    cmocka_unit_test(sums_products_and_adam_have_the_same_bits),
    cmocka_unit_test(a_transposed_matrix_has_rows_for_columns),
    cmocka_unit_test(numbers_are_those_of_rng_h),
    cmocka_unit_test(an_unknown_table_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
