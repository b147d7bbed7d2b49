/* experience.h -- an online method in its environment: one episode after another, each step into a
 * replay; and the state that makes resuming exact. */
#ifndef RL_EXPERIENCE_H
#define RL_EXPERIENCE_H
#include "core/checkpoint.h"
#include "core/maths/units.h"
#include "envs/env.h"
#include "rl/rollout/replay.h"

typedef struct Experience Experience;

typedef struct {
  const EnvModel *env;
  const Units *units; /* the replay holds what a network sees */
  const char *run;    /* the run's folder, for the replay's file */
  int64_t capacity;   /* of the replay */
  uint64_t seed;      /* of the episodes' starts */
} ExperienceSpec;

/* NULL and an error if the simulator cannot be set up.  The replay is opened by the first step, or
 * by experience_load. */
Experience *experience_new(Arena *arena, const ExperienceSpec *spec, Error *error);
void experience_close(Experience *experience); /* may be NULL */

/* Where the episode is: [obs_dim], in the data's units; a new episode begins if the last has
 * ended.  FAIL_RUNNING if the replay's file cannot be made. */
const float *experience_obs(Experience *experience, Error *error);

/* One step by this action [act_dim], in the data's units. */
void experience_step(Experience *experience, const float *act);

/* A uniform action within the bounds, a function of (rng, t). */
void experience_uniform(const Experience *experience, Rng rng, uint64_t t, float *act);

const Replay *experience_replay(const Experience *experience);

/* The return of the last complete episode; NAN before the first. */
double experience_return(const Experience *experience);

/* The simulator's state, the episode so far and the replay's length, as tensors "env/..". */
bool experience_save(const Experience *experience, Checkpoint *checkpoint, Error *error);
bool experience_load(Experience *experience, const Checkpoint *checkpoint, Error *error);

#endif
