/* page_learning.c -- what was measured while runs learned: the number that they are compared by,
 * over gradient steps and over what it cost, and the others. */
#include "rl/report/page_plot.h"
#include "rl/report/results.h"
#include <math.h>
#include <string.h>

/* the most points with dots; the most runs with bands */
enum { DOTTED_POINTS = 60, BANDED_RUNS = 3 };

/* What runs may be compared by and all that were evaluated have, by its key; else what the first
 * is compared by; NULL: nothing. */
static const char *learning_key(const Page *page) {
  const History *first = &page->run[0];
  /* from the last in the table, which is what one run alone would be compared by */
  for (int i = first->measures; i-- > 0;) {
    const char *key = first->measure[i].is.main ? first->measure[i].is.key : NULL;
    bool all = key && results_has(first, &first->measure[i]);
    for (size_t r = 1; r < page->count && all; r++) {
      const History *run = &page->run[r];
      /* a run that was not evaluated yet forbids nothing */
      all = !run->evaluations || results_has(run, history_measure(run, key));
    }
    if (all) return key;
  }
  for (size_t r = 0; r < page->count; r++) {
    Results s = results_of(page->arena, &page->run[r]);
    if (s.count) return s.main->is.key;
  }
  return NULL;
}

/* ---- what a curve is drawn over -------------------------------------------------------------- */

/* A metric that says what learning has cost so far. */
typedef struct {
  const char *metric, *label, *caption;
} Cost;
static const Cost over_steps = { NULL, "gradient steps", NULL };
static const Cost over_time = {
  "time_s", NULL, "The same over the time of training."
}; /* in a unit that suits the longest run */
static const Cost costs[] = {
  { "queries", "questions to the reward", "The same over how often the reward was asked." },
  { "env_steps", "environment steps", "The same over steps in the environment." }
};

/* The cost at a step: that of the last report until then; NAN before the first, 0 at the start. */
static double cost_at(const History *run, const double *cost, double step) {
  const double *reported = history_metric(run, "step");
  double found = step > 0 ? NAN : 0;
  for (size_t i = 0; i < run->rows && reported[i] <= step; i++)
    if (isfinite(cost[i])) found = cost[i];
  return found;
}

/* Of the whole run, [rows], and the most; NULL if it says none. */
static const double *cost_of(const Page *page, const History *run, const Cost *cost, double *end) {
  const double *column =
      cost == &over_time ? figure_seconds(page, run) : history_metric(run, cost->metric);
  for (size_t i = 0; column && i < run->rows; i++)
    if (isfinite(column[i])) *end = fmax(*end, column[i]);
  return column;
}

/* The evaluations of a run as columns: step, mean, mean - std, mean + std, each [evaluations]. */
static size_t evaluation_columns(const Page *page, const History *run, const HistoryMeasure *m,
                                 double *column[4]) {
  size_t count = 0;
  for (int c = 0; c < 4; c++) column[c] = arena_array(page->arena, double, run->evaluations + 1);
  for (size_t i = 0; i < run->evaluations; i++) {
    const HistoryEvaluation *e = &run->evaluation[i];
    if (!e->training) continue;
    double mean = history_value(e, m), std = history_value(e, history_measure(run, m->is.spread));
    column[0][count] = e->step, column[1][count] = mean;
    column[2][count] = mean - std, column[3][count++] = mean + std;
  }
  return count;
}

static int best_point(const SvgCurve *curve, bool less_is_better) {
  int best = 0;
  for (int i = 1; i < (int)curve->count; i++) {
    if (less_is_better ? curve->y[i] < curve->y[best] : curve->y[i] > curve->y[best]) best = i;
  }
  return best;
}

/* Put what the evaluations cost in place of their steps; false if the run does not say. */
static bool put_cost(const Page *page, const History *run, const Cost *cost, double unit,
                     double *step, size_t count) {
  double end = 0;
  const double *column = cost == &over_steps ? step : cost_of(page, run, cost, &end);
  for (size_t i = 0; i < count && column && cost != &over_steps; i++)
    step[i] = cost_at(run, column, step[i]) / unit;
  return column != NULL;
}

/* A measure over the training of one run. */
static SvgCurve *add_learning_curve(const Page *page, Figure *figure, size_t index, const char *key,
                                    const Cost *cost, double unit, double *column[4],
                                    size_t *count) {
  const History *run = &page->run[index];
  const HistoryMeasure *m = history_measure(run, key);
  if (!m) return NULL;
  *count = evaluation_columns(page, run, m, column);
  if (!put_cost(page, run, cost, unit, column[0], *count)) return NULL;
  SvgCurve *curve = figure_add(page, figure, run->folder, column[0], column[1], *count);
  if (!curve) return NULL;
  /* the colour is the run's own, even if runs before it have no curve */
  curve->colour = (int)index;
  /* bands and dots of many runs would hide each other */
  curve->with_dots = page->count <= BANDED_RUNS && curve->count <= DOTTED_POINTS;
  return curve;
}

/* The measure that runs are compared by, over gradient steps, with a band if the runs are few. */
static void add_main_curve(const Page *page, Figure *figure, size_t index, const char *key) {
  double *column[4], *low = figure_points(page, figure), *high = figure_points(page, figure);
  size_t count, bucket;
  SvgCurve *curve = add_learning_curve(page, figure, index, key, &over_steps, 1, column, &count);
  if (!curve) return;
  /* a point that averages several evaluations is none of them, so it cannot be the best */
  const HistoryMeasure *m = history_measure(&page->run[index], key);
  if (page->count == 1 && figure->bucket == 1)
    curve->ringed = best_point(curve, m->is.less_is_better);
  if (page->count > BANDED_RUNS) return;
  double *ignored = figure_points(page, figure);
  /* the band is thinned as the curve was, and left out where a deviation is missing */
  size_t lows = history_thin(column[0], column[2], count, ignored, low, figure->points, &bucket);
  size_t highs = history_thin(column[0], column[3], count, ignored, high, figure->points, &bucket);
  if (lows == curve->count && highs == lows) curve->low = low, curve->high = high;
}

/* Did all evaluations find the same number? */
static bool is_constant(const History *run, const HistoryMeasure *m) {
  for (size_t i = 1; i < run->evaluations; i++)
    if (history_value(&run->evaluation[i], m) != history_value(&run->evaluation[0], m))
      return false;
  return run->evaluations > 0;
}

/* A dashed level: the same number of the data set, or what is beside the measure if it is a floor,
 * the same at every step.  Its label; NULL: none. */
static const char *find_reference(const Page *page, const HistoryMeasure *m, double *level) {
  const History *run = &page->run[0];
  const HistoryMeasure *beside = history_measure(run, m->is.beside);
  /* runs on different data have no level in common */
  if (!page_all_same(page, "data")) return NULL;
  *level = json_number(json_get(page_config(run, "dataset"), m->is.key), NAN);
  if (isfinite(*level)) return "mean of the data set";
  if (!beside || !is_constant(run, beside)) return NULL;
  *level = history_value(&run->evaluation[0], beside);
  return isfinite(*level) ? beside->is.title : NULL;
}

/* What the measure is, and what band, dashed line and ring mean where they are drawn. */
static const char *learning_caption(const Page *page, const Figure *figure, const Measure *m) {
  bool banded = false;
  for (size_t i = 0; i < figure->plot.curves; i++) banded |= figure->curve[i].low != NULL;
  const char *label = figure->plot.reference_label;
  return arena_text(page->arena, "%s%s%s%s%s%s", m->caption ? m->caption : "",
                    banded ? " Band: one standard deviation over episodes." : "",
                    label ? " Dashed: " : "", label ? label : "", label ? "." : "",
                    figure->curve[0].ringed >= 0 ? " Ring: the best." : "");
}

/* All runs in one plot, by a measure that they share. */
static bool put_main(const Page *page, const HistoryMeasure *m) {
  Figure figure = figure_new(page, figure_heading(page, &m->is), 928, 380);
  for (size_t i = 0; i < page->count; i++) add_main_curve(page, &figure, i, m->is.key);
  if (!figure.plot.curves) return false;
  if (m->is.unit)
    figure.plot.y_label = arena_text(page->arena, "%s, %s", figure.plot.title, m->is.unit);
  /* errors fall over decades, returns do not */
  figure.plot.log_scale = m->is.less_is_better;
  figure.plot.reference_label = find_reference(page, m, &figure.plot.reference);
  figure.plot.from_zero = !m->is.less_is_better || figure.plot.reference_label;
  page_put(page, "<h2>Learning</h2>\n");
  figure_put_runs(page);
  figure_put(page, &figure, false, learning_caption(page, &figure, &m->is));
  return true;
}

/* ---- smaller plots --------------------------------------------------------------------------- */

static void put_small(const Page *page, const HistoryMeasure *m, const Cost *cost,
                      const char *caption) {
  Figure figure = figure_small(page, figure_heading(page, &m->is));
  double *column[4], unit = 1, end = 0;
  size_t count;
  for (size_t i = 0; i < page->count && cost != &over_steps; i++)
    cost_of(page, &page->run[i], cost, &end);
  figure.plot.x_label = cost == &over_time ? figure_time_unit(end, &unit) : cost->label;
  for (size_t i = 0; i < page->count; i++)
    add_learning_curve(page, &figure, i, m->is.key, cost, unit, column, &count);
  if (m->is.unit)
    figure.plot.y_label = arena_text(page->arena, "%s, %s", figure.plot.title, m->is.unit);
  figure.plot.log_scale = m->is.less_is_better;
  figure_put(page, &figure, false, caption);
}

/* Is it the deviation, the number or the floor of another measure? */
static bool is_beside(const History *run, const char *key) {
  for (int i = 0; i < run->measures; i++) {
    const Measure *m = &run->measure[i].is;
    if (page_same_text(m->spread, key) || page_same_text(m->over, key) ||
        page_same_text(m->beside, key))
      return true;
  }
  return false;
}

/* The others that are one number and have a title, in the order in which the runs name them. */
static void put_others(const Page *page, const char *main) {
  for (size_t r = 0; r < page->count; r++) {
    const History *run = &page->run[r];
    for (int i = 0; i < run->measures; i++) {
      const HistoryMeasure *m = &run->measure[i];
      bool shown = m->is.title && m->numbers == 1 && strcmp(m->is.key, main) && !m->is.total &&
                   !is_beside(run, m->is.key);
      for (size_t k = 0; k < r && shown; k++) shown = !history_measure(&page->run[k], m->is.key);
      if (shown) put_small(page, m, &over_steps, m->is.caption ? m->is.caption : "");
    }
  }
}

void page_put_learning(const Page *page) {
  const char *key = learning_key(page);
  const HistoryMeasure *m = NULL;
  /* the first run that knows the key describes the measure for all */
  for (size_t i = 0; i < page->count && !m; i++) m = history_measure(&page->run[i], key);
  if (!m || !put_main(page, m)) return;
  page_put(page, "<div class=\"figures\">\n");
  for (size_t i = 0; i < sizeof costs / sizeof *costs; i++)
    put_small(page, m, &costs[i], costs[i].caption);
  put_small(page, m, &over_time, over_time.caption);
  put_others(page, key);
  page_put(page, "</div>\n");
}
