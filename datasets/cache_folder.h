/* cache_folder.h -- the caches of all files that were read, and how large they may become together.
 *
 * $XDG_CACHE_HOME/diffrl or ~/.cache/diffrl.  A cache can always be made again from its file, so
 * any of them may be removed at any time; one that a process has mapped lives until it ends. */
#ifndef DATASETS_CACHE_FOLDER_H
#define DATASETS_CACHE_FOLDER_H
#include "core/arena.h"
#include "core/error.h"
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CACHE_FOLDER_GIGABYTES = 50 }; /* unless $DIFFRL_CACHE_GB says otherwise */

/* The folder, made if need be; false if it cannot be written. */
bool cache_folder(char folder[PATH_MAX]);

typedef struct {
  const char *path,
      *source; /* source: the file it was made from; NULL: not known (older version) */
  uint64_t bytes;
  int64_t used; /* when it was opened last, nanoseconds of the Unix clock */
  bool current; /* the source is there and has not changed since */
} CacheEntry;

/* All of them, last used first, in the arena; 0 where there is no folder. */
size_t cache_folder_list(Arena *arena, const CacheEntry **list);

/* Remove one; FAIL_RUNNING with the reason if it cannot be. */
bool cache_folder_remove(const CacheEntry *entry, Error *error);

/* Note on an open cache that it was used now. */
void cache_folder_used(int fd);

/* After `made` was added: remove what is of no use any more (older versions of the file it was made
 * from, caches of older programs, drafts of versions that named them), then those used longest ago
 * until the rest is within the limit.  `made` stays. */
void cache_folder_tidy(const char *made);

#endif
