/* image_resize.c -- area averages in units in which old and new edges are whole numbers. */
#include "datasets/image_resize.h"
#include "core/check.h"
#include <string.h>

/* Along one axis old pixels are `side` wide, and new pixel i covers [i old, (i + 1) old).  How much
 * of old pixel j is that? */
static int64_t covered(int64_t i, int64_t j, int64_t old, int64_t side) {
  int64_t low = i * old > j * side ? i * old : j * side;
  int64_t high = (i + 1) * old < (j + 1) * side ? (i + 1) * old : (j + 1) * side;
  return high - low;
}

void image_resize(const Image *image, int side, uint8_t *to) {
  int old = image->width < image->height ? image->width : image->height;
  CHECK(0 < side && side <= PNG_MOST && 0 < old && old <= PNG_MOST, "%d to %d pixels", old, side);
  int channels = image->channels;
  ptrdiff_t row = (ptrdiff_t)image->width * channels;
  const uint8_t *from = image->pixel + (image->height - old) / 2 * row +
                        (ptrdiff_t)(image->width - old) / 2 * channels;
  int64_t all = (int64_t)old * old;
  for (int y = 0; y < side; y++)
    for (int x = 0; x < side; x++) {
      /* the first and the last old pixel under the new one */
      int top = (int)((int64_t)y * old / side), low = (int)(((y + 1) * (int64_t)old - 1) / side);
      int left = (int)((int64_t)x * old / side), right = (int)(((x + 1) * (int64_t)old - 1) / side);
      int64_t sum[3] = { 0 };
      for (int r = top; r <= low; r++)
        for (int c = left; c <= right; c++) {
          int64_t part = covered(y, r, old, side) * covered(x, c, old, side);
          for (int k = 0; k < channels; k++) sum[k] += part * from[r * row + c * channels + k];
        }
      for (int k = 0; k < channels; k++) *to++ = (uint8_t)((sum[k] + all / 2) / all);
    }
}
