/* ode.c -- embedded pairs as tables, and one loop of attempts for all of them. */
#include "diffusion/ode.h"
#include "core/names.h"
#include <float.h>
#include <math.h>
#include <string.h>

enum { SLOPES = 7 };

/* base y + sum_j w[j] k_j, of which slope k_i is taken at time t */
typedef struct {
  double t, base, w[SLOPES];
} Point;

typedef struct {
  const char *name;
  int slopes; /* of an attempt; k_0 is known before it */
  int result; /* which point is the result; its slope, if one is taken, is the next attempt's k_0 */
  int order;  /* the error is O(h^order) */
  double rtol, atol, first, shrink, grow;
  bool by_lambda; /* time is lambda, slopes are eps */
  Point (*point)(const Schedule *s, double t, double h, int i);
  Point (*miss)(const Schedule *s, double t, double h); /* higher minus lower formula */
  double (*scale)(const OdeSpec *spec, double before, double after, double lower);
} Pair;

typedef struct {
  double h;
  bool stale;    /* k_0 is not that of the present point */
  bool rejected; /* the last attempt was */
} Stride;

struct Ode {
  OdeSpec spec;
  const Pair *pair;
  int max_rows, n;
  double from, to;
  double *first, *k[SLOPES], *point, *time; /* first: k_0 by sample; the others by row */
  Stride *stride;                           /* by sample */
  uint32_t *id, *some;
  double *flow_time; /* by row: times of the schedule, where t is lambda */
  OdeSlope *slope;
  void *user;
  double *y;
  OdeResult *result;
};

/* ---- Dormand-Prince 5(4) --------------------------------------------------------------------- */

static const double dp5_c[SLOPES] = { 0, 1.0 / 5, 3.0 / 10, 4.0 / 5, 8.0 / 9, 1, 1 };
static const double dp5_a[SLOPES][SLOPES] = {
  { 0 },
  { 1.0 / 5 },
  { 3.0 / 40, 9.0 / 40 },
  { 44.0 / 45, -56.0 / 15, 32.0 / 9 },
  { 19372.0 / 6561, -25360.0 / 2187, 64448.0 / 6561, -212.0 / 729 },
  { 9017.0 / 3168, -355.0 / 33, 46732.0 / 5247, 49.0 / 176, -5103.0 / 18656 },
  { 35.0 / 384, 0, 500.0 / 1113, 125.0 / 192, -2187.0 / 6784, 11.0 / 84 }, /* the result */
};
static const double dp5_d[SLOPES] = {
  71.0 / 57600, 0, -71.0 / 16695, 71.0 / 1920, -17253.0 / 339200, 22.0 / 525, -1.0 / 40,
};

static Point scaled(double t, double h, const double *w) {
  Point p = { .t = t, .base = 1 };
  for (int j = 0; j < SLOPES; j++) p.w[j] = h * w[j];
  return p;
}
static Point dp5_point(const Schedule *s, double t, double h, int i) {
  return (void)s, scaled(t + dp5_c[i] * h, h, dp5_a[i]);
}
static Point dp5_miss(const Schedule *s, double t, double h) {
  return (void)s, scaled(t, h, dp5_d);
}
static double dp5_scale(const OdeSpec *spec, double before, double after, double lower) {
  return (void)lower, spec->atol + spec->rtol * fmax(fabs(before), fabs(after));
}

/* ---- DPM-Solver-12 and -23 ------------------------------------------------------------------- */

static Level at_lambda(const Schedule *s, double lambda) {
  return schedule_level(s, schedule_time(s, lambda));
}

/* (a'/a) y - s' (e^h - 1) k_0 - s' weight(h) (k_j - k_0), from lambda over h */
static Point exponential(const Schedule *s, double lambda, double h, double weight, int j) {
  Level l = at_lambda(s, lambda), l1 = at_lambda(s, lambda + h);
  Point p = { .t = lambda + h, .base = l1.a / l.a, .w = { -l1.s * expm1(h) } };
  p.w[j] -= l1.s * weight, p.w[0] += l1.s * weight;
  return p;
}
static double phi_1(double h) { return expm1(h); }
static double phi_2(double h) { /* (e^h - 1) / h - 1; the series where that would cancel */
  return fabs(h) < 1e-3 ? h * (1.0 / 2 + h * (1.0 / 6 + h / 24)) : expm1(h) / h - 1;
}

/* order 1 to the middle for k_1, order 2 to the end; order 1 to the end for the error */
static Point dpm_12_point(const Schedule *s, double t, double h, int i) {
  return i == 1 ? exponential(s, t, h / 2, 0, 1) : exponential(s, t, h, phi_1(h), 1);
}
static Point dpm_12_miss(const Schedule *s, double t, double h) {
  Point high = exponential(s, t, h, phi_1(h), 1), low = exponential(s, t, h, 0, 1);
  for (int j = 0; j < SLOPES; j++) high.w[j] -= low.w[j];
  return high.base = 0, high;
}

/* r_1 = 1/3, r_2 = 2/3: order 2 by k_1 for the error, order 3 by k_2 */
static Point dpm_23_point(const Schedule *s, double t, double h, int i) {
  if (i == 1) return exponential(s, t, h / 3, 0, 1);
  if (i == 2) return exponential(s, t, 2 * h / 3, 2 * phi_2(2 * h / 3), 1);
  return exponential(s, t, h, 1.5 * phi_2(h), 2);
}
static Point dpm_23_miss(const Schedule *s, double t, double h) {
  Point high = dpm_23_point(s, t, h, 3), low = exponential(s, t, h, 1.5 * phi_1(h), 1);
  for (int j = 0; j < SLOPES; j++) high.w[j] -= low.w[j];
  return high.base = 0, high;
}
static double dpm_scale(const OdeSpec *spec, double before, double after, double lower) {
  return (void)after, fmax(spec->atol, spec->rtol * fmax(fabs(before), fabs(lower)));
}

/* ---- the list -------------------------------------------------------------------------------- */

#define INF INFINITY
/* clang-format off */
static const Pair pairs[] = {
  { "dp5",    7, 6, 5, 1e-5, 1e-5,   0,    0.2, 10,  false, dp5_point,    dp5_miss,    dp5_scale },
  { "dpm_12", 2, 2, 2, 0.05, 0.0078, 0.05, 0,   INF, true,  dpm_12_point, dpm_12_miss, dpm_scale },
  { "dpm_23", 3, 3, 3, 0.05, 0.0078, 0.05, 0,   INF, true,  dpm_23_point, dpm_23_miss, dpm_scale },
};
/* clang-format on */
enum { PAIRS = sizeof pairs / sizeof *pairs, MOST = 10000 };

static const Pair *find(const char *name, Error *error) {
  int i = name ? names_find(NAMES(pairs, PAIRS, .what = "ODE method"), name, error) : 0;
  return i < 0 ? NULL : &pairs[i];
}

static bool check(const Pair *pair, const OdeSpec *spec, Error *error) {
  const char *wrong = NULL;
  if (!(spec->rtol >= 0 && spec->atol >= 0))
    wrong = "tolerances of 0 (the published ones) or more";
  else if (!(spec->first >= 0))
    wrong = "a first step of 0 (the published one) or more: the direction is that of the times";
  else if (spec->steps < 0)
    wrong = "0 steps, to choose them by the error, or more";
  else if (spec->most < 0 || (spec->most > 0 && spec->most < pair->slopes))
    wrong = "evaluations for one attempt at least";
  else if (pair->by_lambda && !spec->schedule)
    wrong = "the schedule whose ln(a/s) it steps in";
  return !wrong || error_set(error, FAIL_USAGE, "ODE method %s wants %s", pair->name, wrong);
}

Ode *ode_new(Arena *arena, const OdeSpec *spec, int max_rows, int n, Error *error) {
  const Pair *pair = find(spec->method, error);
  if (!pair || !check(pair, spec, error)) return NULL;
  Ode *ode = arena_alloc(arena, sizeof *ode);
  *ode = (Ode){ .spec = *spec, .pair = pair, .max_rows = max_rows, .n = n };
  if (spec->rtol == 0 && spec->atol == 0) ode->spec.rtol = pair->rtol, ode->spec.atol = pair->atol;
  if (spec->first == 0) ode->spec.first = pair->first;
  if (spec->most == 0) ode->spec.most = MOST;
  size_t size = (size_t)max_rows * (size_t)n;
  ode->first = arena_array(arena, double, size), ode->point = arena_array(arena, double, size);
  for (int i = 0; i < pair->slopes; i++) ode->k[i] = arena_array(arena, double, size);
  ode->time = arena_array(arena, double, max_rows);
  ode->flow_time = arena_array(arena, double, max_rows);
  ode->stride = arena_array(arena, Stride, max_rows);
  ode->id = arena_array(arena, uint32_t, max_rows);
  ode->some = arena_array(arena, uint32_t, max_rows);
  return ode;
}

/* ---- an attempt ------------------------------------------------------------------------------ */

static double *row_of(const Ode *ode, double *all, size_t row) {
  return all + row * (size_t)ode->n;
}

static bool finite_row(const double *x, int n) {
  for (int j = 0; j < n; j++)
    if (!isfinite(x[j])) return false;
  return true;
}

/* the rows' points at slope i, then the slopes unless this is where the attempt ends */
static void take_slope(Ode *ode, int rows, int i) {
  for (int r = 0; r < rows; r++) {
    uint32_t id = ode->id[r];
    Point p = ode->pair->point(ode->spec.schedule, ode->result[id].t, ode->stride[id].h, i);
    const double *y = row_of(ode, ode->y, id);
    double *x = row_of(ode, ode->point, (size_t)r);
    ode->time[r] = p.t;
    for (int c = 0; c < ode->n; c++) x[c] = p.base * y[c];
    for (int j = 0; j < i; j++) {
      const double *k = row_of(ode, ode->k[j], (size_t)r);
      for (int c = 0; c < ode->n && p.w[j] != 0; c++) x[c] += p.w[j] * k[c];
    }
  }
  if (i < ode->pair->slopes) ode->slope(ode->user, rows, ode->id, ode->time, ode->point, ode->k[i]);
}

/* root mean square of the difference of the two formulas, in tolerances */
static double error_of(const Ode *ode, int r) {
  uint32_t id = ode->id[r];
  Point p = ode->pair->miss(ode->spec.schedule, ode->result[id].t, ode->stride[id].h);
  const double *before = row_of(ode, ode->y, id), *after = row_of(ode, ode->point, (size_t)r);
  double sum = 0;
  for (int c = 0; c < ode->n; c++) {
    double d = 0;
    for (int j = 0; j < ode->pair->slopes; j++) d += p.w[j] * row_of(ode, ode->k[j], (size_t)r)[c];
    if (d != 0) d /= ode->pair->scale(&ode->spec, before[c], after[c], after[c] - d);
    sum += d * d;
  }
  return finite_row(after, ode->n) ? sqrt(sum / ode->n) : NAN;
}

/* the point becomes the sample's, and its slope the next attempt's first */
static void accept(Ode *ode, int r, double t) {
  const Pair *pair = ode->pair;
  size_t id = ode->id[r], size = (size_t)ode->n * sizeof(double);
  ode->result[id].t = t, ode->result[id].accepted++;
  memcpy(row_of(ode, ode->y, id), row_of(ode, ode->point, (size_t)r), size);
  ode->stride[id].stale = pair->result == pair->slopes;
  if (!ode->stride[id].stale)
    memcpy(row_of(ode, ode->first, id), row_of(ode, ode->k[pair->result], (size_t)r), size);
}

static void judge(Ode *ode, int r) {
  Stride *s = &ode->stride[ode->id[r]];
  OdeResult *result = &ode->result[ode->id[r]];
  result->evaluations += ode->pair->slopes - 1;
  double e = error_of(ode, r), t = result->t + s->h;
  if (ode->spec.steps > 0) {
    double step = result->accepted + 1, done = step / ode->spec.steps;
    if (isfinite(e))
      accept(ode, r, done < 1 ? ode->from + (ode->to - ode->from) * done : ode->to);
    else
      result->status = ODE_NOT_FINITE;
    return;
  }
  double factor = isfinite(e) ? 0.9 * pow(e, -1.0 / ode->pair->order) : 0.2;
  factor = fmin(fmax(factor, ode->pair->shrink), s->rejected ? 1 : ode->pair->grow);
  bool last = fabs(s->h) >= fabs(ode->to - result->t);
  s->rejected = !(e <= 1);
  if (!s->rejected)
    accept(ode, r, last ? ode->to : t);
  else
    result->rejected++;
  s->h *= factor;
  double least = 16 * DBL_EPSILON * fmax(fabs(result->t), fabs(ode->to));
  if (result->t != ode->to && !(fabs(s->h) > least))
    result->status = isfinite(e) ? ODE_UNDERFLOW : ODE_NOT_FINITE;
}

/* ---- the loop -------------------------------------------------------------------------------- */

/* first slopes where they are not known */
static void renew(Ode *ode, int rows) {
  int count = 0;
  for (int r = 0; r < rows; r++) {
    uint32_t id = ode->id[r];
    if (!ode->stride[id].stale) continue;
    ode->some[count] = id, ode->time[count] = ode->result[id].t;
    memcpy(row_of(ode, ode->point, (size_t)count++), row_of(ode, ode->y, id),
           (size_t)ode->n * sizeof(double));
  }
  if (!count) return;
  ode->slope(ode->user, count, ode->some, ode->time, ode->point, ode->k[0]);
  for (int i = 0; i < count; i++) {
    uint32_t id = ode->some[i];
    const double *k = row_of(ode, ode->k[0], (size_t)i);
    memcpy(row_of(ode, ode->first, id), k, (size_t)ode->n * sizeof(double));
    ode->stride[id].stale = false, ode->result[id].evaluations++;
    if (!finite_row(k, ode->n)) ode->result[id].status = ODE_NOT_FINITE;
  }
}

/* keep those that are on their way; their next step ends at `to` at the latest */
static int on_their_way(Ode *ode, int rows) {
  int left = 0;
  for (int r = 0; r < rows; r++) {
    uint32_t id = ode->id[r];
    Stride *s = &ode->stride[id];
    OdeResult *result = &ode->result[id];
    if (result->status != ODE_DONE || result->t == ode->to) continue;
    if (result->evaluations + ode->pair->slopes - 1 + s->stale > ode->spec.most) {
      result->status = ODE_LIMIT;
      continue;
    }
    double rest = ode->to - result->t;
    if (ode->spec.steps > 0)
      s->h = (ode->to - ode->from) / ode->spec.steps;
    else if (!(fabs(s->h) < fabs(rest)))
      s->h = rest;
    ode->id[left++] = id;
  }
  return left;
}

void ode_run(Ode *ode, OdeSlope *slope, void *user, int rows, double from, double to, double *y,
             OdeResult *result) {
  CHECK(rows <= ode->max_rows, "ode_run: %d rows of %d", rows, ode->max_rows);
  double way = to - from, first = ode->spec.first > 0 ? ode->spec.first : 1e-3 * fabs(way);
  ode->from = from, ode->to = to, ode->y = y, ode->result = result;
  ode->slope = slope, ode->user = user;
  for (int r = 0; r < rows; r++) {
    ode->id[r] = (uint32_t)r;
    ode->stride[r] = (Stride){ .h = copysign(first, way), .stale = true };
    result[r] = (OdeResult){ .t = from };
  }
  for (int left = on_their_way(ode, rows); left; left = on_their_way(ode, left)) {
    renew(ode, left);
    for (int r = 0; r < left; r++)
      memcpy(row_of(ode, ode->k[0], (size_t)r), row_of(ode, ode->first, ode->id[r]),
             (size_t)ode->n * sizeof(double));
    for (int i = 1; i <= ode->pair->result; i++) take_slope(ode, left, i);
    for (int r = 0; r < left; r++) judge(ode, r);
  }
}

/* ---- the probability flow -------------------------------------------------------------------- */

typedef struct {
  Field *field;
  double *time; /* [max_rows] */
} ByLambda;

static void lambda_slope(void *user, int rows, const uint32_t *ids, const double *lambda,
                         const double *y, double *dy) {
  const ByLambda *by = user;
  const Schedule *s = field_schedule(by->field);
  for (int r = 0; r < rows; r++) by->time[r] = schedule_time(s, lambda[r]);
  field_slope(by->field, rows, ids, by->time, y, dy);
}

void ode_flow(Ode *ode, Field *field, int rows, double from, double to, double *y,
              OdeResult *result) {
  const Schedule *s = field_schedule(field);
  Prediction wanted = ode->pair->by_lambda ? PREDICTS_EPS : PREDICTS_VELOCITY;
  CHECK(field_wanted(field) == wanted && field_width(field) == ode->n, "ode_flow: its field");
  if (!ode->pair->by_lambda) {
    ode_run(ode, field_slope, field, rows, from, to, y, result);
    return;
  }
  CHECK(ode->spec.schedule == s && field_width(field) == field_dim(field), "ode_flow: its field");
  ByLambda by = { field, ode->flow_time };
  ode_run(ode, lambda_slope, &by, rows, schedule_lambda(s, from), schedule_lambda(s, to), y,
          result);
  for (int r = 0; r < rows; r++)
    result[r].t = result[r].status == ODE_DONE ? to : schedule_time(s, result[r].t);
}

bool ode_arrived(const OdeResult *result, int rows, Error *error) {
  static const char *const why[] = {
    [ODE_UNDERFLOW] = "steps became too short; loosen the tolerance",
    [ODE_LIMIT] = "the limit of evaluations was reached; raise it or loosen the tolerance",
    [ODE_NOT_FINITE] = "numbers were no longer finite",
  };
  for (int r = 0; r < rows; r++)
    if (result[r].status != ODE_DONE)
      return error_set(error, FAIL_DIVERGED, "ODE: sample %d came to time %g in %d evaluations: %s",
                       r, result[r].t, result[r].evaluations, why[result[r].status]);
  return true;
}
