/* hdf5_library.h -- what everything that uses the HDF5 library shares. */
#ifndef DATASETS_FORMATS_HDF5_LIBRARY_H
#define DATASETS_FORMATS_HDF5_LIBRARY_H
#include "core/error.h"

/* No filter plug-ins, no links to other files, no printing. */
void hdf5_start(void);

typedef struct {
  char text[256];
} Hdf5Reason;

/* What HDF5 says went wrong, innermost entry; ask before the next call of the library. */
Hdf5Reason hdf5_reason(void);

/* The rows on standard input to a D4RL v2 file on HDF5_OUTPUT. */
bool hdf5_export(Error *error);

#endif
