/* task.h -- what a name means: environments, data sets and files. */
#ifndef RL_TASK_H
#define RL_TASK_H
#include "core/arena.h"
#include "core/error.h"
#include "envs/env.h"

/* The environment of this name; fails with the nearest one suggested (FAIL_USAGE). */
const EnvDef *task_env(const char *name, Error *error);

/* The file that DATA means: a path that exists; a generated set ("hopper-medium" or
 * "diffrl/hopper-medium-v1") in the data folder; D4RL's own file ("hopper-medium-v2") in
 * $D4RL_DATASET_DIR or ~/.d4rl/datasets.  NULL with what to do (FAIL_INPUT) if there is none. */
const char *task_data_path(Arena *arena, const char *name, Error *error);

/* Where `data make NAME` puts a generated set: $XDG_DATA_HOME/diffrl (~/.local/share/diffrl). */
const char *task_made_path(Arena *arena, const char *name);

/* "diffrl/hopper-medium-v1" -> "hopper-medium"; other names as they are. */
const char *task_set_name(Arena *arena, const char *name);

/* The environment of data: the one that the file's own metadata name, else the one that the name
 * speaks of ("hopper-medium" -> "hopper-v2"), with the physics that the transitions have; *env is
 * NULL if there is none.  Data that are not there are judged by their name.  False if they are and
 * cannot be opened, be it for want of memory: nobody knows what they would have said. */
bool task_env_of(const char *name, const char **env, Error *error);

/* "path/hopper.hdf5" -> "hopper", for folder names. */
const char *task_short_name(Arena *arena, const char *name);

#endif
