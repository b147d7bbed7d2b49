/* test_shortage.c -- memory, descriptors or disk that run out at any call of an import or a save
 * end it with a sentence: no signal, no file left behind, no checkpoint lost.
 *
 * Of many calls so many are tried as $DIFFRL_SHORTAGES says (make soak: all). */
#include "tests/program.h"
#include <dirent.h>

enum { TRIES = 40 };
static long most_tries;

static int setup(void **state) {
  if (program_enter(state)) return -1;
  const char *asked = getenv("DIFFRL_SHORTAGES");
  most_tries = asked ? atol(asked) : TRIES;
  setenv("XDG_CACHE_HOME", getenv("HOME"), 1);
  file_make_data("point.hdf5", "point-v0", 6, 1, "{\"env\": \"point-v0\"}");
  return 0;
}

static bool cannot_preload(void) {
  return strstr(getenv("DIFFRL_UNDER_TEST"), "san/") != NULL; /* a sanitizer is to be first */
}

/* ---- one run with one call that fails -------------------------------------------------------- */

/* at 0: all calls succeed and are counted */
static void run_short(Outcome *o, const char *line, const char *program, const char *of, long at) {
  char library[4200], number[24];
  snprintf(library, sizeof library, "%s/tests/shortage.so", getenv("DIFFRL_LIBEXEC"));
  snprintf(number, sizeof number, "%ld", at);
  setenv("SHORT_PROGRAM", program, 1), setenv("SHORT_OF", of, 1), setenv("SHORT_AT", number, 1);
  setenv("SHORT_COUNT", "count", 1), setenv("LD_PRELOAD", library, 1);
  program_run(o, "%s", line);
  unsetenv("LD_PRELOAD"), unsetenv("SHORT_COUNT");
}

/* Calls of this kind, when all succeed. */
static long count_calls(const char *line, const char *program, const char *of) {
  Outcome o;
  long count = 0;
  unlink("count");
  run_short(&o, line, program, of, 0);
  program_expect(&o, 0, "");
  FILE *file = fopen("count", "r");
  assert_non_null(file);
  assert_int_equal(fscanf(file, "%ld", &count), 1);
  fclose(file);
  return count;
}

static void expect_ending(const Outcome *o, const char *line, const char *of, long at) {
  if (o->code > 3 || (o->code && !*o->err))
    fail_msg("%s, %s %ld: exit code %d; %s", line, of, at, o->code, o->err);
}

/* ---- an import ------------------------------------------------------------------------------- */

/* The files below diffrl/ that are no whole cache or its lock. */
static int files_in_cache(void) {
  char path[4200];
  snprintf(path, sizeof path, "%s/diffrl", getenv("HOME"));
  DIR *folder = opendir(path);
  int count = 0;
  for (struct dirent *entry; folder && (entry = readdir(folder));) count += *entry->d_name != '.';
  if (folder) closedir(folder);
  return count;
}

static void forget_cache(void) {
  char command[4300];
  snprintf(command, sizeof command, "rm -rf '%s/diffrl'", getenv("HOME"));
  assert_int_equal(system(command), 0);
}

static void fail_imports(const char *program, const char *of) {
  static const char line[] = "data inspect point.hdf5 --json";
  Outcome o, right;
  forget_cache();
  long count = count_calls(line, program, of), successes = 0;
  program_run(&right, "%s", line);
  int whole = files_in_cache();
  for (long try = 0; try < most_tries && try < count; try++) {
    long at = 1 + (count <= most_tries ? try : try * count / most_tries);
    forget_cache();
    run_short(&o, line, program, of, at);
    expect_ending(&o, line, of, at);
    if (!o.code) assert_string_equal(o.out, right.out);
    successes += !o.code;
    if (files_in_cache() > whole)
      fail_msg("%s %ld: %d files in the cache", of, at, files_in_cache());
    /* whatever is there now serves */
    program_run(&o, "%s", line);
    program_expect(&o, 0, "");
    assert_string_equal(o.out, right.out);
  }
  print_message("%s: %ld calls for %s, %ld were survived\n", program, count, of, successes);
}

static void an_import_ends_in_a_sentence(void **state) {
  (void)state;
  if (cannot_preload()) skip();
  fail_imports("diffrl", "memory");
  fail_imports("diffrl", "system");
  fail_imports("diffrl-hdf5", "memory");
  fail_imports("diffrl-hdf5", "system");
}

/* ---- a save ---------------------------------------------------------------------------------- */

#define FEW                                                                                        \
  " --set hidden=4 --set batch=4 --set group=4 --set lane=4 --set eval_points=8"                   \
  " --set eval_draws=1 --set pictures=false --set save_every=2 --threads 1"

static void copy_run(const char *from, const char *to) {
  char command[256];
  snprintf(command, sizeof command, "rm -rf %s && cp -r %s %s", to, from, to);
  assert_int_equal(system(command), 0);
}

/* names of the run's folder with .tmp or the like */
static void assert_nothing_unfinished(const char *run, const char *calm) {
  DIR *folder = opendir(run);
  assert_non_null(folder);
  for (struct dirent *entry; (entry = readdir(folder));) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", calm, entry->d_name);
    if (access(path, F_OK)) fail_msg("%s/%s is left", run, entry->d_name);
  }
  closedir(folder);
}

static void a_save_loses_no_checkpoint(void **state) {
  (void)state;
  if (cannot_preload()) skip();
  static const char *const kinds[] = { "memory", "system" };
  static const char line[] = "train --resume again --steps 6";
  Outcome o;
  program_succeed("train toy --data moons --out begun --steps 2" FEW);
  copy_run("begun", "calm");
  program_succeed("train --resume calm --steps 6");
  for (int k = 0; k < 2; k++) {
    copy_run("begun", "again");
    long count = count_calls(line, "diffrl", kinds[k]);
    for (long try = 0; try < most_tries && try < count; try++) {
      long at = 1 + (count <= most_tries ? try : try * count / most_tries);
      copy_run("begun", "again");
      run_short(&o, line, "diffrl", kinds[k], at);
      expect_ending(&o, line, kinds[k], at);
      assert_nothing_unfinished("again", "calm");
      program_run(&o, "%s", line); /* refused where all steps are done */
      assert_same_file("again/last.safetensors", "calm/last.safetensors");
    }
    print_message("%ld calls for %s of a resumed run\n", count, kinds[k]);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(an_import_ends_in_a_sentence),
    cmocka_unit_test(a_save_loses_no_checkpoint),
  };
  return cmocka_run_group_tests(tests, setup, program_leave);
}
