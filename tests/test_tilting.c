/* test_tilting.c -- fine-tuning where everything is known: a chain whose network is linear in x at
 * every time, x_0 = w_t x + b_t, so that all its states are Gaussian and their moments exact. */
#include "core/tape/optim.h"
#include "rl/algos/diffusion_dpo.h"
#include "rl/algos/dpok.h"
#include "rl/algos/rwr.h"
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

enum { STEPS = 8, LD = 16, MOST = 1 << 14 };
static const double MEAN = 0.3, STD = 0.5; /* of the data */
static const bool precise = sizeof(real) == 8;

/* ---- the network ----------------------------------------------------------------------------- */

/* the number of a step as STEPS zeros and a one */
static void step_run(const Lane *lane, const Tensor *y) {
  const Tensor *in = y->in[0];
  real *out = lane_at(lane, y);
  for (int i = 0; i < lane_rows(lane, y) * y->k; i++, out += y->ld) {
    int t = (int)lane_at(lane, in)[i * in->ld];
    for (int j = 0; j < y->ld; j++) out[j] = j == t;
  }
}
static Tensor *embed(const Denoiser *d, Graph *g, const Params *params, Tensor *t) {
  static const Op op_step = { .name = "step", .run = step_run };
  (void)d;
  Tensor *is = record(g, &op_step, (Shape){ t->k, 1, STEPS }, &(Recipe){ .in = { t } }), *h = NULL;
  /* a slot for each, so that none is moved by the others' rows */
  for (int i = 0; i < STEPS; i++) {
    Tensor *own = t_mul(t_col(is, i), t_param(g, params, i));
    h = h ? t_add(h, own) : own;
  }
  return h;
}
static Tensor *line(const Denoiser *d, Graph *g, const Params *params, Tensor *x, Tensor *h,
                    Tensor *cond) {
  (void)d, (void)g, (void)params, (void)cond;
  return t_add(t_mul(x, t_col(h, 0)), t_col(h, 1));
}

typedef struct {
  Arena *arena;
  Denoiser denoiser;
  Schedule *schedule;
  Params *params, *reference;
  Model model;
  Sampler *sampler;
  const Kernels *kernels;
  AlgoSetup setup;
} World;

static real *weight(const Params *p, int t) { return p->values + p->layout->slot[t].offset; }

/* E[x_0 | x_t] of N(mean, variance) */
static void know(const World *w, Params *params, double mean, double variance) {
  for (int t = 0; t < STEPS; t++) {
    Level l = schedule_level(w->schedule, t);
    double gain = l.a * variance / (l.a * l.a * variance + l.s * l.s);
    weight(params, t)[0] = (real)gain, weight(params, t)[1] = (real)(mean - gain * l.a * mean);
  }
  params_touch(params);
}

static void world_open(World *w) {
  static const ModelDef def = { .kind = "lines", .chunk = MOST, .group = 256, .lane = 64 };
  Error error;
  *w = (World){ .arena = arena_new() };
  w->kernels = kernels_find("own", &error);
  w->schedule = schedule_new(w->arena, &(ScheduleSpec){ .name = "cosine", .steps = STEPS }, &error);
  w->denoiser = (Denoiser){
    .net = line, .embed = embed, .predicts = PREDICTS_X0, .schedule = w->schedule, .dim = 1
  };
  w->params = params_new(w->arena, "lines");
  for (int t = 0; t < STEPS; t++) params_slot(w->params, arena_text(w->arena, "%d", t), 1, 1, 2, 0);
  params_allocate(w->params);
  know(w, w->params, MEAN, STD * STD);
  w->reference = params_clone(w->params, "reference");
  w->model =
      (Model){ .def = &def, .arena = w->arena, .schedule = w->schedule, .denoiser = &w->denoiser };
  w->sampler = model_sampler(w->arena, &w->model, &(SamplerSpec){ .method = "ddpm" }, 1, &error);
  if (!w->sampler) fail_msg("%s", error.text);
  w->setup = (AlgoSetup){ .arena = w->arena, .kernels = w->kernels, .seed = 11 };
}

/* mean and variance of the samples, and how much of the variance the start noise makes */
typedef struct {
  double mean, variance, of_start;
} Law;
static Law law_of(const World *w, const Params *params) {
  const Sampler *s = w->sampler;
  Law l = { 0, s->start * s->start, s->start * s->start };
  for (int i = 0; i < s->stages; i++) {
    const real *own = weight(params, (int)s->stage[i].at.time);
    double slope = s->stage[i].base + s->stage[i].out[0] * (double)own[0];
    l.mean = slope * l.mean + s->stage[i].out[0] * (double)own[1];
    l.variance = slope * slope * l.variance + s->stage[i].noise * s->stage[i].noise;
    l.of_start *= slope * slope;
  }
  return l;
}

/* ---- rows of all steps of all chains --------------------------------------------------------- */

typedef struct {
  Chains *chains;
  Graph *g;
  FinetuneInputs in;
  Transition step, reference;
  Ratio ratio;
  int rows, random;
  real *x, *next, *numbers, *old, *advantage;
} Rollout;

static Tensor *bound(const World *w, Graph *g, const char *name, int n, int rows, real **data) {
  Tensor *t = t_input(g, name, 1, n);
  *data = arena_array(w->arena, real, (ptrdiff_t)rows * row_stride(n));
  graph_bind(t, *data);
  return t;
}

/* chains and a tape on which a loss can be recorded */
static void rollout_open(const World *w, Rollout *r, int count) {
  Error error;
  *r = (Rollout){ .g = NULL };
  const ChainsSpec spec = { .model = &w->model,
                            .params = w->params,
                            .stream = "tilting",
                            .sampler = { .method = "ddpm" },
                            .guidance = 1,
                            .count = count };
  r->chains = chains_new(&w->setup, &spec, &error);
  if (!r->chains) fail_msg("%s", error.text);
  r->random = chains_random_count(r->chains);
  r->rows = count * r->random;
  GraphSpec graph = { .trained = w->params,
                      .seed = 5,
                      .kernels = w->kernels,
                      .max_rows = r->rows,
                      .group = 512,
                      .lane = 64 };
  Graph *g = r->g = graph_new(w->arena, &graph);
  int size = transition_size(w->sampler);
  r->in.x = bound(w, g, "x", 1, r->rows, &r->x);
  r->in.next = bound(w, g, "next", 1, r->rows, &r->next);
  r->in.numbers = bound(w, g, "numbers", size, r->rows, &r->numbers);
  r->in.old = bound(w, g, "old", 1, r->rows, &r->old);
  r->in.advantage = bound(w, g, "advantage", 1, r->rows, &r->advantage);
  const FinetuneInputs *in = &r->in;
  r->step = transition_record(w->sampler, &w->denoiser, w->params, in->x, in->numbers, NULL);
  r->reference =
      transition_record(w->sampler, &w->denoiser, w->reference, in->x, in->numbers, NULL);
}

typedef double RewardOf(double x);

/* draw, and fill the rows; advantages are rewards less `base`, or (NAN) less their mean */
static void rollout_draw(Rollout *r, uint64_t epoch, RewardOf *reward, double base) {
  Chains *c = r->chains;
  int row = 0;
  chains_draw(c, epoch);
  double mean = 0;
  for (int i = 0; i < c->count; i++) mean += reward((double)chains_samples(c)[i * LD]) / c->count;
  if (isfinite(base)) mean = base;
  for (int stage = 0; stage < c->stages; stage++)
    for (int i = 0; i < c->count && chains_random(c, stage); i++, row++) {
      r->x[row * LD] = *chains_state(c, stage, i);
      r->next[row * LD] = *chains_state(c, stage + 1, i);
      memcpy(r->numbers + (ptrdiff_t)row * c->number_ld, c->number + stage * c->number_ld,
             (size_t)c->number_ld * sizeof(real));
      r->old[row * LD] = c->log_prob[stage * c->count + i];
      r->advantage[row * LD] = (real)(reward((double)chains_samples(c)[i * LD]) - mean);
    }
  assert_int_equal(row, r->rows);
}

/* ---- gradients ------------------------------------------------------------------------------- */

static double hill(double x) { return -0.5 * (x - 1) * (x - 1); }
static double expected_hill(const World *w) {
  Law l = law_of(w, w->params);
  return -0.5 * ((l.mean - 1) * (l.mean - 1) + l.variance);
}

/* dE[r] / d(w_t, b_t) by differences of the closed form */
static void exact_gradient(const World *w, double gradient[2 * STEPS]) {
  const double h = precise ? 1e-5 : 1e-2; /* E[r] is a polynomial; float holds its weights */
  for (int i = 0; i < 2 * STEPS; i++) {
    real *at = weight(w->params, i / 2) + i % 2, held = *at;
    *at = (real)((double)held + h);
    double up = expected_hill(w), high = (double)*at;
    *at = (real)((double)held - h);
    double down = expected_hill(w), low = (double)*at;
    *at = held;
    gradient[i] = (up - down) / (high - low);
  }
}

/* Of BATCHES estimates from `count` chains each the root mean square of their errors; their mean is
 * the exact gradient within four standard errors.  The last step has no noise, so its numbers, the
 * first two, get no policy gradient at all. */
enum { BATCHES = 24, FIRST = 2 };
static double estimate_error(const World *w, int count, bool clipped) {
  double exact[2 * STEPS], sum[2 * STEPS] = { 0 }, squares[2 * STEPS] = { 0 }, error = 0;
  exact_gradient(w, exact);
  Rollout r;
  rollout_open(w, &r, count);
  ratio_record(&r.ratio, &r.in, &r.step);
  Tensor *sf = t_scale(-1, t_mul(r.in.advantage, r.ratio.log_prob));
  graph_minimise(t_mean(clipped ? ratio_clipped(&r.ratio, 0.1) : sf));
  graph_seal(r.g);
  for (int b = 0; b < BATCHES; b++) {
    rollout_draw(&r, (uint64_t)b, hill, expected_hill(w));
    graph_run(r.g, r.rows, 0, NULL);
    ratio_check(&r.ratio, r.rows, true);
    for (int i = 0; i < 2 * STEPS; i++) {
      const real *own = graph_gradient(r.g) + w->params->layout->slot[i / 2].offset;
      if (i < FIRST) assert_true(own[i % 2] == 0);
      /* the loss is a mean over rows, the policy gradient a sum over steps */
      double off = i < FIRST ? 0 : -r.random * (double)own[i % 2] - exact[i];
      sum[i] += off / BATCHES, squares[i] += off * off / BATCHES, error += off * off / BATCHES;
    }
  }
  for (int i = FIRST; i < 2 * STEPS; i++) {
    double deviation = sqrt((squares[i] - sum[i] * sum[i]) / (BATCHES - 1));
    if (!(fabs(sum[i]) <= 4 * deviation))
      fail_msg("number %d: off by %.3g in the mean, standard error %.3g", i, sum[i], deviation);
  }
  return sqrt(error);
}

/* Without bias, and with 16 times the chains a quarter of the error; the quotient of two estimates
 * from 24 batches is known to some 20 %. */
static void policy_gradients_are_right_in_expectation(void **state) {
  (void)state;
  for (int clipped = 0; clipped < 2; clipped++) {
    World w;
    world_open(&w);
    double few = estimate_error(&w, 128, clipped), many = estimate_error(&w, 2048, clipped);
    if (!(few / many > 3.2 && few / many < 5))
      fail_msg("error %.3g of 128 chains, %.3g of 2048", few, many);
    arena_free(w.arena);
  }
}

/* ---- tilted densities ------------------------------------------------------------------------ */

static double slope(double x) { return 0.8 * x; }

/* With r = g x, p exp(r / kl) is the same Gaussian moved by g variance / kl.  A chain whose steps
 * move their means comes to it exactly, but for what the start noise makes of the variance (2e-5 of
 * it here), and the distance at later states that the gradient leaves out is the same at all of
 * them.  What is left is the noise of the last gradients: the move is right to 3 %, the variance
 * to 2 %. */
static void dpok_moves_a_gaussian_to_the_tilted_one(void **state) {
  (void)state;
  World w;
  world_open(&w);
  const double kl = 0.5;
  Law before = law_of(&w, w.params);
  double moved = 0.8 / kl * before.variance;
  Rollout r;
  rollout_open(&w, &r, 1024);
  Tensor *distance;
  Tensor *loss = dpok_loss(&r.ratio, &r.in, &r.step, &r.reference, 0.2, kl, &distance);
  graph_minimise(loss);
  graph_seal(r.g);
  enum { UPDATES = 200 };
  OptimSpec adam = optim_adam(0.03);
  adam.schedule = RATE_COSINE, adam.period = UPDATES;
  const Objective objective = { .graph = r.g,
                                .loss = loss,
                                .optim = optim_new(w.arena, w.params, &adam) };
  for (int i = 0; i < UPDATES; i++) {
    rollout_draw(&r, (uint64_t)i, slope, NAN);
    assert_true(objective_step(&objective, r.rows, (uint64_t)i));
  }
  Law after = law_of(&w, w.params);
  assert_true(before.of_start < 1e-4 * before.variance);
  if (!(fabs(after.mean - before.mean - moved) < 0.03 * moved))
    fail_msg("moved by %.4f, expected %.4f", after.mean - before.mean, moved);
  assert_true(fabs(after.variance / before.variance - 1) < 0.02);
  arena_free(w.arena);
}

/* Samples of N(m, v), weighted by exp(beta r) with r = -(x - c)^2 / 2, teach the denoiser of the
 * tilted Gaussian: precision 1 / v + beta, mean (m / v + beta c) / precision.  16384 samples know
 * its variance to 1 %. */
static void rwr_learns_the_tilted_gaussian(void **state) {
  (void)state;
  World w;
  Error error;
  world_open(&w);
  enum { UPDATES = 300 };
  const double beta = 4, precision = 1 / (STD * STD) + beta;
  real *x = arena_array(w.arena, real, MOST * LD), *weights = arena_array(w.arena, real, MOST * LD);
  real *reward = arena_array(w.arena, real, MOST);
  int *group = arena_array(w.arena, int, MOST);
  double *weight_of = arena_array(w.arena, double, MOST);
  Rng rng = rng_stream(3, "samples");
  for (int i = 0; i < MOST; i++) {
    x[i * LD] = (real)(MEAN + STD * rng_normal(rng, 0, (uint32_t)i, 0));
    reward[i] = (real)hill((double)x[i * LD]);
  }
  rwr_weigh(reward, group, MOST, beta, weight_of);
  for (int i = 0; i < MOST; i++) weights[i * LD] = (real)weight_of[i];
  GraphSpec graph = {
    .trained = w.params, .seed = 5, .kernels = w.kernels, .max_rows = MOST, .group = 512, .lane = 64
  };
  Graph *g = graph_new(w.arena, &graph);
  const LossInputs in = { .x0 = t_input(g, "x", 1, 1), .weight = t_input(g, "weight", 1, 1) };
  graph_bind(in.x0, x), graph_bind(in.weight, weights);
  Loss *loss = loss_new(w.arena, &(LossSpec){ 0 }, &w.denoiser, &error);
  Objective objective = { .graph = g, .loss = loss_record(g, loss, w.params, "rwr", &in).loss };
  graph_minimise(objective.loss);
  graph_seal(g);
  OptimSpec adam = optim_adam(0.03);
  adam.schedule = RATE_COSINE, adam.period = UPDATES;
  objective.optim = optim_new(w.arena, w.params, &adam);
  for (int i = 0; i < UPDATES; i++) assert_true(objective_step(&objective, MOST, (uint64_t)i));
  know(&w, w.reference, (MEAN / (STD * STD) + beta) / precision, 1 / precision);
  Law learned = law_of(&w, w.params), tilted = law_of(&w, w.reference);
  assert_true(fabs(learned.mean - tilted.mean) < 0.02 * STD);
  assert_true(fabs(learned.variance / tilted.variance - 1) < 0.04);
  arena_free(w.arena);
}

static void weights_are_means_of_one_in_each_group(void **state) {
  (void)state;
  const real advantage[] = { 1, 2, 800, 3, 801 };
  const int group[] = { 0, 0, 1, 0, 1 };
  double w[5];
  rwr_weigh(advantage, group, 5, 2, w);
  assert_true(fabs(w[0] + w[1] + w[3] - 3) < 1e-12 && fabs(w[2] + w[4] - 2) < 1e-12);
  assert_true(fabs(w[1] / w[0] - exp(2)) < 1e-12 && fabs(w[4] / w[2] - exp(2)) < 1e-12);
  rwr_weigh_best(advantage, group, 5, 0.7, w);
  assert_true(w[0] == 0 && w[1] == 1.5 && w[3] == 1.5 && w[2] == 0 && w[4] == 2);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(policy_gradients_are_right_in_expectation),
    cmocka_unit_test(dpok_moves_a_gaussian_to_the_tilted_one),
    cmocka_unit_test(rwr_learns_the_tilted_gaussian),
    cmocka_unit_test(weights_are_means_of_one_in_each_group),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
