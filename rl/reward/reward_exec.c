/* reward_exec.c -- a program as reward: started by /bin/sh -c for every batch, floats on its
 * standard input, one number a line on its standard output. */
#include "rl/reward/reward.h"
#include "rl/reward/reward_child.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINE = 64 }; /* bytes that a number may take */
static const char shell_word[] = "diffrl-reward-shell";

/* Before main(): with its word as first argument this program guards the shell. */
__attribute__((constructor)) static void shell(int argc, char **argv) {
  if (argc != 3 || strcmp(argv[1], shell_word) != 0) return;
  reward_child_guard();
  execl("/bin/sh", "/bin/sh", "-c", argv[2], (char *)NULL);
  _exit(127);
}

/* Our environment, with the shape of the batch. */
static char **environment(const Reward *r, Arena *arena, int count) {
  int known = 0, n = 0;
  while (environ[known]) known++;
  char **list = arena_array(arena, char *, known + 5);
  for (int i = 0; i < known; i++)
    if (strncmp(environ[i], "DIFFRL_COUNT=", 13) != 0 &&
        strncmp(environ[i], "DIFFRL_HEIGHT=", 14) != 0 &&
        strncmp(environ[i], "DIFFRL_WIDTH=", 13) != 0 &&
        strncmp(environ[i], "DIFFRL_CHANNELS=", 16) != 0)
      list[n++] = environ[i];
  list[n++] = arena_text(arena, "DIFFRL_COUNT=%d", count);
  list[n++] = arena_text(arena, "DIFFRL_HEIGHT=%d", r->spec.plane.height);
  list[n++] = arena_text(arena, "DIFFRL_WIDTH=%d", r->spec.plane.width);
  list[n++] = arena_text(arena, "DIFFRL_CHANNELS=%d", r->spec.plane.channels);
  list[n] = NULL;
  return list;
}

/* As many lines as samples, each of one number. */
static bool read_lines(const Reward *r, char *text, int count, float *value, Error *error) {
  char *at = text;
  for (int i = 0; i < count; i++) {
    char *end, *line = strchr(at, '\n');
    if (!*at)
      return error_set(error, FAIL_RUNNING,
                       "reward %s: printed %d lines for %d samples; expected one number a line",
                       r->text, i, count);
    if (line) *line = '\0';
    value[i] = strtof(at, &end);
    if (end == at || end[strspn(end, " \t\r")])
      return error_set(error, FAIL_RUNNING, "reward %s: line %d is \"%.60s\"; expected a number",
                       r->text, i + 1, at);
    at = line ? line + 1 : end + strlen(end);
  }
  return !at[strspn(at, " \t\r\n")] ||
         error_set(error, FAIL_RUNNING,
                   "reward %s: printed more than %d lines for %d samples; expected one number "
                   "a line",
                   r->text, count, count);
}

static bool judge(const Reward *r, ChildEnd end, int status, double seconds, size_t limit,
                  Error *error) {
  char fate[128];
  if (end == CHILD_LATE)
    return error_set(error, FAIL_RUNNING, "reward %s: not done after %g s; killed", r->text,
                     seconds);
  if (end == CHILD_TOO_MUCH)
    return error_set(error, FAIL_RUNNING,
                     "reward %s: printed more than %zu bytes; expected one number a line", r->text,
                     limit);
  reward_child_fate(status, fate);
  return status == 0 || error_set(error, FAIL_RUNNING, "reward %s: the program %s", r->text, fate);
}

static bool exec_values(Reward *r, const float *samples, int count, float *value, Error *error) {
  Arena *scratch = arena_under(r->arena);
  const double seconds = reward_seconds(r);
  const char *command = strchr(r->text, ':') + 1;
  size_t limit = (size_t)count * LINE, used;
  char *text = arena_array(scratch, char, (ptrdiff_t)limit + 1);
  char self[4096], *argv[] = { self, (char *)shell_word, (char *)command, NULL };
  RewardChild child;
  reward_child_self(self);
  bool done = reward_child_start(&child, argv, environment(r, scratch, count), error);
  if (done) {
    size_t bytes = (size_t)count * (size_t)r->dim * sizeof *samples;
    ChildEnd end = reward_child_exchange(&child, samples, bytes, text, limit, &used, true, seconds);
    /* whoever has closed its output has no more to say, and is given a second to end */
    int status = reward_child_stop(&child, end == CHILD_CLOSED ? 1 : 0);
    text[used] = '\0';
    done = judge(r, end, status, seconds, limit, error) && read_lines(r, text, count, value, error);
  }
  arena_free(scratch);
  return done;
}

const RewardDef reward_exec = {
  .name = "exec",
  .takes = "COMMAND",
  .about = "a program: raw floats on its standard input, one number a line on its output",
  .values = exec_values
};
