/* test_critic.c -- the value that members stand for, by numbers and slopes; layer norm of networks
 * by its formula. */
#include "policy/critic.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

enum { ROWS = 3, K = 2, E = 3, LD = 16 };
#define EXACT  (sizeof(real) == 8 ? 1e-12 : 2e-6)
#define DOUBLE (sizeof(real) == 8)

static const Kernels *own(void) {
  Error error;
  return kernels_find("own", &error);
}

static void near(double value, double expected, double error) {
  if (!(fabs(value - expected) <= error)) fail_msg("%.17g, expected %.17g", value, expected);
}

/* ---- the value of an ensemble ---------------------------------------------------------------- */

/* values [ROWS, K] and their slopes [ROWS, K, E] */
typedef struct {
  double value[ROWS * K], slope[ROWS * K][E];
} Value;

static Value value_of(const double q[ROWS * K][E], const char *kind, double rho) {
  Arena *arena = arena_new();
  real data[ROWS * K * LD] = { 0 };
  Value of;
  for (int i = 0; i < ROWS * K; i++)
    for (int j = 0; j < E; j++) data[i * LD + j] = (real)q[i][j];
  assert_int_equal(row_stride(E), LD);
  Graph *g = graph_new(arena, &(GraphSpec){ .kernels = own(), .max_rows = ROWS });
  Tensor *x = t_input(g, "q", K, E), *v = critic_value(x, kind, rho), *dx = t_grad(v, x);
  assert_true(v->k == K && v->e == 1 && v->n == 1);
  graph_keep(v), graph_keep(dx);
  graph_seal(g);
  graph_bind(x, data);
  graph_run(g, ROWS, 0, NULL);
  for (int i = 0; i < ROWS * K; i++) {
    of.value[i] = (double)graph_values(v)[i * v->ld];
    for (int j = 0; j < E; j++) of.slope[i][j] = (double)graph_values(dx)[i * LD + j];
  }
  arena_free(arena);
  return of;
}

static const double written[ROWS * K][E] = { { 1, 3, 2 }, { -1, -1, 2 }, { 0.5, 4, -3.5 },
                                             { 2, 2, 2 }, { -7, 5, 11 }, { 0, 0.25, 0.5 } };

static void values_are_as_written(void **state) {
  (void)state;
  static const double least[] = { 1, -1, -3.5, 2, -7, 0 };
  static const double mean[] = { 2, 0, 1.0 / 3, 2, 3, 0.25 };
  /* sums of squared distances 2, 6, 169/6, 0, 168, 1/8, of which a third is the variance */
  static const double squares[] = { 2, 6, 169.0 / 6, 0, 168, 0.125 };
  Value min = value_of(written, "min", 2), middle = value_of(written, "mean", 2);
  Value lower = value_of(written, "lower", 2), none = value_of(written, "lower", 0);
  for (int i = 0; i < ROWS * K; i++) {
    near(min.value[i], least[i], 0);
    near(middle.value[i], mean[i], EXACT);
    /* 1e-12 below the root, so that it has a slope */
    near(lower.value[i], mean[i] - 2 * sqrt(squares[i] / 3 + 1e-12), 8 * EXACT);
    near(none.value[i], mean[i], EXACT);
  }
  near(lower.value[0], 0.36700683814454794, 1e-5);
  near(lower.value[4], -11.966629547095765, 1e-5);
}

/* The least one alone is climbed, of equals the first; the mean shares evenly; members that agree
 * pull alike. */
static void slopes_are_as_written(void **state) {
  (void)state;
  static const int first_least[] = { 0, 0, 2, 0, 0, 0 };
  Value min = value_of(written, "min", 1), mean = value_of(written, "mean", 1);
  Value lower = value_of(written, "lower", 5);
  for (int i = 0; i < ROWS * K; i++)
    for (int j = 0; j < E; j++) {
      near(min.slope[i][j], j == first_least[i], 0);
      near(mean.slope[i][j], 1.0 / 3, EXACT);
      double std = sqrt(2.0 / 3), away = written[0][j] - 2;
      if (i == 0) near(lower.slope[0][j], 1.0 / 3 - 5 * away / (3 * std), 8 * EXACT);
      if (i == 3) near(lower.slope[3][j], 1.0 / 3, EXACT);
    }
}

/* central differences of the values */
static void compare_slopes(const char *kind, double rho) {
  static const double q[ROWS * K][E] = { { 1, 3, 2 }, { -1, -1.5, 2 }, { 0.5, 4, -3.5 },
                                         { 9, 2, 4 }, { -7, 5, 11 },   { 0, 0.25, 0.5 } };
  const double step = 1e-5;
  Value at = value_of(q, kind, rho);
  for (int j = 0; j < E; j++) {
    double above[ROWS * K][E], below[ROWS * K][E];
    memcpy(above, q, sizeof q), memcpy(below, q, sizeof q);
    for (int i = 0; i < ROWS * K; i++) above[i][j] += step, below[i][j] -= step;
    Value high = value_of((const double(*)[E])above, kind, rho);
    Value low = value_of((const double(*)[E])below, kind, rho);
    for (int i = 0; i < ROWS * K; i++)
      near(at.slope[i][j], (high.value[i] - low.value[i]) / (2 * step), 1e-8);
  }
}
static void slopes_are_those_of_differences(void **state) {
  (void)state;
  if (!DOUBLE) skip();
  compare_slopes("min", 1), compare_slopes("mean", 1);
  compare_slopes("lower", 1), compare_slopes("lower", 2.5);
}

/* ---- layer norm ------------------------------------------------------------------------------ */

enum { INPUTS = 4, HIDDEN = 7, MEMBERS = 2 };

static void norm_by_formula(double h[HIDDEN], const real *gain, const real *shift, double eps) {
  double mean = 0, variance = 0;
  for (int i = 0; i < HIDDEN; i++) mean += h[i] / HIDDEN;
  for (int i = 0; i < HIDDEN; i++) variance += (h[i] - mean) * (h[i] - mean) / HIDDEN;
  for (int i = 0; i < HIDDEN; i++)
    h[i] = (h[i] - mean) / sqrt(variance + eps) * (double)gain[i] + (double)shift[i];
}

static const real *member(const Params *p, int slot, int e) {
  const Slot *s = &p->layout->slot[slot];
  return params_at(p, slot) + (ptrdiff_t)e * s->rows * s->ld;
}

static double output_by_formula(const Mlp *net, const Params *p, int e, const real *x) {
  double h[HIDDEN];
  const real *w = member(p, net->weight[0], e), *b = member(p, net->bias[0], e);
  const real *gain = member(p, net->gain[0], e), *shift = member(p, net->shift[0], e);
  for (int j = 0; j < HIDDEN; j++) {
    h[j] = (double)b[j];
    for (int i = 0; i < INPUTS; i++) h[j] += (double)x[i] * (double)w[i * row_stride(HIDDEN) + j];
  }
  if (net->norm == MLP_NORM_BEFORE) norm_by_formula(h, gain, shift, net->eps);
  for (int j = 0; j < HIDDEN; j++) h[j] = fmax(h[j], 0);
  if (net->norm == MLP_NORM_AFTER) norm_by_formula(h, gain, shift, net->eps);
  double y = (double)member(p, net->bias[1], e)[0];
  for (int j = 0; j < HIDDEN; j++)
    y += h[j] * (double)member(p, net->weight[1], e)[j * row_stride(1)];
  return y;
}

/* gains and shifts that differ */
static void randomise(Params *p) {
  Rng rng = rng_stream(5, "weights");
  for (int s = 0; s < p->layout->slots; s++) {
    const Slot *slot = &p->layout->slot[s];
    for (int i = 0; i < slot->e * slot->rows * slot->n; i++)
      p->values[(int)slot->offset + i / slot->n * slot->ld + i % slot->n] =
          (real)rng_normal(rng, (uint64_t)s, (uint32_t)i, 0);
  }
  params_touch(p);
}

static void compare_norm(MlpNorm norm, double eps) {
  Arena *arena = arena_new();
  Params *p = params_new(arena, "critic");
  Mlp net = mlp_new(p, &(MlpSpec){ "q", MEMBERS, INPUTS, HIDDEN, 1, 1, MAP_relu, norm });
  near(net.eps, 1e-5, 0);
  if (eps > 0) net.eps = eps;
  params_allocate(p);
  randomise(p);
  real data[ROWS * LD] = { 0 };
  Rng rng = rng_stream(6, "data");
  for (int i = 0; i < ROWS * INPUTS; i++)
    data[i / INPUTS * LD + i % INPUTS] = (real)rng_normal(rng, 0, (uint32_t)i, 0);
  Graph *g = graph_new(arena, &(GraphSpec){ .kernels = own(), .max_rows = ROWS });
  Tensor *x = t_input(g, "x", 1, INPUTS), *y = mlp(&net, g, p, IN(x));
  graph_keep(y);
  graph_seal(g);
  graph_bind(x, data);
  graph_run(g, ROWS, 0, NULL);
  for (int i = 0; i < ROWS * MEMBERS; i++) {
    double expected = output_by_formula(&net, p, i % MEMBERS, data + i / MEMBERS * LD);
    near((double)graph_values(y)[i * y->ld], expected, 20 * EXACT);
  }
  arena_free(arena);
}

static void norms_are_as_their_formula(void **state) {
  (void)state;
  static const double eps[] = { 0, 1e-6, 0.5 };
  for (int i = 0; i < 3; i++)
    compare_norm(MLP_NORM_BEFORE, eps[i]), compare_norm(MLP_NORM_AFTER, eps[i]);
}

/* A critic says what its network is. */
static void critics_have_the_norm_they_ask_for(void **state) {
  (void)state;
  Arena *arena = arena_new();
  Blocks blocks = { 0 };
  CriticSpec spec = { .members = 2,
                      .layers = 2,
                      .activation = MAP_relu,
                      .norm = MLP_NORM_AFTER,
                      .inputs = 5,
                      .hidden = 8 };
  near(critic_new(arena, &blocks, &spec)->net.eps, 1e-5, 0);
  spec.norm_eps = 1e-6;
  near(critic_new(arena, &blocks, &spec)->net.eps, 1e-6, 0);
  arena_free(arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(values_are_as_written),
    cmocka_unit_test(slopes_are_as_written),
    cmocka_unit_test(slopes_are_those_of_differences),
    cmocka_unit_test(norms_are_as_their_formula),
    cmocka_unit_test(critics_have_the_norm_they_ask_for),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
