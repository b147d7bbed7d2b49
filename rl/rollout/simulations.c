/* simulations.c -- stepping, episodes that follow each other, and the state in checkpoints. */
#include "rl/rollout/simulations.h"
#include <math.h>
#include <string.h>

/* one of them; the numbers are those of a checkpoint too */
typedef struct {
  Env *env;
  int64_t episodes; /* begun */
  double total;     /* return of the present episode, so far */
  double ended_sum; /* returns of those that ended since they were last asked for, .. */
  int64_t ended;    /* .. and how many */
  int64_t steps;    /* actions done */
} Simulation;

struct Simulations {
  SimulationsSpec spec;
  const EnvDef *def;
  Simulation *each;    /* [count] */
  float *seen, *after; /* [count, obs_steps, obs_dim] */
  const float *act;    /* of the call that runs */
  Decision *decision;  /* likewise */
  int seen_size;       /* numbers of one simulation in `seen` */
};

/* Episode `episodes` of simulation i has a number that no other has. */
static void begin_episode(Simulations *s, int i) {
  Simulation *one = &s->each[i];
  float *seen = s->seen + (ptrdiff_t)i * s->seen_size;
  size_t bytes = (size_t)s->def->obs_dim * sizeof *seen;
  uint64_t number = (uint64_t)one->episodes++ * (uint64_t)s->spec.count + (uint64_t)i;
  env_reset(one->env, s->spec.seed, number, seen);
  for (int t = 1; t < s->spec.obs_steps; t++) memcpy(seen + t * s->def->obs_dim, seen, bytes);
  one->total = 0;
}

Simulations *simulations_new(Arena *arena, const SimulationsSpec *spec, Error *error) {
  Simulations *s = arena_alloc(arena, sizeof *s);
  *s = (Simulations){ .spec = *spec, .def = env_def(spec->env) };
  s->seen_size = spec->obs_steps * s->def->obs_dim;
  s->each = arena_array(arena, Simulation, spec->count);
  s->seen = arena_array(arena, float, spec->count * s->seen_size);
  s->after = arena_array(arena, float, spec->count * s->seen_size);
  for (int i = 0; i < spec->count; i++) {
    s->each[i].env = env_create(spec->env, error);
    if (!s->each[i].env) return simulations_close(s), NULL;
    begin_episode(s, i);
  }
  return s;
}

void simulations_close(Simulations *s) {
  for (int i = 0; s && i < s->spec.count; i++) env_free(s->each[i].env);
}

const float *simulations_seen(const Simulations *s) { return s->seen; }
const float *simulations_after(const Simulations *s) { return s->after; }

/* ---- decisions ------------------------------------------------------------------------------- */

/* The newest observation goes last. */
static void remember(const Simulations *s, float *seen, const float *obs) {
  size_t n = (size_t)s->def->obs_dim, all = (size_t)s->seen_size;
  memmove(seen, seen + n, (all - n) * sizeof *seen);
  memcpy(seen + all - n, obs, n * sizeof *seen);
}

static void decide(void *context, int i, int worker) {
  Simulations *s = context;
  Simulation *one = &s->each[i];
  Decision *d = &s->decision[i];
  float *seen = s->seen + (ptrdiff_t)i * s->seen_size, obs[ENV_MAX_OBS];
  const float *act = s->act + (ptrdiff_t)i * s->spec.chunk * s->def->act_dim;
  (void)worker;
  *d = (Decision){ 0 };
  for (int t = 0; t < s->spec.act_steps && !d->ended; t++) {
    EnvStep step = env_step(one->env, act + t * s->def->act_dim, obs);
    remember(s, seen, obs);
    d->reward += (double)step.reward, d->steps++;
    d->terminal = step.terminal, d->ended = step.terminal || step.timeout;
  }
  one->total += d->reward, one->steps += d->steps;
  memcpy(s->after + (ptrdiff_t)i * s->seen_size, seen, (size_t)s->seen_size * sizeof *seen);
  if (!d->ended) return;
  one->ended_sum += one->total, one->ended++;
  begin_episode(s, i);
}

void simulations_step(Simulations *s, const float *act, Decision *decision) {
  s->act = act, s->decision = decision;
  pool_run(s->spec.pool, decide, s, s->spec.count);
}

double simulations_return(const Simulations *s) {
  double sum = 0;
  int64_t count = 0;
  for (int i = 0; i < s->spec.count; i++) sum += s->each[i].ended_sum, count += s->each[i].ended;
  return count ? sum / (double)count : (double)NAN;
}

void simulations_forget(Simulations *s) {
  for (int i = 0; i < s->spec.count; i++) s->each[i].ended_sum = 0, s->each[i].ended = 0;
}

int64_t simulations_steps(const Simulations *s) {
  int64_t steps = 0;
  for (int i = 0; i < s->spec.count; i++) steps += s->each[i].steps;
  return steps;
}

/* ---- checkpoints ----------------------------------------------------------------------------- */

enum { COUNTS = 3, RETURNS = 2 }; /* numbers of a simulation in the two tensors */

void simulations_save(const Simulations *s, Checkpoint *c) {
  int64_t n = s->spec.count, size = (int64_t)env_state_size(s->each[0].env);
  unsigned char *state = arena_alloc(c->arena, (size_t)(n * size));
  double *returns = arena_array(c->arena, double, n *RETURNS);
  int64_t *counts = arena_array(c->arena, int64_t, n * COUNTS);
  for (int i = 0; i < n; i++) {
    const Simulation *one = &s->each[i];
    env_state_save(one->env, state + i * size);
    returns[i * RETURNS] = one->total, returns[i * RETURNS + 1] = one->ended_sum;
    counts[i * COUNTS] = one->episodes, counts[i * COUNTS + 1] = one->ended;
    counts[i * COUNTS + 2] = one->steps;
  }
  checkpoint_add(c, "simulations/state", CHECKPOINT_U8, 1, &(int64_t){ n * size }, state);
  checkpoint_add(c, "simulations/seen", CHECKPOINT_F32, 1, &(int64_t){ n * s->seen_size }, s->seen);
  checkpoint_add(c, "simulations/returns", CHECKPOINT_F64, 1, &(int64_t){ n * RETURNS }, returns);
  checkpoint_add(c, "simulations/counts", CHECKPOINT_I64, 1, &(int64_t){ n * COUNTS }, counts);
}

/* finite numbers, and counts that a run can have */
static bool check_state(const Simulations *s, const float *seen, const double *returns,
                        const int64_t *counts, Error *error) {
  bool right = true;
  for (int i = 0; i < s->spec.count * s->seen_size; i++) right &= isfinite(seen[i]) != 0;
  for (int i = 0; i < s->spec.count * RETURNS; i++) right &= isfinite(returns[i]) != 0;
  for (int i = 0; i < s->spec.count * COUNTS; i++)
    right &= counts[i] >= 0 && counts[i] <= (int64_t)1 << 40;
  for (int i = 0; i < s->spec.count; i++) right &= counts[i * COUNTS] > 0;
  return right || error_set(error, FAIL_INPUT,
                            "tensors simulations/seen, simulations/returns and simulations/counts: "
                            "no simulation is at such a point; use another checkpoint");
}

bool simulations_load(Simulations *s, const Checkpoint *c, Error *error) {
  int64_t n = s->spec.count, size = (int64_t)env_state_size(s->each[0].env);
  const unsigned char *state =
      checkpoint_need_vector(c, "simulations/state", CHECKPOINT_U8, n * size, error);
  const float *seen = !state ? NULL
                             : checkpoint_need_vector(c, "simulations/seen", CHECKPOINT_F32,
                                                      n * s->seen_size, error);
  const double *returns =
      !seen ? NULL
            : checkpoint_need_vector(c, "simulations/returns", CHECKPOINT_F64, n * RETURNS, error);
  const int64_t *counts =
      !returns ? NULL
               : checkpoint_need_vector(c, "simulations/counts", CHECKPOINT_I64, n * COUNTS, error);
  if (!counts || !check_state(s, seen, returns, counts, error)) return false;
  for (int i = 0; i < n; i++) {
    Simulation *one = &s->each[i];
    if (!env_state_load(one->env, state + i * size))
      return error_set(error, FAIL_INPUT,
                       "tensor simulations/state is no state of this environment; use another "
                       "checkpoint");
    one->total = returns[i * RETURNS], one->ended_sum = returns[i * RETURNS + 1];
    one->episodes = counts[i * COUNTS], one->ended = counts[i * COUNTS + 1];
    one->steps = counts[i * COUNTS + 2];
  }
  memcpy(s->seen, seen, (size_t)n * (size_t)s->seen_size * sizeof *seen);
  return true;
}
