/* test_consistency.c -- consistency models where the consistency function is known.
 *
 * For data N(m, c^2) the ODE keeps (y - m) / sqrt(c^2 + sigma^2), y = x/a, so
 *
 *   f(x, t) = m + (y - m) sqrt((c^2 + sigma_min^2) / (c^2 + sigma^2)). */
#include "diffusion/consistency.h"
#include "diffusion/loss.h"
#include "tests/mixture.h"
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

enum { LD = 16, ROWS = 512, DOUBLE = sizeof(real) == 8 };
static const double m = 0.4, c2 = 0.25;

/* ---- networks with one number ---------------------------------------------------------------- */

static Tensor *marginal(const Denoiser *d, Graph *g, const Params *p, Tensor *t) {
  (void)g, (void)p;
  return t_marginal(d->schedule, t);
}
/* w E[x_0 | x] */
static Tensor *mean(const Denoiser *d, Graph *g, const Params *p, Tensor *x, Tensor *h,
                    Tensor *cond) {
  (void)d, (void)cond;
  Tensor *a = t_col(h, 0), *s = t_col(h, 1);
  Tensor *below = t_add(t_scale(c2, t_map(MAP_square, a)), t_map(MAP_square, s));
  Tensor *miss = t_sub(x, t_scale(m, a));
  return t_mul(t_shift(t_mul(t_div(t_scale(c2, a), below), miss), m), t_param(g, p, 0));
}
/* w f */
static Tensor *exact(const Denoiser *d, Graph *g, const Params *p, Tensor *x, Tensor *h,
                     Tensor *cond) {
  (void)cond;
  Level least = schedule_level(d->schedule, d->schedule->t_min);
  double end = sqrt(c2 + least.s * least.s / (least.a * least.a));
  Tensor *a = t_col(h, 0), *sigma = t_div(t_col(h, 1), a);
  Tensor *now = t_map(MAP_sqrt, t_shift(t_map(MAP_square, sigma), c2));
  Tensor *miss = t_shift(t_div(x, a), -m);
  return t_mul(t_shift(t_div(t_scale(end, miss), now), m), t_param(g, p, 0));
}
static Tensor *plain(const Denoiser *d, Graph *g, const Params *p, Tensor *t) {
  (void)d, (void)g, (void)p;
  return t_scale(0.1, t);
}
static Tensor *bent(const Denoiser *d, Graph *g, const Params *p, Tensor *x, Tensor *h,
                    Tensor *cond) {
  (void)d, (void)cond;
  return t_map(MAP_tanh, t_add(t_mul(x, t_param(g, p, 0)), h));
}

typedef struct {
  Arena *arena;
  Params *params, *frozen;
  Denoiser teacher, student;
} Fixture;

static Fixture *fixture_new(const ScheduleSpec *schedule) {
  Arena *arena = arena_new();
  Error error;
  Fixture *f = arena_alloc(arena, sizeof *f);
  f->arena = arena, f->params = params_new(arena, "net");
  params_slot(f->params, "w", 1, 1, 1, 1);
  params_allocate(f->params);
  params_at(f->params, 0)[0] = 1;
  f->frozen = params_clone(f->params, "frozen");
  f->teacher = (Denoiser){ .net = mean, .embed = marginal, .predicts = PREDICTS_X0, .dim = 1 };
  f->teacher.schedule = schedule_new(arena, schedule, &error);
  assert_non_null(f->teacher.schedule);
  f->student = f->teacher, f->student.net = exact;
  return f;
}

static GraphSpec tape(Params *trained, int rows) {
  Error error;
  return (GraphSpec){
    .kernels = kernels_find("own", &error), .seed = 2, .max_rows = rows, .trained = trained
  };
}

/* ---- the boundary ---------------------------------------------------------------------------- */

/* f of a bent network at (x, t) and what that network itself says of x_0 there */
static void ask(const Schedule *s, Prediction predicts, double t, real x, double *f, double *x0) {
  Fixture *fix = fixture_new(&(ScheduleSpec){ .name = "flow" });
  Denoiser inner = { .net = bent, .embed = plain, .predicts = predicts, .dim = 1, .schedule = s };
  inner.data_std = 0.5, inner.time = TIME_LOG_SIGMA;
  const Denoiser *d = consistency_denoiser(fix->arena, &inner);
  assert_int_equal(d->predicts, PREDICTS_X0);
  GraphSpec spec = tape(NULL, 1);
  Graph *g = graph_new(fix->arena, &spec);
  Level l = schedule_level(s, t);
  Form form = denoiser_form(&inner, PREDICTS_X0, &l);
  Tensor *in = t_input(g, "x", 1, 1), *time = t_number(g, t), *at = t_number(g, l.lambda / -4);
  Tensor *said = d->net(d, g, fix->params, in, d->embed(d, g, fix->params, time), NULL);
  Tensor *output = inner.net(&inner, g, fix->params, t_scale(denoiser_scale(&inner, &l), in),
                             inner.embed(&inner, g, fix->params, at), NULL);
  Tensor *own = t_mix(form.to_x, in, form.to_out, output);
  graph_keep(said), graph_keep(own);
  graph_seal(g);
  real row[LD] = { x };
  graph_bind(in, row);
  graph_run(g, 1, 0, NULL);
  *f = (double)graph_values(said)[0], *x0 = (double)graph_values(own)[0];
  arena_free(fix->arena);
}

/* At sigma_min f is x/a whatever the network says; with sigma_min next to 0 it is elsewhere what
 * the network says of x_0, whichever way it says it. */
static void the_boundary_is_exact(void **state) {
  (void)state;
  static const ScheduleSpec specs[] = { { .name = "edm", .low = 1e-9, .high = 80 },
                                        { .name = "edm" },
                                        { .name = "vp-sde" },
                                        { .name = "flow" },
                                        { .name = "vp", .steps = 20 },
                                        { .name = "sub-vp" },
                                        { .name = "ve" } };
  static const Prediction kinds[] = { PREDICTS_EPS, PREDICTS_X0, PREDICTS_V, PREDICTS_EDM };
  Arena *arena = arena_new();
  Error error;
  for (int i = 0; i < 7; i++)
    for (int k = 0; k < 4; k++) {
      const Schedule *s = schedule_new(arena, &specs[i], &error);
      double f, x0, t = (double)(real)s->t_min;
      real x = (real)0.61;
      ask(s, kinds[k], t, x, &f, &x0);
      assert_true(f == (double)(x * (real)(1 / schedule_a(s, t))));
      ask(s, kinds[k], 0.5 * s->t_max, x, &f, &x0);
      if (!i) assert_true(fabs(f / x0 - 1) < (DOUBLE ? 1e-7 : 1e-4));
    }
  arena_free(arena);
}

/* ---- distillation ---------------------------------------------------------------------------- */

/* square root of the loss of w f on data N(m, c^2), taught by `steps` steps of this method */
static double distilled(Fixture *f, const char *method, int stages, int steps, double w,
                        double *slope) {
  Error error;
  SamplerSpec chain_spec = { .method = method, .steps = steps, .spacing = "lambda" };
  chain_spec.end = END_LAST;
  const Sampler *chain = sampler_new(f->arena, &chain_spec, &f->teacher, &error);
  assert_non_null(chain);
  Leaps *leaps = leaps_new(f->arena, &f->student, steps, stages);
  assert_true(leaps_cut(leaps, chain, &error));
  GraphSpec spec = tape(f->params, ROWS);
  Graph *g = graph_new(f->arena, &spec);
  LeapDraw draw = leaps_record(leaps, g, "leap");
  ConsistencySpec loss_spec = { f->frozen, &f->teacher, f->frozen, 0 };
  Tensor *x0 = t_shift(t_scale(sqrt(c2), t_normal(g, "data", 1, 1)), m);
  Tensor *loss = consistency_loss(g, &draw, &loss_spec, f->params, "noise", x0, NULL);
  graph_minimise(loss), graph_seal(g);
  assert_true(leaps_give(leaps, &error));
  params_at(f->params, 0)[0] = (real)w, params_touch(f->params);
  graph_run(g, ROWS, 0, NULL);
  if (slope) *slope = (double)graph_gradient(g)[0];
  return sqrt(graph_scalar(loss));
}

/* The exact function is consistent along the exact ODE.  What is left of its loss is the error of
 * one step of the teacher's solver, of one order more than the solver's. */
static void the_exact_function_has_no_loss_but_the_solver_s(void **state) {
  (void)state;
  static const struct {
    const char *schedule, *method;
    int stages, order;
  } solvers[] = { { "edm", "ddim", 1, 1 },
                  { "edm", "edm_heun", 2, 2 },
                  { "edm", "dpm_3s", 3, 3 },
                  { "vp-sde", "dpmpp_2s", 2, 2 },
                  { "ve", "edm_heun", 2, 2 } };
  for (int i = 0; i < 5; i++) {
    Fixture *f = fixture_new(&(ScheduleSpec){ .name = solvers[i].schedule });
    double slope[2], coarse = distilled(f, solvers[i].method, solvers[i].stages, 80, 1, slope);
    double fine = distilled(f, solvers[i].method, solvers[i].stages, 160, 1, &slope[1]);
    double order = log2(coarse / fine) - 1, wrong = distilled(f, "ddim", 1, 80, 1.5, NULL);
    assert_true(fine < 1e-3 && wrong > 0.1);
    if (DOUBLE) assert_true(fabs(order - solvers[i].order) < 0.1);
    assert_true(fabs(slope[1]) < fine * 3); /* |2 mean miss f| by Cauchy and Schwarz */
    arena_free(f->arena);
  }
}

/* ---- the definition -------------------------------------------------------------------------- */

typedef struct {
  Graph *g;
  Tensor *loss;
} Trained;

/* consistency training of w tanh(x) at 5 levels, target Params as given */
static Trained train(Fixture *f, const Params *target, double huber, const real *data) {
  Error error;
  Leaps *leaps = leaps_new(f->arena, &f->student, 8, 0);
  assert_true(consistency_grid(leaps, f->arena, "karras", 5, &error));
  consistency_improve(leaps, -1.1, 2);
  GraphSpec spec = tape(f->params, ROWS);
  Trained t = { .g = graph_new(f->arena, &spec) };
  LeapDraw draw = leaps_record(leaps, t.g, "leap");
  Tensor *x0 = t_input(t.g, "x0", 1, 1);
  ConsistencySpec loss_spec = { .target = target, .huber = huber };
  t.loss = consistency_loss(t.g, &draw, &loss_spec, f->params, "noise", x0, NULL);
  graph_minimise(t.loss), graph_seal(t.g);
  assert_true(leaps_give(leaps, &error));
  graph_bind(x0, data);
  return t;
}

static double value_at(Trained t, Params *params, double w) {
  params_at(params, 0)[0] = (real)w, params_touch(params);
  graph_run(t.g, ROWS, 0, NULL);
  return graph_scalar(t.loss);
}

/* The same x_0 and eps at both ends, weights, distance: written down.  And the gradient is that of
 * the noisier end alone, also where the target is the trained network itself (iCT). */
static void training_is_the_definition_and_gradients_stop(void **state) {
  (void)state;
  real data[ROWS * LD] = { 0 };
  mixture_batch(data, ROWS, 0);
  for (int robust = 0; robust < 2; robust++) {
    Fixture *f = fixture_new(&(ScheduleSpec){ .name = "edm", .low = 0.1, .high = 5 });
    double c = robust ? 0.05 : 0, w = 0.6, sum = 0, sigma[5], chance[4], all = 0;
    f->student.net = bent, f->student.embed = plain;
    params_at(f->frozen, 0)[0] = (real)w;
    Trained frozen = train(f, f->frozen, c, data), own = train(f, f->params, c, data);
    for (int i = 0; i < 5; i++)
      sigma[i] = pow(pow(5, 1 / 7.0) + i / 4.0 * (pow(0.1, 1 / 7.0) - pow(5, 1 / 7.0)), 7);
    for (int i = 0; i < 4; i++) {
      chance[i] = erf((log(sigma[i]) + 1.1) / sqrt(8)) - erf((log(sigma[i + 1]) + 1.1) / sqrt(8));
      all += chance[i];
    }
    for (uint32_t r = 0; r < ROWS; r++) {
      float eps;
      rng_normals(rng_stream(2, "noise"), 0, r, &eps, 1);
      double u = rng_uniform(rng_stream(2, "leap"), 0, r, 0) * all, x0 = (double)data[r * LD];
      int i = 0;
      while (i < 3 && u >= chance[i]) u -= chance[i++];
      double miss = tanh(w * (x0 + sigma[i] * (double)eps) + 0.1 * sigma[i]) -
                    tanh(w * (x0 + sigma[i + 1] * (double)eps) + 0.1 * sigma[i + 1]);
      double distance = robust ? sqrt(miss * miss + c * c) - c : miss * miss;
      sum += distance / (sigma[i] - sigma[i + 1]) / ROWS;
    }
    double h = DOUBLE ? 1e-5 : 3e-3;
    double high = value_at(frozen, f->params, w + h), low = value_at(frozen, f->params, w - h);
    assert_true(fabs(value_at(frozen, f->params, w) / sum - 1) < (DOUBLE ? 1e-6 : 1e-3));
    double slope = (double)graph_gradient(frozen.g)[0];
    assert_true(fabs((high - low) / (2 * h) / slope - 1) < (DOUBLE ? 1e-6 : 2e-2));
    assert_true(value_at(own, f->params, w) == graph_scalar(frozen.loss));
    assert_true(graph_gradient(own.g)[0] == graph_gradient(frozen.g)[0]);
    arena_free(f->arena);
  }
}

/* ---- schedules over training ----------------------------------------------------------------- */

static void levels_grow_as_published(void **state) {
  (void)state;
  assert_int_equal(consistency_levels(0, 1000, 2, 150), 2);
  assert_int_equal(consistency_levels(1000, 1000, 2, 150), 151);
  for (int k = 1; k <= 1000; k++)
    assert_true(consistency_levels(k, 1000, 2, 150) >= consistency_levels(k - 1, 1000, 2, 150));
  static const int improved[] = { 11, 21, 41, 81, 161, 321, 641, 1281, 1281 };
  for (int i = 0; i <= 8; i++) {
    assert_int_equal(consistency_levels_improved(i * 1000, 8000, 10, 1280), improved[i]);
    if (i < 8)
      assert_int_equal(consistency_levels_improved(i * 1000 + 999, 8000, 10, 1280), improved[i]);
  }
  assert_true(fabs(consistency_decay(2, 2, 0.95) - 0.95 * 0.95) < 1e-15);
  assert_true(fabs(consistency_decay(151, 2, 0.95) - pow(0.95, 2.0 / 150)) < 1e-15);
  assert_true(fabs(consistency_huber(3072) - 0.0299) < 1e-4); /* 32 x 32 x 3, as published 0.03 */
}

/* ---- sampling -------------------------------------------------------------------------------- */

/* Each stage: X_0 is data with sigma_min of noise, and what is added makes the next level's noise
 * of it; with the exact function every stage has the exact marginal. */
static void sampling_keeps_the_marginals(void **state) {
  (void)state;
  static const ScheduleSpec specs[] = {
    { .name = "edm" }, { .name = "vp-sde" }, { .name = "flow" }, { .name = "vp", .steps = 20 }
  };
  for (int i = 0; i < 4; i++) {
    Fixture *f = fixture_new(&specs[i]);
    Error error;
    SamplerSpec spec = { .method = "consistency", .steps = 4, .end = END_LAST };
    if (i == 2) spec.from = 0.9;
    const Sampler *s = sampler_new(f->arena, &spec, &f->student, &error);
    assert_non_null(s);
    assert_int_equal(s->evaluations, 4);
    Level least = schedule_level(f->student.schedule, f->student.schedule->t_min);
    double ends = c2 + least.s * least.s / (least.a * least.a);
    for (int k = 0; k < 4; k++) {
      const Level *l = k < 3 ? &s->stage[k + 1].at : &s->end;
      double variance =
          s->stage[k].out[0] * s->stage[k].out[0] * ends + s->stage[k].noise * s->stage[k].noise;
      assert_true(s->stage[k].base == 0 && s->stage[k].out[0] == l->a);
      assert_true(fabs(variance / (l->a * l->a * c2 + l->s * l->s) - 1) < 1e-12);
    }
    assert_true(s->stage[3].noise < 1e-5 * s->end.s);
    arena_free(f->arena);
  }
}

/* ---- trained --------------------------------------------------------------------------------- */

typedef struct {
  Arena *arena;
  Params *params;
  const Denoiser *network, *function; /* the network, and f of it */
  GraphSpec graph;
} Model;

static Model *model_new(void) {
  Arena *arena = arena_new();
  Error error;
  Model *model = arena_alloc(arena, sizeof *model);
  model->arena = arena, model->params = params_new(arena, "net");
  VectorSpec shape = { .predicts = PREDICTS_EDM, .data_std = 0.88, .dim = 1, .hidden = 32 };
  shape.schedule = schedule_new(arena, &(ScheduleSpec){ .name = "edm" }, &error);
  shape.time = TIME_LOG_SIGMA, shape.embedding = TIME_FOURIER;
  model->network = vector_mlp_new(arena, model->params, &shape);
  model->function = consistency_denoiser(arena, model->network);
  params_allocate(model->params), params_init(model->params, 3);
  model->graph = tape(model->params, MIXTURE_ROWS);
  return model;
}

static MixtureTraining *begin(Model *model, double rate, int steps) {
  MixtureTraining *t = arena_alloc(model->arena, sizeof *t);
  OptimSpec adam = optim_adam(rate);
  adam.schedule = RATE_COSINE, adam.period = steps;
  t->optim = optim_new(model->arena, model->params, &adam);
  t->graph = graph_new(model->arena, &model->graph);
  t->x0 = t_input(t->graph, "x0", 1, 1);
  return t;
}

static void report(Model *model, const char *name, double most) {
  double one =
      mixture_sampled_w1(model->arena, &(SamplerSpec){ .method = "consistency", .steps = 1 },
                         model->function, model->params);
  const double times[] = { 80, 0.8 };
  SamplerSpec spec = { .method = "consistency", .steps = 2, .times = times };
  spec.end = END_CLEAN;
  double two = mixture_sampled_w1(model->arena, &spec, model->function, model->params);
  print_message("%s, W1: 1 step %.4f, 2 steps %.4f\n", name, one, two);
  assert_true(one < most && two < most);
}

/* a denoiser, then its consistency function from its own Params, 17 Heun leaps */
static void distilled_it_draws_the_mixture_in_one_step(void **state) {
  (void)state;
  if (DOUBLE) skip(); /* nothing here is about precision, and plain double kernels are slow */
  Error error;
  Model *model = model_new();
  MixtureTraining *first = begin(model, 3e-3, 1200);
  const Loss *loss =
      loss_new(model->arena, &(LossSpec){ .times = "log-normal" }, model->network, &error);
  first->loss =
      loss_record(first->graph, loss, model->params, "teacher", &(LossInputs){ .x0 = first->x0 })
          .loss;
  graph_minimise(first->loss), graph_seal(first->graph);
  mixture_train(first, NULL, 1200);
  Params *teacher = params_clone(model->params, "teacher");
  SamplerSpec chain_spec = { .method = "edm_heun", .steps = 17, .spacing = "karras" };
  chain_spec.end = END_LAST;
  const Sampler *chain = sampler_new(model->arena, &chain_spec, model->network, &error);
  print_message("teacher, W1: %.4f\n",
                mixture_sampled_w1(model->arena, &chain_spec, model->network, teacher));
  Leaps *leaps = leaps_new(model->arena, model->function, 17, 2);
  assert_true(leaps_cut(leaps, chain, &error));
  MixtureTraining *next = begin(model, 1e-3, 1000);
  LeapDraw draw = leaps_record(leaps, next->graph, "leap");
  ConsistencySpec spec = { model->params, model->network, teacher, 0 };
  next->loss = consistency_loss(next->graph, &draw, &spec, model->params, "noise", next->x0, NULL);
  graph_minimise(next->loss), graph_seal(next->graph);
  assert_true(leaps_give(leaps, &error));
  mixture_train(next, NULL, 1000);
  report(model, "distilled", 0.15);
  arena_free(model->arena);
}

/* from data alone; the levels double from 10 to 80; c as for images, 0.03 */
static void trained_it_draws_the_mixture_in_one_step(void **state) {
  (void)state;
  if (DOUBLE) skip();
  Error error;
  Model *model = model_new();
  MixtureTraining *t = begin(model, 2e-3, 600);
  Leaps *leaps = leaps_new(model->arena, model->function, 80, 0);
  assert_true(consistency_grid(leaps, model->arena, "karras", 11, &error));
  LeapDraw draw = leaps_record(leaps, t->graph, "leap");
  ConsistencySpec spec = { .target = model->params, .huber = consistency_huber(3072) };
  t->loss = consistency_loss(t->graph, &draw, &spec, model->params, "noise", t->x0, NULL);
  graph_minimise(t->loss), graph_seal(t->graph);
  for (int k = 0; k < 4; k++) {
    int levels = consistency_levels_improved(k, 4, 10, 80);
    assert_true(consistency_grid(leaps, model->arena, "karras", levels, &error));
    consistency_improve(leaps, -1.1, 2);
    assert_true(leaps_give(leaps, &error));
    mixture_train(t, NULL, 600);
  }
  report(model, "trained", 0.2);
  arena_free(model->arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_boundary_is_exact),
    cmocka_unit_test(the_exact_function_has_no_loss_but_the_solver_s),
    cmocka_unit_test(training_is_the_definition_and_gradients_stop),
    cmocka_unit_test(levels_grow_as_published),
    cmocka_unit_test(sampling_keeps_the_marginals),
    cmocka_unit_test(distilled_it_draws_the_mixture_in_one_step),
    cmocka_unit_test(trained_it_draws_the_mixture_in_one_step),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
