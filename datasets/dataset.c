/* dataset.c -- finding or making the cache of a file, and mapping it.
 *
 * A cache is named after the source's path, size and time, so a changed file gets a new one.  It is
 * made under a temporary name and renamed: two processes that make it at once do the work twice
 * and disturb nobody. */
#include "datasets/dataset.h"
#include "core/check.h"
#include "core/file.h"
#include "datasets/cache.h"
#include "datasets/hdf5_process.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
  const char *given; /* as the user wrote it */
  char path[PATH_MAX];
  uint64_t bytes;
  int64_t time;
  int horizon;
} Source;

/* ---- the source and the name of its cache ---------------------------------------------------- */

static bool source_find(Source *source, const char *path, int horizon, Error *error) {
  struct stat info;
  source->given = path, source->horizon = horizon > 0 ? horizon : 0;
  if (!realpath(path, source->path) || stat(source->path, &info) != 0)
    return error_set(error, FAIL_INPUT, "%s: %s", path, strerror(errno));
  if (!S_ISREG(info.st_mode))
    return error_set(error, FAIL_INPUT, "%s: a folder or device; expected a D4RL-style HDF5 file",
                     path);
  source->bytes = (uint64_t)info.st_size;
  source->time = info.st_mtim.tv_sec * INT64_C(1000000000) + info.st_mtim.tv_nsec;
  return true;
}

/* $XDG_CACHE_HOME/diffrl or ~/.cache/diffrl, made if need be; false if it cannot be written. */
static bool cache_folder(char folder[PATH_MAX]) {
  const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
  int n = -1;
  if (base && *base == '/')
    n = snprintf(folder, PATH_MAX, "%s/diffrl", base);
  else if (home && *home == '/')
    n = snprintf(folder, PATH_MAX, "%s/.cache/diffrl", home);
  if (n < 0 || n >= PATH_MAX) return false;
  Error ignored;
  return file_make_folders(folder, &ignored) && access(folder, W_OK | X_OK) == 0;
}

static bool cache_path(const Source *source, char path[PATH_MAX]) {
  char folder[PATH_MAX], digits[MURMUR_TEXT];
  if (!cache_folder(folder)) return false;
  Murmur key = { 0 };
  murmur_add(&key, source->path, strlen(source->path) + 1);
  murmur_add(&key, &source->bytes, sizeof source->bytes);
  murmur_add(&key, &source->time, sizeof source->time);
  murmur_text(murmur_sum(&key), digits);
  const char *name = strrchr(source->path, '/') + 1;
  return snprintf(path, PATH_MAX, "%s/%.80s-%s.cache", folder, name, digits) < PATH_MAX;
}

/* ---- mapping --------------------------------------------------------------------------------- */

static bool made_from(const CacheHeader *header, const Source *source) {
  return header->source_bytes == source->bytes && header->source_time == source->time &&
         (header->column[CACHE_TIMEOUTS].offset || header->horizon == source->horizon);
}

static Dataset *describe(const CacheHeader *h, const char *source) {
  size_t length = strlen(source) + 1;
  Dataset *data = malloc(sizeof *data + length);
  CHECK(data, "out of memory");
  *data = cache_view(h);
  data->source = memcpy(data + 1, source, length);
  return data;
}

/* NULL if the file is not a whole cache of this source: then it is made again. */
static Dataset *cache_map(int fd, const Source *source) {
  struct stat info;
  if (fstat(fd, &info) != 0 || info.st_size < (off_t)sizeof(CacheHeader)) return NULL;
  size_t bytes = (size_t)info.st_size;
  CacheHeader *header = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
  if (header == MAP_FAILED) return NULL;
  /* a step touches scattered rows; the file is fetched meanwhile, if it is not in memory */
  madvise(header, bytes, MADV_WILLNEED), madvise(header, bytes, MADV_RANDOM);
  if (cache_header_ok(header, bytes) && made_from(header, source))
    return describe(header, source->given);
  munmap(header, bytes);
  return NULL;
}

/* ---- making ---------------------------------------------------------------------------------- */

/* Open a new file: beside `cache` if that is not NULL and the disk lets us, else in $TMPDIR. */
static int temporary_open(char path[PATH_MAX], const char *cache, bool *beside, Error *error) {
  int fd = -1;
  if (cache && snprintf(path, PATH_MAX, "%s.XXXXXX", cache) < PATH_MAX)
    fd = mkostemp(path, O_CLOEXEC);
  *beside = fd >= 0;
  if (fd >= 0) return fd;
  const char *folder = getenv("TMPDIR");
  if (!folder || *folder != '/') folder = "/tmp";
  if (snprintf(path, PATH_MAX, "%s/diffrl-cache.XXXXXX", folder) < PATH_MAX)
    fd = mkostemp(path, O_CLOEXEC);
  if (fd < 0)
    error_set(error, FAIL_RUNNING,
              "no place for the cache, neither in $XDG_CACHE_HOME/diffrl nor in %s: %s", folder,
              strerror(errno));
  return fd;
}

static bool import(const Source *source, const char *temporary, Error *error) {
  char horizon[16];
  snprintf(horizon, sizeof horizon, "%d", source->horizon);
  const char *argument[] = { "import", source->path, temporary, horizon, NULL };
  double seconds = 60 + 2e-6 * (double)source->bytes; /* hdf5.c limits its CPU time more tightly */
  return hdf5_process_run(argument, -1, seconds, error) || error_prefix(error, "%s", source->given);
}

/* The importer met a file we know nothing about: believe it only after checking everything. */
static Dataset *map_checked(int fd, const Source *source, Error *error) {
  Dataset *data = cache_map(fd, source);
  if (!data) {
    error_set(error, FAIL_RUNNING,
              "%s: the importer's result is not usable; the file changed while it was read, or "
              "diffrl-hdf5 belongs to another version",
              source->given);
  } else if (!dataset_verify(data, error)) {
    dataset_close(data);
    data = NULL;
  }
  return data;
}

static Dataset *cache_make(const Source *source, const char *cache, Error *error) {
  char temporary[PATH_MAX];
  bool beside;
  int fd = temporary_open(temporary, cache, &beside, error);
  if (fd < 0) return NULL;
  Dataset *data = import(source, temporary, error) ? map_checked(fd, source, error) : NULL;
  close(fd);
  Error ignored; /* it is mapped: the next process makes it again */
  if (data && beside)
    file_place(temporary, cache, true, &ignored);
  else
    unlink(temporary);
  return data;
}

Dataset *dataset_open(const char *path, int horizon, Error *error) {
  Source source;
  char cache[PATH_MAX];
  if (!source_find(&source, path, horizon, error)) return NULL;
  bool kept = cache_path(&source, cache);
  int fd = kept ? open(cache, O_RDONLY | O_CLOEXEC) : -1;
  Dataset *data = fd >= 0 ? cache_map(fd, &source) : NULL;
  if (fd >= 0) close(fd);
  return data ? data : cache_make(&source, kept ? cache : NULL, error);
}

void dataset_close(Dataset *data) {
  if (!data) return;
  munmap(data->map, data->map_bytes);
  free(data);
}

/* ---- checking -------------------------------------------------------------------------------- */

static bool index_ok(const Dataset *data) {
  for (int64_t i = 0, last = -1; i < data->transitions; i++) {
    if (data->transition[i] <= last || data->transition[i] >= data->rows - 1) return false;
    last = data->transition[i];
  }
  for (int64_t e = 0; e < data->episodes; e++)
    if (data->episode_start[e] >= data->episode_start[e + 1]) return false;
  return data->episode_start[0] == 0 && data->episode_start[data->episodes] == data->rows;
}

bool dataset_verify(const Dataset *data, Error *error) {
  if (cache_data_ok(data->map) && index_ok(data)) return true;
  return error_set(error, FAIL_INPUT,
                   "%s: its cache is damaged; delete the folder diffrl in $XDG_CACHE_HOME or "
                   "~/.cache and run again",
                   data->source);
}
