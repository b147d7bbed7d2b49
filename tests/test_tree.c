/* test_tree.c -- ranks add up to the bits of one process, however groups and ranks divide.
 *
 * The ranks are threads here, each with a tape, parameters and rows of its own, and the transport
 * is a mailbox, so this needs no MPI.  Promise B3 of docs/design.md. */
#include "tests/tape_net.h"
#include <pthread.h>

/* ---- a transport of threads ------------------------------------------------------------------ */

enum { RANKS = 8, LETTERS = 64 };

typedef struct {
  real *copy;
  size_t count;
} Letter;

/* letters from one rank to another, in order */
typedef struct {
  Letter letter[LETTERS];
  int sent, taken;
} Box;

static struct {
  pthread_mutex_t mutex;
  pthread_cond_t posted;
  Box box[RANKS][RANKS]; /* [from][to] */
} post = { .mutex = PTHREAD_MUTEX_INITIALIZER, .posted = PTHREAD_COND_INITIALIZER };

/* what a rank waits for */
typedef struct Transport {
  struct {
    int from;
    real *to;
    size_t count;
  } wanted[RANKS * LETTERS];
  int count;
} Transport;

void ranks_send(Ranks *ranks, int to, const real *from, size_t count) {
  Letter letter = { malloc(count * sizeof *from + 1), count };
  memcpy(letter.copy, from, count * sizeof *from);
  pthread_mutex_lock(&post.mutex);
  Box *box = &post.box[ranks->index][to];
  assert_true(box->sent - box->taken < LETTERS);
  box->letter[box->sent++ % LETTERS] = letter;
  pthread_cond_broadcast(&post.posted);
  pthread_mutex_unlock(&post.mutex);
  ranks->bytes += count * sizeof *from;
}

void ranks_receive(Ranks *ranks, int from, real *to, size_t count) {
  Transport *t = ranks->transport;
  t->wanted[t->count].from = from, t->wanted[t->count].to = to;
  t->wanted[t->count++].count = count;
}

void ranks_await(Ranks *ranks) {
  Transport *t = ranks->transport;
  for (int i = 0; i < t->count; i++) {
    Box *box = &post.box[t->wanted[i].from][ranks->index];
    pthread_mutex_lock(&post.mutex);
    while (box->taken == box->sent) pthread_cond_wait(&post.posted, &post.mutex);
    Letter letter = box->letter[box->taken++ % LETTERS];
    pthread_mutex_unlock(&post.mutex);
    assert_int_equal(letter.count, t->wanted[i].count);
    memcpy(t->wanted[i].to, letter.copy, letter.count * sizeof(real));
    free(letter.copy);
  }
  t->count = 0;
}

/* ---- one tape on many ranks ------------------------------------------------------------------ */

typedef struct {
  int rows, group;
  Ranks ranks;
  Transport transport;
  Net net;
} Member;

/* two phases, and more parameters than ranks exchange in one piece */
static void record_net(Net *net) {
  Graph *g = net->g;
  Mlp mlp_ = mlp_new(net->params, &(MlpSpec){ "q", 2, 2 * N, 48, 2, 1, MAP_mish, MLP_PLAIN });
  params_allocate(net->params);
  params_init(net->params, 1);
  net->x = t_input(g, "x", 1, N);
  Tensor *q = t_fold(mlp(&mlp_, g, net->params, IN(t_normal(g, "noise", 1, N), net->x)));
  Tensor *scale = t_detach(t_mean(t_map(MAP_abs, t_col(q, 1))));
  net_minimise(net, t_div(t_mean(t_map(MAP_square, q)), scale), false);
}

/* rows of other ranks are poison */
static void *run_member(void *argument) {
  Member *m = argument;
  int from, to;
  m->ranks.transport = &m->transport;
  net_open(&m->net, 2, MAX_ROWS, m->group, 3);
  m->net.g->spec.ranks = m->ranks.count ? &m->ranks : NULL;
  record_net(&m->net);
  ranks_rows(m->net.g->spec.ranks, m->rows, m->group, &from, &to);
  for (int i = 0; i < MAX_ROWS * LD; i++)
    if (i < from * LD || i >= to * LD) m->net.data[i] = (real)NAN;
  for (uint64_t step = 0; step < 3; step++) graph_run(m->net.g, m->rows, step, NULL);
  return NULL;
}

static void run_ranks(Member *member, int count, int rows, int group) {
  pthread_t thread[RANKS];
  for (int r = 0; r < count; r++) {
    member[r] = (Member){ .rows = rows, .group = group, .ranks = { .index = r, .count = count } };
    assert_int_equal(pthread_create(&thread[r], NULL, run_member, &member[r]), 0);
  }
  for (int r = 0; r < count; r++) pthread_join(thread[r], NULL);
}

static Member member[RANKS];

static void check_ranks(int count, int rows, int group) {
  Member alone = { .rows = rows, .group = group };
  run_member(&alone);
  assert_true(isfinite(graph_scalar(alone.net.loss)));
  run_ranks(member, count, rows, group);
  for (int r = 0; r < count; r++) {
    same_gradient(&alone.net, &member[r].net);
    net_close(&member[r].net);
  }
  net_close(&alone.net);
}

static void any_number_of_ranks_gives_one_gradient(void **state) {
  (void)state;
  const int groups[] = { 1, 4, 7, 16, 31, 61 };
  for (int i = 0; i < 6; i++)
    for (int count = 2; count <= 5; count++) check_ranks(count, MAX_ROWS, groups[i]);
  check_ranks(RANKS, MAX_ROWS, 8);
  check_ranks(RANKS, 20, 4); /* fewer groups than ranks, fewer rows than the tape holds */
}

/* Half a step's traffic goes to others and half comes back, whatever the number of groups. */
static void a_rank_sends_at_most_twice_what_it_sums(void **state) {
  (void)state;
  for (int count = 2; count <= RANKS; count *= 2) {
    run_ranks(member, count, 16, 1);
    for (int r = 0; r < count; r++) {
      const Graph *g = member[r].net.g;
      size_t short_sums = (size_t)count * (g->sum_size - g->gradient_size);
      assert_in_range(member[r].ranks.bytes, 1,
                      3 * sizeof(real) * (2 * g->gradient_size + short_sums));
      net_close(&member[r].net);
    }
  }
}

/* ---- who owns what --------------------------------------------------------------------------- */

static void every_group_has_one_owner_and_all_have_as_many(void **state) {
  (void)state;
  for (int count = 1; count <= 9; count++)
    for (int groups = 1; groups <= 40; groups++) {
      Ranks ranks = { .count = count };
      assert_int_equal(ranks_first(&ranks, groups, 0), 0);
      assert_int_equal(ranks_first(&ranks, groups, count), groups);
      for (int r = 0; r < count; r++) {
        int first = ranks_first(&ranks, groups, r), end = ranks_first(&ranks, groups, r + 1);
        assert_in_range(end - first, groups / count, (groups + count - 1) / count);
        for (int group = first; group < end; group++)
          assert_int_equal(ranks_owner(&ranks, groups, group), r);
      }
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(any_number_of_ranks_gives_one_gradient),
    cmocka_unit_test(a_rank_sends_at_most_twice_what_it_sums),
    cmocka_unit_test(every_group_has_one_owner_and_all_have_as_many),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
