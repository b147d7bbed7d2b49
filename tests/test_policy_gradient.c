/* test_policy_gradient.c -- what the losses of flow-grpo, awm and nft estimate, of a generator of
 * normal numbers, where policy gradients, tilted densities and their expectations are known in
 * closed form.
 *
 * Data N(m, c^2); the network says x_0 = slope(t) x + offset(t) + kappa(t) theta, and theta is what
 * is trained.  A policy that is tilted by a linear reward keeps its variance: p e^{x / beta} / Z is
 * N(m + c^2 / beta, c^2). */
#include "rl/algos/awm.h"
#include "rl/algos/flow_grpo.h"
#include "rl/algos/nft.h"
#include "tests/chain.h"

enum { ROWS = 8192, LD = 16, NUMBERS = 64, STEPS = 8, BATCHES = 48 };
static const bool precise = sizeof(real) == 8;
static const double M = 0.4, C = 0.6;

/* ---- the network ----------------------------------------------------------------------------- */

typedef struct Line1 Line1;
struct Line1 {
  Denoiser base; /* first */
  /* slope, offset, kappa at a time */
  void (*at)(const Line1 *line, double time, double n[3]);
  double table[STEPS][4]; /* of a chain: the time of each stage, and these */
};

static void line_numbers(const Lane *lane, const Tensor *y) {
  const Line1 *line = y->attr.p;
  const Tensor *in = y->in[0];
  for (int i = 0; i < lane_rows(lane, y) * y->k; i++) {
    double n[3];
    line->at(line, (double)lane_at(lane, in)[i * in->ld], n);
    real *out = lane_at(lane, y) + (ptrdiff_t)i * y->ld;
    for (int j = 0; j < 3; j++) out[j] = (real)n[j];
    clear_padding(out, 3);
  }
}
static Tensor *line_embed(const Denoiser *d, Graph *g, const Params *params, Tensor *t) {
  static const Op op_line = { .name = "line", .run = line_numbers };
  (void)params;
  return record(g, &op_line, (Shape){ t->k, 1, 3 }, &(Recipe){ .in = { t }, .attr.p = d });
}
static Tensor *line_net(const Denoiser *d, Graph *g, const Params *params, Tensor *x, Tensor *h,
                        Tensor *cond) {
  (void)d, (void)cond;
  Tensor *fixed = t_add(t_mul(x, t_col(h, 0)), t_col(h, 1));
  return t_add(fixed, t_mul(t_param(g, params, 0), t_col(h, 2)));
}

/* E[x_0 | x_t] of N(theta, C^2): theta is the mean */
static void of_the_mean(const Line1 *line, double time, double n[3]) {
  Level l = schedule_level(line->base.schedule, time);
  double v = l.a * l.a * C * C + l.s * l.s;
  n[0] = l.a * C * C / v, n[1] = 0, n[2] = l.s * l.s / v;
}
static void of_a_table(const Line1 *line, double time, double n[3]) {
  int best = 0;
  for (int i = 1; i < STEPS; i++)
    if (fabs(line->table[i][0] - time) < fabs(line->table[best][0] - time)) best = i;
  for (int j = 0; j < 3; j++) n[j] = line->table[best][1 + j];
}

typedef struct {
  Arena *arena;
  Line1 line;
  Params *params, *old, *reference; /* one number each */
} World;

static Params *number(Arena *arena, const char *block, double value) {
  Params *p = params_new(arena, block);
  params_slot(p, "theta", 1, 1, 1, 0);
  params_allocate(p);
  params_at(p, 0)[0] = (real)value;
  params_touch(p);
  return p;
}

static void world_open(World *w, const char *schedule, int steps) {
  Error error;
  *w = (World){ .arena = arena_new() };
  const ScheduleSpec spec = { .name = schedule, .steps = steps };
  Schedule *s = schedule_new(w->arena, &spec, &error);
  if (!s) fail_msg("%s", error.text);
  w->line.base = (Denoiser){
    .net = line_net, .embed = line_embed, .predicts = PREDICTS_X0, .schedule = s, .dim = 1
  };
  w->line.at = of_the_mean;
  w->params = number(w->arena, "now", 0), w->old = number(w->arena, "old", 0);
  w->reference = number(w->arena, "reference", 0);
}
static void put(Params *p, double value) {
  params_at(p, 0)[0] = (real)value;
  params_touch(p);
}

static Graph *tape(const World *w) {
  Error error;
  const GraphSpec spec = { .trained = w->params,
                           .max_rows = ROWS,
                           .group = 64,
                           .lane = 64,
                           .seed = 3,
                           .kernels = kernels_find("own", &error) };
  return graph_new(w->arena, &spec);
}

/* ---- estimates ------------------------------------------------------------------------------- */

/* Mean and standard deviation of the estimates of BATCHES batches. */
typedef struct {
  double mean, std;
} Estimate;
typedef double Draw(void *user, int batch, int n);

static Estimate estimate(Draw *draw, void *user, int n) {
  double sum = 0, squares = 0;
  for (int i = 0; i < BATCHES; i++) {
    double x = draw(user, i, n);
    sum += x, squares += x * x;
  }
  double mean = sum / BATCHES;
  return (Estimate){ mean, sqrt((squares - BATCHES * mean * mean) / (BATCHES - 1)) };
}

/* The mean within four of its standard deviations, and sixteen times the samples a quarter of the
 * error.  A deviation from BATCHES estimates is itself known to 10 %, a quotient of two to 15 %:
 * the bound is three of these. */
static void expect(Draw *draw, void *user, int few, double exact, const char *what) {
  Estimate small = estimate(draw, user, few), large = estimate(draw, user, 16 * few);
  double bound = 4 * large.std / sqrt(BATCHES);
  if (!(fabs(large.mean - exact) <= bound))
    fail_msg("%s: %.6g, expected %.6g within %.2g", what, large.mean, exact, bound);
  double gain = small.std / large.std;
  if (!(gain > 4 / 1.45 && gain < 4 * 1.45)) fail_msg("%s: errors fall by %.3g, not 4", what, gain);
}

/* ---- a chain --------------------------------------------------------------------------------- */

/* x' = slope x + offset + lever theta + std z at each stage, and d x_0 / d x' */
typedef struct {
  World w;
  Sampler *sampler;
  Graph *g;
  Ratio ratio;
  Tensor *loss;
  double slope[STEPS], offset[STEPS], lever[STEPS], std[STEPS], then[STEPS];
  double drawn;   /* theta of the weights that drew */
  double gain, c; /* the reward: gain x - c x^2 / 2 */
  double base;    /* its mean */
  int random;
  real x[ROWS * LD], next[ROWS * LD], numbers[ROWS * NUMBERS], old[ROWS * LD], a[ROWS * LD];
} Chain;

/* the stages as the sampler has them, of the exact network; kappa is 1 */
static void chain_open(Chain *c, const char *schedule, const char *method, double eta) {
  Error error;
  memset(c, 0, sizeof *c);
  world_open(&c->w, schedule, 100);
  const SamplerSpec spec = { .method = method, .steps = STEPS, .eta = eta };
  c->sampler = sampler_new(c->w.arena, &spec, &c->w.line.base, &error);
  if (!c->sampler) fail_msg("%s", error.text);
  assert_int_equal(c->sampler->stages, STEPS);
  for (int i = 0; i < STEPS; i++) {
    const Stage *s = &c->sampler->stage[i];
    double n[3];
    of_the_mean(&c->w.line, s->at.time, n);
    double *row = c->w.line.table[i];
    row[0] = s->time, row[1] = n[0], row[2] = n[2] * M, row[3] = 1;
    /* M = direct(output); x' = base x + out M */
    double to_out = s->out[0] * s->direct.to_out;
    c->slope[i] = s->base + s->out[0] * s->direct.to_x + to_out * row[1];
    c->offset[i] = to_out * row[2], c->lever[i] = to_out, c->std[i] = s->noise;
    c->random += s->noise > 0;
  }
  c->w.line.at = of_a_table;
  c->then[STEPS - 1] = 1;
  for (int i = STEPS - 2; i >= 0; i--) c->then[i] = c->then[i + 1] * c->slope[i + 1];
}

/* mean and variance of x_0 */
static Estimate chain_law(const Chain *c) {
  double mean = 0, var = c->sampler->start * c->sampler->start;
  for (int i = 0; i < STEPS; i++) {
    mean = c->slope[i] * mean + c->offset[i] + c->lever[i] * c->w.line.table[i][3] * c->drawn;
    var = c->slope[i] * c->slope[i] * var + c->std[i] * c->std[i];
  }
  return (Estimate){ mean, sqrt(var) };
}

static void chain_tape(Chain *c, const FlowGrpoSpec *spec) {
  Graph *g = c->g = tape(&c->w);
  FinetuneInputs in = { .x = t_input(g, "x", 1, 1),
                        .next = t_input(g, "next", 1, 1),
                        .numbers = t_input(g, "numbers", 1, transition_size(c->sampler)),
                        .old = t_input(g, "old", 1, 1),
                        .advantage = t_input(g, "advantage", 1, 1) };
  const Params *weights[3] = { c->w.params, c->w.old, c->w.reference };
  Transition step[3];
  for (int i = 0; i < 3; i++)
    step[i] = transition_record(c->sampler, &c->w.line.base, weights[i], in.x, in.numbers, NULL);
  Tensor *kept = NULL;
  c->loss =
      flow_grpo_loss(&c->ratio, spec, &in, &(FlowGrpoSteps){ &step[0], &step[1], &step[2] }, &kept);
  graph_minimise(c->loss);
  graph_seal(g);
  graph_bind(in.x, c->x), graph_bind(in.next, c->next), graph_bind(in.numbers, c->numbers);
  graph_bind(in.old, c->old), graph_bind(in.advantage, c->a);
}

/* n chains by weights `drawn`, a row for every random step; the tape runs on them */
static int chain_draw(Chain *c, int batch, int n) {
  Rng start = rng_stream(5, "start"), noise = rng_stream(5, "noise");
  int rows = 0, ld = row_stride(transition_size(c->sampler));
  assert_true(n * c->random <= ROWS && ld <= NUMBERS);
  for (int k = 0; k < n; k++) {
    double x = c->sampler->start * rng_normal(start, (uint64_t)batch, (uint32_t)k, 0);
    int first = rows;
    for (int i = 0; i < STEPS; i++) {
      double shift = c->lever[i] * c->w.line.table[i][3] * c->drawn;
      double z = rng_normal(noise, (uint64_t)batch, (uint32_t)k, (uint32_t)i);
      double next = c->slope[i] * x + c->offset[i] + shift + c->std[i] * z;
      if (c->std[i] > 0) {
        c->x[rows * LD] = (real)x, c->next[rows * LD] = (real)next;
        c->old[rows * LD] = (real)(-0.5 * z * z - log(c->std[i]) - 0.5 * log(2 * acos(-1)));
        transition_numbers(c->sampler, i, c->numbers + (ptrdiff_t)rows * ld);
        rows++;
      }
      x = next;
    }
    double a = c->gain * x - 0.5 * c->c * x * x - c->base;
    for (int r = first; r < rows; r++) c->a[r * LD] = (real)a;
  }
  graph_run(c->g, rows, 0, NULL);
  return rows;
}

static double chain_gradient(void *user, int batch, int n) {
  Chain *c = user;
  chain_draw(c, batch, n);
  return (double)graph_gradient(c->g)[0];
}

/* At the first pass the gradient of the loss is that of the mean reward by the noise of the random
 * steps, E[A d ln p(x' | x)]: with d x_0 / d z known it is E[r'(x_0)] sum lever then (Stein). */
static void flow_grpo_estimates_the_policy_gradient(void **state) {
  (void)state;
  static Chain c;
  for (int k = 0; k < 4; k++) {
    if (k % 2)
      chain_open(&c, "flow", "flow_sde", 0.7);
    else
      chain_open(&c, "cosine", "ddim", 1);
    Estimate law = chain_law(&c);
    c.gain = 1, c.c = k / 2; /* linear, then quadratic */
    c.base = law.mean - 0.5 * c.c * (law.mean * law.mean + law.std * law.std);
    double exact = 0;
    for (int i = 0; i < STEPS; i++)
      if (c.std[i] > 0) exact -= (1 - c.c * law.mean) * c.lever[i] * c.then[i] / c.random;
    chain_tape(&c, &(FlowGrpoSpec){ .clip = 0.5 });
    expect(chain_gradient, &c, 64, exact, "flow-grpo");
    arena_free(c.w.arena);
  }
}

/* Of all ways to shift the steps of a chain, the one that makes p_ref e^{r / beta} of the whole
 * path shifts each by std^2 then / beta.  kappa makes this the way that theta moves. */
static void best_shifts(Chain *c) {
  for (int i = 0; i < STEPS; i++)
    c->w.line.table[i][3] = c->std[i] * c->std[i] * c->then[i] / c->lever[i];
}

/* With the divergence from the reference the loss is least at theta = 1 / beta, where the samples
 * are those of the tilted density: their mean has moved by variance / beta and the variance is as
 * it was, but for what is left of the noise that the chain began at.  In a chain that forgets it,
 * ddim with eta 1 to a level without signal, that is nothing. */
static void flow_grpo_with_kl_rests_at_the_tilted_density(void **state) {
  (void)state;
  static Chain c;
  const double beta = 0.5;
  chain_open(&c, "cosine", "ddim", 1);
  best_shifts(&c);
  Estimate before = chain_law(&c);
  double pull = 0; /* d E[x_0] / d theta */
  for (int i = 0; i < STEPS; i++) pull += c.std[i] * c.std[i] * c.then[i] * c.then[i];
  c.drawn = 1 / beta;
  Estimate tilted = chain_law(&c);
  assert_true(near((tilted.mean - before.mean) * beta, before.std * before.std, 1e-6));
  assert_true(tilted.std == before.std);
  chain_tape(&c, &(FlowGrpoSpec){ .clip = 0.5, .beta = beta });
  c.gain = 1;
  for (int k = 0; k < 3; k++) {
    c.drawn = k / (2 * beta);
    put(c.w.params, c.drawn), put(c.w.old, c.drawn);
    c.base = chain_law(&c).mean;
    expect(chain_gradient, &c, 64, (beta * c.drawn - 1) * pull / c.random, "with KL");
  }
  arena_free(c.w.arena);
}

/* mean of ln rho over the rows of a batch */
static double chain_log_ratio(void *user, int batch, int n) {
  Chain *c = user;
  double sum = 0;
  int rows = chain_draw(c, batch, n);
  for (int r = 0; r < rows; r++)
    sum += (double)graph_values(c->ratio.log_ratio)[(ptrdiff_t)r * c->ratio.log_ratio->ld];
  return sum / rows;
}

/* Under the policy that drew, E ln rho = -KL(p_old || p) < 0, so that ratios above 1 hardly ever
 * reach the clip; GRPO-Guard's regulated ratio has mean 0. */
static void the_regulated_ratio_has_mean_zero(void **state) {
  (void)state;
  static Chain c;
  for (int guard = 0; guard < 2; guard++) {
    chain_open(&c, "flow", "flow_sde", 0.7);
    double divergence = 0;
    for (int i = 0; i < STEPS; i++)
      divergence += pow(0.2 * c.lever[i] / c.std[i], 2) / 2 / c.random;
    assert_true(divergence > 1e-3);
    put(c.w.params, 0.2);
    chain_tape(&c, &(FlowGrpoSpec){ .clip = 0.5, .guard = guard });
    expect(chain_log_ratio, &c, 64, guard ? 0 : -divergence, "E ln rho");
    arena_free(c.w.arena);
  }
}

/* From the noise to the last steps, one at a time, and again. */
static void the_window_moves_towards_the_sample(void **state) {
  (void)state;
  const int expected[] = { 0, 0, 1, 1, 2, 2, 3, 3, 0, 0 }; /* 4 of 7 steps, 2 epochs each */
  for (int i = 0; i < 10; i++) assert_int_equal(flow_grpo_window(i, 2, 4, 7), expected[i]);
  assert_int_equal(flow_grpo_window(1000, 1, 7, 7), 0);
}

/* ---- samples with noise ---------------------------------------------------------------------- */

typedef struct {
  World w;
  Graph *g;
  Ratio ratio;
  real x0[ROWS * LD], a[ROWS * LD];
} Samples;

/* x_0 of N(M, C^2), and a linear reward less its mean */
static void samples_draw(Samples *s, int batch, int n) {
  Rng rng = rng_stream(5, "x0");
  assert_true(n <= ROWS);
  for (int i = 0; i < n; i++) {
    double z = rng_normal(rng, (uint64_t)batch, (uint32_t)i, 0);
    s->x0[i * LD] = (real)(M + C * z), s->a[i * LD] = (real)(C * z);
  }
  graph_run(s->g, n, (uint64_t)batch, NULL);
}

static double samples_gradient(void *user, int batch, int n) {
  Samples *s = user;
  samples_draw(s, batch, n);
  return (double)graph_gradient(s->g)[0];
}

static Tensor *samples_ask(Samples *s, const char *schedule, const char *weighting,
                           LossTerms terms[2]) {
  Error error;
  world_open(&s->w, schedule, 0);
  put(s->w.params, M), put(s->w.old, M);
  const Loss *loss =
      loss_new(s->w.arena, &(LossSpec){ .weighting = weighting }, &s->w.line.base, &error);
  if (!loss) fail_msg("%s", error.text);
  Graph *g = s->g = tape(&s->w);
  Tensor *x0 = t_input(g, "x0", 1, 1), *a = t_input(g, "advantage", 1, 1);
  graph_bind(x0, s->x0), graph_bind(a, s->a);
  LossInputs in = { .x0 = x0 };
  terms[0] = matching_ask(g, loss, s->w.params, "test", &in);
  terms[1] = matching_ask(g, loss, s->w.old, "test", &in);
  return a;
}

/* part of the policy gradient from noise levels up to this one: c^2 a^2 / (1 - a^2 + a^2 c^2) */
static double gained(const Schedule *s, double t) {
  Level l = schedule_level(s, t);
  return C * C * l.a * l.a / (l.s * l.s + l.a * l.a * C * C);
}

/* The gradient of E[x_0] by the mean theta is 1.  With the weighting `likelihood` the loss is twice
 * the bound on -ln p, which is tight where the network is right for every theta; what lies outside
 * [t_min, 1] is known and less than 0.3 %. */
static void awm_estimates_the_policy_gradient(void **state) {
  (void)state;
  static Samples s;
  LossTerms terms[2];
  memset(&s, 0, sizeof s);
  Tensor *a = samples_ask(&s, "vp-sde", "likelihood", terms);
  const Schedule *vp = s.w.line.base.schedule;
  double part = gained(vp, vp->t_min) - gained(vp, vp->t_max);
  assert_true(part > 0.997 && part <= 1);
  graph_minimise(awm_loss(&s.ratio, &(AwmTerms){ &terms[0], &terms[1], NULL }, a, 0.5, 0));
  graph_seal(s.g);
  expect(samples_gradient, &s, 512, -2 * part / (vp->t_max - vp->t_min), "awm");
  arena_free(s.w.arena);
}

/* where the loss of nft, quadratic in theta, is least on a batch */
static double nft_least(void *user, int batch, int n) {
  Samples *s = user;
  put(s->w.params, M);
  double here = samples_gradient(s, batch, n);
  put(s->w.params, M + 1);
  double there = samples_gradient(s, batch, n);
  return M - here / (there - here);
}

/* Normal samples, a linear reward: the network that is best for nft (without the division by mean
 * errors) is that of the tilted density p e^{A / (Z b)}, whose mean is M + C^2 / (Z b). */
static void nft_is_least_at_the_tilted_density(void **state) {
  (void)state;
  static Samples s;
  LossTerms terms[2];
  memset(&s, 0, sizeof s);
  const NftSpec spec = { .mix = 0.8, .spread = 5 };
  Tensor *a = samples_ask(&s, "flow", "x0", terms);
  graph_minimise(nft_loss(&spec, &(NftTerms){ &terms[0], &terms[1], NULL }, a));
  graph_seal(s.g);
  expect(nft_least, &s, 512, M + C * C / (spec.spread * spec.mix), "nft");
  arena_free(s.w.arena);
}

/* r is 1/2, and v+ and v- pull with equal strength in opposite directions: to the bit with b 1, of
 * which v+ = v and v- = 2 v_old - v. */
static void nft_does_not_move_where_the_reward_is_constant(void **state) {
  (void)state;
  static Samples s;
  for (int k = 0; k < 4; k++) {
    LossTerms terms[2];
    memset(&s, 0, sizeof s);
    const NftSpec spec = { .mix = k / 2 ? 0.3 : 1, .spread = 5, .adaptive = k % 2 };
    Tensor *a = samples_ask(&s, "flow", "x0", terms);
    graph_minimise(nft_loss(&spec, &(NftTerms){ &terms[0], &terms[1], NULL }, t_scale(0, a)));
    graph_seal(s.g);
    double gradient = fabs(samples_gradient(&s, 0, 512));
    if (!(gradient <= (k / 2 ? precise ? 1e-14 : 1e-6 : 0))) fail_msg("it is %.3g", gradient);
    arena_free(s.w.arena);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(flow_grpo_estimates_the_policy_gradient),
    cmocka_unit_test(flow_grpo_with_kl_rests_at_the_tilted_density),
    cmocka_unit_test(the_regulated_ratio_has_mean_zero),
    cmocka_unit_test(the_window_moves_towards_the_sample),
    cmocka_unit_test(awm_estimates_the_policy_gradient),
    cmocka_unit_test(nft_is_least_at_the_tilted_density),
    cmocka_unit_test(nft_does_not_move_where_the_reward_is_constant),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
