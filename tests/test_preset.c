/* test_preset.c -- every preset is one its algorithm accepts, and names find the right row. */
#include "rl/algo.h"
#include "rl/train/preset.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void every_row_is_accepted_by_its_algorithm(void **state) {
  (void)state;
  size_t count;
  const Preset *presets = preset_list(&count);
  for (size_t i = 0; i < count; i++) {
    Error error = { 0 };
    const AlgoDef *algo = algo_find(presets[i].algo, &error);
    assert_non_null(algo);
    void *values = calloc(1, algo->config_size);
    Config config;
    config_init(&config, algo->fields, algo->field_count, values);
    if (!config_set_all(&config, presets[i].settings, "preset", &error))
      fail_msg("%s %s: %s", presets[i].algo, presets[i].name, error.text);
    assert_true(presets[i].source && *presets[i].source);
    free(values);
  }
}

static void data_names_find_their_row(void **state) {
  (void)state;
  static const char *const same[] = {
    "hopper-medium-v2", "/data/hopper_medium-v2.hdf5", "hopper-medium",
    "hopper-medium-v1", "/data/hopper-medium-v1.hdf5", "diffrl/hopper-medium-v1"
  };
  for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
    const Preset *preset = preset_for("diffusion-ql", same[i]);
    assert_non_null(preset);
    assert_string_equal(preset->name, "hopper-medium-v2");
  }
  assert_string_equal(preset_for("diffusion-ql", "hopper-medium-expert")->name,
                      "hopper-medium-expert-v2");
  assert_null(preset_for("diffusion-ql", "my-robot.hdf5"));
  assert_null(preset_for("diffusion-bc", "hopper-medium-v2"));
}

static void the_table_has_every_task_of_the_paper(void **state) {
  (void)state;
  size_t count, published = 0;
  const Preset *presets = preset_list(&count);
  for (size_t i = 0; i < count; i++) published += strstr(presets[i].source, "2208.06193") != NULL;
  assert_int_equal(published, 20);
}

/* each with the sets of gym-MuJoCo and settings for a first look */
static void the_baselines_have_their_rows(void **state) {
  (void)state;
  static const char *const offline[] = { "bc", "bc-10", "td3-bc", "iql", "cql", "rebrac", "edac" };
  static const char *const robots[] = { "halfcheetah", "hopper", "walker2d" };
  static const char *const kinds[] = { "medium", "medium-replay", "medium-expert" };
  Error error;
  for (size_t i = 0; i < sizeof offline / sizeof *offline; i++) {
    for (int robot = 0; robot < 3; robot++)
      for (int kind = 0; kind < 3; kind++) {
        char name[64];
        snprintf(name, sizeof name, "%s-%s-v2", robots[robot], kinds[kind]);
        const Preset *preset = preset_for(offline[i], name);
        if (!preset || strcmp(preset->name, name)) fail_msg("%s has no %s", offline[i], name);
      }
    assert_non_null(preset_find(offline[i], "quick", &error));
  }
  assert_non_null(preset_find("td3", "quick", &error));
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_row_is_accepted_by_its_algorithm),
    cmocka_unit_test(data_names_find_their_row),
    cmocka_unit_test(the_table_has_every_task_of_the_paper),
    cmocka_unit_test(the_baselines_have_their_rows),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
