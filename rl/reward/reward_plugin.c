/* reward_plugin.c -- a C function in a shared object as reward, in a child process: this program
 * itself, which finds out before main() that it is to be the host of a plugin. */
#include "rl/reward/reward_plugin.h"
#include "rl/reward/reward.h"
#include "rl/reward/reward_child.h"
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char host_word[] = "diffrl-reward-host";

typedef struct {
  int32_t height, width, channels, count;
} Request;

/* what the host answers before the values: 0, or the length of a message instead of them */
typedef struct {
  int32_t length;
} Answer;

/* ---- the host ---------------------------------------------------------------------------------*/

static bool read_all(int file, void *to, size_t size) {
  for (ssize_t n; size; to = (char *)to + n, size -= (size_t)n)
    if ((n = read(file, to, size)) <= 0) return false;
  return true;
}

static bool write_all(int file, const void *from, size_t size) {
  for (ssize_t n; size; from = (const char *)from + n, size -= (size_t)n)
    if ((n = write(file, from, size)) <= 0) return false;
  return true;
}

typedef int RewardCall(const float *, int, int, int, int, float *);

static void host_refuses(int out, const char *why, const char *more) {
  char text[512];
  int n = snprintf(text, sizeof text, "%s%s", why, more);
  Answer answer = { n < (int)sizeof text ? n : (int)sizeof text - 1 };
  write_all(out, &answer, sizeof answer);
  write_all(out, text, (size_t)answer.length);
}

/* The function in the file, or NULL after a message. */
static RewardCall *host_load(int out, const char *file) {
  void *object = dlopen(file, RTLD_NOW | RTLD_LOCAL);
  if (!object) {
    host_refuses(out, "", dlerror());
    return NULL;
  }
  const int *version = dlsym(object, "diffrl_reward_version");
  void *found = dlsym(object, "diffrl_reward");
  RewardCall *call;
  memcpy(&call, &found, sizeof call); /* C has no cast from an object to a function */
  char more[64];
  snprintf(more, sizeof more, "%d; expected %d", version ? *version : 0, DIFFRL_REWARD_VERSION);
  if (!found)
    host_refuses(out, "has no function diffrl_reward; see reward_plugin.h", "");
  else if (!version)
    host_refuses(out, "has no diffrl_reward_version; see reward_plugin.h", "");
  else if (*version != DIFFRL_REWARD_VERSION)
    host_refuses(out, "is of version ", more);
  else
    return call;
  return NULL;
}

static bool host_serve(int out, RewardCall *call) {
  Request q;
  if (!read_all(STDIN_FILENO, &q, sizeof q)) return false;
  size_t dim = (size_t)q.height * (size_t)q.width * (size_t)q.channels;
  float *x = malloc(dim * (size_t)q.count * sizeof *x);
  float *value = malloc((size_t)q.count * sizeof *value);
  bool going = x && value && read_all(STDIN_FILENO, x, dim * (size_t)q.count * sizeof *x);
  /* what it does not write is no number */
  for (int i = 0; going && i < q.count; i++) value[i] = __builtin_nanf("");
  int failed = going ? call(x, q.height, q.width, q.channels, q.count, value) : 0;
  char more[32];
  snprintf(more, sizeof more, "%d", failed);
  if (going && failed) host_refuses(out, "diffrl_reward returned ", more), going = false;
  going = going && write_all(out, &(Answer){ 0 }, sizeof(Answer)) &&
          write_all(out, value, (size_t)q.count * sizeof *value);
  free(x), free(value);
  return going;
}

/* Before main(): with its word as first argument this program is a host and nothing else.  What
 * the plugin prints goes to the error output, so that it cannot be taken for an answer. */
__attribute__((constructor)) static void host(int argc, char **argv) {
  if (argc != 3 || strcmp(argv[1], host_word) != 0) return;
  reward_child_guard();
  int out = dup(STDOUT_FILENO);
  dup2(STDERR_FILENO, STDOUT_FILENO);
  RewardCall *call = host_load(out, argv[2]);
  if (call && write_all(out, &(Answer){ 0 }, sizeof(Answer)))
    while (host_serve(out, call)) continue;
  _exit(0);
}

/* ---- the run ----------------------------------------------------------------------------------*/

/* Send a request and receive the answer with so many bytes behind it; a plugin that fails is ended,
 * and said to have. */
static bool ask(Reward *r, const void *in, size_t size, void *out, size_t out_size, Error *error) {
  RewardChild *child = r->own;
  const double seconds = reward_seconds(r);
  Answer answer = { 0 };
  size_t used;
  char text[512], fate[128];
  ChildEnd end =
      reward_child_exchange(child, in, size, (char *)&answer, sizeof answer, &used, false, seconds);
  if (end == CHILD_DONE && answer.length == 0 && out_size)
    end = reward_child_exchange(child, NULL, 0, out, out_size, &used, false, seconds);
  if (end == CHILD_DONE && answer.length == 0) return true;
  if (end == CHILD_DONE && answer.length > 0 && answer.length < (int)sizeof text) {
    end = reward_child_exchange(child, NULL, 0, text, (size_t)answer.length, &used, false, 1);
    reward_child_stop(child, 0);
    return error_set(error, FAIL_RUNNING, "reward %s: %.*s", r->text, (int)used, text);
  }
  int status = reward_child_stop(child, end == CHILD_CLOSED ? 1 : 0);
  if (end == CHILD_DONE)
    return error_set(error, FAIL_RUNNING, "reward %s: the plugin wrote to the pipe of its answers",
                     r->text);
  if (end == CHILD_LATE)
    return error_set(error, FAIL_RUNNING, "reward %s: not done after %g s; killed", r->text,
                     seconds);
  reward_child_fate(status, fate);
  return error_set(error, FAIL_RUNNING, "reward %s: the plugin %s", r->text, fate);
}

static void plugin_close(Reward *r) {
  if (r->own) reward_child_stop(r->own, 0);
}

static bool plugin_open(Reward *r, const char *argument, Error *error) {
  char self[4096];
  reward_child_self(self);
  if (access(argument, R_OK) != 0)
    return error_set(error, FAIL_INPUT, "reward %s: %s: cannot be read", r->text, argument);
  /* without a slash the system's folders would be searched */
  char *file = arena_text(r->arena, "%s%s", strchr(argument, '/') ? "" : "./", argument);
  char *argv[] = { self, (char *)host_word, file, NULL };
  r->own = arena_alloc(r->arena, sizeof(RewardChild));
  return reward_child_start(r->own, argv, environ, error) &&
         (ask(r, NULL, 0, NULL, 0, error) || error_blame(error, FAIL_INPUT));
}

static bool plugin_values(Reward *r, const float *samples, int count, float *value, Error *error) {
  const Plane p = r->spec.plane;
  if (!((RewardChild *)r->own)->pid)
    return error_set(error, FAIL_RUNNING, "reward %s: its process has ended before", r->text);
  Arena *scratch = arena_under(r->arena);
  size_t bytes = (size_t)count * (size_t)r->dim * sizeof *samples;
  char *message = arena_array(scratch, char, (ptrdiff_t)(sizeof(Request) + bytes));
  memcpy(message, &(Request){ p.height, p.width, p.channels, count }, sizeof(Request));
  memcpy(message + sizeof(Request), samples, bytes);
  bool done = ask(r, message, sizeof(Request) + bytes, value, (size_t)count * sizeof *value, error);
  arena_free(scratch);
  return done;
}

const RewardDef reward_plugin = { .name = "plugin",
                                  .takes = "FILE.so",
                                  .about =
                                      "a C function of yours in a shared object (reward_plugin.h)",
                                  .open = plugin_open,
                                  .values = plugin_values,
                                  .close = plugin_close };
