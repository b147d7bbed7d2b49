/* ops_conv_direct.c -- convolutions as products over patches.
 *
 * A patch is what the window sees at one position of the small plane: taps x channels numbers,
 * copied side by side, zero outside the big plane.  A block of positions at a time,
 *   down:     small = b + patches F         every output one chain of fma over (tap, channel)
 *   up:       big = b + what small F leaves in each patch, added place by place
 *   weights:  dF += patches' small
 * Blocks run on from one sample to the next, so small planes make large products too. */
#include "core/ops/conv.h"
#include <string.h>

enum { BLOCK = 192, BLOCK_REALS = 98304, STEP = 12 };

/* ---- blocks of positions --------------------------------------------------------------------- */

/* positions a block: their patches stay in L2 */
static int block_size(int patch) {
  int fit = BLOCK_REALS / patch / STEP * STEP;
  return fit < 2 * STEP ? 2 * STEP : fit > BLOCK ? BLOCK : fit;
}

typedef struct {
  const Window *window;
  int area, from, count; /* positions of the small planes of all samples */
} Block;

static bool block_next(Block *b, int size, int samples) {
  b->from += b->count;
  int rest = samples * b->area - b->from;
  b->count = rest < size ? rest : size;
  return rest > 0;
}

/* where position i of the block lies: sample, row, column */
typedef struct {
  int sample, place, y, x;
} Spot;
static Spot spot_of(const Block *b, int i) {
  int id = b->from + i, place = id % b->area, width = b->window->small[1];
  return (Spot){ id / b->area, place, place / width, place % width };
}

/* The taps of row ky that fall into the big plane: columns *from .. *to - 1 of the kernel.  Returns
 * the position of tap (ky, *from). */
static int taps_inside(const Window *w, Spot at, int ky, int *from, int *to) {
  int y = at.y * w->stride - w->pad[0] + ky, x = at.x * w->stride - w->pad[1];
  *from = x < 0 ? -x : 0;
  *to = w->big[1] - x < w->kernel[1] ? w->big[1] - x : w->kernel[1];
  if (y < 0 || y >= w->big[0] || *to < *from) *to = *from;
  return y * w->big[1] + x + *from;
}

/* ---- patches --------------------------------------------------------------------------------- */

static void copy_taps(const Pictures *p, Spot at, int big, int taps, int pitch, real *to) {
  if (p->count == 1 && pitch == p->channels) { /* neighbours in memory too */
    memcpy(to, p->at[0] + at.sample * p->row[0] + (ptrdiff_t)big * pitch,
           (size_t)(taps * pitch) * sizeof *to);
    return;
  }
  for (int t = 0; t < taps; t++, to += pitch) {
    int c = 0;
    for (int i = 0; i < p->count; c += p->width[i++])
      memcpy(to + c, p->at[i] + at.sample * p->row[i] + (ptrdiff_t)(big + t) * p->width[i],
             (size_t)p->width[i] * sizeof *to);
    memset(to + c, 0, (size_t)(pitch - c) * sizeof *to);
  }
}

/* out [count, taps * pitch]: what the window sees, `pitch` numbers a tap */
static void read_patches(const Block *b, const Pictures *p, int pitch, real *out) {
  const Window *w = b->window;
  for (int i = 0; i < b->count; i++) {
    const Spot at = spot_of(b, i);
    for (int ky = 0; ky < w->kernel[0]; ky++, out += w->kernel[1] * pitch) {
      int from, to, big = taps_inside(w, at, ky, &from, &to);
      memset(out, 0, (size_t)(from * pitch) * sizeof *out);
      if (from < to) copy_taps(p, at, big, to - from, pitch, out + from * pitch);
      memset(out + to * pitch, 0, (size_t)((w->kernel[1] - to) * pitch) * sizeof *out);
    }
  }
}

/* the adjoint into one picture: patches [count, row], `channels` numbers a tap */
static void add_patches(const Kernels *kernels, const Block *b, const real *patches, int row,
                        int channels, real *picture, ptrdiff_t sample_row) {
  const Window *w = b->window;
  for (int i = 0; i < b->count; i++, patches += row) {
    const Spot at = spot_of(b, i);
    for (int ky = 0; ky < w->kernel[0]; ky++) {
      int from, to, big = taps_inside(w, at, ky, &from, &to);
      if (from == to) continue;
      real *into = picture + at.sample * sample_row + (ptrdiff_t)big * channels;
      kernels->add(into, patches + (ky * w->kernel[1] + from) * channels, into,
                   (to - from) * channels);
    }
  }
}

/* the pixels themselves, [count, pitch] */
static void read_pixels(const Block *b, const Pictures *p, int pitch, real *out) {
  for (int i = 0; i < b->count; i++, out += pitch) {
    const Spot at = spot_of(b, i);
    copy_taps(p, at, at.place, 1, pitch, out);
  }
}
static void write_pixels(const Block *b, const real *rows, int pitch, int channels, real *picture,
                         ptrdiff_t sample_row) {
  for (int i = 0; i < b->count; i++, rows += pitch) {
    const Spot at = spot_of(b, i);
    memcpy(picture + at.sample * sample_row + at.place * channels, rows,
           (size_t)channels * sizeof *rows);
  }
}

/* c [m, padded(n)] = init + a [m, k] filter */
static void multiply_rows(const Lane *lane, int m, const real *a, const Tensor *filter,
                          const real *init, real *c) {
  Gemm p = { .m = m, .n = padded(filter->n), .k = filter->k, .a = a, .ai = filter->k, .ak = 1 };
  p.b = lane_at(lane, filter), p.bk = PANEL, p.bpanel = PANEL * (ptrdiff_t)filter->k;
  p.init = init, p.c = c, p.ldc = p.n;
  conv_multiply(lane, p);
}

/* ---- down: from the big plane to the small one ----------------------------------------------- */

static const Tensor *filter_of(const Tensor *y) { return y->in[y->attr.i[CONV_INPUTS]]; }
static const Tensor *bias_of(const Tensor *y) { return y->in[y->attr.i[CONV_INPUTS] + 1]; }

static size_t conv_work(const Tensor *y) {
  const Tensor *filter = filter_of(y);
  int row = filter->k + padded(filter->n), patch = filter->k > filter->n ? filter->k : filter->n;
  return (size_t)block_size(patch) * (size_t)row;
}

/* Is it one product a sample on the pictures as they lie?  Bits are the same either way. */
static bool is_pointwise(const Window *w, int columns) {
  return window_taps(w) == 1 && w->stride == 1 && columns % 16 == 0 && plane_area(w->small) >= 16;
}

static void pointwise(const Lane *lane, const Tensor *y, int area) {
  const Tensor *filter = filter_of(y), *bias = bias_of(y);
  const Pictures in = pictures_of(lane, y, 0, y->attr.i[CONV_INPUTS], area);
  Gemm p = { .m = area, .n = filter->n, .ak = 1, .ldc = filter->n };
  p.bk = PANEL, p.bpanel = PANEL * (ptrdiff_t)filter->k;
  for (int s = 0; s < samples_of(lane, y); s++) {
    p.b = lane_at(lane, filter), p.c = lane_at(lane, y) + s * (ptrdiff_t)y->ld;
    p.init = bias ? lane_at(lane, bias) : NULL, p.init_row = 0;
    for (int i = 0; i < in.count; i++) {
      p.a = in.at[i] + s * in.row[i], p.ai = p.k = in.width[i];
      conv_multiply(lane, p);
      p.b += (ptrdiff_t)p.k * PANEL, p.init = p.c, p.init_row = p.ldc;
    }
  }
  conv_clear_tails(lane, y);
}

static void conv_down_run(const Lane *lane, const Tensor *y) {
  const Window window = conv_window(y);
  const Tensor *filter = filter_of(y), *bias = bias_of(y);
  if (is_pointwise(&window, filter->n)) {
    pointwise(lane, y, plane_area(window.small));
    return;
  }
  const Pictures in = pictures_of(lane, y, 0, y->attr.i[CONV_INPUTS], plane_area(window.big));
  int size = block_size(filter->k), area = plane_area(window.small);
  real *patches = lane->work, *rows = patches + (ptrdiff_t)size * filter->k;
  for (Block b = { &window, area, 0, 0 }; block_next(&b, size, samples_of(lane, y));) {
    read_patches(&b, &in, in.channels, patches);
    multiply_rows(lane, b.count, patches, filter, bias ? lane_at(lane, bias) : NULL, rows);
    write_pixels(&b, rows, padded(filter->n), filter->n, lane_at(lane, y), y->ld);
  }
  conv_clear_tails(lane, y);
}
const Op op_conv_down = {
  .name = "conv_down",
  .run = conv_down_run,
  .grad = conv_grad,
  .twice = true,
  .flops = conv_flops,
  .work = conv_work,
};

/* ---- up: from the small plane to the big one ------------------------------------------------- */

/* b in every pixel, or zeros */
static void start_with(const Lane *lane, const Tensor *y, const Tensor *bias, int channels) {
  real *out = lane_at(lane, y);
  for (int s = samples_of(lane, y); s > 0; s--, out += y->ld) {
    memset(out, 0, (size_t)padded(y->n) * sizeof *out);
    for (int j = 0; bias && j < y->n; j += channels)
      memcpy(out + j, lane_at(lane, bias), (size_t)channels * sizeof *out);
  }
}

static void conv_up_run(const Lane *lane, const Tensor *y) {
  const Window window = conv_window(y);
  const Tensor *filter = filter_of(y);
  const int area = plane_area(window.small), channels = filter->n / window_taps(&window);
  if (is_pointwise(&window, channels)) {
    pointwise(lane, y, area);
    return;
  }
  const Pictures in = pictures_of(lane, y, 0, y->attr.i[CONV_INPUTS], area);
  int size = block_size(filter->n), row = padded(filter->n);
  real *patches = lane->work, *pixels = patches + (ptrdiff_t)size * row;
  start_with(lane, y, bias_of(y), channels);
  for (Block b = { &window, area, 0, 0 }; block_next(&b, size, samples_of(lane, y));) {
    read_pixels(&b, &in, in.channels, pixels);
    multiply_rows(lane, b.count, pixels, filter, NULL, patches);
    add_patches(graph_kernels(lane->g), &b, patches, row, channels, lane_at(lane, y), y->ld);
  }
}
const Op op_conv_up = {
  .name = "conv_up",
  .run = conv_up_run,
  .grad = conv_grad,
  .twice = true,
  .flops = conv_flops,
  .work = conv_work,
};

/* ---- weights --------------------------------------------------------------------------------- */

/* an ordinary convolution: c on the big plane, o on the small one; a transposed one the reverse */
typedef struct {
  Window window;
  Pictures big, small;
  int pitch_big, pitch_small; /* numbers a pixel; those of o are padded, as the slot's rows are */
  int size;
} Correlation;

static Correlation correlation_of(const Lane *lane, const Tensor *t) {
  Correlation r = { .window = conv_window(t) };
  bool transposed = t->attr.i[CONV_FORM] == FORM_TRANSPOSED_UP;
  const int area[2] = { plane_area(r.window.big), plane_area(r.window.small) };
  int count = t->attr.i[CONV_INPUTS];
  Pictures x = pictures_of(lane, t, 0, count, area[transposed]);
  Pictures dy = pictures_of(lane, t, count, 1, area[!transposed]);
  r.big = transposed ? dy : x, r.small = transposed ? x : dy;
  r.pitch_big = transposed ? padded(r.big.channels) : r.big.channels;
  r.pitch_small = transposed ? r.small.channels : padded(r.small.channels);
  r.size = block_size(window_taps(&r.window) * r.pitch_big);
  return r;
}

/* x and dy as they lie; for one tap both kinds of convolution are the same */
static void pointwise_weights(const Lane *lane, const Tensor *t, const Correlation *r, real *out) {
  const bool transposed = t->attr.i[CONV_FORM] == FORM_TRANSPOSED_UP;
  const Pictures *x = transposed ? &r->small : &r->big, *dy = transposed ? &r->big : &r->small;
  const Slot *slot = &graph_trained(lane->g)->layout->slot[t->attr.i[CONV_SLOT]];
  Gemm p = { .n = slot->n, .k = plane_area(r->window.small), .ai = 1, .bk = slot->n, .bpanel = 32 };
  p.ldc = p.init_row = slot->ld;
  for (int s = 0; s < samples_of(lane, t->in[0]); s++) {
    p.b = dy->at[0] + s * dy->row[0], p.c = out;
    for (int i = 0; i < x->count; i++, p.c += p.m * p.ldc) {
      p.a = x->at[i] + s * x->row[i], p.m = x->width[i], p.ak = p.m, p.init = p.c;
      graph_kernels(lane->g)->gemm(&p);
    }
  }
}

static void conv_weights_run(const Lane *lane, const Tensor *t) {
  const Slot *slot = &graph_trained(lane->g)->layout->slot[t->attr.i[CONV_SLOT]];
  const Correlation r = correlation_of(lane, t);
  const bool transposed = t->attr.i[CONV_FORM] == FORM_TRANSPOSED_UP;
  const int taps = window_taps(&r.window), patch = taps * r.pitch_big;
  real *out = lane_at(lane, t) + (ptrdiff_t)t->attr.i[CONV_FROM] * slot->ld;
  if (is_pointwise(&r.window, slot->n)) {
    pointwise_weights(lane, t, &r, out);
    return;
  }
  real *patches = lane->work, *pixels = patches + (ptrdiff_t)r.size * patch;
  int samples = samples_of(lane, t->in[0]);
  Gemm p = { .m = transposed ? r.small.channels : r.big.channels, .n = padded(slot->n) };
  p.ai = 1, p.ak = transposed ? r.pitch_small : patch;
  p.bk = transposed ? patch : r.pitch_small, p.bpanel = 32;
  p.ldc = p.init_row = slot->ld;
  for (Block b = { &r.window, plane_area(r.window.small), 0, 0 };
       block_next(&b, r.size, samples);) {
    read_patches(&b, &r.big, r.pitch_big, patches);
    read_pixels(&b, &r.small, r.pitch_small, pixels);
    p.k = b.count;
    for (int tap = 0; tap < taps; tap++) {
      const real *tap_at = patches + tap * r.pitch_big;
      p.a = transposed ? pixels : tap_at, p.b = transposed ? tap_at : pixels;
      p.c = out + (ptrdiff_t)(tap * (slot->rows / taps)) * slot->ld, p.init = p.c;
      graph_kernels(lane->g)->gemm(&p);
    }
  }
}
static size_t weights_work(const Tensor *t) {
  const Correlation r = correlation_of(NULL, t);
  return (size_t)r.size * (size_t)(window_taps(&r.window) * r.pitch_big + r.pitch_small);
}
const Op op_conv_weights = { .name = "conv_weights",
                             .run = conv_weights_run,
                             .adds = true,
                             .into_slot = true,
                             .flops = conv_flops,
                             .work = weights_work };
