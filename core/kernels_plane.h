/* kernels_plane.h -- loops over the positions of pictures and trajectories: part of
 * kernels_body.h, compiled for each instruction set.  Plain IEEE operations, the same everywhere. */

static void square_add(const real *x, const real *mean, real *sum, int n) {
  for (int i = 0; i < n; i++) {
    real d = x[i] - mean[i];
    sum[i] += d * d;
  }
}
static void dot_add(const real *d, const real *x, const real *mean, real *sum, int n) {
  for (int i = 0; i < n; i++) sum[i] += d[i] * (x[i] - mean[i]);
}
static void standardise(const real *x, const StandardRows *rows, real *y, int n) {
  const real *mean = rows->mean, *a = rows->a, *b = rows->b;
  for (int i = 0; i < n; i++) y[i] = (x[i] - mean[i]) * a[i] + b[i];
}
static void standardise_back(const real *d, const real *x, const StandardRows *rows, real *y,
                             int n) {
  const real *mean = rows->mean, *a = rows->a, *b = rows->b, *along = rows->along;
  for (int i = 0; i < n; i++) y[i] = d[i] * a[i] + ((x[i] - mean[i]) * along[i] + b[i]);
}

#define PLANE_ENTRIES                                                                              \
  .square_add = square_add, .dot_add = dot_add, .standardise = standardise,                        \
  .standardise_back = standardise_back
