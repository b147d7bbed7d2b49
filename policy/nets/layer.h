/* layer.h -- weights and bias under one name: what networks over positions are made of. */
#ifndef POLICY_LAYER_H
#define POLICY_LAYER_H
#include "core/ops/ops.h"

typedef struct {
  int w, b; /* slots; b -1: none */
} Layer;

/* Declare "<name>/w" [inputs, outputs] and "<name>/b" with these bounds of first numbers (negative:
 * no bias).  inputs: of a convolution taps times channels. */
Layer layer_new(Params *p, const char *name, int inputs, int outputs, double bound, double bias);

Tensor *layer_conv(const Layer *layer, Graph *g, const Params *p, Inputs x, const ConvSpec *spec);

/* the same at every position; plane.channels: of x together */
Tensor *layer_dense(const Layer *layer, Graph *g, const Params *p, Inputs x, Plane plane);

#endif
