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

/* Is there a checkpoint?  A run killed before its first starts again: its start is its seed. */
bool state_saved(const Trainer *t);

/* Read RUN/last.safetensors into the agent and the state, whose log is cleared before.  FAIL_INPUT
 * if it is missing, damaged or of another agent; the agent is then of no use. */
bool state_load(const Trainer *t, TrainState *state, Error *error);

/* A number of all that a checkpoint holds of the agent: the same on ranks that hold the same. */
uint64_t state_number(const Trainer *t, int64_t step);

#endif
