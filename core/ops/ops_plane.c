/* ops_plane.c -- channels and positions of pictures and trajectories: rows that are the same at
 * every position, sums over positions, other resolutions. */
#include "core/ops/ops.h"
#include "core/ops/tile.h"

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

/* ---- half and double resolution -------------------------------------------------------------- */

/* The two are transposes of each other, times a number: `fine` has a block of 2 x 2 positions, or 2
 * of a trajectory, for a position of `coarse`.  attr.i: height and width of the coarse one. */
enum { HEIGHT, WIDTH };

static int block_height(const Tensor *fine, const Tensor *coarse) {
  return fine->n / coarse->n / 2;
}

static void upsample_run(const Lane *lane, const Tensor *fine) {
  const Tensor *coarse = fine->in[0];
  int height = fine->attr.i[HEIGHT], width = fine->attr.i[WIDTH], tall = block_height(fine, coarse);
  int channels = coarse->n / (height * width), row = 2 * width * channels;
  real *out = lane_at(lane, fine), scale = (real)fine->attr.c[0];
  const real *x = lane_at(lane, coarse);
  for (int i = 0; i < lane_rows(lane, fine) * fine->k; i++, x += coarse->ld, out += fine->ld) {
    for (int h = 0; h < height; h++) {
      real *to = out + h * tall * row;
      for (int w = 0; w < width; w++)
        for (int c = 0; c < channels; c++)
          to[2 * w * channels + c] = to[(2 * w + 1) * channels + c] =
              scale * x[(h * width + w) * channels + c];
      if (tall == 2) memcpy(to + row, to, (size_t)row * sizeof *out);
    }
    clear_padding(out, fine->n);
  }
}

static void downsample_run(const Lane *lane, const Tensor *coarse) {
  const Tensor *fine = coarse->in[0];
  int height = coarse->attr.i[HEIGHT], width = coarse->attr.i[WIDTH];
  int tall = block_height(fine, coarse), channels = coarse->n / (height * width);
  int row = 2 * width * channels;
  real *out = lane_at(lane, coarse), scale = (real)coarse->attr.c[0];
  const real *x = lane_at(lane, fine);
  for (int i = 0; i < lane_rows(lane, coarse) * coarse->k; i++, x += fine->ld, out += coarse->ld) {
    for (int at = 0; at < height * width; at++) {
      const real *a = x + (at / width * tall * row + at % width * 2 * channels), *b = a + channels;
      const real *below = tall == 2 ? a + row : NULL;
      real *to = out + at * channels;
      for (int c = 0; c < channels; c++) to[c] = a[c] + b[c];
      for (int c = 0; below && c < channels; c++) to[c] += below[c] + below[channels + c];
      for (int c = 0; c < channels; c++) to[c] *= scale;
    }
    clear_padding(out, coarse->n);
  }
}

static Tensor *resize(const Op *op, Tensor *x, int n, const Attr *attr) {
  return record(x->g, op, (Shape){ x->k, 1, n }, &(Recipe){ .in = { x }, .attr = *attr });
}
extern const Op op_downsample;
static void upsample_grad(Tensor *y, Tensor *dy) {
  grad_add(y->in[0], resize(&op_downsample, dy, y->in[0]->n, &y->attr));
}
const Op op_upsample = {
  .name = "upsample", .run = upsample_run, .grad = upsample_grad, .twice = true
};
static void downsample_grad(Tensor *y, Tensor *dy) {
  grad_add(y->in[0], resize(&op_upsample, dy, y->in[0]->n, &y->attr));
}
const Op op_downsample = {
  .name = "downsample", .run = downsample_run, .grad = downsample_grad, .twice = true
};

Plane plane_double(Plane p) {
  return (Plane){ p.height > 1 ? 2 * p.height : 1, 2 * p.width, p.channels };
}
Plane plane_half(Plane p) {
  return (Plane){ p.height > 1 ? p.height / 2 : 1, p.width / 2, p.channels };
}

bool downsample_fits(Plane plane, Error *error) {
  bool tall = plane.height == 1 || (plane.height > 2 && plane.height % 2 == 0);
  if (tall && plane.width > 0 && plane.width % 2 == 0) return true;
  error_set(error, FAIL_USAGE,
            "%d x %d positions cannot be halved; expected an even width and a height of 1 or an "
            "even one above 2",
            plane.height, plane.width);
  return false;
}

static void check_plane(const Tensor *x, Plane plane, const char *op) {
  CHECK(x->e == 1 && x->n == plane_size(plane), "%s: %d numbers for %d x %d x %d", op, x->n,
        plane.height, plane.width, plane.channels);
}

Tensor *t_upsample(Tensor *x, Plane plane) {
  check_plane(x, plane, "t_upsample");
  return resize(&op_upsample, x, plane_size(plane_double(plane)),
                &(Attr){ .c = { 1 }, .i = { plane.height, plane.width } });
}
Tensor *t_downsample(Tensor *x, Plane plane) {
  Plane half = plane_half(plane);
  Error error;
  check_plane(x, plane, "t_downsample");
  CHECK(downsample_fits(plane, &error), "%s", error.text);
  return resize(
      &op_downsample, x, plane_size(half),
      &(Attr){ .c = { plane.height > 1 ? 0.25 : 0.5 }, .i = { half.height, half.width } });
}
Tensor *t_channel_mean(Tensor *x, int channels) {
  return t_scale((double)channels / x->n, t_channel_sum(x, channels));
}
