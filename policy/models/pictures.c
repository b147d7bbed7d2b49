/* pictures.c -- a U-Net with labels. */
#include "policy/models/pictures.h"
#include "diffusion/guide.h"
#include "policy/nets/denoiser_unet.h"

#define CONFIG_STRUCT PicturesModel
static const ConfigField fields[] = { CONFIG_ROWS(PICTURES_FIELDS) };
#undef CONFIG_STRUCT

static bool network(Model *base, Error *error) {
  PicturesModel *m = (PicturesModel *)base;
  int size = (int)m->size;
  /* the condition is a label, one number for each class */
  base->cond = m->labels ? m->classes : 0;
  UnetSpec unet = { .vector = { .schedule = base->schedule,
                                .predicts = denoiser_prediction(m->predicts.s),
                                .data_std = m->data_std,
                                .time = model_time_input(m->time.s),
                                .dim = size * size,
                                .cond = base->cond,
                                .hidden = (int)m->hidden },
                    .plane = { size, size, 1 },
                    .blocks = (int)m->blocks,
                    .groups = (int)m->groups,
                    .attention = (int)m->attention,
                    .heads = (int)m->heads };
  /* what does not fit together is refused in words */
  unet.levels = model_read_mults(m->mults.s, unet.mults, UNET_MAX_LEVELS, 64, error);
  if (!unet.levels || !time_find(m->embedding.s, &unet.vector.embedding, error) ||
      !time_fits(unet.vector.embedding, unet.vector.hidden, error) || !unet_fits(&unet, error))
    return false;
  base->denoiser = unet_new(base->arena, base->online, &unet);
  return true;
}

/* towards the label, where there is one */
static const Guide *const *guides(Arena *arena, const Model *m, double guidance) {
  if (!m->cond || guidance == 1) return NULL;
  /* guidance g is classifier-free guidance of weight g - 1 */
  const Guide **list = arena_array(arena, const Guide *, 2);
  list[0] = guide_free(arena, &(FreeGuide){ .strength = { .w = guidance - 1 } });
  return list;
}

/* How many labels there are comes from the data and not from a setting. */
static void save(const Model *m, Checkpoint *c) {
  checkpoint_add_text(c, "classes",
                      arena_text(c->arena, "%d", ((const PicturesModel *)m)->classes));
}

static bool load(Model *m, const Checkpoint *c, Error *error) {
  int64_t classes;
  if (!checkpoint_read_whole(c, "classes", 1, 256, &classes, error)) return false;
  ((PicturesModel *)m)->classes = (int)classes;
  return true;
}

const ModelDef model_pictures = {
  .kind = "pictures",
  .trained_by = "image",
  .mark = "images",
  .text = "model",
  .block = "denoiser",
  .stream = "sample",
  .fields = fields,
  .field_count = sizeof fields / sizeof *fields,
  .size = sizeof(PicturesModel),
  .network_keys = "size hidden mults blocks groups attention heads labels embedding time schedule "
                  "diffusion_steps predicts",
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
