/* kernels_amx.c -- products of bf16 numbers on Intel's tile unit, whose sums define them (bf16.h).
 *
 * The unit has eight tiles of 16 rows by 64 bytes.  A block of C is 2 x 2 tiles (0 to 3), a step
 * reads two of A (4, 5) and two of B (6, 7); at most 16 rows take four tiles of C side by side.
 * The state of the tiles belongs to a product: it is set when one begins and released when it
 * ends, so no thread keeps any.  A caller who is using the unit himself gets AVX-512, whose bits
 * are the same, and his tiles stay as they are. */
#include "core/kernels/kernels.h"
#include "core/kernels/kernels_amx.h"
#if !defined DIFFRL_DOUBLE && defined __AMX_BF16__ && defined __AVX512BF16__
#include "core/kernels/bf16.h"
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Linux gives the unit's state only to a process that has asked (arch/x86/xstate, kernel 5.16) */
bool amx_granted(void) {
  enum { REQ_XCOMP_PERM = 0x1023, XTILEDATA = 18, AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24 };
  unsigned a, b, c, d;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & AMX_BF16) || !(d & AMX_TILE)) return false;
  if (!__get_cpuid_count(7, 1, &a, &b, &c, &d) || !(a & 1 << 5)) return false; /* AVX512-BF16 */
  return !syscall(SYS_arch_prctl, REQ_XCOMP_PERM, XTILEDATA);
}

typedef struct {
  uint8_t palette, start, zero[14];
  uint16_t bytes[16];
  uint8_t rows[16];
} Tiles;

static bool tiles_in_use(void) {
  _Alignas(64) Tiles now;
  _tile_storeconfig(&now);
  return now.palette;
}
static void tiles_of_rows(int rows) { /* of C and A: 1 .. 16 */
  _Alignas(64) Tiles tiles = { .palette = 1 };
  for (int i = 0; i < 8; i++) tiles.bytes[i] = 64, tiles.rows[i] = (uint8_t)(i < 6 ? rows : 16);
  _tile_loadconfig(&tiles);
}

enum { BLOCK_K = 512, BLOCK_A = 16384, BLOCK_B = 8192, TILE = 512 /* numbers */ };

typedef struct {
  int rows, k, steps;
  uint16_t *a;           /* [rows / 16, steps] tiles */
  const uint16_t *panel; /* [steps, 2] tiles */
  bool begins;           /* with init rather than with what is in C */
} Block;

/* ---- A to tiles ------------------------------------------------------------------------------ */

static __mmask16 first(int n) { return (__mmask16)(n >= 16 ? 0xffff : n <= 0 ? 0 : (1 << n) - 1); }

static __m512i halves(__m512 low, __m512 high) { /* 32 numbers */
  return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}

static void pack_by_rows(const Bf16Gemm *p, int i0, int k0, const Block *block) {
  for (int i = 0; i < block->rows; i++) {
    const float *from = p->a + (i0 + i) * p->ai + k0;
    uint16_t *to = block->a + i / 16 * block->steps * TILE + i % 16 * 32;
    for (int k = 0; k < block->k; k += 32, to += TILE) {
      __m512 low = _mm512_maskz_loadu_ps(first(block->k - k), from + k);
      __m512 high = _mm512_maskz_loadu_ps(first(block->k - k - 16), from + k + 16);
      _mm512_store_si512(to, halves(low, high));
    }
  }
}

/* 16 x 16 pairs change rows and columns: by one, by two within quarters, then quarters */
static void transpose_pairs(__m512i *r, uint16_t *to) {
  __m512i t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]), r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  for (int i = 0; i < 4; i++) { /* column i of each quarter: rows 0-3, 4-7, 8-11, 12-15 */
    __m512i a = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
    __m512i b = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
    __m512i c = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
    __m512i d = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
    _mm512_store_si512(to + 32 * i, _mm512_shuffle_i32x4(a, c, 0x88));
    _mm512_store_si512(to + 32 * (i + 4), _mm512_shuffle_i32x4(b, d, 0x88));
    _mm512_store_si512(to + 32 * (i + 8), _mm512_shuffle_i32x4(a, c, 0xdd));
    _mm512_store_si512(to + 32 * (i + 12), _mm512_shuffle_i32x4(b, d, 0xdd));
  }
}

static __m512i pairs_at(const float *even, ptrdiff_t next, int k, __mmask16 columns) {
  __m512 low = k > 0 ? _mm512_maskz_loadu_ps(columns, even) : _mm512_setzero_ps();
  __m512 high = k > 1 ? _mm512_maskz_loadu_ps(columns, even + next) : _mm512_setzero_ps();
  __m512i low_bits = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(low));
  __m512i high_bits = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(high));
  return _mm512_or_si512(low_bits, _mm512_slli_epi32(high_bits, 16));
}

static void pack_by_columns(const Bf16Gemm *p, int i0, int k0, const Block *block) {
  for (int i = 0; i < block->rows; i += 16)
    for (int s = 0; s < block->steps; s++) {
      const float *from = p->a + i0 + i + (k0 + 32 * s) * p->ak;
      __m512i pairs[16];
      for (int u = 0; u < 16; u++)
        pairs[u] = pairs_at(from + 2 * u * p->ak, p->ak, block->k - 32 * s - 2 * u,
                            first(block->rows - i));
      transpose_pairs(pairs, block->a + (i / 16 * block->steps + s) * TILE);
    }
}

/* rows of B to the panel of 32 columns from j on */
static void pack_panel(const Bf16Gemm *p, int k0, int j, const Block *block, uint16_t *to) {
  for (int s = 0; s < block->steps; s++)
    for (int v = 0; v < 2; v++, to += TILE)
      for (int u = 0; u < 16; u++) {
        const float *from = p->b + (k0 + 32 * s + 2 * u) * p->bk + j + 16 * v;
        int left = j + 16 * v < p->n ? block->k - 32 * s - 2 * u : 0;
        _mm512_store_si512(to + 32 * u, pairs_at(from, p->bk, left, 0xffff));
      }
}

/* ---- blocks of C ----------------------------------------------------------------------------- */

#define BEGIN(tile, from, step)                                                                    \
  do {                                                                                             \
    if (from)                                                                                      \
      _tile_loadd(tile, from, step);                                                               \
    else                                                                                           \
      _tile_zero(tile);                                                                            \
  } while (0)

/* where the sums of C's row i and column j begin; NULL: zeros */
static const float *sums_from(const Bf16Gemm *p, const Block *block, int i, int j) {
  if (!block->begins) return p->c + i * p->ldc + j;
  return p->init ? p->init + i * p->init_row + j : NULL;
}

/* 2 x 2 tiles; fewer rows or columns than 32 leave out those tiles */
static void square(const Bf16Gemm *p, const Block *block, int i0, int i, int j) {
  const bool lower = i + 16 < block->rows, right = j + 16 < p->n;
  const ptrdiff_t row = block->begins ? p->init_row : p->ldc;
  const float *from = sums_from(p, block, i0 + i, j);
  const uint16_t *a = block->a + i / 16 * block->steps * TILE, *below = a + block->steps * TILE;
  const uint16_t *b = block->panel;
  BEGIN(0, from, row * 4);
  if (right) BEGIN(1, from ? from + 16 : NULL, row * 4);
  if (lower) BEGIN(2, from ? from + 16 * row : NULL, row * 4);
  if (lower && right) BEGIN(3, from ? from + 16 * row + 16 : NULL, row * 4);
  for (int s = 0; s < block->steps; s++, a += TILE, below += TILE, b += 2 * TILE) {
    _tile_loadd(4, a, 64);
    _tile_loadd(6, b, 64);
    _tile_dpbf16ps(0, 4, 6);
    if (right) {
      _tile_loadd(7, b + TILE, 64);
      _tile_dpbf16ps(1, 4, 7);
    }
    if (lower) {
      _tile_loadd(5, below, 64);
      _tile_dpbf16ps(2, 5, 6);
    }
    if (lower && right) _tile_dpbf16ps(3, 5, 7);
  }
  float *c = p->c + (i0 + i) * p->ldc + j;
  _tile_stored(0, c, p->ldc * 4);
  if (right) _tile_stored(1, c + 16, p->ldc * 4);
  if (lower) _tile_stored(2, c + 16 * p->ldc, p->ldc * 4);
  if (lower && right) _tile_stored(3, c + 16 * p->ldc + 16, p->ldc * 4);
}

/* at most 16 rows by four tiles of two panels: more chains at once */
static void flat(const Bf16Gemm *p, const Block *block, int i0, int j, size_t panel) {
  const ptrdiff_t row = block->begins ? p->init_row : p->ldc;
  const float *from = sums_from(p, block, i0, j);
  const uint16_t *a = block->a, *b = block->panel, *next = b + panel;
  BEGIN(0, from, row * 4);
  BEGIN(1, from ? from + 16 : NULL, row * 4);
  BEGIN(2, from ? from + 32 : NULL, row * 4);
  BEGIN(3, from ? from + 48 : NULL, row * 4);
  for (int s = 0; s < block->steps; s++, a += TILE, b += 2 * TILE, next += 2 * TILE) {
    _tile_loadd(4, a, 64);
    _tile_loadd(6, b, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, b + TILE, 64);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(6, next, 64);
    _tile_dpbf16ps(2, 4, 6);
    _tile_loadd(7, next + TILE, 64);
    _tile_dpbf16ps(3, 4, 7);
  }
  float *c = p->c + i0 * p->ldc + j;
  _tile_stored(0, c, p->ldc * 4);
  _tile_stored(1, c + 16, p->ldc * 4);
  _tile_stored(2, c + 32, p->ldc * 4);
  _tile_stored(3, c + 48, p->ldc * 4);
}

/* ---- products -------------------------------------------------------------------------------- */

static void multiply_block(const Bf16Gemm *p, int i0, int k0, Block *block) {
  _Alignas(64) uint16_t room[BLOCK_B * 2];
  const size_t panel = p->panels ? bf16_panel(p->k) : 0;
  const uint16_t *at = p->panels ? p->panels + (size_t)k0 * BF16_PANEL : room;
  int j = 0;
  for (block->panel = at; panel && block->rows <= 16 && j + 64 <= p->n; j += 64) {
    flat(p, block, i0, j, panel);
    block->panel += 2 * panel;
  }
  for (; j < p->n; j += 32, block->panel += panel) {
    if (!panel) pack_panel(p, k0, j, block, room);
    for (int i = 0; i < block->rows; i += 32) square(p, block, i0, i, j);
  }
}

void amx_gemm_bf16(const Bf16Gemm *p) {
  if (tiles_in_use()) {
    kernels_avx512.gemm_bf16(p);
    return;
  }
  _Alignas(64) uint16_t a[BLOCK_A];
  Block block = { .a = a };
  int set = 0; /* rows that the tiles are set for */
  for (int k0 = 0; k0 < p->k; k0 += BLOCK_K) {
    block.k = p->k - k0 < BLOCK_K ? p->k - k0 : BLOCK_K, block.steps = bf16_up(block.k) / 32;
    block.begins = k0 == 0;
    const int most = BLOCK_A / (32 * block.steps) / 32 * 32;
    for (int i0 = 0; i0 < p->m; i0 += block.rows) {
      int left = p->m - i0;
      block.rows = left >= most ? most : left >= 16 ? left / 16 * 16 : left;
      const int rows = block.rows < 16 ? block.rows : 16;
      if (p->ak == 1)
        pack_by_rows(p, i0, k0, &block);
      else
        pack_by_columns(p, i0, k0, &block);
      if (rows != set) tiles_of_rows(set = rows);
      multiply_block(p, i0, k0, &block);
    }
  }
  _tile_release();
}

#else
bool amx_granted(void) { return false; }
#ifndef DIFFRL_DOUBLE
void amx_gemm_bf16(const Bf16Gemm *p) { kernels_plain.gemm_bf16(p); }
#endif
#endif
