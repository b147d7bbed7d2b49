/* chain.h -- samplers under test: networks that know the answer, noise that is ours.
 *
 * A law says what x_0 and eps are at a point; the oracle says it as whatever its Denoiser predicts,
 * through the scaling, the time and the tape that a trained network would see. */
#ifndef TESTS_CHAIN_H
#define TESTS_CHAIN_H
#include "core/ops/ops.h"
#include "diffusion/sampler.h"
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

static inline bool near(double value, double expected, double eps) {
  return value == expected || fabs(value - expected) <= eps * fmax(1, fabs(expected));
}

/* ---- oracles --------------------------------------------------------------------------------- */

typedef struct {
  double x0, eps;
} Truth;
typedef Truth LawAt(double x, double a, double s);

typedef struct {
  Denoiser base; /* what samplers see */
  LawAt *law;
  double (*variance)(double x); /* the second half of the output of a network that learns one */
} Oracle;

static void oracle_run(const Lane *lane, const Tensor *y) {
  const Oracle *o = y->attr.p;
  const Tensor *in = y->in[0];
  Level l = schedule_level(o->base.schedule, (double)*lane_at(lane, y->in[1]));
  Line line = prediction_line(o->base.predicts, &l, o->base.data_std);
  double scale = denoiser_scale(&o->base, &l);
  const real *x = lane_at(lane, in);
  real *out = lane_at(lane, y);
  for (int i = 0; i < lane_rows(lane, y) * y->k; i++, x += in->ld, out += y->ld) {
    for (int j = 0; j < in->n; j++) {
      Truth truth = o->law((double)x[j] / scale, l.a, l.s);
      out[j] = (real)(line.p * truth.x0 + line.q * truth.eps);
      if (o->variance) out[in->n + j] = (real)o->variance((double)x[j]);
    }
    clear_padding(out, y->n);
  }
}
static inline Tensor *oracle_net(const Denoiser *d, Graph *g, const Params *p, Tensor *x, Tensor *h,
                                 Tensor *cond) {
  static const Op op_oracle = { .name = "oracle", .run = oracle_run };
  (void)p, (void)cond;
  return record(g, &op_oracle, (Shape){ x->k, 1, (d->learns_variance ? 2 : 1) * d->dim },
                &(Recipe){ .in = { x, h }, .attr.p = d });
}
static inline Tensor *oracle_embed(const Denoiser *d, Graph *g, const Params *p, Tensor *t) {
  return (void)d, (void)g, (void)p, t;
}

static inline Oracle oracle(const Schedule *s, Prediction predicts, int dim, LawAt *law) {
  Denoiser base = { .net = oracle_net, .embed = oracle_embed };
  base.predicts = predicts, base.schedule = s, base.dim = dim;
  return (Oracle){ .base = base, .law = law };
}

/* ---- making ---------------------------------------------------------------------------------- */

static inline Schedule *a_schedule(Arena *arena, const char *name, int steps) {
  Error error;
  Schedule *s = schedule_new(arena, &(ScheduleSpec){ .name = name, .steps = steps }, &error);
  if (!s) fail_msg("%s", error.text);
  return s;
}
static inline Sampler *a_sampler(Arena *arena, const SamplerSpec *spec, const Denoiser *d) {
  Error error;
  Sampler *sampler = sampler_new(arena, spec, d, &error);
  if (!sampler) fail_msg("%s", error.text);
  return sampler;
}
static inline GraphSpec a_graph(Params *trained, int rows) {
  Error error;
  const Kernels *kernels = kernels_find("own", &error);
  return (
      GraphSpec){ .trained = trained, .seed = 3, .max_rows = rows, .kernels = kernels, .lane = 3 };
}

/* ---- chains ---------------------------------------------------------------------------------- */

/* The recorded chain, one sample a row, from start [rows, ld] with noise[i] in stage i (NULL: the
 * tape's own); the result has as many numbers as start. */
static inline const real *chain_values(Arena *arena, const Sampler *sampler, const Denoiser *d,
                                       const Params *p, int rows, const real *start,
                                       const real *const *noise) {
  GraphSpec spec = a_graph(NULL, rows);
  Graph *g = graph_new(arena, &spec);
  Tensor *x = t_input(g, "chain start", 1, d->dim), *z[1024] = { NULL };
  Tensor *end = sampler_record_from(g, sampler, d, p, "chain", x, NULL);
  for (int i = 0; noise && i < sampler->stages; i++)
    if (sampler->stage[i].noise > 0 && noise[i])
      z[i] = graph_override(g, arena_text(arena, "chain %d", i));
  graph_keep(end);
  graph_seal(g);
  graph_bind(x, start);
  for (int i = 0; noise && i < sampler->stages; i++)
    if (z[i]) graph_bind(z[i], noise[i]);
  graph_run(g, rows, 0, NULL);
  return graph_values(end);
}

/* The same by replaying one question; x [rows, ld] is the start and becomes the end. */
static inline void chain_replay(Arena *arena, const Sampler *sampler, const Denoiser *d, int rows,
                                real *x) {
  SamplerLoopSpec spec = { .graph = a_graph(NULL, rows), .stream = "chain", .k = 1 };
  sampler_loop_run(sampler_loop_new(arena, sampler, d, NULL, &spec), rows, 0, NULL, NULL, x, true);
}

/* ---- moments --------------------------------------------------------------------------------- */

/* Mean and covariance of everything a stage can read: x, its base and the last outputs.  Where the
 * network is affine in x, so is every stage, and the table moves them exactly. */
enum { VAR_X, VAR_BASE, VAR_M, VARS = VAR_M + SAMPLER_HISTORY };
typedef struct {
  double mean[VARS], cov[VARS][VARS];
} Moments;

/* variable `to` becomes shift + sum_i w_i variable i + noise z */
static inline void moments_assign(Moments *m, int to, const double w[VARS], double shift,
                                  double noise) {
  double mean = shift, cov[VARS] = { 0 }, variance = noise * noise;
  for (int i = 0; i < VARS; i++) {
    mean += w[i] * m->mean[i];
    for (int j = 0; j < VARS; j++) cov[j] += w[i] * m->cov[i][j];
  }
  for (int i = 0; i < VARS; i++) variance += w[i] * cov[i];
  m->mean[to] = mean;
  for (int j = 0; j < VARS; j++) m->cov[to][j] = m->cov[j][to] = cov[j];
  m->cov[to][to] = variance;
}
static inline void moments_copy(Moments *m, int to, int from) {
  double w[VARS] = { 0 };
  w[from] = 1;
  moments_assign(m, to, w, 0, 0);
}

/* x ~ N(mean, variance) through all stages; `law` must be affine in x */
static inline Moments moments_propagate(const Sampler *table, LawAt *law, double mean,
                                        double variance) {
  Moments m = { { 0 }, { { 0 } } };
  m.mean[VAR_X] = mean, m.cov[VAR_X][VAR_X] = variance;
  moments_copy(&m, VAR_BASE, VAR_X);
  for (int i = 0; i < table->stages; i++) {
    const Stage *s = &table->stage[i];
    double w[VARS] = { 0 };
    if (s->evaluates) {
      for (int j = SAMPLER_HISTORY - 1; j > 0; j--) moments_copy(&m, VAR_M + j, VAR_M + j - 1);
      double rest = law(0, s->at.a, s->at.s).x0, gain = law(1, s->at.a, s->at.s).x0 - rest;
      w[VAR_X] = s->back.to_x + s->back.to_out * gain;
      moments_assign(&m, VAR_M, w, s->back.to_out * rest, 0);
    }
    w[VAR_X] = 0, w[VAR_BASE] = s->base;
    for (int j = 0; j < SAMPLER_HISTORY; j++) w[VAR_M + j] = s->out[j];
    moments_assign(&m, VAR_X, w, 0, s->noise);
    if (s->rebase) moments_copy(&m, VAR_BASE, VAR_X);
  }
  return m;
}

#endif
