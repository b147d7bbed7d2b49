/* policy_deterministic.c -- one action for an observation: the policy of TD3 and its relatives, and
 * of BC. */
#include "policy/policies/policy_gaussian.h"

#define DETERMINISTIC_FIELDS(F) F(INT, actor_layers, 2, 1, 7, "hidden layers of the policy (ReLU)")
typedef struct {
  Policy base; /* first: it is a Policy */
  CONFIG_MEMBERS(DETERMINISTIC_FIELDS)
  Mlp trunk;
} DeterministicPolicy;

#define CONFIG_STRUCT DeterministicPolicy
static const ConfigField fields[] = { CONFIG_ROWS(DETERMINISTIC_FIELDS) };
#undef CONFIG_STRUCT

static bool network(Policy *p, Error *error) {
  DeterministicPolicy *m = (DeterministicPolicy *)p;
  (void)error;
  p->actor = blocks_add(&p->blocks, params_new(p->arena, "actor"));
  m->trunk = mlp_new(p->actor, &(MlpSpec){ .name = "trunk",
                                           .members = 1,
                                           .inputs = p->seen,
                                           .hidden = (int)p->spec.hidden,
                                           .hidden_layers = (int)m->actor_layers,
                                           .outputs = p->width,
                                           .activation = MAP_relu });
  /* a slow copy for targets (TD3), moved by the actor's optimiser */
  p->actor_ema = blocks_add(&p->blocks, params_twin(p->actor, "actor_ema"));
  return true;
}

Tensor *deterministic_act(const Policy *p, Graph *g, const Params *actor, Tensor *obs) {
  const DeterministicPolicy *m = (const DeterministicPolicy *)p;
  return t_map(MAP_tanh, mlp(&m->trunk, g, actor, IN(obs)));
}

/* one answer, whatever k is: nothing in it is random */
static Tensor *propose(const Policy *p, Graph *g, const Params *actor, Tensor *obs, int k,
                       Proposal *more, Error *error) {
  (void)k, (void)more, (void)error;
  return deterministic_act(p, g, actor, obs);
}

const PolicyDef policy_deterministic = {
  .kind = "deterministic",
  .fields = fields,
  .field_count = sizeof fields / sizeof *fields,
  .size = sizeof(DeterministicPolicy),
  .takes = "weights",
  .critic_layers = 2,
  .critic_activation = MAP_relu,
  .critic_norm_eps = 1e-6, /* flax's, of ReBRAC */
  .network = network,
  .propose = propose,
  .lane = 64,
  .exported = true,
};
