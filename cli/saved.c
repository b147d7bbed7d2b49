/* saved.c -- finding the checkpoint, reading it, changing how it acts, timing it. */
#include "cli/saved.h"
#include "core/clock.h"
#include "core/escape.h"
#include "core/log.h"
#include "core/sort.h"
#include "policy/models/plans.h"
#include "rl/report/history.h"
#include "rl/shipped.h"
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- which file ------------------------------------------------------------------------------ */

const char *saved_find(Saved *saved, Arena *arena, const char *run, const char *which,
                       Error *error) {
  struct stat status;
  if (stat(run, &status)) {
    error_set(error, FAIL_INPUT,
              "%s: no such run or checkpoint; expected a folder made by "
              "`diffrl train`, or a .safetensors file of one",
              run);
    return NULL;
  }
  /* a file is the checkpoint itself */
  if (!S_ISDIR(status.st_mode)) {
    saved->which = run;
    if (!which) return run;
    error_set(error, FAIL_USAGE, "--which chooses among the files of a run, and %s is a file", run);
    return NULL;
  }
  /* in a folder: one of the two that training keeps, or a file by its name */
  saved->which = which ? which : "last";
  bool named = !strcmp(saved->which, "last") || !strcmp(saved->which, "best");
  const char *inside = arena_text(arena, "%s/%s%s", run, saved->which, named ? ".safetensors" : "");
  if (!access(inside, F_OK)) return inside;
  /* a path from where one stands works too */
  if (!named && !access(saved->which, F_OK)) return saved->which;
  error_set(error, FAIL_INPUT, "%s: no such checkpoint%s", inside,
            named ? "; the run has not written it (yet), or it is not a run"
                  : "; expected --which last, best or a .safetensors file");
  return NULL;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* Settings of the act record that were given on the command line replace the saved ones. */
static bool change_act(Policy *policy, const Arguments *act, Error *error) {
  for (int i = 0; i < act->count; i++)
    if (!policy_set_act(policy, act->word[i], "--act", error)) return false;
  return true;
}

bool saved_read(Saved *saved, Arena *arena, const char *run, const char *which, Error *error) {
  Checkpoint *c = arena_alloc(arena, sizeof *c);
  *saved = (Saved){ .checkpoint = c };
  checkpoint_init(c, arena);
  /* a name that is no folder or file may be of what is shipped */
  const Shipped *shipped = !which && access(run, F_OK) ? shipped_find(run) : NULL;
  saved->path = saved->which = run;
  if (!shipped) saved->path = saved_find(saved, arena, run, which, error);
  if (!saved->path) return false;
  /* which names the file */
  if (shipped ? !shipped_load(c, shipped, error) : !checkpoint_load(c, saved->path, NULL, error))
    return false;
  saved->algo = checkpoint_text(c, "algo");
  saved->env = checkpoint_text(c, "env");
  if (saved->env && !strcmp(saved->env, "none")) saved->env = NULL;
  return !checkpoint_text(c, "step") || /* another program's file */
         checkpoint_read_whole(c, "step", 0, (int64_t)1 << 53, &saved->step, error) ||
         error_prefix(error, "%s", saved->path);
}

/* A model that is no policy: what it is, and what can be done with it instead. */
static bool refuse_model(const Saved *saved, Error *error) {
  const ModelDef *def = model_saved(saved->checkpoint);
  if (!def || checkpoint_text(saved->checkpoint, "policy") || def == &model_plans) return true;
  return error_set(error, FAIL_USAGE,
                   "%s is a model of %s, made by `diffrl train %s`: it does not act; %s, and what "
                   "was measured is in the report of its run",
                   saved->path, def->kind, def->trained_by, def->use ? def->use : "it plans");
}

bool saved_policy(Saved *saved, Arena *arena, const Arguments *act, Error *error) {
  if (!refuse_model(saved, error)) return false;
  saved->policy = policy_load(arena, saved->checkpoint, error);
  if (!saved->policy) return error_prefix(error, "%s", saved->path);
  if (saved->policy->average_asked)
    log_progress(true,
                 "note: weights=ema was to act, but the average of the weights had not begun at "
                 "step %lld: %s",
                 (long long)saved->step,
                 saved->policy->average_waits
                     ? "the online weights act"
                     : "it is their random start, as release 0.1 acted; use --act weights=online");
  return change_act(saved->policy, act, error);
}

bool saved_open(Saved *saved, Arena *arena, const char *run, const char *which,
                const Arguments *act, Error *error) {
  return saved_read(saved, arena, run, which, error) && saved_policy(saved, arena, act, error);
}

/* ---- how it acts ----------------------------------------------------------------------------- */

const char *saved_act_text(Arena *arena, const Policy *policy) {
  /* written as JSON and read back, since history_text shows any JSON for people */
  JsonText text = { 0 };
  json_open(&text, NULL, '{');
  policy_write_act(policy, "act", &text);
  json_close(&text, '}');
  Json *json = json_parse_if(text.text, text.length);
  const char *plain = escaped(arena, history_text(arena, json_get(json, "act")));
  json_free(json);
  json_text_free(&text);
  return plain;
}

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

double saved_latency(const Policy *policy, const Kernels *kernels, Error *error) {
  enum { MOST = 1000, LEAST = 10 };
  const double patience = 0.2; /* s */
  double seconds[MOST], began = clock_now();
  int count = 0;
  Arena *arena = arena_new();
  /* zeros will do: an action takes the same time whatever was observed */
  float *seen = arena_array(arena, float, policy->seen);
  float *act = arena_array(arena, float, policy->horizon * policy->spec.act_dim);
  Actor *actor = actor_new(arena, policy, 1, 0, NULL, kernels, error);
  /* as many answers as a fifth of a second allows, and enough for a median however slow */
  while (actor && count < MOST && (count < LEAST || clock_now() - began < patience)) {
    double start = clock_now();
    actor_answer(actor, seen, 1, (uint64_t)count, NULL, act, NULL);
    seconds[count++] = clock_now() - start;
  }
  arena_free(arena);
  if (!actor) return -1;
  sort(seconds, (size_t)count, sizeof *seconds, by_size);
  /* the median: a single delay by the system does not count */
  return 1e6 * seconds[count / 2];
}
