/* loss.c -- the denoising loss: numbers of a row's noise level in double, the rest on the tape. */
#include "diffusion/loss.h"
#include "core/names.h"
#include "diffusion/guide.h"
#include <math.h>

/* ---- weightings ------------------------------------------------------------------------------ */

typedef struct {
  const char *name;
  Prediction of; /* PREDICTIONS: of the network's own output */
  double (*factor)(const Level *l, double gamma);
} Weighting;

static double snr(const Level *l) { return l->a * l->a / (l->s * l->s); }
static double variance(const Level *l, double gamma) { return (void)gamma, l->s * l->s; }
static double likelihood(const Level *l, double gamma) { return (void)gamma, level_g2(l); }
static double snr_plus_1(const Level *l, double gamma) { return (void)gamma, snr(l) + 1; }
static double truncated_snr(const Level *l, double gamma) { return (void)gamma, fmax(snr(l), 1); }
static double min_snr(const Level *l, double gamma) { return fmin(snr(l), gamma > 0 ? gamma : 5); }

static const Weighting weightings[] = {
  { "native", PREDICTIONS, NULL },
  { "simple", PREDICTS_EPS, NULL },
  { "x0", PREDICTS_X0, NULL },
  { "dsm", PREDICTS_SCORE, variance },
  { "likelihood", PREDICTS_SCORE, likelihood },
  { "snr+1", PREDICTS_X0, snr_plus_1 },
  { "truncated-snr", PREDICTS_X0, truncated_snr },
  { "min-snr", PREDICTS_X0, min_snr },
  { "edm", PREDICTS_EDM, NULL },
  { "flow", PREDICTS_VELOCITY, NULL },
};
enum { WEIGHTINGS = sizeof weightings / sizeof *weightings };

/* ---- times ----------------------------------------------------------------------------------- */

typedef struct {
  const char *name;
  bool normal;                                    /* drawn from N(mean, std^2), else from U[0, 1) */
  double mean, std;                               /* as published */
  double (*time)(const Schedule *s, double draw); /* NULL: the schedule's own, evenly */
} Times;

static double lambda_uniform(const Schedule *s, double u) {
  double noisy = schedule_lambda(s, s->t_max), clear = schedule_lambda(s, s->t_min);
  return schedule_time(s, noisy + u * (clear - noisy));
}
static double log_normal(const Schedule *s, double z) { return schedule_time(s, -z); }
static double logit_normal(const Schedule *s, double z) {
  double part = 1 / (1 + exp(-z));
  return s->def->discrete ? part * s->steps - 0.5 : s->t_min + part * (s->t_max - s->t_min);
}

static const Times times[] = {
  { "uniform", false, 0, 0, NULL },
  { "lambda", false, 0, 0, lambda_uniform },
  { "log-normal", true, -1.2, 1.2, log_normal },
  { "logit-normal", true, 0, 1, logit_normal },
};
enum { TIMES_LISTED = sizeof times / sizeof *times };

/* ---- making one ------------------------------------------------------------------------------ */

struct Loss {
  LossSpec spec;
  const Denoiser *denoiser;
  Weighting weighting;
  Times times;
  Bound *bound; /* or NULL */
};

const char *loss_weighting(size_t i) { return i < WEIGHTINGS ? weightings[i].name : NULL; }
const char *loss_times(size_t i) { return i < TIMES_LISTED ? times[i].name : NULL; }

/* |error of `of`|^2 = to_out^2 |error of the output|^2, since x is known */
double loss_weight(const Loss *loss, const Level *level) {
  const Denoiser *d = loss->denoiser;
  const Weighting *w = &loss->weighting;
  double factor = w->factor ? w->factor(level, loss->spec.gamma) : 1;
  if (w->of == d->predicts) return factor;
  double to_out = denoiser_form(d, w->of, level).to_out;
  return factor * to_out * to_out;
}

/* the numbers of a row's level: x, target, what the network is given, and the weight */
enum { A, S, P, Q, SCALE, TIME, WEIGHT, COLUMNS };

static void numbers(const Loss *loss, double t, double *n) {
  const Denoiser *d = loss->denoiser;
  Level l = schedule_level(d->schedule, t);
  Line target = prediction_line(d->predicts, &l, d->data_std);
  n[A] = l.a, n[S] = l.s, n[P] = target.p, n[Q] = target.q;
  n[SCALE] = denoiser_scale(d, &l), n[TIME] = denoiser_time(d, &l);
  n[WEIGHT] = loss_weight(loss, &l);
}

static bool check_levels(const Loss *loss, Error *error) {
  const Schedule *s = loss->denoiser->schedule;
  int count = s->def->discrete ? s->steps : 17;
  for (int i = 0; i < count; i++) {
    double n[COLUMNS];
    double t = s->def->discrete ? i : s->t_min + (s->t_max - s->t_min) * i / (count - 1);
    numbers(loss, t, n);
    for (int j = 0; j < COLUMNS; j++)
      if (!isfinite(n[j]))
        return error_set(error, FAIL_USAGE,
                         "loss %s of a network that predicts %s has %s at time %g of schedule %s; "
                         "choose another weighting or prediction",
                         loss->weighting.name, prediction_name(loss->denoiser->predicts),
                         j == WEIGHT ? "no finite weight"
                         : j == TIME ? "no finite time input"
                                     : "no finite target",
                         t, s->def->name);
  }
  if (loss->times.time == lambda_uniform && !isfinite(schedule_lambda(s, s->t_max)))
    return error_set(error, FAIL_USAGE,
                     "times lambda: schedule %s ends without signal, where lambda is infinite",
                     s->def->name);
  return true;
}

static bool check_spec(const LossSpec *spec, const Denoiser *d, Error *error) {
  if (!(spec->drop >= 0 && spec->drop < 1))
    return error_set(error, FAIL_USAGE,
                     "loss: the condition is dropped with probability %g; give "
                     "0 or more and less than 1",
                     spec->drop);
  if (!(spec->path_noise >= 0 && spec->std >= 0 && spec->gamma >= 0 && spec->vlb >= 0))
    return error_set(error, FAIL_USAGE, "loss: path_noise, std, gamma and vlb are 0 or more");
  if (spec->vlb > 0 && !(d->learns_variance && d->schedule->def->discrete))
    return error_set(error, FAIL_USAGE,
                     "loss: vlb trains variances; it needs a network that learns "
                     "them and a discrete schedule");
  return true;
}

Loss *loss_new(Arena *arena, const LossSpec *spec, const Denoiser *d, Error *error) {
  const Names *of_weight = NAMES(weightings, WEIGHTINGS, .what = "weighting");
  const Names *of_times = NAMES(times, TIMES_LISTED, .what = "distribution of times");
  int w = spec->weighting ? names_find(of_weight, spec->weighting, error) : 0;
  int t = spec->times ? names_find(of_times, spec->times, error) : 0;
  if (w < 0 || t < 0 || !check_spec(spec, d, error)) return NULL;
  Loss *loss = arena_alloc(arena, sizeof *loss);
  *loss = (Loss){ .spec = *spec, .denoiser = d, .weighting = weightings[w], .times = times[t] };
  loss->spec.bound.times = NULL; /* every n */
  if (loss->weighting.of == PREDICTIONS) loss->weighting.of = d->predicts;
  if (spec->std > 0) loss->times.mean = spec->mean, loss->times.std = spec->std;
  if (!check_levels(loss, error)) return NULL;
  if (spec->vlb > 0 && !(loss->bound = bound_new(arena, &loss->spec.bound, d, error))) return NULL;
  return loss;
}

/* ---- on the tape: a row's level -------------------------------------------------------------- */

static void time_run(const Lane *lane, const Tensor *y) {
  const Loss *loss = y->attr.p;
  const Schedule *s = loss->denoiser->schedule;
  int rows = lane_rows(lane, y) * y->k;
  const real *draw = lane_at(lane, y->in[0]);
  real *out = lane_at(lane, y);
  for (int i = 0; i < rows; i++, draw += y->in[0]->ld, out += y->ld) {
    double z = (double)*draw;
    if (loss->times.normal) z = loss->times.mean + loss->times.std * z;
    double t = fmin(fmax(loss->times.time(s, z), s->t_min), s->t_max);
    clear_padding(out, 0);
    *out = (real)(s->def->discrete ? floor(t + 0.5) : t);
  }
}
static const Op op_time = { .name = "time of a draw", .run = time_run };

static Tensor *draw_time(Graph *g, const Loss *loss, const char *name, int k) {
  const Schedule *s = loss->denoiser->schedule;
  if (loss->times.time) {
    Tensor *draw = loss->times.normal ? t_normal(g, name, k, 1) : t_uniform(g, name, k, 1);
    return record(g, &op_time, (Shape){ k, 1, 1 }, &(Recipe){ .in = { draw }, .attr.p = loss });
  }
  if (s->def->discrete) return t_index(g, name, k, s->steps);
  return t_shift(t_scale(s->t_max - s->t_min, t_uniform(g, name, k, 1)), s->t_min);
}

static void numbers_run(const Lane *lane, const Tensor *y) {
  int rows = lane_rows(lane, y) * y->k;
  const real *t = lane_at(lane, y->in[0]);
  real *out = lane_at(lane, y);
  for (int i = 0; i < rows; i++, t += y->in[0]->ld, out += y->ld) {
    double n[COLUMNS];
    numbers(y->attr.p, (double)*t, n);
    for (int j = 0; j < COLUMNS; j++) out[j] = (real)n[j];
    clear_padding(out, COLUMNS);
  }
}
static const Op op_numbers = { .name = "numbers of a level", .run = numbers_run };

/* what a row's network is shown, and the numbers that went into it */
typedef struct {
  Tensor *time, *n, *h, *eps, *x, *cond;
} Shown;

/* numbers and embedded times of a discrete schedule, by index */
static void look_up(Graph *g, const Loss *loss, const Params *params, Shown *shown) {
  const Denoiser *d = loss->denoiser;
  int steps = d->schedule->steps;
  double *table = arena_array(graph_arena(g), double, steps *COLUMNS);
  double *time = arena_array(graph_arena(g), double, steps);
  for (int n = 0; n < steps; n++) {
    numbers(loss, n, table + (ptrdiff_t)n * COLUMNS);
    time[n] = table[(ptrdiff_t)n * COLUMNS + TIME];
  }
  shown->n = t_gather(t_table(g, table, steps, COLUMNS), shown->time);
  shown->h = t_gather(d->embed(d, g, params, t_table(g, time, steps, 1)), shown->time);
}

static void compute(Graph *g, const Loss *loss, const Params *params, Shown *shown) {
  const Denoiser *d = loss->denoiser;
  Tensor *t = shown->time;
  Recipe recipe = { .in = { t }, .attr.p = loss };
  shown->n = record(g, &op_numbers, (Shape){ t->k, 1, COLUMNS }, &recipe);
  shown->h = d->embed(d, g, params, d->time == TIME_OWN ? t : t_col(shown->n, TIME));
}

/* ---- on the tape: the loss ------------------------------------------------------------------- */

/* 0 where the draw is below the probability, else 1 */
static void keeps_run(const Lane *lane, const Tensor *y) {
  int rows = lane_rows(lane, y) * y->k;
  const real *u = lane_at(lane, y->in[0]);
  real *out = lane_at(lane, y);
  for (int i = 0; i < rows; i++, u += y->in[0]->ld, out += y->ld) {
    clear_padding(out, 0);
    *out = (double)*u >= y->attr.c[0];
  }
}
static const Op op_keeps = { .name = "keeps", .run = keeps_run };

static Tensor *drop(Graph *g, double probability, const char *name, Tensor *cond, Tensor *null) {
  Recipe recipe = { .in = { t_uniform(g, name, cond->k, 1) }, .attr.c = { probability } };
  Tensor *keeps = record(g, &op_keeps, (Shape){ cond->k, 1, 1 }, &recipe);
  Tensor *kept = t_mul(cond, keeps);
  return null ? t_add(kept, t_mul(null, t_shift(t_scale(-1, keeps), 1))) : kept;
}

static Shown show(Graph *g, const Loss *loss, const Params *params, const char *stream,
                  const LossInputs *in) {
  const LossSpec *spec = &loss->spec;
  Arena *arena = graph_arena(g);
  int k = in->x0->k, dim = loss->denoiser->dim;
  Shown shown = { .time = in->time, .eps = in->eps, .cond = in->cond };
  if (!shown.time) shown.time = draw_time(g, loss, arena_text(arena, "%s time", stream), k);
  if (!shown.eps) shown.eps = t_normal(g, arena_text(arena, "%s noise", stream), k, dim);
  (loss->denoiser->schedule->def->discrete ? look_up : compute)(g, loss, params, &shown);
  shown.x = t_add(t_mul(in->x0, t_col(shown.n, A)), t_mul(shown.eps, t_col(shown.n, S)));
  if (spec->path_noise > 0) {
    Tensor *more = t_normal(g, arena_text(arena, "%s path", stream), k, dim);
    shown.x = t_mix(1, shown.x, spec->path_noise, more);
  }
  if (in->keep) shown.x = known_overwrite((Known){ in->keep, in->x0 }, shown.x);
  if (in->cond && spec->drop > 0)
    shown.cond = drop(g, spec->drop, arena_text(arena, "%s drop", stream), in->cond, in->null);
  return shown;
}

static Tensor *target_of(const Denoiser *d, const Shown *shown, Tensor *x0) {
  if (d->predicts == PREDICTS_X0) return x0;
  if (d->predicts == PREDICTS_EPS) return shown->eps;
  return t_add(t_mul(x0, t_col(shown->n, P)), t_mul(shown->eps, t_col(shown->n, Q)));
}

LossTerms loss_record(Graph *g, const Loss *loss, const Params *params, const char *stream,
                      const LossInputs *in) {
  const Denoiser *d = loss->denoiser;
  const Shown shown = show(g, loss, params, stream, in);
  Tensor *scaled = d->predicts == PREDICTS_EDM ? t_mul(shown.x, t_col(shown.n, SCALE)) : shown.x;
  Tensor *output = d->net(d, g, params, scaled, shown.h, shown.cond), *v = NULL;
  Tensor *weight = NULL;
  if (d->learns_variance) v = t_slice(output, d->dim, d->dim), output = t_slice(output, 0, d->dim);
  Tensor *error = t_sub(target_of(d, &shown, in->x0), output), *each = t_map(MAP_square, error);
  if (loss->weighting.factor || loss->weighting.of != d->predicts)
    each = t_mul(each, weight = t_col(shown.n, WEIGHT));
  if (in->factor) each = t_mul(each, in->factor);
  Tensor *rows = t_scale(1.0 / d->dim, t_sum_last(each)), *vlb = NULL;
  if (loss->bound) {
    double scale = loss->spec.vlb * d->schedule->steps / (d->dim * log(2));
    vlb = bound_term(loss->bound, shown.time, in->x0, shown.x, t_detach(output), v).nats;
    each = rows = t_mix(1, rows, scale, vlb);
  }
  if (in->weight) each = t_mul(rows, in->weight);
  return (LossTerms){ .loss = t_mean(each),
                      .rows = rows,
                      .time = shown.time,
                      .vlb = vlb,
                      .error = error,
                      .weight = weight };
}

Tensor *diffusion_loss(Graph *g, const Denoiser *d, const Params *params, const char *stream,
                       Tensor *x0, Tensor *cond) {
  Error error;
  Loss *loss = loss_new(graph_arena(g), &(LossSpec){ .weighting = "native" }, d, &error);
  CHECK(loss, "diffusion_loss: %s", error.text);
  return loss_record(g, loss, params, stream, &(LossInputs){ .x0 = x0, .cond = cond }).loss;
}
