/* parallel.c -- pieces are handed out by an atomic counter; workers sleep between runs. */
#include "core/parallel.h"
#include "core/check.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <xmmintrin.h>

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
};

static void work(Pool *pool, int worker) {
  for (int piece; (piece = atomic_fetch_add(&pool->next, 1)) < pool->pieces;)
    pool->task(pool->context, piece, worker);
}

/* wait for the next round: spin briefly, then sleep */
static unsigned await_round(Pool *pool, unsigned seen) {
  for (int i = 0; i < SPINS; i++) {
    if (atomic_load(&pool->round) != seen) return atomic_load(&pool->round);
    _mm_pause();
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

Pool *pool_new(int threads) {
  Pool *pool = calloc(1, sizeof *pool);
  CHECK(pool && threads >= 1, "a pool of %d threads", threads);
  pool->threads = threads;
  pool->worker = calloc((size_t)threads, sizeof *pool->worker);
  CHECK(pool->worker, "out of memory");
  pthread_mutex_init(&pool->mutex, NULL);
  pthread_cond_init(&pool->wake, NULL);
  pthread_cond_init(&pool->done, NULL);
  for (int i = 1; i < threads; i++) {
    Worker *worker = &pool->worker[i];
    worker->pool = pool, worker->index = i;
    CHECK(pthread_create(&worker->thread, NULL, worker_main, worker) == 0,
          "cannot start thread %d; use fewer --threads", i);
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

void pool_run(Pool *pool, PoolTask *task, void *context, int pieces) {
  if (!pool || pool->threads == 1 || pieces == 1) {
    for (int piece = 0; piece < pieces; piece++) task(context, piece, 0);
    return;
  }
  pool->task = task, pool->context = context, pool->pieces = pieces;
  atomic_store(&pool->next, 0);
  atomic_store(&pool->busy, pool->threads - 1);
  announce(pool);
  work(pool, 0);
  for (int i = 0; i < SPINS && atomic_load(&pool->busy); i++) _mm_pause();
  pthread_mutex_lock(&pool->mutex);
  while (atomic_load(&pool->busy)) pthread_cond_wait(&pool->done, &pool->mutex);
  pthread_mutex_unlock(&pool->mutex);
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

/* CPUs granted by cgroup v2, 0 if unlimited or unknown */
static int quota_cpus(void) {
  FILE *file = fopen("/sys/fs/cgroup/cpu.max", "r");
  long quota = 0, period = 0;
  int found = file ? fscanf(file, "%ld %ld", &quota, &period) : 0;
  if (file) fclose(file);
  return found == 2 && period > 0 ? (int)((quota + period - 1) / period) : 0;
}

int pool_cpus(void) {
  cpu_set_t set;
  int cpus = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  int quota = quota_cpus();
  return quota > 0 && quota < cpus ? quota : cpus;
}

unsigned denormals_off(void) {
  unsigned state = _mm_getcsr();
  _mm_setcsr(state | 0x8040); /* flush to zero, denormals are zero */
  return state;
}

void denormals_restore(unsigned state) { _mm_setcsr(state); }
