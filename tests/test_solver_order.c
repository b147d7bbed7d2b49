/* test_solver_order.c -- every method of the list has the order it claims.
 *
 * Deterministic ones on a mixture of two Gaussians whose score is exact; stochastic ones by moving
 * mean and covariance of Gaussian data through the table, without Monte Carlo.  Tables and executor
 * are those that policies use. */
#include "tests/chain.h"

static const bool exact = sizeof(real) == 8; /* orders need double; float is checked for sanity */

/* ---- the mixture ----------------------------------------------------------------------------- */

enum { STARTS = 5, LD = 16 };
static const double starts[STARTS] = { -1.3, -0.4, 0.15, 0.9, 1.7 };

/* .3 N(-1, .4^2) + .7 N(.8, .25^2) */
static Truth mixture(double x, double a, double s) {
  static const double w[] = { 0.3, 0.7 }, m[] = { -1, 0.8 }, c[] = { 0.4, 0.25 };
  double sum = 0, x0 = 0;
  for (int i = 0; i < 2; i++) {
    double v = a * a * c[i] * c[i] + s * s, d = x - a * m[i];
    double q = w[i] / sqrt(v) * exp(-0.5 * d * d / v);
    sum += q, x0 += q * (m[i] + a * c[i] * c[i] * d / v);
  }
  x0 /= sum;
  return (Truth){ x0, (x - a * x0) / s };
}

/* where the chain of these settings takes the starts, from noise at t = 1 to t = 0.001 */
static void run(const char *schedule, const SamplerSpec *spec, double end[STARTS]) {
  Arena *arena = arena_new();
  bool flow = !strcmp(schedule, "flow");
  Oracle net =
      oracle(a_schedule(arena, schedule, 0), flow ? PREDICTS_VELOCITY : PREDICTS_X0, 1, mixture);
  real x[STARTS * LD] = { 0 };
  for (int i = 0; i < STARTS; i++) x[i * LD] = (real)starts[i];
  chain_replay(arena, a_sampler(arena, spec, &net.base), &net.base, STARTS, x);
  for (int i = 0; i < STARTS; i++) end[i] = (double)x[i * LD];
  arena_free(arena);
}

static double error_of(const char *schedule, const SamplerSpec *settings, int steps,
                       const double reference[STARTS]) {
  double end[STARTS], error = 0;
  SamplerSpec spec = *settings;
  spec.steps = steps;
  run(schedule, &spec, end);
  for (int i = 0; i < STARTS; i++) error = fmax(error, fabs(end[i] - reference[i]));
  return error;
}

/* by Runge-Kutta with many steps; known to nine digits */
static const double known_vp[STARTS] = { -1.185190056, 0.416858763, 0.716873693, 0.958164613,
                                         1.180991159 };
static const double known_flow[STARTS] = { -1.182916599, 0.418602331, 0.716904918, 0.957617466,
                                           1.180000950 };
static void reference_of(const char *schedule, const double known[STARTS], double end[STARTS]) {
  bool flow = !strcmp(schedule, "flow");
  SamplerSpec spec = { .method = "rk4",
                       .steps = exact ? 5000 : 500,
                       .spacing = flow ? "linspace" : "lambda" };
  run(schedule, &spec, end);
  for (int i = 0; i < STARTS; i++)
    if (!near(end[i], known[i], exact ? 2e-9 : 1e-4))
      fail_msg("%s from %g: %.10f, known %.10f", schedule, starts[i], end[i], known[i]);
}

/* ---- deterministic methods ------------------------------------------------------------------- */

typedef struct {
  SamplerSpec spec;
  double order;
  double error[3]; /* known, after 20, 80 and 320 steps; 0: not */
} Case;

static const Case on_vp[] = {
  { { .method = "euler", .spacing = "linspace" }, 1, { 3.3e-2, 6.4e-3, 1.7e-3 } },
  { { .method = "euler" }, 1, { 1.2e-1, 2.6e-2, 6.1e-3 } },
  { { .method = "ddim" }, 1, { 1.19e-1, 2.92e-2, 7.27e-3 } },
  { { .method = "ddim", .spacing = "linspace" }, 1, { 9.2e-2, 2.5e-2, 6.4e-3 } },
  { { .method = "midpoint" }, 2, { 0 } },
  { { .method = "heun" }, 2, { 0 } },
  { { .method = "edm_heun" }, 2, { 3.5e-2, 1.9e-3, 1.16e-4 } },
  { { .method = "edm_heun", .alpha = 2.0 / 3 }, 2, { 0 } },
  { { .method = "edm_heun", .alpha = 0.5 }, 2, { 0 } },
  { { .method = "dpm_2s" }, 2, { 1.7e-2, 9.9e-4, 6.0e-5 } },
  { { .method = "dpmpp_2s" }, 2, { 1.2e-2, 7.7e-4, 4.9e-5 } },
  { { .method = "dpmpp_2m" }, 2, { 2.1e-2, 1.1e-3, 6.9e-5 } },
  { { .method = "dpmpp_2m", .taylor = true }, 2, { 0 } },
  { { .method = "dpm_2m" }, 2, { 1.1e-2, 9.2e-4, 6.2e-5 } },
  { { .method = "dpm_2m", .taylor = true }, 2, { 0 } },
  { { .method = "dpm_3s" }, 3, { 1.7e-4, 2.6e-6, 4.9e-8 } },
  { { .method = "dpmpp_3s" }, 3, { 6.2e-4, 1.2e-5, 2.0e-7 } },
  { { .method = "dpmpp_3m", .compat = true }, 2, { 5.1e-3, 2.9e-4, 2.0e-5 } },
  { { .method = "dpmpp_3m" }, 3, { 5.5e-3, 7.6e-5, 1.0e-6 } },
  { { .method = "dpm_3m", .compat = true }, 2, { 0 } },
  { { .method = "dpm_3m" }, 3, { 6.9e-3, 1.5e-4, 2.2e-6 } },
  { { .method = "unipc", .order = 1 }, 2, { 3.7e-2, 2.4e-3, 1.5e-4 } },
  { { .method = "unipc", .order = 2 }, 3, { 7.2e-3, 9.9e-5, 1.7e-6 } },
  { { .method = "unipc", .order = 3 }, 4, { 5.4e-3, 2.7e-5, 1.6e-7 } },
  { { .method = "unipc_bh1", .order = 1 }, 2, { 0 } },
  { { .method = "unipc_bh1", .order = 2 }, 3, { 0 } },
  { { .method = "unipc_bh1", .order = 3 }, 4, { 0 } },
  { { .method = "rk4" }, 4, { 1.7e-4, 7.6e-7, 3.0e-9 } },
};
static const Case on_flow[] = {
  { { .method = "euler", .spacing = "linspace" }, 1, { 0, 1.5e-2, 0 } },
  { { .method = "ddim", .spacing = "linspace" }, 1, { 0, 1.5e-2, 0 } },
  { { .method = "midpoint", .spacing = "linspace" }, 2, { 0, 2.7e-5, 0 } },
  { { .method = "heun", .spacing = "linspace" }, 2, { 0, 1.4e-4, 0 } },
  { { .method = "rk4", .spacing = "linspace" }, 4, { 0, 2.8e-8, 0 } },
};

static void check_case(const char *schedule, const Case *c, const double reference[STARTS]) {
  SamplerSpec spec = c->spec;
  if (!spec.spacing) spec.spacing = "lambda";
  double known[3], half = error_of(schedule, &spec, 160, reference);
  for (int i = 0; i < 3; i++) known[i] = error_of(schedule, &spec, 20 << (2 * i), reference);
  double order = log2(half / known[2]), slack = c->order > 3 ? 0.2 : 0.15;
  if (!exact) {
    assert_true(known[2] < 0.01);
    return;
  }
  if (!(fabs(order - c->order) < slack))
    fail_msg("%s on %s: errors %.3g, %.3g, %.3g after 20, 80, 320 steps, order %.3f, not %g",
             spec.method, schedule, known[0], known[1], known[2], order, c->order);
  for (int i = 0; i < 3; i++) /* two digits are known */
    if (c->error[i] > 0 && !near(known[i] / c->error[i], 1, 0.06))
      fail_msg("%s on %s: error %.3g after %d steps, known %.3g", spec.method, schedule, known[i],
               20 << (2 * i), c->error[i]);
}

static void solvers_of_the_vp_sde_have_their_order(void **state) {
  (void)state;
  double reference[STARTS];
  reference_of("vp-sde", known_vp, reference);
  for (size_t i = 0; i < sizeof on_vp / sizeof *on_vp; i++)
    check_case("vp-sde", &on_vp[i], reference);
}

static void solvers_of_straight_paths_have_their_order(void **state) {
  (void)state;
  double reference[STARTS];
  reference_of("flow", known_flow, reference);
  for (size_t i = 0; i < sizeof on_flow / sizeof *on_flow; i++)
    check_case("flow", &on_flow[i], reference);
}

/* Noise to data and back.  A step and its reverse miss C h^(p+1) and C (-h)^(p+1): twice the same
 * for odd orders p, nothing for even ones, whose round trip is of order p + 1. */
static void inversion_returns_to_the_noise(void **state) {
  (void)state;
  static const struct {
    const char *method;
    double order;
  } cases[] = { { "ddim", 1 }, { "euler", 1 }, { "midpoint", 3 }, { "heun", 3 }, { "rk4", 5 } };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    double error[2] = { 0 };
    for (int k = 0; k < 2; k++) {
      Arena *arena = arena_new();
      Oracle net = oracle(a_schedule(arena, "vp-sde", 0), PREDICTS_X0, 1, mixture);
      SamplerSpec spec = { .method = cases[i].method, .steps = 80 << k, .spacing = "lambda" };
      real x[STARTS * LD] = { 0 };
      for (int r = 0; r < STARTS; r++) x[r * LD] = (real)starts[r];
      chain_replay(arena, a_sampler(arena, &spec, &net.base), &net.base, STARTS, x);
      spec.inverse = true;
      chain_replay(arena, a_sampler(arena, &spec, &net.base), &net.base, STARTS, x);
      for (int r = 0; r < STARTS; r++)
        error[k] = fmax(error[k], fabs((double)x[r * LD] - starts[r]));
      arena_free(arena);
    }
    double order = log2(error[0] / error[1]);
    if (exact ? !(fabs(order - cases[i].order) < 0.2) : !(error[1] < 0.1))
      fail_msg("%s there and back: %.3g, %.3g, order %.3f", cases[i].method, error[0], error[1],
               order);
  }
}

/* ---- stochastic methods ---------------------------------------------------------------------- */

static const double mu = 0.7, c = 0.5;
static Truth gaussian(double x, double a, double s) {
  double x0 = mu + a * c * c * (x - a * mu) / (a * a * c * c + s * s);
  return (Truth){ x0, (x - a * x0) / s };
}

typedef struct {
  double mean, variance;
} Miss;

/* From the exact law at the first knot to the last; evenly in time from .98 to .02 if `inside`,
 * where the noise of flow_sde is finite. */
static Miss miss_of(const char *schedule, const SamplerSpec *settings, int steps, bool inside) {
  Arena *arena = arena_new();
  Schedule *s = a_schedule(arena, schedule, 0);
  Oracle net = oracle(s, PREDICTS_VELOCITY, 1, gaussian);
  SamplerSpec spec = *settings;
  double first = inside ? 0.98 : s->t_max, last = inside ? 0.02 : s->t_min;
  double *times = arena_array(arena, double, steps);
  for (int i = 0; i < steps; i++) times[i] = first + (last - first) * i / steps;
  spec.steps = steps;
  if (inside) spec.times = times, spec.final = last;
  Level l = schedule_level(s, first), l1 = schedule_level(s, last);
  Moments m = moments_propagate(a_sampler(arena, &spec, &net.base), gaussian, l.a * mu,
                                l.a * l.a * c * c + l.s * l.s);
  Miss miss = { fabs(m.mean[VAR_X] - l1.a * mu),
                fabs(m.cov[VAR_X][VAR_X] - l1.a * l1.a * c * c - l1.s * l1.s) };
  arena_free(arena);
  return miss;
}

static const struct {
  SamplerSpec spec;
  const char *schedule;
  double order;
  bool mean;    /* exact, as in every exponential integrator; else of first order */
  int steps;    /* and 2, 4, .. 32 times as many; the last two count */
  double least; /* known error of the variance after 20 (or 320, straight paths) steps; 0: not */
  double most;  /* after 640 */
} noisy[] = {
  { { .method = "euler_maruyama" }, "vp-sde", 1, false, 640, 0, 0 },
  { { .method = "sde_euler", .eta = 0.5 }, "vp-sde", 1, false, 640, 0, 0 },
  { { .method = "reverse_diffusion" }, "vp-sde", 1, false, 20, 0, 0 },
  { { .method = "ancestral" }, "vp-sde", 1, true, 20, 5.8e-2, 1.6e-3 },
  { { .method = "ancestral" }, "ve", 1, true, 20, 0, 0 },
  { { .method = "ddpm_large" }, "vp-sde", 1, true, 20, 5.8e-2, 1.6e-3 },
  { { .method = "ddpm" }, "vp-sde", 1, true, 20, 0, 0 },
  { { .method = "ddpm" }, "edm", 1, true, 20, 0, 0 },
  { { .method = "ddim" }, "vp-sde", 1, true, 20, 0, 0 },
  { { .method = "ddim", .eta = 0.5 }, "vp-sde", 1, true, 20, 0, 0 },
  { { .method = "ddim", .eta = 1 }, "vp-sde", 1, true, 20, 0, 0 },
  { { .method = "sde_dpm_1" },
    "vp-sde",
    1,
    true,
    2560,
    0,
    0 }, /* below, a second order term leads */
  { { .method = "sde_dpm_2m" }, "vp-sde", 2, true, 20, 0, 0 },
  { { .method = "sde_dpmpp_1" }, "vp-sde", 1, true, 20, 0, 0 },
  { { .method = "sde_dpmpp_2s" }, "vp-sde", 2, true, 20, 0, 0 },
  { { .method = "sde_dpmpp_2m" }, "vp-sde", 2, true, 20, 0, 1.9e-5 },
  { { .method = "sde_dpmpp_2m", .taylor = true }, "vp-sde", 2, true, 20, 0, 0 },
  { { .method = "sde_dpmpp_3m" }, "vp-sde", 2, true, 20, 0, 0 },
  { { .method = "edm_heun", .churn = 4 }, "vp-sde", 2, true, 20, 0, 0 },
  { { .method = "edm_heun", .churn = 4, .spacing = "karras" }, "edm", 2, true, 20, 0, 0 },
  { { .method = "flow_sde" }, "flow", 1, true, 320, 2.1e-3, 0 },
  { { .method = "flow_sde", .eta = 0.7 }, "flow", 1, true, 320, 5.4e-4, 0 },
  { { .method = "flow_sde", .eta = 1 }, "flow", 1, true, 320, 1.8e-4, 0 },
};

static void stochastic_methods_have_their_order(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof noisy / sizeof *noisy; i++) {
    SamplerSpec spec = noisy[i].spec;
    bool in_time = strstr("euler_maruyama sde_euler flow_sde", spec.method) != NULL;
    if (!spec.spacing) spec.spacing = in_time ? "linspace" : "lambda";
    Miss miss[6];
    for (int j = 0; j < 6; j++)
      miss[j] = miss_of(noisy[i].schedule, &spec, noisy[i].steps << j,
                        !strcmp(noisy[i].schedule, "flow"));
    double order = log2(miss[4].variance / miss[5].variance);
    double mean = log2(miss[4].mean / miss[5].mean);
    const char *name = spec.method, *on = noisy[i].schedule;
    if (!(fabs(order - noisy[i].order) < 0.15))
      fail_msg("%s on %s: errors of the variance %.3g .. %.3g, order %.3f, not %g", name, on,
               miss[0].variance, miss[5].variance, order, noisy[i].order);
    if (noisy[i].mean ? miss[5].mean > 1e-11 : fabs(mean - 1) > 0.15)
      fail_msg("%s on %s: errors of the mean %.3g, %.3g", name, on, miss[0].mean, miss[5].mean);
    if (noisy[i].least > 0 && !near(miss[0].variance / noisy[i].least, 1, 0.06))
      fail_msg("%s on %s: %.3g, known %.3g", name, on, miss[0].variance, noisy[i].least);
    if (noisy[i].most > 0 && !near(miss[5].variance / noisy[i].most, 1, 0.06))
      fail_msg("%s on %s: %.3g, known %.3g", name, on, miss[5].variance, noisy[i].most);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(solvers_of_the_vp_sde_have_their_order),
    cmocka_unit_test(solvers_of_straight_paths_have_their_order),
    cmocka_unit_test(inversion_returns_to_the_noise),
    cmocka_unit_test(stochastic_methods_have_their_order),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
