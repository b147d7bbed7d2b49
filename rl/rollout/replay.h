/* replay.h -- the transitions an online method has seen, in memory and in an append-only file.
 *
 * The file makes resuming exact: a checkpoint says how many transitions it knew and holds a
 * checksum of them, and the file is cut back to them. */
#ifndef RL_REPLAY_H
#define RL_REPLAY_H
#include "core/error.h"
#include "datasets/batch.h"
#include "datasets/murmur.h"

typedef struct Replay Replay;

/* Memory for `capacity` transitions, of which nothing is touched yet; NULL and an error if that is
 * more than there is. */
float *replay_rows(Arena *arena, int64_t capacity, int obs_dim, int act_dim, Error *error);

/* In those rows; the file is RUN/replay.bin, created empty, or read and cut back to `count`
 * transitions if count > 0.  FAIL_INPUT, and the file as it was, if it holds fewer, or others than
 * those of `sum` (replay_sum; NULL: not known, in runs of before there was one). */
Replay *replay_open(Arena *arena, const char *run, float *rows, int64_t capacity, int obs_dim,
                    int act_dim, int64_t count, const char *sum, Error *error);
void replay_close(Replay *replay); /* may be NULL */

/* Append one transition; CHECKs the capacity. */
void replay_add(Replay *replay, const float *obs, const float *act, float reward, const float *next,
                bool live);

/* Write and sync what was added since the last flush, so that a checkpoint may count it;
 * FAIL_RUNNING if the disk is full. */
bool replay_flush(Replay *replay, Error *error);

/* A checksum of all transitions that were flushed. */
void replay_sum(const Replay *replay, char text[MURMUR_TEXT]);
int64_t replay_count(const Replay *replay);

/* The columns of a TRANSITION_COLUMNS(1).  Row r of step n depends on (rng, n, r) and the count
 * alone. */
void replay_sample(const Replay *replay, Rng rng, uint64_t step, Batch *batch);

#endif
