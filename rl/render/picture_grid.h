/* picture_grid.h -- small pictures in rows and columns, as one PNG file. */
#ifndef RL_PICTURE_GRID_H
#define RL_PICTURE_GRID_H
#include "datasets/png.h"
#include "policy/models/pictures.h"

/* One PNG file of all of them, with all labels a column for each. */
bool image_write_grid(const PicturesModel *model, const double *pictures, int count,
                      bool all_labels, const char *path, Error *error);

/* The same in steps: white paper for `count` pictures, in the arena (FAIL_USAGE: more than a PNG
 * file holds); and picture i on it, [size, size, channels]. */
Image *picture_grid_new(Arena *arena, const PicturesModel *model, int count, bool all_labels,
                        Error *error);
void picture_grid_put(Image *grid, const PicturesModel *model, int i, const double *picture);

/* A number in [-1, 1], or the nearest there, as a byte: -1 is 0, 1 is 255. */
uint8_t picture_byte(double value);

/* A picture [size, size, channels of the image], every pixel `zoom` pixels wide and high, with its
 * upper left corner at (left, top); all of it must lie in the image. */
void picture_put(Image *image, const double *picture, int size, int zoom, int left, int top);

#endif
