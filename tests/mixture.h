/* mixture.h -- 0.3 N(-1, 0.4^2) + 0.7 N(0.8, 0.25^2), a small network that learns it, and how far
 * samples are from it. */
#ifndef TESTS_MIXTURE_H
#define TESTS_MIXTURE_H
#include "core/tape/optim.h"
#include "core/rng.h"
#include "diffusion/sampler.h"
#include "policy/nets/denoiser_mlp.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MIXTURE_ROWS = 256, MIXTURE_LD = 16 };

static inline double mixture_cdf(double x) {
  return 0.3 * 0.5 * erfc(-(x + 1) / 0.4 / sqrt(2)) + 0.7 * 0.5 * erfc(-(x - 0.8) / 0.25 / sqrt(2));
}

static inline double mixture_quantile(double p) {
  double low = -6, high = 6;
  for (int i = 0; i < 60; i++) {
    double middle = (low + high) / 2;
    *(mixture_cdf(middle) < p ? &low : &high) = middle;
  }
  return (low + high) / 2;
}

/* sample `row` of step `step`: the first number of a row */
static inline void mixture_batch(real *x, int rows, uint64_t step) {
  Rng rng = rng_stream(6, "mixture");
  for (uint32_t r = 0; r < (uint32_t)rows; r++) {
    bool first = rng_uniform(rng, step, r, 0) < 0.3;
    double z = rng_normal(rng, step, r, 2);
    x[r * MIXTURE_LD] = (real)(first ? -1 + 0.4 * z : 0.8 + 0.25 * z);
  }
}

static inline int mixture_order(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* 1-Wasserstein distance of n samples from the mixture itself: the mean of |sorted - quantile| */
static inline double mixture_w1(const real *x, int n) {
  double *sorted = malloc((size_t)n * sizeof *sorted), sum = 0;
  for (int i = 0; i < n; i++) sorted[i] = (double)x[(ptrdiff_t)i * MIXTURE_LD];
  qsort(sorted, (size_t)n, sizeof *sorted, mixture_order);
  for (int i = 0; i < n; i++) sum += fabs(sorted[i] - mixture_quantile((i + 0.5) / n));
  free(sorted);
  return sum / n;
}

/* one of two: what a sampler makes of unit noise, 2048 samples */
static inline double mixture_sampled_w1(Arena *arena, const SamplerSpec *spec, const Denoiser *d,
                                        const Params *params) {
  enum { N = 2048 };
  Error error;
  const Sampler *sampler = sampler_new(arena, spec, d, &error);
  CHECK(sampler, "%s", error.text);
  GraphSpec graph = { .kernels = kernels_find("own", &error), .seed = 9, .max_rows = N };
  SamplerLoop *loop = sampler_loop_new(
      arena, sampler, d, params, &(SamplerLoopSpec){ .graph = graph, .stream = "test", .k = 1 });
  real *x = arena_array(arena, real, N * MIXTURE_LD);
  sampler_loop_run(loop, N, 0, NULL, NULL, x, false);
  return mixture_w1(x, N);
}

/* Adam on batches of the mixture; the rate falls to 0 by a cosine */
typedef struct {
  Graph *graph;
  Tensor *x0, *loss;
  Optim *optim;
  real batch[MIXTURE_ROWS * MIXTURE_LD];
} MixtureTraining;

static inline void mixture_train(MixtureTraining *t, Params *average, int steps) {
  Objective objective = { .graph = t->graph, .loss = t->loss, .optim = t->optim };
  t->optim->step = 0;
  for (int i = 0; i < steps; i++) {
    mixture_batch(t->batch, MIXTURE_ROWS, (uint64_t)i);
    graph_bind(t->x0, t->batch);
    CHECK(objective_step(&objective, MIXTURE_ROWS, (uint64_t)i), "training diverged");
    if (average) params_lerp(average, t->optim->params, fmax(0.005, 1.0 / (i + 1)));
  }
}

#endif
