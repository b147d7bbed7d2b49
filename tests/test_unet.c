/* test_unet.c -- the U-Net for pictures against PyTorch, and what its first weights make of it.
 *
 * What the golden tensors are is told in scripts/golden/unet.py. */
#include "policy/nets/denoiser_unet.h"
#include "tests/golden_net.h"

static const struct {
  const char *name;
  UnetSpec spec;
} cases[] = {
  { "plain",
    { .vector = { .embedding = TIME_DDPM, .dim = 8 * 12 * 3, .hidden = 4 },
      .plane = { 8, 12, 3 },
      .levels = 3,
      .mults = { 1, 1, 2 },
      .blocks = 1,
      .groups = 2 } },
  { "label",
    { .vector = { .embedding = TIME_DDPM, .dim = 4 * 4, .hidden = 4, .cond = 3 },
      .plane = { 4, 4, 1 },
      .levels = 2,
      .mults = { 1, 2 },
      .blocks = 2,
      .groups = 2,
      .attention = 1,
      .heads = 2 } },
  { "tokens",
    { .vector = { .embedding = TIME_DDPM, .dim = 4 * 4, .hidden = 4, .cond = 12 },
      .plane = { 4, 4, 1 },
      .levels = 2,
      .mults = { 1, 2 },
      .blocks = 1,
      .groups = 2,
      .attention = 2,
      .heads = 2,
      .tokens = 3 } },
  { "wide", /* sixteen channels: what minimal filtering can do */
    { .vector = { .embedding = TIME_DDPM, .dim = 8 * 8, .hidden = 16 },
      .plane = { 8, 8, 1 },
      .levels = 1,
      .mults = { 1 },
      .blocks = 1,
      .groups = 2 } },
};
enum { CASES = sizeof cases / sizeof *cases, WIDE = CASES - 1 };

static Denoiser *unet(Arena *arena, Params *p, int index) {
  return unet_new(arena, p, &cases[index].spec);
}
static void open_index(Case *c, const Golden *golden, int i, ConvMethod conv, bool first) {
  const char *cond = cases[i].spec.vector.cond ? "cond" : NULL;
  open_case(c, golden, cases[i].name, unet, i, cond, conv, first);
}

static void value_and_gradients_are_pytorchs(void **state) {
  for (int i = 0; i < CASES; i++) {
    Case c;
    open_index(&c, *state, i, CONV_DIRECT, false);
    expect_pytorchs(&c, 1e-5);
    arena_free(c.arena);
  }
}

static void filtered_is_pytorchs(void **state) {
  Case c;
  open_index(&c, *state, WIDE, CONV_FILTERED, false);
  expect_pytorchs(&c, 3e-4);
  arena_free(c.arena);
}

/* The last convolution starts at zero: so does the output, and nothing else has a gradient. */
static void starts_as_zero(void **state) {
  Case c;
  open_index(&c, *state, 1, CONV_DIRECT, true);
  expect_zero_start(&c, "end/");
  arena_free(c.arena);
}

static void impossible_shapes_are_refused(void **state) {
  (void)state;
  Error error;
  UnetSpec spec = cases[1].spec;
  assert_true(unet_fits(&spec, &error));
  spec.plane.width = 5;
  assert_false(unet_fits(&spec, &error));
  assert_non_null(strstr(error.text, "a picture of 4 x 5 cannot be halved 1 times"));
  spec.plane.width = 4, spec.groups = 3;
  assert_false(unet_fits(&spec, &error));
  assert_non_null(strstr(error.text, "4 channels cannot be normalised in 3 groups"));
  spec.groups = 2, spec.heads = 3;
  assert_false(unet_fits(&spec, &error));
  assert_non_null(strstr(error.text, "8 channels cannot be shared by 3 heads"));
  spec.heads = 2, spec.tokens = 2;
  assert_false(unet_fits(&spec, &error));
  assert_non_null(strstr(error.text, "a condition of 3 numbers as 2 tokens"));
  spec.tokens = 0, spec.blocks = UNET_MAX_BLOCKS + 1;
  assert_false(unet_fits(&spec, &error));
}

int main(void) {
  Golden golden;
  golden_open(&golden, "tests/golden/unet.safetensors");
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_prestate(value_and_gradients_are_pytorchs, &golden),
    cmocka_unit_test_prestate(filtered_is_pytorchs, &golden),
    cmocka_unit_test_prestate(starts_as_zero, &golden),
    cmocka_unit_test(impossible_shapes_are_refused),
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  golden_close(&golden);
  return failed;
}
