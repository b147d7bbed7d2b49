/* langevin.c -- one move, repeated: on a ladder of levels, or between the steps of a sampler. */
#include "diffusion/langevin.h"
#include "diffusion/grid.h"
#include <math.h>

/* ---- ladders --------------------------------------------------------------------------------- */

/* The log-density of noisy data curves down by 1/s^2 at most, where a move is x (1 - h / s^2). */
static bool check_stable(double eps, const Level *last, Error *error) {
  double most = 4 * last->s * last->s;
  if (eps > 0 && eps < most) return true;
  return error_set(error, FAIL_USAGE,
                   "Langevin steps of eps = %g where the last level has s = %g: choose more than 0 "
                   "and less than 4 s^2 = %g, beyond which the dynamics blow up",
                   eps, last->s, most);
}

Rung *langevin_ladder(Arena *arena, const Schedule *schedule, const LadderSpec *spec, int *count,
                      Error *error) {
  int levels = spec->levels ? spec->levels : schedule->steps;
  int repeats = spec->repeats ? spec->repeats : 100;
  double eps = spec->eps != 0 ? spec->eps : 2e-5;
  if (levels < 1 || repeats < 0) {
    error_set(error, FAIL_USAGE, "a ladder of %d levels with %d moves each: 1 or more of both",
              levels, repeats);
    return NULL;
  }
  if (schedule->steps && levels > schedule->steps) {
    error_set(error, FAIL_USAGE, "a ladder of %d levels; schedule %s has %d", levels,
              schedule->def->name, schedule->steps);
    return NULL;
  }
  double *times = arena_array(arena, double, levels);
  if (!grid_times(schedule, spec->spacing, 0, levels, times, error)) return NULL;
  Level last = schedule_level(schedule, times[levels - 1]);
  if (!check_stable(eps, &last, error)) return NULL;
  Rung *rung = arena_array(arena, Rung, levels);
  for (int i = 0; i < levels; i++) {
    double ratio = schedule_s(schedule, times[i]) / last.s;
    rung[i] = (Rung){ .time = times[i], .step = 0.5 * eps * ratio * ratio, .repeats = repeats };
  }
  return *count = levels, rung;
}

/* ---- one move -------------------------------------------------------------------------------- */

struct Langevin {
  Field *score;
  Rng stream;
  int dim;
  double temperature;
  double *time, *drift, *z; /* [max_rows], [max_rows, dim], [dim] */
};

/* h: given, or as 2 alpha (r |z| / |score|)^2 up to `most` */
typedef struct {
  double time, step, alpha, snr, most;
} Move;

Langevin *langevin_new(Arena *arena, const Denoiser *denoiser, const Params *params,
                       const LangevinSpec *spec, Error *error) {
  if (!(spec->temperature >= 0)) {
    error_set(error, FAIL_USAGE, "Langevin dynamics want a temperature of 0 (no change) or more");
    return NULL;
  }
  Langevin *l = arena_alloc(arena, sizeof *l);
  const FieldSpec field = {
    .graph = spec->graph, .wanted = PREDICTS_SCORE, .cond = spec->cond, .guides = spec->guides
  };
  l->score = field_new(arena, denoiser, params, &field, error);
  if (!l->score) return NULL;
  l->stream = rng_stream(spec->graph.seed, spec->stream);
  l->dim = denoiser->dim, l->temperature = spec->temperature > 0 ? spec->temperature : 1;
  l->time = arena_array(arena, double, spec->graph.max_rows);
  l->drift = arena_array(arena, double, spec->graph.max_rows * l->dim);
  l->z = arena_array(arena, double, l->dim);
  return l;
}

static void ask_score(Langevin *l, double time, const LangevinRows *who, const double *x) {
  for (int r = 0; r < who->rows; r++) l->time[r] = time;
  field_samples(l->score,
                &(FieldSamples){ .cond = who->cond, .row_ids = who->row_ids, .step = who->step });
  field_at(l->score, who->rows, NULL, l->time, x, l->drift, NULL);
}

static double square_norm(const double *x, int n) {
  double sum = 0;
  for (int j = 0; j < n; j++) sum += x[j] * x[j];
  return sum;
}

static double step_of(const Move *move, const double *z, const double *score, int dim) {
  if (move->step > 0) return move->step;
  double r = move->snr, score2 = square_norm(score, dim);
  double h = 2 * move->alpha * r * r * square_norm(z, dim) / score2;
  return score2 > 0 && h < move->most ? h : move->most;
}

/* the `count`-th move of a run */
static void move_all(Langevin *l, const Move *move, uint32_t count, const LangevinRows *who,
                     double *x) {
  int dim = l->dim;
  ask_score(l, move->time, who, x);
  for (int r = 0; r < who->rows; r++, x += dim) {
    const double *score = l->drift + (ptrdiff_t)r * dim;
    uint32_t row = who->row_ids ? who->row_ids[r] : (uint32_t)r;
    for (int j = 0; j < dim; j++)
      l->z[j] = rng_normal(l->stream, who->step, row, count * (uint32_t)dim + (uint32_t)j);
    double h = step_of(move, l->z, score, dim), noise = l->temperature * sqrt(2 * h);
    for (int j = 0; j < dim; j++) x[j] += h * score[j] + noise * l->z[j];
  }
}

void langevin_run(Langevin *l, const Rung *rung, int rungs, const LangevinRows *who, double *x) {
  uint32_t count = 0;
  for (int i = 0; i < rungs; i++)
    for (int j = 0; j < rung[i].repeats; j++)
      move_all(l, &(Move){ .time = rung[i].time, .step = rung[i].step }, count++, who, x);
}

void langevin_denoise(Langevin *l, double time, const LangevinRows *who, double *x) {
  Level level = schedule_level(field_schedule(l->score), time);
  ask_score(l, time, who, x);
  for (int i = 0; i < who->rows * l->dim; i++)
    x[i] = (x[i] + level.s * level.s * l->drift[i]) / level.a;
}

/* ---- predictor and corrector ----------------------------------------------------------------- */

struct Corrector {
  CorrectorSpec spec;
  const Sampler *sampler;
  SamplerLoop *loop;
  Langevin *langevin;
  int dim, ld;
  double *x;               /* [max_rows, dim] */
  const LangevinRows *who; /* of the run, */
  uint32_t moves;          /* and how many it has made */
};

static void to_double(const Corrector *c, const real *x) {
  for (int r = 0; r < c->who->rows; r++)
    for (int j = 0; j < c->dim; j++) c->x[r * c->dim + j] = (double)x[(ptrdiff_t)r * c->ld + j];
}
static void to_real(const Corrector *c, real *x) {
  for (int r = 0; r < c->who->rows; r++)
    for (int j = 0; j < c->dim; j++) x[(ptrdiff_t)r * c->ld + j] = (real)c->x[r * c->dim + j];
}

/* where the step of this stage leads: the level at which the next step asks, or the end */
static const Level *step_end(const Sampler *sampler, int stage) {
  for (int i = stage + 1; i < sampler->stages; i++)
    if (sampler->stage[i].evaluates && sampler->stage[i - 1].rebase) return &sampler->stage[i].at;
  return &sampler->end;
}

static void correct(void *user, int stage, real *x) {
  Corrector *c = user;
  const Level *at = &c->sampler->stage[stage].at;
  double keep = at->a / step_end(c->sampler, stage)->a;
  double alpha = keep * keep, r = c->spec.snr, s2 = at->s * at->s;
  Move move = { .time = at->time, .alpha = alpha, .snr = r, .most = s2 };
  if (c->spec.norms == NORMS_EXPECTED) move.step = 2 * alpha * r * r * s2;
  to_double(c, x);
  for (int i = 0; i < c->spec.repeats; i++) move_all(c->langevin, &move, c->moves++, c->who, c->x);
  to_real(c, x);
}

static bool check(const CorrectorSpec *spec, const SamplerLoopSpec *loop, Error *error) {
  const char *wrong = NULL;
  if (spec->repeats < 0)
    wrong = "moves of 0 (one) or more";
  else if (!(spec->snr >= 0 && spec->snr < 1))
    wrong = "a signal-to-noise ratio of its step of 0 (0.16) up to 1";
  else if (loop->k != 1)
    wrong = "one sample a row";
  return !wrong || error_set(error, FAIL_USAGE, "the corrector wants %s", wrong);
}

Corrector *corrector_new(Arena *arena, const Sampler *sampler, const Denoiser *denoiser,
                         const Params *params, const CorrectorSpec *spec,
                         const SamplerLoopSpec *loop, Error *error) {
  if (!check(spec, loop, error)) return NULL;
  Corrector *c = arena_alloc(arena, sizeof *c);
  *c = (Corrector){ .spec = *spec, .sampler = sampler, .dim = denoiser->dim };
  if (!spec->repeats) c->spec.repeats = 1;
  if (spec->snr == 0) c->spec.snr = 0.16;
  const LangevinSpec langevin = { .graph = loop->graph,
                                  .stream = arena_text(arena, "%s corrector", loop->stream),
                                  .cond = loop->cond,
                                  .temperature = sampler->spec.temperature,
                                  .guides = sampler->spec.guides };
  c->langevin = langevin_new(arena, denoiser, params, &langevin, error);
  if (!c->langevin) return NULL;
  for (int i = 0; i < sampler->stages; i++)
    if (sampler->stage[i].evaluates &&
        !field_tells(c->langevin->score, sampler->stage[i].at.time, error))
      return NULL;
  c->loop = sampler_loop_new(arena, sampler, denoiser, params, loop);
  sampler_loop_correct(c->loop, correct, c);
  c->ld = row_stride(c->dim);
  c->x = arena_array(arena, double, loop->graph.max_rows * c->dim);
  return c;
}

void corrector_run(Corrector *c, const LangevinRows *who, real *x, bool from_x) {
  c->who = who, c->moves = 0;
  sampler_loop_run(c->loop, who->rows, who->step, who->row_ids, who->cond, x, from_x);
  if (!c->spec.denoise || !(c->sampler->end.s > 0)) return;
  to_double(c, x);
  langevin_denoise(c->langevin, c->sampler->end.time, who, c->x);
  to_real(c, x);
}
