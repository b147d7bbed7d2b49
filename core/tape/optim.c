/* optim.c -- fused passes over the flat block, in chunks that do not depend on the threads. */
#include "core/tape/optim.h"
#include "core/check.h"
#include "core/tape/adapter.h"
#include "core/tape/finding.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { CHUNK = 8192 };

OptimSpec optim_adam(double rate) {
  return (OptimSpec){ .rate = rate, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8 };
}

static int chunks_of(const Params *params) {
  return (int)((params->layout->size + CHUNK - 1) / CHUNK);
}

Optim *optim_new(Arena *arena, Params *params, const OptimSpec *spec) {
  Optim *optim = arena_alloc(arena, sizeof *optim);
  char name[96];
  optim->spec = *spec, optim->params = params;
  Params **moment[] = { &optim->m, &optim->v };
  for (int i = 0; i < 2; i++) {
    snprintf(name, sizeof name, "%s_adam_%c", params->block, "mv"[i]);
    *moment[i] = params_clone(params, name);
    for (size_t j = 0; j < params->layout->size; j++) (*moment[i])->values[j] = 0;
  }
  optim->squares = arena_array(arena, double, chunks_of(params));
  return optim;
}

double optim_rate(const OptimSpec *spec, int64_t step) {
  if (spec->schedule != RATE_COSINE || spec->period <= 0) return spec->rate;
  double done = step < spec->period ? (double)step / (double)spec->period : 1;
  return spec->rate * 0.5 * (1 + cos(3.14159265358979323846 * done));
}

/* ---- one update ------------------------------------------------------------------------------ */

typedef struct {
  Optim *optim;
  const real *gradient;
  const Kernels *kernels;
  AdamStep adam;
  real follow; /* how far the average goes to the new weights; 0: not at this step */
} Update;

static int chunk_size(const Update *u, int piece) {
  size_t from = (size_t)piece * CHUNK, size = u->optim->params->layout->size;
  return (int)(size - from < CHUNK ? size - from : CHUNK);
}

static void add_squares(void *context, int piece, int worker) {
  (void)worker;
  Update *u = context;
  u->optim->squares[piece] =
      u->kernels->squares(u->gradient + (size_t)piece * CHUNK, chunk_size(u, piece));
}

static void update_chunk(void *context, int piece, int worker) {
  (void)worker;
  const Update *u = context;
  const Optim *o = u->optim;
  size_t from = (size_t)piece * CHUNK;
  u->kernels->adam(&u->adam, u->gradient + from, o->m->values + from, o->v->values + from,
                   o->params->values + from, chunk_size(u, piece));
  if (u->follow != 0)
    u->kernels->lerp(o->ema.average->values + from, o->params->values + from, u->follow,
                     chunk_size(u, piece));
}

double optim_follow(const Optim *o) {
  const Ema *ema = &o->ema;
  bool now = ema->average && o->step >= ema->start && o->step % ema->period == 0;
  return now ? 1 - ema->decay : 0;
}

/* its first update is the first of its period from `start` on */
int64_t optim_average_from(const Optim *o) {
  const Ema *ema = &o->ema;
  return ema->average ? (ema->start + ema->period - 1) / ema->period * ema->period + 1 : 0;
}

static AdamStep adam_step(const Optim *o) {
  const OptimSpec *s = &o->spec;
  double rate = optim_rate(s, o->step), t = (double)(o->step + 1);
  double scale = s->clip > 0 ? s->clip / (o->grad_norm + 1e-6) : 1;
  return (AdamStep){ .lr = (real)rate,
                     .beta1 = (real)s->beta1,
                     .beta2 = (real)s->beta2,
                     .eps = (real)s->eps,
                     .decay = (real)(rate * s->weight_decay),
                     .scale = (real)(scale < 1 ? scale : 1),
                     .fix1 = (real)(1 / (1 - pow((double)(real)s->beta1, t))),
                     .fix2 = (real)(1 / sqrt(1 - pow((double)(real)s->beta2, t))) };
}

bool optim_step(Optim *optim, const real *gradient, const Kernels *kernels, Pool *pool) {
  Update u = { .optim = optim, .gradient = gradient, .kernels = kernels };
  int chunks = chunks_of(optim->params);
  unsigned state = denormals_off(); /* as in the workers */
  pool_run(pool, add_squares, &u, chunks);
  double squares = 0;
  for (int i = 0; i < chunks; i++) squares += optim->squares[i];
  optim->grad_norm = sqrt(squares);
  bool finite = isfinite(optim->grad_norm);
  if (finite) {
    u.adam = adam_step(optim), u.follow = (real)optim_follow(optim);
    pool_run(pool, update_chunk, &u, chunks);
    optim->step++;
    params_touch(optim->params);
    if (u.follow != 0) params_touch(optim->ema.average);
  }
  denormals_restore(state);
  return finite;
}

/* ---- files ----------------------------------------------------------------------------------- */

static void step_name(const Optim *optim, char name[128]) {
  snprintf(name, 128, "%s_adam/step", optim->params->block);
}

void optim_save(const Optim *optim, Checkpoint *checkpoint) {
  char name[128];
  step_name(optim, name);
  int64_t *step = arena_alloc(checkpoint->arena, sizeof *step);
  *step = optim->step;
  checkpoint_add(checkpoint, name, CHECKPOINT_I64, 1, &(int64_t){ 1 }, step);
  params_save(optim->m, checkpoint);
  params_save(optim->v, checkpoint);
}

bool optim_load(Optim *optim, const Checkpoint *checkpoint, Error *error) {
  char name[128];
  step_name(optim, name);
  if (!checkpoint_tensor(checkpoint, name))
    return error_set(error, FAIL_INPUT, "tensor %s is missing; this file holds no training state",
                     name);
  const int64_t *step = checkpoint_need_vector(checkpoint, name, CHECKPOINT_I64, 1, error);
  if (!step) return false;
  if (*step < 0 || *step > (int64_t)1 << 53)
    return error_set(error, FAIL_INPUT, "tensor %s is %lld, expected the number of updates done",
                     name, (long long)*step);
  optim->step = *step;
  return params_load(optim->m, checkpoint, error) &&
         params_load_squares(optim->v, checkpoint, error);
}

static void find(const Objective *o, int rows, uint64_t step) {
  Finding finding;
  finding_search(o->graph, rows, step, NULL, &finding);
  finding_text(&finding, o->optim->finding, sizeof o->optim->finding);
}

bool objective_step(const Objective *o, int rows, uint64_t step) {
  graph_run(o->graph, rows, step, NULL);
  Profile *profile = graph_profile(o->graph);
  int64_t began = profile_clock(profile);
  const Kernels *kernels = graph_kernels(o->graph);
  const real *gradient = graph_gradient(o->graph);
  bool done = o->adapter ? adapter_step(o->adapter, o->optim, gradient, kernels, o->pool)
                         : optim_step(o->optim, gradient, kernels, o->pool);
  profile_add(profile, 0, "optimiser", began, 0);
  *o->optim->finding = '\0';
  /* without a rank there is nothing to search: sums are garbage, and nobody answers */
  if (!done && !graph_lost(o->graph)) find(o, rows, step);
  return done;
}
