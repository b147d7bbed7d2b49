/* replay.c -- rows [obs | act | reward | next | live] of float32, as they lie in the file. */
#include "rl/rollout/replay.h"
#include "core/check.h"
#include "core/limits.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

struct Replay {
  int file;
  int obs_dim, act_dim, width; /* width: floats in a row */
  int64_t capacity, count, written;
  float *rows; /* [capacity, width] */
  Murmur sum;  /* of the rows that are written */
};

/* all of it, however often a signal comes; errno is 0 if the file ends before */
static bool read_whole(int file, char *to, size_t left) {
  for (off_t at = 0; left;) {
    ssize_t got = pread(file, to, left < 1 << 30 ? left : 1 << 30, at);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return errno = got ? errno : 0, false;
    to += got, at += got, left -= (size_t)got;
  }
  return true;
}

static bool write_whole(int file, const char *from, size_t left, off_t at) {
  while (left) {
    ssize_t done = pwrite(file, from, left < 1 << 30 ? left : 1 << 30, at);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return errno = done ? errno : ENOSPC, false;
    from += done, at += done, left -= (size_t)done;
  }
  return true;
}

/* some file systems cannot sync and say EINVAL: nothing to be done */
static bool sync_file(int file) {
  int result;
  while ((result = fdatasync(file)) && errno == EINTR) {}
  return !result || errno == EINVAL;
}

static const char cannot_go_on[] =
    "the run cannot go on from this checkpoint; if it kept an older one, copy that RUN/step-N"
    ".safetensors to RUN/last.safetensors, or start a new run with --init";

/* Takes back the rows that the checkpoint counts.  Those that are missing cannot be made again, for
 * the simulation has gone on. */
static bool read_rows(Replay *replay, const char *path, const char *sum, Error *error) {
  size_t bytes = (size_t)replay->count * (size_t)replay->width * sizeof(float);
  if (!read_whole(replay->file, (char *)replay->rows, bytes))
    return errno ? error_set(error, FAIL_INPUT, "%s: cannot be read: %s", path, strerror(errno))
                 : error_set(error, FAIL_INPUT,
                             "%s is cut short: it holds fewer than the %lld transitions that the "
                             "checkpoint counts; %s",
                             path, (long long)replay->count, cannot_go_on);
  char found[MURMUR_TEXT];
  murmur_add(&replay->sum, replay->rows, bytes);
  replay_sum(replay, found);
  if (sum && strcmp(sum, found))
    return error_set(error, FAIL_INPUT,
                     "%s was changed or damaged: its first %lld transitions are not those that the "
                     "checkpoint counts (checksum %s, expected %.40s); %s",
                     path, (long long)replay->count, found, sum, cannot_go_on);
  /* what was written behind them is cut off, now that nothing is wrong */
  int result;
  while ((result = ftruncate(replay->file, (off_t)bytes)) && errno == EINTR) {}
  if (result)
    return error_set(error, FAIL_RUNNING, "%s: cannot be cut back: %s", path, strerror(errno));
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
                    int act_dim, int64_t count, const char *sum, Error *error) {
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
  int how = O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK | (count ? 0 : O_TRUNC);
  while ((replay->file = open(path, how, 0644)) < 0 && errno == EINTR) {}
  if (replay->file < 0) {
    error_set(error, FAIL_RUNNING, "%s: %s", path, strerror(errno));
    return NULL;
  }
  if (!count || read_rows(replay, path, sum, error)) return replay;
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
  if (replay->written == replay->count) return true;
  size_t size = (size_t)replay->width * sizeof(float);
  /* rows are never changed, so those written before are left alone */
  const char *from = (const char *)replay->rows + (size_t)replay->written * size;
  size_t bytes = (size_t)(replay->count - replay->written) * size;
  /* what could not be synced counts as not written, and is written again */
  if (!write_whole(replay->file, from, bytes, (off_t)((size_t)replay->written * size)) ||
      !sync_file(replay->file))
    return error_set(error, FAIL_RUNNING, "replay.bin: cannot be written: %s", strerror(errno));
  murmur_add(&replay->sum, from, bytes);
  replay->written = replay->count;
  return true;
}

void replay_sum(const Replay *replay, char text[MURMUR_TEXT]) {
  murmur_text(murmur_sum(&replay->sum), text);
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
