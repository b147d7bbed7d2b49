/* image_resize.h -- a picture at another size. */
#ifndef DATASETS_IMAGE_RESIZE_H
#define DATASETS_IMAGE_RESIZE_H
#include "datasets/png.h"

/* The largest square in the middle of the picture, at `side` pixels a side: every new pixel is the
 * mean of the old ones that it covers, those at its edges counted by the covered part (an area
 * average), rounded to the nearest.  It is exact in integers, so the same on every machine.  Values
 * are averaged as they are stored (sRGB), as most programs do.  to: [side, side, channels]. */
void image_resize(const Image *image, int side, uint8_t *to);

#endif
