/* points.c -- the model, its file and its samples. */
#include "policy/models/points.h"
#include "diffusion/consistency.h"
#include "policy/nets/denoiser_residual.h"
#include <math.h>
#include <string.h>

#define CONFIG_STRUCT ToyShape
const ConfigField toy_shape_fields[] = { CONFIG_ROWS(TOY_MODEL_FIELDS) };
#undef CONFIG_STRUCT
const size_t toy_shape_field_count = sizeof toy_shape_fields / sizeof *toy_shape_fields;

/* ---- building -------------------------------------------------------------------------------- */

static TimeInput time_input(const char *name) {
  return !strcmp(name, "own") ? TIME_OWN : *name == 't' ? TIME_THOUSANDS : TIME_LOG_SIGMA;
}

static bool check_sampler(const ToyModel *m, Error *error) {
  Arena *scratch = arena_new();
  SamplerSpec spec = toy_model_sampler(m);
  bool fine = sampler_new(scratch, &spec, m->denoiser, error) != NULL;
  arena_free(scratch);
  return fine;
}

ToyModel *toy_model_new(Arena *arena, const char *data, const ToyShape *shape, Error *error) {
  ToyModel *m = arena_alloc(arena, sizeof *m);
  m->shape = *shape, m->data = arena_text(arena, "%s", data);
  VectorSpec spec = { .predicts = denoiser_prediction(shape->predicts.s),
                      .time = time_input(shape->time.s),
                      .data_std = 1, /* of every set, by construction */
                      .dim = TOY_DIM,
                      .hidden = (int)shape->hidden,
                      .blocks = (int)shape->blocks,
                      .octaves = (int)shape->octaves };
  ScheduleSpec noise = { .name = shape->schedule.s, .steps = (int)shape->diffusion_steps };
  spec.schedule = m->schedule = schedule_new(arena, &noise, error);
  if (!spec.schedule || !time_find(shape->embedding.s, &spec.embedding, error)) return NULL;
  m->online = params_new(arena, "denoiser");
  bool residual = !strcmp(shape->net.s, "residual");
  m->denoiser = (residual ? vector_residual_new : vector_mlp_new)(arena, m->online, &spec);
  params_allocate(m->online);
  m->average = params_clone(m->online, "denoiser_ema");
  if (!strcmp(shape->distill.s, "consistency")) {
    m->teacher = m->denoiser, m->taught = params_clone(m->online, "teacher");
    m->denoiser = consistency_denoiser(arena, m->teacher);
  }
  return check_sampler(m, error) ? m : NULL;
}

/* ---- the file -------------------------------------------------------------------------------- */

void toy_model_save(const ToyModel *m, Checkpoint *c) {
  JsonText text = { 0 };
  Config config = { .fields = toy_shape_fields,
                    .count = toy_shape_field_count,
                    .values = (void *)(uintptr_t)&m->shape };
  json_open(&text, NULL, '{');
  config_write(&config, &text);
  json_close(&text, '}');
  checkpoint_add_text(c, "toy", m->data);
  checkpoint_add_text(c, "model", text.text);
  json_text_free(&text);
  params_save(m->online, c), params_save(m->average, c);
  if (m->taught) params_save(m->taught, c);
}

bool toy_model_read(ToyModel *m, const Checkpoint *c, Error *error) {
  return params_load(m->online, c, error) && params_load(m->average, c, error) &&
         (!m->taught || params_load(m->taught, c, error));
}

/* the settings that a student shares with its teacher */
static bool same_network(const ToyShape *a, const ToyShape *b, Error *error) {
#define SAME_TEXT(key)                                                                             \
  if (strcmp(a->key.s, b->key.s))                                                                  \
    return error_set(error, FAIL_USAGE, "its %s is %s; use --set %s=%s", #key, b->key.s, #key,     \
                     b->key.s);
#define SAME_INT(key)                                                                              \
  if (a->key != b->key)                                                                            \
    return error_set(error, FAIL_USAGE, "its %s is %d; use --set %s=%d", #key, (int)b->key, #key,  \
                     (int)b->key);
  SAME_TEXT(net)
  SAME_INT(hidden)
  SAME_INT(blocks)
  SAME_INT(octaves)
  SAME_TEXT(embedding)
  SAME_TEXT(time)
  SAME_TEXT(schedule)
  SAME_INT(diffusion_steps)
  SAME_TEXT(predicts)
#undef SAME_TEXT
#undef SAME_INT
  return true;
}

bool toy_model_begin(ToyModel *m, const Checkpoint *c, Error *error) {
  Arena *scratch = arena_new();
  ToyModel *other = toy_model_load(scratch, c, error);
  bool fine = other && same_network(&m->shape, &other->shape, error);
  if (fine && strcmp(other->data, m->data))
    fine = error_set(error, FAIL_USAGE, "it is a model of %s; use --data %s", other->data,
                     other->data);
  if (fine) {
    params_copy(m->online, toy_model_weights(other));
    params_copy(m->average, m->online);
    if (m->taught) params_copy(m->taught, m->online);
  }
  arena_free(scratch);
  return fine;
}

ToyModel *toy_model_load(Arena *arena, const Checkpoint *c, Error *error) {
  const char *name = checkpoint_text(c, "toy"), *text = checkpoint_text(c, "model");
  if (!name || !text) {
    error_set(error, FAIL_INPUT,
              "no \"toy\" and \"model\" in the metadata: not a model made by "
              "`diffrl train toy`");
    return NULL;
  }
  ToyShape shape;
  Config config;
  config_init(&config, toy_shape_fields, toy_shape_field_count, &shape);
  Json *json = json_parse(text, strlen(text), error);
  bool read = json && config_read(&config, json, "checkpoint", error);
  json_free(json);
  ToyModel *m = read ? toy_model_new(arena, name, &shape, error) : NULL;
  if (m && toy_model_read(m, c, error)) return m;
  error->kind = FAIL_INPUT;
  return NULL;
}

/* ---- sampling -------------------------------------------------------------------------------- */

const Params *toy_model_weights(const ToyModel *m) {
  return strcmp(m->shape.weights.s, "ema") ? m->online : m->average;
}

double toy_model_start(const ToyModel *m) {
  const Schedule *s = m->schedule;
  return schedule_a(s, s->t_max) > 1e-9 ? 0 : schedule_time(s, -log(80));
}

SamplerSpec toy_model_sampler(const ToyModel *m) {
  const ToyShape *s = &m->shape;
  return (SamplerSpec){ .method = s->sampler.s,
                        .steps = (int)s->sample_steps,
                        .spacing = s->spacing.s,
                        .from = m->taught ? toy_model_start(m) : 0,
                        .eta = s->eta };
}

enum { CHUNK = 4096, LANE = 64 }; /* points at once, and through the cache together */

bool toy_sample(const ToyModel *m, const ToySampling *how, int count, double *points,
                Error *error) {
  Arena *arena = arena_new();
  int rows = count < CHUNK ? count : CHUNK, ld = row_stride(TOY_DIM);
  Sampler *sampler = sampler_new(arena, &how->sampler, m->denoiser, error);
  if (!sampler) return arena_free(arena), false;
  SamplerLoopSpec spec = { .graph = { .seed = how->seed,
                                      .pool = how->pool,
                                      .kernels = how->kernels,
                                      .max_rows = rows,
                                      .group = 8 * LANE,
                                      .lane = LANE },
                           .stream = "sample",
                           .k = 1 };
  SamplerLoop *loop = sampler_loop_new(arena, sampler, m->denoiser, toy_model_weights(m), &spec);
  sampler_loop_watch(loop, how->watch, how->user);
  real *x = arena_array(arena, real, rows * ld);
  uint32_t *id = arena_array(arena, uint32_t, rows);
  for (int from = 0; from < count; from += rows) {
    int now = count - from < rows ? count - from : rows;
    for (int i = 0; i < now; i++) id[i] = (uint32_t)(from + i);
    sampler_loop_run(loop, now, 0, id, NULL, x, false);
    for (int i = 0; i < now * TOY_DIM; i++)
      points[from * TOY_DIM + i] = (double)x[i / TOY_DIM * ld + i % TOY_DIM];
  }
  arena_free(arena);
  return true;
}
