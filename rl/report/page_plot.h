/* page_plot.h -- a plot of the page, with its heading, legend and caption.  Curves are thinned, so
 * the page stays small however long a run was. */
#ifndef RL_PAGE_PLOT_H
#define RL_PAGE_PLOT_H
#include "rl/render/svg.h"
#include "rl/report/page.h"

typedef struct {
  SvgPlot plot;
  SvgCurve *curve; /* what plot.curve points to, with room for one a run or metric */
  size_t points;   /* the most that a curve keeps */
  size_t bucket;   /* the most reports that make one point */
} Figure;

/* An empty plot over gradient steps, with room for as many curves as there may be. */
Figure figure_new(const Page *page, const char *title, double width, double height);
Figure figure_small(const Page *page, const char *title); /* of which two stand side by side */

double *figure_points(const Page *page, const Figure *figure); /* room for those of a curve */

/* The curve that was added; NULL if it has no points, or x or y is NULL. */
SvgCurve *figure_add(const Page *page, Figure *figure, const char *name, const double *x,
                     const double *y, size_t count);

/* Heading, legend, plot and caption; nothing if no curve had a point. */
void figure_put(const Page *page, const Figure *figure, bool legend, const char *caption);

/* With several runs one legend on top serves all plots, since colours are runs. */
void figure_put_runs(const Page *page);

/* A measure's title, which a table has in small letters, above a plot; a key stays as it is. */
const char *figure_heading(const Page *page, const Measure *m);

/* When each report was made, [rows], going on where a resumed run began again; NULL if absent. */
double *figure_seconds(const Page *page, const History *run);

/* The unit that keeps an axis up to so many seconds to numbers one can read: its name, and in
 * seconds. */
const char *figure_time_unit(double end, double *unit);

#endif
