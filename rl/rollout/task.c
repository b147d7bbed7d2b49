/* task.c -- names of environments and data sets, and the files they stand for. */
#include "rl/rollout/task.h"
#include "core/json.h"
#include "core/log.h"
#include "core/names.h"
#include "datasets/data_files.h"
#include "datasets/dataset.h"
#include "rl/rollout/dynamics.h"
#include "rl/rollout/make_data.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const EnvDef *task_env(const char *name, Error *error) {
  size_t count;
  const EnvDef *const *all = env_list(&count);
  const Names *names =
      NAMES(all, count, .pointers = true, .what = "environment", .see = "`diffrl list envs`");
  int i = names_find(names, name, error);
  return i < 0 ? NULL : all[i];
}

const char *task_set_name(Arena *arena, const char *name) {
  /* diffrl/hopper-medium-v1 is the full name of hopper-medium */
  if (strncmp(name, "diffrl/", 7)) return name;
  size_t length = strlen(name += 7);
  bool version = length > 3 && !strcmp(name + length - 3, "-v1");
  return arena_text(arena, "%.*s", (int)(version ? length - 3 : length), name);
}

const char *task_made_path(Arena *arena, const char *name) {
  /* the user's data folder, where generated sets are kept */
  const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
  name = task_set_name(arena, name);
  /* a relative one is to be ignored (XDG base directories), as the cache does */
  if (data && *data == '/') return arena_text(arena, "%s/diffrl/%s-v1.hdf5", data, name);
  return arena_text(arena, "%s/.local/share/diffrl/%s-v1.hdf5", home ? home : ".", name);
}

/* D4RL keeps a download under the last part of its address, which for these tasks is not the task's
 * name. */
static const struct {
  const char *task, *file;
} d4rl_files[] = {
  { "antmaze-umaze-v0", "Ant_maze_u-maze_noisy_multistart_False_multigoal_False_sparse" },
  { "antmaze-umaze-diverse-v0", "Ant_maze_u-maze_noisy_multistart_True_multigoal_True_sparse" },
  { "antmaze-medium-play-v0", "Ant_maze_big-maze_noisy_multistart_True_multigoal_False_sparse" },
  { "antmaze-medium-diverse-v0", "Ant_maze_big-maze_noisy_multistart_True_multigoal_True_sparse" },
  { "antmaze-large-play-v0", "Ant_maze_hardest-maze_noisy_multistart_True_multigoal_False_sparse" },
  { "antmaze-large-diverse-v0",
    "Ant_maze_hardest-maze_noisy_multistart_True_multigoal_True_sparse" },
  { "kitchen-complete-v0", "mini_kitchen_microwave_kettle_light_slider-v0" },
  { "kitchen-partial-v0", "kitchen_microwave_kettle_light_slider-v0" },
  { "kitchen-mixed-v0", "kitchen_microwave_kettle_bottomburner_light-v0" },
  { "maze2d-umaze-v1", "maze2d-umaze-sparse-v1" },
  { "maze2d-medium-v1", "maze2d-medium-sparse-v1" },
  { "maze2d-large-v1", "maze2d-large-sparse-v1" },
  { "halfcheetah-medium-replay-v0", "halfcheetah_mixed" },
  { "hopper-medium-replay-v0", "hopper_mixed" },
  { "walker2d-medium-replay-v0", "walker_mixed" },
};

/* The names that D4RL may have given the file of a task, most likely first; returns how many. */
static int d4rl_names(Arena *arena, const char *task, const char *names[4]) {
  int count = 0;
  size_t stem = strlen(task) - 3; /* without the version */
  char version = task[stem + 2];
  for (size_t i = 0; i < sizeof d4rl_files / sizeof *d4rl_files; i++) {
    bool fixed = version == '2' && !strncmp(task, "antmaze", 7); /* the file of v0, repaired */
    if (strncmp(task, d4rl_files[i].task, stem + 2)) continue;
    if (fixed || d4rl_files[i].task[stem + 2] == version)
      names[count++] = arena_text(arena, "%s%s", d4rl_files[i].file, fixed ? "_fixed" : "");
  }
  /* hopper-medium-expert-v2 -> hopper_medium_expert-v2, and in v0 hopper_medium_expert */
  char *file = arena_text(arena, "%s", task);
  for (size_t i = 0; i < stem; i++)
    if (file[i] == '-') file[i] = '_';
  names[count++] = file;
  if (version == '0') names[count++] = arena_text(arena, "%.*s", (int)stem, file);
  names[count++] = task;
  return count;
}

/* D4RL's own file: never generated, only looked for */
static const char *d4rl_path(Arena *arena, const char *name) {
  const char *folder = getenv("D4RL_DATASET_DIR"), *home = getenv("HOME"), *names[4];
  const char *base =
      folder && *folder ? folder : arena_text(arena, "%s/.d4rl/datasets", home ? home : ".");
  int count = d4rl_names(arena, name, names);
  for (int i = 0; i < count; i++) {
    const char *path = arena_text(arena, "%s/%s.hdf5", base, names[i]);
    if (!access(path, R_OK)) return path;
  }
  return NULL;
}

/* D4RL's names end in a version of one digit; without one a generated set is meant */
static bool names_version(const char *name) {
  const char *dash = strrchr(name, '-');
  return dash && dash[1] == 'v' && dash[2] >= '0' && dash[2] <= '9' && !dash[3];
}

/* the generated set that this is, or that is meant; NULL: none is near */
static const char *nearest_set(const char *name) {
  size_t count;
  const DataSpec *sets = make_data_list(&count);
  return names_nearest(NAMES(sets, count, .what = "set"), name);
}

const char *task_data_path(Arena *arena, const char *name, Error *error) {
  /* a path comes before a name, and several files are all paths */
  const char *plain = data_files_plain(arena, name), *choice = name + strlen(plain);
  if (!access(plain, F_OK) || strchr(plain, ',')) return name;
  name = plain;
  bool generated = !strncmp(name, "diffrl/", 7) || !names_version(name);
  /* a name with a version is D4RL's, any other one of ours */
  const char *path = generated ? task_made_path(arena, name) : d4rl_path(arena, name);
  if (path && !access(path, R_OK)) return arena_text(arena, "%s%s", path, choice);
  /* why there is none: not made yet, misspelt, or D4RL's own, which cannot be made */
  const char *nearest = generated ? nearest_set(task_set_name(arena, name)) : NULL;
  if (nearest && !strcmp(nearest, task_set_name(arena, name)))
    error_set(error, FAIL_INPUT, "no file %s; make it with `diffrl data make %s --out %s`", path,
              nearest, path);
  else if (generated)
    error_set(error, FAIL_INPUT, "no file %s%s%s%s", name, nearest ? "; did you mean the set " : "",
              nearest ? nearest : "", nearest ? "?" : "");
  else
    error_set(error, FAIL_INPUT,
              "%s is D4RL's own file and it is not here: looked at that path, in "
              "$D4RL_DATASET_DIR and in ~/.d4rl/datasets; for a generated set omit the version",
              name);
  return NULL;
}

static const char *file_of(const char *name) {
  const char *slash = strrchr(name, '/');
  return slash ? slash + 1 : name;
}

/* "hopper.." is of hopper-v2 */
static const char *env_of_name(const char *name) {
  static const char *const tasks[][2] = { { "hopper", "hopper-v2" },
                                          { "halfcheetah", "halfcheetah-v2" },
                                          { "walker2d", "walker2d-v2" } };
  /* files are called after the task that they come from */
  name = file_of(name);
  for (size_t i = 0; i < sizeof tasks / sizeof *tasks; i++)
    if (!strncmp(name, tasks[i][0], strlen(tasks[i][0]))) return tasks[i][1];
  return NULL;
}

/* the environment that the file names, if it is one of ours */
static const EnvDef *env_in_metadata(const Dataset *data) {
  Json *meta = json_parse_if(data->metadata, strlen(data->metadata));
  const char *name = meta ? json_text(json_get(meta, "env")) : NULL;
  const EnvDef *env = name ? env_find(name) : NULL;
  json_free(meta);
  return env;
}

static double misfit(const EnvDef *env, const Dataset *data) {
  Error ignored;
  EnvModel *model = env_load(env, &ignored);
  double error = model ? dynamics_misfit(model, data) : (double)NAN;
  env_unload(model);
  return error;
}

/* A name tells the task and not its physics, -v2 or -v4: the numbers do.  Another than the guess is
 * taken only if it fits twice as well. */
static const EnvDef *env_that_fits(const EnvDef *guess, const Dataset *data) {
  size_t count;
  const EnvDef *const *all = env_list(&count), *best = guess;
  double least = misfit(guess, data) / 2;
  for (size_t i = 0; i < count; i++) {
    if (all[i] == guess || strcmp(all[i]->task, guess->task)) continue;
    double error = misfit(all[i], data);
    if (error < least) best = all[i], least = error;
  }
  if (best != guess)
    log_progress(true, "note: the transitions are those of %s, not of %s", best->name, guess->name);
  return best;
}

/* what the file says, or else its numbers; rows are looked at only where nothing else says */
static bool env_of_file(const char *path, const char *guess, const char **env, Error *error) {
  Dataset *data = dataset_open_faulty(path, -1, error);
  const EnvDef *found = data ? env_in_metadata(data) : NULL;
  bool opened = data != NULL;
  dataset_close(data);
  *env = found ? found->name : guess;
  if (!opened || found || !guess) return opened;
  Error unusual; /* as episodes of that environment it need not make sense */
  data = dataset_open(path, env_find(guess)->horizon, &unusual);
  if (data) *env = env_that_fits(env_find(guess), data)->name;
  dataset_close(data);
  return true;
}

bool task_env_of(const char *name, const char **env, Error *error) {
  Error absent;
  Arena *arena = arena_new();
  const char *path = task_data_path(arena, name, &absent);
  *env = env_of_name(name);
  bool done = !path || env_of_file(path, *env, env, error);
  arena_free(arena);
  return done;
}

const char *task_short_name(Arena *arena, const char *name) {
  /* of several files the first */
  const char *plain = data_files_plain(arena, name), *comma = strchr(plain, ',');
  if (comma && access(plain, F_OK)) plain = arena_text(arena, "%.*s", (int)(comma - plain), plain);
  const char *file = file_of(plain), *dot = strrchr(file, '.');
  return dot && dot > file ? arena_text(arena, "%.*s", (int)(dot - file), file) : file;
}
