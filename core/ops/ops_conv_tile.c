/* ops_conv_tile.c -- convolutions of stride 1 by minimal filtering, in all three passes.
 *
 * An output plane is cut into tiles of 4x4 (a 1x3 or 1x5 kernel: 1x4) positions.  With the
 * transforms of core/kernels/kernels_tile.h, x's windows become V = B' x, and at every point
 *   forward, input gradient:  M = V U,  y = b + A' M      U = G w, flipped for the gradient
 *   weight gradient:          dU += V' (A dy)             dw += G' dU, after the rows are added
 * A block of tiles at a time, so that V stays in L2, and 32 output channels at a time, so that M is
 * small and U passes by once a block, in the order in which it lies in memory. */
#include "core/ops/conv.h"
#include <string.h>

enum { TILES = 192, STEP = 12, STAGGER = 16 };
/* V of a block, in reals: beside a filter that stays in L2, or one that is read anew each block */
enum { V_SMALL = 1 << 16, V_LARGE = 3 << 17, FILTER_STAYS = 1 << 18 };

/* ---- geometry -------------------------------------------------------------------------------- */

/* a window over the input plane per tile of the output plane */
typedef struct {
  int points, tile[2], frame[2]; /* a tile's outputs, its window's pixels */
  int in[2], out[2], pad[2], tiles[2];
} Grid;

bool conv_tiles_fit(const Window *w) {
  const int *k = w->kernel;
  return w->stride == 1 && ((k[0] == 3 && k[1] == 3) || (k[0] == 1 && (k[1] == 3 || k[1] == 5)));
}

static Grid grid_of(const Window *w, bool back) {
  Grid g = { .points = 1 };
  for (int a = 0; a < 2; a++) {
    g.in[a] = back ? w->small[a] : w->big[a], g.out[a] = back ? w->big[a] : w->small[a];
    g.pad[a] = back ? w->kernel[a] - 1 - w->pad[a] : w->pad[a];
    g.tile[a] = w->kernel[a] > 1 ? 4 : 1;
    g.frame[a] = g.tile[a] + w->kernel[a] - 1, g.points *= g.frame[a];
    g.tiles[a] = (g.out[a] + g.tile[a] - 1) / g.tile[a];
  }
  return g;
}

/* tiles a block, at most: measured on the shapes of two U-Nets */
static int block_size(int points, int channels, int outputs) {
  int filter = points * channels * outputs, v = filter <= FILTER_STAYS ? V_SMALL : V_LARGE;
  int fit = v / (points * channels) / STEP * STEP;
  return fit < 2 * STEP ? 2 * STEP : fit > TILES ? TILES : fit;
}

/* `height` x `width` places from (y, x) on: where the one's pixels lie, `outside` if beyond */
static void pixels_at(const int plane[2], const int size[2], int y0, int x0, real *picture,
                      int channels, real *outside, real **pixel) {
  for (int y = y0; y < y0 + size[0]; y++)
    for (int x = x0; x < x0 + size[1]; x++) {
      bool inside = y >= 0 && y < plane[0] && x >= 0 && x < plane[1];
      *pixel++ = inside ? picture + (ptrdiff_t)(y * plane[1] + x) * channels : outside;
    }
}

/* ---- a lane's work --------------------------------------------------------------------------- */

typedef struct {
  Grid grid;
  const TileKernels *kernels;
  Pictures in;
  int size, share;          /* tiles a block: at most, and here */
  int samples, from, count; /* tiles from .. from + count - 1 of all samples */
  real *none, *dump;        /* what lies beyond a plane: zeros, and outputs nobody reads */
  real *v, *m;              /* [points, count, channels], [points, count, PANEL] */
  ptrdiff_t v_step, m_step; /* between points */
  real *output[TILES][16];  /* the block's places in the output plane */
} Tiling;

static size_t tiling_work(const Grid *grid, int channels, int outputs) {
  int size = block_size(grid->points, channels, outputs),
      most = channels > outputs ? channels : outputs;
  return (size_t)grid->points * (size_t)(size * (channels + PANEL) + 2 * STAGGER) +
         2 * (size_t)most;
}

/* blocks of about one size rather than a small one at the end; products like rows in fours */
static int even_share(int tiles, int size) {
  int blocks = (tiles + size - 1) / size, share = (tiles + blocks - 1) / blocks;
  return (share + 3) / 4 * 4;
}

static void tiling_start(Tiling *t, const Lane *lane, const Tensor *y, bool back, int inputs,
                         int outputs) {
  const Window window = conv_window(y);
  t->grid = grid_of(&window, back);
  t->kernels = &graph_kernels(lane->g)->tile[conv_tile_kind(window_taps(&window))];
  t->in = pictures_of(lane, y, 0, inputs, plane_area(t->grid.in));
  t->size = block_size(t->grid.points, t->in.channels, outputs);
  t->samples = samples_of(lane, y->in[0]), t->from = t->count = 0;
  t->share = even_share(t->samples * plane_area(t->grid.tiles), t->size);
  int most = t->in.channels > outputs ? t->in.channels : outputs;
  t->none = lane->work;
  memset(t->none, 0, (size_t)most * sizeof *t->none);
  /* points a power of two apart would share cache sets */
  t->dump = t->none + most, t->v = t->dump + most;
  t->v_step = (ptrdiff_t)t->size * t->in.channels + STAGGER;
  t->m = t->v + t->grid.points * t->v_step, t->m_step = (ptrdiff_t)t->size * PANEL + STAGGER;
}

static bool tiling_next(Tiling *t) {
  t->from += t->count;
  int rest = t->samples * plane_area(t->grid.tiles) - t->from;
  t->count = rest < t->share ? rest : t->share;
  return rest > 0;
}

/* sample and first place of tile i of the block */
static int tile_at(const Tiling *t, int i, int *y, int *x) {
  int id = t->from + i, area = plane_area(t->grid.tiles), place = id % area;
  *y = place / t->grid.tiles[1] * t->grid.tile[0], *x = place % t->grid.tiles[1] * t->grid.tile[1];
  return id / area;
}

/* V = B' x */
static void read_windows(Tiling *t) {
  const Grid *g = &t->grid;
  real *pixel[36];
  for (int i = 0; i < t->count; i++) {
    int y, x, sample = tile_at(t, i, &y, &x);
    real *v = t->v + (ptrdiff_t)i * t->in.channels;
    for (int p = 0; p < t->in.count; v += t->in.width[p++]) {
      real *picture = (real *)(uintptr_t)(t->in.at[p] + sample * t->in.row[p]);
      pixels_at(g->in, g->frame, y - g->pad[0], x - g->pad[1], picture, t->in.width[p], t->none,
                pixel);
      t->kernels->in((const real *const *)pixel, 0, t->in.width[p], v, t->v_step);
    }
  }
}

/* where the block's outputs lie in the picture of each sample, `outside` beyond its plane */
static void find_outputs(Tiling *t, real *picture, ptrdiff_t row, int channels, real *outside) {
  for (int i = 0; i < t->count; i++) {
    int y, x, sample = tile_at(t, i, &y, &x);
    pixels_at(t->grid.out, t->grid.tile, y, x, picture + sample * row, channels, outside,
              t->output[i]);
  }
}

/* ---- forward and input gradient -------------------------------------------------------------- */

static bool is_back(const Tensor *y) { return y->attr.i[CONV_FORM] == FORM_TILES_BACK; }

static void conv_tiles_run(const Lane *lane, const Tensor *y) {
  const int inputs = y->attr.i[CONV_INPUTS];
  const Tensor *filter = y->in[inputs], *bias = y->in[inputs + 1];
  Tiling t;
  tiling_start(&t, lane, y, is_back(y), inputs, filter->n);
  const int channels = t.in.channels, points = t.grid.points;
  const real *shift = bias ? lane_at(lane, bias) : t.none;
  Gemm p = { .k = channels, .ai = channels, .ak = 1, .bk = PANEL, .ldc = PANEL };
  while (tiling_next(&t)) {
    read_windows(&t);
    find_outputs(&t, lane_at(lane, y), y->ld, filter->n, t.dump);
    p.m = t.count, p.b = lane_at(lane, filter);
    for (int j = 0; j < filter->n; j += PANEL) {
      p.n = filter->n - j < PANEL ? filter->n - j : PANEL;
      for (int q = 0; q < points; q++, p.b += PANEL * channels) {
        p.a = t.v + q * t.v_step, p.c = t.m + q * t.m_step;
        p.prefetch = p.b + PANEL * channels;
        graph_kernels(lane->g)->gemm(&p);
      }
      for (int i = 0; i < t.count; i++)
        t.kernels->out(t.m + i * PANEL, t.m_step, shift, t.output[i], j, j + p.n);
    }
  }
  conv_clear_tails(lane, y);
}
static size_t conv_tiles_work(const Tensor *y) {
  const Window window = conv_window(y);
  const Grid grid = grid_of(&window, is_back(y));
  const Tensor *filter = y->in[y->attr.i[CONV_INPUTS]];
  return tiling_work(&grid, filter->k / grid.points, filter->n);
}
const Op op_conv_tiles = { .name = "conv_tiles",
                           .run = conv_tiles_run,
                           .grad = conv_grad,
                           .twice = true,
                           .flops = conv_flops,
                           .work = conv_tiles_work };

/* ---- weight gradient: dU, and after all rows G' dU ------------------------------------------- */

/* in: pictures of x, then one of dy */
static void conv_points_run(const Lane *lane, const Tensor *du) {
  const int inputs = du->attr.i[CONV_INPUTS];
  const Tensor *dy = du->in[inputs];
  Tiling t;
  const Window window = conv_window(du);
  const int outputs = dy->n / plane_area(window.small);
  tiling_start(&t, lane, du, false, inputs, outputs);
  const int channels = t.in.channels, points = t.grid.points;
  Gemm p = { .m = channels, .ai = 1, .ak = channels, .bk = PANEL, .ldc = PANEL, .init_row = PANEL };
  while (tiling_next(&t)) {
    read_windows(&t);
    find_outputs(&t, lane_at(lane, dy), dy->ld, outputs, t.none);
    p.k = t.count, p.c = lane_at(lane, du);
    for (int j = 0; j < outputs; j += PANEL) {
      p.n = outputs - j < PANEL ? outputs - j : PANEL;
      for (int i = 0; i < t.count; i++)
        t.kernels->out_back((const real *const *)t.output[i], j, j + p.n, t.m + i * PANEL,
                            t.m_step);
      for (int q = 0; q < points; q++, p.c += PANEL * channels) {
        p.a = t.v + q * t.v_step, p.b = t.m + q * t.m_step;
        p.init = du->first && lane->begins && t.from == 0 ? NULL : p.c;
        graph_kernels(lane->g)->gemm(&p);
      }
    }
  }
}
static size_t conv_points_work(const Tensor *du) {
  const Window window = conv_window(du);
  const Grid grid = grid_of(&window, false);
  const int inputs = du->attr.i[CONV_INPUTS];
  const Pictures x = pictures_of(NULL, du, 0, inputs, plane_area(grid.in));
  return tiling_work(&grid, x.channels, du->in[inputs]->n / plane_area(grid.out));
}
const Op op_conv_points = { .name = "conv_points",
                            .run = conv_points_run,
                            .adds = true,
                            .sets = true,
                            .flops = conv_flops,
                            .work = conv_points_work };

static void filter_back_run(const Lane *lane, const Tensor *t) {
  const Slot *slot = &graph_trained(lane->g)->layout->slot[t->attr.i[CONV_SLOT]];
  const Window window = conv_window(t);
  const TileKernels *kernels = &graph_kernels(lane->g)->tile[conv_tile_kind(window_taps(&window))];
  const int taps = window_taps(&window), points = conv_tile_points(taps);
  const int channels = t->in[0]->k / points / conv_panels(slot->n);
  const ptrdiff_t tap = (ptrdiff_t)(slot->rows / taps) * slot->ld,
                  step = (ptrdiff_t)channels * PANEL;
  const real *du = lane_at(lane, t->in[0]);
  for (int j = 0; j < slot->n; j += PANEL, du += points * step) {
    int n = slot->n - j < PANEL ? slot->n - j : PANEL;
    real *row = lane_at(lane, t) + (ptrdiff_t)t->attr.i[CONV_FROM] * slot->ld + j;
    for (int c = 0; c < channels; c++, row += slot->ld)
      kernels->filter_back(du + c * PANEL, step, row, tap, n, !t->first);
  }
}
const Op op_filter_back = {
  .name = "filter_back", .run = filter_back_run, .adds = true, .sets = true, .into_slot = true
};
