/* main.c -- diffrl: finds the command, parses its options, runs it, tells people why it failed.
 *
 * Exit codes: 0 done; 1 failed while running; 2 wrong usage; 3 bad input file; 4 numbers diverged;
 * 128 + n stopped by signal n with a checkpoint written. */
#include "cli/command.h"
#include "core/arena.h"
#include "core/names.h"
#include "rl/version.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

/* in the order in which the overview shows them */
static const Command *const commands[] = {
  &command_train,     &command_finetune,     &command_eval,       &command_act,     &command_sample,
  &command_data_make, &command_data_inspect, &command_data_cache, &command_inspect, &command_list,
  &command_report,    &command_export,       &command_bench,      &command_doctor,
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static void print_overview(FILE *out) {
  fprintf(out, "diffrl trains, evaluates and runs diffusion policies, in C.\n\n");
  for (int i = 0; i < COMMANDS; i++)
    fprintf(out, "  diffrl %-14s %s\n", commands[i]->name, commands[i]->about);
  fprintf(out, "\n  diffrl COMMAND --help       options and examples of a command\n"
               "  diffrl train ALGO --help    the algorithm's settings\n"
               "  diffrl --version\n");
}

/* The command whose name is the first word, or the first two; *words says how many. */
static const Command *find(int count, char *const *word, int *words, Error *error) {
  bool data = !strcmp(word[0], "data"); /* commands of two words begin so */
  char two[64];
  /* both words together are looked up, so that a mistake in either finds the nearest */
  snprintf(two, sizeof two, "%.30s %.30s", word[0], count > 1 ? word[1] : "");
  if (data && count == 1) {
    error_set(error, FAIL_USAGE,
              "data: expected `diffrl data make`, `data inspect` or `data cache`");
    return NULL;
  }
  const Names *names = NAMES(commands, COMMANDS, .pointers = true, .what = "command",
                             .mark = "diffrl ", .see = "`diffrl --help`");
  int i = names_find(names, data ? two : word[0], error);
  *words = 1 + data;
  return i < 0 ? NULL : commands[i];
}

/* Fill the command's own struct from the words, then run it; --help goes before any mistake. */
static int run(const Command *command, int count, char *const *word, Error *error) {
  if (command_asks_help(count, word))
    return command_help(command, count, word, stdout, error) ? 0 : (int)error->kind;
  Arena *arena = arena_new();
  void *request = arena_alloc(arena, command->size);
  int code = command_parse(command, count, word, request, error) ? command->run(request, error)
                                                                 : (int)error->kind;
  arena_free(arena);
  return code;
}

/* What is asked of the program itself is answered here, all else by a command. */
static int start(int count, char *const *word, Error *error) {
  if (!count) {
    print_overview(stderr);
    error_set(error, FAIL_USAGE, "no command given");
    return FAIL_USAGE;
  }
  if (!strcmp(word[0], "--version")) {
    command_print("diffrl " DIFFRL_VERSION);
    return 0;
  }
  if (!strcmp(word[0], "--help") || !strcmp(word[0], "-h") || !strcmp(word[0], "help")) {
    print_overview(stdout);
    return 0;
  }
  /* the name of the command is left out of what it parses */
  int words;
  const Command *command = find(count, word, &words, error);
  return command ? run(command, count - words, word + words, error) : (int)error->kind;
}

/* The number of a closed stream would be that of the next file that is opened, and what is meant
 * for the stream would be written there.  In its place stands one that fails as it should. */
static bool fill_streams(Error *error) {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
    if (fcntl(fd, F_GETFD) < 0 && errno == EBADF &&
        open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
      return error_set(error, FAIL_RUNNING,
                       "stream %d is closed and /dev/null cannot be put in its place: %s", fd,
                       strerror(errno));
  return true;
}

int main(int count, char **word) {
  Error error = { 0 };
  signal(SIGXFSZ, SIG_IGN); /* a file-size limit is a full disk: an error, not an end */
  int code = fill_streams(&error) ? start(count - 1, word + 1, &error) : (int)error.kind;
  /* a result that did not reach its reader is a failure, even if all went well before */
  errno = 0;
  if (!code && (fflush(stdout) || ferror(stdout))) {
    error_set(&error, FAIL_RUNNING, "cannot write to standard output%s%s", errno ? ": " : "",
              errno ? strerror(errno) : "");
    code = FAIL_RUNNING;
  }
  /* what was tried on the way and done otherwise is no failure */
  if (!code) *error.text = '\0';
  /* failures are told here, unless a rank has told its own already */
  if (code) command_complain(&error);
  return code;
}
