/* timesteps.c -- a shortest path, layered by its number of steps. */
#include "diffusion/timesteps.h"
#include <math.h>

/* ---- the cost of a step ---------------------------------------------------------------------- */

static double snr(const Level *l) { return l->a * l->a / (l->s * l->s); }

double timesteps_cost(const Level *t, const Level *s, double mse, int dim, StepVariance variance) {
  double miss = 0.5 * (snr(s) - snr(t)) * mse;
  if (variance == STEP_SMALL) return miss;
  double r = t->s * t->s / (s->s * s->s);
  return miss / r + 0.5 * dim * (log(r) + 1 / r - 1);
}

/* ---- the path -------------------------------------------------------------------------------- */

/* C_k[t] = min over s < t of C_{k-1}[s] + cost(t, s) */
static void relax(Timesteps *plan, int k, const double *mse, int dim, StepVariance variance) {
  const double *before = plan->cost + (ptrdiff_t)(k - 1) * plan->levels;
  double *now = plan->cost + (ptrdiff_t)k * plan->levels;
  int *next = plan->next + (ptrdiff_t)k * plan->levels;
  for (int t = 0; t < plan->levels; t++) {
    now[t] = INFINITY;
    for (int s = k - 1; s < t; s++) {
      double cost =
          before[s] + timesteps_cost(&plan->level[t], &plan->level[s], mse[t], dim, variance);
      if (cost < now[t]) now[t] = cost, next[t] = s;
    }
  }
}

Timesteps *timesteps_new(Arena *arena, const Level *level, const double *mse, int levels, int dim,
                         StepVariance variance, int most) {
  CHECK(levels >= 2 && most >= 1 && most < levels, "timesteps: %d steps, %d levels", most, levels);
  for (int i = 0; i < levels; i++)
    CHECK(level[i].s > 0 && (!i || level[i].lambda < level[i - 1].lambda) && isfinite(mse[i]),
          "timesteps: level %d", i);
  Timesteps *plan = arena_alloc(arena, sizeof *plan);
  *plan = (Timesteps){ .level = level, .levels = levels, .most = most };
  size_t size = (size_t)(most + 1) * (size_t)levels;
  plan->cost = arena_array(arena, double, size), plan->next = arena_array(arena, int, size);
  for (int t = 1; t < levels; t++) plan->cost[t] = INFINITY; /* no steps lead nowhere */
  for (int k = 1; k <= most; k++) relax(plan, k, mse, dim, variance);
  return plan;
}

double timesteps_total(const Timesteps *plan, int steps) {
  CHECK(steps >= 1 && steps <= plan->most, "timesteps: %d of %d", steps, plan->most);
  return plan->cost[(ptrdiff_t)(steps + 1) * plan->levels - 1];
}

void timesteps_path(const Timesteps *plan, int steps, double *times) {
  CHECK(steps >= 1 && steps <= plan->most, "timesteps: %d of %d", steps, plan->most);
  int at = plan->levels - 1;
  for (int k = steps; k >= 0; k--) {
    *times++ = plan->level[at].time;
    if (k) at = plan->next[(ptrdiff_t)k * plan->levels + at];
  }
}

/* ---- mse_t of a denoiser --------------------------------------------------------------------- */

enum { N_A, N_S, N_TIME, N_SCALE, N_TO_X, N_TO_OUT, NUMBERS };

struct TimestepsError {
  const Denoiser *denoiser;
  Graph *g;
  Tensor *x0, *cond, *numbers, *mean;
  real *given;
};

TimestepsError *timesteps_error_new(Arena *arena, const Denoiser *d, const Params *params,
                                    const GraphSpec *spec, int cond) {
  CHECK(!spec->trained, "timesteps_error: nothing is trained here");
  TimestepsError *q = arena_alloc(arena, sizeof *q);
  Graph *g = graph_new(arena, spec);
  *q = (TimestepsError){ .denoiser = d, .g = g, .given = arena_array(arena, real, 16) };
  q->x0 = t_input(g, "x0", 1, d->dim);
  q->cond = cond ? t_input(g, "cond", 1, cond) : NULL;
  q->numbers = t_given(g, "numbers", 1, NUMBERS);
  Tensor *n[NUMBERS];
  for (int i = 0; i < NUMBERS; i++) n[i] = t_col(q->numbers, i);
  Tensor *x = t_blend(n[N_A], q->x0, n[N_S], t_normal(g, "timesteps noise", 1, d->dim));
  Tensor *h = d->embed(d, g, params, n[N_TIME]);
  Tensor *output = d->net(d, g, params, t_mul(x, n[N_SCALE]), h, q->cond);
  if (d->learns_variance) output = t_slice(output, 0, d->dim);
  Tensor *miss = t_sub(t_blend(n[N_TO_X], x, n[N_TO_OUT], output), q->x0);
  graph_keep(q->mean = t_mean(t_map(MAP_square, miss)));
  graph_seal(g);
  return q;
}

bool timesteps_error_run(TimestepsError *q, const Level *level, int levels, int rows, uint64_t step,
                         const real *x0, const real *cond, double *mse, Error *error) {
  CHECK((cond != NULL) == (q->cond != NULL), "timesteps_error_run: its condition");
  const Denoiser *d = q->denoiser;
  graph_bind(q->x0, x0);
  if (cond) graph_bind(q->cond, cond);
  for (int i = 0; i < levels; i++) {
    Form form = denoiser_form(d, PREDICTS_X0, &level[i]);
    if (!isfinite(form.to_x) || !isfinite(form.to_out))
      return error_set(error, FAIL_USAGE,
                       "a network that predicts %s does not tell the data at time %g of schedule "
                       "%s: begin earlier, or predict v, x0 or velocity",
                       prediction_name(d->predicts), level[i].time, d->schedule->def->name);
    const double n[NUMBERS] = {
      level[i].a, level[i].s, denoiser_time(d, &level[i]), denoiser_scale(d, &level[i]),
      form.to_x,  form.to_out
    };
    for (int j = 0; j < NUMBERS; j++) q->given[j] = (real)n[j];
    graph_give(q->numbers, q->given);
    graph_run(q->g, rows, step, NULL);
    mse[i] = d->dim * graph_scalar(q->mean);
  }
  return true;
}
