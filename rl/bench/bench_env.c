/* bench_env.c -- control steps of an environment beside the simulator's own stepping: the same
 * episodes of random actions twice, through Env and by the engine alone. */
#include "core/check.h"
#include "core/clock.h"
#include "core/rng.h"
#include "envs/env.h"
#include "rl/bench/bench_def.h"
#include <math.h>

enum { ACTIONS = 4096, MOST_BLOCKS = 1000, LEAST_BLOCKS = 5 };
static const double block_seconds = 0.02;

typedef struct {
  Env *env, *engine;
  int act_dim;
  float *act; /* [ACTIONS, act_dim] */
  uint64_t episode;
  double ms[MOST_BLOCKS], ratio[MOST_BLOCKS];
  double floor_ms;
} Race;

static bool race_open(Race *r, const Bench *b, EnvModel *model, Error *error) {
  const EnvDef *def = env_def(model);
  r->floor_ms = INFINITY, r->act_dim = def->act_dim;
  r->act = arena_array(b->arena, float, ACTIONS * def->act_dim);
  Rng rng = rng_stream(0, "bench actions");
  for (int i = 0; i < ACTIONS; i++)
    for (int j = 0; j < def->act_dim; j++)
      r->act[i * def->act_dim + j] =
          (float)(def->act_low +
                  (def->act_high - def->act_low) * rng_uniform(rng, 0, (uint32_t)i, (uint32_t)j));
  r->env = env_create(model, error);
  r->engine = r->env ? env_create(model, error) : NULL;
  return r->engine != NULL;
}

static const float *action(const Race *r, int64_t t) {
  return r->act + (((int64_t)r->episode * 1009 + t) % ACTIONS) * r->act_dim;
}

/* One episode both ways, resets aside; returns its steps and adds to the seconds of each. */
static int64_t race_episode(Race *r, double *env, double *engine) {
  float obs[ENV_MAX_OBS];
  int64_t steps = 0;
  EnvStep step = { 0 };
  env_reset(r->env, 0, r->episode, obs);
  double began = clock_now();
  while (!step.terminal && !step.timeout) step = env_step(r->env, action(r, steps++), obs);
  *env += clock_now() - began;
  env_reset(r->engine, 0, r->episode, obs);
  began = clock_now();
  for (int64_t t = 0; t < steps; t++) env_advance(r->engine, action(r, t));
  *engine += clock_now() - began;
  r->episode++;
  return steps;
}

static int race(Race *r, double seconds) {
  int b = 0;
  double env, engine;
  race_episode(r, &env, &engine);
  for (double began = clock_now(); b < MOST_BLOCKS; b++) {
    if (b >= LEAST_BLOCKS && clock_now() - began > seconds) break;
    int64_t steps = 0;
    for (env = engine = 0; env < block_seconds;) steps += race_episode(r, &env, &engine);
    r->ms[b] = 1e3 * env / (double)steps, r->ratio[b] = env / engine;
    r->floor_ms = fmin(r->floor_ms, 1e3 * engine / (double)steps);
  }
  return b;
}

static bool run_env(const Bench *b, const char *name, Error *error) {
  EnvModel *model = env_load(env_find(name), error);
  if (!model) return false;
  Race *r = arena_alloc(b->arena, sizeof *r);
  bool ready = race_open(r, b, model, error);
  if (ready) {
    BenchLine line = { .threads = 1, .peak_gflops = bench_fma(NULL, b->kernels, 50) };
    int blocks = race(r, bench_seconds(b, 4));
    line.p50_ms = bench_median(r->ms, blocks), line.best_ms = r->ms[0];
    line.floor_ms = r->floor_ms, line.ratio_p50 = bench_median(r->ratio, blocks);
    bench_fact_text(&line, "env", name);
    bench_fact(&line, "steps_per_s", 1e3 / line.best_ms);
    bench_fact(&line, "engine_steps_per_s", 1e3 / line.floor_ms);
    bench_fact(&line, "engine_share", 1 / line.ratio_p50);
    bench_print(b, &line);
  }
  env_free(r->env), env_free(r->engine);
  env_unload(model);
  return ready;
}

static bool run(const Bench *b, Error *error) {
  static const char *const names[] = { "hopper-v2", "halfcheetah-v2", "walker2d-v2" };
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (!run_env(b, names[i], error)) return false;
  return true;
}

const BenchDef bench_env_step = {
  .name = "env-step",
  .about = "control steps with random actions; floor: mj_step alone, as often",
  .run = run,
};
