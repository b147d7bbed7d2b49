/* batch.c -- rows of a file to rows of a batch. */
#include "datasets/batch.h"
#include "core/check.h"
#include <math.h>
#include <stddef.h>

enum { AHEAD = 32 };

Batch *batch_new(Arena *arena, int rows, int obs_dim, int act_dim) {
  CHECK(rows > 0 && obs_dim > 0 && act_dim > 0, "batch: %d x (%d, %d)", rows, obs_dim, act_dim);
  Batch *batch = arena_alloc(arena, sizeof *batch);
  size_t n = (size_t)rows;
  batch->rows = batch->to = rows;
  batch->obs_dim = obs_dim, batch->obs_ld = row_stride(obs_dim);
  batch->act_dim = act_dim, batch->act_ld = row_stride(act_dim);
  batch->obs = arena_array(arena, real, n * (size_t)batch->obs_ld);
  batch->act = arena_array(arena, real, n * (size_t)batch->act_ld);
  batch->next = arena_array(arena, real, n * (size_t)batch->obs_ld);
  batch->reward = arena_array(arena, real, n * (size_t)row_stride(1));
  batch->live = arena_array(arena, real, n * (size_t)row_stride(1));
  return batch;
}

Batch *batch_windows_new(Arena *arena, int rows, int horizon, int obs_dim, int act_dim) {
  CHECK(rows > 0 && horizon > 0 && obs_dim > 0 && act_dim > 0, "windows: %d x %d x (%d, %d)", rows,
        horizon, obs_dim, act_dim);
  Batch *batch = arena_alloc(arena, sizeof *batch);
  *batch = (Batch){ .rows = rows, .to = rows, .obs_dim = obs_dim, .act_dim = act_dim };
  batch->horizon = horizon, batch->window_ld = row_stride(horizon * (obs_dim + act_dim));
  batch->window = arena_array(arena, real, (size_t)rows * (size_t)batch->window_ld);
  batch->zeros = arena_array(arena, float, obs_dim + act_dim);
  return batch;
}

static void put_obs(const Drawer *d, const float *x, real *out) {
  if (d->obs_norm)
    normalizer_apply(d->obs_norm, x, out);
  else
    for (int j = 0; j < d->data->obs_dim; j++) out[j] = (real)x[j];
}

static void put_act(const Drawer *d, const float *x, real *out) {
  if (d->act_norm)
    normalizer_apply(d->act_norm, x, out);
  else
    for (int j = 0; j < d->data->act_dim; j++)
      out[j] = d->act_mid ? ((real)x[j] - (real)d->act_mid[j]) / (real)d->act_half[j] : (real)x[j];
}

static void put_row(const Drawer *d, int64_t row, Batch *batch, int r) {
  const Dataset *data = d->data;
  double reward = data->rewards ? (double)data->rewards[row] : 0;
  const float *obs = data->observations + row * data->obs_dim;
  put_obs(d, obs, batch->obs + (ptrdiff_t)r * batch->obs_ld);
  put_obs(d, obs + data->obs_dim, batch->next + (ptrdiff_t)r * batch->obs_ld);
  put_act(d, data->actions + row * data->act_dim, batch->act + (ptrdiff_t)r * batch->act_ld);
  batch->reward[r * row_stride(1)] = (real)(d->reward_scale * reward + d->reward_shift);
  batch->live[r * row_stride(1)] = data->terminals && data->terminals[row] ? 0 : 1;
}

/* The row behind the last of the episode that a row belongs to. */
static int64_t episode_end(const Dataset *data, int64_t row) {
  int64_t low = 0, high = data->episodes; /* start[low] <= row < start[high] */
  while (high - low > 1) {
    int64_t middle = low + (high - low) / 2;
    if (data->episode_start[middle] <= row)
      low = middle;
    else
      high = middle;
  }
  return data->episode_start[high];
}

static void put_window(const Drawer *d, int64_t row, Batch *batch, int r) {
  const Dataset *data = d->data;
  int64_t end = episode_end(data, row);
  real *out = batch->window + (ptrdiff_t)r * batch->window_ld;
  for (int t = 0; t < batch->horizon; t++, row++) {
    bool inside = row < end;
    put_act(d, inside ? data->actions + row * data->act_dim : batch->zeros, out);
    out += data->act_dim;
    put_obs(d, inside ? data->observations + row * data->obs_dim : batch->zeros, out);
    out += data->obs_dim;
  }
}

/* Rows lie anywhere in a big file: ask for some at once, so that their cache misses overlap. */
static void prefetch_row(const Dataset *data, int64_t row) {
  const float *obs = data->observations + row * data->obs_dim;
  for (int j = 0; j < 2 * data->obs_dim; j += 16) __builtin_prefetch(obs + j);
  __builtin_prefetch(data->actions + row * data->act_dim);
  if (data->rewards) __builtin_prefetch(data->rewards + row);
  if (data->terminals) __builtin_prefetch(data->terminals + row);
}

typedef struct {
  const Drawer *drawer;
  uint64_t step;
  Batch *batch;
} Draw;

static void draw_some(void *context, int piece, int worker) {
  const Draw *draw = context;
  const Drawer *d = draw->drawer;
  Batch *batch = draw->batch;
  const int64_t *pool = d->pool ? d->pool : d->data->transition;
  uint64_t count = (uint64_t)(d->pool ? d->pool_count : d->data->transitions);
  int first = batch->from + piece * AHEAD,
      n = batch->to - first < AHEAD ? batch->to - first : AHEAD;
  int64_t row[AHEAD];
  (void)worker;
  for (int r = 0; r < n; r++) {
    row[r] = pool[rng_below(d->rng, draw->step, (uint32_t)(first + r), 0, count)];
    prefetch_row(d->data, row[r]);
  }
  for (int r = 0; r < n; r++) (batch->window ? put_window : put_row)(d, row[r], batch, first + r);
}

void data_draw(const Drawer *d, uint64_t step, Batch *batch) {
  const Dataset *data = d->data;
  int64_t count = d->pool ? d->pool_count : data->transitions;
  CHECK(count > 0 && batch->obs_dim == data->obs_dim && batch->act_dim == data->act_dim,
        "draw: %lld rows of (%d, %d) into a batch of (%d, %d)", (long long)count, data->obs_dim,
        data->act_dim, batch->obs_dim, batch->act_dim);
  Draw draw = { d, step, batch };
  pool_run(d->threads, draw_some, &draw, (batch->to - batch->from + AHEAD - 1) / AHEAD);
}

int64_t *data_window_starts(Arena *arena, const Drawer *d, int horizon, bool pad, int64_t *count) {
  const Dataset *data = d->data;
  const int64_t *pool = d->pool ? d->pool : data->transition;
  int64_t rows = d->pool ? d->pool_count : data->transitions, n = 0;
  int64_t *start = arena_array(arena, int64_t, rows);
  for (int64_t i = 0; i < rows; i++) {
    int64_t row = pool[i], end = episode_end(data, row);
    bool over = data->terminals && data->terminals[end - 1];
    if (row + horizon <= end || (pad && over && row < end - 1)) start[n++] = row;
  }
  *count = n;
  return start;
}

static int64_t held_episodes(const Dataset *data, double share) {
  if (data->episodes < 2 || share <= 0) return 0;
  int64_t n = (int64_t)rint(share * (double)data->episodes);
  return n < 1 ? 1 : n < data->episodes ? n : data->episodes - 1;
}

DataSplit data_split(Arena *arena, const Dataset *data, Rng rng, double share) {
  int64_t held = held_episodes(data, share), n = data->transitions;
  DataSplit split = { arena_array(arena, int64_t, n), arena_array(arena, int64_t, n), 0, 0 };
  for (int64_t e = 0, t = 0; e < data->episodes; e++) {
    bool out = rng_permute(rng, 0, (uint64_t)e, (uint64_t)data->episodes) < (uint64_t)held;
    for (; t < n && data->transition[t] < data->episode_start[e + 1]; t++)
      if (out)
        split.held[split.held_count++] = data->transition[t];
      else
        split.train[split.train_count++] = data->transition[t];
  }
  if (split.train_count > 0) return split;
  return (DataSplit){ split.held, split.train, split.held_count, 0 };
}
