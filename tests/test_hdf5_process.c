/* test_hdf5_process.c -- whatever the program does (here a shell script plays it), the caller gets
 * an answer in time. */
#include "datasets/dataset.h"
#include "datasets/hdf5_process.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

typedef struct {
  char folder[64], program[128], pid[128];
} Fixture;

static int setup(void **state) {
  Fixture *f = *state = calloc(1, sizeof *f);
  strcpy(f->folder, "/tmp/test_hdf5.XXXXXX");
  if (!mkdtemp(f->folder)) return -1;
  snprintf(f->program, sizeof f->program, "%s/diffrl-hdf5", f->folder);
  snprintf(f->pid, sizeof f->pid, "%s/pid", f->folder);
  setenv("XDG_CACHE_HOME", f->folder, 1);
  return setenv("DIFFRL_LIBEXEC", f->folder, 1);
}

static int teardown(void **state) {
  Fixture *f = *state;
  char command[128];
  snprintf(command, sizeof command, "rm -rf '%s'", f->folder);
  free(f);
  return system(command);
}

static void play(const Fixture *f, const char *script) {
  FILE *file = fopen(f->program, "w");
  assert_non_null(file);
  fprintf(file, "#!/bin/sh\n%s\n", script);
  fclose(file);
  assert_int_equal(chmod(f->program, 0755), 0);
}

static bool run(double seconds, Error *error) {
  const char *argument[] = { "import", "in", "0", NULL };
  return hdf5_process_run(argument, -1, -1, seconds, error);
}

static void assert_fails(Failure kind, const char *word) {
  Error error = { 0 };
  assert_false(run(20, &error));
  assert_int_equal(error.kind, kind);
  if (!strstr(error.text, word)) fail_msg("\"%s\" does not say \"%s\"", error.text, word);
}

static void test_its_message_and_status_are_ours(void **state) {
  Fixture *f = *state;
  Error error = { 0 };
  play(f, "test \"$*\" = 'import in 0'");
  assert_true(run(20, &error));
  play(f, "echo rewards: wrong >&2; exit 3");
  assert_fails(FAIL_INPUT, "rewards: wrong");
  play(f, "echo no space >&2; exit 1");
  assert_fails(FAIL_RUNNING, "no space");
  play(f, "exit 77");
  assert_fails(FAIL_RUNNING, "status 77");
}

static void test_a_crash_is_bad_input(void **state) {
  Fixture *f = *state;
  play(f, "kill -SEGV $$");
  assert_fails(FAIL_INPUT, "signal 11");
}

static void test_a_flood_of_words_is_cut(void **state) {
  Fixture *f = *state;
  play(f, "head -c 1000000 /dev/zero | tr '\\0' x >&2; exit 3");
  assert_fails(FAIL_INPUT, "xxxx");
}

static void test_one_that_never_ends_is_killed(void **state) {
  Fixture *f = *state;
  Error error = { 0 };
  play(f, "exec sleep 60");
  time_t start = time(NULL);
  assert_false(run(0.2, &error));
  assert_true(time(NULL) - start < 20);
  assert_int_equal(error.kind, FAIL_INPUT);
}

static void test_a_false_result_is_not_believed(void **state) {
  Fixture *f = *state;
  Error error = { 0 };
  play(f, "head -c 100000 /dev/zero >&3");
  assert_null(dataset_open(f->program, 0, &error)); /* any file will do */
  assert_int_equal(error.kind, FAIL_RUNNING);
  assert_non_null(strstr(error.text, "not usable"));
}

static pid_t read_pid(const char *path) {
  long pid = 0;
  FILE *file = fopen(path, "r");
  if (file && fscanf(file, "%ld", &pid) != 1) pid = 0;
  if (file) fclose(file);
  return (pid_t)pid;
}

/* Wait up to 10 s for the condition. */
#define EVENTUALLY(condition)                                                                      \
  for (int tries = 0; !(condition) && tries < 1000; tries++) usleep(10000);                        \
  assert_true(condition)

static bool running(pid_t pid) {
  char path[64], line[256] = "", *mark;
  snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
  FILE *file = fopen(path, "r");
  if (!file) return false;
  mark = fgets(line, sizeof line, file) ? strrchr(line, ')') : NULL;
  fclose(file);
  return mark && mark[2] != 'Z';
}

static void test_it_dies_with_its_parent(void **state) {
  Fixture *f = *state;
  char script[256];
  snprintf(script, sizeof script, "echo $$ > %s; exec sleep 60", f->pid);
  play(f, script);
  pid_t child = fork();
  if (child == 0) {
    Error error = { 0 };
    run(60, &error);
    _exit(0);
  }
  EVENTUALLY(read_pid(f->pid) > 0);
  pid_t program = read_pid(f->pid);
  assert_true(running(program));
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  EVENTUALLY(!running(program));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
    TEST(test_its_message_and_status_are_ours), TEST(test_a_crash_is_bad_input),
    TEST(test_a_flood_of_words_is_cut),         TEST(test_one_that_never_ends_is_killed),
    TEST(test_a_false_result_is_not_believed),  TEST(test_it_dies_with_its_parent),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
