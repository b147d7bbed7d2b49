/* test_optim.c -- Adam against its formula and PyTorch's numbers; rates, averages and resuming.
 * Promises B1 and B9 of docs/design.md. */
#include "core/tape/optim.h"
#include "tests/golden.h"
#include "tests/pool.h"
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { N = 20000 }; /* several chunks of a pass */

static const Kernels *own(void) {
  Error error;
  return kernels_find("own", &error);
}

static Params *one_slot(Arena *arena, const char *name) {
  Params *p = params_new(arena, name);
  params_slot(p, "w", 1, 1, N, 1);
  params_allocate(p);
  params_init(p, 1);
  return p;
}

static real *gradient(Arena *arena, uint64_t step) {
  real *g = arena_array(arena, real, row_stride(N));
  Rng rng = rng_stream(1, "gradient");
  for (int i = 0; i < N; i++) g[i] = (real)(float)rng_normal(rng, step, (uint32_t)i, 0);
  return g;
}

/* Kingma & Ba 2015, algorithm 1, in double; decoupled decay as in Loshchilov & Hutter 2019 */
static double adam(const OptimSpec *s, const double *g, int steps, double w) {
  double m = 0, v = 0;
  for (int t = 1; t <= steps; t++) {
    m = s->beta1 * m + (1 - s->beta1) * g[t - 1];
    v = s->beta2 * v + (1 - s->beta2) * g[t - 1] * g[t - 1];
    double m_hat = m / (1 - pow(s->beta1, t)), v_hat = v / (1 - pow(s->beta2, t));
    w -= s->rate * s->weight_decay * w;
    w -= s->rate * m_hat / (sqrt(v_hat) + s->eps);
  }
  return w;
}

static void adam_follows_its_formula(void **state) {
  (void)state;
  enum { STEPS = 30 };
  for (int decay = 0; decay < 2; decay++) {
    Arena *arena = arena_new();
    Params *p = one_slot(arena, "net"), *start = params_clone(p, "start");
    OptimSpec spec = optim_adam(1e-2);
    assert_true(spec.beta1 == 0.9 && spec.beta2 == 0.999 && spec.eps == 1e-8);
    spec.weight_decay = decay ? 0.1 : 0;
    Optim *optim = optim_new(arena, p, &spec);
    real *g[STEPS];
    for (int t = 0; t < STEPS; t++) {
      g[t] = gradient(arena, (uint64_t)t);
      assert_true(optim_step(optim, g[t], own(), NULL));
    }
    assert_int_equal(optim->step, STEPS);
    double eps = sizeof(real) == 8 ? 1e-13 : 1e-5;
    for (int i = 0; i < N; i += 7) {
      double column[STEPS], w0 = (double)start->values[i];
      for (int t = 0; t < STEPS; t++) column[t] = (double)g[t][i];
      assert_true(fabs((double)p->values[i] - adam(&spec, column, STEPS, w0)) < eps);
    }
    for (int i = N; i < row_stride(N); i++) assert_true(p->values[i] == 0);
    arena_free(arena);
  }
}

static void clipping_scales_by_the_global_norm(void **state) {
  (void)state;
  for (int over = 0; over < 2; over++) {
    Arena *arena = arena_new();
    real *g = gradient(arena, 0);
    double norm = 0;
    for (int i = 0; i < N; i++) norm += (double)g[i] * (double)g[i];
    norm = sqrt(norm);
    OptimSpec spec = optim_adam(1e-2);
    spec.clip = over ? norm / 3 : norm * 3;
    Optim *optim = optim_new(arena, one_slot(arena, "net"), &spec);
    optim_step(optim, g, own(), NULL);
    assert_true(fabs(optim->grad_norm - norm) < 1e-10 * norm);
    double scale = over ? spec.clip / (norm + 1e-6) : 1;
    for (int i = 0; i < N; i++)
      assert_true(fabs((double)optim->m->values[i] - 0.1 * scale * (double)g[i]) < 1e-6);
    arena_free(arena);
  }
}

static void a_gradient_that_is_not_finite_changes_nothing(void **state) {
  (void)state;
  static const double bad[] = { NAN, INFINITY };
  for (int i = 0; i < 2; i++) {
    Arena *arena = arena_new();
    Params *p = one_slot(arena, "net"), *start = params_clone(p, "start");
    OptimSpec spec = optim_adam(1e-2);
    Optim *optim = optim_new(arena, p, &spec);
    real *g = gradient(arena, 0);
    g[N - 1] = (real)bad[i];
    uint64_t version = p->version;
    assert_false(optim_step(optim, g, own(), NULL));
    assert_memory_equal(p->values, start->values, p->layout->size * sizeof(real));
    for (size_t j = 0; j < p->layout->size; j++) assert_true(optim->m->values[j] == 0);
    assert_true(optim->step == 0 && p->version == version);
    arena_free(arena);
  }
}

static void any_number_of_threads_gives_the_same_weights(void **state) {
  (void)state;
  Arena *arena = arena_new();
  Params *first = NULL;
  for (int threads = 1; threads <= 4; threads++) {
    Pool *pool = pool_of(threads);
    Params *p = one_slot(arena, "net");
    OptimSpec spec = optim_adam(1e-2);
    spec.clip = 1;
    Optim *optim = optim_new(arena, p, &spec);
    for (uint64_t t = 0; t < 5; t++) optim_step(optim, gradient(arena, t), own(), pool);
    if (!first) first = p;
    assert_memory_equal(p->values, first->values, p->layout->size * sizeof(real));
    pool_free(pool);
  }
  arena_free(arena);
}

static void a_cosine_rate_falls_to_zero(void **state) {
  (void)state;
  OptimSpec spec = optim_adam(2);
  assert_true(optim_rate(&spec, 1000000) == 2);
  spec.schedule = RATE_COSINE, spec.period = 100;
  assert_true(optim_rate(&spec, 0) == 2);
  assert_true(fabs(optim_rate(&spec, 50) - 1) < 1e-15);
  assert_true(fabs(optim_rate(&spec, 25) - (1 + sqrt(0.5))) < 1e-15);
  assert_true(fabs(optim_rate(&spec, 100)) < 1e-15);
  assert_true(fabs(optim_rate(&spec, 100000)) < 1e-15);
}

/* Diffusion-QL's rule: nothing before `start`, then after every update that `period` divides. */
static void an_average_waits_and_then_moves(void **state) {
  (void)state;
  Arena *arena = arena_new();
  Params *online = one_slot(arena, "net"), *average = params_clone(online, "average");
  real *gradient = arena_array(arena, real, online->layout->size);
  OptimSpec spec = optim_adam(1e-2);
  Optim *optim = optim_new(arena, online, &spec);
  optim->ema = (Ema){ average, 0.75, 10, 5 };
  double expected[N];
  for (int i = 0; i < N; i++) expected[i] = (double)average->values[i], gradient[i] = (real)sin(i);
  for (int step = 0; step < 40; step++) {
    assert_true(optim_step(optim, gradient, kernels_find("own", NULL), NULL));
    for (int i = 0; i < N; i += 999) {
      if (step >= 10 && step % 5 == 0)
        expected[i] += 0.25 * ((double)online->values[i] - expected[i]);
      assert_true(fabs((double)average->values[i] - expected[i]) < 1e-6);
    }
  }
  assert_true(fabs((double)online->values[999] - (double)average->values[999]) > 1e-3);
  arena_free(arena);
}

static void an_average_begins_when_it_is_said_to(void **state) {
  (void)state;
  for (int start = 0; start < 7; start++)
    for (int period = 1; period < 5; period++) {
      Arena *arena = arena_new();
      Params *online = one_slot(arena, "net"), *average = params_clone(online, "average");
      real *gradient = arena_array(arena, real, online->layout->size), before = average->values[0];
      OptimSpec spec = optim_adam(1e-2);
      Optim *optim = optim_new(arena, online, &spec);
      for (int i = 0; i < N; i++) gradient[i] = 1;
      assert_int_equal(optim_average_from(optim), 0);
      optim->ema = (Ema){ average, 0.75, start, period };
      for (int step = 0; step < 12; step++) {
        assert_true((average->values[0] != before) == (optim->step >= optim_average_from(optim)));
        assert_true(optim_step(optim, gradient, kernels_find("own", NULL), NULL));
      }
      arena_free(arena);
    }
}

static void resumed_moments_continue_with_the_same_bits(void **state) {
  (void)state;
  Arena *arena = arena_new();
  Params *whole = one_slot(arena, "net"), *half = one_slot(arena, "net");
  OptimSpec spec = optim_adam(1e-2);
  spec.schedule = RATE_COSINE, spec.period = 20, spec.clip = 1;
  Optim *a = optim_new(arena, whole, &spec), *b = optim_new(arena, half, &spec);
  for (uint64_t t = 0; t < 5; t++) optim_step(a, gradient(arena, t), own(), NULL);
  for (uint64_t t = 0; t < 3; t++) optim_step(b, gradient(arena, t), own(), NULL);
  Checkpoint file;
  checkpoint_init(&file, arena);
  params_save(half, &file), optim_save(b, &file);
  Params *resumed = one_slot(arena, "net");
  Optim *c = optim_new(arena, resumed, &spec);
  Error error;
  assert_true(params_load(resumed, &file, &error) && optim_load(c, &file, &error));
  for (uint64_t t = 3; t < 5; t++) optim_step(c, gradient(arena, t), own(), NULL);
  assert_int_equal(c->step, a->step);
  assert_memory_equal(resumed->values, whole->values, whole->layout->size * sizeof(real));
  checkpoint_init(&file, arena);
  assert_false(optim_load(c, &file, &error));
  assert_int_equal(error.kind, FAIL_INPUT);
  arena_free(arena);
}

/* ---- PyTorch's numbers ----------------------------------------------------------------------- */

static const char *const critic_slots[] = {
  "0/w", "0/b", "1/w", "1/b", "2/w", "2/b", "3/w", "3/b"
};
enum { CRITIC_SLOTS = 8 };

static const CheckpointTensor *slot_tensor(const Golden *golden, const char *block, int s) {
  char name[96];
  snprintf(name, sizeof name, "%s/%s", block, critic_slots[s]);
  return golden_tensor(golden, name);
}

/* one golden number after the other, beside its place in a block of values */
static double largest_difference(const Params *p, const Golden *golden, const char *block,
                                 real *write) {
  double most = 0;
  for (int s = 0; s < CRITIC_SLOTS; s++) {
    const CheckpointTensor *t = slot_tensor(golden, block, s);
    const Slot *slot = &p->layout->slot[s];
    for (int r = 0, i = 0; r < slot->e * slot->rows; r++)
      for (int j = 0; j < slot->n; j++, i++) {
        size_t at = slot->offset + (size_t)(r * slot->ld + j);
        double value = golden_at(t, (size_t)i);
        if (write)
          write[at] = (real)value;
        else
          most = fmax(most, fabs((double)p->values[at] - value));
      }
  }
  return most;
}

static Params *golden_critic(Arena *arena, const Golden *golden, const char *block) {
  Params *p = params_new(arena, block);
  for (int s = 0; s < CRITIC_SLOTS; s++) {
    const CheckpointTensor *t = slot_tensor(golden, block, s);
    int rows = t->rank == 3 ? (int)t->shape[1] : 1;
    params_slot(p, critic_slots[s], (int)t->shape[0], rows, (int)t->shape[t->rank - 1], 1);
  }
  params_allocate(p);
  largest_difference(p, golden, block, p->values);
  return p;
}

/* One step from PyTorch's gradient, once with a clip that binds; then Polyak's average. */
static void one_step_is_pytorchs(void **state) {
  (void)state;
  Golden golden;
  golden_open(&golden, "tests/golden/diffusion_ql.safetensors");
  static const char *const step[] = { "step_clip9", "step_clip0.05" };
  double eps = sizeof(real) == 8 ? 1e-14 : 1e-7;
  for (int i = 0; i < 2; i++) {
    Params *p = golden_critic(golden.arena, &golden, "critic");
    real *g = arena_array(golden.arena, real, p->layout->size);
    largest_difference(p, &golden, "grad/critic", g);
    OptimSpec spec = optim_adam(3e-4);
    spec.clip = i ? 0.05 : 9;
    Optim *optim = optim_new(golden.arena, p, &spec);
    assert_true(optim_step(optim, g, own(), NULL));
    char name[64];
    snprintf(name, sizeof name, "%s/critic", step[i]);
    assert_true(largest_difference(p, &golden, name, NULL) < eps);
    snprintf(name, sizeof name, "%s/critic_grad_norm", step[i]);
    assert_true(fabs(optim->grad_norm - golden_number(&golden, name)) < 10 * eps);
    double moment = 0;
    for (size_t j = 0; j < p->layout->size; j++)
      moment += (double)optim->m->values[j] * (double)optim->m->values[j];
    snprintf(name, sizeof name, "%s/critic_moment_norm", step[i]);
    assert_true(fabs(sqrt(moment) - golden_number(&golden, name)) < 10 * eps);
    if (i) continue;
    Params *target = golden_critic(golden.arena, &golden, "critic_target");
    params_lerp(target, p, 0.005);
    assert_true(largest_difference(target, &golden, "step_clip9/critic_target", NULL) < eps);
  }
  golden_close(&golden);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(adam_follows_its_formula),
    cmocka_unit_test(clipping_scales_by_the_global_norm),
    cmocka_unit_test(a_gradient_that_is_not_finite_changes_nothing),
    cmocka_unit_test(any_number_of_threads_gives_the_same_weights),
    cmocka_unit_test(a_cosine_rate_falls_to_zero),
    cmocka_unit_test(an_average_waits_and_then_moves),
    cmocka_unit_test(an_average_begins_when_it_is_said_to),
    cmocka_unit_test(resumed_moments_continue_with_the_same_bits),
    cmocka_unit_test(one_step_is_pytorchs),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
