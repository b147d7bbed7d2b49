/* test_dppo.c -- the loss of dppo beside PyTorch's (scripts/golden/dppo.py says what the file
 * holds), and what it is before the first update. */
#include "rl/algos/dppo.h"
#include "tests/golden.h"
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { ROWS = 48, OBS = 11, ACT = 3, STEPS = 5, TUNED = 4, LD = 16, NUMBERS = 64 };
static const double tolerance = sizeof(real) == 8 ? 1e-7 : 1e-4;

typedef struct {
  Golden golden;
  Policy *p;
  Sampler *sampler;
  Graph *g;
  Tensor *log_prob, *loss;
  Ratio ratio;
  real x[ROWS * LD], next[ROWS * LD], obs[ROWS * LD], numbers[ROWS * NUMBERS];
  real old[ROWS * LD], advantage[ROWS * LD], clip[ROWS * LD];
} Loss;

static void read_rows(const Golden *golden, const char *name, int n, real *to) {
  const CheckpointTensor *t = golden_tensor(golden, name);
  for (int i = 0; i < ROWS * n; i++) to[i / n * LD + i % n] = (real)golden_at(t, (size_t)i);
}

static void read_weights(const Golden *golden, Params *actor) {
  const Layout *layout = actor->layout;
  for (int s = 0; s < layout->slots; s++) {
    const Slot *slot = &layout->slot[s];
    char name[64];
    snprintf(name, sizeof name, "actor/%s", slot->name);
    const CheckpointTensor *t = golden_tensor(golden, name);
    assert_int_equal(golden_count(t), slot->rows * slot->n);
    for (int i = 0; i < slot->rows * slot->n; i++)
      actor->values[slot->offset + (size_t)(i / slot->n * slot->ld + i % slot->n)] =
          (real)golden_at(t, (size_t)i);
  }
  params_touch(actor);
}

/* the stage of a row, the deviations of the file */
static void read_stages(Loss *l) {
  int ld = row_stride(transition_size(l->sampler)), first = STEPS - TUNED;
  assert_true(ld <= NUMBERS);
  for (int r = 0; r < ROWS; r++) {
    int i = (int)golden_at(golden_tensor(&l->golden, "index"), (size_t)r);
    real *row = l->numbers + r * ld;
    transition_numbers(l->sampler, first + i, row);
    transition_raise(l->sampler, first + i, 0.1, 0.2, row);
    l->clip[r * LD] = (real)dppo_clip(0.001, 0.01, 3, i, TUNED);
    double a = golden_at(golden_tensor(&l->golden, "advantage"), (size_t)r);
    l->advantage[r * LD] = (real)(a * pow(0.99, TUNED - 1 - i));
  }
}

static Tensor *given(Loss *l, const char *name, int n, const real *data) {
  Tensor *t = t_input(l->g, name, 1, n);
  graph_bind(t, data);
  return t;
}

/* plain: the policy gradient's loss, -mean A ln p, instead */
static void record_tape(Loss *l, bool plain) {
  Error error;
  const GraphSpec spec = { .trained = l->p->actor,
                           .max_rows = ROWS,
                           .group = 16,
                           .lane = 8,
                           .kernels = kernels_find("own", &error) };
  l->g = graph_new(l->golden.arena, &spec);
  Tensor *numbers = given(l, "numbers", transition_size(l->sampler), l->numbers);
  Transition step =
      transition_record(l->sampler, l->p->model->denoiser, l->p->actor, given(l, "x", ACT, l->x),
                        numbers, given(l, "obs", OBS, l->obs));
  const DppoInputs in = { given(l, "next", ACT, l->next), given(l, "old", 1, l->old),
                          given(l, "advantage", 1, l->advantage), given(l, "clip", 1, l->clip) };
  l->loss = dppo_loss(&l->ratio, &step, &in);
  if (plain) l->loss = t_scale(-1, t_mean(t_mul(in.advantage, l->ratio.log_prob)));
  graph_keep(l->ratio.log_prob);
  graph_minimise(l->loss);
  graph_seal(l->g);
  graph_run(l->g, ROWS, 0, NULL);
}

static void loss_open(Loss *l) {
  Error error;
  *l = (Loss){ .p = NULL };
  golden_open(&l->golden, "tests/golden/dppo.safetensors");
  Policy *p = l->p = policy_start(l->golden.arena, &policy_diffusion);
  p->spec.obs_dim = OBS, p->spec.act_dim = ACT, p->spec.hidden = 32;
  if (!policy_build(p, &error) || !blocks_allocate(&p->blocks, &error)) fail_msg("%s", error.text);
  read_weights(&l->golden, p->actor);
  const SamplerSpec chain = { .method = "ddpm" };
  l->sampler = model_sampler(l->golden.arena, p->model, &chain, 1, &error);
  read_rows(&l->golden, "x", ACT, l->x), read_rows(&l->golden, "next", ACT, l->next);
  read_rows(&l->golden, "obs", OBS, l->obs), read_rows(&l->golden, "old", 1, l->old);
  read_stages(l);
}

static void assert_near(double value, double expected, const char *name) {
  if (!(fabs(value - expected) <= tolerance * fmax(1, fabs(expected))))
    fail_msg("%s is %.12g, expected %.12g", name, value, expected);
}

static void assert_column(const Loss *l, const real *values, const char *name) {
  for (int r = 0; r < ROWS; r++)
    assert_near((double)values[r * LD], golden_at(golden_tensor(&l->golden, name), (size_t)r),
                name);
}

static void loss_and_gradient_are_those_of_pytorch(void **state) {
  (void)state;
  static Loss l;
  loss_open(&l);
  record_tape(&l, false);
  assert_column(&l, l.clip, "clip"), assert_column(&l, l.advantage, "discounted");
  assert_column(&l, graph_values(l.ratio.log_prob), "log_prob");
  assert_column(&l, graph_values(l.ratio.ratio), "ratio");
  assert_near(graph_scalar(l.loss), golden_number(&l.golden, "loss"), "loss");
  const Layout *layout = l.p->actor->layout;
  double off = 0, size = 0;
  for (int s = 0; s < layout->slots; s++) {
    const Slot *slot = &layout->slot[s];
    char name[64];
    snprintf(name, sizeof name, "grad/actor/%s", slot->name);
    const CheckpointTensor *t = golden_tensor(&l.golden, name);
    for (int i = 0; i < slot->rows * slot->n; i++) {
      size_t at = slot->offset + (size_t)(i / slot->n * slot->ld + i % slot->n);
      double expected = golden_at(t, (size_t)i);
      off = fmax(off, fabs((double)graph_gradient(l.g)[at] - expected));
      size = fmax(size, fabs(expected));
    }
  }
  if (!(size > 0 && off <= tolerance * size)) fail_msg("gradient: off by %.3g of %.3g", off, size);
  golden_close(&l.golden);
}

/* Where old and new weights are the same, every ratio is 1 and nothing is clipped: the gradient is
 * that of -mean A ln p. */
static void before_the_first_update_it_is_the_policy_gradient(void **state) {
  (void)state;
  static Loss l;
  loss_open(&l);
  record_tape(&l, true);
  memcpy(l.old, graph_values(l.ratio.log_prob), sizeof l.old);
  const Layout *layout = l.p->actor->layout;
  real *expected = arena_array(l.golden.arena, real, layout->size);
  memcpy(expected, graph_gradient(l.g), layout->size * sizeof *expected);
  record_tape(&l, false);
  ratio_check(&l.ratio, ROWS, true);
  double off = 0, size = 0, mean = 0;
  for (size_t i = 0; i < layout->size; i++) {
    off = fmax(off, fabs((double)graph_gradient(l.g)[i] - (double)expected[i]));
    size = fmax(size, fabs((double)expected[i]));
  }
  assert_true(size > 0 && off <= (sizeof(real) == 8 ? 1e-13 : 1e-5) * size);
  /* and its value is that of the advantages */
  for (int r = 0; r < ROWS; r++) mean -= (double)l.advantage[r * LD] / ROWS;
  assert_near(graph_scalar(l.loss), mean, "loss");
  Log log;
  log_clear(&log);
  assert_true(ratio_log(&l.ratio, ROWS, 0, &log) == 0);
  assert_true(log_mean(&log, "clipped/positive") == 0 && log_mean(&log, "clipped/negative") == 0);
  golden_close(&l.golden);
}

/* From base to clip, each between its neighbours; one step alone has the last one's. */
static void clip_ranges_grow_from_step_to_step(void **state) {
  (void)state;
  assert_true(dppo_clip(0.001, 0.01, 3, 0, 10) == 0.001);
  assert_true(fabs(dppo_clip(0.001, 0.01, 3, 9, 10) - 0.01) < 1e-17);
  for (int i = 1; i < 10; i++)
    assert_true(dppo_clip(0.001, 0.01, 3, i, 10) > dppo_clip(0.001, 0.01, 3, i - 1, 10));
  assert_true(dppo_clip(0.001, 0.01, 3, 0, 1) == 0.01);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(loss_and_gradient_are_those_of_pytorch),
    cmocka_unit_test(before_the_first_update_it_is_the_policy_gradient),
    cmocka_unit_test(clip_ranges_grow_from_step_to_step),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
