/* ratio.h -- ratios of probabilities between the weights that drew and those that are trained:
 * rho = p(x' | x) / p_old(x' | x), and what is watched of them. */
#ifndef RL_RATIO_H
#define RL_RATIO_H
#include "rl/algos/finetune.h"

typedef struct {
  Tensor *log_prob;  /* [1, 1, 1]: ln p(x' | x), the mean over the numbers of a sample */
  Tensor *log_ratio; /* ln rho, likewise */
  Tensor *ratio, *advantage;
} Ratio;

/* Log-probabilities are means over dimensions, as in the published codes: a clip range then means
 * the same for samples of any size. */
void ratio_record(Ratio *ratio, const FinetuneInputs *in, const Transition *step);

/* -min(A rho, A clip(rho, 1 - e, 1 + e)): Schulman et al. 2017, eq. 7 */
Tensor *ratio_clipped(const Ratio *ratio, double clip);

/* Before the first update on new samples every ratio is 1 to the last bit (a CHECK): the tape that
 * trains computes what the one that drew has computed. */
void ratio_check(const Ratio *ratio, int rows, bool first);

/* "clipped/positive", "clipped/negative": shares of the rows whose ratio is beyond the clip, by the
 * sign of the advantage; "kl/old": the mean of rho - 1 - ln rho. */
void ratio_log(const Ratio *ratio, int rows, double clip, Log *log);

#endif
