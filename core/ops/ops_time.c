/* ops_time.c -- embeddings of time.  Published networks use five that do not mix: order of sines
 * and cosines, and the lowest frequency, differ. */
#include "core/names.h"
#include "core/ops/ops.h"
#include <math.h>

static const char *const names[TIME_COUNT] = { "ddpm", "openai", "edm", "gaussian", "fourier" };

const char *time_name(TimeKind kind) { return names[kind]; }

bool time_find(const char *name, TimeKind *kind, Error *error) {
  int i = names_find(NAMES(names, TIME_COUNT, .what = "time embedding"), name, error);
  if (i >= 0) *kind = (TimeKind)i;
  return i >= 0;
}

bool time_fits(TimeKind kind, int dim, Error *error) {
  bool endpoint = kind == TIME_DDPM || kind == TIME_EDM; /* divides by dim/2 - 1 */
  int least = endpoint ? 4 : 2;
  if (dim >= least && (dim % 2 == 0 || kind == TIME_OPENAI)) return true;
  return error_set(error, FAIL_USAGE,
                   "time embedding \"%s\" of %d numbers; expected an even number of at least %d%s",
                   names[kind], dim, least,
                   endpoint ? " (its frequencies are spaced by 1 / (dim/2 - 1))" : "");
}

/* ---- sinusoids of fixed frequencies ---------------------------------------------------------- */

static void timeembed_run(const Lane *lane, const Tensor *y) {
  const Tensor *t = y->in[0];
  TimeKind kind = (TimeKind)y->attr.i[0];
  int rows = lane_rows(lane, y) * y->k * y->e, half = y->n / 2;
  int span = kind == TIME_OPENAI ? half : half - 1;
  int sines = kind == TIME_DDPM ? 0 : half, cosines = kind == TIME_DDPM ? half : 0;
  const real *time = lane_at(lane, t);
  real *out = lane_at(lane, y);
  for (int i = 0; i < rows; i++, time += t->ld, out += y->ld) {
    for (int j = 0; j < half; j++) {
      double angle = (double)*time * exp(-j * log(10000.0) / span);
      out[sines + j] = (real)sin(angle), out[cosines + j] = (real)cos(angle);
    }
    clear_padding(out, 2 * half); /* and the last of an odd number */
  }
}
const Op op_timeembed = { .name = "timeembed", .run = timeembed_run };

Tensor *t_timeembed(Tensor *t, int dim) { return t_time(TIME_DDPM, t, dim, NULL); }

/* ---- Fourier features ------------------------------------------------------------------------ */

/* N(0, 16^2), the same numbers in every program */
static Tensor *gaussian_frequencies(Graph *g, int count) {
  double w[TIME_MAX_DIM / 2];
  Rng rng = rng_stream(0, "gaussian fourier features");
  for (int j = 0; j < count; j++) w[j] = 16 * rng_normal(rng, 0, 0, (uint32_t)j);
  return t_table(g, w, 1, count);
}

Tensor *t_time(TimeKind kind, Tensor *t, int dim, Tensor *w) {
  Error error = { .text = "" };
  CHECK(t->n == 1, "t_time: %d numbers a time", t->n);
  CHECK(time_fits(kind, dim, &error) && dim <= TIME_MAX_DIM, "t_time: dim %d. %s", dim, error.text);
  if (kind != TIME_GAUSSIAN && kind != TIME_FOURIER)
    return record(t->g, &op_timeembed, (Shape){ t->k, t->e, dim },
                  &(Recipe){ .in = { t }, .attr.i = { (int)kind } });
  CHECK(w || kind == TIME_GAUSSIAN, "t_time: fourier wants its frequencies");
  if (!w) w = gaussian_frequencies(t->g, dim / 2);
  CHECK(w->n == dim / 2, "t_time: %d frequencies for dim %d", w->n, dim);
  Tensor *angle = t_mul(t, t_scale(2 * acos(-1), w));
  Tensor *sine = t_map(MAP_sin, angle), *cosine = t_map(MAP_cos, angle);
  return kind == TIME_GAUSSIAN ? t_concat(sine, cosine) : t_concat(cosine, sine);
}
