/* source.c -- what all sources share: what must be given, and closing. */
#include "rl/source/source.h"
#include "rl/rollout/task.h"
#include <string.h>

/* *env becomes the environment that is named, or that the data speak of; NULL: none */
static bool name_env(const SourceDef *def, const SourceRequest *request, const char **env,
                     Error *error) {
  bool asks = !*env && request->data && def->env_of;
  if (asks && !def->env_of(request->data, env, error)) return false;
  if (*env && !strcmp(*env, "none")) *env = NULL;
  return true;
}

/* what is missing, in the words of the source that needs it */
static bool ask(const SourceDef *def, const SourceRequest *request, Error *error) {
  return error_set(error, FAIL_USAGE, "%s %s", request->algo, def->asks);
}

bool source_choose(const SourceDef *def, const SourceDef *also, SourceRequest *request,
                   const char *env, Error *error) {
  /* refuse what lacks data, or an environment to act in */
  bool by_data = !def->by_env && !def->by_init;
  if (by_data && !request->data) return ask(def, request, error);
  if (def->by_init && request->data)
    return error_set(error, FAIL_USAGE, "%s %s: omit --data", request->algo, def->asks);
  /* then the environment, by name or as the name of the data tells */
  const char *name = env;
  if (!name_env(def, request, &name, error)) return false;
  if (!name && def->by_env) return ask(def, request, error);
  if (!name && also && also->by_env) return ask(also, request, error);
  if (!name) return true;
  /* models of points and pictures do not act */
  if (!def->by_env && !def->beside_env)
    return error_set(error, FAIL_USAGE, "%s learns %s, it does not act: omit --env %s",
                     request->algo, def->name, name);
  request->env = task_env(name, error);
  return request->env != NULL;
}

Source *source_open(const SourceDef *def, const SourceRequest *request, Error *error) {
  Source *source = def->open(request, error);
  if (source) source->def = def;
  return source;
}

void source_close(Source *source) {
  if (source && source->def->close) source->def->close(source);
}

bool source_same(const SourceRequest *request, const char *name, const char *hash, Error *error) {
  /* a new run has no earlier content to agree with */
  if (!request->hash || !strcmp(request->hash, hash)) return true;
  return error_set(error, FAIL_INPUT,
                   "%s is not the data this run was started on (its content differs); give the "
                   "right one with --data",
                   name);
}
