/* exact.h -- a network that knows the answer and has derivatives: data are sum_k w_k N(m_k, c_k^2)
 * in every dimension, independently.
 *
 * x_t is the mixture of N(a m_k, v_k), v_k = a^2 c_k^2 + s^2, and with r = softmax(ln w_k N(x))
 *
 *   eps = -s d ln p / dx = s sum_k r_k (x - a m_k) / v_k
 *   x_0 = sum_k r_k (m_k + a c_k^2 (x - a m_k) / v_k)                                            */
#ifndef TESTS_EXACT_H
#define TESTS_EXACT_H
#include "core/ops/ops.h"
#include "diffusion/denoiser.h"
#include <math.h>

enum { EXACT_MOST = 2 };
typedef struct {
  Denoiser base; /* first, as the network finds its mixture by it */
  int parts;
  double w[EXACT_MOST], m[EXACT_MOST], c[EXACT_MOST];
} Exact;

static inline double exact_variance(const Exact *e, int k, const Level *l) {
  return l->a * l->a * e->c[k] * e->c[k] + l->s * l->s;
}

/* ln p_t(x) of one dimension */
static inline double exact_log_p(const Exact *e, const Level *l, double x) {
  double p = 0;
  for (int k = 0; k < e->parts; k++) {
    double v = exact_variance(e, k, l), d = x - l->a * e->m[k];
    p += e->w[k] * exp(-0.5 * d * d / v) / sqrt(2 * acos(-1) * v);
  }
  return log(p);
}

/* what the network needs to know about a time, K columns each: a m_k, 1/v_k, ln w_k - ln v_k / 2,
 * m_k, a c_k^2; then s, and the line p x_0 + q eps of what it predicts */
static inline void exact_numbers(const Lane *lane, const Tensor *y) {
  const Exact *e = y->attr.p;
  const Tensor *in = y->in[0];
  int K = e->parts;
  for (int i = 0; i < lane_rows(lane, y) * y->k; i++) {
    Level l = schedule_level(e->base.schedule, (double)lane_at(lane, in)[i * in->ld]);
    Line line = prediction_line(e->base.predicts, &l, 0);
    real *out = lane_at(lane, y) + (ptrdiff_t)i * y->ld;
    for (int k = 0; k < K; k++) {
      double v = exact_variance(e, k, &l);
      out[k] = (real)(l.a * e->m[k]), out[K + k] = (real)(1 / v);
      out[2 * K + k] = (real)(log(e->w[k]) - 0.5 * log(v));
      out[3 * K + k] = (real)e->m[k], out[4 * K + k] = (real)(l.a * e->c[k] * e->c[k]);
    }
    out[5 * K] = (real)l.s, out[5 * K + 1] = (real)line.p, out[5 * K + 2] = (real)line.q;
    clear_padding(out, y->n);
  }
}
static inline Tensor *exact_embed(const Denoiser *d, Graph *g, const Params *p, Tensor *t) {
  static const Op op_exact = { .name = "exact", .run = exact_numbers };
  int K = ((const Exact *)d)->parts;
  (void)p;
  return record(g, &op_exact, (Shape){ t->k, 1, 5 * K + 3 }, &(Recipe){ .in = { t }, .attr.p = d });
}

static inline Tensor *exact_net(const Denoiser *d, Graph *g, const Params *p, Tensor *x, Tensor *h,
                                Tensor *cond) {
  int K = ((const Exact *)d)->parts;
  Tensor *s = t_col(h, 5 * K), *to_x0 = t_col(h, 5 * K + 1), *to_eps = t_col(h, 5 * K + 2);
  Tensor *all = NULL;
  (void)g, (void)p, (void)cond;
  for (int j = 0; j < d->dim; j++) {
    Tensor *away = t_sub(t_col(x, j), t_slice(h, 0, K)), *pull = t_mul(away, t_slice(h, K, K));
    Tensor *log_part = t_add(t_slice(h, 2 * K, K), t_scale(-0.5, t_mul(away, pull)));
    Tensor *r = t_softmax_last(log_part), *eps = t_mul(t_sum_last(t_mul(r, pull)), s);
    Tensor *mean = t_add(t_slice(h, 3 * K, K), t_mul(t_slice(h, 4 * K, K), pull));
    Tensor *x0 = t_sum_last(t_mul(r, mean));
    Tensor *output = t_add(t_mul(x0, to_x0), t_mul(eps, to_eps));
    all = all ? t_concat(all, output) : output;
  }
  return all;
}

static inline Denoiser exact_denoiser(const Schedule *s, int dim) {
  Denoiser d = { .net = exact_net, .embed = exact_embed, .predicts = PREDICTS_EPS };
  return d.schedule = s, d.dim = dim, d;
}

/* 0.3 N(-1, 0.4^2) + 0.7 N(0.8, 0.25^2), of the golden tables; and one Gaussian */
static inline Exact exact_mixture(const Schedule *s, int dim) {
  return (Exact){ exact_denoiser(s, dim), 2, { 0.3, 0.7 }, { -1, 0.8 }, { 0.4, 0.25 } };
}
static inline Exact exact_normal(const Schedule *s, int dim, double m, double c) {
  return (Exact){ exact_denoiser(s, dim), 1, { 1 }, { m }, { c } };
}

#endif
