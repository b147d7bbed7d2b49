/* jpeg.h -- pictures as JPEG files (ISO 10918-1), read, and the size they would have. */
#ifndef DATASETS_JPEG_H
#define DATASETS_JPEG_H
#include "datasets/png.h"

/* Read a file into the arena: grey with 1 channel, or colour as RGB with 3.  FAIL_INPUT on anything
 * but a whole grey or YCbCr JPEG of at most PNG_MOST pixels a side. */
bool jpeg_load(Image *image, Arena *arena, const char *path, Error *error);

/* How many bytes the picture's JPEG file would have: baseline, standard Huffman tables, colour at
 * half the resolution, as libjpeg writes it and as rewards of compressibility count (Black et al.
 * 2023).  pixel: [height, width, channels], channels 1 or 3; quality: 1 to 100.  Many threads may
 * call it at once.  -1 and FAIL_RUNNING if libjpeg fails, for want of memory. */
int jpeg_bytes(const uint8_t *pixel, int height, int width, int channels, int quality,
               Error *error);

#endif
