/* pairing.h -- which noise goes with which data: optimal transport within a batch.
 *
 * Noise is drawn as always, then permuted among the rows so that the sum of |x_0 - eps|^2 is least
 * (Tong et al. 2024; Pooladian et al. 2023).  Each side keeps its distribution; the straight paths
 * of a flow cross less.  Not for conditional models, whose noise would depend on the condition. */
#ifndef DIFFUSION_PAIRING_H
#define DIFFUSION_PAIRING_H
#include "core/arena.h"
#include "core/real.h"
#include "core/rng.h"

typedef struct Pairing Pairing;

/* Batches are paired in pieces of `piece` rows, each in O(piece^3). */
Pairing *pairing_new(Arena *arena, int piece, int dim);

/* Noise [rows, row_stride(dim)] for data of that shape: N(0, 1) of this stream at this step.
 * Returns the mean of |x_0 - eps|^2 over rows. */
double pairing_draw(Pairing *pairing, Rng rng, uint64_t step, int rows, const real *x0, real *eps);

#endif
