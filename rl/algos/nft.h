/* nft.h -- the loss of nft, for the algorithm and for tests. */
#ifndef RL_NFT_H
#define RL_NFT_H
#include "rl/algos/matching.h"

typedef struct {
  double mix;    /* b: how far the implicit policies are from the old one */
  double spread; /* Z: advantages from -Z to Z become probabilities from 0 to 1 */
  double beta;   /* of the distance from the reference; 0: none */
  bool adaptive; /* losses are divided by their mean error */
} NftSpec;

/* What three weights say to a sample at one noise level, with the weighting x0.  reference:
 * nullable where beta is 0.  A SUM scalar. */
typedef struct {
  const LossTerms *now, *old, *reference;
} NftTerms;
Tensor *nft_loss(const NftSpec *spec, const NftTerms *terms, Tensor *advantage);

#endif
