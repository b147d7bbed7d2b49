/* schedule.c -- schedules as tables or functions of time, in double. */
#include "diffusion/schedule.h"
#include "core/check.h"
#include "core/names.h"
#include "core/ops/ops.h"
#include <math.h>
#include <string.h>

#define PI 3.14159265358979323846

/* ---- discrete schedules ---------------------------------------------------------------------- */

/* n of the way from low to high */
static double between(const Schedule *s, double low, double high, int n) {
  return low + (high - low) * (s->steps > 1 ? (double)n / (s->steps - 1) : 0);
}

static void fill_linear(Schedule *s) {
  for (int n = 0; n < s->steps; n++) s->beta[n] = between(s, s->low, s->high, n);
}
static void fill_scaled_linear(Schedule *s) {
  for (int n = 0; n < s->steps; n++) {
    double root = between(s, sqrt(s->low), sqrt(s->high), n);
    s->beta[n] = root * root;
  }
}

/* 1 - cos^2 y / cos^2 x = sin(y - x) sin(y + x) / cos^2 x keeps the digits of the small betas */
static void fill_cosine(Schedule *s) {
  double step = PI / 2 / 1.008 / s->steps, offset = PI / 2 * 0.008 / 1.008;
  for (int n = 0; n < s->steps; n++) {
    double x = offset + n * step, c = cos(x);
    s->beta[n] = fmin(sin(step) * sin(2 * x + step) / (c * c), 0.999);
  }
}

static void fill_vp(Schedule *s) {
  double N = s->steps;
  for (int n = 0; n < s->steps; n++)
    s->beta[n] = -expm1(-s->low / N - 0.5 * (s->high - s->low) * (2 * n + 1) / (N * N));
}

static void fill_ncsn(Schedule *s) {
  for (int n = 0; n < s->steps; n++) s->log_sigma[n] = between(s, log(s->low), log(s->high), n);
}

/* ---- continuous schedules -------------------------------------------------------------------- */

static double vp_log_a(const Schedule *s, double t) {
  return -0.25 * t * t * (s->high - s->low) - 0.5 * t * s->low;
}
static double vp_beta(const Schedule *s, double t) { return s->low + t * (s->high - s->low); }

static void at_vp_sde(const Schedule *s, double t, Level *l) {
  double log_a = vp_log_a(s, t);
  l->a = exp(log_a), l->s = sqrt(-expm1(2 * log_a));
  l->da = -0.5 * vp_beta(s, t) * l->a, l->ds = -l->a * l->da / l->s;
}
static double time_of_a(const Schedule *s, double log_a) { /* the root of the quadratic */
  double k = -4 * (s->high - s->low) * log_a;
  return k / ((sqrt(s->low * s->low + k) + s->low) * (s->high - s->low));
}
static double time_vp_sde(const Schedule *s, double lambda) { /* 2 ln a = -ln(1 + e^(-2 lambda)) */
  double l = lambda < 0 ? -2 * lambda + log1p(exp(2 * lambda)) : log1p(exp(-2 * lambda));
  return time_of_a(s, -0.5 * l);
}

static void at_sub_vp(const Schedule *s, double t, Level *l) {
  double log_a = vp_log_a(s, t);
  l->a = exp(log_a), l->s = -expm1(2 * log_a);
  l->da = -0.5 * vp_beta(s, t) * l->a, l->ds = -2 * l->a * l->da;
}
static double time_sub_vp(const Schedule *s, double lambda) { /* e^lambda a^2 + a - e^lambda = 0 */
  double r = exp(lambda), a = 2 * r / (1 + sqrt(1 + 4 * r * r));
  return time_of_a(s, log(a));
}

static void at_ve(const Schedule *s, double t, Level *l) {
  double rate = log(s->high / s->low);
  l->a = 1, l->s = s->low * exp(rate * t), l->ds = rate * l->s;
}
static double time_ve(const Schedule *s, double lambda) {
  return -(lambda + log(s->low)) / log(s->high / s->low);
}

static void at_flow(const Schedule *s, double t, Level *l) {
  (void)s;
  l->a = 1 - t, l->s = t, l->da = -1, l->ds = 1;
}
static double time_flow(const Schedule *s, double lambda) {
  (void)s;
  return 1 / (1 + exp(lambda));
}

static void at_gvp(const Schedule *s, double t, Level *l) {
  (void)s;
  l->a = t < 1 ? cos(PI / 2 * t) : 0, l->s = sin(PI / 2 * t);
  l->da = -PI / 2 * l->s, l->ds = PI / 2 * l->a;
}
static double time_gvp(const Schedule *s, double lambda) {
  (void)s;
  return 2 / PI * atan(exp(-lambda));
}

static void at_edm(const Schedule *s, double t, Level *l) {
  (void)s;
  l->a = 1, l->s = t, l->ds = 1;
}
static double time_edm(const Schedule *s, double lambda) {
  (void)s;
  return exp(-lambda);
}

/* ---- the list -------------------------------------------------------------------------------- */

/* clang-format off */
static const ScheduleDef schedules[] = {
  { "linear",        true,  true,  1e-4,   2e-2,  0,     0,  fill_linear,        NULL,      NULL,
    "beta evenly from 1e-4 to 2e-2; Ho et al. 2020" },
  { "cosine",        true,  true,  0,      0,     0,     0,  fill_cosine,        NULL,      NULL,
    "abar = cos^2; Nichol & Dhariwal 2021" },
  { "vp",            true,  true,  0.1,    10,    0,     0,  fill_vp,            NULL,      NULL,
    "abar = exp(-5.05) at the end for any number of steps; Wang et al. 2023" },
  { "scaled-linear", true,  true,  0.00085, 0.012, 0,    0,  fill_scaled_linear, NULL,      NULL,
    "sqrt(beta) evenly; Rombach et al. 2022" },
  { "ncsn",          true,  false, 0.01,   1,     0,     0,  fill_ncsn,          NULL,      NULL,
    "a = 1, s geometric; Song & Ermon 2019" },
  { "vp-sde",        false, true,  0.1,    20,    1e-3,  1,  NULL, at_vp_sde, time_vp_sde,
    "beta linear in time; Song et al. 2021" },
  { "sub-vp",        false, false, 0.1,    20,    1e-3,  1,  NULL, at_sub_vp, time_sub_vp,
    "the same a, s = 1 - a^2; Song et al. 2021" },
  { "ve",            false, false, 0.01,   50,    1e-5,  1,  NULL, at_ve,     time_ve,
    "a = 1, s = .01 5000^t; Song et al. 2021" },
  { "flow",          false, false, 0,      0,     1e-3,  1,  NULL, at_flow,   time_flow,
    "a = 1 - t, s = t: straight paths; Liu et al. 2023, Lipman et al. 2023" },
  { "gvp",           false, true,  0,      0,     1e-3,  1,  NULL, at_gvp,    time_gvp,
    "a = cos, s = sin of pi t/2; Albergo & Vanden-Eijnden 2023" },
  { "edm",           false, false, 0,      0,     0.002, 80, NULL, at_edm,    time_edm,
    "a = 1, s = t; Karras et al. 2022" },
};
/* clang-format on */
enum { SCHEDULES = sizeof schedules / sizeof *schedules };

const ScheduleDef *const *schedule_list(size_t *count) {
  static const ScheduleDef *const list[SCHEDULES] = {
    &schedules[0], &schedules[1], &schedules[2], &schedules[3], &schedules[4],  &schedules[5],
    &schedules[6], &schedules[7], &schedules[8], &schedules[9], &schedules[10],
  };
  *count = SCHEDULES;
  return list;
}

static const ScheduleDef *find(const char *name, Error *error) {
  const Names *names =
      NAMES(schedules, SCHEDULES, .what = "schedule", .see = "`diffrl list schedules`");
  int i = names_find(names, name, error);
  return i < 0 ? NULL : &schedules[i];
}

/* ---- making one ------------------------------------------------------------------------------ */

static bool check_spec(const ScheduleDef *def, const ScheduleSpec *spec, Error *error) {
  const char *wrong = NULL;
  bool numbers = spec->low != 0 || spec->high != 0, betas = def->preserves && def->discrete;
  if (def->discrete && spec->steps < 1)
    wrong = "is discrete: give its number of steps, 1 or more";
  else if (spec->rescale && !strstr(def->name, "linear"))
    wrong = "has no betas to rescale; linear and scaled-linear have";
  else if (spec->zero_snr && !betas)
    wrong = "cannot be rescaled to zero terminal SNR";
  else if (spec->zero_snr && spec->steps < 2)
    wrong = "needs two steps for zero terminal SNR";
  else if (spec->shift != 0 && def->discrete)
    wrong = "is discrete; only continuous times shift";
  else if (!(spec->shift >= 0))
    wrong = "wants a positive shift";
  else if (spec->shift != 0 && def->t_max != 1)
    wrong = "has no unit of time to shift";
  else if (numbers && def->high == 0 && strcmp(def->name, "edm"))
    wrong = "has no numbers to choose (low, high)";
  else if (numbers && !(spec->low > 0 && spec->high > spec->low && isfinite(spec->high)))
    wrong = "wants 0 < low < high: noise must grow with time";
  if (wrong) error_set(error, FAIL_USAGE, "schedule %s %s", def->name, wrong);
  return !wrong;
}

/* ln abar from beta; false if signal to noise does not fall */
static bool accumulate(Schedule *s, Error *error) {
  double sum = 0;
  for (int n = 0; n < s->steps; n++) {
    if (!(s->beta[n] > 0 && s->beta[n] < 1)) {
      error_set(error, FAIL_USAGE,
                "beta[%d] = %g: signal to noise must fall in every step, so betas lie between 0 "
                "and 1",
                n, s->beta[n]);
      return false;
    }
    s->log_abar[n] = sum += log1p(-s->beta[n]);
  }
  return true;
}

/* sqrt(abar) shifted so that the last is 0 and scaled so that the first stays */
static void end_without_signal(Schedule *s) {
  double first = exp(0.5 * s->log_abar[0]), last = exp(0.5 * s->log_abar[s->steps - 1]);
  double before = 1;
  for (int n = 0; n < s->steps; n++) {
    double a = n == s->steps - 1 ? 0 : (exp(0.5 * s->log_abar[n]) - last) * first / (first - last);
    s->beta[n] = 1 - a * a / (before * before);
    s->log_abar[n] = 2 * log(a), before = a;
  }
}

static Schedule *make(Arena *arena, const ScheduleDef *def, int steps) {
  Schedule *s = arena_alloc(arena, sizeof *s);
  *s = (Schedule){ .def = def, .low = def->low, .high = def->high };
  s->t_min = def->t_min, s->t_max = def->t_max;
  if (!def->discrete) return s;
  s->steps = steps, s->t_max = steps - 1;
  if (!def->preserves) {
    s->log_sigma = arena_array(arena, double, steps);
    return s;
  }
  s->beta = arena_array(arena, double, steps);
  s->log_abar = arena_array(arena, double, steps);
  return s;
}

Schedule *schedule_new(Arena *arena, const ScheduleSpec *spec, Error *error) {
  const ScheduleDef *def = find(spec->name, error);
  if (!def || !check_spec(def, spec, error)) return NULL;
  Schedule *s = make(arena, def, spec->steps);
  if (spec->high != 0) s->low = spec->low, s->high = spec->high;
  if (spec->shift != 1) s->shift = spec->shift;
  if (!def->discrete) {
    if (!strcmp(def->name, "edm") && spec->high != 0) s->t_min = spec->low, s->t_max = spec->high;
    return s;
  }
  def->fill(s);
  for (int n = 0; spec->rescale && n < s->steps; n++) s->beta[n] *= 1000.0 / s->steps;
  if (s->beta && !accumulate(s, error)) return NULL;
  if (spec->zero_snr) end_without_signal(s);
  return s;
}

Schedule *schedule_from_betas(Arena *arena, const double *beta, int steps, Error *error) {
  static const ScheduleDef given = { .name = "betas", .discrete = true, .preserves = true };
  CHECK(steps >= 1, "schedule: %d steps", steps);
  Schedule *s = make(arena, &given, steps);
  memcpy(s->beta, beta, (size_t)steps * sizeof *beta);
  return accumulate(s, error) ? s : NULL;
}

/* ---- functions of time ----------------------------------------------------------------------- */

/* linear between the entries of a table, and its slope */
static double interpolate(const double *table, int steps, double t, double *slope) {
  int n = t <= 0 ? 0 : t >= steps - 1 ? steps - 2 : (int)t;
  double u = t <= 0 ? 0 : t >= steps - 1 ? steps - 1 : t;
  *slope = steps > 1 ? table[n + 1] - table[n] : 0;
  if (steps == 1 || u == n) return table[steps == 1 ? 0 : n];
  return u == n + 1 ? table[n + 1] : table[n] + (u - n) * *slope;
}

static void at_discrete(const Schedule *s, double t, Level *l) {
  double slope;
  if (s->log_sigma) {
    l->a = 1, l->s = exp(interpolate(s->log_sigma, s->steps, t, &slope));
    l->ds = slope * l->s;
    return;
  }
  double log_abar = interpolate(s->log_abar, s->steps, t, &slope);
  l->a = exp(0.5 * log_abar), l->s = sqrt(-expm1(log_abar));
  l->da = l->a > 0 ? 0.5 * slope * l->a : 0, l->ds = -l->a * l->da / l->s;
}

Level schedule_level(const Schedule *s, double t) {
  Level l = { .time = t };
  double u = t, stretch = 1;
  if (s->shift > 0) {
    double k = s->shift, below = 1 + (k - 1) * t;
    u = k * t / below, stretch = k / (below * below);
  }
  if (s->def->discrete)
    at_discrete(s, u, &l);
  else
    s->def->at(s, u, &l);
  l.da *= stretch, l.ds *= stretch;
  l.lambda = log(l.a / l.s);
  return l;
}

Level schedule_clean(void) { return (Level){ .time = -1, .a = 1, .lambda = INFINITY }; }

double schedule_a(const Schedule *s, double t) { return schedule_level(s, t).a; }
double schedule_s(const Schedule *s, double t) { return schedule_level(s, t).s; }
double schedule_lambda(const Schedule *s, double t) { return schedule_level(s, t).lambda; }

static double bisect(const Schedule *s, double lambda) {
  double low = s->t_min, high = s->t_max;
  for (int i = 0; i < 200 && low < high; i++) {
    double middle = 0.5 * (low + high);
    if (middle <= low || middle >= high) break;
    if (schedule_lambda(s, middle) > lambda)
      low = middle;
    else
      high = middle;
  }
  return fabs(schedule_lambda(s, low) - lambda) < fabs(schedule_lambda(s, high) - lambda) ? low
                                                                                          : high;
}

double schedule_time(const Schedule *s, double lambda) {
  if (!s->def->time) return bisect(s, lambda);
  double u = s->def->time(s, lambda);
  double t = s->shift > 0 ? u / (s->shift - (s->shift - 1) * u) : u;
  return t;
}

double level_f(const Level *l) { return l->da / l->a; }
double level_g2(const Level *l) { return 2 * l->s * (l->ds - l->s * l->da / l->a); }

double schedule_prior(const Schedule *s) { return s->def->preserves ? 1 : schedule_s(s, s->t_max); }

Posterior level_posterior(const Level *r, const Level *t) {
  double keep = t->a / r->a, v = t->s * t->s, added = v - keep * keep * r->s * r->s;
  return (Posterior){ .c0 = r->a * added / v,
                      .c1 = keep * r->s * r->s / v,
                      .variance = added * r->s * r->s / v };
}

Posterior schedule_posterior(const Schedule *s, int n) {
  CHECK(s->def->discrete && n >= 0 && n < s->steps, "posterior of step %d", n);
  if (!s->beta) {
    Level t = schedule_level(s, n), r = n ? schedule_level(s, n - 1) : schedule_clean();
    return level_posterior(&r, &t);
  }
  double log_before = n ? s->log_abar[n - 1] : 0, beta = s->beta[n];
  double one_minus = -expm1(s->log_abar[n]), one_minus_before = -expm1(log_before);
  return (Posterior){ .c0 = beta * exp(0.5 * log_before) / one_minus,
                      .c1 = one_minus_before * sqrt(1 - beta) / one_minus,
                      .variance = beta * one_minus_before / one_minus };
}

/* ---- outside conventions --------------------------------------------------------------------- */

static double same(double x) { return x; }
static double from_logsnr(double x) { return 0.5 * x; }
static double to_logsnr(double l) { return 2 * l; }
static double from_snr(double x) { return 0.5 * log(x); }
static double to_snr(double l) { return exp(2 * l); }
static double from_abar(double x) { return 0.5 * (log(x) - log1p(-x)); }
static double to_abar(double l) { return 1 / (1 + exp(-2 * l)); }
static double from_sigma(double x) { return -log(x); }
static double to_sigma(double l) { return exp(-l); }
static double from_flow(double x) { return log1p(-x) - log(x); }
static double to_flow(double l) { return 1 / (1 + exp(l)); }
static double from_flow_data(double x) { return log(x) - log1p(-x); }
static double to_flow_data(double l) { return 1 / (1 + exp(-l)); }

static const struct {
  const char *name;
  double (*from)(double), (*to)(double);
} conventions[] = { { "lambda", same, same },
                    { "logsnr", from_logsnr, to_logsnr },
                    { "snr", from_snr, to_snr },
                    { "abar", from_abar, to_abar },
                    { "sigma", from_sigma, to_sigma },
                    { "flow", from_flow, to_flow },
                    { "flow-data", from_flow_data, to_flow_data } };
enum { CONVENTIONS = sizeof conventions / sizeof *conventions };

double level_from(const char *name, double value) {
  for (int i = 0; i < CONVENTIONS; i++)
    if (!strcmp(conventions[i].name, name)) return conventions[i].from(value);
  return NAN;
}
double level_to(const char *name, double lambda) {
  for (int i = 0; i < CONVENTIONS; i++)
    if (!strcmp(conventions[i].name, name)) return conventions[i].to(lambda);
  return NAN;
}

const char *level_convention(size_t i) { return i < CONVENTIONS ? conventions[i].name : NULL; }

/* ---- on the tape ----------------------------------------------------------------------------- */

static void marginal_run(const Lane *lane, const Tensor *y) {
  const Schedule *s = y->attr.p;
  const Tensor *t = y->in[0];
  int rows = lane_rows(lane, y) * y->k;
  const real *time = lane_at(lane, t);
  real *out = lane_at(lane, y);
  for (int i = 0; i < rows; i++, time += t->ld, out += y->ld) {
    memset(out, 0, (size_t)padded(2) * sizeof *out);
    Level l = schedule_level(s, (double)*time);
    out[0] = (real)l.a, out[1] = (real)l.s;
  }
}
static const Op op_marginal = { .name = "marginal", .run = marginal_run };

Tensor *t_marginal(const Schedule *s, Tensor *t) {
  CHECK(t->n == 1 && t->e == 1, "t_marginal: one time a row");
  return record(t->g, &op_marginal, (Shape){ t->k, 1, 2 }, &(Recipe){ .in = { t }, .attr.p = s });
}
