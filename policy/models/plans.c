/* plans.c -- the model, its file and its plans. */
#include "policy/models/plans.h"
#include "core/check.h"
#include "policy/nets/denoiser_temporal.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CONFIG_STRUCT DiffuserShape
static const ConfigField shape_fields[] = { CONFIG_ROWS(DIFFUSER_MODEL_FIELDS)
                                                CONFIG_ROWS(DIFFUSER_DATA_FIELDS) };
#undef CONFIG_STRUCT
enum { SHAPE_FIELDS = sizeof shape_fields / sizeof *shape_fields };
enum { MOST_NUMBERS = 4096 }; /* of a plan: as a sampler draws them */

/* ---- building -------------------------------------------------------------------------------- */

/* "1,2,4,8" */
static bool read_mults(const char *text, TemporalSpec *spec, Error *error) {
  const char *rest = text;
  for (char *end; spec->levels < TEMPORAL_MAX_LEVELS; rest = end + 1) {
    long mult = strtol(rest, &end, 10);
    if (end == rest || mult < 1 || mult > PLANE_MAX_CHANNELS) break;
    spec->mults[spec->levels++] = (int)mult;
    if (!*end) return true;
    if (*end != ',') break;
  }
  return error_set(error, FAIL_USAGE,
                   "mults=%s: expected 1 to %d whole numbers with commas between them, like "
                   "1,2,4,8",
                   text, TEMPORAL_MAX_LEVELS);
}

static bool check_sampler(const DiffuserModel *m, Error *error) {
  Arena *scratch = arena_new();
  SamplerSpec spec = diffuser_sampler(m);
  bool fine = sampler_new(scratch, &spec, m->denoiser, error) != NULL;
  arena_free(scratch);
  return fine;
}

static bool plan_fits(const DiffuserShape *s, Error *error) {
  int64_t width = s->obs_dim + s->act_dim;
  return s->horizon * width <= MOST_NUMBERS ||
         error_set(error, FAIL_USAGE,
                   "plans of %d steps of %d numbers; expected at most %d numbers in all",
                   (int)s->horizon, (int)width, MOST_NUMBERS);
}

/* all but its numbers: slots are declared, nothing is allocated for them */
static DiffuserModel *declare(Arena *arena, const DiffuserShape *shape, Error *error) {
  if (!plan_fits(shape, error)) return NULL;
  DiffuserModel *m = arena_alloc(arena, sizeof *m);
  m->shape = *shape, m->horizon = (int)shape->horizon;
  m->obs_dim = (int)shape->obs_dim, m->act_dim = (int)shape->act_dim;
  m->width = m->act_dim + m->obs_dim;
  m->normalizer = normalizer_new(arena, m->width);
  m->low = arena_array(arena, float, m->act_dim), m->high = arena_array(arena, float, m->act_dim);
  for (int j = 0; j < m->act_dim; j++) m->low[j] = -INFINITY, m->high[j] = INFINITY;
  TemporalSpec spec = { .vector = { .predicts = denoiser_prediction(shape->predicts.s),
                                    .embedding = TIME_DDPM,
                                    .dim = m->horizon * m->width,
                                    .hidden = (int)shape->hidden },
                        .horizon = m->horizon,
                        .width = m->width,
                        .groups = (int)shape->groups,
                        .attention = shape->attention };
  ScheduleSpec noise = { .name = shape->schedule.s, .steps = (int)shape->diffusion_steps };
  spec.vector.schedule = m->schedule = schedule_new(arena, &noise, error);
  if (!m->schedule || !read_mults(shape->mults.s, &spec, error) || !temporal_fits(&spec, error) ||
      !time_fits(TIME_DDPM, (int)shape->hidden, error))
    return NULL;
  if (!m->schedule->def->discrete) spec.vector.time = TIME_THOUSANDS;
  m->online = params_new(arena, "denoiser");
  m->denoiser = temporal_new(arena, m->online, &spec);
  return check_sampler(m, error) ? m : NULL;
}

static DiffuserModel *allocate(DiffuserModel *m) {
  params_allocate(m->online);
  m->average = params_clone(m->online, "denoiser_ema");
  return m;
}

DiffuserModel *diffuser_new(Arena *arena, const DiffuserShape *shape, Error *error) {
  DiffuserModel *m = declare(arena, shape, error);
  return m ? allocate(m) : NULL;
}

/* ---- the file -------------------------------------------------------------------------------- */

void diffuser_save_shape(const DiffuserModel *m, Checkpoint *c) {
  JsonText text = { 0 };
  Config config = { .fields = shape_fields,
                    .count = SHAPE_FIELDS,
                    .values = (void *)(uintptr_t)&m->shape };
  json_open(&text, NULL, '{');
  config_write(&config, &text);
  json_close(&text, '}');
  checkpoint_add_text(c, "diffuser", text.text);
  json_text_free(&text);
  const int64_t width = m->width, actions = m->act_dim;
  checkpoint_add(c, "normalizer/mean", CHECKPOINT_F32, 1, &width, m->normalizer.mean);
  checkpoint_add(c, "normalizer/std", CHECKPOINT_F32, 1, &width, m->normalizer.std);
  checkpoint_add(c, "action_low", CHECKPOINT_F32, 1, &actions, m->low);
  checkpoint_add(c, "action_high", CHECKPOINT_F32, 1, &actions, m->high);
}

void diffuser_save(const DiffuserModel *m, Checkpoint *c) {
  diffuser_save_shape(m, c);
  params_save(m->online, c), params_save(m->average, c);
}

static bool read_vector(const Checkpoint *c, const char *name, float *to, int n, Error *error) {
  const CheckpointTensor *t = checkpoint_tensor(c, name);
  if (!t || t->type != CHECKPOINT_F32 || t->rank != 1 || t->shape[0] != n)
    return error_set(error, FAIL_INPUT, "%s: expected %d numbers of float32", name, n);
  memcpy(to, t->data, (size_t)n * sizeof *to);
  return true;
}

/* bounds are not in the files of the first days */
static bool read_vectors(DiffuserModel *m, const Checkpoint *c, Error *error) {
  if (!read_vector(c, "normalizer/mean", m->normalizer.mean, m->width, error) ||
      !read_vector(c, "normalizer/std", m->normalizer.std, m->width, error))
    return false;
  return !checkpoint_tensor(c, "action_low") ||
         (read_vector(c, "action_low", m->low, m->act_dim, error) &&
          read_vector(c, "action_high", m->high, m->act_dim, error));
}

bool diffuser_read(DiffuserModel *m, const Checkpoint *c, Error *error) {
  return read_vectors(m, c, error) && params_load(m->online, c, error) &&
         params_load(m->average, c, error);
}

static bool read_shape(const Checkpoint *c, DiffuserShape *shape, Error *error) {
  const char *text = checkpoint_text(c, "diffuser");
  if (!text)
    return error_set(
        error, FAIL_INPUT,
        "no \"diffuser\" in the metadata: not a model made by `diffrl train diffuser`");
  Config config;
  config_init(&config, shape_fields, SHAPE_FIELDS, shape);
  Json *json = json_parse(text, strlen(text), error);
  bool read = json && config_read(&config, json, "checkpoint", error);
  json_free(json);
  if (!read) error->kind = FAIL_INPUT;
  return read;
}

/* as files hold it, without padding */
static int64_t dense_size(const Params *p) {
  int64_t size = 0;
  for (int i = 0; i < p->layout->slots; i++) {
    const Slot *slot = &p->layout->slot[i];
    size += (int64_t)slot->e * slot->rows * slot->n;
  }
  return size;
}

/* a short file cannot ask for much memory */
static bool holds(const Checkpoint *c, int64_t numbers, Error *error) {
  int64_t held = checkpoint_numbers(c);
  return held >= numbers ||
         error_set(error, FAIL_INPUT,
                   "the file holds %lld numbers, a network of its shape has %lld", (long long)held,
                   (long long)numbers);
}

/* as declared, of a file that holds enough numbers for it */
static DiffuserModel *declare_held(Arena *arena, const Checkpoint *c, Error *error) {
  DiffuserShape shape;
  DiffuserModel *m = read_shape(c, &shape, error) ? declare(arena, &shape, error) : NULL;
  if (m && holds(c, dense_size(m->online), error)) return m;
  error->kind = FAIL_INPUT;
  return NULL;
}

/* Two blocks of numbers, packed or filtered copies, values of a row at every level; nodes. */
bool diffuser_read_bytes(const Checkpoint *c, size_t *bytes, Error *error) {
  Arena *scratch = arena_new();
  const DiffuserModel *m = declare_held(scratch, c, error);
  if (m) {
    size_t numbers = m->online->layout->size, steps = 64 * (size_t)m->horizon;
    size_t values = 4 * steps * (size_t)(m->width + m->shape.hidden) * TEMPORAL_MAX_LEVELS;
    *bytes = ((size_t)1 << 28) + 4 * (8 * numbers + values) * sizeof(real);
  }
  arena_free(scratch);
  return m != NULL;
}

DiffuserModel *diffuser_load_shape(Arena *arena, const Checkpoint *c, Error *error) {
  DiffuserModel *m = declare_held(arena, c, error);
  return m && read_vectors(allocate(m), c, error) ? m : NULL;
}

DiffuserModel *diffuser_load(Arena *arena, const Checkpoint *c, Error *error) {
  DiffuserModel *m = diffuser_load_shape(arena, c, error);
  return m && diffuser_read(m, c, error) ? m : NULL;
}

bool diffuser_begin(DiffuserModel *m, const Checkpoint *c, Error *error) {
  Arena *scratch = arena_new();
  const DiffuserModel *other = diffuser_load(scratch, c, error);
  Config config = { .fields = shape_fields, .count = SHAPE_FIELDS, .values = &m->shape };
  const char *key;
  bool fine = other && (config_equal(&config, &other->shape, &key) ||
                        error_set(error, FAIL_USAGE, "its %s is another one", key));
  fine = fine && diffuser_read(m, c, error);
  arena_free(scratch);
  return fine;
}

/* ---- plans ----------------------------------------------------------------------------------- */

const Params *diffuser_weights(const DiffuserModel *m) {
  return strcmp(m->shape.weights.s, "ema") ? m->online : m->average;
}

SamplerSpec diffuser_sampler(const DiffuserModel *m) {
  return (SamplerSpec){ .method = m->shape.sampler.s, .steps = (int)m->shape.sample_steps };
}

Tensor *diffuser_keep(const DiffuserModel *m, Graph *g) {
  double *keep = arena_array(graph_arena(g), double, m->denoiser->dim);
  for (int j = 0; j < m->obs_dim; j++) keep[m->act_dim + j] = 1;
  return t_table(g, keep, 1, m->denoiser->dim);
}

static Tensor *zeros(Graph *g, int n) {
  return t_table(g, arena_array(graph_arena(g), double, n), 1, n);
}

/* the condition is s_0, normalised */
static Known first_state(const void *user, const Asking *a) {
  const DiffuserModel *m = user;
  int rest = m->denoiser->dim - m->width;
  Tensor *step = t_concat(zeros(a->g, m->act_dim), a->cond);
  return (Known){ diffuser_keep(m, a->g), t_concat(step, zeros(a->g, rest)) };
}

const Guide *diffuser_guide(Arena *arena, const DiffuserModel *m) {
  return guide_known(arena, &(KnownGuide){ .find = first_state, .user = m, .clean = true });
}

enum { CHUNK = 64, LANE = 16 }; /* plans at once, and through the cache together */

static SamplerLoop *loop_new(Arena *arena, const DiffuserModel *m, const DiffuserSampling *how,
                             int rows, Error *error) {
  const Guide **guides = arena_array(arena, const Guide *, 2);
  guides[0] = diffuser_guide(arena, m);
  SamplerSpec spec = how->sampler;
  spec.guides = guides;
  const Sampler *sampler = sampler_new(arena, &spec, m->denoiser, error);
  SamplerLoopSpec loop = { .graph = { .seed = how->seed,
                                      .pool = how->pool,
                                      .kernels = how->kernels,
                                      .conv = how->conv,
                                      .max_rows = rows,
                                      .group = LANE },
                           .stream = "plan",
                           .k = 1,
                           .cond = m->obs_dim };
  return sampler ? sampler_loop_new(arena, sampler, m->denoiser, diffuser_weights(m), &loop) : NULL;
}

/* one plan into the data's units; s_0 as it was given, without rounding there and back */
static void put_plan(const DiffuserModel *m, const real *x, const real *known, const float *first,
                     float *plan) {
  for (int j = 0; j < m->obs_dim; j++)
    CHECK(x[m->act_dim + j] == known[j], "plan: s_0[%d] is %g, not %g", j,
          (double)x[m->act_dim + j], (double)known[j]);
  for (int t = 0; t < m->horizon; t++)
    normalizer_invert(&m->normalizer, x + t * m->width, plan + t * m->width);
  memcpy(plan + m->act_dim, first, (size_t)m->obs_dim * sizeof *first);
}

bool diffuser_plan(const DiffuserModel *m, const DiffuserSampling *how, int count,
                   const float *first, float *plans, Error *error) {
  Arena *arena = arena_new();
  int rows = count < CHUNK ? count : CHUNK, size = m->denoiser->dim;
  int ld = row_stride(size), cond_ld = row_stride(m->obs_dim);
  SamplerLoop *loop = loop_new(arena, m, how, rows, error);
  if (!loop) return arena_free(arena), false;
  const Normalizer state = { m->obs_dim, m->normalizer.mean + m->act_dim,
                             m->normalizer.std + m->act_dim };
  real *x = arena_array(arena, real, rows * ld), *cond = arena_array(arena, real, rows * cond_ld);
  uint32_t *id = arena_array(arena, uint32_t, rows);
  for (int from = 0; from < count; from += rows) {
    int now = count - from < rows ? count - from : rows;
    for (int i = 0; i < now; i++) {
      id[i] = (uint32_t)(from + i);
      normalizer_apply(&state, first + (ptrdiff_t)(from + i) * m->obs_dim, cond + i * cond_ld);
    }
    sampler_loop_run(loop, now, 0, id, cond, x, false);
    for (int i = 0; i < now; i++)
      put_plan(m, x + i * ld, cond + i * cond_ld, first + (ptrdiff_t)(from + i) * m->obs_dim,
               plans + (ptrdiff_t)(from + i) * size);
  }
  arena_free(arena);
  return true;
}
