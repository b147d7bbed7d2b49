/* parallel.c -- pieces are handed out by an atomic counter; workers sleep between runs. */
#include "core/parallel.h"
#include "core/check.h"
#include "core/limits.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined __x86_64__ || defined __i386__
#include <xmmintrin.h>
#define PAUSE() _mm_pause()
#elif defined __aarch64__
#define PAUSE() __asm__ volatile("yield")
#else
#define PAUSE() ((void)0)
#endif

enum { SPINS = 2000 }; /* a few microseconds: steps follow each other closely */

typedef struct {
  Pool *pool;
  int index;
  pthread_t thread;
} Worker;

struct Pool {
  int threads;
  Worker *worker; /* [threads], of which the first is the caller: no thread */
  pthread_mutex_t mutex;
  pthread_cond_t wake, done;
  PoolTask *task;
  void *context;
  int pieces;
  atomic_int next, busy; /* next piece; workers not yet finished */
  atomic_uint round;     /* grows with every run */
  bool stop;
  atomic_bool running; /* a pool has one task at a time */
};

static void work(Pool *pool, int worker) {
  for (int piece; (piece = atomic_fetch_add(&pool->next, 1)) < pool->pieces;)
    pool->task(pool->context, piece, worker);
}

/* wait for the next round: spin briefly, then sleep */
static unsigned await_round(Pool *pool, unsigned seen) {
  for (int i = 0; i < SPINS; i++) {
    if (atomic_load(&pool->round) != seen) return atomic_load(&pool->round);
    PAUSE();
  }
  pthread_mutex_lock(&pool->mutex);
  while (atomic_load(&pool->round) == seen) pthread_cond_wait(&pool->wake, &pool->mutex);
  pthread_mutex_unlock(&pool->mutex);
  return atomic_load(&pool->round);
}

static void *worker_main(void *argument) {
  const Worker *me = argument;
  Pool *pool = me->pool;
  denormals_off();
  for (unsigned seen = 0;;) {
    seen = await_round(pool, seen);
    if (pool->stop) return NULL;
    work(pool, me->index);
    pthread_mutex_lock(&pool->mutex);
    if (atomic_fetch_sub(&pool->busy, 1) == 1) pthread_cond_signal(&pool->done);
    pthread_mutex_unlock(&pool->mutex);
  }
}

static int start(Worker *worker, Pool *pool, int index) {
  worker->pool = pool, worker->index = index;
  return pthread_create(&worker->thread, NULL, worker_main, worker);
}

Pool *pool_new(int threads, Error *error) {
  CHECK(threads >= 1, "a pool of %d threads", threads);
  Pool *pool = calloc(1, sizeof *pool);
  Worker *workers = calloc((size_t)threads, sizeof *workers);
  if (!pool || !workers) {
    free(pool), free(workers);
    error_memory(error, (size_t)threads * sizeof *workers);
    return NULL;
  }
  pool->worker = workers;
  pthread_mutex_init(&pool->mutex, NULL);
  pthread_cond_init(&pool->wake, NULL);
  pthread_cond_init(&pool->done, NULL);
  for (int i = pool->threads = 1; i < threads; i++, pool->threads++) {
    int reason = start(&workers[i], pool, i);
    if (!reason) continue;
    pool_free(pool);
    error_set(error, FAIL_RUNNING,
              "thread %d of %d cannot be started: %s; use fewer --threads, or raise the limit on "
              "processes (ulimit -u, the control group's pids.max)",
              i + 1, threads, strerror(reason));
    return NULL;
  }
  return pool;
}

/* publish a new round under the mutex, so that no sleeper misses it */
static void announce(Pool *pool) {
  pthread_mutex_lock(&pool->mutex);
  atomic_fetch_add(&pool->round, 1);
  pthread_cond_broadcast(&pool->wake);
  pthread_mutex_unlock(&pool->mutex);
}

static void share_out(Pool *pool, PoolTask *task, void *context, int pieces) {
  pool->task = task, pool->context = context, pool->pieces = pieces;
  atomic_store(&pool->next, 0);
  atomic_store(&pool->busy, pool->threads - 1);
  announce(pool);
  work(pool, 0);
  for (int i = 0; i < SPINS && atomic_load(&pool->busy); i++) PAUSE();
  pthread_mutex_lock(&pool->mutex);
  while (atomic_load(&pool->busy)) pthread_cond_wait(&pool->done, &pool->mutex);
  pthread_mutex_unlock(&pool->mutex);
}

void pool_run(Pool *pool, PoolTask *task, void *context, int pieces) {
  CHECK(!pool || !atomic_exchange(&pool->running, true), "pool_run: its pool has a task already");
  if (!pool || pool->threads == 1 || pieces == 1)
    for (int piece = 0; piece < pieces; piece++) task(context, piece, 0);
  else
    share_out(pool, task, context, pieces);
  if (pool) atomic_store(&pool->running, false);
}

void pool_free(Pool *pool) {
  if (!pool) return;
  pool->stop = true;
  announce(pool);
  for (int i = 1; i < pool->threads; i++) pthread_join(pool->worker[i].thread, NULL);
  pthread_mutex_destroy(&pool->mutex);
  pthread_cond_destroy(&pool->wake);
  pthread_cond_destroy(&pool->done);
  free(pool->worker);
  free(pool);
}

int pool_threads(const Pool *pool) { return pool->threads; }

int pool_cpus(void) { return limits_cpus(); }

/* ---- the processor --------------------------------------------------------------------------- */

#if defined __x86_64__ || defined __i386__
unsigned denormals_off(void) {
  unsigned state = _mm_getcsr();
  _mm_setcsr(state | 0x8040); /* flush to zero, denormals are zero */
  return state;
}
void denormals_restore(unsigned state) { _mm_setcsr(state); }

#elif defined __aarch64__
/* FPCR, whose bit FZ is for inputs and results */
static void set_fpcr(uint64_t state) { __asm__ volatile("msr fpcr, %0" : : "r"(state)); }

unsigned denormals_off(void) {
  uint64_t state;
  __asm__ volatile("mrs %0, fpcr" : "=r"(state));
  set_fpcr(state | 1u << 24);
  return (unsigned)state;
}
void denormals_restore(unsigned state) { set_fpcr(state); }

#else /* they are kept: slower, and bits of their own where one occurs */
unsigned denormals_off(void) { return 0; }
void denormals_restore(unsigned state) { (void)state; }
#endif
