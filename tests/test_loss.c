/* test_loss.c -- the denoising loss of a network of two parameters, out = w x + b + 0.1 h.
 *
 * Draws are bound to numbers of ours, so loss and gradient are sums that can be written down. */
#include "diffusion/loss.h"
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

enum { ROWS = 12, DIM = 3, LD = 16, W = 0, B = 1, V = 2 };
static const double DATA_STD = 0.7;

static bool near(double x, double y, double eps) { return fabs(x - y) <= eps * fmax(1, fabs(y)); }
static double tight(double exact, double loose) { return sizeof(real) == 8 ? exact : loose; }

/* ---- the network ----------------------------------------------------------------------------- */

static Tensor *embed(const Denoiser *d, Graph *g, const Params *p, Tensor *t) {
  return (void)d, (void)g, (void)p, t;
}
static Tensor *net(const Denoiser *d, Graph *g, const Params *p, Tensor *x, Tensor *h,
                   Tensor *cond) {
  Tensor *y = t_add(t_add(t_mul(x, t_param(g, p, W)), t_scale(0.1, h)), t_param(g, p, B));
  if (cond) y = t_add(y, cond);
  if (!d->learns_variance) return y;
  return t_concat(y, t_mul(t_scale(0.5, x), t_param(g, p, V)));
}

/* everything a test needs; the tape trains w and b (and v) */
typedef struct {
  Arena *arena;
  Params *p;
  Denoiser d;
  Graph *g;
  LossTerms terms;
  real x0[ROWS * LD], eps[ROWS * LD], time[ROWS * LD];
} World;

static void world_open(World *world, const char *schedule, Prediction predicts) {
  Error error;
  *world = (World){ .arena = arena_new() };
  const ScheduleSpec spec = { .name = schedule, .steps = 20 };
  world->d = (Denoiser){ .net = net, .embed = embed, .predicts = predicts, .dim = DIM };
  world->d.schedule = schedule_new(world->arena, &spec, &error);
  world->d.data_std = DATA_STD;
  Params *p = world->p = params_new(world->arena, "net");
  params_slot(p, "w", 1, 1, 1, 1), params_slot(p, "b", 1, 1, 1, 1), params_slot(p, "v", 1, 1, 1, 1);
  params_slot(p, "null", 1, 1, DIM, 1);
  params_allocate(p);
  params_at(p, W)[0] = (real)0.375, params_at(p, B)[0] = (real)-0.125;
  params_at(p, V)[0] = (real)0.25, params_touch(p);
  world->g = graph_new(world->arena, &(GraphSpec){ .trained = p,
                                                   .seed = 7,
                                                   .kernels = kernels_find("own", &error),
                                                   .max_rows = 256,
                                                   .group = 5,
                                                   .lane = 2 });
  Rng rng = rng_stream(5, "draws");
  for (uint32_t r = 0; r < ROWS; r++)
    for (uint32_t j = 0; j < DIM; j++) {
      world->x0[r * LD + j] = (real)rng_normal(rng, 2, r, j);
      world->eps[r * LD + j] = (real)rng_normal(rng, 3, r, j);
    }
}
static void world_close(World *world) { arena_free(world->arena); }

/* x0 and eps bound; times, too, unless `at` is NULL.  false if the loss does not exist. */
static bool record_loss(World *w, const LossSpec *spec, const double *at) {
  Error error;
  const Loss *loss = loss_new(w->arena, spec, &w->d, &error);
  if (!loss) return false;
  LossInputs in = { .x0 = t_input(w->g, "x0", 1, w->d.dim) };
  in.eps = t_input(w->g, "eps", 1, w->d.dim);
  in.time = at ? t_input(w->g, "t", 1, 1) : NULL;
  w->terms = loss_record(w->g, loss, w->p, "bc", &in);
  graph_minimise(w->terms.loss);
  graph_keep(w->terms.time), graph_keep(w->terms.rows);
  if (w->terms.vlb) graph_keep(w->terms.vlb);
  graph_seal(w->g);
  graph_bind(in.x0, w->x0), graph_bind(in.eps, w->eps);
  for (int r = 0; at && r < ROWS; r++) w->time[r * LD] = (real)at[r];
  if (at) graph_bind(in.time, w->time);
  return true;
}
static double run(World *w) {
  graph_run(w->g, ROWS, 0, NULL);
  return graph_scalar(w->terms.loss);
}
static double slope(const World *w, int slot) {
  return (double)graph_gradient(w->g)[w->p->layout->slot[slot].offset];
}

static size_t every_schedule(const ScheduleDef *const **list) {
  size_t count;
  return *list = schedule_list(&count), count;
}

/* ---- the definition, by way of x_0 ----------------------------------------------------------- */

/* what the output says about x_0, each from its own paper (the formulas of denoiser.h are lines) */
static double x0_of(Prediction predicts, const Level *l, double x, double y) {
  double a = l->a, s = l->s, sigma = s / a, d = DATA_STD, r = sqrt(sigma * sigma + d * d);
  switch (predicts) {
  case PREDICTS_EPS: return (x - s * y) / a;
  case PREDICTS_SCORE: return (x + s * s * y) / a;
  case PREDICTS_V: return (a * x - s * y) / (a * a + s * s);
  case PREDICTS_VELOCITY: return (l->ds * x - s * y) / (a * l->ds - l->da * s);
  case PREDICTS_EDM: return d * d / (r * r) * (x / a) + sigma * d / r * y;
  default: return y;
  }
}

/* the weighting as a factor of |x_0 - x_0hat|^2 */
static double weight_of_x0(const char *name, Prediction predicts, const Level *l) {
  static const char *native[] = { "simple", "x0", "score", "v", "flow", "edm" };
  double a = l->a, s = l->s, snr = a * a / (s * s), d = DATA_STD, sigma = s / a;
  double D = a * l->ds - l->da * s;
  if (!strcmp(name, "native")) name = native[predicts];
  if (!strcmp(name, "simple") || !strcmp(name, "dsm")) return snr;
  if (!strcmp(name, "score")) return snr / (s * s);
  if (!strcmp(name, "v")) return (snr + 1) * (a * a + s * s);
  if (!strcmp(name, "likelihood")) return (2 * s * l->ds - 2 * s * s * l->da / a) * snr / (s * s);
  if (!strcmp(name, "snr+1")) return snr + 1;
  if (!strcmp(name, "truncated-snr")) return snr > 1 ? snr : 1;
  if (!strcmp(name, "min-snr")) return snr < 5 ? snr : 5;
  if (!strcmp(name, "edm")) return (sigma * sigma + d * d) / (sigma * sigma * d * d);
  return strcmp(name, "flow") ? 1 : D * D / (s * s);
}

static double definition(const World *w, const char *weighting) {
  double sum = 0, scale = 1;
  for (int r = 0; r < ROWS; r++) {
    double t = (double)graph_values(w->terms.time)[r * LD];
    Level l = schedule_level(w->d.schedule, t);
    if (w->d.predicts == PREDICTS_EDM)
      scale = 1 / sqrt(l.s * l.s + l.a * l.a * DATA_STD * DATA_STD);
    for (int j = 0; j < DIM; j++) {
      double x0 = (double)w->x0[r * LD + j], x = l.a * x0 + l.s * (double)w->eps[r * LD + j];
      double missed = x0 - x0_of(w->d.predicts, &l, x, 0.375 * scale * x - 0.125 + 0.1 * t);
      sum += weight_of_x0(weighting, w->d.predicts, &l) * missed * missed;
    }
  }
  return sum / (ROWS * DIM);
}

/* loss and gradient; being quadratic in w and b, the loss has an exact central difference */
static bool check(const char *schedule, Prediction predicts, const char *weighting) {
  World w;
  world_open(&w, schedule, predicts);
  bool there = record_loss(&w, &(LossSpec){ .weighting = weighting }, NULL);
  if (there) {
    double loss = run(&w), by[2] = { slope(&w, W), slope(&w, B) };
    assert_true(near(loss / definition(&w, weighting), 1, tight(1e-9, 1e-3)));
    for (int slot = W; slot <= B; slot++) {
      double side[2], was = slot == W ? 0.375 : -0.125;
      for (int i = 0; i < 2; i++) {
        params_at(w.p, slot)[0] = (real)(was + (i ? 0.5 : -0.5)), params_touch(w.p);
        side[i] = run(&w);
      }
      assert_true(fabs(side[1] - side[0] - by[slot]) < tight(1e-10, 1e-3) * (side[0] + side[1]));
      params_at(w.p, slot)[0] = (real)was;
    }
  }
  world_close(&w);
  return there;
}

static void loss_and_gradient_are_the_definition(void **state) {
  (void)state;
  const ScheduleDef *const *schedule;
  size_t schedules = every_schedule(&schedule);
  for (size_t i = 0; i < schedules; i++)
    for (int predicts = 0; predicts < PREDICTIONS; predicts++)
      for (size_t j = 0; loss_weighting(j); j++) {
        const char *name = schedule[i]->name;
        bool silent = !strcmp(name, "flow") || !strcmp(name, "gvp"); /* no signal at t = 1 */
        bool there = check(name, (Prediction)predicts, loss_weighting(j));
        assert_true(there || silent);
      }
}

/* ---- one oracle, asked in six ways ----------------------------------------------------------- */

/* x_0hat = tanh x, said as whatever the denoiser predicts */
static void say(void *user, const CallSamples *samples) {
  const Denoiser *d = user;
  for (int i = 0; i < samples->count; i++) {
    Level l = schedule_level(d->schedule, (double)samples->time[i * samples->time_stride]);
    Line y = prediction_line(d->predicts, &l, d->data_std);
    double scale = denoiser_scale(d, &l);
    for (int j = 0; j < samples->n; j++) {
      double x = (double)samples->x[i * samples->x_stride + j] / scale, x0 = tanh(x);
      samples->out[i * samples->out_stride + j] = (real)(y.p * x0 + y.q * (x - l.a * x0) / l.s);
    }
  }
}
static Tensor *oracle(const Denoiser *d, Graph *g, const Params *p, Tensor *x, Tensor *h,
                      Tensor *cond) {
  (void)p, (void)cond;
  Call *call = arena_alloc(graph_arena(g), sizeof *call);
  *call = (Call){ say, (void *)(uintptr_t)d };
  return t_add(t_call(call, x, h, d->dim), t_scale(0, t_param(g, p, W)));
}

static void a_weighting_is_the_same_for_every_prediction(void **state) {
  (void)state;
  const ScheduleDef *const *schedule;
  size_t schedules = every_schedule(&schedule);
  for (size_t i = 0; i < schedules; i++)
    for (size_t j = 1; loss_weighting(j); j++) {
      double first = 0;
      for (int predicts = 0; predicts < PREDICTIONS; predicts++) {
        World w;
        world_open(&w, schedule[i]->name, (Prediction)predicts);
        w.d.net = oracle;
        if (record_loss(&w, &(LossSpec){ .weighting = loss_weighting(j) }, NULL)) {
          double loss = run(&w);
          if (first == 0) first = loss;
          assert_true(fabs(loss / first - 1) < tight(1e-12, 1e-2));
        }
        world_close(&w);
      }
    }
}

/* ---- Gaussian data: moments are exact over the four points m +- c, +-1 ----------------------- */

static const double MEAN = 0.4, STD = 0.5;

static void four_points(World *w, double mean, double std) {
  w->d.dim = 1;
  for (int r = 0; r < ROWS; r++) {
    w->x0[r * LD] = (real)(mean + (r & 1 ? std : -std)), w->eps[r * LD] = r & 2 ? 1 : -1;
    for (int j = 1; j < DIM; j++) w->x0[r * LD + j] = w->eps[r * LD + j] = 0;
  }
}

/* E[x_0 | x] = m + a c^2 (x - a m) / (a^2 c^2 + s^2) is a line in x, and so is every prediction of
 * it: there the gradient vanishes, and what is left is the conditional variance. */
static void check_minimiser(const char *schedule, Prediction predicts, double part) {
  World w;
  world_open(&w, schedule, predicts);
  four_points(&w, MEAN, STD);
  const Schedule *s = w.d.schedule;
  double t = s->t_min + part * (s->t_max - s->t_min), at[ROWS];
  for (int r = 0; r < ROWS; r++) at[r] = t = (double)(real)(s->steps ? floor(t) : t);
  Level l = schedule_level(s, t);
  Form back = denoiser_form(&w.d, PREDICTS_X0, &l);
  double variance = l.a * l.a * STD * STD + l.s * l.s, gain = l.a * STD * STD / variance;
  double fixed = MEAN - gain * l.a * MEAN, scale = denoiser_scale(&w.d, &l);
  double best_w = (gain - back.to_x) / back.to_out, best_b = fixed / back.to_out;
  params_at(w.p, W)[0] = (real)(best_w / scale);
  params_at(w.p, B)[0] = (real)(best_b - 0.1 * t), params_touch(w.p);
  assert_true(record_loss(&w, &(LossSpec){ .weighting = "native" }, at));
  double left = STD * STD * l.s * l.s / variance / (back.to_out * back.to_out), size = 1 + left;
  assert_true(near(run(&w), left, tight(1e-11, 1e-4)));
  assert_true(fabs(slope(&w, B)) < tight(1e-11, 1e-3) * size);
  assert_true(fabs(slope(&w, W)) < tight(1e-11, 1e-3) * size * fmax(1, sqrt(variance)));
  world_close(&w);
}

static void the_exact_denoiser_is_the_minimiser(void **state) {
  (void)state;
  const ScheduleDef *const *schedule;
  size_t schedules = every_schedule(&schedule);
  for (size_t i = 0; i < schedules; i++)
    for (int predicts = 0; predicts < PREDICTIONS; predicts++)
      for (double part = 0.2; part < 1; part += 0.3)
        check_minimiser(schedule[i]->name, (Prediction)predicts, part);
}

/* a network that says 0, as one with zeros in its last layer: eps, and F of EDM, have variance 1 */
static void losses_start_at_one(void **state) {
  (void)state;
  const ScheduleDef *const *schedule;
  size_t schedules = every_schedule(&schedule);
  for (size_t i = 0; i < schedules; i++)
    for (int edm = 0; edm < 2; edm++) {
      World w;
      world_open(&w, schedule[i]->name, edm ? PREDICTS_EDM : PREDICTS_EPS);
      four_points(&w, 0, DATA_STD);
      const Schedule *s = w.d.schedule;
      double at[ROWS], t = s->steps ? s->steps / 2 : 0.3;
      for (int r = 0; r < ROWS; r++) at[r] = t;
      params_at(w.p, W)[0] = 0, params_at(w.p, B)[0] = (real)(-0.1 * t), params_touch(w.p);
      assert_true(record_loss(&w, &(LossSpec){ .weighting = edm ? "edm" : "simple" }, at));
      assert_true(near(run(&w), 1, tight(1e-12, 1e-5)));
      world_close(&w);
    }
}

/* ---- times ----------------------------------------------------------------------------------- */

/* the times of given draws */
static void times_of(const char *schedule, const LossSpec *spec, const double *draw, double *t) {
  World w;
  world_open(&w, schedule, PREDICTS_X0);
  Error error;
  LossInputs in = { .x0 = t_input(w.g, "x0", 1, DIM) };
  in.eps = t_input(w.g, "eps", 1, DIM);
  w.terms = loss_record(w.g, loss_new(w.arena, spec, &w.d, &error), w.p, "bc", &in);
  Tensor *bound = graph_override(w.g, "bc time");
  graph_keep(w.terms.time);
  graph_seal(w.g);
  graph_bind(in.x0, w.x0), graph_bind(in.eps, w.eps), graph_bind(bound, w.time);
  for (int r = 0; r < ROWS; r++) w.time[r * LD] = (real)draw[r];
  graph_run(w.g, ROWS, 0, NULL);
  for (int r = 0; r < ROWS; r++) t[r] = (double)graph_values(w.terms.time)[r * LD];
  world_close(&w);
}

static void times_follow_their_distributions(void **state) {
  (void)state;
  Arena *arena = arena_new();
  Error error;
  const Schedule *edm = schedule_new(arena, &(ScheduleSpec){ .name = "edm" }, &error);
  const Schedule *vp = schedule_new(arena, &(ScheduleSpec){ .name = "vp", .steps = 20 }, &error);
  double u[ROWS], t[ROWS], eps = tight(1e-12, 1e-4);
  for (int r = 0; r < ROWS; r++) u[r] = (r + 0.5) / ROWS;
  times_of("edm", &(LossSpec){ .times = "uniform" }, u, t);
  for (int r = 0; r < ROWS; r++) assert_true(near(t[r], 0.002 + (80 - 0.002) * u[r], eps));
  times_of("edm", &(LossSpec){ .times = "lambda" }, u, t);
  for (int r = 0; r < ROWS; r++) assert_true(near(t[r], 80 * pow(0.002 / 80, u[r]), eps));
  times_of("edm", &(LossSpec){ .times = "log-normal" }, u, t);
  for (int r = 0; r < ROWS; r++) assert_true(near(log(t[r]), -1.2 + 1.2 * u[r], eps));
  times_of("edm", &(LossSpec){ .times = "log-normal", .mean = 1, .std = 9 }, u, t);
  for (int r = 0; r < ROWS; r++)
    assert_true(near(log(t[r]), fmin(1 + 9 * u[r], log(edm->t_max)), eps));
  times_of("flow", &(LossSpec){ .times = "logit-normal" }, u, t);
  for (int r = 0; r < ROWS; r++) assert_true(near(t[r], 1e-3 + (1 - 1e-3) / (1 + exp(-u[r])), eps));
  times_of("vp", &(LossSpec){ .times = "logit-normal", .std = 1 }, u, t);
  for (int r = 0; r < ROWS; r++) assert_true(t[r] == floor(20 / (1 + exp(-u[r]))));
  times_of("vp", &(LossSpec){ .times = "lambda" }, u, t); /* the nearest n */
  for (int r = 0; r < ROWS; r++) {
    double noisy = schedule_lambda(vp, 19), clear = schedule_lambda(vp, 0);
    double n = schedule_time(vp, noisy + (clear - noisy) * u[r]);
    assert_true(t[r] == floor(t[r]) && fabs(t[r] - n) <= 0.5 + 1e-4);
  }
  arena_free(arena);
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* rows of their own weights, k samples each; the given noise makes pairs */
static void rows_weigh_what_they_are_given(void **state) {
  (void)state;
  World w;
  Error error;
  world_open(&w, "flow", PREDICTS_VELOCITY);
  LossInputs in = { .x0 = t_input(w.g, "x0", 1, DIM), .weight = t_input(w.g, "weight", 1, 1) };
  Loss *loss = loss_new(w.arena, &(LossSpec){ .weighting = "flow" }, &w.d, &error);
  in.x0 = t_stack(in.x0, t_scale(-1, in.x0));
  w.terms = loss_record(w.g, loss, w.p, "bc", &in);
  graph_keep(w.terms.loss), graph_keep(w.terms.rows), graph_keep(w.terms.time);
  graph_seal(w.g);
  graph_bind(in.x0->in[0], w.x0), graph_bind(in.weight, w.time);
  for (int r = 0; r < ROWS; r++) w.time[r * LD] = (real)(0.25 * r);
  double sum = 0;
  run(&w);
  for (int r = 0; r < 2 * ROWS; r++)
    sum += 0.25 * (r / 2) * (double)graph_values(w.terms.rows)[r * LD];
  assert_true(near(graph_scalar(w.terms.loss), sum / (2 * ROWS), tight(1e-13, 1e-5)));
  for (int r = 1; r < 2 * ROWS; r++) /* every sample has a time of its own */
    assert_true(graph_values(w.terms.time)[r * LD] != graph_values(w.terms.time)[(r - 1) * LD]);
  world_close(&w);
}

/* With b = 1, w = 0 and cond = c a row misses by 1 + c - x_0: it tells what its condition was. */
static void conditions_are_dropped(void **state) {
  (void)state;
  World w;
  Error error;
  for (int learned = 0; learned < 2; learned++) {
    world_open(&w, "vp", PREDICTS_X0);
    LossInputs in = { .x0 = t_scale(0, t_input(w.g, "x0", 1, DIM)) };
    in.cond = t_input(w.g, "cond", 1, DIM), in.null = learned ? t_param(w.g, w.p, 3) : NULL;
    in.time = t_scale(0, t_col(in.cond, 0));
    Loss *loss = loss_new(w.arena, &(LossSpec){ .drop = 0.25 }, &w.d, &error);
    w.terms = loss_record(w.g, loss, w.p, "bc", &in);
    Tensor *u = graph_override(w.g, "bc drop");
    graph_keep(w.terms.rows);
    graph_minimise(w.terms.loss);
    graph_seal(w.g);
    params_at(w.p, W)[0] = 0, params_at(w.p, B)[0] = 1;
    for (int j = 0; j < DIM; j++) params_at(w.p, 3)[j] = 3;
    params_touch(w.p);
    for (int r = 0; r < ROWS; r++) {
      w.time[r * LD] = (real)r / ROWS;
      for (int j = 0; j < DIM; j++) w.eps[r * LD + j] = 1;
    }
    graph_bind(in.x0->in[0], w.x0), graph_bind(in.cond, w.eps), graph_bind(u, w.time);
    run(&w);
    for (int r = 0; r < ROWS; r++) {
      double cond = r >= ROWS / 4 ? 1 : learned ? 3 : 0;
      double loss_of_row = (double)graph_values(w.terms.rows)[r * LD];
      assert_true(near(loss_of_row, (1 + cond) * (1 + cond), 1e-6));
    }
    /* only dropped rows train the null: 2 (1 + 3) / DIM each, a quarter of them */
    if (learned) assert_true(near(slope(&w, 3), 8.0 / DIM / 4, 1e-6));
    world_close(&w);
  }
}

/* Noise on x that the target does not know adds w^2 variance to the loss of out = w x + b. */
static void path_noise_moves_x_alone(void **state) {
  (void)state;
  World w;
  double loss[2], noise2 = 0;
  for (int noisy = 0; noisy < 2; noisy++) {
    Error error;
    world_open(&w, "flow", PREDICTS_VELOCITY);
    LossSpec spec = { .path_noise = noisy ? 0.5 : 0 };
    LossInputs in = { .x0 = t_input(w.g, "x0", 1, DIM), .eps = t_input(w.g, "eps", 1, DIM) };
    in.time = t_input(w.g, "t", 1, 1);
    w.terms = loss_record(w.g, loss_new(w.arena, &spec, &w.d, &error), w.p, "bc", &in);
    Tensor *path = noisy ? graph_override(w.g, "bc path") : NULL;
    graph_keep(w.terms.loss);
    graph_seal(w.g);
    real more[ROWS * LD] = { 0 }; /* along the miss and against it: the cross terms cancel */
    four_points(&w, MEAN, STD);
    for (int r = 0; r < ROWS; r++) {
      w.x0[r * LD] = w.eps[r * LD] = 1, w.time[r * LD] = (real)0.5;
      more[r * LD] = r & 1 ? 2 : -2, noise2 = 0.25 * 4;
    }
    graph_bind(in.x0, w.x0), graph_bind(in.eps, w.eps), graph_bind(in.time, w.time);
    if (noisy) graph_bind(path, more);
    loss[noisy] = run(&w);
    world_close(&w);
  }
  assert_true(near(loss[1] - loss[0], 0.375 * 0.375 * noise2 / DIM, tight(1e-12, 1e-5)));
}

/* ---- learned variance ------------------------------------------------------------------------ */

static void open_hybrid(World *w, double vlb, int bins) {
  world_open(w, "cosine", PREDICTS_EPS);
  w->d.learns_variance = true;
  double at[ROWS];
  for (int r = 0; r < ROWS; r++) at[r] = r % 4;
  for (int i = 0; i < ROWS * LD; i++) w->x0[i] = (real)fmax(-1, fmin(1, (double)w->x0[i] / 2));
  assert_true(record_loss(w, &(LossSpec){ .vlb = vlb, .bound = { .bins = bins } }, at));
}

/* L_simple + vlb N bits/dim; the bound trains v alone, by the true derivative, and its gradient
 * does not reach w and b */
static void the_bound_trains_the_variance_only(void **state) {
  (void)state;
  World simple, hybrid;
  for (int bins = 0; bins <= 256; bins += 256) {
    open_hybrid(&simple, 0, bins), open_hybrid(&hybrid, 0.001, bins);
    double base = run(&simple), both = run(&hybrid), h = tight(1e-4, 1e-1), side[2];
    double nats = 0;
    for (int r = 0; r < ROWS; r++) nats += (double)graph_values(hybrid.terms.vlb)[r * LD] / ROWS;
    assert_true(near(both - base, 0.001 * 20 * nats / (DIM * log(2)), tight(1e-12, 1e-5)));
    assert_true(both != base && simple.terms.vlb == NULL);
    for (int slot = W; slot <= B; slot++)
      assert_true(near(slope(&hybrid, slot), slope(&simple, slot), tight(1e-15, 1e-7)));
    assert_true(slope(&simple, V) == 0 && slope(&hybrid, V) != 0);
    double by_v = slope(&hybrid, V);
    for (int i = 0; i < 2; i++) {
      params_at(hybrid.p, V)[0] = (real)(0.25 + (i ? h : -h)), params_touch(hybrid.p);
      side[i] = run(&hybrid);
    }
    assert_true(fabs((side[1] - side[0]) / (2 * h) - by_v) < tight(1e-8, 2e-2) * fabs(by_v));
    world_close(&simple), world_close(&hybrid);
  }
}

/* ---- refusals, and the short form ------------------------------------------------------------ */

static void refuse(const char *schedule, Prediction predicts, LossSpec spec, const char *why) {
  World w;
  Error error = { .kind = FAIL_NONE };
  world_open(&w, schedule, predicts);
  assert_null(loss_new(w.arena, &spec, &w.d, &error));
  assert_int_equal(error.kind, FAIL_USAGE);
  if (!strstr(error.text, why)) fail_msg("\"%s\" without \"%s\"", error.text, why);
  world_close(&w);
}

static void what_has_no_sense_is_refused(void **state) {
  (void)state;
  refuse("vp", PREDICTS_EPS, (LossSpec){ .weighting = "simpel" }, "did you mean simple?");
  refuse("vp", PREDICTS_EPS, (LossSpec){ .times = "lognormal" }, "did you mean log-normal?");
  refuse("flow", PREDICTS_EPS, (LossSpec){ .weighting = "x0" }, "no finite weight at time 1");
  refuse("flow", PREDICTS_X0, (LossSpec){ .weighting = "likelihood" }, "no finite weight");
  refuse("flow", PREDICTS_X0, (LossSpec){ .times = "lambda" }, "lambda is infinite");
  refuse("vp", PREDICTS_EPS, (LossSpec){ .drop = 1 }, "probability 1");
  refuse("vp", PREDICTS_EPS, (LossSpec){ .vlb = 1 }, "learns");
  refuse("vp", PREDICTS_EPS, (LossSpec){ .path_noise = -1 }, "0 or more");
}

/* the recording that Diffusion-QL has had since the beginning */
static Tensor *first_form(Graph *g, const Denoiser *d, const Params *p, Tensor *x0) {
  const Schedule *s = d->schedule;
  Tensor *marginal, *h;
  if (s->steps) {
    double grid[20];
    for (int n = 0; n < s->steps; n++) grid[n] = n;
    Tensor *table = t_table(g, grid, s->steps, 1), *n = t_index(g, "bc time", 1, s->steps);
    marginal = t_gather(t_marginal(s, table), n), h = t_gather(d->embed(d, g, p, table), n);
  } else {
    h = t_shift(t_scale(1 - s->t_min, t_uniform(g, "bc time", 1, 1)), s->t_min);
    marginal = t_marginal(s, h);
  }
  Tensor *eps = t_normal(g, "bc noise", 1, d->dim);
  Tensor *x = t_add(t_mul(x0, t_col(marginal, 0)), t_mul(eps, t_col(marginal, 1)));
  Tensor *target = d->predicts == PREDICTS_X0 ? x0 : eps;
  return t_mean(t_map(MAP_square, t_sub(target, d->net(d, g, p, x, h, NULL))));
}

static void the_short_form_keeps_its_bits(void **state) {
  (void)state;
  static const char *const schedules[] = { "vp", "cosine", "vp-sde" };
  for (int i = 0; i < 6; i++) {
    double loss[2], by_w[2];
    int live[2];
    for (int form = 0; form < 2; form++) {
      World w;
      world_open(&w, schedules[i / 2], i % 2 ? PREDICTS_X0 : PREDICTS_EPS);
      Tensor *x0 = t_input(w.g, "x0", 1, DIM);
      w.terms.loss =
          form ? diffusion_loss(w.g, &w.d, w.p, "bc", x0, NULL) : first_form(w.g, &w.d, w.p, x0);
      graph_minimise(w.terms.loss), graph_seal(w.g);
      graph_bind(x0, w.x0);
      loss[form] = run(&w), by_w[form] = slope(&w, W), live[form] = graph_size(w.g).live;
      world_close(&w);
    }
    assert_true(loss[0] == loss[1] && by_w[0] == by_w[1]);
    assert_true(live[1] <= live[0]); /* and its speed */
  }
}

/* For data N(0, 1) of a VP process x_t is N(0, 1) too, and the best w for eps at one level is s:
 * what is left is a^2.  Unit draws of the tape itself, averaged over 200 steps. */
static void its_own_draws_have_the_right_moments(void **state) {
  (void)state;
  World w;
  Error error;
  world_open(&w, "vp", PREDICTS_EPS);
  w.d.schedule = schedule_new(w.arena, &(ScheduleSpec){ .name = "vp", .steps = 1 }, &error);
  params_at(w.p, W)[0] = (real)schedule_s(w.d.schedule, 0);
  params_at(w.p, B)[0] = 0, params_touch(w.p);
  w.terms.loss = diffusion_loss(w.g, &w.d, w.p, "bc", t_normal(w.g, "x0", 1, DIM), NULL);
  graph_minimise(w.terms.loss);
  graph_seal(w.g);
  double mean = 0, by_w = 0;
  for (uint64_t step = 0; step < 200; step++) {
    graph_run(w.g, 256, step, NULL);
    mean += graph_scalar(w.terms.loss) / 200, by_w += slope(&w, W) / 200;
  }
  double a2 = exp(-5.05), draws = 200 * 256 * DIM;         /* one level: a^2 = exp(-5.05) */
  assert_true(fabs(mean - a2) < 4 * a2 * sqrt(2 / draws)); /* chi-square of that many draws */
  assert_true(fabs(by_w) < 4 * 2 * sqrt(a2 / draws));      /* the gradient vanishes at the best w */
  world_close(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(loss_and_gradient_are_the_definition),
    cmocka_unit_test(a_weighting_is_the_same_for_every_prediction),
    cmocka_unit_test(the_exact_denoiser_is_the_minimiser),
    cmocka_unit_test(losses_start_at_one),
    cmocka_unit_test(times_follow_their_distributions),
    cmocka_unit_test(rows_weigh_what_they_are_given),
    cmocka_unit_test(conditions_are_dropped),
    cmocka_unit_test(path_noise_moves_x_alone),
    cmocka_unit_test(the_bound_trains_the_variance_only),
    cmocka_unit_test(what_has_no_sense_is_refused),
    cmocka_unit_test(the_short_form_keeps_its_bits),
    cmocka_unit_test(its_own_draws_have_the_right_moments),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
