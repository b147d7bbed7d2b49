/* best_episodes.h -- the rows of those episodes that went best. */
#ifndef DATASETS_BEST_EPISODES_H
#define DATASETS_BEST_EPISODES_H
#include "datasets/batch.h"

/* Of the sampler's rows those that lie in the `share` of its episodes with the highest return,
 * discounted by gamma from the episode's first row: at least one episode.  The file has rewards.
 * Ascending, owned by the arena. */
int64_t *best_episodes(Arena *arena, const RowSampler *sampler, double share, double gamma,
                       int64_t *count);

#endif
