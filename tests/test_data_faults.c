/* test_data_faults.c -- every fault planted in a small file is found and named, alone; clean files,
 * also those of other programs, have none. */
#include "datasets/data_faults.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EPISODES = 12, STEPS = 30, ROWS = EPISODES * STEPS, OBS = 2, ACT = 2 };

/* A body that its actions push: s' = s + 0.1 a + noise, from a random place far away. */
typedef struct {
  float obs[ROWS][OBS], act[ROWS][ACT], reward[ROWS];
  int terminal[ROWS], timeout[ROWS];
} Table;

static float draw(uint64_t *random) { /* [-1, 1) */
  *random = *random * 6364136223846793005u + 1442695040888963407u;
  return (float)(*random >> 40) / (float)(1 << 23) - 1;
}

static void fill(Table *t) {
  uint64_t random = 7;
  memset(t, 0, sizeof *t);
  for (int i = 0; i < ROWS; i++) {
    bool begins = i % STEPS == 0;
    for (int j = 0; j < OBS; j++) {
      float to = begins ? 10 * draw(&random) : t->obs[i - 1][j] + 0.1f * t->act[i - 1][j];
      t->obs[i][j] = to + 0.01f * draw(&random);
    }
    for (int j = 0; j < ACT; j++) t->act[i][j] = draw(&random);
    t->reward[i] = draw(&random);
    t->timeout[i] = i % STEPS == STEPS - 1;
  }
}

static const char *write_table(const Table *t, bool ends) {
  static const char path[] = "/tmp/test_data_faults.csv";
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fprintf(file, "obs_0,obs_1,action_0,action_1,reward,terminal%s\n", ends ? ",timeout" : "");
  for (int i = 0; i < ROWS; i++) {
    fprintf(file, "%.9g,%.9g,%.9g,%.9g,%.9g,%d", (double)t->obs[i][0], (double)t->obs[i][1],
            (double)t->act[i][0], (double)t->act[i][1], (double)t->reward[i], t->terminal[i]);
    if (ends) fprintf(file, ",%d", t->timeout[i]);
    fprintf(file, "\n");
  }
  fclose(file);
  return path;
}

/* ---- one change a fault ---------------------------------------------------------------------- */

static void change_nothing(Table *t) { (void)t; }
static void plant_nan(Table *t) { t->reward[70] = NAN; }
static void plant_infinity(Table *t) { t->obs[101][1] = INFINITY; }
static void plant_both(Table *t) { t->terminal[59] = 1; }
static void plant_jump(Table *t) { t->timeout[89] = 0; }
static void plant_tail(Table *t) { t->timeout[ROWS - 1] = 0; }
static void plant_constant(Table *t) {
  for (int i = 0; i < ROWS; i++) t->act[i][1] = 0.25f;
}
static void plant_duplicate(Table *t) {
  for (int i = 0; i < ROWS; i++) t->act[i][1] = t->act[i][0];
}
static void plant_clipped(Table *t) {
  for (int i = 0; i < ROWS; i++) t->act[i][1] = fminf(fmaxf(t->act[i][1], -0.6f), 0.6f);
}
static void plant_late(Table *t) {
  for (int i = ROWS - 1; i > 0; i--) memcpy(t->act[i], t->act[i - 1], sizeof t->act[i]);
}
static void plant_twice(Table *t) {
  memcpy(t->obs[5 * STEPS], t->obs[2 * STEPS], STEPS * sizeof *t->obs);
  memcpy(t->act[5 * STEPS], t->act[2 * STEPS], STEPS * sizeof *t->act);
}
static void plant_outlier(Table *t) { t->act[200][0] = 1e5f; }

static const struct {
  void (*plant)(Table *t);
  bool no_ends;
  const char *fault;  /* NULL: none */
  int64_t row, count; /* -1: not looked at */
} cases[] = {
  { change_nothing, false, NULL, 0, 0 },
  { plant_nan, false, "not-finite", 70, 1 },
  { plant_infinity, false, "not-finite", 101, 1 },
  { change_nothing, true, "ends-missing", -1, 1 },
  { plant_both, false, "ends-disagree", 59, 1 },
  { plant_jump, false, "jump", 90, 1 },
  { plant_tail, false, "open-tail", ROWS - STEPS, STEPS },
  { plant_constant, false, "constant", -1, ROWS },
  { plant_duplicate, false, "duplicate", -1, ROWS },
  { plant_clipped, false, "clipped", -1, -1 },
  { plant_late, false, "action-late", -1, -1 },
  { plant_twice, false, "episode-twice", 5 * STEPS, 1 },
};

static void assert_faults(const char *name, const char *fault, int64_t row, int64_t count) {
  Error error = { 0 };
  DataFault list[DATA_MOST_FAULTS];
  Arena *arena = arena_new();
  Dataset *data = dataset_open_faulty(name, 0, &error);
  if (!data) fail_msg("%s", error.text);
  int n = data_faults(arena, data, list);
  if (n != (fault != NULL))
    fail_msg("%s: %d faults instead of %s: %s", name, n, fault ? fault : "none",
             n ? list[n - 1].what : "");
  if (fault) {
    assert_string_equal(list[0].name, fault);
    if (row >= 0) assert_int_equal(list[0].row, row);
    if (count >= 0) assert_int_equal(list[0].count, count);
  }
  dataset_close(data);
  arena_free(arena);
}

static void test_every_planted_fault_is_named_alone(void **state) {
  (void)state;
  Table *t = malloc(sizeof *t);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    fill(t);
    cases[i].plant(t);
    assert_faults(write_table(t, !cases[i].no_ends), cases[i].fault, cases[i].row, cases[i].count);
  }
  free(t);
}

/* One number that big is also what the range of the file becomes, so it has more than one fault. */
static void test_an_outlier_needs_many_rows_to_stand_out(void **state) {
  (void)state;
  Table *t = malloc(sizeof *t);
  fill(t);
  plant_outlier(t); /* of 360 rows none is further than 19 deviations off */
  assert_faults(write_table(t, true), NULL, 0, 0);
  free(t);
}

/* rows whose file says successors that do not follow are test_dataset.c's */
static void test_all_faults_of_a_file_are_said(void **state) {
  (void)state;
  Error error = { 0 };
  DataFault list[DATA_MOST_FAULTS];
  Arena *arena = arena_new();
  Table *t = malloc(sizeof *t);
  fill(t);
  plant_nan(t), plant_both(t), plant_constant(t), plant_twice(t);
  Dataset *data = dataset_open_faulty(write_table(t, true), 0, &error);
  assert_non_null(data);
  assert_int_equal(data_faults(arena, data, list), 4);
  static const char *const names[] = { "not-finite", "ends-disagree", "constant", "episode-twice" };
  for (int i = 0; i < 4; i++) assert_string_equal(list[i].name, names[i]);
  dataset_close(data);
  arena_free(arena);
  free(t);
}

static void test_files_of_other_programs_are_clean(void **state) {
  (void)state;
  static const char *const files[] = {
    "robomimic.hdf5",      "robomimic_no_next.hdf5", "maniskill.h5", "minari",   "ogbench.npz",
    "ogbench_regular.npz", "ogbench_compact.npz",    "dppo.npz",     "ends.npz", "rows.csv"
  };
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
    char path[128];
    snprintf(path, sizeof path, "tests/golden/formats/%s", files[i]);
    assert_faults(path, NULL, 0, 0);
  }
}

static int setup(void **state) {
  static char folder[] = "/tmp/test_data_faults.XXXXXX";
  unsetenv("DIFFRL_LIBEXEC");
  return (*state = mkdtemp(folder)) ? setenv("XDG_CACHE_HOME", folder, 1) : -1;
}

static int teardown(void **state) {
  char command[128];
  remove("/tmp/test_data_faults.csv");
  snprintf(command, sizeof command, "rm -rf '%s'", (char *)*state);
  return system(command);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_every_planted_fault_is_named_alone),
    cmocka_unit_test(test_an_outlier_needs_many_rows_to_stand_out),
    cmocka_unit_test(test_all_faults_of_a_file_are_said),
    cmocka_unit_test(test_files_of_other_programs_are_clean),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
