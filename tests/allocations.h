/* allocations.h -- every allocation of the process is counted, but for the sanitizers' builds. */
#ifndef TESTS_ALLOCATIONS_H
#define TESTS_ALLOCATIONS_H
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

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

#endif
