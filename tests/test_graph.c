/* test_graph.c -- the tape promises: same bits, nothing allocated, nothing computed twice. */
#include "core/ops.h"
#include "core/tape.h"
#include "policy/mlp.h"
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ROWS = 61, N = 5, LD = 16 };

/* ---- every allocation of the process is counted ---------------------------------------------- */

static atomic_int allocations;

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t), *__libc_memalign(size_t, size_t);
static size_t counted_once(size_t size) {
  allocations++;
  return size;
}
void *malloc(size_t size) { return __libc_malloc(counted_once(size)); }
void *calloc(size_t n, size_t size) { return __libc_calloc(n, counted_once(size)); }
void *realloc(void *p, size_t size) { return __libc_realloc(p, counted_once(size)); }
void *aligned_alloc(size_t align, size_t size) {
  return __libc_memalign(align, counted_once(size));
}
int posix_memalign(void **p, size_t align, size_t size) {
  *p = __libc_memalign(align, counted_once(size));
  return *p ? 0 : ENOMEM;
}
#endif

/* ---- a tape with everything on it ------------------------------------------------------------ */

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
  *net = (Net){ .arena = arena_new(), .pool = threads ? pool_new(threads) : NULL };
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

/* An ensemble of two asked twice about three noisy candidates a row, in two phases. */
static void record_everything(Net *net, bool keep_all) {
  Graph *g = net->g;
  Mlp mlp_ = mlp_new(net->params, &(MlpSpec){ "q", 2, 2 * N, 19, 2, 1, MAP_mish });
  params_allocate(net->params);
  params_init(net->params, 1);
  net->x = t_input(g, "x", 1, N);
  Tensor *a = t_clip(t_normal(g, "noise", 3, N), -1, 1);
  Tensor *q = t_fold(mlp(&mlp_, g, net->params, IN(a, net->x)));
  Tensor *again = t_fold(mlp(&mlp_, g, net->params, IN(t_map(MAP_tanh, net->x), a)));
  Tensor *ratio = t_div(t_mean(t_col(q, 0)), t_detach(t_mean(t_map(MAP_abs, t_col(q, 1)))));
  net->q = q;
  graph_keep(q);
  net_minimise(net, t_sub(t_mean(t_map(MAP_square, t_sub(t_min_last(q), again))), ratio), keep_all);
}

static void same_gradient(const Net *a, const Net *b) {
  assert_memory_equal(graph_gradient(a->g), graph_gradient(b->g), net_bytes(a));
  assert_true(graph_scalar(a->loss) == graph_scalar(b->loss));
}

/* ---- the same bits --------------------------------------------------------------------------- */

static void any_number_of_threads_gives_one_gradient(void **state) {
  (void)state;
  Net alone;
  net_open(&alone, 0, MAX_ROWS, 7, 3);
  record_everything(&alone, false);
  for (int threads = 1; threads <= 4; threads++) {
    Net net;
    net_open(&net, threads, MAX_ROWS, 7, 3);
    record_everything(&net, false);
    for (uint64_t step = 0; step < 20; step++) {
      graph_run(alone.g, MAX_ROWS, step, NULL), graph_run(net.g, MAX_ROWS, step, NULL);
      same_gradient(&alone, &net);
    }
    net_close(&net);
  }
  net_close(&alone);
}

static void replays_are_equal_and_steps_differ(void **state) {
  (void)state;
  Net net;
  net_open(&net, 2, MAX_ROWS, 16, 4);
  record_everything(&net, false);
  real *first = malloc(net_bytes(&net));
  graph_run(net.g, MAX_ROWS, 7, NULL);
  memcpy(first, graph_gradient(net.g), net_bytes(&net));
  graph_run(net.g, MAX_ROWS, 8, NULL);
  assert_memory_not_equal(first, graph_gradient(net.g), net_bytes(&net));
  graph_run(net.g, MAX_ROWS, 7, NULL);
  assert_memory_equal(first, graph_gradient(net.g), net_bytes(&net));
  free(first);
  net_close(&net);
}

static void fewer_rows_are_a_smaller_tape(void **state) {
  (void)state;
  Net large, small;
  net_open(&large, 2, MAX_ROWS, 8, 3), net_open(&small, 1, 29, 8, 3);
  record_everything(&large, false), record_everything(&small, false);
  graph_run(large.g, MAX_ROWS, 1, NULL); /* leaves something behind */
  graph_run(large.g, 29, 2, NULL), graph_run(small.g, 29, 2, NULL);
  same_gradient(&large, &small);
  net_close(&large), net_close(&small);
}

/* Noise belongs to the row's id, a row's values to nothing but the row. */
static void a_row_alone_equals_the_row_in_a_batch(void **state) {
  (void)state;
  Net all, one;
  net_open(&all, 2, MAX_ROWS, 16, 5), net_open(&one, 0, 1, 0, 0);
  record_everything(&all, false), record_everything(&one, false);
  graph_run(all.g, MAX_ROWS, 3, NULL);
  for (uint32_t row = 0; row < MAX_ROWS; row++) {
    graph_bind(one.x, one.data + row * LD);
    graph_run(one.g, 1, 3, &row);
    size_t size = (size_t)row_size(one.q);
    assert_memory_equal(graph_values(one.q), graph_values(all.q) + row * size, size * sizeof(real));
  }
  net_close(&all), net_close(&one);
}

/* A layer's weight gradient is one chain of sums over the rows of a group: where each slot is used
 * once, lanes only cut the chain.  Uses in several places take turns lane by lane, groups are added
 * as a tree: there the last bits may differ, so both sizes are settings of a run. */
static void lanes_and_groups_change_rounding_alone(void **state) {
  (void)state;
  static const int size[][2] = { { 32, 32 }, { 32, 5 }, { 32, 1 }, { 7, 7 }, { 1, 1 } };
  Net net[5];
  for (int i = 0; i < 5; i++) {
    net_open(&net[i], 0, MAX_ROWS, size[i][0], size[i][1]);
    Mlp layers = mlp_new(net[i].params, &(MlpSpec){ "net", 1, N, 19, 2, 3, MAP_mish });
    params_allocate(net[i].params), params_init(net[i].params, 1);
    net[i].x = t_input(net[i].g, "x", 1, N);
    Tensor *y = mlp(&layers, net[i].g, net[i].params, IN(net[i].x));
    net_minimise(&net[i], t_mean(t_map(MAP_square, y)), false);
    graph_run(net[i].g, MAX_ROWS, 0, NULL);
    const real *first = graph_gradient(net[0].g), *g = graph_gradient(net[i].g);
    if (size[i][0] == 32) assert_memory_equal(g, first, net_bytes(net));
    double eps = sizeof(real) == 8 ? 1e-15 : 1e-6;
    for (size_t j = 0; j < net->params->layout->size; j++)
      assert_true(fabs((double)(g[j] - first[j])) < eps);
  }
  for (int i = 0; i < 5; i++) net_close(&net[i]);
}

/* Keeping a value gives it memory of its own: the planner's sharing must not show. */
static void shared_scratch_is_as_good_as_memory_apart(void **state) {
  (void)state;
  Net shared, apart;
  net_open(&shared, 0, MAX_ROWS, 16, 3), net_open(&apart, 0, MAX_ROWS, 16, 3);
  record_everything(&shared, false), record_everything(&apart, true);
  assert_true(graph_size(shared.g).lane_bytes > 0 && graph_size(apart.g).lane_bytes == 0);
  graph_run(shared.g, MAX_ROWS, 5, NULL), graph_run(apart.g, MAX_ROWS, 5, NULL);
  same_gradient(&shared, &apart);
  net_close(&shared), net_close(&apart);
}

/* Products of small numbers vanish in the caller's thread as they do in a worker's. */
static void denormals_are_off_in_every_thread(void **state) {
  (void)state;
  double small = sizeof(real) == 8 ? 1e-157 : 1e-21;
  for (int threads = 0; threads <= 2; threads++) {
    Net net;
    net_open(&net, threads, MAX_ROWS, 1, 1);
    params_allocate(net.params);
    net.x = t_input(net.g, "x", 1, N);
    for (int i = 0; i < MAX_ROWS * LD; i++) net.data[i] = i % LD < N ? (real)small : 0;
    Tensor *y = t_scale(1 / small, t_mul(net.x, net.x));
    graph_keep(y);
    graph_seal(net.g);
    graph_bind(net.x, net.data);
    unsigned before = denormals_off();
    denormals_restore(before);
    graph_run(net.g, MAX_ROWS, 0, NULL);
    unsigned after = denormals_off();
    denormals_restore(before);
    assert_int_equal(before & 0x8040, after & 0x8040); /* the caller's state is as it was */
    for (int r = 0; r < MAX_ROWS; r++) assert_true(graph_values(y)[r * LD] == 0);
    net_close(&net);
  }
}

/* ---- no work and no memory beyond need ------------------------------------------------------- */

static void a_run_allocates_nothing(void **state) {
  (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  skip();
#endif
  int before = allocations;
  free(arena_new());
  assert_true(allocations > before); /* the counter counts */
  for (int threads = 1; threads <= 3; threads += 2) {
    Net net;
    net_open(&net, threads, MAX_ROWS, 8, 4);
    record_everything(&net, false);
    graph_run(net.g, MAX_ROWS, 0, NULL);
    int allocated = allocations;
    size_t arena = arena_bytes(net.arena);
    for (uint64_t step = 1; step < 50; step++) {
      params_touch(net.params);
      graph_run(net.g, 1 + (int)step, step, NULL);
    }
    assert_int_equal(allocations, allocated);
    assert_int_equal(arena_bytes(net.arena), arena);
    net_close(&net);
  }
}

/* an op that counts its runs in *attr.p */
static void count_run(const Lane *lane, const Tensor *y) {
  ++*(int *)(uintptr_t)y->attr.p;
  memset(lane_at(lane, y), 0, (size_t)(lane_rows(lane, y) * row_size(y)) * sizeof(real));
}
static const Op op_count = { .name = "count", .run = count_run };
static Tensor *counted(Tensor *x, int *runs) {
  return record(x->g, &op_count, (Shape){ x->k, x->e, x->n },
                &(Recipe){ .in = { x }, .attr.p = runs });
}

static void once_nodes_follow_their_params(void **state) {
  (void)state;
  Net net;
  net_open(&net, 0, 4, 0, 0);
  params_slot(net.params, "b", 1, 1, N, 1);
  params_allocate(net.params);
  Params *target = params_clone(net.params, "target");
  int runs[3] = { 0 };
  real zeros[LD] = { 0 };
  Tensor *given = t_given(net.g, "given", 1, N);
  Tensor *of[] = { t_param(net.g, net.params, 0), t_param(net.g, target, 0), given };
  for (int i = 0; i < 3; i++) graph_keep(counted(of[i], &runs[i]));
  graph_seal(net.g);
  graph_give(given, zeros);
  const int expected[5][3] = { { 1, 1, 1 }, { 1, 1, 2 }, { 2, 1, 3 }, { 2, 2, 4 }, { 2, 2, 5 } };
  for (uint64_t step = 0; step < 5; step++) {
    if (step == 2) params_init(net.params, 1);
    if (step == 3) params_lerp(target, net.params, 0.5);
    graph_run(net.g, 4, step, NULL);
    assert_memory_equal(runs, expected[step], sizeof runs);
  }
  net_close(&net);
}

static void what_nobody_reads_is_dropped(void **state) {
  (void)state;
  Net net;
  net_open(&net, 0, 4, 0, 2);
  params_slot(net.params, "b", 1, 1, N, 1);
  params_allocate(net.params);
  int dead = 0, live = 0;
  net.x = t_input(net.g, "x", 1, N);
  Tensor *y = t_mul(net.x, t_param(net.g, net.params, 0));
  t_map(MAP_exp, counted(y, &dead));
  net_minimise(&net, t_mean(counted(y, &live)), false);
  graph_run(net.g, 4, 0, NULL);
  assert_int_equal(dead, 0);
  assert_int_equal(live, 2); /* lanes */
  assert_true(graph_size(net.g).live < graph_size(net.g).nodes);
  net_close(&net);
}

static void equal_recordings_are_one_node(void **state) {
  (void)state;
  Net net;
  net_open(&net, 0, 4, 0, 0);
  Mlp layers = mlp_new(net.params, &(MlpSpec){ "net", 1, N, 8, 1, N, MAP_tanh });
  params_allocate(net.params);
  Params *target = params_clone(net.params, "target");
  Graph *g = net.g;
  Tensor *x = t_input(g, "x", 1, N), *y = mlp(&layers, g, net.params, IN(x));
  int nodes = graph_size(g).nodes;
  assert_ptr_equal(y, mlp(&layers, g, net.params, IN(x)));
  assert_int_equal(graph_size(g).nodes, nodes);
  assert_ptr_not_equal(y, mlp(&layers, g, target, IN(x)));
  assert_ptr_equal(t_scale(2, x), t_scale(2, x));
  assert_ptr_not_equal(t_scale(2, x), t_scale(3, x));
  assert_ptr_not_equal(t_map(MAP_exp, x), t_map(MAP_log, x));
  assert_ptr_not_equal(t_sub(x, y), t_sub(y, x));
  assert_ptr_not_equal(t_normal(g, "a", 1, N), t_normal(g, "b", 1, N));
  /* a spread over rows is another node than one of the same shape without rows */
  Tensor *once = t_param(g, net.params, layers.bias[1]), *one = t_number(g, 1);
  assert_true(t_spread(one, once, 1)->kind == ONCE && t_spread(one, x, 1)->kind == ROW);
  net_close(&net);
}

/* ---- gradients ------------------------------------------------------------------------------- */

static double mean_over_rows(const Net *net, int rows, int j) {
  double sum = 0;
  for (int r = 0; r < rows; r++) sum += (double)net->data[r * LD + j];
  return sum / rows;
}

/* With m = mean(x w) and a = mean |x w|, m / detach(a) has the gradient m' / a, and m / a has
 * m' / a - m a' / a^2.  The gradient of a row waits for the sums of all rows. */
static void a_sum_in_the_gradient_is_a_second_phase(void **state) {
  (void)state;
  for (int detached = 0; detached < 2; detached++) {
    Net net;
    net_open(&net, 2, MAX_ROWS, 8, 3);
    params_slot(net.params, "w", 1, 1, N, 1);
    params_allocate(net.params), params_init(net.params, 3);
    net.x = t_input(net.g, "x", 1, N);
    Tensor *xw = t_mul(net.x, t_param(net.g, net.params, 0)), *a = t_mean(t_map(MAP_abs, xw));
    net_minimise(&net, t_div(t_mean(xw), detached ? t_detach(a) : a), false);
    graph_run(net.g, MAX_ROWS, 0, NULL);
    assert_int_equal(graph_size(net.g).phases, 2);
    const real *w = net.params->values;
    double m = 0, abs = 0, d_abs[N] = { 0 };
    for (int r = 0; r < MAX_ROWS; r++)
      for (int j = 0; j < N; j++) {
        double x = (double)net.data[r * LD + j], y = x * (double)w[j];
        m += y / (MAX_ROWS * N), abs += fabs(y) / (MAX_ROWS * N);
        d_abs[j] += (y > 0 ? x : -x) / (MAX_ROWS * N);
      }
    double eps = sizeof(real) == 8 ? 1e-14 : 2e-6;
    assert_true(fabs(graph_scalar(net.loss) - m / abs) < eps);
    for (int j = 0; j < N; j++) {
      double d = mean_over_rows(&net, MAX_ROWS, j) / N / abs;
      if (!detached) d -= m * d_abs[j] / (abs * abs);
      assert_true(fabs((double)graph_gradient(net.g)[j] - d) < eps);
    }
    net_close(&net);
  }
}

/* t_grad of a cubic, of a mean of squares, and of what does not depend on x */
static void t_grad_is_the_derivative(void **state) {
  (void)state;
  Net net;
  net_open(&net, 0, MAX_ROWS, 8, 3);
  params_allocate(net.params);
  Tensor *x = net.x = t_input(net.g, "x", 1, N), *other = t_input(net.g, "other", 1, N);
  Tensor *cubic = t_grad(t_mul(x, t_map(MAP_square, x)), x);
  Tensor *mean = t_grad(t_mean(t_map(MAP_square, x)), x);
  assert_null(t_grad(t_map(MAP_square, other), x));
  assert_null(t_grad(t_mul(t_detach(x), other), x));
  graph_keep(cubic), graph_keep(mean);
  graph_seal(net.g);
  graph_bind(x, net.data);
  graph_run(net.g, MAX_ROWS, 0, NULL);
  double eps = sizeof(real) == 8 ? 1e-14 : 1e-5;
  for (int i = 0; i < MAX_ROWS * LD; i++) {
    double v = (double)net.data[i];
    assert_true(fabs((double)graph_values(cubic)[i] - 3 * v * v) < eps);
    assert_true(fabs((double)graph_values(mean)[i] - 2 * v / (MAX_ROWS * N)) < eps);
  }
  net_close(&net);
}

/* y = w tanh(x)^2: dy/dx depends on w, yet the loss that reads it must not see that */
static void t_grad_counts_as_constant(void **state) {
  (void)state;
  Net with, without;
  Net *both[] = { &with, &without };
  for (int i = 0; i < 2; i++) {
    Net *net = both[i];
    net_open(net, 0, MAX_ROWS, 8, 3);
    params_slot(net->params, "w", 1, 1, N, 1);
    params_allocate(net->params), params_init(net->params, 3);
    net->x = t_input(net->g, "x", 1, N);
    Tensor *xw = t_mul(net->x, t_param(net->g, net->params, 0)), *loss = t_mean(xw);
    Tensor *dx = t_grad(t_map(MAP_tanh, xw), net->x);
    net_minimise(net, i ? loss : t_add(loss, t_mean(dx)), false);
    graph_run(net->g, MAX_ROWS, 0, NULL);
  }
  assert_memory_equal(graph_gradient(with.g), graph_gradient(without.g), net_bytes(&with));
  assert_true(graph_scalar(with.loss) != graph_scalar(without.loss));
  net_close(&with), net_close(&without);
}

/* ---- noise from outside ---------------------------------------------------------------------- */

static void an_overridden_draw_takes_the_numbers_given(void **state) {
  (void)state;
  Net net;
  net_open(&net, 0, 2, 0, 0);
  params_allocate(net.params);
  Tensor *y = t_mul(t_normal(net.g, "noise", 1, N), t_coin(net.g, "coin"));
  Tensor *noise = graph_override(net.g, "noise"), *coin = graph_override(net.g, "coin");
  graph_keep(y);
  graph_seal(net.g);
  graph_bind(noise, net.data);
  for (int side = 0; side < 2; side++) {
    graph_give(coin, (real[16]){ (real)side });
    graph_run(net.g, 2, 0, NULL);
    for (int i = 0; i < 2 * LD; i++) assert_true(graph_values(y)[i] == (real)side * net.data[i]);
  }
  net_close(&net);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(any_number_of_threads_gives_one_gradient),
    cmocka_unit_test(replays_are_equal_and_steps_differ),
    cmocka_unit_test(fewer_rows_are_a_smaller_tape),
    cmocka_unit_test(a_row_alone_equals_the_row_in_a_batch),
    cmocka_unit_test(lanes_and_groups_change_rounding_alone),
    cmocka_unit_test(shared_scratch_is_as_good_as_memory_apart),
    cmocka_unit_test(denormals_are_off_in_every_thread),
    cmocka_unit_test(a_run_allocates_nothing),
    cmocka_unit_test(once_nodes_follow_their_params),
    cmocka_unit_test(what_nobody_reads_is_dropped),
    cmocka_unit_test(equal_recordings_are_one_node),
    cmocka_unit_test(a_sum_in_the_gradient_is_a_second_phase),
    cmocka_unit_test(t_grad_is_the_derivative),
    cmocka_unit_test(t_grad_counts_as_constant),
    cmocka_unit_test(an_overridden_draw_takes_the_numbers_given),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
