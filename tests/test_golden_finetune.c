/* test_golden_finetune.c -- the losses of ddpo, dpok and diffusion-dpo, and their gradients, beside
 * PyTorch's (scripts/golden/finetune.py says what the file holds). */
#include "rl/algos/diffusion_dpo.h"
#include "rl/algos/dpok.h"
#include "tests/golden.h"
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { ROWS = 48, COND = 11, DIM = 3, STEPS = 5, LD = 16, NUMBERS = 64 };
static const double tolerance = sizeof(real) == 8 ? 1e-7 : 1e-4;

typedef struct {
  Golden golden;
  Policy *p;
  Params *reference;
  Sampler *sampler;
  Graph *g;
  real numbers[ROWS * NUMBERS];
} Case;

static void read_weights(const Golden *golden, const char *block, Params *to) {
  const Layout *layout = to->layout;
  for (int s = 0; s < layout->slots; s++) {
    const Slot *slot = &layout->slot[s];
    char name[64];
    snprintf(name, sizeof name, "%s/%s", block, slot->name);
    const CheckpointTensor *t = golden_tensor(golden, name);
    assert_int_equal(golden_count(t), slot->rows * slot->n);
    for (int i = 0; i < slot->rows * slot->n; i++)
      to->values[slot->offset + (size_t)(i / slot->n * slot->ld + i % slot->n)] =
          (real)golden_at(t, (size_t)i);
  }
  params_touch(to);
}

static void case_open(Case *c) {
  Error error;
  *c = (Case){ .p = NULL };
  golden_open(&c->golden, "tests/golden/finetune.safetensors");
  Policy *p = c->p = policy_start(c->golden.arena, &policy_diffusion);
  p->spec.obs_dim = COND, p->spec.act_dim = DIM, p->spec.hidden = 32;
  if (!policy_build(p, &error) || !blocks_allocate(&p->blocks, &error)) fail_msg("%s", error.text);
  c->reference = params_clone(p->actor, "reference");
  read_weights(&c->golden, "actor", p->actor);
  read_weights(&c->golden, "reference", c->reference);
  const SamplerSpec chain = { .method = "ddim", .steps = STEPS, .eta = 1 };
  c->sampler = model_sampler(c->golden.arena, p->model, &chain, 1, &error);
  assert_non_null(c->sampler);
  int ld = row_stride(transition_size(c->sampler));
  assert_true(ld <= NUMBERS);
  for (int r = 0; r < ROWS; r++) {
    int t = (int)golden_at(golden_tensor(&c->golden, "t"), (size_t)r);
    transition_numbers(c->sampler, STEPS - 1 - t, c->numbers + r * ld);
  }
  const GraphSpec spec = { .trained = p->actor,
                           .max_rows = ROWS,
                           .group = 16,
                           .lane = 8,
                           .kernels = kernels_find("own", &error) };
  c->g = graph_new(c->golden.arena, &spec);
}

/* an input with the numbers of the file */
static Tensor *given(Case *c, const char *name, int n) {
  real *data = arena_array(c->golden.arena, real, ROWS * LD);
  const CheckpointTensor *t = golden_tensor(&c->golden, name);
  for (int i = 0; i < ROWS * n; i++) data[i / n * LD + i % n] = (real)golden_at(t, (size_t)i);
  Tensor *input = t_input(c->g, name, 1, n);
  graph_bind(input, data);
  return input;
}

static void assert_near(double value, double expected, const char *name) {
  if (!(fabs(value - expected) <= tolerance * fmax(1, fabs(expected))))
    fail_msg("%s is %.12g, expected %.12g", name, value, expected);
}

static void assert_column(const Case *c, const Tensor *t, const char *name) {
  for (int r = 0; r < ROWS; r++)
    assert_near((double)graph_values(t)[r * LD],
                golden_at(golden_tensor(&c->golden, name), (size_t)r), name);
}

/* the loss and its gradient, each number of it within the tolerance of the largest */
static void assert_loss(Case *c, Tensor *loss, const char *method) {
  char name[64];
  graph_minimise(loss);
  graph_seal(c->g);
  graph_run(c->g, ROWS, 0, NULL);
  snprintf(name, sizeof name, "%s/loss", method);
  assert_near(graph_scalar(loss), golden_number(&c->golden, name), name);
  const Layout *layout = c->p->actor->layout;
  double off = 0, size = 0;
  for (int s = 0; s < layout->slots; s++) {
    const Slot *slot = &layout->slot[s];
    snprintf(name, sizeof name, "%s/grad/%s", method, slot->name);
    const CheckpointTensor *t = golden_tensor(&c->golden, name);
    for (int i = 0; i < slot->rows * slot->n; i++) {
      size_t at = slot->offset + (size_t)(i / slot->n * slot->ld + i % slot->n);
      off = fmax(off, fabs((double)graph_gradient(c->g)[at] - golden_at(t, (size_t)i)));
      size = fmax(size, fabs(golden_at(t, (size_t)i)));
    }
  }
  if (!(size > 0 && off <= tolerance * size))
    fail_msg("%s: the gradient is off by %.3g of %.3g", method, off, size);
}

typedef struct {
  FinetuneInputs in;
  Transition step, reference;
} Rows;

static Rows chain_rows(Case *c) {
  Rows r = { .in = { .x = given(c, "x", DIM),
                     .next = given(c, "next", DIM),
                     .old = given(c, "old", 1),
                     .advantage = given(c, "advantage", 1),
                     .cond = given(c, "cond", COND) } };
  r.in.numbers = t_input(c->g, "numbers", 1, transition_size(c->sampler));
  graph_bind(r.in.numbers, c->numbers);
  const Denoiser *d = c->p->model->denoiser;
  r.step = transition_record(c->sampler, d, c->p->actor, r.in.x, r.in.numbers, r.in.cond);
  r.reference = transition_record(c->sampler, d, c->reference, r.in.x, r.in.numbers, r.in.cond);
  return r;
}

static void ddpo_is_that_of_pytorch(void **state) {
  (void)state;
  static Case c;
  case_open(&c);
  Rows r = chain_rows(&c);
  Ratio ratio;
  ratio_record(&ratio, &r.in, &r.step);
  graph_keep(ratio.log_prob);
  assert_loss(&c, t_mean(ratio_clipped(&ratio, 0.1)), "ddpo");
  assert_column(&c, ratio.log_prob, "log_prob"), assert_column(&c, ratio.ratio, "ratio");
  golden_close(&c.golden);
}

static void dpok_is_that_of_pytorch(void **state) {
  (void)state;
  static Case c;
  case_open(&c);
  Rows r = chain_rows(&c);
  Ratio ratio;
  Tensor *distance;
  assert_loss(&c, dpok_loss(&ratio, &r.in, &r.step, &r.reference, 0.1, 0.5, &distance), "dpok");
  assert_near(graph_scalar(distance), golden_number(&c.golden, "dpok/kl"), "kl");
  golden_close(&c.golden);
}

static void diffusion_dpo_is_that_of_pytorch(void **state) {
  (void)state;
  static Case c;
  Error error;
  case_open(&c);
  Loss *loss = loss_new(c.golden.arena, &(LossSpec){ 0 }, c.p->model->denoiser, &error);
  const DpoInputs in = { .one = given(&c, "one", DIM),
                         .other = given(&c, "other", DIM),
                         .cond = given(&c, "cond", COND),
                         .sign = given(&c, "sign", 1),
                         .eps = given(&c, "eps", DIM),
                         .time = given(&c, "level", 1) };
  Tensor *margin;
  assert_loss(&c, dpo_loss(c.g, loss, c.p->actor, c.reference, &in, 200, &margin), "dpo");
  assert_column(&c, margin, "dpo/margin");
  golden_close(&c.golden);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(ddpo_is_that_of_pytorch),
    cmocka_unit_test(dpok_is_that_of_pytorch),
    cmocka_unit_test(diffusion_dpo_is_that_of_pytorch),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
