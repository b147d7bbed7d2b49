/* bf16.h -- numbers of 16 bits with the exponent of a float, and what a product of them is.
 *
 * bf16 is the upper half of a float, rounded to nearest even; denormals count as zero.  A product
 * of bf16 numbers is *defined* as what Intel's tile unit (TDPBF16PS) was measured to compute:
 *
 *   C = init;  for each step of 32 k, the last one filled up with zeros:
 *     even = fma chain from 0 over its even k, ascending;  odd = likewise over its odd k
 *     C = C + (even + odd)
 *
 * with denormals taken as zero.  Ordinary fused multiply-adds repeat it, so a machine without the
 * unit gives the same bits. */
#ifndef CORE_BF16_H
#define CORE_BF16_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { BF16_STEP = 32, BF16_PANEL = 32 };

/* the upper half of a float's bits, to nearest even; written for vectorisers: no branches */
static inline uint32_t bf16_of_bits(uint32_t u) {
  uint32_t size = u & 0x7fffffffu, rounded = (u + 0x7fffu + (u >> 16 & 1u)) >> 16;
  rounded = size > 0x7f800000u ? u >> 16 | 0x40u : rounded; /* a NaN stays one */
  return size < 0x00800000u ? u >> 16 & 0x8000u : rounded;
}
static inline uint16_t bf16_from(float x) {
  uint32_t u;
  memcpy(&u, &x, sizeof u);
  return (uint16_t)bf16_of_bits(u);
}
static inline float bf16_to(uint16_t half) {
  uint32_t u = (uint32_t)half << 16;
  float x;
  memcpy(&x, &u, sizeof x);
  return x;
}
static inline float bf16_round(float x) { return bf16_to(bf16_from(x)); }

/* B packed: panels of 32 columns; in a panel, for each step of 32 k, two tiles of 16 columns; in a
 * tile, for each pair of k, 16 columns of 2 numbers.  What is beyond k and n is zero. */
static inline int bf16_up(int n) { return (n + 31) / 32 * 32; }
static inline size_t bf16_panel(int k) { return (size_t)bf16_up(k) * BF16_PANEL; }
static inline size_t bf16_panels(int k, int n) { /* numbers of all panels */
  return (size_t)bf16_up(k) * (size_t)bf16_up(n);
}
static inline size_t bf16_at(int k_all, int k, int j) { /* where B(k, j) is */
  return (size_t)(j / 32) * bf16_panel(k_all) +
         (size_t)(k / 32 * 1024 + j / 16 % 2 * 512 + k % 32 / 2 * 32 + j % 16 * 2 + k % 2);
}

#endif
