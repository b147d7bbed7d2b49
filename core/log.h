/* log.h -- what a run says: JSON lines in its folder, and lines for people on stderr.
 *
 * RUN/metrics.jsonl and RUN/eval.jsonl get one object per report, appended and flushed.  Scalars
 * collected between reports are averaged. */
#ifndef CORE_LOG_H
#define CORE_LOG_H
#include "core/error.h"
#include "core/json.h"
#include <stdbool.h>
#include <stdint.h>

enum { LOG_MAX_SCALARS = 48, LOG_MAX_NAME = 48 };

typedef struct {
  char name[LOG_MAX_SCALARS][LOG_MAX_NAME]; /* such as "loss/critic" */
  double sum[LOG_MAX_SCALARS];
  int64_t count[LOG_MAX_SCALARS];
  int scalars;
} Log;

/* Add to the running mean of `name`, which is copied.  Never allocates. */
void log_scalar(Log *log, const char *name, double value);
double log_mean(const Log *log, const char *name); /* NAN if nothing was added */
void log_write(const Log *log, JsonText *out);     /* "name": mean, ... as members */
void log_clear(Log *log);

/* Append one line to a JSON-lines file and flush it: whole, or not at all.  Never waits. */
bool log_append(const char *path, const char *line, Error *error);

/* Make what was appended last, after a power cut too; a file that is absent is fine. */
bool log_sync(const char *path, Error *error);

/* Cut the file back to the lines whose "step" is at most `step` (resume).  A file that is absent
 * is fine; a last line cut short by a crash is dropped, and what is not JSON is passed over. */
bool log_rewind(const char *path, int64_t step, Error *error);

/* A line for people: replaces the previous one on a terminal, a plain line elsewhere.
 * `final` ends the live line.  Control characters are spelled out (core/escape.h). */
void log_progress(bool final, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
