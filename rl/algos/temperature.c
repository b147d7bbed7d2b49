/* temperature.c -- the objectives of a soft policy and of its temperature. */
#include "rl/algos/temperature.h"
#include "policy/policies/policy_gaussian.h"
#include "rl/algos/td.h"
#include <math.h>

void soft_actor_declare(SoftActor *s, const AlgoSetup *setup, Agent *agent) {
  s->log_alpha = blocks_add(&agent->blocks, params_new(setup->arena, "temperature"));
  params_slot(s->log_alpha, "log_alpha", 1, 1, 1, 0);
  params_allocate(s->log_alpha);
}

Tensor *soft_alpha(const SoftActor *s, Graph *g) {
  return t_map(MAP_exp, t_param(g, s->log_alpha, 0));
}

void soft_actor_begin(SoftActor *s, const AlgoSetup *setup, Agent *agent, const SoftSpec *spec,
                      const Batch *batch) {
  const Policy *p = agent->policy;
  const Critic *c = p->critics;
  if (!s->log_alpha) soft_actor_declare(s, setup, agent);
  /* Jpi, with alpha as a constant */
  Graph *g = objective_begin(&s->actor, setup, p->actor);
  Tensor *obs = batch_input(g, batch, "obs"), *log_prob;
  Tensor *act = gaussian_act(p, g, p->actor, obs, t_normal(g, "action", 1, p->width), &log_prob);
  Tensor *q = critic_value(critic_q(c, g, c->online, obs, act), spec->value, spec->rho);
  graph_keep(log_prob);
  Tensor *loss = t_mean(t_sub(t_mul(log_prob, soft_alpha(s, g)), q));
  objective_end(&s->actor, setup, agent, loss, spec->actor_rate, 0, (Ema){ 0 });

  /* Ja, with log pi as the policy's tape left it, a constant too */
  g = objective_begin(&s->temperature, setup, s->log_alpha);
  Tensor *given = t_input(g, "log prob", 1, 1);
  Tensor *gap = t_shift(given, -p->width); /* log pi + target entropy */
  Tensor *alpha = spec->by_alpha ? soft_alpha(s, g) : t_param(g, s->log_alpha, 0);
  loss = t_mean(t_scale(-1, t_mul(gap, alpha)));
  graph_bind(given, graph_values(log_prob));
  objective_end(&s->temperature, setup, agent, loss, spec->temperature_rate, 0, (Ema){ 0 });
}

bool soft_actor_step(SoftActor *s, int rows, int64_t step, Log *log) {
  /* in this order: the second tape reads log pi of the first */
  if (!objective_step(&s->actor, rows, (uint64_t)step) ||
      !objective_step(&s->temperature, rows, (uint64_t)step))
    return false;
  objective_log(&s->actor, log, "actor");
  log_scalar(log, "alpha", exp((double)s->log_alpha->values[0]));
  return true;
}
