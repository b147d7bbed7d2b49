/* page_pictures.c -- the figures that a run lists in figures.jsonl: PNG files inside the page,
 * tables and plots (rl/measure/figures.h says what is in their files). */
#include "core/file.h"
#include "rl/report/page.h"
#include "rl/render/svg.h"
#include <math.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

static const char *path_of(const Page *page, const History *run, const HistoryFigure *figure) {
  return arena_text(page->arena, "%s/%s", run->folder, figure->file);
}

static bool ends_in(const char *text, const char *end) {
  size_t length = strlen(text), tail = strlen(end);
  return length >= tail && !strcmp(text + length - tail, end);
}

/* ---- PNG files ------------------------------------------------------------------------------- */

/* The file inside the page (RFC 4648), so that the page needs no other file. */
static void put_base64(FILE *out, FILE *in) {
  static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  unsigned char b[3];
  for (size_t n; (n = fread(b, 1, 3, in)) > 0;) {
    /* three bytes become four digits; what a last group lacks is padded */
    unsigned bits = (unsigned)b[0] << 16 | (n > 1 ? (unsigned)b[1] << 8 : 0) | (n > 2 ? b[2] : 0);
    for (size_t i = 0; i < 4; i++) fputc(i <= n ? digit[bits >> (18 - 6 * i) & 63] : '=', out);
  }
}

/* title: above it */
static void put_picture(const Page *page, const History *run, const HistoryFigure *figure,
                        const char *title, const char *caption) {
  FILE *in = file_open(path_of(page, run, figure));
  /* a figure whose file is gone is left out */
  if (!in) return;
  page_put(page, "<figure class=\"picture\"><div class=\"head\"><h3>");
  svg_text(page->out, title);
  page_put(page, "</h3></div>\n<img alt=\"");
  svg_text(page->out, figure->title);
  page_put(page, "\" src=\"data:image/png;base64,");
  put_base64(page->out, in);
  fclose(in);
  page_put(page, "\"/>\n");
  if (*caption) {
    page_put(page, "<figcaption>");
    svg_text(page->out, caption);
    page_put(page, "</figcaption>");
  }
  page_put(page, "</figure>\n");
}

/* ---- over training --------------------------------------------------------------------------- */

/* The `found` figures of this title that have a step: a few, evenly chosen, the last among them, so
 * that the page stays small. */
static void put_strip(const Page *page, const History *run, const HistoryFigure *const *figure,
                      size_t found) {
  enum { MOST = 6 };
  if (found < 2) return;
  page_put(page, "<h3>");
  svg_text(page->out, figure[0]->title);
  page_put(page, "</h3>\n<p class=\"note\">");
  svg_text(page->out, figure[0]->caption);
  page_put(page, "</p>\n<div class=\"strip\">\n");
  size_t shown = found < MOST ? found : MOST;
  for (size_t i = 0; i < shown; i++) {
    /* evenly from the first to the last */
    const HistoryFigure *one = figure[i * (found - 1) / (shown - 1)];
    put_picture(page, run, one, arena_text(page->arena, "step %.0f", one->step), "");
  }
  page_put(page, "</div>\n");
}

/* Figures of one title, made at several steps, show how the samples change over training. */
static void put_strips(const Page *page, const History *run) {
  const HistoryFigure **same = arena_array(page->arena, const HistoryFigure *, run->figures + 1);
  for (size_t i = 0; i < run->figures; i++) {
    const HistoryFigure *figure = &run->figure[i];
    /* a title is dealt with where it first occurs */
    bool first = isfinite(figure->step);
    for (size_t k = 0; k < i && first; k++)
      first = !isfinite(run->figure[k].step) || strcmp(run->figure[k].title, figure->title);
    /* then all of it that is still there is collected */
    size_t found = 0;
    for (size_t k = i; k < run->figures && first; k++)
      if (isfinite(run->figure[k].step) && !strcmp(run->figure[k].title, figure->title) &&
          !access(path_of(page, run, &run->figure[k]), R_OK))
        same[found++] = &run->figure[k];
    put_strip(page, run, same, found);
  }
}

/* ---- plots ----------------------------------------------------------------------------------- */

enum { MOST_CURVES = 32 };

/* A curve of the numbers of two arrays, in which what is above `most` is a gap; false if nothing is
 * left. */
static bool read_curve(const Page *page, const Json *curve, double most, SvgCurve *out) {
  const Json *xs = json_get(curve, "x"), *ys = json_get(curve, "y");
  size_t count = json_count(xs) < json_count(ys) ? json_count(xs) : json_count(ys), found = 0;
  double *x = arena_array(page->arena, double, count + 1);
  double *y = arena_array(page->arena, double, count + 1);
  const Json *a = json_first(xs), *b = json_first(ys);
  for (size_t i = 0; i < count; i++, a = json_next(a), b = json_next(b)) {
    /* a point that is left out is overwritten by the next one */
    x[found] = json_number(a, NAN), y[found] = json_number(b, NAN);
    found += isfinite(x[found]) && isfinite(y[found]) && !(y[found] > most);
  }
  const char *name = json_text(json_get(curve, "name"));
  *out = (SvgCurve){
    .name = name ? name : "", .x = x, .y = y, .count = found, .ringed = -1, .with_dots = true
  };
  return found > 0;
}

/* One plot of a file that describes itself; what it lacks has a default. */
static void put_plot(const Page *page, const Json *from) {
  const char *title = json_text(json_get(from, "title"));
  SvgCurve curve[MOST_CURVES];
  SvgPlot plot = { .title = title ? title : "",
                   .x_label = json_text(json_get(from, "x")),
                   .y_label = json_text(json_get(from, "y")),
                   .curve = curve,
                   .width = 448,
                   .height = 280,
                   .reference = json_number(json_get(from, "reference"), NAN),
                   .reference_label = json_text(json_get(from, "reference_label")),
                   .log_scale = json_bool(json_get(from, "log_scale"), false) };
  double most = json_number(json_get(from, "most"), INFINITY);
  /* colours follow the curves that are drawn, so that none is skipped */
  const Json *item = json_first(json_get(from, "curves"));
  for (; item && plot.curves < MOST_CURVES; item = json_next(item))
    if (read_curve(page, item, most, &curve[plot.curves]))
      curve[plot.curves].colour = (int)plot.curves, plot.curves++;
  if (!plot.curves) return;
  if (!plot.x_label) plot.x_label = "";
  if (!plot.y_label) plot.y_label = "";
  page_put(page, "<figure><div class=\"head\"><h3>");
  svg_text(page->out, plot.title);
  page_put(page, "</h3></div>\n<ul class=\"legend\">\n");
  for (size_t i = 0; i < plot.curves; i++)
    page_put_legend_entry(page, curve[i].colour, curve[i].name);
  page_put(page, "</ul>\n");
  svg_plot(page->out, &plot);
  page_put(page, "</figure>\n");
}

/* ---- tables ---------------------------------------------------------------------------------- */

static void put_cell(const Page *page, const Json *value) {
  page_put(page, "<td>");
  if (json_is_number(value))
    page_put_count(page, json_number(value, NAN));
  else
    page_put_text(page, json_text(value));
  page_put(page, "</td>");
}

/* Rows of numbers and texts below their headings, as wide as the file says. */
static void put_table(const Page *page, const Json *columns, const Json *rows) {
  page_put(page, "<div class=\"scroll\"><table><thead><tr>");
  for (const Json *head = json_first(columns); head; head = json_next(head)) {
    page_put(page, "<th>");
    svg_text(page->out, json_text(head));
    page_put(page, "</th>");
  }
  page_put(page, "</tr></thead><tbody>\n");
  for (const Json *row = json_first(rows); row; row = json_next(row)) {
    page_put(page, "<tr>");
    for (const Json *value = json_first(row); value; value = json_next(value))
      put_cell(page, value);
    page_put(page, "</tr>\n");
  }
  page_put(page, "</tbody></table></div>\n");
}

/* ---- the figures ----------------------------------------------------------------------------- */

/* A JSON file that has a table, plots or both; the caption belongs to all of it. */
static void put_described(const Page *page, const History *run, const HistoryFigure *figure) {
  Error ignored;
  const char *path = path_of(page, run, figure);
  /* a file that is gone or is no JSON leaves nothing behind on the page */
  Json *all = file_is_regular(path) ? json_parse_file(path, &ignored) : NULL;
  const Json *plots = json_get(all, "plots"), *rows = json_get(all, "rows");
  if (plots || rows) {
    page_put(page, "<h2>");
    svg_text(page->out, figure->title);
    page_put(page, "</h2>\n");
    if (rows) put_table(page, json_get(all, "columns"), rows);
    page_put(page, "<p class=\"note\">");
    svg_text(page->out, figure->caption);
    page_put(page, "</p>\n");
  }
  if (plots) page_put(page, "<div class=\"figures\">\n");
  for (const Json *plot = json_first(plots); plot; plot = json_next(plot)) put_plot(page, plot);
  if (plots) page_put(page, "</div>\n");
  json_free(all);
}

/* a PNG file that is there, not one of a row over training */
static bool is_picture(const Page *page, const History *run, const HistoryFigure *figure) {
  return !isfinite(figure->step) && ends_in(figure->file, ".png") &&
         !access(path_of(page, run, figure), R_OK);
}

/* Of one run all of them: pictures, those over training, tables and plots; of several the first
 * picture of each. */
void page_put_pictures(const Page *page) {
  bool any = false;
  for (size_t r = 0; r < page->count; r++) {
    const History *run = &page->run[r];
    bool shown = false;
    /* pictures first, under one heading for all runs */
    for (size_t i = 0; i < run->figures && !(shown && page->count > 1); i++) {
      const HistoryFigure *figure = &run->figure[i];
      if (!is_picture(page, run, figure)) continue;
      if (!any) page_put(page, "<h2>What it has learned</h2>\n");
      any = shown = true;
      put_picture(page, run, figure, page->count > 1 ? run->folder : figure->title,
                  figure->caption);
    }
    /* side by side, the rest would make the page too long */
    if (page->count > 1) continue;
    put_strips(page, run);
    for (size_t i = 0; i < run->figures; i++)
      if (ends_in(run->figure[i].file, ".json")) put_described(page, run, &run->figure[i]);
  }
}
