/* results.h -- what a run achieved: its last evaluation, its best, and the mean of the last five.
 *
 * Only evaluations during training count.  Evaluations are compared by the run's main measure. */
#ifndef RL_RESULTS_H
#define RL_RESULTS_H
#include "rl/report/history.h"

enum { RESULTS_LAST = 5 };

typedef struct {
  size_t count; /* evaluations with such a number; 0: the three below have no values */
  const HistoryMeasure *main;   /* NULL: none */
  HistoryEvaluation last, best; /* best: the earliest of equals */
  HistoryEvaluation mean; /* of the last RESULTS_LAST or fewer: counts are added up, deviations
                                   are of all their episodes together, step and act of the last */
  size_t averaged;        /* evaluations in `mean` */
  bool acts_differ;       /* they were not all made with the same act record */
} Results;

/* The main measure is the last in the table that is one and that some evaluation has as a number.
 * The mean lives in the arena. */
Results results_of(Arena *arena, const History *run);

/* The number a run is compared by, of one of these evaluations, and its deviation over episodes;
 * NAN if there is none. */
double results_value(const Results *results, const HistoryEvaluation *evaluation);
double results_std(const History *run, const Results *results, const HistoryEvaluation *evaluation);

/* Has some evaluation during training this as a number? */
bool results_has(const History *run, const HistoryMeasure *m);

#endif
