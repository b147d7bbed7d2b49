/* command_data.h -- what is in a data file, for `data inspect` and `inspect`. */
#ifndef CLI_COMMAND_DATA_H
#define CLI_COMMAND_DATA_H
#include "core/arena.h"
#include "core/error.h"
#include <stdbool.h>

/* Print what a file or a set of this name holds, after a look at all of it: a line a member, or a
 * JSON object.  env (nullable): for normalised returns and the episode limit, else the file's. */
bool data_show(Arena *arena, const char *name, const char *env, bool json, Error *error);

#endif
