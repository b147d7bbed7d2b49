/* test_make_data.c -- generated files: whole episodes, honest metadata, the same bytes for any
 * number of threads.  Promise B1 of docs/design.md. */
#include "core/json.h"
#include "datasets/dataset.h"
#include "envs/env.h"
#include "rl/rollout/make_data.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct {
  char folder[64], file[2][128];
} Fixture;

static int setup(void **state) {
  Fixture *f = calloc(1, sizeof *f);
  strcpy(f->folder, "/tmp/test_make_data.XXXXXX");
  if (!mkdtemp(f->folder)) return -1;
  setenv("XDG_CACHE_HOME", f->folder, 1);
  snprintf(f->file[0], sizeof f->file[0], "%s/0.hdf5", f->folder);
  snprintf(f->file[1], sizeof f->file[1], "%s/1.hdf5", f->folder);
  *state = f;
  return 0;
}

static int teardown(void **state) {
  char command[128];
  snprintf(command, sizeof command, "rm -rf %s", ((Fixture *)*state)->folder);
  free(*state);
  return system(command);
}

static Dataset *make(const char *file, const char *name, int threads) {
  Error error = { 0 };
  MakeDataRequest request = { .name = name, .out = file, .transitions = 400, .threads = threads };
  if (!make_data(&request, &error)) fail_msg("%s", error.text);
  Dataset *data = dataset_open(file, 1000, &error);
  if (!data) fail_msg("%s", error.text);
  return data;
}

static void a_file_holds_whole_episodes_of_the_task(void **state) {
  Fixture *f = *state;
  Dataset *data = make(f->file[0], "hopper-random", 1);
  assert_true(data->rows >= 400);
  assert_int_equal(data->obs_dim, 11);
  assert_int_equal(data->act_dim, 3);
  assert_true(data->terminals[data->rows - 1] || data->timeouts[data->rows - 1]);
  /* a step's successor is the next step's observation, within an episode */
  for (int64_t i = 0; i + 1 < data->rows; i++)
    if (!data->terminals[i] && !data->timeouts[i])
      assert_memory_equal(data->next_observations + i * 11, data->observations + (i + 1) * 11,
                          11 * sizeof(float));
  for (int64_t i = 0; i < data->rows * 3; i++)
    assert_true(data->actions[i] >= -1 && data->actions[i] <= 1);
  dataset_close(data);
}

static void metadata_say_what_the_rows_say(void **state) {
  Fixture *f = *state;
  Error error;
  Dataset *data = make(f->file[0], "hopper-random", 1);
  DatasetSummary s;
  dataset_summary(data, &s);
  Json *meta = json_parse(data->metadata, strlen(data->metadata), &error);
  assert_non_null(meta);
  assert_string_equal(json_text(json_get(meta, "env")), "hopper-v2");
  assert_string_equal(json_text(json_get(meta, "simulator")), env_simulator());
  assert_null(json_get(meta, "algorithm")); /* nothing trained a random policy */
  assert_float_equal(json_number(json_get(meta, "return_mean"), 0), s.return_mean, 1e-3);
  assert_float_equal(json_number(json_get(meta, "return_std"), 0), s.return_std, 1e-3);
  assert_float_equal(json_number(json_get(meta, "return_min"), 0), s.return_min, 1e-3);
  assert_float_equal(json_number(json_get(meta, "return_max"), 0), s.return_max, 1e-3);
  json_free(meta);
  dataset_close(data);
}

static void threads_change_no_byte(void **state) {
  Fixture *f = *state;
  Dataset *one = make(f->file[0], "hopper-random", 1),
          *three = make(f->file[1], "hopper-random", 3);
  assert_string_equal(one->hash, three->hash);
  dataset_close(one), dataset_close(three);
}

/* a policy that was trained keeps the hopper up far longer than chance */
static void the_shipped_policies_act(void **state) {
  Fixture *f = *state;
  DatasetSummary s;
  Dataset *data = make(f->file[0], "hopper-medium", 2);
  dataset_summary(data, &s);
  assert_true(s.return_mean > 500);
  dataset_close(data);
}

static void an_unknown_set_suggests_the_nearest(void **state) {
  Fixture *f = *state;
  Error error;
  MakeDataRequest request = { .name = "hopper-mediun", .out = f->file[0] };
  assert_false(make_data(&request, &error));
  assert_int_equal(error.kind, FAIL_USAGE);
  assert_non_null(strstr(error.text, "hopper-medium"));
  assert_int_equal(access(f->file[0], F_OK), -1);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
    TEST(a_file_holds_whole_episodes_of_the_task),
    TEST(metadata_say_what_the_rows_say),
    TEST(threads_change_no_byte),
    TEST(the_shipped_policies_act),
    TEST(an_unknown_set_suggests_the_nearest),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
