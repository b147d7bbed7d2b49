/* online.h -- learning while acting: the first steps uniform, then the policy's action, with noise
 * if asked; each step into a replay.  One step in the environment for each of training. */
#ifndef RL_ONLINE_H
#define RL_ONLINE_H
#include "rl/algo.h"
#include "rl/rollout/experience.h"

typedef struct {
  const AlgoSetup *setup;
  Experience *experience;
  Actor *actor;
  Rng explore;
  int64_t random_steps; /* uniform, before the first update */
  double noise;         /* standard deviation on actions, of half their range; 0: none */
} Online;

/* The agent's policy acts by the random numbers of `seed`.  False and an error if the simulator
 * cannot be set up. */
bool online_open(Online *online, const AlgoSetup *setup, const Policy *policy, uint64_t seed,
                 int64_t random_steps, double noise, Error *error);

/* What happens before update number `step`: before the first, all uniform steps too. */
bool online_collect(Online *online, int64_t step, Error *error);

/* A batch of what was seen (the columns of TRANSITION_COLUMNS(1)). */
void online_draw(const Online *online, int64_t step, Batch *batch);

/* "episode_return", once there is one. */
void online_log(const Online *online, Log *log);

#endif
