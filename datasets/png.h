/* png.h -- pictures as PNG files, 8 bits a channel, grey or RGB. */
#ifndef DATASETS_PNG_H
#define DATASETS_PNG_H
#include "core/arena.h"
#include "core/error.h"
#include <stdint.h>

enum { PNG_MOST = 8192 }; /* pixels a side */

typedef struct {
  int width, height, channels; /* 1: grey, 3: RGB, as sRGB */
  uint8_t *pixel;              /* [height, width, channels], top row first */
} Image;

/* Write to a temporary name beside the path, then rename: the file is there whole, or the old one.
 * FAIL_RUNNING if it cannot be written. */
bool png_save(const Image *image, const char *path, Error *error);

/* Read a file into the arena.  FAIL_INPUT on anything but a whole 8-bit grey or RGB PNG of at most
 * PNG_MOST pixels a side. */
bool png_load(Image *image, Arena *arena, const char *path, Error *error);

#endif
