/* adapter.h -- low-rank adapters: what is trained in place of a network's matrices.
 *
 * Hu et al. 2021 (arXiv 2106.09685).  Every matrix is W = W0 + A B, with W0 [rows, n] as it came,
 * A [rows, r] and B [r, n]; only A and B learn, and what is no matrix (biases, norms, scalars)
 * stays as it came.  The tape trains W as ever, and the chain rule does the rest:
 *
 *   dL/dA = dL/dW B^T,   dL/dB = A^T dL/dW
 *
 * After every update W is written anew from W0, A and B, so nothing drifts, and whoever reads W
 * needs no adapter.
 *
 * r is at most min(rows, n) for each matrix.  One factor, on its narrower side, begins as a frame,
 * sqrt(min(rows, n) / r) times orthonormal columns (of A) or rows (of B), the other as 0, so that
 * W = W0.  A step of gradient descent with the rate a then moves W by -a dL/dW, projected onto that
 * frame and scaled.  With r = min(rows, n) the frame is the identity: the first step of gradient
 * descent or Adam on all of A and B is the one on W. */
#ifndef CORE_ADAPTER_H
#define CORE_ADAPTER_H
#include "core/tape/optim.h"

typedef struct Adapter {
  Params *into;       /* W: what tapes read; not owned */
  const Params *base; /* W0, of the same layout; not owned */
  Params *factors;    /* block "<into>_lora", slots "<slot>/a" and "<slot>/b" */
  int *slot;          /* [factors / 2]: which slot of `into` a pair is of */
  int pairs;
  real *gradient; /* of the factors, in their layout */
  real **turned;  /* [pairs]: B^T of every matrix */
} Adapter;

/* Factors of this rank for all matrices, at their start (their frames follow from the seed).  Of
 * `base`, which stays as it is, `into` must be a copy.  FAIL_USAGE for a rank above the narrower
 * side of every matrix, and where there is none. */
Adapter *adapter_new(Arena *arena, Params *into, const Params *base, int rank, uint64_t seed,
                     Error *error);

/* dL/dA and dL/dB in adapter->gradient, from dL/dW in the layout of `into`. */
void adapter_pull(const Adapter *adapter, const real *gradient, const Kernels *kernels, Pool *pool);

/* into = W0 + A B */
void adapter_merge(const Adapter *adapter, const Kernels *kernels, Pool *pool);

/* An update of the factors by the optimiser that was made for them, from dL/dW; what it averages is
 * `into`.  False, and nothing changed, if the gradient is not finite. */
bool adapter_step(const Adapter *adapter, Optim *optim, const real *gradient,
                  const Kernels *kernels, Pool *pool);

#endif
