/* dataset_summary.c -- what a file holds, in numbers. */
#include "datasets/cache.h"
#include "datasets/dataset.h"
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

static int64_t count_set(const uint8_t *flag, int64_t rows) {
  int64_t n = 0;
  for (int64_t i = 0; flag && i < rows; i++) n += flag[i] != 0;
  return n;
}

double dataset_return(const Dataset *data, int64_t episode) {
  double sum = 0;
  if (!data->rewards) return NAN;
  for (int64_t i = data->episode_start[episode]; i < data->episode_start[episode + 1]; i++)
    sum += (double)data->rewards[i];
  return sum;
}

static void summarise_episodes(const Dataset *data, DatasetSummary *s) {
  EpisodeFlags flags = cache_flags(data->map);
  bool complete = episodes_find(&flags, NULL, NULL).complete;
  Moments returns = { 0 }, lengths = { 0 };
  for (int64_t e = 0; e < data->episodes - !complete; e++) {
    moments_add(&lengths, (double)(data->episode_start[e + 1] - data->episode_start[e]));
    if (data->rewards) moments_add(&returns, dataset_return(data, e));
  }
  bool any = lengths.count > 0, scored = any && data->rewards;
  s->return_mean = scored ? returns.mean : NAN,
  s->return_std = scored ? moments_std(&returns) : NAN;
  s->return_min = scored ? returns.low : NAN, s->return_max = scored ? returns.high : NAN;
  s->length_mean = any ? lengths.mean : NAN;
  s->length_min = (int64_t)lengths.low, s->length_max = (int64_t)lengths.high;
}

void dataset_summary(const Dataset *data, DatasetSummary *summary) {
  Moments reward = { 0 }, action = { 0 };
  for (int64_t i = 0; data->rewards && i < data->rows; i++)
    moments_add(&reward, (double)data->rewards[i]);
  for (int64_t i = 0; i < data->rows * data->act_dim; i++)
    moments_add(&action, (double)data->actions[i]);
  *summary = (DatasetSummary){
    .rows = data->rows,
    .transitions = data->transitions,
    .episodes = data->episodes,
    .terminals = count_set(data->terminals, data->rows),
    .timeouts = count_set(data->timeouts, data->rows),
    .dropped = data->rows - data->transitions,
    .has_timeouts = data->timeouts,
    .has_rewards = data->rewards,
    .has_terminals = data->terminals,
    .has_next = data->next_observations,
    .reward_mean = data->rewards ? reward.mean : NAN,
    .reward_std = data->rewards ? moments_std(&reward) : NAN,
    .reward_min = data->rewards ? reward.low : NAN,
    .reward_max = data->rewards ? reward.high : NAN,
    .action_low = action.low,
    .action_high = action.high,
  };
  summarise_episodes(data, summary);
}
