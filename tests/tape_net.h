/* tape_net.h -- a tape with parameters, threads and rows of data, for tests of the tape. */
#ifndef TESTS_TAPE_NET_H
#define TESTS_TAPE_NET_H
#include "core/ops/ops.h"
#include "core/tape/tape.h"
#include "policy/nets/mlp.h"
#include "tests/pool.h"
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ROWS = 61, N = 5, LD = 16 };

typedef struct {
  Arena *arena;
  Params *params;
  Pool *pool;
  Graph *g;
  Tensor *x, *q, *loss;
  real data[MAX_ROWS * LD];
} Net;

static const Kernels *own(void) {
  Error error;
  return kernels_find("own", &error);
}

static void net_open(Net *net, int threads, int max_rows, int group, int lane) {
  *net = (Net){ .arena = arena_new(), .pool = threads ? pool_of(threads) : NULL };
  net->params = params_new(net->arena, "net");
  Rng rng = rng_stream(2, "data");
  for (int r = 0; r < MAX_ROWS; r++)
    for (int j = 0; j < N; j++)
      net->data[r * LD + j] = (real)rng_normal(rng, 0, (uint32_t)r, (uint32_t)j);
  net->g = graph_new(net->arena, &(GraphSpec){ .trained = net->params,
                                               .seed = 4,
                                               .lane = lane,
                                               .pool = net->pool,
                                               .kernels = own(),
                                               .max_rows = max_rows,
                                               .group = group });
}
static void net_close(Net *net) {
  pool_free(net->pool);
  arena_free(net->arena);
}
static void net_minimise(Net *net, Tensor *loss, bool keep_all) {
  net->loss = loss;
  graph_minimise(loss);
  for (int id = 0; keep_all && id < net->g->nodes; id++)
    if (net->g->node[id]->kind == ROW) graph_keep(net->g->node[id]);
  graph_seal(net->g);
  graph_bind(net->x, net->data);
}
static size_t net_bytes(const Net *net) { return net->params->layout->size * sizeof(real); }

static inline void same_gradient(const Net *a, const Net *b) {
  assert_memory_equal(graph_gradient(a->g), graph_gradient(b->g), net_bytes(a));
  assert_true(graph_scalar(a->loss) == graph_scalar(b->loss));
}

#endif
