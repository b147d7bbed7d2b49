/* sampler.c -- making stage tables.  (chain.c runs them.) */
#include "diffusion/sampler.h"
#include "core/names.h"
#include "diffusion/grid.h"
#include "diffusion/method.h"
#include <math.h>
#include <string.h>

/* ---- which method, and whether it can -------------------------------------------------------- */

const char *sampler_name(size_t i) {
  size_t count;
  const Method *methods = method_list(&count);
  return i < count ? methods[i].name : NULL;
}

static const Method *find(const char *name, Error *error) {
  size_t count;
  const Method *methods = method_list(&count);
  const Names *names = NAMES(methods, count, .what = "sampler", .see = "`diffrl list samplers`");
  int i = names_find(names, name, error);
  return i < 0 ? NULL : &methods[i];
}

static bool ends_clean(const Method *method, const SamplerSpec *spec, const Schedule *schedule) {
  if (spec->end != END_AUTO) return spec->end == END_CLEAN;
  return schedule->def->discrete && !(method->needs & NEEDS_NOISY_END) && !spec->inverse;
}

/* settings that only some methods have; ignoring one would be a lie */
static const char *untaken(const Method *m, const SamplerSpec *s) {
  const struct {
    bool given;
    unsigned taken;
    const char *why;
  } settings[] = {
    { s->eta > 0, TAKES_ETA, "has no eta to choose; ddim, flow_sde and sde_euler have" },
    { s->order != 0, TAKES_ORDER, "has a fixed order; unipc, dpm_fast and dpmpp_fast choose" },
    { s->taylor, TAKES_TAYLOR, "has no taylor form; the 2m methods have" },
    { s->compat, TAKES_COMPAT, "has no second difference to halve; the 3m methods have" },
    { s->lower_final, TAKES_LOWER_FINAL, "has no history, so no lower order to end with" },
    { s->churn > 0 || s->alpha != 0, TAKES_CHURN, "takes no churn and no alpha; edm_heun does" },
  };
  for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
    if (settings[i].given && !(m->needs & settings[i].taken)) return settings[i].why;
  return NULL;
}

/* numbers out of range; written so that NAN is, too */
static const char *out_of_range(const Method *m, const SamplerSpec *s) {
  if (!(s->eta >= 0)) return "wants eta of 0 or more: it scales a standard deviation";
  if (!strcmp(m->name, "ddim") && s->eta > 1)
    return "wants eta up to 1: more noise than the posterior's leaves no room for the estimate";
  if (!(s->temperature >= 0)) return "wants a temperature of 0 or more";
  if (s->order < 0 || s->order > m->order) return "has no such order";
  if (s->order == 1 && m->needs & BY_BUDGET) return "wants order 2 or 3 to share a budget among";
  if (!(s->alpha >= 0 && s->alpha <= 1)) return "wants alpha in (0, 1]: 1 Heun, 1/2 midpoint";
  if (!(s->churn >= 0 && s->churn_min >= 0 && s->churn_max >= 0 && s->churn_noise >= 0))
    return "wants churn settings of 0 or more";
  if (s->clip && !(s->low < s->high)) return "clips to [low, high]: low must be below high";
  if (s->times && m->needs & BY_BUDGET)
    return "divides a budget of evaluations into steps, so it takes no explicit times";
  return NULL;
}

/* why this method cannot run on this schedule, with this network, to this end */
static const char *misfit(const Method *m, const SamplerSpec *spec, const Denoiser *d) {
  bool clean = ends_clean(m, spec, d->schedule);
  if (clean && m->needs & NEEDS_SLOPES)
    return "steps in time along slopes, which end at the schedule's first time, not at clean data";
  if (clean && m->needs & NEEDS_NOISY_END)
    return "combines noise estimates, which cannot reach sigma 0 (a step of infinite length in "
           "ln(a/s)): end at the first time, or take its data form (dpmpp)";
  if (m->needs & NEEDS_SLOPES && d->schedule->def->discrete)
    return "needs a schedule that is continuous in time";
  if (m->needs & NEEDS_FLOW && strcmp(d->schedule->def->name, "flow"))
    return "is made for the straight paths of schedule flow";
  if (m->needs & NEEDS_VARIANCE && !d->learns_variance)
    return "takes its variance from the network, which does not learn one";
  if (spec->inverse && (!(m->needs & INVERTS) || spec->eta > 0))
    return "has noise or memory and cannot run from data to noise";
  if (spec->inverse && clean) return "starts from noisy data when it runs backwards";
  return NULL;
}

static bool check(const Method *m, const SamplerSpec *spec, const Denoiser *d, int steps,
                  Error *error) {
  const Schedule *s = d->schedule;
  const char *why = untaken(m, spec);
  if (!why) why = out_of_range(m, spec);
  if (!why) why = misfit(m, spec, d);
  if (why) return error_set(error, FAIL_USAGE, "sampler %s %s", m->name, why), false;
  if (steps < 1)
    return error_set(error, FAIL_USAGE, "schedule %s %s; give the number of sampling steps",
                     s->def->name,
                     spec->steps ? "cannot be stepped backwards"
                     : s->steps  ? "has one step only"
                                 : "is continuous"),
           false;
  int most = s->steps - !ends_clean(m, spec, s) + (spec->times != NULL);
  if (s->steps && steps > most)
    return error_set(error, FAIL_USAGE, "%d sampling steps for schedule %s with %d; choose 1 to %d",
                     steps, s->def->name, s->steps, most),
           false;
  return true;
}

/* ---- the grid -------------------------------------------------------------------------------- */

static bool fill_knots(Arena *arena, Table *t, bool clean, Error *error) {
  const SamplerSpec *spec = t->spec;
  int count = t->steps + !clean;
  double *times = arena_array(arena, double, count);
  if (spec->times) {
    memcpy(times, spec->times, (size_t)t->steps * sizeof *times);
    if (!clean) times[t->steps] = spec->final;
  } else if (!grid_times(t->schedule, spec->spacing, spec->from, count, times, error)) {
    return false;
  }
  t->knot = arena_array(arena, Level, t->steps + 1);
  for (int i = 0; i < count; i++)
    t->knot[i] = schedule_level(t->schedule, times[spec->inverse ? count - 1 - i : i]);
  if (clean) t->knot[t->steps] = schedule_clean();
  for (int i = 0; i < t->steps; i++)
    if (!((t->knot[i + 1].lambda > t->knot[i].lambda) ^ spec->inverse)) {
      error_set(error, FAIL_USAGE, "signal to noise does not %s from time %g to %g",
                spec->inverse ? "fall" : "grow", t->knot[i].time, t->knot[i + 1].time);
      return false;
    }
  return true;
}

/* orders of each step: one for all, or those of a budget */
static int *orders(Arena *arena, const Method *m, const SamplerSpec *spec, int *steps) {
  int highest = spec->order > 0 ? spec->order : m->order;
  int *order = arena_array(arena, int, *steps);
  for (int i = 0; i < *steps; i++) order[i] = highest;
  if (m->needs & BY_BUDGET) *steps = method_budget(*steps, highest, order);
  return order;
}

static bool finite_form(Form f) { return isfinite(f.to_x) && isfinite(f.to_out); }

/* Why a step is infinitely long: the end of the table where ln(a/s) is infinite. */
static bool fail_length(const Sampler *sampler, const Level *first, Error *error) {
  const Schedule *s = sampler->schedule;
  const char *method = sampler->spec.method;
  double earlier = schedule_time(s, -log(80));
  if (!(first->a > 0))
    return error_set(error, FAIL_USAGE,
                     "sampler %s has no step of finite length from time %g of schedule %s, where "
                     "no signal is left: start at an earlier time (at %.4g noise is 80 times the "
                     "signal), or take ddpm, ddim, heun or dpmpp_2m",
                     method, first->time, s->def->name, s->steps ? floor(earlier) : earlier);
  return error_set(error, FAIL_USAGE,
                   "sampler %s has no step of finite length to time %g of schedule %s, where no "
                   "noise is left: end at an earlier time, or take ddpm, ddim, heun or dpmpp_2m",
                   method, sampler->end.time, s->def->name);
}

/* does every step have a finite length?  Not where a noise form meets sigma 0 or no signal. */
static bool check_lengths(const Sampler *sampler, const Level *first, Error *error) {
  for (int i = 0; i < sampler->stages; i++) {
    const Stage *s = &sampler->stage[i];
    double sum = s->base + s->noise;
    for (int j = 0; j < SAMPLER_HISTORY; j++) sum += s->out[j];
    if (!isfinite(sum)) return fail_length(sampler, first, error);
  }
  return true;
}

/* an output that does not tell what the stage must know, as eps does where there is no signal */
static bool check_forms(const Sampler *sampler, const Denoiser *d, Error *error) {
  bool by_x0 = sampler->spec.clip || sampler->spec.guides;
  for (int i = 0; i < sampler->stages; i++) {
    const Stage *s = &sampler->stage[i];
    if (!s->evaluates) continue;
    if (finite_form(s->direct) && (!by_x0 || (finite_form(s->x0) && finite_form(s->back))))
      continue;
    error_set(error, FAIL_USAGE,
              "a network that predicts %s cannot be asked at time %g of schedule %s, where %s is "
              "left: predict v, x0 or velocity, or start later",
              prediction_name(d->predicts), s->at.time, d->schedule->def->name,
              s->at.a > 0 ? "no noise" : "no signal");
    return false;
  }
  return true;
}

static void finish(Sampler *sampler) {
  double temperature = sampler->spec.temperature > 0 ? sampler->spec.temperature : 1;
  for (int i = 0; i < sampler->stages; i++) {
    sampler->stage[i].noise *= temperature;
    sampler->evaluations += sampler->stage[i].evaluates;
  }
}

Sampler *sampler_new(Arena *arena, const SamplerSpec *spec, const Denoiser *d, Error *error) {
  const Method *method = find(spec->method, error);
  if (!method) return NULL;
  if (!net_call_check(spec->guides, error)) return NULL;
  bool clean = ends_clean(method, spec, d->schedule);
  int steps = spec->steps || !d->schedule->steps ? spec->steps : d->schedule->steps - !clean;
  if (!check(method, spec, d, steps, error)) return NULL;
  int *order = orders(arena, method, spec, &steps);
  Table t = { .spec = spec, .denoiser = d, .schedule = d->schedule, .steps = steps };
  t.combines = method->combines;
  t.stage = arena_array(arena, Stage, steps * method->widest);
  if (!fill_knots(arena, &t, clean, error)) return NULL;
  for (t.now = 0; t.now < steps; t.now++) method->step(&t, order[t.now]);
  Sampler *sampler = arena_alloc(arena, sizeof *sampler);
  *sampler = (Sampler){ .spec = *spec, .schedule = d->schedule, .stages = t.stages };
  bool early = spec->from > 0 || spec->times;
  sampler->start =
      early && !d->schedule->def->preserves ? t.knot[0].s : schedule_prior(d->schedule);
  sampler->end = t.knot[steps];
  sampler->stage = t.stage, sampler->data_form = method->combines == PREDICTS_X0;
  if (!check_forms(sampler, d, error) || !check_lengths(sampler, &t.knot[0], error)) return NULL;
  finish(sampler);
  return sampler;
}
