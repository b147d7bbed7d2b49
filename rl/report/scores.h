/* scores.h -- what a run achieved: its last evaluation, its best, and the mean of the last five.
 *
 * Only evaluations during training count.  Runs without an environment are measured by the loss on
 * held-out episodes, models of points by the distance of samples to data, models of plans by their
 * error in the simulator: less is better. */
#ifndef RL_SCORES_H
#define RL_SCORES_H
#include "rl/report/history.h"

enum { SCORES_LAST = 5 };

typedef struct {
  size_t count;                 /* evaluations with a score; 0: the three below are all NAN */
  bool held_out;                /* losses, distances or errors, no returns: less is better */
  bool distance;                /* distances */
  bool planned;                 /* or errors of plans */
  bool normalized;              /* some evaluation has a normalised score */
  HistoryEvaluation last, best; /* best: the earliest of equals */
  HistoryEvaluation mean;       /* of the last SCORES_LAST or fewer; std and episodes of all their
                                   episodes together, step and act of the last */
  size_t averaged;              /* evaluations in `mean` */
  bool acts_differ;             /* they were not all made with the same act record */
} Scores;

Scores scores_of(const History *run);

/* The number a run is compared by, of one of its evaluations: the normalised score if there is one,
 * else the return, the held-out loss, the distance or the error; and its std over episodes, NAN for
 * a loss. */
double scores_value(const Scores *scores, const HistoryEvaluation *evaluation);
double scores_std(const Scores *scores, const HistoryEvaluation *evaluation);

#endif
