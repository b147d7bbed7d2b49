/* ratio.h -- ratios of probabilities between the weights that drew and those that are trained:
 * rho = p(x' | x) / p_old(x' | x), and what is watched of them. */
#ifndef RL_RATIO_H
#define RL_RATIO_H
#include "rl/algos/finetune.h"

typedef struct {
  Tensor *log_prob;  /* [k, 1, 1]: ln p(x' | x), the mean over the numbers of a sample */
  Tensor *log_ratio; /* ln rho, likewise */
  Tensor *ratio, *advantage;
  Tensor *band; /* (rho - 1) / e, by which a range of each row clips; else NULL */
} Ratio;

/* Log-probabilities are means over dimensions, as in the published codes: a clip range then means
 * the same for samples of any size. */
void ratio_record(Ratio *ratio, const FinetuneInputs *in, const Transition *step);

/* The same of a log-probability that was put together elsewhere: [k, 1, 1], as `old` is; the
 * advantage is [1, 1, 1]. */
void ratio_of(Ratio *ratio, Tensor *log_prob, Tensor *old, Tensor *advantage);

/* Or of ln rho itself, [k, 1, 1]; log_prob is NULL. */
void ratio_of_log(Ratio *ratio, Tensor *log_ratio, Tensor *advantage);

/* -min(A rho, A clip(rho, 1 - e, 1 + e)): Schulman et al. 2017, eq. 7 */
Tensor *ratio_clipped(const Ratio *ratio, double clip);

/* With a clip range e of each row, [1, 1, 1], above 0. */
Tensor *ratio_clipped_by(Ratio *ratio, Tensor *clip);

/* Before the first update on new samples every ratio is 1 to the last bit (a CHECK): the tape that
 * trains computes what the one that drew has computed. */
void ratio_check(const Ratio *ratio, int rows, bool first);

/* "clipped/positive", "clipped/negative": shares of the rows whose ratio is beyond the clip, by the
 * sign of the advantage (clip is not read where each row has its own); "kl/old": the mean of rho -
 * 1 - ln rho, which is returned. */
double ratio_log(const Ratio *ratio, int rows, double clip, Log *log);

#endif
