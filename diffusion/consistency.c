/* consistency.c -- a denoiser that is exact at its boundary, and its objectives. */
#include "diffusion/consistency.h"
#include "diffusion/grid.h"
#include <math.h>

/* ---- the function ---------------------------------------------------------------------------- */

typedef struct {
  Denoiser base; /* first: a ConsistencyDenoiser is a Denoiser */
  const Denoiser *inner;
  double least; /* sigma_min */
} ConsistencyDenoiser;

/* f = skip x + out output; the network is given scale x and time */
enum { SKIP, OUT, SCALE, TIME, NUMBERS };

static void numbers(const ConsistencyDenoiser *c, double t, double *n) {
  const Denoiser *inner = c->inner;
  Level l = schedule_level(inner->schedule, t);
  double d = inner->data_std > 0 ? inner->data_std : 1, sigma = l.s / l.a, past = sigma - c->least;
  double skip = d * d / (past * past + d * d), out = past * d / sqrt(sigma * sigma + d * d);
  Form F = denoiser_form(inner, PREDICTS_EDM, &l);
  n[SKIP] = skip / l.a + out * F.to_x, n[OUT] = out * F.to_out;
  n[SCALE] = denoiser_scale(inner, &l), n[TIME] = denoiser_time(inner, &l);
}

static void boundary_run(const Lane *lane, const Tensor *y) {
  int rows = lane_rows(lane, y) * y->k;
  const real *t = lane_at(lane, y->in[0]);
  real *out = lane_at(lane, y);
  for (int i = 0; i < rows; i++, t += y->in[0]->ld, out += y->ld) {
    double n[NUMBERS];
    numbers(y->attr.p, (double)*t, n);
    for (int j = 0; j < NUMBERS; j++) out[j] = (real)n[j];
    clear_padding(out, NUMBERS);
  }
}
static const Op op_boundary = { .name = "boundary", .run = boundary_run };

/* [inner's embedding, skip, out, scale] */
static Tensor *embed(const Denoiser *d, Graph *g, const Params *p, Tensor *t) {
  const Denoiser *inner = ((const ConsistencyDenoiser *)d)->inner;
  CHECK(t->n == 1 && t->e == 1, "consistency: one time a row");
  Tensor *n =
      record(g, &op_boundary, (Shape){ t->k, 1, NUMBERS }, &(Recipe){ .in = { t }, .attr.p = d });
  return t_concat(inner->embed(inner, g, p, t_col(n, TIME)), t_slice(n, 0, TIME));
}

static Tensor *net(const Denoiser *d, Graph *g, const Params *p, Tensor *x, Tensor *h,
                   Tensor *cond) {
  const Denoiser *inner = ((const ConsistencyDenoiser *)d)->inner;
  int width = h->n - TIME;
  Tensor *scaled = inner->predicts == PREDICTS_EDM ? t_mul(x, t_col(h, width + SCALE)) : x;
  Tensor *y = inner->net(inner, g, p, scaled, t_slice(h, 0, width), cond);
  if (inner->learns_variance) y = t_slice(y, 0, d->dim);
  return t_add(t_mul(x, t_col(h, width + SKIP)), t_mul(y, t_col(h, width + OUT)));
}

Denoiser *consistency_denoiser(Arena *arena, const Denoiser *inner) {
  ConsistencyDenoiser *c = arena_alloc(arena, sizeof *c);
  c->base = (Denoiser){ .net = net,
                        .embed = embed,
                        .predicts = PREDICTS_X0,
                        .schedule = inner->schedule,
                        .dim = inner->dim };
  c->inner = inner;
  /* the first time as the tape has it, so that the boundary is exact there */
  Level least = schedule_level(inner->schedule, (double)(real)inner->schedule->t_min);
  c->least = least.s / least.a;
  return &c->base;
}

/* ---- objectives ------------------------------------------------------------------------------ */

double consistency_huber(int dim) { return 0.00054 * sqrt(dim); }

Tensor *consistency_loss(Graph *g, const LeapDraw *draw, const ConsistencySpec *spec,
                         const Params *params, const char *noise, Tensor *x0, Tensor *cond) {
  const Leaps *leaps = draw->leaps;
  Tensor *eps = t_normal(g, noise, 1, x0->n), *x = leap_noised(&draw->from, x0, eps);
  Tensor *next = spec->teacher ? leap_run(g, draw, spec->teacher, spec->teacher_params, x, cond)
                               : leap_noised(&draw->to, x0, eps);
  Tensor *target = leap_x0(g, leaps, &draw->to, spec->target, next, cond);
  Tensor *miss = t_sub(leap_x0(g, leaps, &draw->from, params, x, cond), t_detach(target));
  Tensor *square = t_map(MAP_square, miss);
  if (!(spec->huber > 0)) return t_mean(t_mul(square, draw->weight));
  double c = spec->huber;
  Tensor *root = t_map(MAP_sqrt, t_shift(t_sum_last(square), c * c));
  return t_mean(t_mul(t_shift(root, -c), draw->weight));
}

/* ---- which leaps ----------------------------------------------------------------------------- */

bool consistency_grid(Leaps *leaps, Arena *scratch, const char *spacing, int levels, Error *error) {
  const Schedule *s = leaps->student->schedule;
  if (levels < 2)
    return error_set(error, FAIL_USAGE, "consistency training needs 2 levels or more, not %d",
                     levels);
  ArenaMark mark = arena_mark(scratch);
  double *times = arena_array(scratch, double, levels);
  Level *level = arena_array(scratch, Level, levels);
  bool fine = grid_times(s, spacing, 0, levels, times, error);
  for (int i = 0; fine && i < levels; i++) level[i] = schedule_level(s, times[i]);
  fine = fine && leaps_between(leaps, level, levels, error);
  arena_reset(scratch, mark);
  return fine;
}

static double sigma(const Level *l) { return l->s / l->a; }

void consistency_improve(Leaps *leaps, double mean, double std) {
  double sum = 0;
  for (int i = 0; i < leaps->count; i++) {
    Leap *leap = &leaps->leap[i];
    double high = (log(sigma(&leap->from)) - mean) / std,
           low = (log(sigma(&leap->to)) - mean) / std;
    leap->weight = 1 / (sigma(&leap->from) - sigma(&leap->to));
    leap->chance = erfc(low / sqrt(2)) - erfc(high / sqrt(2)), sum += leap->chance;
  }
  for (int i = 0; i < leaps->count; i++) leaps->leap[i].chance /= sum;
}

/* ---- schedules over training ----------------------------------------------------------------- */

int consistency_levels(int64_t k, int64_t K, int s0, int s1) {
  double high = (double)(s1 + 1) * (s1 + 1), low = (double)s0 * s0;
  return (int)ceil(sqrt((double)k / (double)K * (high - low) + low) - 1) + 1;
}

int consistency_levels_improved(int64_t k, int64_t K, int s0, int s1) {
  int64_t period = (int64_t)((double)K / (log2(s1 / s0) + 1));
  double levels = s0 * exp2((double)(k / (period > 0 ? period : 1)));
  return (int)fmin(levels, s1) + 1;
}

double consistency_decay(int levels, int s0, double mu0) {
  return exp(s0 * log(mu0) / (levels - 1));
}
