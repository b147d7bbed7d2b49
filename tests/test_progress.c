/* test_progress.c -- what people see of a long task: soon a first line, the time that is left, one
 * live line on a terminal and a table at the end; a short task says nothing. */
#include "core/clock.h"
#include "core/progress.h"
#include "tests/program.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>

static void durations_are_read_at_a_glance(void **state) {
  (void)state;
  static const struct {
    double seconds;
    const char *text;
  } cases[] = { { 0, "0:00" },
                { 7.9, "0:07" },
                { 185, "3:05" },
                { 3599, "59:59" },
                { 7200, "2:00:00" },
                { 172799, "47:59:59" },
                { 356400, "4 d 03:00" },
                { 3e9 * 60, "?" },
                { -1, "?" },
                { NAN, "?" },
                { INFINITY, "?" },
                { 2147483648.0 * 30, "745654 d 01:04" } };
  char text[PROGRESS_TIME];
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    assert_string_equal(progress_time(text, cases[i].seconds), cases[i].text);
}

/* ---- lines ----------------------------------------------------------------------------------- */

/* What is written to stderr in between goes to this file descriptor. */
static int redirect(int to) {
  fflush(stderr);
  int kept = dup(STDERR_FILENO);
  dup2(to, STDERR_FILENO);
  return kept;
}

static void restore(int kept) {
  fflush(stderr);
  dup2(kept, STDERR_FILENO);
  close(kept);
}

static void tell(Progress *p, double passed) {
  progress_begin(p, "rows", "making %s", "hopper");
  p->began -= passed;
  progress_at(p, 25, 100);
  progress_at(p, 26, 100); /* too soon */
  progress_end(p);
}

/* Elsewhere than on a terminal: nothing for ten seconds, then whole lines, far apart. */
static void a_file_gets_few_whole_lines(void **state) {
  (void)state;
  Progress p;
  char text[PROGRAM_TEXT];
  FILE *file = tmpfile();
  int kept = redirect(fileno(file));
  tell(&p, 9), progress_live("not here");
  progress_at(NULL, 1, 2);
  tell(&p, 30);
  restore(kept);
  program_read(file, text);
  assert_string_equal(text, "making hopper: 25 of 100 rows, 1:30 left\n");
}

typedef struct {
  int end, line;
} Terminal;

static bool terminal_open(Terminal *t, int columns) {
  t->end = posix_openpt(O_RDWR | O_NOCTTY);
  if (t->end < 0 || grantpt(t->end) || unlockpt(t->end)) return false;
  t->line = open(ptsname(t->end), O_RDWR | O_NOCTTY);
  struct winsize size = { .ws_row = 24, .ws_col = (unsigned short)columns };
  return t->line >= 0 && !ioctl(t->line, TIOCSWINSZ, &size);
}

/* All that was written until it is closed or `child` (0: nobody) has ended. */
static void terminal_read(Terminal *t, pid_t child, char text[PROGRAM_TEXT]) {
  size_t length = 0;
  int status;
  fcntl(t->end, F_SETFL, O_NONBLOCK);
  for (bool ended = !child;; ended = ended || waitpid(child, &status, WNOHANG) == child) {
    bool last = ended;
    for (ssize_t got; length < PROGRAM_TEXT - 1 &&
                      (got = read(t->end, text + length, PROGRAM_TEXT - 1 - length)) > 0;)
      length += (size_t)got;
    if (last) break;
    nap(0.01);
  }
  text[length] = '\0';
  close(t->line), close(t->end);
}

static void a_terminal_has_one_live_line(void **state) {
  (void)state;
  Terminal t = { 0 };
  Progress p;
  char text[PROGRAM_TEXT];
  if (!terminal_open(&t, 30)) skip();
  int kept = redirect(t.line);
  tell(&p, 0.1); /* soon done */
  tell(&p, 30);
  progress_live("making figures"), progress_live("");
  restore(kept);
  terminal_read(&t, 0, text);
  assert_string_equal(text, "\rmaking hopper: 25 of 100 rows\033[K\r\033[K"
                            "\rmaking figures\033[K\r\033[K");
}

/* ---- train ----------------------------------------------------------------------------------- */

#define LONG                                                                                       \
  "train toy --data moons --threads 1 --steps 1000000000 --set eval_every=0 "                      \
  "--set log_every=1000000000 --set save_every=1000000000 --out "

/* Whatever log_every is, a first line comes soon, with the time that is left. */
static void the_first_line_does_not_wait_for_metrics(void **state) {
  (void)state;
  FILE *err = tmpfile(), *out = tmpfile();
  char text[PROGRAM_TEXT] = "";
  pid_t child = program_start(LONG "long", -1, fileno(out), fileno(err), 0);
  for (double began = clock_now(); !strstr(text, " left") && clock_now() - began < 60;) {
    nap(0.05);
    ssize_t got = pread(fileno(err), text, sizeof text - 1, 0);
    text[got > 0 ? got : 0] = '\0';
  }
  kill(child, SIGKILL);
  int status;
  waitpid(child, &status, 0);
  fclose(err), fclose(out);
  if (!strstr(text, "\nstep ") || !strstr(text, " of 1000000000, ") || !strstr(text, " d "))
    fail_msg("%s", text);
}

/* On a terminal a table; the machine's line is for pipes and --json. */
static void a_terminal_gets_a_table(void **state) {
  (void)state;
  Terminal t = { 0 };
  char text[PROGRAM_TEXT];
  if (!terminal_open(&t, 70)) skip();
  pid_t child = program_start("train toy --data gmm --steps 20 --set hidden=16 --set batch=64 "
                              "--set eval_points=256 --set pictures=false --out short",
                              -1, t.line, t.line, 0);
  terminal_read(&t, child, text);
  static const char *const has[] = { "\nrun                  short\r\n", "\ntrained ",
                                     " last         best\r\n", "sliced Wasserstein distance" };
  for (size_t i = 0; i < sizeof has / sizeof *has; i++)
    if (!strstr(text, has[i])) fail_msg("no %s in %s", has[i], text);
  assert_null(strstr(text, "run=short"));
  /* no live line is wider than the terminal */
  for (const char *line = text, *end; (end = strstr(line, "\033[K")); line = end + 3) {
    const char *start = end;
    while (start > text && start[-1] != '\r' && start[-1] != '\n') start--;
    if (!strncmp(start, "step ", 5)) assert_true(end - start < 70);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(durations_are_read_at_a_glance),
    cmocka_unit_test(a_file_gets_few_whole_lines),
    cmocka_unit_test(a_terminal_has_one_live_line),
    cmocka_unit_test(the_first_line_does_not_wait_for_metrics),
    cmocka_unit_test(a_terminal_gets_a_table),
  };
  return cmocka_run_group_tests(tests, program_enter, program_leave);
}
