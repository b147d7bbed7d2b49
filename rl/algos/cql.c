/* cql.c -- Conservative Q-Learning.  Kumar et al. 2020 (arXiv 2006.04779), CQL(H), on SAC.
 *
 *   y   = r + gamma live min_i Q'_i(s', a'),                         a' ~ pi(. | s')
 *   JQ  = sum_i mean (Q_i(s, a) - y)^2
 *         + cql_alpha sum_i mean (log sum_j exp(Q_i(s, a_j) - log p_j) - Q_i(s, a))
 *   Jpi = mean (alpha log pi(a|s) - min_i Q_i(s, a)),                 a ~ pi(. | s)
 *   Ja  = -mean log alpha (log pi(a|s) + target entropy),             target entropy = -dim A
 *
 * a_j are `proposals` uniform actions, as many of pi(. | s) and as many of pi(. | s'), all asked
 * about in s; p_j is the density that each was drawn from.  Critics, policy and temperature step in
 * this order; the released code takes all gradients before any step. */
#include "policy/policies/policy_gaussian.h"
#include "rl/algos/objective.h"
#include "rl/algos/td.h"
#include "rl/algos/temperature.h"
#include "rl/algos/values.h"
#include "rl/measure/returns.h"
#include "rl/source/source_transitions.h"
#include <math.h>
#include <string.h>

#define CQL_FIELDS(F)                                                                              \
  F(INT, hidden, 256, 1, 4096, "units of a hidden layer (three of ReLU)")                          \
  F(INT, actor_layers, 3, 1, 7, "hidden layers of the policy")                                     \
  F(TEXT, deviation, "clip", "tanh|clip|free", NULL, "how the policy's deviation is bounded")      \
  F(FLOAT, cql_alpha, 10.0, 0, 1e6, "weight of the gap between proposed actions and data")         \
  F(INT, proposals, 10, 1, 256, "actions of each of the three kinds")                              \
  F(FLOAT, actor_rate, 3e-5, 1e-8, 1, "learning rate of policy and temperature")                   \
  F(FLOAT, critic_rate, 3e-4, 1e-8, 1, "learning rate of the critics")                             \
  F(FLOAT, tau, 0.005, 0, 1, "target critics: target += tau (online - target)")                    \
  F(INT, critics, 2, 1, 64, "members of the critic")                                               \
  F(INT, critic_layers, 3, 1, 7, "hidden layers of a critic")                                      \
  F(TEXT, critic_activation, "relu", "relu|mish|gelu|silu|tanh", NULL, "after each of them")       \
  F(TEXT, layernorm, "none", "none|before|after", NULL,                                            \
    "layer norm in the critics, before or after the activation")                                   \
  VALUE_FIELDS(F)

typedef struct {
  CONFIG_MEMBERS(TRAIN_FIELDS)
  CONFIG_MEMBERS(DATA_FIELDS)
  CONFIG_MEMBERS(CHUNK_FIELDS)
  CONFIG_MEMBERS(RETURN_FIELDS)
  CONFIG_MEMBERS(CQL_FIELDS)
} CqlConfig;

#define CONFIG_STRUCT CqlConfig
static const ConfigField fields[] = { CONFIG_ROWS(TRAIN_FIELDS) CONFIG_ROWS(
    DATA_FIELDS) CONFIG_ROWS(CHUNK_FIELDS) CONFIG_ROWS(RETURN_FIELDS) CONFIG_ROWS(CQL_FIELDS) };
#undef CONFIG_STRUCT

typedef struct {
  Agent agent;
  const AlgoSetup *setup;
  const CqlConfig *cfg;
  Objective critic;
  SoftActor soft; /* policy and temperature */
  Batch *batch;
} Cql;

/* ---- objectives ------------------------------------------------------------------------------ */

/* actions and the logarithm of the density that they were drawn from */
typedef struct {
  Tensor *act, *log_p; /* [k, 1, act_dim], [k, 1, 1] */
} Proposals;

static Proposals of_policy(const Cql *m, Graph *g, Tensor *obs, const char *stream) {
  const Policy *p = m->agent.policy;
  Proposals of;
  Tensor *noise = t_normal(g, stream, (int)m->cfg->proposals, p->width);
  of.act = gaussian_act(p, g, p->actor, obs, noise, &of.log_p);
  return of;
}

/* uniform in [-1, 1]^n: log p = -n log 2 */
static Proposals uniform(const Cql *m, Graph *g) {
  int n = m->agent.policy->width, k = (int)m->cfg->proposals;
  Tensor *act = t_shift(t_scale(2, t_uniform(g, "uniform actions", k, n)), -1);
  return (Proposals){ act, t_shift(t_scale(0, t_sum_last(act)), -n * log(2)) };
}

static Proposals stacked(Proposals a, Proposals b) {
  return (Proposals){ t_stack(a.act, b.act), t_stack(a.log_p, b.log_p) };
}

/* log sum_j exp x_j over the k values, [k, 1, E] -> [1, 1, E] */
static Tensor *log_sum_exp(Tensor *x) { return t_part(t_sub(x, t_log_softmax_k(x)), 0, 1); }

static Tensor *critic_loss(const Cql *m, Graph *g) {
  const Policy *p = m->agent.policy;
  const Critic *c = p->critics;
  Tensor *obs = batch_input(g, m->batch, "obs"), *act = batch_input(g, m->batch, "act");
  Tensor *next = batch_input(g, m->batch, "next");
  /* y, without an entropy term */
  Tensor *noise = t_normal(g, "target action", 1, p->width);
  Tensor *next_act = gaussian_act(p, g, p->actor, next, noise, NULL);
  Tensor *next_q = critic_q(c, g, c->target, next, next_act);
  Tensor *value = critic_value(next_q, m->cfg->value.s, m->cfg->rho);
  Tensor *q = critic_q(c, g, c->online, obs, act);
  /* the gap of the head, all a_j asked about in s: those of pi(. | s') too */
  Proposals more = stacked(stacked(uniform(m, g), of_policy(m, g, obs, "actions here")),
                           of_policy(m, g, next, "actions next"));
  Tensor *proposed = t_sub(critic_q(c, g, c->online, obs, more.act), more.log_p);
  Tensor *gap = t_mean(t_sum_last(t_sub(log_sum_exp(proposed), q)));
  return t_mix(1, td_loss(g, m->batch, q, td_target(g, m->batch, m->cfg->gamma, value)),
               m->cfg->cql_alpha, gap);
}

static Agent *create(const AlgoSetup *setup, Error *error) {
  Cql *m = arena_alloc(setup->arena, sizeof *m);
  const CqlConfig *cfg = m->cfg = setup->config;
  m->setup = setup;
  Policy *p = m->agent.policy = algo_policy(setup, &policy_gaussian, error);
  if (!p) return NULL;
  params_drop(p->actor_ema);
  strcpy(p->act.choice.s, "mean");
  m->batch = td_batch(setup, p, (int)cfg->nstep, false, error);
  if (!m->batch) return NULL;
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
  Cql *m = (Cql *)agent;
  data_sample(&transitions_of(m->setup->source)->train, (uint64_t)step, m->batch);
  if (!objective_step(&m->critic, m->batch->rows, (uint64_t)step)) return false;
  objective_log(&m->critic, log, "critic");
  return soft_actor_step(&m->soft, m->batch->rows, step, log);
}

const AlgoDef algo_cql = {
  .name = "cql",
  .paper = "Kumar et al. 2020, arXiv 2006.04779",
  .about = "soft actor-critic whose critics are pushed down where the data are not",
  .source = &source_transitions,
  .fields = fields,
  .field_count = sizeof fields / sizeof *fields,
  .config_size = sizeof(CqlConfig),
  .create = create,
  .update = update,
  .measured = { &measured_returns, &measured_values },
};
