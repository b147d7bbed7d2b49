/* normalizer.h -- every entry of an observation to mean 0 and deviation 1, and back.
 *
 * Belongs to the policy, which stores it as the tensors "normalizer/mean" and "normalizer/std". */
#ifndef CORE_NORMALIZER_H
#define CORE_NORMALIZER_H
#include "core/arena.h"
#include "core/error.h"
#include "core/real.h"
#include <stdint.h>

/* An entry whose deviation is below this share of its largest number is constant: all that moves is
 * rounding.  It is divided by that number instead (by 1 if it is 0), becomes 0 and is harmless. */
#define NORMALIZER_CONSTANT 1e-6

typedef struct {
  int dim;
  float *mean, *std; /* [dim]; std > 0 */
} Normalizer;

/* The identity: mean 0, deviation 1. */
Normalizer normalizer_new(Arena *arena, int dim);

/* Fit to rows x [.., dim]: to those listed in index [count], or to the first count if index is
 * NULL.  Two passes in double; the deviation divides by count.  count > 0. */
void normalizer_fit(Normalizer *normalizer, const float *x, const int64_t *index, int64_t count);

/* Of numbers from a file: means are finite and deviations normal positive numbers; else FAIL_INPUT.
 */
bool normalizer_check(const Normalizer *normalizer, Error *error);

/* One row: out [dim] = (x - mean) / std, and back: out [dim] = x * std + mean. */
void normalizer_apply(const Normalizer *normalizer, const float *x, real *out);
void normalizer_invert(const Normalizer *normalizer, const real *x, float *out);

#endif
