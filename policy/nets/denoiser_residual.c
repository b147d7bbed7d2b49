/* denoiser_residual.c -- LN_Resnet of IDQL (Hansen-Estruch et al. 2023, arXiv 2304.10573).
 *
 *   t --features 64--> mlp 128 --> [128] --+
 *   x_t [dim] -----------------------------+--> dense [H] --> blocks --> mish --> dense [dim]
 *   cond [c] ------------------------------+
 *   block:  h + dense(mish(dense(layer norm(h)))),  widths 4 H and H
 *
 * Differences from the published network.  No dropout: a step would need a mask that the teacher
 * of a distillation shares; data here are not scarce.  The layer norm has no gain and bias of its
 * own: the dense layer that follows has them as factors.  Weights start as PyTorch's. */
#include "policy/nets/denoiser_residual.h"
#include "policy/nets/mlp.h"
#include <stdio.h>

enum { FEATURES = 64, TIME = 128, WIDEN = 4 };

typedef struct {
  Denoiser base; /* first: a ResidualDenoiser is a Denoiser */
  TimeFeatures features;
  Mlp time, in, out, block[RESIDUAL_MAX_BLOCKS];
  int blocks, octaves;
} ResidualDenoiser;

static Tensor *embed(const Denoiser *d, Graph *g, const Params *p, Tensor *t) {
  const ResidualDenoiser *m = (const ResidualDenoiser *)d;
  return mlp(&m->time, g, p, IN(time_features(&m->features, g, p, t)));
}

static Tensor *net(const Denoiser *d, Graph *g, const Params *p, Tensor *x, Tensor *h,
                   Tensor *cond) {
  const ResidualDenoiser *m = (const ResidualDenoiser *)d;
  Tensor *y = mlp(&m->in, g, p, IN(point_features(x, m->octaves), h, cond));
  for (int i = 0; i < m->blocks; i++) {
    Tensor *normal = t_layernorm(g, NULL, -1, -1, y, 1e-6);
    y = t_add(y, mlp(&m->block[i], g, p, IN(normal)));
  }
  return mlp(&m->out, g, p, IN(t_map(MAP_mish, y)));
}

Denoiser *vector_residual_new(Arena *arena, Params *p, const VectorSpec *spec) {
  ResidualDenoiser *m = arena_alloc(arena, sizeof *m);
  int H = spec->hidden;
  CHECK(0 < spec->blocks && spec->blocks <= RESIDUAL_MAX_BLOCKS, "residual network: %d blocks",
        spec->blocks);
  m->base = vector_denoiser(spec);
  m->base.net = net, m->base.embed = embed, m->blocks = spec->blocks, m->octaves = spec->octaves;
  m->features = time_features_new(p, spec->embedding, FEATURES);
  m->time = mlp_new(p, &(MlpSpec){ "time", 1, FEATURES, TIME, 1, TIME, MAP_mish, MLP_PLAIN });
  m->in = mlp_new(p, &(MlpSpec){ "in", 1, point_width(spec) + TIME, 0, 0, H, MAP_mish, MLP_PLAIN });
  for (int i = 0; i < m->blocks; i++) {
    char name[32];
    snprintf(name, sizeof name, "block%d", i);
    m->block[i] = mlp_new(p, &(MlpSpec){ name, 1, H, WIDEN * H, 1, H, MAP_mish, MLP_PLAIN });
  }
  m->out = mlp_new(p, &(MlpSpec){ "out", 1, H, 0, 0, vector_outputs(spec), MAP_mish, MLP_PLAIN });
  return &m->base;
}
