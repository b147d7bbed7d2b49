/* eigen.h -- eigenvalues and eigenvectors of symmetric matrices, in double; the same bits for any
 * number of threads. */
#ifndef CORE_EIGEN_H
#define CORE_EIGEN_H
#include "core/arena.h"
#include "core/parallel.h"
#include <stdbool.h>

/* All of them, by cyclic Jacobi rotations (Golub & Van Loan 2013, 8.5): for n up to a few hundred.
 * a: [n, n], symmetric, overwritten; value: [n], descending; vector: [n, n], row i is that of
 * value[i], of length one. */
void eigen_symmetric(double *a, int n, double *value, double *vector);

/* The `count` greatest of a positive semidefinite matrix, by subspace iteration with Rayleigh-Ritz
 * projections (Saad 2011, 5.2), until |a v - value v| is at most tolerance * value[0] for each; the
 * return says whether it came to that.  a: [n, n]; value: [count], descending; vector: [count, n].
 * Scratch: what it takes from the arena it gives back.  pool may be NULL. */
bool eigen_leading(Arena *scratch, Pool *pool, const double *a, int n, int count, double tolerance,
                   double *value, double *vector);

#endif
