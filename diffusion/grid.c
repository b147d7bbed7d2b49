/* grid.c -- spacings. */
#include "diffusion/grid.h"
#include "core/names.h"
#include <math.h>

typedef void Spacing(const Schedule *s, double from, int count, double *times);

/* 0 at the first of `count` places, 1 at the last */
static double share(int i, int count) { return count > 1 ? (double)i / (count - 1) : 0; }

static void linspace(const Schedule *s, double from, int count, double *times) {
  for (int i = 0; i < count; i++) {
    double t = s->steps && count > 1 ? (from - s->t_min) * (count - 1 - i) / (count - 1) + s->t_min
                                     : from + (s->t_min - from) * share(i, count);
    times[i] = s->steps ? rint(t) : t;
  }
}
static void leading(const Schedule *s, double from, int count, double *times) {
  (void)s;
  for (int i = 0; i < count; i++) times[i] = floor((from + 1) / count) * (count - 1 - i);
}
static void trailing(const Schedule *s, double from, int count, double *times) {
  double last = from + 1;
  (void)s;
  for (int i = 0; i < count; i++) times[i] = rint(last - i * (last / count)) - 1;
}
static void quadratic(const Schedule *s, double from, int count, double *times) {
  double high = sqrt(s->steps ? 0.8 * (from + 1) : from), low = sqrt(s->t_min);
  for (int i = 0; i < count; i++) {
    double root = high + (low - high) * share(i, count), t = root * root;
    times[i] = s->steps ? floor(t + 1e-9) : t;
  }
}
static void evenly_in_lambda(const Schedule *s, double from, int count, double *times) {
  double low = schedule_lambda(s, from), high = schedule_lambda(s, s->t_min);
  for (int i = 0; i < count; i++) times[i] = schedule_time(s, low + (high - low) * share(i, count));
  times[0] = from;
  if (count > 1) times[count - 1] = s->t_min;
}
static void karras(const Schedule *s, double from, int count, double *times) {
  double rho = 7, high = exp(-schedule_lambda(s, from) / rho);
  double low = exp(-schedule_lambda(s, s->t_min) / rho);
  for (int i = 0; i < count; i++)
    times[i] = schedule_time(s, -rho * log(high + (low - high) * share(i, count)));
  times[0] = from;
  if (count > 1) times[count - 1] = s->t_min;
}

static const struct {
  const char *name, *about;
  Spacing *fill;
  bool discrete; /* only for discrete schedules */
  bool by_noise; /* needs a finite lambda */
} spacings[] = {
  { "linspace", "evenly in time, from end to end; as diffusers' Euler, not as its DPM and UniPC",
    linspace, false, false },
  { "leading", "multiples of N / K; never the noisiest step", leading, true, false },
  { "trailing", "N, N - N/K, .. less one; the noisiest step first", trailing, true, false },
  { "quadratic", "evenly in sqrt(t); Song et al. 2021 (DDIM)", quadratic, false, false },
  { "lambda", "evenly in ln(a/s); Lu et al. 2022", evenly_in_lambda, false, true },
  { "karras", "evenly in sigma^(1/7); Karras et al. 2022, eq. 5", karras, false, true },
};
enum { SPACINGS = sizeof spacings / sizeof *spacings };

const char *const *grid_list(size_t *count) {
  static const char *const names[] = { "linspace",  "leading", "trailing",
                                       "quadratic", "lambda",  "karras" };
  *count = SPACINGS;
  return names;
}
const char *grid_about(size_t i) { return spacings[i].about; }

bool grid_times(const Schedule *s, const char *name, double from, int count, double *times,
                Error *error) {
  int i = names_find(NAMES(spacings, SPACINGS, .what = "spacing"), name ? name : "linspace", error);
  if (i < 0) return false;
  double start = from > 0 ? from : s->t_max;
  if (!(start <= s->t_max && start >= s->t_min) || (s->steps && start != floor(start)))
    return error_set(error, FAIL_USAGE, "a start at time %g: schedule %s has %s between %g and %g",
                     start, s->def->name, s->steps ? "integer steps" : "times", s->t_min, s->t_max),
           false;
  if (spacings[i].discrete && !s->steps)
    return error_set(error, FAIL_USAGE,
                     "spacing %s picks from integer steps; schedule %s is "
                     "continuous: use linspace or quadratic",
                     name, s->def->name),
           false;
  if (spacings[i].by_noise && !(schedule_level(s, start).a > 0))
    return error_set(error, FAIL_USAGE,
                     "spacing %s needs some signal at its start, but schedule %s has none at time "
                     "%g: start from an earlier time, or use linspace or %s",
                     name, s->def->name, start, s->steps ? "trailing" : "quadratic"),
           false;
  spacings[i].fill(s, start, count, times);
  for (int j = 1; j < count; j++)
    if (!(times[j] < times[j - 1]))
      return error_set(error, FAIL_USAGE,
                       "spacing %s puts two of %d steps at time %g of schedule %s: use fewer steps "
                       "or linspace",
                       name ? name : "linspace", count, times[j], s->def->name),
             false;
  return true;
}
