/* image_features.h -- pictures as a classifier sees them, and how alike two sets of them are.
 *
 * The features are those of the layer before the logits, before its activation.  They are of one
 * network: numbers by another compare with none of these, and none is the FID, whose features are
 * Inception's. */
#ifndef RL_IMAGE_FEATURES_H
#define RL_IMAGE_FEATURES_H
#include "core/parallel.h"
#include "datasets/images.h"
#include "policy/classifier.h"

typedef struct {
  const Classifier *classifier;
  const char *name; /* the shipped one's, or the file */
} ImageFeatures;

/* wanted: "auto", the shipped NAME-gauge of a set NAME, if it learned these pictures; "none"; or a
 * classifier's file, which must have the set's labels.  *features is NULL where there is none.  In
 * the arena; FAIL_INPUT or FAIL_USAGE. */
bool image_features_open(Arena *arena, const char *wanted, const ImageSet *set,
                         const ImageFeatures **features, Error *error);

typedef struct {
  int count, width, classes;
  double *feature, *probability; /* [count, width], [count, classes] */
} FeatureSet;

/* pictures: [count, size, size] in [-1, 1], which are put in the middle of the classifier's square,
 * black around; what is outside it is cut off. */
FeatureSet image_features_of(Arena *arena, const ImageFeatures *features, const double *pictures,
                             int size, int count, Pool *pool, const Kernels *kernels);

typedef struct {
  double frechet; /* between Gaussians (core/maths/gaussian.h) */
  double kernel;  /* squared, unbiased (core/maths/distance.h) */
  double precision, recall;
  double score; /* exp of the mean KL(p(label | x) || its mean); from 1 to the number of labels */
  double consistency; /* share whose likeliest label is the one that was asked for; NAN: none was */
} FeatureQuality;

/* x beside a reference of the same width; of both 4 pictures at least.  labels: x i was to be of
 * label i % classes. */
FeatureQuality image_features_compare(const FeatureSet *x, const FeatureSet *reference,
                                      bool labels);

/* p: [count, classes]; 1 where all rows are alike, `classes` where they are sure and balanced. */
double image_features_score(const double *p, int count, int classes);

#endif
