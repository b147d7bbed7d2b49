/* energy_mlp.c -- the energy network of QGPO (Lu et al. 2023, appendix), with sinusoids for a time.
 *
 *   t --sinusoid 32--> mlp 32 --> [32] --+
 *   x_t [dim] ---------------------------+--> mlp layers x hidden, silu --> affine from 0 --> [1]
 *   cond [c] ----------------------------+                                     */
#include "policy/nets/energy_mlp.h"
#include "policy/nets/mlp.h"

enum { TIME = 32 };

typedef struct {
  Energy base;  /* first: an EnergyMlp is an Energy */
  double scale; /* of the schedule's time, for the sinusoids: to [0, 1000] */
  Mlp time, trunk;
  int weight, bias; /* of the last layer */
} EnergyMlp;

static Tensor *value(const Energy *e, Graph *g, const Params *p, Tensor *x, Tensor *time,
                     Tensor *cond) {
  const EnergyMlp *m = (const EnergyMlp *)e;
  Tensor *h = mlp(&m->time, g, p, IN(t_timeembed(t_scale(m->scale, time), TIME)));
  Tensor *y = cond ? mlp(&m->trunk, g, p, IN(x, h, cond)) : mlp(&m->trunk, g, p, IN(x, h));
  return t_affine(g, p, m->weight, m->bias, IN(t_map(MAP_silu, y)));
}

const Energy *energy_mlp_new(Arena *arena, Params *p, const EnergyMlpSpec *spec) {
  EnergyMlp *m = arena_alloc(arena, sizeof *m);
  const Schedule *s = spec->schedule;
  double last = s->steps ? s->steps - 1 : s->t_max;
  m->base.value = value, m->scale = last > 0 ? 1000 / last : 1;
  m->time = mlp_new(p, &(MlpSpec){ "time", 1, TIME, TIME, 0, TIME, MAP_silu, MLP_PLAIN });
  m->trunk = mlp_new(p, &(MlpSpec){ "trunk", 1, spec->dim + TIME + spec->cond, spec->hidden,
                                    spec->layers - 1, spec->hidden, MAP_silu, MLP_PLAIN });
  m->weight = params_slot(p, "last/w", 1, spec->hidden, 1, 0);
  m->bias = params_slot(p, "last/b", 1, 1, 1, 0);
  return &m->base;
}
