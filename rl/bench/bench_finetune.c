/* bench_finetune.c -- an epoch of fine-tuning the shipped generator by ddpo: 128 pictures are drawn
 * in 20 steps, asked for their reward, and all random steps of their chains are trained on. */
#include "rl/algo.h"
#include "rl/bench/bench_def.h"
#include "rl/shipped.h"

enum { PICTURES = 128, STEPS = 20, RANDOM = STEPS - 1, BATCH = 608 };
enum { UPDATES = PICTURES * RANDOM / BATCH }; /* gradient steps of an epoch */
#define SETTINGS                                                                                   \
  "reward=jpeg-small samples=128 sample_steps=20 batch=608 passes=1 eval_samples=2 grid=0"

typedef struct {
  AlgoSetup setup;
  Agent *agent;
  Log log;
  Checkpoint from;
} Epochs;

static bool epoch(void *context, int64_t index) {
  Epochs *e = context;
  const AlgoDef *algo = e->agent->def;
  Error error;
  for (int64_t i = index * UPDATES; i < (index + 1) * UPDATES; i++)
    if (!algo->collect(e->agent, i, &error) || !algo->update(e->agent, i, &e->log)) return false;
  return true;
}

static bool open_agent(Epochs *e, const Bench *b, Error *error) {
  const AlgoDef *algo = algo_find("ddpo", error);
  void *config = arena_alloc(b->arena, algo->config_size);
  Config settings;
  config_init(&settings, algo->fields, algo->field_count, config);
  if (!config_set_all(&settings, SETTINGS, "bench", error)) return false;
  e->setup = (AlgoSetup){ .def = algo,
                          .arena = b->arena,
                          .pool = b->pool,
                          .kernels = b->kernels,
                          .profile = b->profile,
                          .from = &e->from,
                          .config = config };
  e->agent = algo->create(&e->setup, error);
  if (!e->agent) return false;
  e->agent->def = algo;
  return true;
}

static bool run_epochs(const Bench *b, Error *error) {
  Epochs *e = arena_alloc(b->arena, sizeof *e);
  checkpoint_init(&e->from, b->arena);
  if (!shipped_load(&e->from, shipped_find("fashion-mnist"), error)) return false;
  BenchWork work = { .call = epoch, .context = e, .pool = b->pool, .block = 1 };
  BenchLine line = { 0 };
  bool done = open_agent(e, b, error);
  if (done && !bench_time(b, &work, &line))
    done = error_set(error, FAIL_DIVERGED, "%s: the epoch failed", b->def->name);
  if (done) bench_print(b, &line);
  if (e->agent) e->agent->def->close(e->agent);
  return done;
}

/* The network for each step of each chain, and forward and back for each random one. */
static double epoch_gflop(void) {
  const BenchUnet net = {
    .side = 28, .channels = 32, .mults = { 1, 2, 2 }, .blocks = 1, .labels = 10
  };
  return 2e-9 * PICTURES * (STEPS + 3 * RANDOM) * bench_unet_macs(&net);
}

const BenchDef bench_ddpo_epoch = {
  .name = "ddpo-epoch",
  .about = "an epoch of fine-tuning the shipped generator, 128 pictures of 20 steps",
  .gflop = epoch_gflop,
  .run = run_epochs,
};
