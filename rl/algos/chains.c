/* chains.c -- drawing chains stage by stage on one tape. */
#include "rl/algos/chains.h"
#include <string.h>

/* one stage of some chains */
typedef struct ChainTape {
  Graph *g;
  Tensor *x, *cond, *numbers, *next, *log_prob;
  int rows;     /* at most */
  real *number; /* [rows, number_ld] */
  uint32_t *id; /* [rows] */
  float *z;     /* [dim] */
  Rng start;
} ChainTape;

static GraphSpec graph_spec(const AlgoSetup *setup, const Chains *c) {
  const ModelDef *def = c->model->def;
  return (GraphSpec){ .seed = setup->seed,
                      .pool = setup->pool,
                      .kernels = setup->kernels,
                      .max_rows = c->count < def->chunk ? c->count : def->chunk,
                      .group = def->group,
                      .lane = def->lane };
}

static ChainTape *new_tape(const AlgoSetup *setup, const ChainsSpec *spec, const Params *params,
                           const Chains *c) {
  ChainTape *t = arena_alloc(setup->arena, sizeof *t);
  GraphSpec graph = graph_spec(setup, c);
  t->rows = graph.max_rows;
  Graph *g = t->g = graph_new(setup->arena, &graph);
  t->x = t_input(g, "chain x", 1, c->dim);
  t->numbers = t_input(g, "chain numbers", 1, transition_size(c->sampler));
  t->cond = c->cond ? t_input(g, "chain cond", 1, c->model->cond) : NULL;
  Transition move =
      transition_record(c->sampler, c->model->denoiser, params, t->x, t->numbers, t->cond);
  Tensor *z = t_normal(g, arena_text(setup->arena, "%s noise", spec->stream), 1, c->dim);
  if (spec->most_noise > 0) z = t_clip(z, -spec->most_noise, spec->most_noise);
  t->next = transition_move(&move, z);
  bool bounded = spec->low < spec->high;
  t->log_prob = bounded ? t_sum_last(transition_log_probs(&move, t->next, spec->low, spec->high))
                        : transition_log_prob(&move, t->next);
  graph_keep(t->next), graph_keep(t->log_prob);
  graph_seal(g);
  t->number = arena_array(setup->arena, real, t->rows * c->number_ld);
  t->id = arena_array(setup->arena, uint32_t, t->rows);
  t->z = arena_array(setup->arena, float, c->dim);
  t->start = rng_stream(setup->seed, arena_text(setup->arena, "%s start", spec->stream));
  graph_bind(t->numbers, t->number);
  return t;
}

/* The sampler of the chain, and where a window is asked for its twin without noise. */
static bool choose_samplers(Chains *c, const AlgoSetup *setup, const ChainsSpec *spec,
                            Error *error) {
  SamplerSpec still = spec->sampler;
  c->sampler = model_sampler(setup->arena, spec->model, &spec->sampler, spec->guidance, error);
  if (!c->sampler || (!spec->ends && !transition_check(c->sampler, error))) return false;
  c->still = c->sampler;
  if (!spec->to || spec->ends) return true;
  still.eta = 0;
  c->still = model_sampler(setup->arena, spec->model, &still, spec->guidance, error);
  if (!c->still) return false;
  bool fits = c->still->stages == c->sampler->stages && !transition_count(c->still);
  return fits || error_set(error, FAIL_USAGE,
                           "sampler %s has no form without noise, which the stages beyond the "
                           "window would need: use ddim, flow_sde or sde_euler",
                           spec->sampler.method);
}

static SamplerLoop *new_loop(const AlgoSetup *setup, const ChainsSpec *spec, Chains *c) {
  ChainTape *t = c->tape = arena_alloc(setup->arena, sizeof *t);
  SamplerLoopSpec loop = { graph_spec(setup, c), spec->stream, 1, spec->model->cond };
  t->rows = loop.graph.max_rows;
  t->id = arena_array(setup->arena, uint32_t, t->rows);
  return sampler_loop_new(setup->arena, c->sampler, spec->model->denoiser, spec->params, &loop);
}

Chains *chains_new(const AlgoSetup *setup, const ChainsSpec *spec, Error *error) {
  Chains *c = arena_alloc(setup->arena, sizeof *c);
  *c = (Chains){ .model = spec->model, .count = spec->count, .dim = spec->model->denoiser->dim };
  if (!choose_samplers(c, setup, spec, error)) return NULL;
  c->stages = c->sampler->stages;
  c->ld = row_stride(c->dim), c->cond_ld = row_stride(spec->model->cond);
  c->number_ld = row_stride(transition_size(c->sampler));
  Arena *arena = setup->arena;
  if (spec->model->cond) c->cond = arena_array(arena, real, c->count * c->cond_ld);
  int states = spec->ends ? 1 : c->stages + 1;
  c->x = arena_array(arena, real, (size_t)states * (size_t)c->count * (size_t)c->ld);
  if (spec->ends) return c->loop = new_loop(setup, spec, c), c;
  c->log_prob = arena_array(arena, real, (size_t)c->stages * (size_t)c->count);
  c->number = arena_array(arena, real, c->stages * c->number_ld);
  c->least_std = spec->least_std, c->least_log_std = spec->least_log_std;
  chains_window(c, spec->from, spec->to);
  c->tape = new_tape(setup, spec, spec->params, c);
  if (spec->early) c->early = new_tape(setup, spec, spec->early, c);
  c->early_stages = spec->early ? spec->early_stages : 0;
  return c;
}

void chains_window(Chains *c, int from, int to) {
  c->from = from, c->to = to && to < c->stages ? to : c->stages;
  for (int i = 0; i < c->stages; i++) {
    const Sampler *sampler = i >= c->from && i < c->to ? c->sampler : c->still;
    real *row = c->number + i * c->number_ld;
    transition_numbers(sampler, i, row);
    if (c->least_std > 0) transition_raise(sampler, i, c->least_std, c->least_log_std, row);
  }
}

static real *state(const Chains *c, int stage, int chain) {
  return c->x + ((ptrdiff_t)stage * c->count + chain) * c->ld;
}

const real *chains_state(const Chains *c, int stage, int chain) { return state(c, stage, chain); }
const real *chains_samples(const Chains *c) { return state(c, c->loop ? 0 : c->stages, 0); }

bool chains_random(const Chains *c, int i) {
  if (c->least_std > 0) return true;
  return i >= c->from && i < c->to ? transition_random(c->sampler, i)
                                   : transition_random(c->still, i);
}

int chains_random_count(const Chains *c) {
  int count = 0;
  for (int i = 0; i < c->stages; i++) count += chains_random(c, i);
  return count;
}

/* the states that noise begins at */
static void begin(Chains *c, uint64_t epoch) {
  float *z = c->tape->z;
  for (int i = 0; i < c->count; i++) {
    real *x = state(c, 0, i);
    rng_normals(c->tape->start, epoch, (uint32_t)i, z, c->dim);
    for (int j = 0; j < c->dim; j++) x[j] = (real)c->sampler->start * (real)z[j];
  }
}

/* one stage of the chains from .. from + rows - 1 */
static void draw_stage(Chains *c, ChainTape *t, uint64_t epoch, int i, int from, int rows) {
  for (int r = 0; r < rows; r++) t->id[r] = (uint32_t)(from + r);
  if (t->cond) graph_bind(t->cond, c->cond + (ptrdiff_t)from * c->cond_ld);
  for (int r = 0; r < rows; r++)
    memcpy(t->number + r * c->number_ld, c->number + i * c->number_ld,
           (size_t)c->number_ld * sizeof(real));
  graph_bind(t->x, state(c, i, from));
  graph_run(t->g, rows, epoch * (uint64_t)c->stages + (uint64_t)i, t->id);
  memcpy(state(c, i + 1, from), graph_values(t->next), (size_t)rows * (size_t)c->ld * sizeof(real));
  const real *told = graph_values(t->log_prob);
  for (int r = 0; r < rows; r++)
    c->log_prob[(ptrdiff_t)i * c->count + from + r] = told[(ptrdiff_t)r * t->log_prob->ld];
}

/* ends alone: the replayed loop draws what `rows` chains from `from` on come to */
static void draw_ends(Chains *c, uint64_t epoch, int from, int rows) {
  const real *cond = c->cond ? c->cond + (ptrdiff_t)from * c->cond_ld : NULL;
  for (int r = 0; r < rows; r++) c->tape->id[r] = (uint32_t)(from + r);
  sampler_loop_run(c->loop, rows, epoch, c->tape->id, cond, state(c, 0, from), false);
}

void chains_draw(Chains *c, uint64_t epoch) {
  int most = c->tape->rows;
  if (!c->loop) begin(c, epoch);
  for (int from = 0; from < c->count; from += most) {
    int rows = c->count - from < most ? c->count - from : most;
    if (c->loop) draw_ends(c, epoch, from, rows);
    for (int i = 0; !c->loop && i < c->stages; i++)
      draw_stage(c, i < c->early_stages ? c->early : c->tape, epoch, i, from, rows);
  }
}
