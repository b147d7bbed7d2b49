/* make_data.h -- data sets in D4RL's layout from the project's own behaviour policies, so that
 * nobody needs a download. */
#ifndef RL_MAKE_DATA_H
#define RL_MAKE_DATA_H
#include "core/error.h"
#include <stddef.h>
#include <stdint.h>

typedef struct {
  const char *name, *env;
  const char *policy[2]; /* rolled out one after the other, half of the rows each; [1]: or NULL */
  const char *algorithm; /* that trained them; NULL: none did */
  int64_t transitions;   /* by default */
  const char *about;
} DataSpec;

const DataSpec *make_data_list(size_t *count);
const DataSpec *make_data_find(const char *name, Error *error); /* suggests the nearest */

typedef struct {
  const char *name, *out; /* out: the file to write */
  int64_t transitions;    /* 0: the set's own number */
  uint64_t seed;
  int threads; /* 0: all */
} MakeDataRequest;

/* Whole episodes, actions sampled, until there are that many rows; metadata/ says policy, seed,
 * physics and return statistics.  The bytes depend on name, rows and seed alone. */
bool make_data(const MakeDataRequest *request, Error *error);

#endif
