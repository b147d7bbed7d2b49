/* field.c -- recording the call of the network with a row of numbers for each sample, and running
 * it. */
#include "diffusion/field.h"
#include "diffusion/stage.h"
#include <math.h>
#include <string.h>

struct Field {
  const Denoiser *denoiser;
  FieldSpec spec;
  Graph *g;
  Tensor *out, *divergence;
  int dim, ld, numbers_ld, cond_ld;
  real *x, *numbers, *cond, *probe; /* what the tape reads: [max_rows, ld] each */
  uint32_t *row_id;
  FieldSamples samples;
};

/* ---- recording ------------------------------------------------------------------------------- */

static Tensor *input(Field *f, Arena *arena, const char *name, int n, real **data) {
  Tensor *t = t_input(f->g, name, 1, n);
  *data = arena_array(arena, real, (size_t)f->spec.graph.max_rows * (size_t)row_stride(n));
  graph_bind(t, *data);
  return t;
}

/* sum_j d v_j / d x_j */
static Tensor *exact_trace(Tensor *v, Tensor *x) {
  Tensor *sum = NULL;
  for (int j = 0; j < x->n; j++) {
    Tensor *row = t_grad(t_col(v, j), x);
    if (row) sum = sum ? t_add(sum, t_col(row, j)) : t_col(row, j);
  }
  return sum;
}

/* e . (dv/dx) e = (d (e . v) / dx) . e */
static Tensor *probed_trace(Tensor *v, Tensor *x, Tensor *probe) {
  return t_sum_last(t_mul(t_grad(t_sum_last(t_mul(v, probe)), x), probe));
}

static bool record_field(Field *f, Arena *arena, const Params *params, Error *error) {
  int c = f->spec.cond;
  Tensor *x = input(f, arena, "field x", f->dim, &f->x);
  Tensor *numbers = input(f, arena, "field numbers", net_call_size(f->spec.guides), &f->numbers);
  NetCall q = { .denoiser = f->denoiser,
                .params = params,
                .cond = c ? input(f, arena, "field cond", c, &f->cond) : NULL,
                .guides = f->spec.guides,
                .data_form = f->spec.wanted == PREDICTS_X0 };
  NetCallNumbers n = net_call_columns(&q, numbers);
  NetOutput answer = net_call_record(&q, &n, x);
  f->out = answer.M;
  graph_keep(f->out);
  if (f->spec.divergence == DIVERGENCE_NONE) return true;
  if (!t_grad(answer.output, x))
    return error_set(error, FAIL_USAGE,
                     "the divergence of this network is unknown: the tape has no derivative of its "
                     "output by x (is it a function of the caller's?)");
  if (f->spec.divergence == DIVERGENCE_EXACT)
    f->divergence = exact_trace(f->out, x);
  else
    f->divergence = probed_trace(f->out, x, input(f, arena, "field probe", f->dim, &f->probe));
  graph_keep(f->divergence);
  return true;
}

Field *field_new(Arena *arena, const Denoiser *denoiser, const Params *params,
                 const FieldSpec *spec, Error *error) {
  CHECK(!spec->graph.trained, "field: nothing is trained here");
  if (!net_call_check(spec->guides, error)) return NULL;
  if (spec->divergence == DIVERGENCE_EXACT && denoiser->dim > FIELD_EXACT_MOST) {
    error_set(error, FAIL_USAGE,
              "an exact divergence of %d dimensions takes as many backward passes; at most %d: use "
              "a random probe",
              denoiser->dim, FIELD_EXACT_MOST);
    return NULL;
  }
  Field *f = arena_alloc(arena, sizeof *f);
  *f = (Field){ .denoiser = denoiser, .spec = *spec, .dim = denoiser->dim };
  f->ld = row_stride(f->dim), f->cond_ld = row_stride(spec->cond);
  f->numbers_ld = row_stride(net_call_size(spec->guides));
  f->row_id = arena_array(arena, uint32_t, spec->graph.max_rows);
  f->g = graph_new(arena, &spec->graph);
  if (!record_field(f, arena, params, error)) return NULL;
  graph_seal(f->g);
  return f;
}

/* ---- the numbers of a row -------------------------------------------------------------------- */

static Form direct_form(const Field *f, const Level *l) {
  return denoiser_form(f->denoiser, f->spec.wanted, l);
}

static void row_numbers(const Field *f, double t, real *row) {
  double n[NET_CALL_MOST];
  Level l = schedule_level(f->denoiser->schedule, t);
  Stage stage = stage_evaluating(f->denoiser, f->spec.wanted, &l);
  net_call_numbers(f->spec.guides, &stage, n);
  for (int i = 0; i < net_call_size(f->spec.guides); i++) row[i] = (real)n[i];
}

bool field_tells(const Field *f, double t, Error *error) {
  Level l = schedule_level(f->denoiser->schedule, t);
  Form form = direct_form(f, &l);
  if (isfinite(form.to_x) && isfinite(form.to_out)) return true;
  return error_set(error, FAIL_USAGE,
                   "a network that predicts %s does not tell the %s at time %g of schedule %s (a = "
                   "%.3g, s = %.3g): stay clear of this end, or predict v, x0 or velocity",
                   prediction_name(f->denoiser->predicts), prediction_name(f->spec.wanted), t,
                   f->denoiser->schedule->def->name, l.a, l.s);
}

/* ---- evaluating ----------------------------------------------------------------------------- */

void field_samples(Field *f, const FieldSamples *samples) { f->samples = *samples; }

/* x of row r at x + r stride */
static void run(Field *f, int rows, const uint32_t *ids, const double *t, const double *x,
                int stride) {
  const FieldSamples *s = &f->samples;
  CHECK(rows <= f->spec.graph.max_rows, "field: %d rows of %d", rows, f->spec.graph.max_rows);
  CHECK((s->cond != NULL) == (f->cond != NULL) && (!f->probe || s->probe), "field: its samples");
  for (int r = 0; r < rows; r++) {
    size_t sample = ids ? ids[r] : (uint32_t)r;
    for (int j = 0; j < f->dim; j++) f->x[r * f->ld + j] = (real)x[(ptrdiff_t)r * stride + j];
    row_numbers(f, t[r], f->numbers + (ptrdiff_t)r * f->numbers_ld);
    f->row_id[r] = s->row_ids ? s->row_ids[sample] : (uint32_t)sample;
    if (f->cond)
      memcpy(f->cond + (ptrdiff_t)r * f->cond_ld, s->cond + sample * (size_t)f->cond_ld,
             (size_t)f->cond_ld * sizeof *f->cond);
    for (int j = 0; f->probe && j < f->dim; j++)
      f->probe[r * f->ld + j] = (real)s->probe[sample * (size_t)f->dim + (size_t)j];
  }
  graph_run(f->g, rows, s->step, f->row_id);
}

void field_at(Field *f, int rows, const uint32_t *ids, const double *t, const double *x,
              double *out, double *divergence) {
  run(f, rows, ids, t, x, f->dim);
  const real *v = graph_values(f->out);
  for (int r = 0; r < rows; r++)
    for (int j = 0; j < f->dim; j++) out[r * f->dim + j] = (double)v[(ptrdiff_t)r * f->ld + j];
  if (!divergence) return;
  const real *div = graph_values(f->divergence);
  for (int r = 0; r < rows; r++) divergence[r] = (double)div[(ptrdiff_t)r * row_stride(1)];
}

int field_width(const Field *f) { return f->dim + (f->divergence != NULL); }

void field_slope(void *field, int rows, const uint32_t *ids, const double *t, const double *y,
                 double *dy) {
  Field *f = field;
  int width = field_width(f);
  run(f, rows, ids, t, y, width);
  const real *v = graph_values(f->out), *div = f->divergence ? graph_values(f->divergence) : NULL;
  for (int r = 0; r < rows; r++, dy += width, v += f->ld) {
    for (int j = 0; j < f->dim; j++) dy[j] = (double)v[j];
    if (div) dy[f->dim] = (double)div[(ptrdiff_t)r * row_stride(1)];
  }
}

const Schedule *field_schedule(const Field *f) { return f->denoiser->schedule; }
Prediction field_wanted(const Field *f) { return f->spec.wanted; }
int field_dim(const Field *f) { return f->dim; }
