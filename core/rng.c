/* rng.c -- Philox counters, one at a time (kernels_random.h: sixteen), and shuffles. */
#include "core/rng.h"
#include "core/box_muller.h"
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

uint64_t rng_seed(uint64_t seed, const char *name) {
  Rng rng = rng_stream(seed, name);
  return (uint64_t)rng.key[1] << 32 | rng.key[0];
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

double rng_normal(Rng rng, uint64_t step, uint32_t row, uint32_t draw) {
  uint32_t bits[4];
  float normal[2];
  rng_bits(rng, step, row, draw, bits);
  box_muller(bits[0], bits[1], normal);
  return normal[0];
}

/* One counter gives four normals: out[4 j .. 4 j + 3] come from draw = j. */
void rng_normals(Rng rng, uint64_t step, uint32_t row, float *out, int count) {
  for (int at = 0; at < count; at += 4) {
    uint32_t bits[4];
    float normal[4];
    rng_bits(rng, step, row, (uint32_t)at / 4, bits);
    for (int i = 0; i < 4; i += 2) box_muller(bits[i], bits[i + 1], normal + i);
    for (int i = 0; i < 4 && at + i < count; i++) out[at + i] = normal[i];
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
