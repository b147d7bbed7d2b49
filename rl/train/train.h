/* train.h -- the training loop that all algorithms share.
 *
 * Batches, periodic evaluation, `last` and `best`, metrics, signals and resuming.  A run that was
 * interrupted anywhere and resumed writes the same bits as one that was not. */
#ifndef RL_TRAIN_H
#define RL_TRAIN_H
#include "rl/train/trainer.h"

typedef struct {
  int64_t steps;
  double seconds, steps_per_s;
  int64_t sent; /* bytes a step that this rank sent; 0: alone */
  int signal;   /* that stopped the run; 0: it is complete */
} TrainOutcome;

/* Train to the end (or a signal).  Fails with FAIL_DIVERGED if numbers are no longer finite, and
 * with FAIL_RUNNING if a rank is lost: the last good checkpoint stands. */
bool train_run(Trainer *t, TrainOutcome *outcome, Error *error);

/* Steps a second of a run that was set up and not begun, measured over about so many seconds of
 * steps; its weights are spent by that.  NAN: not known, for an online algorithm would act, and
 * ranks would have to agree. */
double train_rate(Trainer *trainer, double seconds);

/* What a sitting leaves behind: RUN/measures.json, unless a signal ended it, and figures.  For the
 * rank that records; what fails is noted, for the training is saved. */
void train_show(Trainer *t, const TrainOutcome *outcome);

#endif
