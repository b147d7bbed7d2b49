/* kernels_tile.h -- the transforms of minimal filtering, part of kernels_body.h.
 *
 * F(4, r) for r = 3 and 5 taps (Toom-Cook; Winograd 1980; Lavin & Gray 2016): with a point for each
 * of 4 + r - 1 values, four outputs y(j) = sum_i x(i + j) w(i) are y = A' [(G w) * (B' x)], where
 *   A'(j, p) = p^j,   G(p, i) = p^i / M'(p),   B'(p, .) = the coefficients of M(x) / (x - p)
 * and M is the product of x - p over the finite points.  At infinity A' and G keep the last power,
 * and B' has M itself.  Points are 0, +-1, +-2 and for 5 taps +-1/2; signs and scales are moved
 * from B' into G so that B' has small numbers.  Points +-p share their even and odd parts.  In two
 * dimensions every transform works along columns, then along rows. */

#ifdef V
typedef V Vec;
#else
typedef real Vec;
#define INLINE        VECMATH
#define vload(p)      (*(p))
#define vstore(p, x)  (*(p) = (x))
#define vset(x)       ((real)(x))
#define vfma(a, b, c) vecmath_fma(a, b, c)
#endif

#define UNROLL _Pragma("GCC unroll 16")
/* c a + b */
#define TIMES(c, a, b) vfma(vset((real)(c)), a, b)

/* ---- 3 taps: points 0 1 -1 2 -2 inf ---------------------------------------------------------- */

INLINE void line_in_3(Vec *v, const Vec *x) { /* B' */
  Vec a = TIMES(-4, x[2], x[4]), b = TIMES(-4, x[1], x[3]), c = x[4] - x[2], d = x[3] - x[1];
  v[0] = TIMES(4, x[0], TIMES(-5, x[2], x[4]));
  v[1] = a + b, v[2] = a - b;
  v[3] = TIMES(2, d, c), v[4] = TIMES(-2, d, c);
  v[5] = TIMES(4, x[1], TIMES(-5, x[3], x[5]));
}
INLINE void line_out_3(Vec *y, const Vec *m) { /* A' */
  Vec a = m[1] + m[2], b = m[1] - m[2], c = m[3] + m[4], d = m[3] - m[4];
  y[0] = m[0] + a + c, y[1] = TIMES(2, d, b), y[2] = TIMES(4, c, a), y[3] = TIMES(8, d, b) + m[5];
}
INLINE void line_out_back_3(Vec *m, const Vec *y) { /* A */
  Vec a = y[0] + y[2], b = y[1] + y[3], c = TIMES(4, y[2], y[0]), d = TIMES(4, y[3], y[1]);
  m[0] = y[0], m[1] = a + b, m[2] = a - b;
  m[3] = TIMES(2, d, c), m[4] = TIMES(-2, d, c), m[5] = y[3];
}
INLINE void line_filter_3(Vec *u, const Vec *w) { /* G */
  Vec a = (w[0] + w[2]) * vset((real)(-1. / 6)), b = TIMES(4, w[2], w[0]) * vset((real)(1. / 24));
  u[0] = w[0] * vset((real)0.25);
  u[1] = TIMES(-1. / 6, w[1], a), u[2] = TIMES(1. / 6, w[1], a);
  u[3] = TIMES(1. / 12, w[1], b), u[4] = TIMES(-1. / 12, w[1], b);
  u[5] = w[2];
}
INLINE void line_filter_back_3(Vec *w, const Vec *u) { /* G' */
  Vec a = (u[1] + u[2]) * vset((real)(-1. / 6)), b = (u[3] + u[4]) * vset((real)(1. / 24));
  w[0] = TIMES(0.25, u[0], a + b);
  w[1] = TIMES(1. / 6, u[2] - u[1], (u[3] - u[4]) * vset((real)(1. / 12)));
  w[2] = TIMES(4, b, a) + u[5];
}

/* ---- 5 taps: points 0 1 -1 2 -2 1/2 -1/2 inf ------------------------------------------------- */

INLINE void line_in_5(Vec *v, const Vec *x) {
  Vec even[3] = { TIMES(-4.25, x[4], x[6] + x[2]), TIMES(0.25, x[2], TIMES(-1.25, x[4], x[6])),
                  TIMES(4, x[2], TIMES(-5, x[4], x[6])) };
  Vec odd[3] = { TIMES(-4.25, x[3], x[5] + x[1]),
                 TIMES(0.25, x[1], TIMES(-1.25, x[3], x[5])) * vset(2),
                 TIMES(4, x[1], TIMES(-5, x[3], x[5])) * vset((real)0.5) };
  v[0] = TIMES(5.25, x[2] - x[4], x[6] - x[0]);
  for (int i = 0; i < 3; i++) v[2 * i + 1] = even[i] + odd[i], v[2 * i + 2] = even[i] - odd[i];
  v[7] = TIMES(5.25, x[3] - x[5], x[7] - x[1]);
}
INLINE void line_out_5(Vec *y, const Vec *m) {
  Vec a = m[1] + m[2], b = m[1] - m[2], c = m[3] + m[4], d = m[3] - m[4];
  Vec e = m[5] + m[6], f = m[5] - m[6];
  y[0] = m[0] + a + (c + e);
  y[1] = TIMES(0.5, f, TIMES(2, d, b));
  y[2] = TIMES(0.25, e, TIMES(4, c, a));
  y[3] = TIMES(0.125, f, TIMES(8, d, b)) + m[7];
}
INLINE void line_out_back_5(Vec *m, const Vec *y) {
  Vec a = y[0] + y[2], b = y[1] + y[3], c = TIMES(4, y[2], y[0]), d = TIMES(4, y[3], y[1]);
  Vec e = TIMES(0.25, y[2], y[0]), f = TIMES(0.25, y[3], y[1]);
  m[0] = y[0], m[1] = a + b, m[2] = a - b;
  m[3] = TIMES(2, d, c), m[4] = TIMES(-2, d, c);
  m[5] = TIMES(0.5, f, e), m[6] = TIMES(-0.5, f, e), m[7] = y[3];
}
INLINE void line_filter_5(Vec *u, const Vec *w) {
  Vec even = w[0] + w[2] + w[4], odd = w[1] + w[3];
  Vec even2 = TIMES(16, w[4], TIMES(4, w[2], w[0])), odd2 = TIMES(4, w[3], w[1]) * vset(2);
  Vec even3 = TIMES(16, w[0], TIMES(4, w[2], w[4])), odd3 = TIMES(4, w[1], w[3]) * vset(2);
  u[0] = -w[0], u[7] = w[4];
  u[1] = (even + odd) * vset((real)(-2. / 9)), u[2] = (even - odd) * vset((real)(-2. / 9));
  u[3] = (even2 + odd2) * vset((real)(1. / 90)), u[4] = (even2 - odd2) * vset((real)(1. / 90));
  u[5] = (even3 + odd3) * vset((real)(2. / 45)), u[6] = (even3 - odd3) * vset((real)(2. / 45));
}
INLINE void line_filter_back_5(Vec *w, const Vec *u) {
  const Vec one = vset((real)(-2. / 9)), two = vset((real)(1. / 90)), half = vset((real)(2. / 45));
  Vec a = (u[1] + u[2]) * one, b = (u[1] - u[2]) * one, c = (u[3] + u[4]) * two;
  Vec d = (u[3] - u[4]) * two, e = (u[5] + u[6]) * half, f = (u[5] - u[6]) * half;
  w[0] = TIMES(16, e, a + c) - u[0];
  w[1] = TIMES(2, d, TIMES(8, f, b));
  w[2] = TIMES(4, c + e, a);
  w[3] = TIMES(8, d, TIMES(2, f, b));
  w[4] = TIMES(16, c, a + e) + u[7];
}

/* ---- along one axis and two ------------------------------------------------------------------ */

#define ALONG_1(line, FROM, TO, LOAD, STORE)                                                       \
  do {                                                                                             \
    Vec d[FROM], o[TO];                                                                            \
    UNROLL for (int i = 0; i < FROM; i++) d[i] = LOAD(i);                                          \
    line(o, d);                                                                                    \
    UNROLL for (int i = 0; i < TO; i++) STORE(i, o[i]);                                            \
  } while (0)
#define ALONG_2(line, FROM, TO, LOAD, STORE)                                                       \
  do {                                                                                             \
    Vec d[FROM], o[TO], t[TO][FROM];                                                               \
    UNROLL for (int j = 0; j < FROM; j++) {                                                        \
      UNROLL for (int i = 0; i < FROM; i++) d[i] = LOAD(i * FROM + j);                             \
      line(o, d);                                                                                  \
      UNROLL for (int i = 0; i < TO; i++) t[i][j] = o[i];                                          \
    }                                                                                              \
    UNROLL for (int i = 0; i < TO; i++) {                                                          \
      line(o, t[i]);                                                                               \
      UNROLL for (int j = 0; j < TO; j++) STORE(i *TO + j, o[j]);                                  \
    }                                                                                              \
  } while (0)

#define PIXEL(i)         vload(pixel[i] + c)
#define TO_PIXEL(i, o)   vstore(pixel[i] + c, (o) + shift)
#define POINT(i)         vload(point + (i)*step + (c - from))
#define TO_POINT(i, o)   vstore(point + (i)*step + (c - from), o)
#define TAP(i)           vload(taps + (i)*tap + c)
#define ADD_TAP(i, o)    set_or_add(taps + (i)*tap + c, o, add)
#define U_POINT(i)       vload(point + (i)*step + c)
#define TO_U_POINT(i, o) vstore(point + (i)*step + c, o)

INLINE void set_or_add(real *to, Vec x, bool add) {
  if (add) x = vload(to) + x;
  vstore(to, x);
}

#define TILE_KERNELS(kind, ALONG, R, POINTS)                                                       \
  static void tile_in_##kind(const real *const *pixel, int from, int to, real *point,              \
                             ptrdiff_t step) {                                                     \
    for (int c = from; c < to; c += VW) ALONG(line_in_##R, POINTS, POINTS, PIXEL, TO_POINT);       \
  }                                                                                                \
  static void tile_out_##kind(const real *point, ptrdiff_t step, const real *bias,                 \
                              real *const *pixel, int from, int to) {                              \
    for (int c = from; c < to; c += VW) {                                                          \
      Vec shift = vload(bias + c);                                                                 \
      ALONG(line_out_##R, POINTS, 4, POINT, TO_PIXEL);                                             \
    }                                                                                              \
  }                                                                                                \
  static void tile_out_back_##kind(const real *const *pixel, int from, int to, real *point,        \
                                   ptrdiff_t step) {                                               \
    for (int c = from; c < to; c += VW) ALONG(line_out_back_##R, 4, POINTS, PIXEL, TO_POINT);      \
  }                                                                                                \
  static void tile_filter_##kind(const real *taps, ptrdiff_t tap, int n, real *point,              \
                                 ptrdiff_t step) {                                                 \
    for (int c = 0; c < n; c += VW) ALONG(line_filter_##R, R, POINTS, TAP, TO_U_POINT);            \
  }                                                                                                \
  static void tile_filter_back_##kind(const real *point, ptrdiff_t step, real *taps,               \
                                      ptrdiff_t tap, int n, bool add) {                            \
    for (int c = 0; c < n; c += VW) ALONG(line_filter_back_##R, POINTS, R, U_POINT, ADD_TAP);      \
  }
TILE_KERNELS(1x3, ALONG_1, 3, 6)
TILE_KERNELS(1x5, ALONG_1, 5, 8)
TILE_KERNELS(3x3, ALONG_2, 3, 6)

#define TILE_ENTRY(kind)                                                                           \
  {                                                                                                \
    tile_in_##kind, tile_out_##kind, tile_out_back_##kind, tile_filter_##kind,                     \
        tile_filter_back_##kind                                                                    \
  }
