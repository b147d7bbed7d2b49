/* grid.h -- at which times a sampler steps.
 *
 *   linspace   evenly in t, or in n and rounded: of diffusers' Euler and Heun schedulers.  Its DPM,
 *              UniPC and DEIS ones take one time more from N - 1 to 0 and leave the 0 out
 *   leading    multiples of N / K (integers)                       discrete only
 *   trailing   N, N - N/K, .. rounded, less one                    discrete only
 *   quadratic  evenly in sqrt(t); discrete: in sqrt(n) up to sqrt(0.8 N)   Song et al. 2021 (DDIM)
 *   lambda     evenly in ln(a/s)                                    Lu et al. 2022
 *   karras     evenly in sigma^(1/7)                                Karras et al. 2022, eq. 5 */
#ifndef DIFFUSION_GRID_H
#define DIFFUSION_GRID_H
#include "diffusion/schedule.h"

const char *const *grid_list(size_t *count);
const char *grid_about(size_t i); /* one line about the i-th */

/* `count` times from `from` (0: the schedule's last) down to its first where the spacing says so.
 * false and an error (FAIL_USAGE) for an unknown name, one that the schedule has not, and when two
 * times would fall together. */
bool grid_times(const Schedule *schedule, const char *spacing, double from, int count,
                double *times /* [count] */, Error *error);

#endif
