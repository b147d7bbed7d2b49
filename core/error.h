/* error.h -- what to tell a person about bad input or bad luck: what, where, expected, remedy.
 *
 * Functions that can fail take a caller-owned Error (never NULL) and return false or NULL.  The
 * kind of failure is the exit code of the command line. */
#ifndef CORE_ERROR_H
#define CORE_ERROR_H
#include <stdbool.h>
#include <stddef.h>

typedef enum {
  FAIL_NONE = 0,
  FAIL_RUNNING = 1,  /* disk full, simulator, a child process */
  FAIL_USAGE = 2,    /* the command line or a setting */
  FAIL_INPUT = 3,    /* a file that was read */
  FAIL_DIVERGED = 4, /* numbers that are no longer finite */
} Failure;

typedef struct {
  Failure kind;
  char text[1024];
  bool memory; /* the system gave no memory: what a guest's caller hears as a status of its own */
} Error;

/* Store kind and message; always returns false, so `return error_set(...)` reads well. */
bool error_set(Error *error, Failure kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Memory ran out while `bytes` were asked for (0: unknown); returns false. */
bool error_memory(Error *error, size_t bytes);

/* The failure is one of this kind after all, unless memory ran out; returns false. */
bool error_blame(Error *error, Failure kind);

/* Put "prefix: " before the stored message (for the file name, say); returns false. */
bool error_prefix(Error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
