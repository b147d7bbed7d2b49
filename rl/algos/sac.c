/* sac.c -- Soft Actor-Critic, online.  Haarnoja et al. 2018 (arXiv 1812.05905).
 *
 *   y  = r + gamma live (min_i Q'_i(s', a') - alpha log pi(a'|s')),     a' ~ pi(.|s')
 *   JQ = sum_i mean (Q_i(s, a) - y)^2
 *
 * and the policy and its temperature as in temperature.h.  Makes the behaviour policies of the
 * generated data sets.  One gradient step for each step in the environment; the first
 * `random_steps` actions are uniform. */
#include "policy/policies/policy_gaussian.h"
#include "rl/algos/objective.h"
#include "rl/algos/online.h"
#include "rl/algos/td.h"
#include "rl/algos/temperature.h"
#include "rl/measure/returns.h"
#include "rl/source/source_environment.h"

#define SAC_FIELDS(F)                                                                              \
  F(INT, hidden, 256, 1, 4096, "units of a hidden layer (two of ReLU)")                            \
  F(FLOAT, actor_rate, 3e-4, 1e-8, 1, "learning rate of the policy")                               \
  F(FLOAT, critic_rate, 1e-3, 1e-8, 1, "learning rate of critics and temperature")                 \
  F(FLOAT, gamma, 0.99, 0, 1, "discount")                                                          \
  F(FLOAT, tau, 0.005, 0, 1, "target critics: target += tau (online - target)")                    \
  F(INT, random_steps, 5000, 1, NULL, "uniform actions at the start; updates begin after")         \
  F(INT, critics, 2, 1, 64, "members of the critic")                                               \
  CRITIC_FIELDS(F)                                                                                 \
  VALUE_FIELDS(F)

typedef struct {
  CONFIG_MEMBERS(TRAIN_FIELDS)
  CONFIG_MEMBERS(SAC_FIELDS)
} SacConfig;

#define CONFIG_STRUCT SacConfig
static const ConfigField fields[] = { CONFIG_ROWS(TRAIN_FIELDS) CONFIG_ROWS(SAC_FIELDS) };
#undef CONFIG_STRUCT

typedef struct {
  OnlineAgent base;
  const SacConfig *cfg;
  Objective critic;
  SoftActor soft; /* policy and temperature */
  Tensor *q;      /* mean value of the data's actions */
  Batch *batch;
} Sac;

static Tensor *critic_loss(Sac *m, Graph *g) {
  const Policy *p = m->base.agent.policy;
  const Critic *c = p->critics;
  Tensor *obs = batch_input(g, m->batch, "obs"), *act = batch_input(g, m->batch, "act");
  Tensor *next = batch_input(g, m->batch, "next"), *log_prob;
  /* y, with the entropy of the policy as it is now */
  Tensor *noise = t_normal(g, "target action", 1, p->width);
  Tensor *next_act = gaussian_act(p, g, p->actor, next, noise, &log_prob);
  Tensor *next_q =
      critic_value(critic_q(c, g, c->target, next, next_act), m->cfg->value.s, m->cfg->rho);
  Tensor *value = t_sub(next_q, t_mul(log_prob, soft_alpha(&m->soft, g)));
  Tensor *q = critic_q(c, g, c->online, obs, act);
  /* only for the log */
  graph_keep(m->q = t_mean(q));
  return td_loss(g, m->batch, q, td_target(g, m->batch, m->cfg->gamma, value));
}

static Agent *create(const AlgoSetup *setup, Error *error) {
  Sac *m = arena_alloc(setup->arena, sizeof *m);
  const SacConfig *cfg = m->cfg = setup->config;
  Policy *p = m->base.agent.policy = algo_policy(setup, &policy_gaussian, error);
  if (!p) return NULL;
  params_drop(p->actor_ema); /* the newest weights act */
  m->batch = algo_batch(setup, (const Column[]){ TRANSITION_COLUMNS(1), { 0 } });
  /* the critics' tape reads alpha, so that must be there first */
  soft_actor_declare(&m->soft, setup, &m->base.agent);
  Graph *g = objective_begin(&m->critic, setup, p->critics->online);
  objective_end(&m->critic, setup, &m->base.agent, critic_loss(m, g), cfg->critic_rate, 0,
                objective_target(p->critics->target, cfg->tau, 1));
  const SoftSpec soft = { .value = cfg->value.s,
                          .rho = cfg->rho,
                          .actor_rate = cfg->actor_rate,
                          .temperature_rate = cfg->critic_rate,
                          .by_alpha = true };
  soft_actor_begin(&m->soft, setup, &m->base.agent, &soft, m->batch);
  /* acting has random numbers of its own */
  bool open =
      online_open(&m->base.online, setup, p, setup->seed ^ 0x5ac, cfg->random_steps, 0, error);
  return open ? &m->base.agent : NULL;
}

/* ---- steps ----------------------------------------------------------------------------------- */

static bool update(Agent *agent, int64_t step, Log *log) {
  Sac *m = (Sac *)agent;
  online_sample(&m->base.online, step, m->batch);
  if (!objective_step(&m->critic, m->batch->rows, (uint64_t)step)) return false;
  objective_log(&m->critic, log, "critic");
  log_scalar(log, "q/mean", graph_scalar(m->q));
  online_log(&m->base.online, log);
  return soft_actor_step(&m->soft, m->batch->rows, step, log);
}

const AlgoDef algo_sac = {
  .name = "sac",
  .paper = "Haarnoja et al. 2018, arXiv 1812.05905",
  .about = "soft actor-critic, online; makes behaviour policies for generated data",
  .source = &source_environment,
  .fields = fields,
  .field_count = sizeof fields / sizeof *fields,
  .config_size = sizeof(SacConfig),
  .create = create,
  .collect = online_collect,
  .update = update,
  .measured = { &measured_returns },
  .save_more = online_save,
  .load_more = online_load,
  .close = online_close,
};
