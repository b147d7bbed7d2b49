/* kernels_body.h -- the kernels, written once over a vector type and compiled for each
 * instruction set by a file that defines V, VW, TILE, vload, vstore, vset and vfma (or nothing:
 * plain C).  The loops over elements are left to the compiler's vectoriser; they contain nothing
 * but IEEE operations and fma, so every build gives the same bits. */
#include "core/kernels/kernels.h"
#include "core/kernels/vecmath.h"
#include <stdbool.h>
#include <math.h>

/* ---- products -------------------------------------------------------------------------------- */

#ifdef V
#define INLINE static inline __attribute__((always_inline))

/* Row i of a tile is reached from one of four pointers, three rows apart, by 0, 1, 2, 4 or 8 times
 * the stride: addresses that the processor forms on its own. */
#define ROW_FROM(i)       ((i) == 9 ? 3 : (i) == 6 || (i) == 10 ? 2 : (i) % 2 && (i) > 1 ? 1 : 0)
#define ENTRY(row, bytes) (*(const real *)((row) + (bytes)))

/* acc [M, NV vectors] += a column of A times a row of B */
INLINE void add_outer(V acc[TILE][2], const char *const a[4], ptrdiff_t ai, const real *b,
                      const int M, const int NV) {
  V b0 = vload(b), b1 = NV > 1 ? vload(b + VW) : b0;
#pragma GCC unroll 12
  for (int i = 0; i < M; i++) {
    V s = vset(ENTRY(a[ROW_FROM(i)], (i - 3 * ROW_FROM(i)) * ai));
    acc[i][0] = vfma(s, b0, acc[i][0]);
    if (NV > 1) acc[i][1] = vfma(s, b1, acc[i][1]);
  }
}

/* What a tile fetches of A and B for those that follow, `pace` reals for each k. */
typedef struct {
  const real *b, *a;
  ptrdiff_t b_pace, a_pace;
  bool b_each; /* a line of B for each k rather than for every second */
} Ahead;

/* acc [M, NV vectors] += A B, from A's row and B's columns of the tile.  Two k a turn, because one
 * line serves two, and fetching more than the lines is not free. */
INLINE void accumulate(const Gemm *p, const real *from, const real *b, V acc[TILE][2], const int M,
                       const int NV, Ahead ahead) {
  const ptrdiff_t size = sizeof(real), ak = p->ak * size, bk = p->bk;
  ptrdiff_t ai = p->ai * size;
  const char *a[4];
  for (int q = 0; q < 4; q++) a[q] = (const char *)from + 3 * q * ai;
#define NEXT_K                                                                                     \
  add_outer(acc, a, ai, b, M, NV), b += bk;                                                        \
  for (int q = 0; q < 4; q++) a[q] += ak;                                                          \
  __asm__("" : "+r"(a[0]), "+r"(a[1]), "+r"(a[2]), "+r"(a[3]), "+r"(ai)) /* keep them so */
  for (int k = p->k; k > 1; k -= 2) {
    __builtin_prefetch(ahead.b, 0, 2);
    if (ahead.b_each) __builtin_prefetch(ahead.b + ahead.b_pace, 0, 2);
    ahead.b += 2 * ahead.b_pace;
    NEXT_K;
    if (!p->a_in_l2) {
      __builtin_prefetch(ahead.a, 0, 3), __builtin_prefetch(ahead.a + ahead.a_pace, 0, 3);
      ahead.a += 2 * ahead.a_pace;
    }
    NEXT_K;
  }
  if (p->k % 2) { NEXT_K; }
#undef NEXT_K
}

/* M rows by NV vectors; j0 is a multiple of the tile's width */
INLINE void tile(const Gemm *p, int i0, int j0, const int M, const int NV) {
  V acc[TILE][2];
  const ptrdiff_t a0 = i0 * p->ai, b0 = (j0 / 32) * p->bpanel + j0 % 32;
  const real *init = p->init ? p->init + i0 * p->init_row + j0 : NULL;
  real *c = p->c + i0 * p->ldc + j0;
#pragma GCC unroll 12
  for (int i = 0; i < M; i++)
    for (int v = 0; v < NV; v++) {
      acc[i][v] = init ? vload(init + i * p->init_row + v * VW) : vset(0);
      if (!p->c_in_l2) __builtin_prefetch(c + (i + M) * p->ldc + v * VW, 1, 2); /* the tile below */
    }
  /* the next strip of B: packed, a share of its panel for each tile; else a column of lines */
  const int share = p->m >= 4 * TILE ? 8 : p->m <= 2 * TILE ? 16 : 32 * TILE / p->m;
  const bool last = j0 + 32 >= p->n, packed = p->bk == 32, rows = p->ak == 1;
  const ptrdiff_t at = packed ? i0 * p->k * share / TILE : i0 / TILE % 2 * 16;
  const real *b = p->b + b0, *a = p->a + a0;
  const real *next = !last         ? b + (packed ? p->bpanel : 32) + at
                     : p->prefetch ? p->prefetch + at
                                   : b;
  /* of A: the rows of the tile below or (a weight's gradient) its columns */
  Ahead ahead = { .b = next, .b_pace = packed ? share : p->bk, .b_each = !packed || share > 8 };
  ahead.a = a + (rows ? M * p->ai : 2 * TILE);
  ahead.a_pace = rows ? (M * p->ai + p->k - 1) / (p->k + !p->k) : p->ak;
  accumulate(p, a, b, acc, M, NV, ahead);
#pragma GCC unroll 12
  for (int i = 0; i < M; i++)
    for (int v = 0; v < NV; v++) vstore(c + i * p->ldc + v * VW, acc[i][v]);
}

/* the rows of one column strip but the last 1 to 4, of which the first is returned */
INLINE int strip(const Gemm *p, int j0, const int NV) {
  int i = 0;
  /* two tiles of 8 rows are quicker than 12 and 4 */
  for (; i + TILE <= p->m && !(TILE == 12 && p->m - i == 16); i += TILE) tile(p, i, j0, TILE, NV);
  for (; TILE > 8 && i + 8 <= p->m; i += 8) tile(p, i, j0, 8, NV);
  if (i + 4 < p->m) tile(p, i, j0, 4, NV), i += 4;
  return i;
}

/* M rows by NV vectors, of several panels at once: few rows leave few chains of fma in one.  j0 is
 * a multiple of NV vectors. */
INLINE void thin_tile(const Gemm *p, int i0, int j0, const int M, const int NV) {
  enum { PER = 32 / VW }; /* vectors of a panel */
  V acc[4][8];
  const real *a = p->a + i0 * p->ai, *b[8];
  const real *init = p->init ? p->init + i0 * p->init_row + j0 : NULL;
  real *c = p->c + i0 * p->ldc + j0;
#pragma GCC unroll 8
  for (int v = 0; v < NV; v++)
    b[v] = p->b + (j0 / 32 + v / PER) * p->bpanel + j0 % 32 + v % PER * VW;
#pragma GCC unroll 4
  for (int i = 0; i < M; i++)
#pragma GCC unroll 8
    for (int v = 0; v < NV; v++)
      acc[i][v] = init ? vload(init + i * p->init_row + v * VW) : vset(0);
#pragma GCC unroll 4
  for (int k = 0; k < p->k; k++)
#pragma GCC unroll 8
    for (int v = 0; v < NV; v++) {
      V bv = vload(b[v] + k * p->bk);
#pragma GCC unroll 4
      for (int i = 0; i < M; i++) acc[i][v] = vfma(vset(a[i * p->ai + k * p->ak]), bv, acc[i][v]);
    }
#pragma GCC unroll 4
  for (int i = 0; i < M; i++)
#pragma GCC unroll 8
    for (int v = 0; v < NV; v++) vstore(c + i * p->ldc + v * VW, acc[i][v]);
}

/* strips as wide as there are accumulators for */
INLINE void thin_rows(const Gemm *p, int i, const int M) {
  const int wide = M * 8 <= 2 * TILE ? 8 : M * 4 <= 2 * TILE ? 4 : 2;
  int j = 0;
  for (; j + wide * VW <= p->n; j += wide * VW) thin_tile(p, i, j, M, wide);
  for (; j + 2 * VW <= p->n; j += 2 * VW) thin_tile(p, i, j, M, 2);
  if (j < p->n) thin_tile(p, i, j, M, 1);
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
  int i = 0, j = 0;
  for (; j + 2 * VW <= p->n; j += 2 * VW) i = strip(p, j, 2);
  for (; j < p->n; j += VW) i = strip(p, j, 1);
  switch (p->m - i) {
  case 1: thin_rows(p, i, 1); break;
  case 2: thin_rows(p, i, 2); break;
  case 3: thin_rows(p, i, 3); break;
  case 4: thin_rows(p, i, 4); break;
  }
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

/* 8 x 8 numbers in three rounds of pairs: halves, quarters, neighbours change places */
typedef real Eight __attribute__((vector_size(8 * sizeof(real)), aligned(sizeof(real))));
#ifdef DIFFRL_DOUBLE
typedef int64_t Places __attribute__((vector_size(64)));
#else
typedef int32_t Places __attribute__((vector_size(32)));
#endif
static const Places swap_low[3] = { { 0, 1, 2, 3, 8, 9, 10, 11 },
                                    { 0, 1, 8, 9, 4, 5, 12, 13 },
                                    { 0, 8, 2, 10, 4, 12, 6, 14 } },
                    swap_high[3] = { { 4, 5, 6, 7, 12, 13, 14, 15 },
                                     { 2, 3, 10, 11, 6, 7, 14, 15 },
                                     { 1, 9, 3, 11, 5, 13, 7, 15 } };

#ifdef __clang__ /* which shuffles by constants alone */
static inline Eight shuffle(Eight low, Eight high, Places by) {
  Eight out;
  for (int i = 0; i < 8; i++) out[i] = by[i] < 8 ? low[by[i]] : high[by[i] - 8];
  return out;
}
#else
#define shuffle __builtin_shuffle
#endif

static inline void transpose_block(const real *from, ptrdiff_t from_ld, real *to, ptrdiff_t to_ld) {
  Eight row[8], next[8];
  for (int i = 0; i < 8; i++) row[i] = *(const Eight *)(from + i * from_ld);
#pragma GCC unroll 3
  for (int round = 0; round < 3; round++) {
    int apart = 4 >> round;
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
      next[i] = i & apart ? shuffle(row[i - apart], row[i], swap_high[round])
                          : shuffle(row[i], row[i + apart], swap_low[round]);
    for (int i = 0; i < 8; i++) row[i] = next[i];
  }
  for (int i = 0; i < 8; i++) *(Eight *)(to + i * to_ld) = row[i];
}

static void transpose(const real *from, ptrdiff_t from_ld, int m, int n, real *to,
                      ptrdiff_t to_ld) {
  int whole_m = m / 8 * 8, whole_n = n / 8 * 8;
  for (int j = 0; j < whole_n; j += 8)
    for (int i = 0; i < whole_m; i += 8)
      transpose_block(from + i * from_ld + j, from_ld, to + j * to_ld + i, to_ld);
  for (int i = 0; i < m; i++)
    for (int j = i < whole_m ? whole_n : 0; j < n; j++) to[j * to_ld + i] = from[i * from_ld + j];
}

static void mul(const real *a, const real *b, real *y, int n) {
  for (int i = 0; i < n; i++) y[i] = a[i] * b[i];
}
static void add(const real *a, const real *b, real *y, int n) {
  for (int i = 0; i < n; i++) y[i] = a[i] + b[i];
}

#include "core/kernels/kernels_bf16.h"
#include "core/kernels/kernels_plane.h"

static void adam(const AdamStep *s, const real *g, real *m, real *v, real *w, int n) {
  for (int i = 0; i < n; i++) {
    real d = g[i] * s->scale;
    real m1 = s->beta1 * m[i] + (1 - s->beta1) * d;
    real v1 = s->beta2 * v[i] + (1 - s->beta2) * d * d;
    m[i] = m1, v[i] = v1;
    w[i] = w[i] - s->decay * w[i] - s->lr * (m1 * s->fix1) / (root_of(v1) * s->fix2 + s->eps);
  }
}

typedef double EightDoubles __attribute__((vector_size(64)));
static double squares(const real *x, int n) {
  EightDoubles sum = { 0 };
  int i = 0;
  for (; i + 8 <= n; i += 8) {
    EightDoubles d = __builtin_convertvector(*(const Eight *)(x + i), EightDoubles);
    sum += d * d;
  }
  for (int j = 0; i < n; i++, j++) sum[j] += (double)x[i] * (double)x[i];
  return ((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7]));
}

/* ---- minimal filtering ----------------------------------------------------------------------- */

#include "core/kernels/kernels_tile.h"

static void lerp(real *to, const real *from, real t, int n) {
  for (int i = 0; i < n; i++) to[i] += t * (from[i] - to[i]);
}

#include "core/kernels/kernels_random.h"

#define MAP_ENTRY(name, zero)                map_##name##_kernel,
#define KERNEL_TABLE(title, packed, product) KERNEL_TABLE_AT(title, packed, product, F32, GEMM_BF16)
#define KERNEL_TABLE_AT(title, packed, product, at, product_bf16)                                  \
  {                                                                                                \
    .plane = PLANE_KERNELS, .name = title, .precision = PRECISION_##at, .packs = packed,           \
    .gemm = product, .gemm_bf16 = product_bf16, .pack_bf16 = PACK_BF16,                            \
    .map = { KERNEL_MAPS(MAP_ENTRY) },                                                             \
    .tile = { TILE_ENTRY(1x3), TILE_ENTRY(1x5), TILE_ENTRY(3x3) }, .transpose = transpose,         \
    .mul = mul, .add = add, .adam = adam, .squares = squares, .lerp = lerp, .normals = normals,    \
    .uniforms = uniforms, .fma_probe = fma_probe, .fma_flops = 2 * VW * PROBE                      \
  }
