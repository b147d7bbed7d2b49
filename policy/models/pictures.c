/* pictures.c -- a U-Net or a transformer with labels. */
#include "policy/models/pictures.h"
#include "diffusion/guide.h"
#include "core/json.h"
#include "policy/nets/denoiser_transformer.h"
#include "policy/nets/denoiser_unet.h"
#include <string.h>

#define CONFIG_STRUCT PicturesModel
static const ConfigField fields[] = { CONFIG_ROWS(PICTURES_FIELDS) };
#undef CONFIG_STRUCT

/* ---- the network ----------------------------------------------------------------------------- */

Plane pictures_plane(const PicturesModel *m) {
  return (Plane){ (int)m->size, (int)m->size, m->channels ? m->channels : 1 };
}
int pictures_numbers(const PicturesModel *m) { return plane_size(pictures_plane(m)); }
int pictures_labels(const PicturesModel *m) { return m->labels ? m->classes : 0; }

/* what both kinds of network are told */
static VectorSpec vector_of(const PicturesModel *m) {
  return (VectorSpec){ .schedule = m->base.schedule,
                       .predicts = denoiser_prediction(m->predicts.s),
                       .data_std = m->data_std,
                       .time = model_time_input(m->time.s),
                       .dim = pictures_numbers(m),
                       .cond = m->base.cond,
                       .hidden = (int)m->hidden,
                       .blocks = (int)m->blocks };
}

static bool unet(PicturesModel *m, VectorSpec *vector, Error *error) {
  UnetSpec spec = { .plane = pictures_plane(m),
                    .blocks = (int)m->blocks,
                    .groups = (int)m->groups,
                    .attention = (int)m->attention,
                    .heads = (int)m->heads };
  spec.levels = model_read_mults(m->mults.s, spec.mults, UNET_MAX_LEVELS, 64, error);
  if (!spec.levels || !time_fits(vector->embedding, vector->hidden, error)) return false;
  spec.vector = *vector;
  if (!unet_fits(&spec, error)) return false;
  m->base.denoiser = unet_new(m->base.arena, m->base.online, &spec);
  return true;
}

static bool transformer(PicturesModel *m, VectorSpec *vector, Error *error) {
  TransformerSpec spec = {
    .vector = *vector, .plane = pictures_plane(m), .patch = (int)m->patch, .heads = (int)m->heads
  };
  if (!transformer_fits(&spec, error)) return false;
  m->base.denoiser = transformer_new(m->base.arena, m->base.online, &spec);
  return true;
}

/* What does not fit together is refused in words. */
static bool network(Model *base, Error *error) {
  PicturesModel *m = (PicturesModel *)base;
  /* the condition is a label, one number for each class */
  base->cond = pictures_labels(m);
  VectorSpec vector = vector_of(m);
  if (!time_find(m->embedding.s, &vector.embedding, error)) return false;
  return strcmp(m->net.s, "dit") ? unet(m, &vector, error) : transformer(m, &vector, error);
}

/* towards the label, where there is one */
static const Guide *const *guides(Arena *arena, const Model *m, double guidance) {
  if (!m->cond || guidance == 1) return NULL;
  /* guidance g is classifier-free guidance of weight g - 1 */
  const Guide **list = arena_array(arena, const Guide *, 2);
  list[0] = guide_free(arena, &(FreeGuide){ .strength = { .w = guidance - 1 } });
  return list;
}

/* ---- files ----------------------------------------------------------------------------------- */

enum { MOST_CLASSES = 256 };

/* Labels and channels come from the data and not from a setting. */
static void save(const Model *base, Checkpoint *c) {
  const PicturesModel *m = (const PicturesModel *)base;
  checkpoint_add_text(c, "classes", arena_text(c->arena, "%d", m->classes));
  if (m->channels > 1) checkpoint_add_text(c, "channels", arena_text(c->arena, "%d", m->channels));
  if (!m->label_name) return;
  JsonText names = { 0 };
  json_open(&names, NULL, '[');
  for (int i = 0; i < m->classes; i++) json_put_text(&names, NULL, m->label_name[i]);
  json_close(&names, ']');
  checkpoint_add_text(c, "label_names", names.text);
  json_text_free(&names);
}

static bool load_names(PicturesModel *m, const char *text, Error *error) {
  ArenaHold hold;
  Json *names = json_parse(text, strlen(text), error);
  if (!names) return error_prefix(error, "label_names");
  json_hold(m->base.arena, &hold, names);
  const char **name = arena_array(m->base.arena, const char *, m->classes + 1);
  const Json *at = json_first(names);
  int count = 0;
  for (; at && count < m->classes && json_text(at); at = json_next(at))
    name[count++] = arena_text(m->base.arena, "%s", json_text(at));
  bool all = count == m->classes && !at;
  arena_let_go(m->base.arena, &hold);
  json_free(names);
  m->label_name = name;
  return all || error_set(error, FAIL_INPUT, "label_names: not a list of %d texts", m->classes);
}

/* Files of version 0.1 hold grey pictures. */
static bool load(Model *base, const Checkpoint *c, Error *error) {
  PicturesModel *m = (PicturesModel *)base;
  int64_t classes, channels = 1;
  if (!checkpoint_read_whole(c, "classes", 0, MOST_CLASSES, &classes, error) ||
      (checkpoint_text(c, "channels") &&
       !checkpoint_read_whole(c, "channels", 1, 3, &channels, error)))
    return false;
  if (channels == 2) return error_set(error, FAIL_INPUT, "channels: 2, expected 1 or 3");
  m->classes = (int)classes, m->channels = (int)channels;
  const char *names = checkpoint_text(c, "label_names");
  return !names || load_names(m, names, error);
}

const ModelDef model_pictures = {
  .kind = "pictures",
  .trained_by = "image",
  .use = "`diffrl sample` samples it",
  .mark = "images",
  .text = "model",
  .block = "denoiser",
  .stream = "sample",
  .fields = fields,
  .field_count = sizeof fields / sizeof *fields,
  .size = sizeof(PicturesModel),
  .network_keys = "size net hidden mults blocks patch groups attention heads labels embedding time "
                  "schedule diffusion_steps predicts",
  .network = network,
  .guides = guides,
  .save = save,
  .load = load,
  .most_stages = 2000,
  .chunk = 64,
  .group = 16,
  .lane = 16,
};

/* ---- sampling -------------------------------------------------------------------------------- */

void pictures_label(const Model *m, int label, real *cond) {
  for (int i = 0; i < m->cond; i++) cond[i] = i == label;
}

typedef struct {
  const Model *model;
  int label;
  double *pictures;
} Pictures;

/* of all labels they take turns, which makes the columns of a grid */
static void give_label(void *user, int i, real *cond) {
  const Pictures *p = user;
  bool all = p->label == PICTURES_ALL_LABELS;
  pictures_label(p->model, all ? i % p->model->cond : p->label, cond);
}

static void take_picture(void *user, int i, const real *x) {
  const Pictures *p = user;
  int n = p->model->denoiser->dim;
  for (int j = 0; j < n; j++) p->pictures[(int64_t)i * n + j] = (double)x[j];
}

bool pictures_sample(const Model *model, const ModelSampling *how, int label, int count,
                     double *pictures, Error *error) {
  Pictures p = { model, label, pictures };
  return model_sample(model, how, count, &(ModelRows){ give_label, take_picture, &p }, error);
}
