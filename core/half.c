/* half.c -- by whole numbers, so that every machine gives the same bits. */
#include "core/half.h"
#include <string.h>

uint16_t half_from(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
  bits &= 0x7fffffff;
  if (bits > 0x7f800000) return sign | 0x7e00;
  if (bits >= 0x477ff000) return sign | 0x7c00; /* 65520 and more */
  /* how many bits are rounded away: 13, and one more for each power of two below 2^-14 */
  int exponent = (int)(bits >> 23), drop = exponent < 113 ? 126 - exponent : 13;
  if (drop > 24) return sign; /* less than half of the least */
  uint32_t whole = exponent < 113 ? (bits & 0x7fffff) | 0x800000 : bits - (112u << 23);
  uint32_t kept = whole >> drop, rest = whole & ((1u << drop) - 1), half = 1u << (drop - 1);
  /* a carry out of the significand is the next exponent's first number, as it should be */
  kept += rest > half || (rest == half && (kept & 1));
  return (uint16_t)(sign | kept);
}

float half_value(uint16_t half) {
  uint32_t sign = (uint32_t)(half & 0x8000) << 16, rest = half & 0x7fff, bits;
  float value;
  if (rest >= 0x7c00) /* infinite, or NaN */
    bits = 0x7f800000 | (rest & 0x3ff) << 13;
  else if (rest >= 0x400)
    bits = (rest << 13) + (112u << 23);
  else {
    value = (float)rest * 0x1p-24f;
    memcpy(&bits, &value, sizeof bits);
  }
  bits |= sign;
  memcpy(&value, &bits, sizeof value);
  return value;
}
