/* worlds.c -- a network for vectors, three normalisers, and outcomes in the data's units. */
#include "policy/models/worlds.h"
#include "policy/nets/denoiser_residual.h"
#include <string.h>

#define CONFIG_STRUCT WorldsModel
static const ConfigField fields[] = { CONFIG_ROWS(WORLDS_FIELDS) CONFIG_ROWS(WORLDS_DATA_FIELDS) };
#undef CONFIG_STRUCT

static bool network(Model *base, Error *error) {
  WorldsModel *m = (WorldsModel *)base;
  int states = (int)m->obs_dim, actions = (int)m->act_dim;
  /* the identity, until data or a file give others */
  if (!m->state.dim) {
    m->state = normalizer_new(base->arena, states);
    m->action = normalizer_new(base->arena, actions);
    m->outcome = normalizer_new(base->arena, states + WORLDS_MORE);
  }
  VectorSpec spec = { .schedule = base->schedule,
                      .predicts = denoiser_prediction(m->predicts.s),
                      .time = model_time_input(m->time.s),
                      .data_std = 1, /* of what is normalised */
                      .dim = states + WORLDS_MORE,
                      .cond = states + actions,
                      .hidden = (int)m->hidden,
                      .blocks = (int)m->blocks };
  if (!time_find(m->embedding.s, &spec.embedding, error)) return false;
  bool residual = !strcmp(m->net.s, "residual");
  base->denoiser =
      (residual ? vector_residual_new : vector_mlp_new)(base->arena, base->online, &spec);
  base->cond = spec.cond;
  return true;
}

/* ---- the file -------------------------------------------------------------------------------- */

typedef struct {
  const char *name;
  Normalizer *normalizer;
} Part;
enum { PARTS = 3 };

static void parts_of(WorldsModel *m, Part part[PARTS]) {
  part[0] = (Part){ "state", &m->state };
  part[1] = (Part){ "action", &m->action };
  part[2] = (Part){ "outcome", &m->outcome };
}

static void save(const Model *base, Checkpoint *c) {
  Part part[PARTS];
  parts_of((WorldsModel *)(uintptr_t)base, part);
  for (int i = 0; i < PARTS; i++) {
    const Normalizer *n = part[i].normalizer;
    const int64_t dim = n->dim;
    checkpoint_add(c, arena_text(c->arena, "normalizer/%s/mean", part[i].name), CHECKPOINT_F32, 1,
                   &dim, n->mean);
    checkpoint_add(c, arena_text(c->arena, "normalizer/%s/std", part[i].name), CHECKPOINT_F32, 1,
                   &dim, n->std);
  }
}

static bool read_vector(const Checkpoint *c, const char *name, float *to, int n, Error *error) {
  const void *numbers = checkpoint_need_vector(c, name, CHECKPOINT_F32, n, error);
  if (numbers) memcpy(to, numbers, (size_t)n * sizeof *to);
  return numbers != NULL;
}

static bool load(Model *base, const Checkpoint *c, Error *error) {
  WorldsModel *m = (WorldsModel *)base;
  Part part[PARTS];
  parts_of(m, part);
  const int dim[PARTS] = { (int)m->obs_dim, (int)m->act_dim, (int)m->obs_dim + WORLDS_MORE };
  for (int i = 0; i < PARTS; i++) {
    Normalizer *n = part[i].normalizer;
    char name[64];
    if (!n->dim) *n = normalizer_new(base->arena, dim[i]);
    snprintf(name, sizeof name, "normalizer/%s/mean", part[i].name);
    if (!read_vector(c, name, n->mean, dim[i], error)) return false;
    snprintf(name, sizeof name, "normalizer/%s/std", part[i].name);
    if (!read_vector(c, name, n->std, dim[i], error) || !normalizer_check(n, error)) return false;
  }
  return true;
}

const ModelDef model_worlds = {
  .kind = "worlds",
  .trained_by = "world-diffusion",
  .use = "its run says how far its predictions stray",
  .mark = "world",
  .text = "world",
  .block = "denoiser",
  .stream = "outcome",
  .fields = fields,
  .field_count = sizeof fields / sizeof *fields,
  .size = sizeof(WorldsModel),
  .network_keys = "net hidden blocks embedding time schedule diffusion_steps predicts obs_dim "
                  "act_dim",
  .network = network,
  .save = save,
  .load = load,
  .most_stages = 2000,
  .chunk = 256,
  .group = 64,
  .lane = 64,
};

/* ---- outcomes -------------------------------------------------------------------------------- */

typedef struct {
  const WorldsModel *model;
  const float *obs, *act;
  float *next, *reward;
  bool *end;
} Outcomes;

static void give(void *user, int i, real *cond) {
  const Outcomes *o = user;
  const WorldsModel *m = o->model;
  normalizer_apply(&m->state, o->obs + (ptrdiff_t)i * m->obs_dim, cond);
  normalizer_apply(&m->action, o->act + (ptrdiff_t)i * m->act_dim, cond + m->obs_dim);
}

static void take(void *user, int i, const real *x) {
  const Outcomes *o = user;
  const WorldsModel *m = o->model;
  int states = (int)m->obs_dim;
  const float *obs = o->obs + (ptrdiff_t)i * states, *mean = m->outcome.mean, *std = m->outcome.std;
  float *next = o->next + (ptrdiff_t)i * states;
  for (int j = 0; j < states; j++)
    next[j] = (float)((double)obs[j] + (double)x[j] * (double)std[j] + (double)mean[j]);
  if (o->reward)
    o->reward[i] = (float)((double)x[states] * (double)std[states] + (double)mean[states]);
  if (o->end) o->end[i] = x[states + 1] > 0;
}

bool worlds_predict(const WorldsModel *model, const ModelSampling *how, int count, const float *obs,
                    const float *act, float *next, float *reward, bool *end, Error *error) {
  Outcomes o = { model, obs, act, next, reward, end };
  return model_sample(&model->base, how, count, &(ModelRows){ give, take, &o }, error);
}
