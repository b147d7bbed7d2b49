/* compare_samplers.c -- every sampler with every budget of questions to the network. */
#include "diffusion/method.h"
#include "core/file.h"
#include "rl/measure/compare_samplers.h"
#include <math.h>
#include <string.h>

static const int budgets[] = { 4, 8, 14, 26, 50 };
enum {
  BUDGETS = sizeof budgets / sizeof *budgets,
  POINTS = 2048,
  DRAWS = 1,
  REFERENCE_STEPS = 300
};

/* ---- the exact score of gmm ------------------------------------------------------------------ */

/* Asks no network: eps = -s grad ln p(x; a, s), a function of x and the schedule's time. */
typedef struct {
  Denoiser base; /* first: an ExactDenoiser is a Denoiser */
  Call call;
} ExactDenoiser;

static void exact_eps(void *user, const CallSamples *c) {
  const Schedule *schedule = user;
  for (int i = 0; i < c->count; i++) {
    const real *x = c->x + i * c->x_stride;
    Level l = schedule_level(schedule, (double)c->time[i * c->time_stride]);
    double at[TOY_DIM] = { (double)x[0], (double)x[1] }, score[TOY_DIM];
    toy_gmm_log_density(at, l.a, l.s, score);
    for (int d = 0; d < TOY_DIM; d++) c->out[i * c->out_stride + d] = (real)(-l.s * score[d]);
  }
}

static Tensor *exact_embed(const Denoiser *d, Graph *g, const Params *p, Tensor *t) {
  (void)d, (void)g, (void)p;
  return t;
}
static Tensor *exact_net(const Denoiser *d, Graph *g, const Params *p, Tensor *x, Tensor *h,
                         Tensor *cond) {
  (void)g, (void)p, (void)cond;
  return t_call(&((const ExactDenoiser *)d)->call, x, h, TOY_DIM);
}

static ExactDenoiser exact_denoiser(const Schedule *schedule) {
  return (ExactDenoiser){ .base = { .net = exact_net,
                                    .embed = exact_embed,
                                    .predicts = PREDICTS_EPS,
                                    .schedule = schedule,
                                    .dim = TOY_DIM },
                          .call = { exact_eps, (void *)(uintptr_t)schedule } };
}

/* ---- one sampler, one budget ----------------------------------------------------------------- */

typedef struct {
  const Model *model, *exact; /* exact: NULL where the score is not known */
  const ToyDef *data;
  const ModelSampling *how;
  const double *reference; /* with the exact score: where the ODE leads, [POINTS, 2] */
  double *points;          /* [POINTS, 2] */
  double floor;
  JsonText lines;
} Comparison;

/* The most steps that keep within the budget; 0 if the method cannot do this model. */
static int steps_of(const Model *m, SamplerSpec spec, int budget, int *evaluations) {
  Arena *scratch = arena_new();
  Error ignored;
  int most = m->schedule->steps ? m->schedule->steps - 1 : budget;
  for (spec.steps = budget < most ? budget : most; spec.steps > 0; spec.steps--) {
    ArenaMark mark = arena_mark(scratch);
    Sampler *sampler = sampler_new(scratch, &spec, m->denoiser, &ignored);
    *evaluations = sampler ? sampler->evaluations : 0;
    arena_reset(scratch, mark);
    if (!sampler) spec.steps = 1; /* not with fewer either */
    if (sampler && *evaluations <= budget) break;
  }
  arena_free(scratch);
  return spec.steps;
}

/* root mean square distance to where the ODE leads from the same noise */
static double strong_error(Comparison *c, const ModelSampling *how) {
  Error ignored;
  double sum = 0;
  if (!points_sample(c->exact, how, POINTS, c->points, &ignored)) return NAN;
  for (int i = 0; i < POINTS * TOY_DIM; i++) sum += pow(c->points[i] - c->reference[i], 2);
  return sqrt(sum / POINTS);
}

static bool compare(Comparison *c, const Method *method, int budget, int *before, Error *error) {
  int evaluations = 0;
  ModelSampling how = *c->how;
  how.sampler = (SamplerSpec){ .method = method->name, .spacing = c->how->sampler.spacing };
  how.sampler.from = points_start(c->model->schedule);
  if (method->needs & TAKES_ETA && method->noise > 0) how.sampler.eta = 1;
  how.sampler.steps = steps_of(c->model, how.sampler, budget, &evaluations);
  if (!how.sampler.steps || evaluations == *before) return true;
  *before = evaluations;
  double distance;
  if (!toy_distance(c->model, c->data, &how, POINTS, DRAWS, &distance, error)) return false;
  JsonText *out = &c->lines;
  json_open(out, NULL, '{');
  json_put_text(out, "sampler", method->name);
  json_put_integer(out, "steps", how.sampler.steps);
  json_put_integer(out, "evaluations", evaluations);
  json_put_number(out, "distance", distance);
  json_put_number(out, "floor", c->floor);
  if (c->exact && !(method->noise > 0)) json_put_number(out, "strong", strong_error(c, &how));
  json_close(out, '}');
  return true;
}

/* ---- all of them ----------------------------------------------------------------------------- */

/* The exact score has no consistency function and no variance of its own to be compared. */
static void prepare_exact(Comparison *c, Arena *arena) {
  const Model *m = c->model;
  if (strcmp(c->data->name, "gmm") || m->schedule->def->discrete) return;
  ExactDenoiser *exact = arena_alloc(arena, sizeof *exact);
  Model *copy = arena_alloc(arena, sizeof *copy);
  *exact = exact_denoiser(m->schedule);
  *copy = *m, copy->denoiser = &exact->base;
  ModelSampling how = *c->how;
  double *reference = arena_array(arena, double, POINTS *TOY_DIM);
  Error ignored;
  how.sampler =
      (SamplerSpec){ .method = "dpmpp_3m", .steps = REFERENCE_STEPS, .spacing = "lambda" };
  how.sampler.from = points_start(m->schedule);
  bool done = points_sample(copy, &how, POINTS, reference, &ignored);
  how.sampler.method = "rk4", how.sampler.spacing = NULL;
  if (done || points_sample(copy, &how, POINTS, reference, &ignored))
    c->exact = copy, c->reference = reference;
}

bool toy_compare_samplers(const Model *m, const ToyDef *data, const ModelSampling *how,
                          const char *path, Error *error) {
  Arena *arena = arena_new();
  Comparison c = { .model = m, .data = data, .how = how };
  c.floor = toy_floor(data, how->seed, POINTS);
  c.points = arena_array(arena, double, POINTS *TOY_DIM);
  prepare_exact(&c, arena);
  json_open(&c.lines, NULL, '[');
  size_t count;
  const Method *methods = method_list(&count);
  bool done = true;
  for (size_t i = 0; i < count; i++)
    for (int b = 0, before = 0; b < BUDGETS && done; b++)
      done = compare(&c, &methods[i], budgets[b], &before, error);
  json_close(&c.lines, ']');
  done = done && file_write(path, c.lines.text, c.lines.length, error);
  json_text_free(&c.lines);
  arena_free(arena);
  return done;
}
