/* data_files.c -- taking the text apart, and looking what is there. */
#include "datasets/data_files.h"
#include "core/file.h"
#include "datasets/hdf5_process.h"
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool exists(const char *path) {
  struct stat info;
  return stat(path, &info) == 0;
}

/* Where the choice begins: its question mark, or the end. */
static const char *choice_at(const char *text) {
  const char *mark = strrchr(text, '?');
  return mark && !exists(text) ? mark : text + strlen(text);
}

const char *data_files_plain(Arena *arena, const char *text) {
  return arena_text(arena, "%.*s", (int)(choice_at(text) - text), text);
}

const char *data_files_chosen(Arena *arena, const char *text, const char *obs, const char *map,
                              const char *mask, Error *error) {
  const char *const said[][2] = { { "obs", obs }, { "map", map }, { "mask", mask } };
  if (!text) return NULL;
  const char *mark = *choice_at(text) ? "&" : "?";
  for (size_t i = 0; i < sizeof said / sizeof *said; i++) {
    if (!said[i][1]) continue;
    if (strpbrk(said[i][1], "?&") || !*said[i][1]) {
      error_set(error, FAIL_USAGE, "--%s %s: expected names without ? and &", said[i][0],
                said[i][1]);
      return NULL;
    }
    text = arena_text(arena, "%s%s%s=%s", text, mark, said[i][0], said[i][1]);
    mark = "&";
  }
  return text;
}

/* ---- folders --------------------------------------------------------------------------------- */

/* Minari's own file, or what to do with a folder of another kind. */
static const char *in_folder(Arena *arena, const char *folder, Error *error) {
  static const char *const minari[] = { "data/main_data.hdf5", "main_data.hdf5" };
  for (size_t i = 0; i < 2; i++) {
    const char *path = arena_text(arena, "%s/%s", folder, minari[i]);
    if (exists(path)) return path;
  }
  if (exists(arena_text(arena, "%s/meta/info.json", folder)))
    error_set(error, FAIL_INPUT,
              "%s: a LeRobot data set, which holds parquet files; convert it first: python "
              "scripts/lerobot_to_hdf5.py %s OUT.hdf5",
              folder, folder);
  else if (exists(arena_text(arena, "%s/.zgroup", folder)) ||
           exists(arena_text(arena, "%s/zarr.json", folder)) ||
           exists(arena_text(arena, "%s/data/.zgroup", folder)))
    error_set(error, FAIL_INPUT,
              "%s: a zarr folder; convert it first: python scripts/zarr_to_hdf5.py %s OUT.hdf5",
              folder, folder);
  else
    error_set(error, FAIL_INPUT,
              "%s: a folder or device; expected a file of data, or a folder of Minari's with "
              "data/main_data.hdf5",
              folder);
  return NULL;
}

/* ---- files ----------------------------------------------------------------------------------- */

static bool file_add(Arena *arena, DataFiles *files, const char *given, Error *error) {
  struct stat info;
  char real[PATH_MAX];
  if (files->count == HDF5_MAX_FILES)
    return error_set(error, FAIL_USAGE, "more than %d files; join some", HDF5_MAX_FILES);
  if (stat(given, &info) != 0)
    return error_set(error, FAIL_INPUT, "%s: %s", given, strerror(errno));
  const char *path = S_ISDIR(info.st_mode) ? in_folder(arena, given, error) : given;
  if (!path) return false;
  if (!realpath(path, real) || stat(real, &info) != 0)
    return error_set(error, FAIL_INPUT, "%s: %s", given, strerror(errno));
  if (!S_ISREG(info.st_mode))
    return error_set(error, FAIL_INPUT, "%s: a folder or device; expected a file of data", given);
  if (file_is_lfs_pointer(real))
    return file_fail_lfs_pointer(error), error_prefix(error, "%s", given);
  size_t length = strlen(given);
  if (length > 5 && !strcmp(given + length - 5, ".zarr"))
    return error_set(error, FAIL_INPUT,
                     "%s: convert it first: python scripts/zarr_to_hdf5.py %s "
                     "OUT.hdf5",
                     given, given);
  files->path[files->count++] = arena_text(arena, "%s", real);
  cache_source_add(&files->source, &info);
  return true;
}

bool data_files_find(Arena *arena, const char *text, DataFiles *files, Error *error) {
  const char *plain = data_files_plain(arena, text), *choice = text + strlen(plain);
  *files = (DataFiles){ .path = arena_array(arena, const char *, HDF5_MAX_FILES),
                        .choice = *choice ? choice + 1 : choice };
  /* a name that is there is one file, whatever letters it has */
  const char *comma = exists(plain) ? NULL : strchr(plain, ',');
  for (const char *at = plain; at; at = comma ? comma + 1 : NULL) {
    if (at != plain) comma = strchr(at, ',');
    const char *one = comma ? arena_text(arena, "%.*s", (int)(comma - at), at) : at;
    if (!file_add(arena, files, one, error)) return false;
  }
  files->name = files->path[0];
  for (int i = 1; i < files->count; i++)
    files->name = arena_text(arena, "%s,%s", files->name, files->path[i]);
  if (*files->choice) files->name = arena_text(arena, "%s?%s", files->name, files->choice);
  return true;
}
