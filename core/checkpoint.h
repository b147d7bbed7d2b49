/* checkpoint.h -- a set of named tensors and texts as one safetensors file.
 *
 * Any reader of the format opens it.  `__metadata__` is text only, keys sorted; tensors are sorted
 * by name (their bytes by element size first), so equal content is an equal file.  A checksum per
 * tensor and one over the header are in the metadata; a file cut short or with a flipped byte is
 * refused.  Saving writes a temporary file, syncs, renames and syncs the folder: at any instant the
 * old or the new file is whole. */
#ifndef CORE_CHECKPOINT_H
#define CORE_CHECKPOINT_H
#include "core/arena.h"
#include "core/config.h"
#include "core/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* F16: as in core/half.h */
typedef enum {
  CHECKPOINT_F32,
  CHECKPOINT_F64,
  CHECKPOINT_U8,
  CHECKPOINT_I64,
  CHECKPOINT_F16
} CheckpointType;

/* what a tensor's checksum says after checkpoint_inspect; NONE: the file has none */
typedef enum { CHECKSUM_NONE, CHECKSUM_GOOD, CHECKSUM_WRONG, CHECKSUM_MISSING } ChecksumVerdict;

typedef struct {
  const char *name;
  CheckpointType type;
  int rank; /* 0 to 4 */
  int64_t shape[4];
  void *data; /* dense, row-major; writer: caller-owned; reader: owned by the arena */
  ChecksumVerdict verdict;
} CheckpointTensor;

typedef struct {
  const char *key, *value;
} CheckpointText;

typedef struct {
  Arena *arena; /* caller-owned; holds what checkpoint_add copies and what checkpoint_load reads */
  CheckpointTensor *tensor;
  CheckpointText *text;
  size_t tensors, texts, tensor_room, text_room;
} Checkpoint;

void checkpoint_init(Checkpoint *checkpoint, Arena *arena);

/* Name and texts are copied, data is referred to.  A repeated name is a CHECK, and so are the keys
 * "format", "checksum" and "checksum/...", which saving adds and loading takes away. */
void checkpoint_add(Checkpoint *checkpoint, const char *name, CheckpointType type, int rank,
                    const int64_t *shape, void *data);
void checkpoint_add_text(Checkpoint *checkpoint, const char *key, const char *value);

const CheckpointTensor *checkpoint_tensor(const Checkpoint *checkpoint, const char *name);
const char *checkpoint_text(const Checkpoint *checkpoint, const char *key); /* NULL if absent */

/* The same, but NULL comes with FAIL_INPUT: no "KEY" in the metadata: not WHAT. */
const char *checkpoint_need_text(const Checkpoint *checkpoint, const char *key, const char *what,
                                 Error *error);

/* A text that is a whole number from low to high (within 2^53), or any number but NaN; FAIL_INPUT
 * if it is absent or another text. */
bool checkpoint_read_whole(const Checkpoint *checkpoint, const char *key, int64_t low, int64_t high,
                           int64_t *value, Error *error);
bool checkpoint_read_number(const Checkpoint *checkpoint, const char *key, double *value,
                            Error *error);

/* The data of a tensor that must be of this type and [count]; else NULL and FAIL_INPUT. */
const void *checkpoint_need_vector(const Checkpoint *checkpoint, const char *name,
                                   CheckpointType type, int64_t count, Error *error);

/* A struct of settings as a JSON object under this key. */
void checkpoint_add_config(Checkpoint *checkpoint, const char *key, const ConfigField *fields,
                           size_t count, const void *values);

/* And back: defaults, then what the object has.  FAIL_INPUT if it is not there (`what` says what
 * the file is expected to be, "a policy of diffrl"), or is not JSON or not of these settings. */
bool checkpoint_read_config(const Checkpoint *checkpoint, const char *key,
                            const ConfigField *fields, size_t count, void *values, const char *what,
                            Error *error);

/* False and FAIL_RUNNING if the disk is full or the folder is not writable; the old file stands. */
bool checkpoint_save(const Checkpoint *checkpoint, const char *path, Error *error);

/* Into an empty set; data and texts live in its arena.  False and FAIL_INPUT with the reason (not
 * safetensors, cut short, checksum of tensor X, newer format) on anything not written whole.  Files
 * by other writers load; `verified` (nullable) says whether checksums were there. */
bool checkpoint_load(Checkpoint *checkpoint, const char *path, bool *verified, Error *error);

/* The same for those who look rather than use: a tensor whose checksum is wrong or missing is read
 * and its verdict says so.  All else is refused as above. */
bool checkpoint_inspect(Checkpoint *checkpoint, const char *path, bool *verified, Error *error);

size_t checkpoint_bytes(const CheckpointTensor *tensor);
const char *checkpoint_type_name(CheckpointType type);    /* "F32" */
int64_t checkpoint_numbers(const Checkpoint *checkpoint); /* of all tensors together */
size_t checkpoint_element_size(CheckpointType type);

#endif
