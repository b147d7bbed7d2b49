/* distance.c -- distances between sets of samples. */
#include "core/maths/distance.h"
#include "core/check.h"
#include "core/rng.h"
#include "core/sort.h"
#include <math.h>
#include <stdbool.h>
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
  sort(line, (size_t)n, sizeof *line, ascending);
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
    double norm2 = 0, far2 = 0;
    rng_normals(rng, (uint64_t)k, 0, direction, dim);
    for (int d = 0; d < dim; d++) norm2 += (double)direction[d] * (double)direction[d];
    project(a, n, dim, direction, p);
    project(b, n, dim, direction, q);
    for (int i = 0; i < n; i++) far2 += (p[i] - q[i]) * (p[i] - q[i]);
    sum += far2 / (norm2 * n);
  }
  arena_reset(scratch, mark);
  return sqrt(sum / directions);
}

/* ---- kernel distance ------------------------------------------------------------------------- */

/* the mean of (x.y / dim + 1)^3 over pairs; `own`: of one set, pairs of two different members */
static double mean_kernel(const double *x, int n, const double *y, int m, int dim, bool own) {
  double sum = 0;
  for (int i = 0; i < n; i++)
    for (int j = 0; j < m; j++) {
      double product = 0;
      if (own && i == j) continue;
      for (int d = 0; d < dim; d++)
        product += x[(ptrdiff_t)i * dim + d] * y[(ptrdiff_t)j * dim + d];
      double base = product / dim + 1;
      sum += base * base * base;
    }
  return sum / ((double)n * (own ? n - 1 : m));
}

double distance_kernel(const double *a, int n, const double *b, int m, int dim) {
  CHECK(n > 1 && m > 1 && dim > 0, "kernel distance of %d and %d points in %d dimensions", n, m,
        dim);
  return mean_kernel(a, n, a, n, dim, true) + mean_kernel(b, m, b, m, dim, true) -
         2 * mean_kernel(a, n, b, m, dim, false);
}

/* ---- balls ----------------------------------------------------------------------------------- */

static double apart2(const double *x, const double *y, int dim) {
  double sum = 0;
  for (int d = 0; d < dim; d++) sum += (x[d] - y[d]) * (x[d] - y[d]);
  return sum;
}

/* the k-th least squared distance from y_i to the others; least [k] is scratch */
static double radius2(const double *y, int m, int dim, int i, int k, double *least) {
  for (int r = 0; r < k; r++) least[r] = INFINITY;
  for (int j = 0; j < m; j++) {
    if (j == i) continue;
    double far = apart2(y + (ptrdiff_t)i * dim, y + (ptrdiff_t)j * dim, dim);
    /* inserted where it belongs; what was the greatest falls out */
    for (int r = 0; r < k; r++)
      if (far < least[r]) {
        double out = least[r];
        least[r] = far, far = out;
      }
  }
  return least[k - 1];
}

double distance_coverage(Arena *scratch, const double *x, int n, const double *y, int m, int dim,
                         int k) {
  CHECK(n > 0 && k > 0 && m > k && dim > 0, "balls to neighbour %d of %d points", k, m);
  ArenaMark mark = arena_mark(scratch);
  double *radius = arena_array(scratch, double, m), *least = arena_array(scratch, double, k);
  for (int j = 0; j < m; j++) radius[j] = radius2(y, m, dim, j, k, least);
  int covered = 0;
  for (int i = 0; i < n; i++)
    for (int j = 0; j < m; j++) {
      if (apart2(x + (ptrdiff_t)i * dim, y + (ptrdiff_t)j * dim, dim) > radius[j]) continue;
      covered++;
      break;
    }
  arena_reset(scratch, mark);
  return (double)covered / n;
}
