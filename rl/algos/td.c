/* td.c -- batches as inputs, targets and losses of temporal differences. */
#include "rl/algos/td.h"

Tensor *batch_input(Graph *g, const Batch *batch, const char *column) {
  const BatchColumn *c = batch_column(batch, column);
  Tensor *input = graph_input(g, c->input);
  if (input) return input;
  input = t_input(g, c->input, 1, c->n);
  graph_bind(input, c->values);
  return input;
}

Tensor *td_target(Graph *g, const Batch *batch, double gamma, Tensor *value) {
  Tensor *reward = batch_input(g, batch, "reward"), *live = batch_input(g, batch, "live");
  return t_mix(1, reward, gamma, t_mul(value, live));
}

Tensor *td_loss(Tensor *q, Tensor *y) { return t_mean(t_sum_last(t_map(MAP_square, t_sub(q, y)))); }

Tensor *td_smoothed(Tensor *act, double std, double most) {
  Tensor *noise = t_scale(std, t_normal(act->g, "target action", act->k, act->n));
  return t_clip(t_add(act, t_clip(noise, -most, most)), -1, 1);
}
