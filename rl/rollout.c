/* rollout.c -- waves of simulations. */
#include "rl/rollout.h"
#include "core/check.h"
#include <string.h>

enum { WAVE = 128 }; /* episodes simulated at once */

typedef struct {
  const RolloutSpec *spec;
  Env *env[WAVE];
  EnvStep last[WAVE];
  int slot[WAVE];    /* live episodes: which Env, ascending */
  uint32_t id[WAVE]; /* their numbers: the row counters of random numbers */
  int live, obs_dim, act_dim;
  float *obs, *next, *act, *log_prob; /* [live, dim] */
  double *qpos, *qvel;                /* [live, ROLLOUT_MAX_Q] */
} Wave;

static void reset_piece(void *context, int piece, int worker) {
  (void)worker;
  Wave *w = context;
  env_reset(w->env[piece], w->spec->seed, w->id[piece], w->obs + piece * w->obs_dim);
}

static void step_piece(void *context, int piece, int worker) {
  Wave *w = context;
  Env *env = w->env[w->slot[piece]];
  ptrdiff_t q = (ptrdiff_t)piece * ROLLOUT_MAX_Q;
  int64_t began = profile_clock(w->spec->profile);
  if (w->spec->positions) env_positions(env, w->qpos + q, w->qvel + q);
  w->last[piece] = env_step(env, w->act + piece * w->act_dim, w->next + piece * w->obs_dim);
  profile_add(w->spec->profile, worker, "env_step", began, 0);
}

static void visit(const Wave *w, int i) {
  ptrdiff_t q = (ptrdiff_t)i * ROLLOUT_MAX_Q;
  RolloutStep step = { .episode = (int)w->id[i],
                       .obs = w->obs + i * w->obs_dim,
                       .act = w->act + i * w->act_dim,
                       .next = w->next + i * w->obs_dim,
                       .log_prob = w->log_prob[i],
                       .step = w->last[i] };
  if (w->spec->positions) step.qpos = w->qpos + q, step.qvel = w->qvel + q;
  w->spec->visit(w->spec->context, &step);
}

/* show every step; drop the episodes that ended, keeping order */
static void account(Wave *w) {
  int kept = 0;
  for (int i = 0; i < w->live; i++) {
    visit(w, i);
    if (w->last[i].terminal || w->last[i].timeout) continue;
    w->slot[kept] = w->slot[i], w->id[kept] = w->id[i];
    memmove(w->obs + kept * w->obs_dim, w->next + i * w->obs_dim,
            (size_t)w->obs_dim * sizeof *w->obs);
    kept++;
  }
  w->live = kept;
}

static bool run_wave(Wave *w, Actor *actor, int first, int episodes) {
  w->live = episodes;
  for (int i = 0; i < episodes; i++) w->slot[i] = i, w->id[i] = (uint32_t)(first + i);
  pool_run(w->spec->pool, reset_piece, w, w->live);
  for (uint64_t t = 0; w->live; t++) {
    if (w->spec->stop && w->spec->stop()) return false;
    int64_t began = profile_clock(w->spec->profile);
    actor_act(actor, w->obs, w->live, t, w->id, w->act, w->log_prob);
    profile_add(w->spec->profile, 0, "act", began, 0);
    pool_run(w->spec->pool, step_piece, w, w->live);
    account(w);
  }
  return true;
}

static Wave *new_wave(Arena *arena, const RolloutSpec *spec, int at_once) {
  const EnvDef *def = env_def(spec->env);
  Wave *w = arena_alloc(arena, sizeof *w);
  *w = (Wave){ .spec = spec, .obs_dim = def->obs_dim, .act_dim = def->act_dim };
  w->obs = arena_array(arena, float, at_once * def->obs_dim);
  w->next = arena_array(arena, float, at_once * def->obs_dim);
  w->act = arena_array(arena, float, at_once * def->act_dim);
  w->log_prob = arena_array(arena, float, at_once);
  w->qpos = arena_array(arena, double, at_once *ROLLOUT_MAX_Q);
  w->qvel = arena_array(arena, double, at_once *ROLLOUT_MAX_Q);
  return w;
}

bool rollout(Arena *arena, const RolloutSpec *spec, bool *stopped, Error *error) {
  int at_once = spec->episodes < WAVE ? spec->episodes : WAVE, end = spec->first + spec->episodes;
  Wave *w = new_wave(arena, spec, at_once);
  *stopped = false;
  Actor *actor =
      actor_new(arena, spec->policy, at_once, spec->seed, spec->pool, spec->kernels, error);
  bool ready = actor != NULL;
  for (int i = 0; i < at_once && ready; i++) {
    ready = (w->env[i] = env_create(spec->env, error)) != NULL;
    if (ready)
      CHECK(env_nq(w->env[i]) <= ROLLOUT_MAX_Q && env_nv(w->env[i]) <= ROLLOUT_MAX_Q,
            "rollout: too many positions");
  }
  for (int first = spec->first; ready && first < end && !*stopped; first += at_once)
    *stopped = !run_wave(w, actor, first, end - first < at_once ? end - first : at_once);
  for (int i = 0; i < at_once; i++) env_free(w->env[i]);
  return ready;
}
