/* test_formats.c -- files of other programs have the steps, successors, ends and returns that their
 * own rules give them; what is wrong is refused with the reason; damaged ones end in data or a
 * sentence.  The files under tests/golden/formats are made by scripts/golden/formats.py. */
#include "core/json.h"
#include "datasets/dataset.h"
#include "datasets/episodes.h"
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define GOLDEN "tests/golden/formats/"

typedef struct {
  char folder[64];
} Fixture;

static int setup(void **state) {
  Fixture *f = *state = calloc(1, sizeof *f);
  strcpy(f->folder, "/tmp/test_formats.XXXXXX");
  if (!mkdtemp(f->folder)) return -1;
  unsetenv("DIFFRL_LIBEXEC");
  return setenv("XDG_CACHE_HOME", f->folder, 1);
}

static int teardown(void **state) {
  Fixture *f = *state;
  char command[128];
  snprintf(command, sizeof command, "rm -rf '%s'", f->folder);
  free(f);
  return system(command);
}

static Dataset *open_good(const char *name) {
  Error error = { 0 };
  Dataset *data = dataset_open(name, 0, &error);
  if (!data) fail_msg("%s", error.text);
  return data;
}

static void assert_refused(const char *name, const char *word) {
  Error error = { 0 };
  assert_null(dataset_open(name, 0, &error));
  if (!strstr(error.text, word)) fail_msg("\"%s\" does not say \"%s\"", error.text, word);
  assert_true(error.kind == FAIL_INPUT || error.kind == FAIL_USAGE);
}

static char *slurp(const char *path, size_t *size) {
  struct stat info;
  FILE *file = fopen(path, "rb");
  assert_non_null(file);
  assert_int_equal(fstat(fileno(file), &info), 0);
  char *bytes = malloc((size_t)info.st_size + 1);
  *size = fread(bytes, 1, (size_t)info.st_size, file);
  fclose(file);
  return bytes;
}

static void spill(const char *path, const char *bytes, size_t size) {
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(bytes, 1, size, file), size);
  fclose(file);
}

/* ---- files of other programs ----------------------------------------------------------------- */

/* Equal but for the rounding of the sums: their terms are the same floats. */
static void assert_near(const char *what, double x, const Json *expected) {
  double value = json_number(expected, NAN);
  if (!(fabs(x - value) <= 1e-9 * (1 + fabs(value))))
    fail_msg("%s: %.17g, expected %.17g", what, x, value);
}

static double sum_of(const Dataset *d, const float *x, int width) {
  double sum = 0;
  for (int64_t t = 0; t < d->transitions; t++)
    for (int j = 0; j < width; j++) sum += (double)x[d->transition[t] * width + j];
  return sum;
}

/* The successor of the last step of each episode that has one which is not masked or is known. */
static void assert_ends(const Dataset *d, const Json *ends) {
  const Json *end = json_first(ends);
  for (int64_t t = 0, e = 0; t < d->transitions; t++) {
    int64_t row = d->transition[t];
    while (row >= d->episode_start[e + 1]) e++;
    if (t + 1 < d->transitions && d->transition[t + 1] < d->episode_start[e + 1]) continue;
    if (row + 1 == d->episode_start[e + 1]) continue; /* a terminal row: nobody knows it */
    assert_non_null(end);
    const Json *x = json_first(end);
    for (int j = 0; j < d->obs_dim; j++, x = json_next(x))
      assert_near("successor", (double)d->observations[(row + 1) * d->obs_dim + j], x);
    end = json_next(end);
  }
  assert_null(end);
}

static void test_files_of_others_have_their_steps(void **state) {
  (void)state;
  Error error = { 0 };
  Json *all = json_parse_file(GOLDEN "expected.json", &error);
  assert_non_null(all);
  assert_int_equal(json_count(all), 11);
  for (const Json *e = json_first(all); e; e = json_next(e)) {
    char name[256];
    DatasetSummary s;
    snprintf(name, sizeof name, GOLDEN "%s%s", json_key(e), json_text(json_get(e, "spec")));
    Dataset *d = open_good(name);
    dataset_summary(d, &s);
    assert_int_equal(s.transitions, (int64_t)json_number(json_get(e, "transitions"), -1));
    assert_int_equal(s.episodes, (int64_t)json_number(json_get(e, "episodes"), -1));
    assert_int_equal(s.terminals, (int64_t)json_number(json_get(e, "terminals"), -1));
    assert_near("observations", sum_of(d, d->observations, d->obs_dim),
                json_get(e, "observations"));
    assert_near("actions", sum_of(d, d->actions, d->act_dim), json_get(e, "actions"));
    assert_ends(d, json_get(e, "ends"));
    int64_t episode = 0;
    for (const Json *r = json_first(json_get(e, "returns")); r; r = json_next(r))
      assert_near("return", dataset_return(d, episode++), r);
    dataset_close(d);
  }
  json_free(all);
}

/* Without a choice the usual low-dimensional keys; images are never taken by themselves. */
static void test_robomimics_own_keys_are_the_default(void **state) {
  (void)state;
  Dataset *d = open_good(GOLDEN "robomimic.hdf5");
  assert_int_equal(d->obs_dim, 3);
  dataset_close(d);
  d = open_good(GOLDEN "robomimic.hdf5?obs=object");
  assert_int_equal(d->obs_dim, 1);
  dataset_close(d);
  assert_refused(GOLDEN "robomimic.hdf5?obs=agentview_image", "4 axes");
}

static void test_several_files_are_one_set(void **state) {
  (void)state;
  Dataset *d = open_good(GOLDEN "rows.csv," GOLDEN "ends.npz");
  assert_true(d->transitions == 66 && d->episodes == 22);
  assert_memory_equal(d->observations, d->observations + 42 * d->obs_dim,
                      42 * sizeof(float) * (size_t)d->obs_dim);
  dataset_close(d);
  assert_refused(GOLDEN "rows.csv," GOLDEN "robomimic.hdf5?obs=object", "object: no such array");
}

static void test_wrong_choices_name_the_nearest(void **state) {
  (void)state;
  assert_refused(GOLDEN "robomimic.hdf5?obs=robot0_eef_pos,objec", "did you mean object?");
  assert_refused(GOLDEN "robomimic.hdf5?mask=trian", "did you mean train?");
  assert_refused(GOLDEN "named.npz?map=action=cmd", "did you mean actions?");
  assert_refused(GOLDEN "named.npz?obs=stat", "did you mean state?");
  assert_refused(GOLDEN "named.npz?ops=state", "expected obs=, map= or mask=");
}

/* Cloning reads no rewards. */
static void test_numbers_that_nobody_reads_stop_nobody(void **state) {
  (void)state;
  Error error = { 0 };
  Dataset *d = open_good("tests/golden/hdf5/bad_inf.hdf5");
  assert_true(dataset_check_finite(d, "actions", &error));
  assert_false(dataset_check_finite(d, "rewards", &error));
  assert_int_equal(error.kind, FAIL_INPUT);
  assert_non_null(strstr(error.text, "rewards: row 5, entry 0 is infinite"));
  dataset_close(d);
}

/* ---- what must be refused -------------------------------------------------------------------- */

static void test_folders_of_others_name_their_converter(void **state) {
  Fixture *f = *state;
  char path[256], name[160];
  snprintf(path, sizeof path, "mkdir -p %s/robot/meta %s/push.zarr/data", f->folder, f->folder);
  assert_int_equal(system(path), 0);
  snprintf(path, sizeof path, "%s/robot/meta/info.json", f->folder);
  spill(path, "{}", 2);
  snprintf(name, sizeof name, "%s/robot", f->folder);
  assert_refused(name, "scripts/lerobot_to_hdf5.py");
  snprintf(path, sizeof path, "%s/push.zarr/data/.zgroup", f->folder);
  spill(path, "{}", 2);
  snprintf(name, sizeof name, "%s/push.zarr", f->folder);
  assert_refused(name, "scripts/zarr_to_hdf5.py");
}

/* the directory's entry of a member of ends.npz */
static char *entry_of(char *bytes, size_t size, const char *name) {
  for (size_t i = 0; i + 60 < size; i++)
    if (!memcmp(bytes + i, "PK\1\2", 4) && !memcmp(bytes + i + 46, name, strlen(name)))
      return bytes + i;
  fail_msg("no entry %s", name);
  return NULL;
}

static void test_hostile_archives_are_refused(void **state) {
  Fixture *f = *state;
  static const struct {
    int at; /* in the entry of actions.npy */
    const char *bytes;
    size_t count;
    const char *says;
  } cases[] = {
    { 46, "../tmp/", 7, "path out of the archive" },
    { 46, "/", 1, "path out of the archive" },
    { 8, "\1", 1, "encrypted" },
    { 10, "\16", 1, "method 14" },
    { 24, "\0\0\0\1", 4, "claims 16777216 bytes" }, /* stored, and larger than it is */
    { 16, "\1\2\3\4", 4, "checksum" },
    { 42, "\xff\xff\xff\x0f", 4, "not where the directory says" },
    { 20, "\xff\xff\xff\x7f", 4, "longer than the file" },
  };
  char path[160];
  assert_refused(GOLDEN "bad_object.npz", "pickle");
  assert_refused(GOLDEN "bad_fortran.npz", "np.ascontiguousarray");
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    size_t size;
    char *bytes = slurp(GOLDEN "ends.npz", &size);
    memcpy(entry_of(bytes, size, "actions") + cases[i].at, cases[i].bytes, cases[i].count);
    snprintf(path, sizeof path, "%s/%zu.npz", f->folder, i);
    spill(path, bytes, size);
    assert_refused(path, cases[i].says);
    free(bytes);
  }
  /* one member's content is another's */
  size_t size;
  char *bytes = slurp(GOLDEN "ends.npz", &size);
  memcpy(entry_of(bytes, size, "rewards") + 42, entry_of(bytes, size, "actions") + 42, 4);
  snprintf(path, sizeof path, "%s/over.npz", f->folder);
  spill(path, bytes, size);
  assert_refused(path, "over each other");
  free(bytes);
  /* deflate packs 1 to 1032 at most */
  bytes = slurp(GOLDEN "dppo.npz", &size);
  memcpy(entry_of(bytes, size, "actions") + 24, "\0\0\0\x10", 4);
  spill(path, bytes, size);
  assert_refused(path, "claims 268435456 bytes");
  free(bytes);
}

/* Cut anywhere, or with any bit flipped: data or a sentence, within seconds. */
static void attack(const Fixture *f, const char *golden, const char *end, int cases) {
  size_t size;
  char *bytes = slurp(golden, &size);
  uint64_t random = 12345;
  for (int i = 0; i < cases; i++) {
    Error error = { 0 };
    char path[160];
    snprintf(path, sizeof path, "%s/%d%s", f->folder, i, end);
    random = random * 6364136223846793005u + 1442695040888963407u;
    size_t at = (size_t)(random >> 33) % size;
    char flip = (char)(1 << (random >> 30 & 7));
    bytes[at] ^= flip;
    spill(path, bytes, i % 4 ? size : at);
    bytes[at] ^= flip;
    time_t start = time(NULL);
    Dataset *data = dataset_open(path, 0, &error);
    assert_true(time(NULL) - start < 10);
    if (!data) assert_true(error.kind == FAIL_INPUT && strlen(error.text) > strlen(path) + 2);
    dataset_close(data);
    unlink(path);
  }
  free(bytes);
}

static int attacks(void) {
  const char *asked = getenv("DIFFRL_ATTACKS"); /* of each file */
  return asked ? atoi(asked) : 12;
}

static void test_damaged_files_never_bring_us_down(void **state) {
  static const char *const files[] = {
    "dppo.npz",     "ends.npz",       "ogbench_regular.npz",       "rows.csv",
    "maniskill.h5", "robomimic.hdf5", "minari/data/main_data.hdf5"
  };
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
    char path[160];
    snprintf(path, sizeof path, GOLDEN "%s", files[i]);
    attack(*state, path, strrchr(path, '.'), attacks());
  }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
    TEST(test_files_of_others_have_their_steps),
    TEST(test_robomimics_own_keys_are_the_default),
    TEST(test_several_files_are_one_set),
    TEST(test_wrong_choices_name_the_nearest),
    TEST(test_numbers_that_nobody_reads_stop_nobody),
    TEST(test_folders_of_others_name_their_converter),
    TEST(test_hostile_archives_are_refused),
    TEST(test_damaged_files_never_bring_us_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
