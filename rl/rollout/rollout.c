/* rollout.c -- waves of simulations, one a thread.
 *
 * A wave goes its way alone: it acts for its episodes at once and steps them one after the other.
 * Threads that met after every step would wait longer than a step takes. */
#include "rl/rollout/rollout.h"
#include "core/check.h"
#include <string.h>

enum { MOST = 128 }; /* episodes simulated at once */

typedef struct {
  const RolloutSpec *spec;
  Actor *actor;
  Env *env[MOST];
  EnvStep last[MOST];
  int slot[MOST];      /* live episodes: which Env and which memory of the actor, ascending */
  uint32_t id[MOST];   /* their numbers: the row counters of random numbers */
  int at_once;         /* simulations of this wave */
  int first, episodes; /* what it is to do now */
  int live, obs_dim, act_dim;
  Progress *progress;      /* of the first wave, for all; NULL: it tells nothing */
  int64_t before, at_most; /* steps of a simulation: of earlier rounds, of all */
  bool stopped, diverged;
  Error why;                          /* if it diverged */
  float *obs, *act, *next, *log_prob; /* [live, dim] */
  double *qpos, *qvel;                /* [live, ROLLOUT_MAX_Q] */
} Wave;

static void step_episode(Wave *w, int i, int worker) {
  Env *env = w->env[w->slot[i]];
  ptrdiff_t q = (ptrdiff_t)i * ROLLOUT_MAX_Q;
  int64_t began = profile_clock(w->spec->profile);
  /* positions are those before the step, as the observation of its row is */
  if (w->spec->positions) env_positions(env, w->qpos + q, w->qvel + q);
  w->last[i] = env_step(env, w->act + i * w->act_dim, w->next + i * w->obs_dim);
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

/* An action that is not finite is no result: the simulator would fail, or clip it. */
static bool check_actions(Wave *w) {
  for (int i = 0; i < w->live; i++)
    if (!actor_check(w->act + i * w->act_dim, w->act_dim, &w->why))
      return error_prefix(&w->why, "episode %d", (int)w->id[i]);
  return true;
}

static void run_wave(void *context, int piece, int worker) {
  Wave *w = ((Wave **)context)[piece];
  unsigned state = denormals_off(); /* as in the workers */
  /* every episode begins in the simulation and the memory of its own slot */
  w->live = w->episodes;
  for (int i = 0; i < w->live; i++) {
    w->slot[i] = i, w->id[i] = (uint32_t)(w->first + i);
    env_reset(w->env[i], w->spec->seed, w->id[i], w->obs + i * w->obs_dim);
    actor_begin(w->actor, i, w->id[i]);
  }
  for (int64_t steps = w->before; w->live; steps++) {
    progress_at(w->progress, steps, w->at_most);
    if ((w->stopped = w->spec->stop && w->spec->stop())) break;
    /* one pass of the network acts for all live episodes */
    int64_t began = profile_clock(w->spec->profile);
    actor_act(w->actor, w->slot, w->live, w->obs, w->act, w->log_prob);
    profile_add(w->spec->profile, worker, "act", began, 0);
    if ((w->diverged = !check_actions(w))) break;
    for (int i = 0; i < w->live; i++) step_episode(w, i, worker);
    account(w);
  }
  denormals_restore(state);
}

/* NULL and an error: no simulator, or a policy that cannot act as its record says */
static Wave *new_wave(Arena *arena, const RolloutSpec *spec, int at_once, Error *error) {
  const EnvDef *def = env_def(spec->env);
  Wave *w = arena_alloc(arena, sizeof *w);
  /* rows of what passes between actor and simulations in one step */
  *w = (Wave){ .spec = spec, .at_once = at_once, .obs_dim = def->obs_dim, .act_dim = def->act_dim };
  w->obs = arena_array(arena, float, at_once * def->obs_dim);
  w->next = arena_array(arena, float, at_once * def->obs_dim);
  w->act = arena_array(arena, float, at_once * def->act_dim);
  w->log_prob = arena_array(arena, float, at_once);
  w->qpos = arena_array(arena, double, at_once *ROLLOUT_MAX_Q);
  w->qvel = arena_array(arena, double, at_once *ROLLOUT_MAX_Q);
  w->actor = actor_new(arena, spec->policy, at_once, spec->seed, NULL, spec->kernels, error);
  bool ready = w->actor != NULL;
  for (int i = 0; i < at_once && ready; i++) {
    ready = (w->env[i] = env_create(spec->env, error)) != NULL;
    if (ready)
      CHECK(env_nq(w->env[i]) <= ROLLOUT_MAX_Q && env_nv(w->env[i]) <= ROLLOUT_MAX_Q,
            "rollout: too many positions");
  }
  if (ready) return w;
  for (int i = 0; i < at_once; i++) env_free(w->env[i]);
  return NULL;
}

/* an equal share for piece i of n */
static int share(int of, int i, int n) { return of * (i + 1) / n - of * i / n; }

bool rollout(Arena *arena, const RolloutSpec *spec, bool *stopped, Error *error) {
  int at_once = spec->episodes < MOST ? spec->episodes : MOST, end = spec->first + spec->episodes;
  int threads = spec->pool ? pool_threads(spec->pool) : 1, made = 0;
  int waves = threads < at_once ? threads : at_once;
  /* simulations are shared out evenly among the threads */
  Wave **wave = arena_array(arena, Wave *, waves);
  for (; made < waves; made++)
    if (!(wave[made] = new_wave(arena, spec, share(at_once, made, waves), error))) break;
  const Wave *diverged = NULL;
  *stopped = false;
  /* a round takes as long as the longest of its episodes, at most to the limit of the task */
  int64_t horizon = env_def(spec->env)->horizon;
  if (made == waves) {
    wave[0]->progress = spec->progress;
    wave[0]->at_most = (spec->episodes + at_once - 1) / at_once * horizon;
  }
  /* in rounds: each wave takes its next episodes, and all meet when they have ended */
  for (int next = spec->first; made == waves && next < end && !*stopped && !diverged;) {
    for (int i = 0; i < waves; i++) {
      Wave *w = wave[i];
      w->first = next, w->episodes = w->at_once < end - next ? w->at_once : end - next;
      next += w->episodes;
    }
    pool_run(spec->pool, run_wave, wave, waves);
    wave[0]->before += horizon;
    for (int i = 0; i < waves; i++) *stopped |= wave[i]->stopped;
    for (int i = waves; i-- > 0;) diverged = wave[i]->diverged ? wave[i] : diverged;
  }
  if (diverged) *error = diverged->why;
  for (int i = 0; i < made; i++)
    for (int j = 0; j < wave[i]->at_once; j++) env_free(wave[i]->env[j]);
  return made == waves && !diverged;
}
