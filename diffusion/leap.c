/* leap.c -- slices of stage tables as rows of a table on the tape. */
#include "diffusion/leap.h"
#include <math.h>
#include <string.h>

/* ---- columns of the table -------------------------------------------------------------------- */

enum { C_CHANCE, C_WEIGHT, C_OWN, C_FROM = C_OWN + LEAP_OWN };          /* C_CHANCE: cumulative */
enum { E_T, E_A, E_S, E_TIME, E_SCALE, E_TO_X, E_TO_OUT, END_NUMBERS }; /* an end */
enum { C_TO = C_FROM + END_NUMBERS, C_STAGE = C_TO + END_NUMBERS };
enum { S_TIME, S_SCALE, S_TO_X, S_TO_OUT, S_BACK_X, S_BACK_X0, S_BASE, S_OUT }; /* a stage */
enum { STAGE_NUMBERS = S_OUT + SAMPLER_HISTORY };

static int columns(const Leaps *l) { return C_STAGE + l->stages * STAGE_NUMBERS; }

/* ---- cutting --------------------------------------------------------------------------------- */

Leaps *leaps_new(Arena *arena, const Denoiser *student, int most, int stages) {
  CHECK(most >= 1 && stages >= 0 && stages <= LEAP_STAGES, "leaps: %d of %d stages", most, stages);
  Leaps *l = arena_alloc(arena, sizeof *l);
  *l = (Leaps){ .student = student, .most = most, .stages = stages };
  l->leap = arena_array(arena, Leap, most);
  l->values = arena_array(arena, real, most * row_stride(columns(l)));
  return l;
}

/* NULL, or why the chain cannot be cut into leaps of so many stages */
static const char *objection(const Leaps *l, const Sampler *chain) {
  if (chain->spec.guides) return "has guides";
  if (chain->stages % l->stages) return "does not divide into such leaps";
  if (l->given && (chain->spec.clip != l->clip || chain->data_form != l->data_form))
    return "clips or combines otherwise than the one recorded";
  for (int i = 0; i < chain->stages; i++) {
    const Stage *s = &chain->stage[i];
    int k = i % l->stages;
    if (s->noise > 0 || s->learned) return "is not deterministic";
    for (int j = k + 1; j < SAMPLER_HISTORY; j++)
      if (s->out[j] != 0) return "looks back across a cut";
    if (!s->evaluates || (k == l->stages - 1 && !s->rebase)) return "is cut within a step";
    if (s->rebase != chain->stage[k].rebase) return "has steps of different kinds";
    if (l->given && s->rebase != l->rebase[k]) return "has other steps than the one recorded";
  }
  return NULL;
}

static bool room(const Leaps *l, int count, Error *error) {
  return (count >= 1 && count <= l->most) ||
         error_set(error, FAIL_USAGE, "distillation has room for 1 to %d leaps, not for %d",
                   l->most, count);
}

static void put(Leaps *l, int i, const Level *from, const Level *to, const Stage *stage) {
  l->leap[i] = (Leap){ .from = *from, .to = *to, .stage = stage, .weight = 1 };
  l->leap[i].chance = 1.0 / l->count;
}

bool leaps_cut(Leaps *l, const Sampler *chain, Error *error) {
  CHECK(l->stages > 0, "leaps_cut: leaps without stages");
  const char *why = objection(l, chain);
  if (why)
    return error_set(error, FAIL_USAGE, "sampler %s %s: it cannot teach leaps of %d evaluations",
                     chain->spec.method, why, l->stages);
  int count = chain->stages / l->stages;
  if (!room(l, count, error)) return false;
  for (int k = 0; k < l->stages; k++) l->rebase[k] = chain->stage[k].rebase;
  l->clip = chain->spec.clip, l->low = chain->spec.low, l->high = chain->spec.high;
  l->data_form = chain->data_form, l->count = count;
  for (int i = 0; i < count; i++) {
    const Stage *first = &chain->stage[i * l->stages];
    put(l, i, &first->at, i + 1 < count ? &first[l->stages].at : &chain->end, first);
  }
  return true;
}

bool leaps_between(Leaps *l, const Level *level, int levels, Error *error) {
  CHECK(l->stages == 0, "leaps_between: leaps with stages");
  if (!room(l, levels - 1, error)) return false;
  l->count = levels - 1;
  for (int i = 0; i < l->count; i++) put(l, i, &level[i], &level[i + 1], NULL);
  return true;
}

/* ---- the table ------------------------------------------------------------------------------- */

static void end_numbers(const Denoiser *d, const Level *l, double *n) {
  Form form = denoiser_form(d, PREDICTS_X0, l);
  const double own[END_NUMBERS] = {
    l->time, l->a, l->s, denoiser_time(d, l), denoiser_scale(d, l), form.to_x, form.to_out
  };
  memcpy(n, own, sizeof own);
}

static void stage_numbers(const Leaps *l, const Stage *s, double *n) {
  Form form = l->clip ? s->x0 : s->direct;
  const double own[S_OUT] = { s->time,      s->scale,       form.to_x, form.to_out,
                              s->back.to_x, s->back.to_out, s->base };
  memcpy(n, own, sizeof own);
  memcpy(n + S_OUT, s->out, sizeof s->out);
}

static bool check_end(const Leaps *l, const Leap *leap, const double *n, Error *error) {
  const Denoiser *d = l->student;
  return (isfinite(n[E_TO_X]) && isfinite(n[E_TO_OUT])) ||
         error_set(error, FAIL_USAGE,
                   "a student that predicts %s does not tell the data at time %g of schedule %s: "
                   "predict v, x0 or velocity, or begin later",
                   prediction_name(d->predicts), leap->from.time, d->schedule->def->name);
}

bool leaps_give(Leaps *l, Error *error) {
  CHECK(l->given && l->count > 0, "leaps_give before leaps_record");
  double sum = 0, n[C_STAGE + LEAP_STAGES * STAGE_NUMBERS];
  int width = columns(l), ld = row_stride(width);
  for (int i = 0; i < l->count; i++) {
    const Leap *leap = &l->leap[i];
    n[C_CHANCE] = sum += leap->chance, n[C_WEIGHT] = leap->weight;
    memcpy(n + C_OWN, leap->own, sizeof leap->own);
    end_numbers(l->student, &leap->from, n + C_FROM);
    if (!check_end(l, leap, n + C_FROM, error)) return false;
    end_numbers(l->student, &leap->to, n + C_TO);
    for (int k = 0; k < l->stages; k++)
      stage_numbers(l, &leap->stage[k], n + C_STAGE + k * STAGE_NUMBERS);
    for (int c = 0; c < width; c++) l->values[i * ld + c] = isfinite(n[c]) ? (real)n[c] : 0;
  }
  CHECK(fabs(sum - 1) < 1e-9, "leaps: chances add up to %g", sum);
  for (int i = l->count - 1; i < l->most; i++) l->values[i * ld + C_CHANCE] = 2;
  graph_give(l->given, l->values);
  return true;
}

/* ---- drawing --------------------------------------------------------------------------------- */

/* the first row of the table whose column 0, the cumulative chance, is above u */
static void draw_run(const Lane *lane, const Tensor *y) {
  const Tensor *table = y->in[0], *uniform = y->in[1];
  int rows = lane_rows(lane, y) * y->k;
  const real *from = lane_at(lane, table), *u = lane_at(lane, uniform);
  real *out = lane_at(lane, y);
  for (int i = 0; i < rows; i++, u += uniform->ld, out += y->ld) {
    int low = 0, high = table->k - 1;
    while (low < high) {
      int middle = (low + high) / 2;
      if (from[middle * table->ld] > *u)
        high = middle;
      else
        low = middle + 1;
    }
    memcpy(out, from + low * table->ld, (size_t)padded(y->n) * sizeof *out);
  }
}
static const Op op_draw = { .name = "draw", .run = draw_run };

static LeapEnd end_of(Tensor *numbers, int column) {
  Tensor *n[END_NUMBERS];
  for (int i = 0; i < END_NUMBERS; i++) n[i] = t_col(numbers, column + i);
  return (LeapEnd){ n[E_T], n[E_A], n[E_S], n[E_TIME], n[E_SCALE], n[E_TO_X], n[E_TO_OUT] };
}

LeapDraw leaps_record(Leaps *l, Graph *g, const char *name) {
  CHECK(l->count > 0 && !l->given, "leaps_record: after the first cut, and once");
  l->given = t_given(g, arena_text(graph_arena(g), "%s leaps", name), l->most, columns(l));
  Tensor *u = t_uniform(g, name, 1, 1);
  LeapDraw draw = { .leaps = l };
  draw.numbers =
      record(g, &op_draw, (Shape){ 1, 1, columns(l) }, &(Recipe){ .in = { l->given, u } });
  draw.from = end_of(draw.numbers, C_FROM), draw.to = end_of(draw.numbers, C_TO);
  draw.weight = t_col(draw.numbers, C_WEIGHT);
  for (int i = 0; i < LEAP_OWN; i++) draw.own[i] = t_col(draw.numbers, C_OWN + i);
  return draw;
}

/* ---- evaluating ----------------------------------------------------------------------------- */

static Tensor *blend(Tensor *a, Tensor *x, Tensor *b, Tensor *y) {
  return t_add(t_mul(x, a), t_mul(y, b));
}

/* the network's output without a learned variance */
static Tensor *output(Graph *g, const Denoiser *d, const Params *params, Tensor *time,
                      Tensor *scale, Tensor *x, Tensor *cond) {
  if (d->predicts == PREDICTS_EDM) x = t_mul(x, scale);
  Tensor *y = d->net(d, g, params, x, d->embed(d, g, params, time), cond);
  return d->learns_variance ? t_slice(y, 0, d->dim) : y;
}

Tensor *leap_noised(const LeapEnd *end, Tensor *x0, Tensor *eps) {
  return blend(end->a, x0, end->s, eps);
}

Tensor *leap_x0(Graph *g, const Leaps *leaps, const LeapEnd *end, const Params *params, Tensor *x,
                Tensor *cond) {
  Tensor *y = output(g, leaps->student, params, end->time, end->scale, x, cond);
  return leaps->student->predicts == PREDICTS_X0 ? y : blend(end->to_x, x, end->to_out, y);
}

/* x <- base x_b + sum out[j] M_j, the executor of sampler.h with numbers by row */
Tensor *leap_run(Graph *g, const LeapDraw *draw, const Denoiser *teacher, const Params *params,
                 Tensor *x, Tensor *cond) {
  const Leaps *l = draw->leaps;
  Tensor *base = x, *M[LEAP_STAGES];
  for (int k = 0; k < l->stages; k++) {
    Tensor *n[STAGE_NUMBERS];
    for (int i = 0; i < STAGE_NUMBERS; i++)
      n[i] = t_col(draw->numbers, C_STAGE + k * STAGE_NUMBERS + i);
    Tensor *y = output(g, teacher, params, n[S_TIME], n[S_SCALE], x, cond);
    M[k] = blend(n[S_TO_X], x, n[S_TO_OUT], y);
    if (l->clip) M[k] = t_clip(M[k], l->low, l->high);
    if (l->clip && !l->data_form) M[k] = blend(n[S_BACK_X], x, n[S_BACK_X0], M[k]);
    x = t_mul(base, n[S_BASE]);
    for (int j = 0; j <= k && j < SAMPLER_HISTORY; j++) x = t_add(x, t_mul(M[k - j], n[S_OUT + j]));
    if (l->rebase[k]) base = x;
  }
  return x;
}
