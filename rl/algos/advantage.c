/* advantage.c -- sums over time, from the last decision to the first. */
#include "rl/algos/advantage.h"
#include <math.h>
#include <stddef.h>

void advantage_find(const AdvantageSpec *s, real *advantage, real *target) {
  for (int i = 0; i < s->count; i++) {
    double next = 0; /* A_{t+1} */
    for (int t = s->decisions; t-- > 0;) {
      int at = t * s->count + i;
      double value = (double)s->value[at], after = s->terminal[at] ? 0 : (double)s->after[at];
      double d = s->reward[at] + s->gamma * after - value;
      next = d + (s->ended[at] ? 0 : s->gamma * s->lambda * next);
      advantage[at] = (real)next, target[at] = (real)(next + value);
    }
  }
}

static void moments(const real *x, const real *less, int n, double *mean, double *variance) {
  double sum = 0, squares = 0;
  for (int i = 0; i < n; i++) sum += (double)x[i] - (less ? (double)less[i] : 0);
  *mean = sum / n;
  for (int i = 0; i < n; i++) {
    double off = (double)x[i] - (less ? (double)less[i] : 0) - *mean;
    squares += off * off;
  }
  *variance = squares / n;
}

void advantage_normalize(real *advantage, int n) {
  double mean, variance;
  moments(advantage, NULL, n, &mean, &variance);
  double scale = sqrt(variance) + 1e-8;
  for (int i = 0; i < n; i++) advantage[i] = (real)(((double)advantage[i] - mean) / scale);
}

double advantage_explained(const real *value, const real *target, int n) {
  double mean, variance, left;
  moments(target, NULL, n, &mean, &variance);
  moments(target, value, n, &mean, &left);
  return variance > 0 ? 1 - left / variance : 0;
}

/* Welford's sums, which do not lose digits where the mean is large */
void reward_scale_add(RewardScale *s, double sum) {
  double before = sum - s->mean;
  s->count += 1;
  s->mean += before / s->count;
  s->squares += before * (sum - s->mean);
}

double reward_scale_std(const RewardScale *s) {
  return s->count < 2 ? 1 : sqrt(s->squares / s->count + 1e-8);
}
