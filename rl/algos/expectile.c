/* expectile.c -- IQL's value and critics, for all methods that stand on them. */
#include "rl/algos/expectile.h"

void expectile_value_new(Expectile *e, const AlgoSetup *setup, Agent *agent, int layers,
                         Map activation, MlpNorm norm) {
  Params *v = e->value = blocks_add(&agent->blocks, params_new(setup->arena, "value"));
  e->net = mlp_new(v, &(MlpSpec){ "v", 1, e->policy->seen, (int)e->policy->spec.hidden, layers, 1,
                                  activation, norm });
  params_allocate(v);
  params_init(v, setup->seed);
}

static Tensor *value_of(const Expectile *e, Graph *g, const char *column) {
  return mlp(&e->net, g, e->value, IN(batch_input(g, e->batch, column)));
}

Tensor *expectile_advantage(const Expectile *e, Graph *g) {
  const Critic *c = e->policy->critics;
  Tensor *obs = batch_input(g, e->batch, "obs"), *act = batch_input(g, e->batch, "act");
  Tensor *q = critic_value(critic_q(c, g, c->target, obs, act), e->kind, e->rho);
  return t_sub(q, value_of(e, g, "obs"));
}

/* |expectile - 1(u < 0)| u^2 = expectile max(u, 0)^2 + (1 - expectile) max(-u, 0)^2 */
Tensor *expectile_value_loss(const Expectile *e, Graph *g) {
  Tensor *u = expectile_advantage(e, g);
  Tensor *above = t_map(MAP_square, t_map(MAP_relu, u));
  Tensor *below = t_map(MAP_square, t_map(MAP_relu, t_scale(-1, u)));
  return t_mean(t_mix(e->expectile, above, 1 - e->expectile, below));
}

Tensor *expectile_critic_loss(const Expectile *e, Graph *g) {
  const Critic *c = e->policy->critics;
  Tensor *obs = batch_input(g, e->batch, "obs"), *act = batch_input(g, e->batch, "act");
  Tensor *y = td_target(g, e->batch, e->gamma, value_of(e, g, "next"));
  return td_loss(g, e->batch, critic_q(c, g, c->online, obs, act), y);
}
