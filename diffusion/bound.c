/* bound.c -- the variational bound: numbers of each step in double, terms on the tape. */
#include "diffusion/bound.h"
#include <math.h>

/* ---- the chain ------------------------------------------------------------------------------- */

static bool refuse(Error *error, const char *why) {
  return error_set(error, FAIL_USAGE, "variational bound: %s", why);
}

static bool check_spec(const BoundSpec *spec, const Schedule *schedule, Error *error) {
  if (!spec->times && !schedule->def->discrete)
    return refuse(error, "a continuous schedule needs the times of the chain");
  if (spec->bins < 0 || spec->bins == 1)
    return refuse(error, "data has 2 or more bins, or 0 for real numbers");
  if (spec->high < spec->low) return refuse(error, "low must be below high");
  int steps = spec->times ? spec->steps : schedule->steps;
  if (steps < 1) return refuse(error, "needs one time or more");
  for (int k = 1; spec->times && k < steps; k++)
    if (!(spec->times[k] > spec->times[k - 1])) return refuse(error, "times must grow");
  return true;
}

static BoundStep step_of(const Denoiser *d, const Level *before, const Level *at) {
  Posterior posterior = level_posterior(before, at);
  double keep = at->a / before->a, added = at->s * at->s - keep * keep * before->s * before->s;
  return (BoundStep){ .at = *at,
                      .x0 = denoiser_form(d, PREDICTS_X0, at),
                      .c0 = posterior.c0,
                      .log_variance = log(posterior.variance),
                      .log_low = log(posterior.variance),
                      .log_high = log(added) };
}

/* clean data has no variance: that of step 1 as published, or what the noise leaves unknown */
static void set_decoder(Bound *b) {
  BoundStep *first = &b->step[0];
  bool published = !b->spec.times && b->steps > 1;
  double v = published ? b->step[1].log_variance : 2 * log(first->at.s / first->at.a);
  first->log_variance = first->log_low = v;
}

static bool is_sound(const BoundStep *s) {
  return isfinite(s->x0.to_x) && isfinite(s->x0.to_out) && isfinite(s->log_low) &&
         isfinite(s->log_high);
}

Bound *bound_new(Arena *arena, const BoundSpec *spec, const Denoiser *d, Error *error) {
  if (!check_spec(spec, d->schedule, error)) return NULL;
  Bound *b = arena_alloc(arena, sizeof *b);
  *b = (Bound){ .spec = *spec, .denoiser = d };
  if (spec->low == 0 && spec->high == 0) b->spec.low = -1, b->spec.high = 1;
  b->steps = spec->times ? spec->steps : d->schedule->steps;
  b->step = arena_array(arena, BoundStep, b->steps);
  Level before = schedule_clean();
  for (int k = 0; k < b->steps; k++) {
    Level at = schedule_level(d->schedule, spec->times ? spec->times[k] : k);
    b->step[k] = step_of(d, &before, &at), before = at;
  }
  set_decoder(b);
  for (int k = 0; k < b->steps; k++) {
    BoundStep *s = &b->step[k];
    s->log_model = spec->large && k ? s->log_high : s->log_low;
    if (is_sound(s)) continue;
    error_set(error, FAIL_USAGE,
              "variational bound: at time %g a network that predicts %s does not tell x_0, or the "
              "step has no variance",
              s->at.time, prediction_name(d->predicts));
    return NULL;
  }
  return b;
}

/* ---- numbers of a row's step ----------------------------------------------------------------- */

/* the numbers of a step as a row of a table; REST, KL: see `gaussian` */
enum { A, S, SCALE, TO_X, TO_OUT, C0, LOW, RANGE, TRUTH, KL, REST, FIRST, COLUMNS };

static const double LN_2PI = 1.83787706640934548356;

static Tensor *table_of(Graph *g, const Bound *b) {
  double *table = arena_array(graph_arena(g), double, b->steps *COLUMNS);
  bool learns = b->denoiser->learns_variance;
  for (int k = 0; k < b->steps; k++) {
    const BoundStep *s = &b->step[k];
    double *row = table + (ptrdiff_t)k * COLUMNS;
    row[A] = s->at.a, row[S] = s->at.s, row[SCALE] = denoiser_scale(b->denoiser, &s->at);
    row[TO_X] = s->x0.to_x, row[TO_OUT] = s->x0.to_out, row[C0] = s->c0;
    row[LOW] = learns ? s->log_low : s->log_model, row[RANGE] = s->log_high - s->log_low;
    row[TRUTH] = s->log_variance, row[KL] = k > 0;
    row[REST] = k ? -1 - s->log_variance : LN_2PI, row[FIRST] = k == 0;
  }
  return t_table(g, table, b->steps, COLUMNS);
}

static Tensor *sum(Tensor *x) { return t_sum_last(x); }
static Tensor *square(Tensor *x) { return t_map(MAP_square, x); }
static Tensor *minus(Tensor *x) { return t_scale(-1, x); }

/* ---- the two kinds of terms ------------------------------------------------------------------ */

/* Per dimension, with l = ln v of the model and d the distance of the means,
 *   k > 0   KL(N(., v') || N(., v)) = (l + d^2 / v + v'/v - ln v' - 1) / 2
 *   k = 0   -ln N(x_0; x_0hat, v)   = (l + d^2 / v        + ln 2 pi  ) / 2 */
static Tensor *gaussian(Tensor *n, Tensor *missed, Tensor *l) {
  Tensor *distance = square(t_mul(missed, t_col(n, C0)));
  Tensor *inverse = t_map(MAP_exp, minus(l));
  Tensor *ratio = t_mul(t_map(MAP_exp, t_sub(t_col(n, TRUTH), l)), t_col(n, KL));
  Tensor *all = t_add(t_add(t_mul(distance, inverse), ratio), t_add(l, t_col(n, REST)));
  return t_scale(0.5, all);
}

/* -1 in the first bin, 1 in the last, else 0 */
static void side_run(const Lane *lane, const Tensor *y) {
  int rows = lane_rows(lane, y) * y->k;
  const real *x = lane_at(lane, y->in[0]);
  real *out = lane_at(lane, y), low = (real)y->attr.c[0], high = (real)y->attr.c[1];
  for (int i = 0; i < rows; i++, x += y->in[0]->ld, out += y->ld) {
    for (int j = 0; j < y->n; j++) out[j] = (real)((x[j] > high) - (x[j] < low));
    clear_padding(out, y->n);
  }
}
static const Op op_side = { .name = "side", .run = side_run };

/* -ln of the mass of x_0's bin, at most -ln 1e-12.  With r the half width of a bin and o the
 * distance |x_0 - x_0hat|, or x_0 - x_0hat out of an open end, the mass is
 * Phi((r - o) / sqrt v) - Phi((-r - o) / sqrt v), without the second for an open bin: both are
 * small where the mass is. */
static Tensor *decoder(const Bound *b, Tensor *x0, Tensor *missed, Tensor *l) {
  const BoundSpec *spec = &b->spec;
  double r = (spec->high - spec->low) / (2 * (spec->bins - 1));
  Recipe recipe = { .in = { x0 }, .attr.c = { spec->low + r, spec->high - r } };
  Tensor *side = record(x0->g, &op_side, (Shape){ x0->k, 1, x0->n }, &recipe);
  Tensor *inside = t_shift(minus(square(side)), 1);
  Tensor *o = t_add(t_mul(inside, t_map(MAP_abs, missed)), t_mul(side, missed));
  Tensor *narrow = t_map(MAP_exp, t_scale(-0.5, l));
  Tensor *upper = t_map(MAP_ndtr, t_mul(t_shift(minus(o), r), narrow));
  Tensor *lower = t_map(MAP_ndtr, t_mul(t_shift(minus(o), -r), narrow));
  Tensor *mass = t_sub(upper, t_mul(inside, lower));
  return minus(t_map(MAP_log, t_clip(mass, 1e-12, 1)));
}

static BoundTerm term(const Bound *b, Tensor *n, Tensor *x0, Tensor *x, Tensor *output, Tensor *v) {
  Tensor *guess = t_add(t_mul(x, t_col(n, TO_X)), t_mul(output, t_col(n, TO_OUT)));
  if (b->spec.clip) guess = t_clip(guess, b->spec.low, b->spec.high);
  Tensor *missed = t_sub(x0, guess), *l = t_col(n, LOW);
  if (v) l = t_add(t_mul(t_scale(0.5, t_shift(v, 1)), t_col(n, RANGE)), l);
  Tensor *nats = gaussian(n, missed, l);
  if (b->spec.bins) {
    Tensor *first = t_sub(decoder(b, x0, missed, l), nats);
    nats = t_add(nats, t_mul(first, t_col(n, FIRST)));
  }
  return (BoundTerm){ sum(nats), sum(square(missed)) };
}

BoundTerm bound_term(const Bound *b, Tensor *index, Tensor *x0, Tensor *x, Tensor *output,
                     Tensor *v) {
  return term(b, t_gather(table_of(x0->g, b), index), x0, x, output, v);
}

static Tensor *embedded(Graph *g, const Bound *b, const Params *params, Tensor *index) {
  const Denoiser *d = b->denoiser;
  double *times = arena_array(graph_arena(g), double, b->steps);
  for (int k = 0; k < b->steps; k++) times[k] = denoiser_time(d, &b->step[k].at);
  return t_gather(d->embed(d, g, params, t_table(g, times, b->steps, 1)), index);
}

BoundTerm bound_record(Graph *g, const Bound *b, const Params *params, Tensor *index, Tensor *x0,
                       Tensor *eps, Tensor *cond) {
  const Denoiser *d = b->denoiser;
  Tensor *n = t_gather(table_of(g, b), index), *h = embedded(g, b, params, index);
  Tensor *x = t_add(t_mul(x0, t_col(n, A)), t_mul(eps, t_col(n, S)));
  Tensor *scaled = d->predicts == PREDICTS_EDM ? t_mul(x, t_col(n, SCALE)) : x;
  Tensor *output = d->net(d, g, params, scaled, h, cond), *v = NULL;
  if (d->learns_variance) v = t_slice(output, d->dim, d->dim), output = t_slice(output, 0, d->dim);
  return term(b, n, x0, x, output, v);
}

/* KL(N(a x_0, s^2) || N(0, prior^2)) */
double bound_prior(const Bound *b, int rows, const real *x0) {
  const Level *l = &b->step[b->steps - 1].at;
  int dim = b->denoiser->dim, ld = row_stride(dim);
  double prior = schedule_prior(b->denoiser->schedule), nats = 0;
  double ratio = l->s * l->s / (prior * prior);
  for (int i = 0; i < rows; i++)
    for (int j = 0; j < dim; j++) {
      double mean = l->a * (double)x0[(ptrdiff_t)i * ld + j] / prior;
      nats += 0.5 * (mean * mean + ratio - 1 - log(ratio));
    }
  return nats / rows;
}

/* ---- all terms of a batch -------------------------------------------------------------------- */

struct BoundRun {
  const Bound *bound;
  Graph *graph;
  Tensor *x0, *index, *cond;
  BoundTerm term;
  real *k; /* [max_rows, row_stride(1)]: the step, for every row */
};

BoundRun *bound_run_new(Arena *arena, const Bound *bound, const Params *params,
                        const GraphSpec *spec, const char *stream, int cond) {
  CHECK(!spec->trained, "bound_run_new: this tape does not train");
  BoundRun *run = arena_alloc(arena, sizeof *run);
  int dim = bound->denoiser->dim;
  Graph *g = run->graph = graph_new(arena, spec);
  run->bound = bound;
  run->k = arena_array(arena, real, spec->max_rows * row_stride(1));
  run->x0 = t_input(g, "x0", 1, dim), run->index = t_input(g, "step", 1, 1);
  run->cond = cond ? t_input(g, "cond", 1, cond) : NULL;
  Tensor *eps = t_normal(g, arena_text(arena, "%s noise", stream), 1, dim);
  run->term = bound_record(g, bound, params, run->index, run->x0, eps, run->cond);
  graph_keep(run->term.nats), graph_keep(run->term.squares);
  graph_seal(g);
  return run;
}

static double mean_of(const Tensor *t, int rows) {
  const real *values = graph_values(t);
  double total = 0;
  for (int i = 0; i < rows; i++) total += (double)values[(ptrdiff_t)i * t->ld];
  return total / rows;
}

double bound_run(BoundRun *run, int rows, uint64_t step, const uint32_t *row_ids, const real *x0,
                 const real *cond, double *nats, double *squares, double *each) {
  const Bound *b = run->bound;
  double total = nats[b->steps] = bound_prior(b, rows, x0);
  int ld = row_stride(b->denoiser->dim);
  for (int i = 0; each && i < rows; i++) each[i] = bound_prior(b, 1, x0 + (ptrdiff_t)i * ld);
  graph_bind(run->x0, x0), graph_bind(run->index, run->k);
  if (run->cond) graph_bind(run->cond, cond);
  for (int k = 0; k < b->steps; k++) {
    for (int i = 0; i < rows; i++) run->k[i * row_stride(1)] = (real)k;
    graph_run(run->graph, rows, step * (uint64_t)b->steps + (uint64_t)k, row_ids);
    const Tensor *t = run->term.nats;
    for (int i = 0; each && i < rows; i++) each[i] += (double)graph_values(t)[(ptrdiff_t)i * t->ld];
    total += nats[k] = mean_of(run->term.nats, rows);
    if (squares) squares[k] = mean_of(run->term.squares, rows);
  }
  return total;
}

double bits_per_dim(double nats, int dim, double cell) {
  return nats / (dim * log(2)) - log2(cell);
}
