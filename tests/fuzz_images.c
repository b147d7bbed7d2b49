/* fuzz_images.c -- any bytes as a folder of pictures: four IDX files, gzipped or not, that are read
 * or refused with a reason; what is read can be decoded.
 *
 * The bytes: the lengths of the first three files, two bytes each, low byte first; all four. */
#include "core/check.h"
#include "datasets/images.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { FILES = 4, HEADER = 2 * (FILES - 1), MOST_DECODED = 64 };

static char folder[200];
static int file[FILES];
static const char *const name[FILES] = { "train-images-idx3-ubyte", "train-labels-idx1-ubyte",
                                         "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte" };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void leave(void) {
  char path[256];
  for (int i = 0; i < FILES; i++)
    snprintf(path, sizeof path, "%s/%s.gz", folder, name[i]), unlink(path);
  rmdir(folder);
}

/* A folder whose files are in memory. */
static void enter(void) {
  char path[256], target[64];
  const char *above = getenv("TMPDIR");
  snprintf(folder, sizeof folder, "%s/fuzz-images-XXXXXX", above ? above : "/tmp");
  CHECK(mkdtemp(folder), "no folder");
  for (int i = 0; i < FILES; i++) {
    file[i] = memfd_create(name[i], MFD_CLOEXEC);
    snprintf(path, sizeof path, "%s/%s.gz", folder, name[i]);
    snprintf(target, sizeof target, "/proc/%d/fd/%d", (int)getpid(), file[i]);
    CHECK(file[i] >= 0 && !symlink(target, path), "no files");
  }
  atexit(leave);
}

static void check_part(const Images *part) {
  int side = part->height > part->width ? part->height : part->width;
  real *x = malloc((size_t)side * (size_t)side * sizeof *x);
  for (int i = 0; i < part->count && i < MOST_DECODED; i++) {
    images_decode(part, i, side, x);
    for (int j = 0; j < side * side; j++) CHECK(x[j] >= -1 && x[j] <= 1, "%g", (double)x[j]);
  }
  free(x);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (!file[0]) enter();
  if (size < HEADER) return 0;
  const uint8_t *at = data + HEADER, *end = data + size;
  for (int i = 0; i < FILES; i++) {
    size_t rest = (size_t)(end - at);
    size_t length = i < FILES - 1 ? (size_t)(data[2 * i] | data[2 * i + 1] << 8) : rest;
    if (length > rest) length = rest;
    CHECK(!ftruncate(file[i], 0) && pwrite(file[i], at, length, 0) == (ssize_t)length, "no bytes");
    at += length;
  }
  Error error = { 0 };
  Arena *arena = arena_new();
  ImageSet *set = images_open(arena, folder, &error);
  if (set) {
    CHECK(set->classes >= 1 && set->classes <= 256, "%d classes", set->classes);
    check_part(&set->train), check_part(&set->test);
  } else {
    CHECK(error.kind == FAIL_INPUT && *error.text, "refused without a reason");
  }
  arena_free(arena);
  return 0;
}
