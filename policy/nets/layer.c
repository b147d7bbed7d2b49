/* layer.c -- slots, and t_conv with them. */
#include "policy/nets/layer.h"
#include <stdio.h>
#include <string.h>

Layer layer_new(Params *p, const char *name, int inputs, int outputs, double bound, double bias) {
  char slot[96];
  snprintf(slot, sizeof slot, "%s/w", name);
  Layer layer = { params_slot(p, slot, 1, inputs, outputs, bound), -1 };
  slot[strlen(slot) - 1] = 'b';
  if (bias >= 0) layer.b = params_slot(p, slot, 1, 1, outputs, bias);
  return layer;
}

Tensor *layer_conv(const Layer *layer, Graph *g, const Params *p, Inputs x, const ConvSpec *spec) {
  return t_conv(g, p, layer->w, layer->b, x, spec);
}

Tensor *layer_dense(const Layer *layer, Graph *g, const Params *p, Inputs x, Plane plane) {
  ConvSpec one = { .in = plane, .kh = 1, .kw = 1, .stride = 1 };
  return layer_conv(layer, g, p, x, &one);
}
