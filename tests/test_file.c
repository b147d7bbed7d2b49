/* test_file.c -- a file is whole or as it was, whatever fails, and no draft stays. */
#include "core/file.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <dirent.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char home[] = "/tmp/test_file.XXXXXX";

static int setup(void **state) {
  (void)state;
  strcpy(home + strlen(home) - 6, "XXXXXX");
  return !mkdtemp(home) || chdir(home);
}

static int teardown(void **state) {
  char line[64];
  (void)state;
  snprintf(line, sizeof line, "rm -r %s", home);
  return chdir("/") || system(line);
}

static void assert_holds(const char *path, const char *text) {
  char found[256] = "";
  FILE *file = fopen(path, "r");
  assert_non_null(file);
  found[fread(found, 1, sizeof found - 1, file)] = '\0';
  fclose(file);
  assert_string_equal(found, text);
}

static void assert_files(int count) {
  DIR *folder = opendir(".");
  for (struct dirent *entry; (entry = readdir(folder));) count -= *entry->d_name != '.';
  closedir(folder);
  assert_int_equal(count, 0);
}

static void assert_failed(const Error *error, const char *text) {
  assert_int_equal(error->kind, FAIL_RUNNING);
  assert_string_equal(error->text, text);
}

static void what_is_written_is_there(void **state) {
  Error error;
  (void)state;
  assert_true(file_write("a", "one", 3, &error));
  assert_holds("a", "one");
  assert_true(file_write("./a", "", 0, &error));
  assert_holds("a", "");
  assert_true(
      file_write_pieces("a", (FilePiece[]){ { "one", 3 }, { "", 0 }, { " two", 4 } }, 3, &error));
  assert_holds("a", "one two");
  assert_files(1);
}

static void what_cannot_be_written_changes_nothing(void **state) {
  Error error;
  char endless[5000];
  (void)state;
  assert_true(file_write("a", "one", 3, &error));
  struct rlimit old, low;
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
  low = (struct rlimit){ 2, old.rlim_max };
  signal(SIGXFSZ, SIG_IGN);
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
  assert_false(file_write("a", "two", 3, &error));
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
  assert_failed(&error, "a: cannot be written: File too large; what was there is untouched");
  assert_holds("a", "one");
  assert_files(1);
  assert_int_equal(mkdir("folder", 0700), 0);
  assert_false(file_write("folder", "two", 3, &error));
  assert_files(2);
  assert_false(file_write("no/a", "two", 3, &error));
  assert_failed(&error, "no/a: cannot be written: No such file or directory");
  memset(endless, 'x', sizeof endless - 1);
  endless[sizeof endless - 1] = '\0';
  assert_false(file_write(endless, "two", 3, &error));
}

static void a_draft_has_no_name_until_it_is_whole(void **state) {
  Error error;
  (void)state;
  FileDraft draft = file_draft("a", &error), other = file_draft("a", &error);
  assert_true(draft.fd >= 0 && other.fd >= 0);
  if (!draft.part) assert_files(0); /* where the file system can do without a name */
  assert_int_equal(write(draft.fd, "one", 3) + write(other.fd, "two", 3), 6);
  assert_true(file_draft_close(&draft, "a", &error));
  assert_int_equal(draft.fd, -1);
  assert_holds("a", "one");
  assert_false(file_draft_close(&other, "a", &error)); /* never in place of another file */
  assert_failed(&error, "a: cannot be written: File exists; what was there is untouched");
  assert_holds("a", "one");
  draft = file_draft("b", &error);
  assert_true(file_draft_close(&draft, NULL, &error));
  assert_files(1);
  assert_int_equal(file_draft("no/a", &error).fd, -1);
  assert_failed(&error, "no/a: cannot be written: No such file or directory");
}

static void folders_are_made_with_their_parents(void **state) {
  Error error;
  char endless[PATH_MAX + 10], path[sizeof home + 20];
  (void)state;
  assert_true(file_make_folders("a/b//c/", &error));
  assert_true(file_make_folders("a/b/d", &error));
  assert_int_equal(access("a/b/c", F_OK) | access("a/b/d", F_OK), 0);
  snprintf(path, sizeof path, "%s/e/f", home);
  assert_true(file_make_folders(path, &error));
  assert_int_equal(access("e/f", F_OK), 0);
  assert_true(file_make_folders("/", &error));
  assert_true(file_write("file", "", 0, &error));
  assert_false(file_make_folders("file/a/b", &error));
  assert_failed(&error, "cannot make folder file/a: Not a directory");
  assert_false(file_make_folders("", &error));
  memset(endless, 'x', sizeof endless - 1);
  endless[sizeof endless - 1] = '\0';
  assert_false(file_make_folders(endless, &error));
}

int main(void) {
#define FACT(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
  const struct CMUnitTest tests[] = {
    FACT(what_is_written_is_there),
    FACT(what_cannot_be_written_changes_nothing),
    FACT(a_draft_has_no_name_until_it_is_whole),
    FACT(folders_are_made_with_their_parents),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
