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
#include <stdbool.h>
#include <stddef.h>

enum { HISTORY_MAX_METRICS = 96, HISTORY_TIMES = 5 };

typedef struct {
  const char *name; /* "loss/critic" */
  double *value;    /* [rows]; NAN where the line lacks it, INFINITY where it says null */
} HistoryMetric;

/* One line of eval.jsonl; NAN where absent or null. */
typedef struct {
  double step, episodes, simulator_failures, length_mean;
  double return_mean, return_std;         /* std over episodes */
  double normalized_mean, normalized_std; /* in percent of the reference policy */
  double held_out_loss;
  double held_out_by_time[HISTORY_TIMES];    /* in fifths of the time from data to noise */
  double distance, floor;                    /* of samples to data, between two samples of data */
  double plan_error, plan_still, data_error; /* in the simulator (dynamics.h) */
  const char *which;                         /* "last" */
  const char *act;                           /* "weights=online sampler=ddpm ..."; "" if absent */
  bool training; /* of the weights as they were, not of best or of a file */
} HistoryEvaluation;

typedef struct {
  const char *folder;
  Json *config;
  Json *scores; /* of a model of pictures (image_scores.h); NULL: none */
  HistoryMetric metric[HISTORY_MAX_METRICS];
  int metrics;
  size_t rows; /* lines of metrics.jsonl that were read */
  HistoryEvaluation *evaluation;
  size_t evaluations;
  size_t skipped; /* broken lines in both files */
} History;

/* Read the run in `folder` (a text that outlives the history).  What is read lives in the arena,
 * except config and scores: history_close.  Fails if config.json or metrics.jsonl cannot be read;
 * eval.jsonl may be absent, since a run may not have been evaluated yet. */
bool history_read(History *history, Arena *arena, const char *folder, Error *error);
void history_close(History *history);

/* [rows], or NULL if no line has it. */
double *history_metric(const History *history, const char *name);

/* A JSON value as a person would write it: hopper-v2, 0.001, [256 256], eta=1 clip=9. */
const char *history_text(Arena *arena, const Json *value);

/* A curve of at most `most` points: the pairs where y is not NAN and, if there are more of them,
 * the means of every *bucket that follow one another (the last may have fewer).  x, y: [count] to
 * thin_x, thin_y: [most]; returns the number of points. */
size_t history_thin(const double *x, const double *y, size_t count, double *thin_x, double *thin_y,
                    size_t most, size_t *bucket);

#endif
