/* api_sampler.c -- diffrl.h: a caller's function as a Denoiser, sampled by the core's tables.
 *
 * The function is an op (t_call) on a tape that holds one question; SamplerLoop asks it in every
 * stage.  Rows of the tape are padded, rows of the caller are dense, so they are copied here. */
#include "core/check.h"
#include "diffusion/sampler.h"
#include "policy/api/api.h"
#include <math.h>
#include <string.h>

enum { MOST_DIM = 4096, MOST_STEPS = 100000, MOST_BATCH = 65536, BATCH = 256 };

typedef struct {
  Denoiser base; /* first: a Callback is a Denoiser */
  Call call;
} Callback;

struct diffrl_sampler {
  Arena *arena;
  diffrl_denoiser asked;
  Callback denoiser;
  Sampler *table;
  SamplerLoop *loop;
  int batch, steps, *step_after; /* [stages] steps done after a stage; 0: not the end of one */
  bool needs_start;              /* does not begin in plain noise */
  diffrl_watch *watch;
  void *watcher;
  float *x, *out; /* [batch, dim], [batch, outputs]: what the caller sees */
  real *state;    /* [batch, row_stride(dim)] */
  uint32_t *row;  /* [batch] numbers of the samples */

  bool running; /* the rest belongs to a run */
  const ApiCaller *caller;
  int first, rows, stage; /* the batch; the stage last asked */
  diffrl_status status;   /* of the callback: the first that is not OK */
  diffrl_error why;
};

/* ---- the callback ---------------------------------------------------------------------------- */

static Tensor *time_itself(const Denoiser *d, Graph *g, const Params *p, Tensor *t) {
  (void)d, (void)g, (void)p;
  return t;
}
static Tensor *call_caller(const Denoiser *d, Graph *g, const Params *p, Tensor *x, Tensor *time,
                           Tensor *cond) {
  (void)g, (void)p, (void)cond;
  return t_call(&((const Callback *)d)->call, x, time, d->learns_variance ? 2 * d->dim : d->dim);
}

static void to_dense(const real *from, ptrdiff_t stride, int rows, int n, float *to) {
  for (int r = 0; r < rows; r++)
    for (int j = 0; j < n; j++) *to++ = (float)from[r * stride + j];
}
static void from_dense(const float *from, int rows, int n, real *to, ptrdiff_t stride) {
  for (int r = 0; r < rows; r++)
    for (int j = 0; j < n; j++) to[r * stride + j] = (real)*from++;
}

/* the first of `count` numbers that is not finite, or -1 */
static ptrdiff_t not_finite(const float *x, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (!isfinite(x[i])) return (ptrdiff_t)i;
  return -1;
}

/* The tape knows a stage's time in its own precision; the table has the whole level. */
static const Level *level_asked(diffrl_sampler *s, real time) {
  for (int tried = 0; tried < s->table->stages; tried++) {
    const Stage *stage = &s->table->stage[s->stage];
    if (stage->evaluates && (real)stage->time == time) return &stage->at;
    s->stage = (s->stage + 1) % s->table->stages;
  }
  CHECK(false, "api: nothing is asked at time %g", (double)time);
  return NULL;
}

static void check_answer(diffrl_sampler *s, int code, int outputs, const Level *at) {
  if (code) {
    s->status = api_fail(&s->why, DIFFRL_STOPPED,
                         "stopped: the denoiser returned %d for samples %d to %d at time %g", code,
                         s->first, s->first + s->rows - 1, at->time);
    return;
  }
  ptrdiff_t i = not_finite(s->out, (size_t)s->rows * (size_t)outputs);
  if (i < 0) return;
  s->status = api_fail(&s->why, DIFFRL_NOT_FINITE,
                       "the denoiser's output %d for sample %d at time %g is %g", (int)i % outputs,
                       s->first + (int)i / outputs, at->time, (double)s->out[i]);
}

/* In the caller's floating-point environment; what is not written counts as NAN.  Once stopped, a
 * run only comes to its end. */
static void run_callback(void *user, const CallSamples *q) {
  diffrl_sampler *s = user;
  CHECK(q->count == s->rows, "api: asked for %d of %d samples", q->count, s->rows);
  size_t numbers = (size_t)q->count * (size_t)q->out_n;
  if (!s->status) {
    const Level *at = level_asked(s, *q->time);
    diffrl_level level = api_level(at);
    ApiCaller ours;
    to_dense(q->x, q->x_stride, q->count, q->n, s->x);
    for (size_t i = 0; i < numbers; i++) s->out[i] = NAN;
    guest_yield(s->caller, &ours);
    int code = s->asked.ask(s->asked.user, s->first, q->count, q->n, s->x, &level, s->out);
    guest_leave(&ours);
    check_answer(s, code, q->out_n, at);
  }
  if (s->status) memset(s->out, 0, numbers * sizeof *s->out);
  from_dense(s->out, q->count, q->out_n, q->out, q->out_stride);
}

static void show(void *user, int stage, const real *x) {
  diffrl_sampler *s = user;
  int dim = s->asked.dim, step = stage < 0 ? 0 : s->step_after[stage];
  if (s->status || (stage >= 0 && !step)) return;
  ApiCaller ours;
  to_dense(x, row_stride(dim), s->rows, dim, s->x);
  guest_yield(s->caller, &ours);
  s->watch(s->watcher, step, s->first, s->rows, dim, s->x);
  guest_leave(&ours);
}

/* ---- what can be asked for ------------------------------------------------------------------- */

static diffrl_status refuse(diffrl_error *error, const char *name, const char *expected) {
  return api_fail(error, DIFFRL_BAD_ARGUMENT, "%s: expected %s", name, expected);
}

static diffrl_status check_denoiser(const diffrl_denoiser *d, Prediction *predicts,
                                    diffrl_error *error) {
  if (!d->ask) return refuse(error, "denoiser ask", "a function");
  if (d->dim < 1 || d->dim > MOST_DIM) return refuse(error, "denoiser dim", "1 to 4096");
  if (!(d->data_std >= 0 && isfinite(d->data_std)))
    return refuse(error, "denoiser data_std", "a finite number, 0 or more");
  if (!api_predicts(d->predicts ? d->predicts : "eps", predicts))
    return api_fail_name(error, DIFFRL_PREDICTIONS, "denoiser predicts", d->predicts);
  return DIFFRL_OK;
}

/* infinities and NANs; what else a method does not take, sampler_new says */
static diffrl_status check_numbers(const diffrl_sampler_options *o, diffrl_error *error) {
  const struct {
    const char *name;
    double value;
  } numbers[] = {
    { "eta", o->eta },
    { "low", o->low },
    { "high", o->high },
    { "from", o->from },
    { "final", o->final },
    { "alpha", o->alpha },
    { "churn", o->churn },
    { "churn_min", o->churn_min },
    { "churn_max", o->churn_max },
    { "churn_noise", o->churn_noise },
    { "temperature", o->temperature },
  };
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
    if (!isfinite(numbers[i].value))
      return api_fail(error, DIFFRL_BAD_ARGUMENT, "%s = %g, expected a finite number",
                      numbers[i].name, numbers[i].value);
  return DIFFRL_OK;
}

static diffrl_status check_times(const diffrl_sampler_options *o, const Schedule *s,
                                 diffrl_error *error) {
  for (int i = -2; i < (o->times ? o->steps : 0); i++) {
    double t = i == -2 ? o->from : i == -1 ? o->final : o->times[i];
    if (!(t >= 0 && t <= s->t_max))
      return api_fail(error, DIFFRL_BAD_ARGUMENT, "time %g: schedule %s has times from 0 to %g", t,
                      s->def->name, s->t_max);
  }
  return DIFFRL_OK;
}

static diffrl_status check_options(const diffrl_sampler_options *o, const Schedule *s,
                                   diffrl_error *error) {
  if (!o->method) return api_fail_name(error, DIFFRL_SAMPLERS, "method", o->method);
  if (o->steps < 0 || o->steps > MOST_STEPS) return refuse(error, "steps", "0 to 100000");
  if (o->times && o->steps < 1) return refuse(error, "steps", "the number of times, 1 or more");
  if (o->batch < 0 || o->batch > MOST_BATCH) return refuse(error, "batch", "0 to 65536");
  if (o->end < DIFFRL_END_AUTO || o->end > DIFFRL_END_LAST)
    return refuse(error, "end", "DIFFRL_END_AUTO, _CLEAN or _LAST");
  diffrl_status status = check_numbers(o, error);
  return status ? status : check_times(o, s, error);
}

/* ---- making one ------------------------------------------------------------------------------ */

static SamplerSpec spec_of(Arena *arena, const diffrl_sampler_options *o) {
  static const End ends[] = {
    [DIFFRL_END_AUTO] = END_AUTO, [DIFFRL_END_CLEAN] = END_CLEAN, [DIFFRL_END_LAST] = END_LAST
  };
  bool plain = o->low == 0 && o->high == 0;
  double *times = o->times ? arena_array(arena, double, o->steps) : NULL;
  if (times) memcpy(times, o->times, (size_t)o->steps * sizeof *times);
  return (SamplerSpec){ .method = arena_text(arena, "%s", o->method),
                        .steps = o->steps,
                        .eta = o->eta,
                        .clip = o->clip != 0,
                        .low = plain ? -1 : o->low,
                        .high = plain ? 1 : o->high,
                        .spacing = o->spacing ? arena_text(arena, "%s", o->spacing) : NULL,
                        .from = o->from,
                        .end = ends[o->end],
                        .times = times,
                        .final = o->final,
                        .order = o->order,
                        .taylor = o->taylor != 0,
                        .lower_final = o->lower_final != 0,
                        .compat = o->compat != 0,
                        .inverse = o->inverse != 0,
                        .alpha = o->alpha,
                        .churn = o->churn,
                        .churn_min = o->churn_min,
                        .churn_max = o->churn_max,
                        .churn_noise = o->churn_noise,
                        .temperature = o->temperature };
}

/* a stage that only adds noise (churn) is part of the step that follows */
static void count_steps(diffrl_sampler *s) {
  s->step_after = arena_array(s->arena, int, s->table->stages);
  for (int i = 0; i < s->table->stages; i++) {
    const Stage *stage = &s->table->stage[i];
    if (stage->rebase && (stage->evaluates || stage->noise == 0)) s->step_after[i] = ++s->steps;
  }
}

static bool starts_late(const diffrl_sampler_options *o, const Schedule *s) {
  return o->inverse || (o->from > 0 && o->from < s->t_max) || (o->times && o->times[0] < s->t_max);
}

static void take_memory(diffrl_sampler *s) {
  int dim = s->asked.dim, outputs = s->asked.learns_variance ? 2 * dim : dim;
  Error none;
  s->denoiser.call = (Call){ run_callback, s };
  s->loop = sampler_loop_new(
      s->arena, s->table, &s->denoiser.base, NULL,
      &(SamplerLoopSpec){ .graph = { .kernels = kernels_find("own", &none), .max_rows = s->batch },
                          .stream = "sample",
                          .k = 1 });
  s->x = arena_array(s->arena, float, s->batch *dim);
  s->out = arena_array(s->arena, float, s->batch *outputs);
  s->state = arena_array(s->arena, real, s->batch * row_stride(dim));
  s->row = arena_array(s->arena, uint32_t, s->batch);
  count_steps(s);
}

/* bytes with a margin: the loop and its tape keep some twenty numbers per entry of x, and an arena
 * may take the next power of two, and once more */
static size_t bytes_needed(const Schedule *schedule, const diffrl_denoiser *d, int steps,
                           int batch) {
  size_t rows = (size_t)batch * (size_t)row_stride(2 * d->dim);
  size_t stages = 3 * (size_t)(steps > schedule->steps ? steps : schedule->steps);
  return ((size_t)1 << 22) + 4 * (24 * rows * sizeof(real) + stages * (sizeof(Stage) + 256));
}

static diffrl_status fill(diffrl_sampler *s, const diffrl_sampler_options *o,
                          const Schedule *schedule, diffrl_error *error) {
  Error why = { .kind = FAIL_NONE };
  SamplerSpec spec = spec_of(s->arena, o);
  s->table = sampler_new(s->arena, &spec, &s->denoiser.base, &why);
  if (!s->table) return api_fail(error, DIFFRL_BAD_ARGUMENT, "%.500s", why.text);
  s->needs_start = starts_late(o, schedule);
  take_memory(s);
  return DIFFRL_OK;
}

static diffrl_status no_memory(diffrl_error *error, int batch, int dim) {
  return api_fail(error, DIFFRL_NO_MEMORY, "no memory for batches of %d samples of %d numbers",
                  batch, dim);
}

static diffrl_status make(diffrl_sampler **made, const diffrl_denoiser *asked, const Denoiser *base,
                          const diffrl_sampler_options *o, int batch, diffrl_error *error) {
  ArenaRescue rescue;
  if (arena_rescued(&rescue)) return no_memory(error, batch, asked->dim);
  Arena *arena = arena_guest(&rescue);
  diffrl_sampler *s = arena_alloc(arena, sizeof *s);
  *s = (diffrl_sampler){ .arena = arena, .asked = *asked, .batch = batch };
  s->denoiser.base = *base;
  diffrl_status status = fill(s, o, base->schedule, error);
  if (status) return arena_free(arena), status;
  arena_settle(arena);
  *made = s;
  return DIFFRL_OK;
}

diffrl_status diffrl_sampler_new(diffrl_sampler **made, const diffrl_schedule *schedule,
                                 const diffrl_denoiser *denoiser,
                                 const diffrl_sampler_options *options, diffrl_error *error) {
  AS_GUEST;
  diffrl_denoiser d;
  diffrl_sampler_options o;
  Prediction predicts = PREDICTS_EPS;
  diffrl_status status = api_options(&d, sizeof d, denoiser, "diffrl_denoiser", error);
  if (!status) status = api_options(&o, sizeof o, options, "diffrl_sampler", error);
  if (status) return status;
  if (!made || !schedule)
    return refuse(error, made ? "schedule" : "made", "a pointer that is not NULL");
  const Schedule *core = schedule->schedule;
  if ((status = check_denoiser(&d, &predicts, error))) return status;
  if ((status = check_options(&o, core, error))) return status;
  int batch = o.batch ? o.batch : BATCH;
  if (!arena_has_room(bytes_needed(core, &d, o.steps, batch)))
    return no_memory(error, batch, d.dim);
  Denoiser base = { .net = call_caller,
                    .embed = time_itself,
                    .predicts = predicts,
                    .schedule = core,
                    .dim = d.dim,
                    .data_std = d.data_std,
                    .learns_variance = d.learns_variance != 0 };
  return make(made, &d, &base, &o, batch, error);
}

void diffrl_sampler_free(diffrl_sampler *sampler) {
  if (sampler) arena_free(sampler->arena);
}

/* ---- using it -------------------------------------------------------------------------------- */

int diffrl_sampler_evaluations(const diffrl_sampler *s) { return s ? s->table->evaluations : 0; }
int diffrl_sampler_steps(const diffrl_sampler *s) { return s ? s->steps : 0; }

diffrl_status diffrl_sampler_watch(diffrl_sampler *s, diffrl_watch *watch, void *user,
                                   diffrl_error *error) {
  if (!s) return refuse(error, "sampler", "one that is not NULL");
  if (s->running) return refuse(error, "sampler", "one that is not running");
  s->watch = watch, s->watcher = user;
  sampler_loop_watch(s->loop, watch ? show : NULL, s);
  return DIFFRL_OK;
}

static void run_batch(diffrl_sampler *s, uint64_t seed, float *x, bool given) {
  int dim = s->asked.dim, ld = row_stride(dim);
  for (int r = 0; r < s->rows; r++) s->row[r] = (uint32_t)(s->first + r);
  if (given) from_dense(x, s->rows, dim, s->state, ld);
  s->stage = 0;
  sampler_loop_run(s->loop, s->rows, seed, s->row, NULL, s->state, given);
  if (s->status) return;
  to_dense(s->state, ld, s->rows, dim, s->x);
  ptrdiff_t i = not_finite(s->x, (size_t)s->rows * (size_t)dim);
  if (i < 0)
    memcpy(x, s->x, (size_t)s->rows * (size_t)dim * sizeof *x);
  else
    s->status = api_fail(&s->why, DIFFRL_NOT_FINITE,
                         "number %d of sample %d is %g at the end: the denoiser's outputs, finite "
                         "themselves, led there",
                         (int)i % dim, s->first + (int)i / dim, (double)s->x[i]);
}

static diffrl_status run(diffrl_sampler *s, uint64_t seed, int count, float *x, bool given,
                         diffrl_error *error) {
  AS_GUEST;
  if (!s || !x) return refuse(error, s ? "x" : "sampler", "a pointer that is not NULL");
  if (s->running) return refuse(error, "sampler", "one that is not running already");
  if (count < 0) return refuse(error, "count", "0 or more samples");
  if (s->needs_start && !given)
    return refuse(error, "sampler that does not start in plain noise (inverse, from, times)",
                  "diffrl_sampler_run_from with the points to start at");
  ptrdiff_t i = given ? not_finite(x, (size_t)count * (size_t)s->asked.dim) : -1;
  if (i >= 0) return api_fail(error, DIFFRL_BAD_ARGUMENT, "x: number %td is %g", i, (double)x[i]);
  s->running = true, s->caller = &caller, s->status = DIFFRL_OK;
  for (s->first = 0; s->first < count && !s->status; s->first += s->rows) {
    s->rows = count - s->first < s->batch ? count - s->first : s->batch;
    run_batch(s, seed, x + (size_t)s->first * (size_t)s->asked.dim, given);
  }
  s->running = false;
  return s->status ? api_fail(error, s->status, "%s", s->why.text) : DIFFRL_OK;
}

diffrl_status diffrl_sampler_run(diffrl_sampler *sampler, uint64_t seed, int count, float *x,
                                 diffrl_error *error) {
  return run(sampler, seed, count, x, false, error);
}

diffrl_status diffrl_sampler_run_from(diffrl_sampler *sampler, uint64_t seed, int count, float *x,
                                      diffrl_error *error) {
  return run(sampler, seed, count, x, true, error);
}
