/* best_episodes.c -- returns, sorted. */
#include "datasets/best_episodes.h"
#include "core/sort.h"
#include <math.h>
#include <stdlib.h>

typedef struct {
  double value;
  int64_t episode;
} Return;

/* the best first; of equals the earlier */
static int by_return(const void *a, const void *b) {
  const Return *x = a, *y = b;
  if (x->value != y->value) return x->value < y->value ? 1 : -1;
  return (x->episode > y->episode) - (x->episode < y->episode);
}

static double return_of(const Dataset *d, int64_t episode, double gamma) {
  double sum = 0, weight = 1;
  for (int64_t i = d->episode_start[episode]; i < d->episode_start[episode + 1]; i++) {
    sum += weight * (double)d->rewards[i];
    weight *= gamma;
  }
  return sum;
}

int64_t *best_episodes(Arena *arena, const RowSampler *sampler, double share, double gamma,
                       int64_t *count) {
  const Dataset *d = sampler->data;
  const int64_t *rows = sampler->rows ? sampler->rows : d->transition;
  int64_t n = sampler->rows ? sampler->row_count : d->transitions, episodes = 0;
  Return *returns = arena_array(arena, Return, d->episodes);
  bool *kept = arena_array(arena, bool, d->episodes);
  for (int64_t e = 0, i = 0; e < d->episodes; e++) { /* those that the sampler takes rows from */
    while (i < n && rows[i] < d->episode_start[e]) i++;
    if (i < n && rows[i] < d->episode_start[e + 1])
      returns[episodes++] = (Return){ return_of(d, e, gamma), e };
  }
  sort(returns, (size_t)episodes, sizeof *returns, by_return);
  int64_t best = (int64_t)ceil(share * (double)episodes);
  if (best < 1) best = 1;
  for (int64_t i = 0; i < best && i < episodes; i++) kept[returns[i].episode] = true;
  int64_t *chosen = arena_array(arena, int64_t, n);
  *count = 0;
  for (int64_t e = 0, i = 0; i < n; i++) {
    while (rows[i] >= d->episode_start[e + 1]) e++;
    if (kept[e]) chosen[(*count)++] = rows[i];
  }
  return chosen;
}
