/* rwr.h -- the weights of rwr, for the algorithm and for tests. */
#ifndef RL_RWR_H
#define RL_RWR_H
#include "core/real.h"

/* weight[i] = exp(beta A_i) / the mean of exp(beta A_j) over the samples j of its group. */
void rwr_weigh(const real *advantage, const int *group, int count, double beta, double *weight);

/* The same of the best: count / kept for the floor(share count) best of a group of `count`, at
 * least one, and 0 for the others.  Of equals the first are the better. */
void rwr_weigh_best(const real *advantage, const int *group, int count, double share,
                    double *weight);

#endif
