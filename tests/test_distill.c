/* test_distill.c -- progressive distillation: the one step that lands where two do. */
#include "diffusion/distill.h"
#include "tests/mixture.h"
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

enum { LD = 16, ROWS = 32, DOUBLE = sizeof(real) == 8 };

/* ---- a network with one number --------------------------------------------------------------- */

static Tensor *embed(const Denoiser *d, Graph *g, const Params *p, Tensor *t) {
  (void)g, (void)p;
  return t_marginal(d->schedule, t);
}
/* w E[x_0 | x] for data N(0, 1/4) */
static Tensor *gaussian(const Denoiser *d, Graph *g, const Params *p, Tensor *x, Tensor *h,
                        Tensor *cond) {
  (void)d, (void)cond;
  Tensor *a = t_col(h, 0), *s = t_col(h, 1);
  Tensor *below = t_add(t_scale(0.25, t_map(MAP_square, a)), t_map(MAP_square, s));
  return t_mul(t_mul(x, t_div(t_scale(0.25, a), below)), t_param(g, p, 0));
}
static Tensor *bent(const Denoiser *d, Graph *g, const Params *p, Tensor *x, Tensor *h,
                    Tensor *cond) {
  (void)d, (void)cond;
  return t_map(MAP_tanh, t_add(t_mul(x, t_param(g, p, 0)), t_col(h, 1)));
}
/* w x */
static Tensor *linear(const Denoiser *d, Graph *g, const Params *p, Tensor *x, Tensor *h,
                      Tensor *cond) {
  (void)d, (void)h, (void)cond;
  return t_mul(x, t_param(g, p, 0));
}

typedef struct {
  Arena *arena;
  Params *teacher, *student;
  Denoiser denoiser; /* of both */
} Fixture;

static Fixture *fixture_new(const char *schedule, Prediction predicts, double w) {
  Arena *arena = arena_new();
  Error error;
  Fixture *f = arena_alloc(arena, sizeof *f);
  f->arena = arena, f->teacher = params_new(arena, "teacher");
  params_slot(f->teacher, "w", 1, 1, 1, 1);
  params_allocate(f->teacher);
  params_at(f->teacher, 0)[0] = (real)w;
  f->student = params_clone(f->teacher, "student");
  f->denoiser = (Denoiser){ .net = gaussian, .embed = embed, .predicts = predicts, .dim = 1 };
  f->denoiser.schedule =
      schedule_new(arena, &(ScheduleSpec){ .name = schedule, .steps = 64 }, &error);
  return f;
}

static GraphSpec tape(Params *trained) {
  Error error;
  return (GraphSpec){
    .kernels = kernels_find("own", &error), .seed = 2, .max_rows = ROWS, .trained = trained
  };
}

static const Sampler *ddim(Fixture *f, int steps) {
  Error error;
  SamplerSpec spec = { .method = "ddim", .steps = steps };
  const Sampler *sampler = sampler_new(f->arena, &spec, &f->denoiser, &error);
  assert_non_null(sampler);
  return sampler;
}

/* ---- the pair -------------------------------------------------------------------------------- */

/* The one DDIM step from z by x~ ends where the teacher does: for Gaussian data at the product of
 * the two factors that its steps multiply by. */
static void one_step_by_the_target_lands_on_two(const char *schedule) {
  Fixture *f = fixture_new(schedule, PREDICTS_X0, 1);
  Error error;
  const Sampler *chain = ddim(f, 8);
  Leaps *leaps = leaps_new(f->arena, &f->denoiser, 4, 2);
  assert_true(distill_cut(leaps, chain, &error));
  GraphSpec spec = tape(NULL);
  Graph *g = graph_new(f->arena, &spec);
  LeapDraw draw = leaps_record(leaps, g, "leap");
  Tensor *x0 = t_input(g, "x0", 1, 1);
  LossInputs pair = distill_pairs(g, &draw, &f->denoiser, f->teacher, "noise", x0, NULL);
  graph_keep(pair.x0), graph_keep(pair.eps), graph_keep(pair.time);
  graph_seal(g);
  assert_true(leaps_give(leaps, &error));
  real data[ROWS * LD] = { 0 };
  for (int r = 0; r < ROWS; r++) data[r * LD] = (real)(0.1 * r - 1.3);
  graph_bind(x0, data);
  graph_run(g, ROWS, 0, NULL);
  for (int r = 0; r < ROWS; r++) {
    double t = (double)graph_values(pair.time)[r * LD];
    int i = 0;
    while (fabs(leaps->leap[i].from.time - t) > 1e-6) i++;
    const Level *from = &leaps->leap[i].from, *to = &leaps->leap[i].to;
    double x = (double)graph_values(pair.x0)[r * LD], eps = (double)graph_values(pair.eps)[r * LD];
    double z = from->a * x + from->s * eps, there = z;
    for (int k = 0; k < 2; k++) {
      const Stage *s = &chain->stage[2 * i + k];
      double mean = s->at.a * 0.25 / (s->at.a * s->at.a * 0.25 + s->at.s * s->at.s);
      there *= s->base + s->out[0] * mean;
    }
    double landed = to->a * x + to->s / from->s * (z - from->a * x);
    assert_true(fabs(landed - there) < (DOUBLE ? 1e-12 : 1e-4));
  }
  arena_free(f->arena);
}
static void one_step_lands_where_two_do(void **state) {
  (void)state;
  one_step_by_the_target_lands_on_two("gvp");
  one_step_by_the_target_lands_on_two("vp-sde");
  one_step_by_the_target_lands_on_two("cosine");
  one_step_by_the_target_lands_on_two("flow");
}

/* ---- the loss -------------------------------------------------------------------------------- */

typedef struct {
  Graph *g;
  Tensor *loss;
} Trained;

/* the loss of the student, taught by these Params of the same network */
static Trained record_loss(Fixture *f, const Sampler *chain, Params *teacher, const char *weighting,
                           const real *data) {
  Error error;
  Leaps *leaps = leaps_new(f->arena, &f->denoiser, chain->stages / 2, 2);
  assert_true(distill_cut(leaps, chain, &error));
  LossSpec loss_spec = { .weighting = weighting };
  Loss *loss = loss_new(f->arena, &loss_spec, &f->denoiser, &error);
  assert_non_null(loss);
  GraphSpec spec = tape(f->student);
  Trained t = { .g = graph_new(f->arena, &spec) };
  LeapDraw draw = leaps_record(leaps, t.g, "leap");
  Tensor *x0 = t_input(t.g, "x0", 1, 1);
  LossInputs pair = distill_pairs(t.g, &draw, &f->denoiser, teacher, "noise", x0, NULL);
  t.loss = loss_record(t.g, loss, f->student, "distill", &pair).loss;
  graph_minimise(t.loss);
  graph_seal(t.g);
  assert_true(leaps_give(leaps, &error));
  graph_bind(x0, data);
  return t;
}

static double value(Trained t) {
  graph_run(t.g, ROWS, 0, NULL);
  return graph_scalar(t.loss);
}
static double value_at(Trained t, Params *params, double w) {
  params_at(params, 0)[0] = (real)w, params_touch(params);
  return value(t);
}

/* A linear student of one step can be exactly as good as two steps of a linear teacher. */
static void the_exact_student_has_no_loss(void **state) {
  (void)state;
  Fixture *f = fixture_new("gvp", PREDICTS_X0, 0.55);
  Error error;
  f->denoiser.net = linear;
  SamplerSpec spec = { .method = "ddim", .steps = 2, .end = END_CLEAN };
  const Sampler *two = sampler_new(f->arena, &spec, &f->denoiser, &error);
  real data[ROWS * LD] = { 0 }, x[2][LD] = { { (real)0.9 }, { (real)0.9 } };
  Trained t = record_loss(f, two, f->teacher, "truncated-snr", data);
  /* to clean data: a'' = 1, s'' = 0, so the student says where two steps end */
  double w = (two->stage[0].base + two->stage[0].out[0] * 0.55) *
             (two->stage[1].base + two->stage[1].out[0] * 0.55);
  assert_true(value(t) > 1e-3);
  assert_true(value_at(t, f->student, w) < (DOUBLE ? 1e-28 : 1e-11));
  assert_true(fabs((double)graph_gradient(t.g)[0]) < (DOUBLE ? 1e-14 : 1e-6));
  SamplerSpec one;
  assert_true(distill_shorten(f->arena, two, 2, &one, &error));
  const Sampler *samplers[] = { two, sampler_new(f->arena, &one, &f->denoiser, &error) };
  assert_int_equal(samplers[1]->evaluations, 1);
  for (int i = 0; i < 2; i++) {
    SamplerLoopSpec loop = { .graph = tape(NULL), .stream = "x", .k = 1 };
    sampler_loop_run(
        sampler_loop_new(f->arena, samplers[i], &f->denoiser, i ? f->student : f->teacher, &loop),
        1, 0, NULL, NULL, x[i], true);
  }
  assert_true(fabs((double)(x[0][0] - x[1][0])) < (DOUBLE ? 1e-15 : 1e-6));
  arena_free(f->arena);
}

/* |x~ - x^|^2 max(SNR, 1), written down for a chain of one leap and a bent network */
static void the_loss_is_the_definition(void **state) {
  (void)state;
  Fixture *f = fixture_new("vp-sde", PREDICTS_V, 0.8);
  Error error;
  f->denoiser.net = bent;
  real data[ROWS * LD] = { 0 };
  for (int r = 0; r < ROWS; r++) data[r * LD] = (real)(0.05 * r - 0.7);
  const double times[] = { 0.5, 0.3 };
  SamplerSpec spec = {
    .method = "ddim", .steps = 2, .times = times, .end = END_LAST, .final = 0.1
  };
  const Sampler *chain = sampler_new(f->arena, &spec, &f->denoiser, &error);
  Trained t = record_loss(f, chain, f->teacher, "truncated-snr", data);
  Level l[3];
  for (int i = 0; i < 3; i++) l[i] = schedule_level(f->denoiser.schedule, 0.5 - 0.2 * i);
  double w = 0.35, sum = 0, ratio = l[2].s / l[0].s, weight = l[0].a / l[0].s;
  for (uint32_t r = 0; r < ROWS; r++) {
    float eps;
    rng_normals(rng_stream(2, "noise"), 0, r, &eps, 1);
    double z = l[0].a * (double)data[r * LD] + l[0].s * (double)eps, y = z;
    for (int k = 0; k < 2; k++) { /* x_0 = a x - s v */
      double x = l[k].a * y - l[k].s * tanh(0.8 * y + l[k].s);
      y = l[k + 1].a * x + l[k + 1].s / l[k].s * (y - l[k].a * x);
    }
    double target = (y - ratio * z) / (l[2].a - ratio * l[0].a);
    double miss = l[0].a * z - l[0].s * tanh(w * z + l[0].s) - target;
    sum += miss * miss * fmax(weight * weight, 1) / ROWS;
  }
  assert_true(fabs(value_at(t, f->student, w) / sum - 1) < (DOUBLE ? 1e-9 : 1e-3));
  arena_free(f->arena);
}

/* The gradient is that of the student alone, also where the student teaches itself. */
static void gradients_stop_at_the_teacher(void **state) {
  (void)state;
  Fixture *f = fixture_new("gvp", PREDICTS_V, 0.6);
  real data[ROWS * LD] = { 0 };
  for (int r = 0; r < ROWS; r++) data[r * LD] = (real)(0.05 * r - 0.7);
  f->denoiser.net = bent;
  Trained frozen = record_loss(f, ddim(f, 8), f->teacher, "snr+1", data);
  Trained own = record_loss(f, ddim(f, 8), f->student, "snr+1", data);
  double h = DOUBLE ? 1e-5 : 1e-2, w = (double)params_at(f->teacher, 0)[0];
  double high = value_at(frozen, f->student, w + h), low = value_at(frozen, f->student, w - h);
  value_at(frozen, f->student, w), value(own);
  double slope = (double)graph_gradient(frozen.g)[0];
  assert_true(fabs(slope) > 1e-3);
  assert_true(fabs((high - low) / (2 * h) / slope - 1) < (DOUBLE ? 1e-7 : 1e-2));
  assert_true(graph_scalar(own.loss) == graph_scalar(frozen.loss));
  assert_true(graph_gradient(own.g)[0] == graph_gradient(frozen.g)[0]);
  arena_free(f->arena);
}

/* ---- halving --------------------------------------------------------------------------------- */

static void halving_keeps_every_second_time(void **state) {
  (void)state;
  static const char *const schedules[] = { "vp", "gvp" };
  for (int i = 0; i < 2; i++) {
    Fixture *f = fixture_new(schedules[i], PREDICTS_V, 1);
    Error error = { .kind = 0 };
    const Sampler *first = ddim(f, 8), *chain = first;
    for (int steps = 4; steps; steps /= 2) {
      SamplerSpec spec;
      assert_true(distill_shorten(f->arena, chain, 2, &spec, &error));
      chain = sampler_new(f->arena, &spec, &f->denoiser, &error);
      assert_int_equal(chain->evaluations, steps);
      for (int k = 0; k < steps; k++)
        assert_true(chain->stage[k].at.time == first->stage[k * 8 / steps].at.time);
      assert_true(chain->end.time == first->end.time && chain->end.s == first->end.s);
    }
    SamplerSpec spec;
    assert_false(distill_shorten(f->arena, chain, 2, &spec, &error));
    assert_int_equal(error.kind, FAIL_USAGE);
    arena_free(f->arena);
  }
}

/* ---- trained --------------------------------------------------------------------------------- */

/* 16 steps of a small network, halved three times; 400 training steps a halving */
static void two_steps_draw_the_mixture(void **state) {
  (void)state;
  if (DOUBLE) skip(); /* nothing here is about precision, and plain double kernels are slow */
  Arena *arena = arena_new();
  Error error;
  const Schedule *s = schedule_new(arena, &(ScheduleSpec){ .name = "gvp" }, &error);
  Params *student = params_new(arena, "student");
  VectorSpec shape = { .schedule = s, .predicts = PREDICTS_V, .time = TIME_THOUSANDS };
  shape.dim = 1, shape.hidden = 32;
  const Denoiser *d = vector_mlp_new(arena, student, &shape);
  params_allocate(student), params_init(student, 3);
  Params *teacher = params_clone(student, "teacher");
  GraphSpec spec = { .kernels = kernels_find("own", &error), .seed = 5, .trained = student };
  spec.max_rows = MIXTURE_ROWS;
  MixtureTraining *first = arena_alloc(arena, sizeof *first);
  first->graph = graph_new(arena, &spec);
  first->x0 = t_input(first->graph, "x0", 1, 1);
  first->loss = diffusion_loss(first->graph, d, student, "teacher", first->x0, NULL);
  graph_minimise(first->loss), graph_seal(first->graph);
  OptimSpec adam = optim_adam(3e-3);
  adam.schedule = RATE_COSINE, adam.period = 1200;
  first->optim = optim_new(arena, student, &adam);
  mixture_train(first, NULL, 1200);
  params_copy(teacher, student);

  SamplerSpec chain_spec = { .method = "ddim", .steps = 16 };
  const Sampler *chain = sampler_new(arena, &chain_spec, d, &error);
  double taught = mixture_sampled_w1(arena, &chain_spec, d, teacher);
  Leaps *leaps = leaps_new(arena, d, 8, 2);
  assert_true(distill_cut(leaps, chain, &error));
  MixtureTraining *next = arena_alloc(arena, sizeof *next);
  next->graph = graph_new(arena, &spec);
  next->x0 = t_input(next->graph, "x0", 1, 1);
  LeapDraw draw = leaps_record(leaps, next->graph, "leap");
  LossInputs pair = distill_pairs(next->graph, &draw, d, teacher, "noise", next->x0, NULL);
  const Loss *loss = loss_new(arena, &(LossSpec){ .weighting = "truncated-snr" }, d, &error);
  next->loss = loss_record(next->graph, loss, student, "distill", &pair).loss;
  graph_minimise(next->loss), graph_seal(next->graph);
  adam.rate = 1e-3, adam.period = 400;
  next->optim = optim_new(arena, student, &adam);
  SamplerSpec shorter = chain_spec;
  shorter.steps = 2;
  double untaught = mixture_sampled_w1(arena, &shorter, d, teacher);
  while (chain->stages > 2) {
    assert_true(distill_cut(leaps, chain, &error) && leaps_give(leaps, &error));
    mixture_train(next, NULL, 400);
    params_copy(teacher, student);
    assert_true(distill_shorten(arena, chain, 2, &shorter, &error));
    chain = sampler_new(arena, &shorter, d, &error);
  }
  double distilled = mixture_sampled_w1(arena, &shorter, d, student);
  print_message("W1: 16 steps %.4f; 2 steps %.4f, distilled %.4f\n", taught, untaught, distilled);
  assert_int_equal(chain->evaluations, 2);
  assert_true(taught < 0.06);
  assert_true(distilled < 0.1 && distilled < untaught / 2);
  arena_free(arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(one_step_lands_where_two_do),
    cmocka_unit_test(the_exact_student_has_no_loss),
    cmocka_unit_test(the_loss_is_the_definition),
    cmocka_unit_test(gradients_stop_at_the_teacher),
    cmocka_unit_test(halving_keeps_every_second_time),
    cmocka_unit_test(two_steps_draw_the_mixture),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
