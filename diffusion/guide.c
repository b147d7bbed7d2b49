/* guide.c -- guidance as hooks on the tape. */
#include "diffusion/guide.h"
#include <math.h>

/* ---- weights that depend on the level -------------------------------------------------------- */

static double weight_at(const Strength *strength, const Level *level) {
  double sigma = level->s / level->a; /* infinite where no signal is left */
  return sigma >= strength->low && !(strength->high > 0 && sigma > strength->high) ? strength->w
                                                                                   : 0;
}

/* ---- the gradient of an energy --------------------------------------------------------------- */

typedef struct {
  Guide guide;
  EnergyGuide spec;
} ByEnergy;

/* w s^2/a; where no signal is left x_t tells nothing of x_0: f does not depend on it */
static void energy_numbers(const Guide *guide, const Level *l, double *own) {
  double w = weight_at(&((const ByEnergy *)guide)->spec.strength, l);
  own[0] = l->a > 0 ? w * l->s * l->s / l->a : 0;
}

static Tensor *energy_after(const Guide *guide, const NetInput *a, Tensor *x, Tensor *x0) {
  const EnergyGuide *spec = &((const ByEnergy *)guide)->spec;
  Tensor *f = spec->energy->value(spec->energy, a->g, spec->params, x, a->time, a->cond);
  Tensor *slope = spec->through ? t_grad_through(f, x) : t_grad(f, x);
  CHECK(slope, "guide_energy: the energy does not depend on x");
  return t_add(x0, t_mul(slope, t_col(a->own, 0)));
}

const Guide *guide_energy(Arena *arena, const EnergyGuide *spec) {
  ByEnergy *made = arena_alloc(arena, sizeof *made);
  *made = (ByEnergy){ { .after = energy_after, .numbers = energy_numbers }, *spec };
  return &made->guide;
}

/* ---- without a classifier -------------------------------------------------------------------- */

typedef struct {
  Guide guide;
  FreeGuide spec;
} ByNull;

static void free_numbers(const Guide *guide, const Level *l, double *own) {
  own[0] = weight_at(&((const ByNull *)guide)->spec.strength, l);
}

static Tensor *null_row(Graph *g, const Params *params, NullCondition null, int c) {
  if (!null.learned) return t_table(g, arena_array(graph_arena(g), double, c), 1, c);
  Tensor *row = t_param(g, params, null.slot);
  CHECK(row->e == 1 && row->n == c, "null condition: %d numbers for %d", row->n, c);
  return row;
}

/* Both halves, each with a value for every sample.  A value shared by all would do, but t_affine
 * adds parts of smaller k first: the bits would not be those of two calls. */
static Tensor *for_each(Tensor *t, int k) {
  if (t->k == k) return t;
  return t_add(t, t_table(t->g, arena_array(graph_arena(t->g), double, k), k, 1));
}
static Tensor *halves(Tensor *a, Tensor *b, int k) {
  return t_stack(for_each(a, k), for_each(b, k));
}

/* phi std(c) / std(y) + 1 - phi of every sample; a constant output has no std and stays */
static Tensor *rescaling(Tensor *c, Tensor *y, double phi) {
  CHECK(c->n > 1, "guide_free: rescale needs 2 dimensions or more");
  Tensor *square[2], *x[2] = { c, y };
  for (int i = 0; i < 2; i++) {
    Tensor *centred = t_sub(x[i], t_scale(1.0 / c->n, t_sum_last(x[i])));
    square[i] = t_shift(t_sum_last(t_map(MAP_square, centred)), 1e-30);
  }
  return t_shift(t_scale(phi, t_map(MAP_sqrt, t_div(square[0], square[1]))), 1 - phi);
}

/* an output without its learned variance */
static Tensor *mean_of(Tensor *output, int dim) {
  return output->n == dim ? output : t_slice(output, 0, dim);
}

static Tensor *free_call(const Guide *guide, const NetInput *a, Tensor *x) {
  const FreeGuide *spec = &((const ByNull *)guide)->spec;
  CHECK(a->cond, "guide_free: there is no condition");
  int k = x->k, dim = a->denoiser->dim;
  Tensor *null = null_row(a->g, a->params, spec->null, a->cond->n);
  NetInput both = *a;
  both.h = halves(a->h, a->h, k), both.scale = a->scale ? halves(a->scale, a->scale, k) : NULL;
  Tensor *output = call_net(&both, t_stack(x, x), halves(a->cond, null, k));
  Tensor *with = t_part(output, 0, k), *c = mean_of(with, dim);
  Tensor *without = mean_of(t_part(output, k, k), dim);
  Tensor *y = t_add(c, t_mul(t_sub(c, without), t_col(a->own, 0)));
  if (spec->rescale > 0) y = t_mul(y, rescaling(c, y, spec->rescale));
  return output->n == dim ? y : t_concat(y, t_slice(with, dim, output->n - dim));
}

const Guide *guide_free(Arena *arena, const FreeGuide *spec) {
  CHECK(spec->rescale >= 0 && spec->rescale <= 1, "guide_free: rescale %g", spec->rescale);
  ByNull *made = arena_alloc(arena, sizeof *made);
  *made = (ByNull){ { .call = free_call, .numbers = free_numbers }, *spec };
  return &made->guide;
}

/* ---- dynamic thresholding -------------------------------------------------------------------- */

typedef struct {
  Guide guide;
  Threshold spec;
} ByThreshold;

static Tensor *threshold_after(const Guide *guide, const NetInput *a, Tensor *x, Tensor *x0) {
  const Threshold *spec = &((const ByThreshold *)guide)->spec;
  (void)a, (void)x;
  Tensor *q = t_clip(t_quantile(t_map(MAP_abs, x0), spec->quantile), spec->range, spec->most);
  return t_scale(spec->range, t_clip(t_div(x0, q), -1, 1));
}

const Guide *guide_threshold(Arena *arena, const Threshold *spec) {
  ByThreshold *made = arena_alloc(arena, sizeof *made);
  *made = (ByThreshold){ { .after = threshold_after }, *spec };
  if (!(spec->range > 0)) made->spec.range = 1;
  if (!(spec->most > 0)) made->spec.most = INFINITY;
  CHECK(made->spec.most >= made->spec.range, "guide_threshold: at most %g is below the range %g",
        spec->most, made->spec.range);
  return &made->guide;
}

/* ---- in-painting ----------------------------------------------------------------------------- */

typedef struct {
  Guide guide;
  KnownGuide spec;
} ByKnown;

Tensor *known_overwrite(Known known, Tensor *x) {
  Tensor *rest = t_shift(t_scale(-1, known.keep), 1);
  return t_add(t_mul(known.known, known.keep), t_mul(x, rest));
}

static Tensor *overwrite(const Guide *guide, const NetInput *a, Tensor *x) {
  const KnownGuide *spec = &((const ByKnown *)guide)->spec;
  return known_overwrite(spec->find ? spec->find(spec->user, a) : spec->known, x);
}
static Tensor *overwrite_x0(const Guide *guide, const NetInput *a, Tensor *x, Tensor *x0) {
  (void)x;
  return overwrite(guide, a, x0);
}

const Guide *guide_known(Arena *arena, const KnownGuide *spec) {
  ByKnown *made = arena_alloc(arena, sizeof *made);
  *made = (ByKnown){ { .before = spec->clean ? overwrite : NULL, .after = overwrite_x0 }, *spec };
  return &made->guide;
}
