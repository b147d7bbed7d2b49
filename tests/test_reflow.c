/* test_reflow.c -- pairs of a flow, how bent their paths are, and that training on them unbends. */
#include "diffusion/reflow.h"
#include "tests/mixture.h"
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

enum { LD = 16, ROWS = 256, DOUBLE = sizeof(real) == 8 };

/* ---- flows with known paths ------------------------------------------------------------------ */

static Tensor *embed(const Denoiser *d, Graph *g, const Params *p, Tensor *t) {
  (void)g, (void)p;
  return t_marginal(d->schedule, t);
}
/* the velocity of data N(0, c^2): x(t) = r(t) x(1), r^2 = (1 - t)^2 c^2 + t^2, so r'/r x */
static const double c = 0.2;
static Tensor *gaussian(const Denoiser *d, Graph *g, const Params *p, Tensor *x, Tensor *h,
                        Tensor *cond) {
  (void)d, (void)g, (void)p, (void)cond;
  Tensor *a = t_col(h, 0), *s = t_col(h, 1);
  Tensor *slope = t_mix(1, s, -c * c, a);
  Tensor *square = t_add(t_map(MAP_square, s), t_scale(c * c, t_map(MAP_square, a)));
  return t_mul(x, t_div(slope, square));
}
/* everything goes to 3: x(t) = (1 - t) 3 + t x(1) */
static Tensor *straight(const Denoiser *d, Graph *g, const Params *p, Tensor *x, Tensor *h,
                        Tensor *cond) {
  (void)d, (void)g, (void)p, (void)cond;
  return t_div(t_shift(x, -3), t_col(h, 1));
}

static const Denoiser *flow_of(Arena *arena, const char *schedule,
                               Tensor *(*net)(const Denoiser *, Graph *, const Params *, Tensor *,
                                              Tensor *, Tensor *)) {
  Error error;
  Denoiser *d = arena_alloc(arena, sizeof *d);
  *d = (Denoiser){ .net = net, .embed = embed, .predicts = PREDICTS_VELOCITY, .dim = 1 };
  d->schedule = schedule_new(arena, &(ScheduleSpec){ .name = schedule }, &error);
  return d;
}

static Reflow *reflow_of(Arena *arena, const char *method, int steps, const Denoiser *d,
                         const Params *params, Error *error) {
  SamplerSpec spec = { .method = method, .steps = steps };
  const Sampler *sampler = sampler_new(arena, &spec, d, error);
  assert_non_null(sampler);
  GraphSpec graph = { .kernels = kernels_find("own", error), .seed = 3, .max_rows = ROWS };
  SamplerLoopSpec loop = { .graph = graph, .stream = "flow", .k = 1 };
  return reflow_new(arena, sampler, d, params, &loop, error);
}

static void pairs_are_the_ends_of_paths(void **state) {
  (void)state;
  Arena *arena = arena_new();
  Error error;
  real eps[ROWS * LD], x0[ROWS * LD], again[2][ROWS * LD];
  const Denoiser *d = flow_of(arena, "flow", gaussian);
  Reflow *r = reflow_of(arena, "rk4", 100, d, NULL, &error);
  reflow_pairs(r, ROWS, 5, NULL, eps, x0);
  double s = d->schedule->t_min, ratio = sqrt((1 - s) * (1 - s) * c * c + s * s), mean = 0;
  for (int i = 0; i < ROWS; i++) {
    assert_true(fabs((double)x0[i * LD] - ratio * (double)eps[i * LD]) < (DOUBLE ? 1e-8 : 1e-5));
    mean += (double)eps[i * LD] / ROWS;
  }
  assert_true(fabs(mean) < 4 / sqrt(ROWS));
  reflow_pairs(r, ROWS, 6, NULL, again[0], again[1]);
  assert_true(again[0][0] != eps[0]);
  reflow_pairs(r, ROWS, 5, NULL, again[0], again[1]);
  assert_memory_equal(again[0], eps, sizeof eps);
  assert_memory_equal(again[1], x0, sizeof x0);
  arena_free(arena);
}

/* 1/T int (x' - dx/T)^2 dt = x(1)^2 / T (int r'^2 dt - (dr)^2 / T): by the trapezoid rule in t */
static void straightness_is_the_integral(void **state) {
  (void)state;
  Arena *arena = arena_new();
  Error error;
  real eps[ROWS * LD], x0[ROWS * LD];
  const Denoiser *d = flow_of(arena, "flow", gaussian);
  double t0 = d->schedule->t_min, T = 1 - t0, sum = 0, square = 0, miss[2];
  double end = sqrt((1 - t0) * (1 - t0) * c * c + t0 * t0);
  for (int i = 0; i <= 20000; i++) {
    double t = t0 + T * i / 20000, r = sqrt((1 - t) * (1 - t) * c * c + t * t);
    double slope = (t - c * c * (1 - t)) / r;
    sum += slope * slope * T / 20000 * (i % 20000 ? 1 : 0.5);
  }
  for (int fine = 0; fine < 2; fine++) {
    Reflow *r = reflow_of(arena, "rk4", fine ? 80 : 40, d, NULL, &error);
    reflow_pairs(r, ROWS, 0, NULL, eps, x0);
    square = 0;
    for (int i = 0; i < ROWS; i++) square += (double)eps[i * LD] * (double)eps[i * LD] / ROWS;
    double exact = square / T * (sum - (1 - end) * (1 - end) / T);
    miss[fine] = reflow_straightness(r) / exact - 1;
  }
  assert_true(fabs(miss[1]) < 2e-3 && fabs(miss[1]) < fabs(miss[0]) / 3.5); /* a polygon: order 2 */
  const Denoiser *line = flow_of(arena, "flow", straight);
  Reflow *r = reflow_of(arena, "euler", 16, line, NULL, &error);
  reflow_pairs(r, ROWS, 0, NULL, eps, x0);
  assert_true(fabs(reflow_straightness(r)) < (DOUBLE ? 1e-12 : 1e-5));
  for (int i = 0; i < ROWS; i++)
    assert_true(fabs((double)x0[i * LD] - 3 - t0 * ((double)eps[i * LD] - 3)) <
                (DOUBLE ? 1e-13 : 1e-5));
  arena_free(arena);
}

static void noise_on_the_way_is_refused(void **state) {
  (void)state;
  Arena *arena = arena_new();
  Error error = { .kind = 0 };
  assert_null(reflow_of(arena, "ddpm", 4, flow_of(arena, "flow", gaussian), NULL, &error));
  assert_int_equal(error.kind, FAIL_USAGE);
  arena_free(arena);
}

/* ---- trained --------------------------------------------------------------------------------- */

enum { BATCHES = 16 };

typedef struct {
  Arena *arena;
  Params *params;
  const Denoiser *flow;
  real eps[BATCHES][ROWS * LD], x0[BATCHES][ROWS * LD];
} Model;

/* the velocity loss; on pairs; on pairs at the last time alone */
typedef enum { ON_DATA, ON_PAIRS, ONE_STEP } Pairing;

static void train(Model *m, Pairing pairing, double rate, int steps) {
  Error error;
  GraphSpec spec = { .kernels = kernels_find("own", &error), .seed = 5, .max_rows = ROWS };
  spec.trained = m->params;
  Graph *g = graph_new(m->arena, &spec);
  Tensor *x0 = t_input(g, "x0", 1, 1), *eps = pairing == ON_DATA ? NULL : t_input(g, "eps", 1, 1);
  LossInputs in = { .x0 = x0, .eps = eps };
  if (pairing == ONE_STEP) in = reflow_one_step(m->flow->schedule, eps, x0, NULL);
  LossSpec loss_spec = { .weighting = pairing == ONE_STEP ? "x0" : "native" };
  const Loss *loss = loss_new(m->arena, &loss_spec, m->flow, &error);
  Tensor *value = loss_record(g, loss, m->params, "train", &in).loss;
  graph_minimise(value), graph_seal(g);
  OptimSpec adam = optim_adam(rate);
  adam.schedule = RATE_COSINE, adam.period = steps;
  Objective objective = { .graph = g, .loss = value };
  objective.optim = optim_new(m->arena, m->params, &adam);
  for (int i = 0; i < steps; i++) {
    if (pairing == ON_DATA) mixture_batch(m->x0[0], ROWS, (uint64_t)i);
    graph_bind(x0, m->x0[pairing == ON_DATA ? 0 : i % BATCHES]);
    if (eps) graph_bind(eps, m->eps[i % BATCHES]);
    assert_true(objective_step(&objective, ROWS, (uint64_t)i));
  }
}

/* new pairs, and how bent their paths are */
static double couple(Model *m) {
  Error error;
  Reflow *r = reflow_of(m->arena, "heun", 40, m->flow, m->params, &error);
  double bent = 0;
  for (int b = 0; b < BATCHES; b++) {
    reflow_pairs(r, ROWS, (uint64_t)b, NULL, m->eps[b], m->x0[b]);
    bent += reflow_straightness(r) / BATCHES;
  }
  return bent;
}

static double distance(Model *m, const char *method, int steps, End end) {
  SamplerSpec spec = { .method = method, .steps = steps, .end = end };
  return mixture_sampled_w1(m->arena, &spec, m->flow, m->params);
}

static void paths_unbend_and_one_step_suffices(void **state) {
  (void)state;
  if (DOUBLE) skip(); /* nothing here is about precision, and plain double kernels are slow */
  Arena *arena = arena_new();
  Error error;
  Model *m = arena_alloc(arena, sizeof *m);
  m->arena = arena, m->params = params_new(arena, "flow");
  VectorSpec shape = { .predicts = PREDICTS_VELOCITY, .time = TIME_THOUSANDS, .dim = 1 };
  shape.schedule = schedule_new(arena, &(ScheduleSpec){ .name = "flow" }, &error);
  shape.hidden = 32;
  m->flow = vector_mlp_new(arena, m->params, &shape);
  params_allocate(m->params), params_init(m->params, 3);
  train(m, ON_DATA, 3e-3, 1000);
  double many = distance(m, "euler", 40, END_AUTO), two = distance(m, "euler", 2, END_AUTO);
  double bent = couple(m);
  train(m, ON_PAIRS, 2e-3, 1000);
  double unbent = couple(m), two_reflowed = distance(m, "euler", 2, END_AUTO);
  train(m, ONE_STEP, 1e-3, 600);
  double one = distance(m, "ddim", 1, END_CLEAN);
  print_message("straightness %.4f, reflowed %.4f; W1: 40 steps %.4f, 2 steps %.4f, reflowed %.4f, "
                "distilled to one step %.4f\n",
                bent, unbent, many, two, two_reflowed, one);
  assert_true(unbent < bent / 4);
  assert_true(many < 0.08 && two_reflowed < two / 2);
  assert_true(one < 0.1);
  arena_free(arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(pairs_are_the_ends_of_paths),
    cmocka_unit_test(straightness_is_the_integral),
    cmocka_unit_test(noise_on_the_way_is_refused),
    cmocka_unit_test(paths_unbend_and_one_step_suffices),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
