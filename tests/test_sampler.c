/* test_sampler.c -- stage tables against identities, exact Gaussians and diffusers' chains; the
 * executor against its own single step and against difference quotients. */
#include "core/ops.h"
#include "diffusion/sampler.h"
#include "policy/denoiser_mlp.h"
#include "tests/golden.h"
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { ROWS = 8, DIM = 3, LD = 16 };

static Schedule *schedule(Arena *arena, const char *name, int steps) {
  Error error;
  Schedule *s = schedule_new(arena, name, steps, &error);
  if (!s) fail_msg("%s", error.text);
  return s;
}

static Sampler *sampler(Arena *arena, const char *method, int steps, double eta, const Schedule *s,
                        Prediction predicts) {
  Error error;
  const SamplerSpec spec = { .method = method, .steps = steps, .eta = eta };
  Sampler *made = sampler_new(arena, &spec, s, predicts, &error);
  if (!made) fail_msg("%s", error.text);
  return made;
}

static Graph *graph(Arena *arena, Params *trained) {
  Error error;
  return graph_new(arena, &(GraphSpec){ .trained = trained,
                                        .seed = 3,
                                        .max_rows = ROWS,
                                        .kernels = kernels_find("own", &error),
                                        .lane = 3 });
}

static bool near(double value, double expected, double eps) {
  return fabs(value - expected) <= eps * fmax(1, fabs(expected));
}

/* ---- tables ---------------------------------------------------------------------------------- */

static void ddim_with_full_noise_is_ddpm(void **state) {
  (void)state;
  Arena *arena = arena_new();
  size_t count;
  const ScheduleDef *const *list = schedule_list(&count);
  for (size_t i = 0; i < count; i++) {
    const Schedule *s = schedule(arena, list[i]->name, 50);
    for (int steps = 5; steps <= 50; steps += 15) {
      const Sampler *ddim = sampler(arena, "ddim", steps, 1, s, PREDICTS_EPS);
      const Sampler *ddpm = sampler(arena, "ddpm", steps, 0, s, PREDICTS_EPS);
      for (int j = 0; j < steps; j++) {
        const Stage *a = &ddim->stage[j], *b = &ddpm->stage[j];
        assert_true(a->time == b->time && a->to_x == b->to_x && a->to_out == b->to_out);
        assert_true(near(a->base, b->base, 1e-12) && near(a->out[0], b->out[0], 1e-12));
        assert_true(near(a->noise, b->noise, 1e-12));
      }
    }
  }
  arena_free(arena);
}

/* With every step of the schedule, ddpm is the posterior of the schedule. */
static void ddpm_is_the_posterior(void **state) {
  (void)state;
  Arena *arena = arena_new();
  size_t count;
  const ScheduleDef *const *list = schedule_list(&count);
  for (size_t i = 0; i < count; i++) {
    if (!list[i]->discrete) continue;
    const Schedule *s = schedule(arena, list[i]->name, 20);
    const Sampler *ddpm = sampler(arena, "ddpm", 0, 0, s, PREDICTS_X0);
    assert_int_equal(ddpm->stages, 20);
    for (int n = 0; n < 20; n++) {
      const Stage *stage = &ddpm->stage[19 - n];
      Posterior q = schedule_posterior(s, n);
      assert_true(stage->time == n && stage->to_x == 0 && stage->to_out == 1);
      assert_true(near(stage->base, q.c1, 1e-11) && near(stage->out[0], q.c0, 1e-11));
      assert_true(near(stage->noise * stage->noise, q.variance, 1e-11));
    }
  }
  arena_free(arena);
}

static void discrete_chains_end_at_the_data_estimate(void **state) {
  (void)state;
  Arena *arena = arena_new();
  size_t count;
  const char *const *methods = sampler_list(&count);
  const Schedule *s = schedule(arena, "cosine", 40);
  for (size_t i = 0; i < count; i++)
    for (int steps = 1; steps <= 40; steps += 13) {
      const Sampler *made = sampler(arena, methods[i], steps, 0.5, s, PREDICTS_EPS);
      const Stage *last = &made->stage[steps - 1];
      assert_true(made->stage[0].time == 39 && (steps == 1 || last->time == 0));
      assert_true(near(last->base, 0, 1e-15) && near(last->out[0], 1, 1e-12));
      assert_true(last->out[1] == 0 && last->noise == 0);
    }
  arena_free(arena);
}

static void bad_requests_are_explained(void **state) {
  (void)state;
  Arena *arena = arena_new();
  Error error;
  const Schedule *s = schedule(arena, "vp", 5), *sde = schedule(arena, "vp-sde", 0);
  assert_null(sampler_new(arena, &(SamplerSpec){ .method = "dpmpp2m" }, s, PREDICTS_EPS, &error));
  assert_int_equal(error.kind, FAIL_USAGE);
  assert_non_null(strstr(error.text, "dpmpp_2m"));
  SamplerSpec many = { .method = "ddpm", .steps = 6 };
  assert_null(sampler_new(arena, &many, s, PREDICTS_EPS, &error));
  assert_non_null(strstr(error.text, "6"));
  assert_null(sampler_new(arena, &(SamplerSpec){ .method = "ddpm" }, sde, PREDICTS_EPS, &error));
  assert_non_null(strstr(error.text, "continuous"));
  arena_free(arena);
}

/* ---- exact denoisers ------------------------------------------------------------------------- */

/* Data N(mu, c^2): E[x_0 | x_t = x] = gain x + rest. */
static const double mu = 0.7, c = 0.5;
static void posterior_mean(const Schedule *s, double t, double *gain, double *rest) {
  double a = schedule_a(s, t), n = schedule_s(s, t);
  *gain = a * c * c / (a * a * c * c + n * n), *rest = mu - *gain * a * mu;
}

/* the network's output as an affine function of x; the embedding is its two coefficients */
static void affine_run(const Lane *lane, const Tensor *y) {
  const Denoiser *d = y->attr.p;
  const Tensor *t = y->in[0];
  for (int k = 0; k < y->k; k++) {
    double time = (double)lane_at(lane, t)[k * t->ld], gain, rest;
    posterior_mean(d->schedule, time, &gain, &rest);
    if (d->predicts == PREDICTS_EPS) { /* eps = (x - a x0) / s */
      double a = schedule_a(d->schedule, time), n = schedule_s(d->schedule, time);
      gain = (1 - a * gain) / n, rest = -a * rest / n;
    }
    lane_at(lane, y)[k * y->ld] = (real)gain, lane_at(lane, y)[k * y->ld + 1] = (real)rest;
  }
}
static const Op op_affine = { .name = "affine", .run = affine_run };

static Tensor *gaussian_embed(const Denoiser *d, Graph *g, const Params *p, Tensor *t) {
  (void)p;
  return record(g, &op_affine, (Shape){ t->k, 1, 2 }, &(Recipe){ .in = { t }, .attr.p = d });
}
static Tensor *gaussian_net(const Denoiser *d, Graph *g, const Params *p, Tensor *x, Tensor *h,
                            Tensor *cond) {
  (void)d, (void)g, (void)p, (void)cond;
  return t_add(t_mul(x, t_col(h, 0)), t_col(h, 1));
}
static Denoiser gaussian(const Schedule *s, Prediction predicts) {
  return (Denoiser){ gaussian_net, gaussian_embed, predicts, s, DIM };
}

/* ---- Gaussians through the table ------------------------------------------------------------- */

/* x = scale x_T + shift + noise of this variance */
typedef struct {
  double scale, shift, variance;
} Law;

/* the linear recursion of the table for x0-prediction; noisy chains must not look back */
static Law propagate(const Sampler *table, const Schedule *s) {
  Law x = { 1, 0, 0 }, before = { 0, 0, 0 };
  for (int i = 0; i < table->stages; i++) {
    const Stage *stage = &table->stage[i];
    double gain, rest;
    posterior_mean(s, stage->time, &gain, &rest);
    double keep = stage->base + stage->out[0] * gain;
    const Law x0 = { gain * x.scale, gain * x.shift + rest, 0 };
    x = (Law){ keep * x.scale + stage->out[1] * before.scale,
               keep * x.shift + stage->out[0] * rest + stage->out[1] * before.shift,
               keep * keep * x.variance + stage->noise * stage->noise };
    before = x0;
  }
  return x;
}

/* errors of mean and variance at the end, started from the exact law at t = 1 */
static double variance_error(const char *method, double eta, int steps, double *mean_error) {
  Arena *arena = arena_new();
  const Schedule *s = schedule(arena, "vp-sde", 0);
  Law x = propagate(sampler(arena, method, steps, eta, s, PREDICTS_X0), s);
  double a1 = schedule_a(s, 1), s1 = schedule_s(s, 1);
  double a = schedule_a(s, s->t_min), n = schedule_s(s, s->t_min);
  *mean_error = x.scale * a1 * mu + x.shift - a * mu;
  double variance = x.scale * x.scale * (a1 * a1 * c * c + s1 * s1) + x.variance;
  arena_free(arena);
  return fabs(variance - (a * a * c * c + n * n));
}

static void variances_converge_with_the_solvers_order(void **state) {
  (void)state;
  static const struct {
    const char *method;
    double eta, order;
    int steps; /* and 2, 4, 8 times as many; noise converges later */
  } cases[] = { { "ddim", 0, 1, 20 },
                { "ddim", 0.5, 1, 80 },
                { "ddim", 1, 1, 80 },
                { "ddpm", 0, 1, 80 },
                { "dpmpp_2m", 0, 2, 20 } };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    double error[4];
    for (int j = 0; j < 4; j++) {
      double mean;
      error[j] = variance_error(cases[i].method, cases[i].eta, cases[i].steps << j, &mean);
      assert_true(fabs(mean) < 1e-12); /* exact for every exponential integrator */
    }
    double order = log2(error[2] / error[3]);
    if (!(fabs(order - cases[i].order) < 0.15 && error[3] < error[0]))
      fail_msg("%s, eta %g: errors %.3g %.3g %.3g %.3g, order %.3f", cases[i].method, cases[i].eta,
               error[0], error[1], error[2], error[3], order);
  }
}

/* ---- the executor ---------------------------------------------------------------------------- */

/* a recorded chain whose noises are all bound to numbers of ours */
typedef struct {
  Graph *g;
  Tensor *x, *start, *noise[64];
} Chain;

static Chain chain_open(Arena *arena, const Sampler *table, const Denoiser *d, const Params *p,
                        const real *start, const real *const *noise) {
  Chain chain = { .g = graph(arena, NULL) };
  chain.x = sampler_record(chain.g, table, d, p, "chain", NULL, 1);
  chain.start = graph_override(chain.g, "chain start");
  for (int i = 0; i < table->stages; i++) {
    char name[32];
    snprintf(name, sizeof name, "chain %d", i);
    chain.noise[i] = table->stage[i].noise > 0 ? graph_override(chain.g, name) : NULL;
  }
  graph_keep(chain.x);
  graph_seal(chain.g);
  graph_bind(chain.start, start);
  for (int i = 0; i < table->stages; i++)
    if (chain.noise[i]) graph_bind(chain.noise[i], noise[i]);
  return chain;
}

static const real *chain_run(const Chain *chain) {
  graph_run(chain->g, ROWS, 0, NULL);
  return graph_values(chain->x);
}

/* [stages + 1, ROWS, DIM] normals: start, then one block a stage */
static void normals(Arena *arena, int stages, const real **blocks) {
  for (int i = 0; i <= stages; i++) {
    real *block = arena_array(arena, real, ROWS * LD);
    for (int r = 0; r < ROWS; r++)
      for (int j = 0; j < DIM; j++)
        block[r * LD + j] =
            (real)rng_normal(rng_stream(9, "z"), (uint64_t)i, (uint32_t)r, (uint32_t)j);
    blocks[i] = block;
  }
}

static void a_recorded_chain_is_the_tables_recursion(void **state) {
  (void)state;
  static const char *const methods[] = { "ddim", "dpmpp_2m" };
  static const char *const names[] = { "vp-sde", "cosine" };
  for (int i = 0; i < 8; i++) {
    Arena *arena = arena_new();
    const Schedule *s = schedule(arena, names[i & 1], 12);
    Prediction predicts = i & 2 ? PREDICTS_EPS : PREDICTS_X0; /* the same question asked twice */
    const char *method = methods[i / 4];
    const Denoiser d = gaussian(s, predicts);
    const real *blocks[2];
    normals(arena, 1, blocks);
    Chain chain =
        chain_open(arena, sampler(arena, method, 12, 0, s, predicts), &d, NULL, blocks[0], NULL);
    Law x = propagate(sampler(arena, method, 12, 0, s, PREDICTS_X0), s);
    const real *value = chain_run(&chain);
    for (int r = 0; r < ROWS * LD; r++)
      if (r % LD < DIM)
        assert_true(near((double)value[r], x.scale * (double)blocks[0][r] + x.shift,
                         sizeof(real) == 8 ? 1e-9 : 2e-3)); /* eps: divided by a, 2e-4 at the cap */
    arena_free(arena);
  }
}

/* what a caller does who keeps x between the steps */
static void drive(const SamplerStep *step, Graph *g, const Sampler *table, const real *const *noise,
                  real *x) {
  static const real zeros[ROWS * LD];
  real before[ROWS * LD] = { 0 }, numbers[16];
  for (int i = 0; i < table->stages; i++) {
    sampler_numbers(&table->stage[i], numbers);
    graph_bind(step->x, x), graph_bind(step->before, before);
    graph_bind(step->noise, table->stage[i].noise > 0 ? noise[i] : zeros);
    graph_give(step->numbers, numbers);
    graph_run(g, ROWS, (uint64_t)i, NULL);
    memcpy(x, graph_values(step->next), ROWS * LD * sizeof *x);
    memcpy(before, graph_values(step->x0), sizeof before);
  }
  for (int i = 0; table->spec.clip && i < ROWS * LD; i++)
    x[i] = (real)fmin(fmax((double)x[i], table->spec.low), table->spec.high);
}

static Denoiser *small_mlp(Arena *arena, Params *p, const Schedule *s, Prediction predicts) {
  Denoiser *d = mlp_denoiser_new(arena, p, s, predicts, DIM, 0, 9);
  params_allocate(p);
  params_init(p, 1);
  return d;
}

static void one_step_replayed_is_the_chain_bit_for_bit(void **state) {
  (void)state;
  static const char *const methods[] = { "ddpm", "ddim", "dpmpp_2m" };
  for (int i = 0; i < 6; i++) {
    Arena *arena = arena_new();
    const Schedule *s = schedule(arena, "linear", 50);
    Params *p = params_new(arena, "net");
    const Denoiser *d = small_mlp(arena, p, s, PREDICTS_EPS);
    Error error;
    const SamplerSpec spec = {
      .method = methods[i % 3], .steps = 7, .eta = 0.5, .clip = i > 2, .low = -0.5, .high = 0.75
    };
    const Sampler *table = sampler_new(arena, &spec, s, PREDICTS_EPS, &error);
    const real *blocks[8];
    normals(arena, 7, blocks);
    Chain chain = chain_open(arena, table, d, p, blocks[0], blocks + 1);
    const real *expected = chain_run(&chain);
    Graph *g = graph(arena, NULL);
    SamplerStep step = sampler_step_record(g, table, d, p, NULL, 1);
    graph_seal(g);
    real x[ROWS * LD];
    memcpy(x, blocks[0], sizeof x);
    drive(&step, g, table, blocks + 1, x);
    for (int j = 0; j < ROWS * LD; j++) assert_true(x[j] == expected[j]);
    arena_free(arena);
  }
}

/* L = mean(w x) of clipped samples, two for each condition; noise constant */
static double loss_of_chain(Arena *arena, Params *p, const Denoiser *d, const Sampler *table,
                            const real *gradient[1]) {
  Graph *g = graph(arena, p);
  Tensor *cond = t_input(g, "cond", 1, DIM), *w = t_input(g, "w", 2, DIM);
  Tensor *x = sampler_record(g, table, d, p, "chain", cond, 2);
  Tensor *loss = t_mean(t_mul(w, x));
  graph_minimise(loss);
  graph_seal(g);
  const real *blocks[3];
  normals(arena, 2, blocks);
  real *both = arena_array(arena, real, 2 * ROWS * LD);
  memcpy(both, blocks[0], ROWS * LD * sizeof *both);
  memcpy(both + ROWS * LD, blocks[1], ROWS * LD * sizeof *both);
  graph_bind(cond, blocks[2]), graph_bind(w, both);
  graph_run(g, ROWS, 0, NULL);
  if (gradient) *gradient = graph_gradient(g);
  return graph_scalar(loss);
}

static void gradients_flow_through_the_whole_chain(void **state) {
  (void)state;
  static const char *const methods[] = { "ddpm", "ddim", "dpmpp_2m" };
  double h = sizeof(real) == 8 ? 1e-6 : 1e-3;
  for (int i = 0; i < 3; i++) {
    Arena *arena = arena_new();
    const Schedule *s = schedule(arena, "vp", 5);
    Params *p = params_new(arena, "net");
    const Denoiser *d = mlp_denoiser_new(arena, p, s, PREDICTS_EPS, DIM, DIM, 17);
    params_allocate(p), params_init(p, 1);
    Error error;
    const SamplerSpec spec = { .method = methods[i], .clip = true, .low = -1, .high = 1 };
    const Sampler *table = sampler_new(arena, &spec, s, PREDICTS_EPS, &error);
    const real *gradient;
    loss_of_chain(arena, p, d, table, &gradient);
    double along = 0, side[2];
    Params *up = params_clone(p, "direction"), *start = params_clone(p, "start");
    params_init(up, 2);
    for (size_t j = 0; j < p->layout->size; j++)
      along += (double)gradient[j] * (double)up->values[j];
    for (int k = 0; k < 2; k++) {
      for (size_t j = 0; j < p->layout->size; j++)
        p->values[j] = start->values[j] + (real)(k ? -h : h) * up->values[j];
      params_touch(p);
      side[k] = loss_of_chain(arena, p, d, table, NULL);
    }
    double numeric = (side[0] - side[1]) / (2 * h);
    assert_true(fabs(along) > 1e-3);
    if (!(fabs(numeric - along) < (sizeof(real) == 8 ? 1e-7 : 2e-2) * fabs(along)))
      fail_msg("%s: difference quotient %.9g, gradient %.9g", methods[i], numeric, along);
    arena_free(arena);
  }
}

/* ---- diffusers' chains ----------------------------------------------------------------------- */

/* eps(x, t) = tanh(0.7 x) + 0.1 t / 1000; index n of the schedule is time step t[n] */
typedef struct {
  Denoiser base;
  int t[10];
} Tanh;
static void shift_run(const Lane *lane, const Tensor *y) {
  const Tanh *d = y->attr.p;
  for (int k = 0; k < y->k; k++) {
    int n = (int)lane_at(lane, y->in[0])[k * y->in[0]->ld];
    lane_at(lane, y)[k * y->ld] = (real)(0.1 * d->t[n] / 1000);
  }
}
static const Op op_shift = { .name = "shift", .run = shift_run };
static Tensor *tanh_embed(const Denoiser *d, Graph *g, const Params *p, Tensor *t) {
  (void)p;
  return record(g, &op_shift, (Shape){ t->k, 1, 1 }, &(Recipe){ .in = { t }, .attr.p = d });
}
static Tensor *tanh_net(const Denoiser *d, Graph *g, const Params *p, Tensor *x, Tensor *h,
                        Tensor *cond) {
  (void)d, (void)g, (void)p, (void)cond;
  return t_add(t_map(MAP_tanh, t_scale(0.7, x)), h);
}

/* The 1000-step schedule at these time steps alone, as a schedule of ten. */
static Schedule *thinned(Arena *arena, const Schedule *s, const int t[10]) {
  Schedule *thin = arena_alloc(arena, sizeof *thin);
  *thin = *s;
  thin->steps = 10;
  thin->log_abar = arena_array(arena, double, 10);
  for (int n = 0; n < 10; n++) thin->log_abar[n] = s->log_abar[t[n]];
  return thin;
}

static const real *golden_block(Arena *arena, const CheckpointTensor *t, int block) {
  real *x = arena_array(arena, real, ROWS * LD);
  for (int i = 0; i < ROWS * DIM; i++)
    x[i / DIM * LD + i % DIM] = (real)golden_at(t, (size_t)(block * ROWS * DIM + i));
  return x;
}

static const CheckpointTensor *part(const Golden *golden, const char *chain, const char *name) {
  char path[64];
  snprintf(path, sizeof path, "%s/%s", chain, name);
  return checkpoint_tensor(&golden->file, path);
}

static void check_chain(const Golden *golden, const char *method, double eta, const char *name) {
  Arena *arena = golden->arena;
  Tanh d = { .base = { tanh_net, tanh_embed, PREDICTS_EPS, NULL, DIM } };
  for (int n = 0; n < 10; n++)
    d.t[n] = (int)golden_at(part(golden, name, "timesteps"), (size_t)(9 - n));
  d.base.schedule = thinned(arena, schedule(arena, "linear", 1000), d.t);
  const Sampler *table = sampler(arena, method, 10, eta, d.base.schedule, PREDICTS_EPS);
  const CheckpointTensor *z = part(golden, name, "noise"), *x = part(golden, name, "x");
  const real *noise[10];
  for (int i = 0; i < 10; i++) noise[i] = z ? golden_block(arena, z, i) : NULL;
  Chain chain = chain_open(arena, table, &d.base, NULL, golden_block(arena, x, 0), noise);
  const real *value = chain_run(&chain);
  for (int i = 0; i < ROWS * DIM; i++) {
    double expected = golden_at(x, (size_t)(10 * ROWS * DIM + i));
    double found = (double)value[i / DIM * LD + i % DIM];
    if (!near(found, expected, sizeof(real) == 8 ? 1e-10 : 2e-4))
      fail_msg("%s: %.12g, diffusers has %.12g", name, found, expected);
  }
}

/* (DDIM with linspace moves elsewhere in diffusers than where it asks next: nothing to compare.) */
static void chains_are_diffusers(void **state) {
  (void)state;
  Golden golden;
  golden_open(&golden, "tests/golden/samplers.safetensors");
  check_chain(&golden, "ddpm", 0, "ddpm_leading");
  check_chain(&golden, "ddpm", 0, "ddpm_linspace");
  check_chain(&golden, "ddim", 0, "ddim_eta0_leading");
  check_chain(&golden, "ddim", 0.5, "ddim_eta0.5_leading");
  check_chain(&golden, "dpmpp_2m", 0, "dpmpp2m_leading");
  check_chain(&golden, "dpmpp_2m", 0, "dpmpp2m_linspace");
  golden_close(&golden);
}

/* A sub-sequence asks at diffusers' "linspace" steps, by the original index. */
static void steps_are_spaced_as_linspace(void **state) {
  (void)state;
  Golden golden;
  golden_open(&golden, "tests/golden/samplers.safetensors");
  const Schedule *s = schedule(golden.arena, "linear", 1000);
  const Sampler *table = sampler(golden.arena, "ddpm", 10, 0, s, PREDICTS_EPS);
  for (int i = 0; i < 10; i++)
    assert_true(table->stage[i].time ==
                golden_at(part(&golden, "ddpm_linspace", "timesteps"), (size_t)i));
  golden_close(&golden);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(ddim_with_full_noise_is_ddpm),
    cmocka_unit_test(ddpm_is_the_posterior),
    cmocka_unit_test(discrete_chains_end_at_the_data_estimate),
    cmocka_unit_test(bad_requests_are_explained),
    cmocka_unit_test(variances_converge_with_the_solvers_order),
    cmocka_unit_test(a_recorded_chain_is_the_tables_recursion),
    cmocka_unit_test(one_step_replayed_is_the_chain_bit_for_bit),
    cmocka_unit_test(gradients_flow_through_the_whole_chain),
    cmocka_unit_test(chains_are_diffusers),
    cmocka_unit_test(steps_are_spaced_as_linspace),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
