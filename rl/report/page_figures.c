/* page_figures.c -- which curves share a plot, and what is said about them.
 *
 * Curves are thinned, so the page stays small however long the run was. */
#include "rl/report/page.h"
#include "rl/report/results.h"
#include "rl/render/svg.h"
#include <ctype.h>
#include <math.h>
#include <string.h>

/* points of a curve alone, and beside others; the most with dots; the most runs with bands */
enum { CURVE_POINTS = 400, CROWDED_POINTS = 120, DOTTED_POINTS = 60, BANDED_RUNS = 3 };

/* ---- a figure -------------------------------------------------------------------------------- */

typedef struct {
  SvgPlot plot;
  SvgCurve *curve; /* what plot.curve points to, with room for one a run or metric */
  size_t points;   /* the most that a curve keeps */
  size_t bucket;   /* the most reports that make one point */
} Figure;

/* An empty plot over gradient steps, with room for as many curves as there may be. */
static Figure new_figure(const Page *page, const char *title, double width, double height) {
  size_t room = page->count > HISTORY_MAX_METRICS ? page->count : HISTORY_MAX_METRICS;
  SvgCurve *curve = arena_array(page->arena, SvgCurve, room);
  return (Figure){ .curve = curve,
                   .points = CURVE_POINTS,
                   .plot = { .title = title,
                             .x_label = "gradient steps",
                             .y_label = title,
                             .curve = curve,
                             .width = width,
                             .height = height,
                             .reference = NAN } };
}

static double *new_points(const Page *page, const Figure *figure) {
  return arena_array(page->arena, double, figure->points);
}

/* A title that a table has in small letters, above a plot; a key stays as it is. */
static const char *heading(const Page *page, const Measure *m) {
  if (page_same_text(m->title, m->key) || !m->title) return m->key;
  const char *title = m->title;
  return arena_text(page->arena, "%c%s", toupper((unsigned char)*title), title + !!*title);
}

/* The curve that was added; NULL if it has no points, or x or y is NULL. */
static SvgCurve *add_curve(const Page *page, Figure *figure, const char *name, const double *x,
                           const double *y, size_t count) {
  if (!x || !y || !count) return NULL;
  double *thin_x = new_points(page, figure), *thin_y = new_points(page, figure);
  size_t bucket;
  size_t points = history_thin(x, y, count, thin_x, thin_y, figure->points, &bucket);
  if (!points) return NULL;
  /* the caption tells the coarsest averaging of all curves */
  if (bucket > figure->bucket) figure->bucket = bucket;
  SvgCurve *curve = &figure->curve[figure->plot.curves];
  *curve = (SvgCurve){ .name = name,
                       .x = thin_x,
                       .y = thin_y,
                       .count = points,
                       .colour = (int)figure->plot.curves++,
                       .ringed = -1 };
  return curve;
}

/* Heading, legend, plot and caption; nothing if no curve had a point. */
static void put_figure(const Page *page, const Figure *figure, bool legend, const char *caption) {
  if (!figure->plot.curves) return;
  page_put(page, "<figure><div class=\"head\"><h3>");
  svg_text(page->out, figure->plot.title);
  page_put(page, "</h3>\n");
  if (legend && figure->plot.curves > 1) {
    page_put(page, "<ul class=\"legend\">\n");
    for (size_t i = 0; i < figure->plot.curves; i++)
      page_put_legend_entry(page, figure->curve[i].colour, figure->curve[i].name);
    page_put(page, "</ul>\n");
  }
  page_put(page, "</div>\n");
  svg_plot(page->out, &figure->plot);
  page_put(page, "<figcaption>");
  svg_text(page->out, caption);
  if (figure->bucket > 1) fprintf(page->out, " Each point averages %zu reports.", figure->bucket);
  page_put(page, "</figcaption></figure>\n");
}

/* With several runs one legend on top serves all plots, since colours are runs. */
static void put_run_legend(const Page *page) {
  if (page->count < 2) return;
  page_put(page, "<ul class=\"legend\">\n");
  for (size_t i = 0; i < page->count; i++) page_put_legend_entry(page, (int)i, page->run[i].folder);
  page_put(page, "</ul>\n");
}

/* ---- the learning curve ---------------------------------------------------------------------- */

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

/* The main measure over the training of one run, with a band if the runs are few. */
static void add_learning_curve(const Page *page, Figure *figure, size_t index, const char *key) {
  double *column[4], *low = new_points(page, figure), *high = new_points(page, figure);
  const History *run = &page->run[index];
  const HistoryMeasure *m = history_measure(run, key);
  if (!m) return;
  size_t count = evaluation_columns(page, run, m, column);
  SvgCurve *curve = add_curve(page, figure, run->folder, column[0], column[1], count);
  if (!curve) return;
  /* the colour is the run's own, even if runs before it have no curve */
  curve->colour = (int)index;
  /* a point that averages several evaluations is none of them, so it cannot be the best */
  if (page->count == 1 && figure->bucket == 1)
    curve->ringed = best_point(curve, m->is.less_is_better);
  /* bands and dots of many runs would hide each other */
  if (page->count > BANDED_RUNS) return;
  curve->with_dots = curve->count <= DOTTED_POINTS;
  double *ignored = new_points(page, figure);
  size_t bucket;
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
static void put_learning(const Page *page) {
  const char *key = learning_key(page);
  const HistoryMeasure *m = NULL;
  /* the first run that knows the key describes the measure for all */
  for (size_t i = 0; i < page->count && !m; i++) m = history_measure(&page->run[i], key);
  if (!m) return;
  Figure figure = new_figure(page, heading(page, &m->is), 928, 380);
  for (size_t i = 0; i < page->count; i++) add_learning_curve(page, &figure, i, key);
  if (!figure.plot.curves) return;
  if (m->is.unit)
    figure.plot.y_label = arena_text(page->arena, "%s, %s", figure.plot.title, m->is.unit);
  /* errors fall over decades, returns do not */
  figure.plot.log_scale = m->is.less_is_better;
  figure.plot.reference_label = find_reference(page, m, &figure.plot.reference);
  figure.plot.from_zero = !m->is.less_is_better || figure.plot.reference_label;
  page_put(page, "<h2>Learning</h2>\n");
  put_run_legend(page);
  put_figure(page, &figure, false, learning_caption(page, &figure, &m->is));
}

/* ---- several numbers under a key ------------------------------------------------------------- */

/* one point for each number, in the middle of its part of the unit interval */
static void add_parts(const Page *page, Figure *figure, const HistoryEvaluation *e,
                      const HistoryMeasure *m, const char *name, size_t colour) {
  double *middle = arena_array(page->arena, double, m->numbers);
  for (int i = 0; i < m->numbers; i++) middle[i] = (i + 0.5) / m->numbers;
  SvgCurve *curve = add_curve(page, figure, name, middle, e->value + m->at, (size_t)m->numbers);
  if (curve) curve->colour = (int)colour, curve->with_dots = true;
}

/* One run: a few of its evaluations, the last among them; several: the last of each. */
static void put_parts(const Page *page, const Measure *is) {
  enum { MOST = 4 };
  Figure figure = new_figure(page, heading(page, is), 448, 250);
  /* the unit of several numbers says what they lie along */
  if (is->unit) figure.plot.x_label = is->unit;
  figure.plot.log_scale = is->less_is_better;
  for (size_t r = 0; r < page->count; r++) {
    const History *run = &page->run[r];
    const HistoryMeasure *m = history_measure(run, is->key);
    size_t all = m ? run->evaluations : 0;
    /* several runs: each at its last evaluation; one run: how it changed over training */
    size_t shown = page->count > 1 || all < 2 ? 1 : all < MOST ? all : MOST;
    for (size_t i = 0; i < shown && all; i++) {
      const HistoryEvaluation *e =
          &run->evaluation[shown > 1 ? i * (all - 1) / (shown - 1) : all - 1];
      const char *name =
          page->count > 1 ? run->folder : arena_text(page->arena, "step %.0f", e->step);
      add_parts(page, &figure, e, m, name, page->count > 1 ? r : i);
    }
  }
  put_figure(page, &figure, page->count == 1, is->caption ? is->caption : "");
}

/* Do runs before this one have the measure?  Then it has its plot already. */
static bool is_earlier(const Page *page, size_t run, const char *key) {
  for (size_t i = 0; i < run; i++)
    if (history_measure(&page->run[i], key)) return true;
  return false;
}

/* A plot for every measure of several numbers that has a title, in the order in which the runs
 * first name them. */
static void put_all_parts(const Page *page) {
  for (size_t r = 0; r < page->count; r++)
    for (int i = 0; i < page->run[r].measures; i++) {
      const HistoryMeasure *m = &page->run[r].measure[i];
      if (m->is.title && m->numbers > 1 && !is_earlier(page, r, m->is.key)) put_parts(page, &m->is);
    }
}

/* ---- metrics --------------------------------------------------------------------------------- */

/* Metrics belong to the first family whose prefix they begin with. */
typedef struct {
  const char *prefix;
  const char *title; /* of the one plot for all of them if there is one run; NULL: one for each */
  const char *axis;  /* NULL: the metric's name */
  const char *caption;
  bool log_scale, from_zero;
} Family;

/* the last prefix is empty: it takes every metric that no other family does */
static const Family families[] = {
  { "loss/", NULL, "loss", "Training loss, averaged over the steps of a report.", true, false },
  { "q/", "Q values", "Q", "Q of the batch and of the targets it learns from.", false, false },
  { "grad_norm/", "Gradient norms", "global norm", "Norm of the gradient before clipping.", true,
    false },
  { "lr/", "Learning rates", "learning rate", "Step sizes as scheduled.", false, true },
  { "steps_per_s", "Speed", "steps per second", "Gradient steps per second of wall time.", false,
    true },
  { "", NULL, NULL, "Averaged over the steps of a report.", false, false },
};

static const Family *family_of(const char *name) {
  const Family *family = families;
  while (strncmp(name, family->prefix, strlen(family->prefix))) family++;
  return family;
}

/* What others are drawn against is no curve itself. */
static bool is_axis(const char *name) { return !strcmp(name, "step") || !strcmp(name, "time_s"); }

/* time_s in seconds, minutes or hours, going on where a resumed run began again; NULL if absent. */
static const double *training_time(const Page *page, const History *run, const char **label) {
  const double *time = history_metric(run, "time_s");
  if (!time) return NULL;
  double *total = arena_array(page->arena, double, run->rows), before = 0, last = 0;
  for (size_t i = 0; i < run->rows; i++) {
    /* the clock of a new sitting begins at 0 */
    if (time[i] < last) before += last;
    if (isfinite(time[i])) last = time[i];
    total[i] = before + time[i];
  }
  /* the unit that keeps the axis to numbers one can read */
  double end = before + last, unit = end >= 7200 ? 3600 : end >= 120 ? 60 : 1;
  *label = unit == 3600 ? "hours" : unit == 60 ? "minutes" : "seconds";
  for (size_t i = 0; i < run->rows; i++) total[i] /= unit;
  return total;
}

/* One metric of one run; speed alone is drawn over time if there is only one run. */
static void add_metric(const Page *page, Figure *figure, size_t index, const char *metric,
                       const char *name) {
  const History *run = &page->run[index];
  const double *x = history_metric(run, "step"), *time = NULL;
  if (page->count == 1 && !strcmp(metric, "steps_per_s"))
    time = training_time(page, run, &figure->plot.x_label);
  SvgCurve *curve =
      add_curve(page, figure, name, time ? time : x, history_metric(run, metric), run->rows);
  /* with one run the colours are its metrics, in order */
  if (curve && page->count > 1) curve->colour = (int)index;
}

/* A small plot as the family wants it; with several runs each curve is coarser. */
static Figure family_figure(const Page *page, const Family *family, const char *title) {
  Figure figure = new_figure(page, title, 448, 250);
  figure.points = page->count > 1 ? CROWDED_POINTS : CURVE_POINTS;
  figure.plot.y_label = family->axis ? family->axis : title;
  figure.plot.log_scale = family->log_scale;
  figure.plot.from_zero = family->from_zero;
  return figure;
}

/* One run: all metrics of the family in one plot. */
static void put_together(const Page *page, const Family *family) {
  const History *run = &page->run[0];
  Figure figure = family_figure(page, family, family->title);
  for (int m = 0; m < run->metrics; m++) {
    const char *name = run->metric[m].name;
    if (is_axis(name) || family_of(name) != family) continue;
    add_metric(page, &figure, 0, name, name + strlen(family->prefix));
  }
  put_figure(page, &figure, true, family->caption);
}

/* A plot for each metric of the family, in the order in which the runs first name them. */
static void put_apart(const Page *page, const Family *family) {
  for (size_t i = 0; i < page->count; i++) {
    for (int m = 0; m < page->run[i].metrics; m++) {
      const char *name = page->run[i].metric[m].name;
      bool done = is_axis(name) || family_of(name) != family;
      for (size_t k = 0; k < i && !done; k++) done = history_metric(&page->run[k], name) != NULL;
      if (done) continue;
      /* all runs from this one on, for those before it lack the metric */
      Figure figure = family_figure(page, family, name);
      for (size_t k = i; k < page->count; k++)
        add_metric(page, &figure, k, name, page->run[k].folder);
      put_figure(page, &figure, false, family->caption);
    }
  }
}

/* Numbers under a key, then the families of metrics in the order of their table. */
static void put_metrics(const Page *page) {
  page_put(page, "<h2>Training</h2>\n");
  size_t rows = 0;
  for (size_t i = 0; i < page->count; i++) rows += page->run[i].rows;
  if (!rows) {
    page_put(page, "<p class=\"note\">No reports yet.</p>\n");
    return;
  }
  put_run_legend(page);
  page_put(page, "<div class=\"figures\">\n");
  put_all_parts(page);
  for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
    /* with several runs a plot has one curve a run, so metrics are kept apart */
    if (families[i].title && page->count == 1)
      put_together(page, &families[i]);
    else
      put_apart(page, &families[i]);
  }
  page_put(page, "</div>\n");
}

void page_put_figures(const Page *page) {
  put_learning(page);
  put_metrics(page);
}
