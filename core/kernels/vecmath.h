/* vecmath.h -- elementary functions with the same bits everywhere.
 *
 * Each returns f(x) and stores f'(x).  The float forms are polynomials in fma that a compiler can
 * vectorise (no branches, no tables, no libm); relative errors are a few 1e-7.  In MODE=double
 * they are libm's, for the tests that need 1e-8 and better. */
#ifndef CORE_VECMATH_H
#define CORE_VECMATH_H
#include "core/real.h"
#include <math.h>
#include <stdint.h>
#include <string.h>

#define VECMATH static inline __attribute__((always_inline, unused))

#ifdef DIFFRL_DOUBLE
VECMATH real vecmath_fma(real a, real b, real c) { return fma(a, b, c); }
VECMATH real root_of(real x) { return sqrt(x); }
VECMATH real exp_of(real x) { return exp(x); }
VECMATH real log_of(real x) { return log(x); }
VECMATH real tanh_of(real x) { return tanh(x); }
VECMATH real normal_cdf(real x, real density) {
  (void)density;
  return 0.5 * erfc(-x * 0.70710678118654752440);
}
VECMATH real sine_of(real x, real *cosine) {
  *cosine = cos(x);
  return sin(x);
}
VECMATH real vecmath_ndtr(real x, real *d) {
  *d = 0.39894228040143267794 * exp(-0.5 * x * x);
  return normal_cdf(x, *d);
}
#else
VECMATH real vecmath_fma(real a, real b, real c) { return __builtin_fmaf(a, b, c); }
VECMATH real root_of(real x) { return __builtin_sqrtf(x); }

VECMATH float bits_float(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}
VECMATH uint32_t float_bits(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

/* e^x = 2^n e^r, |r| <= ln2 / 2; the range is [-87, 88] */
VECMATH float exp_of(float x) {
  x = x < -87.0f ? -87.0f : x > 88.0f ? 88.0f : x;
  float shifted = vecmath_fma(x, 1.44269504f, 12582912.0f); /* rounds to an integer */
  float n = shifted - 12582912.0f;
  float r = vecmath_fma(n, -0.693145752f, x);
  r = vecmath_fma(n, -1.42860677e-6f, r);
  float p = 1.0f / 720;
  p = vecmath_fma(p, r, 1.0f / 120), p = vecmath_fma(p, r, 1.0f / 24);
  p = vecmath_fma(p, r, 1.0f / 6), p = vecmath_fma(p, r, 0.5f);
  p = vecmath_fma(p, r, 1.0f), p = vecmath_fma(p, r, 1.0f);
  return p * bits_float((uint32_t)((int32_t)n + 127) << 23);
}

/* ln x for normal positive x: x = 2^e m, m in [sqrt(1/2), sqrt(2)), atanh series in s */
VECMATH float log_of(float x) {
  uint32_t bits = float_bits(x), above = (bits & 0x7fffff) > 0x3504f3;
  int32_t e = (int32_t)(bits >> 23) - 127 + (int32_t)above;
  float m = bits_float((bits & 0x7fffff) | ((127 - above) << 23));
  float s = (m - 1) / (m + 1), z = s * s, p = 2.0f / 11;
  p = vecmath_fma(p, z, 2.0f / 9), p = vecmath_fma(p, z, 2.0f / 7);
  p = vecmath_fma(p, z, 2.0f / 5), p = vecmath_fma(p, z, 2.0f / 3);
  float tail = vecmath_fma(p * z, s, (float)e * 1.42860677e-6f);
  return vecmath_fma((float)e, 0.693145752f, vecmath_fma(2.0f, s, tail));
}

/* near 0 an odd polynomial (Cephes), else 1 - 2 / (e^2x + 1) */
VECMATH float tanh_of(float x) {
  float z = x * x, p = -5.70498872745e-3f;
  p = vecmath_fma(p, z, 2.06390887954e-2f), p = vecmath_fma(p, z, -5.37397155531e-2f);
  p = vecmath_fma(p, z, 1.33314422036e-1f), p = vecmath_fma(p, z, -3.33332819422e-1f);
  float near = vecmath_fma(p * z, x, x), a = x < 0 ? -x : x;
  float far = 1 - 2 / (exp_of(2 * a) + 1);
  far = x < 0 ? -far : far;
  return a < 0.625f ? near : far;
}

/* Abramowitz & Stegun 7.1.26, absolute error 1e-7; density is the normal density at x */
VECMATH float normal_cdf(float x, float density) {
  float a = x < 0 ? -x : x, t = 1 / vecmath_fma(0.231641888f, a, 1.0f), p = 1.330274429f;
  p = vecmath_fma(p, t, -1.821255978f), p = vecmath_fma(p, t, 1.781477937f);
  p = vecmath_fma(p, t, -0.356563782f), p = vecmath_fma(p, t, 0.319381530f);
  float tail = density * p * t;
  return x < 0 ? tail : 1 - tail;
}

/* x = q pi/2 + r, |r| <= pi/4, pi/2 in three parts; polynomials of Cephes.  Absolute error 1.5e-7
 * for |x| <= 1e5, where the range ends. */
VECMATH float sine_of(float x, float *cosine) {
  x = x < -1e5f ? -1e5f : x > 1e5f ? 1e5f : x;
  float shifted = vecmath_fma(x, 0.636619772f, 12582912.0f), q = shifted - 12582912.0f;
  float r = vecmath_fma(q, -1.57079637f, x);
  r = vecmath_fma(q, 4.37113883e-8f, r), r = vecmath_fma(q, 1.71512449e-15f, r);
  float z = r * r, s = -1.9515295891e-4f, c = 2.443315711809948e-5f;
  s = vecmath_fma(s, z, 8.3321608736e-3f), s = vecmath_fma(s, z, -1.6666654611e-1f);
  s = vecmath_fma(s * z, r, r);
  c = vecmath_fma(c, z, -1.388731625493765e-3f), c = vecmath_fma(c, z, 4.166664568298827e-2f);
  c = vecmath_fma(c * z, z, vecmath_fma(-0.5f, z, 1.0f));
  uint32_t quadrant = float_bits(shifted) & 3;
  float sine = quadrant & 1 ? c : s, other = quadrant & 1 ? s : c;
  *cosine = quadrant == 1 || quadrant == 2 ? -other : other;
  return quadrant & 2 ? -sine : sine;
}

/* Phi(x): its tail is erfc(z) / 2 = e^-z^2 t e^P(t) / 2 with z = |x| / sqrt(2), t = 1 / (1 + z/2)
 * (Numerical Recipes 6.2).  The exponent is kept in two parts, so the relative error is 1e-6 in
 * either tail, for x > -13. */
VECMATH float vecmath_ndtr(float x, float *d) {
  float a = x < -14 ? 14 : x < 0 ? -x : x > 14 ? 14 : x;
  float t = 1 / vecmath_fma(0.35355339f, a, 1.0f), p = 0.17087277f;
  float half = -0.5f * a, square = half * a, rest = vecmath_fma(half, a, -square);
  p = vecmath_fma(p, t, -0.82215223f), p = vecmath_fma(p, t, 1.48851587f);
  p = vecmath_fma(p, t, -1.13520398f), p = vecmath_fma(p, t, 0.27886807f);
  p = vecmath_fma(p, t, -0.18628806f), p = vecmath_fma(p, t, 0.09678418f);
  p = vecmath_fma(p, t, 0.37409196f), p = vecmath_fma(p, t, 1.00002368f);
  p = vecmath_fma(p, t, -1.26551223f);
  float e = exp_of(square), tail = 0.5f * t * e * exp_of(p + rest);
  *d = 0.398942280f * vecmath_fma(e, rest, e);
  return x < 0 ? tail : 1 - tail;
}
#endif

/* x tanh(ln(1 + e^x)) with one exponential and one division: n = e (e + 2), tanh = n / (n + 2).
 * Misra 2019.  f' = tanh + x * 4 e (e + 1) / (n + 2)^2 */
VECMATH real vecmath_mish(real x, real *d) {
  real e = exp_of(x > 20 ? 20 : x), n = e * (e + 2), r = 1 / (n + 2), t = n * r;
  *d = vecmath_fma(x, 4 * (e * (e + 1)) * (r * r), t);
  return x * t;
}
VECMATH real vecmath_relu(real x, real *d) {
  *d = x > 0 ? 1 : 0;
  return x > 0 ? x : 0;
}
VECMATH real vecmath_tanh(real x, real *d) {
  real t = tanh_of(x);
  *d = vecmath_fma(-t, t, (real)1);
  return t;
}
VECMATH real vecmath_silu(real x, real *d) {
  real s = 1 / (1 + exp_of(-x)), y = x * s;
  *d = vecmath_fma(y, 1 - s, s);
  return y;
}
/* x Phi(x), the exact form (Hendrycks & Gimpel 2016) */
VECMATH real vecmath_gelu(real x, real *d) {
  real density = (real)0.39894228040143267794 * exp_of((real)-0.5 * x * x);
  real cdf = normal_cdf(x, density);
  *d = vecmath_fma(x, density, cdf);
  return x * cdf;
}
VECMATH real vecmath_exp(real x, real *d) { return *d = exp_of(x); }
VECMATH real vecmath_square(real x, real *d) {
  *d = 2 * x;
  return x * x;
}
VECMATH real vecmath_abs(real x, real *d) {
  *d = x > 0 ? 1 : x < 0 ? -1 : 0;
  return x < 0 ? -x : x;
}
/* ln(1 + e^x) = max(x, 0) + ln(1 + e^-|x|) */
VECMATH real vecmath_softplus(real x, real *d) {
  real a = x < 0 ? -x : x, e = exp_of(-a), s = 1 / (1 + e);
  *d = x < 0 ? e * s : s;
  return (x > 0 ? x : 0) + log_of(1 + e);
}
VECMATH real vecmath_log(real x, real *d) {
  *d = 1 / x;
  return log_of(x);
}
VECMATH real vecmath_sqrt(real x, real *d) {
  real root = root_of(x);
  *d = (real)0.5 / root;
  return root;
}
VECMATH real vecmath_sin(real x, real *d) { return sine_of(x, d); }
VECMATH real vecmath_cos(real x, real *d) {
  real c, s = sine_of(x, &c);
  *d = -s;
  return c;
}

#endif
