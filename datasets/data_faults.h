/* data_faults.h -- all that seems wrong with a data set, not the first thing alone.
 *
 * Each fault has a name, where it is and what to do.  Looked for are
 *
 *   not-finite          numbers of an array that are NaN or infinite, by episode
 *   ends-missing        nothing says where episodes end, and one seems to begin inside
 *   ends-disagree       rows that are both terminal and timed out
 *   jump                a step inside an episode as large as those between episodes
 *   successor-differs   next_observations that are not the next row
 *   open-tail           a last episode that the file stops in
 *   constant, duplicate entries that never change, or equal another in every row
 *   clipped             action entries at their smallest or largest value in many rows
 *   outlier             entries further than 100 deviations from their mean
 *   action-late         states follow the action of another row better than that of their own
 *   episode-twice       episodes equal to an earlier one, number for number
 */
#ifndef DATASETS_DATA_FAULTS_H
#define DATASETS_DATA_FAULTS_H
#include "core/arena.h"
#include "datasets/dataset.h"

typedef struct {
  const char *name;
  const char *what; /* a sentence: where, how many, what to do */
  int64_t count;
  int64_t row; /* the first; -1: none in particular */
} DataFault;

enum { DATA_MOST_FAULTS = 64 };

/* In the order above, in the arena; how many. */
int data_faults(Arena *arena, const Dataset *data, DataFault list[DATA_MOST_FAULTS]);

#endif
