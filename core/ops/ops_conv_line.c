/* ops_conv_line.c -- convolutions along a line: planes of one row, and a product for each tap.
 *
 * The rows of a product are positions, all samples of one beside each other: [position, sample,
 * channel].  The positions that a tap connects are then consecutive in both planes, if those of the
 * big plane are ordered by their remainder modulo the stride, and
 *   down     small += big F_t         up     big += small F_t         dF_t += big' small
 * are products on rows as they lie.  What falls beyond an edge is never multiplied: on 4 positions
 * 6 of the 20 taps of a kernel of 5 do. */
#include "core/ops/conv.h"
#include <string.h>

enum { BLOCK_REALS = 98304, MOST_SAMPLES = 256 }; /* of a block of samples: it stays in L2 */

/* ---- positions ------------------------------------------------------------------------------- */

/* a plane whose positions are in order of their remainder */
typedef struct {
  int length, stride, pitch; /* pitch: numbers a position */
} Line;

static int line_places(const Line *l) {
  return (l->length + l->stride - 1) / l->stride * l->stride;
}
static int line_place(const Line *l, int position) {
  return position % l->stride * (line_places(l) / l->stride) + position / l->stride;
}

/* what a tap connects: `count` places from `small` and from `big` on */
typedef struct {
  int small, big, count;
} Span;

static Span span_of(const Window *w, const Line *big, int tap) {
  int offset = tap - w->pad[1], stride = w->stride;
  int from = offset < 0 ? (stride - 1 - offset) / stride : 0, rest = w->big[1] - 1 - offset;
  int to = rest < 0 ? 0 : rest / stride + 1;
  if (to > w->small[1]) to = w->small[1];
  if (to <= from) return (Span){ 0 };
  return (Span){ from, line_place(big, from * stride + offset), to - from };
}

/* ---- blocks of samples ----------------------------------------------------------------------- */

typedef struct {
  Window window;
  Line big, small;
  int size; /* samples a block, at most */
} Strip;

static Strip strip_of(const Tensor *t, int pitch_big, int pitch_small) {
  Strip s = { .window = conv_window(t) };
  s.big = (Line){ s.window.big[1], s.window.stride, pitch_big };
  s.small = (Line){ s.window.small[1], 1, pitch_small };
  s.size = BLOCK_REALS / (line_places(&s.big) * pitch_big + s.small.length * pitch_small);
  s.size = s.size < 1 ? 1 : s.size > MOST_SAMPLES ? MOST_SAMPLES : s.size;
  return s;
}
static size_t line_reals(const Line *l, int samples) {
  return (size_t)samples * (size_t)(line_places(l) * l->pitch);
}
static size_t strip_work(const Strip *s) {
  return line_reals(&s->big, s->size) + line_reals(&s->small, s->size);
}

/* samples from .. from + count - 1 as rows [place, sample, channel] */
static void gather(const Line *l, const Pictures *p, int from, int count, real *rows) {
  for (int position = 0; position < l->length; position++) {
    real *to = rows + (ptrdiff_t)line_place(l, position) * count * l->pitch;
    for (int s = from; s < from + count; s++, to += l->pitch)
      for (int i = 0, c = 0; i < p->count; c += p->width[i++])
        memcpy(to + c, p->at[i] + s * p->row[i] + (ptrdiff_t)position * p->width[i],
               (size_t)p->width[i] * sizeof *to);
  }
}

/* one picture in panels of 32 channels, a panel [place, sample, 32] */
static void gather_panels(const Line *l, const Pictures *p, int from, int count, real *rows) {
  const int channels = p->channels;
  const ptrdiff_t panel = (ptrdiff_t)line_places(l) * count * PANEL;
  for (int position = 0; position < l->length; position++)
    for (int s = 0; s < count; s++) {
      const real *x = p->at[0] + (from + s) * p->row[0] + (ptrdiff_t)position * channels;
      real *to = rows + ((ptrdiff_t)line_place(l, position) * count + s) * PANEL;
      for (int j = 0; j < channels; j += PANEL, to += panel) {
        int width = channels - j < PANEL ? channels - j : PANEL;
        memcpy(to, x + j, (size_t)width * sizeof *to);
        clear_padding(to, width);
      }
    }
}

static void scatter(const Line *l, const real *rows, int from, int count, const Tensor *y,
                    real *out) {
  const int channels = y->n / l->length;
  for (int position = 0; position < l->length; position++) {
    const real *at = rows + (ptrdiff_t)line_place(l, position) * count * l->pitch;
    for (int s = from; s < from + count; s++, at += l->pitch)
      memcpy(out + (ptrdiff_t)s * y->ld + (ptrdiff_t)position * channels, at,
             (size_t)channels * sizeof *at);
  }
}

/* ---- down and up ----------------------------------------------------------------------------- */

static const Tensor *filter_of(const Tensor *y) { return y->in[y->attr.i[CONV_INPUTS]]; }

static bool is_down(const Tensor *y) {
  Form form = (Form)y->attr.i[CONV_FORM];
  return form == FORM_LINE || form == FORM_LINE_TRANSPOSED_BACK;
}

static Strip convolution_of(const Tensor *y) {
  const Tensor *filter = filter_of(y);
  int in = filter->k / filter->attr.i[FILTER_TAPS], out = padded(filter->n);
  return is_down(y) ? strip_of(y, in, out) : strip_of(y, out, in);
}

/* how a product reads the filter; returns what lies between two taps */
static ptrdiff_t read_filter(Gemm *p, const Tensor *filter) {
  Form form = (Form)filter->attr.i[FILTER_FORM];
  if (form == FORM_LINE || form == FORM_LINE_TRANSPOSED) {
    const Params *params = filter->attr.p;
    const Slot *slot = &params->layout->slot[filter->attr.i[FILTER_SLOT]];
    p->bk = slot->ld, p->bpanel = PANEL;
    return (ptrdiff_t)(slot->rows / filter->attr.i[FILTER_TAPS]) * slot->ld;
  }
  p->bk = PANEL, p->bpanel = (ptrdiff_t)PANEL * p->k;
  return conv_panels(p->n) * p->bpanel;
}

static void start_with(const real *bias, int rows, int channels, int pitch, real *out) {
  for (int i = 0; i < rows; i++, out += pitch)
    if (bias) {
      memcpy(out, bias, (size_t)channels * sizeof *out);
      clear_padding(out, channels);
    } else
      memset(out, 0, (size_t)pitch * sizeof *out);
}

static void conv_line_run(const Lane *lane, const Tensor *y) {
  const Strip strip = convolution_of(y);
  const bool down = is_down(y);
  const Line *from = down ? &strip.big : &strip.small, *to = down ? &strip.small : &strip.big;
  const Tensor *filter = filter_of(y), *bias = y->in[y->attr.i[CONV_INPUTS] + 1];
  const int samples = samples_of(lane, y), taps = window_taps(&strip.window);
  const Pictures in = pictures_of(lane, y, 0, y->attr.i[CONV_INPUTS], from->length);
  real *x = lane->work, *rows = x + line_reals(from, strip.size);
  Gemm p = { .n = to->pitch, .k = from->pitch, .ai = from->pitch, .ak = 1, .ldc = to->pitch };
  const ptrdiff_t apart = read_filter(&p, filter);
  p.init_row = p.ldc;
  for (int s = 0, count; s < samples; s += count) {
    count = samples - s < strip.size ? samples - s : strip.size;
    gather(from, &in, s, count, x);
    start_with(bias ? lane_at(lane, bias) : NULL, line_places(to) * count, filter->n, to->pitch,
               rows);
    p.b = lane_at(lane, filter);
    for (int tap = 0; tap < taps; tap++, p.b = p.prefetch) {
      const Span span = span_of(&strip.window, &strip.big, tap);
      p.m = span.count * count, p.prefetch = p.b + apart;
      p.a = x + (ptrdiff_t)(down ? span.big : span.small) * count * p.ai;
      p.c = rows + (ptrdiff_t)(down ? span.small : span.big) * count * p.ldc, p.init = p.c;
      conv_multiply(lane, p);
    }
    scatter(to, rows, s, count, y, lane_at(lane, y));
  }
  conv_clear_tails(lane, y);
}
static size_t conv_line_work(const Tensor *y) {
  const Strip strip = convolution_of(y);
  return strip_work(&strip);
}
const Op op_conv_line = {
  .name = "conv_line",
  .run = conv_line_run,
  .grad = conv_grad,
  .twice = true,
  .flops = conv_flops,
  .work = conv_line_work,
};

/* ---- weights --------------------------------------------------------------------------------- */

/* x lies on the big plane, dy on the small one; of a transposed convolution the reverse */
static bool is_transposed(const Tensor *t) { return t->attr.i[CONV_FORM] == FORM_LINE_TRANSPOSED; }

static Strip correlation_of(const Tensor *t, Pictures *x, Pictures *dy, const Lane *lane) {
  const Window w = conv_window(t);
  const int count = t->attr.i[CONV_INPUTS];
  const bool transposed = is_transposed(t);
  *x = pictures_of(lane, t, 0, count, transposed ? w.small[1] : w.big[1]);
  *dy = pictures_of(lane, t, count, 1, transposed ? w.big[1] : w.small[1]);
  int outputs = PANEL * conv_panels(dy->channels);
  return transposed ? strip_of(t, outputs, x->channels) : strip_of(t, x->channels, outputs);
}

static void conv_line_weights_run(const Lane *lane, const Tensor *t) {
  Pictures in, dy;
  const Strip strip = correlation_of(t, &in, &dy, lane);
  const bool transposed = is_transposed(t);
  const Line *from = transposed ? &strip.small : &strip.big,
             *to = transposed ? &strip.big : &strip.small;
  const Slot *slot = &graph_trained(lane->g)->layout->slot[t->attr.i[CONV_SLOT]];
  const int samples = samples_of(lane, t->in[0]), taps = window_taps(&strip.window);
  real *x = lane->work, *d = x + line_reals(from, strip.size);
  real *out = lane_at(lane, t) + (ptrdiff_t)t->attr.i[CONV_FROM] * slot->ld;
  Gemm p = { .m = from->pitch, .n = padded(slot->n), .ai = 1, .ak = from->pitch };
  p.bk = PANEL, p.ldc = p.init_row = slot->ld;
  for (int s = 0, count; s < samples; s += count) {
    count = samples - s < strip.size ? samples - s : strip.size;
    gather(from, &in, s, count, x);
    gather_panels(to, &dy, s, count, d);
    p.bpanel = (ptrdiff_t)line_places(to) * count * PANEL;
    for (int tap = 0; tap < taps; tap++) {
      const Span span = span_of(&strip.window, &strip.big, tap);
      p.k = span.count * count;
      p.a = x + (ptrdiff_t)(transposed ? span.small : span.big) * count * p.ak;
      p.b = d + (ptrdiff_t)(transposed ? span.big : span.small) * count * PANEL;
      p.c = out + (ptrdiff_t)tap * (slot->rows / taps) * slot->ld;
      p.init = t->first && lane->begins && s == 0 ? NULL : p.c;
      conv_multiply(lane, p);
    }
  }
}
static size_t conv_line_weights_work(const Tensor *t) {
  Pictures x, dy;
  const Strip strip = correlation_of(t, &x, &dy, NULL);
  return strip_work(&strip);
}
const Op op_conv_line_weights = { .name = "conv_line_weights",
                                  .run = conv_line_weights_run,
                                  .adds = true,
                                  .into_slot = true,
                                  .by_rows = true,
                                  .flops = conv_flops,
                                  .work = conv_line_weights_work };
