/* file.h -- files that are whole or not there, and folders.
 *
 * A file is written to PATH.tmp, synced and renamed, and then its folder is synced: at any instant
 * the old or the new one stands, after a power cut too.  PATH.tmp never stays behind an error. */
#ifndef CORE_FILE_H
#define CORE_FILE_H
#include "core/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Replaces what is at path; FAIL_RUNNING with the path and the reason if it cannot. */
bool file_write(const char *path, const void *bytes, size_t length, Error *error);

typedef struct {
  const void *bytes;
  size_t length;
} FilePiece;

/* The same, of pieces one after the other. */
bool file_write_pieces(const char *path, const FilePiece *piece, size_t count, Error *error);

/* A new file in the folder of `path` that has no name yet, open for both: whatever happens, nothing
 * is left of it.  Where the file system has no such files, one named PATH.part-XXXXXX that has to
 * be removed.  FAIL_RUNNING with the path and the reason if there can be none. */
typedef struct {
  int fd;     /* the caller closes it; -1: none */
  char *part; /* malloc; NULL: it has no name */
} FileDraft;
FileDraft file_draft(const char *path, Error *error);

/* Sync the draft, give it the name `path`, where nothing may be, and close it.  Failing, or with
 * path NULL, it is gone. */
bool file_draft_close(FileDraft *draft, const char *path, Error *error);

/* Is it what a clone without git-lfs leaves in place of a file?  And the end of a message of one:
 * false with FAIL_INPUT and what to do. */
bool file_is_lfs_pointer(const char *path);
bool file_fail_lfs_pointer(Error *error);

/* Open for reading what is to be a regular file; NULL and errno for any other, too: a pipe could
 * keep the reader waiting for ever. */
FILE *file_open(const char *path);
bool file_is_regular(const char *path);

/* Make a folder and its parents; those that are there are fine.  FAIL_RUNNING if one cannot be. */
bool file_make_folders(const char *path, Error *error);

#endif
