/* evaluate.c -- many simulations, one batch of observations. */
#include "rl/evaluate.h"
#include "core/check.h"
#include <math.h>
#include <string.h>

enum { WAVE = 128 }; /* episodes simulated at once */

typedef struct {
  Env *env[WAVE];
  EnvStep last[WAVE];
  int slot[WAVE];    /* live episodes of this wave, ascending */
  uint32_t id[WAVE]; /* their numbers: the row counters of random numbers */
  int live, first;
  float *obs, *act; /* [live, obs_dim], [live, act_dim] */
  int obs_dim, act_dim;
  uint64_t seed;
} Wave;

static void reset_piece(void *context, int piece, int worker) {
  (void)worker;
  Wave *w = context;
  env_reset(w->env[piece], w->seed, w->id[piece], w->obs + piece * w->obs_dim);
}
static void step_piece(void *context, int piece, int worker) {
  (void)worker;
  Wave *w = context;
  w->last[piece] =
      env_step(w->env[w->slot[piece]], w->act + piece * w->act_dim, w->obs + piece * w->obs_dim);
}

static void run_pieces(Pool *pool, PoolTask *task, void *context, int pieces) {
  if (pool)
    pool_run(pool, task, context, pieces);
  else
    for (int i = 0; i < pieces; i++) task(context, i, 0);
}

/* add the rewards of a step; drop the episodes that ended, keeping order */
static void account(Wave *w, EvalResult *result) {
  int kept = 0;
  for (int i = 0; i < w->live; i++) {
    const EnvStep *step = &w->last[i];
    int episode = (int)w->id[i];
    result->returns[episode] += (double)step->reward;
    result->lengths[episode]++;
    result->failures += step->failed;
    if (step->terminal || step->timeout) continue;
    w->slot[kept] = w->slot[i], w->id[kept] = w->id[i];
    memmove(w->obs + kept * w->obs_dim, w->obs + i * w->obs_dim,
            (size_t)w->obs_dim * sizeof *w->obs);
    kept++;
  }
  w->live = kept;
}

static void run_wave(Wave *w, Actor *actor, const EvalSpec *spec, EvalResult *result) {
  for (int i = 0; i < w->live; i++) w->slot[i] = i, w->id[i] = (uint32_t)(w->first + i);
  run_pieces(spec->pool, reset_piece, w, w->live);
  for (uint64_t t = 0; w->live; t++) {
    if (spec->stop && spec->stop()) {
      result->stopped = true;
      return;
    }
    actor_act(actor, w->obs, w->live, t, w->id, w->act, NULL);
    run_pieces(spec->pool, step_piece, w, w->live);
    account(w, result);
  }
}

static void summarise(EvalResult *r) {
  double sum = 0, length = 0, squares = 0;
  for (int i = 0; i < r->episodes; i++) sum += r->returns[i], length += r->lengths[i];
  r->return_mean = sum / r->episodes, r->length_mean = length / r->episodes;
  for (int i = 0; i < r->episodes; i++) squares += pow(r->returns[i] - r->return_mean, 2);
  r->return_std = r->episodes > 1 ? sqrt(squares / (r->episodes - 1)) : 0;
}

/* the streams of the two kinds of seeds have nothing in common */
static uint64_t episode_seed(const EvalSpec *spec) {
  Rng rng = rng_stream(spec->seed, spec->seeds == SEEDS_REPORT ? "report" : "selection");
  return (uint64_t)rng.key[1] << 32 | rng.key[0];
}

bool evaluate(Arena *arena, const EnvModel *model, const Policy *policy, const EvalSpec *spec,
              EvalResult *result, Error *error) {
  const EnvDef *def = env_def(model);
  int at_once = spec->episodes < WAVE ? spec->episodes : WAVE;
  *result = (EvalResult){ .episodes = spec->episodes,
                          .returns = arena_array(arena, double, spec->episodes),
                          .lengths = arena_array(arena, int, spec->episodes) };
  Wave *w = arena_alloc(arena, sizeof *w);
  w->obs_dim = def->obs_dim, w->act_dim = def->act_dim, w->seed = episode_seed(spec);
  w->obs = arena_array(arena, float, at_once * def->obs_dim);
  w->act = arena_array(arena, float, at_once * def->act_dim);
  Actor *actor = actor_new(arena, policy, at_once, w->seed, spec->pool, spec->kernels, error);
  bool ready = actor != NULL;
  for (int i = 0; i < at_once && ready; i++) ready = (w->env[i] = env_create(model, error)) != NULL;
  for (w->first = 0; ready && w->first < spec->episodes && !result->stopped; w->first += WAVE) {
    w->live = spec->episodes - w->first < WAVE ? spec->episodes - w->first : WAVE;
    run_wave(w, actor, spec, result);
  }
  for (int i = 0; i < at_once; i++) env_free(w->env[i]);
  if (ready) summarise(result);
  return ready;
}

void eval_write(const EvalResult *r, const EnvDef *env, const Policy *policy, const char *which,
                int64_t step, bool reference, bool with_returns, JsonText *out) {
  bool scored = reference && env->score_expert > env->score_random;
  double scale = scored ? 100 / (env->score_expert - env->score_random) : NAN;
  json_put_integer(out, "step", step);
  json_put_text(out, "which", which);
  json_put_text(out, "env", env->name);
  json_put_integer(out, "episodes", r->episodes);
  json_put_number(out, "return_mean", r->return_mean);
  json_put_number(out, "return_std", r->return_std);
  json_put_number(out, "normalized_mean", scored ? env_normalized(env, r->return_mean) : NAN);
  json_put_number(out, "normalized_std", r->return_std * scale);
  json_put_text(out, "reference", scored ? "d4rl" : NULL);
  json_put_number(out, "length_mean", r->length_mean);
  json_put_integer(out, "simulator_failures", r->failures);
  json_put_text(out, "mujoco", env_simulator());
  json_open(out, "act", '{');
  Config act = { .fields = act_fields,
                 .count = act_field_count,
                 .values = (void *)(uintptr_t)&policy->act };
  config_write(&act, out);
  json_close(out, '}');
  if (!with_returns) return;
  json_open(out, "returns", '[');
  for (int i = 0; i < r->episodes; i++) json_put_number(out, NULL, r->returns[i]);
  json_close(out, ']');
  json_open(out, "lengths", '[');
  for (int i = 0; i < r->episodes; i++) json_put_integer(out, NULL, r->lengths[i]);
  json_close(out, ']');
}
