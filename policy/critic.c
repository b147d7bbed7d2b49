/* critic.c -- the ensemble, and its minimum, mean or lower confidence bound. */
#include "policy/critic.h"
#include <string.h>

Critic *critic_new(Arena *arena, Blocks *blocks, const CriticSpec *spec) {
  Critic *c = arena_alloc(arena, sizeof *c);
  c->members = spec->members;
  c->online = blocks_add(blocks, params_new(arena, "critic"));
  c->net = mlp_new(c->online, &(MlpSpec){ .name = "q",
                                          .members = spec->members,
                                          .inputs = spec->inputs,
                                          .hidden = spec->hidden,
                                          .hidden_layers = spec->layers,
                                          .outputs = 1,
                                          .activation = spec->activation,
                                          .norm = spec->norm });
  /* ReBRAC's norm has another constant */
  if (spec->norm_eps > 0) c->net.eps = spec->norm_eps;
  /* the targets are a second set of numbers of the same network */
  c->target = blocks_add(blocks, params_twin(c->online, "critic_target"));
  return c;
}

void critic_init(Critic *c, uint64_t seed) {
  params_init(c->online, seed);
  params_copy(c->target, c->online);
}

Tensor *critic_q(const Critic *c, Graph *g, const Params *params, Tensor *obs, Tensor *act) {
  /* members become the entries of one row */
  return t_fold(mlp(&c->net, g, params, IN(obs, act)));
}

static Tensor *mean_last(Tensor *x) { return t_scale(1.0 / x->n, t_sum_last(x)); }

Tensor *critic_value(Tensor *q, const char *kind, double rho) {
  if (!strcmp(kind, "min")) return t_min_last(q);
  Tensor *mean = mean_last(q);
  if (!strcmp(kind, "mean")) return mean;
  /* a root's slope at 0 has no end; members that agree so well need no bound */
  Tensor *variance = mean_last(t_map(MAP_square, t_sub(q, mean)));
  return t_mix(1, mean, -rho, t_map(MAP_sqrt, t_shift(variance, 1e-12)));
}
