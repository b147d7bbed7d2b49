/* cache.c -- layout and checks of the flat file. */
#include "datasets/cache.h"
#include <stddef.h>
#include <string.h>
#include <time.h>

static const char magic[8] = "diffrl\x1a";

_Static_assert(sizeof(CacheHeader) <= 14 * CACHE_ALIGN, "the header has grown: raise the version");

static uint64_t align(uint64_t bytes) {
  return (bytes + CACHE_ALIGN - 1) / CACHE_ALIGN * CACHE_ALIGN;
}

int64_t cache_time(struct timespec t) { return t.tv_sec * INT64_C(1000000000) + t.tv_nsec; }

void cache_source_add(CacheHeader *header, const struct stat *source) {
  int64_t time = cache_time(source->st_mtim), change = cache_time(source->st_ctim);
  header->source_bytes += (uint64_t)source->st_size;
  header->source_inode += (uint64_t)source->st_ino;
  if (time > header->source_time) header->source_time = time;
  if (change > header->source_change) header->source_change = change;
}

bool cache_source_same(const CacheHeader *header, const CacheHeader *now) {
  return header->source_bytes == now->source_bytes && header->source_inode == now->source_inode &&
         header->source_time == now->source_time && header->source_change == now->source_change;
}

void cache_init(CacheHeader *header) {
  *header = (CacheHeader){ .version = CACHE_VERSION, .header_bytes = sizeof *header };
  memcpy(header->magic, magic, sizeof magic);
  header->file_bytes = align(sizeof *header);
}

void cache_place(CacheHeader *header, int column, uint64_t bytes) {
  uint64_t offset = align(header->file_bytes);
  header->column[column] = (CacheColumn){ offset, bytes };
  header->file_bytes = offset + bytes;
}

uint64_t cache_column_bytes(const CacheHeader *header, int column) {
  uint64_t rows = (uint64_t)header->rows;
  switch (column) {
  case CACHE_OBSERVATIONS:
  case CACHE_NEXT_OBSERVATIONS: return rows * (uint64_t)header->obs_dim * sizeof(float);
  case CACHE_ACTIONS: return rows * (uint64_t)header->act_dim * sizeof(float);
  case CACHE_REWARDS: return rows * sizeof(float);
  case CACHE_TERMINALS:
  case CACHE_TIMEOUTS: return rows;
  case CACHE_TRANSITION: return (uint64_t)header->transitions * sizeof(int64_t);
  case CACHE_EPISODE_START: return (uint64_t)(header->episodes + 1) * sizeof(int64_t);
  default: return 0;
  }
}

static MurmurSum header_sum(const CacheHeader *header) {
  return murmur_of(header, offsetof(CacheHeader, header_sum));
}

static MurmurSum data_sum(const void *map, uint64_t file_bytes) {
  return murmur_of((const char *)map + sizeof(CacheHeader), file_bytes - sizeof(CacheHeader));
}

static bool same(MurmurSum a, MurmurSum b) { return a.h[0] == b.h[0] && a.h[1] == b.h[1]; }

void cache_seal(CacheHeader *header, void *map) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  header->sealed = cache_time(now);
  header->data_sum = data_sum(map, header->file_bytes);
  header->header_sum = header_sum(header);
  memcpy(map, header, sizeof *header);
}

static bool shapes_ok(const CacheHeader *h) {
  return h->rows >= 2 && h->rows <= cache_max_rows && h->obs_dim >= 1 && h->act_dim >= 1 &&
         h->obs_dim <= CACHE_MAX_COLUMNS && h->act_dim <= CACHE_MAX_COLUMNS &&
         h->transitions >= 1 && h->transitions < h->rows && h->episodes >= 1 &&
         h->episodes <= h->rows;
}

static bool column_ok(const CacheHeader *header, int column) {
  CacheColumn c = header->column[column];
  uint64_t expected = cache_column_bytes(header, column);
  bool optional = column != CACHE_OBSERVATIONS && column != CACHE_ACTIONS && column < CACHE_ARRAYS;
  if (c.offset == 0) return optional && c.bytes == 0;
  if (c.offset % CACHE_ALIGN || c.offset < sizeof *header || c.bytes == 0) return false;
  if (c.offset > header->file_bytes || c.bytes > header->file_bytes - c.offset) return false;
  if (column == CACHE_METADATA || column == CACHE_SOURCE)
    return ((const char *)header)[c.offset + c.bytes - 1] == '\0';
  return c.bytes == expected;
}

bool cache_header_ok(const CacheHeader *header, uint64_t bytes) {
  if (bytes < sizeof *header || memcmp(header->magic, magic, sizeof magic) != 0) return false;
  if (header->version != CACHE_VERSION || header->header_bytes != sizeof *header) return false;
  if (header->file_bytes != bytes || !same(header_sum(header), header->header_sum)) return false;
  if (!shapes_ok(header) || !memchr(header->source_hash, '\0', sizeof header->source_hash))
    return false;
  for (int c = 0; c < CACHE_COLUMNS; c++)
    if (!column_ok(header, c)) return false;
  return true;
}

bool cache_data_ok(const CacheHeader *header) {
  return same(data_sum(header, header->file_bytes), header->data_sum);
}

const void *cache_column(const CacheHeader *header, int column) {
  uint64_t offset = header->column[column].offset;
  return offset ? (const char *)header + offset : NULL;
}
