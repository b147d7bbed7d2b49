/* test_transformer.c -- the diffusion transformer against PyTorch, and what its first weights make
 * of it.
 *
 * What the golden tensors are is told in scripts/golden/transformer.py. */
#include "policy/nets/denoiser_transformer.h"
#include "tests/golden_net.h"

static const struct {
  const char *name;
  TransformerSpec spec;
} cases[] = {
  { "image",
    { .vector = { .embedding = TIME_OPENAI, .dim = 72, .cond = 3, .hidden = 16, .blocks = 2 },
      .plane = { 6, 4, 3 },
      .patch = 2,
      .heads = 2 } },
  { "path",
    { .vector = { .embedding = TIME_OPENAI, .dim = 30, .hidden = 16, .blocks = 2 },
      .plane = { 1, 6, 5 },
      .patch = 3,
      .heads = 2 } },
};
enum { CASES = sizeof cases / sizeof *cases };

static Denoiser *transformer(Arena *arena, Params *p, int index) {
  return transformer_new(arena, p, &cases[index].spec);
}
static void open_index(Case *c, const Golden *golden, int i, bool first) {
  const char *cond = cases[i].spec.vector.cond ? "label" : NULL;
  open_case(c, golden, cases[i].name, transformer, i, cond, CONV_DIRECT, first);
}

static void value_and_gradients_are_pytorchs(void **state) {
  for (int i = 0; i < CASES; i++) {
    Case c;
    open_index(&c, *state, i, false);
    expect_pytorchs(&c, 1e-6);
    arena_free(c.arena);
  }
}

/* Gates and the last layer start at zero (Peebles & Xie 2023): so does the output, and nothing but
 * the last layer has a gradient. */
static void starts_as_zero(void **state) {
  Case c;
  open_index(&c, *state, 0, true);
  expect_zero_start(&c, "out/");
  arena_free(c.arena);
}

static void impossible_shapes_are_refused(void **state) {
  (void)state;
  Error error;
  TransformerSpec spec = cases[0].spec;
  assert_true(transformer_fits(&spec, &error));
  spec.patch = 4;
  assert_false(transformer_fits(&spec, &error));
  assert_non_null(strstr(error.text, "patches of 4 do not cover 6 x 4 positions"));
  spec.patch = 2, spec.heads = 3;
  assert_false(transformer_fits(&spec, &error));
  assert_non_null(strstr(error.text, "16 channels cannot be shared by 3 heads"));
  spec.heads = 2, spec.vector.hidden = 18;
  assert_false(transformer_fits(&spec, &error));
  spec.vector.hidden = 16, spec.vector.blocks = 9;
  assert_false(transformer_fits(&spec, &error));
}

int main(void) {
  Golden golden;
  golden_open(&golden, "tests/golden/transformer.safetensors");
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_prestate(value_and_gradients_are_pytorchs, &golden),
    cmocka_unit_test_prestate(starts_as_zero, &golden),
    cmocka_unit_test(impossible_shapes_are_refused),
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  golden_close(&golden);
  return failed;
}
