/* test_adapter.c -- low-rank adapters: W = W0 at the start, gradients of the factors against
 * differences, a first step at full rank that is full fine-tuning's, and equal bits. */
#include "core/tape/adapter.h"
#include "core/ops/ops.h"
#include "core/tape/graph.h"
#include "tests/pool.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

static const bool fine = sizeof(real) > sizeof(float);

static const Kernels *own(void) {
  Error error;
  return kernels_find("own", &error);
}

/* ---- a network of all shapes ----------------------------------------------------------------- */

/* a plane of 4 x 3 with 2 channels -> convolution (18 x 5, taller than wide), two members
 * (60 x 70), one number (70 x 1, with a bias) */
enum { ROWS = 5, IN_SIZE = 24, HIDDEN = 70, FULL = 60 };

typedef struct {
  Arena *arena;
  Params *net, *base;
  int conv, conv_bias, wide, wide_bias, last, last_bias;
  real x[ROWS * 32];
  Graph *g;
  Tensor *loss;
} Net;

static Net *net_new(Arena *arena, Pool *pool) {
  Net *m = arena_alloc(arena, sizeof *m);
  Params *p = params_new(arena, "net");
  *m = (Net){ .arena = arena, .net = p };
  m->conv = params_slot(p, "conv/w", 1, 18, 5, 0.3);
  m->conv_bias = params_slot(p, "conv/b", 1, 1, 5, 0.1);
  m->wide = params_slot(p, "wide/w", 2, FULL, HIDDEN, 0.2);
  m->wide_bias = params_slot(p, "wide/b", 2, 1, HIDDEN, 0.1);
  m->last = params_slot(p, "last/w", 2, HIDDEN, 1, 0.3);
  m->last_bias = params_slot(p, "last/b", 2, 1, 1, 0.1);
  params_allocate(p), params_init(p, 3);
  m->base = params_clone(p, "base");
  GraphSpec spec = {
    .trained = p, .kernels = own(), .pool = pool, .max_rows = ROWS, .group = 2, .lane = 2
  };
  m->g = graph_new(arena, &spec);
  ConvSpec how = { .in = { 4, 3, 2 }, .kh = 3, .kw = 3, .stride = 1, .pad = 1 };
  Tensor *x = t_input(m->g, "x", 1, IN_SIZE);
  Tensor *h = t_map(MAP_tanh, t_conv(m->g, p, m->conv, m->conv_bias, IN(x), &how));
  h = t_map(MAP_tanh, t_affine(m->g, p, m->wide, m->wide_bias, IN(h)));
  Tensor *y = t_affine(m->g, p, m->last, m->last_bias, IN(h));
  m->loss = t_mean(t_map(MAP_square, y));
  graph_minimise(m->loss), graph_keep(m->loss), graph_seal(m->g);
  Rng rng = rng_stream(4, "x");
  int ld = row_stride(IN_SIZE);
  assert_true(ROWS * ld <= (int)(sizeof m->x / sizeof *m->x));
  for (int i = 0; i < ROWS; i++)
    for (int j = 0; j < IN_SIZE; j++)
      m->x[i * ld + j] = (real)(float)rng_normal(rng, 0, (uint32_t)i, (uint32_t)j);
  graph_bind(x, m->x);
  return m;
}

static double loss(const Net *m) {
  graph_run(m->g, ROWS, 0, NULL);
  return graph_scalar(m->loss);
}

static Adapter *adapter_of(const Net *m, int rank) {
  Error error = { 0 };
  Adapter *a = adapter_new(m->arena, m->net, m->base, rank, 7, &error);
  if (!a) fail_msg("%s", error.text);
  return a;
}

/* ---- the start ------------------------------------------------------------------------------- */

/* One factor is 0, so W is W0 to the bit; the other has orthogonal columns (rows) of the squared
 * length width / rank, and is the identity where it is square. */
static void it_begins_at_the_weights_that_came(void **state) {
  (void)state;
  static const int ranks[] = { 1, 4, 18, FULL };
  for (int i = 0; i < 4; i++) {
    Arena *arena = arena_new();
    Net *m = net_new(arena, NULL);
    Adapter *a = adapter_of(m, ranks[i]);
    assert_int_equal(a->pairs, 3);
    adapter_merge(a, own(), NULL);
    assert_memory_equal(m->net->values, m->base->values, m->net->layout->size * sizeof(real));
    const Slot *f = &a->factors->layout->slot[2]; /* of wide: 60 inputs, 70 outputs */
    assert_int_equal(f->n, ranks[i]);
    for (int e = 0; e < 2; e++)
      for (int k = 0; k < f->n; k++)
        for (int l = 0; l <= k; l++) {
          const real *frame = params_at(a->factors, 2) + (ptrdiff_t)e * f->rows * f->ld;
          double dot = 0;
          for (int r = 0; r < f->rows; r++)
            dot += (double)frame[r * f->ld + k] * (double)frame[r * f->ld + l];
          /* entries are rounded to float: at most 60 of them, each below 8 */
          assert_true(fabs(dot - (k == l ? (double)FULL / ranks[i] : 0)) < 1e-4);
          if (ranks[i] == FULL) assert_true(frame[k * f->ld + l] == (k == l));
        }
    arena_free(arena);
  }
}

/* ---- gradients ------------------------------------------------------------------------------- */

/* away from the start, where both factors have one */
static void stir(const Adapter *a) {
  Rng rng = rng_stream(9, "stir");
  for (int s = 0; s < a->factors->layout->slots; s++) {
    const Slot *f = &a->factors->layout->slot[s];
    for (int r = 0; r < f->e * f->rows; r++)
      for (int j = 0; j < f->n; j++)
        params_at(a->factors, s)[r * f->ld + j] +=
            (real)(0.1 * rng_normal(rng, (uint64_t)s, (uint32_t)r, (uint32_t)j));
  }
  adapter_merge(a, own(), NULL);
}

static double moved(const Net *m, const Adapter *a, real *at, double by) {
  real was = *at;
  *at = (real)((double)was + by);
  adapter_merge(a, own(), NULL);
  double f = loss(m);
  *at = was;
  return f;
}

/* Every seventh number of every factor, by central differences of fourth order, whose error is of
 * the order step^4 = 1e-12 in double. */
static void gradients_of_the_factors_are_slopes_of_the_loss(void **state) {
  (void)state;
  const double step = fine ? 1e-3 : 2e-2, tolerance = fine ? 1e-9 : 1e-3;
  Arena *arena = arena_new();
  Net *m = net_new(arena, NULL);
  Adapter *a = adapter_of(m, 3);
  stir(a);
  loss(m);
  adapter_pull(a, graph_gradient(m->g), own(), NULL);
  double greatest = 0;
  for (int s = 0; s < a->factors->layout->slots; s++) {
    const Slot *f = &a->factors->layout->slot[s];
    for (int i = 0; i < f->e * f->rows * f->n; i += 7) {
      ptrdiff_t place = (ptrdiff_t)f->offset + (ptrdiff_t)(i / f->n) * f->ld + i % f->n;
      real *at = a->factors->values + place;
      double slope = (moved(m, a, at, -2 * step) - 8 * moved(m, a, at, -step) +
                      8 * moved(m, a, at, step) - moved(m, a, at, 2 * step)) /
                     (12 * step);
      greatest = fmax(greatest, fabs(slope));
      if (!(fabs(slope - (double)a->gradient[place]) < tolerance))
        fail_msg("%s, number %d: %.12g, by differences %.12g", f->name, i,
                 (double)a->gradient[place], slope);
    }
  }
  assert_true(greatest > 30 * tolerance); /* there was something to see */
  arena_free(arena);
}

/* ---- steps ----------------------------------------------------------------------------------- */

/* With rank = full width one factor is the identity I and the other, Z, is 0: dL/dZ is dL/dW to
 * the bit and dL/dI = 0, so Adam moves Z as it would W.  W0 + Z is rounded once more than Adam's
 * own sum: by half of the last place of W, which is at most 0.3 + rate. */
static void the_first_step_at_full_rank_is_full_fine_tuning(void **state) {
  (void)state;
  const double place = fine ? 1e-16 : 6e-8;
  Arena *arena = arena_new(), *other = arena_new();
  Net *full = net_new(arena, NULL), *low = net_new(other, NULL);
  Adapter *a = adapter_of(low, FULL);
  OptimSpec spec = optim_adam(1e-2);
  Optim *of_full = optim_new(arena, full->net, &spec),
        *of_low = optim_new(other, a->factors, &spec);
  loss(full), loss(low);
  assert_true(optim_step(of_full, graph_gradient(full->g), own(), NULL));
  assert_true(adapter_step(a, of_low, graph_gradient(low->g), own(), NULL));
  for (int s = 0; s < full->net->layout->slots; s++) {
    const Slot *w = &full->net->layout->slot[s];
    const real *x = params_at(full->net, s), *y = params_at(low->net, s);
    double most = 0;
    for (int i = 0; i < w->e * w->rows * w->ld; i++) most = fmax(most, fabs((double)(x[i] - y[i])));
    if (w->rows > 1)
      assert_true(most < place);
    else { /* biases stay as they came, and full fine-tuning moves them */
      assert_memory_equal(y, params_at(low->base, s), (size_t)(w->e * w->ld) * sizeof(real));
      assert_true(most > 1e-3);
    }
  }
  arena_free(arena), arena_free(other);
}

/* The numbers of W - W0 after a step of plain gradient descent, at the start and for any rank, are
 * those of -rate F F^T dL/dW (or -rate dL/dW F F^T), F the frame. */
static void a_first_step_is_projected(void **state) {
  (void)state;
  const double rate = 0.5, tolerance = fine ? 1e-12 : 1e-5;
  Arena *arena = arena_new();
  Net *m = net_new(arena, NULL);
  Adapter *a = adapter_of(m, 6);
  loss(m);
  const real *dw = graph_gradient(m->g);
  adapter_pull(a, dw, own(), NULL);
  const Slot *w = &m->net->layout->slot[m->wide], *f = &a->factors->layout->slot[2];
  const real *frame = params_at(a->factors, 2);
  double *wanted = arena_array(arena, double, (ptrdiff_t)w->rows * w->n);
  for (int i = 0; i < w->rows; i++)
    for (int k = 0; k < w->rows; k++) {
      double p = 0;
      for (int r = 0; r < f->n; r++)
        p += (double)frame[i * f->ld + r] * (double)frame[k * f->ld + r];
      for (int j = 0; j < w->n; j++)
        wanted[i * w->n + j] -= rate * p * (double)dw[w->offset + (size_t)(k * w->ld + j)];
    }
  for (size_t i = 0; i < a->factors->layout->size; i++)
    a->factors->values[i] -= (real)(rate * (double)a->gradient[i]);
  adapter_merge(a, own(), NULL);
  double most = 0;
  for (int i = 0; i < w->rows; i++)
    for (int j = 0; j < w->n; j++) {
      double went = (double)params_at(m->net, m->wide)[i * w->ld + j] -
                    (double)params_at(m->base, m->wide)[i * w->ld + j];
      most = fmax(most, fabs(went));
      assert_true(fabs(went - wanted[i * w->n + j]) < tolerance);
    }
  assert_true(most > 30 * tolerance);
  arena_free(arena);
}

/* Twenty steps with an average of W, with one, two and three threads; the rank of W - W0 is what it
 * was to be: of rank 1, all 2 x 2 minors are 0. */
static void threads_change_no_bit(void **state) {
  (void)state;
  enum { STEPS = 20 };
  Arena *first = NULL;
  Net *known = NULL;
  Params *known_average = NULL;
  for (int threads = 1; threads <= 3; threads++) {
    Pool *pool = pool_of(threads);
    Arena *arena = arena_new();
    Net *m = net_new(arena, pool);
    Adapter *a = adapter_of(m, 1);
    Params *average = params_clone(m->net, "average");
    OptimSpec spec = optim_adam(1e-2);
    Optim *optim = optim_new(arena, a->factors, &spec);
    optim->ema = (Ema){ average, 0.5, 0, 2 };
    Objective o = { .graph = m->g, .loss = m->loss, .optim = optim, .pool = pool, .adapter = a };
    double before = loss(m);
    for (int t = 0; t < STEPS; t++) assert_true(objective_step(&o, ROWS, (uint64_t)t));
    assert_true(loss(m) < 0.5 * before);
    if (!first)
      first = arena, known = m, known_average = average;
    else {
      size_t bytes = m->net->layout->size * sizeof(real);
      assert_memory_equal(m->net->values, known->net->values, bytes);
      assert_memory_equal(average->values, known_average->values, bytes);
      arena_free(arena);
    }
    pool_free(pool);
  }
  const Slot *w = &known->net->layout->slot[known->wide];
  const real *x = params_at(known->net, known->wide), *x0 = params_at(known->base, known->wide);
  double most = 0;
#define WENT(i, j) ((double)x[(i)*w->ld + (j)] - (double)x0[(i)*w->ld + (j)])
  for (int i = 0; i + 1 < w->rows; i++) {
    double minor = WENT(i, 0) * WENT(i + 1, 1) - WENT(i, 1) * WENT(i + 1, 0);
    most = fmax(most, fabs(WENT(i, 0)));
    assert_true(fabs(minor) < (fine ? 1e-15 : 1e-6));
  }
#undef WENT
  assert_true(most > 1e-2);
  /* average <- (average + W) / 2 after every second update: it lies behind W, and not at W0 */
  assert_true(memcmp(known_average->values, known->base->values,
                     known->net->layout->size * sizeof(real)) != 0);
  arena_free(first);
}

static void what_cannot_be_is_refused(void **state) {
  (void)state;
  Arena *arena = arena_new();
  Error error = { 0 };
  Net *m = net_new(arena, NULL);
  assert_null(adapter_new(arena, m->net, m->base, FULL + 1, 1, &error));
  assert_non_null(strstr(error.text, "above 60"));
  Params *flat = params_new(arena, "flat");
  params_slot(flat, "b", 1, 1, 9, 0);
  params_allocate(flat);
  assert_null(adapter_new(arena, flat, flat, 1, 1, &error));
  assert_non_null(strstr(error.text, "no matrix"));
  arena_free(arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(it_begins_at_the_weights_that_came),
    cmocka_unit_test(gradients_of_the_factors_are_slopes_of_the_loss),
    cmocka_unit_test(the_first_step_at_full_rank_is_full_fine_tuning),
    cmocka_unit_test(a_first_step_is_projected),
    cmocka_unit_test(threads_change_no_bit),
    cmocka_unit_test(what_cannot_be_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
