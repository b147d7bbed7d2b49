/* world_diffusion.c -- a diffusion model of what an action does: a world model of one step.
 *
 *   y = [s' - s, r, e], normalised; e = 1 where the episode ends, else -1
 *   L = mean  weight(t) |y - D(y + s(t) eps, t, s, a)|^2
 *
 * The denoiser has the preconditioning of Karras et al. 2022, noise levels are log-normal, and a
 * few Euler steps sample it, as in DIAMOND (Alonso et al. 2024, arXiv 2405.12399, who draw
 * pictures).  The next row of a terminal belongs to another episode, so a terminal teaches its
 * reward and its end alone. */
#include "diffusion/loss.h"
#include "rl/algos/held_out.h"
#include "rl/algos/objective.h"
#include "rl/algos/td.h"
#include "rl/measure/world_errors.h"
#include "rl/source/source_transitions.h"
#include <math.h>

#define WORLD_FIELDS(F)                                                                            \
  F(TEXT, weighting, "edm", NULL, NULL, "of the squared error (diffusion/loss.h)")                 \
  F(TEXT, times, "log-normal", NULL, NULL, "how times are sampled (diffusion/loss.h)")             \
  F(FLOAT, times_mean, -0.4, -20, 20, "log-normal, logit-normal: mean, where times_std is given")  \
  F(FLOAT, times_std, 1.2, 0, 20, "and standard deviation; 0: as published")                       \
  F(FLOAT, rate, 3e-4, 1e-8, 1, "learning rate")                                                   \
  F(FLOAT, clip, 1.0, 0, 1e6, "largest gradient norm; 0: none")                                    \
  F(FLOAT, ema, 0.999, 0, 1, "decay of the average of weights")                                    \
  F(INT, eval_windows, 512, 1, 100000, "windows of data that are imagined at an evaluation")

typedef struct {
  CONFIG_MEMBERS(LOOP_FIELDS)
  CONFIG_MEMBERS(WORLDS_FIELDS)
  CONFIG_MEMBERS(WORLD_FIELDS)
} WorldConfig;

#define CONFIG_STRUCT WorldConfig
static const ConfigField fields[] = { CONFIG_ROWS(LOOP_FIELDS) CONFIG_ROWS(WORLDS_FIELDS)
                                          CONFIG_ROWS(WORLD_FIELDS) };
#undef CONFIG_STRUCT

static const SettingNeed needs[] = { { "blocks", "net", NULL, "mlp" }, { NULL, NULL, NULL, NULL } };

typedef struct {
  Agent agent;
  const AlgoSetup *setup;
  const WorldConfig *cfg;
  WorldsModel *model;
  Objective objective;
  RowSampler sampler; /* in the data's units */
  Batch *batch;
} World;

/* ---- data ------------------------------------------------------------------------------------ */

/* mean and deviation of the changes of transitions that have a next state, and of rewards */
static void fit_outcomes(WorldsModel *m, const Dataset *d) {
  int states = (int)m->obs_dim;
  for (int j = 0; j <= states; j++) {
    double sum = 0, squares = 0, n = 0;
    for (int pass = 0; pass < 2; pass++)
      for (int64_t i = 0; i < d->transitions; i++) {
        int64_t row = d->transition[i];
        const float *s = d->observations + row * states;
        if (j < states && d->terminals && d->terminals[row]) continue;
        double y = j < states   ? (double)s[states + j] - (double)s[j]
                   : d->rewards ? (double)d->rewards[row]
                                : 0;
        if (!pass)
          sum += y, n++;
        else
          squares += (y - sum / n) * (y - sum / n);
      }
    double std = n > 0 ? sqrt(squares / n) : 0;
    m->outcome.mean[j] = n > 0 ? (float)(sum / n) : 0;
    m->outcome.std[j] = std > 0 && isnormal((float)std) ? (float)std : 1; /* it never changes */
  }
}

static void fit_units(WorldsModel *m, const Dataset *d) {
  normalizer_fit(&m->state, d->observations, NULL, d->rows);
  normalizer_fit(&m->action, d->actions, NULL, d->rows);
  fit_outcomes(m, d);
}

/* ---- the loss -------------------------------------------------------------------------------- */

/* (x - mean) / std of the first n entries */
static Tensor *normalised(Tensor *x, const Normalizer *of, int n) {
  Graph *g = x->g;
  double *mean = arena_array(graph_arena(g), double, n), *scale;
  scale = arena_array(graph_arena(g), double, n);
  for (int j = 0; j < n; j++) mean[j] = (double)of->mean[j], scale[j] = 1 / (double)of->std[j];
  return t_mul(t_sub(x, t_table(g, mean, 1, n)), t_table(g, scale, 1, n));
}

/* 1 everywhere, but 0 for the change behind a terminal */
static Tensor *known_of(Graph *g, Tensor *live, int states) {
  double *change = arena_array(graph_arena(g), double, states + WORLDS_MORE);
  double *more = arena_array(graph_arena(g), double, states + WORLDS_MORE);
  for (int j = 0; j < states + WORLDS_MORE; j++) change[j] = j < states, more[j] = j >= states;
  Tensor *of_change = t_mul(t_table(g, change, 1, states + WORLDS_MORE), live);
  return t_add(of_change, t_table(g, more, 1, states + WORLDS_MORE));
}

static bool build(World *m, Error *error) {
  const WorldConfig *cfg = m->cfg;
  const WorldsModel *w = m->model;
  int states = (int)w->obs_dim, actions = (int)w->act_dim;
  const LossSpec how = { .weighting = cfg->weighting.s,
                         .times = cfg->times.s,
                         .mean = cfg->times_mean,
                         .std = cfg->times_std };
  Loss *loss = loss_new(m->setup->arena, &how, w->base.denoiser, error);
  if (!loss) return false;
  Graph *g = objective_begin(&m->objective, m->setup, w->base.online);
  Tensor *obs = batch_input(g, m->batch, "obs"), *act = batch_input(g, m->batch, "act");
  Tensor *live = batch_input(g, m->batch, "live");
  Tensor *known = known_of(g, live, states);
  Tensor *change = t_sub(batch_input(g, m->batch, "next"), obs);
  Tensor *y =
      normalised(t_concat(change, batch_input(g, m->batch, "reward")), &w->outcome, states + 1);
  /* what is not known is shown as 0, the mean */
  y = t_mul(t_concat(y, t_shift(t_scale(-2, live), 1)), known);
  const LossInputs in = { .x0 = y,
                          .cond = t_concat(normalised(obs, &w->state, states),
                                           normalised(act, &w->action, actions)),
                          .factor = known };
  objective_end(&m->objective, m->setup, &m->agent,
                loss_record(g, loss, w->base.online, "world", &in).loss, cfg->rate, cfg->clip,
                (Ema){ 0 });
  return true;
}

static Agent *create(const AlgoSetup *setup, Error *error) {
  World *m = arena_alloc(setup->arena, sizeof *m);
  const Transitions *rows = transitions_of(setup->source);
  m->setup = setup, m->cfg = setup->config;
  if (rows->data->rewards && !dataset_check_finite(rows->data, "rewards", error)) return NULL;
  Model *model = m->agent.model = algo_model(setup, &model_worlds, NULL);
  m->model = (WorldsModel *)model;
  m->model->obs_dim = setup->obs_dim, m->model->act_dim = setup->act_dim;
  if (!algo_model_build(setup, model, error)) return NULL;
  fit_units(m->model, rows->data);
  m->sampler = rows->train;
  m->sampler.units = NULL;
  const Column columns[] = { TRANSITION_COLUMNS(1), { 0 } };
  m->batch = algo_batch(setup, columns);
  return build(m, error) ? &m->agent : NULL;
}

static bool update(Agent *agent, int64_t step, Log *log) {
  World *m = (World *)agent;
  data_sample(&m->sampler, (uint64_t)step, m->batch);
  m->objective.optim->ema = objective_average(m->model->base.average, m->cfg->ema, step);
  if (!objective_step(&m->objective, m->batch->rows, (uint64_t)step)) return false;
  objective_log(&m->objective, log, "denoiser");
  return true;
}

/* ---- what it is measured by ------------------------------------------------------------------ */

/* windows of episodes that were kept apart, if there are any (runs without an environment) */
static bool measure(Agent *agent, double *value, Error *error) {
  const World *m = (const World *)agent;
  const RowSampler *held = held_out_rows(agent);
  const ModelSampling how = algo_sampling(m->setup, m->agent.model);
  bool apart = held->row_count > 0;
  if (!world_errors(m->model, &how, apart ? held : &m->sampler, (int)m->cfg->eval_windows, value,
                    error))
    return false;
  value[1] = apart;
  return true;
}

static const MeasureSet measured = { .measures = world_measures,
                                     .count = WORLD_MEASURES,
                                     .measure = measure };

const AlgoDef algo_world_diffusion = {
  .name = "world-diffusion",
  .paper = "Alonso et al. 2024, arXiv 2405.12399, for vectors",
  .about = "a diffusion model of what an action does: next state, reward, end",
  .source = &source_transitions,
  .fields = fields,
  .field_count = sizeof fields / sizeof *fields,
  .config_size = sizeof(WorldConfig),
  .needs = needs,
  .create = create,
  .update = update,
  .measured = { &measured },
};
