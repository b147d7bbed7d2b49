/* image_space.h -- training pictures as points: their principal components, and which of them is
 * nearest to a picture.  Products run on the kernels; the same bits for any number of threads. */
#ifndef RL_IMAGE_SPACE_H
#define RL_IMAGE_SPACE_H
#include "core/error.h"
#include "core/kernels/kernels.h"
#include "core/parallel.h"
#include "datasets/images.h"

enum { IMAGE_SPACE_MOST = 64 }; /* pixels a side, if grey: a covariance of 4096 x 4096 */

/* All arrays live in the arena. */
typedef struct {
  const Images *train;
  Arena *arena;
  Pool *pool;
  const Kernels *kernels;
  int side, pixels; /* of a picture on its black frame; pixels: numbers of all its channels */
  double *mean;     /* [pixels] */
  int components;
  double *component, *variance; /* [components, pixels] orthonormal, by descending variance */
} ImageSpace;

/* The mean of the training pictures in [side, side]; no components yet.  2 pictures at least, and
 * at most as many numbers in each as IMAGE_SPACE_MOST pixels a side have. */
ImageSpace *image_space_new(Arena *arena, const Images *train, int side, Pool *pool,
                            const Kernels *kernels);

/* Find the leading principal components: eigenvectors of the training pictures' covariance, at most
 * as many as pixels.  FAIL_RUNNING if the iteration does not come to them. */
bool image_space_fit(ImageSpace *space, int components, Error *error);

/* pictures: [count, pixels]; feature: [count, components], how far along each component from the
 * mean. */
void image_space_project(const ImageSpace *space, const double *pictures, int count,
                         double *feature);

/* distance: [count], each picture's Euclidean distance to the nearest training picture; which:
 * [count], that picture's number.  The nearest are found by products in `real`, so among pictures
 * that rounding cannot tell apart it may be another; the distance is computed in double. */
void image_space_nearest(const ImageSpace *space, const double *pictures, int count,
                         double *distance, int *which);

#endif
