/* test_golden_planes.c -- what surrounds the convolutions of U-Nets against PyTorch, values and
 * gradients of sum(w y); then the same bits on every kernel path and for any lane.
 *
 * What the golden tensors are is told in scripts/golden/planes.py.  Promises T6 and B7 of
 * docs/design.md. */
#include "core/ops/ops.h"
#include "tests/golden.h"
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* relative to the norm of a tensor */
#define TOLERANCE (sizeof(real) == 8 ? 1e-12 : 1e-6)
enum { ROWS = 2, MAX_INPUTS = 8, MAX_SLOTS = 2 };

typedef struct {
  const char *name;
  Arena *arena;
  const Golden *golden;
  Graph *g;
  Params *params;
  int inputs, slots;
  const char *input[MAX_INPUTS], *slot[MAX_SLOTS];
  Tensor *x[MAX_INPUTS], *dx[MAX_INPUTS], *y;
} Case;
typedef Tensor *Build(Case *c);

static const CheckpointTensor *tensor(const Case *c, const char *prefix, const char *key) {
  char name[64];
  snprintf(name, sizeof name, "%s/%s%s", c->name, prefix, key);
  return golden_tensor(c->golden, name);
}

/* ROW [1, 1, n] with the numbers of a golden tensor [ROWS, ..] */
static Tensor *input(Case *c, const char *key) {
  const CheckpointTensor *t = tensor(c, "", key);
  int n = (int)golden_count(t) / ROWS;
  Tensor *x = t_input(c->g, key, 1, n);
  real *data = arena_array(c->arena, real, ROWS * x->ld);
  for (int i = 0; i < ROWS * n; i++) data[i / n * x->ld + i % n] = (real)golden_at(t, (size_t)i);
  graph_bind(x, data);
  c->input[c->inputs] = key;
  return c->x[c->inputs++] = x;
}

static void slots(Case *c) { /* gain and bias, where a case has them */
  static const char *const keys[] = { "gain", "bias" };
  char name[64];
  for (int i = 0; i < MAX_SLOTS; i++) {
    snprintf(name, sizeof name, "%s/%s", c->name, keys[i]);
    const CheckpointTensor *t = checkpoint_tensor(&c->golden->file, name);
    if (t) params_slot(c->params, keys[i], 1, 1, (int)golden_count(t), 1);
    if (t) c->slot[c->slots++] = keys[i];
  }
  params_allocate(c->params);
  for (int i = 0; i < c->slots; i++)
    for (int j = 0; j < c->params->layout->slot[i].n; j++)
      params_at(c->params, i)[j] = (real)golden_at(tensor(c, "", keys[i]), (size_t)j);
}

static void open_case(Case *c, const Golden *golden, const char *name, Build *build,
                      const Kernels *kernels, int lane) {
  *c = (Case){ .name = name, .golden = golden, .arena = arena_new() };
  c->params = params_new(c->arena, "params");
  c->g = graph_new(
      c->arena,
      &(GraphSpec){ .trained = c->params, .kernels = kernels, .max_rows = ROWS, .lane = lane });
  slots(c);
  c->y = build(c);
  int leaves = c->inputs;
  Tensor *weighted = t_mul(c->y, input(c, "w"));
  for (int i = 0; i < leaves; i++)
    if ((c->dx[i] = t_grad(weighted, c->x[i]))) graph_keep(c->dx[i]);
  if (c->slots) graph_minimise(t_scale(ROWS * weighted->n, t_mean(weighted)));
  graph_keep(c->y);
  graph_seal(c->g);
  graph_run(c->g, ROWS, 0, NULL);
}

static void expect(const Case *c, const char *prefix, const char *key, const real *got, int n,
                   int ld) {
  const CheckpointTensor *t = tensor(c, prefix, key);
  double difference = 0, size = 0;
  for (size_t i = 0; i < golden_count(t); i++) {
    double golden = golden_at(t, i);
    difference += pow((double)got[i / (size_t)n * (size_t)ld + i % (size_t)n] - golden, 2);
    size += golden * golden;
  }
  if (!(sqrt(difference) <= TOLERANCE * sqrt(size)))
    fail_msg("%s/%s%s: relative error %.2g", c->name, prefix, key, sqrt(difference / size));
}

/* ---- cases ----------------------------------------------------------------------------------- */

static Tensor *build_image(Case *c) {
  GroupNorm norm = { { 5, 3, 24 }, 4, 1e-5, MAP_silu, .before = input(c, "before") };
  return t_group_norm(c->g, c->params, 0, 1, input(c, "x"), &norm);
}
static Tensor *build_film(Case *c) {
  GroupNorm norm = {
    { 4, 4, 32 }, 8, 1e-5, MAP_silu, .scale = input(c, "scale"), .shift = input(c, "shift")
  };
  return t_group_norm(c->g, c->params, 0, 1, input(c, "x"), &norm);
}
static Tensor *build_temporal(Case *c) {
  GroupNorm norm = { { 1, 20, 16 }, 8, 1e-5, MAP_mish, .after = input(c, "after") };
  return t_group_norm(c->g, c->params, 0, 1, input(c, "x"), &norm);
}
static Tensor *build_norm(Case *c) {
  return t_channel_norm(c->g, c->params, 0, 1, input(c, "x"), 19, 1e-6);
}
static Tensor *build_attention(Case *c) { return t_attention(input(c, "qkv"), 70, 2, NULL); }
static Tensor *build_cross(Case *c) {
  return t_cross_attention(input(c, "q"), 9, input(c, "kv"), 5, 4, input(c, "keep"));
}
static Tensor *build_linear(Case *c) { return t_linear_attention(input(c, "qkv"), 12, 2); }
static Tensor *build_up(Case *c) { return t_upsample(input(c, "x"), (Plane){ 3, 2, 5 }); }
static Tensor *build_down(Case *c) { return t_downsample(input(c, "x"), (Plane){ 4, 6, 5 }); }
static Tensor *build_up1(Case *c) { return t_upsample(input(c, "x"), (Plane){ 1, 3, 5 }); }
static Tensor *build_down1(Case *c) { return t_downsample(input(c, "x"), (Plane){ 1, 6, 5 }); }

static const struct {
  const char *name;
  Build *build;
} cases[] = {
  { "image", build_image },         { "film", build_film },
  { "temporal", build_temporal },   { "norm", build_norm },
  { "attention", build_attention }, { "cross", build_cross },
  { "linear", build_linear },       { "up", build_up },
  { "down", build_down },           { "up1", build_up1 },
  { "down1", build_down1 },
};
enum { CASES = sizeof cases / sizeof *cases };

static const Kernels *kernels(const char *name) {
  Error error;
  return kernels_find(name, &error);
}

static void values_and_gradients_are_pytorchs(void **state) {
  for (int i = 0; i < CASES; i++) {
    Case c;
    open_case(&c, *state, cases[i].name, cases[i].build, kernels("own"), 1);
    expect(&c, "", "y", graph_values(c.y), c.y->n, c.y->ld);
    for (int j = 0; j < c.inputs - 1; j++)
      if (strcmp(c.input[j], "keep"))
        expect(&c, "d_", c.input[j], graph_values(c.dx[j]), c.x[j]->n, c.x[j]->ld);
    for (int j = 0; j < c.slots; j++) {
      const Slot *slot = &c.params->layout->slot[j];
      expect(&c, "d_", c.slot[j], graph_gradient(c.g) + slot->offset, slot->n, slot->ld);
    }
    arena_free(c.arena);
  }
}

static void same_rows(const Tensor *a, const Tensor *b) {
  assert_memory_equal(graph_values(a), graph_values(b), (size_t)(ROWS * a->ld) * sizeof(real));
}

static void every_path_and_lane_gives_the_same_bits(void **state) {
  static const char *const names[] = { "plain", "avx2", "avx512" };
  for (int i = 0; i < CASES; i++) {
    Case first;
    open_case(&first, *state, cases[i].name, cases[i].build, kernels("plain"), 1);
    for (int path = 0; path < 3; path++) {
      if (!kernels(names[path])) continue;
      Case c;
      open_case(&c, *state, cases[i].name, cases[i].build, kernels(names[path]), 2);
      same_rows(first.y, c.y);
      for (int j = 0; j < c.inputs - 1; j++)
        if (c.dx[j]) same_rows(first.dx[j], c.dx[j]);
      arena_free(c.arena);
    }
    arena_free(first.arena);
  }
}

/* ---- what is refused ------------------------------------------------------------------------- */

static void shapes_that_do_not_divide_are_refused(void **state) {
  (void)state;
  Error error = { .text = "" };
  assert_true(group_norm_fits(24, 8, &error) && !group_norm_fits(24, 32, &error));
  assert_non_null(strstr(error.text, "24 channels cannot be normalised in 32 groups"));
  assert_int_equal(error.kind, FAIL_USAGE);
  assert_true(attention_fits(24, 3, 7, &error) && !attention_fits(24, 5, 7, &error));
  assert_non_null(strstr(error.text, "24 channels cannot be shared by 5 heads"));
  assert_false(attention_fits(512, 1, 7, &error));
  assert_false(attention_fits(24, 3, 5000, &error));
  assert_true(linear_attention_fits(128, 2, 7, &error));
  assert_false(linear_attention_fits(256, 2, 7, &error));
  assert_false(linear_attention_fits(128, 4, 2000, &error));
  assert_true(downsample_fits((Plane){ 1, 6, 3 }, &error));
  assert_true(downsample_fits((Plane){ 4, 6, 3 }, &error));
  assert_false(downsample_fits((Plane){ 1, 7, 3 }, &error));
  assert_non_null(strstr(error.text, "1 x 7 positions cannot be halved"));
  assert_false(downsample_fits((Plane){ 5, 6, 3 }, &error));
  assert_false(downsample_fits((Plane){ 2, 6, 3 }, &error));
}

int main(void) {
  Golden golden;
  golden_open(&golden, "tests/golden/planes.safetensors");
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_prestate(values_and_gradients_are_pytorchs, &golden),
    cmocka_unit_test_prestate(every_path_and_lane_gives_the_same_bits, &golden),
    cmocka_unit_test(shapes_that_do_not_divide_are_refused),
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  golden_close(&golden);
  return failed;
}
