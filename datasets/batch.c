/* batch.c -- rows of a file to rows of a batch. */
#include "datasets/batch.h"
#include "core/check.h"
#include "datasets/episodes.h"
#include <math.h>
#include <stddef.h>
#include <string.h>

enum { AHEAD = 32 };

/* ---- where a row lies ------------------------------------------------------------------------ */

/* a row of the file and its episode, steps [start, end); the state behind it may be row `end` */
typedef struct {
  int64_t row, start, end;
} Place;

static Place place_of(const Dataset *data, int64_t row) {
  int64_t low = 0, high = data->episodes; /* episode_start[low] <= row < episode_start[high] */
  while (high - low > 1) {
    int64_t middle = low + (high - low) / 2;
    if (data->episode_start[middle] <= row)
      low = middle;
    else
      high = middle;
  }
  int64_t end = data->episode_start[high];
  if (data->timeouts && data->timeouts[end - 1] == EPISODE_STATE) end--;
  return (Place){ row, data->episode_start[low], end };
}

static bool is_terminal(const Dataset *data, int64_t row) {
  return data->terminals && data->terminals[row];
}

/* is it one of the transitions, which are ascending? */
static bool has_successor(const Dataset *data, int64_t row) {
  int64_t low = 0, high = data->transitions; /* it can only be in [low, high) */
  while (high - low > 1) {
    int64_t middle = low + (high - low) / 2;
    if (data->transition[middle] <= row)
      low = middle;
    else
      high = middle;
  }
  return low < high && data->transition[low] == row;
}

/* how many of the n rows from here on are steps of the episode, none of them behind a terminal */
static int64_t valid_steps(const Dataset *data, const Place *at, int64_t n) {
  int64_t m = 1;
  while (m < n && at->row + m < at->end && !is_terminal(data, at->row + m - 1)) m++;
  return m;
}

/* The same, of steps that have a successor: only an episode's last row may have none.  One step has
 * it, since it was drawn, and is counted without a look at the episode. */
static int64_t counted_steps(const Dataset *data, const Place *at, int64_t n) {
  if (n <= 1) return n;
  int64_t m = valid_steps(data, at, n);
  bool last = m > 1 && at->row + m == at->end;
  return last && !has_successor(data, at->row + m - 1) ? m - 1 : m;
}

static int64_t at_most(int64_t x, int64_t most) { return x < most ? x : most; }
static int64_t at_least(int64_t x, int64_t least) { return x > least ? x : least; }

/* ---- a column of a row ----------------------------------------------------------------------- */

typedef void Put(const RowSampler *d, const BatchColumn *c, const Place *at, real *out);

static void plain(const float *x, int n, real *out) {
  for (int j = 0; j < n; j++) out[j] = (real)x[j];
}

static void put_obs(const RowSampler *d, const float *obs, real *out) {
  if (d->units)
    units_obs_in(d->units, obs, out);
  else
    plain(obs, d->data->obs_dim, out);
}

static void put_act(const RowSampler *d, const float *act, real *out) {
  if (d->units)
    units_act_in(d->units, act, out);
  else
    plain(act, d->data->act_dim, out);
}

/* step i from a row, where the episode's first row and `last` stand for what lies outside */
static int64_t row_inside(const Place *at, int64_t i, int64_t last) {
  return at_least(at_most(at->row + i, last), at->start);
}

static void put_observations(const RowSampler *d, const BatchColumn *c, const Place *at,
                             real *out) {
  const int n = d->data->obs_dim, to = c->is.from + c->is.steps;
  const int64_t last = at->row + (to > 1 ? counted_steps(d->data, at, to - 1) : 0);
  for (int i = c->is.from; i < to; i++, out += n)
    put_obs(d, d->data->observations + row_inside(at, i, last) * n, out);
}

static void put_next(const RowSampler *d, const BatchColumn *c, const Place *at, real *out) {
  const int n = d->data->obs_dim;
  const int64_t last = at->row + counted_steps(d->data, at, c->is.from);
  for (int k = c->is.steps - 1; k >= 0; k--, out += n)
    put_obs(d, d->data->observations + at_least(last - k, at->start) * n, out);
}

/* the last row of the episode that a column of rows may show */
static int64_t last_inside(const RowSampler *d, const BatchColumn *c, const Place *at) {
  return at->row + valid_steps(d->data, at, c->is.from + c->is.steps) - 1;
}

static void put_actions(const RowSampler *d, const BatchColumn *c, const Place *at, real *out) {
  const int n = d->data->act_dim;
  const int64_t last = last_inside(d, c, at);
  for (int i = 0; i < c->is.steps; i++, out += n)
    put_act(d, d->data->actions + row_inside(at, c->is.from + i, last) * n, out);
}

static void put_own(const RowSampler *d, const BatchColumn *c, const Place *at, real *out) {
  const int n = c->is.width;
  const int64_t last = last_inside(d, c, at);
  for (int i = 0; i < c->is.steps; i++, out += n)
    plain(c->is.own + row_inside(at, c->is.from + i, last) * n, n, out);
}

static void put_steps(const RowSampler *d, const BatchColumn *c, const Place *at, real *out) {
  const Dataset *data = d->data;
  for (int64_t row = at->row; row < at->row + c->is.steps; row++) {
    bool inside = row < at->end;
    put_act(d, inside ? data->actions + row * data->act_dim : c->zeros, out);
    out += data->act_dim;
    put_obs(d, inside ? data->observations + row * data->obs_dim : c->zeros, out);
    out += data->obs_dim;
  }
}

/* gamma^0 r_t + gamma^1 r_{t+1} + .., so many steps */
static double discounted(const RowSampler *d, const Place *at, int64_t steps) {
  double sum = 0, weight = 1;
  for (int64_t row = at->row; row < at->row + steps; row++, weight *= d->discount) {
    double r = d->data->rewards ? (double)d->data->rewards[row] : 0;
    sum += weight * (d->reward_scale * r + d->reward_shift);
  }
  return sum;
}

static void put_reward(const RowSampler *d, const BatchColumn *c, const Place *at, real *out) {
  *out = (real)discounted(d, at, counted_steps(d->data, at, c->is.steps));
}

static void put_return(const RowSampler *d, const BatchColumn *c, const Place *at, real *out) {
  (void)c;
  *out = (real)discounted(d, at, valid_steps(d->data, at, at->end - at->row));
}

static void put_live(const RowSampler *d, const BatchColumn *c, const Place *at, real *out) {
  int64_t m = counted_steps(d->data, at, c->is.steps);
  double live = is_terminal(d->data, at->row + m - 1) ? 0 : 1;
  for (int64_t i = 1; i < m; i++) live *= d->discount;
  *out = (real)live;
}

static void put_valid(const RowSampler *d, const BatchColumn *c, const Place *at, real *out) {
  int64_t valid = valid_steps(d->data, at, c->is.from + c->is.steps);
  for (int i = c->is.from; i < c->is.from + c->is.steps; i++)
    *out++ = i < valid && at->row + i >= at->start;
}

static const struct {
  Put *put;
  const char *name;
  bool from_here; /* from is 0 */
} kinds[] = {
  [OF_OBS] = { put_observations, "observations", false },
  [OF_NEXT] = { put_next, "next observations", false },
  [OF_ACT] = { put_actions, "actions", false },
  [OF_STEP] = { put_steps, "steps", true },
  [OF_REWARD] = { put_reward, "reward", true },
  [OF_LIVE] = { put_live, "live", true },
  [OF_VALID] = { put_valid, "valid", false },
  [OF_RETURN] = { put_return, "return", true },
  [OF_OWN] = { put_own, "own", false },
};

/* ---- batches --------------------------------------------------------------------------------- */

static int numbers_of(const Batch *batch, const Column *c) {
  switch (c->of) {
  case OF_OBS:
  case OF_NEXT: return c->steps * batch->obs_dim;
  case OF_ACT: return c->steps * batch->act_dim;
  case OF_STEP: return c->steps * (batch->obs_dim + batch->act_dim);
  case OF_VALID: return c->steps;
  case OF_OWN: return c->steps * c->width;
  default: return 1;
  }
}

/* Does it depend on more than row t and its successor? */
static bool looks_around(const Column *c) {
  if (c->of == OF_RETURN) return true;
  if (c->of == OF_NEXT) return c->from > 1 || c->steps > 1;
  return c->from < 0 || c->from + c->steps - 1 > (c->of == OF_OBS);
}

static void check_column(const Batch *batch, const Column *c) {
  CHECK(batch->columns < BATCH_MAX_COLUMNS, "batch: no room for column %s", c->name);
  CHECK(c->steps > 0 && (c->from == 0 || !kinds[c->of].from_here) &&
            (c->of != OF_NEXT || c->from > 0) && (c->of != OF_OWN || (c->own && c->width > 0)),
        "batch: column %s of %s from %d, %d steps", c->name, kinds[c->of].name, c->from, c->steps);
  for (int i = 0; i < batch->columns; i++)
    CHECK(strcmp(batch->column[i].is.name, c->name), "batch: two columns %s", c->name);
}

Batch *batch_new(Arena *arena, int rows, int obs_dim, int act_dim, const Column *columns) {
  CHECK(rows > 0 && obs_dim > 0 && act_dim > 0, "batch: %d x (%d, %d)", rows, obs_dim, act_dim);
  Batch *batch = arena_alloc(arena, sizeof *batch);
  *batch = (Batch){ .rows = rows, .to = rows, .obs_dim = obs_dim, .act_dim = act_dim };
  for (const Column *c = columns; c->name; c++) {
    check_column(batch, c);
    int n = numbers_of(batch, c), ld = row_stride(n);
    batch->column[batch->columns++] =
        (BatchColumn){ *c,
                       c->name,
                       n,
                       ld,
                       arena_array(arena, real, (size_t)rows * (size_t)ld),
                       arena_array(arena, float, obs_dim > act_dim ? obs_dim : act_dim) };
    batch->looks_around |= looks_around(c);
  }
  return batch;
}

void batch_name(Batch *batch, Arena *arena, const char *name) {
  for (int i = 0; i < batch->columns; i++)
    batch->column[i].input = arena_text(arena, "%s %s", name, batch->column[i].is.name);
}

const BatchColumn *batch_find(const Batch *batch, const char *name) {
  for (int i = 0; i < batch->columns; i++)
    if (!strcmp(batch->column[i].is.name, name)) return &batch->column[i];
  return NULL;
}

const BatchColumn *batch_column(const Batch *batch, const char *name) {
  const BatchColumn *column = batch_find(batch, name);
  CHECK(column, "batch: no column %s", name);
  return column;
}

/* ---- sampling -------------------------------------------------------------------------------- */

/* Rows lie anywhere in a big file: ask for some at once, so that their cache misses overlap. */
static void prefetch_row(const Dataset *data, int64_t row) {
  const float *obs = data->observations + row * data->obs_dim;
  for (int j = 0; j < 2 * data->obs_dim; j += 16) __builtin_prefetch(obs + j);
  __builtin_prefetch(data->actions + row * data->act_dim);
  if (data->rewards) __builtin_prefetch(data->rewards + row);
  if (data->terminals) __builtin_prefetch(data->terminals + row);
}

typedef struct {
  const RowSampler *sampler;
  uint64_t step;
  Batch *batch;
} Sampling;

/* Choose some rows, then fill in one column after the other. */
static void sample_some(void *context, int piece, int worker) {
  const Sampling *job = context;
  const RowSampler *d = job->sampler;
  Batch *batch = job->batch;
  const int64_t *rows = d->rows ? d->rows : d->data->transition;
  uint64_t count = (uint64_t)(d->rows ? d->row_count : d->data->transitions);
  int first = batch->from + piece * AHEAD,
      n = batch->to - first < AHEAD ? batch->to - first : AHEAD;
  Place at[AHEAD];
  (void)worker;
  for (int r = 0; r < n; r++) {
    int64_t row = rows[rng_below(d->rng, job->step, (uint32_t)(first + r), 0, count)];
    at[r] = (Place){ row, row, row + 1 };
    prefetch_row(d->data, row);
  }
  for (int r = 0; r < n && batch->looks_around; r++) at[r] = place_of(d->data, at[r].row);
  for (const BatchColumn *c = batch->column; c < batch->column + batch->columns; c++)
    for (int r = 0; r < n; r++)
      kinds[c->is.of].put(d, c, &at[r], c->values + (ptrdiff_t)(first + r) * c->ld);
}

void data_sample(const RowSampler *d, uint64_t step, Batch *batch) {
  const Dataset *data = d->data;
  int64_t count = d->rows ? d->row_count : data->transitions;
  CHECK(count > 0 && batch->obs_dim == data->obs_dim && batch->act_dim == data->act_dim,
        "sample: %lld rows of (%d, %d) into a batch of (%d, %d)", (long long)count, data->obs_dim,
        data->act_dim, batch->obs_dim, batch->act_dim);
  CHECK(!d->units || (d->units->obs_dim == data->obs_dim && d->units->act_dim == data->act_dim),
        "sample: units of (%d, %d)", d->units->obs_dim, d->units->act_dim);
  Sampling job = { d, step, batch };
  pool_run(d->pool, sample_some, &job, (batch->to - batch->from + AHEAD - 1) / AHEAD);
}

/* ---- which rows ------------------------------------------------------------------------------ */

int64_t *data_window_starts(Arena *arena, const RowSampler *d, int horizon, bool pad,
                            int64_t *count) {
  const Dataset *data = d->data;
  const int64_t *rows = d->rows ? d->rows : data->transition;
  int64_t row_count = d->rows ? d->row_count : data->transitions, n = 0;
  int64_t *start = arena_array(arena, int64_t, row_count);
  for (int64_t i = 0; i < row_count; i++) {
    int64_t row = rows[i], end = place_of(data, row).end;
    bool over = data->terminals && data->terminals[end - 1];
    if (row + horizon <= end || (pad && over && row < end - 1)) start[n++] = row;
  }
  *count = n;
  return start;
}

/* Chosen by rows, not by number: one recording of an hour among some of seconds is nearly all there
 * is.  In the order of chance an episode is taken if more than half of it fits; if none does, the
 * shortest is. */
static int64_t choose_held(const Dataset *data, Rng rng, double share, bool *held, int64_t *order) {
  if (data->episodes < 2 || share <= 0) return 0;
  uint64_t n = (uint64_t)data->episodes;
  for (uint64_t e = 0; e < n; e++) order[rng_permute(rng, 0, e, n)] = (int64_t)e;
  const int64_t *start = data->episode_start;
  int64_t shortest = order[0], taken = 0;
  double room = share * (double)data->rows;
  for (uint64_t i = 0; i < n; i++) {
    int64_t e = order[i], rows = start[e + 1] - start[e];
    if (rows < start[shortest + 1] - start[shortest]) shortest = e;
    if (taken == data->episodes - 1 || 0.5 * (double)rows >= room) continue;
    held[e] = true, taken++, room -= (double)rows;
  }
  if (!taken) held[shortest] = true;
  return taken ? taken : 1;
}

DataSplit data_split(Arena *arena, const Dataset *data, Rng rng, double share) {
  int64_t n = data->transitions;
  DataSplit split = { arena_array(arena, int64_t, n), arena_array(arena, int64_t, n), 0, 0, 0 };
  ArenaMark mark = arena_mark(arena);
  bool *held = arena_array(arena, bool, data->episodes);
  split.held_episodes =
      choose_held(data, rng, share, held, arena_array(arena, int64_t, data->episodes));
  for (int64_t e = 0, t = 0; e < data->episodes; e++) {
    for (; t < n && data->transition[t] < data->episode_start[e + 1]; t++)
      if (held[e])
        split.held[split.held_count++] = data->transition[t];
      else
        split.train[split.train_count++] = data->transition[t];
  }
  arena_reset(arena, mark);
  if (split.train_count > 0) return split;
  return (DataSplit){ split.held, split.train, split.held_count, 0, 0 };
}
