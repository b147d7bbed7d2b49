/* simulations.h -- many simulations of one task that go on side by side: what on-policy learning
 * collects from.
 *
 * One call is one decision of each: up to act_steps actions one after the other, rewards added up.
 * A simulation whose episode ends begins its next one at once.  Where an episode starts follows
 * from the seed, the simulation's index and how many episodes it has had, so the number of threads
 * changes no bit. */
#ifndef RL_SIMULATIONS_H
#define RL_SIMULATIONS_H
#include "core/arena.h"
#include "core/checkpoint.h"
#include "core/parallel.h"
#include "envs/env.h"

typedef struct {
  const EnvModel *env;
  int count;     /* simulations */
  int obs_steps; /* observations that a policy sees, the last ones */
  int act_steps; /* actions of a decision that are done */
  int chunk;     /* actions of a decision that are given */
  uint64_t seed; /* of the episodes */
  Pool *pool;    /* nullable */
} SimulationsSpec;

typedef struct Simulations Simulations;

/* NULL and an error if the simulator cannot be set up.  The arena holds all but the simulator's own
 * memory, which simulations_close gives back (NULL is allowed). */
Simulations *simulations_new(Arena *arena, const SimulationsSpec *spec, Error *error);
void simulations_close(Simulations *simulations);

/* What a policy is to see now: [count, obs_steps, obs_dim] in the task's units, the oldest first;
 * before an episode was that long its first observation stands for those that are missing. */
const float *simulations_seen(const Simulations *simulations);

/* What the last decision led to, in the same shape: where its episode ended, the last of it and not
 * the first of the next, so that a value can be asked for behind a time-out. */
const float *simulations_after(const Simulations *simulations);

typedef struct {
  double reward; /* the sum over the actions that were done */
  int steps;     /* how many those were: fewer than act_steps where the episode ended */
  bool terminal; /* the task is over: no value beyond `after` */
  bool ended;    /* the episode is over: terminal, or a time-out with a value beyond it */
} Decision;

/* act [count, chunk, act_dim] in the task's units -> what happened, [count]. */
void simulations_step(Simulations *simulations, const float *act, Decision *decision);

/* Mean return of the episodes that ended since the last call of simulations_forget; NAN: none. */
double simulations_return(const Simulations *simulations);
void simulations_forget(Simulations *simulations);

int64_t simulations_steps(const Simulations *simulations); /* actions done since the run began */

/* The state of every simulator, bit for bit, in tensors "simulations/..".  Loading fails with
 * FAIL_INPUT on what cannot be such a state. */
void simulations_save(const Simulations *simulations, Checkpoint *checkpoint);
bool simulations_load(Simulations *simulations, const Checkpoint *checkpoint, Error *error);

#endif
