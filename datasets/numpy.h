/* numpy.h -- arrays as NumPy's files: .npy (format 1.0), and .npz, several of them in one. */
#ifndef DATASETS_NUMPY_H
#define DATASETS_NUMPY_H
#include "core/error.h"
#include <stddef.h>
#include <stdint.h>

enum { NUMPY_MOST_RANK = 4, NUMPY_MOST_ARRAYS = 4 };

typedef struct {
  const char *name; /* "pictures", of one in .npz */
  int rank, shape[NUMPY_MOST_RANK];
  const double *value; /* row by row; or */
  const int64_t *whole;
} NumpyArray;

/* FAIL_RUNNING if it cannot be written; the old file stands. */
bool numpy_save(const NumpyArray *array, const char *path, Error *error);

/* A zip archive that stores them as they are (numpy.savez).  FAIL_USAGE if one array has 4 GiB or
 * more, which such an archive cannot hold. */
bool numpy_save_all(const NumpyArray *array, int count, const char *path, Error *error);

#endif
