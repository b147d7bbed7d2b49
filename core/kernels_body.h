/* kernels_body.h -- the kernels, written once over a vector type and compiled for each
 * instruction set by a file that defines V, VW, TILE, vload, vstore, vset and vfma (or nothing:
 * plain C).  The loops over elements are left to the compiler's vectoriser; they contain nothing
 * but IEEE operations and fma, so every build gives the same bits. */
#include "core/kernels.h"
#include "core/vecmath.h"
#include <math.h>

/* ---- products -------------------------------------------------------------------------------- */

#ifdef V
#define INLINE static inline __attribute__((always_inline))

/* Row i of a tile is reached from one of four pointers, three rows apart, by 0, 1, 2, 4 or 8 times
 * the stride: addresses that the processor forms on its own. */
#define ROW_FROM(i)       ((i) == 9 ? 3 : (i) == 6 || (i) == 10 ? 2 : (i) % 2 && (i) > 1 ? 1 : 0)
#define ENTRY(row, bytes) (*(const real *)((row) + (bytes)))

/* M rows by NV vectors; j0 is a multiple of the tile's width.  ahead (nullable): the panel that
 * comes next, fetched meanwhile: few rows leave no other time for its way from L3. */
INLINE void tile(const Gemm *p, int i0, int j0, const int M, const int NV, const real *ahead) {
  V acc[TILE][2];
  const ptrdiff_t size = sizeof(real), ak = p->ak * size, bk = p->bk;
  ptrdiff_t ai = p->ai * size;
  const char *a[4];
  const real *b = p->b + (j0 / 32) * p->bpanel + j0 % 32;
  const real *init = p->init ? p->init + i0 * p->init_row + j0 : NULL;
  real *c = p->c + i0 * p->ldc + j0;
  for (int q = 0; q < 4; q++) a[q] = (const char *)p->a + (i0 + 3 * q) * ai;
#pragma GCC unroll 12
  for (int i = 0; i < M; i++)
    for (int v = 0; v < NV; v++)
      acc[i][v] = init ? vload(init + i * p->init_row + v * VW) : vset(0);
  for (int k = p->k; k > 0; k--, b += bk) {
    V b0 = vload(b), b1 = NV > 1 ? vload(b + VW) : b0;
    if (ahead) __builtin_prefetch(ahead, 0, 2), __builtin_prefetch(ahead + 16, 0, 2), ahead += bk;
#pragma GCC unroll 12
    for (int i = 0; i < M; i++) {
      V s = vset(ENTRY(a[ROW_FROM(i)], (i - 3 * ROW_FROM(i)) * ai));
      acc[i][0] = vfma(s, b0, acc[i][0]);
      if (NV > 1) acc[i][1] = vfma(s, b1, acc[i][1]);
    }
    for (int q = 0; q < 4; q++) a[q] += ak;
    __asm__("" : "+r"(a[0]), "+r"(a[1]), "+r"(a[2]), "+r"(a[3]), "+r"(ai)); /* keep them so */
  }
#pragma GCC unroll 12
  for (int i = 0; i < M; i++)
    for (int v = 0; v < NV; v++) vstore(c + i * p->ldc + v * VW, acc[i][v]);
}

/* all rows of one column strip */
INLINE void strip(const Gemm *p, int j0, const int NV) {
  int i = 0;
  const real *ahead = NULL;
  if (NV == 2 && p->bk == 32 && j0 + 32 < p->n) ahead = p->b + (j0 / 32 + 1) * p->bpanel;
  /* two tiles of 8 rows are quicker than 12 and 4 */
  for (; i + TILE <= p->m && !(TILE == 12 && p->m - i == 16); i += TILE) {
    if (ahead)
      tile(p, i, j0, TILE, NV, ahead);
    else
      tile(p, i, j0, TILE, NV, NULL);
    ahead = NULL;
  }
  for (; TILE > 8 && i + 8 <= p->m; i += 8) tile(p, i, j0, 8, NV, NULL);
  if (i + 4 <= p->m) tile(p, i, j0, 4, NV, NULL), i += 4;
  if (i + 2 <= p->m) tile(p, i, j0, 2, NV, NULL), i += 2;
  if (i < p->m) tile(p, i, j0, 1, NV, NULL);
}

enum { PROBE = 2 * TILE };
static real fma_probe(int rounds) {
  V acc[PROBE], a = vset(0.999f), b = vset(1e-3f);
#pragma GCC unroll 24
  for (int i = 0; i < PROBE; i++) acc[i] = vset((real)i);
  for (int r = 0; r < rounds; r++)
#pragma GCC unroll 24
    for (int i = 0; i < PROBE; i++) acc[i] = vfma(acc[i], a, b);
  real out[VW], sum = 0;
  for (int i = 0; i < PROBE; i++) {
    vstore(out, acc[i]);
    for (int l = 0; l < VW; l++) sum += out[l];
  }
  return sum;
}

static void gemm(const Gemm *p) {
  int j = 0;
  for (; j + 2 * VW <= p->n; j += 2 * VW) strip(p, j, 2);
  for (; j < p->n; j += VW) strip(p, j, 1);
}

#else

enum { VW = 1, PROBE = 8 };
static real fma_probe(int rounds) {
  real acc[PROBE] = { 0 }, sum = 0;
  for (int r = 0; r < rounds; r++)
    for (int i = 0; i < PROBE; i++) acc[i] = vecmath_fma(acc[i], (real)0.999, (real)1e-3);
  for (int i = 0; i < PROBE; i++) sum += acc[i];
  return sum;
}

static void gemm(const Gemm *p) {
  for (int i = 0; i < p->m; i++)
    for (int j = 0; j < p->n; j += 16) {
      real acc[16] = { 0 };
      const real *b = p->b + (j / 32) * p->bpanel + j % 32;
      if (p->init)
        for (int l = 0; l < 16; l++) acc[l] = p->init[i * p->init_row + j + l];
      for (int k = 0; k < p->k; k++) {
        real s = p->a[i * p->ai + k * p->ak];
        for (int l = 0; l < 16; l++) acc[l] = vecmath_fma(s, b[k * p->bk + l], acc[l]);
      }
      for (int l = 0; l < 16; l++) p->c[i * p->ldc + j + l] = acc[l];
    }
}
#endif

/* ---- element-wise functions ------------------------------------------------------------------ */

#define MAP_KERNEL(name, zero)                                                                     \
  static void map_##name##_kernel(const real *x, real *y, real *slope, int n) {                    \
    if (slope)                                                                                     \
      for (int i = 0; i < n; i++) {                                                                \
        real d, f = vecmath_##name(x[i], &d);                                                      \
        y[i] = f, slope[i] = d;                                                                    \
      }                                                                                            \
    else                                                                                           \
      for (int i = 0; i < n; i++) {                                                                \
        real d;                                                                                    \
        y[i] = vecmath_##name(x[i], &d);                                                           \
      }                                                                                            \
  }
KERNEL_MAPS(MAP_KERNEL)

static void mul(const real *a, const real *b, real *y, int n) {
  for (int i = 0; i < n; i++) y[i] = a[i] * b[i];
}
static void add(const real *a, const real *b, real *y, int n) {
  for (int i = 0; i < n; i++) y[i] = a[i] + b[i];
}

static void adam(const AdamStep *s, const real *g, real *m, real *v, real *w, int n) {
  for (int i = 0; i < n; i++) {
    real d = g[i] * s->scale;
    real m1 = s->beta1 * m[i] + (1 - s->beta1) * d;
    real v1 = s->beta2 * v[i] + (1 - s->beta2) * d * d;
    m[i] = m1, v[i] = v1;
    w[i] = w[i] - s->decay * w[i] - s->lr * (m1 * s->fix1) / (root_of(v1) * s->fix2 + s->eps);
  }
}

/* ---- minimal filtering ----------------------------------------------------------------------- */

#include "core/kernels_tile.h"

#define MAP_ENTRY(name, zero) map_##name##_kernel,
#define KERNEL_TABLE(title, packed, product)                                                       \
  {                                                                                                \
    .name = title, .packs = packed, .gemm = product, .map = { KERNEL_MAPS(MAP_ENTRY) },            \
    .tile = { TILE_ENTRY(1x3), TILE_ENTRY(1x5), TILE_ENTRY(3x3) }, .mul = mul, .add = add,         \
    .adam = adam, .fma_probe = fma_probe, .fma_flops = 2 * VW * PROBE                              \
  }
