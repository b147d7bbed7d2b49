/* test_api.c -- what diffrl.h samples, against exact flows and the core's own chains; its schedules
 * and conversions.  (test_api_guest.c: how it behaves.) */
#include "core/check.h"
#include "core/rng.h"
#include "diffusion/method.h"
#include "policy/diffrl.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

#define OK(call)                                                                                   \
  do {                                                                                             \
    if ((call) != DIFFRL_OK) fail_msg("%s: %s", #call, error.text);                                \
  } while (0)

static diffrl_error error;

static void assert_near(double value, double expected, double eps) {
  if (!(fabs(value - expected) <= eps * fmax(1, fabs(expected))))
    fail_msg("%.12g, expected %.12g", value, expected);
}

static diffrl_schedule *schedule_of(const char *name, int steps) {
  diffrl_schedule_options options = diffrl_schedule_defaults();
  diffrl_schedule *schedule = NULL;
  options.steps = steps;
  OK(diffrl_schedule_new(&schedule, name, &options, &error));
  return schedule;
}

/* ---- denoisers ------------------------------------------------------------------------------- */

/* Data whose entries are independent: .3 N(-1, .3^2) + .7 N(.8, .5^2). */
static const struct { double weight, mean, std; } part[] = { { 0.3, -1, 0.3 }, { 0.7, 0.8, 0.5 } };

static double spread(int i, const diffrl_level *at) { return hypot(at->a * part[i].std, at->s); }

/* P(x_t < x) */
static double cumulated(double x, const diffrl_level *at) {
  double sum = 0;
  for (int i = 0; i < 2; i++)
    sum += part[i].weight * 0.5 * erfc(-(x - at->a * part[i].mean) / spread(i, at) / sqrt(2));
  return sum;
}

/* E[eps | x_t = x] = -s (ln p_t)': each part's z / std by its share of the density, whose largest
 * exponent is taken out, for points where both densities are 0 in double. */
static double expected_eps(double x, const diffrl_level *at) {
  double z[2], share[2], sum = 0, slope = 0;
  for (int i = 0; i < 2; i++) z[i] = (x - at->a * part[i].mean) / spread(i, at);
  double least = 0.5 * fmin(z[0] * z[0], z[1] * z[1]);
  for (int i = 0; i < 2; i++) {
    share[i] = part[i].weight * exp(least - 0.5 * z[i] * z[i]) / spread(i, at);
    sum += share[i], slope += share[i] * z[i] / spread(i, at);
  }
  return at->s * slope / sum;
}

/* The flow's point at level `to` that has the same quantile: a model of consistency, exactly. */
static double carried(double x, const diffrl_level *at, const diffrl_level *to) {
  double quantile = cumulated(x, at), low = -6, high = 6;
  for (int i = 0; i < 40; i++) {
    double middle = 0.5 * (low + high);
    *(cumulated(middle, to) < quantile ? &low : &high) = middle;
  }
  return low;
}

typedef struct {
  const char *predicts;
  int learns_variance, calls, first, count;
  diffrl_level clean; /* x0: carried there */
} Mixture;

/* at a = 0 eps does not say what x_0 is: its mean is */
static int mixture(void *user, int first, int count, int dim, const float *x,
                   const diffrl_level *at, float *out) {
  Mixture *m = user;
  int outputs = m->learns_variance ? 2 * dim : dim;
  m->calls++, m->first = first, m->count = count;
  for (int i = 0; i < count; i++)
    for (int j = 0; j < outputs; j++) {
      double value = (double)x[i * dim + j % dim], eps = expected_eps(value, at), y = 0;
      if (!strcmp(m->predicts, "eps")) y = eps;
      if (!strcmp(m->predicts, "x0")) y = carried(value, at, &m->clean) / m->clean.a;
      if (!strcmp(m->predicts, "velocity")) {
        double x0 = at->a > 0 ? (value - at->s * eps) / at->a : 0.3 * -1 + 0.7 * 0.8;
        y = at->da * x0 + at->ds * eps;
      }
      out[i * outputs + j] = j < dim ? (float)y : -1; /* -1: the smaller variance */
    }
  return 0;
}

static diffrl_denoiser mixture_denoiser(Mixture *m, int dim) {
  diffrl_denoiser denoiser = diffrl_denoiser_defaults();
  denoiser.ask = mixture, denoiser.user = m, denoiser.dim = dim;
  denoiser.predicts = m->predicts, denoiser.learns_variance = m->learns_variance;
  return denoiser;
}

/* any function whose arithmetic has one possible result */
static int plain(void *user, int first, int count, int dim, const float *x, const diffrl_level *at,
                 float *out) {
  int twice = user != NULL, outputs = twice ? 2 * dim : dim;
  float time = (float)at->time, slope = 0.25f + 0.125f * time;
  (void)first;
  for (int i = 0; i < count; i++)
    for (int j = 0; j < outputs; j++)
      out[i * outputs + j] = j < dim ? slope * x[i * dim + j] + 0.0625f : 0.5f;
  return 0;
}

/* ---- settings for every method --------------------------------------------------------------- */

typedef struct {
  const Method *method;
  diffrl_schedule *schedule;
  Mixture mixture;
  diffrl_sampler_options options;
} Case;

/* straight paths where slopes of a path are combined, else the variance-preserving SDE */
static Case case_of(size_t i, int steps) {
  size_t count;
  const Method *method = &method_list(&count)[i];
  bool flow = method->combines == PREDICTS_VELOCITY;
  Case c = { .method = method, .options = diffrl_sampler_defaults() };
  assert_true(i < count);
  c.schedule = schedule_of(flow ? "flow" : "vp-sde", 0);
  c.mixture.predicts = flow ? "velocity" : "eps";
  c.mixture.learns_variance = (method->needs & NEEDS_VARIANCE) != 0;
  bool consistency = !strcmp(method->name, "consistency");
  if (consistency) c.mixture.predicts = "x0", steps = 3;
  OK(diffrl_schedule_level(c.schedule, 1e-3, &c.mixture.clean, &error));
  c.options.method = method->name, c.options.steps = steps;
  c.options.spacing = flow || method->needs & NEEDS_SLOPES ? "linspace" : "lambda";
  if (method->noise > 0 && method->needs & TAKES_ETA) c.options.eta = 0.8;
  return c;
}

static diffrl_sampler *sampler_of(Case *c, int dim) {
  diffrl_denoiser denoiser = mixture_denoiser(&c->mixture, dim);
  diffrl_sampler *sampler = NULL;
  OK(diffrl_sampler_new(&sampler, c->schedule, &denoiser, &c->options, &error));
  return sampler;
}

static void drop(Case *c, diffrl_sampler *sampler) {
  diffrl_sampler_free(sampler);
  diffrl_schedule_free(c->schedule);
}

static size_t methods(void) {
  size_t count;
  method_list(&count);
  return count;
}

typedef struct {
  float *start; /* [all, dim] */
  int steps, states;
} Seen;
static void see(void *user, int step, int first, int count, int dim, const float *x) {
  Seen *seen = user;
  if (!step) memcpy(seen->start + first * dim, x, (size_t)(count * dim) * sizeof *x);
  if (step > seen->steps) seen->steps = step;
  seen->states++;
}

/* ---- sampling -------------------------------------------------------------------------------- */

static void levels_of(const Case *c, diffrl_level *first, diffrl_level *last) {
  double clean, noisy;
  OK(diffrl_schedule_range(c->schedule, &clean, &noisy, NULL, &error));
  OK(diffrl_schedule_level(c->schedule, clean, last, &error));
  OK(diffrl_schedule_level(c->schedule, noisy, first, &error));
}

/* A flow on a line keeps the order of its points, so a deterministic sampler must carry every
 * quantile of the noisy marginal to the same quantile of the clean one: first-order methods ten
 * times better in ten times the steps, others to rounding or better than that. */
static double worst_quantile(size_t i, int steps) {
  enum { N = 200, DIM = 2 };
  float x[N * DIM], start[N * DIM];
  Case c = case_of(i, steps);
  diffrl_sampler *sampler = sampler_of(&c, DIM);
  Seen seen = { .start = start };
  OK(diffrl_sampler_watch(sampler, see, &seen, &error));
  OK(diffrl_sampler_run(sampler, 5, N, x, &error));
  diffrl_level noisy, clean;
  levels_of(&c, &noisy, &clean);
  double worst = 0;
  for (int j = 0; j < N * DIM; j++)
    worst =
        fmax(worst, fabs(cumulated((double)x[j], &clean) - cumulated((double)start[j], &noisy)));
  assert_int_equal(seen.steps, diffrl_sampler_steps(sampler));
  assert_int_equal(c.mixture.calls, diffrl_sampler_evaluations(sampler));
  drop(&c, sampler);
  return worst;
}

static void deterministic_samplers_keep_quantiles(void **state) {
  (void)state;
  for (size_t i = 0; i < methods(); i++) {
    Case c = case_of(i, 1);
    diffrl_schedule_free(c.schedule);
    if (c.method->noise > 0) continue;
    double coarse = worst_quantile(i, 24), fine = worst_quantile(i, 240);
    if (!(fine < 4e-3 && fine < 0.13 * coarse + 2e-6))
      fail_msg("%s: %g in 24 steps, %g in 240", c.method->name, coarse, fine);
  }
}

/* Kolmogorov's distance between F(x) and the uniform distribution: 1.63 / sqrt n in 1 % of all
 * seeds; this one is fixed. */
static void stochastic_samplers_have_the_distribution(void **state) {
  (void)state;
  enum { N = 4000 };
  static float x[N];
  for (size_t i = 0; i < methods(); i++) {
    Case c = case_of(i, 200);
    if (!(c.method->noise > 0)) {
      diffrl_schedule_free(c.schedule);
      continue;
    }
    diffrl_sampler *sampler = sampler_of(&c, 1);
    OK(diffrl_sampler_run(sampler, 7, N, x, &error));
    diffrl_level noisy, clean;
    levels_of(&c, &noisy, &clean);
    enum { BINS = 50 };
    int below[BINS] = { 0 };
    for (int j = 0; j < N; j++)
      for (int b = 0; b < BINS; b++) below[b] += cumulated((double)x[j], &clean) < b / (double)BINS;
    for (int b = 0; b < BINS; b++)
      if (!(fabs(below[b] / (double)N - b / (double)BINS) < 1.63 / sqrt(N)))
        fail_msg("%s: %d of %d below quantile %d / %d", c.method->name, below[b], N, b, BINS);
    drop(&c, sampler);
  }
}

/* ---- the core's numbers ---------------------------------------------------------------------- */

static void plain_samples(void *user, const CallSamples *q) {
  float x[16], out[32];
  for (int i = 0; i < q->count; i++) {
    diffrl_level at = { .time = (double)q->time[i * q->time_stride] };
    for (int j = 0; j < q->n; j++) x[j] = (float)q->x[i * q->x_stride + j];
    plain(user, 0, 1, q->n, x, &at, out);
    for (int j = 0; j < q->out_n; j++) q->out[i * q->out_stride + j] = (real)out[j];
  }
}

typedef struct {
  Denoiser base;
  Call call;
} Recorded;
static Tensor *recorded_net(const Denoiser *d, Graph *g, const Params *p, Tensor *x, Tensor *h,
                            Tensor *cond) {
  (void)g, (void)p, (void)cond;
  return t_call(&((const Recorded *)d)->call, x, h, d->learns_variance ? 2 * d->dim : d->dim);
}
static Tensor *recorded_embed(const Denoiser *d, Graph *g, const Params *p, Tensor *t) {
  (void)d, (void)g, (void)p;
  return t;
}

/* the same settings recorded as one chain: x [rows, row_stride(dim)] */
static const real *record_whole(Arena *arena, const Case *c, int rows, int dim, uint64_t seed) {
  Error why;
  const char *name = c->method->combines == PREDICTS_VELOCITY ? "flow" : "vp-sde";
  Recorded *r = arena_alloc(arena, sizeof *r);
  *r = (Recorded){ { recorded_net, recorded_embed, .dim = dim }, { plain_samples, NULL } };
  r->base.schedule = schedule_new(arena, &(ScheduleSpec){ .name = name }, &why);
  r->base.predicts = denoiser_prediction(c->mixture.predicts);
  r->base.learns_variance = c->mixture.learns_variance;
  if (r->base.learns_variance) r->call.user = r;
  Sampler *sampler = sampler_new(arena,
                                 &(SamplerSpec){ .method = c->options.method,
                                                 .steps = c->options.steps,
                                                 .eta = c->options.eta,
                                                 .clip = c->options.clip,
                                                 .low = -1,
                                                 .high = 1,
                                                 .spacing = c->options.spacing },
                                 &r->base, &why);
  assert_non_null(sampler);
  Graph *g = graph_new(
      arena, &(GraphSpec){ .max_rows = rows, .lane = 3, .kernels = kernels_find("own", &why) });
  Tensor *x = sampler_record(g, sampler, &r->base, NULL, "sample", NULL, 1);
  graph_keep(x);
  graph_seal(g);
  graph_run(g, rows, seed, NULL);
  return graph_values(x);
}

static void every_sampler_is_the_recorded_chain_bit_for_bit(void **state) {
  (void)state;
  enum { ROWS = 7, DIM = 5 };
  for (size_t i = 0; i < 2 * methods(); i++) {
    float x[ROWS * DIM];
    Case c = case_of(i / 2, 6);
    c.options.clip = i % 2, c.options.batch = 4;
    diffrl_denoiser denoiser = mixture_denoiser(&c.mixture, DIM);
    denoiser.ask = plain, denoiser.user = c.mixture.learns_variance ? &c : NULL;
    diffrl_sampler *sampler;
    OK(diffrl_sampler_new(&sampler, c.schedule, &denoiser, &c.options, &error));
    OK(diffrl_sampler_run(sampler, 11, ROWS, x, &error));
    Arena *arena = arena_new();
    const real *expected = record_whole(arena, &c, ROWS, DIM, 11);
    for (int r = 0; r < ROWS; r++)
      for (int j = 0; j < DIM; j++) {
        float value = (float)expected[r * row_stride(DIM) + j];
        if (memcmp(&value, &x[r * DIM + j], sizeof value))
          fail_msg("%s: %.9g, recorded %.9g", c.method->name, (double)x[r * DIM + j],
                   (double)value);
      }
    arena_free(arena);
    drop(&c, sampler);
  }
}

static void a_sample_depends_on_its_number_alone(void **state) {
  (void)state;
  enum { N = 50, DIM = 3 };
  float x[3][N * DIM] = { { 0 } };
  const int batch[] = { 0, 7, 1 }, count[] = { N, N, 20 };
  for (int i = 0; i < 3; i++) {
    Case c = case_of(0, 9);
    c.options.batch = batch[i];
    diffrl_sampler *sampler = sampler_of(&c, DIM);
    OK(diffrl_sampler_run(sampler, 3, N, x[i], &error)); /* a run leaves nothing behind */
    memset(x[i], 0, sizeof x[i]);
    OK(diffrl_sampler_run(sampler, 2, count[i], x[i], &error));
    drop(&c, sampler);
  }
  assert_memory_equal(x[0], x[1], sizeof x[0]);
  assert_memory_equal(x[0], x[2], (size_t)(20 * DIM) * sizeof **x);
  assert_true(x[2][20 * DIM] == 0);
}

static void the_callback_is_told_which_samples(void **state) {
  (void)state;
  float x[10];
  Case c = case_of(1, 3);
  c.options.batch = 4;
  diffrl_sampler *sampler = sampler_of(&c, 1);
  OK(diffrl_sampler_run(sampler, 1, 10, x, &error));
  assert_int_equal(c.mixture.calls, 9);
  assert_int_equal(c.mixture.first, 8);
  assert_int_equal(c.mixture.count, 2);
  OK(diffrl_sampler_run(sampler, 1, 0, x, &error));
  assert_int_equal(c.mixture.calls, 9);
  drop(&c, sampler);
}

static void a_run_from_its_own_start_is_the_run(void **state) {
  (void)state;
  enum { N = 20 };
  for (size_t i = 0; i < methods(); i++) {
    float x[N], start[N];
    Case c = case_of(i, 7);
    diffrl_sampler *sampler = sampler_of(&c, 1);
    Seen seen = { .start = start };
    OK(diffrl_sampler_watch(sampler, see, &seen, &error));
    OK(diffrl_sampler_run(sampler, 4, N, x, &error));
    OK(diffrl_sampler_watch(sampler, NULL, NULL, &error));
    OK(diffrl_sampler_run_from(sampler, 4, N, start, &error));
    assert_memory_equal(x, start, sizeof x);
    assert_int_equal(seen.states, 1 + diffrl_sampler_steps(sampler));
    drop(&c, sampler);
  }
}

static void inversion_undoes_ddim(void **state) {
  (void)state;
  enum { N = 20 };
  float x[N], back[N];
  Case c = case_of(1, 400);
  diffrl_sampler *forth = sampler_of(&c, 1);
  c.options.inverse = 1;
  diffrl_sampler *inverse = sampler_of(&c, 1);
  OK(diffrl_sampler_run(forth, 4, N, x, &error));
  memcpy(back, x, sizeof x);
  assert_int_equal(diffrl_sampler_run(inverse, 4, N, back, &error), DIFFRL_BAD_ARGUMENT);
  OK(diffrl_sampler_run_from(inverse, 4, N, back, &error));
  OK(diffrl_sampler_run_from(forth, 4, N, back, &error));
  for (int i = 0; i < N; i++) assert_near((double)back[i], (double)x[i], 0.02);
  diffrl_sampler_free(inverse);
  drop(&c, forth);
}

/* ---- schedules and conversions --------------------------------------------------------------- */

static void levels_are_the_schedules(void **state) {
  (void)state;
  const char *name;
  for (size_t i = 0; (name = diffrl_name(DIFFRL_SCHEDULES, i)); i++) {
    Arena *arena = arena_new();
    Error why;
    diffrl_schedule *schedule = schedule_of(name, 40);
    const Schedule *core = schedule_new(arena, &(ScheduleSpec){ name, .steps = 40 }, &why);
    double first, last, time;
    int steps;
    OK(diffrl_schedule_range(schedule, &first, &last, &steps, &error));
    assert_true(steps == 0 || (steps == 40 && first == 0 && last == 39));
    for (int j = 1; j < 10; j++) {
      diffrl_level l;
      double t = first + j * (last - first) / 10;
      Level expected = schedule_level(core, t);
      OK(diffrl_schedule_level(schedule, t, &l, &error));
      assert_true(l.time == t && l.a == expected.a && l.s == expected.s);
      assert_near(l.g2, 2 * l.s * l.ds - 2 * l.f * l.s * l.s, 1e-12);
      OK(diffrl_schedule_time(schedule, l.lambda, &time, &error));
      assert_near(time, t, 1e-9);
    }
    OK(diffrl_schedule_time(schedule, 1e6, &time, &error));
    assert_true(time == first);
    OK(diffrl_schedule_time(schedule, -1e6, &time, &error));
    assert_true(time == last);
    diffrl_schedule_free(schedule);
    arena_free(arena);
  }
}

static void betas_make_a_schedule(void **state) {
  (void)state;
  const double betas[] = { 0.1, 0.2, 0.5 };
  diffrl_schedule *schedule;
  diffrl_level l;
  OK(diffrl_schedule_from_betas(&schedule, betas, 3, &error));
  OK(diffrl_schedule_level(schedule, 2, &l, &error));
  assert_near(l.a * l.a, 0.9 * 0.8 * 0.5, 1e-14);
  assert_near(l.a * l.a + l.s * l.s, 1, 1e-14);
  diffrl_schedule_free(schedule);
}

static void conventions_are_one_level(void **state) {
  (void)state;
  const char *from, *to;
  double there, back, sigma;
  for (size_t i = 0; (from = diffrl_name(DIFFRL_CONVENTIONS, i)); i++)
    for (size_t j = 0; (to = diffrl_name(DIFFRL_CONVENTIONS, j)); j++) {
      OK(diffrl_convert(from, 0.3, to, &there, &error));
      OK(diffrl_convert(to, there, from, &back, &error));
      assert_near(back, 0.3, 1e-14);
    }
  OK(diffrl_convert("abar", 0.5, "sigma", &sigma, &error));
  assert_near(sigma, 1, 1e-15);
}

/* x = a x_0 + s eps is all there is: from eps to anything and back, and eps to x_0 by hand. */
static void predictions_are_one_line(void **state) {
  (void)state;
  diffrl_schedule *schedule = schedule_of("vp-sde", 0);
  diffrl_level l;
  OK(diffrl_schedule_level(schedule, 0.4, &l, &error));
  double x = 0.7, eps = -1.3, to_x, to_y;
  const char *name;
  for (size_t i = 0; (name = diffrl_name(DIFFRL_PREDICTIONS, i)); i++) {
    OK(diffrl_prediction("eps", name, &l, 0.5, &to_x, &to_y, &error));
    double y = to_x * x + to_y * eps;
    OK(diffrl_prediction(name, "eps", &l, 0.5, &to_x, &to_y, &error));
    assert_near(to_x * x + to_y * y, eps, 1e-12);
  }
  OK(diffrl_prediction("eps", "x0", &l, 0, &to_x, &to_y, &error));
  assert_near(to_x * x + to_y * eps, (x - l.s * eps) / l.a, 1e-14);
  diffrl_schedule_free(schedule);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(deterministic_samplers_keep_quantiles),
    cmocka_unit_test(stochastic_samplers_have_the_distribution),
    cmocka_unit_test(every_sampler_is_the_recorded_chain_bit_for_bit),
    cmocka_unit_test(a_sample_depends_on_its_number_alone),
    cmocka_unit_test(the_callback_is_told_which_samples),
    cmocka_unit_test(a_run_from_its_own_start_is_the_run),
    cmocka_unit_test(inversion_undoes_ddim),
    cmocka_unit_test(levels_are_the_schedules),
    cmocka_unit_test(betas_make_a_schedule),
    cmocka_unit_test(conventions_are_one_level),
    cmocka_unit_test(predictions_are_one_line),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
