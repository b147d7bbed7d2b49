/* hdf5_process.h -- running the program diffrl-hdf5, which alone reads and writes HDF5. */
#ifndef DATASETS_HDF5_PROCESS_H
#define DATASETS_HDF5_PROCESS_H
#include "core/error.h"
#include <stdbool.h>

enum { HDF5_MAX_FILES = 256, HDF5_MAX_ARGUMENTS = HDF5_MAX_FILES + 8, HDF5_OUTPUT = 3 };

/* CPU seconds the program may take for so many bytes, read and written: far above what is needed,
 * but for a file of one-row chunks, of which HDF5 reads some ten thousand a second. */
#define HDF5_CPU_SECONDS(bytes) (10 + (bytes) / (1 << 18))

/* Run `diffrl-hdf5 argument...` (NULL-terminated, at most HDF5_MAX_ARGUMENTS) and wait for it.
 * input, output: descriptors that become its standard input and its descriptor HDF5_OUTPUT, or -1.
 * After `seconds` it is killed; if we die, it dies.  False with its message and kind of failure,
 * FAIL_INPUT if it crashed on the file, FAIL_RUNNING if it could not be found or started. */
bool hdf5_process_run(const char *const argument[], int input, int output, double seconds,
                      Error *error);

#endif
