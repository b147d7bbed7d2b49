/* test_timesteps.c -- the shortest path over bound terms, on Gaussian data, where all is known. */
#include "diffusion/timesteps.h"
#include "diffusion/sampler.h"
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>

enum { N = 12 };
static const double variance = 0.25; /* of the data, one-dimensional */

/* E |x_0 - E[x_0 | x_t]|^2 = c^2 s^2 / (a^2 c^2 + s^2) */
static double gaussian_mse(const Level *l) {
  return variance * l->s * l->s / (l->a * l->a * variance + l->s * l->s);
}

static Schedule *schedule_named(Arena *arena, const char *name) {
  Error error;
  return schedule_new(arena, &(ScheduleSpec){ .name = name, .steps = 50 }, &error);
}

/* N + 1 levels of vp-sde, evenly in time but for the first, which may not be 0 */
static Level *levels_of(Arena *arena, double *mse) {
  const Schedule *s = schedule_named(arena, "vp-sde");
  Level *level = arena_array(arena, Level, N + 1);
  for (int i = 0; i <= N; i++) {
    level[i] = schedule_level(s, i ? (double)i / N : s->t_min);
    mse[i] = gaussian_mse(&level[i]);
  }
  return level;
}

/* ---- the cost -------------------------------------------------------------------------------- */

/* KL(N(m, b) || N(m', v)) in D dimensions, |m - m'|^2 = c0^2 mse, from the posterior itself */
static void a_step_costs_its_divergence(void **state) {
  (void)state;
  static const char *const names[] = { "vp-sde", "sub-vp", "ve", "flow", "cosine", "ncsn" };
  Arena *arena = arena_new();
  for (int i = 0; i < 6; i++) {
    const Schedule *schedule = schedule_named(arena, names[i]);
    double span = schedule->t_max - schedule->t_min, mse = 0.37, dim = 3;
    Level s = schedule_level(schedule, schedule->t_min + 0.3 * span);
    Level t = schedule_level(schedule, schedule->t_min + 0.55 * span);
    Posterior p = level_posterior(&s, &t);
    double added = t.s * t.s - t.a * t.a / (s.a * s.a) * s.s * s.s;
    const double v[] = { p.variance, added };
    for (int large = 0; large < 2; large++) {
      double r = v[large] / p.variance;
      double kl = dim / 2 * (log(r) + 1 / r - 1) + p.c0 * p.c0 * mse / (2 * v[large]);
      double cost = timesteps_cost(&t, &s, mse, 3, large ? STEP_LARGE : STEP_SMALL);
      assert_true(fabs(cost / kl - 1) < 1e-10);
    }
  }
  arena_free(arena);
}

/* The sum over ever finer steps is ln((1 + c^2 SNR_0) / (1 + c^2 SNR_T)) / 2: information is the
 * integral of the minimal error (Guo et al. 2005). */
static void fine_steps_cost_the_information(void **state) {
  (void)state;
  Arena *arena = arena_new();
  const Schedule *schedule = schedule_named(arena, "vp-sde");
  double high = schedule_lambda(schedule, schedule->t_min);
  double low = schedule_lambda(schedule, schedule->t_max), miss[2];
  double limit = 0.5 * log((1 + variance * exp(2 * high)) / (1 + variance * exp(2 * low)));
  assert_true(fabs(limit - 3.8648) < 5e-5);
  for (int fine = 0; fine < 2; fine++) {
    int steps = fine ? 8000 : 4000;
    double sum = 0;
    Level s = schedule_level(schedule, schedule->t_min);
    for (int i = 1; i <= steps; i++) {
      Level t = schedule_level(schedule, schedule_time(schedule, high + (low - high) * i / steps));
      sum += timesteps_cost(&t, &s, gaussian_mse(&t), 1, STEP_SMALL), s = t;
    }
    miss[fine] = sum - limit;
  }
  assert_true(miss[1] > 0 && miss[1] < 6e-3);
  assert_true(fabs(miss[0] / miss[1] - 2) < 0.01); /* first order in the width of the steps */
  arena_free(arena);
}

/* ---- the path -------------------------------------------------------------------------------- */

static void the_published_example(void **state) {
  (void)state;
  static const double totals[] = { 1136.8056, 278.0883, 277.5864, 277.5369, 277.5286 };
  static const int path[] = { 12, 3, 2, 1, 0 };
  Arena *arena = arena_new();
  double mse[N + 1], times[N + 1], sum = 0;
  const Level *level = levels_of(arena, mse);
  const Timesteps *plan = timesteps_new(arena, level, mse, N + 1, 1, STEP_SMALL, N);
  for (int k = 1; k <= 5; k++) assert_true(fabs(timesteps_total(plan, k) - totals[k - 1]) < 5e-5);
  assert_true(fabs(timesteps_total(plan, 4) - 277.53686) < 5e-6);
  timesteps_path(plan, 4, times);
  for (int i = 0; i <= 4; i++) assert_true(times[i] == level[path[i]].time);
  /* all steps: the whole bound, and never more than with fewer */
  for (int i = 1; i <= N; i++)
    sum += timesteps_cost(&level[i], &level[i - 1], mse[i], 1, STEP_SMALL);
  assert_true(fabs(timesteps_total(plan, N) - sum) < 1e-9 && fabs(sum - 277.5266) < 5e-5);
  for (int k = 2; k <= N; k++) assert_true(timesteps_total(plan, k) < timesteps_total(plan, k - 1));
  timesteps_path(plan, N, times);
  for (int i = 0; i <= N; i++) assert_true(times[i] == level[N - i].time);
  arena_free(arena);
}

/* every subset of 3 inner levels, for errors that rise, fall and jump */
static void no_other_path_of_four_steps_is_shorter(void **state) {
  (void)state;
  Arena *arena = arena_new();
  Rng rng = rng_stream(3, "errors");
  double mse[N + 1], times[5];
  const Level *level = levels_of(arena, mse);
  for (uint32_t trial = 0; trial < 40; trial++) {
    StepVariance v = trial % 2 ? STEP_LARGE : STEP_SMALL;
    for (uint32_t i = 0; i <= N; i++) mse[i] = rng_uniform(rng, trial, i, 0) * exp(-0.3 * i);
    double least = INFINITY;
    int best[5] = { N };
    for (int i = 1; i < N; i++)
      for (int j = i + 1; j < N; j++)
        for (int k = j + 1; k < N; k++) {
          const int at[] = { N, k, j, i, 0 };
          double sum = 0;
          for (int e = 0; e < 4; e++)
            sum += timesteps_cost(&level[at[e]], &level[at[e + 1]], mse[at[e]], 2, v);
          if (sum < least) least = sum, best[1] = k, best[2] = j, best[3] = i;
        }
    const Timesteps *plan = timesteps_new(arena, level, mse, N + 1, 2, v, 4);
    timesteps_path(plan, 4, times);
    assert_true(fabs(timesteps_total(plan, 4) / least - 1) < 1e-12);
    for (int e = 0; e < 5; e++) assert_true(times[e] == level[best[e]].time);
  }
  arena_free(arena);
}

/* ---- the error of a denoiser ----------------------------------------------------------------- */

enum { ROWS = 4096, DIM = 3, LD = 16 };

/* w E[x_0 | x] for data N(0, c^2): w = 1 is exact, w = 0 says nothing */
static Tensor *embed(const Denoiser *d, Graph *g, const Params *p, Tensor *t) {
  (void)g, (void)p;
  return t_marginal(d->schedule, t);
}
static Tensor *net(const Denoiser *d, Graph *g, const Params *p, Tensor *x, Tensor *h,
                   Tensor *cond) {
  (void)d, (void)cond;
  Tensor *a = t_col(h, 0), *s = t_col(h, 1);
  Tensor *below = t_add(t_scale(variance, t_map(MAP_square, a)), t_map(MAP_square, s));
  return t_mul(t_mul(x, t_div(t_scale(variance, a), below)), t_param(g, p, 0));
}

typedef struct {
  Arena *arena;
  Params *params;
  Denoiser denoiser;
  TimestepsError *question;
  real *x0;
} Fixture;

static Fixture *fixture_new(void) {
  Arena *arena = arena_new();
  Fixture *f = arena_alloc(arena, sizeof *f);
  f->arena = arena;
  Error error;
  f->params = params_new(f->arena, "net");
  params_slot(f->params, "w", 1, 1, 1, 1);
  params_allocate(f->params);
  f->denoiser = (Denoiser){ .net = net,
                            .embed = embed,
                            .predicts = PREDICTS_X0,
                            .schedule = schedule_named(f->arena, "vp-sde"),
                            .dim = DIM };
  f->x0 = arena_array(f->arena, real, ROWS * LD);
  Rng rng = rng_stream(8, "data");
  for (uint32_t r = 0; r < ROWS; r++)
    for (uint32_t j = 0; j < DIM; j++)
      f->x0[r * LD + j] = (real)(sqrt(variance) * rng_normal(rng, 0, r, j));
  GraphSpec spec = { .kernels = kernels_find("own", &error), .seed = 4, .max_rows = ROWS };
  f->question = timesteps_error_new(f->arena, &f->denoiser, f->params, &spec, 0);
  return f;
}

static void the_error_of_a_denoiser_is_measured(void **state) {
  (void)state;
  Fixture *f = fixture_new();
  Error error;
  double mse[N + 1], square = 0;
  const Level *level = levels_of(f->arena, mse);
  for (int r = 0; r < ROWS * LD; r++) square += (double)f->x0[r] * (double)f->x0[r] / ROWS;
  assert_true(timesteps_error_run(f->question, level, N + 1, ROWS, 0, f->x0, NULL, mse, &error));
  for (int i = 0; i <= N; i++) /* w = 0: E |x_0|^2 at every level */
    assert_true(fabs(mse[i] / square - 1) < (sizeof(real) == 8 ? 1e-12 : 1e-5));
  params_at(f->params, 0)[0] = 1, params_touch(f->params);
  assert_true(timesteps_error_run(f->question, level, N + 1, ROWS, 0, f->x0, NULL, mse, &error));
  for (int i = 0; i <= N; i++) /* four standard deviations of a chi-square */
    assert_true(fabs(mse[i] / (DIM * gaussian_mse(&level[i])) - 1) < 4 * sqrt(2.0 / (ROWS * DIM)));
  arena_free(f->arena);
}

static void an_output_without_data_is_refused(void **state) {
  (void)state;
  Fixture *f = fixture_new();
  Error error;
  double mse;
  Level blind = { .time = 1, .s = 1, .lambda = -INFINITY };
  f->denoiser.predicts = PREDICTS_EPS;
  assert_false(timesteps_error_run(f->question, &blind, 1, ROWS, 0, f->x0, NULL, &mse, &error));
  assert_int_equal(error.kind, FAIL_USAGE);
  arena_free(f->arena);
}

static void a_sampler_steps_along_the_path(void **state) {
  (void)state;
  Fixture *f = fixture_new();
  Error error;
  double mse[N + 1], times[5];
  const Level *level = levels_of(f->arena, mse);
  timesteps_path(timesteps_new(f->arena, level, mse, N + 1, 1, STEP_SMALL, 4), 4, times);
  SamplerSpec spec = { .method = "ddpm", .steps = 4, .times = times };
  spec.end = END_LAST, spec.final = times[4];
  const Sampler *sampler = sampler_new(f->arena, &spec, &f->denoiser, &error);
  assert_non_null(sampler);
  for (int i = 0; i < 4; i++) assert_true(sampler->stage[i].at.time == times[i]);
  assert_true(sampler->end.time == times[4]);
  arena_free(f->arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_step_costs_its_divergence),
    cmocka_unit_test(fine_steps_cost_the_information),
    cmocka_unit_test(the_published_example),
    cmocka_unit_test(no_other_path_of_four_steps_is_shorter),
    cmocka_unit_test(the_error_of_a_denoiser_is_measured),
    cmocka_unit_test(an_output_without_data_is_refused),
    cmocka_unit_test(a_sampler_steps_along_the_path),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
