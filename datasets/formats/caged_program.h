/* caged_program.h -- the program diffrl-hdf5: what its parts share. */
#ifndef DATASETS_FORMATS_CAGED_PROGRAM_H
#define DATASETS_FORMATS_CAGED_PROGRAM_H
#include "core/error.h"
#include <stdint.h>

/* Memory and CPU seconds for reading and writing so many bytes; far above what is needed. */
void program_limit(uint64_t bytes);

/* The files to one cache on HDF5_OUTPUT.  choice: "" or as choice_parse reads it. */
bool import(int64_t horizon, const char *choice, const char *name, char **path, int count,
            Error *error);

#endif
