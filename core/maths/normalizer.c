/* normalizer.c -- means and deviations in double, applied row by row. */
#include "core/maths/normalizer.h"
#include "core/check.h"
#include <math.h>
#include <stddef.h>

Normalizer normalizer_new(Arena *arena, int dim) {
  Normalizer n = { dim, arena_array(arena, float, dim), arena_array(arena, float, dim) };
  for (int j = 0; j < dim; j++) n.std[j] = 1;
  return n;
}

/* Mean over the rows of (x_j - centre)^power, power 1 or 2. */
static double moment(const float *x, int dim, int j, const int64_t *index, int64_t count,
                     double centre, int power) {
  double sum = 0;
  for (int64_t i = 0; i < count; i++) {
    double d = (double)x[(index ? index[i] : i) * dim + j] - centre;
    sum += power == 1 ? d : d * d;
  }
  return sum / (double)count;
}

static double largest(const float *x, int dim, int j, const int64_t *index, int64_t count) {
  double most = 0;
  for (int64_t i = 0; i < count; i++)
    most = fmax(most, fabs((double)x[(index ? index[i] : i) * dim + j]));
  return most;
}

void normalizer_fit(Normalizer *n, const float *x, const int64_t *index, int64_t count) {
  CHECK(count > 0, "normalizer: no rows");
  for (int j = 0; j < n->dim; j++) {
    double mean = moment(x, n->dim, j, index, count, 0, 1);
    double std = sqrt(moment(x, n->dim, j, index, count, mean, 2));
    double most = largest(x, n->dim, j, index, count);
    n->mean[j] = (float)mean;
    n->std[j] = (float)(std > NORMALIZER_CONSTANT * most ? std : most > 0 ? most : 1);
  }
}

bool normalizer_check(const Normalizer *n, Error *error) {
  for (int j = 0; j < n->dim; j++)
    if (!isfinite(n->mean[j]) || !(n->std[j] > 0) || !isnormal(n->std[j]))
      return error_set(
          error, FAIL_INPUT,
          "normalizer/mean[%d] is %g and normalizer/std[%d] %g, expected a finite mean "
          "and a deviation above 0",
          j, (double)n->mean[j], j, (double)n->std[j]);
  return true;
}

void normalizer_apply(const Normalizer *n, const float *x, real *out) {
  for (int j = 0; j < n->dim; j++) out[j] = ((real)x[j] - (real)n->mean[j]) / (real)n->std[j];
}

void normalizer_invert(const Normalizer *n, const real *x, float *out) {
  for (int j = 0; j < n->dim; j++) out[j] = (float)(x[j] * (real)n->std[j] + (real)n->mean[j]);
}
