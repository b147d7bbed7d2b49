/* image_bits.h -- the variational bound of a model of pictures, in bits per dimension. */
#ifndef RL_IMAGE_BITS_H
#define RL_IMAGE_BITS_H
#include "datasets/images.h"
#include "policy/models/pictures.h"

typedef struct {
  int pictures, steps; /* steps: terms of the chain, each drawn once for each picture */
  double bits, error;  /* mean over pictures; its standard error, NAN for one picture */
} ImageBits;

/* Pictures from .. from + count - 1 of the test pictures in a random order that is always the
 * same, as 8-bit values under their own labels.  Terms of Ho et al. 2020 over all times of a
 * discrete schedule; over 128 times even in ln(a / s), at most 6.65 from 0 (Kingma et al. 2021), of
 * a continuous one.  The decoder is discrete, of 256 bins.  A picture's noise depends on the seed
 * and its place in the order alone, so that parts add up to the whole.  Black around smaller
 * pictures is paid for but is no dimension.  each (nullable): bits of each picture [count].
 * FAIL_USAGE where bound_new refuses the model, FAIL_INPUT for a set that does not fit it or has
 * too few pictures, FAIL_RUNNING if a signal stopped it, FAIL_DIVERGED if it is not finite. */
bool image_bits(const PicturesModel *model, const ImageSet *set, int from, int count,
                const ModelSampling *how, double *each, ImageBits *bits, Error *error);

#endif
