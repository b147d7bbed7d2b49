/* compare_samplers.c -- every sampler with every budget of network evaluations. */
#include "diffusion/method.h"
#include "core/file.h"
#include "rl/measure/compare_samplers.h"
#include <math.h>
#include <string.h>

/* evaluations of the network, about twice as many from one to the next */
static const int budgets[] = { 4, 8, 14, 26, 50 };
enum {
  BUDGETS = sizeof budgets / sizeof *budgets,
  POINTS = 2048,
  DRAWS = 1,
  REFERENCE_STEPS = 300,
  MOST = 3 /* farther away than noise itself: would flatten the rest of a plot */
};

/* ---- the exact score of gmm ------------------------------------------------------------------ */

/* Asks no network: eps = -s grad ln p(x; a, s), a function of x and the schedule's time. */
typedef struct {
  Denoiser base; /* first: an ExactDenoiser is a Denoiser */
  Call call;
} ExactDenoiser;

/* In place of a network: each sample's noise estimate from the mixture's known score. */
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

/* No features of the time are needed: the call below takes the time itself. */
static Tensor *exact_embed(const Denoiser *d, Graph *g, const Params *p, Tensor *t) {
  (void)d, (void)g, (void)p;
  return t;
}
static Tensor *exact_net(const Denoiser *d, Graph *g, const Params *p, Tensor *x, Tensor *h,
                         Tensor *cond) {
  (void)g, (void)p, (void)cond;
  return t_call(&((const ExactDenoiser *)d)->call, x, h, TOY_DIM);
}

/* It looks like any other denoiser, so every sampler can be run on it unchanged. */
static ExactDenoiser exact_denoiser(const Schedule *schedule) {
  return (ExactDenoiser){ .base = { .net = exact_net,
                                    .embed = exact_embed,
                                    .predicts = PREDICTS_EPS,
                                    .schedule = schedule,
                                    .dim = TOY_DIM },
                          .call = { exact_eps, (void *)(uintptr_t)schedule } };
}

/* ---- one sampler, one budget ----------------------------------------------------------------- */

/* what one sampler does with one budget; distance: to data, strong: NAN without the exact score */
typedef struct {
  const char *sampler;
  int steps, evaluations;
  double distance, strong;
} Trial;

typedef struct {
  const Model *model, *exact; /* exact: NULL where the score is not known */
  const ToyDef *data;
  const ModelSampling *how;
  const double *reference; /* with the exact score: where the ODE leads, [POINTS, 2] */
  double *points;          /* [POINTS, 2] */
  double floor;
  Trial *trial; /* [methods * BUDGETS] */
  int trials;
} Comparison;

/* The most steps that keep within the budget; 0 if the method cannot do this model. */
static int steps_of(const Model *m, SamplerSpec spec, int budget, int *evaluations) {
  Arena *scratch = arena_new();
  Error ignored;
  /* no more steps than evaluations, and a discrete schedule has only so many times */
  int most = m->schedule->steps ? m->schedule->steps - 1 : budget;
  /* how many evaluations a step costs is known only once the table is filled */
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

/* One sampler with one budget: choose its steps, then measure what it samples. */
static bool compare(Comparison *c, const Method *method, int budget, int *before, Error *error) {
  int evaluations = 0;
  ModelSampling how = *c->how;
  how.sampler = (SamplerSpec){ .method = method->name, .spacing = c->how->sampler.spacing };
  /* all begin at the same time: the last one, or just before it if no signal is left there */
  how.sampler.from = points_start(c->model->schedule);
  /* an SDE method whose noise is a setting would be an ODE without it */
  if (method->needs & TAKES_ETA && method->noise > 0) how.sampler.eta = 1;
  how.sampler.steps = steps_of(c->model, how.sampler, budget, &evaluations);
  /* the method cannot do this model, or the larger budget buys not one evaluation more */
  if (!how.sampler.steps || evaluations == *before) return true;
  *before = evaluations;
  Trial *trial = &c->trial[c->trials];
  *trial = (Trial){ method->name, how.sampler.steps, evaluations, NAN, NAN };
  if (!points_distance(c->model, c->data, &how, POINTS, DRAWS, &trial->distance, error))
    return false;
  /* only a method without noise has one place where it should arrive */
  if (c->exact && !(method->noise > 0)) trial->strong = strong_error(c, &how);
  c->trials++;
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
  /* the reference: a solver of high order with far more steps than any budget */
  how.sampler =
      (SamplerSpec){ .method = "dpmpp_3m", .steps = REFERENCE_STEPS, .spacing = "lambda" };
  how.sampler.from = points_start(m->schedule);
  bool done = points_sample(copy, &how, POINTS, reference, &ignored);
  /* where that one cannot be used, a plain solver in time */
  how.sampler.method = "rk4", how.sampler.spacing = NULL;
  if (done || points_sample(copy, &how, POINTS, reference, &ignored))
    c->exact = copy, c->reference = reference;
}

/* ---- as plots -------------------------------------------------------------------------------- */

/* A sampler belongs to the first family whose prefix it begins with. */
static const struct {
  const char *prefix, *family;
} families[] = {
  { "ddim", "Ancestral steps and DDIM" },
  { "ddpm", "Ancestral steps and DDIM" },
  { "dpm_", "DPM-Solver, noise form" },
  { "dpmpp_", "DPM-Solver++ and UniPC, data form" },
  { "unipc", "DPM-Solver++ and UniPC, data form" },
  { "sde_dpm", "SDE forms of DPM-Solver" },
  { "ancestral", "The SDE in time" },
  { "sde_", "The SDE in time" },
  { "flow_sde", "The SDE in time" },
  { "reverse", "The SDE in time" },
  { "euler_m", "The SDE in time" },
  { "", "The probability-flow ODE in time" },
};
enum { FAMILIES = sizeof families / sizeof *families };

static const char *family_of(const char *sampler) {
  size_t i = 0;
  while (strncmp(sampler, families[i].prefix, strlen(families[i].prefix))) i++;
  return families[i].family;
}

/* What a file of plots shows, of the two numbers of a trial. */
typedef struct {
  const char *file, *title, *caption, *axis;
  bool strong; /* the error of the solver, not the distance to data */
} Shown;

static const Shown shown[] = {
  { "samplers.json", "Error against evaluations of the network",
    "Every sampler that can do this model, with 4 to 50 evaluations: sliced Wasserstein distance "
    "of 2048 samples to data, where it is below 3. Dashed: between two samples of data, the least "
    "that can be seen.",
    "distance to data", false },
  { "solvers.json", "Error of the solvers alone",
    "With the exact score of the mixture instead of the network: root mean square distance of "
    "each point to where the ODE leads from the same noise, for methods without noise.",
    "strong error", true },
};

static double value_of(const Shown *s, const Trial *t) {
  return s->strong ? t->strong : t->distance;
}

/* one member of every trial of a sampler: its evaluations, steps or value */
static void put_column(const Comparison *c, const Shown *s, const char *sampler, const char *key,
                       JsonText *out) {
  json_open(out, key, '[');
  for (int i = 0; i < c->trials; i++) {
    const Trial *t = &c->trial[i];
    if (strcmp(t->sampler, sampler)) continue;
    json_put_number(out, NULL,
                    *key == 'x'   ? t->evaluations
                    : *key == 's' ? t->steps
                                  : value_of(s, t));
  }
  json_close(out, ']');
}

/* Trials of a sampler follow one another, so the first of them stands for its curve. */
static bool is_first(const Comparison *c, int i) {
  return !i || strcmp(c->trial[i].sampler, c->trial[i - 1].sampler) != 0;
}

/* A curve for each sampler of the family that has the number shown. */
static void put_curves(const Comparison *c, const Shown *s, const char *family, JsonText *out) {
  json_open(out, "curves", '[');
  for (int i = 0; i < c->trials; i++) {
    const char *sampler = c->trial[i].sampler;
    if (!is_first(c, i) || strcmp(family_of(sampler), family) || isnan(value_of(s, &c->trial[i])))
      continue;
    json_open(out, NULL, '{');
    json_put_text(out, "name", sampler);
    put_column(c, s, sampler, "x", out), put_column(c, s, sampler, "y", out);
    put_column(c, s, sampler, "steps", out);
    json_close(out, '}');
  }
  json_close(out, ']');
}

/* A plot for each family, in the order in which the table first names it. */
static void put_plots(const Comparison *c, const Shown *s, JsonText *out) {
  json_open(out, "plots", '[');
  for (int f = 0; f < FAMILIES; f++) {
    int first = 0;
    /* a family of several prefixes is drawn once, at its first row */
    while (strcmp(families[first].family, families[f].family) != 0) first++;
    if (first < f) continue;
    json_open(out, NULL, '{');
    json_put_text(out, "title", families[f].family);
    json_put_text(out, "x", "evaluations of the network");
    json_put_text(out, "y", s->axis);
    json_put_bool(out, "log_scale", true);
    json_put_number(out, "most", MOST);
    /* the solvers' own error has no floor: it falls to zero */
    if (!s->strong) json_put_number(out, "reference", c->floor);
    if (!s->strong) json_put_text(out, "reference_label", "two samples of data");
    put_curves(c, s, families[f].family, out);
    json_close(out, '}');
  }
  json_close(out, ']');
}

/* The file describes itself, so that the report can draw it; then the run lists it. */
static bool write_plots(const Comparison *c, const Shown *s, Figures *figures, Error *error) {
  JsonText out = { 0 };
  json_open(&out, NULL, '{');
  put_plots(c, s, &out);
  json_close(&out, '}');
  bool done = file_write(figures_path(figures, s->file), out.text, out.length, error);
  json_text_free(&out);
  if (done) figures_add(figures, s->file, s->title, s->caption);
  return done;
}

bool toy_compare_samplers(const Model *m, const ToyDef *data, const ModelSampling *how,
                          Figures *figures, Error *error) {
  Arena *arena = arena_new();
  Comparison c = { .model = m, .data = data, .how = how };
  /* what even perfect samples would measure, and where the exact solution leads */
  c.floor = points_floor(data, how->seed, POINTS);
  c.points = arena_array(arena, double, POINTS *TOY_DIM);
  prepare_exact(&c, arena);
  size_t count;
  const Method *methods = method_list(&count);
  c.trial = arena_array(arena, Trial, count * BUDGETS);
  bool done = true;
  /* budgets ascend, so that each is compared with the smaller one before it */
  Progress progress;
  progress_begin(&progress, "samplers", "comparing");
  for (size_t i = 0; i < count; i++) {
    progress_at(&progress, (int64_t)i, (int64_t)count);
    for (int b = 0, before = 0; b < BUDGETS && done; b++)
      done = compare(&c, &methods[i], budgets[b], &before, error);
  }
  progress_end(&progress);
  done = done && write_plots(&c, &shown[0], figures, error) &&
         (!c.exact || write_plots(&c, &shown[1], figures, error));
  arena_free(arena);
  return done;
}
