/* noisy_flow.h -- a flow policy whose Euler steps have noise, with a deviation that a small network
 * learns (Zhang et al. 2025, section 4.1):
 *
 *   x_{k+1} = mean_k + std_k z,   mean_k = x_k + v(x_k, t_k, s) dt
 *   ln std_k = ln least + span (1 + tanh net(x_k, t_k, s)) / 2,   span = ln(most / least) */
#ifndef RL_NOISY_FLOW_H
#define RL_NOISY_FLOW_H
#include "rl/algos/onpolicy.h"

typedef struct {
  const Onpolicy *o;
  Sampler *sampler;
  Params *noise; /* block "noise", which the agent saves and loads; two layers of 64 tanh */
  Mlp net;
  double least;                       /* deviation */
  int steps, dim, ld, number_ld, one; /* K; numbers of an action; strides of rows */
  struct FlowTape *tape;              /* that draws */
} NoisyFlow;

/* The policy of o must predict velocities on straight paths and act by Euler's method (FAIL_USAGE
 * with how such a one is trained). */
bool noisy_flow_check(const Onpolicy *o, Error *error);
bool noisy_flow_open(NoisyFlow *f, Onpolicy *o, double least, Error *error);

/* k steps [k, *] of one decision on a tape, with the memory of its rows. */
typedef struct {
  Tensor *mean, *log_std;                 /* [k, 1, dim] */
  real *x, *numbers, *time, *cond, *span; /* [rows, k, *], the last two [rows, *] */
} FlowSteps;
FlowSteps noisy_flow_record(const NoisyFlow *f, Graph *g, int k);

/* ln N(next; mean, std^2), number by number: [k, 1, dim]. */
Tensor *noisy_flow_log_probs(const FlowSteps *s, Tensor *next);

/* What a tape reads: of value `at` (row times k, and which of its k), step `step` from x [ld]; of
 * row r, what was seen [seen_ld] and the span. */
void noisy_flow_put_step(const NoisyFlow *f, const FlowSteps *to, ptrdiff_t at, int step,
                         const real *x);
void noisy_flow_put_row(const NoisyFlow *f, const FlowSteps *to, int r, const real *seen,
                        double span);

/* Decision `number` of the run for all simulations: seen [envs, seen_ld] -> states x [envs, K + 1,
 * ld], from noise to action, and ln p of each step [envs, K], the sum over an action. */
void noisy_flow_draw(NoisyFlow *f, int64_t number, const real *seen, double span, real *x,
                     real *log_prob);

#endif
