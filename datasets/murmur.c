/* murmur.c -- MurmurHash3_x64_128, in pieces. */
#include "datasets/murmur.h"
#include <stdio.h>
#include <string.h>

#define C1 0x87c37b91114253d5u
#define C2 0x4cf5ad432745937fu

static uint64_t rotate(uint64_t x, int by) { return x << by | x >> (64 - by); }

static uint64_t scramble(uint64_t k, uint64_t first, int by, uint64_t second) {
  return rotate(k * first, by) * second;
}

static uint64_t finish(uint64_t k) {
  k = (k ^ k >> 33) * 0xff51afd7ed558ccdu;
  k = (k ^ k >> 33) * 0xc4ceb9fe1a85ec53u;
  return k ^ k >> 33;
}

static void mix_block(uint64_t h[2], const uint8_t block[16]) {
  uint64_t k[2];
  memcpy(k, block, sizeof k);
  h[0] = (rotate(h[0] ^ scramble(k[0], C1, 31, C2), 27) + h[1]) * 5 + 0x52dce729;
  h[1] = (rotate(h[1] ^ scramble(k[1], C2, 33, C1), 31) + h[0]) * 5 + 0x38495ab5;
}

void murmur_add(Murmur *murmur, const void *data, size_t bytes) {
  const uint8_t *p = data;
  size_t kept = murmur->length % 16;
  murmur->length += bytes;
  if (kept) {
    size_t n = bytes < 16 - kept ? bytes : 16 - kept;
    memcpy(murmur->tail + kept, p, n);
    p += n, bytes -= n;
    if (kept + n < 16) return;
    mix_block(murmur->h, murmur->tail);
  }
  for (; bytes >= 16; p += 16, bytes -= 16) mix_block(murmur->h, p);
  if (bytes) memcpy(murmur->tail, p, bytes);
}

MurmurSum murmur_sum(const Murmur *murmur) {
  uint64_t k[2] = { 0 }, a = murmur->h[0], b = murmur->h[1];
  memcpy(k, murmur->tail, murmur->length % 16);
  a ^= scramble(k[0], C1, 31, C2) ^ murmur->length;
  b ^= scramble(k[1], C2, 33, C1) ^ murmur->length;
  a += b, b += a;
  a = finish(a), b = finish(b);
  a += b, b += a;
  return (MurmurSum){ { a, b } };
}

MurmurSum murmur_of(const void *data, size_t bytes) {
  Murmur murmur = { 0 };
  murmur_add(&murmur, data, bytes);
  return murmur_sum(&murmur);
}

void murmur_text(MurmurSum sum, char text[MURMUR_TEXT]) {
  const uint8_t *byte = (const uint8_t *)sum.h;
  for (int i = 0; i < 16; i++) snprintf(text + 2 * i, 3, "%02x", byte[i]);
}
