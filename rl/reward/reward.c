/* reward.c -- the list of rewards, and what all of them do alike. */
#include "rl/reward/reward.h"
#include "core/names.h"
#include <math.h>
#include <string.h>

/* a line for each */
#define REWARDS(X)                                                                                 \
  X(jpeg_small)                                                                                    \
  X(jpeg_large)                                                                                    \
  X(brightness)                                                                                    \
  X(ink) X(contrast) X(symmetry) X(class) X(likeness) X(exec) X(plugin) X(linear) X(near)
#define DECLARE(name) extern const RewardDef reward_##name;
REWARDS(DECLARE)
#define ENTRY(name) &reward_##name,
static const RewardDef *const rewards[] = { REWARDS(ENTRY) };
enum { COUNT = sizeof rewards / sizeof *rewards };

const RewardDef *const *reward_list(size_t *count) {
  *count = COUNT;
  return rewards;
}

/* the row of "NAME" or "NAME:ARGUMENT", and where the argument begins */
static const RewardDef *find(Arena *arena, const char *text, const char **argument, Error *error) {
  const char *colon = strchr(text, ':');
  const char *name =
      arena_text(arena, "%.*s", colon ? (int)(colon - text) : (int)strlen(text), text);
  const Names *names =
      NAMES(rewards, COUNT, .pointers = true, .what = "reward", .see = "`diffrl list rewards`");
  int i = names_find(names, name, error);
  *argument = colon ? colon + 1 : NULL;
  return i < 0 ? NULL : rewards[i];
}

/* does it take what is named, and see what the generator makes? */
static bool check(const RewardDef *def, const char *text, const char *argument,
                  const RewardSpec *spec, Error *error) {
  if (!def->takes != !(argument && *argument))
    return error_set(error, FAIL_USAGE, "reward %s: expected %s%s%s", text, def->name,
                     def->takes ? ":" : "", def->takes ? def->takes : "");
  return def->points == !spec->pictures ||
         error_set(error, FAIL_USAGE, "reward %s is of %s, and this model makes %s", def->name,
                   def->points ? "points" : "pictures", spec->pictures ? "pictures" : "points");
}

Reward *reward_open(Arena *arena, const char *text, const RewardSpec *spec, Error *error) {
  const char *argument;
  const RewardDef *def = find(arena, text, &argument, error);
  if (!def || !check(def, text, argument, spec, error)) return NULL;
  Reward *r = arena_alloc(arena, sizeof *r);
  *r = (Reward){ .def = def,
                 .arena = arena,
                 .spec = *spec,
                 .dim = plane_size(spec->plane),
                 .text = arena_text(arena, "%s", text) };
  return !def->open || def->open(r, argument, error) ? r : NULL;
}

double reward_seconds(const Reward *r) { return r->spec.seconds > 0 ? r->spec.seconds : 60; }

void reward_close(Reward *r) {
  if (r && r->def->close) r->def->close(r);
}

bool reward_values(Reward *r, const real *x, ptrdiff_t stride, int count, float *value,
                   Error *error) {
  Arena *scratch = arena_under(r->arena);
  float *samples = arena_array(scratch, float, (ptrdiff_t)count * r->dim);
  for (int i = 0; i < count; i++)
    for (int j = 0; j < r->dim; j++) {
      float v = (float)x[i * stride + j];
      /* a picture has no lighter pixel than white, whatever the network says */
      samples[i * r->dim + j] = r->spec.pictures ? fminf(fmaxf(v, -1), 1) : v;
    }
  bool done = r->def->values(r, samples, count, value, error);
  arena_free(scratch);
  for (int i = 0; done && i < count; i++)
    if (!isfinite(value[i]))
      return error_set(error, FAIL_RUNNING, "reward %s gives %g for sample %d; expected a number",
                       r->text, (double)value[i], i);
  return done;
}

Tensor *reward_record(const Reward *r, Graph *g, Tensor *x, Error *error) {
  if (r->def->record) return r->def->record(r, g, x);
  const char *names = "";
  for (size_t i = 0; i < COUNT; i++)
    if (rewards[i]->record && rewards[i]->points == !r->spec.pictures)
      names = arena_text(r->arena, "%s%s%s", names, *names ? ", " : "", rewards[i]->name);
  error_set(error, FAIL_USAGE, "reward %s has no gradient; those that have one: %s", r->def->name,
            names);
  return NULL;
}
