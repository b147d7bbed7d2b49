/* diffuser.c -- training a diffusion model of plans (Janner et al. 2022, section 3).
 *
 *   L = mean over rows, steps and entries of  weight (tau - net(a tau + s eps, t))^2
 *
 * tau is a window of the data, normalised.  The network is shown s_0 without noise, which adds
 * nothing to the loss; the first action, the one that a planner does, counts ten times. */
#include "diffusion/loss.h"
#include "rl/algos/held_out.h"
#include "rl/algos/td.h"
#include "rl/render/plans_picture.h"
#include "rl/rollout/dynamics.h"
#include "rl/source/source_transitions.h"
#include <math.h>
#include <string.h>

#define DIFFUSER_FIELDS(F)                                                                         \
  F(BOOL, pad, true, NULL, NULL, "windows may run past a terminal, into zeros (as published)")     \
  F(FLOAT, first_action, 10.0, 0, 1e6, "weight of the first action's error")                       \
  F(FLOAT, rate, 2e-4, 1e-8, 1, "learning rate")                                                   \
  F(FLOAT, clip, 0.0, 0, 1e6, "largest gradient norm; 0: none")                                    \
  F(FLOAT, ema, 0.995, 0, 1, "decay of the average of weights")                                    \
  F(INT, ema_every, 10, 1, NULL, "steps between updates of the average")                           \
  F(INT, ema_start, 2000, 0, NULL, "step from which it is one; before, it is the weights")         \
  F(TEXT, conv, "filtered", "filtered|direct", NULL, "minimal filtering, or products alone")       \
  F(INT, eval_plans, 64, 1, 100000, "plans that are measured in the simulator")

typedef struct {
  CONFIG_MEMBERS(LOOP_FIELDS)
  CONFIG_MEMBERS(PLANS_FIELDS)
  CONFIG_MEMBERS(DIFFUSER_FIELDS)
} DiffuserConfig;

#define CONFIG_STRUCT DiffuserConfig
static const ConfigField fields[] = { CONFIG_ROWS(LOOP_FIELDS) CONFIG_ROWS(PLANS_FIELDS)
                                          CONFIG_ROWS(DIFFUSER_FIELDS) };
#undef CONFIG_STRUCT

typedef struct {
  Agent agent;
  const AlgoSetup *setup;
  const DiffuserConfig *cfg;
  PlansModel *model;
  Objective objective;
  Units units;
  RowSampler sampler, whole, held; /* of windows; whole: of those within episodes */
  Batch *batch, *held_batch;
  Tensor *held_loss; /* without an environment; else NULL */
  float *scale;      /* [obs_dim] the unit of errors in the simulator */
} Diffuser;

/* ---- data ------------------------------------------------------------------------------------ */

/* mean 0 and deviation 1 over all rows of the file */
static void fit_normalizer(Diffuser *m, const Dataset *data) {
  normalizer_fit(&m->model->action, data->actions, NULL, data->rows);
  normalizer_fit(&m->model->state, data->observations, NULL, data->rows);
  m->units = plans_units(m->model);
}

/* a sampler of transitions as one of windows */
static RowSampler sampler_of(const Diffuser *m, const RowSampler *from, bool pad) {
  RowSampler sampler = *from;
  sampler.units = &m->units;
  sampler.rows =
      data_window_starts(m->setup->arena, from, (int)m->model->horizon, pad, &sampler.row_count);
  return sampler;
}

static bool make_samplers(Diffuser *m, Error *error) {
  const RowSampler *from = &transitions_of(m->setup->source)->train;
  /* padded windows only train: plans are compared with windows that lie within episodes */
  m->whole = sampler_of(m, from, false);
  m->sampler = m->cfg->pad ? sampler_of(m, from, true) : m->whole;
  m->whole.rng = rng_stream(m->setup->seed, "planned window");
  return m->whole.row_count > 0 ||
         error_set(error, FAIL_INPUT,
                   "%s: no episode has the %d rows of a plan; choose a smaller horizon",
                   from->data->source, (int)m->model->horizon);
}

/* ---- create ---------------------------------------------------------------------------------- */

/* of the squared errors: nothing for s_0, first_action for a_0, 1 for all else */
static Tensor *factors(const Diffuser *m, Graph *g) {
  const PlansModel *model = m->model;
  int dim = model->base.denoiser->dim;
  double *factor = arena_array(m->setup->arena, double, dim);
  /* entries lie as in a plan: a_0, then s_0, then the steps behind them */
  for (int j = 0; j < dim; j++)
    factor[j] = j < model->act_dim ? m->cfg->first_action : j < model->width ? 0 : 1;
  return t_table(g, factor, 1, dim);
}

static ConvMethod conv_of(const DiffuserConfig *cfg) {
  return strcmp(cfg->conv.s, "direct") ? CONV_FILTERED : CONV_DIRECT;
}

/* the loss of the online weights on a batch */
static Tensor *record_loss(const Diffuser *m, Params *trained, const Batch *batch,
                           const char *stream) {
  const AlgoSetup *setup = m->setup;
  const Model *model = m->agent.model;
  Error impossible;
  GraphSpec tape = algo_graph_spec(setup, trained);
  tape.conv = conv_of(m->cfg);
  Graph *g = graph_new(setup->arena, &tape);
  /* no weighting but the factors; s_0 is shown as it is, as the planner will show it */
  Loss *loss = loss_new(setup->arena, &(LossSpec){ 0 }, model->denoiser, &impossible);
  CHECK(loss, "%s", impossible.text);
  LossInputs in = { .x0 = batch_input(g, batch, "windows"),
                    .keep = plans_keep(m->model, g),
                    .factor = factors(m, g) };
  Tensor *mean = loss_record(g, loss, model->online, stream, &in).loss;
  if (trained)
    graph_minimise(mean);
  else
    graph_keep(mean);
  graph_seal(g);
  return mean;
}

static void build(Diffuser *m) {
  const Column columns[] = { COLUMN("windows", OF_STEP, 0, (int)m->model->horizon), { 0 } };
  const AlgoSetup *setup = m->setup;
  Params *online = m->agent.model->online;
  m->batch = algo_batch(setup, columns);
  m->objective.loss = record_loss(m, online, m->batch, "plan");
  m->objective.graph = m->objective.loss->g;
  /* without an environment: the loss on held-out windows, measured by one rank for all */
  if (!setup->env) {
    m->held_batch =
        batch_new(setup->arena, m->batch->rows, setup->obs_dim, setup->act_dim, columns);
    m->held_loss = record_loss(m, NULL, m->held_batch, "held out");
  }
  m->objective.optim = algo_train(setup, &m->agent, online, m->cfg->rate, m->cfg->clip);
  m->objective.pool = setup->pool;
}

static Agent *create(const AlgoSetup *setup, Error *error) {
  Diffuser *m = arena_alloc(setup->arena, sizeof *m);
  const Dataset *data = transitions_of(setup->source)->data;
  m->setup = setup, m->cfg = setup->config;
  Model *model = m->agent.model = algo_model(setup, &model_plans, NULL);
  m->model = (PlansModel *)model;
  /* the model's shape is that of the data; bounds go into its file */
  m->model->obs_dim = setup->obs_dim, m->model->act_dim = setup->act_dim;
  if (!algo_model_build(setup, model, error)) return NULL;
  memcpy(m->model->low, setup->act_low, (size_t)setup->act_dim * sizeof *setup->act_low);
  memcpy(m->model->high, setup->act_high, (size_t)setup->act_dim * sizeof *setup->act_high);
  /* plans will be replayed, so states must be told by observations */
  if (setup->env && !dynamics_open(setup->env, error))
    return error_prefix(error, "plans are measured in the simulator (or use --env none)"), NULL;
  fit_normalizer(m, data);
  if (!make_samplers(m, error)) return NULL;
  m->scale = arena_array(setup->arena, float, setup->obs_dim);
  dynamics_scale(data, m->scale);
  build(m);
  return &m->agent;
}

/* ---- training -------------------------------------------------------------------------------- */

/* The average is a copy until it starts, so that early plans are those of the weights. */
static Ema average_at(const Diffuser *m, int64_t step) {
  const DiffuserConfig *cfg = m->cfg;
  return (Ema){ m->agent.model->average, step < cfg->ema_start ? 0 : cfg->ema, 0, cfg->ema_every };
}

static bool update(Agent *agent, int64_t step, Log *log) {
  Diffuser *m = (Diffuser *)agent;
  data_sample(&m->sampler, (uint64_t)step, m->batch);
  Optim *optim = m->objective.optim;
  optim->ema = average_at(m, step);
  if (!objective_step(&m->objective, m->batch->rows, (uint64_t)step)) return false;
  log_scalar(log, "loss/denoising", graph_scalar(m->objective.loss));
  log_scalar(log, "grad_norm/denoiser", optim->grad_norm);
  log_scalar(log, "lr/denoiser", optim_rate(&optim->spec, optim->step - 1));
  return true;
}

/* ---- what it is measured by ------------------------------------------------------------------ */

/* the mean over batches of windows of the episodes kept apart, always the same */
static bool measure_held_out(Agent *agent, double *value, Error *error) {
  enum { BATCHES = 32 };
  Diffuser *m = (Diffuser *)agent;
  (void)error;
  /* windows of the held-out episodes are found at the first measurement */
  if (!m->held.rows) m->held = sampler_of(m, held_out_rows(agent), m->cfg->pad);
  double sum = 0;
  for (uint64_t i = 0; i < BATCHES && m->held.row_count; i++) {
    data_sample(&m->held, i, m->held_batch);
    graph_run(m->held_loss->g, m->held_batch->rows, i, NULL);
    sum += graph_scalar(m->held_loss);
  }
  /* NAN: no held-out episode is as long as a plan */
  *value = m->held.row_count ? sum / BATCHES : (double)NAN;
  return true;
}

static const MeasureSet measured_windows = { .measures = held_out_measures,
                                             .count = 1,
                                             .applies = held_out_applies,
                                             .measure = measure_held_out };

/* plans that begin where windows of the data begin, to be compared with these */
static bool make_plans(const Diffuser *m, Arena *arena, PlanSamples *plans, Error *error) {
  ModelSampling how = algo_sampling(m->setup, m->agent.model);
  how.conv = conv_of(m->cfg);
  return plan_samples_new(plans, arena, m->model, &how, &m->whole, (int)m->cfg->eval_plans, error);
}

static bool has_simulator(const Agent *agent) { return agent->setup->env; }

static bool measure_plans(Agent *agent, double *value, Error *error) {
  const Diffuser *m = (const Diffuser *)agent;
  Arena *arena = arena_new();
  PlanSamples plans;
  bool done = make_plans(m, arena, &plans, error) &&
              plan_samples_measure(&plans, m->model, m->setup->env, m->scale, value, error);
  arena_free(arena);
  return done;
}

static const MeasureSet measured_plans = { .measures = plan_measures,
                                           .count = PLAN_MEASURES,
                                           .applies = has_simulator,
                                           .measure = measure_plans };

/* ---- what it shows --------------------------------------------------------------------------- */

static bool show(Agent *agent, MeasureWhen when, Figures *figures, Error *error) {
  const Diffuser *m = (const Diffuser *)agent;
  if (when != MEASURE_END) return true;
  Arena *arena = arena_new();
  PlanSamples plans;
  bool done =
      make_plans(m, arena, &plans, error) &&
      plan_samples_plot(&plans, m->model, m->setup->env, figures_path(figures, "plans.png"), error);
  if (done)
    figures_add(figures, "plans.png", "Plans",
                "Windows of the data, plans that begin in the same states (dots), and what the "
                "simulator makes of the plans' actions; a step of control a unit.");
  arena_free(arena);
  return done;
}

const AlgoDef algo_diffuser = {
  .name = "diffuser",
  .paper = "Janner et al. 2022, arXiv 2205.09991 (without guidance)",
  .about = "a diffusion model of plans: states and actions of many steps at once",
  .source = &source_transitions,
  .fields = fields,
  .field_count = sizeof fields / sizeof *fields,
  .config_size = sizeof(DiffuserConfig),
  .create = create,
  .update = update,
  .measured = { &measured_plans, &measured_windows },
  .show = show,
};
