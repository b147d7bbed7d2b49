/* guided.h -- a small network, an energy and chains with a condition, to be guided. */
#ifndef TESTS_GUIDED_H
#define TESTS_GUIDED_H
#include "tests/chain.h"

enum { ROWS = 6, LD = 16, DIM = 3, COND = 2, K = 3 };
static const bool precise = sizeof(real) == 8;

/* ---- networks -------------------------------------------------------------------------------- */

/* a small MLP on (x, a, s, cond): smooth, and as a network without meaning as any */
enum { HIDDEN = 8, NULL_SLOT = 4 };

static inline Tensor *level_embed(const Denoiser *d, Graph *g, const Params *p, Tensor *t) {
  return (void)g, (void)p, t_marginal(d->schedule, t);
}
static inline Tensor *mlp_net(const Denoiser *d, Graph *g, const Params *p, Tensor *x, Tensor *h,
                              Tensor *cond) {
  (void)d;
  return t_affine(g, p, 2, 3, IN(t_map(MAP_mish, t_affine(g, p, 0, 1, IN(x, h, cond)))));
}
static inline Tensor *mlp_energy(const Energy *e, Graph *g, const Params *p, Tensor *x,
                                 Tensor *time, Tensor *cond) {
  (void)e;
  return t_affine(g, p, 2, 3, IN(t_map(MAP_mish, t_affine(g, p, 0, 1, IN(x, time, cond)))));
}
static const Energy energy = { mlp_energy };

static inline Params *mlp_params(Arena *arena, const char *block, int inputs, int outputs) {
  Params *p = params_new(arena, block);
  params_slot(p, "0/w", 1, inputs, HIDDEN, 0.7), params_slot(p, "0/b", 1, 1, HIDDEN, 0.7);
  params_slot(p, "1/w", 1, HIDDEN, outputs, 0.7), params_slot(p, "1/b", 1, 1, outputs, 0.7);
  params_slot(p, "null", 1, 1, COND, 0.7);
  params_allocate(p), params_init(p, 8);
  return p;
}

typedef struct {
  Arena *arena;
  Denoiser d;
  Params *params, *energy;
} Model;
static inline Model model_open(const char *schedule, int outputs) {
  Model m = { .arena = arena_new() };
  m.d = (Denoiser){ .net = mlp_net, .embed = level_embed, .predicts = PREDICTS_X0, .dim = DIM };
  m.d.schedule = a_schedule(m.arena, schedule, 30), m.d.learns_variance = outputs > DIM;
  m.params = mlp_params(m.arena, "net", DIM + 2 + COND, outputs);
  m.energy = mlp_params(m.arena, "energy", DIM + 1 + COND, 1);
  return m;
}

static inline void fill(real *x, int rows, int n, const char *name) {
  Rng rng = rng_stream(21, name);
  for (int i = 0; i < rows; i++)
    for (int j = 0; j < n; j++) x[i * LD + j] = (real)rng_normal(rng, 0, (uint32_t)i, (uint32_t)j);
}

/* ---- chains with a condition ----------------------------------------------------------------- */

/* k samples a row from start [ROWS, k, LD], cond [ROWS, LD] of c numbers -> end */
static inline void sample(const Sampler *sampler, const Denoiser *d, const Params *p, int k, int c,
                          const real *start, const real *cond, real *end) {
  Arena *arena = arena_new();
  GraphSpec spec = a_graph(NULL, ROWS);
  Graph *g = graph_new(arena, &spec);
  Tensor *x = t_input(g, "start", k, d->dim), *given = t_input(g, "cond", 1, c);
  Tensor *y = sampler_record_from(g, sampler, d, p, "chain", x, given);
  graph_keep(y), graph_seal(g);
  graph_bind(x, start), graph_bind(given, cond);
  graph_run(g, ROWS, 0, NULL);
  memcpy(end, graph_values(y), (size_t)(ROWS * k * LD) * sizeof *end);
  arena_free(arena);
}
static inline void replay(const Sampler *sampler, const Denoiser *d, const Params *p, int k, int c,
                          const real *start, const real *cond, real *end) {
  Arena *arena = arena_new();
  SamplerLoopSpec spec = { .graph = a_graph(NULL, ROWS), .stream = "chain", .k = k, .cond = c };
  SamplerLoop *loop = sampler_loop_new(arena, sampler, d, p, &spec);
  memcpy(end, start, (size_t)(ROWS * k * LD) * sizeof *end);
  sampler_loop_run(loop, ROWS, 0, NULL, cond, end, true);
  arena_free(arena);
}

/* the last entry of x is known: the first number of the condition */
static inline Known last_is_cond(const void *user, const NetInput *a) {
  (void)user;
  Tensor *keep = t_table(a->g, (double[DIM]){ [DIM - 1] = 1 }, 1, DIM);
  return (Known){ keep, t_mul(keep, t_col(a->cond, 0)) };
}

#endif
