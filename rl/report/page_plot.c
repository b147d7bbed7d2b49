/* page_plot.c -- what plots of the page have in common. */
#include "rl/report/page_plot.h"
#include <ctype.h>
#include <math.h>

enum { CURVE_POINTS = 400 }; /* of a curve alone */

Figure figure_new(const Page *page, const char *title, double width, double height) {
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

Figure figure_small(const Page *page, const char *title) {
  return figure_new(page, title, 448, 250);
}

double *figure_points(const Page *page, const Figure *figure) {
  return arena_array(page->arena, double, figure->points);
}

const char *figure_heading(const Page *page, const Measure *m) {
  if (page_same_text(m->title, m->key) || !m->title) return m->key;
  const char *title = m->title;
  return arena_text(page->arena, "%c%s", toupper((unsigned char)*title), title + !!*title);
}

SvgCurve *figure_add(const Page *page, Figure *figure, const char *name, const double *x,
                     const double *y, size_t count) {
  if (!x || !y || !count) return NULL;
  double *thin_x = figure_points(page, figure), *thin_y = figure_points(page, figure);
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

void figure_put(const Page *page, const Figure *figure, bool legend, const char *caption) {
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

void figure_put_runs(const Page *page) {
  if (page->count < 2) return;
  page_put(page, "<ul class=\"legend\">\n");
  for (size_t i = 0; i < page->count; i++) page_put_legend_entry(page, (int)i, page->run[i].folder);
  page_put(page, "</ul>\n");
}

double *figure_seconds(const Page *page, const History *run) {
  const double *time = history_metric(run, "time_s");
  if (!time) return NULL;
  double *total = arena_array(page->arena, double, run->rows), before = 0, last = 0;
  for (size_t i = 0; i < run->rows; i++) {
    /* the clock of a new sitting begins at 0 */
    if (time[i] < last) before += last;
    if (isfinite(time[i])) last = time[i];
    total[i] = before + time[i];
  }
  return total;
}

const char *figure_time_unit(double end, double *unit) {
  *unit = end >= 7200 ? 3600 : end >= 120 ? 60 : 1;
  return *unit == 3600 ? "hours" : *unit == 60 ? "minutes" : "seconds";
}
