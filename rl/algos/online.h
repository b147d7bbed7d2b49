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

/* First member of an online algorithm's state. */
typedef struct {
  Agent agent;
  Online online;
} OnlineAgent;

/* The agent's policy acts by the random numbers of `seed`.  False and an error if the simulator
 * cannot be set up. */
bool online_open(Online *online, const AlgoSetup *setup, const Policy *policy, uint64_t seed,
                 int64_t random_steps, double noise, Error *error);

/* Of its AlgoDef.  What happens before update number `step` (before the first, all uniform steps
 * too), and the simulator and the replay in checkpoints. */
bool online_collect(Agent *agent, int64_t step, Error *error);
bool online_save(const Agent *agent, Checkpoint *checkpoint, Error *error);
bool online_load(Agent *agent, const Checkpoint *checkpoint, Error *error);
void online_close(Agent *agent);

/* A batch of what was seen (the columns of TRANSITION_COLUMNS(1)). */
void online_sample(const Online *online, int64_t step, Batch *batch);

/* "episode_return", once there is one. */
void online_log(const Online *online, Log *log);

#endif
