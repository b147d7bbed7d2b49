/* assignment.h -- the cheapest way to give each of n rows a column of its own, exactly.
 *
 * Pairs noise with data for optimal-transport flow matching (Tong et al. 2024): the pairs of a
 * batch with the least sum of squared distances. */
#ifndef CORE_ASSIGNMENT_H
#define CORE_ASSIGNMENT_H
#include "core/arena.h"
#include "core/real.h"

typedef struct Assignment Assignment; /* scratch memory: solving never allocates */

/* Room for problems of up to `most` rows, `most`^2 numbers; lives in the arena. */
Assignment *assignment_new(Arena *arena, int most);

/* Write a permutation col_of_row [n] with the least sum of cost[row * n + col_of_row[row]], and
 * return that sum.  cost: [n, n], n at most `most`.  O(n^3).  With costs that are not finite the
 * result is still a permutation, not the best one. */
double assignment_solve(Assignment *work, int n, const double *cost, int *col_of_row);

/* The same for points: a and b are [n, dim] with ld numbers a row, the cost is the squared
 * distance.  b_of_a: [n]. */
double assignment_pair(Assignment *work, int n, int dim, int ld, const real *a, const real *b,
                       int *b_of_a);

#endif
