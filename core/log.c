/* log.c -- running means, JSON-lines files that survive a crash, and the live line. */
#include "core/log.h"
#include "core/check.h"
#include "core/escape.h"
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

/* Line and line end in one call; if only a part finds room, it is taken back. */
static bool append_line(int fd, const char *line) {
  struct stat before;
  struct iovec parts[2] = { { (char *)(uintptr_t)line, strlen(line) }, { (char[]){ '\n' }, 1 } };
  ssize_t size = (ssize_t)(parts[0].iov_len + 1);
  if (fstat(fd, &before) != 0) return false;
  ssize_t wrote = writev(fd, parts, 2);
  if (wrote == size) return true;
  int reason = wrote < 0 ? errno : ENOSPC;
  if (wrote > 0 && ftruncate(fd, before.st_size) != 0) reason = errno;
  errno = reason;
  return false;
}

bool log_append(const char *path, const char *line, Error *error) {
  CHECK(!strchr(line, '\n'), "log_append: more than one line");
  int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
  bool done = fd >= 0 && append_line(fd, line);
  if (!done) error_set(error, FAIL_RUNNING, "%s: cannot be written: %s", path, strerror(errno));
  if (fd >= 0) close(fd);
  return done;
}

/* The length of the file's leading lines with step at most `step`; -1 if a line is not JSON. */
static int64_t keep_until(FILE *file, int64_t step, Error *error) {
  char *line = NULL;
  size_t room = 0;
  int64_t keep = 0;
  for (int number = 1;; number++) {
    ssize_t length = getline(&line, &room, file);
    if (length <= 0 || line[length - 1] != '\n') break; /* the end, or a line cut short */
    Json *json = json_parse(line, (size_t)length, error);
    if (!json) {
      error_prefix(error, "record %d", number);
      keep = -1;
      break;
    }
    int64_t written;
    bool told = json_whole(json_get(json, "step"), 0, (int64_t)1 << 53, &written);
    json_free(json);
    if (!told) {
      error_set(error, FAIL_INPUT, "record %d: no \"step\", a whole number", number);
      keep = -1;
      break;
    }
    if (written > step) break;
    keep += length;
  }
  free(line);
  return keep;
}

bool log_rewind(const char *path, int64_t step, Error *error) {
  FILE *file = fopen(path, "r");
  if (!file && errno == ENOENT) return true;
  if (!file) return error_set(error, FAIL_INPUT, "%s: cannot be read: %s", path, strerror(errno));
  int64_t keep = keep_until(file, step, error);
  fclose(file);
  if (keep < 0) return error_prefix(error, "%s", path);
  return truncate(path, keep) == 0 ||
         error_set(error, FAIL_RUNNING, "%s: cannot be cut back: %s", path, strerror(errno));
}

/* ---- for people ------------------------------------------------------------------------------ */

void log_progress(bool final, const char *format, ...) {
  char text[512], line[2 * sizeof text];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  escape_into(line, sizeof line, text); /* it may quote a file */
  if (!isatty(STDERR_FILENO)) {
    fprintf(stderr, "%s\n", line);
    return;
  }
  /* a line wider than the terminal would wrap and could not be replaced */
  struct winsize window;
  bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 1;
  int width = final || !known ? (int)sizeof line : window.ws_col - 1;
  fprintf(stderr, "\r%.*s\033[K%s", width, line, final ? "\n" : "");
  fflush(stderr);
}
