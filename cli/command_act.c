/* command_act.c -- diffrl act: observations in on stdin, actions out on stdout, one line each. */
#include "cli/saved.h"
#include "rl/rollout/evaluate.h"
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  Parsed parsed;
  Arguments act;
  const char *which;
  int64_t seed;
} Act;

static const Option options[] = {
  OPTION_NUMBER_ROW(Act, seed, "seed", "S", 0, 0, 0,
                    "of the policy's noise: that of `eval --seed S` (default 0)"),
  OPTION_TEXT_ROW(Act, which, "which", "last|best|FILE", "checkpoint of the run (default last)"),
  OPTION_WORDS_ROW(Act, act, "act", "key=value", "change how the policy acts; may be repeated"),
};

/* ---- lines ----------------------------------------------------------------------------------- */

/* Numbers with commas or spaces between them; false unless there are `count`, all finite. */
static bool read_numbers(const char *text, float *number, int count) {
  static const char between[] = " \t\r\n,";
  int seen = 0;
  for (text += strspn(text, between); *text; text += strspn(text, between), seen++) {
    char *end;
    float value = strtof(text, &end);
    if (end == text || (*end && !strchr(between, *end)) || !isfinite(value) || seen == count)
      return false;
    number[seen] = value;
    text = end;
  }
  return seen == count;
}

/* Only white space: what separates two episodes. */
static bool is_blank(const char *line) { return !line[strspn(line, " \t\r\n")]; }

/* Flushed line by line, since the other program waits for the answer before it goes on. */
static void print_action(const float *act, int count) {
  for (int j = 0; j < count; j++) printf("%s%.9g", j ? " " : "", (double)act[j]);
  putchar('\n');
  fflush(stdout);
}

/* ---- acting ---------------------------------------------------------------------------------- */

/* An empty line starts the next episode; noise is that of the evaluation of the same seed. */
static bool act_lines(Actor *actor, const PolicySpec *spec, float *obs, float *act, Error *error) {
  char *line = NULL;
  size_t room = 0;
  uint32_t episode = 0;
  bool right = true, begun = false;
  /* one slot: its episode number is the row id of the policy's noise */
  actor_begin(actor, 0, episode);
  for (long number = 1; right; number++) {
    ssize_t length = getline(&line, &room, stdin);
    if (length <= 0) {
      right = !ferror(stdin) ||
              error_set(error, FAIL_RUNNING, "stdin cannot be read: %s", strerror(errno));
      break;
    }
    /* several empty lines in a row end one episode only */
    if (is_blank(line) && strlen(line) == (size_t)length) {
      if (begun) actor_begin(actor, 0, ++episode);
      begun = false;
      continue;
    }
    /* a line with a zero byte in it is longer than its text, and refused */
    right = strlen(line) == (size_t)length && read_numbers(line, obs, (int)spec->obs_dim);
    if (!right) {
      error_set(error, FAIL_INPUT,
                "stdin, line %ld: expected %d finite numbers with spaces or commas between them",
                number, (int)spec->obs_dim);
      break;
    }
    /* the memory of the episode is the actor's: one observation more, the next action */
    actor_act(actor, (int[]){ 0 }, 1, obs, act, NULL);
    right = actor_check(act, (int)spec->act_dim, error);
    if (!right) {
      error_prefix(error, "stdin, line %ld", number);
      break;
    }
    print_action(act, (int)spec->act_dim);
    begun = true;
    /* nobody reads any more; main reports that output failed */
    if (ferror(stdout)) break;
  }
  free(line);
  return right;
}

/* Load the policy, seal it as an actor of one slot, and answer until stdin ends. */
static bool run_in(Arena *arena, const Act *c, Error *error) {
  Saved saved;
  const Kernels *kernels = kernels_find("own", error);
  if (!kernels || !saved_open(&saved, arena, c->parsed.arguments.word[0], c->which, &c->act, error))
    return false;
  /* the noise of the reported evaluation, so that its episodes can be replayed from outside */
  uint64_t seed = eval_episode_seed(SEEDS_REPORT, (uint64_t)c->seed);
  const PolicySpec *spec = &saved.policy->spec;
  Actor *actor = actor_new(arena, saved.policy, 1, seed, NULL, kernels, error);
  float *obs = arena_array(arena, float, spec->obs_dim);
  float *act = arena_array(arena, float, spec->act_dim);
  return actor && act_lines(actor, spec, obs, act, error);
}

/* Denormal numbers are slow; they count as zero meanwhile, as in all threads of a pool. */
static int run(const void *request, Error *error) {
  Arena *arena = arena_new();
  unsigned denormals = denormals_off();
  bool done = run_in(arena, request, error);
  denormals_restore(denormals);
  arena_free(arena);
  return done ? 0 : (int)error->kind;
}

const Command command_act = {
  .name = "act",
  .usage = "RUN|FILE [--seed S] [--which last|best|FILE] [--act key=value]...",
  .about = "observations in, actions out, one line each; an empty line starts the next episode",
  .examples = "  echo '0 0 0 0 0 0 0 0 0 0 0' | diffrl act runs/diffusion-ql-hopper-medium-s0\n"
              "  diffrl act walk.safetensors --act candidates=1 --act choice=sample <obs.csv\n",
  .options = options,
  .option_count = OPTION_COUNT(options),
  .least = 1,
  .most = 1,
  .size = sizeof(Act),
  .run = run,
};
