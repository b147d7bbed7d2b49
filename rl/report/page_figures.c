/* page_figures.c -- which curves of training share a plot, and what is said about them. */
#include "rl/report/page_plot.h"
#include <math.h>
#include <string.h>

enum { CROWDED_POINTS = 120 }; /* of a curve beside others */

/* ---- several numbers under a key ------------------------------------------------------------- */

/* one point for each number, in the middle of its part of the unit interval */
static void add_parts(const Page *page, Figure *figure, const HistoryEvaluation *e,
                      const HistoryMeasure *m, const char *name, size_t colour) {
  double *middle = arena_array(page->arena, double, m->numbers);
  for (int i = 0; i < m->numbers; i++) middle[i] = (i + 0.5) / m->numbers;
  SvgCurve *curve = figure_add(page, figure, name, middle, e->value + m->at, (size_t)m->numbers);
  if (curve) curve->colour = (int)colour, curve->with_dots = true;
}

/* One run: a few of its evaluations, the last among them; several: the last of each. */
static void put_parts(const Page *page, const Measure *is) {
  enum { MOST = 4 };
  Figure figure = figure_small(page, figure_heading(page, is));
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
  figure_put(page, &figure, page->count == 1, is->caption ? is->caption : "");
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

/* One metric of one run; speed alone is drawn over time if there is only one run. */
static void add_metric(const Page *page, Figure *figure, size_t index, const char *metric,
                       const char *name) {
  const History *run = &page->run[index];
  const double *x = history_metric(run, "step");
  double *time = NULL, unit;
  if (page->count == 1 && !strcmp(metric, "steps_per_s") && run->rows)
    time = figure_seconds(page, run);
  if (time) {
    figure->plot.x_label = figure_time_unit(time[run->rows - 1], &unit);
    for (size_t i = 0; i < run->rows; i++) time[i] /= unit;
  }
  SvgCurve *curve =
      figure_add(page, figure, name, time ? time : x, history_metric(run, metric), run->rows);
  /* with one run the colours are its metrics, in order */
  if (curve && page->count > 1) curve->colour = (int)index;
}

/* A small plot as the family wants it; with several runs each curve is coarser. */
static Figure family_figure(const Page *page, const Family *family, const char *title) {
  Figure figure = figure_small(page, title);
  if (page->count > 1) figure.points = CROWDED_POINTS;
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
  figure_put(page, &figure, true, family->caption);
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
      figure_put(page, &figure, false, family->caption);
    }
  }
}

/* Numbers under a key, then the families of metrics in the order of their table. */
void page_put_figures(const Page *page) {
  page_put(page, "<h2>Training</h2>\n");
  size_t rows = 0;
  for (size_t i = 0; i < page->count; i++) rows += page->run[i].rows;
  if (!rows) {
    page_put(page, "<p class=\"note\">No reports yet.</p>\n");
    return;
  }
  figure_put_runs(page);
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
