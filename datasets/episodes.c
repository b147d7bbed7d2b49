/* episodes.c -- one walk over the flags. */
#include "datasets/episodes.h"
#include <stddef.h>

EpisodeCounts episodes_find(const EpisodeFlags *flags, int64_t *transition, int64_t *start) {
  EpisodeCounts n = { 0, 0, true };
  int64_t first = 0; /* row of the running episode */
  for (int64_t i = 0; i < flags->rows; i++) {
    if (n.complete) {
      first = i;
      if (start) start[n.episodes] = i;
      n.episodes++;
    }
    bool timeout = flags->timeouts ? flags->timeouts[i]
                                   : flags->horizon > 0 && i - first == flags->horizon - 1;
    n.complete = timeout || (flags->terminals && flags->terminals[i]);
    if (timeout || i == flags->rows - 1) continue;
    if (transition) transition[n.transitions] = i;
    n.transitions++;
  }
  if (start) start[n.episodes] = flags->rows;
  return n;
}
