/* test_parallel.c -- every piece is done once, by a worker of the pool, before the return.
 * Promise B8 of docs/design.md. */
#include "tests/address_space.h"
#include "tests/pool.h"
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
enum { WATCHED = 1 }; /* their builds take address space and signals of their own */
#else
enum { WATCHED = 0 };
#endif

enum { PIECES = 61 };

typedef struct {
  atomic_int done[PIECES];
  int threads;
  int sum[PIECES]; /* plain numbers, one per piece: visible after the run */
} Work;

static void count(void *context, int piece, int worker) {
  Work *work = context;
  assert_in_range(piece, 0, PIECES - 1);
  assert_in_range(worker, 0, work->threads - 1);
  work->done[piece]++;
  work->sum[piece] += piece;
}

static void every_piece_is_done_once(void **state) {
  (void)state;
  for (int threads = 1; threads <= 4; threads++) {
    Pool *pool = pool_of(threads);
    assert_int_equal(pool_threads(pool), threads);
    Work work = { .threads = threads };
    int expected[PIECES] = { 0 };
    for (int round = 0; round < 3000; round++) {
      int pieces = round * 7 % (PIECES + 1); /* none, one, few, many */
      pool_run(pool, count, &work, pieces);
      for (int i = 0; i < pieces; i++) expected[i]++;
      for (int i = 0; i < PIECES; i++) {
        assert_int_equal(work.done[i], expected[i]);
        assert_int_equal(work.sum[i], expected[i] * i);
      }
    }
    pool_free(pool);
  }
}

static void a_pool_that_never_ran_ends(void **state) {
  (void)state;
  for (int i = 0; i < 50; i++) pool_free(pool_of(4));
  pool_free(NULL);
}

typedef struct {
  atomic_int arrived;
  volatile double tiny, product[2]; /* volatile: multiplied when run, not when compiled */
} Tiny;

/* both workers wait for each other, so both multiply */
static void multiply_tiny(void *context, int piece, int worker) {
  Tiny *t = context;
  t->arrived++;
  while (t->arrived < 2) {}
  t->product[worker] = t->tiny * 0.5;
  (void)piece;
}

static void workers_flush_denormals_and_callers_choose(void **state) {
  (void)state;
  Pool *pool = pool_of(2);
  Tiny t = { .tiny = 0x1p-1022 };
  pool_run(pool, multiply_tiny, &t, 2);
  assert_true(t.product[0] == 0x1p-1023 && t.product[1] == 0);
  t.arrived = 0;
  unsigned before = denormals_off();
  pool_run(pool, multiply_tiny, &t, 2);
  denormals_restore(before);
  assert_true(t.product[0] == 0 && t.product[1] == 0);
  t.product[0] = t.tiny * 0.5;
  assert_true(t.product[0] == 0x1p-1023);
  pool_free(pool);
}

/* how a child that does `work` ends */
static int status_of(void (*work)(void)) {
  int status;
  pid_t child = fork();
  if (!child) {
    if (!freopen("/dev/null", "w", stderr)) _exit(1);
    work();
    _exit(0);
  }
  assert_int_equal(waitpid(child, &status, 0), child);
  return status;
}

/* The stacks of 200 threads need more address space than there is. */
static void ask_for_too_many(void) {
  Error why;
  if (!address_space_limit(1u << 29)) _exit(NOT_LIMITED);
  Pool *pool = pool_new(200, &why);
  bool said = strstr(why.text, "of 200") && strstr(why.text, "--threads");
  Pool *small = pool_new(2, &why); /* those that were started have ended */
  Work work = { .threads = 2 };
  if (small) pool_run(small, count, &work, PIECES);
  _exit(!pool && said && why.kind == FAIL_RUNNING && small && work.done[PIECES - 1] ? 0 : 1);
}

static void a_thread_that_the_system_refuses_is_an_error(void **state) {
  (void)state;
  int status = status_of(ask_for_too_many);
  if (WEXITSTATUS(status) == NOT_LIMITED) skip();
  assert_int_equal(status, 0);
}

static void run_again(void *pool, int piece, int worker) {
  (void)worker;
  if (piece == 1) pool_run(pool, run_again, pool, 1);
}
static void run_inside_two(void) {
  Pool *pool = pool_of(2);
  pool_run(pool, run_again, pool, 2);
}
static void run_inside_one(void) {
  Pool *pool = pool_of(1);
  pool_run(pool, run_again, pool, 2);
}

static void a_task_that_runs_another_in_its_pool_is_a_bug(void **state) {
  (void)state;
  if (WATCHED) skip();
  void (*const both[])(void) = { run_inside_one, run_inside_two };
  for (int i = 0; i < 2; i++) {
    int status = status_of(both[i]);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
  }
}

static void there_is_at_least_one_cpu(void **state) {
  (void)state;
  assert_true(pool_cpus() >= 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_piece_is_done_once),
    cmocka_unit_test(a_pool_that_never_ran_ends),
    cmocka_unit_test(workers_flush_denormals_and_callers_choose),
    cmocka_unit_test(a_thread_that_the_system_refuses_is_an_error),
    cmocka_unit_test(a_task_that_runs_another_in_its_pool_is_a_bug),
    cmocka_unit_test(there_is_at_least_one_cpu),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
