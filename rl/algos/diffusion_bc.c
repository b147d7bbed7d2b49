/* diffusion_bc.c -- behaviour cloning with a diffusion model of actions: the denoising loss alone.
 *
 * The network, schedule, average and optimiser of Diffusion-QL without its Q term (the "diffusion
 * BC" of Wang et al. 2023); rewards are not needed.  The online weights act, one sample a state. */
#include "rl/algo.h"
#include "rl/algos/held_out.h"
#include "rl/algos/objective.h"
#include "rl/algos/td.h"
#include "rl/measure/returns.h"
#include "rl/source/source_transitions.h"

#define DIFFUSION_BC_FIELDS(F)                                                                     \
  F(INT, hidden, 256, 1, 4096, "units of a hidden layer (three of Mish)")                          \
  F(TEXT, schedule, "vp", "vp|linear|cosine|vp-sde|flow", NULL, "noise schedule")                  \
  F(INT, diffusion_steps, 5, 1, 1000, "T: steps of a discrete schedule")                           \
  F(TEXT, predicts, "eps", "eps|x0|velocity", NULL, "what the network's output is")                \
  F(TEXT, sampler, "ddpm", "ddpm|ddim|dpmpp_2m|euler", NULL, "how actions are sampled")            \
  F(INT, sample_steps, 0, 0, 1000, "network evaluations an action; 0: T")                          \
  F(FLOAT, actor_rate, 3e-4, 1e-8, 1, "learning rate")                                             \
  F(FLOAT, clip, 0.0, 0, 1e6, "largest gradient norm; 0: none")                                    \
  F(FLOAT, ema, 0.995, 0, 1, "decay of the average of weights")                                    \
  F(INT, ema_every, 5, 1, NULL, "steps between updates of the average")                            \
  F(INT, ema_start, 1000, 0, NULL, "step from which the average moves")                            \
  F(TEXT, weights, "online", "online|ema", NULL, "which weights act")

typedef struct {
  CONFIG_MEMBERS(TRAIN_FIELDS)
  CONFIG_MEMBERS(DATA_FIELDS)
  CONFIG_MEMBERS(CHUNK_FIELDS)
  CONFIG_MEMBERS(DIFFUSION_BC_FIELDS)
} DiffusionBcConfig;

#define CONFIG_STRUCT DiffusionBcConfig
static const ConfigField fields[] = { CONFIG_ROWS(TRAIN_FIELDS) CONFIG_ROWS(
    DATA_FIELDS) CONFIG_ROWS(CHUNK_FIELDS) CONFIG_ROWS(DIFFUSION_BC_FIELDS) };
#undef CONFIG_STRUCT

typedef struct {
  Agent agent;
  const AlgoSetup *setup;
  const DiffusionBcConfig *cfg;
  Objective actor;
  Batch *batch;
} DiffusionBc;

static Agent *create(const AlgoSetup *setup, Error *error) {
  DiffusionBc *m = arena_alloc(setup->arena, sizeof *m);
  const DiffusionBcConfig *cfg = m->cfg = setup->config;
  m->setup = setup;
  Policy *p = m->agent.policy = algo_policy(setup, &policy_diffusion, error);
  if (!p) return NULL;
  /* acting is recorded in the policy, by the settings of this run */
  p->act.weights = cfg->weights, p->act.sampler = cfg->sampler, p->act.steps = cfg->sample_steps;
  /* a continuous schedule has no steps of its own: T evaluations instead */
  if (!p->model->schedule->def->discrete && !p->act.steps) p->act.steps = cfg->diffusion_steps;
  m->batch = td_cloned(setup, p);
  /* L_d of the paper alone */
  Graph *g = objective_begin(&m->actor, setup, p->actor);
  objective_end(&m->actor, setup, &m->agent, td_denoising(g, p, m->batch, "bc"), cfg->actor_rate,
                cfg->clip, (Ema){ p->actor_ema, cfg->ema, cfg->ema_start, cfg->ema_every });
  /* without an environment the same loss is measured on episodes kept apart */
  m->agent.held = held_out_new(setup, p, held_out_denoising);
  return &m->agent;
}

static bool update(Agent *agent, int64_t step, Log *log) {
  DiffusionBc *m = (DiffusionBc *)agent;
  data_sample(&transitions_of(m->setup->source)->train, (uint64_t)step, m->batch);
  if (!objective_step(&m->actor, m->batch->rows, (uint64_t)step)) return false;
  log_scalar(log, "loss/bc", graph_scalar(m->actor.loss));
  log_scalar(log, "grad_norm/actor", m->actor.optim->grad_norm);
  log_scalar(log, "lr/actor", optim_rate(&m->actor.optim->spec, m->actor.optim->step - 1));
  return true;
}

const AlgoDef algo_diffusion_bc = {
  .name = "diffusion-bc",
  .paper = "Wang, Hunt & Zhou 2023, arXiv 2208.06193 (without its Q term)",
  .about = "behaviour cloning with a diffusion model of actions",
  .source = &source_transitions,
  .fields = fields,
  .field_count = sizeof fields / sizeof *fields,
  .config_size = sizeof(DiffusionBcConfig),
  .create = create,
  .update = update,
  .measured = { &measured_returns, &measured_held_out },
};
