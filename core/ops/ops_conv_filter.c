/* ops_conv_filter.c -- filters in the order that a product wants.
 *
 * A slot holds [tap, c, o].  Packed for a product of [K, N] it is panels of 32 columns, as Gemm
 * reads them, whatever the kernels. */
#include "core/ops/conv.h"

/* channels FROM .. of a slot: tap i of (c, o) is w[i * tap + c * row + o] */
typedef struct {
  const real *w;
  int taps, channels, outputs;
  ptrdiff_t tap, row;
  const TileKernels *kernels;
  void (*transpose)(const real *from, ptrdiff_t from_ld, int m, int n, real *to, ptrdiff_t to_ld);
} Filter;

static Filter filter_of(const Lane *lane, const Tensor *t) {
  const Params *params = t->attr.p;
  const Slot *slot = &params->layout->slot[t->attr.i[FILTER_SLOT]];
  int taps = t->attr.i[FILTER_TAPS];
  return (Filter){ .w = params_at(params, t->attr.i[FILTER_SLOT]) +
                        (ptrdiff_t)t->attr.i[FILTER_FROM] * slot->ld,
                   .taps = taps,
                   .channels = t->attr.i[FILTER_LENGTH],
                   .outputs = slot->n,
                   .tap = (ptrdiff_t)(slot->rows / taps) * slot->ld,
                   .row = slot->ld,
                   .kernels = &graph_kernels(lane->g)->tile[conv_tile_kind(taps)],
                   .transpose = graph_kernels(lane->g)->transpose };
}

/* ---- for products over patches --------------------------------------------------------------- */

/* where entry (k, j) of a packed [K, N] lies */
static real *entry(real *packed, int rows, int k, int j) {
  return packed + ((ptrdiff_t)(j / PANEL) * rows + k) * PANEL + j % PANEL;
}

/* n numbers along the columns, from column j on */
static void put_columns(real *packed, int rows, int k, int j, const real *from, int n) {
  for (int i = 0; i < n; i++) *entry(packed, rows, k, j + i) = from[i];
}
/* n numbers along the rows, from row k on */
static void put_rows(real *packed, int rows, int k, int j, const real *from, int n) {
  real *to = entry(packed, rows, k, j);
  for (int i = 0; i < n; i++) to[(ptrdiff_t)i * PANEL] = from[i];
}

static void reorder(const Filter *f, const Tensor *t, real *packed) {
  const int n = f->outputs;
  for (int tap = 0; tap < f->taps; tap++)
    for (int c = 0; c < f->channels; c++) {
      const real *w = f->w + tap * f->tap + c * f->row;
      int pair = tap * f->channels + c;
      switch ((Form)t->attr.i[FILTER_FORM]) {
      case FORM_DOWN: put_columns(packed, t->k, pair, 0, w, n); break;
      case FORM_TRANSPOSED_UP: put_columns(packed, t->k, c, tap * n, w, n); break;
      case FORM_UP: put_rows(packed, t->k, 0, pair, w, n); break;
      default: put_rows(packed, t->k, tap * n, c, w, n);
      }
    }
}

/* ---- for a product a tap: back --------------------------------------------------------------- */

static int panel_width(int n, int j) { return n - j < PANEL ? n - j : PANEL; }

/* [o, c] of every tap in panels of 32 c */
static void by_tap_back(const Filter *f, real *packed) {
  const ptrdiff_t panel = (ptrdiff_t)f->outputs * PANEL;
  for (int tap = 0; tap < f->taps; tap++)
    for (int j = 0; j < f->channels; j += PANEL, packed += panel)
      f->transpose(f->w + tap * f->tap + j * f->row, f->row, panel_width(f->channels, j),
                   f->outputs, packed, PANEL);
}

/* ---- for minimal filtering ------------------------------------------------------------------- */

/* [point, c, o] in panels of 32 o, points one after the other: products read it in this order */
static void to_points(const Filter *f, real *u) {
  const ptrdiff_t step = (ptrdiff_t)f->channels * PANEL;
  for (int j = 0; j < f->outputs; j += PANEL, u += conv_tile_points(f->taps) * step)
    for (int c = 0; c < f->channels; c++)
      f->kernels->filter(f->w + c * f->row + j, f->tap, panel_width(f->outputs, j), u + c * PANEL,
                         step);
}

/* [point, o, c] of the flipped filter in panels of 32 c; 16 o at a time are transposed first */
static void to_points_back(const Filter *f, real *u) {
  enum { SOME = 16, MOST_TAPS = 9 };
  const ptrdiff_t step = (ptrdiff_t)f->outputs * PANEL;
  real turned[MOST_TAPS][SOME][PANEL];
  for (int j = 0; j < f->channels; j += PANEL, u += conv_tile_points(f->taps) * step)
    for (int o = 0; o < f->outputs; o += SOME) {
      int width = panel_width(f->channels, j);
      for (int i = 0; i < f->taps; i++)
        for (int c = 0; c < width; c += SOME)
          f->transpose(f->w + i * f->tap + (j + c) * f->row + o, f->row, SOME, SOME,
                       &turned[f->taps - 1 - i][0][c], PANEL);
      for (int s = 0; s < SOME; s++)
        f->kernels->filter(turned[0][s], SOME * PANEL, width, u + (o + s) * PANEL, step);
    }
}

/* ---- the op ---------------------------------------------------------------------------------- */

static void filter_run(const Lane *lane, const Tensor *t) {
  const Filter f = filter_of(lane, t);
  real *packed = lane_at(lane, t);
  switch ((Form)t->attr.i[FILTER_FORM]) {
  case FORM_TILES: to_points(&f, packed); break;
  case FORM_TILES_BACK: to_points_back(&f, packed); break;
  case FORM_LINE_BACK:
  case FORM_LINE_TRANSPOSED_BACK: by_tap_back(&f, packed); break;
  default: reorder(&f, t, packed);
  }
}
const Op op_filter = { .name = "filter", .run = filter_run };

/* the slot itself */
const Op op_filter_slot = { .name = "filter_slot" };

Tensor *conv_filter(Graph *g, const Params *params, int slot, int from, int length, Form form,
                    const Window *window) {
  int taps = window_taps(window), n = params->layout->slot[slot].n, points = conv_tile_points(taps);
  const Shape shape[FORM_COUNT] = { [FORM_DOWN] = { taps * length, 1, n },
                                    [FORM_UP] = { n, 1, taps * length },
                                    [FORM_TRANSPOSED_UP] = { length, 1, taps * n },
                                    [FORM_TRANSPOSED_DOWN] = { taps * n, 1, length },
                                    [FORM_TILES] = { points * length, 1, n },
                                    [FORM_TILES_BACK] = { points * n, 1, length },
                                    [FORM_LINE] = { taps * length, 1, n },
                                    [FORM_LINE_BACK] = { taps * n, 1, length },
                                    [FORM_LINE_TRANSPOSED] = { taps * length, 1, n },
                                    [FORM_LINE_TRANSPOSED_BACK] = { taps * n, 1, length } };
  const bool packed = form != FORM_LINE && form != FORM_LINE_TRANSPOSED;
  Tensor *t = record_params(g, packed ? &op_filter : &op_filter_slot, shape[form], params, slot,
                            (int[OP_INTS - 1]){ from, length, (int)form, taps });
  if (packed) return t;
  t->place = PLACE_FIXED;
  t->data = params_at(params, slot) + (ptrdiff_t)from * params->layout->slot[slot].ld;
  return t;
}
