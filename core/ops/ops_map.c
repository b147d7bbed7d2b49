/* ops_map.c -- functions of one number: value, slope as a second output, and curvature.
 *
 *   map     y = f(x), second output f'(x);   dx = dy f'(x)
 *   curve   f''(x), what a gradient through a slope needs:   dx += daux f''(x) */
#include "core/ops/ops.h"
#include <math.h>
#include <string.h>

/* ---- f'' in double; relu and abs bend at 0 alone --------------------------------------------- */

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double density(double x) { return 0.39894228040143267794 * exp(-x * x / 2); }

/* f = x w, w = tanh(softplus(x)), w' = (1 - w^2) s, f'' = 2 w' + x w'' */
static double curve_mish(double x) {
  double s = sigmoid(x), e = exp(x > 20 ? 20 : x), n = e * (e + 2), w = n / (n + 2);
  double rest = 4 * (n + 1) / ((n + 2) * (n + 2)); /* 1 - w^2 */
  double d = rest * s, d2 = rest * s * (1 - s) - 2 * w * d * s;
  return 2 * d + x * d2;
}
static double curve_relu(double x) { return 0 * x; }
static double curve_tanh(double x) {
  double t = tanh(x);
  return -2 * t * (1 - t * t);
}
static double curve_silu(double x) {
  double s = sigmoid(x);
  return s * (1 - s) * (2 + x * (1 - 2 * s));
}
static double curve_gelu(double x) { return density(x) * (2 - x * x); }
static double curve_exp(double x) { return exp(x); }
static double curve_square(double x) { return 2 + 0 * x; }
static double curve_abs(double x) { return 0 * x; }
static double curve_softplus(double x) {
  double s = sigmoid(x);
  return s * (1 - s);
}
static double curve_log(double x) { return -1 / (x * x); }
static double curve_sqrt(double x) { return -0.25 / (x * sqrt(x)); }
static double curve_sin(double x) { return -sin(x); }
static double curve_cos(double x) { return -cos(x); }
static double curve_ndtr(double x) { return -x * density(x); }

static double (*const curve_of[])(double) = {
#define CURVE(name, zero) curve_##name,
  KERNEL_MAPS(CURVE)
};

static const char *map_variant(const Tensor *y) {
  static const char *const names[] = {
#define NAME(name, zero) #name,
    KERNEL_MAPS(NAME)
  };
  return names[y->attr.i[0]];
}

static void curve_run(const Lane *lane, const Tensor *y) {
  int rows = lane_rows(lane, y) * y->k * y->e;
  const real *x = lane_at(lane, y->in[0]);
  real *out = lane_at(lane, y);
  for (int i = 0; i < rows; i++, x += y->ld, out += y->ld) {
    for (int j = 0; j < y->n; j++) out[j] = (real)curve_of[y->attr.i[0]]((double)x[j]);
    clear_padding(out, y->n);
  }
}
const Op op_curve = { .name = "curve", .run = curve_run, .in_place = true, .variant = map_variant };

/* ---- maps ------------------------------------------------------------------------------------ */

static const bool map_keeps_zero[] = {
#define KEEPS_ZERO(name, zero) zero,
  KERNEL_MAPS(KEEPS_ZERO)
};

static void map_run(const Lane *lane, const Tensor *y) {
  int rows = lane_rows(lane, y) * y->k * y->e, n = padded(y->n);
  const real *x = lane_at(lane, y->in[0]);
  real *out = lane_at(lane, y);
  real *slope = y->aux && y->aux->live ? lane_at(lane, y->aux) : NULL;
  MapKernel *map = graph_kernels(lane->g)->map[y->attr.i[0]];
  for (int i = 0; i < rows; i++, x += y->ld, out += y->ld) {
    real *d = slope ? slope + (size_t)i * (size_t)y->ld : NULL;
    map(x, out, d, n);
    if (map_keeps_zero[y->attr.i[0]]) continue; /* else neither value nor slope may stay: ln'(0) */
    memset(out + y->n, 0, (size_t)(n - y->n) * sizeof *out);
    if (d) memset(d + y->n, 0, (size_t)(n - y->n) * sizeof *d);
  }
}

static void map_grad(Tensor *y, Tensor *dy) {
  grad_add(y->in[0], t_mul(dy, record_aux(y, (Shape){ y->k, y->e, y->n })));
}
static void map_slope_grad(Tensor *y, Tensor *dslope) {
  Tensor *x = y->in[0];
  Recipe recipe = { .in = { x }, .attr.i = { y->attr.i[0] } };
  grad_add(x, t_mul(dslope, record(x->g, &op_curve, (Shape){ x->k, x->e, x->n }, &recipe)));
}

const Op op_map = {
  .name = "map",
  .run = map_run,
  .grad = map_grad,
  .aux_grad = map_slope_grad,
  .in_place = true,
  .twice = true,
  .variant = map_variant,
};

Tensor *t_map(Map map, Tensor *x) {
  return record(x->g, &op_map, (Shape){ x->k, x->e, x->n },
                &(Recipe){ .in = { x }, .attr.i = { (int)map } });
}

/* ---- clip: its slope is 0 or 1 --------------------------------------------------------------- */

static void clip_run(const Lane *lane, const Tensor *y) {
  int rows = lane_rows(lane, y) * y->k * y->e;
  const real *x = lane_at(lane, y->in[0]), low = (real)y->attr.c[0], high = (real)y->attr.c[1];
  real *out = lane_at(lane, y);
  real *mask = y->aux && y->aux->live ? lane_at(lane, y->aux) : NULL;
  for (int i = 0; i < rows; i++, x += y->ld, out += y->ld)
    for (int j = 0; j < padded(y->n); j++) {
      real v = j < y->n ? x[j] : 0;
      if (mask) mask[(ptrdiff_t)i * y->ld + j] = v >= low && v <= high;
      out[j] = j >= y->n ? 0 : v < low ? low : v > high ? high : v;
    }
}
const Op op_clip = {
  .name = "clip", .run = clip_run, .grad = map_grad, .in_place = true, .twice = true
};

Tensor *t_clip(Tensor *x, double low, double high) {
  return record(x->g, &op_clip, (Shape){ x->k, x->e, x->n },
                &(Recipe){ .in = { x }, .attr.c = { low, high } });
}
