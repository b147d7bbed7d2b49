/* test_temporal.c -- the temporal U-Net and its value network against PyTorch.
 *
 * What the golden tensors are is told in scripts/golden/temporal.py. */
#include "policy/nets/denoiser_temporal.h"
#include "tests/golden_net.h"

static const TemporalSpec plain = {
  .vector = { .embedding = TIME_DDPM, .dim = 60, .hidden = 8 },
  .horizon = 12,
  .width = 5,
  .levels = 3,
  .mults = { 1, 1, 2 },
  .groups = 4,
};
static const TemporalSpec attentive = {
  .vector = { .embedding = TIME_DDPM, .dim = 24, .hidden = 8, .cond = 2 },
  .horizon = 8,
  .width = 3,
  .levels = 2,
  .mults = { 1, 2 },
  .groups = 4,
  .attention = true,
};

static const TemporalSpec halved = {
  .vector = { .embedding = TIME_DDPM, .dim = 72, .hidden = 8 },
  .horizon = 24, /* 12, 6, 3, 2 */
  .width = 3,
  .levels = 2,
  .mults = { 1, 4 },
  .groups = 4,
};

static Denoiser *temporal(Arena *arena, Params *p, int index) {
  return temporal_new(arena, p, index ? &attentive : &plain);
}

/* an energy as golden_net.h asks networks */
typedef struct {
  Denoiser base;
  const Energy *energy;
} AskedEnergy;
static Tensor *own_time(const Denoiser *d, Graph *g, const Params *p, Tensor *t) {
  (void)d, (void)g, (void)p;
  return t;
}
static Tensor *energy_at(const Denoiser *d, Graph *g, const Params *p, Tensor *x, Tensor *t,
                         Tensor *cond) {
  const Energy *energy = ((const AskedEnergy *)d)->energy;
  return energy->value(energy, g, p, x, t, cond);
}
static Denoiser *value(Arena *arena, Params *p, int index) {
  (void)index;
  AskedEnergy *asked = arena_alloc(arena, sizeof *asked);
  *asked = (AskedEnergy){ { .net = energy_at, .embed = own_time },
                          temporal_value_new(arena, p, &halved) };
  return &asked->base;
}

static void output_and_gradients_are_pytorchs(void **state) {
  for (int i = 0; i < 4; i++) {
    const char *cond = i % 2 ? "cond" : NULL, *name = i % 2 ? "attention" : "plain";
    bool direct = i < 2;
    Case c;
    open_case(&c, *state, name, temporal, i % 2, cond, direct ? CONV_DIRECT : CONV_FILTERED, false);
    expect_pytorchs(&c, direct ? 1e-5 : 3e-4);
    arena_free(c.arena);
  }
}

static void values_are_pytorchs(void **state) {
  for (int direct = 0; direct < 2; direct++) {
    Case c;
    open_case(&c, *state, "value", value, 0, NULL, direct ? CONV_DIRECT : CONV_FILTERED, false);
    expect_pytorchs(&c, direct ? 1e-5 : 3e-4);
    arena_free(c.arena);
  }
}

/* as PyTorch's group norm starts */
static void gains_start_at_one(void **state) {
  Case c;
  open_case(&c, *state, "plain", temporal, 0, NULL, CONV_DIRECT, true);
  int gains = 0;
  for (int s = 0; s < c.params->layout->slots; s++) {
    const Slot *slot = &c.params->layout->slot[s];
    if (!strstr(slot->name, "/gain")) continue;
    gains++;
    for (int j = 0; j < slot->n; j++) assert_true(params_at(c.params, s)[j] == 1);
  }
  assert_int_equal(gains, 2 * (3 * 2 + 2 + 2 * 2) + 1);
  arena_free(c.arena);
}

static void impossible_shapes_are_refused(void **state) {
  (void)state;
  Error error;
  TemporalSpec spec = plain;
  assert_true(temporal_fits(&spec, &error));
  spec.horizon = 14;
  assert_false(temporal_fits(&spec, &error));
  assert_non_null(strstr(error.text, "a horizon of 14 cannot be halved 2 times"));
  spec.horizon = 12, spec.groups = 3;
  assert_false(temporal_fits(&spec, &error));
  assert_non_null(strstr(error.text, "8 channels cannot be normalised in 3 groups"));
  spec.levels = 7;
  assert_false(temporal_fits(&spec, &error));
  spec = halved;
  assert_true(temporal_value_fits(&spec, &error));
  spec.horizon = 14;
  assert_true(temporal_fits(&spec, &error));
  assert_false(temporal_value_fits(&spec, &error));
  assert_non_null(strstr(error.text, "a horizon of 14 cannot be halved 2 times"));
  spec.horizon = 12, spec.groups = 8, spec.mults[1] = 2;
  assert_true(temporal_fits(&spec, &error));
  assert_false(temporal_value_fits(&spec, &error));
  assert_non_null(strstr(error.text, "4 channels cannot be normalised in 8 groups"));
}

int main(void) {
  Golden golden;
  golden_open(&golden, "tests/golden/temporal.safetensors");
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_prestate(output_and_gradients_are_pytorchs, &golden),
    cmocka_unit_test_prestate(values_are_pytorchs, &golden),
    cmocka_unit_test_prestate(gains_start_at_one, &golden),
    cmocka_unit_test(impossible_shapes_are_refused),
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  golden_close(&golden);
  return failed;
}
