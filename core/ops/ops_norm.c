/* ops_norm.c -- ops that bring a whole axis to a norm: logarithm of softmax, layer norm. */
#include "core/ops/ops.h"
#include <math.h>

/* ---- softmax --------------------------------------------------------------------------------- */

/* ln softmax of `count` numbers that lie `stride` apart, in double */
static void log_softmax(const real *x, real *y, int count, ptrdiff_t stride) {
  double most = (double)x[0], sum = 0;
  for (int i = 1; i < count; i++) most = fmax(most, (double)x[i * stride]);
  for (int i = 0; i < count; i++) sum += exp((double)x[i * stride] - most);
  double shift = most + log(sum);
  for (int i = 0; i < count; i++) y[i * stride] = (real)((double)x[i * stride] - shift);
}

static void log_softmax_k_run(const Lane *lane, const Tensor *y) {
  const real *x = lane_at(lane, y->in[0]);
  real *out = lane_at(lane, y);
  for (int b = 0; b < lane_rows(lane, y); b++, x += row_size(y), out += row_size(y)) {
    for (int e = 0; e < y->e; e++)
      for (int j = 0; j < y->n; j++)
        log_softmax(x + e * y->ld + j, out + e * y->ld + j, y->k, (ptrdiff_t)y->e * y->ld);
    for (int i = 0; i < y->k * y->e; i++) clear_padding(out + i * y->ld, y->n);
  }
}
static void log_softmax_last_run(const Lane *lane, const Tensor *y) {
  int rows = lane_rows(lane, y) * y->k * y->e;
  const real *x = lane_at(lane, y->in[0]);
  real *out = lane_at(lane, y);
  for (int i = 0; i < rows; i++, x += y->ld, out += y->ld) {
    log_softmax(x, out, y->n, 1);
    clear_padding(out, y->n);
  }
}

/* dx = dy - softmax(x) sum(dy) */
static void log_softmax_grad(Tensor *y, Tensor *dy, Tensor *sum) {
  grad_add(y->in[0], t_sub(dy, t_mul(t_map(MAP_exp, y), sum)));
}
static void log_softmax_k_grad(Tensor *y, Tensor *dy) { log_softmax_grad(y, dy, t_sum_k(dy)); }
static void log_softmax_last_grad(Tensor *y, Tensor *dy) {
  log_softmax_grad(y, dy, t_sum_last(dy));
}
const Op op_log_softmax_k = {
  .name = "log_softmax_k", .run = log_softmax_k_run, .grad = log_softmax_k_grad, .twice = true
};
const Op op_log_softmax_last = { .name = "log_softmax_last",
                                 .run = log_softmax_last_run,
                                 .grad = log_softmax_last_grad,
                                 .twice = true };

static Tensor *one_input(const Op *op, Tensor *x) {
  return record(x->g, op, (Shape){ x->k, x->e, x->n }, &(Recipe){ .in = { x } });
}
Tensor *t_log_softmax_k(Tensor *x) { return one_input(&op_log_softmax_k, x); }
Tensor *t_log_softmax_last(Tensor *x) { return one_input(&op_log_softmax_last, x); }
Tensor *t_softmax_last(Tensor *x) { return t_map(MAP_exp, t_log_softmax_last(x)); }

/* ---- layer norm (Ba et al. 2016) ------------------------------------------------------------- */

/* sum of a_j b_j: 16 interleaved partial sums, added pairwise */
static real dot(const real *a, const real *b, int n) {
  real part[16] = { 0 };
  int j = 0;
  for (; j + 16 <= n; j += 16)
    for (int l = 0; l < 16; l++) part[l] += a[j + l] * b[j + l];
  for (int l = 0; j + l < n; l++) part[l] += a[j + l] * b[j + l];
  for (int width = 8; width; width /= 2)
    for (int l = 0; l < width; l++) part[l] += part[l + width];
  return part[0];
}
static real mean_of(const real *x, int n) {
  real part[16] = { 0 };
  int j = 0;
  for (; j + 16 <= n; j += 16)
    for (int l = 0; l < 16; l++) part[l] += x[j + l];
  for (int l = 0; j + l < n; l++) part[l] += x[j + l];
  for (int width = 8; width; width /= 2)
    for (int l = 0; l < width; l++) part[l] += part[l + width];
  return part[0] / (real)n;
}

/* y = (x - mean) r, r = 1 / sqrt(variance + eps), of each of attr.i[0] runs that a row consists of;
 * second output r */
static void standardize_run(const Lane *lane, const Tensor *y) {
  int rows = lane_rows(lane, y) * y->k * y->e, runs = y->attr.i[0], n = y->n / runs;
  const real *x = lane_at(lane, y->in[0]);
  real *out = lane_at(lane, y);
  real *scale = y->aux && y->aux->live ? lane_at(lane, y->aux) : NULL;
  for (int i = 0; i < rows; i++, x += y->ld, out += y->ld) {
    for (int run = 0; run < runs; run++) {
      const real *from = x + run * n;
      real mean = mean_of(from, n), *to = out + run * n;
      for (int j = 0; j < n; j++) to[j] = from[j] - mean;
      double variance = (double)dot(to, to, n) / n;
      real r = (real)(1 / sqrt(variance + y->attr.c[0]));
      for (int j = 0; j < n; j++) to[j] *= r;
      if (scale) scale[(ptrdiff_t)i * y->aux->ld + run] = r;
    }
    clear_padding(out, y->n);
    if (scale) clear_padding(scale + (ptrdiff_t)i * y->aux->ld, runs);
  }
}

/* dx = r (dy - mean(dy) - y mean(dy y)) */
static void standardize_back_run(const Lane *lane, const Tensor *dx) {
  const Tensor *r = dx->in[2];
  int rows = lane_rows(lane, dx) * dx->k * dx->e, runs = r->n, n = dx->n / runs;
  const real *dy = lane_at(lane, dx->in[0]), *y = lane_at(lane, dx->in[1]);
  const real *scale = lane_at(lane, r);
  real *out = lane_at(lane, dx);
  for (int i = 0; i < rows; i++, dy += dx->ld, y += dx->ld, out += dx->ld, scale += r->ld) {
    for (int from = 0; from < dx->n; from += n) {
      real mean = mean_of(dy + from, n), along = dot(dy + from, y + from, n) / (real)n;
      for (int j = from; j < from + n; j++)
        out[j] = scale[from / n] * (dy[j] - mean - y[j] * along);
    }
    clear_padding(out, dx->n);
  }
}
const Op op_standardize_back = { .name = "standardize_back",
                                 .run = standardize_back_run,
                                 .in_place = true };
static void standardize_grad(Tensor *y, Tensor *dy) {
  Tensor *x = y->in[0], *r = record_aux(y, (Shape){ y->k, y->e, y->attr.i[0] });
  grad_add(x, record(x->g, &op_standardize_back, (Shape){ x->k, x->e, x->n },
                     &(Recipe){ .in = { dy, y, r } }));
}
const Op op_standardize = {
  .name = "standardize", .run = standardize_run, .grad = standardize_grad, .in_place = true
};

static Tensor *standardize(Tensor *x, int runs, double eps) {
  CHECK(eps >= 0, "layer norm: eps %g", eps);
  return record(x->g, &op_standardize, (Shape){ x->k, x->e, x->n },
                &(Recipe){ .in = { x }, .attr = { .c = { eps }, .i = { runs } } });
}

static Tensor *norm_slot(Graph *g, const Params *params, int slot, int n) {
  Tensor *p = t_param(g, params, slot);
  CHECK(p->n == n, "layer norm: slot %s of %d for %d numbers", params->layout->slot[slot].name,
        p->n, n);
  return p;
}

Tensor *t_layernorm(Graph *g, const Params *params, int gain, int bias, Tensor *x, double eps) {
  Tensor *y = standardize(x, 1, eps);
  if (gain >= 0) y = t_mul(y, norm_slot(g, params, gain, x->n));
  return bias >= 0 ? t_add(y, norm_slot(g, params, bias, x->n)) : y;
}

Tensor *t_channel_norm(Graph *g, const Params *params, int gain, int bias, Tensor *x, int channels,
                       double eps) {
  CHECK(x->e == 1 && channels > 0 && x->n % channels == 0,
        "t_channel_norm: %d numbers of %d channels", x->n, channels);
  Tensor *y = standardize(x, x->n / channels, eps);
  if (gain >= 0) y = t_channel_mul(y, norm_slot(g, params, gain, channels));
  return bias >= 0 ? t_channel_add(y, norm_slot(g, params, bias, channels)) : y;
}
