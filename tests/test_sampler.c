/* test_sampler.c -- stage tables: the posterior's three names, ends, noise; and what sampler_new
 * refuses.  (One step: test_method.c; orders: test_solver_order.c; diffusers:
 * test_golden_diffusers.c; the executor: test_chain.c.) */
#include "diffusion/grid.h"
#include "diffusion/method.h"
#include "tests/chain.h"

/* ---- what is known of a Gaussian ------------------------------------------------------------- */

/* Data N(mu, c^2): E[x_0 | x] is affine in x. */
static const double mu = 0.7, c = 0.5;
static Truth gaussian(double x, double a, double s) {
  double x0 = mu + a * c * c * (x - a * mu) / (a * a * c * c + s * s);
  return (Truth){ x0, s > 0 ? (x - a * x0) / s : 0 };
}

static Sampler *sampler(Arena *arena, const char *method, int steps, double eta,
                        const Denoiser *d) {
  return a_sampler(arena, &(SamplerSpec){ .method = method, .steps = steps, .eta = eta }, d);
}

/* ---- tables ---------------------------------------------------------------------------------- */

static void the_posterior_has_three_names(void **state) {
  (void)state;
  Arena *arena = arena_new();
  size_t count;
  const ScheduleDef *const *list = schedule_list(&count);
  for (size_t i = 0; i < count; i++) {
    Oracle net = oracle(a_schedule(arena, list[i]->name, 50), PREDICTS_VELOCITY, 1, gaussian);
    for (int steps = 5; steps < 50; steps += 11) {
      const Sampler *ddim = sampler(arena, "ddim", steps, 1, &net.base);
      const Sampler *ddpm = sampler(arena, "ddpm", steps, 0, &net.base);
      const Sampler *sde = sampler(arena, "sde_dpmpp_1", steps, 0, &net.base);
      for (int j = 0; j < steps; j++) {
        const Stage *a = &ddim->stage[j], *b = &ddpm->stage[j], *e = &sde->stage[j];
        assert_true(near(a->base, b->base, 1e-12) && near(a->out[0], b->out[0], 1e-12));
        assert_true(near(a->noise, b->noise, 1e-12) && near(e->base, b->base, 1e-12));
        assert_true(near(e->out[0], b->out[0], 1e-12) && near(e->noise, b->noise, 1e-12));
      }
    }
  }
  arena_free(arena);
}

/* With every step of the schedule, ddpm is the posterior of the schedule. */
static void ddpm_is_the_posterior(void **state) {
  (void)state;
  Arena *arena = arena_new();
  size_t count;
  const ScheduleDef *const *list = schedule_list(&count);
  for (size_t i = 0; i < count; i++) {
    if (!list[i]->discrete) continue;
    Oracle net = oracle(a_schedule(arena, list[i]->name, 20), PREDICTS_X0, 1, gaussian);
    const Sampler *ddpm = sampler(arena, "ddpm", 0, 0, &net.base);
    assert_int_equal(ddpm->stages, 20);
    for (int n = 0; n < 20; n++) {
      const Stage *stage = &ddpm->stage[19 - n];
      Posterior q = schedule_posterior(net.base.schedule, n);
      assert_true(stage->time == n && stage->direct.to_x == 0 && stage->direct.to_out == 1);
      assert_true(near(stage->base, q.c1, 1e-11) && near(stage->out[0], q.c0, 1e-11));
      assert_true(near(stage->noise * stage->noise, q.variance, 1e-11));
    }
  }
  arena_free(arena);
}

/* The data estimate of the last question is the sample, and the first question is at full noise. */
static void discrete_chains_end_at_the_data_estimate(void **state) {
  (void)state;
  Arena *arena = arena_new();
  Oracle net = oracle(a_schedule(arena, "cosine", 40), PREDICTS_EPS, 1, gaussian);
  for (size_t i = 0; sampler_name(i); i++) {
    SamplerSpec spec = { .method = sampler_name(i), .steps = 13 };
    Error error;
    const Sampler *s = sampler_new(arena, &spec, &net.base, &error);
    if (!s || !s->data_form) continue;
    const Stage *last = &s->stage[s->stages - 1];
    assert_true(s->stage[0].time == 39 && last->at.time == 0);
    assert_true(near(last->base, 0, 1e-15) && near(last->out[0], 1, 1e-12));
    assert_true(last->out[1] == 0 && last->noise == 0);
  }
  arena_free(arena);
}

/* ---- refusals -------------------------------------------------------------------------------- */

static void bad_settings_are_refused_with_a_sentence(void **state) {
  (void)state;
  static const double rising[] = { 10, 20 }, same[] = { 20, 20 };
  static const struct {
    const char *schedule;
    int n;
    SamplerSpec spec;
    const char *says;
  } cases[] = {
    { "vp", 5, { .method = "dpmpp2m" }, "dpmpp_2m" },
    { "vp", 5, { .method = "zzzzzz" }, "diffrl list samplers" },
    { "vp", 5, { .method = "ddpm", .steps = 6 }, "6 sampling steps for schedule vp with 5" },
    { "vp", 5, { .method = "dpm_2m", .steps = 5 }, "choose 1 to 4" },
    { "vp", 1, { .method = "dpm_2m" }, "one step only" },
    { "vp-sde", 0, { .method = "ddpm" }, "continuous; give the number" },
    { "vp", 5, { .method = "ddpm", .steps = -2 }, "backwards; give the number" },
    { "vp", 5, { .method = "ddim", .eta = -0.1 }, "eta of 0 or more" },
    { "vp", 5, { .method = "ddim", .eta = NAN }, "eta of 0 or more" },
    { "vp", 5, { .method = "ddim", .eta = 1.5 }, "eta up to 1" },
    { "vp", 5, { .method = "ddpm", .eta = 0.5 }, "no eta" },
    { "vp", 5, { .method = "ddpm", .temperature = -1 }, "temperature of 0 or more" },
    { "vp", 5, { .method = "dpm_2s", .end = END_CLEAN }, "cannot reach sigma 0" },
    { "vp-sde", 0, { .method = "rk4", .steps = 5, .end = END_CLEAN }, "not at clean data" },
    { "linear", 50, { .method = "euler", .steps = 5 }, "continuous in time" },
    { "vp-sde", 0, { .method = "flow_sde", .steps = 5, .eta = 1 }, "straight paths" },
    { "vp", 5, { .method = "ddpm_learned" }, "does not learn one" },
    { "vp", 5, { .method = "ddpm", .inverse = true }, "cannot run from data to noise" },
    { "vp", 5, { .method = "ddim", .eta = 1, .inverse = true }, "cannot run from data to noise" },
    { "vp", 5, { .method = "ddim", .end = END_CLEAN, .inverse = true }, "starts from noisy data" },
    { "vp", 50, { .method = "unipc", .steps = 5, .order = 4 }, "no such order" },
    { "vp", 50, { .method = "unipc", .steps = 5, .order = -1 }, "no such order" },
    { "vp", 50, { .method = "dpmpp_fast", .steps = 5, .order = 1 }, "order 2 or 3" },
    { "vp", 50, { .method = "ddim", .steps = 5, .order = 2 }, "fixed order" },
    { "vp", 50, { .method = "ddim", .steps = 5, .taylor = true }, "no taylor" },
    { "vp", 50, { .method = "dpmpp_2m", .steps = 5, .compat = true }, "no second difference" },
    { "vp", 50, { .method = "dpmpp_2s", .steps = 5, .lower_final = true }, "no history" },
    { "vp", 50, { .method = "ddim", .steps = 5, .churn = 4 }, "no churn" },
    { "vp", 50, { .method = "edm_heun", .steps = 5, .churn = -4 }, "churn settings" },
    { "vp", 50, { .method = "edm_heun", .steps = 5, .alpha = 1.5 }, "alpha in (0, 1]" },
    { "vp", 5, { .method = "ddpm", .clip = true, .low = 1, .high = 1 }, "low must be below high" },
    { "vp", 50, { .method = "ddim", .steps = 2, .times = rising }, "does not grow" },
    { "vp", 50, { .method = "ddim", .steps = 2, .times = same }, "does not grow" },
    { "vp", 50, { .method = "dpm_fast", .steps = 2, .times = rising }, "no explicit times" },
    { "vp", 50, { .method = "ddim", .steps = 5, .spacing = "karas" }, "did you mean karras" },
    { "vp-sde", 0, { .method = "ddim", .steps = 5, .spacing = "leading" }, "integer steps" },
    { "vp", 50, { .method = "ddim", .steps = 40, .spacing = "quadratic" }, "fewer steps" },
    { "gvp", 0, { .method = "ddim", .steps = 5 }, "predict v, x0 or velocity" },
    { "gvp", 0, { .method = "ddim", .steps = 5, .spacing = "lambda" }, "needs some signal" },
    { "vp", 50, { .method = "ddim", .steps = 5, .from = 50 }, "between" },
  };
  Arena *arena = arena_new();
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    Error error = { 0 };
    Oracle net =
        oracle(a_schedule(arena, cases[i].schedule, cases[i].n), PREDICTS_EPS, 1, gaussian);
    if (sampler_new(arena, &cases[i].spec, &net.base, &error))
      fail_msg("case %zu, %s: not refused (\"%s\")", i, cases[i].spec.method, cases[i].says);
    assert_int_equal(error.kind, FAIL_USAGE);
    if (!strstr(error.text, cases[i].says))
      fail_msg("case %zu says \"%s\", not \"%s\"", i, error.text, cases[i].says);
  }
  arena_free(arena);
}

/* Whatever the settings: a table of finite numbers, or a sentence. */
static void any_settings_give_a_table_or_a_sentence(void **state) {
  (void)state;
  Rng rng = rng_stream(1, "settings");
  size_t schedules, spacings, count;
  const ScheduleDef *const *list = schedule_list(&schedules);
  const char *const *grids = grid_list(&spacings);
  const Method *methods = method_list(&count);
  int made = 0, refused = 0;
  for (uint32_t i = 0; i < 4000; i++) {
    Arena *arena = arena_new();
    double u[12];
    for (uint32_t j = 0; j < 12; j++) u[j] = rng_uniform(rng, i, j, 0);
    const Schedule *s = a_schedule(arena, list[(int)(u[0] * (double)schedules)]->name, 60);
    Oracle net = oracle(s, (Prediction)(u[1] * PREDICTIONS), 1, gaussian);
    SamplerSpec spec = { .method = methods[(int)(u[2] * (double)count)].name,
                         .steps = (int)(u[3] * 30),
                         .spacing = grids[(int)(u[4] * (double)spacings)],
                         .end = (End)(u[5] * 3) };
    if (u[6] < 0.2) spec.eta = 5 * u[6];
    if (u[7] < 0.3) spec.from = floor(4 * u[7] * s->t_max);
    if (u[8] < 0.3) spec.order = (int)(14 * u[8]), spec.lower_final = u[8] < 0.1;
    if (u[9] < 0.2) spec.churn = 200 * u[9], spec.alpha = 5 * u[9];
    spec.clip = u[10] < 0.3, spec.low = -1, spec.high = 1, spec.inverse = u[11] < 0.1;
    Error error = { 0 };
    const Sampler *table = sampler_new(arena, &spec, &net.base, &error);
    for (int j = 0; table && j < table->stages; j++) {
      const Stage *stage = &table->stage[j];
      double sum = stage->base + stage->noise + stage->at.a;
      for (int k = 0; k < SAMPLER_HISTORY; k++) sum += stage->out[k];
      if (stage->evaluates) sum += stage->direct.to_x + stage->direct.to_out + stage->scale;
      if (!isfinite(sum) || !(stage->noise >= 0))
        fail_msg("%s on %s: stage %d is not finite", spec.method, s->def->name, j);
    }
    made += table != NULL, refused += !table;
    if (!table) assert_true(error.kind == FAIL_USAGE && strlen(error.text) > 20);
    arena_free(arena);
  }
  assert_true(made > 800 && refused > 800);
}

/* Without signal eps is x and says nothing of x_0: refused.  v does, and the noise forms still
 * have no finite step. */
static void no_signal_needs_a_network_that_sees(void **state) {
  (void)state;
  Arena *arena = arena_new();
  Error error;
  Schedule *s = schedule_new(
      arena, &(ScheduleSpec){ .name = "linear", .steps = 100, .zero_snr = true }, &error);
  Oracle eps = oracle(s, PREDICTS_EPS, 1, gaussian), v = oracle(s, PREDICTS_V, 1, gaussian);
  static const char *const can[] = { "ddpm",     "ddim",     "dpmpp_2m",    "dpmpp_3m",
                                     "dpmpp_2s", "dpmpp_3s", "sde_dpmpp_2m" };
  for (size_t i = 0; i < sizeof can / sizeof *can; i++) {
    SamplerSpec spec = { .method = can[i], .steps = 10, .spacing = "trailing" };
    assert_null(sampler_new(arena, &spec, &eps.base, &error));
    assert_non_null(strstr(error.text, "no signal is left"));
    const Sampler *table = a_sampler(arena, &spec, &v.base);
    const Stage *first = &table->stage[0]; /* a' x_0, and what stays of x or new noise */
    assert_true(first->rebase && near(first->out[0], table->stage[1].at.a, 1e-12));
    Moments end = moments_propagate(table, gaussian, 0, 1);
    assert_true(fabs(end.mean[VAR_X] - mu) < 1e-9); /* the data's mean, from pure noise */
  }
  SamplerSpec noisy = { .method = "dpm_2m", .steps = 10, .spacing = "linspace" };
  assert_null(sampler_new(arena, &noisy, &v.base, &error));
  assert_non_null(strstr(error.text, "no step of finite length from time 99 "));
  assert_non_null(strstr(error.text, "no signal is left: start at an earlier time"));
  /* a later step that needs the first one's length has the same reason, not its own time */
  Schedule *flow = schedule_new(arena, &(ScheduleSpec){ .name = "flow" }, &error);
  Oracle velocity = oracle(flow, PREDICTS_VELOCITY, 1, gaussian);
  static const char *const cannot[] = { "unipc", "unipc_bh1", "dpm_2m", "ancestral", "edm_heun" };
  for (size_t i = 0; i < sizeof cannot / sizeof *cannot; i++) {
    SamplerSpec spec = { .method = cannot[i], .steps = 8 };
    assert_null(sampler_new(arena, &spec, &velocity.base, &error));
    assert_non_null(strstr(error.text, "from time 1 of schedule flow, where no signal is left"));
    spec.from = 0.98;
    assert_non_null(sampler_new(arena, &spec, &velocity.base, &error));
  }
  arena_free(arena);
}

/* The first x has the noise of its level; the temperature scales what is added later. */
static void noise_is_scaled(void **state) {
  (void)state;
  static const struct {
    const char *schedule;
    double from, start;
  } cases[] = { { "vp-sde", 0, 1 }, { "vp-sde", 0.3, 1 }, { "edm", 0, 80 },
                { "edm", 10, 10 },  { "ve", 0, 50 },      { "flow", 0.25, 0.25 } };
  Arena *arena = arena_new();
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    Oracle net = oracle(a_schedule(arena, cases[i].schedule, 0), PREDICTS_VELOCITY, 1, gaussian);
    SamplerSpec spec = { .method = "ddpm", .steps = 7, .from = cases[i].from };
    const Sampler *full = a_sampler(arena, &spec, &net.base);
    spec.temperature = 0.25;
    const Sampler *low = a_sampler(arena, &spec, &net.base);
    assert_true(near(full->start, cases[i].start, 1e-12) && low->start == full->start);
    for (int j = 0; j < 7; j++) {
      assert_true(full->stage[j].noise > 0);
      assert_true(near(low->stage[j].noise, 0.25 * full->stage[j].noise, 1e-15));
    }
  }
  arena_free(arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_posterior_has_three_names),
    cmocka_unit_test(ddpm_is_the_posterior),
    cmocka_unit_test(discrete_chains_end_at_the_data_estimate),
    cmocka_unit_test(bad_settings_are_refused_with_a_sentence),
    cmocka_unit_test(any_settings_give_a_table_or_a_sentence),
    cmocka_unit_test(no_signal_needs_a_network_that_sees),
    cmocka_unit_test(noise_is_scaled),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
