/* mlp.c -- affine, activation, affine, .. */
#include "policy/nets/mlp.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

Mlp mlp_new(Params *p, const MlpSpec *spec) {
  Mlp net = { .layers = spec->hidden_layers + 1, .activation = spec->activation };
  CHECK(net.layers <= MLP_MAX_LAYERS, "mlp %s: %d layers", spec->name, net.layers);
  for (int l = 0, in = spec->inputs; l < net.layers; l++, in = spec->hidden) {
    int out = l + 1 < net.layers ? spec->hidden : spec->outputs;
    char name[64];
    snprintf(name, sizeof name, "%s%s%d/w", spec->name, *spec->name ? "/" : "", l);
    net.weight[l] = params_slot(p, name, spec->members, in, out, 1 / sqrt(in));
    name[strlen(name) - 1] = 'b';
    net.bias[l] = params_slot(p, name, spec->members, 1, out, 1 / sqrt(in));
  }
  return net;
}

Tensor *mlp(const Mlp *net, Graph *g, const Params *p, Inputs in) {
  Tensor *h = t_affine(g, p, net->weight[0], net->bias[0], in);
  for (int l = 1; l < net->layers; l++)
    h = t_affine(g, p, net->weight[l], net->bias[l], IN(t_map(net->activation, h)));
  return h;
}
