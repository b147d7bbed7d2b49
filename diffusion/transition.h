/* transition.h -- a sampler's chain as a decision process: what reinforcement learning of a
 * diffusion model stands on (Black et al. 2023, section 4.1; Fan et al. 2023).
 *
 *   x' = mean_i(x) + std_i z,   mean_i(x) = base_i x + out_i M(x, time_i)      at stage i
 *   ln p_i(x' | x) = -|x' - mean_i(x)|^2 / (2 std_i^2) - D ln std_i - D/2 ln(2 pi)
 *
 * On this tape every row has a stage of its own, whose numbers are a row too.  So one tape draws
 * any stage of any chain, and another trains on transitions of all stages side by side; both record
 * the same operations, and a log-probability that is computed again with the weights that drew is
 * equal to the bit. */
#ifndef DIFFUSION_TRANSITION_H
#define DIFFUSION_TRANSITION_H
#include "diffusion/sampler.h"

/* Can every stage be a transition?  FAIL_USAGE with the reason where the mean of one uses older
 * outputs, or its variance is learned.  Stages without noise are fine: their std is 0. */
bool transition_check(const Sampler *sampler, Error *error);

/* Does stage i add noise?  If not it has no log-probability. */
bool transition_random(const Sampler *sampler, int stage);
int transition_count(const Sampler *sampler); /* stages that do */

/* The numbers of a stage, bound as a ROW input [1, 1, transition_size]. */
int transition_size(const Sampler *sampler);
void transition_numbers(const Sampler *sampler, int stage, real *row);

/* Then raise the standard deviation of its noise to at least `std`, and that of its density to at
 * least `density`: exploration where a chain adds little noise or none (Ren et al. 2024, section
 * 4.3).  Both above 0; they may differ. */
void transition_raise(const Sampler *sampler, int stage, double std, double density, real *row);

typedef struct {
  Tensor *mean, *std;       /* [k, 1, dim], [1, 1, 1] */
  Tensor *inverse, *offset; /* [1, 1, 1]: 1 / std, 0 where it is 0; -D ln std - D/2 ln(2 pi) */
  Tensor *each;             /* [1, 1, 1]: offset / D */
  Tensor *M, *out;          /* the network's output in the form that the sampler combines, and
                             * its factor in the mean, [1, 1, 1] */
} Transition;

/* x: ROW [k, 1, dim]; numbers: ROW [1, 1, transition_size]; cond as for sampler_record. */
Transition transition_record(const Sampler *sampler, const Denoiser *denoiser, const Params *params,
                             Tensor *x, Tensor *numbers, Tensor *cond);

/* mean + std z */
Tensor *transition_move(const Transition *t, Tensor *z);

/* ln p(next | x), the sum over dimensions: [k, 1, 1]; 0 where nothing is random. */
Tensor *transition_log_prob(const Transition *t, Tensor *next);

/* The same of each dimension, kept within [low, high]: [k, 1, dim]. */
Tensor *transition_log_probs(const Transition *t, Tensor *next, double low, double high);

/* KL(p || q) of two transitions of one stage, |mean_p - mean_q|^2 / (2 std^2): [k, 1, 1]; 0 where
 * nothing is random. */
Tensor *transition_kl(const Transition *p, const Transition *q);

#endif
