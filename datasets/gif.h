/* gif.h -- pictures in motion, as GIF files that go round for ever. */
#ifndef DATASETS_GIF_H
#define DATASETS_GIF_H
#include "datasets/png.h"

enum { GIF_MOST = 4096 }; /* pixels a side */

/* frame: [frames] of one size and number of channels.  Each is shown for `delay` hundredths of a
 * second, and the last one for `last`.  Grey keeps all its shades; of RGB there are 6 shades of red
 * and blue and 7 of green, which a regular pattern of dots mixes.  The file is there whole, or the
 * old one.  FAIL_RUNNING if it cannot be written. */
bool gif_save(const Image *const *frame, int frames, int delay, int last, const char *path,
              Error *error);

#endif
