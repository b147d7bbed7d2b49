/* image_quality.h -- how good pictures are: do they vary as real ones do, and are they copies of
 * those that were learned? */
#ifndef RL_IMAGE_QUALITY_H
#define RL_IMAGE_QUALITY_H
#include "datasets/images.h"
#include "policy/models/pictures.h"
#include "rl/measure/image_features.h"
#include "rl/measure/measure.h"

enum { IMAGE_QUALITY_COUNT = 2048, IMAGE_QUALITY_FEATURES = 64 };

/* Two sets of test pictures, A and B, no picture in both, are the measure: each as many as there
 * are samples, so that what a small set adds to a distance, which falls as 1 / count, is in all.
 * Frechet distance (core/maths/gaussian.h) of the features, which are plain: the first 64 principal
 * components of the training pictures' pixels in [-1, 1]; `samples`: between samples and A; `real`:
 * between B and A.  Nearest: median Euclidean distance in pixels to the nearest training picture,
 * of samples and of A; samples much nearer than A are copies.  With a classifier the measures of
 * its features (image_features.h) come too: of samples and of B, both beside A. */
typedef struct {
  int pictures, features; /* in each set; 64, or the pixels if there are fewer */
  struct {
    double samples, real;
  } frechet, nearest;
  bool classified; /* are there the features of a classifier? */
  FeatureQuality samples, real;
} ImageQuality;

/* The pictures a set may have, at most `count`: A and B are dealt the test pictures in a random
 * order that is always the same, with labels in turn, as the samples have, if the model is
 * conditioned on labels.  0 and an error (FAIL_INPUT) if the set has other labels or larger
 * pictures than the model, or if pictures are too large or too few to be measured. */
int image_quality_pictures(const PicturesModel *model, const ImageSet *set, int count,
                           Error *error);

/* A and B: [count, size, size, channels], count at most image_quality_pictures. */
void image_quality_deal(const PicturesModel *model, const ImageSet *set, int count,
                        double *const hand[2]);

/* samples: [count, size, size, channels] with labels in turn, clipped before measuring; count: at
 * most image_quality_pictures.  features: NULL for pixels alone.  FAIL_DIVERGED if a pixel is
 * not finite, FAIL_RUNNING if the components cannot be found, FAIL_USAGE for fewer than 4 pictures
 * with a classifier. */
bool image_quality(const PicturesModel *model, const ImageSet *set, const ImageFeatures *features,
                   const double *samples, int count, Pool *pool, const Kernels *kernels,
                   ImageQuality *quality, Error *error);

/* Sample as many pictures as can be measured, `count` at most, with labels in turn, and measure
 * them.  Returns them, [quality->pictures, size, size, channels], in the arena; NULL and an error
 * if a signal stopped it (FAIL_RUNNING) or as above. */
double *image_quality_sample(Arena *arena, const PicturesModel *model, const ImageSet *set,
                             const ImageFeatures *features, const ModelSampling *how, int count,
                             ImageQuality *quality, Error *error);

/* The same as measures: the first IMAGE_QUALITY_PIXELS without a classifier, all with one; and as
 * members of measures.json and of `eval --json` with what they were made with: "seed", the measures
 * under their keys, "classifier" (its name, where there is one), and "sampling": weights, sampler,
 * steps, spacing, guidance. */
enum { IMAGE_QUALITY_PIXELS = 6, IMAGE_QUALITY_MEASURES = 18 };
extern const Measure image_quality_measures[IMAGE_QUALITY_MEASURES];
int image_quality_count(const ImageFeatures *features); /* of these; NULL: pixels alone */
void image_quality_values(const ImageQuality *quality, double *value);
void image_quality_write(const double *value, const PicturesModel *model,
                         const ImageFeatures *features, uint64_t seed, JsonText *out);

#endif
