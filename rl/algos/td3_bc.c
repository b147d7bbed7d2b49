/* td3_bc.c -- TD3+BC.  Fujimoto & Gu 2021 (arXiv 2106.06860), with TD3's targets (Fujimoto et al.
 * 2018, arXiv 1802.09477).
 *
 *   a~  = clip(pi'(s') + clip(policy_noise n, +-noise_clip), +-1),     n ~ N(0, 1)
 *   y   = r + gamma live min_i Q'_i(s', a~)
 *   JQ  = sum_i mean (Q_i(s, a) - y)^2
 *   Jpi = -lambda mean Q_1(s, pi(s)) + mean (pi(s) - a)^2,    lambda = alpha / mean |Q_1(s, pi(s))|
 *
 * The policy and both targets move every policy_delay steps. */
#include "policy/policies/policy_gaussian.h"
#include "rl/algos/objective.h"
#include "rl/algos/td.h"
#include "rl/algos/values.h"
#include "rl/measure/returns.h"
#include "rl/source/source_transitions.h"

#define TD3_BC_FIELDS(F)                                                                           \
  F(INT, hidden, 256, 1, 4096, "units of a hidden layer (two of ReLU)")                            \
  F(FLOAT, alpha, 2.5, 0, 1e6, "weight of the value beside the squared distance to the data")      \
  F(FLOAT, actor_rate, 3e-4, 1e-8, 1, "learning rate of the policy")                               \
  F(FLOAT, critic_rate, 3e-4, 1e-8, 1, "learning rate of the critics")                             \
  F(FLOAT, tau, 0.005, 0, 1, "targets: target += tau (online - target)")                           \
  F(FLOAT, policy_noise, 0.2, 0, 10, "noise of the target's action")                               \
  F(FLOAT, noise_clip, 0.5, 0, 10, "the most that it is")                                          \
  F(INT, policy_delay, 2, 1, 1000, "steps between updates of the policy and of targets")           \
  F(INT, critics, 2, 1, 64, "members of the critic")                                               \
  CRITIC_FIELDS(F)                                                                                 \
  VALUE_FIELDS(F)

typedef struct {
  CONFIG_MEMBERS(TRAIN_FIELDS)
  CONFIG_MEMBERS(DATA_FIELDS)
  CONFIG_MEMBERS(CHUNK_FIELDS)
  CONFIG_MEMBERS(RETURN_FIELDS)
  CONFIG_MEMBERS(TD3_BC_FIELDS)
} Td3BcConfig;

#define CONFIG_STRUCT Td3BcConfig
static const ConfigField fields[] = { CONFIG_ROWS(TRAIN_FIELDS) CONFIG_ROWS(
    DATA_FIELDS) CONFIG_ROWS(CHUNK_FIELDS) CONFIG_ROWS(RETURN_FIELDS) CONFIG_ROWS(TD3_BC_FIELDS) };
#undef CONFIG_STRUCT

typedef struct {
  Agent agent;
  const AlgoSetup *setup;
  const Td3BcConfig *cfg;
  Objective critic, actor;
  Batch *batch;
} Td3Bc;

/* ---- objectives ------------------------------------------------------------------------------ */

static Tensor *critic_loss(const Td3Bc *m, Graph *g) {
  const Policy *p = m->agent.policy;
  const Critic *c = p->critics;
  Tensor *obs = batch_input(g, m->batch, "obs"), *act = batch_input(g, m->batch, "act");
  Tensor *next = batch_input(g, m->batch, "next");
  /* y, with a~ of the slow policy */
  Tensor *a = deterministic_act(p, g, p->actor_ema, next);
  a = td_smoothed(a, m->cfg->policy_noise, m->cfg->noise_clip);
  Tensor *next_q = critic_q(c, g, c->target, next, a);
  Tensor *value = critic_value(next_q, m->cfg->value.s, m->cfg->rho);
  return td_loss(g, m->batch, critic_q(c, g, c->online, obs, act),
                 td_target(g, m->batch, m->cfg->gamma, value));
}

static Tensor *actor_loss(const Td3Bc *m, Graph *g) {
  const Policy *p = m->agent.policy;
  const Critic *c = p->critics;
  Tensor *obs = batch_input(g, m->batch, "obs"), *act = batch_input(g, m->batch, "act");
  Tensor *pi = deterministic_act(p, g, p->actor, obs);
  /* lambda = alpha / scale, by the first critic alone; a constant to the gradient */
  Tensor *q = t_col(critic_q(c, g, c->online, obs, pi), 0);
  Tensor *scale = t_detach(t_mean(t_map(MAP_abs, q)));
  /* distance to the data's actions, without entries that are not there */
  Tensor *cloned = t_mean(td_masked(g, m->batch, t_map(MAP_square, t_sub(pi, act))));
  return t_mix(-m->cfg->alpha, t_div(t_mean(q), scale), 1, cloned);
}

static Agent *create(const AlgoSetup *setup, Error *error) {
  Td3Bc *m = arena_alloc(setup->arena, sizeof *m);
  const Td3BcConfig *cfg = m->cfg = setup->config;
  m->setup = setup;
  Policy *p = m->agent.policy = algo_policy(setup, &policy_deterministic, error);
  if (!p) return NULL;
  m->batch = td_batch(setup, p, (int)cfg->nstep, false, error);
  if (!m->batch) return NULL;
  /* the target critics move at the steps that move the policy */
  Graph *g = objective_begin(&m->critic, setup, p->critics->online);
  objective_end(&m->critic, setup, &m->agent, critic_loss(m, g), cfg->critic_rate, 0,
                objective_target(p->critics->target, cfg->tau, cfg->policy_delay));
  /* Jpi, whose optimiser moves the slow policy */
  g = objective_begin(&m->actor, setup, p->actor);
  objective_end(&m->actor, setup, &m->agent, actor_loss(m, g), cfg->actor_rate, 0,
                objective_target(p->actor_ema, cfg->tau, 1));
  return &m->agent;
}

/* ---- steps ----------------------------------------------------------------------------------- */

static bool update(Agent *agent, int64_t step, Log *log) {
  Td3Bc *m = (Td3Bc *)agent;
  int rows = m->batch->rows;
  data_sample(&transitions_of(m->setup->source)->train, (uint64_t)step, m->batch);
  if (!objective_step(&m->critic, rows, (uint64_t)step)) return false;
  objective_log(&m->critic, log, "critic");
  /* between its updates the critics step alone */
  if (step % m->cfg->policy_delay) return true;
  if (!objective_step(&m->actor, rows, (uint64_t)step)) return false;
  objective_log(&m->actor, log, "actor");
  return true;
}

const AlgoDef algo_td3_bc = {
  .name = "td3-bc",
  .paper = "Fujimoto & Gu 2021, arXiv 2106.06860",
  .about = "a deterministic policy that climbs Q and stays near the data",
  .source = &source_transitions,
  .fields = fields,
  .field_count = sizeof fields / sizeof *fields,
  .config_size = sizeof(Td3BcConfig),
  .create = create,
  .update = update,
  .measured = { &measured_returns, &measured_values },
};
