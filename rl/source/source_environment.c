/* source_environment.c -- the compiled model of an environment, and the bounds of its actions. */
#include "rl/source/source_environment.h"
#include "core/check.h"

const Environment *environment_of(const Source *source) {
  CHECK(!source || source->def == &source_environment, "source: %s", source->def->name);
  return (const Environment *)source;
}

Environment *environment_new(Arena *arena, const EnvDef *def, Error *error) {
  EnvModel *model = env_load(def, error);
  if (!model) return NULL;
  Environment *e = arena_alloc(arena, sizeof *e);
  *e = (Environment){ .source = { .def = &source_environment }, .def = def, .model = model };
  float *low = arena_array(arena, float, def->act_dim),
        *high = arena_array(arena, float, def->act_dim);
  /* the same bounds for every entry of an action; observations stay as they are */
  for (int j = 0; j < def->act_dim; j++)
    low[j] = (float)def->act_low, high[j] = (float)def->act_high;
  e->source.units = (Units){ def->obs_dim, def->act_dim, NULL, NULL, low, high };
  return e;
}

static Source *open_environment(const SourceRequest *request, Error *error) {
  Environment *e = environment_new(request->arena, request->env, error);
  if (!e) return NULL;
  /* whether returns are shown normalised by D4RL's references */
  e->reference = request->reference;
  return &e->source;
}

/* What it explores and what the environment does would differ. */
static bool fits(const Source *source, const float *low, const float *high, Error *error) {
  const EnvDef *def = environment_of(source)->def;
  for (int j = 0; j < def->act_dim; j++)
    if (low[j] != (float)def->act_low || high[j] != (float)def->act_high)
      return error_set(error, FAIL_USAGE,
                       "its policy acts within [%g, %g] in number %d of an action, and %s takes "
                       "[%g, %g]; expected weights that were trained for these",
                       (double)low[j], (double)high[j], j, def->name, def->act_low, def->act_high);
  return true;
}

static void close_environment(Source *source) { env_unload(((Environment *)source)->model); }

const SourceDef source_environment = {
  .name = "experience",
  .about = "online",
  .asks = "acts in an environment: give --env (see `diffrl list envs`)",
  .alone = "acts in an environment step by step, which ranks cannot share; run it without mpirun, "
           "with --threads",
  .by_env = true,
  .open = open_environment,
  .fits = fits,
  .close = close_environment,
};
