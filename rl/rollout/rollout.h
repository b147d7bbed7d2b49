/* rollout.h -- episodes of a policy, on all cores.
 *
 * The simulations of a thread advance together, so that the policy sees one batch of observations a
 * step.  Episode i of a seed starts the same and draws the same random numbers whatever the number
 * of threads, and in whatever order episodes end. */
#ifndef RL_ROLLOUT_H
#define RL_ROLLOUT_H
#include "core/progress.h"
#include "envs/env.h"
#include "policy/actor.h"

enum { ROLLOUT_MAX_Q = 64 };

/* one step of one episode; pointers are valid during the visit */
typedef struct {
  int episode;
  const float *obs, *act, *next; /* [obs_dim], [act_dim], [obs_dim] */
  float log_prob;                /* NAN where the policy has none */
  EnvStep step;
  const double *qpos, *qvel; /* before the step; NULL unless asked for */
} RolloutStep;

typedef struct {
  const EnvModel *env;
  const Policy *policy;
  int first, episodes; /* episodes first .. first + episodes - 1 */
  uint64_t seed;       /* of episodes and of the policy's noise */
  bool positions;      /* fill qpos and qvel */
  Pool *pool;          /* nullable */
  const Kernels *kernels;
  Profile *profile; /* nullable: "env_step" and "act" are added; a worker of it per thread */
  /* called step after step of an episode; for different episodes by several threads at once */
  void (*visit)(void *context, const RolloutStep *step);
  void *context;
  bool (*stop)(void); /* nullable: asked every step by every thread; true ends early */
  Progress *progress; /* nullable: told every step, in steps of one simulation */
} RolloutSpec;

/* The arena holds buffers and may be reset afterwards.  `stopped` is set if it ended early.  Fails
 * if the simulator cannot be set up or the act record asks for what the policy has not, and with
 * FAIL_DIVERGED at an action that is not finite. */
bool rollout(Arena *arena, const RolloutSpec *spec, bool *stopped, Error *error);

#endif
