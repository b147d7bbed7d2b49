/* shipped.h -- models and classifiers inside the program: safetensors files of rl/shipped/, with
 * how each was made.  They go by their names where a run or a file is asked for. */
#ifndef RL_SHIPPED_H
#define RL_SHIPPED_H
#include "core/checkpoint.h"

typedef struct {
  const char *name, *about;
  const unsigned char *from, *to; /* the bytes of the file */
} Shipped;

const Shipped *shipped_list(size_t *count);
const Shipped *shipped_find(const char *name); /* NULL: nothing of this name */

/* What checkpoint_load and checkpoint_inspect do, from the program itself.  FAIL_RUNNING if it
 * cannot be unpacked. */
bool shipped_load(Checkpoint *checkpoint, const Shipped *shipped, Error *error);
bool shipped_inspect(Checkpoint *checkpoint, const Shipped *shipped, bool *verified, Error *error);

/* The shipped one of this name, unless a file or folder has it too; else the file.  FAIL_INPUT. */
bool shipped_or_file(Checkpoint *checkpoint, const char *name, Error *error);

#endif
