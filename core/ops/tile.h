/* tile.h -- loops over the positions of a picture or a trajectory with channels last.
 *
 * A tile is a power of two of positions, at most a quarter of a sample (or one position), as a run
 * of memory that fits L1 a few times over.  A row of a number per channel is repeated to a tile's
 * length, and sums over positions are kept apart by the place in the tile until all tiles are
 * added; then they are folded pairwise.  So the inner loops are long whatever the number of
 * channels, and their order depends on the shape alone. */
#ifndef CORE_TILE_H
#define CORE_TILE_H
#include "core/tape/op.h"
#include "core/ops/ops.h"
#include <string.h>

enum { TILE_REALS = 1024, TILE_MAX = PLANE_MAX_CHANNELS };

typedef struct {
  const Kernels *kernels;
  int channels, n; /* of a sample: n = positions * channels */
  int length;      /* of a tile */
} Tile;

static inline Tile tile_of(const Kernels *kernels, int channels, int n) {
  Tile tile = { kernels, channels, n, channels };
  while (2 * tile.length <= TILE_REALS && 8 * tile.length <= n) tile.length *= 2;
  return tile;
}

/* how much of the tile that begins at number `at` there is */
static inline int tile_part(const Tile *tile, int at) {
  return tile->n - at < tile->length ? tile->n - at : tile->length;
}

/* row: [channels] -> the same again and again */
static inline void tile_repeat(const Tile *tile, real *row /* [TILE_MAX] */) {
  int length = tile_part(tile, 0);
  for (int at = tile->channels; at < length; at *= 2)
    memcpy(row + at, row, (size_t)(2 * at <= length ? at : length - at) * sizeof *row);
}

static inline void tile_zero(const Tile *tile, real *sum /* [TILE_MAX] */) {
  memset(sum, 0, (size_t)tile->length * sizeof *sum);
}
/* sums by place -> by channel */
static inline void tile_fold(const Tile *tile, real *sum /* [TILE_MAX] */) {
  for (int half = tile->length / 2; half >= tile->channels; half /= 2)
    tile->kernels->add(sum, sum + half, sum, half);
}

/* Where the numbers of sample (b, k) begin; x may have one for all b or k. */
static inline real *sample_at(const Tensor *x, real *base, int b, int k) {
  if (x->kind == ROW) base += b * row_size(x);
  return x->k > 1 ? base + (ptrdiff_t)k * x->ld : base;
}

#endif
