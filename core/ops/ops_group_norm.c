/* ops_group_norm.c -- group norm (Wu & He 2018) of pictures and trajectories, together with what
 * stands around it in a residual block: an addend before or after, modulation, an activation.
 *
 *   y = f(z a + b) + after,   z = (x + before - mean) r,   r = 1 / sqrt(variance + eps)
 *
 * with mean and biased variance of a group: its channels at all positions. */
#include "core/ops/ops.h"
#include "core/ops/tile.h"
#include <math.h>

enum { CHANNELS, GROUPS, MAP, EXTRA };    /* attr.i */
enum { NO_EXTRA, ADD_BEFORE, ADD_AFTER }; /* attr.i[EXTRA]: what in[3] is */

/* The second output: what a sample was normalised with, by channel.  `mean` is that of x alone:
 * without `before`. */
enum { MEAN, R, A, B, KEPT_ROWS };

/* the mean over each group of what `by_channel` sums over positions; groups go side by side, so
 * that no sum waits for another */
static void group_means(const Tile *tile, int groups, const real *by_channel, double *mean) {
  const int width = tile->channels / groups;
  for (int g = 0; g < groups; g++) mean[g] = 0;
  for (int j = 0; j < width; j++)
    for (int g = 0; g < groups; g++) mean[g] += (double)by_channel[g * width + j];
  for (int g = 0; g < groups; g++) mean[g] = mean[g] * groups / tile->n;
}

/* one number for all channels of a group */
static void fill(real *channel, int width, real value) {
  for (int c = 0; c < width; c++) channel[c] = value;
}

/* ---- forward --------------------------------------------------------------------------------- */

/* rows MEAN and R of `kept` from two passes over x */
static void measure(const Tile *tile, const Tensor *y, const real *x, const real *before,
                    real *kept) {
  const int channels = tile->channels, positions = tile->n / channels;
  const int groups = y->attr.i[GROUPS], width = channels / groups;
  real sum[TILE_MAX], centre[TILE_MAX];
  double mean[PLANE_MAX_CHANNELS];
  tile_zero(tile, sum);
  for (int at = 0; at < tile->n; at += tile->length)
    tile->kernels->add(sum, x + at, sum, tile_part(tile, at));
  tile_fold(tile, sum);
  for (int c = 0; before && c < channels; c++) sum[c] += (real)positions * before[c];
  group_means(tile, groups, sum, mean);
  for (int g = 0; g < groups; g++) fill(centre + g * width, width, (real)mean[g]);
  for (int c = 0; before && c < channels; c++) centre[c] -= before[c];
  memcpy(kept + MEAN * channels, centre, (size_t)channels * sizeof *kept);
  tile_repeat(tile, centre);
  tile_zero(tile, sum);
  for (int at = 0; at < tile->n; at += tile->length)
    tile->kernels->plane.square_add(x + at, centre, sum, tile_part(tile, at));
  tile_fold(tile, sum);
  group_means(tile, groups, sum, mean);
  for (int g = 0; g < groups; g++)
    fill(kept + R * channels + g * width, width, (real)(1 / sqrt(mean[g] + y->attr.c[0])));
}

/* the rows of z a + b = (x - mean) (r a) + b */
typedef struct {
  real mean[TILE_MAX], a[TILE_MAX], b[TILE_MAX], along[TILE_MAX];
} Rows;

static StandardRows repeat_rows(const Tile *tile, const real *kept, Rows *rows) {
  const int channels = tile->channels;
  for (int c = 0; c < channels; c++) {
    rows->mean[c] = kept[MEAN * channels + c], rows->b[c] = kept[B * channels + c];
    rows->a[c] = kept[R * channels + c] * kept[A * channels + c];
  }
  tile_repeat(tile, rows->mean), tile_repeat(tile, rows->a), tile_repeat(tile, rows->b);
  return (StandardRows){ rows->mean, rows->a, rows->b, rows->along };
}

static void sample_run(const Tile *tile, const Tensor *y, const real *x, const real *extra,
                       real *kept, real *out) {
  Rows memory;
  int map = y->attr.i[MAP], where = y->attr.i[EXTRA];
  measure(tile, y, x, where == ADD_BEFORE ? extra : NULL, kept);
  StandardRows rows = repeat_rows(tile, kept, &memory);
  rows.along = where == ADD_AFTER ? memory.along : NULL;
  if (rows.along) {
    memcpy(memory.along, extra, (size_t)tile->channels * sizeof *extra);
    tile_repeat(tile, memory.along);
  }
  for (int at = 0; at < tile->n; at += tile->length)
    tile->kernels->plane.norm[map](x + at, &rows, out + at, tile_part(tile, at));
  clear_padding(out, tile->n);
}

static void group_norm_run(const Lane *lane, const Tensor *y) {
  const Tensor *x = y->in[0], *a = y->in[1], *b = y->in[2], *extra = y->in[3];
  const int channels = y->attr.i[CHANNELS];
  Tile tile = tile_of(graph_kernels(lane->g), channels, y->n);
  real *out = lane_at(lane, y), own[KEPT_ROWS * PLANE_MAX_CHANNELS], *kept = own;
  if (y->aux && y->aux->live) kept = lane_at(lane, y->aux);
  for (int i = 0; i < lane_rows(lane, y); i++)
    for (int k = 0; k < y->k; k++, out += y->ld) {
      size_t size = (size_t)channels * sizeof *kept;
      memcpy(kept + A * channels, sample_at(a, lane_at(lane, a), i, k), size);
      memcpy(kept + B * channels, sample_at(b, lane_at(lane, b), i, k), size);
      sample_run(&tile, y, sample_at(x, lane_at(lane, x), i, k),
                 extra ? sample_at(extra, lane_at(lane, extra), i, k) : NULL, kept, out);
      if (kept == own) continue;
      clear_padding(kept, y->aux->n);
      kept += y->aux->ld;
    }
}

/* ---- backward -------------------------------------------------------------------------------- */

/* out = du = dy f'(u), da = sum of du (x - mean), db = sum of du */
static void slope_pass(const Tile *tile, int map, const StandardRows *rows, const real *dy,
                       const real *x, real *out, real *da, real *db) {
  tile_zero(tile, da), tile_zero(tile, db);
  for (int at = 0; at < tile->n; at += tile->length)
    tile->kernels->plane.slope[map](dy + at, x + at, rows, out + at, da, db, tile_part(tile, at));
  tile_fold(tile, da), tile_fold(tile, db);
}

/* dx = r (a du - mean(a du) - z mean(a du z)); da and db (nullable) by channel */
static void sample_back(const Tile *tile, const Tensor *dx, const real *dy, const real *x,
                        const real *kept, real *out, real *grads) {
  Rows memory;
  real da[TILE_MAX], db[TILE_MAX];
  double plain[PLANE_MAX_CHANNELS], along[PLANE_MAX_CHANNELS];
  const int channels = tile->channels, groups = dx->attr.i[GROUPS];
  const real *r = kept + R * channels, *a = kept + A * channels;
  StandardRows rows = repeat_rows(tile, kept, &memory);
  slope_pass(tile, dx->attr.i[MAP], &rows, dy, x, out, da, db);
  for (int c = 0; c < channels; c++) da[c] *= r[c];
  if (grads) {
    memcpy(grads, da, (size_t)channels * sizeof *da);
    memcpy(grads + channels, db, (size_t)channels * sizeof *db);
    clear_padding(grads, 2 * channels);
  }
  for (int c = 0; c < channels; c++) da[c] *= a[c], db[c] *= a[c];
  group_means(tile, groups, db, plain), group_means(tile, groups, da, along);
  for (int g = 0, c = 0; g < groups; g++, c += channels / groups) {
    fill(memory.b + c, channels / groups, (real)((double)-r[c] * plain[g]));
    fill(memory.along + c, channels / groups, (real)(-(double)r[c] * (double)r[c] * along[g]));
  }
  tile_repeat(tile, memory.b), tile_repeat(tile, memory.along);
  for (int at = 0; at < tile->n; at += tile->length)
    tile->kernels->plane.standardise_back(out + at, x + at, &rows, out + at, tile_part(tile, at));
  clear_padding(out, tile->n);
}

static void group_norm_back_run(const Lane *lane, const Tensor *dx) {
  const Tensor *dy = dx->in[0], *x = dx->in[1], *kept = dx->in[2];
  Tile tile = tile_of(graph_kernels(lane->g), dx->attr.i[CHANNELS], dx->n);
  real *out = lane_at(lane, dx), *grads = NULL;
  if (dx->aux && dx->aux->live) grads = lane_at(lane, dx->aux);
  for (int i = 0; i < lane_rows(lane, dx); i++)
    for (int k = 0; k < dx->k; k++, out += dx->ld) {
      sample_back(&tile, dx, sample_at(dy, lane_at(lane, dy), i, k),
                  sample_at(x, lane_at(lane, x), i, k), sample_at(kept, lane_at(lane, kept), i, k),
                  out, grads);
      if (grads) grads += dx->aux->ld;
    }
}
const Op op_group_norm_back = { .name = "group_norm_back",
                                .run = group_norm_back_run,
                                .in_place = true };

static void group_norm_grad(Tensor *y, Tensor *dy) {
  Tensor *x = y->in[0], *a = y->in[1], *b = y->in[2], *extra = y->in[3];
  const int channels = y->attr.i[CHANNELS], where = y->attr.i[EXTRA];
  Tensor *kept = record_aux(y, (Shape){ y->k, 1, KEPT_ROWS * channels });
  Tensor *dx = record(y->g, &op_group_norm_back, (Shape){ y->k, 1, y->n },
                      &(Recipe){ .in = { dy, x, kept }, .attr = y->attr });
  Tensor *grads = record_aux(dx, (Shape){ y->k, 1, 2 * channels });
  grad_add_sum(x, dx);
  if (grad_wanted(a)) grad_add_sum(a, t_slice(grads, 0, channels));
  if (grad_wanted(b)) grad_add_sum(b, t_slice(grads, channels, channels));
  if (extra && grad_wanted(extra))
    grad_add_sum(extra, t_channel_sum(where == ADD_BEFORE ? dx : dy, channels));
}
const Op op_group_norm = {
  .name = "group_norm", .run = group_norm_run, .grad = group_norm_grad, .in_place = true
};

/* ---- recording ------------------------------------------------------------------------------- */

bool group_norm_fits(int channels, int groups, Error *error) {
  if (channels > 0 && channels <= PLANE_MAX_CHANNELS && groups > 0 && channels % groups == 0)
    return true;
  error_set(error, FAIL_USAGE,
            "%d channels cannot be normalised in %d groups; expected at most %d channels and a "
            "number of groups that divides them",
            channels, groups, PLANE_MAX_CHANNELS);
  return false;
}

/* a slot of params, or the same number everywhere */
static Tensor *gain_or(Graph *g, const Params *params, int slot, int channels, double value) {
  if (slot < 0) {
    double row[PLANE_MAX_CHANNELS];
    for (int c = 0; c < channels; c++) row[c] = value;
    return t_table(g, row, 1, channels);
  }
  return t_param(g, params, slot);
}

static void check_row(const Tensor *x, const Tensor *row, int channels, const char *what) {
  CHECK(row->n == channels && row->e == 1 && (row->k == 1 || row->k == x->k),
        "t_group_norm: %s [%d, %d, %d] for %d channels", what, row->k, row->e, row->n, channels);
}

Tensor *t_group_norm(Graph *g, const Params *params, int gain, int bias, Tensor *x,
                     const GroupNorm *norm) {
  const int channels = norm->plane.channels;
  Error error;
  CHECK(group_norm_fits(channels, norm->groups, &error), "%s", error.text);
  CHECK(x->e == 1 && x->n == plane_size(norm->plane), "t_group_norm: %d numbers", x->n);
  CHECK(!norm->before || !norm->after, "t_group_norm: one addend");
  Tensor *a = gain_or(g, params, gain, channels, 1), *b = gain_or(g, params, bias, channels, 0);
  if (norm->scale) { /* (z gain + bias) (1 + scale) + shift */
    Tensor *scale = t_shift(norm->scale, 1);
    a = t_mul(a, scale), b = t_mul(b, scale);
  }
  if (norm->shift) b = t_add(b, norm->shift);
  Tensor *extra = norm->before ? norm->before : norm->after;
  check_row(x, a, channels, "gain"), check_row(x, b, channels, "bias");
  if (extra) check_row(x, extra, channels, "addend");
  int where = norm->before ? ADD_BEFORE : norm->after ? ADD_AFTER : NO_EXTRA;
  return record(g, &op_group_norm, (Shape){ x->k, 1, x->n },
                &(Recipe){ .in = { x, a, b, extra },
                           .attr = { .c = { norm->eps },
                                     .i = { channels, norm->groups, (int)norm->map, where } } });
}
