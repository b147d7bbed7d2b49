/* box_muller.h -- normals whose bits no library can change.
 *
 * Box-Muller turns two 32-bit words into two normals.  Its logarithm, sine and cosine are Taylor
 * polynomials on a reduced range, in plain float products and sums (compiled without contraction),
 * accurate to a few ulp: the same bits with every compiler, libm and vector width. */
#ifndef CORE_BOX_MULLER_H
#define CORE_BOX_MULLER_H
#include <math.h>
#include <stdint.h>
#include <string.h>

/* ln u for u in (0, 1]: u = 2^e m, m in [sqrt 1/2, sqrt 2), ln m = 2 atanh((m - 1) / (m + 1)). */
static inline float log_unit(float u) {
  int32_t bits;
  memcpy(&bits, &u, sizeof bits);
  int32_t e = (bits - 0x3f3504f3) >> 23; /* the subtrahend is sqrt 1/2 */
  bits -= e * (1 << 23);
  float m;
  memcpy(&m, &bits, sizeof m);
  float s = (m - 1) / (m + 1), z = s * s;
  float tail = z * (2 / 3.f + z * (2 / 5.f + z * (2 / 7.f + z * (2 / 9.f))));
  float k = (float)e; /* ln 2 in two parts, so that k times the first is exact */
  return k * 0x1.62e3p-1f + (k * 0x1.2fefa4p-17f + (2 * s + s * tail));
}

/* Sine and cosine of the angle 2 pi turn / 2^32. */
static inline void sin_cos(uint32_t turn, float *sine, float *cosine) {
  uint32_t quarter = (turn + (1u << 29)) >> 30;          /* the nearest multiple of pi / 2 */
  float rest = (float)(int32_t)(turn - (quarter << 30)); /* beyond it: [-2^29, 2^29) */
  float x = rest * 0x1.921fb6p-30f, z = x * x;           /* pi / 2^31 */
  float s = x + x * z * (-1 / 6.f + z * (1 / 120.f + z * (-1 / 5040.f + z * (1 / 362880.f))));
  float c = 1 - z * (0.5f - z * (1 / 24.f - z * (1 / 720.f - z * (1 / 40320.f))));
  float a = quarter & 1 ? c : s, b = quarter & 1 ? s : c;
  *sine = quarter & 2 ? -a : a;
  *cosine = (quarter + 1) & 2 ? -b : b;
}

/* Two words to two normals; the radius reaches sqrt(2 ln 2^32) = 6.66. */
static inline void box_muller(uint32_t first, uint32_t second, float normal[2]) {
  float u = ((float)(int32_t)(first >> 1) + 0.5f) * 0x1p-31f; /* (0, 1] */
  float radius = sqrtf(-2 * log_unit(u)), sine, cosine;
  sin_cos(second, &sine, &cosine);
  normal[0] = radius * cosine;
  normal[1] = radius * sine;
}

#endif
