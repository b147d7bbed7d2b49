/* recognition.c -- training a classifier of pictures (policy/classifier.h): cross-entropy on
 * pictures that are moved a little, and the share of test pictures that it names rightly. */
#include "policy/classifier.h"
#include "rl/algos/objective.h"
#include "rl/source/source_pictures.h"
#include <math.h>
#include <string.h>

#define RECOGNITION_FIELDS(F)                                                                      \
  F(FLOAT, rate, 2e-3, 1e-8, 1, "learning rate")                                                   \
  F(FLOAT, clip, 1.0, 0, 1e6, "largest gradient norm; 0: none")                                    \
  F(FLOAT, decay, 0.01, 0, 10, "of weights (AdamW)")                                               \
  F(INT, shift, 2, 0, 64, "pixels that a picture is moved by at most, along either axis")          \
  F(BOOL, flip, true, NULL, NULL, "half of the pictures are mirrored, left to right")              \
  F(INT, eval_images, 100000, 1, 1000000, "test pictures of an evaluation, at most")

typedef struct {
  CONFIG_MEMBERS(LOOP_FIELDS)
  CONFIG_MEMBERS(CLASSIFIER_FIELDS)
  CONFIG_MEMBERS(RECOGNITION_FIELDS)
} RecognitionConfig;

#define CONFIG_STRUCT RecognitionConfig
static const ConfigField fields[] = { CONFIG_ROWS(LOOP_FIELDS) CONFIG_ROWS(CLASSIFIER_FIELDS)
                                          CONFIG_ROWS(RECOGNITION_FIELDS) };
#undef CONFIG_STRUCT

typedef struct {
  Agent agent;
  const AlgoSetup *setup;
  const RecognitionConfig *cfg;
  Classifier *classifier;
  Objective objective;
  real *x, *label; /* [batch, row_stride(pixels)], [batch, row_stride(classes)] one-hot */
  real *plain;     /* [row_stride(pixels)]: a picture before it is moved */
  Graph *test;     /* of logits alone, which reads x */
  Tensor *logits;  /* of `test` */
} RecognitionAgent;

/* ---- tapes ----------------------------------------------------------------------------------- */

static void record_training(RecognitionAgent *m) {
  const Classifier *c = m->classifier;
  Graph *g = objective_begin(&m->objective, m->setup, c->params);
  int pixels = plane_size(c->plane);
  Tensor *x = t_input(g, "pictures", 1, pixels), *label = t_input(g, "labels", 1, c->classes);
  Tensor *log_p = t_log_softmax_last(classifier_record(c, g, x).logits);
  /* cross-entropy: - mean log p(label | x) */
  Tensor *loss = t_scale(-1, t_mean(t_sum_last(t_mul(label, log_p))));
  objective_end(&m->objective, m->setup, &m->agent, loss, m->cfg->rate, m->cfg->clip, (Ema){ 0 });
  m->objective.optim->spec.weight_decay = m->cfg->decay;
  m->x = arena_array(m->setup->arena, real, m->cfg->batch * row_stride(pixels));
  m->label = arena_array(m->setup->arena, real, m->cfg->batch * row_stride(c->classes));
  m->plain = arena_array(m->setup->arena, real, row_stride(pixels));
  graph_bind(x, m->x), graph_bind(label, m->label);
}

static void record_test(RecognitionAgent *m) {
  m->test = algo_graph(m->setup, NULL);
  Tensor *x = t_input(m->test, "pictures", 1, plane_size(m->classifier->plane));
  m->logits = classifier_record(m->classifier, m->test, x).logits;
  graph_keep(m->logits);
  graph_seal(m->test);
  graph_bind(x, m->x);
}

static Agent *create(const AlgoSetup *setup, Error *error) {
  RecognitionAgent *m = arena_alloc(setup->arena, sizeof *m);
  m->setup = setup, m->cfg = setup->config;
  const ImageSet *set = images_of(setup->source);
  const Images *train = &set->train;
  if (train->height > m->cfg->size || train->width > m->cfg->size) {
    error_set(error, FAIL_USAGE, "pictures of %d x %d do not fit in size=%d", train->height,
              train->width, (int)m->cfg->size);
    return NULL;
  }
  /* the shape's settings are found among those of the run by their keys */
  ClassifierShape shape;
  classifier_shape_from(&shape, fields, sizeof fields / sizeof *fields, m->cfg);
  const char *name[CLASSIFIER_MAX_CLASSES] = { 0 };
  for (int i = 0; set->def && i < set->classes && i < IMAGES_MAX_NAMES; i++)
    name[i] = set->def->class_name[i];
  m->classifier = classifier_new(setup->arena, &shape, set->classes, name, set->name, error);
  if (!m->classifier) return NULL;
  blocks_add(&m->agent.blocks, m->classifier->params);
  if (!blocks_allocate(&m->agent.blocks, error)) return NULL;
  params_init(m->classifier->params, setup->seed);
  record_training(m);
  record_test(m);
  return &m->agent;
}

/* ---- steps ----------------------------------------------------------------------------------- */

/* row [size, size] = the picture, mirrored or not, moved down and right; black comes in */
static void put_moved(const RecognitionAgent *m, real *row, int down, int right, bool mirrored) {
  int size = (int)m->cfg->size;
  for (int y = 0; y < size; y++)
    for (int x = 0; x < size; x++) {
      int from_y = y - down, from_x = x - right;
      bool inside = from_y >= 0 && from_y < size && from_x >= 0 && from_x < size;
      if (mirrored) from_x = size - 1 - from_x;
      row[y * size + x] = inside ? m->plain[from_y * size + from_x] : -1;
    }
}

static void put_label(const RecognitionAgent *m, int row, int label) {
  int classes = m->classifier->classes;
  real *to = m->label + row * row_stride(classes);
  for (int i = 0; i < classes; i++) to[i] = i == label;
}

static bool update(Agent *agent, int64_t step, Log *log) {
  RecognitionAgent *m = (RecognitionAgent *)agent;
  const Images *train = &images_of(m->setup->source)->train;
  Rng rng = rng_stream(m->setup->seed, "pictures");
  int rows = (int)m->cfg->batch, ld = row_stride(plane_size(m->classifier->plane));
  int shift = (int)m->cfg->shift;
  uint64_t places = (uint64_t)(2 * shift + 1);
  /* row r draws its picture and how it is moved by (step, r) alone */
  for (int r = 0; r < rows; r++) {
    uint64_t at = (uint64_t)step;
    uint32_t row = (uint32_t)r;
    int64_t i = (int64_t)rng_below(rng, at, row, 0, (uint64_t)train->count);
    int down = (int)rng_below(rng, at, row, 1, places) - shift;
    int right = (int)rng_below(rng, at, row, 2, places) - shift;
    bool mirrored = m->cfg->flip && rng_below(rng, at, row, 3, 2);
    images_decode(train, i, (int)m->cfg->size, m->plain);
    put_moved(m, m->x + r * ld, down, right, mirrored);
    put_label(m, r, train->label[i]);
  }
  if (!objective_step(&m->objective, rows, (uint64_t)step)) return false;
  objective_log(&m->objective, log, "classifier");
  return true;
}

/* ---- evaluation ------------------------------------------------------------------------------ */

static int greatest(const real *x, int n) {
  int best = 0;
  for (int i = 1; i < n; i++)
    if (x[i] > x[best]) best = i;
  return best;
}

/* the logarithm of the probability that softmax(x) gives number `at` */
static double log_probability(const real *x, int n, int at) {
  double most = (double)x[greatest(x, n)], sum = 0;
  for (int i = 0; i < n; i++) sum += exp((double)x[i] - most);
  return (double)x[at] - most - log(sum);
}

static const Measure measures[] = {
  { "accuracy", "test accuracy",
    .caption = "Share of test pictures whose label has the greatest "
               "probability.",
    .main = true },
  { "test_loss", "test loss", .caption = "Cross-entropy on test pictures, nats a picture.",
    .less_is_better = true },
};

static bool measure(Agent *agent, double *value, Error *error) {
  (void)error;
  RecognitionAgent *m = (RecognitionAgent *)agent;
  const Images *test = &images_of(m->setup->source)->test;
  int batch = (int)m->cfg->batch, ld = row_stride(plane_size(m->classifier->plane));
  int all = m->cfg->eval_images < test->count ? (int)m->cfg->eval_images : test->count;
  int right = 0, classes = m->classifier->classes;
  double loss = 0;
  for (int from = 0; from < all; from += batch) {
    int rows = all - from < batch ? all - from : batch;
    for (int r = 0; r < rows; r++) images_decode(test, from + r, (int)m->cfg->size, m->x + r * ld);
    graph_run(m->test, rows, 0, NULL);
    for (int r = 0; r < rows; r++) {
      const real *logits = graph_values(m->logits) + (ptrdiff_t)r * m->logits->ld;
      int label = test->label[from + r];
      right += greatest(logits, classes) == label;
      loss -= log_probability(logits, classes, label);
    }
  }
  value[0] = m->classifier->accuracy = (double)right / all;
  value[1] = loss / all;
  return true;
}

static const MeasureSet measured = { .measures = measures,
                                     .count = sizeof measures / sizeof *measures,
                                     .measure = measure };

/* ---- files ----------------------------------------------------------------------------------- */

static bool save_more(const Agent *agent, Checkpoint *c, Error *error) {
  (void)error;
  classifier_save_texts(((const RecognitionAgent *)agent)->classifier, c);
  return true;
}

/* the accuracy of the last evaluation is part of the state, so that a resumed run has it too */
static bool load_more(Agent *agent, const Checkpoint *c, Error *error) {
  double *accuracy = &((RecognitionAgent *)agent)->classifier->accuracy;
  return !checkpoint_text(c, "accuracy") || checkpoint_read_number(c, "accuracy", accuracy, error);
}

const AlgoDef algo_classifier = {
  .name = "classifier",
  .paper = "He et al. 2016 (arXiv 1603.05027), Wu & He 2018 (arXiv 1803.08494)",
  .about = "a classifier of small pictures, for rewards and for measures",
  .source = &source_pictures,
  .fields = fields,
  .field_count = sizeof fields / sizeof *fields,
  .config_size = sizeof(RecognitionConfig),
  .create = create,
  .update = update,
  .measured = { &measured },
  .save_more = save_more,
  .load_more = load_more,
};
