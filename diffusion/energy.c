/* energy.c -- losses for energies of noisy data. */
#include "diffusion/energy.h"

/* f(x_t, t) for x_t = a x_0 + s eps with a time for each row [K, 1, 1] */
static Tensor *noised(const EnergyBatch *b) {
  Graph *g = b->x0->g;
  const Schedule *s = b->schedule;
  const char *name = arena_text(graph_arena(g), "%s time", b->stream);
  Tensor *t = s->steps ? t_index(g, name, 1, s->steps)
                       : t_shift(t_scale(s->t_max - s->t_min, t_uniform(g, name, 1, 1)), s->t_min);
  Tensor *level = t_marginal(s, t);
  Tensor *eps = t_normal(g, arena_text(graph_arena(g), "%s noise", b->stream), b->x0->k, b->x0->n);
  Tensor *x = t_add(t_mul(b->x0, t_col(level, 0)), t_mul(eps, t_col(level, 1)));
  Tensor *f = b->energy->value(b->energy, g, b->params, x, t, b->cond);
  CHECK(f->k == b->x0->k && f->n == 1 && b->reward->k == f->k, "energy: one number a sample");
  return f;
}

Tensor *energy_contrastive(const EnergyBatch *b) {
  CHECK(b->x0->k > 1, "energy_contrastive: at least two samples a row");
  Tensor *label = t_detach(t_map(MAP_exp, t_log_softmax_k(b->reward)));
  return t_scale(-b->x0->k, t_mean(t_mul(label, t_log_softmax_k(noised(b)))));
}

Tensor *energy_regression(const EnergyBatch *b) {
  return t_mean(t_map(MAP_square, t_sub(noised(b), t_detach(b->reward))));
}
