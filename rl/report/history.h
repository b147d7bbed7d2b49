/* history.h -- what the folder of a run says about it, read back: settings, metrics, evaluations.
 *
 * The files are those of docs/design.md, "A run is a folder".  A line that is not JSON (a crash cut
 * it short) is skipped and counted; whatever is absent or null is NAN, INFINITY or NULL as said
 * below. */
#ifndef RL_HISTORY_H
#define RL_HISTORY_H
#include "core/arena.h"
#include "core/error.h"
#include "core/json.h"
#include "rl/measure/measure.h"
#include <stdbool.h>
#include <stddef.h>

enum { HISTORY_MAX_METRICS = 96, HISTORY_MAX_MEASURES = 96 };

typedef struct {
  const char *name; /* "loss/critic" */
  double *value;    /* [rows]; NAN where the line lacks it, INFINITY where it says null */
} HistoryMetric;

/* A measure, as config.json describes it, and where its numbers are among those of an evaluation.
 * A run that describes none (release 0.1) has those of the shared table of returns, and every other
 * number of its lines under its key. */
typedef struct {
  Measure is;
  int at, numbers;
} HistoryMeasure;

/* One line of eval.jsonl, or measures.json. */
typedef struct {
  double step;       /* NAN if absent */
  const char *which; /* "last" */
  const char *with;  /* how it acted or decoded: "weights=online sampler=ddpm ..."; "" if absent */
  bool training;     /* of the weights as they were, not of best or of a file */
  double *value;     /* [numbers]; NAN where absent or null */
} HistoryEvaluation;

typedef struct {
  const char *file, *title, *caption; /* caption: "" if absent */
  double step;                        /* of one of a row over training; NAN: none */
} HistoryFigure;

typedef struct {
  const char *folder;
  Json *config;
  HistoryMetric metric[HISTORY_MAX_METRICS];
  int metrics;
  size_t rows; /* lines of metrics.jsonl that were read */
  HistoryMeasure measure[HISTORY_MAX_MEASURES];
  int measures, numbers; /* numbers: of an evaluation */
  HistoryEvaluation *evaluation;
  size_t evaluations;
  HistoryEvaluation *end; /* measures.json; NULL: none */
  HistoryFigure *figure;
  size_t figures;
  const char **warning; /* [warnings] sentences: what went wrong, and at which step */
  size_t warnings;
  size_t skipped; /* broken lines in all files */
} History;

/* Read the run in `folder` (a text that outlives the history).  What is read lives in the arena,
 * except config: history_close.  Fails if config.json or metrics.jsonl cannot be read;
 * the others may be absent, since a run may not have been evaluated yet. */
bool history_read(History *history, Arena *arena, const char *folder, Error *error);
void history_close(History *history);

/* [rows], or NULL if no line has it. */
double *history_metric(const History *history, const char *name);

/* The measure of this key; NULL if key is NULL or there is none. */
const HistoryMeasure *history_measure(const History *history, const char *key);

/* The first number of it; NAN if m is NULL. */
double history_value(const HistoryEvaluation *evaluation, const HistoryMeasure *m);

/* A JSON value as a person would write it: hopper-v2, 0.001, [256 256], eta=1 clip=9. */
const char *history_text(Arena *arena, const Json *value);

/* A curve of at most `most` points: the pairs where y is not NAN and, if there are more of them,
 * the means of every *bucket that follow one another (the last may have fewer).  x, y: [count] to
 * thin_x, thin_y: [most]; returns the number of points. */
size_t history_thin(const double *x, const double *y, size_t count, double *thin_x, double *thin_y,
                    size_t most, size_t *bucket);

#endif
