/* ops_bench.h -- a tape to try an op on.
 *
 * An example builds a tensor y from trained leaves.  The loss is mean(w y) with random weights w;
 * its gradient along a random direction of all parameters must be the central difference.  Where an
 * op allows it, the same is asked of dy/dlever, where every leaf is proportional to the lever: that
 * is a gradient of a recorded gradient.  The same tape with every value kept apart must give the
 * same bits (lane scratch is shared without harm), and all padding must be zero. */
#ifndef TESTS_OPS_BENCH_H
#define TESTS_OPS_BENCH_H
#include "core/ops/ops.h"
#include "core/tape/tape.h"
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 7, GROUP = 5, LANE = 2, WIDE = 21, BENCH_INPUTS = 40 };

/* slots of the trained Params; each comes twice, for the two sides of an op */
enum {
  LEAF,
  LEAF_N = 2,
  LEAF_E = 4,
  LEAF_1 = 6,
  WEIGHT = 8,
  BIAS = 10,
  FILTER = 12,
  OFFSET = 14,
  TILED = 16,
  SLOTS = 18
};

typedef struct {
  int k, e, n;
} Size;

typedef struct Bench {
  Size size;
  Arena *arena;
  Params *params, *fixed; /* trained, and the loss weights of each member */
  Graph *g;
  Tensor *lever; /* nullable; ROW [1, 1, 1] */
  int inputs;
  Tensor *input[BENCH_INPUTS];
  const real *data[BENCH_INPUTS];
  Tensor *y;
} Bench;
typedef Tensor *Build(Bench *b);

static double normal(const char *stream, uint64_t step, uint32_t row, uint32_t draw) {
  return rng_normal(rng_stream(11, stream), step, row, draw);
}

/* ---- leaves ---------------------------------------------------------------------------------- */

/* ROW [k, 1, n] of fixed random numbers; n padded with zeros */
static Tensor *noise(Bench *b, int k, int n) {
  CHECK(b->inputs < BENCH_INPUTS, "more inputs");
  int ld = row_stride(n);
  real *data = arena_array(b->arena, real, ROWS * k * ld);
  for (int r = 0; r < ROWS * k; r++)
    for (int j = 0; j < n; j++)
      data[r * ld + j] = (real)normal("noise", (uint64_t)b->inputs, (uint32_t)r, (uint32_t)j);
  Tensor *t = t_input(b->g, arena_text(b->arena, "noise %d", b->inputs), k, n);
  b->input[b->inputs] = t, b->data[b->inputs++] = data;
  return t;
}

static Tensor *slot(Bench *b, int base, int side) { return t_param(b->g, b->params, base + side); }

/* ROW [k, e, n] that depends on the parameters, in every row by another factor */
static Tensor *leaf(Bench *b, int side, int k, int e, int n) {
  int base = e > 1 ? (n > 1 ? LEAF : LEAF_E) : (n > 1 ? LEAF_N : LEAF_1);
  Tensor *x = t_mul(noise(b, k, n), slot(b, base, side));
  return b->lever ? t_mul(x, b->lever) : x;
}
static Tensor *full(Bench *b, int side) { return leaf(b, side, b->size.k, b->size.e, b->size.n); }
static Tensor *flat(Bench *b, int side) { return leaf(b, side, b->size.k, 1, b->size.n); }

/* ONCE [k, 1, n] likewise */
static Tensor *once(Bench *b, int side, int k) {
  double *values = arena_array(b->arena, double, k * b->size.n);
  for (int i = 0; i < k * b->size.n; i++)
    values[i] = normal("once", (uint64_t)side, 0, (uint32_t)i);
  return t_mul(t_table(b->g, values, k, b->size.n), slot(b, LEAF_N, side));
}

/* 1 + x^2: away from zero, where division and logarithm are steep */
static Tensor *positive(Tensor *x) { return t_shift(t_map(MAP_square, x), 1); }

/* What is not in the list has no example.  "aux" is the place of another op's second output. */
static void every_op_is_listed(const Graph *g) {
  size_t count;
  const Op *const *ops = op_list(&count);
  for (int id = 0; id < g->nodes; id++) {
    const Op *op = g->node[id]->op;
    bool listed = !strcmp(op->name, "aux");
    for (size_t i = 0; i < count && !listed; i++) listed = ops[i] == op;
    if (!listed) fail_msg("the op %s is not in the list of core/ops/ops.c", op->name);
  }
}

/* ---- the bench ------------------------------------------------------------------------------- */

static void declare(Bench *b) {
  const int e = b->size.e, n = b->size.n;
  const int shape[SLOTS / 2][3] = { { e, 1, n }, { 1, 1, n },        { e, 1, 1 },
                                    { 1, 1, 1 }, { e, 2 * n, WIDE }, { e, 1, WIDE },
                                    { 1, 6, 2 }, { 1, 1, 2 },        { 1, 5 * 16, 16 } };
  b->params = params_new(b->arena, "trained"), b->fixed = params_new(b->arena, "fixed");
  for (int i = 0; i < SLOTS; i++)
    params_slot(b->params, arena_text(b->arena, "%d", i), shape[i / 2][0], shape[i / 2][1],
                shape[i / 2][2], 1);
  for (int width = 1; width < 64; width++)
    params_slot(b->fixed, arena_text(b->arena, "%d", width), e, 1, width, 1);
  params_allocate(b->params), params_allocate(b->fixed);
  params_init(b->params, 1), params_init(b->fixed, 2);
}

/* y times random weights */
static Tensor *weighted(Bench *b, Tensor *y) {
  Tensor *w = noise(b, y->k, y->n);
  if (y->e > 1) w = t_mul(w, t_param(b->g, b->fixed, y->n - 1));
  return t_mul(w, y);
}

enum { KEEP_ALL = 1, THROUGH = 2 }; /* every value apart; dy/dlever instead of y */

static Tensor *bench_open(Bench *b, Size size, Build *build, int how) {
  *b = (Bench){ .size = size, .arena = arena_new() };
  declare(b);
  Error error;
  b->g = graph_new(b->arena, &(GraphSpec){ .trained = b->params,
                                           .seed = 5,
                                           .max_rows = ROWS,
                                           .kernels = kernels_find("own", &error),
                                           .group = GROUP,
                                           .lane = LANE });
  if (how & THROUGH) b->lever = noise(b, 1, 1);
  b->y = build(b);
  if (how & THROUGH) b->y = t_grad_through(weighted(b, b->y), b->lever);
  Tensor *loss = t_mean(weighted(b, b->y));
  graph_minimise(loss);
  for (int id = 0; (how & KEEP_ALL) && id < b->g->nodes; id++)
    if (b->g->node[id]->kind == ROW) graph_keep(b->g->node[id]);
  every_op_is_listed(b->g);
  graph_seal(b->g);
  for (int i = 0; i < b->inputs; i++) graph_bind(b->input[i], b->data[i]);
  return loss;
}

static double run(Bench *b, const Tensor *loss) {
  graph_run(b->g, ROWS, 3, NULL);
  return graph_scalar(loss);
}

static bool listed_op_is_live(const Bench *b, const Op *op) {
  for (int id = 0; id < b->g->nodes; id++)
    if (b->g->node[id]->live && b->g->node[id]->op == op) return true;
  return false;
}

/* ---- derivatives ----------------------------------------------------------------------------- */

/* central difference of the loss along a random direction, and the gradient along it */
static void directional(Bench *b, const Tensor *loss, double *numeric, double *analytic) {
  const Layout *layout = b->params->layout;
  double h = sizeof(real) == 8 ? 1e-5 : 4e-3, side[2];
  real *start = arena_array(b->arena, real, layout->size), *v = b->params->values;
  double *direction = arena_array(b->arena, double, layout->size);
  memcpy(start, v, layout->size * sizeof *start);
  run(b, loss);
  *analytic = 0;
  for (int s = 0; s < layout->slots; s++)
    for (int r = 0; r < layout->slot[s].e * layout->slot[s].rows; r++)
      for (int j = 0; j < layout->slot[s].n; j++) {
        size_t at = layout->slot[s].offset + (size_t)(r * layout->slot[s].ld + j);
        direction[at] = normal("direction", 0, (uint32_t)at, 0);
        *analytic += direction[at] * (double)graph_gradient(b->g)[at];
      }
  for (int i = 0; i < 2; i++) {
    for (size_t at = 0; at < layout->size; at++)
      v[at] = (real)((double)start[at] + (i ? -h : h) * direction[at]);
    params_touch(b->params);
    side[i] = run(b, loss);
  }
  memcpy(v, start, layout->size * sizeof *start);
  params_touch(b->params);
  *numeric = (side[0] - side[1]) / (2 * h);
}

static void padding_is_zero(const Bench *b) {
  for (int id = 0; id < b->g->nodes; id++) {
    const Tensor *t = b->g->node[id];
    if (t->kind != ROW || !t->live || t->twin || t->place != PLACE_KEPT) continue;
    for (int r = 0; r < ROWS * t->k * t->e; r++)
      for (int j = t->n; j < padded(t->n); j++)
        if (t->data[(ptrdiff_t)r * t->ld + j] != 0) fail_msg("padding of %s", t->op->name);
  }
  const Layout *layout = b->params->layout;
  for (int s = 0; s < layout->slots; s++)
    for (int r = 0; r < layout->slot[s].e * layout->slot[s].rows; r++)
      for (int j = layout->slot[s].n; j < layout->slot[s].ld; j++)
        if (graph_gradient(b->g)[layout->slot[s].offset + (size_t)(r * layout->slot[s].ld + j)] !=
            0)
          fail_msg("padding of the gradient of slot %d", s);
}

static bool derivative_at(const Op *op, Build *build, Size size, int how) {
  Bench shared, apart;
  double numeric, analytic, bound = sizeof(real) == 8 ? 1e-7 : 1e-2;
  Tensor *loss = bench_open(&shared, size, build, how);
  bool used = listed_op_is_live(&shared, op);
  directional(&shared, loss, &numeric, &analytic);
  if (!(fabs(numeric - analytic) <= bound * fmax(fabs(analytic), 0.1)))
    fail_msg("%s at [%d, %d, %d]%s: difference quotient %.9g, gradient %.9g", op->name, size.k,
             size.e, size.n, how & THROUGH ? ", slope" : "", numeric, analytic);
  run(&shared, loss);
  run(&apart, bench_open(&apart, size, build, how | KEEP_ALL));
  if (memcmp(graph_gradient(shared.g), graph_gradient(apart.g),
             shared.params->layout->size * sizeof(real)))
    fail_msg("%s at [%d, %d, %d]: values in lane scratch overlap", op->name, size.k, size.e,
             size.n);
  padding_is_zero(&apart);
  arena_free(shared.arena), arena_free(apart.arena);
  return used;
}

static void derivative(const Op *op, Build *build, int how) {
  static const Size sizes[] = { { 1, 1, 1 }, { 1, 1, 3 },  { 3, 1, 16 },
                                { 1, 2, 5 }, { 2, 3, 19 }, { 4, 2, 1 } };
  bool used = false;
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
    used |= derivative_at(op, build, sizes[i], how);
  if (!used && !(how & THROUGH)) fail_msg("the example of %s does not use it", op->name);
}

/* ---- values by formula ----------------------------------------------------------------------- */

static double at(const Tensor *t, int row, int k, int e, int j) {
  return (double)graph_values(t)[(row * t->k + k) * t->e * t->ld + e * t->ld + j];
}

/* run what `build` records, y kept; the loss of the bench comes along */
static const Tensor *value(Bench *b, Size size, Build *build) {
  run(b, bench_open(b, size, build, KEEP_ALL));
  return b->y;
}

#define FOR_ROWS(bench, R, K, J) /* and their entries */                                           \
  for (int R = 0; R < ROWS; R++)                                                                   \
    for (int K = 0; K < (bench).y->k; K++)                                                         \
      for (int J = 0; J < (bench).y->n; J++)

#endif
