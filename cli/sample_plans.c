/* sample_plans.c -- `diffrl sample` of a model of plans, from start states of the environment that
 * it was trained for. */
#include "cli/command_sample.h"
#include "core/file.h"
#include "core/log.h"
#include "envs/env.h"
#include "rl/render/plans_picture.h"
#include <stdlib.h>
#include <string.h>

/* plan,step,a0..,s0..: a line a step */
static bool write_csv(const PlansModel *m, const PlanSamples *p, const char *path, Error *error) {
  char *text = NULL;
  size_t length = 0;
  FILE *out = open_memstream(&text, &length);
  NEED_MEMORY(out);
  fprintf(out, "plan,step");
  for (int j = 0; j < m->act_dim; j++) fprintf(out, ",a%d", j);
  for (int j = 0; j < m->obs_dim; j++) fprintf(out, ",s%d", j);
  /* a plan is stored step by step, the action before the state, as the columns are named */
  const float *x = p->plans;
  for (int i = 0; i < p->count; i++)
    for (int t = 0; t < (int)m->horizon; t++) {
      fprintf(out, "\n%d,%d", i, t);
      for (int j = 0; j < m->width; j++) fprintf(out, ",%.9g", (double)*x++);
    }
  fputc('\n', out);
  NEED_MEMORY(!fclose(out));
  bool done = file_write(path, text, length, error);
  free(text);
  return done;
}

/* The same numbers as an array [plans, horizon, width]. */
static bool write_npy(const SampleJob *job, const PlansModel *m, const PlanSamples *p,
                      Error *error) {
  const int shape[] = { p->count, (int)m->horizon, m->width };
  /* a product of three settings: an int does not hold it */
  size_t numbers = (size_t)shape[0] * (size_t)shape[1] * (size_t)shape[2];
  double *values = arena_array(job->arena, double, numbers);
  for (size_t i = 0; i < numbers; i++) values[i] = (double)p->plans[i];
  return sample_write_npy(job->asked->out, values, shape, 3, error);
}

/* the environment's, of the episodes of this seed */
static float *start_states(const SampleJob *job, const EnvModel *model, int count, Error *error) {
  Env *env = env_create(model, error);
  if (!env) return NULL;
  int dim = env_def(model)->obs_dim;
  float *first = arena_array(job->arena, float, (size_t)count *(size_t)dim);
  for (int i = 0; i < count; i++)
    env_reset(env, (uint64_t)job->asked->seed, (uint64_t)i, first + (ptrdiff_t)i * dim);
  env_free(env);
  return first;
}

/* Sample plans from these states and write them as the ending of the file says. */
static bool plan(const SampleJob *job, const PlansModel *m, const EnvModel *env, Error *error) {
  const Sample *asked = job->asked;
  PlanSamples p = { .count = asked->count ? (int)asked->count : 8 };
  /* a plan is held as floats, and as doubles or as text where it is written */
  if (!sample_has_room(p.count, (size_t)m->base.denoiser->dim * 32, error)) return false;
  float *first = start_states(job, env, p.count, error);
  if (!first) return false;
  /* the run's own sampler, but for what was asked for instead */
  ModelSampling how = model_sampling(&m->base);
  how.seed = (uint64_t)asked->seed, how.pool = job->pool, how.kernels = job->kernels;
  how.progress = job->progress;
  sample_choose(job, &m->base, &how.sampler);
  size_t numbers = (size_t)p.count * (size_t)m->base.denoiser->dim;
  p.plans = arena_array(job->arena, float, numbers);
  if (!plans_sample(m, &how, p.count, first, p.plans, error) ||
      !sample_check(NULL, p.plans, numbers, how.sampler.method, error))
    return false;
  /* a picture also shows what the simulator makes of the plans' actions */
  if (!(sample_ends(asked->out, ".csv")   ? write_csv(m, &p, asked->out, error)
        : sample_ends(asked->out, ".npy") ? write_npy(job, m, &p, error)
                                          : plan_samples_plot(&p, m, env, asked->out, error)))
    return false;
  log_progress(true, "%d plans from start states of %s by %s: %s", p.count, env_def(env)->name,
               how.sampler.method, asked->out);
  return true;
}

bool sample_plans(const SampleJob *job, Error *error) {
  PlansModel *m = (PlansModel *)model_load(job->arena, &model_plans, job->checkpoint, error);
  const char *name = checkpoint_text(job->checkpoint, "env");
  if (!m) return false;
  if (!sample_refuse_pictures(job->asked, error)) return false;
  /* without an environment there are no start states to plan from */
  const EnvDef *def = name && strcmp(name, "none") ? env_find(name) : NULL;
  if (!def || def->obs_dim != m->obs_dim || def->act_dim != m->act_dim)
    return error_set(error, FAIL_USAGE,
                     "sample: plans begin in the start states of an environment, and this model "
                     "was trained without one");
  EnvModel *env = env_load(def, error);
  bool done = env && plan(job, m, env, error);
  env_unload(env);
  return done;
}
