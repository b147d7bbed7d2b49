/* tilted.h -- a one-dimensional mixture of normals, its exact denoiser, and what guidance should do
 * to it in closed form.
 *
 * Noised by x_t = a x_0 + s eps its components are N(a m_k, v_k), v_k = a^2 c_k^2 + s^2.  Tilted,
 * p(x) e^r(x) with linear or quadratic r is a mixture again, so everything about it is known. */
#ifndef TESTS_TILTED_H
#define TESTS_TILTED_H
#include "tests/chain.h"

enum { BUMPS_MOST = 3 };
typedef struct {
  Denoiser base; /* asked for x_0; first, so that the network finds its mixture */
  int parts;
  double w[BUMPS_MOST], m[BUMPS_MOST], c[BUMPS_MOST];
} Bumps;

/* ---- numbers --------------------------------------------------------------------------------- */

static inline double bumps_variance(const Bumps *p, int k, const Level *l) {
  return l->a * l->a * p->c[k] * p->c[k] + l->s * l->s;
}
/* p_t(x), its score, and P(x_t < x) */
typedef struct {
  double density, score, below;
} Law;
static inline Law bumps_law(const Bumps *p, const Level *l, double x) {
  Law law = { 0, 0, 0 };
  for (int k = 0; k < p->parts; k++) {
    double v = bumps_variance(p, k, l), d = x - l->a * p->m[k];
    double density = p->w[k] * exp(-0.5 * d * d / v) / sqrt(2 * acos(-1) * v);
    law.density += density, law.score -= density * d / v;
    law.below += 0.5 * p->w[k] * erfc(-d / sqrt(2 * v));
  }
  law.score /= law.density;
  return law;
}
static inline double bumps_quantile(const Bumps *p, const Level *l, double u) {
  double low = -1e3, high = 1e3;
  for (int i = 0; i < 100; i++) {
    double middle = 0.5 * (low + high);
    *(bumps_law(p, l, middle).below < u ? &low : &high) = middle;
  }
  return 0.5 * (low + high);
}

/* r(x) = slope x - bend (x - centre)^2 / 2 */
typedef struct {
  double slope, bend, centre;
} Reward;

static inline double reward_at(const Reward *r, double x) {
  return r->slope * x - 0.5 * r->bend * (x - r->centre) * (x - r->centre);
}

/* p e^r / E[e^r]; *log_mean = ln E[e^r] */
static inline Bumps bumps_tilted(const Bumps *p, const Reward *r, double *log_mean) {
  Bumps q = *p;
  double sum = 0, c = r->centre;
  for (int k = 0; k < p->parts; k++) {
    double v = p->c[k] * p->c[k], m = p->m[k], precision = 1 / v + r->bend;
    double mean = (m / v + r->slope + r->bend * c) / precision;
    double exponent = 0.5 * (mean * mean * precision - m * m / v - r->bend * c * c);
    q.m[k] = mean, q.c[k] = sqrt(1 / precision);
    sum += q.w[k] = p->w[k] * exp(exponent) / sqrt(1 + r->bend * v);
  }
  for (int k = 0; k < p->parts; k++) q.w[k] /= sum;
  *log_mean = log(sum);
  return q;
}

/* ---- on the tape ----------------------------------------------------------------------------- */

/* what the network knows of a time: a m_k | 1/v_k | ln w_k - ln v_k / 2 | m_k | a c_k^2 */
static inline void bumps_numbers(const Lane *lane, const Tensor *y) {
  const Bumps *p = y->attr.p;
  const Tensor *in = y->in[0];
  int n = p->parts;
  for (int i = 0; i < lane_rows(lane, y) * y->k; i++) {
    Level l = schedule_level(p->base.schedule, (double)lane_at(lane, in)[i * in->ld]);
    real *out = lane_at(lane, y) + (ptrdiff_t)i * y->ld;
    for (int k = 0; k < n; k++) {
      double v = bumps_variance(p, k, &l), own[5] = { l.a * p->m[k], 1 / v, 0, p->m[k] };
      own[2] = log(p->w[k]) - 0.5 * log(v), own[4] = l.a * p->c[k] * p->c[k];
      for (int j = 0; j < 5; j++) out[j * n + k] = (real)own[j];
    }
    clear_padding(out, y->n);
  }
}
static inline Tensor *bumps_embed(const Denoiser *d, Graph *g, const Params *params, Tensor *t) {
  static const Op op_bumps = { .name = "bumps", .run = bumps_numbers };
  (void)params;
  return record(g, &op_bumps, (Shape){ t->k, 1, 5 * ((const Bumps *)d)->parts },
                &(Recipe){ .in = { t }, .attr.p = d });
}

/* ln w_k N(x; a m_k, v_k) + ln sqrt(2 pi), [k, 1, parts] */
static inline Tensor *bumps_log_parts(const Bumps *p, Tensor *x, Tensor *h) {
  int n = p->parts;
  Tensor *square = t_map(MAP_square, t_sub(x, t_slice(h, 0, n)));
  return t_add(t_slice(h, 2 * n, n), t_scale(-0.5, t_mul(square, t_slice(h, n, n))));
}
/* ln p_t(x) + ln sqrt(2 pi): the logarithm of a sum is any term less its logarithm of softmax */
static inline Tensor *bumps_log_density(const Bumps *p, Tensor *x, Tensor *time) {
  Tensor *parts = bumps_log_parts(p, x, bumps_embed(&p->base, x->g, NULL, time));
  return t_col(t_sub(parts, t_log_softmax_last(parts)), 0);
}

/* E[x_0 | x_t] = sum_k p(k | x_t) (m_k + a c_k^2 (x - a m_k) / v_k).  A condition [1, 1, parts] is
 * added to the logarithms of the weights: zeros say nothing, a very negative number forbids. */
static inline Tensor *bumps_net(const Denoiser *d, Graph *g, const Params *params, Tensor *x,
                                Tensor *h, Tensor *cond) {
  const Bumps *p = (const Bumps *)d;
  int n = p->parts;
  Tensor *log_parts = bumps_log_parts(p, x, h);
  Tensor *pull = t_mul(t_sub(x, t_slice(h, 0, n)), t_slice(h, n, n));
  Tensor *each = t_add(t_slice(h, 3 * n, n), t_mul(pull, t_slice(h, 4 * n, n)));
  (void)g, (void)params;
  return t_sum_last(t_mul(t_softmax_last(cond ? t_add(log_parts, cond) : log_parts), each));
}

/* 0.3 N(-1, 0.4^2) + 0.7 N(0.8, 0.25^2) */
static inline Bumps two_bumps(const Schedule *s) {
  Denoiser base = { .net = bumps_net, .embed = bumps_embed, .predicts = PREDICTS_X0 };
  base.schedule = s, base.dim = 1;
  return (Bumps){ base, 2, { 0.3, 0.7 }, { -1, 0.8 }, { 0.4, 0.25 } };
}

#endif
