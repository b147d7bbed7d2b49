/* schedule.c -- schedules as tables or functions of ln a, in double. */
#include "diffusion/schedule.h"
#include "core/check.h"
#include "core/config.h"
#include "core/ops.h"
#include <math.h>
#include <string.h>

#define PI 3.14159265358979323846

/* ---- the schedules --------------------------------------------------------------------------- */

static void fill_linear(Schedule *s) {
  for (int n = 0; n < s->steps; n++)
    s->beta[n] = 1e-4 + (2e-2 - 1e-4) * (s->steps > 1 ? (double)n / (s->steps - 1) : 0);
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
  double N = s->steps, low = 0.1, high = 10;
  for (int n = 0; n < s->steps; n++)
    s->beta[n] = -expm1(-low / N - 0.5 * (high - low) * (2 * n + 1) / (N * N));
}

static double vp_sde_log_a(const Schedule *s, double t) {
  return -0.25 * t * t * (s->b1 - s->b0) - 0.5 * t * s->b0;
}
static double vp_sde_time(const Schedule *s, double lambda) {
  double l = lambda < 0 ? -2 * lambda + log1p(exp(2 * lambda)) : log1p(exp(-2 * lambda));
  double k = 2 * (s->b1 - s->b0) * l;
  return k / ((sqrt(s->b0 * s->b0 + k) + s->b0) * (s->b1 - s->b0));
}

static const ScheduleDef linear = { "linear", true, fill_linear, NULL, NULL };
static const ScheduleDef cosine = { "cosine", true, fill_cosine, NULL, NULL };
static const ScheduleDef vp = { "vp", true, fill_vp, NULL, NULL };
static const ScheduleDef vp_sde = { "vp-sde", false, NULL, vp_sde_log_a, vp_sde_time };
static const ScheduleDef *const schedules[] = { &linear, &cosine, &vp, &vp_sde };
enum { SCHEDULES = sizeof schedules / sizeof *schedules };

const ScheduleDef *const *schedule_list(size_t *count) {
  *count = SCHEDULES;
  return schedules;
}

static const ScheduleDef *find(const char *name, Error *error) {
  const char *names[SCHEDULES];
  for (int i = 0; i < SCHEDULES; i++) {
    names[i] = schedules[i]->name;
    if (!strcmp(names[i], name)) return schedules[i];
  }
  const char *nearest = config_nearest(name, names, SCHEDULES);
  error_set(error, FAIL_USAGE, "unknown schedule \"%s\"%s%s%s", name,
            nearest ? "; did you mean " : "", nearest ? nearest : "",
            nearest ? "?" : "; see `diffrl list schedules`");
  return NULL;
}

Schedule *schedule_new(Arena *arena, const char *name, int steps, Error *error) {
  const ScheduleDef *def = find(name, error);
  if (!def) return NULL;
  Schedule *s = arena_alloc(arena, sizeof *s);
  *s = (Schedule){ .def = def, .b0 = 0.1, .b1 = 20, .t_min = 1e-3 };
  if (!def->discrete) return s;
  CHECK(steps >= 1, "schedule: %d steps", steps);
  s->steps = steps;
  s->beta = arena_array(arena, double, steps);
  s->log_abar = arena_array(arena, double, steps);
  def->fill(s);
  double sum = 0;
  for (int n = 0; n < steps; n++) s->log_abar[n] = sum += log1p(-s->beta[n]);
  return s;
}

/* ---- functions of time ----------------------------------------------------------------------- */

double schedule_log_a(const Schedule *s, double t) {
  if (!s->def->discrete) return s->def->log_a(s, t);
  if (t <= 0) return 0.5 * s->log_abar[0];
  int n = (int)t;
  if (n >= s->steps - 1) return 0.5 * s->log_abar[s->steps - 1];
  return 0.5 * (s->log_abar[n] + (t - n) * (s->log_abar[n + 1] - s->log_abar[n]));
}

double schedule_a(const Schedule *s, double t) { return exp(schedule_log_a(s, t)); }
double schedule_s(const Schedule *s, double t) { return sqrt(-expm1(2 * schedule_log_a(s, t))); }
double schedule_lambda(const Schedule *s, double t) {
  double log_a = schedule_log_a(s, t);
  return log_a - 0.5 * log(-expm1(2 * log_a));
}
double schedule_time(const Schedule *s, double lambda) {
  CHECK(s->def->time, "schedule %s has no inverse", s->def->name);
  return s->def->time(s, lambda);
}

Posterior schedule_posterior(const Schedule *s, int n) {
  CHECK(s->def->discrete && n >= 0 && n < s->steps, "posterior of step %d", n);
  double log_before = n ? s->log_abar[n - 1] : 0, beta = s->beta[n];
  double one_minus = -expm1(s->log_abar[n]), one_minus_before = -expm1(log_before);
  return (Posterior){ .c0 = beta * exp(0.5 * log_before) / one_minus,
                      .c1 = one_minus_before * sqrt(1 - beta) / one_minus,
                      .variance = beta * one_minus_before / one_minus };
}

/* ---- on the tape ----------------------------------------------------------------------------- */

static void marginal_run(const Lane *lane, const Tensor *y) {
  const Schedule *s = y->attr.p;
  const Tensor *t = y->in[0];
  int rows = lane_rows(lane, y) * y->k;
  const real *time = lane_at(lane, t);
  real *out = lane_at(lane, y);
  for (int i = 0; i < rows; i++, time += t->ld, out += y->ld) {
    memset(out, 0, (size_t)padded(2) * sizeof *out);
    out[0] = (real)schedule_a(s, (double)*time), out[1] = (real)schedule_s(s, (double)*time);
  }
}
static const Op op_marginal = { .name = "marginal", .run = marginal_run };

Tensor *t_marginal(const Schedule *s, Tensor *t) {
  CHECK(t->n == 1 && t->e == 1, "t_marginal: one time a row");
  return record(t->g, &op_marginal, (Shape){ t->k, 1, 2 }, &(Recipe){ .in = { t }, .attr.p = s });
}
