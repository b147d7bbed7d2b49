/* edac.c -- EDAC.  An et al. 2021 (arXiv 2110.01548): SAC with many critics whose least is the
 * target, and whose gradients at the data's actions are kept apart.
 *
 *   y   = r + gamma live (min_i Q'_i(s', a') - alpha log pi(a'|s')),           a' ~ pi(. | s')
 *   JQ  = sum_i mean (Q_i(s, a) - y)^2
 *         + eta mean sum_{i != j} <g_i, g_j> / (K - 1),       g_i = grad_a Q_i(s, a) / |grad_a Q_i|
 *   Jpi and Ja as in SAC (temperature.h), over all K critics
 *
 * The sum over pairs is |sum_i g_i|^2 - sum_i |g_i|^2. */
#include "policy/policies/policy_gaussian.h"
#include "rl/algos/objective.h"
#include "rl/algos/td.h"
#include "rl/algos/temperature.h"
#include "rl/algos/values.h"
#include "rl/measure/returns.h"
#include "rl/source/source_transitions.h"
#include <string.h>

#define EDAC_FIELDS(F)                                                                             \
  F(INT, hidden, 256, 1, 4096, "units of a hidden layer (three of ReLU)")                          \
  F(INT, actor_layers, 3, 1, 7, "hidden layers of the policy")                                     \
  F(TEXT, deviation, "tanh", "tanh|clip|free", NULL, "how the policy's deviation is bounded")      \
  F(FLOAT, eta, 1.0, 0, 1e6, "weight of the critics' likeness; 0: SAC-N")                          \
  F(FLOAT, actor_rate, 3e-4, 1e-8, 1, "learning rate of policy and temperature")                   \
  F(FLOAT, critic_rate, 3e-4, 1e-8, 1, "learning rate of the critics")                             \
  F(FLOAT, tau, 0.005, 0, 1, "target critics: target += tau (online - target)")                    \
  F(INT, critics, 10, 2, 64, "members of the critic")                                              \
  F(INT, critic_layers, 3, 1, 7, "hidden layers of a critic")                                      \
  F(TEXT, critic_activation, "relu", "relu|mish|gelu|silu|tanh", NULL, "after each of them")       \
  VALUE_FIELDS(F)

typedef struct {
  CONFIG_MEMBERS(TRAIN_FIELDS)
  CONFIG_MEMBERS(DATA_FIELDS)
  CONFIG_MEMBERS(CHUNK_FIELDS)
  CONFIG_MEMBERS(RETURN_FIELDS)
  CONFIG_MEMBERS(EDAC_FIELDS)
} EdacConfig;

#define CONFIG_STRUCT EdacConfig
static const ConfigField fields[] = { CONFIG_ROWS(TRAIN_FIELDS) CONFIG_ROWS(
    DATA_FIELDS) CONFIG_ROWS(CHUNK_FIELDS) CONFIG_ROWS(RETURN_FIELDS) CONFIG_ROWS(EDAC_FIELDS) };
#undef CONFIG_STRUCT

typedef struct {
  Agent agent;
  const AlgoSetup *setup;
  const EdacConfig *cfg;
  Objective critic;
  SoftActor soft;  /* policy and temperature */
  Params *members; /* zeros [K, 1, act_dim]: an action plus them is one for each critic */
  Batch *batch;
} Edac;

/* ---- objectives ------------------------------------------------------------------------------ */

/* mean sum_{i != j} <g_i, g_j> / (K - 1).  Each member has the action for itself, so that one
 * gradient of the sum over members is that of each. */
static Tensor *likeness(const Edac *m, Graph *g, Tensor *obs, Tensor *act) {
  const Critic *c = m->agent.policy->critics;
  Tensor *own = t_add(act, t_param(g, m->members, 0)); /* [1, K, act_dim] */
  /* the slope keeps its history, so that the loss trains the critics through it */
  Tensor *slope = t_grad_through(t_sum_last(critic_q(c, g, c->online, obs, own)), own);
  /* a root's slope at 0 has no end: a critic whose units all rest has no slope, and no direction */
  Tensor *squares = t_shift(t_sum_last(t_map(MAP_square, slope)), 1e-30);
  Tensor *size = t_shift(t_map(MAP_sqrt, squares), 1e-10);
  Tensor *unit = t_div(slope, size);
  Tensor *together = t_map(MAP_square, t_sum_to(unit, act));
  Tensor *alone = t_sum_to(t_map(MAP_square, unit), act);
  return t_scale(1.0 / (c->members - 1), t_mean(t_sum_last(t_sub(together, alone))));
}

static Tensor *critic_loss(const Edac *m, Graph *g) {
  const Policy *p = m->agent.policy;
  const Critic *c = p->critics;
  Tensor *obs = batch_input(g, m->batch, "obs"), *act = batch_input(g, m->batch, "act");
  Tensor *next = batch_input(g, m->batch, "next"), *log_prob;
  /* y, with the entropy of the policy as it is now */
  Tensor *noise = t_normal(g, "target action", 1, p->width);
  Tensor *next_act = gaussian_act(p, g, p->actor, next, noise, &log_prob);
  Tensor *next_q = critic_q(c, g, c->target, next, next_act);
  Tensor *value = t_sub(critic_value(next_q, m->cfg->value.s, m->cfg->rho),
                        t_mul(log_prob, soft_alpha(&m->soft, g)));
  Tensor *loss = td_loss(g, m->batch, critic_q(c, g, c->online, obs, act),
                         td_target(g, m->batch, m->cfg->gamma, value));
  /* eta 0 leaves SAC with many critics */
  return m->cfg->eta > 0 ? t_mix(1, loss, m->cfg->eta, likeness(m, g, obs, act)) : loss;
}

static Agent *create(const AlgoSetup *setup, Error *error) {
  Edac *m = arena_alloc(setup->arena, sizeof *m);
  const EdacConfig *cfg = m->cfg = setup->config;
  m->setup = setup;
  Policy *p = m->agent.policy = algo_policy(setup, &policy_gaussian, error);
  if (!p) return NULL;
  /* the newest weights act, by their mean */
  params_drop(p->actor_ema);
  strcpy(p->act.choice.s, "mean");
  m->batch = td_batch(setup, p, (int)cfg->nstep, false, error);
  if (!m->batch) return NULL;
  /* one action for each member: zeros that `likeness` adds to the data's */
  m->members = params_new(setup->arena, "members");
  params_slot(m->members, "zero", p->critics->members, 1, p->width, 0);
  params_allocate(m->members);
  /* the critics' tape reads alpha, so that must be there first */
  soft_actor_declare(&m->soft, setup, &m->agent);
  Graph *g = objective_begin(&m->critic, setup, p->critics->online);
  objective_end(&m->critic, setup, &m->agent, critic_loss(m, g), cfg->critic_rate, 0,
                objective_target(p->critics->target, cfg->tau, 1));
  const SoftSpec soft = { .value = cfg->value.s,
                          .rho = cfg->rho,
                          .actor_rate = cfg->actor_rate,
                          .temperature_rate = cfg->actor_rate };
  soft_actor_begin(&m->soft, setup, &m->agent, &soft, m->batch);
  return &m->agent;
}

/* ---- steps ----------------------------------------------------------------------------------- */

static bool update(Agent *agent, int64_t step, Log *log) {
  Edac *m = (Edac *)agent;
  data_sample(&transitions_of(m->setup->source)->train, (uint64_t)step, m->batch);
  if (!objective_step(&m->critic, m->batch->rows, (uint64_t)step)) return false;
  objective_log(&m->critic, log, "critic");
  return soft_actor_step(&m->soft, m->batch->rows, step, log);
}

const AlgoDef algo_edac = {
  .name = "edac",
  .paper = "An et al. 2021, arXiv 2110.01548",
  .about = "soft actor-critic with many critics that are kept apart",
  .source = &source_transitions,
  .fields = fields,
  .field_count = sizeof fields / sizeof *fields,
  .config_size = sizeof(EdacConfig),
  .create = create,
  .update = update,
  .measured = { &measured_returns, &measured_values },
};
