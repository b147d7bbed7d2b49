/* classifier.h -- a small convolutional network that tells pictures of one label from another: what
 * a reward asks, and, another one, what measures generators by its features. */
#ifndef POLICY_CLASSIFIER_H
#define POLICY_CLASSIFIER_H
#include "core/checkpoint.h"
#include "core/ops/ops.h"

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

/* The classifier in a file; in the arena.  NULL and an error (FAIL_INPUT) if there is none. */
Classifier *classifier_load(Arena *arena, const Checkpoint *checkpoint, Error *error);

typedef struct {
  Tensor *logits, *features; /* [k, 1, classes], [k, 1, features] */
} ClassifierOutput;

/* x: ROW [k, 1, plane].  Gradients go through. */
ClassifierOutput classifier_record(const Classifier *classifier, Graph *g, Tensor *x);

#endif
