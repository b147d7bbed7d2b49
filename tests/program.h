/* program.h -- running the built program as its users do: a command line in, exit code and two
 * streams out.
 *
 * program_enter makes a folder of its own, goes there and points every folder that diffrl looks in
 * at it, so a test leaves nothing behind and finds nothing of its user's. */
#ifndef TESTS_PROGRAM_H
#define TESTS_PROGRAM_H
#include "core/rng.h"
#include "datasets/dataset.h"
#include "envs/env.h"
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#define UNUSED_HERE __attribute__((unused))

enum { PROGRAM_TEXT = 1 << 15, PROGRAM_WORDS = 48 };

/* Builds in which thousands of gradient steps take a quarter of an hour, and where what one thread
 * learns shows nothing that the release build does not: plain C's kernels of double, and a
 * sanitizer of threads. */
#if defined DIFFRL_DOUBLE || defined __SANITIZE_THREAD__
enum { PROGRAM_SLOW = 1 };
#else
enum { PROGRAM_SLOW = 0 };
#endif

typedef struct {
  int code; /* exit code; 128 + n if signal n ended it */
  char out[PROGRAM_TEXT], err[PROGRAM_TEXT];
} Outcome;

/* settings that make a step cheap */
#define SMALL                                                                                      \
  " --set hidden=16 --set batch=32 --set group=8 --set lane=8 --set candidates=2"                  \
  " --set diffusion_steps=3 --set eval_episodes=2 --set log_every=25 --set save_every=20 --set "   \
  "eval_every=100"

/* ---- the place ------------------------------------------------------------------------------- */

/* A folder that this test has made; "" before.  Nothing else is ever removed. */
static char program_folder[sizeof "/tmp/diffrl-test-XXXXXX"];

/* The program is one folder above this test, as make leaves them. */
UNUSED_HERE static int program_enter(void **state) {
  (void)state;
  char self[4096], folder[] = "/tmp/diffrl-test-XXXXXX";
  ssize_t length = readlink("/proc/self/exe", self, sizeof self - 16);
  if (length < 0 || !mkdtemp(folder)) return -1;
  strcpy(program_folder, folder);
  if (chdir(folder)) return -1;
  self[length] = '\0';
  *strrchr(self, '/') = '\0';
  strcpy(strrchr(self, '/'), "/diffrl");
  if (access(self, X_OK)) {
    fprintf(stderr, "%s is not built\n", self);
    return -1;
  }
  /* whoever started the tests may ignore some, as nohup does, and a child would too */
  for (int s = 1; s < 32; s++) signal(s, SIG_DFL);
  setenv("DIFFRL_UNDER_TEST", self, 1);
  setenv("HOME", folder, 1);
  unsetenv("XDG_CACHE_HOME"), unsetenv("XDG_DATA_HOME"), unsetenv("D4RL_DATASET_DIR");
  *strrchr(self, '/') = '\0';
  setenv("DIFFRL_LIBEXEC", self, 1);
  return 0;
}

/* cmocka calls it after a setup that failed as well, before HOME was another. */
UNUSED_HERE static int program_leave(void **state) {
  (void)state;
  char command[256];
  if (!*program_folder) return 0;
  snprintf(command, sizeof command, "cd / && rm -rf '%s'", program_folder);
  return system(command);
}

/* ---- running --------------------------------------------------------------------------------- */

/* Words at single spaces, after `count` others; `line` is cut up. */
static int program_split(char *line, char *word[PROGRAM_WORDS], int count) {
  for (char *rest = line, *next; (next = strsep(&rest, " "));)
    if (*next && count < PROGRAM_WORDS - 1) word[count++] = next;
  word[count] = NULL;
  return count;
}

/* Start it, by $DIFFRL_LAUNCHER if that is set; streams that are -1 stay ours.  file_limit: largest
 * file it may write, 0: any. */
UNUSED_HERE static pid_t program_start(const char *line, int in, int out, int err,
                                       rlim_t file_limit) {
  char copy[4096], start[1024], *word[PROGRAM_WORDS];
  const char *launcher = getenv("DIFFRL_LAUNCHER");
  snprintf(copy, sizeof copy, "%s", line),
      snprintf(start, sizeof start, "%s", launcher ? launcher : "");
  int count = program_split(start, word, 0);
  word[count++] = getenv("DIFFRL_UNDER_TEST");
  program_split(copy, word, count);
  fflush(NULL);
  pid_t child = fork();
  if (child) return child;
  if (in >= 0) dup2(in, 0);
  if (out >= 0) dup2(out, 1);
  if (err >= 0) dup2(err, 2);
  struct rlimit limit = { file_limit, file_limit };
  if (file_limit) {
    setrlimit(RLIMIT_FSIZE, &limit);
    /* ThreadSanitizer maps a file of its own, and dies where the limit cut that short */
    setenv("TEST_TMPDIR", "/nowhere", 1);
  }
  execvp(word[0], word);
  _exit(127);
}

static int program_code(int status) {
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void program_read(FILE *file, char text[PROGRAM_TEXT]) {
  rewind(file);
  text[fread(text, 1, PROGRAM_TEXT - 1, file)] = '\0';
  fclose(file);
}

UNUSED_HERE static void program_run_limited(Outcome *o, rlim_t file_limit, const char *line) {
  FILE *in = fopen("/dev/null", "r"), *out = tmpfile(), *err = tmpfile();
  assert_true(in && out && err);
  int status;
  pid_t child = program_start(line, fileno(in), fileno(out), fileno(err), file_limit);
  assert_int_equal(waitpid(child, &status, 0), child);
  o->code = program_code(status);
  program_read(out, o->out), program_read(err, o->err);
  fclose(in);
}

/* diffrl <line>, from a format */
UNUSED_HERE __attribute__((format(printf, 2, 3))) static void program_run(Outcome *o,
                                                                          const char *format, ...) {
  char line[4096];
  va_list args;
  va_start(args, format);
  vsnprintf(line, sizeof line, format, args);
  va_end(args);
  program_run_limited(o, 0, line);
}

/* It must end so, and one of its streams must say so. */
UNUSED_HERE static void program_expect(const Outcome *o, int code, const char *says) {
  if (o->code != code || !(strstr(o->err, says) || strstr(o->out, says)))
    fail_msg("exit code %d, expected %d and \"%s\"; stdout: %s; stderr: %s", o->code, code, says,
             o->out, o->err);
}

/* a command line that must work, and one that must be refused with this code and these words */
UNUSED_HERE static void program_succeed(const char *line) {
  Outcome o;
  program_run(&o, "%s", line);
  program_expect(&o, 0, "");
}
UNUSED_HERE static void program_refuse(int code, const char *line, const char *says) {
  Outcome o;
  program_run(&o, "%s", line);
  program_expect(&o, code, says);
}

/* ---- files ----------------------------------------------------------------------------------- */

UNUSED_HERE static void nap(double seconds) {
  struct timespec t = { (time_t)seconds, (long)(1e9 * fmod(seconds, 1)) };
  nanosleep(&t, NULL);
}

UNUSED_HERE static long file_size(const char *path) {
  struct stat status;
  return stat(path, &status) ? -1 : (long)status.st_size;
}

UNUSED_HERE static char *file_read(const char *path, size_t *length) {
  FILE *file = fopen(path, "rb");
  long size = file_size(path);
  if (!file || size < 0) fail_msg("%s: cannot be read", path);
  char *bytes = malloc((size_t)size + 1);
  assert_non_null(bytes);
  *length = fread(bytes, 1, (size_t)size, file);
  bytes[*length] = '\0';
  fclose(file);
  return bytes;
}

UNUSED_HERE static void file_write(const char *path, const char *bytes, size_t length) {
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(bytes, 1, length, file), length);
  assert_int_equal(fclose(file), 0);
}

UNUSED_HERE static void assert_same_file(const char *a, const char *b) {
  size_t n, m;
  char *x = file_read(a, &n), *y = file_read(b, &m);
  if (n != m || memcmp(x, y, n)) fail_msg("%s and %s differ", a, b);
  free(x), free(y);
}

/* The same bytes in both folders, for each of these names with spaces between them. */
UNUSED_HERE static void assert_same_files(const char *a, const char *b, const char *names) {
  char name[64], x[256], y[256];
  for (int length; sscanf(names, "%63s%n", name, &length) == 1; names += length) {
    snprintf(x, sizeof x, "%s/%s", a, name), snprintf(y, sizeof y, "%s/%s", b, name);
    assert_same_file(x, y);
  }
}

/* Episodes of uniform actions in an environment; its observations times `scale`. */
UNUSED_HERE static void file_make_data(const char *path, const char *env_name, int episodes,
                                       float scale, const char *metadata) {
  Error error;
  EnvModel *model = env_load(env_find(env_name), &error);
  assert_non_null(model);
  const EnvDef *def = env_def(model);
  Env *env = env_create(model, &error);
  DatasetWriter *writer = dataset_writer_open(path, def->obs_dim, def->act_dim, 0, 0, &error);
  assert_true(env && writer);
  float obs[ENV_MAX_OBS], next[ENV_MAX_OBS], act[ENV_MAX_ACT];
  Rng rng = rng_stream(1, "uniform actions");
  for (int e = 0; e < episodes; e++) {
    EnvStep step = { 0 };
    env_reset(env, 1, (uint64_t)e, obs);
    for (uint64_t t = 0; !step.terminal && !step.timeout; t++) {
      for (int j = 0; j < def->act_dim; j++)
        act[j] = (float)(2 * rng_uniform(rng, t, (uint32_t)e, (uint32_t)j) - 1);
      step = env_step(env, act, next);
      for (int j = 0; j < def->obs_dim; j++) next[j] *= scale;
      DatasetStep row = {
        obs, act, next, step.reward, step.terminal, step.timeout, NAN, NULL, NULL
      };
      assert_true(dataset_writer_add(writer, &row, &error));
      memcpy(obs, next, sizeof obs);
    }
  }
  assert_true(dataset_writer_close(writer, metadata, &error));
  env_free(env);
  env_unload(model);
}

#endif
