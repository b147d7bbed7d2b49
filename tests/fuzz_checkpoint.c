/* fuzz_checkpoint.c -- any bytes as a file: loaded or refused; all that is loaded can be read. */
#include "core/check.h"
#include "core/checkpoint.h"
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char path[64];
  int fd = memfd_create("checkpoint", MFD_CLOEXEC);
  CHECK(fd >= 0 && write(fd, data, size) == (ssize_t)size, "no memory file");
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  Error error = { 0 };
  Checkpoint set;
  Arena *arena = arena_new();
  bool verified = true;
  checkpoint_init(&set, arena);
  if (checkpoint_load(&set, path, &verified, &error)) {
    size_t total = 0;
    for (size_t i = 0; i < set.tensors; i++) {
      size_t bytes = checkpoint_element_size(set.tensor[i].type);
      for (int d = 0; d < set.tensor[i].rank; d++) bytes *= (size_t)set.tensor[i].shape[d];
      CHECK(!bytes || memmem(data, size, set.tensor[i].data, bytes), "not the file's bytes");
      total += bytes;
    }
    CHECK(total < size, "%zu bytes of tensors from a file of %zu", total, size);
  } else {
    CHECK(error.kind == FAIL_INPUT && *error.text && !verified, "refused without a reason");
  }
  arena_free(arena);
  close(fd);
  return 0;
}
