/* faults.c -- a library that is loaded before the program's own (LD_PRELOAD) and lets one call
 * fail: of those by the name $FAULT_CALL that write to files of the folder $FAULT_UNDER the
 * $FAULT_AT-th, with errno $FAULT_ERRNO.  With $FAULT_ON all later ones of any name fail too, as on
 * a disk that stays full.  How many there were is written to $FAULT_COUNTS. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum { FILES = 1024 };
enum { OPEN, WRITE, PWRITE, WRITEV, FSYNC, FDATASYNC, FTRUNCATE, TRUNCATE, RENAME, CALLS };
static const char *const names[CALLS] = { "open",      "write",     "pwrite",   "writev", "fsync",
                                          "fdatasync", "ftruncate", "truncate", "rename" };
static bool watched[FILES], begun;
static long calls[CALLS];

static bool ours(const char *path) {
  const char *under = getenv("FAULT_UNDER");
  return under && strncmp(path, under, strlen(under)) == 0 && path[strlen(under)] == '/';
}

/* Is it this call's turn? */
static bool fails(int call) {
  const char *which = getenv("FAULT_CALL"), *at = getenv("FAULT_AT"), *code = getenv("FAULT_ERRNO");
  calls[call]++;
  bool turn = which && at && !strcmp(which, names[call]) && calls[call] == atol(at);
  begun |= turn;
  if (!turn && !(begun && getenv("FAULT_ON"))) return false;
  errno = code ? atoi(code) : EIO;
  return true;
}

static bool fails_on(int call, int fd) {
  return fd >= 0 && fd < FILES && watched[fd] && fails(call);
}

__attribute__((destructor)) static void write_counts(void) {
  const char *path = getenv("FAULT_COUNTS");
  FILE *file = path ? fopen(path, "w") : NULL;
  for (int i = 0; i < CALLS && file; i++) fprintf(file, "%s %ld\n", names[i], calls[i]);
  if (file) fclose(file);
}

/* the call of the C library; ISO C has no cast from an object to a function */
#define REAL(type, name, ...)                                                                      \
  type (*real)(__VA_ARGS__);                                                                       \
  *(void **)&real = dlsym(RTLD_NEXT, name)

int open(const char *path, int how, ...) {
  REAL(int, "open", const char *, int, ...);
  va_list rest;
  va_start(rest, how);
  int mode = how & O_CREAT ? va_arg(rest, int) : 0;
  va_end(rest);
  bool writes = ours(path) && (how & O_ACCMODE) != O_RDONLY;
  if (writes && fails(OPEN)) return -1;
  int fd = real(path, how, mode);
  if (fd >= 0 && fd < FILES) watched[fd] = writes || (ours(path) && how & O_DIRECTORY);
  return fd;
}

int close(int fd) {
  REAL(int, "close", int);
  if (fd >= 0 && fd < FILES) watched[fd] = false;
  return real(fd);
}

ssize_t write(int fd, const void *bytes, size_t count) {
  REAL(ssize_t, "write", int, const void *, size_t);
  return fails_on(WRITE, fd) ? -1 : real(fd, bytes, count);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
  REAL(ssize_t, "pwrite", int, const void *, size_t, off_t);
  return fails_on(PWRITE, fd) ? -1 : real(fd, bytes, count, at);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
  REAL(ssize_t, "writev", int, const struct iovec *, int);
  return fails_on(WRITEV, fd) ? -1 : real(fd, parts, count);
}

int fsync(int fd) {
  REAL(int, "fsync", int);
  return fails_on(FSYNC, fd) ? -1 : real(fd);
}

int fdatasync(int fd) {
  REAL(int, "fdatasync", int);
  return fails_on(FDATASYNC, fd) ? -1 : real(fd);
}

int ftruncate(int fd, off_t length) {
  REAL(int, "ftruncate", int, off_t);
  return fails_on(FTRUNCATE, fd) ? -1 : real(fd, length);
}

int truncate(const char *path, off_t length) {
  REAL(int, "truncate", const char *, off_t);
  return ours(path) && fails(TRUNCATE) ? -1 : real(path, length);
}

int rename(const char *from, const char *to) {
  REAL(int, "rename", const char *, const char *);
  return ours(to) && fails(RENAME) ? -1 : real(from, to);
}
