/* shortage.c -- a library that is loaded before the program's own (LD_PRELOAD) and lets one call of
 * the program named $SHORT_PROGRAM fail: of those of the kind $SHORT_OF the $SHORT_AT-th, as where
 * memory ("memory"), descriptors or disk ("system") have run out.
 *
 * How many there were is written to $SHORT_COUNT. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t), *__libc_memalign(size_t, size_t);

/* 0: not asked yet; the first call finds out */
enum { UNKNOWN, NONE, MEMORY, SYSTEM };
static int kind;
static long count, at;
static int counts = -1; /* opened at once: diffrl-hdf5 locks itself in */

__attribute__((constructor)) static void learn(void) {
  const char *program = getenv("SHORT_PROGRAM"), *of = getenv("SHORT_OF"), *n = getenv("SHORT_AT");
  kind = NONE;
  if (!program || !of || strcmp(program, program_invocation_short_name)) return;
  at = n ? atol(n) : 0;
  const char *path = getenv("SHORT_COUNT");
  if (path) counts = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  kind = !strcmp(of, "memory") ? MEMORY : SYSTEM;
}

__attribute__((destructor)) static void write_count(void) {
  kind = NONE;
  if (counts >= 0) dprintf(counts, "%ld\n", count);
}

static bool fails(int of, int code) {
  if (kind != of || __atomic_add_fetch(&count, 1, __ATOMIC_SEQ_CST) != at) return false;
  errno = code;
  return true;
}

/* ---- memory ---------------------------------------------------------------------------------- */

void *malloc(size_t size) { return fails(MEMORY, ENOMEM) ? NULL : __libc_malloc(size); }
void *calloc(size_t n, size_t size) {
  return fails(MEMORY, ENOMEM) ? NULL : __libc_calloc(n, size);
}
void *realloc(void *p, size_t size) {
  return fails(MEMORY, ENOMEM) ? NULL : __libc_realloc(p, size);
}
void *aligned_alloc(size_t align, size_t size) {
  return fails(MEMORY, ENOMEM) ? NULL : __libc_memalign(align, size);
}
int posix_memalign(void **p, size_t align, size_t size) {
  if (fails(MEMORY, ENOMEM)) return ENOMEM;
  *p = __libc_memalign(align, size);
  return *p ? 0 : ENOMEM;
}

/* ---- the system ------------------------------------------------------------------------------ */

/* the call of the C library; ISO C has no cast from an object to a function */
#define REAL(type, name, ...)                                                                      \
  type (*real)(__VA_ARGS__);                                                                       \
  *(void **)&real = dlsym(RTLD_NEXT, name)

void *mmap(void *p, size_t bytes, int how, int flags, int fd, off_t from) {
  REAL(void *, "mmap", void *, size_t, int, int, int, off_t);
  return fails(SYSTEM, ENOMEM) ? MAP_FAILED : real(p, bytes, how, flags, fd, from);
}

static int mode_of(int how, va_list rest) {
  return how & (O_CREAT | O_TMPFILE) ? va_arg(rest, int) : 0;
}
int open(const char *path, int how, ...) {
  REAL(int, "open", const char *, int, ...);
  va_list rest;
  va_start(rest, how);
  int mode = mode_of(how, rest);
  va_end(rest);
  return fails(SYSTEM, EMFILE) ? -1 : real(path, how, mode);
}
int openat(int folder, const char *path, int how, ...) {
  REAL(int, "openat", int, const char *, int, ...);
  va_list rest;
  va_start(rest, how);
  int mode = mode_of(how, rest);
  va_end(rest);
  return fails(SYSTEM, EMFILE) ? -1 : real(folder, path, how, mode);
}
FILE *fopen(const char *path, const char *how) {
  REAL(FILE *, "fopen", const char *, const char *);
  return fails(SYSTEM, EMFILE) ? NULL : real(path, how);
}
ssize_t read(int fd, void *bytes, size_t size) {
  REAL(ssize_t, "read", int, void *, size_t);
  return fails(SYSTEM, EIO) ? -1 : real(fd, bytes, size);
}
ssize_t pread(int fd, void *bytes, size_t size, off_t from) {
  REAL(ssize_t, "pread", int, void *, size_t, off_t);
  return fails(SYSTEM, EIO) ? -1 : real(fd, bytes, size, from);
}
ssize_t write(int fd, const void *bytes, size_t size) {
  REAL(ssize_t, "write", int, const void *, size_t);
  return fails(SYSTEM, ENOSPC) ? -1 : real(fd, bytes, size);
}
/* the calls whose arguments pass through as they are */
#define CALL(name, code, types, names)                                                             \
  int name types {                                                                                 \
    int(*real) types;                                                                              \
    *(void **)&real = dlsym(RTLD_NEXT, #name);                                                     \
    return fails(SYSTEM, code) ? -1 : real names;                                                  \
  }
CALL(fsync, EIO, (int fd), (fd))
CALL(ftruncate, ENOSPC, (int fd, off_t size), (fd, size))
CALL(rename, EIO, (const char *from, const char *to), (from, to))
CALL(mkdir, ENOSPC, (const char *path, mode_t mode), (path, mode))
CALL(pipe2, EMFILE, (int ends[2], int flags), (ends, flags))
CALL(unlink, EIO, (const char *path), (path))
CALL(linkat, ENOSPC, (int a, const char *from, int b, const char *to, int flags),
     (a, from, b, to, flags))
_Noreturn void _exit(int code) {
  REAL(void, "_exit", int);
  write_count();
  real(code);
  abort();
}
pid_t fork(void) {
  REAL(pid_t, "fork", void);
  return fails(SYSTEM, EAGAIN) ? -1 : real();
}
int posix_fallocate(int fd, off_t from, off_t size) {
  REAL(int, "posix_fallocate", int, off_t, off_t);
  return fails(SYSTEM, ENOSPC) ? ENOSPC : real(fd, from, size);
}
