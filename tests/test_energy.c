/* test_energy.c -- sampling p(x) e^r(x): a guide with the exact energy does it exactly, the mean
 * reward of the noisy data does not, and contrastive learning finds the right one of the two. */
#include "core/tape/optim.h"
#include "diffusion/field.h"
#include "tests/tilted.h"

static const bool precise = sizeof(real) == 8;

static const Reward rewards[] = { { 1.5, 0, 0 }, { 0, 3, 0.2 } };
enum { REWARDS = 2, LD = 16 };

/* f(x_t, t) in closed form: ln E[e^r | x_t], or E[r | x_t] of a linear r */
typedef struct {
  Energy base;
  Bumps data, tilted;
  double slope, log_mean;
} ExactEnergy;

static Tensor *exact_value(const Energy *e, Graph *g, const Params *p, Tensor *x, Tensor *time,
                           Tensor *cond) {
  const ExactEnergy *exact = (const ExactEnergy *)e;
  (void)g, (void)p, (void)cond;
  return t_shift(
      t_sub(bumps_log_density(&exact->tilted, x, time), bumps_log_density(&exact->data, x, time)),
      exact->log_mean);
}
static Tensor *mean_value(const Energy *e, Graph *g, const Params *p, Tensor *x, Tensor *time,
                          Tensor *cond) {
  const ExactEnergy *exact = (const ExactEnergy *)e;
  const Denoiser *d = &exact->data.base;
  return t_scale(exact->slope, d->net(d, g, p, x, d->embed(d, g, p, time), cond));
}
static ExactEnergy exact_energy(const Schedule *s, const Reward *r) {
  ExactEnergy e = { .base = { exact_value }, .data = two_bumps(s), .slope = r->slope };
  e.tilted = bumps_tilted(&e.data, r, &e.log_mean);
  return e;
}

/* ---- at many points -------------------------------------------------------------------------- */

enum { ACROSS = 41, LEVELS = 9, POINTS = ACROSS * LEVELS };
typedef struct {
  double x;
  Level at;
  double value, slope; /* f and its gradient */
} Point;

static void points_fill(const Schedule *s, Point *points) {
  for (int i = 0; i < POINTS; i++) {
    double u = (i / ACROSS + 0.5) / LEVELS, across = -2.5 + 5.0 * (i % ACROSS) / (ACROSS - 1);
    Level l = schedule_level(s, (real)(s->t_min + u * u * (fmin(s->t_max, 3) - s->t_min)));
    points[i] = (Point){ .x = (real)(across * sqrt(l.a * l.a + l.s * l.s)), .at = l };
  }
}

/* f itself, a row a point */
static void energy_ask(const Energy *energy, const Params *params, Point *points) {
  static real at[2][POINTS * LD];
  Arena *arena = arena_new();
  GraphSpec spec = a_graph(NULL, POINTS);
  Graph *g = graph_new(arena, &spec);
  Tensor *x = t_input(g, "x", 1, 1), *time = t_input(g, "time", 1, 1);
  Tensor *f = energy->value(energy, g, params, x, time, NULL), *slope = t_grad(f, x);
  graph_keep(f), graph_keep(slope);
  graph_seal(g);
  for (int i = 0; i < POINTS; i++)
    at[0][i * LD] = (real)points[i].x, at[1][i * LD] = (real)points[i].at.time;
  graph_bind(x, at[0]), graph_bind(time, at[1]);
  graph_run(g, POINTS, 0, NULL);
  for (int i = 0; i < POINTS; i++) {
    points[i].value = (double)graph_values(f)[i * LD];
    points[i].slope = (double)graph_values(slope)[i * LD];
  }
  arena_free(arena);
}

/* the score of the data guided by f, every point at its own time */
static void score_ask(const ExactEnergy *e, const Point *points, double *score) {
  Arena *arena = arena_new();
  Error error;
  const EnergyGuide exactly = { .energy = &e->base, .strength.w = 1 };
  const Guide *guides[] = { guide_energy(arena, &exactly), NULL };
  FieldSpec spec = { .graph = a_graph(NULL, POINTS), .wanted = PREDICTS_SCORE, .guides = guides };
  Field *field = field_new(arena, &e->data.base, NULL, &spec, &error);
  double t[POINTS], x[POINTS];
  for (int i = 0; i < POINTS; i++) t[i] = points[i].at.time, x[i] = points[i].x;
  field_at(field, POINTS, NULL, t, x, score, NULL);
  arena_free(arena);
}

/* ---- the exact energy ------------------------------------------------------------------------ */

/* ln E[e^r(x_0) | x_t] by quadrature over x_0, from nothing but Bayes' rule */
static double energy_by_quadrature(const Bumps *data, const Reward *r, const Point *p) {
  Level clean = schedule_clean();
  double up = 0, down = 0;
  for (int i = 0; i <= 4000; i++) {
    double x0 = -5 + 10 * i / 4000.0, eps = (p->x - p->at.a * x0) / p->at.s;
    double joint = bumps_law(data, &clean, x0).density * exp(-0.5 * eps * eps);
    up += joint * exp(reward_at(r, x0)), down += joint;
  }
  return log(up / down);
}

static void the_energy_is_the_logarithm_of_an_expectation(void **state) {
  Point points[POINTS];
  Arena *arena = arena_new();
  const Schedule *s = a_schedule(arena, "vp-sde", 0);
  (void)state;
  points_fill(s, points);
  for (int i = 0; i < REWARDS; i++) {
    ExactEnergy e = exact_energy(s, &rewards[i]);
    energy_ask(&e.base, NULL, points);
    for (int j = 0; j < POINTS; j++) {
      if (points[j].at.s < 0.05) continue; /* too narrow for the quadrature */
      double expected = energy_by_quadrature(&e.data, &rewards[i], &points[j]);
      assert_true(near(points[j].value, expected, precise ? 1e-9 : 1e-3));
    }
  }
  arena_free(arena);
}

/* Lu et al. 2023, theorem 3.1 */
static void the_guided_score_is_that_of_the_tilted_data(void **state) {
  static const char *const schedules[] = { "vp-sde", "sub-vp", "flow", "gvp", "edm" };
  Point points[POINTS];
  double score[POINTS];
  Arena *arena = arena_new();
  (void)state;
  for (int i = 0; i < REWARDS * 5; i++) {
    const Schedule *s = a_schedule(arena, schedules[i / REWARDS], 0);
    ExactEnergy e = exact_energy(s, &rewards[i % REWARDS]);
    points_fill(s, points);
    score_ask(&e, points, score);
    for (int j = 0; j < POINTS; j++) {
      if (points[j].at.s < 0.01) continue; /* (a x_0 - x) / s^2 has lost its digits */
      double exact = bumps_law(&e.tilted, &points[j].at, points[j].x).score;
      assert_true(near(score[j], exact, precise ? 1e-10 : 1e-2));
    }
  }
  arena_free(arena);
}

/* ---- sampling with it ------------------------------------------------------------------------ */

/* In one dimension the probability-flow ODE keeps quantiles: those of the start become those of the
 * end.  The greatest distance from where they should be. */
static double quantiles_missed(const ExactEnergy *e) {
  enum { GRID = 39 };
  Arena *arena = arena_new();
  const Schedule *s = e->data.base.schedule;
  const EnergyGuide exactly = { .energy = &e->base, .strength.w = 1 };
  const Guide *guides[] = { guide_energy(arena, &exactly), NULL };
  SamplerSpec spec = { .method = "dpmpp_3m", .steps = 150, .spacing = "lambda", .guides = guides };
  const Sampler *sampler = a_sampler(arena, &spec, &e->data.base);
  Level first = schedule_level(s, s->t_max), last = schedule_level(s, s->t_min);
  real x[GRID * LD] = { 0 };
  double most = 0;
  for (int i = 0; i < GRID; i++)
    x[i * LD] = (real)bumps_quantile(&e->tilted, &first, (i + 1.0) / (GRID + 1));
  chain_replay(arena, sampler, &e->data.base, GRID, x);
  for (int i = 0; i < GRID; i++) {
    double wanted = bumps_quantile(&e->tilted, &last, (i + 1.0) / (GRID + 1));
    most = fmax(most, fabs((double)x[i * LD] - wanted));
  }
  arena_free(arena);
  return most;
}

static void guided_samples_have_the_tilted_quantiles(void **state) {
  Arena *arena = arena_new();
  const Schedule *s = a_schedule(arena, "vp-sde", 0);
  (void)state;
  for (int i = 0; i < REWARDS; i++) {
    ExactEnergy e = exact_energy(s, &rewards[i]);
    double missed = quantiles_missed(&e);
    if (!(missed < (precise ? 1e-4 : 1e-3))) fail_msg("quantiles missed by %g", missed);
  }
  arena_free(arena);
}

/* E[r | x_t] is right where there is no noise, wrong in the middle, and its samples are wrong */
static void the_mean_reward_is_another_energy(void **state) {
  Arena *arena = arena_new();
  const Schedule *s = a_schedule(arena, "vp-sde", 0);
  ExactEnergy e = exact_energy(s, &rewards[0]), mean = e;
  Point right[POINTS], wrong[POINTS];
  double worst[LEVELS] = { 0 };
  (void)state;
  mean.base.value = mean_value;
  points_fill(s, right), points_fill(s, wrong);
  energy_ask(&e.base, NULL, right), energy_ask(&mean.base, NULL, wrong);
  for (int i = 0; i < POINTS; i++)
    worst[i / ACROSS] = fmax(worst[i / ACROSS], fabs(right[i].slope - wrong[i].slope));
  assert_true(worst[0] < 0.05 && worst[LEVELS / 2] > 0.5);
  double missed = quantiles_missed(&mean);
  if (!(missed > 0.1)) fail_msg("quantiles missed by %g only", missed);
  arena_free(arena);
}

/* ---- learned --------------------------------------------------------------------------------- */

enum { HIDDEN = 24, SAMPLES = 8, BATCH = 16, STEPS = 700 };

/* two hidden layers on (x, a, s) */
typedef struct {
  Energy base;
  const Schedule *schedule;
} NetEnergy;

static Tensor *net_value(const Energy *e, Graph *g, const Params *p, Tensor *x, Tensor *time,
                         Tensor *cond) {
  Tensor *level = t_marginal(((const NetEnergy *)e)->schedule, time);
  Tensor *h = t_map(MAP_relu, t_affine(g, p, 0, 1, IN(x, level)));
  (void)cond;
  return t_affine(g, p, 4, 5, IN(t_map(MAP_relu, t_affine(g, p, 2, 3, IN(h)))));
}
/* the same and something of t alone */
static Tensor *shifted_value(const Energy *e, Graph *g, const Params *p, Tensor *x, Tensor *time,
                             Tensor *cond) {
  return t_add(t_scale(7, t_map(MAP_sin, time)), net_value(e, g, p, x, time, cond));
}
static Params *net_params(Arena *arena) {
  static const int width[] = { 3, HIDDEN, HIDDEN, 1 };
  Params *p = params_new(arena, "energy");
  for (int l = 0; l < 3; l++) {
    double bound = 1 / sqrt(width[l]);
    params_slot(p, arena_text(arena, "%d/w", l), 1, width[l], width[l + 1], bound);
    params_slot(p, arena_text(arena, "%d/b", l), 1, 1, width[l + 1], bound);
  }
  params_allocate(p), params_init(p, 5);
  return p;
}

typedef struct {
  Graph *g;
  Tensor *loss;
  real x0[BATCH * SAMPLES * LD], reward[BATCH * SAMPLES * LD];
} Learning;

static Learning *learning(Arena *arena, const Energy *energy, const Schedule *s, Params *params,
                          Tensor *(*loss)(const EnergyBatch *)) {
  Learning *l = arena_alloc(arena, sizeof *l);
  GraphSpec spec = a_graph(params, BATCH);
  spec.lane = 0, l->g = graph_new(arena, &spec);
  EnergyBatch batch = { energy, params, s, "energy", NULL, NULL, NULL };
  batch.x0 = t_input(l->g, "x0", SAMPLES, 1);
  batch.reward = t_input(l->g, "reward", SAMPLES, 1);
  l->loss = loss(&batch);
  graph_minimise(l->loss);
  graph_seal(l->g);
  graph_bind(batch.x0, l->x0), graph_bind(batch.reward, l->reward);
  return l;
}

/* K draws of the data a row, and their rewards */
static void learning_draw(Learning *l, const Bumps *data, int step) {
  Rng rng = rng_stream(11, "data");
  for (int i = 0; i < BATCH * SAMPLES; i++) {
    int k = rng_uniform(rng, (uint64_t)step, (uint32_t)i, 0) >= data->w[0];
    double x = data->m[k] + data->c[k] * rng_normal(rng, (uint64_t)step, (uint32_t)i, 1);
    l->x0[i * LD] = (real)x, l->reward[i * LD] = (real)reward_at(&rewards[0], x);
  }
}

/* root mean square of f - exact f, both up to a function of t, over the noised data's density */
static double energy_error(const Bumps *data, const Point *points, const Point *exact) {
  double sum = 0;
  for (int l = 0; l < LEVELS; l++) {
    double weights = 0, mean = 0, square = 0;
    for (int i = l * ACROSS; i < (l + 1) * ACROSS; i++) {
      double weight = bumps_law(data, &exact[i].at, exact[i].x).density;
      double miss = points[i].value - exact[i].value;
      weights += weight, mean += weight * miss, square += weight * miss * miss;
    }
    mean /= weights, sum += (square / weights - mean * mean) / LEVELS;
  }
  return sqrt(sum);
}

static void contrast_learns_the_right_one(void **state) {
  Arena *arena = arena_new();
  const Schedule *s = a_schedule(arena, "flow", 0);
  ExactEnergy e = exact_energy(s, &rewards[0]);
  NetEnergy net = { { net_value }, s };
  Point exact[POINTS], points[POINTS];
  OptimSpec adam = optim_adam(2e-2);
  double error[2];
  (void)state;
  adam.schedule = RATE_COSINE, adam.period = STEPS;
  points_fill(s, exact), points_fill(s, points);
  energy_ask(&e.base, NULL, exact);
  for (int i = 0; i < 2; i++) {
    Params *params = net_params(arena);
    Learning *l = learning(arena, &net.base, s, params, i ? energy_regression : energy_contrastive);
    Objective objective = { .graph = l->g,
                            .loss = l->loss,
                            .optim = optim_new(arena, params, &adam) };
    for (int step = 0; step < STEPS; step++) {
      learning_draw(l, &e.data, step);
      assert_true(objective_step(&objective, BATCH, (uint64_t)step));
    }
    energy_ask(&net.base, params, points);
    error[i] = energy_error(&e.data, points, exact);
  }
  if (!(error[0] < 0.6 * error[1])) fail_msg("contrast %g, regression %g", error[0], error[1]);
  arena_free(arena);
}

/* never below the entropy of the labels, and blind to what is the same for all samples of a row */
static void the_contrast_is_a_cross_entropy(void **state) {
  Arena *arena = arena_new();
  const Schedule *s = a_schedule(arena, "cosine", 50);
  const Bumps data = two_bumps(s);
  NetEnergy net[] = { { { net_value }, s }, { { shifted_value }, s } };
  double loss[2], entropy = 0;
  (void)state;
  for (int i = 0; i < 2; i++) {
    Learning *l = learning(arena, &net[i].base, s, net_params(arena), energy_contrastive);
    learning_draw(l, &data, 0);
    graph_run(l->g, BATCH, 3, NULL);
    loss[i] = graph_scalar(l->loss);
    for (int b = 0; b < BATCH && i == 0; b++) {
      const real *reward = l->reward + b * SAMPLES * LD;
      double sum = 0, mean = 0;
      for (int k = 0; k < SAMPLES; k++) sum += exp((double)reward[k * LD]);
      for (int k = 0; k < SAMPLES; k++)
        mean += exp((double)reward[k * LD]) / sum * (double)reward[k * LD];
      entropy += (log(sum) - mean) / BATCH;
    }
  }
  assert_true(near(loss[0], loss[1], precise ? 1e-12 : 1e-5));
  assert_true(loss[0] > entropy && loss[0] < entropy + 2);
  arena_free(arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_energy_is_the_logarithm_of_an_expectation),
    cmocka_unit_test(the_guided_score_is_that_of_the_tilted_data),
    cmocka_unit_test(guided_samples_have_the_tilted_quantiles),
    cmocka_unit_test(the_mean_reward_is_another_energy),
    cmocka_unit_test(contrast_learns_the_right_one),
    cmocka_unit_test(the_contrast_is_a_cross_entropy),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
