/* policy_one_step.h -- a policy that turns noise into an action in one call of its network, on the
 * tape, for the losses of those who train it. */
#ifndef POLICY_ONE_STEP_H
#define POLICY_ONE_STEP_H
#include "policy/policy.h"

/* mu(obs, noise), before it is clipped to the bounds: obs [1, 1, seen], noise [k, 1, width] ->
 * [k, 1, width] */
Tensor *one_step_act(const Policy *policy, Graph *g, const Params *actor, Tensor *obs,
                     Tensor *noise);

#endif
