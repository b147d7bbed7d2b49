/* finetune_features.c -- how far the samples of a fine-tuning have gone from those of the generator
 * as it came, in the eyes of a classifier that gives no reward: a shipped NAME-gauge, which there
 * is for pictures of the set NAME. */
#include "policy/models/pictures.h"
#include "rl/algos/finetune.h"
#include "rl/measure/image_features.h"
#include "rl/shipped.h"
#include <math.h>

/* samples of the generator as it came, of other noise than those that are shown, and again */
typedef struct FinetuneFeatures {
  const ImageFeatures *gauge;
  FeatureSet before;
  double floor; /* the distance of two such sets */
} FinetuneFeatures;

static const char *gauge_name(const Finetune *f) {
  return arena_text(f->setup->arena, "%s-gauge", f->model->data ? f->model->data : "");
}

/* Are the samples pictures that a shipped gauge knows? */
static bool has_gauge(const Agent *agent) {
  const Finetune *f = (const Finetune *)agent;
  if (f->model->def != &model_pictures || f->shown->count < 4) return false;
  const PicturesModel *m = (const PicturesModel *)f->model;
  return m->size * m->size == f->model->denoiser->dim && shipped_find(gauge_name(f));
}

static FeatureSet features_of(const Finetune *f, Arena *arena, const ImageFeatures *gauge,
                              const Chains *c) {
  double *pictures = arena_array(arena, double, (int64_t)c->count * c->dim);
  const real *x = chains_samples(c);
  for (int i = 0; i < c->count; i++)
    for (int j = 0; j < c->dim; j++)
      pictures[(ptrdiff_t)i * c->dim + j] = fmin(fmax((double)x[(ptrdiff_t)i * c->ld + j], -1), 1);
  int size = (int)((const PicturesModel *)f->model)->size;
  return image_features_of(arena, gauge, pictures, size, c->count, f->setup->pool,
                           f->setup->kernels);
}

static bool open_features(Finetune *f, Error *error) {
  Arena *arena = f->setup->arena;
  FinetuneFeatures *own = arena_alloc(arena, sizeof *own);
  const PicturesModel *m = (const PicturesModel *)f->model;
  const ImageSet set = { .name = f->model->data, .classes = m->classes };
  if (!image_features_open(arena, gauge_name(f), &set, &own->gauge, error)) return false;
  chains_draw(f->before, 1);
  own->before = features_of(f, arena, own->gauge, f->before);
  chains_draw(f->before, 2);
  FeatureSet again = features_of(f, arena, own->gauge, f->before);
  own->floor = image_features_compare(&again, &own->before, false).frechet;
  f->features = own;
  return true;
}

static const Measure measures[] = {
  { .key = "classifier_frechet",
    .title = "Frechet distance",
    .caption = "Frechet distance of a classifier's features, which give no reward, to samples of "
               "the generator as it came; the floor is that of two sets of its samples.  Of few "
               "samples both are large.",
    .beside = "classifier_frechet_before",
    .less_is_better = true },
  { .key = "classifier_frechet_before", .title = "as it came" },
};

/* of the samples that the set before has drawn */
static bool measure_features(Agent *agent, double *value, Error *error) {
  Finetune *f = (Finetune *)agent;
  if (!f->features && !open_features(f, error)) return false;
  const FinetuneFeatures *own = f->features;
  Arena *scratch = arena_under(f->setup->arena);
  FeatureSet now = features_of(f, scratch, own->gauge, f->shown);
  value[0] = image_features_compare(&now, &own->before, false).frechet, value[1] = own->floor;
  arena_free(scratch);
  return true;
}

const MeasureSet finetune_features = { .measures = measures,
                                       .count = sizeof measures / sizeof *measures,
                                       .applies = has_gauge,
                                       .measure = measure_features };
