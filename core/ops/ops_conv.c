/* ops_conv.c -- convolutions: what users call, and gradients as recipes.
 *
 *   y = b + sum over taps and channels of x w
 *   its recipe: dx is a convolution back with the same filter, dw a product of x's patches and dy,
 *   db the sum of dy over positions.  A convolution back has the same recipe. */
#include "core/ops/conv.h"
#include <string.h>

Window conv_window(const Tensor *t) {
  Window w;
  memcpy(&w, t->attr.i + CONV_WINDOW, sizeof w);
  return w;
}

Pictures pictures_of(const Lane *lane, const Tensor *t, int from, int count, int area) {
  Pictures p = { .count = count };
  for (int i = 0; i < count; i++) {
    const Tensor *x = t->in[from + i];
    p.at[i] = lane ? lane_at(lane, x) : NULL, p.row[i] = x->ld, p.width[i] = x->n / area;
    p.channels += p.width[i];
  }
  return p;
}

void conv_clear_tails(const Lane *lane, const Tensor *y) {
  real *out = lane_at(lane, y);
  for (int s = samples_of(lane, y); s > 0; s--, out += y->ld) clear_padding(out, y->n);
}

void conv_multiply(const Lane *lane, Gemm p) {
  const Kernels *kernels = graph_kernels(lane->g);
  if (kernels->packs || p.bk != PANEL) {
    kernels->gemm(&p);
    return;
  }
  for (int rest = p.n; rest > 0; rest -= PANEL, p.b += p.bpanel, p.c += PANEL) {
    p.n = rest < PANEL ? rest : PANEL;
    kernels->gemm(&p);
    if (p.init) p.init += PANEL;
  }
}

static const Slot *conv_slot(const Tensor *filter) {
  const Params *params = filter->attr.p;
  return &params->layout->slot[filter->attr.i[FILTER_SLOT]];
}

/* ---- bias: the sum over positions ------------------------------------------------------------ */

static void sum_places_run(const Lane *lane, const Tensor *y) {
  const Tensor *x = y->in[0];
  const Kernels *kernels = graph_kernels(lane->g);
  const real *from = lane_at(lane, x);
  real *out = lane_at(lane, y);
  for (int s = samples_of(lane, x); s > 0; s--, from += x->ld)
    for (int j = 0; j < x->n; j += y->n) kernels->add(out, from + j, out, y->n);
}
const Op op_sum_places = { .name = "sum_places", .run = sum_places_run, .adds = true };

/* ---- convolutions and back ------------------------------------------------------------------- */

static const struct {
  Form back;
  const Op *op;
  Form weights; /* the kind of its filter's gradient */
  bool down;    /* from the big plane to the small one */
  bool c_in;    /* c are the channels of its input, else of its output */
} forms[FORM_COUNT] = {
  [FORM_DOWN] = { FORM_UP, &op_conv_down, FORM_DOWN, true, true },
  [FORM_UP] = { FORM_DOWN, &op_conv_up, FORM_DOWN, false, false },
  [FORM_TRANSPOSED_UP] = { FORM_TRANSPOSED_DOWN, &op_conv_up, FORM_TRANSPOSED_UP, false, true },
  [FORM_TRANSPOSED_DOWN] = { FORM_TRANSPOSED_UP, &op_conv_down, FORM_TRANSPOSED_UP, true, false },
  [FORM_TILES] = { FORM_TILES_BACK, &op_conv_tiles, FORM_TILES, true, true },
  [FORM_TILES_BACK] = { FORM_TILES, &op_conv_tiles, FORM_TILES, false, false },
  [FORM_LINE] = { FORM_LINE_BACK, &op_conv_line, FORM_LINE, true, true },
  [FORM_LINE_BACK] = { FORM_LINE, &op_conv_line, FORM_LINE, false, false },
  [FORM_LINE_TRANSPOSED] = { FORM_LINE_TRANSPOSED_BACK, &op_conv_line, FORM_LINE_TRANSPOSED, false,
                             true },
  [FORM_LINE_TRANSPOSED_BACK] = { FORM_LINE_TRANSPOSED, &op_conv_line, FORM_LINE_TRANSPOSED, true,
                                  false },
};

static Tensor *convolve(const Inputs *in, Tensor *filter, Tensor *bias, const Window *window) {
  const Form form = (Form)filter->attr.i[FILTER_FORM];
  Recipe recipe = { .attr.i = { [CONV_FORM] = (int)form } };
  int count = 0;
  for (; count < 4 && in->x[count]; count++) recipe.in[count] = in->x[count];
  recipe.in[count] = filter, recipe.in[count + 1] = bias;
  recipe.attr.i[CONV_INPUTS] = count;
  memcpy(recipe.attr.i + CONV_WINDOW, window, sizeof *window);
  int area = plane_area(forms[form].down ? window->small : window->big);
  int channels = forms[form].c_in ? conv_slot(filter)->n : filter->attr.i[FILTER_LENGTH];
  return record(in->x[0]->g, forms[form].op, (Shape){ in->x[0]->k, 1, area * channels }, &recipe);
}

/* dw += patches' dy, or by way of the points; which side is the picture and which its counterpart
 * follows from the form */
static void weight_grad(Tensor *y, Tensor *dy, const Tensor *filter) {
  const Form form = (Form)filter->attr.i[FILTER_FORM];
  int count = y->attr.i[CONV_INPUTS];
  Recipe recipe = { .attr = y->attr };
  Tensor *const *x = forms[form].c_in ? y->in : &dy;
  memcpy(recipe.in, x, (size_t)count * sizeof *x);
  recipe.in[count] = forms[form].c_in ? dy : y->in[0];
  recipe.attr.i[CONV_SLOT] = filter->attr.i[FILTER_SLOT];
  recipe.attr.i[CONV_FROM] = filter->attr.i[FILTER_FROM];
  recipe.attr.i[CONV_FORM] = (int)forms[form].weights;
  if (forms[form].weights != FORM_TILES) {
    bool line = forms[form].op == &op_conv_line;
    record(y->g, line ? &op_conv_line_weights : &op_conv_weights,
           (Shape){ filter->k, 1, filter->n }, &recipe);
    return;
  }
  int rows = conv_tile_points(filter->attr.i[FILTER_TAPS]) * filter->attr.i[FILTER_LENGTH];
  Shape shape = { rows * conv_panels(conv_slot(filter)->n), 1, PANEL };
  Tensor *du = record(y->g, &op_conv_points, shape, &recipe);
  const Slot *slot = conv_slot(filter);
  int written = filter->attr.i[FILTER_TAPS] * filter->attr.i[FILTER_LENGTH];
  record(y->g, &op_filter_back, (Shape){ written, 1, slot->n },
         &(Recipe){ .in = { du }, .attr = recipe.attr });
}

double conv_flops(const Lane *lane, const Tensor *t) {
  const Window w = conv_window(t);
  const bool down = forms[t->attr.i[CONV_FORM]].down;
  const int in = plane_area(down ? w.big : w.small), out = plane_area(down ? w.small : w.big);
  const int count = t->attr.i[CONV_INPUTS];
  const Tensor *other = t->op->adds ? t->in[count] : t;
  double pairs = 0;
  for (int i = 0; i < count; i++) pairs += (double)(t->in[i]->n / in) * (other->n / out);
  return 2 * pairs * samples_of(lane, t->in[0]) * plane_area(w.small) * window_taps(&w);
}

void conv_grad(Tensor *y, Tensor *dy) {
  const int count = y->attr.i[CONV_INPUTS];
  Tensor *filter = y->in[count], *bias = y->in[count + 1];
  const int *of = filter->attr.i;
  const Form form = (Form)of[FILTER_FORM];
  const Window window = conv_window(y);
  int area = plane_area(forms[form].down ? window.big : window.small);
  for (int i = 0, from = of[FILTER_FROM]; i < count; i++) {
    Tensor *x = y->in[i];
    int length = forms[form].c_in ? x->n / area : of[FILTER_LENGTH];
    if (grad_wanted(x))
      grad_add(x, convolve(&IN(dy),
                           conv_filter(y->g, filter->attr.p, of[FILTER_SLOT], from, length,
                                       forms[form].back, &window),
                           NULL, &window));
    from += length;
  }
  if (grad_wanted(filter)) weight_grad(y, dy, filter);
  if (bias && grad_wanted(bias))
    grad_add(bias,
             record(y->g, &op_sum_places, (Shape){ 1, 1, bias->n }, &(Recipe){ .in = { dy } }));
}

/* ---- for users ------------------------------------------------------------------------------- */

static int pad_of(const ConvSpec *spec, int kernel) {
  if (kernel == 1) return 0;
  if (spec->pad != CONV_SAME) return spec->pad;
  CHECK(kernel % 2 && !spec->transposed, "t_conv: CONV_SAME wants an odd kernel, not %d", kernel);
  return kernel / 2;
}

Plane conv_plane(const ConvSpec *spec, int channels) {
  const int in[2] = { spec->in.height, spec->in.width }, kernel[2] = { spec->kh, spec->kw };
  int out[2];
  for (int a = 0; a < 2; a++) {
    int pad = pad_of(spec, kernel[a]);
    out[a] = spec->transposed ? (in[a] - 1) * spec->stride - 2 * pad + kernel[a]
                              : (in[a] + 2 * pad - kernel[a]) / spec->stride + 1;
    CHECK(spec->stride > 0 && pad >= 0 && pad < kernel[a] && out[a] > 0 &&
              in[a] + 2 * pad >= kernel[a] * !spec->transposed,
          "t_conv: a kernel of %d with padding %d on %d positions", kernel[a], pad, in[a]);
  }
  return (Plane){ out[0], out[1], channels };
}

static Window window_of(const ConvSpec *spec) {
  const Plane in = spec->in, out = conv_plane(spec, 1);
  const Plane big = spec->transposed ? out : in, small = spec->transposed ? in : out;
  return (Window){ .big = { big.height, big.width },
                   .small = { small.height, small.width },
                   .kernel = { spec->kh, spec->kw },
                   .pad = { pad_of(spec, spec->kh), pad_of(spec, spec->kw) },
                   .stride = spec->stride };
}

/* In training a filter is transformed at every step, and its gradient too.  On a line of fewer
 * positions, deep in a U-Net where filters are large, that takes longer than it saves. */
enum { LEAST_LINE = 8 };

static Form form_of(const Graph *g, const Params *params, const ConvSpec *spec, const Window *w,
                    bool sixteens) {
  const bool line = w->big[0] == 1 && w->small[0] == 1 && w->kernel[0] == 1;
  const bool pays = !line || w->small[1] >= LEAST_LINE || !graph_trains(g, params);
  if (spec->transposed) return line ? FORM_LINE_TRANSPOSED : FORM_TRANSPOSED_UP;
  if (sixteens && pays && conv_tiles_fit(w) && graph_conv(g) == CONV_FILTERED) return FORM_TILES;
  return line ? FORM_LINE : FORM_DOWN;
}

Tensor *t_conv(Graph *g, const Params *params, int filter, int bias, Inputs in,
               const ConvSpec *spec) {
  const Slot *slot = &params->layout->slot[filter];
  const Window window = window_of(spec);
  const int area = spec->in.height * spec->in.width;
  int channels = 0;
  bool sixteens = slot->n % 16 == 0; /* filtering knows whole vectors alone */
  for (int i = 0; i < 4 && in.x[i]; i++) {
    const Tensor *x = in.x[i];
    CHECK(x->kind == ROW && x->e == 1 && x->k == in.x[0]->k && x->n % area == 0,
          "t_conv: input %d is no plane of %d positions a row", i, area);
    channels += x->n / area, sixteens = sixteens && x->n / area % 16 == 0;
  }
  CHECK(channels == spec->in.channels && slot->e == 1 &&
            slot->rows == window_taps(&window) * channels,
        "%s/%s: %d rows for %d taps of %d channels", params->block, slot->name, slot->rows,
        window_taps(&window), channels);
  const Form form = form_of(g, params, spec, &window, sixteens);
  return convolve(&in, conv_filter(g, params, filter, 0, channels, form, &window),
                  bias < 0 ? NULL : t_param(g, params, bias), &window);
}
