/* td.c -- batches as inputs, targets and losses of temporal differences. */
#include "rl/algos/td.h"

BatchT batch_inputs(Graph *g, const Batch *batch) {
  return (BatchT){ .obs = t_input(g, "obs", 1, batch->obs_dim),
                   .act = t_input(g, "act", 1, batch->act_dim),
                   .next = t_input(g, "next", 1, batch->obs_dim),
                   .reward = t_input(g, "reward", 1, 1),
                   .live = t_input(g, "live", 1, 1) };
}

void batch_bind(const BatchT *b, const Batch *batch) {
  graph_bind(b->obs, batch->obs);
  graph_bind(b->act, batch->act);
  graph_bind(b->next, batch->next);
  graph_bind(b->reward, batch->reward);
  graph_bind(b->live, batch->live);
}

Tensor *td_target(const BatchT *b, double gamma, Tensor *value) {
  return t_mix(1, b->reward, gamma, t_mul(value, b->live));
}

Tensor *td_loss(Tensor *q, Tensor *y) { return t_mean(t_sum_last(t_map(MAP_square, t_sub(q, y)))); }
