/* api_policy.c -- diffrl.h: policies from files, and actors.
 *
 * A policy holds one Actor that has acted once, so that weights are packed and tables are filled;
 * a caller's actor is a fork of it in a block of known size.
 *
 * A plan goes from who plans to who acts by three buffers: each side has one of its own, the third
 * is swapped for it. */
#include "core/check.h"
#include "core/json.h"
#include "policy/api/api.h"
#include "policy/actor.h"
#include <math.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

struct diffrl_policy {
  Arena *arena;
  Policy *policy;
  Actor *first;    /* never runs again */
  const char *act; /* the act record as JSON */
  size_t actor_size;
};

enum { PLANS = 3, FRESH = 4 };

struct diffrl_actor {
  Arena *arena;
  const diffrl_policy *policy;
  Actor *actor;
  atomic_ullong call;  /* actions handed out */
  float *plan[PLANS];  /* [horizon, act_dim] each */
  int planned, acting; /* the plan of who plans, of who acts */
  atomic_int swap;     /* the third; | FRESH while nobody has acted by it */
  int done;            /* actions of the acting plan handed out */
  float *seen;         /* [obs_steps, obs_dim] the observations of calls of act, the oldest first */
  bool has_seen;
  int fallback;
  bool has_last;
  bool limits_change;
  float given[POLICY_MAX_ACT], low[POLICY_MAX_ACT], high[POLICY_MAX_ACT], change[POLICY_MAX_ACT];
  float last[POLICY_MAX_ACT];
};

static int act_dim(const diffrl_policy *p) { return (int)p->policy->spec.act_dim; }
static int horizon(const diffrl_policy *p) { return p->policy->horizon; }

static diffrl_status refuse(diffrl_error *error, const char *name, const char *expected) {
  return api_fail(error, DIFFRL_BAD_ARGUMENT, "%s: expected %s", name, expected);
}

static bool is_finite(const float *x, int count) {
  for (int i = 0; i < count; i++)
    if (!isfinite(x[i])) return false;
  return true;
}

/* ---- loading --------------------------------------------------------------------------------- */

static diffrl_status no_memory(diffrl_error *error, const char *path) {
  return api_fail(error, DIFFRL_NO_MEMORY, "%.300s: no memory for this policy", path);
}

static diffrl_status bad_file(diffrl_error *error, const char *path, const Error *why) {
  if (why->memory) return no_memory(error, path);
  const char *text = why->text; /* some name the file themselves */
  bool named = !strncmp(text, path, strlen(path));
  return api_fail(error, DIFFRL_BAD_FILE, "%.200s%s%.300s", named ? "" : path, named ? "" : ": ",
                  text);
}

static diffrl_status read_file(diffrl_policy *p, Arena *arena, const char *path,
                               diffrl_error *error) {
  Error why = { .kind = FAIL_NONE };
  Checkpoint checkpoint;
  checkpoint_init(&checkpoint, arena);
  const Policy *shape = checkpoint_load(&checkpoint, path, NULL, &why)
                            ? policy_load_shape(arena, &checkpoint, &why)
                            : NULL;
  if (!shape) return bad_file(error, path, &why);
  if (!arena_has_room(policy_bytes(shape))) return no_memory(error, path);
  p->policy = policy_load(p->arena, &checkpoint, &why);
  return p->policy ? DIFFRL_OK : bad_file(error, path, &why);
}

static diffrl_status read_policy(diffrl_policy *p, const char *path, diffrl_error *error) {
  struct stat info;
  if (!stat(path, &info) && !arena_has_room(((size_t)1 << 23) + 4 * (size_t)info.st_size))
    return no_memory(error, path);
  Arena *arena = arena_under(p->arena);
  diffrl_status status = read_file(p, arena, path, error);
  arena_free(arena);
  return status;
}

static const char *act_text(Arena *arena, const Policy *policy) {
  JsonText text = { .arena = arena };
  policy_write_act(policy, NULL, &text);
  return text.text;
}

static diffrl_actor *fork_actor(Arena *arena, const diffrl_policy *policy) {
  diffrl_actor *a = arena_alloc(arena, sizeof *a);
  a->arena = arena, a->policy = policy;
  a->actor = actor_fork(arena, policy->first);
  a->planned = 0, a->acting = 1;
  atomic_init(&a->swap, 2);
  a->seen = arena_array(arena, float, policy->policy->seen);
  for (int i = 0; i < PLANS; i++)
    a->plan[i] = arena_array(arena, float, horizon(policy) * act_dim(policy));
  return a;
}

/* the first action packs the weights; a trial fork says how large an actor is */
static diffrl_status prepare(diffrl_policy *p, const char *path, const char *act,
                             diffrl_error *error) {
  Error why = { .kind = FAIL_NONE };
  if (act && !policy_set_act(p->policy, act, "act", &why))
    return api_fail(error, DIFFRL_BAD_ARGUMENT, "%.500s", why.text);
  if (!arena_has_room(policy_bytes(p->policy))) return no_memory(error, path);
  p->first = actor_new(p->arena, p->policy, 1, 0, NULL, kernels_find("own", &why), &why);
  if (!p->first && act) return api_fail(error, DIFFRL_BAD_ARGUMENT, "%.500s", why.text);
  if (!p->first) return bad_file(error, path, &why);
  float *seen = arena_array(p->arena, float, p->policy->seen);
  float *actions = arena_array(p->arena, float, horizon(p) * act_dim(p));
  actor_answer(p->first, seen, 1, 0, NULL, actions, NULL);
  Arena *trial = arena_under(p->arena);
  fork_actor(trial, p);
  p->actor_size = arena_footprint(trial);
  arena_free(trial);
  p->act = act_text(p->arena, p->policy);
  return DIFFRL_OK;
}

/* A run's folder stands for its last weights, as it does for the program. */
static const char *file_in(Arena *arena, const char *path) {
  struct stat info;
  bool folder = !stat(path, &info) && S_ISDIR(info.st_mode);
  return folder ? arena_text(arena, "%s/last.safetensors", path) : path;
}

diffrl_status diffrl_policy_load(diffrl_policy **made, const char *path, const char *act,
                                 diffrl_error *error) {
  AS_GUEST;
  if (!made || !path) return refuse(error, made ? "path" : "made", "a pointer that is not NULL");
  ArenaRescue rescue;
  if (!arena_has_room((size_t)1 << 23) || arena_rescued(&rescue)) return no_memory(error, path);
  Arena *arena = arena_guest(&rescue);
  diffrl_policy *p = arena_alloc(arena, sizeof *p);
  p->arena = arena;
  const char *file = file_in(arena, path);
  diffrl_status status = read_policy(p, file, error);
  if (!status) status = prepare(p, file, act, error);
  if (status) return arena_free(arena), status;
  arena_settle(arena);
  *made = p;
  return DIFFRL_OK;
}

void diffrl_policy_free(diffrl_policy *policy) {
  if (policy) arena_free(policy->arena);
}

int diffrl_policy_obs_dim(const diffrl_policy *p) { return p ? (int)p->policy->spec.obs_dim : 0; }
int diffrl_policy_obs_steps(const diffrl_policy *p) {
  return p ? (int)p->policy->spec.obs_steps : 0;
}
int diffrl_policy_act_dim(const diffrl_policy *p) { return p ? act_dim(p) : 0; }
int diffrl_policy_horizon(const diffrl_policy *p) { return p ? horizon(p) : 0; }
const float *diffrl_policy_low(const diffrl_policy *p) { return p ? p->policy->low : NULL; }
const float *diffrl_policy_high(const diffrl_policy *p) { return p ? p->policy->high : NULL; }
const char *diffrl_policy_act(const diffrl_policy *p) { return p ? p->act : NULL; }

/* ---- actors ---------------------------------------------------------------------------------- */

static diffrl_status check_options(const diffrl_actor_options *o, int n, diffrl_error *error) {
  if (o->fallback < DIFFRL_FALL_KEEP || o->fallback > DIFFRL_FALL_GIVEN)
    return refuse(error, "fallback", "DIFFRL_FALL_KEEP, _ZEROS or _GIVEN");
  if (o->fallback == DIFFRL_FALL_GIVEN && (!o->given || !is_finite(o->given, n)))
    return refuse(error, "given", "act_dim finite numbers");
  for (int j = 0; j < n; j++) {
    double low = o->low ? (double)o->low[j] : -INFINITY;
    double high = o->high ? (double)o->high[j] : INFINITY;
    double change = o->change ? (double)o->change[j] : 0;
    if (!(low <= high) || low == INFINITY || high == -INFINITY || !(change >= 0))
      return api_fail(error, DIFFRL_BAD_ARGUMENT,
                      "limits of number %d: low %g, high %g and change %g leave no action", j, low,
                      high, change);
  }
  return DIFFRL_OK;
}

static void set_options(diffrl_actor *a, const diffrl_actor_options *o, int n) {
  a->fallback = o->fallback, a->limits_change = o->change != NULL;
  for (int j = 0; j < n; j++) {
    a->given[j] = o->fallback == DIFFRL_FALL_GIVEN ? o->given[j] : 0;
    a->low[j] = o->low ? o->low[j] : -INFINITY;
    a->high[j] = o->high ? o->high[j] : INFINITY;
    a->change[j] = o->change ? o->change[j] : 0;
  }
}

size_t diffrl_actor_size(const diffrl_policy *policy) { return policy ? policy->actor_size : 0; }

/* in memory of its own; NULL: there is none */
static diffrl_actor *own_actor(const diffrl_policy *policy) {
  ArenaRescue rescue;
  if (!arena_has_room(2 * policy->actor_size + ((size_t)1 << 20)) || arena_rescued(&rescue))
    return NULL;
  Arena *arena = arena_guest(&rescue);
  diffrl_actor *a = fork_actor(arena, policy);
  arena_settle(arena);
  return a;
}

diffrl_status diffrl_actor_new(diffrl_actor **made, const diffrl_policy *policy,
                               const diffrl_actor_options *options, void *memory, size_t bytes,
                               diffrl_error *error) {
  AS_GUEST;
  diffrl_actor_options o;
  if (!made || !policy) return refuse(error, made ? "policy" : "made", "one that is not NULL");
  diffrl_status status = api_options(&o, sizeof o, options, "diffrl_actor", error);
  int n = diffrl_policy_act_dim(policy);
  if (!status) status = check_options(&o, n, error);
  if (status) return status;
  if (memory && bytes < policy->actor_size)
    return api_fail(error, DIFFRL_BAD_ARGUMENT,
                    "memory: %zu bytes, an actor of this policy has %zu", bytes,
                    policy->actor_size);
  diffrl_actor *a = memory ? fork_actor(arena_over(memory, bytes), policy) : own_actor(policy);
  if (!a)
    return api_fail(error, DIFFRL_NO_MEMORY, "no memory for an actor of %zu bytes",
                    policy->actor_size);
  set_options(a, &o, n);
  diffrl_actor_seek(a, 0, NULL);
  *made = a;
  return DIFFRL_OK;
}

void diffrl_actor_free(diffrl_actor *actor) {
  if (actor) arena_free(actor->arena);
}

/* ---- acting ---------------------------------------------------------------------------------- */

static void drop_plan(diffrl_actor *a) {
  atomic_fetch_and(&a->swap, ~FRESH);
  a->done = horizon(a->policy);
}

diffrl_status diffrl_actor_reset(diffrl_actor *a, uint64_t seed) {
  if (!a) return DIFFRL_BAD_ARGUMENT;
  actor_reseed(a->actor, seed);
  return diffrl_actor_seek(a, 0, NULL);
}

diffrl_status diffrl_actor_seek(diffrl_actor *a, uint64_t call, const float *last) {
  if (!a) return DIFFRL_BAD_ARGUMENT;
  atomic_store(&a->call, call);
  a->has_last = last != NULL, a->has_seen = false;
  drop_plan(a);
  if (last) memcpy(a->last, last, (size_t)act_dim(a->policy) * sizeof *last);
  return DIFFRL_OK;
}

static float within(float x, float low, float high) { return x < low ? low : x > high ? high : x; }

static void keep_limits(const diffrl_actor *a, float *action, int n) {
  for (int j = 0; j < n; j++) {
    action[j] = within(action[j], a->low[j], a->high[j]);
    if (a->limits_change && a->has_last)
      action[j] = within(action[j], a->last[j] - a->change[j], a->last[j] + a->change[j]);
  }
}

/* found [act_dim] within the limits, or with a status the fallback */
static diffrl_status hand_out(diffrl_actor *a, diffrl_status status, const float *found,
                              float *action) {
  int n = act_dim(a->policy);
  atomic_fetch_add(&a->call, 1);
  if (status && a->fallback == DIFFRL_FALL_KEEP) return status;
  memcpy(action, status ? a->given : found, (size_t)n * sizeof *action);
  if (!status) keep_limits(a, action, n);
  memcpy(a->last, action, (size_t)n * sizeof *action);
  a->has_last = true;
  return status;
}

/* seen [obs_steps, obs_dim] */
static diffrl_status plan(diffrl_actor *a, const float *seen) {
  float *to = a->plan[a->planned];
  if (!is_finite(seen, a->policy->policy->seen)) return DIFFRL_BAD_OBSERVATION;
  actor_answer(a->actor, seen, 1, atomic_load(&a->call), NULL, to, NULL);
  if (!is_finite(to, horizon(a->policy) * act_dim(a->policy))) return DIFFRL_NOT_FINITE;
  a->planned = atomic_exchange(&a->swap, a->planned | FRESH) & ~FRESH;
  return DIFFRL_OK;
}

static diffrl_status next(diffrl_actor *a, float *action) {
  if (atomic_load(&a->swap) & FRESH)
    a->acting = atomic_exchange(&a->swap, a->acting) & ~FRESH, a->done = 0;
  bool left = a->done < horizon(a->policy);
  const float *found = left ? a->plan[a->acting] + a->done++ * act_dim(a->policy) : NULL;
  return hand_out(a, left ? DIFFRL_OK : DIFFRL_NO_PLAN, found, action);
}

/* As an Actor remembers: the newest last, an episode's first for those before it.  What is not
 * finite is not remembered. */
static void remember(diffrl_actor *a, const float *obs) {
  size_t n = (size_t)diffrl_policy_obs_dim(a->policy), all = (size_t)a->policy->policy->seen;
  if (a->has_seen)
    memmove(a->seen, a->seen + n, (all - n) * sizeof *obs);
  else
    for (size_t t = 0; t + n < all; t += n) memcpy(a->seen + t, obs, n * sizeof *obs);
  memcpy(a->seen + all - n, obs, n * sizeof *obs);
  a->has_seen = true;
}

diffrl_status diffrl_actor_plan(diffrl_actor *a, const float *seen) {
  AS_ACTING_GUEST;
  return a && seen ? plan(a, seen) : DIFFRL_BAD_ARGUMENT;
}

diffrl_status diffrl_actor_next(diffrl_actor *a, float *action) {
  AS_ACTING_GUEST;
  return a && action ? next(a, action) : DIFFRL_BAD_ARGUMENT;
}

diffrl_status diffrl_actor_act(diffrl_actor *a, const float *obs, float *action) {
  AS_ACTING_GUEST;
  if (!a || !obs || !action) return DIFFRL_BAD_ARGUMENT;
  bool planned = atomic_load(&a->swap) & FRESH;
  bool due = !planned && a->done >= (int)a->policy->policy->act.act_steps;
  diffrl_status status = DIFFRL_OK;
  if (is_finite(obs, diffrl_policy_obs_dim(a->policy)))
    remember(a, obs);
  else
    status = DIFFRL_BAD_OBSERVATION;
  if (due && !status) status = plan(a, a->seen);
  if (!status) return next(a, action);
  drop_plan(a);
  return hand_out(a, status, NULL, action);
}
