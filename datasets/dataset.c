/* dataset.c -- finding or making the cache of a file, and mapping it.
 *
 * A cache is named after the source's path and what the system says of the file, the time of its
 * last change included, which copying tools cannot set: a changed file gets a new one.  It is made
 * in a file without a name, which nothing can leave behind, and then linked: two processes that
 * make it at once do the work twice and disturb nobody. */
#include "datasets/dataset.h"
#include "core/check.h"
#include "core/file.h"
#include "core/log.h"
#include "datasets/cache.h"
#include "datasets/cache_folder.h"
#include "datasets/data_files.h"
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
  DataFiles files;
  int horizon;
  bool strict; /* refuse what no algorithm can learn from */
} Source;

/* ---- the name of its cache ------------------------------------------------------------------- */

static bool cache_path(const Source *source, char path[PATH_MAX]) {
  char folder[PATH_MAX], digits[MURMUR_TEXT];
  const DataFiles *files = &source->files;
  if (!cache_folder(folder)) return false;
  const CacheHeader *now = &files->source;
  Murmur key = { 0 };
  murmur_add(&key, files->name, strlen(files->name) + 1);
  murmur_add(&key, &now->source_bytes, sizeof now->source_bytes);
  murmur_add(&key, &now->source_time, sizeof now->source_time);
  murmur_add(&key, &now->source_change, sizeof now->source_change);
  murmur_add(&key, &now->source_inode, sizeof now->source_inode);
  murmur_text(murmur_sum(&key), digits);
  const char *name = strrchr(files->path[0], '/') + 1;
  return snprintf(path, PATH_MAX, "%s/%.80s-%s.cache", folder, name, digits) < PATH_MAX;
}

/* ---- mapping --------------------------------------------------------------------------------- */

static bool made_from(const CacheHeader *header, const Source *source) {
  return cache_source_same(header, &source->files.source) &&
         (header->column[CACHE_TIMEOUTS].offset || source->horizon < 0 ||
          header->horizon == source->horizon);
}

static Dataset *describe(const CacheHeader *h, const char *source) {
  size_t length = strlen(source) + 1;
  Dataset *data = malloc(sizeof *data + length);
  NEED_MEMORY(data);
  *data = cache_view(h);
  data->source = memcpy(data + 1, source, length);
  return data;
}

/* Rows and episodes ascend and stay inside: what a batch relies on without a look. */
static bool index_ok(const Dataset *data) {
  for (int64_t i = 0, last = -1; i < data->transitions; i++) {
    if (data->transition[i] <= last || data->transition[i] >= data->rows - 1) return false;
    last = data->transition[i];
  }
  for (int64_t e = 0; e < data->episodes; e++)
    if (data->episode_start[e] >= data->episode_start[e + 1]) return false;
  return data->episode_start[0] == 0 && data->episode_start[data->episodes] == data->rows;
}

/* Written to since it was sealed?  Then all of it is read and compared with its checksum. */
static bool untouched(const CacheHeader *header, const struct stat *info) {
  return cache_time(info->st_mtim) == header->sealed;
}

static void seal(int fd, const CacheHeader *header) {
  struct timespec sealed = { header->sealed / 1000000000, header->sealed % 1000000000 };
  futimens(fd, (const struct timespec[]){ { 0, UTIME_NOW }, sealed });
}

/* NULL if the file is not a whole cache of this source: then it is made again. */
static Dataset *cache_map(int fd, const Source *source, bool *damaged) {
  struct stat info;
  *damaged = false;
  if (fstat(fd, &info) != 0 || info.st_size < (off_t)sizeof(CacheHeader)) return NULL;
  size_t bytes = (size_t)info.st_size;
  CacheHeader *header = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
  if (header == MAP_FAILED) return NULL;
  madvise(header, bytes, MADV_WILLNEED), madvise(header, bytes, MADV_SEQUENTIAL);
  Dataset view;
  if (cache_header_ok(header, bytes) && made_from(header, source)) {
    view = cache_view(header);
    bool trusted = untouched(header, &info);
    *damaged = !trusted && source->horizon >= 0 && !(cache_data_ok(header) && index_ok(&view));
    if (!trusted && !*damaged && source->horizon >= 0) seal(fd, header);
    madvise(header, bytes, MADV_RANDOM); /* a step touches scattered rows */
    if (!*damaged) return describe(header, source->given);
  }
  munmap(header, bytes);
  return NULL;
}

/* ---- what must be true of data --------------------------------------------------------------- */

bool dataset_check_finite(const Dataset *data, const char *array, Error *error) {
  static const struct {
    const char *name;
    int column;
  } arrays[] = { { "observations", CACHE_OBSERVATIONS },
                 { "actions", CACHE_ACTIONS },
                 { "rewards", CACHE_REWARDS } };
  const CacheHeader *h = data->map;
  for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
    const CacheWild *wild = &h->wild[arrays[i].column];
    if (strcmp(arrays[i].name, array) || !wild->count) continue;
    return error_set(error, FAIL_INPUT,
                     "%s: %s: row %lld, entry %d is %s; expected finite float32 numbers; remove "
                     "that episode from the file (`diffrl data inspect` lists all)",
                     data->source, array, (long long)wild->row, wild->entry,
                     wild->is_nan ? "not a number" : "infinite");
  }
  return true;
}

/* What every algorithm reads. */
static bool usable(const Dataset *data, Error *error) {
  return dataset_check_finite(data, "observations", error) &&
         dataset_check_finite(data, "actions", error);
}

/* ---- making ---------------------------------------------------------------------------------- */

/* Beside the cache, or where that cannot be or the disk is full, in $TMPDIR; fd -1: nowhere. */
static FileDraft draft_open(const char *cache, Error *error) {
  FileDraft draft = { .fd = -1 };
  const char *other = getenv("TMPDIR");
  char path[PATH_MAX];
  if (cache) draft = file_draft(cache, error);
  if (draft.fd < 0) {
    snprintf(path, sizeof path, "%.4000s/diffrl-cache", other && *other == '/' ? other : "/tmp");
    draft = file_draft(path, error);
  }
  if (draft.fd < 0)
    error_prefix(error, "no place for the cache, neither in $XDG_CACHE_HOME/diffrl nor in $TMPDIR");
  else
    fchmod(draft.fd, 0600); /* data may be private */
  return draft;
}

static bool import(const Source *source, int draft, Error *error) {
  const DataFiles *files = &source->files;
  char horizon[16];
  snprintf(horizon, sizeof horizon, "%d", source->horizon > 0 ? source->horizon : 0);
  const char *argument[HDF5_MAX_ARGUMENTS + 1] = { "import", horizon, files->choice, files->name };
  for (int i = 0; i < files->count; i++) argument[4 + i] = files->path[i];
  /* the program limits its CPU time more tightly */
  double seconds = 60 + 8e-6 * (double)files->source.source_bytes;
  return hdf5_process_run(argument, -1, draft, seconds, error) ||
         error_prefix(error, "%s", source->given);
}

/* Give the draft its name.  If that cannot be, the next process makes it again: it is mapped. */
static void keep(FileDraft *draft, const char *cache) {
  Error ignored;
  unlink(cache); /* damaged, or of an older version */
  if (file_draft_close(draft, cache, &ignored)) cache_folder_tidy(cache);
}

static Dataset *cache_make(const Source *source, const char *cache, Error *error) {
  bool damaged;
  Error ignored;
  FileDraft draft = draft_open(cache, error);
  if (draft.fd < 0) return NULL;
  Dataset *data = NULL;
  if (import(source, draft.fd, error)) {
    /* the importer met a file we know nothing about: it is checked whole, then sealed */
    data = cache_map(draft.fd, source, &damaged);
    if (!data)
      error_set(error, FAIL_RUNNING,
                "%s: the importer's result is not usable; the file changed while it was read, or "
                "diffrl-hdf5 belongs to another version",
                source->given);
  }
  if (data && source->strict && !usable(data, error)) dataset_close(data), data = NULL;
  if (data && cache)
    keep(&draft, cache);
  else
    file_draft_close(&draft, NULL, &ignored);
  return data;
}

/* ---- opening --------------------------------------------------------------------------------- */

static Dataset *open_source(const Source *source, Error *error) {
  char cache[PATH_MAX];
  bool kept = cache_path(source, cache), damaged = false;
  int fd = kept ? open(cache, O_RDONLY | O_CLOEXEC) : -1;
  Dataset *data = fd >= 0 ? cache_map(fd, source, &damaged) : NULL;
  if (damaged)
    log_progress(true, "note: the cache of %s was damaged and is made again", source->given);
  if (data) cache_folder_used(fd);
  if (fd >= 0) close(fd);
  if (!data) return cache_make(source, kept ? cache : NULL, error);
  if (!source->strict || usable(data, error)) return data;
  dataset_close(data);
  return NULL;
}

static Dataset *open_named(const char *name, int horizon, bool strict, Error *error) {
  Arena *arena = arena_new();
  Source source = { .given = name, .horizon = horizon, .strict = strict };
  Dataset *data =
      data_files_find(arena, name, &source.files, error) ? open_source(&source, error) : NULL;
  arena_free(arena);
  return data;
}

Dataset *dataset_open(const char *name, int horizon, Error *error) {
  return open_named(name, horizon, true, error);
}

Dataset *dataset_open_faulty(const char *name, int horizon, Error *error) {
  return open_named(name, horizon, false, error);
}

void dataset_close(Dataset *data) {
  if (!data) return;
  munmap(data->map, data->map_bytes);
  free(data);
}

bool dataset_verify(const Dataset *data, Error *error) {
  if (cache_data_ok(data->map)) return true;
  return error_set(
      error, FAIL_INPUT,
      "%s: its cache does not have its checksum, though nobody wrote to it: a fault of "
      "the disk? remove it with `diffrl data cache clear`",
      data->source);
}
