/* test_log.c -- means are means; JSON lines survive crashes, rewinds and full disks. */
#include "core/log.h"
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64], path[96];

static int setup(void **state) {
  (void)state;
  strcpy(folder, "/tmp/test_log.XXXXXX");
  if (!mkdtemp(folder)) return -1;
  snprintf(path, sizeof path, "%s/metrics.jsonl", folder);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  unlink(path);
  return rmdir(folder);
}

static void assert_file(const char *expected) {
  char text[4096] = "";
  FILE *file = fopen(path, "r");
  assert_non_null(file);
  text[fread(text, 1, sizeof text - 1, file)] = '\0';
  fclose(file);
  assert_string_equal(text, expected);
}

static void write_file(const char *text) {
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs(text, file);
  fclose(file);
}

static void scalars_are_averaged_by_name(void **state) {
  (void)state;
  Log log = { 0 };
  char copy[] = "loss/actor"; /* equal names at different addresses are one scalar */
  log_scalar(&log, "loss/actor", 1);
  log_scalar(&log, "q/mean", -3);
  log_scalar(&log, copy, 2);
  assert_true(log_mean(&log, "loss/actor") == 1.5);
  assert_true(log_mean(&log, "q/mean") == -3);
  assert_true(isnan(log_mean(&log, "absent")));
  JsonText out = { 0 };
  log_write(&log, &out);
  assert_string_equal(out.text, "\"loss/actor\":1.5,\"q/mean\":-3");
  json_text_free(&out);
  log_clear(&log);
  assert_true(isnan(log_mean(&log, "q/mean")));
}

static void lines_are_appended(void **state) {
  (void)state;
  Error error;
  assert_true(log_append(path, "{\"step\":1}", &error));
  assert_true(log_append(path, "{\"step\":2}", &error));
  assert_file("{\"step\":1}\n{\"step\":2}\n");
  assert_false(log_append("/nonexistent/file", "{}", &error));
  assert_int_equal(error.kind, FAIL_RUNNING);
  assert_false(log_append("/dev/full", "{}", &error));
  assert_non_null(strstr(error.text, "No space left"));
}

static void a_line_that_does_not_fit_leaves_no_part(void **state) {
  (void)state;
  Error error;
  struct rlimit old, low;
  assert_true(log_append(path, "{\"step\":1}", &error));
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
  low = (struct rlimit){ 16, old.rlim_max };
  signal(SIGXFSZ, SIG_IGN);
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
  bool done = log_append(path, "{\"step\":2}", &error);
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
  assert_false(done);
  assert_file("{\"step\":1}\n");
}

static void rewinding_keeps_the_lines_up_to_a_step(void **state) {
  static const char all[] = "{\"step\":10,\"a\":1}\n{\"step\":20}\n{\"step\":30}\n";
  (void)state;
  Error error;
  write_file(all);
  assert_true(log_rewind(path, 30, &error));
  assert_file(all);
  assert_true(log_rewind(path, 29, &error));
  assert_file("{\"step\":10,\"a\":1}\n{\"step\":20}\n");
  assert_true(log_rewind(path, 9, &error));
  assert_file("");
}

static void a_line_cut_short_is_dropped(void **state) {
  (void)state;
  Error error;
  write_file("{\"step\":10}\n{\"step\":20,\"lo");
  assert_true(log_rewind(path, 100, &error));
  assert_file("{\"step\":10}\n");
  write_file("{\"step\":10}\n{\"step\":20}");
  assert_true(log_rewind(path, 100, &error));
  assert_file("{\"step\":10}\n");
}

static void a_broken_line_is_passed_over(void **state) {
  (void)state;
  Error error;
  /* it stays where lines that count follow, and goes with what is cut off */
  write_file("{\"step\":10}\n{\"step\":\n{\"step\":20}\n{\"step\":30\n{\"step\":40}\n");
  assert_true(log_rewind(path, 100, &error));
  assert_file("{\"step\":10}\n{\"step\":\n{\"step\":20}\n{\"step\":30\n{\"step\":40}\n");
  assert_true(log_rewind(path, 30, &error));
  assert_file("{\"step\":10}\n{\"step\":\n{\"step\":20}\n");
}

static void a_pipe_is_refused_and_not_waited_for(void **state) {
  (void)state;
  Error error;
  assert_int_equal(mkfifo(path, 0600), 0);
  assert_false(log_append(path, "{}", &error));
  assert_false(log_rewind(path, 5, &error));
  assert_false(log_sync(path, &error));
}

static void an_absent_file_is_fine(void **state) {
  (void)state;
  Error error;
  assert_true(log_rewind(path, 5, &error));
  assert_int_not_equal(access(path, F_OK), 0);
}

static void progress_is_plain_lines_where_no_terminal_is(void **state) {
  (void)state;
  int terminal = dup(STDERR_FILENO), file = open(path, O_WRONLY | O_CREAT, 0600);
  dup2(file, STDERR_FILENO);
  log_progress(false, "step %d", 1);
  log_progress(true, "step %d", 2);
  dup2(terminal, STDERR_FILENO);
  close(file);
  close(terminal);
  assert_file("step 1\nstep 2\n");
}

static void progress_is_one_live_line_on_a_terminal(void **state) {
  (void)state;
  int main_end = posix_openpt(O_RDWR | O_NOCTTY);
  if (main_end < 0 || grantpt(main_end) || unlockpt(main_end)) skip();
  int terminal = dup(STDERR_FILENO), line = open(ptsname(main_end), O_RDWR | O_NOCTTY);
  if (line < 0) skip();
  dup2(line, STDERR_FILENO);
  log_progress(false, "step %d", 1);
  log_progress(true, "step %d", 2);
  dup2(terminal, STDERR_FILENO);
  char text[256] = "";
  size_t length = 0; /* a loaded machine hands it over in parts */
  for (ssize_t got = 1; got > 0 && !strchr(text, '\n'); length += (size_t)got)
    got = read(main_end, text + length, sizeof text - 1 - length);
  close(line);
  close(terminal);
  close(main_end);
  assert_string_equal(text, "\rstep 1\033[K\rstep 2\033[K\r\n");
}

int main(void) {
#define FACT(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
  const struct CMUnitTest tests[] = {
    FACT(scalars_are_averaged_by_name),
    FACT(lines_are_appended),
    FACT(a_line_that_does_not_fit_leaves_no_part),
    FACT(rewinding_keeps_the_lines_up_to_a_step),
    FACT(a_line_cut_short_is_dropped),
    FACT(a_broken_line_is_passed_over),
    FACT(a_pipe_is_refused_and_not_waited_for),
    FACT(an_absent_file_is_fine),
    FACT(progress_is_plain_lines_where_no_terminal_is),
    FACT(progress_is_one_live_line_on_a_terminal),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
