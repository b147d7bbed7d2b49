/* expectile.h -- the value and the critics of IQL (Kostrikov et al. 2022, equations 5 and 6), which
 * ask about no action outside the data.  Whoever learns them chooses how to make a policy of them.
 *
 *   u  = min_i Q'_i(s, a) - V(s)
 *   JV = mean |expectile - 1(u < 0)| u^2
 *   JQ = sum_i mean (Q_i(s, a) - r - gamma live V(s'))^2 */
#ifndef RL_EXPECTILE_H
#define RL_EXPECTILE_H
#include "rl/algos/td.h"

typedef struct {
  const Policy *policy; /* with critics */
  const Batch *batch;   /* of td_batch */
  double expectile, gamma;
  const char *kind; /* how critics become one value, and rho: critic_value */
  double rho;
  Params *value; /* V; set by expectile_value_new */
  Mlp net;
} Expectile;

/* Declare V in a block "value" of the agent with the initial weights of the run's seed: as many
 * units as the policy's `hidden`, in as many layers after this activation and norm. */
void expectile_value_new(Expectile *e, const AlgoSetup *setup, Agent *agent, int layers,
                         Map activation, MlpNorm norm);

/* u: how much better than usual the data's action is, to the slow critics.  ROW [1, 1, 1]. */
Tensor *expectile_advantage(const Expectile *e, Graph *g);

/* JV, which trains `value`, and JQ, which trains the critics.  SUM scalars. */
Tensor *expectile_value_loss(const Expectile *e, Graph *g);
Tensor *expectile_critic_loss(const Expectile *e, Graph *g);

#endif
