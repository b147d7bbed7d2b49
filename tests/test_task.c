/* test_task.c -- what names stand for: files that D4RL downloaded, and the environment of data. */
#include "core/rng.h"
#include "datasets/dataset.h"
#include "rl/rollout/task.h"
#include "tests/folder.h"
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- D4RL's files ---------------------------------------------------------------------------- */

/* The last parts of the addresses in D4RL's infos.py, under which it keeps what it downloads. */
static const char *const downloads[][2] = {
  { "hopper-medium-v2", "hopper_medium-v2" },
  { "hopper-medium-expert-v2", "hopper_medium_expert-v2" },
  { "hopper-medium-v0", "hopper_medium" },
  { "hopper-medium-replay-v0", "hopper_mixed" },
  { "walker2d-medium-replay-v0", "walker_mixed" },
  { "antmaze-umaze-v0", "Ant_maze_u-maze_noisy_multistart_False_multigoal_False_sparse" },
  { "antmaze-umaze-v2", "Ant_maze_u-maze_noisy_multistart_False_multigoal_False_sparse_fixed" },
  { "antmaze-large-diverse-v0",
    "Ant_maze_hardest-maze_noisy_multistart_True_multigoal_True_sparse" },
  { "antmaze-medium-play-v2",
    "Ant_maze_big-maze_noisy_multistart_True_multigoal_False_sparse_fixed" },
  { "kitchen-complete-v0", "mini_kitchen_microwave_kettle_light_slider-v0" },
  { "kitchen-mixed-v0", "kitchen_microwave_kettle_bottomburner_light-v0" },
  { "maze2d-large-v1", "maze2d-large-sparse-v1" },
  { "maze2d-large-dense-v1", "maze2d-large-dense-v1" },
  { "pen-human-v1", "pen-human-v1" },
};

static void d4rls_files_are_found_under_d4rls_names(void **state) {
  (void)state;
  Error error;
  Arena *arena = arena_new();
  setenv("D4RL_DATASET_DIR", ".", 1);
  for (size_t i = 0; i < sizeof downloads / sizeof *downloads; i++) {
    const char *file = arena_text(arena, "./%s.hdf5", downloads[i][1]);
    assert_null(task_data_path(arena, downloads[i][0], &error));
    fclose(fopen(file, "w"));
    const char *path = task_data_path(arena, downloads[i][0], &error);
    if (!path) fail_msg("%s: %s", downloads[i][0], error.text);
    assert_string_equal(path, file);
    unlink(file);
  }
  unsetenv("D4RL_DATASET_DIR");
  arena_free(arena);
}

/* ---- environments ---------------------------------------------------------------------------- */

/* random steps in this environment */
static void record(const char *env_name, const char *path, const char *metadata) {
  Error error;
  const EnvDef *def = env_find(env_name);
  EnvModel *model = env_load(def, &error);
  Env *env = env_create(model, &error);
  DatasetWriter *writer = dataset_writer_open(path, def->obs_dim, def->act_dim, 0, 0, &error);
  assert_true(env && writer);
  Rng rng = rng_stream(4, "actions");
  float obs[ENV_MAX_OBS], next[ENV_MAX_OBS], act[ENV_MAX_ACT];
  bool begins = true;
  for (uint64_t t = 0, episode = 0; t < 300; t++) {
    if (begins) env_reset(env, 1, episode++, obs);
    for (int j = 0; j < def->act_dim; j++)
      act[j] = (float)(2 * rng_uniform(rng, t, 0, (uint32_t)j) - 1);
    EnvStep s = env_step(env, act, next);
    begins = s.terminal || s.timeout;
    DatasetStep row = { obs, act, next, s.reward, s.terminal, s.timeout || t == 299, NAN, 0, 0 };
    assert_true(dataset_writer_add(writer, &row, &error));
    memcpy(obs, next, sizeof obs);
  }
  assert_true(dataset_writer_close(writer, metadata, &error));
  env_free(env);
  env_unload(model);
}

static const char *env_of(const char *name) {
  Error error;
  const char *env;
  assert_true(task_env_of(name, &env, &error));
  return env;
}

static void the_numbers_tell_the_physics_that_a_name_leaves_open(void **state) {
  (void)state;
  static const char *const made[] = { "hopper-v2", "hopper-v4", "walker2d-v4", "halfcheetah-v2" };
  char path[64];
  for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
    snprintf(path, sizeof path, "%.*s-log.hdf5", (int)(strchr(made[i], '-') - made[i]), made[i]);
    record(made[i], path, "{}");
    assert_string_equal(env_of(path), made[i]);
    unlink(path);
  }
}

static void what_the_file_says_comes_before_its_name(void **state) {
  (void)state;
  record("hopper-v2", "walker.hdf5", "{\"env\":\"hopper-v2\"}");
  record("hopper-v2", "log.hdf5", "{\"env\":\"a robot\"}");
  assert_string_equal(env_of("walker.hdf5"), "hopper-v2");
  assert_null(env_of("log.hdf5"));
  assert_string_equal(env_of("hopper-medium"), "hopper-v2"); /* not made yet */
  assert_null(env_of("no such file"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(d4rls_files_are_found_under_d4rls_names),
    cmocka_unit_test(the_numbers_tell_the_physics_that_a_name_leaves_open),
    cmocka_unit_test(what_the_file_says_comes_before_its_name),
  };
  return cmocka_run_group_tests(tests, enter, leave);
}
