/* golden_net.h -- a network of policy/ with the weights that a golden file has for it: its output
 * and all gradients of sum(w y) against the file's.
 *
 * A case is a prefix of the file: NAME/x, t, y, w, d_x, the weights by slot, NAME/grad/SLOT, and
 * the condition if there is one. */
#ifndef TESTS_GOLDEN_NET_H
#define TESTS_GOLDEN_NET_H
#include "diffusion/denoiser.h"
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
typedef Denoiser *NewNet(Arena *arena, Params *p, int index);

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

/* cond: the condition's name in the file, or NULL.  first: with the weights that training begins
 * with, not the file's. */
static void open_case(Case *c, const Golden *golden, const char *name, NewNet *net, int index,
                      const char *cond, ConvMethod conv, bool first) {
  *c = (Case){ .golden = golden, .name = name, .arena = arena_new() };
  c->params = params_new(c->arena, c->name);
  const Denoiser *d = net(c->arena, c->params, index);
  Error error;
  params_allocate(c->params);
  if (first)
    params_init(c->params, 1);
  else if (!params_load(c->params, &golden->file, &error))
    fail_msg("%s", error.text);
  c->g = graph_new(c->arena, &(GraphSpec){ .trained = c->params,
                                           .kernels = kernels_find("own", &error),
                                           .conv = conv,
                                           .max_rows = ROWS,
                                           .lane = 1 });
  c->x = input(c, "x");
  Tensor *h = d->embed(d, c->g, c->params, input(c, "t"));
  c->y = d->net(d, c->g, c->params, c->x, h, cond ? input(c, cond) : NULL);
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

/* bound: of the relative error in float */
static void expect_pytorchs(const Case *c, double bound) {
  double exact = sizeof(real) == 8 ? 1e-12 : bound, single = sizeof(real) == 8 ? 1e-7 : bound;
  expect(c, "y", graph_values(c->y), c->y->n, c->y->ld, exact);
  expect(c, "d_x", graph_values(c->dx), c->x->n, c->x->ld, exact);
  for (int s = 0; s < c->params->layout->slots; s++) { /* float32 in the file */
    const Slot *slot = &c->params->layout->slot[s];
    char key[64];
    snprintf(key, sizeof key, "grad/%s", slot->name);
    expect(c, key, graph_gradient(c->g) + slot->offset, slot->n, slot->ld, single);
  }
}

/* The output is zero, and nothing but this layer, the last, has a gradient. */
static inline void expect_zero_start(const Case *c, const char *last) {
  for (int i = 0; i < ROWS * c->y->ld; i++) assert_true(graph_values(c->y)[i] == 0);
  double sum[2] = { 0 };
  for (int s = 0; s < c->params->layout->slots; s++) {
    const Slot *slot = &c->params->layout->slot[s];
    bool is_last = !strncmp(slot->name, last, strlen(last));
    for (int j = 0; j < slot->rows * slot->ld; j++)
      sum[is_last] += fabs((double)graph_gradient(c->g)[slot->offset + (size_t)j]);
  }
  assert_true(sum[0] == 0 && sum[1] > 1);
}

#endif
