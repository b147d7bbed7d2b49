/* mlp.c -- affine, activation, affine, .. */
#include "policy/nets/mlp.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static void add_norm(Params *p, Mlp *net, const MlpSpec *spec, int layer) {
  char name[64];
  snprintf(name, sizeof name, "%s%s%d/gain", spec->name, *spec->name ? "/" : "", layer);
  net->gain[layer] = params_slot(p, name, spec->members, 1, spec->hidden, 0);
  params_start(p, net->gain[layer], 1);
  snprintf(name, sizeof name, "%s%s%d/shift", spec->name, *spec->name ? "/" : "", layer);
  net->shift[layer] = params_slot(p, name, spec->members, 1, spec->hidden, 0);
}

Mlp mlp_new(Params *p, const MlpSpec *spec) {
  Mlp net = { .layers = spec->hidden_layers + 1,
              .activation = spec->activation,
              .norm = spec->norm,
              .eps = 1e-5 };
  CHECK(net.layers <= MLP_MAX_LAYERS, "mlp %s: %d layers", spec->name, net.layers);
  for (int l = 0, in = spec->inputs; l < net.layers; l++, in = spec->hidden) {
    int out = l + 1 < net.layers ? spec->hidden : spec->outputs;
    char name[64];
    snprintf(name, sizeof name, "%s%s%d/w", spec->name, *spec->name ? "/" : "", l);
    net.weight[l] = params_slot(p, name, spec->members, in, out, 1 / sqrt(in));
    name[strlen(name) - 1] = 'b';
    net.bias[l] = params_slot(p, name, spec->members, 1, out, 1 / sqrt(in));
    if (spec->norm && l + 1 < net.layers) add_norm(p, &net, spec, l);
  }
  return net;
}

/* what a hidden layer says: its activation, normed on either side or not */
static Tensor *activate(const Mlp *net, Graph *g, const Params *p, int layer, Tensor *h) {
  if (net->norm == MLP_NORM_BEFORE)
    h = t_layernorm(g, p, net->gain[layer], net->shift[layer], h, net->eps);
  h = t_map(net->activation, h);
  if (net->norm == MLP_NORM_AFTER)
    h = t_layernorm(g, p, net->gain[layer], net->shift[layer], h, net->eps);
  return h;
}

Tensor *mlp(const Mlp *net, Graph *g, const Params *p, Inputs in) {
  Tensor *h = t_affine(g, p, net->weight[0], net->bias[0], in);
  for (int l = 1; l < net->layers; l++)
    h = t_affine(g, p, net->weight[l], net->bias[l], IN(activate(net, g, p, l - 1, h)));
  return h;
}
