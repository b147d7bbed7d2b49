/* error.c -- messages for people, and CHECK for ourselves. */
#include "core/error.h"
#include "core/check.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool error_set(Error *error, Failure kind, const char *format, ...) {
  va_list args;
  va_start(args, format);
  error->kind = kind;
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

_Noreturn void check_failed(const char *file, int line, const char *format, ...) {
  va_list args;
  fprintf(stderr, "%s:%d: ", file, line);
  va_start(args, format);
  vfprintf(stderr, format, args);
  va_end(args);
  fputc('\n', stderr);
  abort();
}
