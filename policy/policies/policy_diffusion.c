/* policy_diffusion.c -- policies that sample from a diffusion model: of actions, or of plans. */
#include "policy/models/actions.h"
#include "policy/models/plans.h"
#include "policy/nets/energy_mlp.h"
#include "policy/policy.h"
#include <string.h>

/* ---- sampling as the act record says --------------------------------------------------------- */

/* the gradient of its energy, if there is one: Lu et al. 2023, eq. 9 */
static const Guide *const *guides(const Policy *p, Arena *arena) {
  if (!p->energy || p->act.guidance <= 0) return NULL;
  const Guide **list = arena_array(arena, const Guide *, 2);
  list[0] = guide_energy(arena, &(EnergyGuide){ .energy = p->energy_net,
                                                .params = p->energy,
                                                .strength = { .w = p->act.guidance } });
  return list;
}

static Tensor *propose(const Policy *p, Graph *g, const Params *actor, Tensor *obs, int k,
                       Proposal *more, Error *error) {
  const ActRecord *a = &p->act;
  const Model *model = p->model;
  /* the chain that the act record asks for, which need not be that of training */
  SamplerSpec spec = { .method = a->sampler.s,
                       .steps = (int)a->steps,
                       .spacing = a->spacing.s,
                       .order = (int)a->order,
                       .eta = a->eta,
                       .guides = guides(p, graph_arena(g)) };
  /* a rule of Gaussian policies, which the setting itself allows */
  if (!strcmp(a->choice.s, "mean")) {
    error_set(error, FAIL_USAGE,
              "choice=mean: a diffusion policy has no mean action; use choice=sample");
    return NULL;
  }
  Sampler *sampler = model_sampler(graph_arena(g), model, &spec, 1, error);
  if (!sampler) return NULL;
  /* every stage is recorded on the tape, so their number is bounded */
  if (sampler->stages > model->def->most_stages) {
    error_set(error, FAIL_USAGE, "sampler %s with %d stages: a %s policy acts with at most %d",
              a->sampler.s, sampler->stages, p->def->kind, model->def->most_stages);
    return NULL;
  }
  if (p->early_steps >= sampler->stages) {
    error_set(
        error, FAIL_USAGE,
        "steps=%d: the first %d steps of this policy have weights of their own; expected more "
        "steps than that",
        sampler->stages, p->early_steps);
    return NULL;
  }
  sampler->early = p->early, sampler->early_stages = p->early_steps;
  /* k chains for one observation, each from noise of its own; targets value the candidates */
  Tensor *x = sampler_record(g, sampler, model->denoiser, actor, model->def->stream, obs, k);
  if (a->candidates > 1)
    more->q = critic_value(critic_q(p->critics, g, p->critics->target, obs, x), a->value.s, a->rho);
  return x;
}

/* A policy's weights are its model's: what trains or loads one has the other. */
static void own_model(Policy *p, Model *model) {
  p->model = model;
  p->actor = model->online, p->actor_ema = model->average;
  blocks_join(&p->blocks, &model->blocks);
}

/* ---- of actions ------------------------------------------------------------------------------ */

#define DIFFUSION_FIELDS(F)                                                                        \
  F(TEXT, schedule, "vp", NULL, NULL, "noise schedule of a diffusion policy")                      \
  F(INT, diffusion_steps, 5, 0, 100000, "steps of a discrete schedule")                            \
  F(TEXT, predicts, "eps", "eps|x0|velocity", NULL, "what the denoiser's output is")               \
  F(INT, energy_layers, 0, 0, 7, "hidden layers of the energy that guides; 0: there is none")
typedef struct {
  Policy base; /* first: it is a Policy */
  CONFIG_MEMBERS(DIFFUSION_FIELDS)
} DiffusionPolicy;

#define CONFIG_STRUCT DiffusionPolicy
static const ConfigField fields[] = { CONFIG_ROWS(DIFFUSION_FIELDS) };
#undef CONFIG_STRUCT

static void add_energy(Policy *p, int layers) {
  if (!layers) return;
  p->energy = blocks_add(&p->blocks, params_new(p->arena, "energy"));
  p->energy_net = energy_mlp_new(p->arena, p->energy,
                                 &(EnergyMlpSpec){ .schedule = p->model->schedule,
                                                   .dim = p->width,
                                                   .cond = p->seen,
                                                   .hidden = (int)p->spec.hidden,
                                                   .layers = layers });
}

static bool network(Policy *p, Error *error) {
  Model *model = model_start(p->arena, &model_actions, NULL);
  ActionsModel *actions = (ActionsModel *)model;
  model_set(model, fields, sizeof fields / sizeof *fields, p);
  /* the model takes over the policy's settings of the same names, and the shape of its actions */
  actions->hidden = p->spec.hidden, actions->width = p->width, actions->seen = p->seen;
  if (!model_build(model, error)) return false;
  own_model(p, model);
  add_energy(p, (int)((const DiffusionPolicy *)p)->energy_layers);
  return true;
}

const PolicyDef policy_diffusion = {
  .kind = "diffusion",
  .fields = fields,
  .field_count = sizeof fields / sizeof *fields,
  .size = sizeof(DiffusionPolicy),
  .takes = "weights sampler steps spacing order eta",
  .critic_layers = 3,
  .critic_activation = MAP_mish,
  .network = network,
  .propose = propose,
  .lane = 64,
  .exported = true,
};

/* ---- of plans -------------------------------------------------------------------------------- */

/* The model is there already: policy_load sets it, because such a policy is the model's file. */
static bool plans_network(Policy *p, Error *error) {
  const PlansModel *m = (const PlansModel *)p->model;
  const ModelSettings *s = &p->model->settings;
  if (m->act_dim > POLICY_MAX_ACT)
    return error_set(error, FAIL_INPUT, "%d numbers in an action; a policy has at most %d",
                     (int)m->act_dim, POLICY_MAX_ACT);
  own_model(p, p->model);
  /* units and horizon are those of the file; acting begins with the model's own sampler settings */
  p->units = plans_units(m);
  p->act.weights = s->weights, p->act.sampler = s->sampler;
  p->act.steps = s->sample_steps, p->horizon = (int)(p->act.horizon = m->horizon);
  return true;
}

/* the first action of every step */
static void put_plan(const Policy *p, const real *x, float *act) {
  const PlansModel *m = (const PlansModel *)p->model;
  for (int t = 0; t < m->horizon; t++)
    units_act_out(&p->units, x + t * m->width, act + t * m->act_dim);
}

const PolicyDef policy_plans = {
  .kind = "plans",
  .size = sizeof(Policy),
  .takes = "weights sampler steps spacing order eta",
  .file = &model_plans,
  .network = plans_network,
  .propose = propose,
  .put = put_plan,
  .lane = 16,
};
