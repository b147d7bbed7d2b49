/* rng.h -- counter-based random numbers (Philox4x32-10, Salmon et al. 2011).
 *
 * A stream is a name hashed with the seed; a number is a function of (stream, step, row, draw).
 * Nothing is kept between calls, so there is nothing to save but the step, and no order of
 * execution, number of threads or shrinking batch can change a number. */
#ifndef CORE_RNG_H
#define CORE_RNG_H
#include <stdint.h>

typedef struct {
  uint32_t key[2];
} Rng;

/* The stream of this name under this seed. */
Rng rng_stream(uint64_t seed, const char *name);

/* 64 bits of that name: a seed that has nothing to do with those of other names. */
uint64_t rng_seed(uint64_t seed, const char *name);

/* Four independent 32-bit words. */
void rng_bits(Rng rng, uint64_t step, uint32_t row, uint32_t draw, uint32_t out[4]);

double rng_uniform(Rng rng, uint64_t step, uint32_t row, uint32_t draw); /* [0, 1) */
double rng_normal(Rng rng, uint64_t step, uint32_t row, uint32_t draw);  /* N(0, 1) */

/* Uniform integer in [0, n), n > 0: 64 random bits, bias below n / 2^64. */
uint64_t rng_below(Rng rng, uint64_t step, uint32_t row, uint32_t draw, uint64_t n);

/* count N(0, 1) floats; the i-th depends on (rng, step, row, i) alone. */
void rng_normals(Rng rng, uint64_t step, uint32_t row, float *out, int count);

/* The i-th of n in a keyed random permutation (epochs without replacement), i < n. */
uint64_t rng_permute(Rng rng, uint64_t epoch, uint64_t i, uint64_t n);

#endif
