/* bench.c -- timing a training step beside a loop of fused multiply-adds in the same run. */
#include "rl/bench.h"
#include "core/check.h"
#include "core/config.h"
#include "rl/algo.h"
#include <malloc.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- the peak -------------------------------------------------------------------------------- */

typedef struct {
  const Kernels *kernels;
  real sink[64];
} Probe;
enum { PROBE_ROUNDS = 20000 };

static void probe_piece(void *context, int piece, int worker) {
  (void)worker;
  Probe *p = context;
  p->sink[piece] = p->kernels->fma_probe(PROBE_ROUNDS);
}

/* GFLOP/s of `threads` at once, best of many short blocks */
static double fma_peak(Pool *pool, const Kernels *kernels) {
  Probe probe = { .kernels = kernels };
  int threads = pool_threads(pool) < 64 ? pool_threads(pool) : 64;
  double best = INFINITY;
  for (int i = 0; i < 200; i++) {
    double began = now();
    pool_run(pool, probe_piece, &probe, threads);
    best = fmin(best, now() - began);
  }
  return 1e-9 * threads * (double)PROBE_ROUNDS * kernels->fma_flops / best;
}

/* ---- Diffusion-QL on a million rows ---------------------------------------------------------- */

enum { OBS = 11, ACT = 3, ROWS = 1000000, WARM = 10, BLOCKS = 40, STEPS = 5 };

static Dataset synthetic(Arena *arena) {
  float *obs = arena_array(arena, float, (int64_t)ROWS *OBS);
  float *act = arena_array(arena, float, (int64_t)ROWS *ACT);
  float *reward = arena_array(arena, float, ROWS);
  uint8_t *terminals = arena_alloc(arena, ROWS);
  int64_t *transition = arena_array(arena, int64_t, ROWS);
  Rng rng = rng_stream(0, "bench data");
  for (int i = 0; i < ROWS; i++) {
    float n[16];
    rng_normals(rng, 0, (uint32_t)i, n, 16);
    memcpy(obs + (ptrdiff_t)i * OBS, n, OBS * sizeof *n);
    for (int j = 0; j < ACT; j++) act[i * ACT + j] = tanhf(n[OBS + j]);
    reward[i] = n[15], transition[i] = i;
  }
  return (Dataset){ .rows = ROWS,
                    .transitions = ROWS - 1,
                    .obs_dim = OBS,
                    .act_dim = ACT,
                    .observations = obs,
                    .actions = act,
                    .rewards = reward,
                    .terminals = terminals,
                    .transition = transition };
}

/* multiply-adds of one row through a network with these layer widths */
static double macs(const int *width, int layers) {
  double sum = 0;
  for (int i = 0; i < layers; i++) sum += (double)width[i] * width[i + 1];
  return sum;
}

/* What the mathematics needs: critics forward and back on the batch, the target chain and target
 * critics, the denoising loss, the chain forward and back, both critics on its actions and the
 * input gradient of one.  The time network counts as if it saw a batch, as PyTorch's does. */
static double needed_gflop(int batch, int hidden, int T) {
  double D = macs((int[]){ ACT + 16 + OBS, hidden, hidden, hidden, ACT }, 4);
  D += macs((int[]){ 16, 32, 16 }, 2);
  double Q = macs((int[]){ OBS + ACT, hidden, hidden, hidden, 1 }, 4);
  return 2e-9 * batch * (6 * Q + T * D + 2 * Q + 3 * D + 3 * T * D + 2 * Q + Q);
}

typedef struct {
  double best_ms, p50_ms, gflop, peak;
  size_t allocated; /* bytes, over all timed steps */
} Timing;

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static bool time_steps(Agent *agent, const AlgoSetup *setup, Timing *timing, Error *error) {
  double ms[BLOCKS];
  Log log = { 0 };
  int64_t step = 0;
  size_t before = 0;
  for (int b = -2; b < BLOCKS; b++) {
    if (b == 0) before = mallinfo2().uordblks + arena_bytes(setup->arena);
    double began = now();
    for (int i = 0; i < STEPS; i++)
      if (!agent->def->update(agent, step++, &log))
        return error_set(error, FAIL_DIVERGED, "bench: the step diverged");
    if (b >= 0) ms[b] = 1e3 * (now() - began) / STEPS;
  }
  timing->allocated = mallinfo2().uordblks + arena_bytes(setup->arena) - before;
  qsort(ms, BLOCKS, sizeof *ms, compare);
  timing->best_ms = ms[0], timing->p50_ms = ms[BLOCKS / 2];
  return true;
}

static bool bench_diffusion_ql(Arena *arena, Pool *pool, Timing *timing, Error *error) {
  const AlgoDef *algo = algo_find("diffusion-ql", error);
  const Kernels *kernels = kernels_find("own", error);
  if (!algo || !kernels) return false;
  float *bounds = arena_array(arena, float, 4 * ACT);
  for (int j = 0; j < ACT; j++) bounds[j] = -1, bounds[ACT + j] = bounds[3 * ACT + j] = 1;
  Dataset data = synthetic(arena);
  Drawer drawer = { .data = &data,
                    .rng = rng_stream(0, "batch"),
                    .reward_scale = 1,
                    .act_mid = bounds + 2 * ACT,
                    .act_half = bounds + 3 * ACT };
  void *config = arena_alloc(arena, algo->config_size);
  Config settings;
  config_init(&settings, algo->fields, algo->field_count, config);
  AlgoSetup setup = { .arena = arena,
                      .pool = pool,
                      .kernels = kernels,
                      .obs_dim = OBS,
                      .act_dim = ACT,
                      .act_low = bounds,
                      .act_high = bounds + ACT,
                      .drawer = &drawer,
                      .config = config };
  Agent *agent = algo->create(&setup, error);
  if (!agent) return false;
  agent->def = algo;
  timing->gflop = needed_gflop((int)((TrainConfig *)config)->batch, 256, 5);
  timing->peak = fma_peak(pool, kernels);
  if (!time_steps(agent, &setup, timing, error)) return false;
  timing->peak = fmax(timing->peak, fma_peak(pool, kernels));
  return true;
}

/* ---- the list -------------------------------------------------------------------------------- */

typedef bool Bench(Arena *arena, Pool *pool, Timing *timing, Error *error);
static const char *const names[] = { "diffusion-ql-step" };
static Bench *const benches[] = { bench_diffusion_ql };
enum { BENCHES = sizeof names / sizeof *names };

const char *const *bench_list(size_t *count) {
  *count = BENCHES;
  return names;
}

static void print(const char *name, int threads, const Timing *t, bool json) {
  double floor_ms = 1e3 * t->gflop / t->peak;
  if (!json) {
    printf("%s, %d thread%s: best %.2f ms, median %.2f ms; needs %.3f GFLOP, peak %.0f GFLOP/s, "
           "floor %.2f ms, ratio %.2f, allocated %zu bytes\n",
           name, threads, threads == 1 ? "" : "s", t->best_ms, t->p50_ms, t->gflop, t->peak,
           floor_ms, t->best_ms / floor_ms, t->allocated);
    return;
  }
  JsonText out = { 0 };
  json_open(&out, NULL, '{');
  json_put_text(&out, "name", name);
  json_put_integer(&out, "threads", threads);
  json_put_number(&out, "best_ms", t->best_ms);
  json_put_number(&out, "p50_ms", t->p50_ms);
  json_put_number(&out, "needed_gflop", t->gflop);
  json_put_number(&out, "peak_gflops", t->peak);
  json_put_number(&out, "floor_ms", floor_ms);
  json_put_number(&out, "ratio", t->best_ms / floor_ms);
  json_put_integer(&out, "allocated_bytes", (int64_t)t->allocated);
  json_close(&out, '}');
  puts(out.text);
  json_text_free(&out);
}

bool bench_run(const char *name, int threads, bool json, Error *error) {
  for (int i = 0; i < BENCHES; i++) {
    if (strcmp(names[i], name)) continue;
    Arena *arena = arena_new();
    Pool *pool = pool_new(threads ? threads : pool_cpus());
    unsigned denormals = denormals_off();
    Timing timing = { 0 };
    bool done = benches[i](arena, pool, &timing, error);
    if (done) print(name, pool_threads(pool), &timing, json);
    denormals_restore(denormals);
    pool_free(pool);
    arena_free(arena);
    return done;
  }
  const char *nearest = config_nearest(name, names, BENCHES);
  return error_set(error, FAIL_USAGE, "no benchmark \"%s\"%s%s", name,
                   nearest ? "; did you mean " : "", nearest ? nearest : "");
}
