/* test_langevin.c -- stationary laws without Monte Carlo, ladders, and predictor-corrector. */
#include "diffusion/langevin.h"
#include "tests/chain.h"
#include "tests/exact.h"

enum { EXACT_REAL = sizeof(real) == 8 };
static const double tight = EXACT_REAL ? 1e-11 : 1e-4;

static Langevin *a_langevin(Arena *arena, const Denoiser *d, int rows) {
  Error error;
  const LangevinSpec spec = { .graph = a_graph(NULL, rows), .stream = "langevin" };
  Langevin *l = langevin_new(arena, d, NULL, &spec, &error);
  if (!l) fail_msg("%s", error.text);
  return l;
}

/* ---- one level ------------------------------------------------------------------------------- */

/* On N(m, c^2) a move is x' = A x + B + C z.  A from two points with one z, C from one point with
 * two: the stationary variance C^2 / (1 - A^2) is c^2 / (1 - h / (2 c^2)), and the mean stays. */
static void the_stationary_variance_has_its_bias(void **state) {
  (void)state;
  Arena *arena = arena_new();
  const Schedule *s = a_schedule(arena, "edm", 0);
  Exact normal = exact_normal(s, 1, 0.7, 0.5);
  Langevin *l = a_langevin(arena, &normal.base, 3);
  Rng stream = rng_stream(3, "langevin");
  const uint32_t ids[3] = { 4, 4, 9 };
  Level level = schedule_level(s, 0.3);
  double c2 = exact_variance(&normal, 0, &level);
  for (double h = 0.01; h < 1.9 * c2; h += 0.15) {
    double x[3] = { 0.7, 1.7, 1.7 };
    const Rung rung = { .time = 0.3, .step = h, .repeats = 1 };
    langevin_run(l, &rung, 1, &(LangevinRows){ .rows = 3, .row_ids = ids }, x);
    double z4 = rng_normal(stream, 0, 4, 0), z9 = rng_normal(stream, 0, 9, 0);
    double A = x[1] - x[0], C = (x[1] - x[2]) / (z4 - z9);
    assert_true(near(C * C / (1 - A * A), c2 / (1 - h / (2 * c2)), EXACT_REAL ? 1e-11 : 1e-3));
    assert_true(near(x[0] - C * z4, 0.7, tight)); /* m is where it stays */
  }
  arena_free(arena);
}

/* A sample's path depends on its id alone, not on its place or its company. */
static void a_sample_does_not_see_the_others(void **state) {
  (void)state;
  enum { ROWS = 5, DIM = 2 };
  Arena *arena = arena_new();
  const Schedule *s = a_schedule(arena, "vp-sde", 0);
  Exact mix = exact_mixture(s, DIM);
  Langevin *l = a_langevin(arena, &mix.base, ROWS);
  const uint32_t ids[ROWS] = { 3, 1, 4, 15, 9 };
  const Rung rungs[2] = { { 0.5, 0.1, 3 }, { 0.1, 0.01, 4 } };
  double all[ROWS * DIM], alone[DIM];
  for (int j = 0; j < ROWS * DIM; j++) all[j] = sin(j);
  langevin_run(l, rungs, 2, &(LangevinRows){ .rows = ROWS, .step = 2, .row_ids = ids }, all);
  for (int r = 0; r < ROWS; r++) {
    for (int j = 0; j < DIM; j++) alone[j] = sin(r * DIM + j);
    langevin_run(l, rungs, 2, &(LangevinRows){ .rows = 1, .step = 2, .row_ids = ids + r }, alone);
    assert_memory_equal(alone, all + r * DIM, sizeof alone);
  }
  arena_free(arena);
}

/* E[x_0 | x] of N(m, c^2) with noise s: the last level's noise is taken away as far as can be. */
static void denoising_is_the_posterior_mean(void **state) {
  (void)state;
  Arena *arena = arena_new();
  const Schedule *s = a_schedule(arena, "vp-sde", 0);
  Exact normal = exact_normal(s, 1, 0.7, 0.5);
  Level l = schedule_level(s, 0.2);
  double x = -0.4, gain = l.a * 0.25 / exact_variance(&normal, 0, &l);
  double expected = 0.7 + gain * (x - l.a * 0.7);
  langevin_denoise(a_langevin(arena, &normal.base, 1), 0.2, &(LangevinRows){ .rows = 1 }, &x);
  assert_true(near(x, expected, tight));
  arena_free(arena);
}

/* ---- ladders --------------------------------------------------------------------------------- */

static Schedule *ladder_schedule(Arena *arena, int levels, double low, double high) {
  Error error;
  const ScheduleSpec spec = { .name = "ncsn", .steps = levels, .low = low, .high = high };
  Schedule *s = schedule_new(arena, &spec, &error);
  if (!s) fail_msg("%s", error.text);
  return s;
}

/* alpha_i = eps s_i^2 / s_L^2: 2019 with 10 levels from 1 to 0.01, 2020 with 232 from 50 */
static void published_ladders_have_their_steps(void **state) {
  (void)state;
  static const struct {
    int levels, repeats;
    double high, eps, first; /* alpha of the first level */
  } ladder[] = { { 10, 100, 1, 2e-5, 0.2 }, { 232, 5, 50, 6.2e-6, 155 } };
  Arena *arena = arena_new();
  for (int i = 0; i < 2; i++) {
    const Schedule *s = ladder_schedule(arena, ladder[i].levels, 0.01, ladder[i].high);
    LadderSpec spec = { 0 };
    if (i == 1) spec = (LadderSpec){ .repeats = 5, .eps = 6.2e-6 };
    int count;
    Error error;
    const Rung *rung = langevin_ladder(arena, s, &spec, &count, &error);
    assert_int_equal(count, ladder[i].levels);
    assert_true(near(2 * rung[0].step, ladder[i].first, 1e-12));
    assert_true(near(2 * rung[count - 1].step, ladder[i].eps, 1e-18));
    for (int j = 0; j < count; j++) {
      double sigma = schedule_s(s, rung[j].time);
      assert_int_equal(rung[j].repeats, ladder[i].repeats);
      assert_true(near(rung[j].step / (sigma * sigma), ladder[i].eps * 0.5e4, 1e-12));
      if (j) assert_true(sigma < schedule_s(s, rung[j - 1].time));
    }
  }
  arena_free(arena);
}

/* the part of 600 samples from U(-8, 8) that ends left of 0 */
static double left_mass(Arena *arena, const Exact *mix, const Rung *rung, int rungs) {
  enum { ROWS = 600 };
  Rng rng = rng_stream(1, "start");
  double *x = arena_array(arena, double, ROWS);
  int left = 0;
  for (uint32_t r = 0; r < ROWS; r++) x[r] = 16 * rng_uniform(rng, 0, r, 0) - 8;
  Langevin *l = a_langevin(arena, &mix->base, ROWS);
  langevin_run(l, rung, rungs, &(LangevinRows){ .rows = ROWS }, x);
  for (int r = 0; r < ROWS; r++) left += x[r] < 0;
  return (double)left / ROWS;
}

/* 0.2 N(-4, .5^2) + 0.8 N(4, .5^2): at a low level alone nobody crosses the valley and the halves
 * of the start remain; from the top of a ladder the masses come out nearly right. */
static void annealing_finds_the_masses_and_plain_dynamics_do_not(void **state) {
  (void)state;
  Arena *arena = arena_new();
  const Schedule *s = ladder_schedule(arena, 10, 0.1, 10);
  Exact mix = exact_mixture(s, 1);
  mix.w[0] = 0.2, mix.w[1] = 0.8, mix.m[0] = -4, mix.m[1] = 4, mix.c[0] = mix.c[1] = 0.5;
  int count;
  Error error;
  const LadderSpec spec = { .repeats = 60, .eps = 0.1 * 0.01 };
  const Rung *ladder = langevin_ladder(arena, s, &spec, &count, &error);
  const Rung plain = { .time = 0, .step = ladder[count - 1].step, .repeats = 600 };
  double annealed = left_mass(arena, &mix, ladder, count),
         stuck = left_mass(arena, &mix, &plain, 1);
  assert_true(fabs(annealed - 0.2) < 0.08);
  assert_true(stuck > 0.4);
  arena_free(arena);
}

/* ---- predictor and corrector ----------------------------------------------------------------- */

static Corrector *a_corrector(Arena *arena, const Sampler *sampler, const Denoiser *d,
                              const CorrectorSpec *spec, int rows) {
  Error error;
  const SamplerLoopSpec loop = { .graph = a_graph(NULL, rows), .stream = "chain", .k = 1 };
  Corrector *c = corrector_new(arena, sampler, d, NULL, spec, &loop, &error);
  if (!c) fail_msg("%s", error.text);
  return c;
}

/* One step from x, written out: h = 2 alpha (r |z| / |score|)^2, then the sampler's own step. */
static void check_corrected_step(Norms norms) {
  enum { DIM = 3 };
  Arena *arena = arena_new();
  const Schedule *s = a_schedule(arena, "vp-sde", 0);
  Exact mix = exact_mixture(s, DIM);
  const double times[1] = { 0.5 }, t = 0.5;
  const SamplerSpec spec = {
    .method = "reverse_diffusion", .steps = 1, .times = times, .final = 0.3, .end = END_LAST
  };
  const Sampler *sampler = a_sampler(arena, &spec, &mix.base);
  Corrector *c =
      a_corrector(arena, sampler, &mix.base, &(CorrectorSpec){ .snr = 0.2, .norms = norms }, 1);
  real x[16] = { 0.4, -0.9, 1.3 }, expected[16] = { 0 };
  double at[DIM], score[DIM], z[DIM], zz = 0, ss = 0;
  const FieldSpec field = { a_graph(NULL, 1), PREDICTS_SCORE, DIVERGENCE_NONE, 0, NULL };
  Error error;
  for (int j = 0; j < DIM; j++) at[j] = (double)x[j];
  field_at(field_new(arena, &mix.base, NULL, &field, &error), 1, NULL, &t, at, score, NULL);
  for (int j = 0; j < DIM; j++) {
    z[j] = rng_normal(rng_stream(3, "chain corrector"), 7, 0, (uint32_t)j);
    zz += z[j] * z[j], ss += score[j] * score[j];
  }
  double keep = schedule_a(s, 0.5) / schedule_a(s, 0.3);
  double s2 = pow(schedule_s(s, 0.5), 2);
  double ratio = norms == NORMS_EXPECTED ? s2 : zz / ss;
  double h = fmin(2 * keep * keep * 0.04 * ratio, s2);
  for (int j = 0; j < DIM; j++) expected[j] = (real)(at[j] + h * score[j] + sqrt(2 * h) * z[j]);
  corrector_run(c, &(LangevinRows){ .rows = 1, .step = 7 }, x, true);
  chain_replay(arena, sampler, &mix.base, 1, expected);
  for (int j = 0; j < DIM; j++) assert_true(near((double)x[j], (double)expected[j], tight));
  arena_free(arena);
}

static void a_corrected_step_is_its_formula(void **state) {
  (void)state;
  check_corrected_step(NORMS_OF_SAMPLE), check_corrected_step(NORMS_EXPECTED);
}

/* what 400 samples of 8 independent dimensions have too much of variance; the estimate's own
 * deviation is 0.006 */
static double excess_variance(Arena *arena, const Exact *normal, const Sampler *sampler,
                              const CorrectorSpec *spec) {
  enum { ROWS = 400, DIM = 8, LD = 16 };
  real *x = arena_array(arena, real, ROWS * LD);
  const SamplerLoopSpec loop = { .graph = a_graph(NULL, ROWS), .stream = "chain", .k = 1 };
  if (spec)
    corrector_run(a_corrector(arena, sampler, &normal->base, spec, ROWS),
                  &(LangevinRows){ .rows = ROWS }, x, false);
  else
    sampler_loop_run(sampler_loop_new(arena, sampler, &normal->base, NULL, &loop), ROWS, 0, NULL,
                     NULL, x, false);
  double square = 0, mean = 0;
  for (int i = 0; i < ROWS * DIM; i++) {
    double d = (double)x[i / DIM * LD + i % DIM] - normal->m[0];
    mean += d / (ROWS * DIM), square += d * d / (ROWS * DIM);
  }
  return square - mean * mean - normal->c[0] * normal->c[0];
}

/* 20 steps leave 0.25 + 0.04; moves of expected norms mend that, and those whose step depends on
 * where they are bring a bias of their own (langevin.h). */
static void correction_mends_a_coarse_predictor(void **state) {
  (void)state;
  Arena *arena = arena_new();
  Exact normal = exact_normal(a_schedule(arena, "vp-sde", 0), 8, 0.7, 0.5);
  const SamplerSpec spec = { .method = "reverse_diffusion", .steps = 20 };
  const Sampler *sampler = a_sampler(arena, &spec, &normal.base);
  const CorrectorSpec expected = { .repeats = 8, .norms = NORMS_EXPECTED }, own = { .repeats = 8 };
  double coarse = excess_variance(arena, &normal, sampler, NULL);
  assert_true(coarse > 0.03);
  assert_true(fabs(excess_variance(arena, &normal, sampler, &expected)) < coarse / 3);
  assert_true(excess_variance(arena, &normal, sampler, &own) > coarse);
  arena_free(arena);
}

/* ---- refusals -------------------------------------------------------------------------------- */

static void bad_settings_are_refused_with_a_sentence(void **state) {
  (void)state;
  Arena *arena = arena_new();
  Error error;
  int count;
  const Schedule *s = ladder_schedule(arena, 10, 0.1, 10), *flow = a_schedule(arena, "flow", 0);
  Exact mix = exact_mixture(s, 1), straight = exact_mixture(flow, 1);
  const struct {
    LadderSpec spec;
    const char *word;
  } bad[] = { { { .levels = 11 }, "has 10" },      { { .levels = -1 }, "1 or more" },
              { { .repeats = -2 }, "1 or more" },  { { .eps = 0.05 }, "blow up" },
              { { .eps = -1e-5 }, "more than 0" }, { { .spacing = "linspaced" }, "linspace" } };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    assert_null(langevin_ladder(arena, s, &bad[i].spec, &count, &error));
    assert_int_equal(error.kind, FAIL_USAGE);
    if (!strstr(error.text, bad[i].word)) fail_msg("%s", error.text);
  }
  const LangevinSpec cold = { .graph = a_graph(NULL, 1), .stream = "x", .temperature = -1 };
  assert_null(langevin_new(arena, &mix.base, NULL, &cold, &error));
  assert_non_null(strstr(error.text, "temperature"));

  const SamplerSpec spec = { .method = "dpmpp_2m", .steps = 5, .from = 0.9 };
  const Sampler *sampler = a_sampler(arena, &spec, &straight.base);
  SamplerLoopSpec loop = { .graph = a_graph(NULL, 1), .stream = "x", .k = 1 };
  const CorrectorSpec loud = { .snr = 2 }, none = { .repeats = -1 }, fine = { 0 };
  assert_null(corrector_new(arena, sampler, &straight.base, NULL, &loud, &loop, &error));
  assert_non_null(strstr(error.text, "signal-to-noise"));
  assert_null(corrector_new(arena, sampler, &straight.base, NULL, &none, &loop, &error));
  assert_non_null(strstr(error.text, "moves"));
  loop.k = 2;
  assert_null(corrector_new(arena, sampler, &straight.base, NULL, &fine, &loop, &error));
  assert_non_null(strstr(error.text, "one sample"));
  arena_free(arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_stationary_variance_has_its_bias),
    cmocka_unit_test(a_sample_does_not_see_the_others),
    cmocka_unit_test(denoising_is_the_posterior_mean),
    cmocka_unit_test(published_ladders_have_their_steps),
    cmocka_unit_test(annealing_finds_the_masses_and_plain_dynamics_do_not),
    cmocka_unit_test(a_corrected_step_is_its_formula),
    cmocka_unit_test(correction_mends_a_coarse_predictor),
    cmocka_unit_test(bad_settings_are_refused_with_a_sentence),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
