/* actor.h -- a policy as sealed tapes, and the memory of its episodes: observations in, actions
 * out, both in the data's units. */
#ifndef POLICY_ACTOR_H
#define POLICY_ACTOR_H
#include "policy/policy.h"

/* Acts for up to max_rows observations at once.  Random numbers depend on (seed, step, row id)
 * alone, never on the place in the batch. */
typedef struct Actor Actor;
Actor *actor_new(Arena *arena, const Policy *policy, int max_rows, uint64_t seed, Pool *pool,
                 const Kernels *kernels, Error *error);

/* A second actor on the tape of one that has acted, sharing its packed weights, without threads;
 * its episodes are its own. */
Actor *actor_fork(Arena *arena, const Actor *actor);
void actor_reseed(Actor *actor, uint64_t seed); /* as if made with this seed */

/* ---- episodes -------------------------------------------------------------------------------- */

/* Slot 0 .. max_rows - 1 begins this episode, whose number is the row id of its noise: no
 * observation was seen and no action is left. */
void actor_begin(Actor *actor, int slot, uint32_t episode);

/* One step of each of these slots: obs [count, obs_dim] -> act [count, act_dim]; log_prob
 * (nullable) [count], NAN where the policy has none.  A slot whose act_steps actions are done is
 * asked anew, with its last obs_steps observations (before an episode was that long its first
 * stands for those that are missing); its step is the number of observations before this one.
 * Never allocates. */
void actor_act(Actor *actor, const int *slot, int count, const float *obs, float *act,
               float *log_prob);

/* Are these numbers of actions finite?  FAIL_DIVERGED with which is not and what may be the reason.
 */
bool actor_check(const float *act, int count, Error *error);

/* ---- single answers -------------------------------------------------------------------------- */

/* seen [rows, obs_steps, obs_dim], the oldest first -> act [rows, horizon, act_dim]; log_prob as
 * above.  No episode is touched.  Never allocates. */
void actor_answer(Actor *actor, const float *seen, int rows, uint64_t step, const uint32_t *row_ids,
                  float *act, float *log_prob);

#endif
