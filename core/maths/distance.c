/* distance.c -- distances between sets of samples. */
#include "core/maths/distance.h"
#include "core/check.h"
#include "core/rng.h"
#include <math.h>
#include <stdlib.h>

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* line[i] = x_i . direction, sorted */
static void project(const double *x, int n, int dim, const float *direction, double *line) {
  for (int i = 0; i < n; i++) {
    double sum = 0;
    for (int d = 0; d < dim; d++) sum += x[i * dim + d] * (double)direction[d];
    line[i] = sum;
  }
  qsort(line, (size_t)n, sizeof *line, ascending);
}

double distance_sliced_wasserstein(Arena *scratch, const double *a, const double *b, int n, int dim,
                                   int directions, uint64_t seed) {
  CHECK(n > 0 && dim > 0 && directions > 0, "distance of %d points in %d dimensions", n, dim);
  for (int i = 0; i < n * dim; i++)
    if (!isfinite(a[i]) || !isfinite(b[i])) return NAN;
  ArenaMark mark = arena_mark(scratch);
  double *p = arena_array(scratch, double, n), *q = arena_array(scratch, double, n), sum = 0;
  float *direction = arena_array(scratch, float, dim);
  Rng rng = rng_stream(seed, "sliced-wasserstein");
  for (int k = 0; k < directions; k++) {
    double norm2 = 0, apart2 = 0;
    rng_normals(rng, (uint64_t)k, 0, direction, dim);
    for (int d = 0; d < dim; d++) norm2 += (double)direction[d] * (double)direction[d];
    project(a, n, dim, direction, p);
    project(b, n, dim, direction, q);
    for (int i = 0; i < n; i++) apart2 += (p[i] - q[i]) * (p[i] - q[i]);
    sum += apart2 / (norm2 * n);
  }
  arena_reset(scratch, mark);
  return sqrt(sum / directions);
}
