/* picture_grid.c -- pictures in rows and columns, as one PNG file. */
#include "rl/render/picture_grid.h"
#include "datasets/png.h"
#include <math.h>
#include <string.h>

enum { ZOOM = 2, GAP = 2 }; /* pixels of the file for one of a picture; between pictures */

static void put(Image *grid, const double *picture, int size, int left, int top) {
  for (int y = 0; y < ZOOM * size; y++)
    for (int x = 0; x < ZOOM * size; x++) {
      double value = fmin(fmax(picture[y / ZOOM * size + x / ZOOM], -1), 1);
      grid->pixel[(top + y) * grid->width + left + x] = (uint8_t)lround(127.5 * (value + 1));
    }
}

bool image_write_grid(const PicturesModel *m, const double *pictures, int count, bool all_labels,
                      const char *path, Error *error) {
  int size = (int)m->size, cell = ZOOM * size + GAP;
  int columns = all_labels && m->labels ? m->classes : (int)ceil(sqrt(count));
  if (count < columns) columns = count;
  int rows = (count + columns - 1) / columns;
  if (columns * cell > PNG_MOST || rows * cell > PNG_MOST)
    return error_set(error, FAIL_USAGE,
                     "%d pictures are too many for one PNG file; ask for fewer, or for FILE.npy",
                     count);
  Arena *arena = arena_new();
  Image grid = { .width = columns * cell - GAP, .height = rows * cell - GAP, .channels = 1 };
  size_t bytes = (size_t)grid.width * (size_t)grid.height;
  grid.pixel = arena_alloc(arena, bytes);
  memset(grid.pixel, 255, bytes);
  for (int i = 0; i < count; i++)
    put(&grid, pictures + (int64_t)i * size * size, size, i % columns * cell, i / columns * cell);
  bool done = png_save(&grid, path, error);
  arena_free(arena);
  return done;
}
