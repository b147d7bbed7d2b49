/* experience.c -- one simulation and its replay. */
#include "rl/rollout/experience.h"
#include <math.h>
#include <string.h>

struct Experience {
  Arena *arena;
  ExperienceSpec spec;
  Env *env;
  float *rows;    /* of the replay */
  Replay *replay; /* NULL until it is opened */
  float *obs;     /* [obs_dim] where the episode is */
  uint64_t episode;
  double episode_return, last_return;
  bool fresh; /* the next step starts an episode */
};

Experience *experience_new(Arena *arena, const ExperienceSpec *spec, Error *error) {
  Experience *x = arena_alloc(arena, sizeof *x);
  *x = (Experience){ .arena = arena, .spec = *spec, .fresh = true, .last_return = NAN };
  const Units *u = spec->units;
  x->obs = arena_array(arena, float, u->obs_dim);
  x->rows = replay_rows(arena, spec->capacity, u->obs_dim, u->act_dim, error);
  x->env = x->rows ? env_create(spec->env, error) : NULL;
  return x->env ? x : NULL;
}

void experience_close(Experience *x) {
  if (!x) return;
  replay_close(x->replay);
  env_free(x->env);
}

/* Not before the first step: a resumed run learns from its checkpoint how many rows count. */
static bool open_replay(Experience *x, int64_t count, const char *sum, Error *error) {
  const Units *u = x->spec.units;
  x->replay = replay_open(x->arena, x->spec.run, x->rows, x->spec.capacity, u->obs_dim, u->act_dim,
                          count, sum, error);
  return x->replay != NULL;
}

const float *experience_obs(Experience *x, Error *error) {
  if (!x->replay && !open_replay(x, 0, NULL, error)) return NULL;
  if (!x->fresh) return x->obs;
  /* the last episode has ended; where the next one starts follows from seed and number alone */
  env_reset(x->env, x->spec.seed, x->episode++, x->obs);
  x->episode_return = 0, x->fresh = false;
  return x->obs;
}

void experience_uniform(const Experience *x, Rng rng, uint64_t t, float *act) {
  const Units *u = x->spec.units;
  for (int j = 0; j < u->act_dim; j++) {
    double low = (double)u->low[j], high = (double)u->high[j];
    act[j] = (float)(low + rng_uniform(rng, t, 0, (uint32_t)j) * (high - low));
  }
}

void experience_step(Experience *x, const float *act) {
  const Units *u = x->spec.units;
  real unit[ENV_MAX_ACT];
  float seen[ENV_MAX_ACT], next[ENV_MAX_OBS];
  EnvStep step = env_step(x->env, act, next);
  /* the replay holds actions as networks see them */
  units_act_in(u, act, unit);
  for (int j = 0; j < u->act_dim; j++) seen[j] = (float)unit[j];
  /* a time-out ends the episode but is no terminal: the value behind it still counts */
  replay_add(x->replay, x->obs, seen, step.reward, next, !step.terminal);
  memcpy(x->obs, next, (size_t)u->obs_dim * sizeof *next);
  x->episode_return += (double)step.reward;
  x->fresh = step.terminal || step.timeout;
  if (x->fresh) x->last_return = x->episode_return;
}

const Replay *experience_replay(const Experience *x) { return x->replay; }
double experience_return(const Experience *x) { return x->last_return; }

/* ---- checkpoints ----------------------------------------------------------------------------- */

bool experience_save(const Experience *x, Checkpoint *c, Error *error) {
  /* rows are on file, and last, before a checkpoint counts them */
  if (x->replay && !replay_flush(x->replay, error)) return false;
  char sum[MURMUR_TEXT];
  if (x->replay) replay_sum(x->replay, sum), checkpoint_add_text(c, "replay_sum", sum);
  int64_t size = (int64_t)env_state_size(x->env), n = x->spec.units->obs_dim;
  void *state = arena_alloc(c->arena, (size_t)size);
  env_state_save(x->env, state);
  checkpoint_add(c, "env/state", CHECKPOINT_U8, 1, &size, state);
  checkpoint_add(c, "env/obs", CHECKPOINT_F32, 1, &n, x->obs);
  /* the return so far and the last complete one */
  double *d = arena_array(c->arena, double, 2);
  d[0] = x->episode_return, d[1] = x->last_return;
  checkpoint_add(c, "env/returns", CHECKPOINT_F64, 1, &(int64_t){ 2 }, d);
  /* which episode is next, whether it starts, and how many rows the replay has */
  int64_t *i = arena_array(c->arena, int64_t, 3);
  i[0] = (int64_t)x->episode, i[1] = x->fresh, i[2] = x->replay ? replay_count(x->replay) : 0;
  checkpoint_add(c, "env/counts", CHECKPOINT_I64, 1, &(int64_t){ 3 }, i);
  return true;
}

/* what the file says of an episode and its replay: counts that a run can have, finite numbers */
static bool check_state(const Experience *x, const float *obs, const double *returns,
                        const int64_t *counts, Error *error) {
  bool right = isfinite(returns[0]) && !isinf(returns[1]); /* NAN: no episode has ended yet */
  for (int j = 0; j < x->spec.units->obs_dim; j++) right &= isfinite(obs[j]) != 0;
  if (!right)
    return error_set(error, FAIL_INPUT,
                     "tensors env/obs and env/returns hold numbers that are not finite; use "
                     "another checkpoint");
  right = counts[0] >= 0 && counts[0] <= (int64_t)1 << 53 && (counts[1] == 0 || counts[1] == 1);
  return (right && counts[2] >= 0 && counts[2] <= x->spec.capacity) ||
         error_set(error, FAIL_INPUT,
                   "tensor env/counts is [%lld, %lld, %lld], expected episodes begun, 0 or 1, and "
                   "at most the %lld transitions of this run",
                   (long long)counts[0], (long long)counts[1], (long long)counts[2],
                   (long long)x->spec.capacity);
}

bool experience_load(Experience *x, const Checkpoint *c, Error *error) {
  /* each tensor is asked for only if the ones before were right */
  int64_t n = x->spec.units->obs_dim, size = (int64_t)env_state_size(x->env);
  const void *state = checkpoint_need_vector(c, "env/state", CHECKPOINT_U8, size, error);
  const float *obs = state ? checkpoint_need_vector(c, "env/obs", CHECKPOINT_F32, n, error) : NULL;
  const double *d = obs ? checkpoint_need_vector(c, "env/returns", CHECKPOINT_F64, 2, error) : NULL;
  const int64_t *i = d ? checkpoint_need_vector(c, "env/counts", CHECKPOINT_I64, 3, error) : NULL;
  if (!i || !check_state(x, obs, d, i, error)) return false;
  if (!env_state_load(x->env, state))
    return error_set(error, FAIL_INPUT,
                     "tensor env/state is no state of this environment; use another checkpoint");
  memcpy(x->obs, obs, (size_t)n * sizeof *obs);
  x->episode_return = d[0], x->last_return = d[1];
  x->episode = (uint64_t)i[0], x->fresh = i[1];
  /* rows written after the checkpoint are cut off and will be made again */
  return open_replay(x, i[2], checkpoint_text(c, "replay_sum"), error);
}
