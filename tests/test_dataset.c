/* test_dataset.c -- D4RL's rule on files of other programs; what must be refused; the cache; the
 * writer.  The files under tests/golden/hdf5 are made by scripts/golden/hdf5.py. */
#include "core/json.h"
#include "datasets/cache.h"
#include "datasets/cache_folder.h"
#include "datasets/dataset.h"
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define GOLDEN "tests/golden/hdf5/"

typedef struct {
  char folder[64], cache[128], path[128], other[128];
} Fixture;

static int setup(void **state) {
  Fixture *f = *state = calloc(1, sizeof *f);
  strcpy(f->folder, "/tmp/test_dataset.XXXXXX");
  if (!mkdtemp(f->folder)) return -1;
  snprintf(f->cache, sizeof f->cache, "%s/diffrl", f->folder);
  snprintf(f->path, sizeof f->path, "%s/steps.hdf5", f->folder);
  snprintf(f->other, sizeof f->other, "%s/other.hdf5", f->folder);
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

/* Files in a folder; the last one's path goes to `path` unless that is NULL. */
static int files_in(const char *folder, char path[512]) {
  int count = 0;
  DIR *list = opendir(folder);
  for (struct dirent *d; list && (d = readdir(list));) {
    if (d->d_name[0] == '.' || d->d_type == DT_DIR) continue;
    if (path) snprintf(path, 512, "%s/%s", folder, d->d_name);
    count++;
  }
  if (list) closedir(list);
  return count;
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

static void poke(const char *path, long at, char value) {
  FILE *file = fopen(path, "r+b");
  assert_non_null(file);
  fseek(file, at, SEEK_SET);
  fputc(value, file);
  fclose(file);
}

static Dataset *open_good(const char *path, int horizon) {
  Error error = { 0 };
  Dataset *data = dataset_open(path, horizon, &error);
  if (!data) fail_msg("%s", error.text);
  return data;
}

static void assert_says(const char *text, const char *word) {
  if (!strstr(text, word)) fail_msg("\"%s\" does not say \"%s\"", text, word);
}

/* ---- files of other programs ----------------------------------------------------------------- */

static void assert_list(const Json *list, const int64_t *values, int64_t count) {
  assert_int_equal(json_count(list), count);
  const Json *item = json_first(list);
  for (int64_t i = 0; i < count; i++, item = json_next(item))
    assert_int_equal(values[i], (int64_t)json_number(item, -1));
}

static double sum_over(const Dataset *data, const float *x, int width, int shift) {
  double sum = 0;
  for (int64_t t = 0; x && t < data->transitions; t++)
    for (int j = 0; j < width; j++) sum += (double)x[(data->transition[t] + shift) * width + j];
  return sum;
}

static void assert_sum(const Json *expected, const char *key, double sum) {
  double value = json_number(json_get(expected, key), 0);
  if (fabs(sum - value) > 1e-9 * (1 + fabs(value)))
    fail_msg("%s: sum %.17g, expected %.17g", key, sum, value);
}

/* The rows that D4RL's qlearning_dataset keeps, and their numbers as float32. */
static void test_transitions_are_d4rls(void **state) {
  (void)state;
  Error error = { 0 };
  Json *all = json_parse_file(GOLDEN "expected.json", &error);
  assert_non_null(all);
  assert_int_equal(json_count(all), 5);
  for (const Json *e = json_first(all); e; e = json_next(e)) {
    char path[256];
    snprintf(path, sizeof path, GOLDEN "%s.hdf5", json_key(e));
    Dataset *d = open_good(path, (int)json_number(json_get(e, "horizon"), 0));
    assert_int_equal(d->rows, (int64_t)json_number(json_get(e, "rows"), 0));
    assert_list(json_get(e, "transition"), d->transition, d->transitions);
    assert_list(json_get(e, "episode_start"), d->episode_start, d->episodes + 1);
    assert_sum(e, "observations", sum_over(d, d->observations, d->obs_dim, 0));
    assert_sum(e, "successors", sum_over(d, d->observations, d->obs_dim, 1));
    assert_sum(e, "actions", sum_over(d, d->actions, d->act_dim, 0));
    assert_sum(e, "rewards", sum_over(d, d->rewards, 1, 0));
    int64_t terminals = 0;
    for (int64_t t = 0; d->terminals && t < d->transitions; t++)
      terminals += d->terminals[d->transition[t]];
    assert_int_equal(terminals, (int64_t)json_number(json_get(e, "terminals"), 0));
    dataset_close(d);
  }
  json_free(all);
}

/* Behind a terminal row D4RL's counter is one ahead: it drops row 21, the last but one of its
 * episode, where we drop row 22, whose successor belongs to the next one. */
static void test_episode_behind_a_terminal_is_cut_at_its_end(void **state) {
  (void)state;
  Error error = { 0 };
  Json *all = json_parse_file(GOLDEN "expected.json", &error);
  const Json *v0 = json_get(all, "v0"), *theirs = json_first(json_get(v0, "d4rl_counter"));
  Dataset *d = open_good(GOLDEN "v0.hdf5", 10);
  int64_t t = 0;
  while ((int64_t)json_number(theirs, -1) == d->transition[t]) t++, theirs = json_next(theirs);
  assert_int_equal(d->transition[t], 21);
  assert_int_equal(d->transition[t + 1], 23);
  assert_int_equal(d->episode_start[3], 23);
  dataset_close(d);
  json_free(all);
}

static void test_optional_arrays_may_be_missing(void **state) {
  (void)state;
  Dataset *d = open_good(GOLDEN "bare.hdf5", 0);
  assert_null(d->rewards);
  assert_null(d->terminals);
  assert_null(d->timeouts);
  assert_null(d->next_observations);
  assert_int_equal(d->act_dim, 1); /* from a [rows] array */
  assert_true(d->observations[0] == -5 && d->observations[11] == 6);
  assert_true(isnan(dataset_return(d, 0)));
  dataset_close(d);
}

static void test_metadata_keeps_strings_and_numbers(void **state) {
  (void)state;
  Dataset *d = open_good(GOLDEN "d4rl_v2.hdf5", 0);
  assert_string_equal(d->metadata, "{\"algorithm\":\"SAC\",\"iteration\":7}");
  assert_non_null(d->next_observations);
  dataset_close(d);
}

static void test_metadata_lead_to_no_other_file(void **state) {
  (void)state;
  Dataset *d = open_good(GOLDEN "linked.hdf5", 0);
  assert_string_equal(d->metadata, "{}");
  dataset_close(d);
}

static const struct {
  const char *name, *array, *word;
} refused[] = {
  { "all_timeouts", "no transitions", "time-out" },
  { "bomb", "observations", "claims" },
  { "bool_observations", "observations", "expected float32" },
  { "compound", "actions", "compound" },
  { "dones", "dones", "no terminals (no value after that row) or timeouts" },
  { "empty", "observations", "0 rows" },
  { "external_link", "actions", "link" },
  { "external_storage", "actions", "external file" },
  { "flag", "terminals", "row 2 is 2; expected 0 or 1" },
  { "group", "observations", "a group" },
  { "length", "rewards", "has 11 rows where observations has 12" },
  { "lzf", "actions", "unsupported filter" },
  { "minari", "episode_0/actions", "no such array" },
  { "nan", "actions", "row 7, entry 0 is not a number" },
  { "next_width", "next_observations", "2 entries a row; expected 3" },
  { "no_actions", "actions", "no such array" },
  { "no_observations", "observations", "no such array" },
  { "one_row", "observations", "at least 2" },
  { "open", "open for writing", "h5clear" },
  { "overflow", "observations", "row 3, entry 0 is infinite" },
  { "rank", "observations", "3 axes" },
  { "scalar", "actions", "0 axes" },
  { "scaleoffset", "actions", "unsupported filter" },
  { "soft_link", "actions", "link" },
  { "string", "observations", "strings" },
  { "varying", "actions", "varying length" },
  { "virtual", "actions", "virtual" },
  { "wide_reward", "rewards", "[12, 2]; expected one number a row" },
};

static void test_untrustworthy_files_are_refused_with_the_reason(void **state) {
  Fixture *f = *state;
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
    Error error = { 0 };
    char path[256];
    snprintf(path, sizeof path, GOLDEN "bad_%s.hdf5", refused[i].name);
    assert_null(dataset_open(path, 0, &error));
    assert_int_equal(error.kind, FAIL_INPUT);
    assert_ptr_equal(strstr(error.text, path), error.text);
    assert_says(error.text, refused[i].array);
    assert_says(error.text, refused[i].word);
  }
  assert_int_equal(files_in(f->cache, NULL), 0);
}

static void test_what_is_not_hdf5_is_named(void **state) {
  Fixture *f = *state;
  Error error = { 0 };
  spill(f->path, "step,reward\n1,2\n", 16);
  assert_null(dataset_open(f->path, 0, &error));
  assert_int_equal(error.kind, FAIL_INPUT);
  assert_says(error.text, "observations: no such array");
  spill(f->path, "{ \"step\": 1 }", 13);
  assert_null(dataset_open(f->path, 0, &error));
  assert_int_equal(error.kind, FAIL_INPUT);
  assert_says(error.text, "not an HDF5 file, nor npz");
  const char *pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3687117\n";
  spill(f->path, pointer, strlen(pointer));
  assert_null(dataset_open(f->path, 0, &error));
  assert_says(error.text, "git lfs pull");
  assert_null(dataset_open(f->folder, 0, &error));
  assert_says(error.text, "a folder");
  assert_null(dataset_open(f->other, 0, &error));
  assert_says(error.text, "No such file");
  assert_int_equal(error.kind, FAIL_INPUT);
}

/* Cut anywhere, or with any bit flipped, a file is either refused with a message or (the bit was
 * a number's, or in a gap) read whole; within seconds, and the process lives on. */
static void attack(const Fixture *f, const char *golden, int cases) {
  size_t size;
  char *bytes = slurp(golden, &size);
  uint64_t random = 12345;
  for (int i = 0; i < cases; i++) {
    Error error = { 0 };
    char path[160];
    snprintf(path, sizeof path, "%s/%d.hdf5", f->folder, i);
    random = random * 6364136223846793005u + 1442695040888963407u;
    size_t at = (size_t)(random >> 33) % size;
    char flip = (char)(1 << (random >> 30 & 7));
    if (i % 4 == 0) {
      spill(path, bytes, at);
    } else {
      bytes[at] ^= flip;
      spill(path, bytes, size);
      bytes[at] ^= flip;
    }
    time_t start = time(NULL);
    Dataset *data = dataset_open(path, 10, &error);
    assert_true(time(NULL) - start < 10);
    if (!data) assert_true(error.kind == FAIL_INPUT && strlen(error.text) > strlen(path) + 2);
    if (i % 4 == 0) assert_null(data);
    dataset_close(data);
    unlink(path);
  }
  free(bytes);
}

static void test_damaged_files_never_bring_us_down(void **state) {
  attack(*state, GOLDEN "float64.hdf5", 250);
  attack(*state, GOLDEN "d4rl_v2.hdf5", 250);
}

/* A chunk that is larger or smaller in the header than it was written: HDF5 reads past its end, or
 * makes up zeros for what it does not find. */
static void test_chunks_of_another_size_are_refused(void **state) {
  Fixture *f = *state;
  enum { CHUNK_COLUMNS = 6287 }; /* a byte: two columns of actions in a chunk */
  static const struct {
    char columns;
    const char *says;
  } cases[] = { { 10, "chunks longer than itself" }, { 1, "1 chunks where its shape takes 2" } };
  size_t size;
  char *bytes = slurp(GOLDEN "d4rl_v2.hdf5", &size);
  assert_int_equal(bytes[CHUNK_COLUMNS], 2);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    Error error = { 0 };
    bytes[CHUNK_COLUMNS] = cases[i].columns;
    spill(f->path, bytes, size);
    assert_null(dataset_open(f->path, 0, &error));
    assert_int_equal(error.kind, FAIL_INPUT);
    assert_says(error.text, "actions");
    assert_says(error.text, cases[i].says);
  }
  free(bytes);
}

/* ---- the cache ------------------------------------------------------------------------------- */

static void test_second_open_reads_the_cache_alone(void **state) {
  Fixture *f = *state;
  Dataset *first = open_good(GOLDEN "d4rl_v2.hdf5", 0);
  assert_int_equal(files_in(f->cache, NULL), 1);
  setenv("DIFFRL_LIBEXEC", f->folder, 1);                   /* no program there */
  Dataset *second = open_good(GOLDEN "d4rl_v2.hdf5", 1000); /* it has time-outs: no horizon */
  assert_int_equal(first->map_bytes, second->map_bytes);
  assert_memory_equal(first->map, second->map, first->map_bytes);
  dataset_close(first);
  dataset_close(second);
}

static void test_hash_is_of_the_files_bytes(void **state) {
  (void)state;
  size_t size;
  char text[MURMUR_TEXT], *bytes = slurp(GOLDEN "v0.hdf5", &size);
  murmur_text(murmur_of(bytes, size), text);
  Dataset *data = open_good(GOLDEN "v0.hdf5", 10);
  assert_string_equal(data->hash, text);
  dataset_close(data);
  free(bytes);
}

static void test_missing_program_is_explained(void **state) {
  Fixture *f = *state;
  Error error = { 0 };
  setenv("DIFFRL_LIBEXEC", f->folder, 1);
  assert_null(dataset_open(GOLDEN "v0.hdf5", 10, &error));
  assert_int_equal(error.kind, FAIL_RUNNING);
  assert_says(error.text, "DIFFRL_LIBEXEC");
}

static uint64_t index_offset(const char *cache) {
  return ((const CacheHeader *)(const void *)cache)->column[CACHE_TRANSITION].offset;
}

static void test_damaged_or_old_cache_is_made_again(void **state) {
  Fixture *f = *state;
  char cache[512];
  size_t size, again;
  Dataset *data = open_good(GOLDEN "float64.hdf5", 0);
  dataset_close(data);
  assert_int_equal(files_in(f->cache, cache), 1);
  char *whole = slurp(cache, &size);
  for (int i = 0; i < 6; i++) {
    if (i == 4) poke(cache, (long)sizeof(CacheHeader) + 200, 77); /* one flipped number */
    if (i == 5) poke(cache, (long)index_offset(whole) + 7, 1);    /* a row far outside */
    if (i == 0) poke(cache, offsetof(CacheHeader, version), 99);
    if (i == 1) poke(cache, offsetof(CacheHeader, source_hash), 'x');
    if (i == 2) assert_int_equal(truncate(cache, (off_t)size - 1), 0);
    if (i == 3) assert_int_equal(truncate(cache, 0), 0);
    dataset_close(open_good(GOLDEN "float64.hdf5", 0));
    assert_int_equal(files_in(f->cache, NULL), 1);
    char *now = slurp(cache, &again);
    assert_int_equal(size, again);
    /* the header says when it was made */
    assert_memory_equal(whole + sizeof(CacheHeader), now + sizeof(CacheHeader),
                        size - sizeof(CacheHeader));
    free(now);
  }
  free(whole);
}

/* rsync -t, tar, git-annex and cp -p restore size and time, but no time of change. */
static void test_another_content_of_the_same_size_and_time_is_read(void **state) {
  Fixture *f = *state;
  size_t size;
  const struct timespec then[2] = { { 1767322985, 0 }, { 1767322985, 0 } };
  char hash[40], *bytes = slurp(GOLDEN "v0.hdf5", &size);
  spill(f->path, bytes, size);
  assert_int_equal(utimensat(AT_FDCWD, f->path, then, 0), 0);
  Dataset *data = open_good(f->path, 10);
  strcpy(hash, data->hash);
  float was = data->observations[3];
  dataset_close(data);
  /* another number, as it stands in the file */
  for (size_t i = 0; i + sizeof was <= size; i++)
    if (!memcmp(bytes + i, &was, sizeof was)) memcpy(bytes + i, &(float){ was + 1 }, sizeof was);
  spill(f->path, bytes, size);
  assert_int_equal(utimensat(AT_FDCWD, f->path, then, 0), 0);
  data = open_good(f->path, 10);
  assert_string_not_equal(data->hash, hash);
  assert_true(data->observations[3] == was + 1);
  dataset_close(data);
  assert_int_equal(files_in(f->cache, NULL), 1); /* the old one is of no use any more */
  free(bytes);
}

/* An import that is killed leaves nothing, whenever that happens. */
static void test_a_killed_import_leaves_nothing(void **state) {
  Fixture *f = *state;
  for (int ms = 0; ms < 40; ms += 2) {
    pid_t child = fork();
    if (child == 0) {
      Error error = { 0 };
      for (;;) {
        unsetenv("HOME");
        dataset_close(dataset_open(GOLDEN "d4rl_v2.hdf5", 0, &error));
        char cache[512];
        if (files_in(f->cache, cache) == 1) unlink(cache);
      }
    }
    nanosleep(&(struct timespec){ 0, ms * 1000000L }, NULL);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    char left[512] = "";
    int count = files_in(f->cache, left);
    assert_true(count == 0 || (count == 1 && !strcmp(left + strlen(left) - 6, ".cache")));
    if (count) unlink(left);
  }
}

static void test_the_folder_keeps_to_its_limit(void **state) {
  Fixture *f = *state;
  size_t size;
  char path[160], *bytes = slurp(GOLDEN "v0.hdf5", &size);
  const CacheEntry *list;
  Arena *arena = arena_new();
  setenv("DIFFRL_CACHE_GB", "0.00003", 1); /* 30 kB: a few of them */
  for (int i = 0; i < 12; i++) {
    snprintf(path, sizeof path, "%s/%d.hdf5", f->folder, i);
    spill(path, bytes, size);
    dataset_close(open_good(path, 10));
  }
  uint64_t sum = 0;
  size_t count = cache_folder_list(arena, &list);
  for (size_t i = 0; i < count; i++) sum += list[i].bytes;
  assert_true(count > 1 && count < 12 && sum <= 30000);
  assert_true(list[0].current && !strcmp(list[0].source, path)); /* the last one made */
  unlink(path);
  count = cache_folder_list(arena, &list);
  assert_false(list[0].current);
  unsetenv("DIFFRL_CACHE_GB");
  arena_free(arena);
  free(bytes);
}

static bool write_steps(const char *path, int order, bool ends, Error *error) {
  enum { ALONG = 30 };
  DatasetWriter *writer = dataset_writer_open(path, 1, 1, 0, 0, error);
  for (int i = 0; writer && i < 2 * ALONG; i++) {
    /* order 0: one episode after the other; 1: two at once, row by row */
    int step = order ? i / 2 : i % ALONG, which = order ? i % 2 : i / ALONG;
    float obs = (float)(step + 100 * which), next = obs + 1, act = 0;
    bool last = step == ALONG - 1;
    DatasetStep row = { &obs, &act, &next, 0, false, ends && last, NAN, NULL, NULL };
    if (!dataset_writer_add(writer, &row, error)) return false;
  }
  return writer && dataset_writer_close(writer, "{}", error);
}

static void test_rows_that_contradict_their_successors_are_told(void **state) {
  Fixture *f = *state;
  Error error = { 0 };
  DatasetSummary s;
  /* two episodes of which nobody set the end: found by what follows row 29 */
  assert_true(write_steps(f->path, 0, false, &error));
  Dataset *data = open_good(f->path, 0);
  dataset_summary(data, &s);
  assert_true(s.cut == 1 && s.first_cut == 29 && data->episode_start[1] == 30);
  assert_true(s.episodes == 1 && s.open_tail == 30);
  dataset_close(data);
  /* two environments stepped together */
  assert_true(write_steps(f->other, 1, true, &error));
  assert_null(dataset_open(f->other, 0, &error));
  assert_int_equal(error.kind, FAIL_INPUT);
  assert_says(error.text, "parallel environments");
}

static void test_other_horizon_or_changed_file_is_read_again(void **state) {
  Fixture *f = *state;
  size_t size;
  char *bytes = slurp(GOLDEN "v0_straight.hdf5", &size);
  spill(f->path, bytes, size);
  free(bytes);
  Dataset *ten = open_good(f->path, 10), *five = open_good(f->path, 5);
  assert_int_equal(ten->episodes, 3); /* 10 + 10 + a tail of 5 */
  assert_int_equal(five->episodes, 5);
  dataset_close(ten);
  dataset_close(five);
  bytes = slurp(GOLDEN "v0.hdf5", &size);
  spill(f->path, bytes, size);
  free(bytes);
  Dataset *changed = open_good(f->path, 10);
  assert_int_equal(changed->rows, 47);
  dataset_close(changed);
}

static void test_without_a_cache_folder_a_temporary_file_serves(void **state) {
  Fixture *f = *state;
  spill(f->other, "", 0);
  setenv("XDG_CACHE_HOME", f->other, 1); /* a file: nothing can be made in it */
  setenv("TMPDIR", f->folder, 1);
  Dataset *data = open_good(GOLDEN "v0.hdf5", 10);
  assert_int_equal(files_in(f->folder, NULL), 1); /* `other` alone: the other has no name */
  assert_int_equal(data->rows, 47);
  dataset_close(data);
  unsetenv("TMPDIR");
}

static void test_importers_at_once_do_not_disturb_each_other(void **state) {
  Fixture *f = *state;
  pid_t child[4];
  for (int i = 0; i < 4; i++)
    if ((child[i] = fork()) == 0) {
      Error error = { 0 };
      Dataset *data = dataset_open(GOLDEN "d4rl_v2.hdf5", 0, &error);
      _exit(data && data->transitions == 56 ? 0 : 1);
    }
  for (int i = 0; i < 4; i++) {
    int status;
    assert_int_equal(waitpid(child[i], &status, 0), child[i]);
    assert_int_equal(status, 0);
  }
  assert_int_equal(files_in(f->cache, NULL), 1);
}

/* ---- the writer ------------------------------------------------------------------------------ */

enum { STEPS = 70000, LONG = 1000 }; /* more than one slab of rows */

static float number(int64_t step, int entry) {
  return (float)sin((double)step * 0.7 + entry) * (entry % 2 ? 1e-3f : 50);
}

static bool add_steps(DatasetWriter *writer, int steps, Error *error) {
  for (int i = 0; i < steps; i++) {
    float obs[3] = { number(i, 0), number(i, 1), number(i, 2) };
    float next[3] = { number(i + 1, 0), number(i + 1, 1), number(i + 1, 2) };
    float act[2] = { number(i, 3), number(i, 4) };
    double qpos[2] = { i, 0.1 * i }, qvel[1] = { -i };
    DatasetStep step = { obs, act,  next, number(i, 5), i % LONG == 123, i % LONG == LONG - 1,
                         NAN, qpos, qvel };
    if (!dataset_writer_add(writer, &step, error)) return false;
  }
  return true;
}

static void write_good(const char *path, int steps, const char *metadata) {
  Error error = { 0 };
  DatasetWriter *writer = dataset_writer_open(path, 3, 2, 2, 1, &error);
  assert_non_null(writer);
  assert_true(add_steps(writer, steps, &error));
  assert_int_not_equal(access(path, F_OK), 0); /* nothing there before the end */
  if (!dataset_writer_close(writer, metadata, &error)) fail_msg("%s", error.text);
}

static void test_what_is_written_comes_back(void **state) {
  Fixture *f = *state;
  const char *metadata = "{\"env\":\"diffrl/hopper-v1\",\"seed\":3,\"share\":0.25}";
  write_good(f->path, STEPS, metadata);
  Dataset *d = open_good(f->path, 0);
  assert_int_equal(d->rows, STEPS);
  assert_int_equal(d->transitions, STEPS - STEPS / LONG); /* the last row is a time-out */
  assert_int_equal(d->episodes, 2 * STEPS / LONG);
  assert_string_equal(d->metadata, metadata);
  for (int64_t i = 0; i < STEPS; i++) {
    for (int j = 0; j < 3; j++) assert_true(d->observations[3 * i + j] == number(i, j));
    for (int j = 0; j < 3; j++) assert_true(d->next_observations[3 * i + j] == number(i + 1, j));
    for (int j = 0; j < 2; j++) assert_true(d->actions[2 * i + j] == number(i, 3 + j));
    assert_true(d->rewards[i] == number(i, 5));
    assert_int_equal(d->terminals[i], i % LONG == 123);
    assert_int_equal(d->timeouts[i], i % LONG == LONG - 1);
  }
  dataset_close(d);
}

static void test_equal_steps_give_equal_files(void **state) {
  Fixture *f = *state;
  size_t one, two;
  write_good(f->path, 500, "{}");
  for (time_t start = time(NULL); time(NULL) == start;) usleep(10000); /* no clock in them */
  write_good(f->other, 500, NULL);
  char *a = slurp(f->path, &one), *b = slurp(f->other, &two);
  assert_int_equal(one, two);
  assert_memory_equal(a, b, one);
  free(a);
  free(b);
}

static void test_an_existing_file_is_never_replaced(void **state) {
  Fixture *f = *state;
  Error error = { 0 };
  spill(f->path, "mine", 4);
  assert_null(dataset_writer_open(f->path, 3, 2, 0, 0, &error));
  assert_says(error.text, "already there");
  unlink(f->path);
  DatasetWriter *writer = dataset_writer_open(f->path, 3, 2, 2, 1, &error);
  assert_true(add_steps(writer, 5, &error));
  spill(f->path, "mine", 4); /* appears meanwhile */
  assert_false(dataset_writer_close(writer, "{}", &error));
  assert_int_equal(error.kind, FAIL_RUNNING);
  size_t size;
  char *bytes = slurp(f->path, &size);
  assert_int_equal(size, 4);
  assert_memory_equal(bytes, "mine", 4);
  free(bytes);
  assert_int_equal(files_in(f->folder, NULL), 1);
}

static void test_abandoning_leaves_nothing(void **state) {
  Fixture *f = *state;
  Error error = { 0 };
  DatasetWriter *writer = dataset_writer_open(f->path, 3, 2, 2, 1, &error);
  assert_true(add_steps(writer, 5, &error));
  dataset_writer_abandon(writer);
  dataset_writer_abandon(NULL);
  assert_int_equal(files_in(f->folder, NULL), 0);
}

/* A limit on file size stands in for the full disk: many steps do not fit as rows, and a few do
 * while the HDF5 file made of them does not. */
static void test_full_disk_is_reported_and_leaves_nothing(void **state) {
  Fixture *f = *state;
  signal(SIGXFSZ, SIG_IGN);
  for (int few = 0; few < 2; few++) {
    Error error = { 0 };
    struct rlimit old;
    getrlimit(RLIMIT_FSIZE, &old);
    DatasetWriter *writer = dataset_writer_open(f->path, 3, 2, 2, 1, &error);
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){ 8192, old.rlim_max });
    bool added = add_steps(writer, few ? 50 : 5000, &error);
    assert_int_equal(added, few);
    if (added)
      assert_false(dataset_writer_close(writer, "{}", &error));
    else
      dataset_writer_abandon(writer);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(error.kind, FAIL_RUNNING);
    assert_says(error.text, "cannot be written");
    assert_int_equal(files_in(f->folder, NULL), 0);
  }
}

static void test_numbers_and_metadata_are_checked_on_the_way_in(void **state) {
  Fixture *f = *state;
  Error error = { 0 };
  float obs[1] = { NAN }, act[1] = { 0 };
  DatasetWriter *writer = dataset_writer_open(f->path, 1, 1, 0, 0, &error);
  assert_false(
      dataset_writer_add(writer, &(DatasetStep){ .obs = obs, .act = act, .next = act }, &error));
  assert_says(error.text, "step 0, observation entry 0");
  obs[0] = 1;
  assert_true(
      dataset_writer_add(writer, &(DatasetStep){ .obs = obs, .act = act, .next = act }, &error));
  assert_false(dataset_writer_close(writer, "{\"nested\":{}}", &error));
  assert_says(error.text, "metadata/nested");
  writer = dataset_writer_open(f->path, 1, 1, 0, 0, &error);
  assert_false(dataset_writer_close(writer, "{}", &error));
  assert_says(error.text, "no steps");
  assert_int_equal(files_in(f->folder, NULL), 0);
}

/* ---- the summary ----------------------------------------------------------------------------- */

/* Episodes of 2 (terminal), 3 (time-out) and an unfinished tail of 1; rewards 1, 2, 3, ... */
static void test_summary_counts_complete_episodes(void **state) {
  Fixture *f = *state;
  Error error = { 0 };
  DatasetSummary s;
  DatasetWriter *writer = dataset_writer_open(f->path, 1, 1, 0, 0, &error);
  for (int i = 0; i < 6; i++) {
    float x[1] = { (float)i - 2 }, next[1] = { (float)i - 1 };
    DatasetStep step = { x, x, next, (float)(i + 1), i == 1, i == 4, 0, NULL, NULL };
    assert_true(dataset_writer_add(writer, &step, &error));
  }
  assert_true(dataset_writer_close(writer, "{}", &error));
  Dataset *data = open_good(f->path, 0);
  dataset_summary(data, &s);
  assert_true(s.rows == 6 && s.transitions == 4 && s.dropped == 2);
  assert_true(s.episodes == 2 && s.open_tail == 1 && s.cut == 0);
  assert_true(s.terminals == 1 && s.timeouts == 1 && s.has_next && s.has_rewards);
  assert_true(s.return_mean == 7.5 && s.return_min == 3 && s.return_max == 12);
  assert_true(fabs(s.return_std - 9 / sqrt(2)) < 1e-12);
  assert_true(s.length_mean == 2.5 && s.length_min == 2 && s.length_max == 3);
  assert_true(s.reward_mean == 3.5 && s.reward_min == 1 && s.reward_max == 6);
  assert_true(fabs(s.reward_std - sqrt(3.5)) < 1e-12);
  assert_true(s.action_low == -2 && s.action_high == 3);
  assert_true(dataset_return(data, 1) == 12 && dataset_return(data, 2) == 6);
  dataset_close(data);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
    TEST(test_transitions_are_d4rls),
    TEST(test_episode_behind_a_terminal_is_cut_at_its_end),
    TEST(test_optional_arrays_may_be_missing),
    TEST(test_metadata_keeps_strings_and_numbers),
    TEST(test_metadata_lead_to_no_other_file),
    TEST(test_untrustworthy_files_are_refused_with_the_reason),
    TEST(test_what_is_not_hdf5_is_named),
    TEST(test_damaged_files_never_bring_us_down),
    TEST(test_chunks_of_another_size_are_refused),
    TEST(test_second_open_reads_the_cache_alone),
    TEST(test_hash_is_of_the_files_bytes),
    TEST(test_missing_program_is_explained),
    TEST(test_damaged_or_old_cache_is_made_again),
    TEST(test_another_content_of_the_same_size_and_time_is_read),
    TEST(test_a_killed_import_leaves_nothing),
    TEST(test_the_folder_keeps_to_its_limit),
    TEST(test_rows_that_contradict_their_successors_are_told),
    TEST(test_other_horizon_or_changed_file_is_read_again),
    TEST(test_without_a_cache_folder_a_temporary_file_serves),
    TEST(test_importers_at_once_do_not_disturb_each_other),
    TEST(test_what_is_written_comes_back),
    TEST(test_equal_steps_give_equal_files),
    TEST(test_an_existing_file_is_never_replaced),
    TEST(test_abandoning_leaves_nothing),
    TEST(test_full_disk_is_reported_and_leaves_nothing),
    TEST(test_numbers_and_metadata_are_checked_on_the_way_in),
    TEST(test_summary_counts_complete_episodes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
