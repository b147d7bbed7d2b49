/* kernels_bf16_tile.h -- the products of kernels_bf16.h on vectors, part of it.
 *
 * A block of A is rounded once, to floats; B stays packed, and its even and odd numbers are taken
 * apart by a shift and a mask.  One chain at a time leaves registers for whole tiles. */

enum { BLOCK_K = 256, BLOCK_A = 12288, BLOCK_STEPS = BLOCK_K / BF16_STEP };

/* what is multiplied at once: rows i0 .. of A and k0 .. k0 + k - 1 */
typedef struct {
  int rows, k; /* k is filled up to steps with zeros */
  ptrdiff_t row, column;
  real *a;        /* [BLOCK_A] */
  uint16_t *room; /* for a panel of B */
} BfBlock;

static void round_block(const Bf16Gemm *p, int i0, int k0, BfBlock *to) {
  const bool by_rows = p->ak == 1;
  const int length = by_rows ? to->k : to->rows, lines = by_rows ? to->rows : to->k;
  const ptrdiff_t from_line = by_rows ? p->ai : p->ak;
  const ptrdiff_t line = by_rows ? bf16_up(to->k) : to->rows;
  const Bits *from = (const Bits *)(p->a + i0 * p->ai + k0 * p->ak);
  to->row = by_rows ? line : 1, to->column = by_rows ? 1 : line;
  for (int l = 0; l < lines; l++) {
    Bits *out = (Bits *)(to->a + l * line);
    for (int j = 0; j < length; j++) out[j] = bf16_of_bits(from[l * from_line + j]) << 16;
    for (int j = length; j < line; j++) out[j] = 0;
  }
  if (!by_rows) memset(to->a + lines * line, 0, (size_t)((bf16_up(lines) - lines) * line) * 4);
}

/* sum [M, NV vectors] = the chain over the even (or odd) k of a step */
INLINE void bf16_chain(V sum[TILE][2], const real *a, ptrdiff_t row, ptrdiff_t column,
                       const Bits *b, const bool odd, const int M, const int NV) {
#pragma GCC unroll 12
  for (int i = 0; i < M; i++)
    for (int v = 0; v < NV; v++) sum[i][v] = vset(0);
  a += odd ? column : 0;
  for (int u = 0; u < 16; u++, a += 2 * column, b += 16) {
    V b0 = odd ? vupper(b) : vlower(b), b1 = b0;
    if (NV > 1) b1 = odd ? vupper(b + BF16_NEXT) : vlower(b + BF16_NEXT);
#pragma GCC unroll 12
    for (int i = 0; i < M; i++) {
      V s = vset(a[i * row]);
      sum[i][0] = vfma(s, b0, sum[i][0]);
      if (NV > 1) sum[i][1] = vfma(s, b1, sum[i][1]);
    }
  }
}

/* C [M, NV vectors] = init + A B */
INLINE void bf16_tile(const BfBlock *block, int i, const Bits *b, const real *init,
                      ptrdiff_t init_row, real *c, ptrdiff_t ldc, const int M, const int NV) {
  const real *a = block->a + i * block->row;
  for (int k = 0; k < block->k; k += BF16_STEP, a += BF16_STEP * block->column, b += 512) {
    V even[TILE][2], odd[TILE][2];
    bf16_chain(even, a, block->row, block->column, b, false, M, NV);
    bf16_chain(odd, a, block->row, block->column, b, true, M, NV);
#pragma GCC unroll 12
    for (int r = 0; r < M; r++)
      for (int v = 0; v < NV; v++) {
        V sum = init ? vload(init + r * init_row + v * VW) : vset(0);
        vstore(c + r * ldc + v * VW, sum + (even[r][v] + odd[r][v]));
      }
    init = c, init_row = ldc;
  }
}

/* all rows of a block by NV vectors of a panel, from column j of C on */
INLINE void bf16_strip(const Bf16Gemm *p, const BfBlock *block, int i0, int j, const Bits *b,
                       bool begins, const int NV) {
  for (int i = 0; i < block->rows;) {
    real *c = p->c + (i0 + i) * p->ldc + j;
    const real *init = !begins ? c : p->init ? p->init + (i0 + i) * p->init_row + j : NULL;
    const ptrdiff_t from = begins ? p->init_row : p->ldc, left = block->rows - i;
#define ROWS(M) bf16_tile(block, i, b, init, from, c, p->ldc, M, NV), i += M
    if (left >= TILE)
      ROWS(TILE);
    else if (left >= 4)
      ROWS(4);
    else if (left >= 2)
      ROWS(2);
    else
      ROWS(1);
#undef ROWS
  }
}

static void bf16_columns(const Bf16Gemm *p, const BfBlock *block, int i0, int k0, int j0) {
  const uint16_t *panel = block->room;
  if (p->panels)
    panel = p->panels + (size_t)(j0 / 32) * bf16_panel(p->k) + (size_t)k0 * BF16_PANEL;
  else
    pack_bf16(p->b + k0 * p->bk + j0, p->bk, 1, block->k, p->n - j0 < 32 ? 16 : 32, block->room);
  const Bits *b = (const Bits *)(const void *)panel;
  for (int j = j0; j < j0 + 32 && j < p->n;) {
    const Bits *at = b + (j - j0) / 16 * 256 + (j - j0) % 16;
    if (VW == 8 || p->n - j >= 32)
      bf16_strip(p, block, i0, j, at, k0 == 0, 2), j += 2 * VW;
    else
      bf16_strip(p, block, i0, j, at, k0 == 0, 1), j += VW;
  }
}

static void gemm_bf16(const Bf16Gemm *p) {
  _Alignas(64) real a[BLOCK_A];
  _Alignas(64) uint16_t room[BLOCK_K * BF16_PANEL];
  BfBlock block = { .a = a, .room = room };
  for (int k0 = 0; k0 < p->k; k0 += BLOCK_K) {
    block.k = p->k - k0 < BLOCK_K ? p->k - k0 : BLOCK_K;
    const int most = BLOCK_A / bf16_up(block.k) / TILE * TILE;
    for (int i0 = 0; i0 < p->m; i0 += most) {
      block.rows = p->m - i0 < most ? p->m - i0 : most;
      round_block(p, i0, k0, &block);
      for (int j0 = 0; j0 < p->n; j0 += BF16_PANEL) bf16_columns(p, &block, i0, k0, j0);
    }
  }
}
