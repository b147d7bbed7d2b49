/* classifier.h -- a small convolutional network that tells pictures of one label from another: what
 * a reward asks, and, another one, what measures generators by its features. */
#ifndef POLICY_CLASSIFIER_H
#define POLICY_CLASSIFIER_H
#include "core/checkpoint.h"
#include "core/config.h"
#include "core/ops/ops.h"

/* the network's shape: settings of a run, and of the file */
#define CLASSIFIER_FIELDS(F)                                                                       \
  F(INT, size, 32, 4, 256, "pixels a side; smaller pictures are put on black")                     \
  F(INT, hidden, 16, 2, 256, "channels of the first level; each level has twice as many")          \
  F(INT, levels, 3, 1, 5, "each halves the size")                                                  \
  F(INT, blocks, 1, 1, 4, "residual blocks of a level")                                            \
  F(INT, groups, 8, 1, 256, "of the norms")                                                        \
  F(INT, features, 64, 1, 2048, "width of the layer before the logits")
typedef struct {
  CONFIG_MEMBERS(CLASSIFIER_FIELDS)
} ClassifierShape;

/* Defaults, and what another struct of settings has under the same keys. */
void classifier_shape_from(ClassifierShape *shape, const ConfigField *fields, size_t count,
                           const void *values);

enum { CLASSIFIER_MAX_CLASSES = 256 };

typedef struct {
  Plane plane; /* of a picture, in [-1, 1] */
  int classes;
  int features;            /* width of the layer before the logits, before its activation */
  const char *const *name; /* [classes] of the labels; entries may be NULL */
  const char *data;        /* what it learned */
  double accuracy;         /* on test pictures, 0 to 1; NAN: unknown */
  Params *params;
  const void *own; /* the network's slots */
} Classifier;

/* A network of this shape without numbers yet: its Params "classifier" are declared.  The texts are
 * copied into the arena.  name: [classes], entries may be NULL.  FAIL_USAGE for a shape that cannot
 * be. */
Classifier *classifier_new(Arena *arena, const ClassifierShape *shape, int classes,
                           const char *const *name, const char *data, Error *error);

/* What a file says beside the numbers: "classifier" (the data), "classifier_shape", "classes",
 * "class_names" (a line each) and, where it is known, "accuracy". */
void classifier_save_texts(const Classifier *classifier, Checkpoint *checkpoint);
/* Texts and, as float16, the numbers.  FAIL_INPUT if float16 cannot hold them. */
bool classifier_save_half(const Classifier *classifier, Checkpoint *checkpoint, Error *error);
bool classifier_saved(const Checkpoint *checkpoint); /* is it the file of a classifier? */

/* The classifier in a file; in the arena.  NULL and an error (FAIL_INPUT) if there is none. */
Classifier *classifier_load(Arena *arena, const Checkpoint *checkpoint, Error *error);

typedef struct {
  Tensor *logits, *features; /* [k, 1, classes], [k, 1, features] */
} ClassifierOutput;

/* x: ROW [k, 1, plane].  Gradients go through. */
ClassifierOutput classifier_record(const Classifier *classifier, Graph *g, Tensor *x);

/* x: ROW [k, 1, from], pictures of another size -> [k, 1, plane]: put in the middle, black around
 * them; what is outside the plane is cut off.  One channel each. */
Tensor *classifier_place(const Classifier *classifier, Graph *g, Tensor *x, Plane from);

#endif
