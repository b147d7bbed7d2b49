/* results.c -- one pass over the evaluations, newest first. */
#include "rl/report/results.h"
#include <math.h>
#include <string.h>

double results_value(const Results *s, const HistoryEvaluation *e) {
  return s->count ? history_value(e, s->main) : NAN;
}

double results_std(const History *run, const Results *s, const HistoryEvaluation *e) {
  return s->count ? history_value(e, history_measure(run, s->main->is.spread)) : NAN;
}

bool results_has(const History *run, const HistoryMeasure *m) {
  for (size_t i = 0; i < run->evaluations; i++)
    if (run->evaluation[i].training && isfinite(history_value(&run->evaluation[i], m))) return true;
  return false;
}

/* The last in the table comes first: the normalised return rather than the return. */
static const HistoryMeasure *main_of(const History *run) {
  for (int i = run->measures; i-- > 0;)
    if (run->measure[i].is.main && results_has(run, &run->measure[i])) return &run->measure[i];
  return NULL;
}

/* ---- the mean -------------------------------------------------------------------------------- */

/* Standard deviation (n - 1) of all that evaluations e[0 .. count), n of them each, are over. */
static double pooled_std(const HistoryEvaluation *const *e, size_t count, double mean,
                         const HistoryMeasure *m, const HistoryMeasure *spread,
                         const HistoryMeasure *over) {
  double squares = 0, all = 0;
  for (size_t i = 0; i < count; i++) {
    double n = history_value(e[i], over), std = history_value(e[i], spread);
    double offset = history_value(e[i], m) - mean;
    /* spread within each evaluation, and of its mean about the mean of all */
    squares += (n - 1) * std * std + n * offset * offset;
    all += n;
  }
  return sqrt(squares / (all - 1));
}

/* The newest of them as a frame, in which every number becomes that of all together. */
static void average(Arena *arena, const History *run, Results *s, const HistoryEvaluation *const *e,
                    size_t count) {
  s->mean = *e[0], s->averaged = count;
  double *value = s->mean.value = arena_array(arena, double, run->numbers + 1);
  /* first plain means of all numbers */
  for (int k = 0; k < run->numbers; k++)
    for (size_t i = 0; i < count; i++) value[k] += e[i]->value[k] / (double)count;
  /* then what is no mean: deviations are pooled, and counts are added up */
  for (int k = 0; k < run->measures; k++) {
    const HistoryMeasure *m = &run->measure[k], *spread = history_measure(run, m->is.spread);
    const HistoryMeasure *over = history_measure(run, m->is.over);
    if (spread) value[spread->at] = pooled_std(e, count, value[m->at], m, spread, over);
    if (!m->is.total) continue;
    value[m->at] = 0;
    for (size_t i = 0; i < count; i++) value[m->at] += history_value(e[i], m);
  }
  /* a mean over different act records has none of its own */
  for (size_t i = 0; i < count; i++) s->acts_differ |= strcmp(e[i]->with, s->mean.with) != 0;
}

Results results_of(Arena *arena, const History *run) {
  Results s = { .main = main_of(run) };
  const HistoryEvaluation *few[RESULTS_LAST];
  for (size_t i = run->evaluations; i-- > 0;) {
    const HistoryEvaluation *e = &run->evaluation[i];
    if (!e->training || !isfinite(history_value(e, s.main))) continue;
    /* from the newest back, so that of equals the earliest ends up as the best */
    double gain = s.count ? history_value(e, s.main) - history_value(&s.best, s.main) : 0;
    if (!s.count) s.last = *e;
    if (s.main->is.less_is_better ? gain <= 0 : gain >= 0) s.best = *e;
    /* the newest few are kept for the mean */
    if (s.count < RESULTS_LAST) few[s.count] = e;
    s.count++;
  }
  if (s.count) average(arena, run, &s, few, s.count < RESULTS_LAST ? s.count : RESULTS_LAST);
  return s;
}
