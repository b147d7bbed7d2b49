/* plans.c -- the temporal U-Net, its normaliser, and plans from given states. */
#include "policy/models/plans.h"
#include "core/check.h"
#include "policy/nets/denoiser_temporal.h"
#include <math.h>
#include <string.h>

#define CONFIG_STRUCT PlansModel
static const ConfigField fields[] = { CONFIG_ROWS(PLANS_FIELDS) CONFIG_ROWS(PLANS_DATA_FIELDS) };
#undef CONFIG_STRUCT
enum { MOST_NUMBERS = 4096 }; /* of a plan: as a sampler draws them */

/* ---- building -------------------------------------------------------------------------------- */

static bool plan_fits(const PlansModel *m, Error *error) {
  return m->horizon * m->width <= MOST_NUMBERS ||
         error_set(error, FAIL_USAGE,
                   "plans of %d steps of %d numbers; expected at most %d numbers in all",
                   (int)m->horizon, m->width, MOST_NUMBERS);
}

/* the identity, and no bounds */
static void prepare_units(PlansModel *m) {
  /* one normaliser of steps, of which actions and states are two parts */
  Arena *arena = m->base.arena;
  int actions = (int)m->act_dim, states = (int)m->obs_dim;
  m->width = actions + states;
  m->step = normalizer_new(arena, m->width);
  m->action = (Normalizer){ actions, m->step.mean, m->step.std };
  m->state = (Normalizer){ states, m->step.mean + actions, m->step.std + actions };
  m->low = arena_array(arena, float, actions), m->high = arena_array(arena, float, actions);
  /* bounds stay open until data or a file give some */
  for (int j = 0; j < actions; j++) m->low[j] = -INFINITY, m->high[j] = INFINITY;
}

static bool network(Model *base, Error *error) {
  PlansModel *m = (PlansModel *)base;
  /* a model from a file has its normaliser already */
  if (!m->low) prepare_units(m);
  if (!plan_fits(m, error)) return false;
  /* DDPM's features are made for numbers of steps, so continuous time is multiplied by 1000 */
  bool discrete = base->schedule->def->discrete;
  TemporalSpec spec = { .vector = { .schedule = base->schedule,
                                    .predicts = denoiser_prediction(m->predicts.s),
                                    .embedding = TIME_DDPM,
                                    .time = discrete ? TIME_OWN : TIME_THOUSANDS,
                                    .dim = (int)m->horizon * m->width,
                                    .hidden = (int)m->hidden },
                        .horizon = (int)m->horizon,
                        .width = m->width,
                        .groups = (int)m->groups,
                        .attention = m->attention };
  spec.levels =
      model_read_mults(m->mults.s, spec.mults, TEMPORAL_MAX_LEVELS, PLANE_MAX_CHANNELS, error);
  if (!spec.levels || !temporal_fits(&spec, error) || !time_fits(TIME_DDPM, (int)m->hidden, error))
    return false;
  base->denoiser = temporal_new(base->arena, base->online, &spec);
  /* the condition is the state that a plan begins in */
  base->cond = (int)m->obs_dim;
  return true;
}

Units plans_units(const PlansModel *m) {
  return (Units){ .obs_dim = (int)m->obs_dim,
                  .act_dim = (int)m->act_dim,
                  .obs = &m->state,
                  .act = &m->action,
                  .low = m->low,
                  .high = m->high };
}

/* ---- the file -------------------------------------------------------------------------------- */

static void save(const Model *base, Checkpoint *c) {
  const PlansModel *m = (const PlansModel *)base;
  /* normaliser and bounds are in the data's units: the file alone suffices to plan */
  const int64_t width = m->width, actions = m->act_dim;
  checkpoint_add(c, "normalizer/mean", CHECKPOINT_F32, 1, &width, m->step.mean);
  checkpoint_add(c, "normalizer/std", CHECKPOINT_F32, 1, &width, m->step.std);
  checkpoint_add(c, "action_low", CHECKPOINT_F32, 1, &actions, m->low);
  checkpoint_add(c, "action_high", CHECKPOINT_F32, 1, &actions, m->high);
}

static bool read_vector(const Checkpoint *c, const char *name, float *to, int n, Error *error) {
  const void *numbers = checkpoint_need_vector(c, name, CHECKPOINT_F32, n, error);
  if (numbers) memcpy(to, numbers, (size_t)n * sizeof *to);
  return numbers != NULL;
}

/* bounds are not in the files of the first days, and infinite in what was made of those */
static bool load(Model *base, const Checkpoint *c, Error *error) {
  PlansModel *m = (PlansModel *)base;
  int actions = (int)m->act_dim;
  /* the normaliser comes before the network, which asks for its width */
  if (!m->low) prepare_units(m);
  if (!plan_fits(m, error) || !read_vector(c, "normalizer/mean", m->step.mean, m->width, error) ||
      !read_vector(c, "normalizer/std", m->step.std, m->width, error) ||
      !normalizer_check(&m->step, error))
    return false;
  const Units units = plans_units(m);
  return !checkpoint_tensor(c, "action_low") ||
         (read_vector(c, "action_low", m->low, actions, error) &&
          read_vector(c, "action_high", m->high, actions, error) &&
          units_check_bounds(&units, true, error));
}

/* ---- the first state ------------------------------------------------------------------------- */

Tensor *plans_keep(const PlansModel *m, Graph *g) {
  /* 1 where a plan is given: the state of its first step */
  int dim = m->base.denoiser->dim;
  double *keep = arena_array(graph_arena(g), double, dim);
  for (int j = 0; j < m->obs_dim; j++) keep[m->act_dim + j] = 1;
  return t_table(g, keep, 1, dim);
}

static Tensor *zeros(Graph *g, int n) {
  return t_table(g, arena_array(graph_arena(g), double, n), 1, n);
}

/* the condition is s_0, normalised */
static Known first_state(const void *user, const NetInput *a) {
  const PlansModel *m = user;
  int rest = m->base.denoiser->dim - m->width;
  /* as long as a plan, though all but the first state is ignored */
  Tensor *step = t_concat(zeros(a->g, (int)m->act_dim), a->cond);
  return (Known){ plans_keep(m, a->g), t_concat(step, zeros(a->g, rest)) };
}

/* every plan begins in its given state, in the chain as it was in training */
static const Guide *const *guides(Arena *arena, const Model *m, double guidance) {
  const Guide **list = arena_array(arena, const Guide *, 2);
  (void)guidance;
  list[0] = guide_known(arena, &(KnownGuide){ .find = first_state, .user = m, .clean = true });
  return list;
}

const ModelDef model_plans = {
  .kind = "plans",
  .trained_by = "diffuser",
  .mark = "diffuser",
  .text = "diffuser",
  .block = "denoiser",
  .stream = "plan",
  .fields = fields,
  .field_count = sizeof fields / sizeof *fields,
  .size = sizeof(PlansModel),
  .network = network,
  .guides = guides,
  .save = save,
  .load = load,
  .most_stages = 100,
  .chunk = 64,
  .group = 16,
  .lane = 16,
};

/* ---- plans ----------------------------------------------------------------------------------- */

typedef struct {
  const PlansModel *model;
  const float *first;
  float *plans;
} Plans;

static void give_state(void *user, int i, real *cond) {
  const Plans *p = user;
  normalizer_apply(&p->model->state, p->first + (ptrdiff_t)i * p->model->obs_dim, cond);
}

/* one plan into the data's units; s_0 as it was given, without rounding there and back */
static void take_plan(void *user, int i, const real *x) {
  const Plans *p = user;
  const PlansModel *m = p->model;
  const float *first = p->first + (ptrdiff_t)i * m->obs_dim;
  float *plan = p->plans + (ptrdiff_t)i * m->base.denoiser->dim;
  for (int t = 0; t < m->horizon; t++)
    normalizer_invert(&m->step, x + t * m->width, plan + t * m->width);
  memcpy(plan + m->act_dim, first, (size_t)m->obs_dim * sizeof *first);
}

bool plans_sample(const PlansModel *model, const ModelSampling *how, int count, const float *first,
                  float *plans, Error *error) {
  Plans p = { model, first, plans };
  return model_sample(&model->base, how, count, &(ModelRows){ give_state, take_plan, &p }, error);
}
