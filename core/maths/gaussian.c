/* gaussian.c -- moments, and the Frechet distance. */
#include "core/maths/gaussian.h"
#include "core/check.h"
#include "core/maths/eigen.h"
#include <math.h>

Gaussian gaussian_fit(Arena *arena, const double *x, int n, int dim) {
  CHECK(n > 1 && dim > 0, "a Gaussian fit to %d points in %d dimensions", n, dim);
  Gaussian g = { dim, arena_array(arena, double, dim), arena_array(arena, double, dim *dim) };
  for (int i = 0; i < n; i++)
    for (int d = 0; d < dim; d++) g.mean[d] += x[i * dim + d] / n;
  for (int i = 0; i < n; i++)
    for (int d = 0; d < dim; d++) {
      double off = (x[i * dim + d] - g.mean[d]) / (n - 1);
      for (int e = 0; e < dim; e++) g.covariance[d * dim + e] += off * (x[i * dim + e] - g.mean[e]);
    }
  return g;
}

/* y = x b, all [dim, dim] */
static void multiply(const double *x, const double *b, int dim, double *y) {
  for (int i = 0; i < dim; i++)
    for (int j = 0; j < dim; j++) {
      double sum = 0;
      for (int k = 0; k < dim; k++) sum += x[i * dim + k] * b[k * dim + j];
      y[i * dim + j] = sum;
    }
}

/* The square root of a covariance: V' diag(sqrt(value)) V, V's rows its eigenvectors. */
static double *root_of(Arena *arena, const double *covariance, int dim) {
  int size = dim * dim;
  double *a = arena_array(arena, double, size), *root = arena_array(arena, double, size);
  double *vector = arena_array(arena, double, size), *value = arena_array(arena, double, dim);
  for (int i = 0; i < size; i++) a[i] = covariance[i];
  eigen_symmetric(a, dim, value, vector);
  for (int k = 0; k < dim; k++)
    for (int i = 0; i < dim; i++)
      for (int j = 0; j < dim; j++)
        root[i * dim + j] += sqrt(fmax(value[k], 0)) * vector[k * dim + i] * vector[k * dim + j];
  return root;
}

/* tr (C1 C2)^(1/2) */
static double trace_of_root(Arena *arena, const Gaussian *a, const Gaussian *b) {
  int dim = a->dim, size = dim * dim;
  double *half = root_of(arena, a->covariance, dim), *part = arena_array(arena, double, size);
  double *both = arena_array(arena, double, size), *value = arena_array(arena, double, dim),
         sum = 0;
  multiply(half, b->covariance, dim, part);
  multiply(part, half, dim, both);
  for (int i = 0; i < dim; i++)
    for (int j = 0; j < i; j++) {
      double mean = (both[i * dim + j] + both[j * dim + i]) / 2;
      both[i * dim + j] = both[j * dim + i] = mean;
    }
  eigen_symmetric(both, dim, value, part);
  for (int i = 0; i < dim; i++) sum += sqrt(fmax(value[i], 0));
  return sum;
}

double gaussian_frechet(Arena *scratch, const Gaussian *a, const Gaussian *b) {
  CHECK(a->dim == b->dim, "Gaussians in %d and %d dimensions", a->dim, b->dim);
  ArenaMark mark = arena_mark(scratch);
  double apart = 0, trace = 0;
  for (int i = 0; i < a->dim; i++) {
    int diagonal = i * a->dim + i;
    apart += (a->mean[i] - b->mean[i]) * (a->mean[i] - b->mean[i]);
    trace += a->covariance[diagonal] + b->covariance[diagonal];
  }
  double distance = apart + trace - 2 * trace_of_root(scratch, a, b);
  arena_reset(scratch, mark);
  return distance;
}
