/* test_noisy_flow.c -- a flow whose steps have learned noise (rl/algos/noisy_flow.h). */
#include "rl/algos/noisy_flow.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

enum { ENVS = 7, STEPS = 4, OBS = 4, ACT = 3, LD = 16 };
static const bool precise = sizeof(real) == 8;
static const double least = 0.1, most = 0.24;

#define FIELDS(F)     ONPOLICY_FIELDS_OF(F, 5, 1e-4, 0.99, 1)
#define CONFIG_STRUCT OnpolicyConfig
static const ConfigField fields[] = { CONFIG_ROWS(FIELDS) };
#undef CONFIG_STRUCT

typedef struct {
  OnpolicyConfig cfg;
  AlgoSetup setup;
  Onpolicy o;
  NoisyFlow f;
  real seen[ENVS * LD], x[ENVS * (STEPS + 1) * LD], log_prob[ENVS * STEPS];
} Flow;

static void flow_open(Flow *f, const char *settings, const char *act) {
  Error error = { 0 };
  Config config;
  *f = (Flow){ .cfg = { 0 } };
  config_init(&config, fields, sizeof fields / sizeof *fields, &f->cfg);
  f->setup = (AlgoSetup){ .arena = arena_new(), .seed = 2, .config = &f->cfg };
  f->setup.def = algo_find("reinflow", &error);
  f->setup.kernels = kernels_find("own", &error);
  Policy *p = f->o.agent.policy = policy_start(f->setup.arena, &policy_diffusion);
  p->spec.obs_dim = OBS, p->spec.act_dim = ACT, p->spec.hidden = 16;
  if (!policy_set_all(p, settings, &error) || !policy_build(p, &error) ||
      !blocks_allocate(&p->blocks, &error) || !policy_set_act(p, act, "test", &error))
    fail_msg("%s", error.text);
  policy_init(p, 3);
  f->o.setup = &f->setup, f->o.cfg = &f->cfg;
  f->o.envs = ENVS, f->o.seen_ld = row_stride(OBS);
  Rng rng = rng_stream(1, "seen");
  for (int i = 0; i < ENVS; i++)
    for (int j = 0; j < OBS; j++)
      f->seen[i * LD + j] = (real)(3 * rng_normal(rng, 0, (uint32_t)i, (uint32_t)j));
}

static void flow_draw(Flow *f) {
  Error error;
  flow_open(f, "schedule=flow predicts=velocity", "sampler=euler steps=4");
  if (!noisy_flow_open(&f->f, &f->o, least, &error)) fail_msg("%s", error.text);
  assert_int_equal(f->f.steps, STEPS);
  noisy_flow_draw(&f->f, 9, f->seen, log(most / least), f->x, f->log_prob);
}

/* The whole chain on another tape, as training has it. */
typedef struct {
  Graph *g;
  FlowSteps s;
  Tensor *next, *each, *loss;
  real *to;
} Whole;

static Whole whole(Flow *f, Params *trained) {
  const NoisyFlow *n = &f->f;
  Whole w = { .g = algo_graph(&f->setup, trained) };
  w.s = noisy_flow_record(n, w.g, STEPS);
  w.next = onpolicy_input(&f->o, w.g, "next", STEPS, ACT, &w.to);
  w.each = t_sum_last(noisy_flow_log_probs(&w.s, w.next));
  w.loss = t_mean(w.each);
  graph_keep(w.s.mean), graph_keep(w.s.log_std), graph_keep(w.each), graph_keep(w.loss);
  if (trained) graph_minimise(w.loss);
  graph_seal(w.g);
  return w;
}

static void whole_run(Flow *f, Whole *w, int env) {
  const real *x = f->x + env * (STEPS + 1) * LD;
  noisy_flow_put_row(&f->f, &w->s, 0, f->seen + env * LD, log(most / least));
  for (int k = 0; k < STEPS; k++) {
    noisy_flow_put_step(&f->f, &w->s, k, k, x + k * LD);
    memcpy(w->to + k * LD, x + (k + 1) * LD, LD * sizeof(real));
  }
  graph_run(w->g, 1, 0, NULL);
}

/* Density by density they are what the normal distribution says; and they are the bits of those
 * that were drawn with, though a row is a chain here and a step there. */
static void what_is_trained_is_what_was_drawn(void **state) {
  (void)state;
  static Flow f;
  flow_draw(&f);
  Whole w = whole(&f, f.o.agent.policy->actor);
  for (int i = 0; i < ENVS; i++) {
    whole_run(&f, &w, i);
    for (int k = 0; k < STEPS; k++) {
      double sum = 0;
      assert_memory_equal(graph_values(w.each) + k * LD, &f.log_prob[i * STEPS + k], sizeof(real));
      for (int j = 0; j < ACT; j++) {
        double std = exp((double)graph_values(w.s.log_std)[k * LD + j]);
        double to = (double)f.x[(i * (STEPS + 1) + k + 1) * LD + j];
        double z = (to - (double)graph_values(w.s.mean)[k * LD + j]) / std;
        sum -= 0.5 * z * z + log(std) + 0.5 * log(2 * acos(-1));
      }
      assert_true(fabs((double)f.log_prob[i * STEPS + k] - sum) <= (precise ? 1e-12 : 2e-4));
    }
  }
  arena_free(f.setup.arena);
}

static void noise_stays_between_its_bounds(void **state) {
  (void)state;
  static Flow f;
  flow_draw(&f);
  /* a network far out in either direction */
  for (size_t i = 0; i < f.f.noise->layout->size; i++) f.f.noise->values[i] *= (real)30;
  params_touch(f.f.noise);
  Whole w = whole(&f, f.f.noise);
  double low = 1, high = 0;
  for (int i = 0; i < ENVS; i++) {
    whole_run(&f, &w, i);
    for (int k = 0; k < STEPS * ACT; k++) {
      double std = exp((double)graph_values(w.s.log_std)[k / ACT * LD + k % ACT]);
      assert_true(std >= least * (1 - 1e-6) && std <= most * (1 + 1e-6));
      low = fmin(low, std), high = fmax(high, std);
    }
  }
  assert_true(low < 0.12 && high > 0.2);
  arena_free(f.setup.arena);
}

/* Without noise a step is the Euler step of the policy's own sampler. */
static void means_are_the_steps_that_act(void **state) {
  (void)state;
  static Flow f;
  flow_draw(&f);
  Whole w = whole(&f, NULL);
  const Policy *p = f.o.agent.policy;
  GraphSpec spec = { .max_rows = 1, .kernels = f.setup.kernels };
  for (int k = 0; k < STEPS; k++) {
    Graph *g = graph_new(f.setup.arena, &spec);
    Sampler one = *f.f.sampler;
    one.stage += k, one.stages = 1;
    Tensor *x = t_input(g, "x", 1, ACT), *cond = t_input(g, "cond", 1, OBS);
    Tensor *y = sampler_record_from(g, &one, p->model->denoiser, p->actor, "one", x, cond);
    graph_keep(y), graph_seal(g);
    for (int i = 0; i < ENVS; i++) {
      whole_run(&f, &w, i);
      graph_bind(x, f.x + (i * (STEPS + 1) + k) * LD), graph_bind(cond, f.seen + i * LD);
      graph_run(g, 1, 0, NULL);
      for (int j = 0; j < ACT; j++) {
        /* a chain's end lies within the bounds */
        double mean = fmin(fmax((double)graph_values(w.s.mean)[k * LD + j], -1), 1);
        assert_true(fabs(mean - (double)graph_values(y)[j]) <= (precise ? 1e-12 : 1e-6));
      }
    }
  }
  arena_free(f.setup.arena);
}

static void other_policies_are_refused(void **state) {
  (void)state;
  static const char *const other[][2] = {
    { "schedule=vp", "sampler=ddpm" },
    { "schedule=flow predicts=x0", "sampler=euler steps=4" },
    { "schedule=flow predicts=velocity", "sampler=heun steps=4" },
  };
  static Flow f;
  for (int i = 0; i < 3; i++) {
    Error error;
    flow_open(&f, other[i][0], other[i][1]);
    assert_false(noisy_flow_check(&f.o, &error));
    assert_int_equal(error.kind, FAIL_USAGE);
    assert_non_null(strstr(error.text, "sampler=euler"));
    arena_free(f.setup.arena);
  }
  Error error;
  flow_open(&f, "schedule=flow predicts=velocity", "sampler=euler steps=4");
  assert_true(noisy_flow_check(&f.o, &error));
  arena_free(f.setup.arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(what_is_trained_is_what_was_drawn),
    cmocka_unit_test(noise_stays_between_its_bounds),
    cmocka_unit_test(means_are_the_steps_that_act),
    cmocka_unit_test(other_policies_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
