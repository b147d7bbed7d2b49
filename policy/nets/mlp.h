/* mlp.h -- multi-layer perceptrons, alone or as an ensemble in one set of slots. */
#ifndef POLICY_MLP_H
#define POLICY_MLP_H
#include "core/ops/ops.h"

enum { MLP_MAX_LAYERS = 8 };

/* Layer norm (Ba et al. 2016) of every hidden layer, with gain and bias: of what the activation
 * sees, or of what it says. */
typedef enum { MLP_PLAIN, MLP_NORM_BEFORE, MLP_NORM_AFTER } MlpNorm;

typedef struct {
  int layers; /* hidden layers + 1 */
  int weight[MLP_MAX_LAYERS], bias[MLP_MAX_LAYERS];
  Map activation;
  MlpNorm norm;
  double eps;                                      /* of the norms: 1e-5 as in PyTorch; or set it */
  int gain[MLP_MAX_LAYERS], shift[MLP_MAX_LAYERS]; /* of the norms */
} Mlp;

typedef struct {
  const char *name; /* slots "<name>/<layer>/w" and "/b" */
  int members;      /* of an ensemble; 1: none */
  int inputs, hidden, hidden_layers, outputs;
  Map activation; /* after every hidden layer; none after the last */
  MlpNorm norm;
} MlpSpec;

/* Declare the slots in p.  Initial weights and biases are PyTorch's: uniform, 1/sqrt(inputs); norms
 * have slots "<name>/<layer>/gain" and "/shift", 1 and 0 at first. */
Mlp mlp_new(Params *p, const MlpSpec *spec);

/* in [k, 1, widths adding up to inputs] -> [k, members, outputs] */
Tensor *mlp(const Mlp *net, Graph *g, const Params *p, Inputs in);

#endif
