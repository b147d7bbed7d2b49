/* bench_step.c -- training steps: the function that `train` calls, sampling its batch from a
 * million rows. */
#include "core/check.h"
#include "rl/algo.h"
#include "rl/bench/bench_def.h"
#include "rl/source/source_transitions.h"
#include "envs/analytic.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { AVERAGE_EVERY = 5 }; /* steps between updates of an average: a block has one */
enum { EPISODES = 1000 };   /* of equal length */

/* ---- a million rows -------------------------------------------------------------------------- */

static Dataset synthetic(Arena *arena) {
  float *obs = arena_array(arena, float, (int64_t)BENCH_ROWS *BENCH_OBS);
  float *act = arena_array(arena, float, (int64_t)BENCH_ROWS *BENCH_ACT);
  float *reward = arena_array(arena, float, BENCH_ROWS);
  uint8_t *terminals = arena_alloc(arena, BENCH_ROWS);
  int64_t *transition = arena_array(arena, int64_t, BENCH_ROWS);
  int64_t *episode = arena_array(arena, int64_t, EPISODES + 1);
  Rng rng = rng_stream(0, "bench data");
  for (int i = 0; i < BENCH_ROWS; i++) {
    float n[16];
    rng_normals(rng, 0, (uint32_t)i, n, 16);
    memcpy(obs + (ptrdiff_t)i * BENCH_OBS, n, BENCH_OBS * sizeof *n);
    for (int j = 0; j < BENCH_ACT; j++) act[i * BENCH_ACT + j] = tanhf(n[BENCH_OBS + j]);
    reward[i] = n[15], transition[i] = i;
  }
  for (int e = 0; e <= EPISODES; e++) episode[e] = (int64_t)e * (BENCH_ROWS / EPISODES);
  return (Dataset){ .rows = BENCH_ROWS,
                    .transitions = BENCH_ROWS - 1,
                    .obs_dim = BENCH_OBS,
                    .act_dim = BENCH_ACT,
                    .observations = obs,
                    .actions = act,
                    .rewards = reward,
                    .terminals = terminals,
                    .episodes = EPISODES,
                    .episode_start = episode,
                    .transition = transition };
}

/* The same for an online method, which fills its replay by acting: a world of that size whose next
 * state is a product of the last. */
static void world_reset(double *qpos, double *qvel, Rng noise, uint64_t episode) {
  (void)qvel;
  for (uint32_t i = 0; i < BENCH_OBS; i++) qpos[i] = rng_uniform(noise, episode, 0, i);
}
static double world_step(double *qpos, double *qvel, const float *act, bool *terminal) {
  (void)qvel, (void)terminal;
  for (int i = 0; i < BENCH_OBS; i++)
    qpos[i] = fmod(3.9 * qpos[i] * (1 - qpos[i]) + 0.01 * (1 + (double)act[i % BENCH_ACT]), 1);
  return qpos[0];
}
static void world_observe(const double *qpos, const double *qvel, float *obs) {
  (void)qvel;
  for (int i = 0; i < BENCH_OBS; i++) obs[i] = (float)qpos[i];
}
static const AnalyticTask world_task = {
  .nq = BENCH_OBS, .reset = world_reset, .step = world_step, .observe = world_observe
};
static const EnvDef world = { .name = "bench-world",
                              .task = "bench",
                              .physics = "none",
                              .about = "a world of the size of hopper",
                              .obs_dim = BENCH_OBS,
                              .act_dim = BENCH_ACT,
                              .horizon = 1000,
                              .act_low = -1,
                              .act_high = 1,
                              .ops = &analytic_ops,
                              .spec = &world_task };

/* ---- an algorithm ready to step -------------------------------------------------------------- */

typedef struct {
  const char *algo, *settings;
} StepSpec;

typedef struct {
  const AlgoDef *algo;
  AlgoSetup setup;
  Agent *agent;
  Dataset data;
  Environment *world;
  char run[64]; /* an online method's folder */
  Log log;
} Step;

/* A million rows in memory, or the world and a folder for its replay. */
static bool open_source(Step *s, Error *error) {
  Arena *arena = s->setup.arena;
  if (!s->algo->source->by_env) {
    s->data = synthetic(arena);
    s->setup.source = &transitions_new(arena, &s->data, 0, s->setup.pool)->source;
    return true;
  }
  snprintf(s->run, sizeof s->run, "%s/diffrl-bench-XXXXXX", P_tmpdir);
  if (!mkdtemp(s->run)) {
    *s->run = 0;
    return error_set(error, FAIL_RUNNING, "no folder can be made in %s", P_tmpdir);
  }
  s->world = environment_new(arena, &world, error);
  if (!s->world) return false;
  s->setup.run = s->run, s->setup.source = &s->world->source, s->setup.env = s->world->model;
  return true;
}

static bool step_open(Step *s, const Bench *b, Error *error) {
  const StepSpec *spec = b->def->spec;
  s->algo = algo_find(spec->algo, error);
  if (!s->algo) return false;
  float *bounds = arena_array(b->arena, float, 4 * BENCH_ACT);
  for (int j = 0; j < BENCH_ACT; j++) bounds[j] = -1, bounds[BENCH_ACT + j] = 1;
  void *config = arena_alloc(b->arena, s->algo->config_size);
  Config settings;
  config_init(&settings, s->algo->fields, s->algo->field_count, config);
  if (!config_set_all(&settings, spec->settings, "bench", error)) return false;
  s->setup = (AlgoSetup){ .def = s->algo,
                          .arena = b->arena,
                          .pool = b->pool,
                          .kernels = b->kernels,
                          .profile = b->profile,
                          .obs_dim = BENCH_OBS,
                          .act_dim = BENCH_ACT,
                          .act_low = bounds,
                          .act_high = bounds + BENCH_ACT,
                          .config = config };
  if (!open_source(s, error)) return false;
  s->agent = s->algo->create(&s->setup, error);
  if (!s->agent) return false;
  s->agent->def = s->algo;
  return !s->algo->collect || s->algo->collect(s->agent, 0, error);
}

static void step_close(Step *s) {
  if (s->agent && s->algo->close) s->algo->close(s->agent);
  if (s->world) source_close(&s->world->source);
  if (!*s->run) return;
  char path[96];
  snprintf(path, sizeof path, "%s/replay.bin", s->run);
  unlink(path), rmdir(s->run);
}

static bool step(void *context, int64_t index) {
  Step *s = context;
  return s->algo->update(s->agent, index, &s->log);
}

static bool run_step(const Bench *b, Error *error) {
  Step *s = arena_alloc(b->arena, sizeof *s);
  BenchWork work = { .call = step, .context = s, .pool = b->pool, .block = AVERAGE_EVERY };
  BenchLine line = { 0 };
  bool done = step_open(s, b, error);
  if (done && !bench_time(b, &work, &line))
    done = error_set(error, FAIL_DIVERGED, "%s: the step diverged", b->def->name);
  if (done) bench_print(b, &line);
  step_close(s);
  return done;
}

/* ---- what the mathematics needs -------------------------------------------------------------- */

/* Critics forward and back on the batch, the target chain and target critics, the denoising loss,
 * the chain forward and back, both critics on its actions and the input gradient of one. */
static double diffusion_ql_gflop(void) {
  double D = bench_denoiser_macs(), Q = bench_critic_macs(3);
  int T = BENCH_T;
  return 2e-9 * BENCH_BATCH * (6 * Q + T * D + 2 * Q + 3 * D + 3 * T * D + 2 * Q + Q);
}

/* The denoising loss forward and back. */
static double diffusion_bc_gflop(void) { return 2e-9 * BENCH_BATCH * 3 * bench_denoiser_macs(); }

/* The policy and both target critics on the successors, the critics forward and back, the policy
 * forward and back, both critics on its actions and their input gradients. */
static double sac_gflop(void) {
  enum { H = BENCH_HIDDEN };
  double P = bench_macs((int[]){ BENCH_OBS, H, H, 2 * BENCH_ACT }, 3), Q = bench_critic_macs(2);
  return 2e-9 * BENCH_BATCH * (P + 2 * Q + 6 * Q + 3 * P + 4 * Q);
}

#define SIZES "batch=256 hidden=256"
const BenchDef bench_diffusion_ql_step = {
  .name = "diffusion-ql-step",
  .about = "a training step of Diffusion-QL, batch 256",
  .gflop = diffusion_ql_gflop,
  .run = run_step,
  .spec = &(const StepSpec){ "diffusion-ql", SIZES " diffusion_steps=5" },
};
const BenchDef bench_diffusion_bc_step = {
  .name = "diffusion-bc-step",
  .about = "a training step of behaviour cloning by diffusion, batch 256",
  .gflop = diffusion_bc_gflop,
  .run = run_step,
  .spec = &(const StepSpec){ "diffusion-bc", SIZES " diffusion_steps=5" },
};
const BenchDef bench_sac_step = {
  .name = "sac-step",
  .about = "a gradient step of SAC, batch 256, without the environment's step",
  .gflop = sac_gflop,
  .run = run_step,
  .spec = &(const StepSpec){ "sac", SIZES " random_steps=1000000" },
};
const BenchDef bench_unet1d_step = {
  .name = "unet1d-step",
  .about = "a training step of the temporal U-Net, 32 windows of 32 steps",
  .gflop = bench_unet1d_gflop,
  .run = run_step,
  .spec = &(const StepSpec){ "diffuser", "batch=32 group=16 lane=16" },
};
