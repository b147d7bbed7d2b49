/* matching.c -- ratios of denoising losses. */
#include "rl/algos/matching.h"

LossTerms matching_ask(Graph *g, const Loss *loss, const Params *params, const char *stream,
                       LossInputs *in) {
  const char *noise = arena_text(graph_arena(g), "%s noise", stream);
  if (!in->eps) in->eps = t_normal(g, noise, in->x0->k, in->x0->n);
  LossTerms terms = loss_record(g, loss, params, stream, in);
  in->time = terms.time;
  return terms;
}

Tensor *matching_distance(const LossTerms *a, const LossTerms *b) {
  /* the same target, so the outputs differ as the errors do */
  Tensor *square = t_map(MAP_square, t_sub(a->error, b->error));
  Tensor *mean = t_scale(1.0 / square->n, t_sum_last(square));
  return a->weight ? t_mul(mean, a->weight) : mean;
}

Tensor *matching_loss(Ratio *ratio, Tensor *losses, Tensor *old, Tensor *advantage, double clip,
                      bool each, bool bent) {
  Tensor *log_ratio = t_sub(old, losses);
  if (!each) log_ratio = t_scale(1.0 / losses->k, t_sum_k(log_ratio));
  ratio_of_log(ratio, t_clip(log_ratio, -10, 10), advantage);
  if (!bent) return t_mean(ratio_clipped(ratio, clip));
  /* A is the sum of a part above 0 and one below */
  Ratio gains = *ratio;
  gains.advantage = t_clip(advantage, 0, 1e9);
  Tensor *less = t_clip(advantage, -1e9, 0), *off = t_shift(ratio->ratio, -1);
  Tensor *curve = t_add(ratio->ratio, t_scale(0.5 / clip, t_map(MAP_square, off)));
  return t_mean(t_sub(ratio_clipped(&gains, clip), t_mul(less, curve)));
}
