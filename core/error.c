/* error.c -- messages for people, and CHECK for ourselves. */
#include "core/error.h"
#include "core/check.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool error_set(Error *error, Failure kind, const char *format, ...) {
  va_list args;
  va_start(args, format);
  error->kind = kind, error->memory = false;
  vsnprintf(error->text, sizeof error->text, format, args);
  va_end(args);
  return false;
}

bool error_prefix(Error *error, const char *format, ...) {
  char old[sizeof error->text], prefix[256];
  memcpy(old, error->text, sizeof old);
  va_list args;
  va_start(args, format);
  vsnprintf(prefix, sizeof prefix, format, args);
  va_end(args);
  snprintf(error->text, sizeof error->text, "%s: %.*s", prefix,
           (int)(sizeof old - sizeof prefix - 3), old);
  return false;
}

bool error_memory(Error *error, size_t bytes) {
  char asked[48] = "";
  if (bytes) snprintf(asked, sizeof asked, " (%zu bytes were asked for)", bytes);
  error_set(error, FAIL_RUNNING,
            "out of memory%s: raise the limit (ulimit -v, the control group's memory.max), end "
            "other programs, or choose smaller sizes",
            asked);
  error->memory = true;
  return false;
}

bool error_blame(Error *error, Failure kind) {
  if (!error->memory) error->kind = kind;
  return false;
}

_Noreturn void memory_out(size_t bytes) {
  Error error;
  error_memory(&error, bytes);
  fprintf(stderr, "diffrl: %s\n", error.text);
  _exit(FAIL_RUNNING); /* handlers of exit would want memory too */
}

_Noreturn void check_failed(const char *file, int line, const char *format, ...) {
  va_list args;
  fprintf(stderr, "%s:%d: ", file, line);
  va_start(args, format);
  vfprintf(stderr, format, args);
  va_end(args);
  fputc('\n', stderr);
  abort();
}
