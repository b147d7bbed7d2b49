/* api.c -- diffrl.h: names, schedules and conversions; arguments are checked here, so that no CHECK
 * of the core is within a caller's reach. */
#include "policy/api/api.h"
#include "core/config.h"
#include "core/escape.h"
#include "diffusion/grid.h"
#include "diffusion/sampler.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MOST_STEPS = 1000000 };

/* ---- statuses -------------------------------------------------------------------------------- */

diffrl_status api_fail(diffrl_error *error, diffrl_status status, const char *format, ...) {
  char text[sizeof error->text];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  if (error) escape_into(error->text, sizeof error->text, text); /* it may quote a file */
  return status;
}

diffrl_status api_fail_name(diffrl_error *error, diffrl_list list, const char *what,
                            const char *given) {
  char names[sizeof error->text] = "";
  size_t length = 0;
  const char *name;
  for (size_t i = 0; (name = diffrl_name(list, i)) && length < sizeof names - 1; i++)
    length += (size_t)snprintf(names + length, sizeof names - length, "%s%s", i ? ", " : "", name);
  if (!given) return api_fail(error, DIFFRL_BAD_ARGUMENT, "%s: expected one of %s", what, names);
  return api_fail(error, DIFFRL_BAD_ARGUMENT, "%s \"%.60s\": expected one of %s", what, given,
                  names);
}

diffrl_status api_options(void *own, size_t size, const void *given, const char *what,
                          diffrl_error *error) {
  enum { LONGEST = 4096 };
  size_t length = size;
  memset(own, 0, size);
  if (given) memcpy(&length, given, sizeof length);
  if (length < sizeof length || length > LONGEST)
    return api_fail(error, DIFFRL_BAD_ARGUMENT,
                    "%s: its size is %zu bytes, expected sizeof; start from %s_defaults()", what,
                    length, what);
  for (size_t i = size; given && i < length; i++)
    if (((const char *)given)[i])
      return api_fail(error, DIFFRL_BAD_ARGUMENT,
                      "%s: byte %zu is set, but this library knows %zu bytes; it is older than the "
                      "diffrl.h in use",
                      what, i, size);
  if (given) memcpy(own, given, length < size ? length : size);
  return DIFFRL_OK;
}

/* ---- names ----------------------------------------------------------------------------------- */

static const char *schedule_name(size_t i) {
  size_t count;
  const ScheduleDef *const *list = schedule_list(&count);
  return i < count ? list[i]->name : NULL;
}
static const char *spacing_name(size_t i) {
  size_t count;
  const char *const *list = grid_list(&count);
  return i < count ? list[i] : NULL;
}
static const char *prediction_at(size_t i) {
  return i < PREDICTIONS ? prediction_name((Prediction)i) : NULL;
}

const char *diffrl_name(diffrl_list list, size_t i) {
  static const char *(*const names[])(size_t) = {
    [DIFFRL_SCHEDULES] = schedule_name,      [DIFFRL_SAMPLERS] = sampler_name,
    [DIFFRL_SPACINGS] = spacing_name,        [DIFFRL_PREDICTIONS] = prediction_at,
    [DIFFRL_CONVENTIONS] = level_convention,
  };
  return (size_t)list < sizeof names / sizeof *names ? names[list](i) : NULL;
}

bool api_predicts(const char *name, Prediction *predicts) {
  for (int i = 0; name && i < PREDICTIONS; i++)
    if (!strcmp(name, prediction_name((Prediction)i))) return *predicts = (Prediction)i, true;
  return false;
}

/* ---- making schedules ------------------------------------------------------------------------ */

typedef Schedule *MakeSchedule(Arena *arena, const void *from, int steps, Error *error);

static Schedule *from_spec(Arena *arena, const void *spec, int steps, Error *error) {
  (void)steps;
  return schedule_new(arena, spec, error);
}
static Schedule *from_betas(Arena *arena, const void *betas, int steps, Error *error) {
  return schedule_from_betas(arena, betas, steps, error);
}

static diffrl_status make(diffrl_schedule **made, MakeSchedule *maker, const void *from, int steps,
                          diffrl_error *error) {
  Error why = { .kind = FAIL_NONE };
  ArenaRescue rescue;
  if (!arena_has_room(((size_t)1 << 21) + 64 * (size_t)steps) || arena_rescued(&rescue))
    return api_fail(error, DIFFRL_NO_MEMORY, "no memory for a schedule of %d steps", steps);
  Arena *arena = arena_guest(&rescue);
  Schedule *schedule = maker(arena, from, steps, &why);
  if (!schedule) {
    arena_free(arena);
    return api_fail(error, DIFFRL_BAD_ARGUMENT, "%.500s", why.text);
  }
  diffrl_schedule *s = arena_alloc(arena, sizeof *s);
  *s = (diffrl_schedule){ arena, schedule };
  arena_settle(arena);
  *made = s;
  return DIFFRL_OK;
}

static diffrl_status check_steps(int steps, int least, diffrl_error *error) {
  if (steps >= least && steps <= MOST_STEPS) return DIFFRL_OK;
  return api_fail(error, DIFFRL_BAD_ARGUMENT, "schedule: %d steps, expected %d to %d", steps, least,
                  MOST_STEPS);
}

diffrl_status diffrl_schedule_new(diffrl_schedule **made, const char *name,
                                  const diffrl_schedule_options *options, diffrl_error *error) {
  AS_GUEST;
  diffrl_schedule_options o;
  diffrl_status status = api_options(&o, sizeof o, options, "diffrl_schedule", error);
  if (status) return status;
  if (!made) return api_fail(error, DIFFRL_BAD_ARGUMENT, "schedule: nowhere to put it (made)");
  if (!name) return api_fail_name(error, DIFFRL_SCHEDULES, "schedule", name);
  if ((status = check_steps(o.steps, 0, error))) return status;
  if (!isfinite(o.low) || !isfinite(o.high) || !isfinite(o.shift))
    return api_fail(error, DIFFRL_BAD_ARGUMENT,
                    "schedule %.60s: low %g, high %g and shift %g must be finite", name, o.low,
                    o.high, o.shift);
  ScheduleSpec spec = { .name = name,
                        .steps = o.steps,
                        .low = o.low,
                        .high = o.high,
                        .rescale = o.rescale != 0,
                        .zero_snr = o.zero_snr != 0,
                        .shift = o.shift };
  return make(made, from_spec, &spec, o.steps, error);
}

diffrl_status diffrl_schedule_from_betas(diffrl_schedule **made, const double *betas, int steps,
                                         diffrl_error *error) {
  AS_GUEST;
  diffrl_status status = check_steps(steps, 1, error);
  if (status) return status;
  if (!made || !betas)
    return api_fail(error, DIFFRL_BAD_ARGUMENT, "schedule: %s is NULL", made ? "betas" : "made");
  return make(made, from_betas, betas, steps, error);
}

void diffrl_schedule_free(diffrl_schedule *schedule) {
  if (schedule) arena_free(schedule->arena);
}

/* ---- asking them ----------------------------------------------------------------------------- */

static diffrl_status no_schedule(diffrl_error *error) {
  return api_fail(error, DIFFRL_BAD_ARGUMENT, "schedule is NULL");
}

diffrl_status diffrl_schedule_range(const diffrl_schedule *schedule, double *first, double *last,
                                    int *steps, diffrl_error *error) {
  if (!schedule) return no_schedule(error);
  if (first) *first = schedule->schedule->t_min;
  if (last) *last = schedule->schedule->t_max;
  if (steps) *steps = schedule->schedule->steps;
  return DIFFRL_OK;
}

diffrl_level api_level(const Level *l) {
  return (diffrl_level){ l->time, l->a, l->s, l->da, l->ds, l->lambda, level_f(l), level_g2(l) };
}

diffrl_status diffrl_schedule_level(const diffrl_schedule *schedule, double time,
                                    diffrl_level *level, diffrl_error *error) {
  AS_GUEST;
  if (!schedule) return no_schedule(error);
  const Schedule *s = schedule->schedule;
  if (!level) return api_fail(error, DIFFRL_BAD_ARGUMENT, "level is NULL");
  if (!(time >= 0 && time <= s->t_max))
    return api_fail(error, DIFFRL_BAD_ARGUMENT, "schedule %s has no time %g, expected 0 to %g",
                    s->def->name, time, s->t_max);
  Level l = schedule_level(s, time);
  *level = api_level(&l);
  return DIFFRL_OK;
}

diffrl_status diffrl_schedule_time(const diffrl_schedule *schedule, double lambda, double *time,
                                   diffrl_error *error) {
  AS_GUEST;
  if (!schedule) return no_schedule(error);
  if (!time) return api_fail(error, DIFFRL_BAD_ARGUMENT, "time is NULL");
  if (!isfinite(lambda))
    return api_fail(error, DIFFRL_BAD_ARGUMENT, "lambda = %g, expected a finite number", lambda);
  const Schedule *s = schedule->schedule;
  double noisiest = schedule_lambda(s, s->t_max), cleanest = schedule_lambda(s, s->t_min);
  *time = lambda <= noisiest   ? s->t_max
          : lambda >= cleanest ? s->t_min
                               : fmin(fmax(schedule_time(s, lambda), s->t_min), s->t_max);
  return DIFFRL_OK;
}

/* ---- conversions ----------------------------------------------------------------------------- */

static bool is_convention(const char *name) {
  for (size_t i = 0; name && level_convention(i); i++)
    if (!strcmp(name, level_convention(i))) return true;
  return false;
}

diffrl_status diffrl_convert(const char *from, double value, const char *to, double *converted,
                             diffrl_error *error) {
  AS_GUEST;
  if (!is_convention(from)) return api_fail_name(error, DIFFRL_CONVENTIONS, "from", from);
  if (!is_convention(to)) return api_fail_name(error, DIFFRL_CONVENTIONS, "to", to);
  if (!converted) return api_fail(error, DIFFRL_BAD_ARGUMENT, "converted is NULL");
  double lambda = level_from(from, value);
  if (isnan(lambda))
    return api_fail(error, DIFFRL_BAD_ARGUMENT, "no level of noise has %s = %g", from, value);
  *converted = level_to(to, lambda);
  return DIFFRL_OK;
}

diffrl_status diffrl_prediction(const char *given, const char *wanted, const diffrl_level *level,
                                double data_std, double *to_x, double *to_given,
                                diffrl_error *error) {
  AS_GUEST;
  Prediction from, to;
  if (!api_predicts(given, &from))
    return api_fail_name(error, DIFFRL_PREDICTIONS, "given prediction", given);
  if (!api_predicts(wanted, &to))
    return api_fail_name(error, DIFFRL_PREDICTIONS, "wanted prediction", wanted);
  if (!level || !to_x || !to_given)
    return api_fail(error, DIFFRL_BAD_ARGUMENT, "level, to_x or to_given is NULL");
  if (!(data_std >= 0 && isfinite(data_std)))
    return api_fail(error, DIFFRL_BAD_ARGUMENT, "data_std = %g, expected 0 or more", data_std);
  Level l = { .time = level->time, .a = level->a, .s = level->s, .da = level->da, .ds = level->ds };
  Form form = line_form(prediction_line(from, &l, data_std), prediction_line(to, &l, data_std), &l);
  if (!isfinite(form.to_x) || !isfinite(form.to_out))
    return api_fail(error, DIFFRL_BAD_ARGUMENT, "%s does not tell %s where a = %g, s = %g", given,
                    wanted, l.a, l.s);
  *to_x = form.to_x, *to_given = form.to_out;
  return DIFFRL_OK;
}
