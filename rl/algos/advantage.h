/* advantage.h -- what on-policy learning makes of the rewards of a batch of episodes. */
#ifndef RL_ADVANTAGE_H
#define RL_ADVANTAGE_H
#include "core/real.h"
#include <stdbool.h>

/* Generalised advantage estimation (Schulman et al. 2016, eq. 16):
 *
 *   d_t = r_t + gamma V(s'_t) live_t - V(s_t)
 *   A_t = d_t + gamma lambda on_t A_{t+1}           R_t = A_t + V(s_t)
 *
 * live is 0 where the task is over, on is 0 where the episode is: behind a time-out the value of
 * the state that was reached still counts, the rewards of the next episode do not.  All arrays are
 * [decisions, count], the simulations of one decision side by side. */
typedef struct {
  int decisions, count;
  double gamma, lambda;
  const double *reward;
  const bool *terminal, *ended;
  const real *value, *after; /* V(s_t), V(s'_t) */
} AdvantageSpec;
void advantage_find(const AdvantageSpec *spec, real *advantage, real *target);

/* (A - mean) / (std + 1e-8), the deviation dividing by n. */
void advantage_normalize(real *advantage, int n);

/* 1 - Var(target - value) / Var(target): 1 where values are right, 0 where they say nothing; 0 if
 * the targets do not vary. */
double advantage_explained(const real *value, const real *target, int n);

/* The deviation of a running discounted sum of rewards, G = gamma G + r from 0 at every episode's
 * start, over all that were seen (Engstrom et al. 2020, section 3): rewards are divided by it, so
 * that a rate of the value's network means the same for every task. */
typedef struct {
  double count, mean, squares; /* of G: how many, their mean, the sum of squared deviations */
} RewardScale;
void reward_scale_add(RewardScale *scale, double sum);
double
reward_scale_std(const RewardScale *scale); /* sqrt(variance + 1e-8); 1 before there is one */

#endif
