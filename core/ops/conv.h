/* conv.h -- the inside of a convolution, shared by its files.
 *
 *   ops_conv.c          what users call, gradients as recipes, the bias
 *   ops_conv_filter.c   filters in the order that a product wants: once-nodes
 *   ops_conv_direct.c   products over patches
 *   ops_conv_line.c     planes of one row: a product for each tap
 *   ops_conv_tile.c     minimal filtering
 *
 * A window slides over a big plane and visits each position of a small one.  An ordinary
 * convolution goes from big to small (DOWN) and its input gradient from small to big (UP); for a
 * transposed convolution it is the other way round.  Filters are [tap, c, o] in their slot: c the
 * channels of the input, o those of the output, whichever plane these lie on. */
#ifndef CORE_CONV_H
#define CORE_CONV_H
#include "core/tape/op.h"
#include "core/ops/ops.h"

/* sizes of the planes and the kernel as {height, width} */
typedef struct {
  int big[2], small[2], kernel[2], pad[2], stride;
} Window;

/* what a filter is packed for: its product has [rows, columns] = */
typedef enum {
  FORM_DOWN,            /* [tap c, o]  an ordinary convolution */
  FORM_UP,              /* [o, tap c]  its input gradient */
  FORM_TRANSPOSED_UP,   /* [c, tap o]  a transposed convolution */
  FORM_TRANSPOSED_DOWN, /* [tap o, c]  its input gradient */
  FORM_TILES,           /* [point c, o]  an ordinary convolution by minimal filtering */
  FORM_TILES_BACK,      /* [point o, c]  its input gradient */
  FORM_LINE,            /* tap by tap [c, o], as the slot has it  a convolution along a line */
  FORM_LINE_BACK,       /* tap by tap [o, c]  its input gradient */
  FORM_LINE_TRANSPOSED, /* the same two of a transposed convolution */
  FORM_LINE_TRANSPOSED_BACK,
  FORM_COUNT
} Form;

/* attr.i of a packed filter: channels FROM .. FROM + LENGTH - 1 of the slot's c */
enum { FILTER_SLOT, FILTER_FROM, FILTER_LENGTH, FILTER_FORM, FILTER_TAPS };

/* attr.i of a convolution and of its weight gradient: in[0 .. INPUTS - 1] are its pictures side by
 * side, then comes the filter (or the pictures' counterpart, an output's gradient); from WINDOW on
 * the numbers of a Window.  A weight gradient goes to channels FROM .. of slot SLOT. */
enum { CONV_SLOT, CONV_INPUTS, CONV_FROM, CONV_FORM, CONV_WINDOW };

extern const Op op_filter, op_filter_slot, op_conv_down, op_conv_up, op_conv_weights;
extern const Op op_conv_tiles, op_conv_points, op_filter_back;
extern const Op op_conv_line, op_conv_line_weights;

Tensor *conv_filter(Graph *g, const Params *params, int slot, int from, int length, Form form,
                    const Window *window);
Window conv_window(const Tensor *t);
static inline int plane_area(const int plane[2]) { return plane[0] * plane[1]; }
static inline int window_taps(const Window *w) { return plane_area(w->kernel); }

/* ---- minimal filtering ----------------------------------------------------------------------- */

enum { PANEL = 32 };
static inline int conv_panels(int n) { return (n + PANEL - 1) / PANEL; }

bool conv_tiles_fit(const Window *w); /* is there a transform for this stride and kernel? */
static inline TileKind conv_tile_kind(int taps) {
  return taps == 9 ? TILE_3x3 : taps == 5 ? TILE_1x5 : TILE_1x3;
}
static inline int conv_tile_points(int taps) { return taps == 9 ? 36 : taps == 5 ? 8 : 6; }

/* ---- pictures -------------------------------------------------------------------------------- */

/* pictures that lie side by side along the channels; sample s begins at at[i] + s * row[i] */
typedef struct {
  int count, channels; /* of all together */
  int width[OP_INPUTS];
  const real *at[OP_INPUTS];
  ptrdiff_t row[OP_INPUTS];
} Pictures;

/* in[from .. from + count - 1] of t, whose planes have `area` positions; lane NULL: widths alone */
Pictures pictures_of(const Lane *lane, const Tensor *t, int from, int count, int area);

/* how many samples a picture of this lane has */
static inline int samples_of(const Lane *lane, const Tensor *t) {
  return lane_rows(lane, t) * t->k;
}

/* zeros behind the numbers of each sample of y */
void conv_clear_tails(const Lane *lane, const Tensor *y);

/* a product with packed panels, one after the other where the kernels know none */
void conv_multiply(const Lane *lane, Gemm product);

void conv_grad(Tensor *y, Tensor *dy);
double conv_flops(const Lane *lane, const Tensor *t); /* as direct convolution, by any method */

#endif
