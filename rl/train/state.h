/* state.h -- what makes resuming exact: the checkpoints of a run. */
#ifndef RL_STATE_H
#define RL_STATE_H
#include "rl/train/trainer.h"

/* what the loop carries from step to step */
typedef struct {
  int64_t step;      /* gradient steps done */
  int64_t evaluated; /* step of the last complete evaluation; -1: none */
  double best;       /* best value of the measure so far; -inf: none */
  Log *log;          /* sums since the last line of metrics.jsonl */
} TrainState;

/* Write the state and the trainer's agent to path, whole or not at all (FAIL_RUNNING). */
bool state_save(const Trainer *t, const TrainState *state, const char *path, Error *error);

/* Is there a `last`, or something in its place that cannot be looked at? */
bool state_saved(const Trainer *t);

/* May a run without `last` begin anew?  One that was stopped before its first save may: all that it
 * did follows from its settings.  FAIL_INPUT if it had saved, or began from other weights. */
bool state_may_begin(const Trainer *t, Error *error);

/* Read RUN/last.safetensors into the agent and the state, whose log is cleared before.  FAIL_INPUT
 * if it is missing, damaged or of another agent, and the agent is then of no use; FAIL_USAGE if the
 * run has done more steps than it is to do. */
bool state_load(const Trainer *t, TrainState *state, Error *error);

/* A number of all that a checkpoint holds of the agent: the same on ranks that hold the same. */
uint64_t state_number(const Trainer *t, int64_t step);

#endif
