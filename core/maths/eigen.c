/* eigen.c -- Jacobi's rotations, and subspace iteration on top of them. */
#include "core/maths/eigen.h"
#include "core/check.h"
#include "core/rng.h"
#include <math.h>
#include <string.h>

/* ---- rotations ------------------------------------------------------------------------------- */

/* x' = c x - s y, y' = s x + c y, over n numbers `step` apart */
static void rotate(double *x, double *y, int n, int step, double c, double s) {
  for (int k = 0; k < n; k++) {
    double u = x[k * step], v = y[k * step];
    x[k * step] = c * u - s * v, y[k * step] = s * u + c * v;
  }
}

/* The rotation that makes a[p, q] zero; rows of `vector` turn with it. */
static void annihilate(double *a, double *vector, int n, int p, int q) {
  double off = a[p * n + q];
  if (off == 0) return;
  double theta = (a[q * n + q] - a[p * n + p]) / (2 * off);
  double t = (theta < 0 ? -1 : 1) / (fabs(theta) + sqrt(theta * theta + 1));
  double c = 1 / sqrt(t * t + 1), s = t * c;
  rotate(a + p * n, a + q * n, n, 1, c, s);
  rotate(a + p, a + q, n, n, c, s);
  rotate(vector + p * n, vector + q * n, n, 1, c, s);
  a[p * n + q] = a[q * n + p] = 0;
}

/* squares above the diagonal, as part of all */
static double off_diagonal(const double *a, int n) {
  double off = 0, all = 0;
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) {
      double square = a[i * n + j] * a[i * n + j];
      all += square;
      if (j > i) off += square;
    }
  return all > 0 ? off / all : 0;
}

static void sort_descending(double *value, double *vector, int n) {
  for (int i = 0; i < n; i++) {
    int top = i;
    for (int j = i + 1; j < n; j++)
      if (value[j] > value[top]) top = j;
    if (top == i) continue;
    double other = value[i];
    value[i] = value[top], value[top] = other;
    rotate(vector + i * n, vector + top * n, n, 1, 0, -1);
  }
}

void eigen_symmetric(double *a, int n, double *value, double *vector) {
  enum { SWEEPS = 40 };      /* about 8 are enough */
  const double tiny = 1e-32; /* rounding, squared */
  memset(vector, 0, sizeof *vector * (size_t)n * (size_t)n);
  for (int i = 0; i < n; i++) vector[i * n + i] = 1;
  for (int sweep = 0; sweep < SWEEPS && off_diagonal(a, n) > tiny; sweep++)
    for (int p = 0; p < n; p++)
      for (int q = p + 1; q < n; q++) annihilate(a, vector, n, p, q);
  for (int i = 0; i < n; i++) value[i] = a[i * n + i];
  sort_descending(value, vector, n);
}

/* ---- subspace iteration ---------------------------------------------------------------------- */

enum { GUARD = 64, ROUNDS = 200, BAND = 8 }; /* vectors beyond those wanted; rows to a thread */

typedef struct {
  const double *x, *b; /* [rows, k], [k, n] */
  double *y;           /* [rows, n] */
  int rows, k, n;
} Product;

static void multiply_band(void *context, int piece, int worker) {
  const Product *p = context;
  (void)worker;
  int n = p->n, from = piece * BAND, to = from + BAND < p->rows ? from + BAND : p->rows;
  memset(p->y + from * n, 0, sizeof *p->y * (size_t)(to - from) * (size_t)n);
  for (int k = 0; k < p->k; k++)
    for (int i = from; i < to; i++) {
      const double *b = p->b + k * n, x = p->x[i * p->k + k];
      double *y = p->y + i * n;
      for (int j = 0; j < n; j++) y[j] += x * b[j];
    }
}

/* y = x b */
static void multiply(Pool *pool, const double *x, int rows, int k, const double *b, int n,
                     double *y) {
  Product p = { x, b, y, rows, k, n };
  pool_run(pool, multiply_band, &p, (rows + BAND - 1) / BAND);
}

static double dot(const double *x, const double *y, int n) {
  double part[8] = { 0 };
  int i = 0;
  for (; i + 8 <= n; i += 8)
    for (int l = 0; l < 8; l++) part[l] += x[i + l] * y[i + l];
  for (; i < n; i++) part[0] += x[i] * y[i];
  return ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7]));
}

/* Gram-Schmidt, twice over; a row that lies among those before it is drawn anew. */
static void orthonormalise(double *x, int rows, int n) {
  const double rounding = 1e-12;
  Rng rng = rng_stream(0, "subspace");
  for (int i = 0; i < rows; i++) {
    double *row = x + i * n, before = 0, after = 0;
    for (uint32_t draw = 0; !(after > rounding * before); draw++) {
      CHECK(draw < 10, "row %d of %d x %d cannot be made orthogonal", i, rows, n);
      for (int k = 0; k < n && draw; k++) row[k] = rng_normal(rng, draw, (uint32_t)i, (uint32_t)k);
      before = sqrt(dot(row, row, n));
      for (int j = 0; j < 2 * i; j++) {
        const double *other = x + j % i * n;
        double along = dot(row, other, n);
        for (int k = 0; k < n; k++) row[k] -= along * other[k];
      }
      after = sqrt(dot(row, row, n));
    }
    for (int k = 0; k < n; k++) row[k] /= after;
  }
}

typedef struct {
  int block, n;
  double *x, *ax, *spare;       /* [block, n]: the subspace, a times it */
  double *small, *turn, *value; /* [block, block] twice, [block] */
} Subspace;

static Subspace subspace_new(Arena *arena, int block, int n) {
  Subspace s = { .block = block, .n = n };
  double **wide[] = { &s.x, &s.ax, &s.spare }, **narrow[] = { &s.small, &s.turn };
  for (int i = 0; i < 3; i++) *wide[i] = arena_array(arena, double, block *n);
  for (int i = 0; i < 2; i++) *narrow[i] = arena_array(arena, double, block *block);
  s.value = arena_array(arena, double, block);
  Rng rng = rng_stream(0, "subspace");
  for (int i = 0; i < block; i++)
    for (int k = 0; k < n; k++) s.x[i * n + k] = rng_normal(rng, 0, (uint32_t)i, (uint32_t)k);
  orthonormalise(s.x, block, n);
  return s;
}

/* Rows of x and of ax turn to the eigenvectors of x a x'. */
static void rayleigh_ritz(Subspace *s, Pool *pool) {
  int block = s->block, n = s->n;
  for (int i = 0; i < block; i++)
    for (int j = 0; j <= i; j++)
      s->small[i * block + j] = s->small[j * block + i] = dot(s->x + i * n, s->ax + j * n, n);
  eigen_symmetric(s->small, block, s->value, s->turn);
  double **turned[] = { &s->x, &s->ax };
  for (int i = 0; i < 2; i++) {
    double *old = *turned[i];
    multiply(pool, s->turn, block, block, old, n, s->spare);
    *turned[i] = s->spare, s->spare = old;
  }
}

/* the greatest |a x - value x| of the first `count` */
static double residual(const Subspace *s, int count) {
  double most = 0;
  for (int i = 0; i < count; i++) {
    double sum = 0;
    for (int k = 0; k < s->n; k++) {
      double off = s->ax[i * s->n + k] - s->value[i] * s->x[i * s->n + k];
      sum += off * off;
    }
    most = fmax(most, sqrt(sum));
  }
  return most;
}

static bool iterate(Subspace *s, Pool *pool, const double *a, int count, double tolerance) {
  for (int round = 0; round < ROUNDS; round++) {
    multiply(pool, s->x, s->block, s->n, a, s->n, s->ax);
    rayleigh_ritz(s, pool);
    if (residual(s, count) <= tolerance * s->value[0]) return true;
    multiply(pool, s->ax, s->block, s->n, a, s->n, s->x); /* a step more is cheaper than a round */
    orthonormalise(s->x, s->block, s->n);
  }
  return false;
}

bool eigen_leading(Arena *scratch, Pool *pool, const double *a, int n, int count, double tolerance,
                   double *value, double *vector) {
  CHECK(0 < count && count <= n, "%d eigenvalues of %d", count, n);
  ArenaMark mark = arena_mark(scratch);
  bool whole = n <= count + GUARD; /* few enough for Jacobi alone */
  Subspace s = subspace_new(scratch, whole ? n : count + GUARD, n);
  if (whole) {
    memcpy(s.small, a, sizeof *a * (size_t)n * (size_t)n);
    eigen_symmetric(s.small, n, s.value, s.x);
  }
  bool done = whole || iterate(&s, pool, a, count, tolerance);
  memcpy(value, s.value, sizeof *value * (size_t)count);
  memcpy(vector, s.x, sizeof *vector * (size_t)count * (size_t)n);
  arena_reset(scratch, mark);
  return done;
}
