/* adapter.c -- three products for every matrix, each of which one thread computes alone. */
#include "core/tape/adapter.h"
#include <math.h>
#include <stdio.h>

typedef struct {
  const Adapter *adapter;
  const real *gradient; /* dL/dW */
  const Kernels *kernels;
} Work;

/* member e of a slot in numbers of this block */
static real *member(const Params *params, real *values, int slot, int e) {
  const Slot *s = &params->layout->slot[slot];
  return values + s->offset + (size_t)e * (size_t)s->rows * (size_t)s->ld;
}

/* ---- the factors ----------------------------------------------------------------------------- */

static bool is_matrix(const Slot *s) { return s->rows > 1; }
static int narrow(const Slot *s) { return s->rows < s->n ? s->rows : s->n; }

/* column `k` of a frame [width, rank], made orthogonal to those before: Gram and Schmidt, twice */
static void orthonormalise(double *frame, int width, int rank, int k) {
  for (int again = 0; again < 2; again++) {
    for (int j = 0; j < k; j++) {
      double dot = 0;
      for (int i = 0; i < width; i++) dot += frame[i * rank + j] * frame[i * rank + k];
      for (int i = 0; i < width; i++) frame[i * rank + k] -= dot * frame[i * rank + j];
    }
    double squares = 0;
    for (int i = 0; i < width; i++) squares += frame[i * rank + k] * frame[i * rank + k];
    for (int i = 0; i < width; i++) frame[i * rank + k] /= sqrt(squares);
  }
}

/* [width, rank]: the identity where it is square */
static void draw_frame(double *frame, int width, int rank, Rng rng, uint64_t slot, uint32_t e) {
  for (int i = 0; i < width; i++)
    for (int k = 0; k < rank; k++)
      frame[i * rank + k] =
          rank == width ? i == k : rng_normal(rng, slot, e, (uint32_t)(i * rank + k));
  for (int k = 0; rank < width && k < rank; k++) orthonormalise(frame, width, rank, k);
}

static void start_pair(const Adapter *a, int pair, Rng rng) {
  const Slot *w = &a->into->layout->slot[a->slot[pair]];
  bool of_inputs = w->rows <= w->n; /* the frame is A, else B */
  int factor = 2 * pair + !of_inputs, width = narrow(w);
  const Slot *f = &a->factors->layout->slot[factor];
  int rank = of_inputs ? f->n : f->rows;
  double scale = sqrt((double)width / rank);
  Arena *scratch = arena_new();
  double *frame = arena_array(scratch, double, (ptrdiff_t)width *rank);
  for (int e = 0; e < w->e; e++) {
    real *to = member(a->factors, a->factors->values, factor, e);
    draw_frame(frame, width, rank, rng, (uint64_t)pair, (uint32_t)e);
    for (int i = 0; i < width; i++)
      for (int k = 0; k < rank; k++)
        to[of_inputs ? i * f->ld + k : k * f->ld + i] = (real)(float)(scale * frame[i * rank + k]);
  }
  arena_free(scratch);
}

static void declare(Adapter *a, int slot, int rank) {
  const Slot *w = &a->into->layout->slot[slot];
  char name[192];
  if (rank > narrow(w)) rank = narrow(w);
  snprintf(name, sizeof name, "%s/a", w->name);
  params_slot(a->factors, name, w->e, w->rows, rank, 0);
  snprintf(name, sizeof name, "%s/b", w->name);
  params_slot(a->factors, name, w->e, rank, w->n, 0);
  a->slot[a->pairs++] = slot;
}

static bool check_rank(const Params *into, int rank, Error *error) {
  int widest = 0;
  for (int s = 0; s < into->layout->slots; s++) {
    const Slot *slot = &into->layout->slot[s];
    if (is_matrix(slot) && narrow(slot) > widest) widest = narrow(slot);
  }
  if (!widest)
    return error_set(error, FAIL_USAGE, "low-rank adapters: %s has no matrix", into->block);
  return rank <= widest || error_set(error, FAIL_USAGE,
                                     "low-rank adapters of rank %d, but the narrower side of no "
                                     "matrix of %s is above %d; use at most that",
                                     rank, into->block, widest);
}

Adapter *adapter_new(Arena *arena, Params *into, const Params *base, int rank, uint64_t seed,
                     Error *error) {
  if (!check_rank(into, rank, error)) return NULL;
  Adapter *a = arena_alloc(arena, sizeof *a);
  const Layout *layout = into->layout;
  *a = (Adapter){ .into = into,
                  .base = base,
                  .factors = params_new(arena, arena_text(arena, "%s_lora", into->block)),
                  .slot = arena_array(arena, int, layout->slots) };
  for (int s = 0; s < layout->slots; s++)
    if (is_matrix(&layout->slot[s])) declare(a, s, rank);
  params_allocate(a->factors);
  a->gradient = arena_array(arena, real, a->factors->layout->size);
  a->turned = arena_array(arena, real *, a->pairs);
  Rng rng = rng_stream(seed, a->factors->block);
  for (int i = 0; i < a->pairs; i++) {
    const Slot *w = &layout->slot[a->slot[i]];
    a->turned[i] = arena_array(arena, real, (ptrdiff_t)w->n * a->factors->layout->slot[2 * i].ld);
    start_pair(a, i, rng);
  }
  return a;
}

/* ---- steps ----------------------------------------------------------------------------------- */

enum { PANEL = 32 }; /* of plain rows: kernels.h */

static void pull_pair(void *context, int pair, int worker) {
  const Work *work = context;
  const Adapter *p = work->adapter;
  const Slot *w = &p->into->layout->slot[p->slot[pair]];
  const Slot *a = &p->factors->layout->slot[2 * pair], *b = &a[1];
  real *turned = p->turned[pair];
  (void)worker;
  for (int e = 0; e < w->e; e++) {
    const real *dw = work->gradient + w->offset + (size_t)e * (size_t)w->rows * (size_t)w->ld;
    real *of_a = member(p->factors, p->factors->values, 2 * pair, e);
    real *of_b = member(p->factors, p->factors->values, 2 * pair + 1, e);
    work->kernels->transpose(of_b, b->ld, a->n, w->n, turned, a->ld);
    work->kernels->gemm(&(Gemm){ .m = w->rows, /* dA = dW B^T */
                                 .n = a->ld,
                                 .k = w->n,
                                 .a = dw,
                                 .ai = w->ld,
                                 .ak = 1,
                                 .b = turned,
                                 .bk = a->ld,
                                 .bpanel = PANEL,
                                 .c = member(p->factors, p->gradient, 2 * pair, e),
                                 .ldc = a->ld });
    work->kernels->gemm(&(Gemm){ .m = b->rows, /* dB = A^T dW */
                                 .n = b->ld,
                                 .k = w->rows,
                                 .a = of_a,
                                 .ai = 1,
                                 .ak = a->ld,
                                 .b = dw,
                                 .bk = w->ld,
                                 .bpanel = PANEL,
                                 .c = member(p->factors, p->gradient, 2 * pair + 1, e),
                                 .ldc = b->ld });
  }
}

static void merge_pair(void *context, int pair, int worker) {
  const Work *work = context;
  const Adapter *p = work->adapter;
  const int slot = p->slot[pair];
  const Slot *w = &p->into->layout->slot[slot];
  const Slot *a = &p->factors->layout->slot[2 * pair], *b = &a[1];
  (void)worker;
  for (int e = 0; e < w->e; e++)
    work->kernels->gemm(&(Gemm){ .m = w->rows, /* W = W0 + A B */
                                 .n = w->ld,
                                 .k = a->n,
                                 .a = member(p->factors, p->factors->values, 2 * pair, e),
                                 .ai = a->ld,
                                 .ak = 1,
                                 .b = member(p->factors, p->factors->values, 2 * pair + 1, e),
                                 .bk = b->ld,
                                 .bpanel = PANEL,
                                 .init = member(p->base, p->base->values, slot, e),
                                 .init_row = w->ld,
                                 .c = member(p->into, p->into->values, slot, e),
                                 .ldc = w->ld });
}

static void every_pair(const Work *work, PoolTask *task, Pool *pool) {
  unsigned state = denormals_off(); /* as in the workers */
  pool_run(pool, task, (void *)work, work->adapter->pairs);
  denormals_restore(state);
}

void adapter_pull(const Adapter *a, const real *gradient, const Kernels *kernels, Pool *pool) {
  every_pair(&(Work){ a, gradient, kernels }, pull_pair, pool);
}

void adapter_merge(const Adapter *a, const Kernels *kernels, Pool *pool) {
  every_pair(&(Work){ a, NULL, kernels }, merge_pair, pool);
  params_touch(a->into);
}

bool adapter_step(const Adapter *a, Optim *optim, const real *gradient, const Kernels *kernels,
                  Pool *pool) {
  Ema ema = optim->ema;
  double follow = optim_follow(optim);
  adapter_pull(a, gradient, kernels, pool);
  optim->ema.average = NULL; /* it is of W, not of the factors */
  bool done = optim_step(optim, a->gradient, kernels, pool);
  optim->ema = ema;
  if (!done) return false;
  adapter_merge(a, kernels, pool);
  if (follow != 0) params_lerp(ema.average, a->into, follow);
  return true;
}
