/* likelihood.c -- from data to noise with the divergence as one more number. */
#include "diffusion/likelihood.h"
#include <math.h>
#include <string.h>

struct Likelihood {
  LikelihoodSpec spec;
  Field *field;
  Ode *ode;
  Rng probes;
  int dim;
  double prior; /* standard deviation */
  double *y, *probe;
  OdeResult *result;
};

static bool check(const LikelihoodSpec *spec, const Schedule *s, Error *error) {
  if (spec->divergence == DIVERGENCE_NONE)
    return error_set(error, FAIL_USAGE, "a likelihood wants a divergence, exact or by probe");
  if (spec->divergence == DIVERGENCE_PROBE && !spec->stream)
    return error_set(error, FAIL_USAGE, "a likelihood by random probes wants a stream for them");
  if (spec->ode.method && strcmp(spec->ode.method, "dp5"))
    return error_set(error, FAIL_USAGE, "ODE method %s cannot carry the divergence; use dp5",
                     spec->ode.method);
  if (!(spec->from >= 0 && spec->to > spec->from))
    return error_set(error, FAIL_USAGE,
                     "a likelihood goes from data to noise; times %g to %g of schedule %s do not",
                     spec->from, spec->to, s->def->name);
  return true;
}

Likelihood *likelihood_new(Arena *arena, const Denoiser *denoiser, const Params *params,
                           const LikelihoodSpec *spec, Error *error) {
  const Schedule *s = denoiser->schedule;
  Likelihood *l = arena_alloc(arena, sizeof *l);
  *l = (Likelihood){ .spec = *spec, .dim = denoiser->dim };
  if (spec->from == 0) l->spec.from = s->t_min;
  if (spec->to == 0) l->spec.to = s->t_max;
  if (!check(&l->spec, s, error)) return NULL;
  const FieldSpec field = { .graph = spec->graph,
                            .wanted = PREDICTS_VELOCITY,
                            .divergence = spec->divergence,
                            .cond = spec->cond,
                            .guides = spec->guides };
  l->field = field_new(arena, denoiser, params, &field, error);
  if (!l->field || !field_tells(l->field, l->spec.from, error) ||
      !field_tells(l->field, l->spec.to, error))
    return NULL;
  int rows = spec->graph.max_rows;
  l->ode = ode_new(arena, &spec->ode, rows, l->dim + 1, error);
  if (!l->ode) return NULL;
  if (spec->stream) l->probes = rng_stream(spec->graph.seed, spec->stream);
  l->prior = s->def->preserves ? 1 : schedule_s(s, l->spec.to);
  l->y = arena_array(arena, double, rows *(l->dim + 1));
  l->probe = arena_array(arena, double, rows * l->dim);
  l->result = arena_array(arena, OdeResult, rows);
  return l;
}

static void draw_probes(Likelihood *l, const LikelihoodRows *who) {
  for (int r = 0; r < who->rows; r++) {
    uint32_t row = who->row_ids ? who->row_ids[r] : (uint32_t)r;
    for (int j = 0; j < l->dim; j++) {
      double z = rng_normal(l->probes, who->step, row, (uint32_t)j);
      l->probe[r * l->dim + j] = l->spec.probe == PROBE_NORMAL ? z : z < 0 ? -1 : 1;
    }
  }
}

/* ln N(x; 0, prior^2) */
static double log_normal(const double *x, int dim, double std) {
  double sum = -dim * (log(std) + 0.5 * log(2 * acos(-1)));
  for (int j = 0; j < dim; j++) sum -= 0.5 * x[j] * x[j] / (std * std);
  return sum;
}

bool likelihood_run(Likelihood *l, const LikelihoodRows *who, const double *x, double *log_p,
                    double *latent, OdeResult *result, Error *error) {
  int dim = l->dim, width = dim + 1;
  bool probes = l->spec.divergence == DIVERGENCE_PROBE;
  if (!result) result = l->result;
  if (probes && !who->probe) draw_probes(l, who);
  field_samples(l->field, &(FieldSamples){ .cond = who->cond,
                                           .probe = who->probe ? who->probe : l->probe,
                                           .row_ids = who->row_ids,
                                           .step = who->step });
  for (int r = 0; r < who->rows; r++) {
    memcpy(l->y + r * width, x + r * dim, (size_t)dim * sizeof *x);
    l->y[r * width + dim] = 0;
  }
  ode_flow(l->ode, l->field, who->rows, l->spec.from, l->spec.to, l->y, result);
  for (int r = 0; r < who->rows; r++) {
    const double *end = l->y + r * width;
    double prior =
        l->spec.prior ? l->spec.prior(l->spec.user, end, dim) : log_normal(end, dim, l->prior);
    log_p[r] = result[r].status == ODE_DONE ? prior + end[dim] : NAN;
    if (latent) memcpy(latent + r * dim, end, (size_t)dim * sizeof *end);
  }
  return ode_arrived(result, who->rows, error);
}
