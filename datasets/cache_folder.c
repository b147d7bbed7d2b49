/* cache_folder.c -- listing and tidying. */
#include "datasets/cache_folder.h"
#include "core/file.h"
#include "core/sort.h"
#include "datasets/cache.h"
#include "datasets/data_files.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool cache_folder(char folder[PATH_MAX]) {
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

/* ---- listing --------------------------------------------------------------------------------- */

/* The header, and the source's path behind it; false for another file or version. */
static bool read_header(int fd, CacheHeader *header, char source[PATH_MAX]) {
  CacheColumn path;
  if (pread(fd, header, sizeof *header, 0) != (ssize_t)sizeof *header) return false;
  path = header->column[CACHE_SOURCE];
  return header->version == CACHE_VERSION && path.bytes > 1 && path.bytes <= PATH_MAX &&
         pread(fd, source, path.bytes, (off_t)path.offset) == (ssize_t)path.bytes &&
         !source[path.bytes - 1];
}

static CacheEntry describe(Arena *arena, const char *path, const struct stat *info) {
  CacheEntry entry = { .path = path,
                       .bytes = (uint64_t)info->st_blocks * 512,
                       .used = cache_time(info->st_atim) };
  CacheHeader header;
  char source[PATH_MAX];
  DataFiles now;
  Error ignored;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd >= 0 && read_header(fd, &header, source)) {
    entry.source = arena_text(arena, "%s", source);
    entry.current = data_files_find(arena, entry.source, &now, &ignored) &&
                    cache_source_same(&header, &now.source);
  }
  if (fd >= 0) close(fd);
  return entry;
}

/* STEPS-<32 digits>.cache, and drafts of earlier versions, which had six letters more */
static bool is_ours(const char *name) {
  const char *end = strstr(name, ".cache");
  while (end && strstr(end + 1, ".cache")) end = strstr(end + 1, ".cache");
  return end && end - name > 32 && (!end[6] || (end[6] == '.' && strlen(end) == 13));
}

static int later(const void *a, const void *b) {
  const CacheEntry *x = a, *y = b;
  return x->used != y->used ? (x->used < y->used) - (x->used > y->used) : strcmp(x->path, y->path);
}

size_t cache_folder_list(Arena *arena, const CacheEntry **list) {
  char folder[PATH_MAX];
  struct dirent **names = NULL;
  int count = cache_folder(folder) ? scandir(folder, &names, NULL, NULL) : 0;
  CacheEntry *entries = arena_array(arena, CacheEntry, count > 0 ? count : 1);
  size_t found = 0;
  for (int i = 0; i < count; i++) {
    const char *path = arena_text(arena, "%s/%s", folder, names[i]->d_name);
    struct stat info;
    if (is_ours(names[i]->d_name) && lstat(path, &info) == 0 && S_ISREG(info.st_mode))
      entries[found++] = describe(arena, path, &info);
    free(names[i]);
  }
  free(names);
  sort(entries, found, sizeof *entries, later);
  *list = entries;
  return found;
}

bool cache_folder_remove(const CacheEntry *entry, Error *error) {
  if (unlink(entry->path) == 0 || errno == ENOENT) return true;
  return error_set(error, FAIL_RUNNING, "%s: cannot be removed: %s", entry->path, strerror(errno));
}

/* ---- tidying --------------------------------------------------------------------------------- */

void cache_folder_used(int fd) {
  futimens(fd, (const struct timespec[]){ { 0, UTIME_NOW }, { 0, UTIME_OMIT } });
}

static uint64_t limit(void) {
  const char *text = getenv("DIFFRL_CACHE_GB");
  char *end;
  double asked = text ? strtod(text, &end) : 0;
  bool given = text && end != text && !*end && asked >= 0 && asked < 1e9;
  return (uint64_t)((given ? asked : CACHE_FOLDER_GIGABYTES) * 1e9);
}

void cache_folder_tidy(const char *made) {
  Arena *arena = arena_new();
  const CacheEntry *list, *mine = NULL;
  size_t count = cache_folder_list(arena, &list);
  for (size_t i = 0; i < count; i++)
    if (!strcmp(list[i].path, made)) mine = &list[i];
  uint64_t room = limit(), sum = mine ? mine->bytes : 0;
  for (size_t i = 0; i < count && mine; i++) {
    const CacheEntry *e = &list[i];
    if (e == mine) continue;
    bool useless = !e->source || (!e->current && mine->source && !strcmp(e->source, mine->source));
    Error ignored;
    if (useless || sum + e->bytes > room)
      cache_folder_remove(e, &ignored);
    else
      sum += e->bytes;
  }
  arena_free(arena);
}
