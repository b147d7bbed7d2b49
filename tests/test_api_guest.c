/* test_api_guest.c -- how diffrl.h behaves in somebody else's program: what it says to nonsense, to
 * callbacks that fail and to little memory, and what it leaves of its caller's state.  Promise
 * B8 of docs/design.md. */
#include "core/rng.h"
#include "policy/diffrl.h"
#include "tests/address_space.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <fenv.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define OK(call)                                                                                   \
  do {                                                                                             \
    if ((call) != DIFFRL_OK) fail_msg("%s: %s", #call, error.text);                                \
  } while (0)

static diffrl_error error;

static diffrl_schedule *schedule_of(const char *name, int steps) {
  diffrl_schedule_options options = diffrl_schedule_defaults();
  diffrl_schedule *schedule = NULL;
  options.steps = steps;
  OK(diffrl_schedule_new(&schedule, name, &options, &error));
  return schedule;
}

/* Halves are exact however one rounds.  user: counts the calls that round up and keep denormals. */
static int halves(void *user, int first, int count, int dim, const float *x, const diffrl_level *at,
                  float *out) {
  volatile double least = 5e-324; /* 0 where denormals are off */
  (void)first, (void)at;
  if (user) *(int *)user += fegetround() == FE_UPWARD && least * 1 > 0;
  for (int i = 0; i < count * dim; i++) out[i] = 0.5f * x[i];
  return 0;
}

static diffrl_denoiser halving(int dim) {
  diffrl_denoiser denoiser = diffrl_denoiser_defaults();
  denoiser.ask = halves, denoiser.dim = dim;
  return denoiser;
}

/* ---- nonsense -------------------------------------------------------------------------------- */

static void refused(diffrl_status status, const char *says) {
  if (status != DIFFRL_BAD_ARGUMENT || !strstr(error.text, says))
    fail_msg("status %d and \"%s\", expected a refusal that says \"%s\"", (int)status, error.text,
             says);
}

static void nonsense_is_refused_with_a_sentence(void **state) {
  (void)state;
  diffrl_schedule *vp = schedule_of("vp", 5);
  diffrl_sampler *made = NULL;
#define REFUSED(says, changes)                                                                     \
  do {                                                                                             \
    diffrl_denoiser denoiser = halving(2);                                                         \
    diffrl_sampler_options options = diffrl_sampler_defaults();                                    \
    const diffrl_schedule *schedule = vp;                                                          \
    options.method = "ddim";                                                                       \
    changes;                                                                                       \
    refused(diffrl_sampler_new(&made, schedule, &denoiser, &options, &error), says);               \
    assert_null(made);                                                                             \
  } while (0)
  REFUSED("schedule", schedule = NULL);
  REFUSED("diffrl_sampler_defaults", options.size = 0);
  REFUSED("diffrl_denoiser_defaults", denoiser.size = 1 << 20);
  REFUSED("expected one of ddpm", options.method = NULL);
  REFUSED("dpmpp_2m", options.method = "dpmpp2m");
  REFUSED("0 to 100000", options.steps = -1);
  REFUSED("choose 1 to 5", options.steps = 6);
  REFUSED("eta", options.eta = NAN);
  REFUSED("eta", options.eta = 1.5);
  REFUSED("churn", options.churn = -1);
  REFUSED("alpha", options.alpha = 2);
  REFUSED("low", (options.clip = 1, options.low = 2, options.high = 1));
  REFUSED("linspce", options.spacing = "linspce");
  REFUSED("times from 0 to 4", options.from = 5);
  REFUSED("end", options.end = 3);
  REFUSED("batch", options.batch = -1);
  REFUSED("number of times", options.times = &options.eta);
  REFUSED("memory", (options.method = "dpmpp_2m", options.inverse = 1));
  REFUSED("function", denoiser.ask = NULL);
  REFUSED("dim", denoiser.dim = 0);
  REFUSED("dim", denoiser.dim = 1 << 30);
  REFUSED("\"noise\": expected one of eps", denoiser.predicts = "noise");
  REFUSED("data_std", denoiser.data_std = INFINITY);
  REFUSED("noise estimates", (options.method = "dpm_2m", options.end = DIFFRL_END_CLEAN));
#undef REFUSED
  diffrl_schedule_free(vp);
  refused(diffrl_sampler_run(NULL, 0, 1, NULL, &error), "sampler");
  diffrl_sampler_free(NULL);
}

static void schedules_refuse_nonsense_too(void **state) {
  (void)state;
  diffrl_schedule *vp = schedule_of("vp", 5), *none = NULL;
  diffrl_schedule_options options = diffrl_schedule_defaults();
  refused(diffrl_schedule_new(&none, NULL, NULL, &error), "expected one of linear");
  refused(diffrl_schedule_new(&none, "cosin", NULL, &error), "cosine");
  refused(diffrl_schedule_new(&none, "cosine", NULL, &error), "steps");
  refused(diffrl_schedule_new(NULL, "flow", NULL, &error), "made");
  options.steps = -3;
  refused(diffrl_schedule_new(&none, "vp", &options, &error), "-3");
  options.steps = 3, options.high = NAN;
  refused(diffrl_schedule_new(&none, "vp", &options, &error), "finite");
  refused(diffrl_schedule_from_betas(&none, (double[]){ 0.1, 1 }, 2, &error), "beta[1]");
  refused(diffrl_schedule_from_betas(&none, NULL, 2, &error), "betas");
  assert_null(none);
  diffrl_level level = { 0 };
  double number = 0;
  refused(diffrl_schedule_level(vp, NAN, &level, &error), "0 to 4");
  refused(diffrl_schedule_level(vp, 4.5, &level, &error), "0 to 4");
  refused(diffrl_schedule_level(vp, 1, NULL, &error), "level");
  refused(diffrl_schedule_time(vp, NAN, &number, &error), "lambda");
  refused(diffrl_schedule_time(NULL, 0, &number, &error), "schedule");
  refused(diffrl_convert("abr", 0.5, "snr", &number, &error), "abar");
  refused(diffrl_convert("abar", 1.5, "snr", &number, &error), "1.5");
  refused(diffrl_prediction("eps", NULL, &level, 0, &number, &number, &error), "expected one of");
  level.s = 1;
  refused(diffrl_prediction("eps", "x0", &level, 0, &number, &number, &error), "does not tell");
  assert_int_equal(diffrl_schedule_level(vp, -1, &level, NULL), DIFFRL_BAD_ARGUMENT);
  assert_null(diffrl_name((diffrl_list)9, 0));
  diffrl_schedule_free(vp);
  diffrl_schedule_free(NULL);
}

/* A struct of an older header is shorter; that of a newer one is longer, which is fine while the
 * rest says nothing. */
static void other_versions_of_a_struct_are_read(void **state) {
  (void)state;
  struct {
    diffrl_schedule_options known;
    double later;
  } options = { diffrl_schedule_defaults(), 0 };
  diffrl_schedule *schedule = NULL;
  options.known.size = sizeof options, options.known.steps = 5;
  OK(diffrl_schedule_new(&schedule, "vp", &options.known, &error));
  diffrl_schedule_free(schedule);
  options.later = 1, schedule = NULL;
  refused(diffrl_schedule_new(&schedule, "vp", &options.known, &error), "older than");
  options.known.shift = -1, options.known.size = offsetof(diffrl_schedule_options, shift);
  OK(diffrl_schedule_new(&schedule, "vp", &options.known, &error));
  diffrl_schedule_free(schedule);
}

/* ---- callbacks that fail --------------------------------------------------------------------- */

typedef struct {
  int code, at; /* what the call number `at` returns */
  float writes;
  bool writes_nothing;
  diffrl_sampler *inside;
  diffrl_status status;
  int calls;
} Odd;
static int odd(void *user, int first, int count, int dim, const float *x, const diffrl_level *at,
               float *out) {
  Odd *o = user;
  float again[2];
  (void)first, (void)x, (void)at;
  if (o->inside) o->status = diffrl_sampler_run(o->inside, 0, 1, again, &error);
  for (int i = 0; i < count * dim && !o->writes_nothing; i++) out[i] = 0;
  if (o->calls++ != o->at) return 0;
  if (!o->writes_nothing) out[1] = o->writes;
  return o->code;
}

static void a_failing_callback_ends_the_run(void **state) {
  (void)state;
  const struct {
    Odd odd;
    diffrl_status status;
    const char *says;
    int calls;
  } cases[] = {
    { { .code = 7, .at = 4 }, DIFFRL_STOPPED, "returned 7 for samples 4 to 7 at time", 5 },
    { { .writes = NAN, .at = 1 }, DIFFRL_NOT_FINITE, "output 1 for sample 0 at time 2 is nan", 2 },
    { { .writes_nothing = true, .at = 1 }, DIFFRL_NOT_FINITE, "sample 0 at time 3 is nan", 1 },
    { { .writes = 3e38f, .at = 3 }, DIFFRL_OK, "", 8 },
  };
  diffrl_schedule *vp = schedule_of("vp", 4);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    float x[16];
    for (int j = 0; j < 16; j++) x[j] = 5;
    Odd user = cases[i].odd;
    diffrl_denoiser denoiser = diffrl_denoiser_defaults();
    diffrl_sampler_options options = diffrl_sampler_defaults();
    denoiser.ask = odd, denoiser.user = &user, denoiser.dim = 2, denoiser.predicts = "x0";
    options.method = "ddim", options.batch = 4;
    diffrl_sampler *sampler;
    OK(diffrl_sampler_new(&sampler, vp, &denoiser, &options, &error));
    assert_int_equal(diffrl_sampler_run(sampler, 0, 8, x, &error), cases[i].status);
    if (cases[i].status && !strstr(error.text, cases[i].says)) fail_msg("%s", error.text);
    assert_int_equal(user.calls, cases[i].calls);
    assert_true((x[15] == 5) == (cases[i].status != DIFFRL_OK));
    assert_true((x[0] == 5) == (user.calls <= 4)); /* the first batch was done, or not */
    user = (Odd){ .at = -1, .inside = sampler };
    OK(diffrl_sampler_run(sampler, 0, 8, x, &error));
    assert_int_equal(user.status, DIFFRL_BAD_ARGUMENT); /* it was running */
    diffrl_sampler_free(sampler);
  }
  diffrl_schedule_free(vp);
}

/* ---- the caller's state ---------------------------------------------------------------------- */

static void run_halves(int *seen, float *x, int count) {
  diffrl_schedule *flow = schedule_of("flow", 0); /* begins at ln 0 */
  diffrl_denoiser denoiser = halving(1);
  diffrl_sampler_options options = diffrl_sampler_defaults();
  diffrl_sampler *sampler = NULL;
  diffrl_level last;
  OK(diffrl_schedule_level(flow, 1, &last, &error));
  denoiser.user = seen, denoiser.predicts = "velocity", options.method = "heun", options.steps = 4;
  OK(diffrl_sampler_new(&sampler, flow, &denoiser, &options, &error));
  OK(diffrl_sampler_run(sampler, 9, count, x, &error));
  diffrl_sampler_free(sampler);
  diffrl_schedule_free(flow);
}

/* The caller's rounding, traps and denormals are back in its callback and afterwards, no flag is
 * raised for it, and its settings change no bit of the results. */
static void floating_point_is_left_as_found(void **state) {
  (void)state;
  enum { N = 32, TRAPS = FE_DIVBYZERO | FE_INVALID | FE_OVERFLOW };
  float x[2][N];
  int seen = 0;
  run_halves(&seen, x[0], N);
  assert_int_equal(seen, 0);
  feclearexcept(FE_ALL_EXCEPT);
  const int trapped = feenableexcept(TRAPS) < 0 ? 0 : TRAPS; /* few ARM processors trap */
  fesetround(FE_UPWARD);
  run_halves(&seen, x[1], N);
  int rounding = fegetround(), traps = fegetexcept(), raised = fetestexcept(FE_ALL_EXCEPT);
  fedisableexcept(FE_ALL_EXCEPT), fesetround(FE_TONEAREST);
  assert_int_equal(rounding, FE_UPWARD);
  assert_int_equal(traps, trapped);
  assert_int_equal(raised & TRAPS, 0);
  assert_int_equal(seen, 8);
  assert_memory_equal(x[0], x[1], sizeof x[0]);
}

/* ---- anything at all ------------------------------------------------------------------------- */

/* Whatever the settings, a status comes back: nothing aborts, and DIFFRL_OK means finite. */
static void any_settings_get_an_answer(void **state) {
  (void)state;
  static const double odd_numbers[] = { 0, 0, 0, 0, 1, 0.5, 2, 1e-3, 3, -1, NAN, INFINITY, 1e300 };
  enum { ODD = sizeof odd_numbers / sizeof *odd_numbers, TRIES = 3000 };
  Rng rng = rng_stream(1, "settings");
  int done = 0, samplers = 0;
  while (diffrl_name(DIFFRL_SAMPLERS, (size_t)samplers)) samplers++;
#define DRAW(n) ((int)rng_below(rng, (uint64_t)i, 0, draw++, (uint64_t)(n)))
#define ANY     odd_numbers[DRAW(ODD)]
  for (int i = 0; i < TRIES; i++) {
    uint32_t draw = 0;
    diffrl_schedule *schedule = NULL;
    diffrl_schedule_options how = diffrl_schedule_defaults();
    how.steps = DRAW(12), how.zero_snr = !DRAW(8), how.rescale = !DRAW(8);
    if (!DRAW(4)) how.low = ANY, how.high = ANY, how.shift = ANY;
    if (diffrl_schedule_new(&schedule, diffrl_name(DIFFRL_SCHEDULES, (size_t)DRAW(11)), &how, NULL))
      continue;
    diffrl_denoiser denoiser = halving(1 + DRAW(20));
    diffrl_sampler_options o = diffrl_sampler_defaults();
    double times[6];
    float x[3 * 20] = { 0 };
    for (int j = 0; j < 6; j++) times[j] = DRAW(3) ? 0.9 - 0.1 * j : ANY;
    denoiser.predicts = diffrl_name(DIFFRL_PREDICTIONS, (size_t)DRAW(6));
    denoiser.learns_variance = !DRAW(8); /* then half of its answer is missing */
    o.method = diffrl_name(DIFFRL_SAMPLERS, (size_t)DRAW(samplers));
    o.spacing = diffrl_name(DIFFRL_SPACINGS, (size_t)DRAW(7));
    o.steps = DRAW(7), o.end = DRAW(3), o.inverse = !DRAW(6), o.clip = DRAW(2);
    if (!DRAW(4)) o.order = DRAW(6) - 1, o.taylor = DRAW(2), o.lower_final = DRAW(2);
    if (!DRAW(4)) o.times = times;
    if (!DRAW(4)) o.from = ANY, o.final = ANY, o.temperature = ANY, o.compat = DRAW(2);
    if (!DRAW(4)) o.eta = ANY, o.alpha = ANY, o.churn = ANY, o.churn_min = ANY;
    diffrl_sampler *sampler = NULL;
    if (!diffrl_sampler_new(&sampler, schedule, &denoiser, &o, NULL) &&
        !diffrl_sampler_run_from(sampler, (uint64_t)i, 3, x, NULL)) {
      for (int j = 0; j < 3 * 20; j++) assert_true(isfinite(x[j]));
      done++;
    }
    diffrl_sampler_free(sampler);
    diffrl_schedule_free(schedule);
  }
  assert_true(done > TRIES / 20); /* and some of them are settings that work */
}

/* A quarter of a gigabyte is not enough for 65536 samples of 4096 numbers. */
static void too_little_memory_is_said(void **state) {
  (void)state;
  pid_t child = fork();
  if (!child) {
    diffrl_schedule *vp = NULL;
    diffrl_denoiser denoiser = halving(4096);
    diffrl_sampler_options options = diffrl_sampler_defaults();
    diffrl_sampler *sampler = NULL;
    options.method = "ddim", options.batch = 65536;
    if (!address_space_limit(1u << 28)) _exit(NOT_LIMITED);
    vp = schedule_of("vp", 5);
    int status = diffrl_sampler_new(&sampler, vp, &denoiser, &options, &error);
    _exit(status == DIFFRL_NO_MEMORY && strstr(error.text, "65536") ? 0 : 1);
  }
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  if (WEXITSTATUS(status) == NOT_LIMITED) skip();
  assert_int_equal(status, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(nonsense_is_refused_with_a_sentence),
    cmocka_unit_test(schedules_refuse_nonsense_too),
    cmocka_unit_test(other_versions_of_a_struct_are_read),
    cmocka_unit_test(a_failing_callback_ends_the_run),
    cmocka_unit_test(floating_point_is_left_as_found),
    cmocka_unit_test(any_settings_get_an_answer),
    cmocka_unit_test(too_little_memory_is_said),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
