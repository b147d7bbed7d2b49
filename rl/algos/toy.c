/* toy.c -- training a diffusion model of points in the plane.
 *
 * Points are sampled as they are needed, so nothing is ever seen twice; a batch depends on the seed
 * and the step alone. */
#include "diffusion/consistency.h"
#include "diffusion/loss.h"
#include "diffusion/pairing.h"
#include "policy/models/points.h"
#include "rl/algos/objective.h"
#include "rl/render/points_picture.h"
#include "rl/measure/compare_samplers.h"
#include "rl/source/source_points.h"
#include <string.h>

#define TOY_FIELDS(F)                                                                              \
  F(TEXT, weighting, "native", NULL, NULL, "of the squared error (diffusion/loss.h)")              \
  F(TEXT, times, "logit-normal", NULL, NULL, "how times are sampled (diffusion/loss.h)")           \
  F(FLOAT, times_mean, -1.0, -20, 20, "log-normal, logit-normal: mean, where times_std is given")  \
  F(FLOAT, times_std, 1.0, 0, 20, "and standard deviation; 0: as published")                       \
  F(TEXT, pairing, "none", "none|ot", NULL, "ot: a batch's noise goes to the nearest points")      \
  F(INT, teacher_steps, 39, 1, 1000, "distill: steps of the teacher's trajectory")                 \
  F(FLOAT, huber, 0.03, 0, 1, "distill: c of the distance sqrt(d^2 + c^2) - c; 0: d^2")            \
  F(FLOAT, rate, 2e-3, 1e-8, 1, "learning rate")                                                   \
  F(FLOAT, clip, 0.0, 0, 1e6, "largest gradient norm; 0: none")                                    \
  F(FLOAT, ema, 0.999, 0, 1, "decay of the average of weights")                                    \
  F(INT, eval_points, 4096, 2, 1000000, "points of a sample that is compared with data")           \
  F(INT, eval_draws, 4, 1, 1000, "samples of an evaluation")                                       \
  F(BOOL, pictures, true, NULL, NULL, "render what was learned when training ends")

typedef struct {
  CONFIG_MEMBERS(LOOP_FIELDS)
  CONFIG_MEMBERS(POINTS_FIELDS)
  CONFIG_MEMBERS(TOY_FIELDS)
} ToyConfig;

#define CONFIG_STRUCT ToyConfig
static const ConfigField fields[] = { CONFIG_ROWS(LOOP_FIELDS) CONFIG_ROWS(POINTS_FIELDS)
                                          CONFIG_ROWS(TOY_FIELDS) };
#undef CONFIG_STRUCT

static const SettingNeed needs[] = { { "blocks", "net", NULL, "mlp" },
                                     { "teacher_steps", "distill", "consistency", NULL },
                                     { "huber", "distill", "consistency", NULL },
                                     { NULL, NULL, NULL, NULL } };

typedef struct {
  Agent agent;
  const AlgoSetup *setup;
  const ToyConfig *cfg;
  PointsModel *model;
  Objective objective;
  real *points, *noise; /* [batch, row_stride(2)]; noise: of pairs, else NULL */
  Pairing *pairing;
  Leaps *leaps; /* of a student; else NULL */
  double floor; /* distance between two samples of data */
} Toy;

enum { PAIRED = 128 }; /* rows at once: as many again take eight times as long */

/* memory for pairs of a point and its noise */
static void prepare_pairs(Toy *m, Tensor *noise) {
  Arena *arena = m->setup->arena;
  m->pairing = pairing_new(arena, PAIRED, TOY_DIM);
  m->noise = arena_array(arena, real, m->cfg->batch * row_stride(TOY_DIM));
  graph_bind(noise, m->noise);
}

/* the denoising loss; NULL and an error for settings that cannot be */
static Tensor *denoising(Toy *m, Graph *g, LossInputs *in, Error *error) {
  LossSpec how = { .weighting = m->cfg->weighting.s,
                   .times = m->cfg->times.s,
                   .mean = m->cfg->times_mean,
                   .std = m->cfg->times_std };
  Loss *loss = loss_new(m->setup->arena, &how, m->model->base.denoiser, error);
  if (!loss) return NULL;
  /* paired noise comes with the points, other noise is drawn by the tape */
  if (!strcmp(m->cfg->pairing.s, "ot")) in->eps = t_input(g, "noise", 1, TOY_DIM);
  return loss_record(g, loss, m->model->base.online, "toy", in).loss;
}

/* Consistency distillation: two neighbours on a trajectory of the teacher must end alike (Song et
 * al. 2023, alg. 2), with the distance, weights and levels of Song & Dhariwal 2024. */
static Tensor *distillation(Toy *m, Graph *g, const LossInputs *in, Error *error) {
  enum { HEUN = 2 };
  const PointsModel *model = m->model;
  int steps = (int)m->cfg->teacher_steps;
  /* the teacher's trajectory by Heun steps, from noise to the schedule's first time */
  SamplerSpec chain = { .method = "edm_heun", .steps = steps, .spacing = "karras" };
  chain.end = END_LAST, chain.from = points_start(model->base.schedule);
  const Sampler *way = sampler_new(m->setup->arena, &chain, model->teacher, error);
  /* single steps of it, one drawn for every row */
  m->leaps = leaps_new(m->setup->arena, model->base.denoiser, steps, HEUN);
  if (!way || !leaps_cut(m->leaps, way, error)) return NULL;
  consistency_improve(m->leaps, -1.1, 2);
  LeapDraw draw = leaps_record(m->leaps, g, "leap");
  /* the end that is aimed at is the student's own answer, without its gradient */
  ConsistencySpec spec = { .target = model->base.online,
                           .teacher = model->teacher,
                           .teacher_params = model->taught,
                           /* the distance of Song & Dhariwal 2024; 0 is the squared one */
                           .huber = m->cfg->huber };
  return consistency_loss(g, &draw, &spec, model->base.online, "noise", in->x0, NULL);
}

static bool build(Toy *m, Error *error) {
  const ToyConfig *cfg = m->cfg;
  const PointsModel *model = m->model;
  Graph *g = objective_begin(&m->objective, m->setup, model->base.online);
  LossInputs in = { .x0 = t_input(g, "points", 1, TOY_DIM) };
  /* a model with a teacher distils, any other denoises */
  Tensor *loss = model->taught ? distillation(m, g, &in, error) : denoising(m, g, &in, error);
  if (!loss) return false;
  objective_end(&m->objective, m->setup, &m->agent, loss, cfg->rate, cfg->clip, (Ema){ 0 });
  /* the steps' numbers are given to the sealed tape */
  if (m->leaps && !leaps_give(m->leaps, error)) return false;
  m->points = arena_array(m->setup->arena, real, cfg->batch * row_stride(TOY_DIM));
  graph_bind(in.x0, m->points);
  if (in.eps) prepare_pairs(m, in.eps);
  return true;
}

static Agent *create(const AlgoSetup *setup, Error *error) {
  Toy *m = arena_alloc(setup->arena, sizeof *m);
  m->setup = setup, m->cfg = setup->config;
  Model *model = m->agent.model = algo_model(setup, &model_points, points_of(setup->source)->name);
  m->model = (PointsModel *)model;
  if (!algo_model_build(setup, model, error)) return NULL;
  m->agent.wants_init = m->model->taught != NULL;
  if (model->start > 0 && !m->model->taught)
    log_progress(true,
                 "note: %s cannot begin where no signal is left; samples begin at time %.4g, where "
                 "noise is 80 times the signal",
                 model->settings.sampler.s, model->start);
  /* what a perfect model would reach, measured once */
  m->floor = points_floor(points_of(setup->source), setup->seed, (int)m->cfg->eval_points);
  return build(m, error) ? &m->agent : NULL;
}

/* ---- steps ----------------------------------------------------------------------------------- */

static void sample_points(Toy *m, int64_t step) {
  const ToyDef *set = points_of(m->setup->source);
  int64_t rows = m->cfg->batch;
  for (int64_t r = 0; r < rows; r++) {
    double point[TOY_DIM];
    /* every point of a run has a number of its own */
    toy_sample(set, m->setup->seed, (uint64_t)(step * rows + r), point);
    for (int j = 0; j < TOY_DIM; j++) m->points[r * row_stride(TOY_DIM) + j] = (real)point[j];
  }
}

static bool update(Agent *agent, int64_t step, Log *log) {
  Toy *m = (Toy *)agent;
  sample_points(m, step);
  if (m->noise)
    pairing_draw(m->pairing, rng_stream(m->setup->seed, "paired noise"), (uint64_t)step,
                 (int)m->cfg->batch, m->points, m->noise);
  Optim *optim = m->objective.optim;
  optim->ema = objective_average(m->model->base.average, m->cfg->ema, step);
  if (!objective_step(&m->objective, (int)m->cfg->batch, (uint64_t)step)) return false;
  log_scalar(log, m->leaps ? "loss/consistency" : "loss/denoising",
             graph_scalar(m->objective.loss));
  log_scalar(log, "grad_norm/denoiser", optim->grad_norm);
  log_scalar(log, "lr/denoiser", optim_rate(&optim->spec, optim->step - 1));
  return true;
}

/* ---- what it is measured by ------------------------------------------------------------------ */

static const Measure measures[] = {
  { "distance", "distance to data", "sliced Wasserstein distance",
    "Sliced Wasserstein distance between samples and data that no training saw; 1 is the best a "
    "ratio can be.",
    .beside = "floor", .less_is_better = true, .main = true },
  { .key = "floor", .title = "between two samples of data" },
  { .key = "points" },
  { .key = "draws" },
};

static bool measure(Agent *agent, double *value, Error *error) {
  const Toy *m = (const Toy *)agent;
  ModelSampling how = algo_sampling(m->setup, m->agent.model);
  /* known before: the floor, and how much was sampled */
  value[1] = m->floor, value[2] = (double)m->cfg->eval_points;
  value[3] = (double)m->cfg->eval_draws;
  return points_distance(m->agent.model, points_of(m->setup->source), &how,
                         (int)m->cfg->eval_points, (int)m->cfg->eval_draws, &value[0], error);
}

static const MeasureSet measured = { .measures = measures,
                                     .count = sizeof measures / sizeof *measures,
                                     .measure = measure };

/* ---- what it shows --------------------------------------------------------------------------- */

static bool show_samples(const Toy *m, const ModelSampling *how, Figures *figures, Error *error) {
  enum { SHOWN = 4096 };
  Arena *arena = arena_new();
  /* as many as the points of the data beside them */
  double *points = arena_array(arena, double, SHOWN *TOY_DIM);
  const char *title = arena_text(arena, "samples: %s", how->sampler.method);
  bool done = points_sample(m->agent.model, how, SHOWN, points, error) &&
              points_plot_samples(points_of(m->setup->source), how->seed, points, SHOWN, title,
                                  figures_path(figures, "samples.png"), error);
  if (done)
    figures_add(figures, "samples.png", "Data and samples",
                "Both panels have the same number of points.");
  arena_free(arena);
  return done;
}

static bool show_model(const Toy *m, const ModelSampling *how, Figures *figures, Error *error) {
  /* the score as arrows over the density of noisy data, then paths of single points */
  const ToyDef *data = points_of(m->setup->source);
  if (!points_plot_field(m->agent.model, data, how, figures_path(figures, "field.png"), error))
    return false;
  figures_add(figures, "field.png", "The learned score",
              "Arrows point to where the density of noisy data (shaded) grows, at three levels of "
              "noise; long ones are drawn shorter than they are.");
  if (!points_plot_paths(m->agent.model, data, how, figures_path(figures, "paths.png"), error))
    return false;
  figures_add(figures, "paths.png", "From noise to data",
              "Paths of the same points of noise (blue dots) to samples (orange), each divided by "
              "the deviation of noisy data at its time. Left without noise on the way (ddim), "
              "right with it (ddpm).");
  return true;
}

static bool show(Agent *agent, MeasureWhen when, Figures *figures, Error *error) {
  const Toy *m = (const Toy *)agent;
  ModelSampling how = algo_sampling(m->setup, m->agent.model);
  if (when != MEASURE_END || !m->cfg->pictures) return true;
  return show_samples(m, &how, figures, error) && show_model(m, &how, figures, error) &&
         toy_compare_samplers(m->agent.model, points_of(m->setup->source), &how, figures, error);
}

const AlgoDef algo_toy = {
  .name = "toy",
  .paper = "Ho et al. 2020 (arXiv 2006.11239), Song et al. 2021 (arXiv 2011.13456)",
  .about = "a diffusion model of points in the plane",
  .source = &source_points,
  .fields = fields,
  .field_count = sizeof fields / sizeof *fields,
  .config_size = sizeof(ToyConfig),
  .needs = needs,
  .create = create,
  .update = update,
  .measured = { &measured },
  .show = show,
};
