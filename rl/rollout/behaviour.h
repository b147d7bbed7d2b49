/* behaviour.h -- the policies behind generated data: trained by `diffrl train sac`, shipped inside
 * the program as safetensors files (rl/behaviour/, with how each was made). */
#ifndef RL_BEHAVIOUR_H
#define RL_BEHAVIOUR_H
#include "policy/policy.h"

/* The shipped policy of this name ("hopper-medium"), or "random": a freshly initialised gaussian
 * policy for an environment of these sizes.  NULL and an error if there is none. */
Policy *behaviour_policy(Arena *arena, const char *name, int obs_dim, int act_dim, Error *error);

#endif
