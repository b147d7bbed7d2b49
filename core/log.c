/* log.c -- running means, JSON-lines files that survive a crash, and the live line. */
#include "core/log.h"
#include "core/check.h"
#include "core/escape.h"
#include "core/file.h"
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* ---- scalars --------------------------------------------------------------------------------- */

static int find(const Log *log, const char *name) {
  int i = 0;
  while (i < log->scalars && strcmp(log->name[i], name)) i++;
  return i;
}

void log_scalar(Log *log, const char *name, double value) {
  int i = find(log, name);
  CHECK(i < LOG_MAX_SCALARS, "log: no room for %s beside %d others", name, LOG_MAX_SCALARS);
  if (i == log->scalars) snprintf(log->name[log->scalars++], LOG_MAX_NAME, "%s", name);
  log->sum[i] += value;
  log->count[i]++;
}

double log_mean(const Log *log, const char *name) {
  int i = find(log, name);
  return i < log->scalars ? log->sum[i] / (double)log->count[i] : NAN;
}

void log_write(const Log *log, JsonText *out) {
  for (int i = 0; i < log->scalars; i++)
    json_put_number(out, log->name[i], log->sum[i] / (double)log->count[i]);
}

void log_clear(Log *log) { *log = (Log){ 0 }; }

/* ---- JSON lines ------------------------------------------------------------------------------ */

/* Line and line end, whole or not at all: if only a part finds room, it is taken back. */
static bool append_line(int fd, const char *line) {
  struct stat before;
  if (fstat(fd, &before) != 0) return false;
  size_t length = strlen(line), done = 0;
  while (done <= length) {
    struct iovec parts[2] = { { (char *)(uintptr_t)line + done, length - done },
                              { (char[]){ '\n' }, 1 } };
    ssize_t wrote = writev(fd, parts, 2);
    if (wrote < 0 && errno == EINTR) continue;
    int reason = wrote < 0 ? errno : ENOSPC;
    if (wrote > 0) done += (size_t)wrote;
    if (wrote > 0) continue;
    if (done > 0 && ftruncate(fd, before.st_size) != 0) reason = errno;
    errno = reason;
    return false;
  }
  return true;
}

/* never waits: what is in the file's place may be a pipe that nobody reads */
static int open_log(const char *path, int how) {
  int fd;
  while ((fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | how, 0666)) < 0 && errno == EINTR) {}
  return fd;
}

bool log_append(const char *path, const char *line, Error *error) {
  CHECK(!strchr(line, '\n'), "log_append: more than one line");
  int fd = open_log(path, O_APPEND | O_CREAT);
  bool done = fd >= 0 && append_line(fd, line);
  if (!done) error_set(error, FAIL_RUNNING, "%s: cannot be written: %s", path, strerror(errno));
  if (fd >= 0) close(fd);
  return done;
}

bool log_sync(const char *path, Error *error) {
  int fd = open_log(path, 0), result = -1;
  if (fd < 0 && errno == ENOENT) return true;
  while (fd >= 0 && (result = fdatasync(fd)) != 0 && errno == EINTR) {}
  /* file systems that cannot sync say EINVAL: nothing to be done */
  bool done = !result || (fd >= 0 && errno == EINVAL);
  if (!done) error_set(error, FAIL_RUNNING, "%s: cannot be synced: %s", path, strerror(errno));
  if (fd >= 0) close(fd);
  return done;
}

/* The length of the file up to the last line with step at most `step` before a later one.  What is
 * no line of JSON (a power cut leaves zeros) stays if such a line follows. */
static int64_t keep_until(FILE *file, int64_t step) {
  char *line = NULL;
  size_t room = 0;
  int64_t at = 0, keep = 0;
  for (;;) {
    ssize_t length = getline(&line, &room, file);
    if (length <= 0 || line[length - 1] != '\n') break; /* the end, or a line cut short */
    at += length;
    Json *json = json_parse_if(line, (size_t)length);
    bool good = json, later = json_number(json_get(json, "step"), -INFINITY) > (double)step;
    json_free(json);
    if (later) break;
    if (good) keep = at;
  }
  free(line);
  return keep;
}

bool log_rewind(const char *path, int64_t step, Error *error) {
  FILE *file = file_open(path);
  if (!file && errno == ENOENT) return true;
  if (!file) return error_set(error, FAIL_INPUT, "%s: cannot be read: %s", path, strerror(errno));
  int64_t keep = keep_until(file, step);
  fclose(file);
  int result;
  while ((result = truncate(path, keep)) != 0 && errno == EINTR) {}
  return result == 0 ||
         error_set(error, FAIL_RUNNING, "%s: cannot be cut back: %s", path, strerror(errno));
}

/* ---- for people ------------------------------------------------------------------------------ */

void log_progress(bool final, const char *format, ...) {
  enum { MOST = 2048 };
  char said[MOST], line[2 * MOST];
  va_list args;
  va_start(args, format);
  vsnprintf(said, sizeof said, format, args);
  va_end(args);
  /* a name or a text of a file may be in it */
  escape_into(line, sizeof line, said);
  if (!isatty(STDERR_FILENO)) {
    fprintf(stderr, "%s\n", line);
    return;
  }
  /* a line wider than the terminal would wrap and could not be replaced */
  struct winsize window;
  bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 1;
  int width = final || !known ? (int)sizeof line : escape_fit(line, window.ws_col - 1);
  fprintf(stderr, "\r%.*s\033[K%s", width, line, final ? "\n" : "");
  fflush(stderr);
}
