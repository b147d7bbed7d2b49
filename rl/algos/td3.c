/* td3.c -- TD3, online.  Fujimoto, van Hoof & Meger 2018 (arXiv 1802.09477), Algorithm 1.
 *
 *   a~  = clip(pi'(s') + clip(policy_noise n, +-noise_clip), +-1),     n ~ N(0, 1)
 *   y   = r + gamma live min_i Q'_i(s', a~)
 *   JQ  = sum_i mean (Q_i(s, a) - y)^2
 *   Jpi = -mean Q_1(s, pi(s))
 *
 * The first `random_steps` actions are uniform; then the policy's, with normal noise.  The policy
 * and both targets move every policy_delay steps. */
#include "policy/policies/policy_gaussian.h"
#include "rl/algos/objective.h"
#include "rl/algos/online.h"
#include "rl/algos/td.h"
#include "rl/measure/returns.h"
#include "rl/source/source_environment.h"

#define TD3_FIELDS(F)                                                                              \
  F(INT, hidden, 256, 1, 4096, "units of a hidden layer (two of ReLU)")                            \
  F(FLOAT, actor_rate, 3e-4, 1e-8, 1, "learning rate of the policy")                               \
  F(FLOAT, critic_rate, 3e-4, 1e-8, 1, "learning rate of the critics")                             \
  F(FLOAT, gamma, 0.99, 0, 1, "discount")                                                          \
  F(FLOAT, tau, 0.005, 0, 1, "targets: target += tau (online - target)")                           \
  F(FLOAT, explore, 0.1, 0, 10, "standard deviation of the noise on actions, of half their range") \
  F(FLOAT, policy_noise, 0.2, 0, 10, "noise of the target's action")                               \
  F(FLOAT, noise_clip, 0.5, 0, 10, "the most that it is")                                          \
  F(INT, policy_delay, 2, 1, 1000, "steps between updates of the policy and of targets")           \
  F(INT, random_steps, 25000, 1, NULL, "uniform actions at the start; updates begin after")        \
  F(INT, critics, 2, 1, 64, "members of the critic")                                               \
  CRITIC_FIELDS(F)                                                                                 \
  VALUE_FIELDS(F)

typedef struct {
  CONFIG_MEMBERS(TRAIN_FIELDS)
  CONFIG_MEMBERS(TD3_FIELDS)
} Td3Config;

#define CONFIG_STRUCT Td3Config
static const ConfigField fields[] = { CONFIG_ROWS(TRAIN_FIELDS) CONFIG_ROWS(TD3_FIELDS) };
#undef CONFIG_STRUCT

typedef struct {
  OnlineAgent base;
  const AlgoSetup *setup;
  const Td3Config *cfg;
  Objective critic, actor;
  Batch *batch;
} Td3;

/* ---- objectives ------------------------------------------------------------------------------ */

static Tensor *critic_loss(const Td3 *m, Graph *g) {
  const Policy *p = m->base.agent.policy;
  const Critic *c = p->critics;
  Tensor *obs = batch_input(g, m->batch, "obs"), *act = batch_input(g, m->batch, "act");
  Tensor *next = batch_input(g, m->batch, "next");
  /* y, with a~ of the slow policy */
  Tensor *a = deterministic_act(p, g, p->actor_ema, next);
  a = td_smoothed(a, m->cfg->policy_noise, m->cfg->noise_clip);
  Tensor *value = critic_value(critic_q(c, g, c->target, next, a), m->cfg->value.s, m->cfg->rho);
  return td_loss(g, m->batch, critic_q(c, g, c->online, obs, act),
                 td_target(g, m->batch, m->cfg->gamma, value));
}

static Tensor *actor_loss(const Td3 *m, Graph *g) {
  const Policy *p = m->base.agent.policy;
  Tensor *obs = batch_input(g, m->batch, "obs"), *pi = deterministic_act(p, g, p->actor, obs);
  /* the first critic alone */
  return t_scale(-1, t_mean(t_col(critic_q(p->critics, g, p->critics->online, obs, pi), 0)));
}

static Agent *create(const AlgoSetup *setup, Error *error) {
  Td3 *m = arena_alloc(setup->arena, sizeof *m);
  const Td3Config *cfg = m->cfg = setup->config;
  m->setup = setup;
  Policy *p = m->base.agent.policy = algo_policy(setup, &policy_deterministic, error);
  if (!p) return NULL;
  m->batch = algo_batch(setup, (const Column[]){ TRANSITION_COLUMNS(1), { 0 } });
  Graph *g = objective_begin(&m->critic, setup, p->critics->online);
  /* the target critics move at the steps that move the policy */
  objective_end(&m->critic, setup, &m->base.agent, critic_loss(m, g), cfg->critic_rate, 0,
                objective_target(p->critics->target, cfg->tau, cfg->policy_delay));
  /* Jpi, whose optimiser moves the slow policy */
  g = objective_begin(&m->actor, setup, p->actor);
  objective_end(&m->actor, setup, &m->base.agent, actor_loss(m, g), cfg->actor_rate, 0,
                objective_target(p->actor_ema, cfg->tau, 1));
  bool open =
      online_open(&m->base.online, setup, p, setup->seed, cfg->random_steps, cfg->explore, error);
  return open ? &m->base.agent : NULL;
}

/* ---- steps ----------------------------------------------------------------------------------- */

static bool update(Agent *agent, int64_t step, Log *log) {
  Td3 *m = (Td3 *)agent;
  int rows = m->batch->rows;
  online_sample(&m->base.online, step, m->batch);
  if (!objective_step(&m->critic, rows, (uint64_t)step)) return false;
  objective_log(&m->critic, log, "critic");
  online_log(&m->base.online, log);
  /* between its updates the critics step alone */
  if (step % m->cfg->policy_delay) return true;
  if (!objective_step(&m->actor, rows, (uint64_t)step)) return false;
  objective_log(&m->actor, log, "actor");
  return true;
}

const AlgoDef algo_td3 = {
  .name = "td3",
  .paper = "Fujimoto, van Hoof & Meger 2018, arXiv 1802.09477",
  .about = "twin delayed deterministic policy gradient, online",
  .source = &source_environment,
  .fields = fields,
  .field_count = sizeof fields / sizeof *fields,
  .config_size = sizeof(Td3Config),
  .create = create,
  .collect = online_collect,
  .update = update,
  .measured = { &measured_returns },
  .save_more = online_save,
  .load_more = online_load,
  .close = online_close,
};
