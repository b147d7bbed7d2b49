/* image.c -- training a diffusion model of small pictures: the denoising loss, an average of
 * the weights, and at every evaluation the loss on test pictures and a grid of samples. */
#include "diffusion/loss.h"
#include "policy/models/pictures.h"
#include "rl/algos/objective.h"
#include "rl/measure/image_quality.h"
#include "rl/render/picture_grid.h"
#include "rl/source/source_pictures.h"
#include <math.h>
#include <string.h>

#define IMAGE_FIELDS(F)                                                                            \
  F(TEXT, weighting, "native", NULL, NULL, "of the squared error (diffusion/loss.h)")              \
  F(TEXT, times, "logit-normal", NULL, NULL, "how times are sampled (diffusion/loss.h)")           \
  F(FLOAT, drop, 0.1, 0, 1, "share of the pictures that train without their label")                \
  F(FLOAT, flip, 0.0, 0, 1, "share of the pictures that train mirrored, left to right")            \
  F(FLOAT, rate, 1e-3, 1e-8, 1, "learning rate")                                                   \
  F(FLOAT, clip, 1.0, 0, 1e6, "largest gradient norm; 0: none")                                    \
  F(FLOAT, ema, 0.999, 0, 1, "decay of the average of weights")                                    \
  F(TEXT, conv, "filtered", "filtered|direct", NULL, "minimal filtering, or products alone")       \
  F(INT, eval_images, 512, 1, 1000000, "test pictures of an evaluation")                           \
  F(INT, grid, 8, 0, 100, "rows of the grid of samples at an evaluation; 0: none")                 \
  F(INT, scores, 2048, 0, 30000, "samples that are measured when training has ended; 0: none")     \
  F(TEXT, features, "auto", NULL, NULL,                                                            \
    "whose features measure: auto (the shipped one), none, or a classifier's file")

typedef struct {
  CONFIG_MEMBERS(LOOP_FIELDS)
  CONFIG_MEMBERS(PICTURES_FIELDS)
  CONFIG_MEMBERS(IMAGE_FIELDS)
} ImageConfig;

#define CONFIG_STRUCT ImageConfig
static const ConfigField fields[] = { CONFIG_ROWS(LOOP_FIELDS) CONFIG_ROWS(PICTURES_FIELDS)
                                          CONFIG_ROWS(IMAGE_FIELDS) };
#undef CONFIG_STRUCT

/* settings of one kind of network alone */
static const SettingNeed needs[] = {
  { "mults", "net", NULL, "dit" },     { "groups", "net", NULL, "dit" },
  { "attention", "net", NULL, "dit" }, { "conv", "net", NULL, "dit" },
  { "patch", "net", "dit", NULL },     { NULL, NULL, NULL, NULL }
};

enum {
  TIMES_SHOWN = 5, /* time bins whose loss is reported */
  TEST_LANE = 4    /* less memory */
};

/* a tape of the denoising loss, and the numbers of its rows */
typedef struct {
  Graph *graph;
  LossTerms terms;
  real *x, *cond; /* [batch, row_stride(pixels)], [batch, row_stride(classes)] or NULL */
} Denoising;

typedef struct {
  Agent agent;
  const AlgoSetup *setup;
  const ImageConfig *cfg;
  PicturesModel *model;
  const ImageFeatures *features; /* that measure; NULL: pixels alone */
  Denoising train, test;         /* test: with the weights that sample */
  Objective objective;
} ImageAgent;

/* ---- tapes ----------------------------------------------------------------------------------- */

/* training is shared by ranks; the test loss is measured by one, in short lanes */
static Graph *new_graph(const ImageAgent *m, Params *trained) {
  const ImageConfig *c = m->cfg;
  bool direct = !strcmp(c->conv.s, "direct");
  return graph_new(m->setup->arena, &(GraphSpec){ .trained = trained,
                                                  .seed = m->setup->seed,
                                                  .pool = m->setup->pool,
                                                  .ranks = trained ? m->setup->ranks : NULL,
                                                  .kernels = m->setup->kernels,
                                                  .conv = direct ? CONV_DIRECT : CONV_FILTERED,
                                                  .max_rows = (int)c->batch,
                                                  .group = (int)c->group,
                                                  .lane = trained ? (int)c->lane : TEST_LANE,
                                                  .profile = trained ? m->setup->profile : NULL });
}

/* memory for the rows that each step decodes its pictures into */
static void bind(const ImageAgent *m, Tensor *input, real **rows) {
  *rows = arena_array(m->setup->arena, real, m->cfg->batch * row_stride(input->n));
  graph_bind(input, *rows);
}

/* trained: NULL for the loss on test pictures, whose labels are given */
static bool record_loss(ImageAgent *m, Denoising *d, Params *trained, Error *error) {
  const Model *model = m->agent.model;
  LossSpec how = { .weighting = m->cfg->weighting.s, .times = m->cfg->times.s };
  int cond = model->cond;
  /* some pictures lose their label, so that guidance can ask without one (classifier-free) */
  if (trained && cond) how.drop = m->cfg->drop;
  Loss *loss = loss_new(m->setup->arena, &how, model->denoiser, error);
  if (!loss) return false;
  Graph *g = d->graph = new_graph(m, trained);
  LossInputs in = { .x0 = t_input(g, "pictures", 1, model->denoiser->dim) };
  if (cond) in.cond = t_input(g, "labels", 1, cond);
  /* the test loss is that of the weights that will sample */
  const Params *params = trained ? trained : model_weights(model);
  d->terms = loss_record(g, loss, params, trained ? "image" : "test", &in);
  /* of test pictures the loss of every row is read, to sort it by noise level */
  if (trained)
    graph_minimise(d->terms.loss);
  else
    graph_keep(d->terms.rows), graph_keep(d->terms.time);
  graph_seal(g);
  bind(m, in.x0, &d->x);
  if (cond) bind(m, in.cond, &d->cond);
  return true;
}

static void put_picture(const ImageAgent *m, Denoising *d, int row, const Images *from, int64_t i) {
  const Model *model = m->agent.model;
  images_decode(from, i, (int)m->model->size, d->x + row * row_stride(model->denoiser->dim));
  if (d->cond) pictures_label(model, from->label[i], d->cond + row * row_stride(model->cond));
}

/* mirrored, left to right, where it lies */
static void flip(const ImageAgent *m, real *x) {
  Plane p = pictures_plane(m->model);
  for (int r = 0; r < p.height; r++, x += p.width * p.channels)
    for (int i = 0, j = p.width - 1; i < j; i++, j--)
      for (int k = 0; k < p.channels; k++) {
        real left = x[i * p.channels + k];
        x[i * p.channels + k] = x[j * p.channels + k], x[j * p.channels + k] = left;
      }
}

/* pictures are centred in the network's square; what scales them is `resize`, when they are read */
static bool check_size(const ImageAgent *m, Error *error) {
  const Images *train = &images_of(m->setup->source)->train;
  return (train->height <= m->cfg->size && train->width <= m->cfg->size) ||
         error_set(error, FAIL_USAGE,
                   "pictures of %d x %d do not fit in size=%d; use a larger size, or resize=%d",
                   train->height, train->width, (int)m->cfg->size, (int)m->cfg->size);
}

static Agent *create(const AlgoSetup *setup, Error *error) {
  ImageAgent *m = arena_alloc(setup->arena, sizeof *m);
  m->setup = setup, m->cfg = setup->config;
  const ImageSet *set = images_of(setup->source);
  if (!check_size(m, error)) return NULL;
  if (!image_features_open(setup->arena, m->cfg->features.s, set, &m->features, error)) return NULL;
  Model *model = m->agent.model = algo_model(setup, &model_pictures, set->name);
  m->model = (PicturesModel *)model, m->model->classes = set->classes;
  m->model->channels = set->train.channels, m->model->label_name = set->label_name;
  if (!algo_model_build(setup, model, error) || !record_loss(m, &m->train, model->online, error) ||
      !record_loss(m, &m->test, NULL, error))
    return NULL;
  /* the gradient is recorded already; what is left is the optimiser */
  m->objective =
      (Objective){ .graph = m->train.graph,
                   .loss = m->train.terms.loss,
                   .optim = algo_train(setup, &m->agent, model->online, m->cfg->rate, m->cfg->clip),
                   .pool = setup->pool };
  return &m->agent;
}

/* ---- steps ----------------------------------------------------------------------------------- */

static bool update(Agent *agent, int64_t step, Log *log) {
  ImageAgent *m = (ImageAgent *)agent;
  const Images *train = &images_of(m->setup->source)->train;
  Rng rng = rng_stream(m->setup->seed, "pictures"), flips = rng_stream(m->setup->seed, "flips");
  int rows = (int)m->cfg->batch;
  /* row r draws its picture by (step, r) alone */
  for (int r = 0; r < rows; r++) {
    uint64_t i = rng_below(rng, (uint64_t)step, (uint32_t)r, 0, (uint64_t)train->count);
    put_picture(m, &m->train, r, train, (int64_t)i);
    if (m->cfg->flip > 0 && rng_uniform(flips, (uint64_t)step, (uint32_t)r, 0) < m->cfg->flip)
      flip(m, m->train.x + r * row_stride(m->agent.model->denoiser->dim));
  }
  Optim *optim = m->objective.optim;
  optim->ema = objective_average(m->agent.model->average, m->cfg->ema, step);
  if (!objective_step(&m->objective, rows, (uint64_t)step)) return false;
  log_scalar(log, "loss/denoising", graph_scalar(m->objective.loss));
  log_scalar(log, "grad_norm/denoiser", optim->grad_norm);
  log_scalar(log, "lr/denoiser", optim_rate(&optim->spec, optim->step - 1));
  return true;
}

/* ---- evaluation ------------------------------------------------------------------------------ */

/* The same test pictures, times and noise each time, so that only the weights change the loss. */
static double test_loss(ImageAgent *m, double part[TIMES_SHOWN]) {
  const Images *test = &images_of(m->setup->source)->test;
  const Schedule *s = m->agent.model->schedule;
  int batch = (int)m->cfg->batch, count[TIMES_SHOWN] = { 0 };
  int all = m->cfg->eval_images < test->count ? (int)m->cfg->eval_images : test->count;
  double sum = 0;
  for (int i = 0; i < TIMES_SHOWN; i++) part[i] = 0;
  for (int from = 0; from < all; from += batch) {
    int rows = all - from < batch ? all - from : batch;
    for (int r = 0; r < rows; r++) put_picture(m, &m->test, r, test, from + r);
    graph_run(m->test.graph, rows, (uint64_t)from, NULL);
    const Tensor *loss = m->test.terms.rows, *time = m->test.terms.time;
    for (int r = 0; r < rows; r++) {
      double value = (double)graph_values(loss)[r * loss->ld];
      double t = (double)graph_values(time)[r * time->ld];
      /* which part of the time from data to noise */
      int at = (int)(TIMES_SHOWN * (t - s->t_min) / (s->t_max - s->t_min));
      at = at < TIMES_SHOWN ? at : TIMES_SHOWN - 1;
      sum += value, part[at] += value, count[at]++;
    }
  }
  /* few test pictures may leave a part of the times without any */
  for (int i = 0; i < TIMES_SHOWN; i++) part[i] = count[i] ? part[i] / count[i] : NAN;
  return sum / all;
}

static const Measure losses[] = {
  { "held_out_loss", "held-out loss", .caption = "Loss on test pictures.", .less_is_better = true,
    .main = true },
  { "held_out_by_time", "loss by noise level", "time, 0 data to 1 noise",
    "Loss on test pictures, in fifths of the time from data to noise.", .less_is_better = true,
    .count = TIMES_SHOWN },
};

static bool measure_losses(Agent *agent, double *value, Error *error) {
  (void)error;
  value[0] = test_loss((ImageAgent *)agent, value + 1);
  return true;
}

static const MeasureSet measured_losses = { .measures = losses,
                                            .count = sizeof losses / sizeof *losses,
                                            .measure = measure_losses };

/* ---- samples beside real pictures ------------------------------------------------------------ */

/* as `diffrl eval RUN` samples */
static ModelSampling sampling(const ImageAgent *m) {
  ModelSampling how = algo_sampling(m->setup, m->agent.model);
  /* a fixed seed, whatever that of the run */
  how.seed = 0;
  return how;
}

static bool are_measured(const Agent *agent) {
  return ((const ImageAgent *)agent)->cfg->scores > 1;
}
static bool by_pixels(const Agent *agent) {
  return are_measured(agent) && !((const ImageAgent *)agent)->features;
}
static bool by_classifier(const Agent *agent) {
  return are_measured(agent) && ((const ImageAgent *)agent)->features;
}

static bool measure_quality(Agent *agent, double *value, Error *error) {
  const ImageAgent *m = (const ImageAgent *)agent;
  ModelSampling how = sampling(m);
  Arena *arena = arena_new();
  ImageQuality quality;
  bool done = image_quality_sample(arena, m->model, images_of(m->setup->source), m->features, &how,
                                   (int)m->cfg->scores, &quality, error);
  if (done) image_quality_values(&quality, value);
  arena_free(arena);
  return done;
}

static void write_quality(const Agent *agent, const double *value, JsonText *out) {
  const ImageAgent *m = (const ImageAgent *)agent;
  image_quality_write(value, m->model, m->features, sampling(m).seed, out);
}

/* the same measures, of which those of a classifier's features are left out without one */
#define QUALITY(how_many, when_so)                                                                 \
  {                                                                                                \
    .measures = image_quality_measures, .count = how_many, .when = MEASURE_END,                    \
    .applies = when_so, .measure = measure_quality, .write = write_quality                         \
  }
static const MeasureSet measured_pixels = QUALITY(IMAGE_QUALITY_PIXELS, by_pixels);
static const MeasureSet measured_features = QUALITY(IMAGE_QUALITY_MEASURES, by_classifier);

/* ---- a grid ---------------------------------------------------------------------------------- */

/* after an evaluation: RUN/images.png, and RUN/images-STEP.png to keep */
static bool show(Agent *agent, MeasureWhen when, Figures *figures, Error *error) {
  const ImageAgent *m = (const ImageAgent *)agent;
  const Model *model = m->agent.model;
  if (when != MEASURE_STEP || !m->cfg->grid) return true;
  ModelSampling how = algo_sampling(m->setup, model);
  Arena *arena = arena_new();
  /* a column for each label; without labels there are ten */
  int columns = model->cond ? model->cond : 10, count = columns * (int)m->cfg->grid;
  double *pictures = arena_array(arena, double, count * model->denoiser->dim);
  const char *kept = arena_text(figures->arena, "images-%lld.png", (long long)figures->step);
  bool done =
      pictures_sample(model, &how, PICTURES_ALL_LABELS, count, pictures, error) &&
      /* once under its step, to stay, and once as the newest */
      image_write_grid(m->model, pictures, count, true, figures_path(figures, kept), error) &&
      image_write_grid(m->model, pictures, count, true, figures_path(figures, "images.png"), error);
  arena_free(arena);
  if (!done) return false;
  figures_add(figures, "images.png", "Samples",
              "A column for each label, where the network is conditioned on them.");
  figures_keep(figures, kept, "Samples over training",
               "The same noise at every evaluation, decoded by the weights of that time.");
  return true;
}

const AlgoDef algo_image = {
  .name = "image",
  .paper = "Ho et al. 2020 (arXiv 2006.11239), Lipman et al. 2023 (arXiv 2210.02747)",
  .about = "a diffusion model of small pictures, with labels",
  .source = &source_pictures,
  .fields = fields,
  .field_count = sizeof fields / sizeof *fields,
  .config_size = sizeof(ImageConfig),
  .needs = needs,
  .create = create,
  .update = update,
  .measured = { &measured_losses, &measured_pixels, &measured_features },
  .show = show,
};
