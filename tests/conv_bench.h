/* conv_bench.h -- one convolution on a tape, forward and both gradients, beside the definition in
 * double.  Weights w on the output make a loss: dx is the gradient of sum(w y), that of the slots
 * belongs to mean(w y). */
#ifndef TESTS_CONV_BENCH_H
#define TESTS_CONV_BENCH_H
#include "core/ops/ops.h"
#include "tests/pool.h"
#include <stdarg.h>
#include <stdbool.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONV_MAX_INPUTS = 4 };

typedef struct {
  ConvSpec spec;
  int count, width[CONV_MAX_INPUTS]; /* inputs and their channels */
  int out, k, rows, group, lane, threads;
  const char *kernels;
  bool no_bias;
  ConvMethod method;
} Case;

typedef struct {
  Case of;
  Plane plane; /* of the output */
  Arena *arena;
  Pool *pool;
  Params *params;
  Graph *g;
  Tensor *loss, *y, *dx[CONV_MAX_INPUTS];
  const real *x[CONV_MAX_INPUTS], *w; /* [rows k, row_stride(area channels)] */
} ConvBench;

/* dense doubles; NULL where there is none */
typedef struct {
  double *y, *df, *db, *dx[CONV_MAX_INPUTS];
} Numbers;

static real *conv_noise(Arena *arena, const char *stream, int rows, int n) {
  int ld = row_stride(n);
  real *x = arena_array(arena, real, (size_t)rows * (size_t)ld);
  for (int r = 0; r < rows; r++)
    for (int j = 0; j < n; j++)
      x[(ptrdiff_t)r * ld + j] =
          (real)(float)rng_normal(rng_stream(17, stream), 0, (uint32_t)r, (uint32_t)j);
  return x;
}

static int places(Plane p) { return p.height * p.width; }

static void conv_open(ConvBench *b, const Case *of) {
  *b = (ConvBench){ .of = *of, .arena = arena_new(), .pool = pool_of(of->threads) };
  b->plane = conv_plane(&of->spec, of->out);
  int channels = of->spec.in.channels, taps = of->spec.kh * of->spec.kw;
  b->params = params_new(b->arena, "net");
  params_slot(b->params, "f", 1, taps * channels, of->out, 1 / sqrt((double)(taps * channels)));
  params_slot(b->params, "b", 1, 1, of->out, 1);
  params_allocate(b->params), params_init(b->params, 3);
  Error error;
  b->g = graph_new(b->arena, &(GraphSpec){ .trained = b->params,
                                           .pool = b->pool,
                                           .kernels = kernels_find(of->kernels, &error),
                                           .max_rows = of->rows,
                                           .group = of->group,
                                           .lane = of->lane,
                                           .conv = of->method });
  Inputs in = { { NULL } };
  static const char *const names[] = { "x0", "x1", "x2", "x3" };
  for (int i = 0; i < of->count; i++)
    in.x[i] = t_input(b->g, names[i], of->k, places(of->spec.in) * of->width[i]);
  b->y = t_conv(b->g, b->params, 0, of->no_bias ? -1 : 1, in, &of->spec);
  Tensor *w = t_input(b->g, "w", of->k, b->y->n), *product = t_mul(w, b->y);
  for (int i = 0; i < of->count; i++) graph_keep(b->dx[i] = t_grad(product, in.x[i]));
  graph_keep(b->y);
  graph_minimise(b->loss = t_mean(product));
  graph_seal(b->g);
  for (int i = 0; i < of->count; i++) {
    b->x[i] = conv_noise(b->arena, names[i], of->rows * of->k, in.x[i]->n);
    graph_bind(in.x[i], b->x[i]);
  }
  b->w = conv_noise(b->arena, "w", of->rows * of->k, b->y->n);
  graph_bind(w, b->w);
}

static void conv_run(ConvBench *b) { graph_run(b->g, b->of.rows, 0, NULL); }
static void conv_close(ConvBench *b) { arena_free(b->arena), pool_free(b->pool); }

static Numbers numbers_new(const ConvBench *b) {
  const Case *of = &b->of;
  int samples = of->rows * of->k, taps = of->spec.kh * of->spec.kw;
  Numbers n = { .y = arena_array(b->arena, double, samples *places(b->plane) * of->out),
                .df = arena_array(b->arena, double, taps * of->spec.in.channels * of->out),
                .db = arena_array(b->arena, double, of->out) };
  for (int i = 0; i < of->count; i++)
    n.dx[i] = arena_array(b->arena, double, samples *places(of->spec.in) * of->width[i]);
  return n;
}

/* ---- the definition -------------------------------------------------------------------------- */

/* what one tap does between place p of the input and place q of the output */
static void conv_tap(const ConvBench *b, Numbers *n, int sample, int tap, int p, int q) {
  const Case *of = &b->of;
  const Slot *slot = &b->params->layout->slot[0];
  const int out = of->out, y_at = (sample * places(b->plane) + q) * out;
  const real *w = b->w + (ptrdiff_t)sample * row_stride(places(b->plane) * out) + q * out;
  for (int i = 0, row = tap * of->spec.in.channels; i < of->count; i++)
    for (int c = 0; c < of->width[i]; c++, row++) {
      int width = of->width[i], in = places(of->spec.in) * width;
      double x = (double)b->x[i][(ptrdiff_t)sample * row_stride(in) + p * width + c], dx = 0;
      const real *f = params_at(b->params, 0) + (ptrdiff_t)row * slot->ld;
      double *y = n->y + y_at, *df = n->df + (ptrdiff_t)row * out;
      for (int o = 0; o < out; o++) {
        y[o] += x * (double)f[o];
        df[o] += x * (double)w[o];
        dx += (double)f[o] * (double)w[o];
      }
      n->dx[i][sample * in + p * width + c] += dx;
    }
}

static int pad_along(const ConvSpec *spec, int kernel) {
  return kernel == 1 ? 0 : spec->pad == CONV_SAME ? kernel / 2 : spec->pad;
}

static Numbers conv_defined(const ConvBench *b) {
  Numbers n = numbers_new(b);
  const ConvSpec *s = &b->of.spec;
  const Plane small = s->transposed ? s->in : b->plane, big = s->transposed ? b->plane : s->in;
  int samples = b->of.rows * b->of.k, out = b->of.out;
  for (int i = 0; i < samples * places(b->plane); i++)
    for (int o = 0; o < out; o++) {
      int ld = row_stride(places(b->plane) * out), row = i / places(b->plane);
      n.db[o] += (double)b->w[(ptrdiff_t)row * ld + i % places(b->plane) * out + o];
      if (!b->of.no_bias) n.y[i * out + o] = (double)params_at(b->params, 1)[o];
    }
  for (int sample = 0; sample < samples; sample++)
    for (int q = 0; q < places(small); q++)
      for (int tap = 0; tap < s->kh * s->kw; tap++) {
        int y = q / small.width * s->stride - pad_along(s, s->kh) + tap / s->kw;
        int x = q % small.width * s->stride - pad_along(s, s->kw) + tap % s->kw;
        if (y < 0 || y >= big.height || x < 0 || x >= big.width) continue;
        int p = y * big.width + x;
        conv_tap(b, &n, sample, tap, s->transposed ? q : p, s->transposed ? p : q);
      }
  return n;
}

/* ---- what the tape computed ------------------------------------------------------------------ */

static void dense(const real *from, int rows, int n, double scale, double *to) {
  for (int r = 0; r < rows; r++, from += row_stride(n))
    for (int j = 0; j < n; j++) *to++ = scale * (double)from[j];
}

static Numbers conv_computed(const ConvBench *b) {
  Numbers n = numbers_new(b);
  const Case *of = &b->of;
  const Layout *layout = b->params->layout;
  int samples = of->rows * of->k;
  double scale = (double)samples * b->y->n; /* of the mean */
  dense(graph_values(b->y), samples, b->y->n, 1, n.y);
  dense(graph_gradient(b->g) + layout->slot[0].offset, layout->slot[0].rows, of->out, scale, n.df);
  dense(graph_gradient(b->g) + layout->slot[1].offset, 1, of->out, scale, n.db);
  for (int i = 0; i < of->count; i++)
    dense(graph_values(b->dx[i]), samples, b->dx[i]->n, 1, n.dx[i]);
  return n;
}

/* ---- comparing ------------------------------------------------------------------------------- */

/* rms of the difference by the rms of the second */
static double rms_error(const double *a, const double *b, int n) {
  double error = 0, size = 0;
  for (int i = 0; i < n; i++) error += (a[i] - b[i]) * (a[i] - b[i]), size += b[i] * b[i];
  return sqrt(error / size);
}
static double dot(const double *a, const double *b, int n) {
  double sum = 0;
  for (int i = 0; i < n; i++) sum += a[i] * b[i];
  return sum;
}

typedef struct {
  double forward, weights; /* the input gradient counts as forward: it is such a pass */
} ConvError;

static ConvError conv_error(const ConvBench *b) {
  const Numbers got = conv_computed(b), want = conv_defined(b);
  const Case *of = &b->of;
  int samples = of->rows * of->k, taps = of->spec.kh * of->spec.kw;
  ConvError e = { rms_error(got.y, want.y, samples * b->y->n),
                  rms_error(got.df, want.df, taps * of->spec.in.channels * of->out) };
  for (int i = 0; i < of->count; i++)
    e.forward = fmax(e.forward, rms_error(got.dx[i], want.dx[i], samples * b->dx[i]->n));
  if (!of->no_bias) e.weights = fmax(e.weights, rms_error(got.db, want.db, of->out));
  return e;
}

#endif
