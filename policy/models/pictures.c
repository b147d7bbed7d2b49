/* pictures.c -- the model, its file and its samples. */
#include "policy/models/pictures.h"
#include "core/check.h"
#include "diffusion/guide.h"
#include "policy/nets/denoiser_unet.h"
#include <stdlib.h>
#include <string.h>

#define CONFIG_STRUCT ImageShape
const ConfigField image_shape_fields[] = { CONFIG_ROWS(IMAGE_MODEL_FIELDS) };
#undef CONFIG_STRUCT
const size_t image_shape_field_count = sizeof image_shape_fields / sizeof *image_shape_fields;

/* ---- building -------------------------------------------------------------------------------- */

static TimeInput time_input(const char *name) {
  return !strcmp(name, "own") ? TIME_OWN : *name == 't' ? TIME_THOUSANDS : TIME_LOG_SIGMA;
}

/* "1,2,4" */
static bool read_mults(const char *text, UnetSpec *unet, Error *error) {
  const char *at = text;
  for (;;) {
    char *end;
    long mult = strtol(at, &end, 10);
    if (end == at || mult < 1 || mult > 64 || (*end && *end != ',') ||
        unet->levels == UNET_MAX_LEVELS)
      return error_set(error, FAIL_USAGE,
                       "mults=%s: expected 1 to %d numbers from 1 to 64 between commas", text,
                       UNET_MAX_LEVELS);
    unet->mults[unet->levels++] = (int)mult;
    if (!*end) return true;
    at = end + 1;
  }
}

static bool read_spec(const ImageModel *m, UnetSpec *unet, Error *error) {
  const ImageShape *s = &m->shape;
  int size = (int)s->size;
  *unet = (UnetSpec){ .vector = { .schedule = m->schedule,
                                  .predicts = denoiser_prediction(s->predicts.s),
                                  .data_std = s->data_std,
                                  .time = time_input(s->time.s),
                                  .dim = size * size,
                                  .cond = image_model_cond(m),
                                  .hidden = (int)s->hidden },
                      .plane = { size, size, 1 },
                      .blocks = (int)s->blocks,
                      .groups = (int)s->groups,
                      .attention = (int)s->attention,
                      .heads = (int)s->heads };
  return time_find(s->embedding.s, &unet->vector.embedding, error) &&
         time_fits(unet->vector.embedding, unet->vector.hidden, error) &&
         read_mults(s->mults.s, unet, error) && unet_fits(unet, error);
}

static bool check_sampler(const ImageModel *m, Error *error) {
  Arena *scratch = arena_new();
  SamplerSpec spec = image_model_sampling(m).sampler;
  bool fine = sampler_new(scratch, &spec, m->denoiser, error) != NULL;
  arena_free(scratch);
  return fine;
}

ImageModel *image_model_new(Arena *arena, const char *data, int classes, const ImageShape *shape,
                            Error *error) {
  ImageModel *m = arena_alloc(arena, sizeof *m);
  m->shape = *shape, m->data = arena_text(arena, "%s", data), m->classes = classes;
  ScheduleSpec noise = { .name = shape->schedule.s, .steps = (int)shape->diffusion_steps };
  UnetSpec unet;
  if (!(m->schedule = schedule_new(arena, &noise, error)) || !read_spec(m, &unet, error))
    return NULL;
  m->online = params_new(arena, "denoiser");
  m->denoiser = unet_new(arena, m->online, &unet);
  params_allocate(m->online);
  m->average = params_clone(m->online, "denoiser_ema");
  return check_sampler(m, error) ? m : NULL;
}

/* ---- the file -------------------------------------------------------------------------------- */

void image_model_save(const ImageModel *m, Checkpoint *c) {
  JsonText text = { 0 };
  Config config = { .fields = image_shape_fields,
                    .count = image_shape_field_count,
                    .values = (void *)(uintptr_t)&m->shape };
  json_open(&text, NULL, '{');
  config_write(&config, &text);
  json_close(&text, '}');
  checkpoint_add_text(c, "images", m->data);
  checkpoint_add_text(c, "classes", arena_text(c->arena, "%d", m->classes));
  checkpoint_add_text(c, "model", text.text);
  json_text_free(&text);
  params_save(m->online, c), params_save(m->average, c);
}

bool image_model_read(ImageModel *m, const Checkpoint *c, Error *error) {
  return params_load(m->online, c, error) && params_load(m->average, c, error);
}

bool image_model_saved(const Checkpoint *c) { return checkpoint_text(c, "images") != NULL; }

ImageModel *image_model_load(Arena *arena, const Checkpoint *c, Error *error) {
  const char *data = checkpoint_text(c, "images"), *text = checkpoint_text(c, "model");
  const char *classes = checkpoint_text(c, "classes");
  int count = classes ? atoi(classes) : 0;
  if (!data || !text || count < 1 || count > 256) {
    error_set(error, FAIL_INPUT,
              "no \"images\", \"classes\" and \"model\" in the metadata: not a model made by "
              "`diffrl train image`");
    return NULL;
  }
  ImageShape shape;
  Config config;
  config_init(&config, image_shape_fields, image_shape_field_count, &shape);
  Json *json = json_parse(text, strlen(text), error);
  bool read = json && config_read(&config, json, "checkpoint", error);
  json_free(json);
  ImageModel *m = read ? image_model_new(arena, data, count, &shape, error) : NULL;
  if (m && image_model_read(m, c, error)) return m;
  error->kind = FAIL_INPUT;
  return NULL;
}

/* ---- sampling -------------------------------------------------------------------------------- */

const Params *image_model_weights(const ImageModel *m) {
  return strcmp(m->shape.weights.s, "ema") ? m->online : m->average;
}

int image_model_cond(const ImageModel *m) { return m->shape.labels ? m->classes : 0; }

void image_model_label(const ImageModel *m, int label, real *cond) {
  for (int i = 0; i < m->classes; i++) cond[i] = i == label;
}

ImageSampling image_model_sampling(const ImageModel *m) {
  const ImageShape *s = &m->shape;
  return (ImageSampling){
    .sampler = { .method = s->sampler.s, .steps = (int)s->sample_steps, .spacing = s->spacing.s },
    .guidance = s->guidance,
    .label = IMAGE_ALL_LABELS
  };
}

enum { CHUNK = 64, GROUP = 16, LANE = 16 }; /* pictures at once, to a thread, through the cache */

typedef struct {
  SamplerLoop *loop;
  real *x, *cond; /* [CHUNK, row_stride(pixels)], [CHUNK, row_stride(classes)] */
  uint32_t id[CHUNK];
} Drawing;

static bool prepare(Drawing *d, Arena *arena, const ImageModel *m, const ImageSampling *how,
                    Error *error) {
  int cond = image_model_cond(m);
  SamplerSpec spec = how->sampler;
  if (cond && how->guidance != 1) {
    const Guide **guides = arena_alloc(arena, 2 * sizeof *guides);
    guides[0] = guide_free(arena, &(FreeGuide){ .strength = { .w = how->guidance - 1 } });
    spec.guides = guides;
  }
  Sampler *sampler = sampler_new(arena, &spec, m->denoiser, error);
  if (!sampler) return false;
  SamplerLoopSpec loop = { .graph = { .seed = how->seed,
                                      .pool = how->pool,
                                      .kernels = how->kernels,
                                      .max_rows = CHUNK,
                                      .group = GROUP,
                                      .lane = LANE },
                           .stream = "sample",
                           .k = 1,
                           .cond = cond };
  d->loop = sampler_loop_new(arena, sampler, m->denoiser, image_model_weights(m), &loop);
  d->x = arena_array(arena, real, CHUNK * row_stride(m->denoiser->dim));
  d->cond = cond ? arena_array(arena, real, CHUNK * row_stride(cond)) : NULL;
  return true;
}

bool image_sample(const ImageModel *m, const ImageSampling *how, int count, double *pictures,
                  Error *error) {
  Arena *arena = arena_new();
  Drawing d;
  int n = m->denoiser->dim, ld = row_stride(n);
  if (!prepare(&d, arena, m, how, error)) return arena_free(arena), false;
  bool going = true;
  for (int from = 0; from < count && going; from += CHUNK) {
    int now = count - from < CHUNK ? count - from : CHUNK;
    going = !how->watch || how->watch(from, count) ||
            error_set(error, FAIL_RUNNING, "stopped after %d of %d pictures", from, count);
    if (!going) break;
    for (int i = 0; i < now; i++) {
      int label = how->label == IMAGE_ALL_LABELS ? (from + i) % m->classes : how->label;
      d.id[i] = (uint32_t)(from + i);
      if (d.cond) image_model_label(m, label, d.cond + i * row_stride(m->classes));
    }
    sampler_loop_run(d.loop, now, 0, d.id, d.cond, d.x, false);
    for (int i = 0; i < now; i++)
      for (int j = 0; j < n; j++) pictures[(int64_t)(from + i) * n + j] = (double)d.x[i * ld + j];
  }
  arena_free(arena);
  return going;
}
