/* picture_sheet.h -- pictures in rows with captions: what changes from row to row, to compare. */
#ifndef RL_PICTURE_SHEET_H
#define RL_PICTURE_SHEET_H
#include "policy/models/pictures.h"

typedef struct {
  int rows, columns;
  const char *const *row;    /* [rows]: captions, at the left */
  const char *const *column; /* [columns]: captions, above; NULL: none; entries may be NULL */
} PictureSheet;

/* pictures: [rows, columns, size, size, channels], to one PNG file.  FAIL_USAGE if they are more
 * than such a file holds, FAIL_RUNNING if it cannot be written. */
bool picture_sheet_write(const PicturesModel *model, const double *pictures,
                         const PictureSheet *sheet, const char *path, Error *error);

#endif
