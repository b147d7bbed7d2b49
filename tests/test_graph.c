/* test_graph.c -- the tape promises: same bits, nothing allocated, nothing computed twice.
 * Promises T1, T2, T3, T8, B1, B2, B6 and B8 of docs/design.md. */
#include "tests/allocations.h"
#include "tests/tape_net.h"
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- a tape with everything on it ------------------------------------------------------------ */

/* An ensemble of two asked twice about three noisy candidates a row, in two phases. */
static void record_everything(Net *net, bool keep_all) {
  Graph *g = net->g;
  Mlp mlp_ = mlp_new(net->params, &(MlpSpec){ "q", 2, 2 * N, 19, 2, 1, MAP_mish, MLP_PLAIN });
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

/* ---- forks ----------------------------------------------------------------------------------- */

static void record_inference(Net *net, uint64_t seed) {
  Graph *g = net->g;
  Mlp mlp_ = mlp_new(net->params, &(MlpSpec){ "q", 2, 2 * N, 19, 2, 1, MAP_mish, MLP_PLAIN });
  params_allocate(net->params);
  params_init(net->params, 1);
  graph_reseed(g, seed);
  net->x = t_input(g, "x", 1, N);
  Tensor *a = t_clip(t_normal(g, "noise", 3, N), -1, 1);
  Tensor *q = t_min_last(t_fold(mlp(&mlp_, g, net->params, IN(a, net->x))));
  net->q = t_pick(a, q, "pick", 0.5);
  graph_keep(net->q);
  graph_seal(g);
  graph_bind(net->x, net->data);
}

/* A fork runs as the tape does that was recorded with its seed, and leaves the first as it was. */
static void a_fork_is_a_tape_of_its_own(void **state) {
  (void)state;
  const size_t bytes = MAX_ROWS * LD * sizeof(real);
  Net first, other;
  net_open(&first, 0, MAX_ROWS, 7, 3), net_open(&other, 0, MAX_ROWS, 7, 3);
  record_inference(&first, 4), record_inference(&other, 5);
  graph_run(first.g, MAX_ROWS, 0, NULL), graph_run(other.g, MAX_ROWS, 8, NULL);
  real *before = arena_array(first.arena, real, MAX_ROWS * LD);
  memcpy(before, graph_values(first.q), bytes);
  assert_memory_not_equal(before, graph_values(other.q), bytes);
  Arena *arena = arena_new();
  Graph *fork = graph_fork(arena, first.g);
  const Tensor *q = graph_forked(fork, first.q);
  graph_bind(graph_forked(fork, first.x), first.data);
  graph_run(fork, MAX_ROWS, 0, NULL);
  assert_memory_equal(graph_values(q), before, bytes);
  graph_reseed(fork, 5);
  graph_run(fork, MAX_ROWS, 8, NULL);
  assert_memory_equal(graph_values(q), graph_values(other.q), bytes);
  graph_run(first.g, MAX_ROWS, 0, NULL);
  assert_memory_equal(graph_values(first.q), before, bytes);
  arena_free(arena);
  net_close(&first), net_close(&other);
}

typedef struct {
  Net net;
  Arena *arena;
  Graph *fork;
} Forked;

static void run_fork(Forked *f) { graph_run(f->fork, MAX_ROWS, 0, NULL); }
static void fork_again(Forked *f) { graph_fork(f->arena, f->net.g); }

static bool aborts(void (*work)(Forked *), Forked *forked) {
  int status;
  pid_t child = fork();
  if (!child) {
    if (!freopen("/dev/null", "w", stderr)) _exit(1);
    signal(SIGABRT, SIG_DFL);
    work(forked);
    _exit(0);
  }
  assert_int_equal(waitpid(child, &status, 0), child);
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

/* Its packed weights are another's, who alone can pack them again. */
static void a_fork_whose_weights_changed_does_not_run(void **state) {
  (void)state;
  Forked f = { .arena = arena_new() };
  net_open(&f.net, 0, MAX_ROWS, 7, 3);
  record_inference(&f.net, 4);
  graph_run(f.net.g, MAX_ROWS, 0, NULL);
  f.fork = graph_fork(f.arena, f.net.g);
  graph_bind(graph_forked(f.fork, f.net.x), f.net.data);
  assert_false(aborts(run_fork, &f));
  params_touch(f.net.params);
  assert_true(aborts(run_fork, &f));
  assert_true(aborts(fork_again, &f)); /* the first has not seen the change either */
  graph_run(f.net.g, MAX_ROWS, 0, NULL);
  assert_false(aborts(fork_again, &f));
  assert_true(aborts(run_fork, &f)); /* of the weights before */
  arena_free(f.arena);
  net_close(&f.net);
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
    Mlp layers = mlp_new(net[i].params, &(MlpSpec){ "net", 1, N, 19, 2, 3, MAP_mish, MLP_PLAIN });
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

/* an op that adds to what it has not written */
static void forget_run(const Lane *lane, const Tensor *y) {
  const real *x = lane_at(lane, y->in[0]);
  real *out = lane_at(lane, y);
  for (int i = 0; i < lane->rows * row_size(y); i++) out[i] += x[i];
}
static const Op op_forget = { .name = "forget", .run = forget_run };

/* With MODE=asan a value that is read before it is written is NaN, kept or in lane scratch. */
static void what_a_run_did_not_write_shows(void **state) {
  (void)state;
#ifdef DIFFRL_CHECKED
  for (int keep = 0; keep < 2; keep++) {
    Net net;
    net_open(&net, 2, MAX_ROWS, 7, 3);
    net.x = t_input(net.g, "x", 1, N);
    Tensor *sum = record(net.g, &op_forget, (Shape){ 1, 1, N }, &(Recipe){ .in = { net.x } });
    Tensor *good = t_scale(2, net.x), *bad = t_scale(2, sum);
    graph_keep(good), graph_keep(bad);
    if (keep) graph_keep(sum);
    graph_seal(net.g);
    graph_bind(net.x, net.data);
    for (uint64_t step = 0; step < 2; step++) {
      graph_run(net.g, MAX_ROWS, step, NULL);
      for (int r = 0; r < MAX_ROWS; r++)
        for (int j = 0; j < N; j++) {
          assert_true(graph_values(good)[r * LD + j] == 2 * net.data[r * LD + j]);
          assert_true(isnan(graph_values(bad)[r * LD + j]));
        }
    }
    net_close(&net);
  }
#else
  (void)op_forget;
  skip();
#endif
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
  Mlp layers = mlp_new(net.params, &(MlpSpec){ "net", 1, N, 8, 1, N, MAP_tanh, MLP_PLAIN });
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

/* ---- a function of the caller's -------------------------------------------------------------- */

static void count_samples(void *user, const CallSamples *s) {
  atomic_int *seen = user;
  for (int i = 0; i < s->count; i++) {
    atomic_fetch_add(seen, 1);
    for (int j = 0; j < s->n; j++)
      s->out[i * s->out_stride + j] = 2 * s->x[i * s->x_stride + j] + s->time[i * s->time_stride];
  }
}

static void a_call_sees_every_sample_once_from_any_thread(void **state) {
  (void)state;
  for (int threads = 0; threads <= 3; threads++) {
    Net net;
    atomic_int seen = 0;
    const Call call = { count_samples, &seen };
    net_open(&net, threads, MAX_ROWS, 7, 3);
    params_allocate(net.params);
    net.x = t_input(net.g, "x", 1, N);
    Tensor *y = t_call(&call, net.x, t_col(net.x, 0), N);
    assert_null(t_grad(y, net.x)); /* constant */
    graph_keep(y), graph_seal(net.g), graph_bind(net.x, net.data);
    graph_run(net.g, MAX_ROWS, 0, NULL);
    assert_int_equal(seen, MAX_ROWS);
    for (int r = 0; r < MAX_ROWS; r++)
      for (int j = 0; j < LD; j++) {
        real expected = j < N ? 2 * net.data[r * LD + j] + net.data[r * LD] : 0;
        assert_true(graph_values(y)[r * LD + j] == expected);
      }
    net_close(&net);
  }
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

/* d/dx sum_i i x = 1 + 2 + .. + n; recording the gradient outgrows the room for nodes again */
static void a_long_tape_keeps_its_gradients(void **state) {
  (void)state;
  enum { TERMS = 700 };
  Net net;
  net_open(&net, 0, MAX_ROWS, 7, 3);
  params_slot(net.params, "unused", 1, 1, 1, 0);
  params_allocate(net.params);
  Tensor *x = t_input(net.g, "x", 1, N), *y = t_scale(1, x);
  for (int i = 2; i <= TERMS; i++) y = t_add(y, t_scale(i, x));
  Tensor *dx = t_grad(y, x);
  graph_keep(dx);
  graph_seal(net.g);
  graph_bind(x, net.data);
  graph_run(net.g, MAX_ROWS, 0, NULL);
  for (int r = 0; r < MAX_ROWS; r++)
    for (int j = 0; j < N; j++)
      assert_true(graph_values(dx)[r * LD + j] == (real)(TERMS * (TERMS + 1) / 2));
  net_close(&net);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_fork_is_a_tape_of_its_own),
    cmocka_unit_test(a_fork_whose_weights_changed_does_not_run),
    cmocka_unit_test(any_number_of_threads_gives_one_gradient),
    cmocka_unit_test(replays_are_equal_and_steps_differ),
    cmocka_unit_test(fewer_rows_are_a_smaller_tape),
    cmocka_unit_test(a_row_alone_equals_the_row_in_a_batch),
    cmocka_unit_test(lanes_and_groups_change_rounding_alone),
    cmocka_unit_test(shared_scratch_is_as_good_as_memory_apart),
    cmocka_unit_test(denormals_are_off_in_every_thread),
    cmocka_unit_test(a_run_allocates_nothing),
    cmocka_unit_test(what_a_run_did_not_write_shows),
    cmocka_unit_test(once_nodes_follow_their_params),
    cmocka_unit_test(what_nobody_reads_is_dropped),
    cmocka_unit_test(equal_recordings_are_one_node),
    cmocka_unit_test(a_call_sees_every_sample_once_from_any_thread),
    cmocka_unit_test(an_overridden_draw_takes_the_numbers_given),
    cmocka_unit_test(a_long_tape_keeps_its_gradients),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
