/* test_leap.c -- a leap goes exactly where the chain it was cut from goes. */
#include "diffusion/leap.h"
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

enum { DIM = 2, LD = 16, MOST = 12, STEPS = 6 };

/* a network that bends: w tanh(x) + 0.1 time */
static Tensor *embed(const Denoiser *d, Graph *g, const Params *p, Tensor *t) {
  (void)d, (void)g, (void)p;
  return t_scale(0.1, t);
}
static Tensor *net(const Denoiser *d, Graph *g, const Params *p, Tensor *x, Tensor *h,
                   Tensor *cond) {
  (void)d, (void)cond;
  return t_add(t_mul(t_map(MAP_tanh, x), t_param(g, p, 0)), h);
}

typedef struct {
  Arena *arena;
  Params *params;
  Denoiser denoiser;
} Fixture;

static Fixture *fixture_new(const char *schedule, Prediction predicts, TimeInput time) {
  Arena *arena = arena_new();
  Error error;
  Fixture *f = arena_alloc(arena, sizeof *f);
  f->arena = arena, f->params = params_new(arena, "net");
  params_slot(f->params, "w", 1, 1, 1, 1);
  params_allocate(f->params);
  params_at(f->params, 0)[0] = (real)0.7;
  f->denoiser = (Denoiser){ .net = net, .embed = embed, .predicts = predicts, .dim = DIM };
  f->denoiser.time = time, f->denoiser.data_std = 0.5;
  f->denoiser.schedule =
      schedule_new(arena, &(ScheduleSpec){ .name = schedule, .steps = 40 }, &error);
  return f;
}

static GraphSpec tape(int rows) {
  Error error;
  return (GraphSpec){ .kernels = kernels_find("own", &error), .seed = 2, .max_rows = rows };
}

/* ---- the same way ---------------------------------------------------------------------------- */

typedef struct {
  real x[MOST + 1][LD]; /* after 0, 1, .. steps */
  int steps;
} Way;
static void note(void *user, int stage, const real *x) {
  Way *way = user;
  (void)stage;
  memcpy(way->x[way->steps++], x, LD * sizeof *x);
}

static void check(const char *schedule, const char *method, int stages, Prediction predicts,
                  bool clip) {
  Fixture *f = fixture_new(schedule, predicts, TIME_LOG_SIGMA);
  const Denoiser *d = &f->denoiser;
  Error error;
  SamplerSpec spec = { .method = method, .steps = STEPS, .from = 0.9 };
  if (d->schedule->steps) spec.from = 0;
  spec.clip = clip, spec.low = -0.6, spec.high = 0.6;
  const Sampler *chain = sampler_new(f->arena, &spec, d, &error);
  assert_non_null(chain);
  Leaps *leaps = leaps_new(f->arena, d, MOST, stages);
  assert_true(leaps_cut(leaps, chain, &error));
  Way way = { .steps = 0 };
  SamplerLoop *loop = sampler_loop_new(
      f->arena, chain, d, f->params, &(SamplerLoopSpec){ .graph = tape(1), .stream = "x", .k = 1 });
  sampler_loop_watch(loop, note, &way);
  real x[LD] = { (real)0.8, (real)-0.3 }, rows[MOST * LD] = { 0 }, u[MOST * LD] = { 0 };
  sampler_loop_run(loop, 1, 0, NULL, NULL, x, true);
  int per = (way.steps - 1) / leaps->count; /* steps a leap */
  for (int i = 0; i < leaps->count; i++) {
    memcpy(rows + i * LD, way.x[i * per], sizeof x);
    u[i * LD] = (real)((i + 0.5) / leaps->count);
  }
  GraphSpec graph = tape(MOST);
  Graph *g = graph_new(f->arena, &graph);
  LeapDraw draw = leaps_record(leaps, g, "leap");
  Tensor *in = t_input(g, "x", 1, DIM), *drawn = graph_override(g, "leap");
  Tensor *out = leap_run(g, &draw, d, f->params, in, NULL);
  graph_keep(out), graph_keep(draw.from.t), graph_keep(draw.to.s);
  graph_seal(g);
  assert_true(leaps_give(leaps, &error));
  graph_bind(in, rows), graph_bind(drawn, u);
  graph_run(g, leaps->count, 0, NULL);
  for (int i = 0; i < leaps->count; i++) {
    for (int j = 0; j < DIM; j++)
      assert_true(fabs((double)(graph_values(out)[i * LD + j] - way.x[(i + 1) * per][j])) <
                  (sizeof(real) == 8 ? 1e-14 : 2e-6));
    assert_true(graph_values(draw.from.t)[i * LD] == (real)leaps->leap[i].from.time);
    double s = i + 1 < leaps->count ? leaps->leap[i + 1].from.s : chain->end.s;
    assert_true(graph_values(draw.to.s)[i * LD] == (real)s);
  }
  arena_free(f->arena);
}

static void a_leap_goes_where_the_chain_goes(void **state) {
  (void)state;
  for (int clip = 0; clip < 2; clip++) {
    check("vp", "ddim", 1, PREDICTS_EPS, clip);
    check("vp", "ddim", 2, PREDICTS_V, clip);
    check("vp-sde", "ddim", 3, PREDICTS_X0, clip);
    check("edm", "edm_heun", 2, PREDICTS_EDM, clip);
    check("edm", "edm_heun", 4, PREDICTS_X0, clip);
    check("sub-vp", "dpm_2s", 2, PREDICTS_EPS, clip);
    check("gvp", "dpmpp_3s", 3, PREDICTS_V, clip);
    check("flow", "heun", 2, PREDICTS_VELOCITY, clip);
    check("flow", "rk4", 8, PREDICTS_VELOCITY, clip);
  }
}

/* ---- drawing --------------------------------------------------------------------------------- */

/* every leap as often as its chance says, to four standard deviations; after a change too */
static void leaps_are_drawn_by_their_chances(void **state) {
  (void)state;
  enum { ROWS = 4000 };
  Fixture *f = fixture_new("edm", PREDICTS_X0, TIME_OWN);
  Error error;
  Level level[MOST + 1];
  for (int i = 0; i <= MOST; i++) level[i] = schedule_level(f->denoiser.schedule, MOST + 1 - i);
  Leaps *leaps = leaps_new(f->arena, &f->denoiser, MOST, 0);
  assert_true(leaps_between(leaps, level, MOST + 1, &error));
  GraphSpec graph = tape(ROWS);
  Graph *g = graph_new(f->arena, &graph);
  LeapDraw draw = leaps_record(leaps, g, "leap");
  graph_keep(draw.from.t);
  graph_seal(g);
  for (int count = 3; count <= MOST; count += 9) {
    int seen[MOST + 2] = { 0 };
    double sum = count * (count + 1) / 2.0;
    assert_true(leaps_between(leaps, level + MOST - count, count + 1, &error));
    for (int i = 0; i < count; i++) leaps->leap[i].chance = (i + 1) / sum;
    assert_true(leaps_give(leaps, &error));
    graph_run(g, ROWS, 0, NULL);
    for (int r = 0; r < ROWS; r++) seen[(int)graph_values(draw.from.t)[r * LD]]++;
    for (int i = 0; i < count; i++) {
      double chance = (i + 1) / sum, off = seen[count + 1 - i] - ROWS * chance;
      assert_true(fabs(off) < 4 * sqrt(ROWS * chance * (1 - chance)));
    }
  }
  arena_free(f->arena);
}

/* ---- refusals -------------------------------------------------------------------------------- */

static void what_cannot_be_cut_is_refused(void **state) {
  (void)state;
  static const struct {
    const char *method;
    int steps, stages;
  } bad[] = { { "ddpm", 4, 1 }, { "dpmpp_2m", 4, 1 }, { "unipc", 4, 1 },
              { "ddim", 5, 2 }, { "dpm_2s", 4, 1 },   { "ddim", 13, 1 } };
  Fixture *f = fixture_new("vp-sde", PREDICTS_EPS, TIME_OWN);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    Error error = { .kind = 0 };
    SamplerSpec spec = { .method = bad[i].method, .steps = bad[i].steps };
    const Sampler *chain = sampler_new(f->arena, &spec, &f->denoiser, &error);
    assert_non_null(chain);
    assert_false(leaps_cut(leaps_new(f->arena, &f->denoiser, MOST, bad[i].stages), chain, &error));
    assert_int_equal(error.kind, FAIL_USAGE);
  }
  arena_free(f->arena);
}

/* once recorded, the chain may have other steps, but not of another kind */
static void another_kind_of_step_is_refused(void **state) {
  (void)state;
  static const struct {
    const char *method;
    int steps;
    bool clip, fits;
  } later[] = { { "ddim", 4, false, true },      { "ddim", 2, false, true },
                { "ddim", 4, true, false },      { "edm_heun", 4, false, false },
                { "dpmpp_2s", 4, false, false }, { "ddim", 40, false, false } };
  Fixture *f = fixture_new("vp-sde", PREDICTS_EPS, TIME_OWN);
  Error error;
  Leaps *leaps = leaps_new(f->arena, &f->denoiser, MOST, 2);
  GraphSpec graph = tape(1);
  for (size_t i = 0; i < sizeof later / sizeof *later; i++) {
    SamplerSpec spec = { .method = later[i].method, .steps = later[i].steps };
    spec.clip = later[i].clip, spec.low = -1, spec.high = 1;
    const Sampler *chain = sampler_new(f->arena, &spec, &f->denoiser, &error);
    assert_non_null(chain);
    assert_int_equal(leaps_cut(leaps, chain, &error), later[i].fits);
    if (!i) leaps_record(leaps, graph_new(f->arena, &graph), "leap");
  }
  arena_free(f->arena);
}

/* where no signal is left, eps does not tell the data, and v does */
static void a_student_without_an_answer_is_refused(void **state) {
  (void)state;
  static const Prediction kinds[] = { PREDICTS_EPS, PREDICTS_V };
  for (int i = 0; i < 2; i++) {
    Fixture *f = fixture_new("gvp", kinds[i], TIME_OWN);
    Error error = { .kind = 0 };
    const Schedule *s = f->denoiser.schedule;
    const Level level[] = { schedule_level(s, 1), schedule_level(s, 0.5) };
    Leaps *leaps = leaps_new(f->arena, &f->denoiser, 1, 0);
    assert_true(leaps_between(leaps, level, 2, &error));
    GraphSpec graph = tape(1);
    Graph *g = graph_new(f->arena, &graph);
    LeapDraw draw = leaps_record(leaps, g, "leap");
    graph_keep(draw.weight), graph_seal(g);
    assert_int_equal(leaps_give(leaps, &error), i);
    if (!i) assert_int_equal(error.kind, FAIL_USAGE);
    arena_free(f->arena);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_leap_goes_where_the_chain_goes),
    cmocka_unit_test(leaps_are_drawn_by_their_chances),
    cmocka_unit_test(what_cannot_be_cut_is_refused),
    cmocka_unit_test(another_kind_of_step_is_refused),
    cmocka_unit_test(a_student_without_an_answer_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
