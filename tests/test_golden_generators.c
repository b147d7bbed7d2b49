/* test_golden_generators.c -- losses that fine-tune generators beside PyTorch's: values, ratios and
 * gradients (scripts/golden/generators.py says what the file holds). */
#include "rl/algos/awm.h"
#include "rl/algos/flow_grpo.h"
#include "rl/algos/nft.h"
#include "tests/golden.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { ROWS = 48, OBS = 11, ACT = 3, STEPS = 10, LD = 16, NUMBERS = 64 };
/* inputs and gradients of the file are float32 */
static const double tolerance = sizeof(real) == 8 ? 1e-6 : 1e-4;

typedef struct {
  Golden golden;
  const char *name; /* of the loss */
  Policy *p;
  Params *old, *reference;
  Sampler *sampler;
  Graph *g;
  Ratio ratio;
  Tensor *loss, *kept;
  real numbers[ROWS * NUMBERS], old_log_prob[ROWS * LD];
} Case;

static const CheckpointTensor *tensor(const Case *c, const char *prefix, const char *key) {
  char name[96];
  snprintf(name, sizeof name, "%s%s", prefix, key);
  return golden_tensor(&c->golden, name);
}

static void read_weights(Case *c) {
  Params *actor = c->p->actor;
  for (int s = 0; s < actor->layout->slots; s++) {
    const Slot *slot = &actor->layout->slot[s];
    const CheckpointTensor *t = tensor(c, "actor/", slot->name);
    assert_int_equal(golden_count(t), slot->rows * slot->n);
    for (int i = 0; i < slot->rows * slot->n; i++)
      params_at(actor, s)[i / slot->n * slot->ld + i % slot->n] = (real)golden_at(t, (size_t)i);
  }
  params_touch(actor);
}

static Params *scaled(const Params *from, const char *block, double factor) {
  Params *p = params_clone(from, block);
  for (size_t i = 0; i < p->layout->size; i++) p->values[i] *= (real)factor;
  params_touch(p);
  return p;
}

static Tensor *given(Case *c, const char *name, int n) {
  Tensor *t = t_input(c->g, name, 1, n);
  const CheckpointTensor *from = tensor(c, "", name);
  real *data = arena_array(c->golden.arena, real, ROWS * LD);
  for (int i = 0; i < ROWS * n; i++) data[i / n * LD + i % n] = (real)golden_at(from, (size_t)i);
  graph_bind(t, data);
  return t;
}

static Tensor *bound(Case *c, const char *name, int n, const real *data) {
  Tensor *t = t_input(c->g, name, 1, n);
  graph_bind(t, data);
  return t;
}

/* the network, the chain's stages and the stage of each row */
static void case_open(Case *c, const char *name) {
  Error error;
  *c = (Case){ .name = name };
  golden_open(&c->golden, "tests/golden/generators.safetensors");
  Policy *p = c->p = policy_start(c->golden.arena, &policy_diffusion);
  p->spec.obs_dim = OBS, p->spec.act_dim = ACT, p->spec.hidden = 32;
  if (!policy_set_all(p, "schedule=flow predicts=velocity", &error) || !policy_build(p, &error) ||
      !blocks_allocate(&p->blocks, &error))
    fail_msg("%s", error.text);
  read_weights(c);
  c->old = scaled(p->actor, "old", 0.9), c->reference = scaled(p->actor, "reference", 0.8);
  double times[STEPS];
  for (int i = 0; i < STEPS; i++) times[i] = 1 - (double)i / STEPS;
  const SamplerSpec chain = {
    .method = "flow_sde", .steps = STEPS, .eta = 0.7, .times = times, .end = END_LAST, .final = 0.05
  };
  c->sampler = sampler_new(c->golden.arena, &chain, p->model->denoiser, &error);
  if (!c->sampler) fail_msg("%s", error.text);
  int ld = row_stride(transition_size(c->sampler));
  assert_true(ld <= NUMBERS);
  for (int r = 0; r < ROWS; r++) {
    int i = (int)golden_at(tensor(c, "", "index"), (size_t)r);
    transition_numbers(c->sampler, i, c->numbers + r * ld);
    /* the file has means over dimensions */
    c->old_log_prob[r * LD] = (real)(ACT * golden_at(tensor(c, "", "old"), (size_t)r));
  }
  const GraphSpec spec = { .trained = p->actor,
                           .max_rows = ROWS,
                           .group = 16,
                           .lane = 8,
                           .kernels = kernels_find("own", &error) };
  c->g = graph_new(c->golden.arena, &spec);
}

/* ---- comparing ------------------------------------------------------------------------------- */

static void assert_near(double value, double expected, const char *name) {
  if (!(fabs(value - expected) <= tolerance * fmax(1, fabs(expected))))
    fail_msg("%s is %.12g, expected %.12g", name, value, expected);
}

static void assert_column(const Case *c, const Tensor *t, const char *prefix, const char *key) {
  const CheckpointTensor *from = tensor(c, prefix, key);
  for (int r = 0; r < ROWS; r++)
    for (int j = 0; j < t->n; j++)
      assert_near((double)graph_values(t)[r * t->ld + j], golden_at(from, (size_t)(r * t->n + j)),
                  key);
}

/* gradients relative to the largest of all */
static void expect_pytorchs(Case *c) {
  char prefix[32];
  graph_minimise(c->loss);
  graph_seal(c->g);
  graph_run(c->g, ROWS, 0, NULL);
  snprintf(prefix, sizeof prefix, "%s/", c->name);
  if (c->ratio.ratio) assert_column(c, c->ratio.ratio, prefix, "ratio");
  if (c->kept) assert_column(c, c->kept, prefix, "kept");
  assert_near(graph_scalar(c->loss), golden_at(tensor(c, prefix, "loss"), 0), c->name);
  const Layout *layout = c->p->actor->layout;
  double off = 0, size = 0;
  snprintf(prefix, sizeof prefix, "%s/grad/actor/", c->name);
  for (int s = 0; s < layout->slots; s++) {
    const Slot *slot = &layout->slot[s];
    const CheckpointTensor *t = tensor(c, prefix, slot->name);
    for (int i = 0; i < slot->rows * slot->n; i++) {
      size_t at = slot->offset + (size_t)(i / slot->n * slot->ld + i % slot->n);
      off = fmax(off, fabs((double)graph_gradient(c->g)[at] - golden_at(t, (size_t)i)));
      size = fmax(size, fabs(golden_at(t, (size_t)i)));
    }
  }
  if (!(size > 0 && off <= tolerance * size))
    fail_msg("%s: gradient off by %.3g of %.3g", c->name, off, size);
  golden_close(&c->golden);
}

/* ---- losses of steps of a chain -------------------------------------------------------------- */

static void flow_grpo_case(const char *name, const FlowGrpoSpec *spec) {
  static Case c;
  case_open(&c, name);
  FinetuneInputs in = { .x = given(&c, "x", ACT),
                        .next = given(&c, "next", ACT),
                        .numbers = bound(&c, "numbers", transition_size(c.sampler), c.numbers),
                        .old = bound(&c, "old", 1, c.old_log_prob),
                        .cond = given(&c, "obs", OBS),
                        .advantage = given(&c, "advantage", 1) };
  const Params *weights[3] = { c.p->actor, c.old, c.reference };
  Transition step[3];
  for (int i = 0; i < 3; i++)
    step[i] =
        transition_record(c.sampler, c.p->model->denoiser, weights[i], in.x, in.numbers, in.cond);
  graph_keep(step[0].mean);
  c.loss = flow_grpo_loss(&c.ratio, spec, &in, &(FlowGrpoSteps){ &step[0], &step[1], &step[2] },
                          &c.kept);
  expect_pytorchs(&c);
}

static void flow_grpo_is_pytorchs(void **state) {
  (void)state;
  flow_grpo_case("grpo", &(FlowGrpoSpec){ .clip = 0.02, .beta = 0.04 });
}
static void the_regulated_ratio_is_pytorchs(void **state) {
  (void)state;
  flow_grpo_case("guard", &(FlowGrpoSpec){ .clip = 0.003, .guard = true });
}
static void the_mask_is_pytorchs(void **state) {
  (void)state;
  flow_grpo_case("mask", &(FlowGrpoSpec){ .mask = 2e-4 });
}

/* ---- losses of samples with noise ------------------------------------------------------------ */

/* what the three weights say to the rows of the file */
static Tensor *ask(Case *c, const char *weighting, LossTerms terms[3]) {
  Error error;
  const Denoiser *d = c->p->model->denoiser;
  const Loss *loss = loss_new(c->golden.arena, &(LossSpec){ .weighting = weighting }, d, &error);
  if (!loss) fail_msg("%s", error.text);
  LossInputs in = { .x0 = given(c, "x0", ACT),
                    .eps = given(c, "eps", ACT),
                    .time = given(c, "time", 1),
                    .cond = given(c, "obs", OBS) };
  const Params *weights[3] = { c->p->actor, c->old, c->reference };
  for (int i = 0; i < 3; i++) terms[i] = matching_ask(c->g, loss, weights[i], "test", &in);
  return given(c, "advantage", 1);
}

static void nft_is_pytorchs(void **state) {
  (void)state;
  static Case c;
  LossTerms terms[3];
  case_open(&c, "nft");
  Tensor *advantage = ask(&c, "x0", terms);
  const NftSpec spec = { .mix = 0.6, .spread = 5, .beta = 0.1, .adaptive = true };
  c.loss = nft_loss(&spec, &(NftTerms){ &terms[0], &terms[1], &terms[2] }, advantage);
  expect_pytorchs(&c);
}

static void awm_is_pytorchs(void **state) {
  (void)state;
  static Case c;
  LossTerms terms[3];
  case_open(&c, "awm");
  Tensor *advantage = ask(&c, "native", terms);
  c.loss = awm_loss(&c.ratio, &(AwmTerms){ &terms[0], &terms[1], &terms[2] }, advantage, 0.05, 0.3);
  expect_pytorchs(&c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(flow_grpo_is_pytorchs), cmocka_unit_test(the_regulated_ratio_is_pytorchs),
    cmocka_unit_test(the_mask_is_pytorchs),  cmocka_unit_test(nft_is_pytorchs),
    cmocka_unit_test(awm_is_pytorchs),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
