/* picture_grid.h -- small grey pictures in rows and columns, as one PNG file. */
#ifndef RL_PICTURE_GRID_H
#define RL_PICTURE_GRID_H
#include "policy/models/pictures.h"

/* One PNG file of all of them, with all labels a column for each. */
bool image_write_grid(const PicturesModel *model, const double *pictures, int count,
                      bool all_labels, const char *path, Error *error);

#endif
