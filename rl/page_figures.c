/* page_figures.c -- which curves share a plot, and what is said about them.
 *
 * Curves are thinned, so the page stays small however long the run was. */
#include "rl/page.h"
#include "rl/scores.h"
#include "rl/svg.h"
#include <math.h>
#include <string.h>

/* ---- curves ---------------------------------------------------------------------------------- */

typedef struct {
  SvgPlot plot;
  SvgCurve *curve; /* [plot.curves], room for as many as there are runs or metrics */
  double bucket;   /* the most reports that make one point */
} Figure;

static Figure new_figure(const Page *page, const char *title, double width, double height) {
  size_t room = page->count > HISTORY_MAX_METRICS ? page->count : HISTORY_MAX_METRICS;
  SvgCurve *curve = arena_array(page->arena, SvgCurve, room);
  return (Figure){ .curve = curve,
                   .plot = { .title = title,
                             .x_label = "gradient steps",
                             .y_label = "",
                             .curve = curve,
                             .width = width,
                             .height = height,
                             .reference = NAN } };
}

/* The curve that was added, NULL if it has no points. */
static SvgCurve *add_curve(const Page *page, Figure *figure, const char *name, const double *x,
                           const double *y, size_t count) {
  if (!x || !y || !count) return NULL;
  double *thin_x = arena_array(page->arena, double, CURVE_POINTS), bucket;
  double *thin_y = arena_array(page->arena, double, CURVE_POINTS);
  size_t points = history_thin(x, y, count, thin_x, thin_y, CURVE_POINTS, &bucket);
  if (!points) return NULL;
  figure->bucket = fmax(figure->bucket, bucket);
  SvgCurve *curve = &figure->curve[figure->plot.curves];
  *curve = (SvgCurve){ .name = name,
                       .x = thin_x,
                       .y = thin_y,
                       .count = points,
                       .colour = (int)figure->plot.curves++,
                       .ringed = -1,
                       .with_dots = false };
  return curve;
}

static void put_figure(const Page *page, const Figure *figure, bool legend, const char *caption) {
  if (!figure->plot.curves) return;
  fputs("<figure><h3>", page->out);
  svg_text(page->out, figure->plot.title);
  page_put(page, "</h3>\n");
  if (legend && figure->plot.curves > 1) {
    page_put(page, "<ul class=\"legend\">");
    for (size_t i = 0; i < figure->plot.curves; i++)
      page_legend_entry(page, figure->curve[i].colour, figure->curve[i].name);
    page_put(page, "</ul>\n");
  }
  svg_plot(page->out, &figure->plot);
  fprintf(page->out, "<figcaption>%s", caption);
  if (figure->bucket > 1)
    fprintf(page->out, " Each point is the mean of %s%.0f reports.",
            figure->bucket == floor(figure->bucket) ? "" : "about ", figure->bucket);
  page_put(page, "</figcaption></figure>\n");
}

/* ---- the learning curve ---------------------------------------------------------------------- */

enum { LOSS, RETURN, NORMALIZED }; /* what the learning curve shows */

/* The evaluations of a run as a curve with a band of one standard deviation. */
static void add_learning_curve(const Page *page, Figure *figure, size_t index, int shown) {
  const History *run = &page->run[index];
  size_t room = run->evaluations + 1, count = 0;
  double *x = arena_array(page->arena, double, room), *y = arena_array(page->arena, double, room);
  double *low = arena_array(page->arena, double, room), *high = arena_array(page->arena, double, room);
  for (size_t i = 0; i < run->evaluations; i++) {
    const HistoryEvaluation *e = &run->evaluation[i];
    if (!e->training) continue;
    bool normalized = shown == NORMALIZED;
    double mean = normalized      ? e->normalized_mean
                  : shown == LOSS ? e->held_out_loss
                                  : e->return_mean;
    double std = normalized ? e->normalized_std : shown == LOSS ? NAN : e->return_std;
    x[count] = e->step, y[count] = mean, low[count] = mean - std, high[count++] = mean + std;
  }
  SvgCurve *curve = add_curve(page, figure, run->folder, x, y, count);
  if (!curve) return;
  curve->colour = (int)index;
  curve->with_dots = curve->count <= DOTTED_POINTS && page->count <= BANDED_RUNS;
  if (page->count <= BANDED_RUNS && shown != LOSS) {
    double *thin_x = arena_array(page->arena, double, CURVE_POINTS), bucket;
    double *thin_low = arena_array(page->arena, double, CURVE_POINTS);
    double *thin_high = arena_array(page->arena, double, CURVE_POINTS);
    size_t lows = history_thin(x, low, count, thin_x, thin_low, CURVE_POINTS, &bucket);
    size_t highs = history_thin(x, high, count, thin_x, thin_high, CURVE_POINTS, &bucket);
    if (lows == curve->count && highs == lows) curve->low = thin_low, curve->high = thin_high;
  }
  for (size_t i = 0; i < curve->count && page->count == 1; i++) {
    bool better = shown == LOSS ? curve->y[i] < curve->y[curve->ringed < 0 ? 0 : curve->ringed]
                                : curve->y[i] > curve->y[curve->ringed < 0 ? 0 : curve->ringed];
    if (curve->ringed < 0 || better) curve->ringed = (int)i;
  }
}

static int learning_shows(const Page *page) {
  bool normalized = true, held_out = true;
  for (size_t i = 0; i < page->count; i++) {
    Scores s = scores_of(&page->run[i]);
    if (!s.count) continue;
    normalized &= s.normalized;
    held_out &= s.held_out;
  }
  return held_out ? LOSS : normalized ? NORMALIZED : RETURN;
}

static void put_learning(const Page *page) {
  static const struct {
    const char *title, *axis, *caption, *reference;
  } text[] = {
    [LOSS] = { "Held-out loss", "loss on held-out episodes", "Loss on episodes never trained on.",
               NULL },
    [RETURN] = { "Return", "return per episode", "Mean return of the evaluation episodes.",
                 "return_mean" },
    [NORMALIZED] = { "Normalised score", "normalised score",
                     "Mean normalised score of the evaluation episodes.", "normalized_mean" },
  };
  int shown = learning_shows(page);
  Figure figure = new_figure(page, text[shown].title, 928, 380);
  for (size_t i = 0; i < page->count; i++) add_learning_curve(page, &figure, i, shown);
  if (!figure.plot.curves) return;
  figure.plot.y_label = text[shown].axis;
  figure.plot.from_zero = shown != LOSS;
  figure.plot.log_scale = shown == LOSS;
  if (text[shown].reference && page_all_same(page, "data"))
    figure.plot.reference = dataset_number(&page->run[0], text[shown].reference);
  figure.plot.reference_label = "mean of the data set";
  bool banded = figure.curve[0].low, ringed = page->count == 1;
  const char *caption =
      arena_text(page->arena, "%s%s%s%s", text[shown].caption,
                 banded ? " Band: one standard deviation over episodes to either side." : "",
                 isfinite(figure.plot.reference) ? " Dashed: the data set's own episodes." : "",
                 ringed ? " Ring: the best." : "");
  page_put(page, "<h2>Learning</h2>\n");
  page_run_legend(page);
  put_figure(page, &figure, false, caption);
}

/* ---- metrics --------------------------------------------------------------------------------- */

/* Metrics that begin with `prefix`; those that fit no row get plots of their own. */
typedef struct {
  const char *prefix, *title, *axis, *caption;
  bool together; /* one plot for all, if there is one run */
  bool log_scale;
} Family;

static const Family families[] = {
  { "loss/", NULL, "loss", "Mean over the steps of each report.", false, true },
  { "q/", "Q values", "Q", "Mean Q of the batch, and of its targets.", true, false },
  { "grad_norm/", "Gradient norms", "norm", "Global norm of the gradient before clipping.", true,
    true },
  { "lr/", "Learning rates", "learning rate", "As set by the schedule.", true, false },
  { "steps_per_s", "Speed", "steps per second", "Gradient steps per second of training time.", true,
    false },
  { "", NULL, "", "Mean over the steps of each report.", false, false },
};

static const Family *family_of(const char *name) {
  const Family *family = families;
  while (strncmp(name, family->prefix, strlen(family->prefix))) family++;
  return family;
}

static bool is_axis(const char *name) { return !strcmp(name, "step") || !strcmp(name, "time_s"); }

/* Seconds to the unit in which a person would give them. */
static const double *readable_time(const Page *page, const History *run, const char **label) {
  static const struct {
    double seconds;
    const char *label;
  } unit[] = { { 3600, "hours of training" },
               { 60, "minutes of training" },
               { 1, "seconds of training" } };
  const double *time = history_metric(run, "time_s");
  double end = 0;
  for (size_t i = 0; time && i < run->rows; i++) end = isfinite(time[i]) ? time[i] : end;
  if (!time) return NULL;
  int chosen = end >= 2 * 3600 ? 0 : end >= 2 * 60 ? 1 : 2;
  double *scaled = arena_array(page->arena, double, run->rows);
  for (size_t i = 0; i < run->rows; i++) scaled[i] = time[i] / unit[chosen].seconds;
  *label = unit[chosen].label;
  return scaled;
}

static void add_metric_curve(const Page *page, Figure *figure, size_t index, const char *metric,
                             const char *name) {
  const History *run = &page->run[index];
  const double *x = history_metric(run, "step"), *time = NULL;
  if (page->count == 1 && !strcmp(metric, "steps_per_s"))
    time = readable_time(page, run, &figure->plot.x_label);
  SvgCurve *curve =
      add_curve(page, figure, name, time ? time : x, history_metric(run, metric), run->rows);
  if (curve && page->count > 1) curve->colour = (int)index;
}

static Figure metric_figure(const Page *page, const Family *family, const char *title) {
  Figure figure = new_figure(page, title, 448, 260);
  figure.plot.y_label = *family->axis ? family->axis : title;
  figure.plot.log_scale = family->log_scale;
  figure.plot.from_zero = !family->log_scale && strcmp(family->prefix, "q/") && *family->prefix;
  return figure;
}

static void put_family(const Page *page, const Family *family) {
  bool together = family->together && page->count == 1;
  Figure figure = metric_figure(page, family, family->title);
  for (size_t i = 0; i < page->count; i++) {
    for (int m = 0; m < page->run[i].metrics; m++) {
      const char *name = page->run[i].metric[m].name;
      bool earlier = false; /* drawn with a run before this one */
      for (size_t k = 0; k < i; k++) earlier |= history_metric(&page->run[k], name) != NULL;
      if (is_axis(name) || family_of(name) != family || earlier) continue;
      if (!together) figure = metric_figure(page, family, name);
      if (together) add_metric_curve(page, &figure, i, name, name);
      for (size_t k = 0; k < page->count && !together; k++)
        add_metric_curve(page, &figure, k, name, page->run[k].folder);
      if (!together) put_figure(page, &figure, false, family->caption);
    }
  }
  if (together) put_figure(page, &figure, true, family->caption);
}

static void put_metrics(const Page *page) {
  size_t rows = 0;
  for (size_t i = 0; i < page->count; i++) rows += page->run[i].rows;
  page_put(page, "<h2>Training</h2>\n");
  if (!rows) {
    page_put(page, "<p class=\"note\">No reports yet.</p>\n");
    return;
  }
  page_run_legend(page);
  page_put(page, "<div class=\"grid2\">\n");
  for (size_t i = 0; i < sizeof families / sizeof *families; i++) put_family(page, &families[i]);
  page_put(page, "</div>\n");
}

