/* denoiser_mlp.c -- Diffusion-QL's noise network (Wang et al. 2023, appendix).
 *
 *   t --sinusoid 16--> mlp 32 --> [16] --+
 *   x_t [dim] ---------------------------+--> mlp 3 x hidden, mish --> [dim]
 *   cond [c] ----------------------------+                                     */
#include "policy/nets/denoiser_mlp.h"
#include "policy/nets/mlp.h"
#include <math.h>

enum { TIME = 16 };

/* ---- what networks for vectors share --------------------------------------------------------- */

Denoiser vector_denoiser(const VectorSpec *spec) {
  return (Denoiser){ .predicts = spec->predicts,
                     .schedule = spec->schedule,
                     .dim = spec->dim,
                     .time = spec->time,
                     .data_std = spec->data_std,
                     .learns_variance = spec->learns_variance };
}

int vector_outputs(const VectorSpec *spec) { return (spec->learns_variance ? 2 : 1) * spec->dim; }

/* Fourier frequencies start with deviation 0.2 (IDQL draws them normal, we uniform). */
TimeFeatures time_features_new(Params *p, TimeKind kind, int dim) {
  bool trained = kind == TIME_FOURIER;
  return (TimeFeatures){ kind, dim,
                         trained ? params_slot(p, "frequencies", 1, 1, dim / 2, 0.2 * sqrt(3))
                                 : -1 };
}

Tensor *time_features(const TimeFeatures *f, Graph *g, const Params *p, Tensor *t) {
  return t_time(f->kind, t, f->dim, f->frequencies < 0 ? NULL : t_param(g, p, f->frequencies));
}

Tensor *point_features(Tensor *x, int octaves) {
  Tensor *y = x;
  for (int k = 0; k < octaves; k++) {
    Tensor *angle = t_scale(1 << k, x);
    y = t_concat(y, t_concat(t_map(MAP_sin, angle), t_map(MAP_cos, angle)));
  }
  return y;
}

int point_width(const VectorSpec *spec) { return spec->dim * (1 + 2 * spec->octaves) + spec->cond; }

/* ---- the network ----------------------------------------------------------------------------- */

typedef struct {
  Denoiser base; /* first: a MlpDenoiser is a Denoiser */
  TimeFeatures features;
  Mlp time, trunk;
  int octaves;
} MlpDenoiser;

static Tensor *embed(const Denoiser *d, Graph *g, const Params *p, Tensor *t) {
  const MlpDenoiser *m = (const MlpDenoiser *)d;
  return mlp(&m->time, g, p, IN(time_features(&m->features, g, p, t)));
}

static Tensor *net(const Denoiser *d, Graph *g, const Params *p, Tensor *x, Tensor *h,
                   Tensor *cond) {
  const MlpDenoiser *m = (const MlpDenoiser *)d;
  return mlp(&m->trunk, g, p, IN(point_features(x, m->octaves), h, cond));
}

Denoiser *vector_mlp_new(Arena *arena, Params *p, const VectorSpec *spec) {
  MlpDenoiser *m = arena_alloc(arena, sizeof *m);
  m->base = vector_denoiser(spec);
  m->base.net = net, m->base.embed = embed, m->octaves = spec->octaves;
  m->features = time_features_new(p, spec->embedding, TIME);
  m->time = mlp_new(p, &(MlpSpec){ "time", 1, TIME, 2 * TIME, 1, TIME, MAP_mish, MLP_PLAIN });
  m->trunk = mlp_new(p, &(MlpSpec){ "trunk", 1, point_width(spec) + TIME, spec->hidden, 3,
                                    vector_outputs(spec), MAP_mish, MLP_PLAIN });
  return &m->base;
}

Denoiser *mlp_denoiser_new(Arena *arena, Params *p, const Schedule *schedule, Prediction predicts,
                           int dim, int cond, int hidden) {
  return vector_mlp_new(
      arena, p,
      &(VectorSpec){
          .schedule = schedule, .predicts = predicts, .dim = dim, .cond = cond, .hidden = hidden });
}
