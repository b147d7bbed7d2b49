/* golden.h -- numbers that a reference implementation wrote (scripts/golden/), read as doubles. */
#ifndef TESTS_GOLDEN_H
#define TESTS_GOLDEN_H
#include "core/arena.h"
#include "core/check.h"
#include "core/checkpoint.h"
#include <stdint.h>

typedef struct {
  Arena *arena;
  Checkpoint file;
} Golden;

static inline void golden_open(Golden *golden, const char *path) {
  Error error;
  golden->arena = arena_new();
  checkpoint_init(&golden->file, golden->arena);
  CHECK(checkpoint_load(&golden->file, path, NULL, &error), "%s", error.text);
}
static inline void golden_close(Golden *golden) { arena_free(golden->arena); }

static inline const CheckpointTensor *golden_tensor(const Golden *golden, const char *name) {
  const CheckpointTensor *tensor = checkpoint_tensor(&golden->file, name);
  CHECK(tensor, "no golden tensor %s", name);
  return tensor;
}

static inline size_t golden_count(const CheckpointTensor *tensor) {
  size_t count = 1;
  for (int i = 0; i < tensor->rank; i++) count *= (size_t)tensor->shape[i];
  return count;
}

static inline double golden_at(const CheckpointTensor *tensor, size_t i) {
  CHECK(i < golden_count(tensor), "%s has no entry %zu", tensor->name, i);
  if (tensor->type == CHECKPOINT_F64) return ((const double *)tensor->data)[i];
  if (tensor->type == CHECKPOINT_F32) return (double)((const float *)tensor->data)[i];
  CHECK(tensor->type == CHECKPOINT_I64, "%s holds no numbers", tensor->name);
  return (double)((const int64_t *)tensor->data)[i];
}

static inline double golden_number(const Golden *golden, const char *name) {
  return golden_at(golden_tensor(golden, name), 0);
}

#endif
