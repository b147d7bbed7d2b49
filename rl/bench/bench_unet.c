/* bench_unet.c -- the U-Net for pictures: a training step, and one network evaluation for a batch
 * of samples. */
#include "core/check.h"
#include "diffusion/sampler.h"
#include "rl/algo.h"
#include "rl/bench/bench_def.h"
#include "policy/models/pictures.h"
#include "rl/source/source_pictures.h"

enum { SIDE = 32, BATCH = 64, PICTURES = 4096 };
/* channels 32, 64, 128, two blocks a level, attention at 8 x 8 */
static const BenchUnet net = { .side = SIDE, .channels = 32, .mults = { 1, 2, 4 }, .blocks = 2 };
#define MODEL                                                                                      \
  "size=32 hidden=32 mults=1,2,4 blocks=2 groups=8 attention=1 heads=4 labels=false "              \
  "schedule=linear predicts=eps sampler=ddim"
#define SIZES "batch=64 group=32 lane=8 times=uniform " MODEL

/* ---- a training step ------------------------------------------------------------------------- */

static ImageSet *synthetic(Arena *arena) {
  ImageSet *set = arena_alloc(arena, sizeof *set);
  int64_t bytes = (int64_t)PICTURES * SIDE * SIDE;
  uint8_t *pixel = arena_alloc(arena, (size_t)bytes), *label = arena_alloc(arena, PICTURES);
  Rng rng = rng_stream(0, "bench pictures");
  for (int64_t i = 0; i < bytes; i++) pixel[i] = (uint8_t)rng_below(rng, (uint64_t)i, 0, 0, 256);
  *set = (ImageSet){ .name = "bench", .classes = 1 };
  set->train = set->test = (Images){ PICTURES, SIDE, SIDE, pixel, label, 1 };
  return set;
}

typedef struct {
  AlgoSetup setup;
  Agent *agent;
  Log log;
} Step;

static bool step(void *context, int64_t index) {
  Step *s = context;
  return s->agent->def->update(s->agent, index, &s->log);
}

static void *settings_of(const Bench *b, const AlgoDef *algo) {
  void *config = arena_alloc(b->arena, algo->config_size);
  Config settings;
  Error error;
  config_init(&settings, algo->fields, algo->field_count, config);
  CHECK(config_set_all(&settings, SIZES, "bench", &error), "%s", error.text);
  return config;
}

static bool run_step(const Bench *b, Error *error) {
  const AlgoDef *algo = algo_find("image", error);
  Step *s = arena_alloc(b->arena, sizeof *s);
  s->setup = (AlgoSetup){ .def = algo,
                          .arena = b->arena,
                          .pool = b->pool,
                          .kernels = b->kernels,
                          .profile = b->profile,
                          .source = pictures_new(b->arena, synthetic(b->arena)),
                          .config = settings_of(b, algo) };
  s->agent = algo->create(&s->setup, error);
  if (!s->agent) return false;
  s->agent->def = algo;
  BenchWork work = { .call = step, .context = s, .pool = b->pool, .block = 1 };
  BenchLine line = { 0 };
  if (!bench_time(b, &work, &line))
    return error_set(error, FAIL_DIVERGED, "%s: the step diverged", b->def->name);
  bench_print(b, &line);
  return true;
}

/* ---- a question ------------------------------------------------------------------------------ */

typedef struct {
  SamplerLoop *loop;
  real *x;
} Evaluation;

static bool ask(void *context, int64_t index) {
  Evaluation *q = context;
  sampler_loop_run(q->loop, BATCH, (uint64_t)index, NULL, NULL, q->x, true);
  return true;
}

static bool run_eval(const Bench *b, Error *error) {
  Model *m = model_start(b->arena, &model_pictures, "bench");
  ((PicturesModel *)m)->classes = 1;
  if (!model_set_all(m, MODEL, error) || !model_build(m, error) ||
      !blocks_allocate(&m->blocks, error))
    return false;
  params_init(m->average, 0);
  SamplerSpec once = { .method = "ddim", .steps = 1 };
  Sampler *sampler = sampler_new(b->arena, &once, m->denoiser, error);
  if (!sampler) return false;
  SamplerLoopSpec spec = {
    .graph = { .pool = b->pool, .kernels = b->kernels, .max_rows = BATCH, .group = 16, .lane = 16 },
    .stream = "bench",
    .k = 1
  };
  Evaluation q = { sampler_loop_new(b->arena, sampler, m->denoiser, m->average, &spec),
                   arena_array(b->arena, real, BATCH * row_stride(SIDE * SIDE)) };
  BenchWork work = { .call = ask, .context = &q, .pool = b->pool, .block = 1 };
  BenchLine line = { 0 };
  bench_time(b, &work, &line);
  bench_print(b, &line);
  return true;
}

/* ---- what the mathematics needs -------------------------------------------------------------- */

static double block_macs(const BenchUnet *u, int side, int in, int out) {
  double positions = side * side;
  double time = 4 * u->channels * out;
  return positions * (9.0 * in * out + 9.0 * out * out + (in == out ? 0 : in * out)) + time;
}
/* its products of positions with positions are not counted, as in other programs of this net */
static double attention_macs(int side, int c) {
  double positions = side * side;
  return positions * 4.0 * c * c;
}

/* of one picture, by direct convolution */
double bench_unet_macs(const BenchUnet *u) {
  int kept[BENCH_LEVELS * 8], count = 0, side = u->side, blocks = u->blocks;
  int x = kept[count++] = u->channels;
  double sum = 2 * 9.0 * side * side * x;           /* from one channel, and back */
  sum += bench_macs((int[]){ x, 4 * x, 4 * x }, 2); /* the time */
  sum += u->labels * 4 * x;
  for (int l = 0; l < BENCH_LEVELS; l++) {
    for (int i = 0, c = u->channels * u->mults[l]; i < blocks; i++, x = kept[count++] = c)
      sum += block_macs(u, side, x, c);
    if (l + 1 < BENCH_LEVELS) side /= 2, sum += 9.0 * side * side * x * x, kept[count++] = x;
  }
  sum += 2 * block_macs(u, side, x, x) + (2 * blocks + 2) * attention_macs(side, x);
  for (int l = BENCH_LEVELS - 1; l >= 0; l--) {
    for (int i = 0, c = u->channels * u->mults[l]; i <= blocks; i++, x = c)
      sum += block_macs(u, side, x + kept[--count], c);
    if (l) side *= 2, sum += 9.0 * side * side * x * x;
  }
  return sum;
}
static double eval_gflop(void) { return 2e-9 * BATCH * bench_unet_macs(&net); }
static double step_gflop(void) { return 3 * eval_gflop(); }

const BenchDef bench_unet2d_step = {
  .name = "unet2d-step",
  .about = "a training step of the U-Net for pictures, 64 of 32 x 32",
  .gflop = step_gflop,
  .run = run_step,
};
const BenchDef bench_unet2d_eval = {
  .name = "unet2d-eval",
  .about = "one step of sampling 64 of such pictures",
  .gflop = eval_gflop,
  .run = run_eval,
};
