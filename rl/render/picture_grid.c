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

/* how many pictures stand side by side */
static int columns_of(const PicturesModel *m, int count, bool all_labels) {
  int labels = pictures_labels(m);
  int columns = all_labels && labels ? labels : (int)ceil(sqrt(count));
  return count < columns ? count : columns;
}

Image *picture_grid_new(Arena *arena, const PicturesModel *m, int count, bool all_labels,
                        Error *error) {
  int columns = columns_of(m, count, all_labels), rows = (count + columns - 1) / columns;
  int cell = ZOOM * (int)m->size + GAP;
  if (columns * cell > PNG_MOST || rows * cell > PNG_MOST) {
    error_set(error, FAIL_USAGE,
              "%d pictures are too many for one PNG file; ask for fewer, or for FILE.npy", count);
    return NULL;
  }
  Image *grid = arena_alloc(arena, sizeof *grid);
  *grid = (Image){ columns * cell - GAP, rows * cell - GAP, pictures_plane(m).channels, NULL };
  size_t bytes = (size_t)grid->width * (size_t)grid->height * (size_t)grid->channels;
  grid->pixel = arena_alloc(arena, bytes);
  memset(grid->pixel, 255, bytes);
  return grid;
}

void picture_grid_put(Image *grid, const PicturesModel *m, int i, const double *picture) {
  int cell = ZOOM * (int)m->size + GAP, columns = (grid->width + GAP) / cell;
  picture_put(grid, picture, (int)m->size, ZOOM, i % columns * cell, i / columns * cell);
}

bool image_write_grid(const PicturesModel *m, const double *pictures, int count, bool all_labels,
                      const char *path, Error *error) {
  Arena *arena = arena_new();
  Image *grid = picture_grid_new(arena, m, count, all_labels, error);
  for (int i = 0; i < count && grid; i++)
    picture_grid_put(grid, m, i, pictures + (int64_t)i * pictures_numbers(m));
  bool done = grid && png_save(grid, path, error);
  arena_free(arena);
  return done;
}
