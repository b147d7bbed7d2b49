/* batch.h -- drawing the rows of one training step from the columns of a file.
 *
 * Here the data's units become the network's: actions to [-1, 1], observations normalised if
 * asked, rewards scaled.  A successor is the next row of the file (D4RL's rule); a terminal row's
 * successor means nothing and is masked by live = 0.  What row r of step n holds depends on
 * (stream, n, r) alone, so any thread or machine fetches its own rows.
 *
 * A row of a batch is a transition, or a window: the steps that follow a row of the file. */
#ifndef DATASETS_BATCH_H
#define DATASETS_BATCH_H
#include "core/arena.h"
#include "core/maths/normalizer.h"
#include "core/parallel.h"
#include "core/real.h"
#include "core/rng.h"
#include "datasets/dataset.h"
#include <stdint.h>

typedef struct {
  int rows, from, to; /* rows [from, to) are drawn: all, or those that this process owns */
  int obs_dim, act_dim, obs_ld, act_ld;
  real *obs;    /* [rows, obs_dim], stride obs_ld; the padding is zero, here and below */
  real *act;    /* [rows, act_dim], stride act_ld */
  real *next;   /* [rows, obs_dim], stride obs_ld */
  real *reward; /* [rows, 1], stride row_stride(1) */
  real *live;   /* [rows, 1], stride row_stride(1): 0 if terminal, else 1 */
  /* of a batch of windows, which has none of the above: */
  int horizon, window_ld;
  real *window;       /* [rows, horizon, act_dim + obs_dim], stride window_ld: a_0 s_0 a_1 s_1 .. */
  const float *zeros; /* a step behind the end of its episode */
} Batch;

/* All zero, all rows to be drawn. */
Batch *batch_new(Arena *arena, int rows, int obs_dim, int act_dim);
Batch *batch_windows_new(Arena *arena, int rows, int horizon, int obs_dim, int act_dim);

/* How a batch is drawn; everything pointed to is only read and must outlive the drawer. */
typedef struct {
  const Dataset *data;
  Rng rng;
  const int64_t *pool; /* [pool_count] rows to draw from; NULL: all transitions of the file */
  int64_t pool_count;
  double reward_scale, reward_shift; /* reward = scale * r + shift; a file without rewards: r = 0 */
  const Normalizer *obs_norm;        /* NULL: observations as they are */
  const Normalizer *act_norm;        /* of actions; NULL: by act_mid and act_half */
  const float *act_mid, *act_half;   /* [act_dim] act = (a - mid) / half; NULL: as they are */
  Pool *threads;                     /* that draw; NULL: the calling thread */
} Drawer;

/* Fill rows [from, to) of the batch for this training step, with replacement.  Never allocates. */
void data_draw(const Drawer *drawer, uint64_t step, Batch *batch);

/* Where windows may begin: the rows of the drawer's pool from which an episode has `horizon` rows
 * left.  With `pad` also the others of episodes that end in a terminal, but for the last; data_draw
 * fills up such windows with steps of zeros, in the data's units (Janner et al. 2022, whose
 * episodes without a terminal have all the same length: they are never filled up here either).
 * Ascending, owned by the arena; count may become 0. */
int64_t *data_window_starts(Arena *arena, const Drawer *drawer, int horizon, bool pad,
                            int64_t *count);

/* Transitions apart: those of whole episodes kept for a held-out loss, and the others. */
typedef struct {
  int64_t *train, *held; /* [train_count], [held_count] rows, ascending; owned by the arena */
  int64_t train_count, held_count;
} DataSplit;

#define DATA_HELD_SHARE 0.05 /* of the episodes, for runs without an environment */

/* Hold out `share` of the episodes, chosen by rng: at least one, but none if there are fewer than
 * two or if nothing would be left to train on. */
DataSplit data_split(Arena *arena, const Dataset *data, Rng rng, double share);

#endif
