/* address_space.h -- a limit on a child's address space, where the system keeps to it. */
#ifndef TESTS_ADDRESS_SPACE_H
#define TESTS_ADDRESS_SPACE_H
#include <stdbool.h>
#include <sys/resource.h>

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
enum { NOT_LIMITED = 77, SANITIZER_MAPS = 1 }; /* they need space of their own */
#else
enum { NOT_LIMITED = 77, SANITIZER_MAPS = 0 };
#endif

/* In a child, which else says so by _exit(NOT_LIMITED): false under qemu and sanitizers, which need
 * more; then nothing is limited. */
static inline bool address_space_limit(rlim_t bytes) {
  struct rlimit limit = { bytes, bytes }, now;
  return !SANITIZER_MAPS && !setrlimit(RLIMIT_AS, &limit) && !getrlimit(RLIMIT_AS, &now) &&
         now.rlim_cur == bytes;
}

#endif
