/* chain.c -- the executor of stage tables: a whole chain on the tape, or one call replayed. */
#include "diffusion/sampler.h"
#include <math.h>
#include <string.h>

typedef struct {
  Graph *g;
  const Sampler *sampler;
  NetCall call;
} Chain;

static Chain chain_of(Graph *g, const Sampler *sampler, const Denoiser *denoiser,
                      const Params *params, Tensor *cond) {
  const SamplerSpec *spec = &sampler->spec;
  return (Chain){ g,
                  sampler,
                  { .denoiser = denoiser,
                    .params = params,
                    .cond = cond,
                    .guides = spec->guides,
                    .data_form = sampler->data_form,
                    .clip = spec->clip,
                    .low = spec->low,
                    .high = spec->high } };
}

/* ---- the whole chain ------------------------------------------------------------------------- */

static Tensor *embed(const Chain *c, const double *times, int count) {
  const Denoiser *d = c->call.denoiser;
  return d->embed(d, c->g, c->call.params, t_table(c->g, times, count, 1));
}

static Tensor *embed_grid(const Chain *c) {
  const Sampler *sampler = c->sampler;
  double *times = arena_array(graph_arena(c->g), double, sampler->stages);
  for (int i = 0; i < sampler->stages; i++) times[i] = sampler->stage[i].time;
  return embed(c, times, sampler->stages);
}

static void push(Tensor *M[SAMPLER_HISTORY], Tensor *newest) {
  memmove(M + 1, M, (SAMPLER_HISTORY - 1) * sizeof *M);
  M[0] = newest;
}

/* base x_b + sum out[j] M_j: the first two terms in one pass, as in every method of one output */
static Tensor *combine(Graph *g, const Stage *stage, Tensor *base, Tensor *const *M) {
  Tensor *one = t_number(g, 1), *x = base;
  bool begun = false;
  for (int j = 0; j < SAMPLER_HISTORY; j++) {
    if (stage->out[j] == 0 && j) continue;
    if (!M[j]) continue;
    x = t_blend(begun ? one : t_number(g, stage->base), x, t_number(g, stage->out[j]), M[j]);
    begun = true;
  }
  return begun ? x : t_scale(stage->base, base);
}

static Tensor *record_chain(const Chain *c, const char *stream, Tensor *x) {
  const Sampler *sampler = c->sampler;
  Graph *g = c->g;
  Chain early = *c;
  if (sampler->early) early.call.params = sampler->early;
  Tensor *grid = embed_grid(c), *first = embed_grid(&early);
  Tensor *base = x, *M[SAMPLER_HISTORY] = { NULL };
  for (int i = 0; i < sampler->stages; i++) {
    const Stage *stage = &sampler->stage[i];
    bool before = i < sampler->early_stages;
    const NetCall *call = before ? &early.call : &c->call;
    NetOutput answer = { .M = NULL };
    if (stage->evaluates) {
      NetCallNumbers n = net_call_constants(g, call, stage, t_row(before ? first : grid, i));
      answer = net_call_record(call, &n, x);
      push(M, answer.M);
    }
    x = combine(g, stage, base, M);
    if (stage->noise > 0) {
      Tensor *z = t_normal(g, arena_text(graph_arena(g), "%s %d", stream, i), x->k, x->n);
      if (stage->learned) z = t_mul(z, answer.std);
      x = t_blend(t_number(g, 1), x, t_number(g, stage->noise), z);
    }
    if (stage->rebase) base = x;
  }
  return sampler->spec.clip ? t_clip(x, sampler->spec.low, sampler->spec.high) : x;
}

Tensor *sampler_record_from(Graph *g, const Sampler *sampler, const Denoiser *denoiser,
                            const Params *params, const char *stream, Tensor *x, Tensor *cond) {
  Chain c = chain_of(g, sampler, denoiser, params, cond);
  return record_chain(&c, stream, x);
}

Tensor *sampler_record(Graph *g, const Sampler *sampler, const Denoiser *denoiser,
                       const Params *params, const char *stream, Tensor *cond, int k) {
  Chain c = chain_of(g, sampler, denoiser, params, cond);
  Tensor *x = t_normal(g, arena_text(graph_arena(g), "%s start", stream), k, denoiser->dim);
  return record_chain(&c, stream, sampler->start != 1 ? t_scale(sampler->start, x) : x);
}

Tensor *sampler_log_prob(Graph *g, const Sampler *sampler, int i, const Denoiser *denoiser,
                         const Params *params, Tensor *x, Tensor *next, Tensor *cond,
                         Error *error) {
  const Stage *s = &sampler->stage[i];
  bool looks_back = s->out[1] != 0 || s->out[2] != 0 || s->out[3] != 0;
  bool alone = s->rebase && (i == 0 || sampler->stage[i - 1].rebase);
  if (!s->evaluates || !alone || looks_back || s->learned || !(s->noise > 0)) {
    error_set(error, FAIL_USAGE, "stage %d of sampler %s has no log-probability: %s", i,
              sampler->spec.method,
              s->noise > 0 ? "its mean uses older outputs, or its variance is learned"
                           : "it adds no noise (use ddpm, or ddim with eta > 0, and not its end)");
    return NULL;
  }
  Chain c = chain_of(g, sampler, denoiser, params, cond);
  NetCallNumbers n = net_call_constants(g, &c.call, s, embed(&c, &s->time, 1));
  Tensor *M[SAMPLER_HISTORY] = { net_call_record(&c.call, &n, x).M };
  Tensor *miss = t_scale(1 / s->noise, t_sub(next, combine(g, s, x, M)));
  double constant = -denoiser->dim * (log(s->noise) + 0.5 * log(2 * acos(-1)));
  return t_shift(t_scale(-0.5, t_sum_last(t_map(MAP_square, miss))), constant);
}

/* ---- one call, replayed ------------------------------------------------------------------ */

struct SamplerLoop {
  const Sampler *sampler;
  Graph *g;
  Tensor *x, *cond, *numbers, *M, *std;
  Rng start, *stream; /* [stages] */
  int k, dim, ld, max_rows;
  real *base, *at, *last[SAMPLER_HISTORY]; /* [max_rows k ld] each */
  float *noise;                            /* [dim] of one sample */
  double *number;
  real *given;
  SamplerWatch *watch;
  SamplerCorrect *correct;
  void *user, *corrector;
};

static void record_net(SamplerLoop *l, const Denoiser *denoiser, const Params *params, int cond) {
  l->x = t_input(l->g, "loop x", l->k, l->dim);
  l->cond = cond ? t_input(l->g, "loop cond", 1, cond) : NULL;
  l->numbers = t_given(l->g, "loop numbers", 1, net_call_size(l->sampler->spec.guides));
  Chain c = chain_of(l->g, l->sampler, denoiser, params, l->cond);
  NetCallNumbers n = net_call_columns(&c.call, l->numbers);
  NetOutput answer = net_call_record(&c.call, &n, l->x);
  l->M = answer.M, l->std = answer.std;
  graph_keep(l->M);
  if (l->std) graph_keep(l->std);
  graph_seal(l->g);
}

SamplerLoop *sampler_loop_new(Arena *arena, const Sampler *sampler, const Denoiser *denoiser,
                              const Params *params, const SamplerLoopSpec *spec) {
  CHECK(!spec->graph.trained, "sampler_loop: nothing is trained here");
  SamplerLoop *l = arena_alloc(arena, sizeof *l);
  *l = (SamplerLoop){ .sampler = sampler, .k = spec->k, .dim = denoiser->dim };
  l->max_rows = spec->graph.max_rows;
  l->ld = row_stride(l->dim);
  l->g = graph_new(arena, &spec->graph);
  record_net(l, denoiser, params, spec->cond);
  l->start = rng_stream(spec->graph.seed, arena_text(arena, "%s start", spec->stream));
  l->noise = arena_array(arena, float, l->dim);
  l->stream = arena_array(arena, Rng, sampler->stages);
  for (int i = 0; i < sampler->stages; i++)
    l->stream[i] = rng_stream(spec->graph.seed, arena_text(arena, "%s %d", spec->stream, i));
  size_t size = (size_t)l->max_rows * (size_t)l->k * (size_t)l->ld;
  l->base = arena_array(arena, real, size), l->at = arena_array(arena, real, size);
  for (int j = 0; j < SAMPLER_HISTORY; j++) l->last[j] = arena_array(arena, real, size);
  int count = net_call_size(sampler->spec.guides);
  l->number = arena_array(arena, double, count);
  l->given = arena_array(arena, real, row_stride(count));
  return l;
}

void sampler_loop_watch(SamplerLoop *loop, SamplerWatch *watch, void *user) {
  loop->watch = watch, loop->user = user;
}
void sampler_loop_correct(SamplerLoop *loop, SamplerCorrect *correct, void *user) {
  loop->correct = correct, loop->corrector = user;
}

/* what the tape would do: the same operations in the same order */
static void loop_combine(SamplerLoop *l, const Stage *s, size_t size, int asked) {
  bool begun = false;
  for (int j = 0; j < SAMPLER_HISTORY && j < asked; j++) {
    if (s->out[j] == 0 && j) continue;
    real a = begun ? 1 : (real)s->base, b = (real)s->out[j];
    const real *from = begun ? l->at : l->base, *M = l->last[j];
    for (size_t i = 0; i < size; i++) l->at[i] = a * from[i] + b * M[i];
    begun = true;
  }
  real a = (real)s->base;
  for (size_t i = 0; !begun && i < size; i++) l->at[i] = a * l->base[i];
}

/* z of one sample: the same counters as t_normal in a recorded chain */
static void loop_noise(const SamplerLoop *l, Rng stream, uint64_t step, const uint32_t *row_ids,
                       int r, float *z) {
  uint32_t row = row_ids ? row_ids[r / l->k] : (uint32_t)(r / l->k);
  row = row * (uint32_t)l->k + (uint32_t)(r % l->k);
  graph_kernels(l->g)->normals(stream, step, &row, 1, l->dim, z);
}

static void loop_evaluate(SamplerLoop *l, const Stage *s, int rows, uint64_t step,
                          const uint32_t *row_ids, size_t size) {
  int count = net_call_size(l->sampler->spec.guides);
  net_call_numbers(l->sampler->spec.guides, s, l->number);
  for (int i = 0; i < count; i++) l->given[i] = (real)l->number[i];
  graph_bind(l->x, l->at);
  graph_give(l->numbers, l->given);
  graph_run(l->g, rows, step, row_ids);
  real *oldest = l->last[SAMPLER_HISTORY - 1];
  memmove(l->last + 1, l->last, (SAMPLER_HISTORY - 1) * sizeof *l->last);
  l->last[0] = oldest;
  memcpy(oldest, graph_values(l->M), size * sizeof *oldest);
}

static void loop_add_noise(SamplerLoop *l, const Stage *s, int i, int rows, uint64_t step,
                           const uint32_t *row_ids) {
  float *z = l->noise;
  const real *std = s->learned ? graph_values(l->std) : NULL;
  real noise = (real)s->noise;
  for (int r = 0; r < rows * l->k; r++) {
    real *x = l->at + (ptrdiff_t)r * l->ld;
    loop_noise(l, l->stream[i], step, row_ids, r, z);
    for (int j = 0; j < l->dim; j++) {
      real scaled = std ? (real)z[j] * std[(ptrdiff_t)r * l->ld + j] : (real)z[j];
      x[j] = x[j] + noise * scaled;
    }
  }
}

static void loop_start(SamplerLoop *l, int rows, uint64_t step, const uint32_t *row_ids) {
  float *z = l->noise;
  real start = (real)l->sampler->start;
  for (int r = 0; r < rows * l->k; r++) {
    loop_noise(l, l->start, step, row_ids, r, z);
    for (int j = 0; j < l->dim; j++)
      l->at[(ptrdiff_t)r * l->ld + j] = start == 1 ? (real)z[j] : start * (real)z[j];
  }
}

void sampler_loop_run(SamplerLoop *l, int rows, uint64_t step, const uint32_t *row_ids,
                      const real *cond, real *x, bool from_x) {
  const Sampler *sampler = l->sampler;
  CHECK(rows <= l->max_rows && (cond != NULL) == (l->cond != NULL), "sampler_loop_run: its inputs");
  size_t size = (size_t)rows * (size_t)l->k * (size_t)l->ld;
  if (from_x)
    memcpy(l->at, x, size * sizeof *x);
  else
    loop_start(l, rows, step, row_ids);
  if (l->cond) graph_bind(l->cond, cond);
  memcpy(l->base, l->at, size * sizeof *x);
  if (l->watch) l->watch(l->user, -1, l->at);
  for (int i = 0, asked = 0; i < sampler->stages; i++) {
    const Stage *s = &sampler->stage[i];
    if (l->correct && s->evaluates && (i == 0 || s[-1].rebase)) {
      l->correct(l->corrector, i, l->at);
      memcpy(l->base, l->at, size * sizeof *x);
    }
    if (s->evaluates) loop_evaluate(l, s, rows, step, row_ids, size), asked++;
    loop_combine(l, s, size, asked);
    if (s->noise > 0) loop_add_noise(l, s, i, rows, step, row_ids);
    if (!s->rebase) continue;
    memcpy(l->base, l->at, size * sizeof *x);
    if (l->watch) l->watch(l->user, i, l->at);
  }
  memcpy(x, l->at, size * sizeof *x);
  real low = (real)sampler->spec.low, high = (real)sampler->spec.high;
  for (size_t r = 0; sampler->spec.clip && r < size; r++)
    if (r % (size_t)l->ld < (size_t)l->dim) x[r] = x[r] < low ? low : x[r] > high ? high : x[r];
}
