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

/* Kernel distance: the squared maximum mean discrepancy under the kernel (x.y / dim + 1)^3, without
 * bias (Binkowski et al. 2018; Gretton et al. 2012, equation 3), so it may be a little below 0.
 * a: [n, dim], b: [m, dim], dense; n and m at least 2. */
double distance_kernel(const double *a, int n, const double *b, int m, int dim);

/* The share of x [n, dim] that lies in the balls around y [m, dim], each as large as the distance
 * to the k-th nearest other y (Kynkaanniemi et al. 2019): of samples x among real y the precision,
 * of real x among samples y the recall.  m > k >= 1.  Scratch as above. */
double distance_coverage(Arena *scratch, const double *x, int n, const double *y, int m, int dim,
                         int k);

#endif
