/* ratio.c -- the clipped objective, the assertion, the gauges. */
#include "rl/algos/ratio.h"
#include "core/check.h"
#include <math.h>

void ratio_record(Ratio *r, const FinetuneInputs *in, const Transition *step) {
  double each = 1.0 / in->x->n;
  Tensor *sum = transition_log_prob(step, in->next);
  /* the difference first: the constants of both cancel to the bit */
  r->log_prob = t_scale(each, sum);
  r->log_ratio = t_scale(each, t_sub(sum, in->old));
  r->ratio = t_map(MAP_exp, r->log_ratio);
  r->advantage = in->advantage;
  graph_keep(r->log_ratio), graph_keep(r->ratio), graph_keep(r->advantage);
}

Tensor *ratio_clipped(const Ratio *r, double clip) {
  Tensor *free = t_mul(r->advantage, r->ratio);
  Tensor *kept = t_mul(r->advantage, t_clip(r->ratio, 1 - clip, 1 + clip));
  return t_scale(-1, t_min_last(t_concat(free, kept)));
}

static double at(const Tensor *t, int row) {
  return (double)graph_values(t)[(ptrdiff_t)row * t->ld];
}

void ratio_check(const Ratio *r, int rows, bool first) {
  for (int i = 0; first && i < rows; i++)
    CHECK(at(r->log_ratio, i) == 0, "ratio: ln rho of row %d is %g before the first update", i,
          at(r->log_ratio, i));
}

void ratio_log(const Ratio *r, int rows, double clip, Log *log) {
  int positive = 0, negative = 0, up = 0, down = 0;
  double kl = 0;
  for (int i = 0; i < rows; i++) {
    double rho = at(r->ratio, i), ln = at(r->log_ratio, i);
    bool good = at(r->advantage, i) > 0;
    kl += expm1(ln) - ln;
    positive += good, negative += !good;
    up += good && rho > 1 + clip, down += !good && rho < 1 - clip;
  }
  if (positive) log_scalar(log, "clipped/positive", (double)up / positive);
  if (negative) log_scalar(log, "clipped/negative", (double)down / negative);
  log_scalar(log, "kl/old", kl / rows);
}
