/* data_faults.c -- one function a fault. */
#include "datasets/data_faults.h"
#include "core/sort.h"
#include "datasets/cache.h"
#include "datasets/episodes.h"
#include "datasets/murmur.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  Arena *arena;
  const Dataset *data;
  DatasetSummary summary;
  DataFault *list;
  int count;
} Search;

static void found(Search *s, const char *name, int64_t count, int64_t row, const char *what) {
  if (s->count < DATA_MOST_FAULTS) s->list[s->count++] = (DataFault){ name, what, count, row };
}

/* Is the row a step whose successor is in the same episode? */
static bool goes_on(const Dataset *d, int64_t row, int64_t end) {
  return row + 1 < end && !(d->terminals && d->terminals[row]);
}

/* ---- numbers --------------------------------------------------------------------------------- */

static void find_wild(Search *s, const char *name, const float *x, int width) {
  const Dataset *d = s->data;
  int64_t numbers = 0, episodes = 0, first = -1;
  const char *which = "";
  for (int64_t e = 0; x && e < d->episodes; e++) {
    int64_t here = 0;
    for (int64_t i = d->episode_start[e]; i < d->episode_start[e + 1]; i++)
      for (int j = 0; j < width; j++)
        if (!isfinite(x[i * width + j])) {
          here++;
          if (first < 0) first = i;
        }
    if (here && episodes++ < 8)
      which = arena_text(s->arena, "%s%s%lld", which, *which ? ", " : "", (long long)e);
    numbers += here;
  }
  if (numbers)
    found(s, "not-finite", numbers, first,
          arena_text(s->arena,
                     "%s: %lld numbers in %lld episodes (%s%s) are not finite; remove "
                     "those episodes",
                     name, (long long)numbers, (long long)episodes, which,
                     episodes > 8 ? ", .." : ""));
}

typedef struct {
  double mean, deviation;
  float low, high;
  int64_t at_bound; /* rows equal to low or high */
} Entry;

static Entry entry_of(const float *x, int64_t rows, int width, int j) {
  Entry e = { .low = x[j], .high = x[j] };
  double squares = 0;
  for (int64_t i = 0; i < rows; i++) {
    float v = x[i * width + j];
    double from = (double)v - e.mean;
    e.mean += from / (double)(i + 1), squares += from * ((double)v - e.mean);
    e.low = fminf(e.low, v), e.high = fmaxf(e.high, v);
  }
  e.deviation = sqrt(squares / (double)rows);
  for (int64_t i = 0; i < rows; i++)
    e.at_bound += x[i * width + j] == e.low || x[i * width + j] == e.high;
  return e;
}

static bool same_entry(const float *x, int64_t rows, int width, int j, int k) {
  for (int64_t i = 0; i < rows; i++)
    if (x[i * width + j] != x[i * width + k]) return false;
  return true;
}

/* More than two values, or at its bounds it is a switch. */
static bool is_switch(const float *x, int64_t rows, int width, int j, const Entry *e) {
  for (int64_t i = 0; i < rows; i++)
    if (x[i * width + j] != e->low && x[i * width + j] != e->high) return false;
  return true;
}

static void find_entries(Search *s, const char *name, const float *x, int width, bool actions) {
  const int64_t rows = s->data->rows;
  Entry *entry = arena_array(s->arena, Entry, width);
  for (int j = 0; j < width; j++) {
    Entry *e = &entry[j];
    *e = entry_of(x, rows, width, j);
    if (e->low == e->high)
      found(s, "constant", rows, -1,
            arena_text(s->arena, "%s: entry %d is %g in every row; leave it out", name, j,
                       (double)e->low));
    for (int k = 0; k < j && e->low < e->high; k++)
      if (entry[k].low == e->low && entry[k].high == e->high && same_entry(x, rows, width, j, k)) {
        found(s, "duplicate", rows, -1,
              arena_text(s->arena, "%s: entry %d equals entry %d in every row; leave it out", name,
                         j, k));
        break;
      }
    double far = fmax((double)e->high - e->mean, e->mean - (double)e->low);
    if (e->deviation > 0 && far > 100 * e->deviation)
      found(s, "outlier", 1, -1,
            arena_text(s->arena,
                       "%s: entry %d reaches from %g to %g, %.0f deviations off its mean "
                       "%g; a wrong unit, or a fault of the sensor?",
                       name, j, (double)e->low, (double)e->high, far / e->deviation, e->mean));
    /* both ends by chance are 2 rows */
    if (actions && rows >= 50 && e->at_bound > rows / 10 && e->low < e->high &&
        !is_switch(x, rows, width, j, e))
      found(s, "clipped", e->at_bound, -1,
            arena_text(s->arena,
                       "%s: entry %d is exactly %g or %g in %.0f %% of the rows: clipped "
                       "when it was recorded?",
                       name, j, (double)e->low, (double)e->high,
                       100 * (double)e->at_bound / (double)rows));
  }
}

/* ---- ends and order -------------------------------------------------------------------------- */

static void find_ends(Search *s) {
  const Dataset *d = s->data;
  const DatasetSummary *m = &s->summary;
  int64_t both = 0, first = -1;
  if (m->guess >= 0)
    found(s, "ends-missing", 1, m->guess,
          "the file says nowhere that an episode ends, yet one seems to begin there; add an array "
          "timeouts that is 1 in the last row of each episode");
  for (int64_t i = 0; d->terminals && d->timeouts && i < d->rows; i++)
    if (d->terminals[i] && d->timeouts[i] == EPISODE_TIMEOUT && !both++) first = i;
  if (both)
    found(s, "ends-disagree", both, first,
          arena_text(s->arena,
                     "%lld rows are both terminal and timed out; they count as timed out "
                     "and are dropped: say which it was",
                     (long long)both));
  if (m->cut)
    found(s, "successor-differs", m->cut, m->first_cut,
          arena_text(s->arena,
                     "next_observations of %lld among %lld rows are not the next row; "
                     "episodes are taken to end there: write timeouts",
                     (long long)m->cut, (long long)m->compared));
  if (m->open_tail && m->open_tail < d->rows)
    found(s, "open-tail", m->open_tail, d->episode_start[d->episodes - 1],
          arena_text(s->arena,
                     "the file stops inside an episode of %lld rows: cut short? its last "
                     "row is dropped",
                     (long long)m->open_tail));
}

/* Squared step from a row to the next, each entry by its own mean square step. */
static double step_size(const Dataset *d, int64_t row, const double *mean) {
  double sum = 0;
  for (int j = 0; j < d->obs_dim; j++) {
    const float *x = d->observations + row * d->obs_dim + j;
    double step = (double)x[d->obs_dim] - (double)x[0];
    if (mean[j] > 0 && isfinite(step)) sum += step * step / mean[j];
  }
  return sum / d->obs_dim;
}

/* A step inside an episode that stands out, and whose square is a tenth of that of the steps from
 * one episode to the next: an end that nobody marked. */
static void find_jumps(Search *s) {
  enum { STANDS_OUT = 20 };
  const Dataset *d = s->data;
  double *mean = arena_array(s->arena, double, d->obs_dim), between = 0;
  int64_t steps = 0, jumps = 0, first = -1, ends = 0;
  for (int64_t e = 0; e < d->episodes; e++)
    for (int64_t i = d->episode_start[e]; goes_on(d, i, d->episode_start[e + 1]); i++, steps++)
      for (int j = 0; j < d->obs_dim; j++) {
        const float *x = d->observations + i * d->obs_dim + j;
        double step = (double)x[d->obs_dim] - (double)x[0];
        if (isfinite(step)) mean[j] += step * step;
      }
  for (int j = 0; j < d->obs_dim; j++) mean[j] /= steps ? (double)steps : 1;
  for (int64_t e = 1; e < d->episodes; e++, ends++)
    between += step_size(d, d->episode_start[e] - 1, mean);
  if (!ends) return;
  between /= (double)ends;
  for (int64_t e = 0; e < d->episodes; e++)
    for (int64_t i = d->episode_start[e]; goes_on(d, i, d->episode_start[e + 1]); i++) {
      double size = step_size(d, i, mean);
      if (size > STANDS_OUT && size >= 0.1 * between && !jumps++) first = i + 1;
    }
  if (jumps)
    found(s, "jump", jumps, first,
          arena_text(s->arena,
                     "%lld steps inside episodes are as large as those between episodes: "
                     "ends that nobody marked?",
                     (long long)jumps));
}

/* ---- actions and states ---------------------------------------------------------------------- */

/* Share of the variance of state steps that the best single entry of the actions `lag` rows off
 * explains, as a mean over state entries: squared correlations. */
static double explained(const Dataset *d, int lag) {
  double sum = 0;
  for (int j = 0; j < d->obs_dim; j++) {
    double best = 0;
    for (int k = 0; k < d->act_dim; k++) {
      double n = 0, x = 0, y = 0, xx = 0, yy = 0, xy = 0;
      for (int64_t e = 0; e < d->episodes; e++)
        for (int64_t i = d->episode_start[e] + 1; i + 2 < d->episode_start[e + 1]; i++) {
          const float *o = d->observations + i * d->obs_dim + j;
          double step = (double)o[d->obs_dim] - (double)o[0];
          double a = (double)d->actions[(i + lag) * d->act_dim + k];
          if (!isfinite(step) || !isfinite(a)) continue;
          n++, x += a, y += step, xx += a * a, yy += step * step, xy += a * step;
        }
      double cov = xy - x * y / n, spread = (xx - x * x / n) * (yy - y * y / n);
      if (n > 100 && spread > 0) best = fmax(best, cov * cov / spread);
    }
    sum += best;
  }
  return sum / d->obs_dim;
}

static void find_late_actions(Search *s) {
  double own = explained(s->data, 0);
  for (int lag = -1; lag <= 1; lag += 2) {
    double other = explained(s->data, lag);
    if (other < 0.05 || other < 2 * own) continue;
    found(s, "action-late", s->data->rows, -1,
          arena_text(s->arena,
                     "states follow the action of the row %s (%.0f %% of their steps) and "
                     "not that of their own (%.0f %%): the actions are a row off; shift "
                     "them",
                     lag < 0 ? "before" : "behind", 100 * other, 100 * own));
  }
}

/* ---- episodes -------------------------------------------------------------------------------- */

typedef struct {
  MurmurSum sum;
  int64_t episode;
} Digest;

static int by_digest(const void *a, const void *b) {
  const Digest *x = a, *y = b;
  int order = memcmp(&x->sum, &y->sum, sizeof x->sum);
  return order ? order : (x->episode > y->episode) - (x->episode < y->episode);
}

static void find_twice(Search *s) {
  const Dataset *d = s->data;
  Digest *digest = arena_array(s->arena, Digest, d->episodes);
  int64_t twice = 0, first = d->rows;
  for (int64_t e = 0; e < d->episodes; e++) {
    int64_t from = d->episode_start[e], rows = d->episode_start[e + 1] - from;
    Murmur murmur = { 0 };
    murmur_add(&murmur, d->observations + from * d->obs_dim,
               (size_t)(rows * d->obs_dim) * sizeof(float));
    murmur_add(&murmur, d->actions + from * d->act_dim,
               (size_t)(rows * d->act_dim) * sizeof(float));
    digest[e] = (Digest){ murmur_sum(&murmur), e };
  }
  sort(digest, (size_t)d->episodes, sizeof *digest, by_digest);
  for (int64_t e = 1; e < d->episodes; e++) {
    if (memcmp(&digest[e].sum, &digest[e - 1].sum, sizeof digest->sum)) continue;
    int64_t row = d->episode_start[digest[e].episode];
    twice++, first = row < first ? row : first;
  }
  if (twice)
    found(s, "episode-twice", twice, first,
          arena_text(s->arena,
                     "%lld episodes equal an earlier one, number for number; a file joined "
                     "with itself?",
                     (long long)twice));
}

int data_faults(Arena *arena, const Dataset *d, DataFault list[DATA_MOST_FAULTS]) {
  Search s = { .arena = arena, .data = d, .list = list };
  dataset_summary(d, &s.summary);
  find_wild(&s, "observations", d->observations, d->obs_dim);
  find_wild(&s, "actions", d->actions, d->act_dim);
  find_wild(&s, "rewards", d->rewards, 1);
  find_ends(&s);
  find_jumps(&s);
  find_entries(&s, "observations", d->observations, d->obs_dim, false);
  find_entries(&s, "actions", d->actions, d->act_dim, true);
  find_late_actions(&s);
  find_twice(&s);
  return s.count;
}
