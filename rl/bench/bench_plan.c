/* bench_plan.c -- the temporal U-Net: 64 plans of 20 steps, as `plans_sample` makes them.  Its
 * training step is in bench_step.c. */
#include "core/check.h"
#include "rl/bench/bench_def.h"
#include "policy/models/plans.h"

enum { HORIZON = 32, CHANNELS = 32, LEVELS = 4, PLANS = 64, STEPS = 20, TRAINED = 32, TAPS = 5 };
enum { WIDTH = BENCH_ACT + BENCH_OBS };
#define SHAPE "horizon=32 hidden=32 mults=1,2,4,8 groups=8 diffusion_steps=20"

typedef struct {
  PlansModel *model;
  ModelSampling how;
  float *first, *plans;
} Planning;

static bool plan(void *context, int64_t index) {
  Planning *p = context;
  Error error;
  p->how.seed = (uint64_t)index;
  return plans_sample(p->model, &p->how, PLANS, p->first, p->plans, &error);
}

static bool run_plan(const Bench *b, Error *error) {
  Model *model = model_start(b->arena, &model_plans, NULL);
  Planning p = { .model = (PlansModel *)model,
                 .first = arena_array(b->arena, float, PLANS *BENCH_OBS),
                 .plans = arena_array(b->arena, float, PLANS *HORIZON *WIDTH) };
  p.model->obs_dim = BENCH_OBS, p.model->act_dim = BENCH_ACT;
  if (!model_set_all(model, SHAPE, error) || !model_build(model, error) ||
      !blocks_allocate(&model->blocks, error))
    return false;
  p.how = model_sampling(model), p.how.pool = b->pool, p.how.kernels = b->kernels;
  params_init(model->average, 0);
  BenchWork work = { .call = plan, .context = &p, .pool = b->pool, .block = 1 };
  BenchLine line = { 0 };
  if (!bench_time(b, &work, &line))
    return error_set(error, FAIL_RUNNING, "%s: no plans", b->def->name);
  bench_print(b, &line);
  return true;
}

/* ---- what the mathematics needs -------------------------------------------------------------- */

static double block_macs(int length, int in, int out) {
  double convolutions = TAPS * (double)(in * out + out * out) + (in == out ? 0 : in * out);
  return length * convolutions + CHANNELS * out;
}

/* of one plan and one step, by direct convolution */
static double macs(void) {
  double sum = bench_macs((int[]){ CHANNELS, 4 * CHANNELS, CHANNELS }, 2); /* the time */
  int x = WIDTH, length = HORIZON;
  for (int l = 0; l < LEVELS; l++) {
    int c = CHANNELS << l;
    sum += block_macs(length, x, c) + block_macs(length, c, c), x = c;
    if (l + 1 < LEVELS) length /= 2, sum += 3.0 * length * c * c;
  }
  sum += 2 * block_macs(length, x, x);
  for (int l = LEVELS - 1; l > 0; l--) {
    int c = CHANNELS << (l - 1);
    sum += block_macs(length, 2 * x, c) + block_macs(length, c, c), x = c;
    sum += 4.0 * length * c * c, length *= 2; /* 4 taps from each place */
  }
  return sum + length * (TAPS * (double)x * x + (double)x * WIDTH);
}
static double plan_gflop(void) { return 2e-9 * PLANS * STEPS * macs(); }
double bench_unet1d_gflop(void) { return 3 * 2e-9 * TRAINED * macs(); }

const BenchDef bench_plan_64x20 = {
  .name = "plan-64x20",
  .about = "64 plans of 32 steps by the temporal U-Net, 20 steps of sampling",
  .gflop = plan_gflop,
  .run = run_plan,
};
