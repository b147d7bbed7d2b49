/* reward_class.c -- how probable a classifier thinks it that a picture is of a label.
 *
 * The value is the probability p, so that its mean is nearly the share of pictures of that label.
 * Gradients raise ln p: where p is nearly 0, which is where fine-tuning begins, p has no slope. */
#include "datasets/images.h"
#include "policy/classifier.h"
#include "rl/reward/reward.h"
#include "rl/shipped.h"
#include <math.h>
#include <string.h>

enum { PART = 256, GROUP = 32, LANE = 8 };
static const char judge[] = "fashion-mnist-judge", gauge[] = "fashion-mnist-gauge";

typedef struct {
  const Classifier *classifier;
  int label;
  Graph *g;     /* of values */
  Tensor *logp; /* its result */
  real *rows;   /* [PART, row_stride(dim)]: what it reads */
} ClassReward;

static const Classifier *load(Reward *r, const char *file, Error *error) {
  const Plane plane = r->spec.plane;
  Checkpoint c;
  if (plane.channels != 1)
    return error_set(error, FAIL_USAGE,
                     "reward %s: classifiers see pictures of 1 channel, and this model's have %d",
                     r->text, plane.channels),
           NULL;
  if (!strcmp(file, gauge) && !r->spec.measures)
    return error_set(error, FAIL_USAGE,
                     "reward %s: %s is what measures, so it may be `also` but not reward; use %s, "
                     "or a classifier of yours (`diffrl train classifier`)",
                     r->text, gauge, judge),
           NULL;
  checkpoint_init(&c, r->arena);
  const Classifier *found =
      shipped_or_file(&c, file, error) ? classifier_load(r->arena, &c, error) : NULL;
  if (!found) error_prefix(error, "reward %s", r->text);
  return found;
}

/* [k, 1, 1]: ln softmax of the logits at the label */
static Tensor *log_probability(const ClassReward *m, Graph *g, Tensor *x, Plane plane) {
  Tensor *placed = classifier_place(m->classifier, g, x, plane);
  return t_col(t_log_softmax_last(classifier_record(m->classifier, g, placed).logits), m->label);
}

static bool record_values(Reward *r, Error *error) {
  ClassReward *m = r->own;
  const Kernels *kernels = r->spec.kernels ? r->spec.kernels : kernels_find("own", error);
  m->g = graph_new(r->arena, &(GraphSpec){ .pool = r->spec.pool,
                                           .kernels = kernels,
                                           .max_rows = PART,
                                           .group = GROUP,
                                           .lane = LANE });
  Tensor *x = t_input(m->g, "pictures", 1, r->dim);
  m->logp = log_probability(m, m->g, x, r->spec.plane);
  graph_keep(m->logp), graph_seal(m->g);
  m->rows = arena_array(r->arena, real, PART * row_stride(r->dim));
  graph_bind(x, m->rows);
  return true;
}

/* "NAME" or "NAME@FILE" */
static bool class_open(Reward *r, const char *argument, Error *error) {
  ClassReward *m = r->own = arena_alloc(r->arena, sizeof *m);
  char *name = arena_text(r->arena, "%s", argument), *at = strchr(name, '@');
  if (at) *at = '\0';
  m->classifier = load(r, at ? at + 1 : judge, error);
  if (!m->classifier) return false;
  const Classifier *c = m->classifier;
  if (!images_label_find(c->data, c->name[0] ? c->name : NULL, c->classes, name, &m->label, error))
    return error_prefix(error, "reward %s: label \"%s\"", r->text, name);
  return record_values(r, error);
}

static bool class_values(Reward *r, const float *samples, int count, float *value, Error *error) {
  const ClassReward *m = r->own;
  (void)error;
  for (int from = 0; from < count; from += PART) {
    int now = count - from < PART ? count - from : PART;
    for (int i = 0; i < now; i++)
      for (int j = 0; j < r->dim; j++)
        m->rows[i * row_stride(r->dim) + j] = (real)samples[(from + i) * r->dim + j];
    graph_run(m->g, now, 0, NULL);
    for (int i = 0; i < now; i++)
      value[from + i] = (float)exp((double)graph_values(m->logp)[(ptrdiff_t)i * m->logp->ld]);
  }
  return true;
}

static Tensor *class_record(const Reward *r, Graph *g, Tensor *x) {
  return log_probability(r->own, g, t_clip(x, -1, 1), r->spec.plane);
}

const RewardDef reward_class = {
  .name = "class",
  .takes = "NAME[@FILE]",
  .about = "the probability of a label by a classifier (FILE); gradients raise its logarithm",
  .open = class_open,
  .values = class_values,
  .record = class_record
};
