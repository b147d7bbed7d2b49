/* file.h -- files that are whole or not there, and folders.
 *
 * A file is written to PATH.tmp, synced and renamed, and then its folder is synced: at any instant
 * the old or the new one stands, after a power cut too.  PATH.tmp never stays behind an error. */
#ifndef CORE_FILE_H
#define CORE_FILE_H
#include "core/error.h"
#include <stdbool.h>
#include <stddef.h>

/* Replaces what is at path; FAIL_RUNNING with the path and the reason if it cannot. */
bool file_write(const char *path, const void *bytes, size_t length, Error *error);

typedef struct {
  const void *bytes;
  size_t length;
} FilePiece;

/* The same, of pieces one after the other. */
bool file_write_pieces(const char *path, const FilePiece *piece, size_t count, Error *error);

/* A draft beside path that is written and closed (by another process, say): sync it and rename it
 * to path.  Without `replace` a file that is there by now stays and is an error.  Failing removes
 * the draft. */
bool file_place(const char *draft, const char *path, bool replace, Error *error);

/* Make a folder and its parents; those that are there are fine.  FAIL_RUNNING if one cannot be. */
bool file_make_folders(const char *path, Error *error);

#endif
