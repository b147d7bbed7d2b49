/* td.h -- batches on a tape, and what temporal-difference methods share there. */
#ifndef RL_TD_H
#define RL_TD_H
#include "core/ops/ops.h"
#include "datasets/batch.h"

/* A column of the batch as an input of the tape: ROW [1, 1, n], called as the column is and bound
 * to its values, which each run of the tape reads.  Once a tape and column. */
Tensor *batch_input(Graph *g, const Batch *batch, const char *column);

/* r + gamma live v, of the columns "reward" and "live" */
Tensor *td_target(Graph *g, const Batch *batch, double gamma, Tensor *value);

/* sum over the members of mean over rows of (q - y)^2; q [1, 1, E], y [1, 1, 1] */
Tensor *td_loss(Tensor *q, Tensor *y);

#endif
