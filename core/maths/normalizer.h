/* normalizer.h -- every entry of an observation to mean 0 and deviation 1, and back.
 *
 * Belongs to the policy, which stores it as the tensors "normalizer/mean" and "normalizer/std". */
#ifndef CORE_NORMALIZER_H
#define CORE_NORMALIZER_H
#include "core/arena.h"
#include "core/real.h"
#include <stdint.h>

/* The smallest deviation that is divided by: a constant entry becomes 0 and stays harmless. */
#define NORMALIZER_MIN_STD 1e-3

typedef struct {
  int dim;
  float *mean, *std; /* [dim]; std >= NORMALIZER_MIN_STD if fitted */
} Normalizer;

/* The identity: mean 0, deviation 1. */
Normalizer normalizer_new(Arena *arena, int dim);

/* Fit to rows x [.., dim]: to those listed in index [count], or to the first count if index is
 * NULL.  Two passes in double; the deviation divides by count.  count > 0. */
void normalizer_fit(Normalizer *normalizer, const float *x, const int64_t *index, int64_t count);

/* One row: out [dim] = (x - mean) / std, and back: out [dim] = x * std + mean. */
void normalizer_apply(const Normalizer *normalizer, const float *x, real *out);
void normalizer_invert(const Normalizer *normalizer, const real *x, float *out);

#endif
