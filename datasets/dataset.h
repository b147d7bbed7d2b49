/* dataset.h -- files of recorded steps as named columns, mapped read-only.
 *
 * dataset_open finds or makes the flat, checksummed cache of the files (a process of its own reads
 * them; see formats/caged_program.c) and maps it.
 *
 * Rows are the files' rows, and one more behind each episode whose final state is known.
 * `transition` lists the rows that D4RL's q-learning rule keeps: row i with successor i + 1; the
 * last row of a timed-out episode and the very last row are dropped, terminal rows are kept (their
 * successor is masked by the terminal flag). */
#ifndef DATASETS_DATASET_H
#define DATASETS_DATASET_H
#include "core/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
  int64_t rows, transitions, episodes; /* episodes: the complete ones and an open tail */
  int obs_dim, act_dim;
  const float *observations;      /* [rows, obs_dim] */
  const float *actions;           /* [rows, act_dim] */
  const float *rewards;           /* [rows], NULL if the file has none */
  const float *next_observations; /* [rows, obs_dim], NULL if the file has none */
  const uint8_t *terminals;       /* [rows], NULL if the file has none */
  /* [rows] EPISODE_GOES_ON, EPISODE_TIMEOUT or EPISODE_STATE (episodes.h), NULL if the file has
   * none */
  const uint8_t *timeouts;
  const int64_t *transition;    /* [transitions] rows that have a successor, ascending */
  const int64_t *episode_start; /* [episodes + 1] first row of each; last entry is rows */
  const char *format;           /* name of the layout it was read as: "rows", "minari" */
  const char *hash;             /* content hash of the source file, hex text */
  const char *source;           /* the path it was opened by */
  const char *metadata;         /* JSON text: the file's metadata/ strings and numbers ("{}") */
  void *map;                    /* the mapping; private */
  size_t map_bytes;
} Dataset;

/* What `data inspect` shows and `train` prints. */
typedef struct {
  int64_t rows, transitions, episodes, terminals, timeouts, dropped;
  int64_t states; /* rows that are no step but the state an episode ended in */
  bool has_timeouts, has_rewards, has_terminals, has_next;
  double return_mean, return_std, return_min, return_max; /* over complete episodes (n - 1) */
  double length_mean;
  int64_t length_min, length_max;
  double reward_mean, reward_std, reward_min, reward_max;
  double action_low, action_high; /* smallest and largest entry */
  int64_t open_tail; /* rows of a last episode that the file stops in; not among `episodes` */
  /* rows whose next_observations were compared with the next row, those that differ and are cut
   * for it, and the first of them (-1: none) */
  int64_t compared, cut, first_cut;
  int64_t guess; /* row where an episode seems to begin in a file without ends; -1: none */
} DatasetSummary;

/* name: files and a choice, as data_files.h says.  horizon: the task's episode limit, used when the
 * data have no `timeouts` (0: unknown; -1: whatever the cache was made with, for who asks for the
 * metadata alone).  NULL and a message naming file, array and row if they cannot be trusted.  A
 * cache is read whole and compared with its checksum, and the order of its rows is checked, when it
 * is made and after anybody wrote to it (but for -1); a damaged one is made again.
 *
 * Observations and actions are finite and rows follow each other; of the other arrays that is for
 * whoever reads them to ask. */
Dataset *dataset_open(const char *name, int horizon, Error *error);

/* The same, for who looks for faults: numbers may not be finite, rows in any order. */
Dataset *dataset_open_faulty(const char *name, int horizon, Error *error);

/* Are all numbers of "observations", "actions" or "rewards" finite?  FAIL_INPUT naming the first
 * that is not; true if there is no such array. */
bool dataset_check_finite(const Dataset *data, const char *array, Error *error);

void dataset_close(Dataset *data); /* data may be NULL */

void dataset_summary(const Dataset *data, DatasetSummary *summary);

/* Read all of the cache and compare it with its checksum, which opening does only after it was
 * written to: a disk may have lost a bit.  FAIL_INPUT if it differs. */
bool dataset_verify(const Dataset *data, Error *error);

/* Undiscounted return of episode e (rows episode_start[e] .. episode_start[e + 1] - 1); NAN if the
 * file has no rewards. */
double dataset_return(const Dataset *data, int64_t episode);

/* ---- writing D4RL v2 files ------------------------------------------------------------------- */

/* What one step adds to a file; pointers are read during the call only. */
typedef struct {
  const float *obs, *act, *next; /* [obs_dim], [act_dim], [obs_dim] */
  float reward;
  bool terminal, timeout;
  float log_prob;            /* of the action; NAN if unknown */
  const double *qpos, *qvel; /* [nq], [nv]; NULL if nq, nv are 0 */
} DatasetStep;

typedef struct DatasetWriter DatasetWriter;

/* Rows are collected in a temporary file beside `path`; nothing appears at `path` until
 * dataset_writer_close succeeds, and an existing file there is refused.  metadata: JSON text of
 * flat strings and numbers, stored under metadata/. */
DatasetWriter *dataset_writer_open(const char *path, int obs_dim, int act_dim, int nq, int nv,
                                   Error *error);
bool dataset_writer_add(DatasetWriter *writer, const DatasetStep *step, Error *error);
bool dataset_writer_close(DatasetWriter *writer, const char *metadata, Error *error);
void dataset_writer_abandon(DatasetWriter *writer); /* writer may be NULL: removes what it wrote */

#endif
