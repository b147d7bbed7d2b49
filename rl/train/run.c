/* run.c -- folders and locks. */
#include "rl/train/run.h"
#include "core/file.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Is the file that was locked still the one of this name?  A refused run removes its own. */
static bool is_named(int file, const char *path) {
  struct stat open, named;
  return !fstat(file, &open) && !stat(path, &named) && open.st_dev == named.st_dev &&
         open.st_ino == named.st_ino;
}

/* The system drops the lock when a process ends, so a run that was killed leaves none behind. */
static bool take_lock(Run *run, Error *error) {
  const char *path = run->lock_path;
  while ((run->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0666)) < 0 &&
         errno == EINTR) {}
  if (run->lock < 0)
    return error_set(error, FAIL_RUNNING, "cannot write to %s: %s", run->folder, strerror(errno));
  /* a lock that another process holds is refused at once, not waited for */
  int result;
  while ((result = flock(run->lock, LOCK_EX | LOCK_NB)) && errno == EINTR) {}
  if (!result && is_named(run->lock, path)) return true;
  int reason = result ? errno : EWOULDBLOCK;
  run_close(run);
  if (reason == EWOULDBLOCK)
    return error_set(error, FAIL_USAGE,
                     "%s: another process is writing to this run; wait for it or "
                     "choose another --out",
                     run->folder);
  return error_set(error, FAIL_RUNNING,
                   "%s cannot be locked: %s; expected a file system with locks (over NFS, a lock "
                   "service): mount it so, or move the run to another",
                   path, strerror(reason));
}

void run_name(Run *run, Arena *arena, const char *folder) {
  *run = (Run){ .folder = arena_text(arena, "%s", folder), .lock = -1 };
  run->config = arena_text(arena, "%s/config.json", folder);
  run->metrics = arena_text(arena, "%s/metrics.jsonl", folder);
  run->eval = arena_text(arena, "%s/eval.jsonl", folder);
  run->measures = arena_text(arena, "%s/measures.json", folder);
  run->figures = arena_text(arena, "%s/figures.jsonl", folder);
  run->last = arena_text(arena, "%s/last.safetensors", folder);
  run->best = arena_text(arena, "%s/best.safetensors", folder);
  run->report = arena_text(arena, "%s/report.html", folder);
  run->lock_path = arena_text(arena, "%s/lock", folder);
}

bool run_open(Run *run, Arena *arena, const char *folder, bool fresh, Error *error) {
  run_name(run, arena, folder);
  /* a run that goes on must be there, a new one gets its folder */
  if (!fresh && access(run->config, F_OK))
    return error_set(error, FAIL_USAGE,
                     "%s holds no run (no config.json); expected a folder made "
                     "by `diffrl train`",
                     folder);
  bool made = fresh && access(folder, F_OK);
  if (fresh && !file_make_folders(folder, error)) return false;
  if (!take_lock(run, error)) return false;
  run->fresh = fresh, run->made = made;
  /* asked under the lock, so that no two new runs can take the same folder */
  if (!fresh || access(run->config, F_OK)) return true;
  run_close(run);
  return error_set(error, FAIL_USAGE,
                   "%s holds a run already; continue with `diffrl train --resume "
                   "%s`, or choose another --out",
                   folder, folder);
}

static bool refuse_old(const char *path, Error *error) {
  return access(path, F_OK) ||
         error_set(error, FAIL_USAGE,
                   "%s lies there without the config.json of its run; move it away, or choose "
                   "another --out",
                   path);
}

bool run_clear(const Run *run, bool replaces_last, Error *error) {
  const char *const logs[] = { run->metrics, run->eval, run->measures, run->figures };
  if (!refuse_old(run->best, error) || !(replaces_last || refuse_old(run->last, error)))
    return false;
  for (size_t i = 0; i < sizeof logs / sizeof *logs; i++)
    if (unlink(logs[i]) && errno != ENOENT)
      return error_set(error, FAIL_RUNNING,
                       "%s: an older file that cannot be removed: %s; choose another --out",
                       logs[i], strerror(errno));
  return true;
}

static bool is_draft(const char *name) {
  static const char *const ends[] = { ".safetensors.tmp", ".json.tmp", ".jsonl.tmp", ".html.tmp",
                                      ".png.tmp" };
  for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
    if (strlen(name) > strlen(ends[i]) && !strcmp(name + strlen(name) - strlen(ends[i]), ends[i]))
      return true;
  return false;
}

void run_sweep(const Run *run) {
  DIR *folder = opendir(run->folder);
  if (!folder) return;
  for (struct dirent *entry; (entry = readdir(folder));)
    if (is_draft(entry->d_name)) unlinkat(dirfd(folder), entry->d_name, 0);
  closedir(folder);
}

void run_close(Run *run) {
  /* while it is still locked, so that nobody else's is removed */
  if (run->lock >= 0 && run->fresh && access(run->config, F_OK)) {
    unlink(run->lock_path);
    if (run->made) rmdir(run->folder);
  }
  if (run->lock >= 0) close(run->lock);
  run->lock = -1;
}
