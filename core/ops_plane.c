/* ops_plane.c -- channels and positions of pictures and trajectories: rows that are the same at
 * every position, sums over positions. */
#include "core/ops.h"
#include "core/tile.h"

/* ---- the same at every position -------------------------------------------------------------- */

typedef void PairKernel(const real *a, const real *b, real *y, int n);

static void each_position(const Lane *lane, const Tensor *y, PairKernel *kernel) {
  const Tensor *x = y->in[0], *row = y->in[1];
  Tile tile = tile_of(graph_kernels(lane->g), row->n, y->n);
  real *out = lane_at(lane, y), repeated[TILE_MAX];
  for (int i = 0; i < lane_rows(lane, y); i++)
    for (int k = 0; k < y->k; k++, out += y->ld) {
      const real *from = sample_at(x, lane_at(lane, x), i, k);
      memcpy(repeated, sample_at(row, lane_at(lane, row), i, k), (size_t)row->n * sizeof(real));
      tile_repeat(&tile, repeated);
      for (int at = 0; at < y->n; at += tile.length)
        kernel(from + at, repeated, out + at, tile_part(&tile, at));
      clear_padding(out, y->n);
    }
}
static void channel_add_run(const Lane *lane, const Tensor *y) {
  each_position(lane, y, graph_kernels(lane->g)->add);
}
static void channel_mul_run(const Lane *lane, const Tensor *y) {
  each_position(lane, y, graph_kernels(lane->g)->mul);
}

static void channel_add_grad(Tensor *y, Tensor *dy) {
  Tensor *x = y->in[0], *row = y->in[1];
  grad_add_sum(x, dy);
  if (grad_wanted(row)) grad_add_sum(row, t_channel_sum(dy, row->n));
}
static void channel_mul_grad(Tensor *y, Tensor *dy) {
  Tensor *x = y->in[0], *row = y->in[1];
  if (grad_wanted(x)) grad_add_sum(x, t_channel_mul(dy, row));
  if (grad_wanted(row)) grad_add_sum(row, t_channel_sum(t_mul(dy, x), row->n));
}
const Op op_channel_add = { .name = "channel_add",
                            .run = channel_add_run,
                            .grad = channel_add_grad,
                            .in_place = true,
                            .twice = true };
const Op op_channel_mul = { .name = "channel_mul",
                            .run = channel_mul_run,
                            .grad = channel_mul_grad,
                            .in_place = true,
                            .twice = true };

static Tensor *with_row(const Op *op, Tensor *x, Tensor *row) {
  CHECK(x->e == 1 && row->e == 1 && (row->k == 1 || row->k == x->k) && x->n % row->n == 0 &&
            row->n <= PLANE_MAX_CHANNELS,
        "t_%s: [%d, %d, %d] by [%d, %d, %d]", op->name, x->k, x->e, x->n, row->k, row->e, row->n);
  return record(x->g, op, (Shape){ x->k, 1, x->n }, &(Recipe){ .in = { x, row } });
}
Tensor *t_channel_add(Tensor *x, Tensor *row) { return with_row(&op_channel_add, x, row); }
Tensor *t_channel_mul(Tensor *x, Tensor *row) { return with_row(&op_channel_mul, x, row); }

/* ---- sums over positions --------------------------------------------------------------------- */

static void channel_sum_run(const Lane *lane, const Tensor *y) {
  const Tensor *x = y->in[0];
  Tile tile = tile_of(graph_kernels(lane->g), y->n, x->n);
  const real *from = lane_at(lane, x);
  real *out = lane_at(lane, y), sum[TILE_MAX];
  for (int i = 0; i < lane_rows(lane, y) * y->k; i++, from += x->ld, out += y->ld) {
    tile_zero(&tile, sum);
    for (int at = 0; at < x->n; at += tile.length)
      tile.kernels->add(sum, from + at, sum, tile_part(&tile, at));
    tile_fold(&tile, sum);
    memcpy(out, sum, (size_t)y->n * sizeof *out);
    clear_padding(out, y->n);
  }
}

/* the transpose: a row at every position */
static void channel_spread_run(const Lane *lane, const Tensor *y) {
  const Tensor *x = y->in[0];
  const real *from = lane_at(lane, x);
  real *out = lane_at(lane, y);
  for (int i = 0; i < lane_rows(lane, y) * y->k; i++, from += x->ld, out += y->ld) {
    for (int at = 0; at < y->n; at += x->n) memcpy(out + at, from, (size_t)x->n * sizeof *out);
    clear_padding(out, y->n);
  }
}
static void channel_spread_grad(Tensor *y, Tensor *dy) {
  grad_add(y->in[0], t_channel_sum(dy, y->in[0]->n));
}
const Op op_channel_spread = {
  .name = "channel_spread", .run = channel_spread_run, .grad = channel_spread_grad, .twice = true
};
static void channel_sum_grad(Tensor *y, Tensor *dy) {
  Tensor *x = y->in[0];
  grad_add(x,
           record(x->g, &op_channel_spread, (Shape){ x->k, 1, x->n }, &(Recipe){ .in = { dy } }));
}
const Op op_channel_sum = {
  .name = "channel_sum", .run = channel_sum_run, .grad = channel_sum_grad, .twice = true
};

Tensor *t_channel_sum(Tensor *x, int channels) {
  CHECK(x->e == 1 && channels > 0 && channels <= PLANE_MAX_CHANNELS && x->n % channels == 0,
        "t_channel_sum: %d numbers of %d channels", x->n, channels);
  return record(x->g, &op_channel_sum, (Shape){ x->k, 1, channels }, &(Recipe){ .in = { x } });
}
