/* points.c -- a network of two numbers, and its student. */
#include "policy/models/points.h"
#include "diffusion/consistency.h"
#include "policy/nets/denoiser_residual.h"
#include <math.h>
#include <string.h>

#define CONFIG_STRUCT PointsModel
static const ConfigField fields[] = { CONFIG_ROWS(POINTS_FIELDS) };
#undef CONFIG_STRUCT

double points_start(const Schedule *s) {
  /* 0: the end of the schedule, where it still shows data; else where noise is 80 times as large */
  return schedule_a(s, s->t_max) > 1e-9 ? 0 : schedule_time(s, -log(80));
}

/* A consistency model is its teacher's network, asked in another way. */
static void add_teacher(PointsModel *m) {
  Model *base = &m->base;
  /* the teacher's weights are a block beside the student's, so that a checkpoint holds both */
  m->teacher = base->denoiser;
  m->taught = blocks_add(&base->blocks, params_twin(base->online, "teacher"));
  base->denoiser = consistency_denoiser(base->arena, m->teacher);
  base->start = points_start(base->schedule);
}

/* Can the model's own sampler begin at this time (0: the last)? */
static bool begins_at(const Model *base, double start) {
  Arena *scratch = arena_under(base->arena);
  SamplerSpec spec = model_sampling(base).sampler;
  Error ignored;
  spec.from = start;
  bool made = model_sampler(scratch, base, &spec, 1, &ignored) != NULL;
  arena_free(scratch);
  return made;
}

static bool network(Model *base, Error *error) {
  PointsModel *m = (PointsModel *)base;
  VectorSpec spec = { .schedule = base->schedule,
                      .predicts = denoiser_prediction(m->predicts.s),
                      .time = model_time_input(m->time.s),
                      .data_std = 1, /* of every set, by construction */
                      .dim = TOY_DIM,
                      .hidden = (int)m->hidden,
                      .blocks = (int)m->blocks,
                      .octaves = (int)m->octaves };
  /* an unknown embedding is refused before the network is made */
  if (!time_find(m->embedding.s, &spec.embedding, error)) return false;
  bool residual = !strcmp(m->net.s, "residual");
  base->denoiser =
      (residual ? vector_residual_new : vector_mlp_new)(base->arena, base->online, &spec);
  if (!strcmp(m->distill.s, "consistency")) add_teacher(m);
  /* its own sampler may be one that cannot begin where no signal is left */
  if (!base->start && !begins_at(base, 0) && begins_at(base, points_start(base->schedule)))
    base->start = points_start(base->schedule);
  return true;
}

/* A student learns from the weights that sample, and begins there. */
static void begin(Model *base, const Model *from) {
  params_copy(base->online, model_weights(from));
  /* a teacher beside the student stays as it began */
  params_copy(base->average, base->online);
  Params *taught = ((PointsModel *)base)->taught;
  if (taught) params_copy(taught, base->online);
}

const ModelDef model_points = {
  .kind = "points",
  .trained_by = "toy",
  .use = "`diffrl sample` samples it",
  .mark = "toy",
  .text = "model",
  .block = "denoiser",
  .stream = "sample",
  .fields = fields,
  .field_count = sizeof fields / sizeof *fields,
  .size = sizeof(PointsModel),
  .network_keys = "net hidden blocks octaves embedding time schedule diffusion_steps predicts",
  .network = network,
  .begin = begin,
  .most_stages = 2000,
  .chunk = 4096,
  .group = 512,
  .lane = 64,
};

static void take_point(void *user, int i, const real *x) {
  double *point = (double *)user + (ptrdiff_t)i * TOY_DIM;
  for (int j = 0; j < TOY_DIM; j++) point[j] = (double)x[j];
}

bool points_sample(const Model *model, const ModelSampling *how, int count, double *points,
                   Error *error) {
  const ModelRows rows = { .take = take_point, .user = points };
  return model_sample(model, how, count, &rows, error);
}
