/* test_source.c -- what must be given to which source, what is refused, and what a file of
 * transitions becomes under the settings of who learns from it. */
#include "rl/algo.h"
#include "rl/source/source_points.h"
#include "rl/source/source_transitions.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILES "tests/golden/hdf5/"

static char folder[] = P_tmpdir "/diffrl-test-XXXXXX";

static int setup(void **state) {
  (void)state;
  return mkdtemp(folder) ? setenv("XDG_CACHE_HOME", folder, 1) : -1;
}

static int teardown(void **state) {
  (void)state;
  char command[64];
  snprintf(command, sizeof command, "rm -rf '%s'", folder);
  return system(command);
}

/* ---- what must be given ---------------------------------------------------------------------- */

/* NULL: nothing beside it, no data, no --env; env: the one that is chosen, or what is said */
static const struct {
  const SourceDef *def, *also;
  const char *data, *env, *found, *says;
} choices[] = {
  { &source_transitions, NULL, NULL, NULL, NULL, "learns from a file: give --data" },
  { &source_transitions, NULL, "any.hdf5", NULL, NULL, NULL },
  { &source_transitions, NULL, "any.hdf5", "none", NULL, NULL },
  { &source_transitions, NULL, "any.hdf5", "point-v0", "point-v0", NULL },
  { &source_transitions, NULL, "a/hopper-medium.hdf5", NULL, "hopper-v2", NULL },
  { &source_transitions, NULL, "hopper-medium", "none", NULL, NULL },
  { &source_transitions, NULL, "any.hdf5", "point-v1", NULL, "did you mean point-v0" },
  { &source_transitions, &source_environment, "any.hdf5", NULL, NULL, "give --env" },
  { &source_transitions, &source_environment, "any.hdf5", "none", NULL, "give --env" },
  { &source_transitions, &source_environment, "any.hdf5", "point-v0", "point-v0", NULL },
  { &source_transitions, &source_environment, "hopper-medium", NULL, "hopper-v2", NULL },
  { &source_environment, NULL, NULL, NULL, NULL, "acts in an environment: give --env" },
  { &source_environment, NULL, NULL, "none", NULL, "acts in an environment: give --env" },
  { &source_environment, NULL, NULL, "point-v0", "point-v0", NULL },
  { &source_points, NULL, NULL, NULL, NULL, "give --data swissroll" },
  { &source_points, NULL, "hopper-medium", NULL, NULL, NULL },
  { &source_points, NULL, "moons", "none", NULL, NULL },
  { &source_points, NULL, "moons", "point-v0", NULL, "learns points, it does not act" },
};

static void what_is_missing_is_asked_for(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof choices / sizeof *choices; i++) {
    Error error = { 0 };
    SourceRequest request = { .algo = "x", .data = choices[i].data };
    bool chosen = source_choose(choices[i].def, choices[i].also, &request, choices[i].env, &error);
    assert_int_equal(chosen, !choices[i].says);
    if (!chosen) assert_int_equal(error.kind, FAIL_USAGE);
    if (!chosen && !strstr(error.text, choices[i].says))
      fail_msg("row %zu: \"%s\", expected \"%s\"", i, error.text, choices[i].says);
    const char *found = chosen && request.env ? request.env->name : NULL;
    assert_true(!found == !choices[i].found);
    if (found) assert_string_equal(found, choices[i].found);
  }
}

/* Every algorithm has a source that says all that `train` may ask of it. */
static void every_algorithm_has_a_source(void **state) {
  (void)state;
  size_t count;
  const AlgoDef *const *all = algo_list(&count);
  for (size_t i = 0; i < count; i++) {
    const SourceDef *def = all[i]->source;
    assert_true(def && def->name && def->about && def->asks && def->open);
    assert_true(!all[i]->also || all[i]->also->by_env);
    assert_true(!all[i]->collect || def->by_env || def->by_init || all[i]->also);
  }
}

/* ---- a file ---------------------------------------------------------------------------------- */

typedef struct {
  CONFIG_MEMBERS(TRAIN_FIELDS)
  CONFIG_MEMBERS(RETURN_FIELDS)
  CONFIG_MEMBERS(DATA_FIELDS)
} Learner;

#define CONFIG_STRUCT Learner
static const ConfigField of_rewards[] = { CONFIG_ROWS(TRAIN_FIELDS) CONFIG_ROWS(RETURN_FIELDS)
                                              CONFIG_ROWS(DATA_FIELDS) };
static const ConfigField plain[] = { CONFIG_ROWS(TRAIN_FIELDS) };
#undef CONFIG_STRUCT

static SourceRequest request_for(Arena *arena, const ConfigField *fields, size_t count,
                                 const char *data, const char *settings) {
  Error error;
  Config config;
  Learner *values = arena_alloc(arena, sizeof *values);
  config_init(&config, fields, count, values);
  if (!config_set_all(&config, settings, "test", &error)) fail_msg("%s", error.text);
  return (SourceRequest){ .arena = arena,
                          .algo = "x",
                          .data = data,
                          .fields = fields,
                          .field_count = count,
                          .config = values };
}
#define REQUEST(fields, data, settings)                                                            \
  request_for(arena, fields, sizeof(fields) / sizeof *(fields), data, settings)

static void settings_become_a_sampler(void **state) {
  (void)state;
  Error error;
  Arena *arena = arena_new();
  SourceRequest request =
      REQUEST(of_rewards, FILES "v0.hdf5", "reward=antmaze gamma=0.5 normalize_obs=true");
  Source *source = source_open(&source_transitions, &request, &error);
  if (!source) fail_msg("%s", error.text);
  const Transitions *t = transitions_of(source);
  assert_true(t->train.reward_scale == 4 && t->train.reward_shift == -2);
  assert_true(t->train.discount == 0.5 && t->train.units == &source->units);
  assert_true(source->units.obs && source->units.low && source->hash && source->bytes > 0);
  assert_int_equal(source->units.obs_dim, t->data->obs_dim);
  assert_int_equal(source->rows, t->data->transitions);
  /* no environment: the range of the file's actions, and episodes kept apart */
  const int n = t->data->act_dim;
  bool low = false, high = false;
  for (int64_t i = 0; i < t->data->rows; i++) {
    float a = t->data->actions[i * n];
    assert_true(a >= source->units.low[0] && a <= source->units.high[0]);
    low |= a == source->units.low[0], high |= a == source->units.high[0];
  }
  assert_true(low && high);
  assert_true(t->held.row_count > 0);
  assert_int_equal(t->held.row_count + t->train.row_count, t->data->transitions);
  source_close(source);
  arena_free(arena);
}

/* reward' = scale r + shift, as docs/data.md says */
static void rewards_are_transformed_as_they_are_called(void **state) {
  (void)state;
  static const struct {
    const char *settings;
    double scale, shift;
  } rows[] = {
    { "reward=raw", 1, 0 },
    { "reward=antmaze", 4, -2 },
    { "reward=minus-one", 1, -1 },
  };
  Error error;
  Arena *arena = arena_new();
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    SourceRequest request = REQUEST(of_rewards, FILES "v0.hdf5", rows[i].settings);
    Source *source = source_open(&source_transitions, &request, &error);
    if (!source) fail_msg("%s", error.text);
    const RowSampler *sampler = &transitions_of(source)->train;
    if (sampler->reward_scale != rows[i].scale || sampler->reward_shift != rows[i].shift)
      fail_msg("%s: %g r + %g", rows[i].settings, sampler->reward_scale, sampler->reward_shift);
    source_close(source);
  }
  arena_free(arena);
}

/* Who has no such settings draws the file as it is. */
static void without_settings_nothing_is_changed(void **state) {
  (void)state;
  Error error;
  Arena *arena = arena_new();
  SourceRequest request = REQUEST(plain, FILES "v0.hdf5", "");
  Source *source = source_open(&source_transitions, &request, &error);
  if (!source) fail_msg("%s", error.text);
  const Transitions *t = transitions_of(source);
  assert_true(t->train.reward_scale == 1 && t->train.reward_shift == 0 && !source->units.obs);
  source_close(source);
  arena_free(arena);
}

static void rewards_are_asked_for_by_who_learns_from_them(void **state) {
  (void)state;
  Error error;
  Arena *arena = arena_new();
  SourceRequest request = REQUEST(of_rewards, FILES "bare.hdf5", "");
  assert_null(source_open(&source_transitions, &request, &error));
  assert_int_equal(error.kind, FAIL_INPUT);
  assert_non_null(strstr(error.text, "no array rewards, which x learns from"));
  request = REQUEST(plain, FILES "bare.hdf5", "");
  Source *source = source_open(&source_transitions, &request, &error);
  if (!source) fail_msg("%s", error.text);
  source_close(source);
  arena_free(arena);
}

static void another_content_is_not_the_same_run(void **state) {
  (void)state;
  Error error;
  Arena *arena = arena_new();
  SourceRequest request = REQUEST(plain, FILES "v0.hdf5", "");
  request.hash = "0123";
  assert_null(source_open(&source_transitions, &request, &error));
  assert_non_null(strstr(error.text, "content differs"));
  arena_free(arena);
}

/* The environment's bounds are those of actions; its numbers must be the file's. */
static void an_environment_beside_bounds_the_actions(void **state) {
  (void)state;
  Error error;
  Arena *arena = arena_new();
  SourceRequest request = REQUEST(plain, FILES "v0.hdf5", "");
  Dataset *file = dataset_open(request.data, 0, &error);
  assert_non_null(file);
  EnvDef world = *env_find("point-v0");
  world.obs_dim = file->obs_dim, world.act_dim = file->act_dim, world.act_low = -3;
  const Environment beside = {
    .def = &world, .source.units = { .low = (float[8]){ -3 }, .high = (float[8]){ 1 } }
  };
  assert_true(file->act_dim <= 8);
  request.env = &world, request.beside = &beside;
  Source *source = source_open(&source_transitions, &request, &error);
  if (!source) fail_msg("%s", error.text);
  assert_true(source->units.low[0] == -3);
  assert_int_equal(transitions_of(source)->held.row_count, 0);
  source_close(source);
  world.obs_dim++;
  assert_null(source_open(&source_transitions, &request, &error));
  assert_non_null(strstr(error.text, "give the --env the file was made for"));
  dataset_close(file);
  arena_free(arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(what_is_missing_is_asked_for),
    cmocka_unit_test(every_algorithm_has_a_source),
    cmocka_unit_test(settings_become_a_sampler),
    cmocka_unit_test(rewards_are_transformed_as_they_are_called),
    cmocka_unit_test(without_settings_nothing_is_changed),
    cmocka_unit_test(rewards_are_asked_for_by_who_learns_from_them),
    cmocka_unit_test(another_content_is_not_the_same_run),
    cmocka_unit_test(an_environment_beside_bounds_the_actions),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
