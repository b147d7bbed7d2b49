/* watch.h -- what the loop itself sees going wrong: gradients that explode, an evaluation without a
 * number, a run that falls behind its own best. */
#ifndef RL_WATCH_H
#define RL_WATCH_H
#include "rl/train/measuring.h"
#include "rl/warnings.h"

typedef struct {
  char name[LOG_MAX_NAME]; /* "grad_norm/critic" */
  double least;            /* of the lines so far */
} WatchedNorm;

typedef struct {
  Warnings *warnings;
  WatchedNorm norm[LOG_MAX_SCALARS];
  int norms;
} Watch;

/* The means of a line of metrics.jsonl. */
void watch_metrics(Watch *watch, const Log *log);

/* The same from the lines of an earlier sitting, so that a resumed run sees what one that was never
 * stopped would; an absent or damaged file has none. */
void watch_resume(Watch *watch, const char *metrics);

/* An evaluation; best: the greatest measure_gain so far, -inf: none. */
void watch_measured(Watch *watch, const Measured *measured, double best);

#endif
