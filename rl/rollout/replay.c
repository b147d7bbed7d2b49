/* replay.c -- rows [obs | act | reward | next | live] of float32, as they lie in the file. */
#include "rl/rollout/replay.h"
#include "core/check.h"
#include "core/limits.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct Replay {
  int file;
  int obs_dim, act_dim, width; /* width: floats in a row */
  int64_t capacity, count, written;
  float *rows; /* [capacity, width] */
};

/* Takes back the rows that the checkpoint counts; what was written behind them is cut off. */
static bool read_rows(Replay *replay, const char *path, Error *error) {
  char *to = (char *)replay->rows;
  size_t left = (size_t)replay->count * (size_t)replay->width * sizeof(float);
  if (ftruncate(replay->file, (off_t)left))
    return error_set(error, FAIL_RUNNING, "%s: cannot cut back: %s", path, strerror(errno));
  while (left) {
    /* a read may return less than was asked for */
    ssize_t got = read(replay->file, to, left);
    if (got <= 0)
      return error_set(error, FAIL_INPUT,
                       "%s holds fewer than the %lld transitions that the "
                       "checkpoint counts; the run cannot be resumed",
                       path, (long long)replay->count);
    to += got, left -= (size_t)got;
  }
  replay->written = replay->count;
  return true;
}

static int width_of(int obs_dim, int act_dim) { return 2 * obs_dim + act_dim + 2; }

float *replay_rows(Arena *arena, int64_t capacity, int obs_dim, int act_dim, Error *error) {
  double bytes = (double)capacity * width_of(obs_dim, act_dim) * sizeof(float);
  if (bytes < 0x1p60 && arena_has_room((size_t)bytes)) return arena_alloc(arena, (size_t)bytes);
  error_set(error, FAIL_RUNNING,
            "the replay of %lld transitions takes %.1f GB of memory, this machine gives %.1f GB; "
            "train for fewer --steps",
            (long long)capacity, 1e-9 * bytes, 1e-9 * (double)limits_memory());
  return NULL;
}

Replay *replay_open(Arena *arena, const char *run, float *rows, int64_t capacity, int obs_dim,
                    int act_dim, int64_t count, Error *error) {
  Replay *replay = arena_alloc(arena, sizeof *replay);
  *replay = (Replay){ .obs_dim = obs_dim,
                      .act_dim = act_dim,
                      .width = width_of(obs_dim, act_dim),
                      .rows = rows,
                      .capacity = capacity,
                      .count = count };
  if (count < 0 || count > capacity) {
    error_set(error, FAIL_INPUT,
              "the checkpoint counts %lld transitions, where a run of so many steps has room for "
              "%lld; it is damaged or of another run",
              (long long)count, (long long)capacity);
    return NULL;
  }
  const char *path = arena_text(arena, "%s/replay.bin", run);
  /* a new run begins an empty file; a resumed one keeps its rows */
  replay->file = open(path, O_RDWR | O_CREAT | O_CLOEXEC | (count ? 0 : O_TRUNC), 0644);
  if (replay->file < 0) {
    error_set(error, FAIL_RUNNING, "%s: %s", path, strerror(errno));
    return NULL;
  }
  /* asked before the file is cut, which would fill up a short one with zeros */
  struct stat info;
  bool short_file = fstat(replay->file, &info) ||
                    info.st_size < (off_t)((size_t)count * (size_t)replay->width * sizeof(float));
  /* rows that are missing cannot be made again, for the simulation has gone on */
  if (short_file) replay->count = 0, error_set(error, FAIL_INPUT, "%s is cut short", path);
  if (!short_file && read_rows(replay, path, error)) return replay;
  replay_close(replay);
  return NULL;
}

void replay_close(Replay *replay) {
  if (replay && replay->file >= 0) close(replay->file);
  if (replay) replay->file = -1;
}

void replay_add(Replay *replay, const float *obs, const float *act, float reward, const float *next,
                bool live) {
  CHECK(replay->count < replay->capacity, "replay: full at %lld", (long long)replay->capacity);
  size_t n = (size_t)replay->obs_dim, m = (size_t)replay->act_dim;
  float *row = replay->rows + replay->count++ * replay->width;
  memcpy(row, obs, n * sizeof *row);
  memcpy(row + n, act, m * sizeof *row);
  row[n + m] = reward;
  memcpy(row + n + m + 1, next, n * sizeof *row);
  row[2 * n + m + 1] = live;
}

bool replay_flush(Replay *replay, Error *error) {
  size_t size = (size_t)replay->width * sizeof(float);
  /* rows are never changed, so those written before are left alone */
  const char *from = (const char *)replay->rows + (size_t)replay->written * size;
  size_t left = (size_t)(replay->count - replay->written) * size;
  off_t at = (off_t)((size_t)replay->written * size);
  while (left) {
    ssize_t done = pwrite(replay->file, from, left, at);
    if (done <= 0)
      return error_set(error, FAIL_RUNNING, "replay.bin: %s", strerror(errno ? errno : ENOSPC));
    from += done, at += done, left -= (size_t)done;
  }
  replay->written = replay->count;
  return true;
}

int64_t replay_count(const Replay *replay) { return replay->count; }

/* numbers of the file as numbers of a batch */
static void put(real *to, const float *from, int n) {
  for (int j = 0; j < n; j++) to[j] = (real)from[j];
}

void replay_sample(const Replay *replay, Rng rng, uint64_t step, Batch *batch) {
  int n = replay->obs_dim, m = replay->act_dim;
  const BatchColumn *obs = batch_column(batch, "obs"), *act = batch_column(batch, "act");
  const BatchColumn *reward = batch_column(batch, "reward"), *next = batch_column(batch, "next");
  const BatchColumn *live = batch_column(batch, "live");
  for (int r = 0; r < batch->rows; r++) {
    /* row r draws its transition by (step, r) alone, like the rows of files */
    uint64_t i = rng_below(rng, step, (uint32_t)r, 0, (uint64_t)replay->count);
    const float *row = replay->rows + (int64_t)i * replay->width;
    put(obs->values + r * obs->ld, row, n);
    put(act->values + r * act->ld, row + n, m);
    put(reward->values + r * reward->ld, row + n + m, 1);
    put(next->values + r * next->ld, row + n + m + 1, n);
    put(live->values + r * live->ld, row + 2 * n + m + 1, 1);
  }
}
