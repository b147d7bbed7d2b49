/* td.h -- what temporal-difference methods share on the tape. */
#ifndef RL_TD_H
#define RL_TD_H
#include "core/ops/ops.h"
#include "datasets/batch.h"

/* the columns of a batch as inputs of a tape */
typedef struct {
  Tensor *obs, *act, *next; /* ROW [1, 1, dim] */
  Tensor *reward, *live;    /* ROW [1, 1, 1]; live: 1 - terminal */
} BatchT;
BatchT batch_inputs(Graph *g, const Batch *batch);

/* Point the inputs at this batch's rows; the tape is sealed. */
void batch_bind(const BatchT *inputs, const Batch *batch);

/* r + gamma live v */
Tensor *td_target(const BatchT *b, double gamma, Tensor *value);

/* sum over the members of mean over rows of (q - y)^2; q [1, 1, E], y [1, 1, 1] */
Tensor *td_loss(Tensor *q, Tensor *y);

#endif
