/* rebrac.c -- ReBRAC.  Tarasov et al. 2023 (arXiv 2305.09836): TD3+BC with a distance to the data
 * in the target too, layer norm in deeper critics, and the value weighed by its own size.
 *
 *   a~  = clip(pi'(s') + clip(policy_noise n, +-noise_clip), +-1)
 *   y   = r + gamma live (min_i Q'_i(s', a~) - critic_penalty |a~ - a'|^2),      a' of the data
 *   JQ  = sum_i mean (Q_i(s, a) - y)^2
 *   Jpi = mean (actor_penalty |pi(s) - a|^2 - lambda min_i Q_i(s, pi(s))),
 *         lambda = 1 / mean |min_i Q_i(s, pi(s))|
 *
 * The policy and both targets move every policy_delay steps.  As released but for one thing: there
 * the slow policy follows the policy as it was before the update. */
#include "policy/policies/policy_gaussian.h"
#include "rl/algos/objective.h"
#include "rl/algos/td.h"
#include "rl/algos/values.h"
#include "rl/measure/returns.h"
#include "rl/source/source_transitions.h"

#define REBRAC_FIELDS(F)                                                                           \
  F(INT, hidden, 256, 1, 4096, "units of a hidden layer (three of ReLU)")                          \
  F(FLOAT, actor_penalty, 0.01, 0, 1e3, "of the policy's squared distance to the data")            \
  F(FLOAT, critic_penalty, 0.01, 0, 1e3, "of the target action's, in the target")                  \
  F(FLOAT, actor_rate, 1e-3, 1e-8, 1, "learning rate of the policy")                               \
  F(FLOAT, critic_rate, 1e-3, 1e-8, 1, "learning rate of the critics")                             \
  F(FLOAT, tau, 0.005, 0, 1, "targets: target += tau (online - target)")                           \
  F(FLOAT, policy_noise, 0.2, 0, 10, "noise of the target's action")                               \
  F(FLOAT, noise_clip, 0.5, 0, 10, "the most that it is")                                          \
  F(INT, policy_delay, 2, 1, 1000, "steps between updates of the policy and of targets")           \
  F(INT, actor_layers, 3, 1, 7, "hidden layers of the policy")                                     \
  F(INT, critics, 2, 1, 64, "members of the critic")                                               \
  F(INT, critic_layers, 3, 1, 7, "hidden layers of a critic")                                      \
  F(TEXT, critic_activation, "relu", "relu|mish|gelu|silu|tanh", NULL, "after each of them")       \
  F(TEXT, layernorm, "after", "none|before|after", NULL,                                           \
    "layer norm in the critics, before or after the activation")                                   \
  VALUE_FIELDS(F)

typedef struct {
  CONFIG_MEMBERS(TRAIN_FIELDS)
  CONFIG_MEMBERS(DATA_FIELDS)
  CONFIG_MEMBERS(CHUNK_FIELDS)
  CONFIG_MEMBERS(RETURN_FIELDS)
  CONFIG_MEMBERS(REBRAC_FIELDS)
} RebracConfig;

#define CONFIG_STRUCT RebracConfig
static const ConfigField fields[] = { CONFIG_ROWS(TRAIN_FIELDS) CONFIG_ROWS(
    DATA_FIELDS) CONFIG_ROWS(CHUNK_FIELDS) CONFIG_ROWS(RETURN_FIELDS) CONFIG_ROWS(REBRAC_FIELDS) };
#undef CONFIG_STRUCT

typedef struct {
  Agent agent;
  const AlgoSetup *setup;
  const RebracConfig *cfg;
  Objective critic, actor;
  Batch *batch;
} Rebrac;

/* ---- objectives ------------------------------------------------------------------------------ */

static Tensor *distance(Tensor *a, Tensor *b) { return t_map(MAP_square, t_sub(a, b)); }

static Tensor *critic_loss(const Rebrac *m, Graph *g) {
  const Policy *p = m->agent.policy;
  const Critic *c = p->critics;
  Tensor *obs = batch_input(g, m->batch, "obs"), *act = batch_input(g, m->batch, "act");
  Tensor *next = batch_input(g, m->batch, "next"), *a = deterministic_act(p, g, p->actor_ema, next);
  a = td_smoothed(a, m->cfg->policy_noise, m->cfg->noise_clip);
  Tensor *q = critic_value(critic_q(c, g, c->target, next, a), m->cfg->value.s, m->cfg->rho);
  /* the second penalty: how far a~ is from what the data do in s' */
  Tensor *away = t_sum_last(distance(a, batch_input(g, m->batch, "next_act")));
  Tensor *value = t_mix(1, q, -m->cfg->critic_penalty, away);
  return td_loss(g, m->batch, critic_q(c, g, c->online, obs, act),
                 td_target(g, m->batch, m->cfg->gamma, value));
}

static Tensor *actor_loss(const Rebrac *m, Graph *g) {
  const Policy *p = m->agent.policy;
  const Critic *c = p->critics;
  Tensor *obs = batch_input(g, m->batch, "obs"), *act = batch_input(g, m->batch, "act");
  Tensor *pi = deterministic_act(p, g, p->actor, obs);
  Tensor *q = critic_value(critic_q(c, g, c->online, obs, pi), m->cfg->value.s, m->cfg->rho);
  /* 1 / lambda, a constant to the gradient */
  Tensor *scale = t_detach(t_mean(t_map(MAP_abs, q)));
  /* the first penalty: distance to the data's own action */
  Tensor *away = t_mean(t_sum_last(td_masked(g, m->batch, distance(pi, act))));
  return t_mix(m->cfg->actor_penalty, away, -1, t_div(t_mean(q), scale));
}

static Agent *create(const AlgoSetup *setup, Error *error) {
  Rebrac *m = arena_alloc(setup->arena, sizeof *m);
  const RebracConfig *cfg = m->cfg = setup->config;
  m->setup = setup;
  Policy *p = m->agent.policy = algo_policy(setup, &policy_deterministic, error);
  if (!p) return NULL;
  m->batch = td_batch(setup, p, (int)cfg->nstep, true, error);
  if (!m->batch) return NULL;
  Graph *g = objective_begin(&m->critic, setup, p->critics->online);
  /* the target critics move at the steps that move the policy */
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
  Rebrac *m = (Rebrac *)agent;
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

const AlgoDef algo_rebrac = {
  .name = "rebrac",
  .paper = "Tarasov et al. 2023, arXiv 2305.09836",
  .about = "TD3+BC with layer norm and a distance to the data in the target too",
  .source = &source_transitions,
  .fields = fields,
  .field_count = sizeof fields / sizeof *fields,
  .config_size = sizeof(RebracConfig),
  .create = create,
  .update = update,
  .measured = { &measured_returns, &measured_values },
};
