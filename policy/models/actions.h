/* actions.h -- a diffusion model of actions given observations: the network of a diffusion policy,
 * which holds it (policies/policy_diffusion.c); alone it is not saved. */
#ifndef POLICY_ACTIONS_H
#define POLICY_ACTIONS_H
#include "policy/model.h"

#define ACTIONS_FIELDS(F)                                                                          \
  F(INT, hidden, 256, 1, 4096, "units of a hidden layer")                                          \
  F(TEXT, schedule, "vp", NULL, NULL, "noise schedule of a diffusion policy")                      \
  F(INT, diffusion_steps, 5, 0, 100000, "steps of a discrete schedule")                            \
  F(TEXT, predicts, "eps", "eps|x0|velocity", NULL, "what the denoiser's output is")
typedef struct {
  Model base; /* first: an ActionsModel is a Model */
  CONFIG_MEMBERS(ACTIONS_FIELDS)
  int width, seen; /* numbers of a sample and of its condition: set before model_build */
} ActionsModel;

extern const ModelDef model_actions;

#endif
