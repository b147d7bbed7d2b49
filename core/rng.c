/* rng.c -- Philox counters, and normals whose bits no library can change.
 *
 * Box-Muller turns two 32-bit words into two normals.  Its logarithm, sine and cosine are Taylor
 * polynomials on a reduced range, in plain float products and sums (compiled without contraction),
 * accurate to a few ulp: the same bits with every compiler, libm and vector width. */
#include "core/rng.h"
#include "core/check.h"
#include <Random123/philox.h>
#include <math.h>
#include <string.h>

/* ---- streams and bits ------------------------------------------------------------------------ */

/* A bijection in which every input bit flips half of the output bits (MurmurHash3's finaliser). */
static uint64_t mix(uint64_t x) {
  x = (x ^ x >> 33) * 0xff51afd7ed558ccdu;
  x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53u;
  return x ^ x >> 33;
}

Rng rng_stream(uint64_t seed, const char *name) {
  uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
  for (; *name; name++) hash = (hash ^ (unsigned char)*name) * 0x100000001b3u;
  uint64_t key = mix(hash + mix(seed + 0x9e3779b97f4a7c15u));
  return (Rng){ { (uint32_t)key, (uint32_t)(key >> 32) } };
}

void rng_bits(Rng rng, uint64_t step, uint32_t row, uint32_t draw, uint32_t out[4]) {
  philox4x32_ctr_t counter = { { (uint32_t)step, (uint32_t)(step >> 32), row, draw } };
  philox4x32_key_t key = { { rng.key[0], rng.key[1] } };
  philox4x32_ctr_t bits = philox4x32(counter, key);
  memcpy(out, bits.v, sizeof bits.v);
}

static uint64_t word64(Rng rng, uint64_t step, uint32_t row, uint32_t draw) {
  uint32_t bits[4];
  rng_bits(rng, step, row, draw, bits);
  return (uint64_t)bits[0] << 32 | bits[1];
}

double rng_uniform(Rng rng, uint64_t step, uint32_t row, uint32_t draw) {
  return (double)(word64(rng, step, row, draw) >> 11) * 0x1p-53;
}

/* floor(n bits / 2^64): a 64-bit fraction stretched to [0, n). */
static uint64_t scale(uint64_t bits, uint64_t n) {
  __extension__ typedef unsigned __int128 wide;
  return (uint64_t)((wide)bits * n >> 64);
}

uint64_t rng_below(Rng rng, uint64_t step, uint32_t row, uint32_t draw, uint64_t n) {
  CHECK(n > 0, "rng_below: an empty range");
  return scale(word64(rng, step, row, draw), n);
}

/* ---- normals --------------------------------------------------------------------------------- */

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

double rng_normal(Rng rng, uint64_t step, uint32_t row, uint32_t draw) {
  uint32_t bits[4];
  float normal[2];
  rng_bits(rng, step, row, draw, bits);
  box_muller(bits[0], bits[1], normal);
  return normal[0];
}

/* One counter gives four normals: out[4 j .. 4 j + 3] come from draw = j.  Bits first, then the
 * arithmetic, so that the compiler can vectorise the second loop. */
void rng_normals(Rng rng, uint64_t step, uint32_t row, float *out, int count) {
  enum { BLOCK = 64 };
  uint32_t bits[BLOCK];
  float normal[BLOCK];
  for (int at = 0; at < count; at += BLOCK) {
    int n = count - at < BLOCK ? count - at : BLOCK;
    for (int i = 0; i < n; i += 4) rng_bits(rng, step, row, (uint32_t)(at + i) / 4, bits + i);
    for (int i = 0; i < n; i += 2) box_muller(bits[i], bits[i + 1], normal + i);
    memcpy(out + at, normal, (size_t)n * sizeof *out);
  }
}

/* ---- permutations ---------------------------------------------------------------------------- */

/* A Feistel network on pairs (left < a, right < b), a b a little above n; results outside are
 * walked back in (Black and Rogaway 2002, "Ciphers with arbitrary finite domains"). */
uint64_t rng_permute(Rng rng, uint64_t epoch, uint64_t i, uint64_t n) {
  CHECK(i < n && n <= (uint64_t)1 << 62, "rng_permute: entry %llu of %llu", (unsigned long long)i,
        (unsigned long long)n);
  uint64_t a = (uint64_t)sqrt((double)n) + 1, b = n / a + 1;
  uint64_t key = word64(rng, epoch, 0, 0), rounds = n < 1000 ? 8 : 4; /* few pairs mix slowly */
  do {
    uint64_t left = i % a, right = i / a;
    for (uint64_t round = 0; round < rounds; round++) {
      left += scale(mix(key + right + (2 * round << 32)), a);
      if (left >= a) left -= a;
      right += scale(mix(key + left + ((2 * round + 1) << 32)), b);
      if (right >= b) right -= b;
    }
    i = right * a + left;
  } while (i >= n);
  return i;
}
