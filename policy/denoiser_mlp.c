/* denoiser_mlp.c -- Diffusion-QL's noise network (Wang et al. 2023, appendix).
 *
 *   t --sinusoid 16--> mlp 32 --> [16] --+
 *   x_t [dim] ---------------------------+--> mlp 3 x hidden, mish --> [dim]
 *   cond [c] ----------------------------+                                     */
#include "policy/denoiser_mlp.h"
#include "policy/mlp.h"

enum { TIME = 16 };

typedef struct {
  Denoiser base; /* first: a MlpDenoiser is a Denoiser */
  Mlp time, trunk;
} MlpDenoiser;

static Tensor *embed(const Denoiser *d, Graph *g, const Params *p, Tensor *t) {
  return mlp(&((const MlpDenoiser *)d)->time, g, p, IN(t_timeembed(t, TIME)));
}

static Tensor *net(const Denoiser *d, Graph *g, const Params *p, Tensor *x, Tensor *h,
                   Tensor *cond) {
  return mlp(&((const MlpDenoiser *)d)->trunk, g, p, IN(x, h, cond));
}

Denoiser *mlp_denoiser_new(Arena *arena, Params *p, const Schedule *schedule, Prediction predicts,
                           int dim, int cond, int hidden) {
  MlpDenoiser *m = arena_alloc(arena, sizeof *m);
  m->base = (Denoiser){
    .net = net, .embed = embed, .predicts = predicts, .schedule = schedule, .dim = dim
  };
  m->time = mlp_new(p, &(MlpSpec){ "time", 1, TIME, 2 * TIME, 1, TIME, MAP_mish });
  m->trunk = mlp_new(p, &(MlpSpec){ "trunk", 1, dim + TIME + cond, hidden, 3, dim, MAP_mish });
  return &m->base;
}
