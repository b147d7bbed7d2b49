/* gaussian.h -- Gaussians in several dimensions: fits to samples, and how far they are apart. */
#ifndef CORE_GAUSSIAN_H
#define CORE_GAUSSIAN_H
#include "core/arena.h"

/* Mean [dim], covariance [dim, dim]. */
typedef struct {
  int dim;
  double *mean, *covariance;
} Gaussian;

/* The fit to x [n, dim], dense, n >= 2; the covariance is divided by n - 1.  It and its numbers
 * live in the arena. */
Gaussian gaussian_fit(Arena *arena, const double *x, int n, int dim);

/* The Frechet distance between Gaussians, squared as is the custom: |m1 - m2|^2 + tr(C1 + C2 -
 * 2 (C1 C2)^(1/2)) (Dowson & Landau 1982; Heusel et al. 2017), the trace of the root by that of
 * the symmetric (C1^(1/2) C2 C1^(1/2))^(1/2).  Both are of one dim, a few hundred at most.  Not
 * finite if a moment is not.  Scratch: what it takes from the arena it gives back. */
double gaussian_frechet(Arena *scratch, const Gaussian *a, const Gaussian *b);

#endif
