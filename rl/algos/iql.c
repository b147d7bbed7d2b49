/* iql.c -- Implicit Q-Learning.  Kostrikov, Nair & Levine 2022 (arXiv 2110.06169), equations 5-7.
 *
 *   u   = min_i Q'_i(s, a) - V(s)
 *   JV  = mean |expectile - 1(u < 0)| u^2
 *   Jpi = -mean min(exp(beta u), 100) log pi(a | s)              with the new V
 *   JQ  = sum_i mean (Q_i(s, a) - r - gamma live V(s'))^2         with the new V
 *
 * No action outside the data is ever asked about.  The policy is a Gaussian around tanh of a
 * network, with one deviation for all states; its mean acts. */
#include "policy/policies/policy_gaussian.h"
#include "rl/algos/expectile.h"
#include "rl/algos/objective.h"
#include "rl/algos/values.h"
#include "rl/measure/returns.h"
#include "rl/source/source_transitions.h"
#include <string.h>

#define IQL_FIELDS(F)                                                                              \
  F(INT, hidden, 256, 1, 4096, "units of a hidden layer (two of ReLU)")                            \
  F(FLOAT, expectile, 0.7, 0, 1, "of the value: 0.5 the mean, near 1 the best action of the data") \
  F(FLOAT, beta, 3.0, 0, 1e3, "inverse temperature of the advantage that weighs actions")          \
  F(FLOAT, rate, 3e-4, 1e-8, 1, "learning rate of policy, value and critics")                      \
  F(TEXT, actor_schedule, "cosine", "constant|cosine", NULL, "the policy's rate over training")    \
  F(FLOAT, tau, 0.005, 0, 1, "target critics: target += tau (online - target)")                    \
  F(TEXT, deviation, "free", "free|tanh|clip", NULL, "of the policy: one vector, or of the state") \
  F(BOOL, squashed, false, NULL, NULL, "false: actions are a normal around tanh of the network")   \
  F(INT, critics, 2, 1, 64, "members of the critic")                                               \
  CRITIC_FIELDS(F)                                                                                 \
  VALUE_FIELDS(F)

typedef struct {
  CONFIG_MEMBERS(TRAIN_FIELDS)
  CONFIG_MEMBERS(DATA_FIELDS)
  CONFIG_MEMBERS(CHUNK_FIELDS)
  CONFIG_MEMBERS(RETURN_FIELDS)
  CONFIG_MEMBERS(IQL_FIELDS)
} IqlConfig;

#define CONFIG_STRUCT IqlConfig
static const ConfigField fields[] = { CONFIG_ROWS(TRAIN_FIELDS) CONFIG_ROWS(
    DATA_FIELDS) CONFIG_ROWS(CHUNK_FIELDS) CONFIG_ROWS(RETURN_FIELDS) CONFIG_ROWS(IQL_FIELDS) };
#undef CONFIG_STRUCT

typedef struct {
  Agent agent;
  const AlgoSetup *setup;
  const IqlConfig *cfg;
  Expectile values; /* V, and what trains it and the critics */
  Objective v, actor, critic;
  Batch *batch;
} Iql;

/* ---- objectives ------------------------------------------------------------------------------ */

static Tensor *actor_loss(const Iql *m, Graph *g) {
  const Policy *p = m->agent.policy;
  Tensor *weight =
      t_clip(t_map(MAP_exp, t_scale(m->cfg->beta, expectile_advantage(&m->values, g))), 0, 100);
  Tensor *obs = batch_input(g, m->batch, "obs"), *act = batch_input(g, m->batch, "act");
  Tensor *log_prob = gaussian_log_prob(p, g, p->actor, obs, act, td_entries(g, m->batch));
  return t_scale(-1, t_mean(t_mul(t_detach(weight), log_prob)));
}

static Agent *create(const AlgoSetup *setup, Error *error) {
  Iql *m = arena_alloc(setup->arena, sizeof *m);
  const IqlConfig *cfg = m->cfg = setup->config;
  m->setup = setup;
  Policy *p = m->agent.policy = algo_policy(setup, &policy_gaussian, error);
  if (!p) return NULL;
  params_drop(p->actor_ema);
  strcpy(p->act.choice.s, "mean");
  m->batch = td_batch(setup, p, (int)cfg->nstep, false, error);
  if (!m->batch) return NULL;
  m->values = (Expectile){ .policy = p,
                           .batch = m->batch,
                           .expectile = cfg->expectile,
                           .gamma = cfg->gamma,
                           .kind = cfg->value.s,
                           .rho = cfg->rho };
  expectile_value_new(&m->values, setup, &m->agent, 2, MAP_relu, MLP_PLAIN);
  /* JV, Jpi and JQ, a tape each; they step in this order */
  Graph *g = objective_begin(&m->v, setup, m->values.value);
  objective_end(&m->v, setup, &m->agent, expectile_value_loss(&m->values, g), cfg->rate, 0,
                (Ema){ 0 });
  g = objective_begin(&m->actor, setup, p->actor);
  objective_end(&m->actor, setup, &m->agent, actor_loss(m, g), cfg->rate, 0, (Ema){ 0 });
  if (!strcmp(cfg->actor_schedule.s, "cosine")) objective_cosine(&m->actor, setup);
  g = objective_begin(&m->critic, setup, p->critics->online);
  objective_end(&m->critic, setup, &m->agent, expectile_critic_loss(&m->values, g), cfg->rate, 0,
                objective_target(p->critics->target, cfg->tau, 1));
  return &m->agent;
}

/* ---- steps ----------------------------------------------------------------------------------- */

static bool update(Agent *agent, int64_t step, Log *log) {
  Iql *m = (Iql *)agent;
  int rows = m->batch->rows;
  data_sample(&transitions_of(m->setup->source)->train, (uint64_t)step, m->batch);
  if (!objective_step(&m->v, rows, (uint64_t)step) ||
      !objective_step(&m->actor, rows, (uint64_t)step) ||
      !objective_step(&m->critic, rows, (uint64_t)step))
    return false;
  objective_log(&m->critic, log, "critic");
  objective_log(&m->actor, log, "actor");
  objective_log(&m->v, log, "value");
  return true;
}

const AlgoDef algo_iql = {
  .name = "iql",
  .paper = "Kostrikov, Nair & Levine 2022, arXiv 2110.06169",
  .about = "learns what the data's best actions are worth, and clones them by their advantage",
  .source = &source_transitions,
  .fields = fields,
  .field_count = sizeof fields / sizeof *fields,
  .config_size = sizeof(IqlConfig),
  .create = create,
  .update = update,
  .measured = { &measured_returns, &measured_values },
};
