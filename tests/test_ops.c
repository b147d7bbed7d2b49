/* test_ops.c -- every listed op: its derivative is the analytic one, or its value the formula.
 *
 * An example builds a tensor y from trained leaves.  The loss is mean(w y) with random weights w;
 * its gradient along a random direction of all parameters must be the central difference.  The
 * same tape with every value kept apart must give the same bits (lane scratch is shared without
 * harm), and all padding must be zero. */
#include "core/ops.h"
#include "core/tape.h"
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 7, GROUP = 5, LANE = 2, WIDE = 21 };

/* slots of the trained Params; each comes twice, for the two sides of an op */
enum { LEAF, LEAF_N = 2, LEAF_E = 4, LEAF_1 = 6, WEIGHT = 8, BIAS = 10, SLOTS = 12 };

typedef struct {
  int k, e, n;
} Size;

typedef struct Bench {
  Size size;
  Arena *arena;
  Params *params, *fixed; /* trained, and the loss weights of each member */
  Graph *g;
  int inputs;
  Tensor *input[16];
  const real *data[16];
  Tensor *y;
} Bench;
typedef Tensor *Build(Bench *b);

static double normal(const char *stream, uint64_t step, uint32_t row, uint32_t draw) {
  return rng_normal(rng_stream(11, stream), step, row, draw);
}

/* ---- leaves ---------------------------------------------------------------------------------- */

/* ROW [k, 1, n] of fixed random numbers; n padded with zeros */
static Tensor *noise(Bench *b, int k, int n) {
  CHECK(b->inputs < 16, "more inputs");
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
  return t_mul(noise(b, k, n), slot(b, base, side));
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

/* ---- the bench ------------------------------------------------------------------------------- */

static void declare(Bench *b) {
  const int e = b->size.e, n = b->size.n;
  const int shape[SLOTS / 2][3] = { { e, 1, n }, { 1, 1, n },        { e, 1, 1 },
                                    { 1, 1, 1 }, { e, 2 * n, WIDE }, { e, 1, WIDE } };
  b->params = params_new(b->arena, "trained"), b->fixed = params_new(b->arena, "fixed");
  for (int i = 0; i < SLOTS; i++)
    params_slot(b->params, arena_text(b->arena, "%d", i), shape[i / 2][0], shape[i / 2][1],
                shape[i / 2][2], 1);
  for (int width = 1; width < 64; width++)
    params_slot(b->fixed, arena_text(b->arena, "%d", width), e, 1, width, 1);
  params_allocate(b->params), params_allocate(b->fixed);
  params_init(b->params, 1), params_init(b->fixed, 2);
}

/* weights of the loss in y's shape */
static Tensor *loss_of(Bench *b, Tensor *y) {
  Tensor *w = noise(b, y->k, y->n);
  if (y->e > 1) w = t_mul(w, t_param(b->g, b->fixed, y->n - 1));
  return t_mean(t_mul(w, y));
}

static Tensor *bench_open(Bench *b, Size size, Build *build, bool keep_all) {
  *b = (Bench){ .size = size, .arena = arena_new() };
  declare(b);
  Error error;
  b->g = graph_new(b->arena, &(GraphSpec){ .trained = b->params,
                                           .seed = 5,
                                           .max_rows = ROWS,
                                           .kernels = kernels_find("own", &error),
                                           .group = GROUP,
                                           .lane = LANE });
  b->y = build(b);
  Tensor *loss = loss_of(b, b->y);
  graph_minimise(loss);
  for (int id = 0; keep_all && id < b->g->nodes; id++)
    if (b->g->node[id]->kind == ROW) graph_keep(b->g->node[id]);
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

static bool derivative_at(const Op *op, Build *build, Size size) {
  Bench shared, apart;
  double numeric, analytic, bound = sizeof(real) == 8 ? 1e-7 : 1e-2;
  Tensor *loss = bench_open(&shared, size, build, false);
  bool used = listed_op_is_live(&shared, op);
  directional(&shared, loss, &numeric, &analytic);
  if (!(fabs(numeric - analytic) <= bound * fmax(fabs(analytic), 0.1)))
    fail_msg("%s at [%d, %d, %d]: difference quotient %.9g, gradient %.9g", op->name, size.k,
             size.e, size.n, numeric, analytic);
  run(&shared, loss);
  run(&apart, bench_open(&apart, size, build, true));
  if (memcmp(graph_gradient(shared.g), graph_gradient(apart.g),
             shared.params->layout->size * sizeof(real)))
    fail_msg("%s at [%d, %d, %d]: values in lane scratch overlap", op->name, size.k, size.e,
             size.n);
  padding_is_zero(&apart);
  arena_free(shared.arena), arena_free(apart.arena);
  return used;
}

static void derivative(const Op *op, Build *build) {
  static const Size sizes[] = { { 1, 1, 1 }, { 1, 1, 3 },  { 3, 1, 16 },
                                { 1, 2, 5 }, { 2, 3, 19 }, { 4, 2, 1 } };
  bool used = false;
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
    used |= derivative_at(op, build, sizes[i]);
  if (!used) fail_msg("the example of %s does not use it", op->name);
}

/* ---- examples: element by element ------------------------------------------------------------ */

static Tensor *build_maps(Bench *b) {
  Tensor *sum = NULL;
  for (int m = 0; m < MAP_COUNT; m++) {
    Tensor *x = full(b, m % 2), *y = t_map((Map)m, m == MAP_log ? positive(x) : x);
    sum = sum ? t_add(sum, y) : y;
  }
  return sum;
}

/* op(a, b) for operands of all shapes that broadcast: rows, members, columns, once */
static Tensor *pairs(Bench *b, Tensor *(*op)(Tensor *, Tensor *)) {
  int k = b->size.k, e = b->size.e, n = b->size.n;
  Tensor *y = op(full(b, 0), positive(full(b, 1)));
  y = t_add(y, op(leaf(b, 0, k, 1, n), positive(leaf(b, 1, 1, e, n))));
  y = t_add(y, op(leaf(b, 0, 1, e, 1), positive(leaf(b, 1, k, 1, n))));
  y = t_add(y, op(once(b, 0, k), positive(leaf(b, 1, k, e, 1))));
  y = t_add(y, op(full(b, 0), positive(slot(b, LEAF, 1))));
  return t_add(y, op(full(b, 0), positive(t_mean(full(b, 1))))); /* a sum: another phase */
}
static Tensor *mix(Tensor *a, Tensor *b) { return t_mix(0.3, a, -1.7, b); }
static Tensor *build_add(Bench *b) { return pairs(b, t_add); }
static Tensor *build_sub(Bench *b) { return pairs(b, t_sub); }
static Tensor *build_mul(Bench *b) { return pairs(b, t_mul); }
static Tensor *build_div(Bench *b) { return pairs(b, t_div); }
static Tensor *build_mix(Bench *b) { return pairs(b, mix); }
static Tensor *build_scale(Bench *b) { return t_scale(-2.5, full(b, 0)); }
static Tensor *build_clip(Bench *b) { return t_clip(full(b, 0), -0.5, 0.25); }
static Tensor *build_blend(Bench *b) {
  return t_blend(t_number(b->g, 0.7), full(b, 0), t_number(b->g, -1.3), full(b, 1));
}

/* ---- examples: products ---------------------------------------------------------------------- */

/* a row and an observation shared by the k candidates, into an ensemble; then member by member */
static Tensor *build_product(Bench *b) {
  Tensor *y = t_affine(b->g, b->params, WEIGHT, BIAS, IN(flat(b, 0), leaf(b, 1, 1, 1, b->size.n)));
  Tensor *h = t_slice(t_map(MAP_tanh, y), 0, b->size.n < WIDE ? b->size.n : WIDE);
  return t_affine(b->g, b->params, WEIGHT + 1, BIAS + 1, IN(h, full(b, 1)));
}
/* parts without rows: one for all candidates, one for each, and both alone */
static Tensor *build_once_product(Bench *b) {
  int k = b->size.k;
  Tensor *one = t_affine(b->g, b->params, WEIGHT, BIAS, IN(flat(b, 0), once(b, 1, 1)));
  Tensor *each = t_affine(b->g, b->params, WEIGHT, BIAS, IN(flat(b, 1), once(b, 0, k)));
  Tensor *both = t_affine(b->g, b->params, WEIGHT + 1, BIAS + 1, IN(once(b, 0, k), once(b, 1, k)));
  return t_add(t_mul(one, each), both);
}
static Tensor *build_affine(Bench *b) { return t_mul(build_product(b), build_once_product(b)); }

/* ---- examples: between axes and over rows ---------------------------------------------------- */

static Tensor *build_fold(Bench *b) { return t_fold(leaf(b, 0, b->size.k, b->size.e, 1)); }
static Tensor *build_min_last(Bench *b) { return t_mul(t_min_last(full(b, 0)), full(b, 1)); }
static Tensor *build_slice(Bench *b) {
  int from = b->size.n / 3;
  return t_mul(t_slice(full(b, 0), from, b->size.n - from), t_col(full(b, 1), b->size.n - 1));
}
static Tensor *build_row(Bench *b) {
  Tensor *table = once(b, 0, 4);
  return t_add(t_mul(full(b, 0), t_row(table, 1)), t_mul(full(b, 1), t_row(table, 3)));
}
static Tensor *build_gather(Bench *b) {
  Tensor *j = t_index(b->g, "index", b->size.k, 4);
  return t_mul(full(b, 1), t_gather(once(b, 0, 4), j));
}
static Tensor *build_mean(Bench *b) { return t_mul(t_mean(full(b, 0)), full(b, 1)); }
static Tensor *build_sum_to(Bench *b) {
  Tensor *y = t_mul(t_sum_last(full(b, 0)), full(b, 1));
  y = t_add(y, t_mul(t_sum_to(full(b, 1), leaf(b, 0, 1, 1, b->size.n)), flat(b, 0)));
  return t_add(y, t_mul(t_sum_to(full(b, 0), slot(b, LEAF_N, 0)), full(b, 1)));
}

/* ---- values by formula ----------------------------------------------------------------------- */

static double at(const Tensor *t, int row, int k, int e, int j) {
  return (double)graph_values(t)[(row * t->k + k) * t->e * t->ld + e * t->ld + j];
}

/* run what `build` records, y kept; the loss of the bench comes along */
static const Tensor *value(Bench *b, Size size, Build *build) {
  run(b, bench_open(b, size, build, true));
  return b->y;
}

#define FOR_ROWS(bench, R, K, J) /* and their entries */                                           \
  for (int R = 0; R < ROWS; R++)                                                                   \
    for (int K = 0; K < (bench).y->k; K++)                                                         \
      for (int J = 0; J < (bench).y->n; J++)

static Tensor *build_sources(Bench *b) {
  double values[6] = { 1, 2, 3, 4, 5, 6 };
  Tensor *given = t_given(b->g, "given", 2, 3), *x = noise(b, 2, 3);
  real numbers[2 * 16] = { 10, 20, 30 };
  numbers[16] = 40, numbers[17] = 50, numbers[18] = 60;
  graph_give(given, numbers);
  Tensor *sum = t_add(x, t_add(t_table(b->g, values, 2, 3), given));
  return t_add(sum, t_add(t_number(b->g, 0.5), slot(b, LEAF_N, 0)));
}
static void sources_give_what_they_were_given(const Op *op) {
  (void)op;
  Bench b;
  value(&b, (Size){ 2, 1, 3 }, build_sources);
  FOR_ROWS (b, r, k, j) {
    double x = (double)b.data[0][(r * 2 + k) * 16 + j], once_part = 11 * (k * 3 + j + 1);
    double p = (double)params_at(b.params, LEAF_N)[j];
    assert_true(fabs(at(b.y, r, k, 0, j) - (x + once_part + 0.5 + p)) < 1e-5);
  }
  arena_free(b.arena);
}

/* d(x detach(x)) = detach(x) dx is half of d(x x) */
static Tensor *build_detached(Bench *b) {
  Tensor *x = full(b, 0);
  return t_scale(2, t_mul(x, t_detach(x)));
}
static Tensor *build_square(Bench *b) {
  Tensor *x = full(b, 0);
  return t_mul(x, x);
}
static void detach_stops_gradients(const Op *op) {
  Bench half, whole;
  value(&half, (Size){ 2, 3, 5 }, build_detached), value(&whole, (Size){ 2, 3, 5 }, build_square);
  assert_true(listed_op_is_live(&half, op));
  for (size_t i = 0; i < half.params->layout->size; i++)
    assert_true(fabs((double)(graph_gradient(half.g)[i] - graph_gradient(whole.g)[i])) < 1e-6);
  FOR_ROWS (half, r, k, j) assert_true(at(half.y, r, k, 2, j) == 2 * at(whole.y, r, k, 2, j));
  arena_free(half.arena), arena_free(whole.arena);
}

static Tensor *build_max_k(Bench *b) { return t_max_k(full(b, 0)); }
static void max_k_is_the_largest(const Op *op) {
  Bench b;
  const Tensor *y = value(&b, (Size){ 4, 2, 19 }, build_max_k);
  assert_true(y->op == op);
  for (int e = 0; e < 2; e++)
    FOR_ROWS (b, r, one, j) {
      double most = -INFINITY;
      for (int k = 0; k < 4; k++) most = fmax(most, at(y->in[0], r, k, e, j));
      assert_true(at(y, r, one, e, j) == most);
    }
  arena_free(b.arena);
}

static Tensor *build_spread(Bench *b) { return t_spread(t_mean(full(b, 0)), full(b, 1), -3); }
static void spread_repeats_a_scalar(const Op *op) {
  Bench b;
  const Tensor *y = value(&b, (Size){ 2, 1, 5 }, build_spread);
  assert_true(y->op == op);
  double mean = (double)*y->in[0]->data;
  FOR_ROWS (b, r, k, j) assert_true(fabs(at(y, r, k, 0, j) + 3 * mean) < 1e-6);
  arena_free(b.arena);
}

static Tensor *build_timeembed(Bench *b) { return t_timeembed(leaf(b, 0, b->size.k, 1, 1), 6); }
static void timeembed_is_sines_then_cosines(const Op *op) {
  Bench b;
  const Tensor *y = value(&b, (Size){ 2, 1, 1 }, build_timeembed);
  assert_true(y->op == op);
  FOR_ROWS (b, r, k, j) {
    double angle = at(y->in[0], r, k, 0, 0) * pow(10000, -(j % 3) / 2.0);
    assert_true(fabs(at(y, r, k, 0, j) - (j < 3 ? sin(angle) : cos(angle))) < 1e-6);
  }
  arena_free(b.arena);
}

/* ---- random ops: functions of (seed, name; step 3, row, draw) -------------------------------- */

static Tensor *build_normal(Bench *b) { return t_normal(b->g, "draw", 2, 19); }
static void normal_is_its_stream(const Op *op) {
  Bench b;
  const Tensor *y = value(&b, (Size){ 2, 1, 19 }, build_normal);
  assert_true(y->op == op);
  float row[19];
  FOR_ROWS (b, r, k, j) {
    rng_normals(rng_stream(5, "draw"), 3, (uint32_t)(r * 2 + k), row, 19);
    assert_true(at(y, r, k, 0, j) == (double)row[j]);
  }
  arena_free(b.arena);
}

static Tensor *build_uniform(Bench *b) { return t_uniform(b->g, "draw", 2, 19); }
static void uniform_is_its_stream(const Op *op) {
  Bench b;
  const Tensor *y = value(&b, (Size){ 2, 1, 19 }, build_uniform);
  assert_true(y->op == op);
  FOR_ROWS (b, r, k, j) {
    double u = rng_uniform(rng_stream(5, "draw"), 3, (uint32_t)(r * 2 + k), (uint32_t)j);
    assert_true(at(y, r, k, 0, j) == (double)(real)u);
  }
  arena_free(b.arena);
}

static Tensor *build_index(Bench *b) { return t_index(b->g, "draw", 2, 5); }
static void index_is_its_stream(const Op *op) {
  Bench b;
  const Tensor *y = value(&b, (Size){ 2, 1, 1 }, build_index);
  assert_true(y->op == op);
  FOR_ROWS (b, r, k, j)
    assert_true(at(y, r, k, 0, j) ==
                (double)rng_below(rng_stream(5, "draw"), 3, (uint32_t)(r * 2 + k), 0, 5));
  arena_free(b.arena);
}

static Tensor *build_coin(Bench *b) { return t_mul(t_coin(b->g, "draw"), noise(b, 1, 1)); }
static void coin_falls_on_both_sides(const Op *op) {
  Bench b;
  value(&b, (Size){ 1, 1, 1 }, build_coin);
  assert_true(b.y->in[0]->op == op);
  int heads = 0;
  for (uint64_t step = 0; step < 1000; step++) {
    graph_run(b.g, 1, step, NULL);
    double coin = (double)*b.y->in[0]->data;
    assert_true(coin == 0 || coin == 1);
    heads += coin == 1;
  }
  assert_in_range(heads, 437, 563); /* 4 standard deviations */
  arena_free(b.arena);
}

static Tensor *build_pick(Bench *b) {
  return t_pick(noise(b, 3, 5), noise(b, 3, 1), "draw", b->size.e > 1 ? 0.8 : 0);
}
static void pick_takes_the_best_or_draws_from_softmax(const Op *op) {
  enum { STEPS = 4000 };
  for (int soft = 0; soft < 2; soft++) {
    Bench b;
    const Tensor *y = value(&b, (Size){ 1, 1 + soft, 1 }, build_pick);
    assert_true(y->op == op);
    int count[ROWS][3] = { 0 };
    for (uint64_t step = 0; step < STEPS; step++) {
      graph_run(b.g, ROWS, step, NULL);
      for (int r = 0; r < ROWS; r++)
        for (int k = 0; k < 3; k++) count[r][k] += at(y, r, 0, 0, 4) == at(y->in[0], r, k, 0, 4);
    }
    for (int r = 0; r < ROWS; r++) {
      double s[3], total = 0, best = -INFINITY;
      for (int k = 0; k < 3; k++) best = fmax(best, s[k] = at(y->in[1], r, k, 0, 0));
      for (int k = 0; k < 3; k++) total += s[k] = soft ? exp(s[k] / 0.8) : s[k] == best;
      for (int k = 0; k < 3; k++) {
        double p = s[k] / total, spread = sqrt(p * (1 - p) * STEPS);
        assert_true(fabs(count[r][k] - p * STEPS) <= 4 * spread);
      }
    }
    arena_free(b.arena);
  }
}

/* ---- every op has an example ----------------------------------------------------------------- */

static const struct {
  const char *op;
  Build *build;                  /* differentiable: the example's derivative is checked */
  void (*formula)(const Op *op); /* else its value */
} examples[] = {
  { "input", NULL, sources_give_what_they_were_given },
  { "table", NULL, sources_give_what_they_were_given },
  { "given", NULL, sources_give_what_they_were_given },
  { "number", NULL, sources_give_what_they_were_given },
  { "param", NULL, sources_give_what_they_were_given },
  { "slot_add", build_add, NULL },
  { "map", build_maps, NULL },
  { "add", build_add, NULL },
  { "sub", build_sub, NULL },
  { "mul", build_mul, NULL },
  { "div", build_div, NULL },
  { "mix", build_mix, NULL },
  { "scale", build_scale, NULL },
  { "detach", NULL, detach_stops_gradients },
  { "clip", build_clip, NULL },
  { "blend", build_blend, NULL },
  { "pack", build_product, NULL },
  { "product", build_once_product, NULL },
  { "weight_grad", build_affine, NULL },
  { "fold", build_fold, NULL },
  { "unfold", build_fold, NULL },
  { "min_last", build_min_last, NULL },
  { "max_k", NULL, max_k_is_the_largest },
  { "slice", build_slice, NULL },
  { "into_slice", build_slice, NULL },
  { "row", build_row, NULL },
  { "into_row", build_row, NULL },
  { "gather", build_gather, NULL },
  { "scatter", build_gather, NULL },
  { "mean", build_mean, NULL },
  { "spread", NULL, spread_repeats_a_scalar },
  { "sum_to", build_sum_to, NULL },
  { "sum_rows", build_sum_to, NULL },
  { "timeembed", NULL, timeembed_is_sines_then_cosines },
  { "normal", NULL, normal_is_its_stream },
  { "uniform", NULL, uniform_is_its_stream },
  { "index", NULL, index_is_its_stream },
  { "coin", NULL, coin_falls_on_both_sides },
  { "pick", NULL, pick_takes_the_best_or_draws_from_softmax },
};

static void has_an_example_that_holds(void **state) {
  const Op *op = *state;
  bool found = false;
  for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
    if (strcmp(examples[i].op, op->name)) continue;
    found = true;
    if (examples[i].build)
      derivative(op, examples[i].build);
    else
      examples[i].formula(op);
  }
  if (!found) fail_msg("the op %s has no example", op->name);
}

int main(void) {
  size_t count;
  const Op *const *ops = op_list(&count);
  struct CMUnitTest *tests = calloc(count, sizeof *tests);
  for (size_t i = 0; i < count; i++)
    tests[i] = (struct CMUnitTest){ ops[i]->name, has_an_example_that_holds, NULL, NULL,
                                    (void *)(uintptr_t)ops[i] };
  int failed = _cmocka_run_group_tests("ops", tests, count, NULL, NULL);
  free(tests);
  return failed;
}
