/* episodes.h -- where episodes begin and which rows have a successor, from the flags alone.
 *
 * Row i holds (s_i, a_i, r_i) and "ended after a_i"; its successor is row i + 1.  An episode ends
 * at a terminal row, at a timed-out row, and, where a file has no time-outs (D4RL v0), at the
 * horizon-th row since its start.  D4RL's qlearning_dataset is followed: a timed-out row is
 * dropped even if it is terminal too, a terminal row is kept, the last row of the file is dropped.
 *
 * Where the file says what followed a row (next_observations) and the next row holds another
 * observation, the row is cut: dropped, and its episode ends there.  Rows of parallel environments,
 * of a shuffled buffer, or episodes that somebody stopped look like that.
 *
 * One departure: after a terminal row D4RL's own counter restarts at 1 instead of 0, so in files
 * without time-outs it cuts such episodes one row early and then keeps a row whose successor
 * belongs to the next episode.  Here every episode is counted from its first row. */
#ifndef DATASETS_EPISODES_H
#define DATASETS_EPISODES_H
#include <stdbool.h>
#include <stdint.h>

/* What `timeouts` says of a row: that the recording ended with its step, or that the row is no step
 * but the state that the episode ended in, which the step before has as its successor. */
enum { EPISODE_GOES_ON, EPISODE_TIMEOUT, EPISODE_STATE };

typedef struct {
  int64_t rows;
  const uint8_t *terminals; /* [rows], nullable */
  const uint8_t *timeouts;  /* [rows], nullable */
  int64_t horizon;          /* used where timeouts is NULL; 0: unknown */
  int obs_dim;
  const float *observations, *next; /* [rows, obs_dim]; either NULL: nothing is compared */
  const float *tolerance;           /* [obs_dim] difference of equal entries */
} EpisodeFlags;

typedef struct {
  int64_t transitions, episodes;
  int64_t compared, cut; /* rows whose successor was compared; those that differ */
  int64_t first_cut;     /* row; -1: none */
  bool complete;         /* the last row ends its episode */
} EpisodeCounts;

/* Both outputs may be NULL: transition [transitions] rows with a successor, ascending;
 * start [episodes + 1] first row of each episode, then rows. */
EpisodeCounts episodes_find(const EpisodeFlags *flags, int64_t *transition, int64_t *start);

/* What two entries may differ by that are equal: 1e-5 of the largest entry of their column.
 * observations [rows, dim] -> tolerance [dim]. */
void episodes_tolerance(const float *observations, int64_t rows, int dim, float *tolerance);

/* Row at which an episode seems to begin in a file that says nothing of ends: the first whose step
 * from the row before is at least half the largest step, and twenty times the mean square step,
 * every entry measured by its own steps.  -1: there is none. */
int64_t episodes_guess(const float *observations, int64_t rows, int dim);

#endif
