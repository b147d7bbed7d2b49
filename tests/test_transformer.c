/* test_transformer.c -- the diffusion transformer against PyTorch, value and all gradients of
 * sum(w y), and what its first weights make of it.
 *
 * What the golden tensors are is told in scripts/golden/transformer.py. */
#include "policy/denoiser_transformer.h"
#include "tests/golden.h"
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { ROWS = 2 };

typedef struct {
  const Golden *golden;
  const char *name;
  Arena *arena;
  Params *params;
  Graph *g;
  Tensor *x, *y, *dx;
} Case;

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

static const CheckpointTensor *tensor(const Case *c, const char *key) {
  char name[96];
  snprintf(name, sizeof name, "%s/%s", c->name, key);
  return golden_tensor(c->golden, name);
}

/* ROW [1, 1, n] with the numbers of a golden tensor [ROWS, ..] */
static Tensor *input(Case *c, const char *key) {
  const CheckpointTensor *t = tensor(c, key);
  int n = (int)golden_count(t) / ROWS;
  Tensor *x = t_input(c->g, key, 1, n);
  real *data = arena_array(c->arena, real, ROWS * x->ld);
  for (int i = 0; i < ROWS * n; i++) data[i / n * x->ld + i % n] = (real)golden_at(t, (size_t)i);
  graph_bind(x, data);
  return x;
}

/* first: with the weights that training begins with, not the file's */
static void open_case(Case *c, const Golden *golden, int index, bool first) {
  const TransformerSpec *spec = &cases[index].spec;
  *c = (Case){ .golden = golden, .name = cases[index].name, .arena = arena_new() };
  c->params = params_new(c->arena, c->name);
  const Denoiser *d = transformer_new(c->arena, c->params, spec);
  Error error;
  params_allocate(c->params);
  if (first)
    params_init(c->params, 1);
  else if (!params_load(c->params, &golden->file, &error))
    fail_msg("%s", error.text);
  c->g = graph_new(c->arena, &(GraphSpec){ .trained = c->params,
                                           .kernels = kernels_find("own", &error),
                                           .max_rows = ROWS,
                                           .lane = 1 });
  c->x = input(c, "x");
  Tensor *h = d->embed(d, c->g, c->params, input(c, "t"));
  c->y = d->net(d, c->g, c->params, c->x, h, spec->vector.cond ? input(c, "label") : NULL);
  Tensor *weighted = t_mul(c->y, input(c, "w"));
  c->dx = t_grad(weighted, c->x);
  graph_minimise(t_scale(ROWS * c->y->n, t_mean(weighted)));
  graph_keep(c->y), graph_keep(c->dx);
  graph_seal(c->g);
  graph_run(c->g, ROWS, 0, NULL);
}

/* relative to the norm of the tensor */
static void expect(const Case *c, const char *key, const real *got, int n, int ld, double bound) {
  const CheckpointTensor *t = tensor(c, key);
  double difference = 0, size = 0;
  for (size_t i = 0; i < golden_count(t); i++) {
    double golden = golden_at(t, i);
    difference += pow((double)got[i / (size_t)n * (size_t)ld + i % (size_t)n] - golden, 2);
    size += golden * golden;
  }
  if (!(sqrt(difference) <= bound * sqrt(size)))
    fail_msg("%s/%s: relative error %.2g", c->name, key, sqrt(difference / size));
}

static void value_and_gradients_are_pytorchs(void **state) {
  bool exact = sizeof(real) == 8;
  for (int i = 0; i < CASES; i++) {
    Case c;
    open_case(&c, *state, i, false);
    expect(&c, "y", graph_values(c.y), c.y->n, c.y->ld, exact ? 1e-12 : 1e-6);
    expect(&c, "d_x", graph_values(c.dx), c.x->n, c.x->ld, exact ? 1e-12 : 1e-6);
    for (int s = 0; s < c.params->layout->slots; s++) { /* float32 in the file */
      const Slot *slot = &c.params->layout->slot[s];
      char key[64];
      snprintf(key, sizeof key, "grad/%s", slot->name);
      expect(&c, key, graph_gradient(c.g) + slot->offset, slot->n, slot->ld, exact ? 1e-7 : 1e-6);
    }
    arena_free(c.arena);
  }
}

/* Gates and the last layer start at zero (Peebles & Xie 2023): so does the output, and nothing but
 * the last layer has a gradient. */
static void starts_as_zero(void **state) {
  Case c;
  open_case(&c, *state, 0, true);
  for (int i = 0; i < ROWS * c.y->ld; i++) assert_true(graph_values(c.y)[i] == 0);
  double other = 0, last = 0;
  for (int s = 0; s < c.params->layout->slots; s++) {
    const Slot *slot = &c.params->layout->slot[s];
    double *sum = !strncmp(slot->name, "out/", 4) ? &last : &other;
    for (int j = 0; j < slot->rows * slot->ld; j++)
      *sum += fabs((double)graph_gradient(c.g)[slot->offset + (size_t)j]);
  }
  assert_true(other == 0 && last > 1);
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
