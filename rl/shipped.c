/* shipped.c -- files embedded in the program. */
#include "rl/shipped.h"
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* clang-format off */
/* a line for each file of rl/shipped/: X(symbol, name, about) */
#define SHIPPED(X) \
  X(generator, "fashion-mnist", "a generator of clothes, conditioned on labels") \
  X(judge, "fashion-mnist-judge", "a classifier that rewards ask") \
  X(gauge, "fashion-mnist-gauge", "a classifier of another seed and shape, whose features measure")

/* clang-format on */
/* the file becomes read-only data of the program, between two symbols */
#define EMBED(symbol, file, about)                                                                 \
  __asm__(".section .rodata\n.balign 64\nshipped_" #symbol ":\n.incbin \"rl/shipped/" file         \
          ".safetensors\"\nshipped_" #symbol "_end:\n.previous\n");                                \
  extern const unsigned char shipped_##symbol[] __attribute__((visibility("hidden")));             \
  extern const unsigned char shipped_##symbol##_end[] __attribute__((visibility("hidden")));
SHIPPED(EMBED)

#define ENTRY(symbol, file, about) { file, about, shipped_##symbol, shipped_##symbol##_end },
static const Shipped shipped[] = { SHIPPED(ENTRY) };
enum { COUNT = sizeof shipped / sizeof *shipped };

const Shipped *shipped_list(size_t *count) {
  *count = COUNT;
  return shipped;
}

const Shipped *shipped_find(const char *name) {
  for (int i = 0; i < COUNT; i++)
    if (!strcmp(shipped[i].name, name)) return &shipped[i];
  return NULL;
}

enum { PATH_SIZE = 64 };

/* The reader takes files, so the bytes become one that exists in memory alone, until it is closed;
 * -1 and an error. */
static int unpack(const Shipped *s, char path[PATH_SIZE], Error *error) {
  int fd = memfd_create(s->name, MFD_CLOEXEC);
  size_t size = (size_t)(s->to - s->from);
  if (fd < 0 || write(fd, s->from, size) != (ssize_t)size) {
    if (fd >= 0) close(fd);
    error_set(error, FAIL_RUNNING, "cannot unpack %s, which is shipped", s->name);
    return -1;
  }
  snprintf(path, PATH_SIZE, "/proc/self/fd/%d", fd);
  return fd;
}

bool shipped_load(Checkpoint *checkpoint, const Shipped *s, Error *error) {
  char path[PATH_SIZE];
  int fd = unpack(s, path, error);
  bool done = fd >= 0 && checkpoint_load(checkpoint, path, NULL, error);
  if (fd >= 0) close(fd);
  return done;
}

bool shipped_inspect(Checkpoint *checkpoint, const Shipped *s, bool *verified, Error *error) {
  char path[PATH_SIZE];
  int fd = unpack(s, path, error);
  bool done = fd >= 0 && checkpoint_inspect(checkpoint, path, verified, error);
  if (fd >= 0) close(fd);
  return done;
}

bool shipped_or_file(Checkpoint *checkpoint, const char *name, Error *error) {
  const Shipped *s = access(name, F_OK) ? shipped_find(name) : NULL;
  return s ? shipped_load(checkpoint, s, error) : checkpoint_load(checkpoint, name, NULL, error);
}
