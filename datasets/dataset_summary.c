/* dataset_summary.c -- what a file holds, in numbers. */
#include "datasets/cache.h"
#include <math.h>

/* Running mean and spread (Welford 1962). */
typedef struct {
  int64_t count;
  double mean, squares, low, high;
} Moments;

static void moments_add(Moments *m, double x) {
  double from_old = x - m->mean;
  m->mean += from_old / (double)++m->count;
  m->squares += from_old * (x - m->mean);
  m->low = m->count == 1 ? x : fmin(m->low, x);
  m->high = m->count == 1 ? x : fmax(m->high, x);
}

static double moments_std(const Moments *m) {
  return m->count > 1 ? sqrt(m->squares / (double)(m->count - 1)) : 0;
}

static int64_t count_of(const uint8_t *flag, int64_t rows, uint8_t value) {
  int64_t n = 0;
  for (int64_t i = 0; flag && i < rows; i++) n += flag[i] == value;
  return n;
}

Dataset cache_view(const CacheHeader *h) {
  return (Dataset){
    .rows = h->rows,
    .transitions = h->transitions,
    .episodes = h->episodes,
    .obs_dim = h->obs_dim,
    .act_dim = h->act_dim,
    .observations = cache_column(h, CACHE_OBSERVATIONS),
    .actions = cache_column(h, CACHE_ACTIONS),
    .rewards = cache_column(h, CACHE_REWARDS),
    .next_observations = cache_column(h, CACHE_NEXT_OBSERVATIONS),
    .terminals = cache_column(h, CACHE_TERMINALS),
    .timeouts = cache_column(h, CACHE_TIMEOUTS),
    .transition = cache_column(h, CACHE_TRANSITION),
    .episode_start = cache_column(h, CACHE_EPISODE_START),
    .format = h->format,
    .hash = h->source_hash,
    .metadata = cache_column(h, CACHE_METADATA),
    .map = (void *)h,
    .map_bytes = h->file_bytes,
  };
}

double dataset_return(const Dataset *data, int64_t episode) {
  double sum = 0;
  if (!data->rewards) return NAN;
  for (int64_t i = data->episode_start[episode]; i < data->episode_start[episode + 1]; i++)
    sum += (double)data->rewards[i];
  return sum;
}

static void summarise_episodes(const Dataset *data, DatasetSummary *s) {
  Moments returns = { 0 }, lengths = { 0 };
  for (int64_t e = 0; e < s->episodes; e++) {
    int64_t end = data->episode_start[e + 1];
    bool state = data->timeouts && data->timeouts[end - 1] == EPISODE_STATE;
    moments_add(&lengths, (double)(end - state - data->episode_start[e]));
    if (data->rewards) moments_add(&returns, dataset_return(data, e));
  }
  bool any = lengths.count > 0, rewarded = any && data->rewards;
  s->return_mean = rewarded ? returns.mean : NAN,
  s->return_std = rewarded ? moments_std(&returns) : NAN;
  s->return_min = rewarded ? returns.low : NAN, s->return_max = rewarded ? returns.high : NAN;
  s->length_mean = any ? lengths.mean : NAN;
  s->length_min = (int64_t)lengths.low, s->length_max = (int64_t)lengths.high;
}

/* Mean, spread and range of many numbers: plain passes, since every run makes them. */
typedef struct {
  double mean, std, low, high;
} Range;

/* Eight numbers side by side: training starts with a pass over the whole file. */
static Range range_of(const float *x, int64_t count) {
  if (!x || count < 1) return (Range){ NAN, NAN, NAN, NAN };
  float low[8], high[8];
  double sum[8] = { 0 }, squares[8] = { 0 }, mean = 0;
  for (int j = 0; j < 8; j++) low[j] = high[j] = x[0];
  int64_t whole = count / 8 * 8;
  for (int64_t i = 0; i < whole; i += 8)
    for (int j = 0; j < 8; j++) {
      float v = x[i + j];
      low[j] = v < low[j] ? v : low[j], high[j] = v > high[j] ? v : high[j];
      sum[j] += (double)v;
    }
  for (int64_t i = whole; i < count; i++) {
    low[0] = fminf(low[0], x[i]), high[0] = fmaxf(high[0], x[i]);
    sum[0] += (double)x[i];
  }
  for (int j = 0; j < 8; j++) mean += sum[j] / (double)count;
  for (int64_t i = 0; i < whole; i += 8)
    for (int j = 0; j < 8; j++) squares[j] += ((double)x[i + j] - mean) * ((double)x[i + j] - mean);
  for (int64_t i = whole; i < count; i++)
    squares[0] += ((double)x[i] - mean) * ((double)x[i] - mean);
  for (int j = 1; j < 8; j++) {
    low[0] = fminf(low[0], low[j]), high[0] = fmaxf(high[0], high[j]);
    squares[0] += squares[j];
  }
  return (Range){ mean, count > 1 ? sqrt(squares[0] / (double)(count - 1)) : 0, (double)low[0],
                  (double)high[0] };
}

/* Of the rewards of steps, where some rows are none. */
static Range range_of_steps(const Dataset *data) {
  Moments m = { 0 };
  for (int64_t i = 0; data->rewards && i < data->rows; i++)
    if (data->timeouts[i] != EPISODE_STATE) moments_add(&m, (double)data->rewards[i]);
  return m.count ? (Range){ m.mean, moments_std(&m), m.low, m.high } : range_of(NULL, 0);
}

DatasetSummary cache_summary(const CacheHeader *header, const EpisodeCounts *episodes) {
  const Dataset view = cache_view(header), *data = &view;
  int64_t states = count_of(data->timeouts, data->rows, EPISODE_STATE);
  Range reward = states ? range_of_steps(data) : range_of(data->rewards, data->rows);
  Range action = range_of(data->actions, data->rows * data->act_dim);
  DatasetSummary summary = {
    .rows = data->rows,
    .transitions = data->transitions,
    .episodes = data->episodes - !episodes->complete,
    .terminals = count_of(data->terminals, data->rows, 1),
    .timeouts = count_of(data->timeouts, data->rows, EPISODE_TIMEOUT),
    .states = states,
    .dropped = data->rows - states - data->transitions,
    .has_timeouts = data->timeouts,
    .has_rewards = data->rewards,
    .has_terminals = data->terminals,
    .has_next = data->next_observations,
    .reward_mean = reward.mean,
    .reward_std = reward.std,
    .reward_min = reward.low,
    .reward_max = reward.high,
    .action_low = action.low,
    .action_high = action.high,
    .compared = episodes->compared,
    .cut = episodes->cut,
    .first_cut = episodes->first_cut,
    .guess = -1,
  };
  /* nothing says where episodes end: perhaps the numbers do */
  if (!episodes->complete) summary.open_tail = data->rows - data->episode_start[data->episodes - 1];
  if (summary.open_tail == data->rows)
    summary.guess = episodes_guess(data->observations, data->rows, data->obs_dim);
  summarise_episodes(data, &summary);
  return summary;
}

void dataset_summary(const Dataset *data, DatasetSummary *summary) {
  *summary = ((const CacheHeader *)data->map)->summary;
}
