/* idql.c -- Implicit Diffusion Q-Learning.  Hansen-Estruch et al. 2023 (arXiv 2304.10573); and, on
 * straight paths, IFQL (Park, Li & Levine 2025, arXiv 2502.02538, appendix).
 *
 *   u  = min_i Q'_i(s, a) - V(s)
 *   JV = mean |expectile - 1(u < 0)| u^2
 *   JQ = sum_i mean (Q_i(s, a) - r - gamma live V(s'))^2         with the new V
 *   L  = E (target - net(a(t) a_0 + s(t) eps, t, s))^2           behaviour, by a diffusion model
 *   pi = of N actions of the behaviour that with the greatest min_i Q'_i(s, a)
 *
 * Values and behaviour are learned apart, each from the data alone, and meet only when acting: how
 * greedy the policy is can be chosen after training (--act candidates=, choice=). */
#include "rl/algos/expectile.h"
#include "rl/algos/held_out.h"
#include "rl/algos/objective.h"
#include "rl/algos/values.h"
#include "rl/measure/returns.h"
#include "rl/source/source_transitions.h"
#include <string.h>

/* what differs between the two: paths, critics, expectile and number of candidates */
#define IDQL_FIELDS_OF(F, SCHEDULE, PREDICTS, SAMPLER, STEPS, LAYERS, UNIT, NORM, EXPECTILE, RATE, \
                       WEIGHTS, CANDIDATES)                                                        \
  F(INT, hidden, 256, 1, 4096, "units of a hidden layer")                                          \
  F(TEXT, schedule, SCHEDULE, "vp|linear|cosine|vp-sde|flow", NULL, "noise schedule")              \
  F(INT, diffusion_steps, 5, 1, 1000, "T: steps of a discrete schedule")                           \
  F(TEXT, predicts, PREDICTS, "eps|x0|velocity", NULL, "what the network's output is")             \
  F(TEXT, sampler, SAMPLER, "ddpm|ddim|dpmpp_2m|euler", NULL, "how actions are sampled")           \
  F(INT, sample_steps, STEPS, 0, 1000, "network evaluations an action; 0: T")                      \
  F(FLOAT, expectile, EXPECTILE, 0, 1,                                                             \
    "of the value: 0.5 the mean, near 1 the best action of the data")                              \
  F(FLOAT, rate, 3e-4, 1e-8, 1, "learning rate of behaviour, value and critics")                   \
  F(TEXT, actor_schedule, RATE, "constant|cosine", NULL, "the behaviour's rate over training")     \
  F(FLOAT, tau, 0.005, 0, 1, "target critics: target += tau (online - target)")                    \
  F(FLOAT, ema, 0.999, 0, 1, "decay of the behaviour's average")                                   \
  F(INT, ema_every, 1, 1, NULL, "steps between updates of the average")                            \
  F(INT, ema_start, 0, 0, NULL, "step from which the average moves")                               \
  F(TEXT, weights, WEIGHTS, "online|ema", NULL, "which behaviour acts")                            \
  F(INT, candidates, CANDIDATES, 1, 4096, "N: actions sampled when acting")                        \
  F(TEXT, choice, "argmax", "softmax|argmax|average", NULL,                                        \
    "among them, by the critics: one sampled, the best, or the mean weighted by softmax")          \
  F(FLOAT, temperature, 1.0, 1e-6, 1e6, "of that softmax, over raw Q values")                      \
  F(INT, critics, 2, 1, 64, "members of the critic")                                               \
  F(INT, critic_layers, LAYERS, 1, 7, "hidden layers of critics and value")                        \
  F(TEXT, critic_activation, UNIT, "relu|mish|gelu|silu|tanh", NULL,                               \
    "after every hidden layer of critics and value")                                               \
  F(TEXT, layernorm, NORM, "none|before|after", NULL,                                              \
    "layer norm in critics and value, before or after the activation")                             \
  VALUE_FIELDS(F)
#define IDQL_FIELDS(F)                                                                             \
  IDQL_FIELDS_OF(F, "vp", "eps", "ddpm", 0, 2, "relu", "none", 0.7, "cosine", "ema", 64)
#define IFQL_FIELDS(F)                                                                             \
  IDQL_FIELDS_OF(F, "flow", "velocity", "euler", 10, 4, "gelu", "after", 0.9, "constant",          \
                 "online", 32)

typedef struct {
  CONFIG_MEMBERS(TRAIN_FIELDS)
  CONFIG_MEMBERS(DATA_FIELDS)
  CONFIG_MEMBERS(CHUNK_FIELDS)
  CONFIG_MEMBERS(RETURN_FIELDS)
  CONFIG_MEMBERS(IDQL_FIELDS)
} IdqlConfig;

#define CONFIG_STRUCT IdqlConfig
static const ConfigField fields[] = { CONFIG_ROWS(TRAIN_FIELDS) CONFIG_ROWS(
    DATA_FIELDS) CONFIG_ROWS(CHUNK_FIELDS) CONFIG_ROWS(RETURN_FIELDS) CONFIG_ROWS(IDQL_FIELDS) };
static const ConfigField flow_fields[] = { CONFIG_ROWS(TRAIN_FIELDS) CONFIG_ROWS(
    DATA_FIELDS) CONFIG_ROWS(CHUNK_FIELDS) CONFIG_ROWS(RETURN_FIELDS) CONFIG_ROWS(IFQL_FIELDS) };
#undef CONFIG_STRUCT

static const SettingNeed needs[] = { { "choice", "candidates", NULL, "1" },
                                     { "temperature", "candidates", NULL, "1" },
                                     { "temperature", "choice", NULL, "argmax" },
                                     { NULL, NULL, NULL, NULL } };

typedef struct {
  Agent agent;
  const AlgoSetup *setup;
  Expectile values;
  Objective v, actor, critic;
  Batch *batch;
} Idql;

/* how it acts is stored with it: N actions of the behaviour, and how the critics choose */
static Policy *new_policy(const AlgoSetup *setup, const IdqlConfig *cfg, Error *error) {
  Policy *p = algo_policy(setup, &policy_diffusion, error);
  if (!p) return NULL;
  p->act.weights = cfg->weights, p->act.sampler = cfg->sampler, p->act.steps = cfg->sample_steps;
  /* a continuous schedule has no steps of its own: T evaluations instead */
  if (!p->model->schedule->def->discrete && !p->act.steps) p->act.steps = cfg->diffusion_steps;
  p->act.candidates = cfg->candidates, p->act.temperature = cfg->temperature;
  p->act.value = cfg->value, p->act.rho = cfg->rho;
  if (cfg->candidates > 1) p->act.choice = cfg->choice;
  return p;
}

static Agent *create(const AlgoSetup *setup, Error *error) {
  Idql *m = arena_alloc(setup->arena, sizeof *m);
  const IdqlConfig *cfg = setup->config;
  m->setup = setup;
  Policy *p = m->agent.policy = new_policy(setup, cfg, error);
  if (!p) return NULL;
  m->batch = td_batch(setup, p, (int)cfg->nstep, false, error);
  if (!m->batch) return NULL;
  m->values = (Expectile){ .policy = p,
                           .batch = m->batch,
                           .expectile = cfg->expectile,
                           .gamma = cfg->gamma,
                           .kind = cfg->value.s,
                           .rho = cfg->rho };
  const Mlp *net = &p->critics->net;
  expectile_value_new(&m->values, setup, &m->agent, net->layers - 1, net->activation, net->norm);
  /* L, JV and JQ, a tape each; they step in this order */
  Graph *g = objective_begin(&m->actor, setup, p->actor);
  objective_end(&m->actor, setup, &m->agent, td_denoising(g, p, m->batch, "bc"), cfg->rate, 0,
                (Ema){ p->actor_ema, cfg->ema, cfg->ema_start, cfg->ema_every });
  if (!strcmp(cfg->actor_schedule.s, "cosine")) objective_cosine(&m->actor, setup);
  g = objective_begin(&m->v, setup, m->values.value);
  objective_end(&m->v, setup, &m->agent, expectile_value_loss(&m->values, g), cfg->rate, 0,
                (Ema){ 0 });
  g = objective_begin(&m->critic, setup, p->critics->online);
  objective_end(&m->critic, setup, &m->agent, expectile_critic_loss(&m->values, g), cfg->rate, 0,
                objective_target(p->critics->target, cfg->tau, 1));
  m->agent.held = held_out_new(setup, p, held_out_denoising);
  return &m->agent;
}

static bool update(Agent *agent, int64_t step, Log *log) {
  Idql *m = (Idql *)agent;
  int rows = m->batch->rows;
  data_sample(&transitions_of(m->setup->source)->train, (uint64_t)step, m->batch);
  if (!objective_step(&m->actor, rows, (uint64_t)step) ||
      !objective_step(&m->v, rows, (uint64_t)step) ||
      !objective_step(&m->critic, rows, (uint64_t)step))
    return false;
  objective_log(&m->critic, log, "critic");
  objective_log(&m->actor, log, "actor");
  objective_log(&m->v, log, "value");
  return true;
}

#define IDQL(called, source_of, what, settings)                                                    \
  .name = called, .paper = source_of, .about = what, .source = &source_transitions,                \
  .fields = settings, .field_count = sizeof settings / sizeof *settings,                           \
  .config_size = sizeof(IdqlConfig), .needs = needs, .create = create, .update = update,           \
  .measured = { &measured_returns, &measured_values, &measured_held_out, &measured_choice }

const AlgoDef algo_idql = { IDQL("idql", "Hansen-Estruch et al. 2023, arXiv 2304.10573",
                                 "clones the data by diffusion; IQL's critics choose when acting",
                                 fields) };
const AlgoDef algo_ifql = { IDQL("ifql", "Park, Li & Levine 2025, arXiv 2502.02538",
                                 "clones the data by a flow; IQL's critics choose when acting",
                                 flow_fields) };
