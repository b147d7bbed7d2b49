/* pool.h -- a pool for tests, which get their threads or fail. */
#ifndef TESTS_POOL_H
#define TESTS_POOL_H
#include "core/check.h"
#include "core/parallel.h"

static inline Pool *pool_of(int threads) {
  Error why;
  Pool *pool = pool_new(threads, &why);
  CHECK(pool, "%s", why.text);
  return pool;
}

#endif
