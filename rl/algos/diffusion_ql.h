/* diffusion_ql.h -- the two objectives of Diffusion-QL as tapes, for the algorithm and for the
 * tests that compare them with a reference. */
#ifndef RL_DIFFUSION_QL_H
#define RL_DIFFUSION_QL_H
#include "policy/policy.h"
#include "rl/algos/td.h"

typedef struct {
  const Policy *policy; /* with critics */
  const Sampler *sampler;
  double gamma, eta;
  bool max_q_backup; /* targets by the best of 10 actions, per critic */
  const char *value; /* how critics become one, and rho: critic_value; as published "min" */
  double rho;
} DiffusionQlSpec;

typedef struct {
  Tensor *loss;                 /* SUM scalar */
  Tensor *q, *target;           /* ROW [1, 1, 2], [1, 1, 1] */
  Tensor *q_mean, *target_mean; /* SUM scalars */
} CriticObjective;

/* Over n steps if the batch holds such (datasets/batch.h):
 *
 * min over phi of  sum_i E (r + gamma live min_j Q'_j(s', a') - Q_i(s, a))^2,  a' ~ pi_ema(.|s').
 * Streams: "target chain start", "target chain 0", .. */
CriticObjective diffusion_ql_critic(Graph *g, const DiffusionQlSpec *spec, const Batch *batch);

typedef struct {
  Tensor *loss, *bc, *q; /* SUM scalars: total, L_d, L_q */
  Tensor *act;           /* ROW: the sampled action */
} ActorObjective;

/* min over theta of  L_d + eta L_q,  L_q = -E Q_i(s, a0) / E|Q_j(s, a0)|,  a0 ~ pi_theta(.|s)
 * through all steps.  A coin decides which critic is i; the normaliser is the other one, constant.
 * Of other than two critics, or of another value than their least, both are that value.
 * Streams: "bc time", "bc noise", "actor chain start", "actor chain 0", .., "critic coin". */
ActorObjective diffusion_ql_actor(Graph *g, const DiffusionQlSpec *spec, const Batch *batch);

#endif
