/* world_errors.h -- how far a world model's imagination strays from what happened.
 *
 * Windows of the data: the model is put into a window's first state and does its actions, each
 * time in the state that it has imagined.  After k steps its state is compared with the window's;
 * the error is the root mean square over windows and entries, each divided by the deviation of the
 * entry over the data.  Beside it: that of a state that never changes. */
#ifndef RL_WORLD_ERRORS_H
#define RL_WORLD_ERRORS_H
#include "datasets/batch.h"
#include "policy/models/worlds.h"
#include "rl/measure/measure.h"

enum { WORLD_SPANS = 5, WORLD_MEASURES = 2 * WORLD_SPANS + 2 };
extern const Measure world_measures[WORLD_MEASURES];

/* Windows as long as the longest span that some episode of `rows` has; always the same ones.  NAN
 * for spans that none has.  FAIL_RUNNING if it was stopped. */
bool world_errors(const WorldsModel *model, const ModelSampling *how, const RowSampler *rows,
                  int count, double value[WORLD_MEASURES], Error *error);

#endif
