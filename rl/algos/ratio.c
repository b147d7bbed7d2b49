/* ratio.c -- the clipped objective, the assertion, the gauges. */
#include "rl/algos/ratio.h"
#include "core/check.h"
#include <math.h>

void ratio_record(Ratio *r, const FinetuneInputs *in, const Transition *step) {
  double each = 1.0 / in->x->n;
  *r = (Ratio){ .band = NULL };
  Tensor *sum = transition_log_prob(step, in->next);
  /* the difference first: the constants of both cancel to the bit */
  r->log_prob = t_scale(each, sum);
  r->log_ratio = t_scale(each, t_sub(sum, in->old));
  r->ratio = t_map(MAP_exp, r->log_ratio);
  r->advantage = in->advantage;
  graph_keep(r->log_ratio), graph_keep(r->ratio), graph_keep(r->advantage);
}

void ratio_of_log(Ratio *r, Tensor *log_ratio, Tensor *advantage) {
  *r = (Ratio){ .log_ratio = log_ratio, .advantage = advantage };
  r->ratio = t_map(MAP_exp, r->log_ratio);
  graph_keep(r->log_ratio), graph_keep(r->ratio), graph_keep(r->advantage);
}

void ratio_of(Ratio *r, Tensor *log_prob, Tensor *old, Tensor *advantage) {
  ratio_of_log(r, t_sub(log_prob, old), advantage);
  r->log_prob = log_prob;
}

Tensor *ratio_clipped_by(Ratio *r, Tensor *clip) {
  r->band = t_div(t_shift(r->ratio, -1), clip);
  graph_keep(r->band);
  Tensor *free = t_mul(r->advantage, r->ratio);
  Tensor *near = t_shift(t_mul(t_clip(r->band, -1, 1), clip), 1);
  return t_scale(-1, t_min_last(t_concat(free, t_mul(r->advantage, near))));
}

Tensor *ratio_clipped(const Ratio *r, double clip) {
  Tensor *free = t_mul(r->advantage, r->ratio);
  Tensor *kept = t_mul(r->advantage, t_clip(r->ratio, 1 - clip, 1 + clip));
  return t_scale(-1, t_min_last(t_concat(free, kept)));
}

/* value j of a row's k */
static double at(const Tensor *t, int row, int j) {
  return (double)graph_values(t)[((ptrdiff_t)row * t->k + j) * t->ld];
}

void ratio_check(const Ratio *r, int rows, bool first) {
  for (int i = 0; first && i < rows; i++)
    for (int j = 0; j < r->log_ratio->k; j++)
      CHECK(at(r->log_ratio, i, j) == 0, "ratio: ln rho of row %d is %g before the first update", i,
            at(r->log_ratio, i, j));
}

/* is it beyond the clip: 1 above, -1 below, 0 within? */
static int beyond(const Ratio *r, double clip, int i, int j) {
  double e = r->band ? 1 : clip, off = r->band ? at(r->band, i, j) : at(r->ratio, i, j) - 1;
  return (off > e) - (off < -e);
}

double ratio_log(const Ratio *r, int rows, double clip, Log *log) {
  int64_t positive = 0, negative = 0, up = 0, down = 0;
  double kl = 0;
  for (int i = 0; i < rows; i++)
    for (int j = 0; j < r->ratio->k; j++) {
      double ln = at(r->log_ratio, i, j);
      bool good = at(r->advantage, i, 0) > 0;
      kl += expm1(ln) - ln;
      positive += good, negative += !good;
      up += good && beyond(r, clip, i, j) > 0, down += !good && beyond(r, clip, i, j) < 0;
    }
  kl /= (double)rows * r->ratio->k;
  if (positive) log_scalar(log, "clipped/positive", (double)up / (double)positive);
  if (negative) log_scalar(log, "clipped/negative", (double)down / (double)negative);
  log_scalar(log, "kl/old", kl);
  return kl;
}
