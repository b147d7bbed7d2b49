/* distance.h -- how far two sets of samples are apart. */
#ifndef CORE_DISTANCE_H
#define CORE_DISTANCE_H
#include "core/arena.h"
#include <stdint.h>

/* Sliced Wasserstein distance (Bonneel et al. 2015): the square root of the mean, over random unit
 * directions, of the squared 2-Wasserstein distance between the projections, which sorting gives.
 * a, b: [n, dim], dense.  The directions depend on the seed alone.  NaN if a number is not finite.
 * Scratch: what it takes from the arena it gives back. */
double distance_sliced_wasserstein(Arena *scratch, const double *a, const double *b, int n, int dim,
                                   int directions, uint64_t seed);

#endif
