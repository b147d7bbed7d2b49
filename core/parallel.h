/* parallel.h -- a few worker threads that share out numbered pieces of work.
 *
 * Which thread does which piece never matters for the result: pieces write to places of their
 * own.  Threads run with denormals off.  Waiting sleeps; it does not spin for long. */
#ifndef CORE_PARALLEL_H
#define CORE_PARALLEL_H
#include "core/error.h"

typedef struct Pool Pool;
typedef void PoolTask(void *context, int piece, int worker);

/* threads >= 1; the caller's thread is worker 0, so threads - 1 are started.  NULL and an error if
 * the system refuses one. */
Pool *pool_new(int threads, Error *error);
void pool_free(Pool *pool); /* pool may be NULL */
int pool_threads(const Pool *pool);

/* Call task(context, piece, worker) for piece = 0 .. pieces - 1 and wait for all.  pool NULL: in
 * the calling thread.  A pool has one task at a time, so a task does not run another. */
void pool_run(Pool *pool, PoolTask *task, void *context, int pieces);

/* CPUs this process may use (affinity mask and cgroup quota). */
int pool_cpus(void);

/* Flush denormals to zero in the calling thread; returns the previous state for the second. */
unsigned denormals_off(void);
void denormals_restore(unsigned state);

#endif
