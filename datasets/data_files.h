/* data_files.h -- what a name of data means: files, and how they are to be read.
 *
 *   FILE[,FILE..][?obs=A,B][&map=ROLE=ARRAY,..][&mask=NAME]
 *
 * What is behind the question mark is what --obs, --map and --mask say; a run keeps the whole text,
 * so that it resumes with the same.  A file whose own name holds a comma or a question mark comes
 * first.  The folder of a Minari data set stands for its main_data.hdf5. */
#ifndef DATASETS_DATA_FILES_H
#define DATASETS_DATA_FILES_H
#include "core/arena.h"
#include "core/error.h"
#include "datasets/cache.h"
#include <stdbool.h>

typedef struct {
  int count;
  const char **path;  /* [count] real paths */
  const char *choice; /* "" if nothing was said */
  const char *name;   /* all of it, with real paths: what the cache is named after */
  CacheHeader source; /* size, times and inode of the files */
} DataFiles;

/* All in the arena; FAIL_INPUT naming the file that is not there or cannot be data. */
bool data_files_find(Arena *arena, const char *text, DataFiles *files, Error *error);

/* The text without its choice, "" for none, in the arena. */
const char *data_files_plain(Arena *arena, const char *text);

/* `text` with what options say added to it; each may be NULL, text too.  FAIL_USAGE. */
const char *data_files_chosen(Arena *arena, const char *text, const char *obs, const char *map,
                              const char *mask, Error *error);

#endif
