/* ops_conv_filter.c -- filters in the order that a product wants.
 *
 * A slot holds [tap, c, o].  Packed for a product of [K, N] it is panels of 32 columns, as Gemm
 * reads them, whatever the kernels: every column of a panel lies 32 numbers below the last. */
#include "core/conv.h"

/* where entry (k, j) of a packed [K, N] lies */
static real *entry(real *packed, int rows, int k, int j) {
  return packed + ((ptrdiff_t)(j / 32) * rows + k) * 32 + j % 32;
}

/* n numbers along the columns, from column j on */
static void put_columns(real *packed, int rows, int k, int j, const real *from, int n) {
  for (int i = 0; i < n; i++) *entry(packed, rows, k, j + i) = from[i];
}
/* n numbers along the rows, from row k on */
static void put_rows(real *packed, int rows, int k, int j, const real *from, int n) {
  real *to = entry(packed, rows, k, j);
  for (int i = 0; i < n; i++) to[(ptrdiff_t)i * 32] = from[i];
}

static void filter_run(const Lane *lane, const Tensor *t) {
  const Params *params = t->attr.p;
  const Slot *slot = &params->layout->slot[t->attr.i[FILTER_SLOT]];
  const int taps = t->attr.i[FILTER_TAPS], channels = t->attr.i[FILTER_LENGTH], n = slot->n;
  real *packed = lane_at(lane, t);
  for (int tap = 0; tap < taps; tap++)
    for (int c = 0; c < channels; c++) {
      int row = tap * (slot->rows / taps) + t->attr.i[FILTER_FROM] + c, pair = tap * channels + c;
      const real *w = params_at(params, t->attr.i[FILTER_SLOT]) + (ptrdiff_t)row * slot->ld;
      switch ((Form)t->attr.i[FILTER_FORM]) {
      case FORM_DOWN: put_columns(packed, t->k, pair, 0, w, n); break;
      case FORM_TRANSPOSED_UP: put_columns(packed, t->k, c, tap * n, w, n); break;
      case FORM_UP: put_rows(packed, t->k, 0, pair, w, n); break;
      default: put_rows(packed, t->k, tap * n, c, w, n);
      }
    }
}
const Op op_filter = { .name = "filter", .run = filter_run };

Tensor *conv_filter(Graph *g, const Params *params, int slot, int from, int length, Form form,
                    const Window *window) {
  int taps = window_taps(window), n = params->layout->slot[slot].n;
  const Shape shape[FORM_COUNT] = { [FORM_DOWN] = { taps * length, 1, n },
                                    [FORM_UP] = { n, 1, taps * length },
                                    [FORM_TRANSPOSED_UP] = { length, 1, taps * n },
                                    [FORM_TRANSPOSED_DOWN] = { taps * n, 1, length } };
  return record_params(g, &op_filter, shape[form], params, slot,
                       (int[OP_INTS - 1]){ from, length, (int)form, taps });
}
