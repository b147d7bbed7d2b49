/* file.c -- temporary file, sync, rename, sync of the folder. */
#include "core/file.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool failed(const char *path, int reason, Error *error) {
  bool old = access(path, F_OK) == 0;
  return error_set(error, FAIL_RUNNING, "%s: cannot be written: %s%s", path, strerror(reason),
                   old ? "; what was there is untouched" : "");
}

static bool put(int fd, const FilePiece *piece) {
  const char *p = piece->bytes;
  for (size_t left = piece->length; left;) {
    ssize_t wrote = write(fd, p, left < 1 << 30 ? left : 1 << 30);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return false;
    p += wrote, left -= (size_t)wrote;
  }
  return true;
}

static int sync_whole(int fd) {
  int result;
  while ((result = fsync(fd)) != 0 && errno == EINTR) {}
  return result;
}

static int open_whole(const char *path, int how) {
  int fd;
  while ((fd = open(path, how | O_CLOEXEC, 0666)) < 0 && errno == EINTR) {}
  return fd;
}

/* Makes a rename last.  File systems that cannot sync a folder say EINVAL: nothing to be done. */
static bool sync_folder(const char *path, Error *error) {
  const char *slash = strrchr(path, '/');
  char folder[PATH_MAX];
  snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
  int fd = open_whole(folder, O_RDONLY | O_DIRECTORY);
  bool done = fd >= 0 && (sync_whole(fd) == 0 || errno == EINVAL);
  if (!done)
    error_set(error, FAIL_RUNNING, "%s: written, but its folder could not be synced: %s", path,
              strerror(errno));
  if (fd >= 0) close(fd);
  return done;
}

static int rename_new(const char *draft, const char *path) {
  int result = renameat2(AT_FDCWD, draft, AT_FDCWD, path, RENAME_NOREPLACE);
  if (!result || (errno != EINVAL && errno != ENOSYS)) return result;
  struct stat info; /* a file system without that flag */
  if (lstat(path, &info) != 0) return rename(draft, path);
  return errno = EEXIST, -1;
}

static bool settle(const char *draft, const char *path, Error *error) {
  if (!rename(draft, path)) return sync_folder(path, error);
  int reason = errno;
  unlink(draft);
  return failed(path, reason, error);
}

bool file_write_pieces(const char *path, const FilePiece *piece, size_t count, Error *error) {
  char draft[PATH_MAX];
  int length = snprintf(draft, sizeof draft, "%s.tmp", path);
  if (length >= PATH_MAX) return failed(path, ENAMETOOLONG, error);
  /* what a killed process left there goes, and so does a pipe, which would be waited for */
  unlink(draft);
  int fd = open_whole(draft, O_WRONLY | O_CREAT | O_EXCL), reason;
  if (fd < 0) return failed(path, errno, error);
  bool done = true;
  for (size_t i = 0; i < count && done; i++) done = put(fd, &piece[i]);
  done = done && sync_whole(fd) == 0;
  reason = errno;
  /* what is synced is there, even if a signal comes while closing */
  if (close(fd) != 0 && errno != EINTR && done) done = false, reason = errno;
  if (done) return settle(draft, path, error);
  unlink(draft);
  return failed(path, reason, error);
}

bool file_write(const char *path, const void *bytes, size_t length, Error *error) {
  return file_write_pieces(path, &(FilePiece){ bytes, length }, 1, error);
}

/* ---- drafts ---------------------------------------------------------------------------------- */

FileDraft file_draft(const char *path, Error *error) {
  const char *slash = strrchr(path, '/');
  char folder[PATH_MAX];
  snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
  FileDraft draft = { .fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0666) };
  if (draft.fd >= 0) return draft;
  size_t size = strlen(path) + sizeof ".part-XXXXXX";
  draft.part = malloc(size);
  if (draft.part) {
    snprintf(draft.part, size, "%s.part-XXXXXX", path);
    draft.fd = mkostemp(draft.part, O_CLOEXEC);
  }
  if (draft.fd < 0) {
    failed(path, errno, error);
    free(draft.part), draft.part = NULL;
  }
  return draft;
}

static bool give_name(const FileDraft *draft, const char *path) {
  char link[64];
  if (draft->part) return rename_new(draft->part, path) == 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", draft->fd);
  return linkat(AT_FDCWD, link, AT_FDCWD, path, AT_SYMLINK_FOLLOW) == 0;
}

bool file_draft_close(FileDraft *draft, const char *path, Error *error) {
  bool done = path && sync_whole(draft->fd) == 0 && give_name(draft, path);
  int reason = errno;
  if (draft->part && !done) unlink(draft->part);
  close(draft->fd);
  free(draft->part);
  *draft = (FileDraft){ .fd = -1 };
  if (!path) return true;
  return done ? sync_folder(path, error) : failed(path, reason, error);
}

FILE *file_open(const char *path) {
  struct stat info;
  int fd = open_whole(path, O_RDONLY | O_NONBLOCK), reason = 0;
  if (fd < 0) return NULL;
  if (fstat(fd, &info) != 0)
    reason = errno;
  else if (!S_ISREG(info.st_mode))
    reason = S_ISDIR(info.st_mode) ? EISDIR : ESPIPE;
  FILE *file = reason ? NULL : fdopen(fd, "rb");
  if (file) return file;
  reason = reason ? reason : errno;
  close(fd);
  return errno = reason, NULL;
}

bool file_is_regular(const char *path) {
  struct stat info;
  return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

bool file_make_folders(const char *path, Error *error) {
  char folder[PATH_MAX];
  int length = snprintf(folder, sizeof folder, "%s", path), reason = ENAMETOOLONG;
  for (int i = 1; length < PATH_MAX; i++) {
    bool ends = i >= length;
    if (!ends && path[i] != '/') continue;
    folder[ends ? length : i] = '\0';
    if (mkdir(folder, 0777) && (reason = errno) != EEXIST) break;
    if (ends) return true;
    folder[i] = '/';
  }
  return error_set(error, FAIL_RUNNING, "cannot make folder %s: %s", folder, strerror(reason));
}

/* A text of less than 1024 bytes: https://github.com/git-lfs/git-lfs, docs/spec.md. */
bool file_is_lfs_pointer(const char *path) {
  static const char *const begins[] = { "version https://git-lfs.github.com/spec/",
                                        "version https://hawser.github.com/spec/" };
  char text[1024];
  struct stat info;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  bool small = fd >= 0 && !fstat(fd, &info) && S_ISREG(info.st_mode) && info.st_size < 1024;
  ssize_t length = small ? pread(fd, text, sizeof text, 0) : 0;
  if (fd >= 0) close(fd);
  for (size_t i = 0; i < sizeof begins / sizeof *begins; i++)
    if (length > (ssize_t)strlen(begins[i]) && !memcmp(text, begins[i], strlen(begins[i])))
      return true;
  return false;
}

bool file_fail_lfs_pointer(Error *error) {
  return error_set(error, FAIL_INPUT,
                   "a Git LFS pointer, which stands in place of the file until it is fetched; run "
                   "`git lfs pull` where it was cloned");
}
