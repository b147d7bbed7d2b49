/* model.c -- what all diffusion models do alike. */
#include "policy/model.h"
#include "core/check.h"
#include "core/names.h"
#include <stdlib.h>
#include <string.h>

extern const ModelDef model_actions, model_pictures, model_plans, model_points, model_worlds;
static const ModelDef *const models[] = { &model_actions, &model_pictures, &model_plans,
                                          &model_points, &model_worlds };

#define CONFIG_STRUCT ModelSettings
static const ConfigField settings_fields[] = { CONFIG_ROWS(MODEL_FIELDS) };
#undef CONFIG_STRUCT
enum { SETTINGS = sizeof settings_fields / sizeof *settings_fields };

/* a kind's settings lie in its own struct */
static Config own_settings(const Model *m) {
  return (Config){ .fields = m->def->fields,
                   .count = m->def->field_count,
                   .values = (void *)(uintptr_t)m };
}

/* ---- building -------------------------------------------------------------------------------- */

Model *model_start(Arena *arena, const ModelDef *def, const char *data) {
  Model *m = arena_alloc(arena, def->size);
  Config own;
  config_init(&own, def->fields, def->field_count, m);
  m->def = def, m->arena = arena;
  m->data = data ? arena_text(arena, "%s", data) : NULL;
  return m;
}

void model_set(Model *m, const ConfigField *fields, size_t count, const void *values) {
  Config own = own_settings(m);
  config_copy(&own, fields, count, values);
}

bool model_set_all(Model *m, const char *pairs, Error *error) {
  Config own = own_settings(m);
  return config_set_all(&own, pairs, "model", error);
}

/* A model inside a policy is sampled as the act record says. */
static bool check_sampler(const Model *m, Error *error) {
  if (!m->def->mark) return true;
  /* a trial that leaves nothing behind: settings are refused before training */
  Arena *scratch = arena_under(m->arena);
  ModelSampling how = model_sampling(m);
  bool fine = model_sampler(scratch, m, &how.sampler, how.guidance, error) != NULL;
  arena_free(scratch);
  return fine;
}

bool model_build(Model *m, Error *error) {
  /* settings that all kinds know, where this kind lists them too */
  Config settings;
  config_init(&settings, settings_fields, SETTINGS, &m->settings);
  config_copy(&settings, m->def->fields, m->def->field_count, m);
  ScheduleSpec noise = { .name = m->settings.schedule.s,
                         .steps = (int)m->settings.diffusion_steps };
  if (!(m->schedule = schedule_new(m->arena, &noise, error))) return false;
  /* both blocks share one layout, which the kind's network fills */
  m->online = blocks_add(&m->blocks, params_new(m->arena, m->def->block));
  const char *average = arena_text(m->arena, "%s_ema", m->def->block);
  m->average = blocks_add(&m->blocks, params_twin(m->online, average));
  return m->def->network(m, error) && check_sampler(m, error);
}

bool model_resample(Model *m, const char *key, const char *value, const char *origin,
                    Error *error) {
  Config own = own_settings(m), settings;
  if (!strcmp(key, "guidance") && !m->cond)
    return error_set(error, FAIL_USAGE, "%s %s: this model is not conditioned on labels", origin,
                     value);
  if (!config_set(&own, key, value, origin, error)) return false;
  config_init(&settings, settings_fields, SETTINGS, &m->settings);
  config_copy(&settings, m->def->fields, m->def->field_count, m);
  return true;
}

void model_init(Model *m, uint64_t seed) {
  params_init(m->online, seed);
  params_copy(m->average, m->online);
}

/* ---- files ----------------------------------------------------------------------------------- */

void model_save_shape(const Model *m, Checkpoint *c) {
  /* the mark tells the kind and names the data, unless the settings themselves are the mark */
  if (strcmp(m->def->mark, m->def->text)) checkpoint_add_text(c, m->def->mark, m->data);
  checkpoint_add_config(c, m->def->text, m->def->fields, m->def->field_count, m);
  if (m->def->save) m->def->save(m, c);
}

void model_save(const Model *m, Checkpoint *c) {
  model_save_shape(m, c);
  blocks_save(&m->blocks, c);
}

bool model_save_half(const Model *m, Checkpoint *c, Error *error) {
  model_save_shape(m, c);
  return params_save_half(model_weights(m), c, error);
}

/* the one of both blocks that a file made to sample holds alone; NULL: it holds both or none */
static Params *saved_alone(const Model *m, const Checkpoint *c) {
  bool online = params_saved(m->online, c), average = params_saved(m->average, c);
  return online == average ? NULL : online ? m->online : m->average;
}

static bool load_alone(const Model *m, Params *saved, const Checkpoint *c, Error *error) {
  Params *other = saved == m->online ? m->average : m->online;
  if (!params_load(saved, c, error)) return false;
  /* what was given up, as by fine-tuning, stays so */
  if (params_held(other)) params_copy(other, saved);
  return true;
}

const ModelDef *model_saved(const Checkpoint *c) {
  for (size_t i = 0; i < sizeof models / sizeof *models; i++)
    if (models[i]->mark && checkpoint_text(c, models[i]->mark)) return models[i];
  return NULL;
}

static bool read_settings(Model *m, const Checkpoint *c, Error *error) {
  char what[80];
  snprintf(what, sizeof what, "a model made by `diffrl train %s`", m->def->trained_by);
  return checkpoint_need_text(c, m->def->mark, what, error) &&
         checkpoint_read_config(c, m->def->text, m->def->fields, m->def->field_count, m, what,
                                error);
}

Model *model_load_shape(Arena *arena, const ModelDef *def, const Checkpoint *c, Error *error) {
  Model *m = model_start(arena, def, checkpoint_text(c, def->mark));
  if (read_settings(m, c, error) && (!def->load || def->load(m, c, error)) && model_build(m, error))
    return m;
  /* a file whose settings cannot be is damaged, whatever went wrong */
  error_blame(error, FAIL_INPUT);
  return NULL;
}

Model *model_load(Arena *arena, const ModelDef *def, const Checkpoint *c, Error *error) {
  Model *m = model_load_shape(arena, def, c, error);
  if (!m) return NULL;
  Params *alone = m->blocks.count == 2 ? saved_alone(m, c) : NULL;
  /* shapes are compared with the file before memory is taken */
  if (alone)
    return params_match(alone, c, error) && blocks_allocate(&m->blocks, error) &&
                   load_alone(m, alone, c, error)
               ? m
               : NULL;
  /* no block may be absent from a model's file */
  for (int i = 0; i < m->blocks.count; i++)
    if (!params_match(m->blocks.params[i], c, error)) return NULL;
  return blocks_load_held(&m->blocks, c, error) ? m : NULL;
}

bool model_read(Model *m, const Checkpoint *c, Error *error) {
  if (m->def->load && !m->def->load(m, c, error)) return false;
  Params *alone = m->blocks.count == 2 ? saved_alone(m, c) : NULL;
  return alone ? load_alone(m, alone, c, error) : blocks_load(&m->blocks, c, error);
}

/* Weights fit a network of the same settings; the first that differs is named, with a remedy. */
static bool same_network(const Model *m, const Model *other, Error *error) {
  const ModelDef *def = m->def;
  for (size_t i = 0; i < def->field_count; i++) {
    Config one = own_settings(m);
    const char *key;
    /* only the settings that make the network must agree */
    if (def->network_keys && !names_has(def->network_keys, ' ', def->fields[i].key)) continue;
    one.fields = &def->fields[i], one.count = 1;
    if (config_equal(&one, other, &key)) continue;
    /* the other model's value, as it is typed after --set */
    JsonText value = { 0 };
    one.values = (void *)(uintptr_t)other;
    config_write(&one, &value);
    char *text = strchr(value.text, ':') + 1;
    if (*text == '"') text++, text[strlen(text) - 1] = '\0';
    error_set(error, FAIL_USAGE, "its %s is %s; use --set %s=%s", key, text, key, text);
    json_text_free(&value);
    return false;
  }
  return !m->data || !strcmp(m->data, other->data) ||
         error_set(error, FAIL_USAGE, "it is a model of %s; use --data %s", other->data,
                   other->data);
}

bool model_begin(Model *m, const Checkpoint *from, Error *error) {
  Arena *scratch = arena_under(m->arena);
  const Model *other = model_load(scratch, m->def, from, error);
  bool fine = other && same_network(m, other, error);
  /* a kind with a beginning of its own (a student's), or all that the file holds */
  if (fine && m->def->begin)
    m->def->begin(m, other);
  else if (fine)
    fine = model_read(m, from, error);
  arena_free(scratch);
  return fine;
}

/* ---- sampling -------------------------------------------------------------------------------- */

const Params *model_weights(const Model *m) {
  return strcmp(m->settings.weights.s, "ema") ? m->online : m->average;
}

ModelSampling model_sampling(const Model *m) {
  const ModelSettings *s = &m->settings;
  return (ModelSampling){ .sampler = { .method = s->sampler.s,
                                       .steps = (int)s->sample_steps,
                                       .spacing = s->spacing.s,
                                       .from = m->start,
                                       .eta = s->eta },
                          .guidance = s->guidance };
}

/* one list after the other; each ends with NULL, or is NULL */
static const Guide *const *join_guides(Arena *arena, const Guide *const *a, const Guide *const *b) {
  if (!a || !b) return a ? a : b;
  int first = 0, second = 0;
  while (a[first]) first++;
  while (b[second]) second++;
  const Guide **both = arena_array(arena, const Guide *, first + second + 1);
  memcpy(both, a, (size_t)first * sizeof *both);
  memcpy(both + first, b, (size_t)second * sizeof *both);
  return both;
}

Sampler *model_sampler(Arena *arena, const Model *m, const SamplerSpec *given, double guidance,
                       Error *error) {
  SamplerSpec spec = *given;
  if (m->def->bounded) spec.clip = true, spec.low = -1, spec.high = 1;
  /* guides that the kind brings along: labels, given states */
  const Guide *const *own = m->def->guides ? m->def->guides(arena, m, guidance) : NULL;
  spec.guides = join_guides(arena, own, given->guides);
  return sampler_new(arena, &spec, m->denoiser, error);
}

/* one part of the samples: as many as pass the loop together */
typedef struct {
  SamplerLoop *loop;
  int rows;
  real *x, *cond; /* [rows, row_stride(dim)], [rows, row_stride(cond)] or NULL */
  uint32_t *id;   /* [rows] */
} Part;

/* one loop and its buffers, used for part after part */
static bool part_new(Part *p, Arena *arena, const Model *m, const ModelSampling *how, int rows,
                     Error *error) {
  Sampler *sampler = model_sampler(arena, m, &how->sampler, how->guidance, error);
  if (!sampler) return false;
  SamplerLoopSpec loop = { .graph = { .seed = how->seed,
                                      .pool = how->pool,
                                      .kernels = how->kernels,
                                      .conv = how->conv,
                                      .max_rows = rows,
                                      .group = m->def->group,
                                      .lane = m->def->lane },
                           .stream = m->def->stream,
                           .k = 1,
                           .cond = m->cond };
  *p = (Part){ .rows = rows };
  p->loop = sampler_loop_new(arena, sampler, m->denoiser, model_weights(m), &loop);
  sampler_loop_watch(p->loop, how->watch, how->watch_user);
  p->x = arena_array(arena, real, rows * row_stride(m->denoiser->dim));
  p->cond = m->cond ? arena_array(arena, real, rows * row_stride(m->cond)) : NULL;
  p->id = arena_array(arena, uint32_t, rows);
  return true;
}

bool model_sample(const Model *m, const ModelSampling *how, int count, const ModelRows *rows,
                  Error *error) {
  Arena *arena = arena_under(m->arena);
  int most = count < m->def->chunk ? count : m->def->chunk;
  int ld = row_stride(m->denoiser->dim), cond_ld = row_stride(m->cond);
  Part part;
  bool going = part_new(&part, arena, m, how, most, error);
  /* noise goes by a sample's number, so the size of parts changes nothing */
  for (int from = 0; from < count && going; from += most) {
    int now = count - from < most ? count - from : most;
    going = !how->going || how->going(from, count) ||
            error_set(error, FAIL_RUNNING, "stopped after %d of %d samples", from, count);
    if (!going) break;
    progress_at(how->progress, from, count);
    /* what is known before: conditions and the number of the sample */
    for (int i = 0; i < now; i++) {
      part.id[i] = (uint32_t)(from + i);
      if (part.cond) rows->given(rows->user, from + i, part.cond + i * cond_ld);
    }
    sampler_loop_run(part.loop, now, 0, part.id, part.cond, part.x, false);
    for (int i = 0; i < now; i++) rows->take(rows->user, from + i, part.x + i * ld);
  }
  arena_free(arena);
  return going;
}

/* ---- what kinds share ------------------------------------------------------------------------ */

TimeInput model_time_input(const char *name) {
  return !strcmp(name, "own") ? TIME_OWN : *name == 't' ? TIME_THOUSANDS : TIME_LOG_SIGMA;
}

int model_read_mults(const char *text, int *mults, int most, int greatest, Error *error) {
  const char *rest = text;
  char *end;
  for (int count = 0; count < most; rest = end + 1) {
    long mult = strtol(rest, &end, 10);
    if (end == rest || mult < 1 || mult > greatest) break;
    /* the list ends here, goes on behind a comma, or is none */
    mults[count++] = (int)mult;
    if (!*end) return count;
    if (*end != ',') break;
  }
  error_set(error, FAIL_USAGE,
            "mults=%s: expected 1 to %d whole numbers from 1 to %d with commas between them, like "
            "1,2,4",
            text, most, greatest);
  return 0;
}
