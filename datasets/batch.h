/* batch.h -- sampling the rows of one training step from the columns of a file.
 *
 * A batch is a list of named columns, each [rows, steps * width] in the network's units.  What row
 * r of step n holds depends on (stream, n, r) alone, so any thread or machine fetches its own rows.
 *
 * A sampled row of the file is called row t.  Its successor is the next row of the file (D4RL's
 * rule); a terminal row's successor means nothing and is masked by live = 0.  With
 *
 *   m <= n    the steps counted from t on: none behind a terminal, and none that has no successor
 *             (the last of a timed-out episode); at least 1
 *   R         sum over i < m of gamma^i r_{t+i}                       OF_REWARD, n steps
 *   live      gamma^(m - 1), or 0 if row t + m - 1 is terminal        OF_LIVE, n steps
 *   next      the observation of row t + m                            OF_OBS from n, one step
 *
 * the target R + gamma live V(next) is the same expression for every n. */
#ifndef DATASETS_BATCH_H
#define DATASETS_BATCH_H
#include "core/arena.h"
#include "core/maths/units.h"
#include "core/parallel.h"
#include "core/rng.h"
#include "datasets/dataset.h"
#include <stdbool.h>
#include <stdint.h>

/* ---- columns --------------------------------------------------------------------------------- */

/* What a column shows of row t, i being each of from .. from + steps - 1:
 *
 *   OF_OBS     [steps, obs_dim]  s_{t+i}; before the episode its first, behind s_{t+m} that one.
 *              from, steps are 0, 1 for the observation, 1 - k, k for a history, n, 1 for the next
 *   OF_NEXT    [steps, obs_dim]  the history that ends with s_{t+m}; from is n
 *   OF_ACT     [steps, act_dim]  a_{t+i}; outside the episode its first or last; 0, h for a chunk
 *   OF_STEP    [steps, act_dim + obs_dim]  a window a_t s_t a_{t+1} s_{t+1} ..; behind the episode
 *              zeros, in the data's units; from is 0
 *   OF_REWARD  [1]  R; from is 0, steps is n
 *   OF_LIVE    [1]  live; likewise
 *   OF_VALID   [steps]  1 if row t + i lies in the episode with no terminal before it, else 0
 *   OF_RETURN  [1]  sum of gamma^i r_{t+i} to the end of the episode, which is read to there
 *   OF_OWN     [steps, width]  the caller's own numbers, as they are, placed as actions are */
typedef enum {
  OF_OBS,
  OF_NEXT,
  OF_ACT,
  OF_STEP,
  OF_REWARD,
  OF_LIVE,
  OF_VALID,
  OF_RETURN,
  OF_OWN
} ColumnOf;

typedef struct {
  const char *name;
  ColumnOf of;
  int from, steps;  /* steps: at least 1 */
  const float *own; /* OF_OWN: [rows of the file, width]; must outlive the batch */
  int width;
} Column;

#define COLUMN(called, kind, first, count)                                                         \
  { .name = called, .of = kind, .from = first, .steps = count }

/* what a temporal difference over n steps looks at */
#define TRANSITION_COLUMNS(n)                                                                      \
  COLUMN("obs", OF_OBS, 0, 1), COLUMN("act", OF_ACT, 0, 1), COLUMN("next", OF_OBS, n, 1),          \
      COLUMN("reward", OF_REWARD, 0, n), COLUMN("live", OF_LIVE, 0, n)

/* ---- batches --------------------------------------------------------------------------------- */

enum { BATCH_MAX_COLUMNS = 16 };

typedef struct {
  Column is;
  const char *input;  /* its name on a tape */
  int n, ld;          /* numbers in a row, and from row to row */
  real *values;       /* [rows, n], stride ld = row_stride(n); the padding is zero */
  const float *zeros; /* [max(obs_dim, act_dim)] what a window shows behind the episode */
} BatchColumn;

typedef struct {
  int rows, from, to; /* rows [from, to) are sampled: all, or those that this process owns */
  int obs_dim, act_dim;
  int columns;
  BatchColumn column[BATCH_MAX_COLUMNS];
  bool looks_around; /* a column depends on where the episode begins or ends */
} Batch;

/* All zero, all rows to be sampled.  columns ends with one whose name is NULL; names differ. */
Batch *batch_new(Arena *arena, int rows, int obs_dim, int act_dim, const Column *columns);

/* Of two batches on one tape the second has a name: its inputs are "NAME obs" and so on. */
void batch_name(Batch *batch, Arena *arena, const char *name);

/* The column of this name; CHECKs that there is one, or NULL if there is none. */
const BatchColumn *batch_column(const Batch *batch, const char *name);
const BatchColumn *batch_find(const Batch *batch, const char *name);

/* ---- sampling -------------------------------------------------------------------------------- */

/* How a batch is sampled; everything pointed to is only read and must outlive the sampler. */
typedef struct {
  const Dataset *data;
  Rng rng;
  const int64_t *rows; /* [row_count] transitions to sample from; NULL: all of the file */
  int64_t row_count;
  const Units *units;                /* of its dimensions; NULL: everything as it is in the file */
  double reward_scale, reward_shift; /* reward = scale * r + shift; a file without rewards: r = 0 */
  double discount;                   /* gamma; not looked at by one step */
  Pool *pool;                        /* that samples; NULL: the calling thread */
} RowSampler;

/* Fill rows [from, to) of the batch for this training step, with replacement.  Never allocates. */
void data_sample(const RowSampler *sampler, uint64_t step, Batch *batch);

/* Where windows may begin: the rows of the sampler from which an episode has `horizon` rows left.
 * With `pad` also the others of episodes that end in a terminal, but for the last; data_sample
 * fills up such windows with steps of zeros, in the data's units (Janner et al. 2022, whose
 * episodes without a terminal have all the same length: they are never filled up here either).
 * Ascending, owned by the arena; count may become 0. */
int64_t *data_window_starts(Arena *arena, const RowSampler *sampler, int horizon, bool pad,
                            int64_t *count);

/* Transitions apart: those of whole episodes kept for a held-out loss, and the others. */
typedef struct {
  int64_t *train, *held; /* [train_count], [held_count] rows, ascending; owned by the arena */
  int64_t train_count, held_count;
  int64_t held_episodes;
} DataSplit;

#define DATA_HELD_SHARE 0.05 /* of the rows, for runs without an environment */

/* Hold out whole episodes with about `share` of the rows, chosen by rng: at least one, the shortest
 * if all are too long, but none if there are fewer than two or if nothing would be left to train
 * on. */
DataSplit data_split(Arena *arena, const Dataset *data, Rng rng, double share);

#endif
