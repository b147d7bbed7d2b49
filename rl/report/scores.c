/* scores.c -- one pass over the evaluations, newest first. */
#include "rl/report/scores.h"
#include <math.h>
#include <string.h>

/* What the best is chosen by. */
static double raw(const Scores *s, const HistoryEvaluation *e) {
  if (s->planned) return e->plan_error;
  return s->distance ? e->distance : s->held_out ? e->held_out_loss : e->return_mean;
}

double scores_value(const Scores *s, const HistoryEvaluation *e) {
  return s->normalized ? e->normalized_mean : raw(s, e);
}

double scores_std(const Scores *s, const HistoryEvaluation *e) {
  return s->normalized ? e->normalized_std : s->held_out ? NAN : e->return_std;
}

/* Standard deviation (n - 1) over the episodes of e[0 .. count) taken together. */
static double pooled_std(const HistoryEvaluation *const *e, size_t count, double mean,
                         bool normalized) {
  double squares = 0, episodes = 0;
  for (size_t i = 0; i < count; i++) {
    double std = normalized ? e[i]->normalized_std : e[i]->return_std;
    double offset = (normalized ? e[i]->normalized_mean : e[i]->return_mean) - mean;
    squares += (e[i]->episodes - 1) * std * std + e[i]->episodes * offset * offset;
    episodes += e[i]->episodes;
  }
  return sqrt(squares / (episodes - 1));
}

static void average(Scores *s, const HistoryEvaluation *const *e, size_t count) {
  HistoryEvaluation mean = { .step = e[0]->step, .act = e[0]->act, .which = e[0]->which };
  for (size_t i = 0; i < count; i++) {
    mean.episodes += e[i]->episodes;
    mean.return_mean += e[i]->return_mean / (double)count;
    mean.normalized_mean += e[i]->normalized_mean / (double)count;
    mean.length_mean += e[i]->length_mean / (double)count;
    mean.held_out_loss += e[i]->held_out_loss / (double)count;
    mean.distance += e[i]->distance / (double)count;
    mean.floor += e[i]->floor / (double)count;
    mean.plan_error += e[i]->plan_error / (double)count;
    mean.plan_still += e[i]->plan_still / (double)count;
    mean.data_error += e[i]->data_error / (double)count;
    mean.simulator_failures += e[i]->simulator_failures;
    s->acts_differ |= strcmp(e[i]->act, mean.act) != 0;
  }
  mean.return_std = pooled_std(e, count, mean.return_mean, false);
  mean.normalized_std = pooled_std(e, count, mean.normalized_mean, true);
  s->mean = mean;
  s->averaged = count;
}

Scores scores_of(const History *run) {
  const HistoryEvaluation none = { NAN,   NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN,
                                   { 0 }, NAN, NAN, NAN, NAN, NAN, "",  "",  true };
  Scores s = { .held_out = run->evaluations > 0, .last = none, .best = none, .mean = none };
  for (size_t i = 0; i < run->evaluations; i++) {
    const HistoryEvaluation *e = &run->evaluation[i];
    if (!e->training) continue;
    s.held_out &= !isfinite(e->return_mean);
    s.normalized |= isfinite(e->normalized_mean);
    s.distance |= isfinite(e->distance);
    s.planned |= isfinite(e->plan_error);
  }
  const HistoryEvaluation *few[SCORES_LAST];
  for (size_t i = run->evaluations; i-- > 0;) {
    const HistoryEvaluation *e = &run->evaluation[i];
    if (!e->training || !isfinite(raw(&s, e))) continue;
    double gain = raw(&s, e) - raw(&s, &s.best);
    if (!s.count) s.last = *e;
    if (!s.count || (s.held_out ? gain <= 0 : gain >= 0)) s.best = *e;
    if (s.count < SCORES_LAST) few[s.count] = e;
    s.count++;
  }
  if (s.count) average(&s, few, s.count < SCORES_LAST ? s.count : SCORES_LAST);
  return s;
}
