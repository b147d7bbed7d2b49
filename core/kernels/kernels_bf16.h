/* kernels_bf16.h -- products of bf16 numbers by ordinary fused multiply-adds, part of
 * kernels_body.h.  bf16.h has the definition. */
#include "core/kernels/bf16.h"

#ifdef DIFFRL_DOUBLE
#define GEMM_BF16 NULL
#define PACK_BF16 NULL
#else
#define GEMM_BF16 gemm_bf16
#define PACK_BF16 pack_bf16

typedef uint32_t __attribute__((may_alias)) Bits; /* of a float, or of two bf16 numbers */

/* out [n]: pairs of two rows, the first in the lower half */
static void pair_rows(const real *even, const real *odd, int n, Bits *out) {
  const Bits *low = (const Bits *)even, *high = (const Bits *)odd;
  for (int j = 0; j < n; j++) out[j] = bf16_of_bits(low[j]) | bf16_of_bits(high[j]) << 16;
}
static void pair_row(const real *even, int n, Bits *out) { /* beside zeros */
  const Bits *low = (const Bits *)even;
  for (int j = 0; j < n; j++) out[j] = bf16_of_bits(low[j]);
}

/* one step of one tile: k <= 32 rows of n <= 16 columns */
static void pack_rows(const real *from, ptrdiff_t row, int k, int n, Bits *tile) {
  for (int u = 0; u < 16; u++, tile += 16) {
    const real *even = from + 2 * u * row;
    if (n < 16 || 2 * u >= k) memset(tile, 0, 16 * sizeof *tile);
    if (2 * u + 1 < k)
      pair_rows(even, even + row, n, tile);
    else if (2 * u < k)
      pair_row(even, n, tile);
  }
}

/* the same from columns that are contiguous: pairs lie side by side, and a transposition remains */
static void pack_columns(const real *from, ptrdiff_t column, int k, int n, Bits *tile) {
  Bits pairs[16 * 16];
  if (n < 16 || k < 32) memset(pairs, 0, sizeof pairs);
  for (int j = 0; j < n; j++) {
    const Bits *x = (const Bits *)(from + j * column);
    Bits *out = pairs + 16 * j;
    for (int u = 0; u < k / 2; u++)
      out[u] = bf16_of_bits(x[2 * u]) | bf16_of_bits(x[2 * u + 1]) << 16;
    if (k % 2) out[k / 2] = bf16_of_bits(x[k - 1]);
  }
  transpose((const real *)pairs, 16, 16, 16, (real *)tile, 16);
}

static void pack_bf16(const real *from, ptrdiff_t row, ptrdiff_t column, int k, int n,
                      uint16_t *panels) {
  Bits *tile = (Bits *)(void *)panels;
  for (int j0 = 0; j0 < n; j0 += BF16_PANEL)
    for (int k0 = 0; k0 < k; k0 += BF16_STEP)
      for (int j = j0; j < j0 + BF16_PANEL; j += 16, tile += 256) {
        int width = n - j < 16 ? n - j : 16, steps = k - k0 < 32 ? k - k0 : 32;
        const real *at = from + k0 * row + j * column;
        if (width <= 0)
          memset(tile, 0, 256 * sizeof *tile);
        else if (column == 1)
          pack_rows(at, row, steps, width, tile);
        else
          pack_columns(at, column, steps, width, tile);
      }
}

#ifndef V
static float a_bf16(const Bf16Gemm *p, int i, int k) {
  return k < p->k ? bf16_round(p->a[i * p->ai + k * p->ak]) : 0;
}
static float b_bf16(const Bf16Gemm *p, int k, int j) {
  if (p->panels) return bf16_to(p->panels[bf16_at(p->k, k, j)]);
  return k < p->k ? bf16_round(p->b[k * p->bk + j]) : 0;
}

/* the definition itself */
static void gemm_bf16(const Bf16Gemm *p) {
  for (int i = 0; i < p->m; i++)
    for (int j = 0; j < p->n; j++) {
      float sum = p->init ? p->init[i * p->init_row + j] : 0;
      for (int k = 0; k < p->k; k += BF16_STEP) {
        float even = 0, odd = 0;
        for (int u = k; u < k + BF16_STEP; u += 2) {
          even = vecmath_fma(a_bf16(p, i, u), b_bf16(p, u, j), even);
          odd = vecmath_fma(a_bf16(p, i, u + 1), b_bf16(p, u + 1, j), odd);
        }
        sum += even + odd;
      }
      p->c[i * p->ldc + j] = sum;
    }
}
#else
#include "core/kernels/kernels_bf16_tile.h"
#endif
#endif
