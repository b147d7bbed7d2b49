/* actions.c -- Diffusion-QL's noise network. */
#include "policy/models/actions.h"
#include "policy/nets/denoiser_mlp.h"

#define CONFIG_STRUCT ActionsModel
static const ConfigField fields[] = { CONFIG_ROWS(ACTIONS_FIELDS) };
#undef CONFIG_STRUCT

static bool network(Model *base, Error *error) {
  const ActionsModel *m = (const ActionsModel *)base;
  (void)error;
  /* the condition is what the policy sees */
  base->cond = m->seen;
  base->denoiser =
      mlp_denoiser_new(base->arena, base->online, base->schedule,
                       denoiser_prediction(m->predicts.s), m->width, m->seen, (int)m->hidden);
  return true;
}

const ModelDef model_actions = {
  .kind = "actions",
  .block = "actor",
  .stream = "act",
  .fields = fields,
  .field_count = sizeof fields / sizeof *fields,
  .size = sizeof(ActionsModel),
  .network = network,
  .bounded = true,
  .most_stages = 2000,
  .chunk = 256,
  .group = 64,
  .lane = 64,
};
