/* td.h -- batches on a tape, and what temporal-difference methods share there. */
#ifndef RL_TD_H
#define RL_TD_H
#include "core/ops/ops.h"
#include "datasets/batch.h"

/* A column of the batch as an input of the tape: ROW [1, 1, n], called as the column is and bound
 * to its values, which each run of the tape reads. */
Tensor *batch_input(Graph *g, const Batch *batch, const char *column);

/* r + gamma live v, of the columns "reward" and "live" */
Tensor *td_target(Graph *g, const Batch *batch, double gamma, Tensor *value);

/* The action of a target policy with a little noise, so that no narrow peak of Q is trusted
 * (Fujimoto et al. 2018): clip(act + clip(std n, +-most), +-1), n ~ N(0, 1) of the stream "target
 * action". */
Tensor *td_smoothed(Tensor *act, double std, double most);

/* sum over the members of mean over rows of (q - y)^2; q [1, 1, E], y [1, 1, 1] */
Tensor *td_loss(Tensor *q, Tensor *y);

#endif
