/* params.c -- one flat block, one loop each. */
#include "core/tape/params.h"
#include "core/check.h"
#include "core/half.h"
#include "core/kernels/kernels.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

Params *params_new(Arena *arena, const char *block) {
  Params *params = arena_alloc(arena, sizeof *params);
  params->block = arena_text(arena, "%s", block);
  params->layout = arena_alloc(arena, sizeof *params->layout);
  params->arena = arena;
  return params;
}

static void make_room(Layout *layout, Arena *arena) {
  layout->room = 2 * layout->room + 32;
  Slot *larger = arena_array(arena, Slot, layout->room);
  if (layout->slots) memcpy(larger, layout->slot, (size_t)layout->slots * sizeof *larger);
  layout->slot = larger;
}

int params_slot(Params *params, const char *name, int e, int rows, int n, double bound) {
  Layout *layout = params->layout;
  CHECK(!params->values, "%s: slot %s declared after allocation", params->block, name);
  if (layout->slots == layout->room) make_room(layout, params->arena);
  Slot *slot = &layout->slot[layout->slots];
  *slot = (Slot){
    arena_text(params->arena, "%s", name), e, rows, n, row_stride(n), bound, layout->size, 0
  };
  layout->size += (size_t)e * (size_t)rows * (size_t)slot->ld;
  return layout->slots++;
}

void params_start(Params *params, int slot, double start) {
  params->layout->slot[slot].start = start;
}

void params_allocate(Params *params) {
  params->values = arena_array(params->arena, real, params->layout->size);
  params->version = 1;
}

real *params_at(const Params *params, int slot) {
  return params->values + params->layout->slot[slot].offset;
}

void params_touch(Params *params) { params->version++; }

/* one row of a slot at a time, so that padding is never touched */
typedef void RowVisit(void *context, real *row, int n, int row_index, int slot);

static void each_row(const Params *params, RowVisit *visit, void *context) {
  for (int s = 0; s < params->layout->slots; s++) {
    const Slot *slot = &params->layout->slot[s];
    for (int r = 0; r < slot->e * slot->rows; r++)
      visit(context, params_at(params, s) + (size_t)r * (size_t)slot->ld, slot->n, r, s);
  }
}

typedef struct {
  Rng rng;
  const Layout *layout;
  const Kernels *kernels;
} Init;

static void init_row(void *context, real *row, int n, int row_index, int slot) {
  const Init *init = context;
  double bound = init->layout->slot[slot].bound, start = init->layout->slot[slot].start;
  enum { SOME = 256 };
  for (int from = 0; from < n; from += SOME) {
    double u[SOME];
    const int count = n - from < SOME ? n - from : SOME;
    init->kernels->uniforms(init->rng, (uint64_t)slot, (uint32_t)row_index, from, u, count);
    for (int j = 0; j < count; j++) row[from + j] = (real)(float)(start + bound * (2 * u[j] - 1));
  }
}

void params_init(Params *params, uint64_t seed) {
  char name[96];
  snprintf(name, sizeof name, "init %s", params->block);
  Error none; /* there always are kernels of our own, and all draw the same bits */
  Init init = { rng_stream(seed, name), params->layout, kernels_find("own", &none) };
  each_row(params, init_row, &init);
  params_touch(params);
}

bool params_held(const Params *params) { return params && params->values; }

void params_drop(Params *params) { params->values = NULL; }

Params *params_twin(const Params *params, const char *block) {
  Params *twin = arena_alloc(params->arena, sizeof *twin);
  *twin =
      (Params){ arena_text(params->arena, "%s", block), params->layout, NULL, 0, params->arena };
  return twin;
}

Params *params_clone(const Params *params, const char *block) {
  Params *clone = params_twin(params, block);
  params_allocate(clone);
  memcpy(clone->values, params->values, params->layout->size * sizeof(real));
  return clone;
}

void params_copy(Params *to, const Params *from) {
  CHECK(to->layout->size == from->layout->size, "%s and %s differ", to->block, from->block);
  memcpy(to->values, from->values, to->layout->size * sizeof(real));
  params_touch(to);
}

void params_lerp(Params *to, const Params *from, double t) {
  CHECK(to->layout->size == from->layout->size, "%s and %s differ", to->block, from->block);
  real f = (real)t;
  for (size_t i = 0; i < to->layout->size; i++)
    to->values[i] += f * (from->values[i] - to->values[i]);
  params_touch(to);
}

/* files: dense rows, float32 (float64 in MODE=double) */
static const CheckpointType REAL_TYPE = sizeof(real) == 8 ? CHECKPOINT_F64 : CHECKPOINT_F32;

/* [e, rows, n] without the axes of size one in front; biases are [n] or [e, n] */
static int dense_shape(const Slot *slot, bool bias, int64_t shape[3]) {
  int rank = 0;
  if (slot->e > 1) shape[rank++] = slot->e;
  if (!bias) shape[rank++] = slot->rows;
  shape[rank++] = slot->n;
  return rank;
}

void params_save(const Params *params, Checkpoint *checkpoint) {
  for (int s = 0; s < params->layout->slots; s++) {
    const Slot *slot = &params->layout->slot[s];
    size_t rows = (size_t)slot->e * (size_t)slot->rows, n = (size_t)slot->n;
    real *dense = arena_array(checkpoint->arena, real, rows * n), *from = params_at(params, s);
    for (size_t r = 0; r < rows; r++)
      memcpy(dense + r * n, from + r * (size_t)slot->ld, n * sizeof(real));
    char name[192];
    int64_t shape[3];
    int rank = dense_shape(slot, slot->rows == 1, shape);
    snprintf(name, sizeof name, "%s/%s", params->block, slot->name);
    checkpoint_add(checkpoint, name, REAL_TYPE, rank, shape, dense);
  }
}

static bool save_slot_half(const Params *params, int s, Checkpoint *checkpoint, Error *error) {
  const Slot *slot = &params->layout->slot[s];
  size_t rows = (size_t)slot->e * (size_t)slot->rows, n = (size_t)slot->n;
  uint16_t *dense = arena_array(checkpoint->arena, uint16_t, rows * n);
  const char *name = arena_text(checkpoint->arena, "%s/%s", params->block, slot->name);
  for (size_t r = 0; r < rows; r++)
    for (size_t j = 0; j < n; j++) {
      float x = (float)params_at(params, s)[r * (size_t)slot->ld + j];
      dense[r * n + j] = half_from(x);
      if (isfinite(half_value(dense[r * n + j]))) continue;
      return error_set(error, FAIL_INPUT,
                       "tensor %s: a number is %g, and float16 holds at most 65504; write float32",
                       name, (double)x);
    }
  int64_t shape[3];
  int rank = dense_shape(slot, slot->rows == 1, shape);
  checkpoint_add(checkpoint, name, CHECKPOINT_F16, rank, shape, dense);
  return true;
}

bool params_save_half(const Params *params, Checkpoint *checkpoint, Error *error) {
  for (int s = 0; s < params->layout->slots; s++)
    if (!save_slot_half(params, s, checkpoint, error)) return false;
  return true;
}

static bool match_slot(const Slot *slot, const CheckpointTensor *tensor, Error *error) {
  size_t rows = (size_t)slot->e * (size_t)slot->rows, n = (size_t)slot->n, count = 1;
  for (int i = 0; i < tensor->rank; i++) count *= (size_t)tensor->shape[i];
  if (count != rows * n || tensor->shape[tensor->rank - 1] != slot->n)
    return error_set(error, FAIL_INPUT, "tensor %s has %zu numbers, expected [%d, %d, %d]",
                     tensor->name, count, slot->e, slot->rows, slot->n);
  return tensor->type == CHECKPOINT_F32 || tensor->type == CHECKPOINT_F64 ||
         tensor->type == CHECKPOINT_F16 ||
         error_set(error, FAIL_INPUT, "tensor %s: expected F16, F32 or F64", tensor->name);
}

static const CheckpointTensor *tensor_of(const Params *params, int s, const Checkpoint *c) {
  char name[192];
  snprintf(name, sizeof name, "%s/%s", params->block, params->layout->slot[s].name);
  return checkpoint_tensor(c, name);
}

bool params_match(const Params *params, const Checkpoint *c, Error *error) {
  for (int s = 0; s < params->layout->slots; s++) {
    const CheckpointTensor *tensor = tensor_of(params, s, c);
    if (!tensor || tensor->rank < 1)
      return error_set(error, FAIL_INPUT, "tensor %s/%s is missing; made by another algorithm?",
                       params->block, params->layout->slot[s].name);
    if (!match_slot(&params->layout->slot[s], tensor, error)) return false;
  }
  return true;
}

bool params_saved(const Params *params, const Checkpoint *c) {
  for (int s = 0; s < params->layout->slots; s++)
    if (tensor_of(params, s, c)) return true;
  return false;
}

static bool is_finite(real x) { return isfinite(x); }
static bool is_square(real x) { return x >= 0; }

/* false at the first number that `is_right` refuses, after conversion */
static real number_at(const CheckpointTensor *tensor, size_t i) {
  switch (tensor->type) {
  case CHECKPOINT_F16: return (real)half_value(((const uint16_t *)tensor->data)[i]);
  case CHECKPOINT_F64: return (real)((const double *)tensor->data)[i];
  default: return (real)((const float *)tensor->data)[i];
  }
}

static bool load_slot(const Params *params, int s, const CheckpointTensor *tensor,
                      bool (*is_right)(real), Error *error) {
  const Slot *slot = &params->layout->slot[s];
  size_t rows = (size_t)slot->e * (size_t)slot->rows, n = (size_t)slot->n;
  for (size_t r = 0; r < rows; r++)
    for (size_t j = 0; j < n; j++) {
      real x = number_at(tensor, r * n + j);
      if (!is_right(x))
        return error_set(error, FAIL_INPUT,
                         "tensor %s: number %zu of %zu is %g, expected %s; the training diverged, "
                         "or the file was not written by it; use another checkpoint",
                         tensor->name, r * n + j, rows * n, (double)x,
                         is_right == is_square ? "squares" : "finite ones");
      params_at(params, s)[r * (size_t)slot->ld + j] = x;
    }
  return true;
}

static bool load(Params *params, const Checkpoint *c, bool (*is_right)(real), Error *error) {
  if (!params_match(params, c, error)) return false;
  for (int s = 0; s < params->layout->slots; s++)
    if (!load_slot(params, s, tensor_of(params, s, c), is_right, error)) return false;
  params_touch(params);
  return true;
}

bool params_load(Params *params, const Checkpoint *c, Error *error) {
  return load(params, c, is_finite, error);
}
bool params_load_squares(Params *params, const Checkpoint *c, Error *error) {
  return load(params, c, is_square, error);
}
