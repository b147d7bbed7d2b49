/* picture_grid.c -- pictures in rows and columns, as one PNG file. */
#include "rl/render/picture_grid.h"
#include "datasets/png.h"
#include <math.h>
#include <string.h>

enum { ZOOM = 2, GAP = 2 }; /* pixels of the file for one of a picture; between pictures */

uint8_t picture_byte(double value) {
  return (uint8_t)lround(127.5 * (fmin(fmax(value, -1), 1) + 1));
}

void picture_put(Image *image, const double *picture, int size, int zoom, int left, int top) {
  int channels = image->channels;
  for (int y = 0; y < zoom * size; y++)
    for (int x = 0; x < zoom * size; x++)
      for (int k = 0; k < channels; k++)
        image->pixel[((top + y) * image->width + left + x) * channels + k] =
            picture_byte(picture[(y / zoom * size + x / zoom) * channels + k]);
}

bool image_write_grid(const PicturesModel *m, const double *pictures, int count, bool all_labels,
                      const char *path, Error *error) {
  int size = (int)m->size, cell = ZOOM * size + GAP, labels = pictures_labels(m);
  int columns = all_labels && labels ? labels : (int)ceil(sqrt(count));
  if (count < columns) columns = count;
  int rows = (count + columns - 1) / columns;
  if (columns * cell > PNG_MOST || rows * cell > PNG_MOST)
    return error_set(error, FAIL_USAGE,
                     "%d pictures are too many for one PNG file; ask for fewer, or for FILE.npy",
                     count);
  Arena *arena = arena_new();
  Image grid = { .width = columns * cell - GAP,
                 .height = rows * cell - GAP,
                 .channels = pictures_plane(m).channels };
  size_t bytes = (size_t)grid.width * (size_t)grid.height * (size_t)grid.channels;
  grid.pixel = arena_alloc(arena, bytes);
  memset(grid.pixel, 255, bytes);
  for (int i = 0; i < count; i++)
    picture_put(&grid, pictures + (int64_t)i * pictures_numbers(m), size, ZOOM, i % columns * cell,
                i / columns * cell);
  bool done = png_save(&grid, path, error);
  arena_free(arena);
  return done;
}
