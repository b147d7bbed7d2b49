/* policy_one_step.c -- noise to action in one call: the student of a flow (Park, Li & Levine 2025).
 */
#include "policy/policies/policy_one_step.h"
#include <string.h>

#define ONE_STEP_FIELDS(F) F(INT, actor_layers, 4, 1, 7, "hidden layers of the policy (GELU)")
typedef struct {
  Policy base; /* first: it is a Policy */
  CONFIG_MEMBERS(ONE_STEP_FIELDS)
  Mlp trunk;
} OneStepPolicy;

#define CONFIG_STRUCT OneStepPolicy
static const ConfigField fields[] = { CONFIG_ROWS(ONE_STEP_FIELDS) };
#undef CONFIG_STRUCT

static bool network(Policy *p, Error *error) {
  OneStepPolicy *m = (OneStepPolicy *)p;
  (void)error;
  p->actor = blocks_add(&p->blocks, params_new(p->arena, "actor"));
  m->trunk = mlp_new(p->actor, &(MlpSpec){ .name = "trunk",
                                           .members = 1,
                                           .inputs = p->seen + p->width,
                                           .hidden = (int)p->spec.hidden,
                                           .hidden_layers = (int)m->actor_layers,
                                           .outputs = p->width,
                                           .activation = MAP_gelu });
  p->actor_ema = blocks_add(&p->blocks, params_twin(p->actor, "actor_ema"));
  return true;
}

Tensor *one_step_act(const Policy *p, Graph *g, const Params *actor, Tensor *obs, Tensor *noise) {
  const OneStepPolicy *m = (const OneStepPolicy *)p;
  return mlp(&m->trunk, g, actor, IN(obs, noise));
}

static Tensor *propose(const Policy *p, Graph *g, const Params *actor, Tensor *obs, int k,
                       Proposal *more, Error *error) {
  (void)more, (void)error;
  Tensor *noise = t_normal(g, "act", k, p->width);
  return t_clip(one_step_act(p, g, actor, obs, noise), -1, 1);
}

const PolicyDef policy_one_step = {
  .kind = "one-step",
  .fields = fields,
  .field_count = sizeof fields / sizeof *fields,
  .size = sizeof(OneStepPolicy),
  .takes = "weights",
  .critic_layers = 4,
  .critic_activation = MAP_gelu,
  .network = network,
  .propose = propose,
  .lane = 64,
  .exported = true,
};
