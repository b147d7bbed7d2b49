/* image_quality.c -- samples beside two sets of real pictures that were not trained on. */
#include "rl/measure/image_quality.h"
#include "core/check.h"
#include "core/file.h"
#include "core/maths/gaussian.h"
#include "core/rng.h"
#include "core/sort.h"
#include "rl/measure/image_space.h"
#include "rl/stop.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- real pictures --------------------------------------------------------------------------- */

/* What is dealt in turn: labels, where the model is conditioned on them. */
static int kinds_of(const PicturesModel *m) { return pictures_labels(m) ? pictures_labels(m) : 1; }

/* Labels and sizes of the set index what was made for the model's own, so both have to agree. */
static bool fits(const PicturesModel *m, const ImageSet *set, Error *error) {
  const Images *test = &set->test;
  if (test->channels != pictures_plane(m).channels)
    return error_set(error, FAIL_INPUT,
                     "%s has %s pictures and this model makes %s ones; give the pictures it was "
                     "trained on with --data",
                     set->name, test->channels > 1 ? "RGB" : "grey",
                     test->channels > 1 ? "grey" : "RGB");
  if (m->labels && set->classes != m->classes)
    return error_set(error, FAIL_INPUT,
                     "%s has %d labels and this model was trained on %d; give the pictures it was "
                     "trained on with --data",
                     set->name, set->classes, m->classes);
  return (test->height <= m->size && test->width <= m->size) ||
         error_set(error, FAIL_INPUT,
                   "%s has pictures of %d x %d and this model makes %d x %d; give the pictures it "
                   "was trained on with --data",
                   set->name, test->height, test->width, (int)m->size, (int)m->size);
}

int image_quality_pictures(const PicturesModel *m, const ImageSet *set, int count, Error *error) {
  if (!fits(m, set, error)) return 0;
  int kinds = kinds_of(m), size = (int)m->size, *held = calloc((size_t)kinds, sizeof *held);
  NEED_MEMORY(held);
  /* the label with the fewest test pictures limits both sets, which have all labels equally */
  for (int i = 0; i < set->test.count; i++) held[kinds > 1 ? set->test.label[i] : 0]++;
  int least = held[0];
  for (int k = 1; k < kinds; k++) least = held[k] < least ? held[k] : least;
  free(held);
  /* every label's pictures are shared out between two sets */
  int most = least / 2 * kinds;
  bool small = pictures_numbers(m) <= IMAGE_SPACE_MOST * IMAGE_SPACE_MOST;
  if (small && most > 1 && set->train.count > 1) return count < most ? count : most;
  if (!small)
    error_set(
        error, FAIL_INPUT,
        "pictures of %d x %d are not measured, expected at most %d x %d, or 36 x 36 in colour",
        size, size, IMAGE_SPACE_MOST, IMAGE_SPACE_MOST);
  else
    error_set(error, FAIL_INPUT,
              "%s has %d test pictures of some label: too few for two sets to measure with",
              set->name, least);
  return 0;
}

void image_quality_deal(const PicturesModel *m, const ImageSet *set, int count,
                        double *const hand[2]) {
  Arena *arena = arena_new();
  const Images *test = &set->test;
  int kinds = kinds_of(m), size = (int)m->size, pixels = pictures_numbers(m);
  int *dealt = arena_array(arena, int, kinds);
  real *x = arena_array(arena, real, pixels);
  /* always the same order, so that results of different runs can be compared */
  Rng rng = rng_stream(0, "dealt pictures");
  for (int i = 0; i < test->count; i++) {
    int k = (int)rng_permute(rng, 0, (uint64_t)i, (uint64_t)test->count);
    /* pictures of a label go to the two sets in turn */
    int kind = kinds > 1 ? test->label[k] : 0, turn = dealt[kind]++;
    int at = turn / 2 * kinds + kind; /* whose place has this label */
    if (at >= count) continue;
    /* in the place where the samples have this label too */
    images_decode(test, k, size, x);
    for (int j = 0; j < pixels; j++) hand[turn % 2][(int64_t)at * pixels + j] = (double)x[j];
  }
  arena_free(arena);
}

/* ---- quality --------------------------------------------------------------------------------- */

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* How near the training pictures these come: the median, which outliers do not move. */
static double median_nearest(Arena *arena, const ImageSpace *space, const double *pictures,
                             int count) {
  double *distance = arena_array(arena, double, count);
  image_space_nearest(space, pictures, count, distance, arena_array(arena, int, count));
  sort(distance, (size_t)count, sizeof *distance, ascending);
  return (distance[(count - 1) / 2] + distance[count / 2]) / 2;
}

/* The features of these pictures, summed up by mean and covariance. */
static Gaussian fit(Arena *arena, const ImageSpace *space, const double *pictures, int count) {
  double *feature = arena_array(arena, double, (size_t)count *(size_t)space->components);
  image_space_project(space, pictures, count, feature);
  return gaussian_fit(arena, feature, count, space->components);
}

/* as the pixels of a file would be */
static bool clip(const double *samples, int64_t n, double *to, Error *error) {
  for (int64_t i = 0; i < n; i++) {
    if (!isfinite(samples[i]))
      return error_set(error, FAIL_DIVERGED,
                       "the model's pictures are not finite: nothing is measured");
    to[i] = fmin(fmax(samples[i], -1), 1);
  }
  return true;
}

/* The samples and the other real set as the classifier sees them, both beside set A. */
static void classify(Arena *arena, const PicturesModel *m, const ImageFeatures *features,
                     const double *drawn, double *const real_ones[2], int count, Pool *pool,
                     const Kernels *kernels, ImageQuality *quality) {
  const double *pictures[] = { drawn, real_ones[1], real_ones[0] };
  FeatureSet set[3];
  for (int i = 0; i < 3; i++)
    set[i] = image_features_of(arena, features, pictures[i], (int)m->size, count, pool, kernels);
  quality->classified = true;
  quality->samples = image_features_compare(&set[0], &set[2], m->labels);
  quality->real = image_features_compare(&set[1], &set[2], m->labels);
}

bool image_quality(const PicturesModel *m, const ImageSet *set, const ImageFeatures *features,
                   const double *samples, int count, Pool *pool, const Kernels *kernels,
                   ImageQuality *quality, Error *error) {
  if (features && count < 4)
    return error_set(error, FAIL_USAGE,
                     "%d pictures are too few for the features of %s; expected 4 or more", count,
                     features->name);
  Arena *arena = arena_new();
  int size = (int)m->size;
  int64_t n = (int64_t)count * pictures_numbers(m);
  double *drawn = arena_array(arena, double, n);
  double *const real_ones[] = { arena_array(arena, double, n), arena_array(arena, double, n) };
  /* samples may leave the range of pixels a little, real pictures never do */
  if (!clip(samples, n, drawn, error)) return arena_free(arena), false;
  image_quality_deal(m, set, count, real_ones);
  /* the features are those of the training pictures, so neither set of test pictures is favoured */
  ImageSpace *space = image_space_new(arena, &set->train, size, pool, kernels);
  if (!image_space_fit(space, IMAGE_QUALITY_FEATURES, error))
    return arena_free(arena), error_prefix(error, "%s", set->name);
  /* samples and the other real set are both compared with set A */
  Gaussian a = fit(arena, space, real_ones[0], count), b = fit(arena, space, real_ones[1], count);
  Gaussian ours = fit(arena, space, drawn, count);
  *quality = (ImageQuality){ .pictures = count, .features = space->components };
  quality->frechet.samples = gaussian_frechet(arena, &ours, &a);
  quality->frechet.real = gaussian_frechet(arena, &b, &a);
  /* samples that are nearer than unseen pictures would be copies */
  quality->nearest.samples = median_nearest(arena, space, drawn, count);
  quality->nearest.real = median_nearest(arena, space, real_ones[0], count);
  if (features) classify(arena, m, features, drawn, real_ones, count, pool, kernels, quality);
  arena_free(arena);
  return true;
}

/* Called between parts: a signal ends the sampling. */
static bool watch(int done, int count) {
  (void)done, (void)count;
  return !stop_asked();
}

double *image_quality_sample(Arena *arena, const PicturesModel *m, const ImageSet *set,
                             const ImageFeatures *features, const ModelSampling *how, int count,
                             ImageQuality *quality, Error *error) {
  ModelSampling watched = *how;
  watched.going = watch;
  /* as many as there are real ones to compare with; 0 ends here with an error */
  count = image_quality_pictures(m, set, count, error);
  double *samples = arena_array(arena, double, (int64_t)count * m->base.denoiser->dim);
  Progress progress;
  progress_begin(&progress, "pictures", "sampling to be measured");
  watched.progress = &progress;
  bool done =
      count && pictures_sample(&m->base, &watched, PICTURES_ALL_LABELS, count, samples, error) &&
      image_quality(m, set, features, samples, count, how->pool, how->kernels, quality, error);
  progress_end(&progress);
  return done ? samples : NULL;
}

/* ---- as measures ----------------------------------------------------------------------------- */

/* clang-format off */
const Measure image_quality_measures[] = {
  { .key = "pictures", .title = "samples", .total = true },
  { .key = "features" },
  { "frechet", "Fréchet distance of pixels", .less_is_better = true, .main = true,
    .beside = "frechet_real",
    .caption = "Fréchet distance between Gaussians fitted to the 64 leading principal components "
               "of the pixels: of samples to as many test pictures, and of as many other test "
               "pictures to these; 1 is the best a ratio can be." },
  { .key = "frechet_real", .title = "of real pictures" },
  { "nearest", "to the nearest", .beside = "nearest_real",
    .caption = "To the nearest: median Euclidean distance to the nearest training picture, of "
               "samples and of test pictures; a ratio far below 1 would mean copies." },
  { .key = "nearest_real", .title = "of real pictures" },
  /* of a classifier's features */
  { "classifier_frechet", "Fréchet distance of classifier features", .less_is_better = true,
    .main = true, .beside = "classifier_frechet_real",
    .caption = "Fréchet distance between Gaussians fitted to the features of a classifier, whose "
               "name is in measures.json; beside it that of real pictures. It compares with no "
               "distance by another network." },
  { .key = "classifier_frechet_real", .title = "of real pictures" },
  { "classifier_kernel", "kernel distance of classifier features", .less_is_better = true,
    .beside = "classifier_kernel_real",
    .caption = "Kernel distance of the same features: squared maximum mean discrepancy under "
               "(x.y / width + 1)^3, without bias, so real pictures are about 0 apart." },
  { .key = "classifier_kernel_real", .title = "of real pictures" },
  { "classifier_precision", "precision", .beside = "classifier_precision_real",
    .caption = "Precision: share of samples within the third nearest neighbour's distance of some "
               "test picture, in the same features." },
  { .key = "classifier_precision_real", .title = "of real pictures" },
  { "classifier_recall", "recall", .beside = "classifier_recall_real",
    .caption = "Recall: share of test pictures within that distance of some sample." },
  { .key = "classifier_recall_real", .title = "of real pictures" },
  { "classifier_score", "inception-style score", .beside = "classifier_score_real",
    .caption = "Inception-style score by the classifier: from 1 to the number of labels, which "
               "sure and balanced predictions reach." },
  { .key = "classifier_score_real", .title = "of real pictures" },
  { "label_consistency", "label consistency", .beside = "label_consistency_real",
    .caption = "Label consistency: share of samples to which the classifier gives the label that "
               "they were to have; of test pictures, its accuracy." },
  { .key = "label_consistency_real", .title = "of real pictures" },
};
/* clang-format on */

int image_quality_count(const ImageFeatures *features) {
  return features ? IMAGE_QUALITY_MEASURES : IMAGE_QUALITY_PIXELS;
}

void image_quality_values(const ImageQuality *s, double *value) {
  const FeatureQuality *a = &s->samples, *b = &s->real;
  const double all[IMAGE_QUALITY_MEASURES] = {
    s->pictures,     s->features,    s->frechet.samples, s->frechet.real, s->nearest.samples,
    s->nearest.real, a->frechet,     b->frechet,         a->kernel,       b->kernel,
    a->precision,    b->precision,   a->recall,          b->recall,       a->score,
    b->score,        a->consistency, b->consistency,
  };
  int count = s->classified ? IMAGE_QUALITY_MEASURES : IMAGE_QUALITY_PIXELS;
  memcpy(value, all, (size_t)count * sizeof *all);
}

void image_quality_write(const double *value, const PicturesModel *m, const ImageFeatures *features,
                         uint64_t seed, JsonText *out) {
  const ModelSettings *shape = &m->base.settings;
  json_put_integer(out, "seed", (int64_t)seed);
  measures_put(image_quality_measures, image_quality_count(features), 0, value, out);
  if (features) json_put_text(out, "classifier", features->name);
  json_open(out, "sampling", '{');
  json_put_text(out, "weights", shape->weights.s);
  json_put_text(out, "sampler", shape->sampler.s);
  json_put_integer(out, "steps", shape->sample_steps);
  json_put_text(out, "spacing", shape->spacing.s);
  json_put_number(out, "guidance", shape->guidance);
  json_close(out, '}');
}
