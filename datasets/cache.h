/* cache.h -- the flat file that training maps: a header, then columns, each aligned to 64 bytes.
 *
 *   [CacheHeader][observations][actions]...[transition][episode_start][metadata]
 *
 * Written by the program diffrl-hdf5, mapped by dataset_open.  Numbers are in the machine's own
 * order: a cache is for this machine and can always be made again. */
#ifndef DATASETS_CACHE_H
#define DATASETS_CACHE_H
#include "datasets/dataset.h"
#include "datasets/episodes.h"
#include "datasets/murmur.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

enum { CACHE_VERSION = 4, CACHE_ALIGN = 64 };
enum { CACHE_MAX_COLUMNS = 4096 }; /* observation or action entries */
static const int64_t cache_max_rows = INT64_C(1) << 31;

/* The columns; up to CACHE_ARRAYS they are arrays of the source file. */
enum {
  CACHE_OBSERVATIONS,
  CACHE_ACTIONS,
  CACHE_REWARDS,
  CACHE_NEXT_OBSERVATIONS,
  CACHE_TERMINALS,
  CACHE_TIMEOUTS,
  CACHE_ARRAYS,
  CACHE_TRANSITION = CACHE_ARRAYS,
  CACHE_EPISODE_START,
  CACHE_METADATA, /* JSON text with its end */
  CACHE_SOURCE,   /* path of the file it was made from, with its end */
  CACHE_COLUMNS
};

typedef struct {
  uint64_t offset, bytes; /* from the start of the file; 0, 0: the source has no such array */
} CacheColumn;

/* Numbers of an array that are not finite: how many, and where the first is. */
typedef struct {
  int64_t count, row;
  int32_t entry, is_nan;
} CacheWild;

typedef struct {
  char magic[8];
  uint32_t version, header_bytes;
  uint64_t file_bytes;
  uint64_t source_bytes; /* of the file it was made from, */
  int64_t source_time;   /* its modification time in nanoseconds, */
  int64_t source_change; /* the time of its last change of any kind, which nobody can set, */
  uint64_t source_inode;
  char source_hash[40]; /* and its content, hex text */
  int64_t sealed;       /* when it was made: the cache file has this modification time, unless
                           somebody has written to it since */
  int64_t rows, transitions, episodes;
  int64_t horizon; /* that cut the episodes; meaningless if there are timeouts */
  int32_t obs_dim, act_dim;
  char format[16];              /* name of the layout it was read as */
  CacheWild wild[CACHE_ARRAYS]; /* of the rows of the cache */
  DatasetSummary summary;       /* reading all rows again would delay every start */
  CacheColumn column[CACHE_COLUMNS];
  MurmurSum data_sum;   /* of everything behind the header */
  MurmurSum header_sum; /* of everything before this field */
} CacheHeader;

int64_t cache_time(struct timespec time); /* nanoseconds */

/* What names the file it was made from, or several: their sizes together, the latest times. */
void cache_source_add(CacheHeader *header, const struct stat *source);
bool cache_source_same(const CacheHeader *header, const CacheHeader *now);

/* An empty layout: the header alone. */
void cache_init(CacheHeader *header);

/* Append a column; the file grows to header->file_bytes. */
void cache_place(CacheHeader *header, int column, uint64_t bytes);

/* Bytes that the shapes in the header ask of an array or index column, 0 for texts. */
uint64_t cache_column_bytes(const CacheHeader *header, int column);

/* The sums over a whole file in memory, whose header is not yet in place; puts it there. */
void cache_seal(CacheHeader *header, void *map);

/* May columns be read as the header says?  bytes: the size of the file.  False for a damaged,
 * truncated or older cache; costs the same whatever the file's size. */
bool cache_header_ok(const CacheHeader *header, uint64_t bytes);

/* Do the bytes behind the header have the sum it states? */
bool cache_data_ok(const CacheHeader *header);

/* A column of a mapped cache; NULL if absent. */
const void *cache_column(const CacheHeader *header, int column);

/* The columns of a mapped cache as a data set without a source. */
Dataset cache_view(const CacheHeader *header);

/* Read all rows once: what a cache's header says of them.  episodes: what was counted. */
DatasetSummary cache_summary(const CacheHeader *header, const EpisodeCounts *episodes);

#endif
