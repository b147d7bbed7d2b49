/* fql.c -- Flow Q-Learning.  Park, Li & Levine 2025 (arXiv 2502.02538), Algorithm 1.
 *
 *   L_flow  = mean (v(s, t z + (1 - t) a, t) - (z - a))^2         behaviour: a flow from noise z
 *   L_Q     = sum_k mean (Q_k(s, a) - r - gamma live Q'(s', clip mu(s', z)))^2
 *   L_actor = alpha mean (mu(s, z) - flow(s, z))^2 - lambda mean Q(s, clip mu(s, z))
 *
 * flow(s, z) is where the flow's ODE leads from z in a few Euler steps, a constant for gradients:
 * mu learns that map in one call, and climbs Q as far as alpha lets it.  No gradient passes through
 * a chain, and an action takes one call.  Q without index is the members' mean.  lambda is 1, or
 * 1 / mean |Q| (normalize_q), a constant. */
#include "core/check.h"
#include "policy/nets/denoiser_mlp.h"
#include "policy/policies/policy_one_step.h"
#include "rl/algos/objective.h"
#include "rl/algos/td.h"
#include "rl/algos/values.h"
#include "rl/measure/returns.h"
#include "rl/source/source_transitions.h"

#define FQL_FIELDS(F)                                                                              \
  F(INT, hidden, 256, 1, 4096, "units of a hidden layer")                                          \
  F(INT, actor_layers, 4, 1, 7, "hidden layers of the policy (GELU)")                              \
  F(FLOAT, alpha, 10.0, 0, 1e6, "weight of staying near the flow of the data's actions")           \
  F(BOOL, normalize_q, false, NULL, NULL, "Q divided by its mean size, whatever rewards are")      \
  F(INT, flow_steps, 10, 1, 1000, "Euler steps of the flow that the policy learns from")           \
  F(FLOAT, rate, 3e-4, 1e-8, 1, "learning rate of flow, policy and critics")                       \
  F(FLOAT, tau, 0.005, 0, 1, "target critics: target += tau (online - target)")                    \
  F(INT, critics, 2, 1, 64, "members of the critic")                                               \
  F(INT, critic_layers, 4, 1, 7, "hidden layers of a critic")                                      \
  F(TEXT, critic_activation, "gelu", "relu|mish|gelu|silu|tanh", NULL,                             \
    "after every hidden layer of a critic")                                                        \
  F(TEXT, layernorm, "after", "none|before|after", NULL,                                           \
    "layer norm in the critics, before or after the activation")                                   \
  F(TEXT, value, "mean", "min|mean|lower", NULL,                                                   \
    "of targets: the critics' least, their mean, the mean - rho std over them")                    \
  F(FLOAT, rho, 1.0, 0, 1000, "value=lower: standard deviations below the mean")

typedef struct {
  CONFIG_MEMBERS(TRAIN_FIELDS)
  CONFIG_MEMBERS(DATA_FIELDS)
  CONFIG_MEMBERS(CHUNK_FIELDS)
  CONFIG_MEMBERS(RETURN_FIELDS)
  CONFIG_MEMBERS(FQL_FIELDS)
} FqlConfig;

#define CONFIG_STRUCT FqlConfig
static const ConfigField fields[] = { CONFIG_ROWS(TRAIN_FIELDS) CONFIG_ROWS(
    DATA_FIELDS) CONFIG_ROWS(CHUNK_FIELDS) CONFIG_ROWS(RETURN_FIELDS) CONFIG_ROWS(FQL_FIELDS) };
#undef CONFIG_STRUCT

typedef struct {
  Agent agent;
  const AlgoSetup *setup;
  const FqlConfig *cfg;
  Params *flow; /* v: its weights, .. */
  Denoiser *velocity;
  Sampler *ode; /* .. and its map from noise to actions */
  Objective behaviour, critic, actor;
  Tensor *distill, *q; /* terms of the actor's loss */
  Batch *batch;
} Fql;

/* ---- objectives ------------------------------------------------------------------------------ */

/* y is of one action of the policy in s', by noise of its own */
static Tensor *critic_loss(const Fql *m, Graph *g) {
  const Policy *p = m->agent.policy;
  const Critic *c = p->critics;
  Tensor *obs = batch_input(g, m->batch, "obs"), *act = batch_input(g, m->batch, "act");
  Tensor *next = batch_input(g, m->batch, "next"), *z = t_normal(g, "target noise", 1, p->width);
  Tensor *a = t_clip(one_step_act(p, g, p->actor, next, z), -1, 1);
  Tensor *value = critic_value(critic_q(c, g, c->target, next, a), m->cfg->value.s, m->cfg->rho);
  return td_loss(g, m->batch, critic_q(c, g, c->online, obs, act),
                 td_target(g, m->batch, m->cfg->gamma, value));
}

static Tensor *actor_loss(Fql *m, Graph *g) {
  const Policy *p = m->agent.policy;
  const Critic *c = p->critics;
  Tensor *obs = batch_input(g, m->batch, "obs"), *z = t_normal(g, "actor noise", 1, p->width);
  /* the same noise for both; the tape trains the policy alone, so the flow gets no gradient */
  Tensor *there = sampler_record_from(g, m->ode, m->velocity, m->flow, "flow", z, obs);
  Tensor *mu = one_step_act(p, g, p->actor, obs, z);
  m->distill = t_mean(t_map(MAP_square, t_sub(mu, t_clip(there, -1, 1))));
  Tensor *q = critic_value(critic_q(c, g, c->online, obs, t_clip(mu, -1, 1)), "mean", 0);
  m->q = t_mean(q);
  Tensor *climb = m->q;
  if (m->cfg->normalize_q) climb = t_div(climb, t_detach(t_mean(t_map(MAP_abs, q))));
  graph_keep(m->distill), graph_keep(m->q);
  return t_mix(m->cfg->alpha, m->distill, -1, climb);
}

/* ---- set-up ---------------------------------------------------------------------------------- */

static bool new_flow(Fql *m, Error *error) {
  const AlgoSetup *setup = m->setup;
  const Policy *p = m->agent.policy;
  const Schedule *paths = schedule_new(setup->arena, &(ScheduleSpec){ .name = "flow" }, error);
  if (!paths) return false;
  m->flow = blocks_add(&m->agent.blocks, params_new(setup->arena, "flow"));
  m->velocity = mlp_denoiser_new(setup->arena, m->flow, paths, PREDICTS_VELOCITY, p->width, p->seen,
                                 (int)p->spec.hidden);
  if (!blocks_allocate(&m->agent.blocks, error)) return false;
  params_init(m->flow, setup->seed);
  /* even Euler steps from noise (time 1) to clean data (time 0), which on straight paths are those
   * of ddim: what goes along the slope itself ends at the first time of training */
  int steps = (int)m->cfg->flow_steps;
  double *times = arena_array(setup->arena, double, steps);
  for (int i = 0; i < steps; i++) times[i] = 1 - (double)i / steps;
  SamplerSpec steps_of = { .method = "ddim", .steps = steps, .times = times, .end = END_CLEAN };
  return (m->ode = sampler_new(setup->arena, &steps_of, m->velocity, error)) != NULL;
}

static Agent *create(const AlgoSetup *setup, Error *error) {
  Fql *m = arena_alloc(setup->arena, sizeof *m);
  const FqlConfig *cfg = m->cfg = setup->config;
  m->setup = setup;
  Policy *p = m->agent.policy = algo_policy(setup, &policy_one_step, error);
  if (!p || !new_flow(m, error)) return NULL;
  params_drop(p->actor_ema);
  m->batch = td_batch(setup, p, (int)cfg->nstep, false, error);
  if (!m->batch) return NULL;
  /* L_Q, L_flow and L_actor, a tape each; they step in this order */
  Graph *g = objective_begin(&m->critic, setup, p->critics->online);
  objective_end(&m->critic, setup, &m->agent, critic_loss(m, g), cfg->rate, 0,
                objective_target(p->critics->target, cfg->tau, 1));
  g = objective_begin(&m->behaviour, setup, m->flow);
  objective_end(&m->behaviour, setup, &m->agent,
                td_denoising_of(g, m->velocity, m->flow, m->batch, "bc"), cfg->rate, 0, (Ema){ 0 });
  g = objective_begin(&m->actor, setup, p->actor);
  objective_end(&m->actor, setup, &m->agent, actor_loss(m, g), cfg->rate, 0, (Ema){ 0 });
  return &m->agent;
}

static bool update(Agent *agent, int64_t step, Log *log) {
  Fql *m = (Fql *)agent;
  int rows = m->batch->rows;
  data_sample(&transitions_of(m->setup->source)->train, (uint64_t)step, m->batch);
  if (!objective_step(&m->critic, rows, (uint64_t)step) ||
      !objective_step(&m->behaviour, rows, (uint64_t)step) ||
      !objective_step(&m->actor, rows, (uint64_t)step))
    return false;
  objective_log(&m->critic, log, "critic");
  objective_log(&m->behaviour, log, "flow");
  objective_log(&m->actor, log, "actor");
  log_scalar(log, "loss/distill", graph_scalar(m->distill));
  log_scalar(log, "q/mean", graph_scalar(m->q));
  return true;
}

const AlgoDef algo_fql = {
  .name = "fql",
  .paper = "Park, Li & Levine 2025, arXiv 2502.02538",
  .about = "a policy of one call that learns a flow's map and climbs Q",
  .source = &source_transitions,
  .fields = fields,
  .field_count = sizeof fields / sizeof *fields,
  .config_size = sizeof(FqlConfig),
  .create = create,
  .update = update,
  .measured = { &measured_returns, &measured_values },
};
