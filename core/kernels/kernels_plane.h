/* kernels_plane.h -- loops of the norms and of attention: a part of kernels_body.h, compiled for
 * each instruction set. */

static void square_add(const real *x, const real *mean, real *sum, int n) {
  for (int i = 0; i < n; i++) {
    real d = x[i] - mean[i];
    sum[i] += d * d;
  }
}

VECMATH real vecmath_none(real x, real *d) {
  *d = 1;
  return x;
}
/* entries of one place alone depend on each other: ivdep says so, since y and du may be inputs */
#define NORM_KERNEL(name, zero)                                                                    \
  static void norm_##name(const real *x, const StandardRows *rows, real *y, int n) {               \
    const real *mean = rows->mean, *a = rows->a, *b = rows->b, *along = rows->along;               \
    real d;                                                                                        \
    if (along)                                                                                     \
      _Pragma("GCC ivdep") for (int i = 0; i < n; i++) y[i] =                                      \
          vecmath_##name((x[i] - mean[i]) * a[i] + b[i], &d) + along[i];                           \
    else                                                                                           \
      _Pragma("GCC ivdep") for (int i = 0; i < n; i++) y[i] =                                      \
          vecmath_##name((x[i] - mean[i]) * a[i] + b[i], &d);                                      \
  }                                                                                                \
  static void slope_##name(const real *dy, const real *x, const StandardRows *rows, real *du,      \
                           real *da, real *db, int n) {                                            \
    const real *mean = rows->mean, *a = rows->a, *b = rows->b;                                     \
    _Pragma("GCC ivdep") for (int i = 0; i < n; i++) {                                             \
      real centred = x[i] - mean[i], d;                                                            \
      (void)vecmath_##name(centred *a[i] + b[i], &d);                                              \
      real u = dy[i] * d;                                                                          \
      du[i] = u, db[i] += u, da[i] += u * centred;                                                 \
    }                                                                                              \
  }
KERNEL_MAPS(NORM_KERNEL)
NORM_KERNEL(none, 1)
#define NORM_ENTRY(name, zero)  norm_##name,
#define SLOPE_ENTRY(name, zero) slope_##name,

static void standardise_back(const real *d, const real *x, const StandardRows *rows, real *y,
                             int n) {
  const real *mean = rows->mean, *a = rows->a, *b = rows->b, *along = rows->along;
  for (int i = 0; i < n; i++) y[i] = d[i] * a[i] + ((x[i] - mean[i]) * along[i] + b[i]);
}

/* A tile of scores [keys, width]: a column is a query, width a multiple of 16, at most 64.  Sums
 * over keys are 16 interleaved partial sums, added pairwise. */
enum { SOFTMAX_WIDTH = 64 };

static void fold_columns(real part[16 * SOFTMAX_WIDTH], int width) {
  for (int half = 8 * width; half >= width; half /= 2)
    for (int i = 0; i < half; i++) part[i] += part[half + i];
}

static void softmax(real *s, const real *keep, int keys, int width, real *top, real *inverse) {
  real part[16 * SOFTMAX_WIDTH] = { 0 };
  for (int i = 0; i < width; i++) top[i] = (real)-1e30;
  for (int j = 0; j < keys; j++) {
    const real *row = s + (ptrdiff_t)j * width, away = (keep[j] - 1) * (real)1e9;
    for (int i = 0; i < width; i++) top[i] = row[i] + away > top[i] ? row[i] + away : top[i];
  }
  for (int j = 0; j < keys; j++) {
    real *row = s + (ptrdiff_t)j * width, *sum = part + j % 16 * width;
    real kept = keep[j], away = (kept - 1) * (real)1e9;
    for (int i = 0; i < width; i++) row[i] = kept * exp_of(row[i] + away - top[i]);
    for (int i = 0; i < width; i++) sum[i] += row[i];
  }
  fold_columns(part, width);
  for (int i = 0; i < width; i++) inverse[i] = part[i] > 0 ? 1 / part[i] : 0;
}

/* scores again -> probabilities */
static void softmax_again(real *s, const real *keep, int keys, int width, const real *top,
                          const real *inverse) {
  for (int j = 0; j < keys; j++) {
    real *row = s + (ptrdiff_t)j * width, kept = keep[j], away = (kept - 1) * (real)1e9;
    for (int i = 0; i < width; i++) row[i] = kept * exp_of(row[i] + away - top[i]) * inverse[i];
  }
}

/* d = p (d - sum over keys of p d) */
static void softmax_back(const real *p, real *d, int keys, int width) {
  real part[16 * SOFTMAX_WIDTH] = { 0 };
  for (int j = 0; j < keys; j++) {
    const real *prob = p + (ptrdiff_t)j * width, *slope = d + (ptrdiff_t)j * width;
    real *sum = part + j % 16 * width;
    for (int i = 0; i < width; i++) sum[i] += prob[i] * slope[i];
  }
  fold_columns(part, width);
  for (int j = 0; j < keys; j++) {
    const real *prob = p + (ptrdiff_t)j * width;
    real *slope = d + (ptrdiff_t)j * width;
    for (int i = 0; i < width; i++) slope[i] = prob[i] * (slope[i] - part[i]);
  }
}

#define PLANE_KERNELS                                                                              \
  {                                                                                                \
    square_add, { KERNEL_MAPS(NORM_ENTRY) norm_none }, { KERNEL_MAPS(SLOPE_ENTRY) slope_none },    \
        standardise_back, softmax, softmax_again, softmax_back                                     \
  }
