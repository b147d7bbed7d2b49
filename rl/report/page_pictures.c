/* page_pictures.c -- what a model of points has learned: the PNG files of its run, inside the page,
 * and its samplers compared. */
#include "rl/report/page.h"
#include "rl/draw/svg.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- PNG files ------------------------------------------------------------------------------- */

static const struct {
  const char *file, *title, *caption;
} pictures[] = {
  { "images.png", "Samples", "A column for each label, where the network is told them." },
  { "samples.png", "Data and samples", "Both panels have the same number of points." },
  { "field.png", "The learned score",
    "Arrows point to where the density of noisy data (shaded) grows, at three levels of noise; "
    "long ones are drawn shorter than they are." },
  { "paths.png", "From noise to data",
    "Ways of the same points of noise (blue dots) to samples (orange), each divided by the "
    "deviation of noisy data at its time. Left without noise on the way (ddim), right with it "
    "(ddpm)." },
  { "plans.png", "Plans",
    "Windows of the data, plans that begin in the same states (dots), and what the simulator makes "
    "of the plans' actions; a step of control a unit." },
};
enum { PICTURES = sizeof pictures / sizeof *pictures };

static void put_base64(FILE *out, FILE *in) {
  static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  unsigned char b[3];
  for (size_t n; (n = fread(b, 1, 3, in)) > 0;) {
    unsigned bits = (unsigned)b[0] << 16 | (n > 1 ? (unsigned)b[1] << 8 : 0) | (n > 2 ? b[2] : 0);
    for (size_t i = 0; i < 4; i++) fputc(i <= n ? digit[bits >> (18 - 6 * i) & 63] : '=', out);
  }
}

/* a file of the run, if it is there; caption nullable */
static void put_file(const Page *page, const History *run, const char *file, const char *title,
                     const char *alt, const char *caption) {
  FILE *in = fopen(arena_text(page->arena, "%s/%s", run->folder, file), "rb");
  if (!in) return;
  page_put(page, "<figure class=\"picture\"><div class=\"head\"><h3>");
  svg_text(page->out, title);
  page_put(page, "</h3></div>\n<img alt=\"");
  svg_text(page->out, alt);
  page_put(page, "\" src=\"data:image/png;base64,");
  put_base64(page->out, in);
  fclose(in);
  page_put(page, "\"/>\n");
  if (caption) fprintf(page->out, "<figcaption>%s</figcaption>", caption);
  page_put(page, "</figure>\n");
}

static void put_picture(const Page *page, const History *run, int i, const char *title) {
  put_file(page, run, pictures[i].file, title, pictures[i].title, pictures[i].caption);
}

/* ---- over training --------------------------------------------------------------------------- */

/* The grids that evaluations left, the last among them: evenly chosen, so that the page stays
 * small. */
static void put_grids(const Page *page, const History *run) {
  enum { MOST = 6 };
  const char **file = arena_array(page->arena, const char *, run->evaluations + 1);
  const char **title = arena_array(page->arena, const char *, run->evaluations + 1);
  size_t found = 0;
  for (size_t i = 0; i < run->evaluations; i++) {
    double step = run->evaluation[i].step;
    file[found] = arena_text(page->arena, "images-%.0f.png", step);
    title[found] = arena_text(page->arena, "step %.0f", step);
    found += !access(arena_text(page->arena, "%s/%s", run->folder, file[found]), R_OK);
  }
  if (found < 2) return;
  page_put(page, "<h3>Over training</h3>\n<p class=\"note\">The same noise at every evaluation, "
                 "drawn by the weights of that time.</p>\n<div class=\"strip\">\n");
  size_t shown = found < MOST ? found : MOST;
  for (size_t i = 0; i < shown; i++) {
    size_t k = i * (found - 1) / (shown - 1);
    put_file(page, run, file[k], title[k], "Samples", NULL);
  }
  page_put(page, "</div>\n");
}

/* ---- samplers -------------------------------------------------------------------------------- */

/* A sampler belongs to the first family whose prefix it begins with. */
static const struct {
  const char *prefix, *family;
} families[] = {
  { "ddim", "Ancestral steps and DDIM" },
  { "ddpm", "Ancestral steps and DDIM" },
  { "dpm_", "DPM-Solver, noise form" },
  { "dpmpp_", "DPM-Solver++ and UniPC, data form" },
  { "unipc", "DPM-Solver++ and UniPC, data form" },
  { "sde_dpm", "SDE forms of DPM-Solver" },
  { "ancestral", "The SDE in time" },
  { "sde_", "The SDE in time" },
  { "flow_sde", "The SDE in time" },
  { "reverse", "The SDE in time" },
  { "euler_m", "The SDE in time" },
  { "", "The probability-flow ODE in time" },
};

static const char *family_of(const char *sampler) {
  size_t i = 0;
  while (strncmp(sampler, families[i].prefix, strlen(families[i].prefix))) i++;
  return families[i].family;
}

enum { MOST_CURVES = 16, MOST_BUDGETS = 8 };
static const double far = 3; /* farther away than noise itself: would flatten the rest */

typedef struct {
  SvgCurve curve[MOST_CURVES];
  size_t curves;
  double floor;
} Curves;

/* one curve for each sampler of the family: `value` against evaluations */
static Curves read_curves(const Page *page, const Json *all, const char *family,
                          const char *value) {
  Curves c = { .floor = NAN };
  for (const Json *item = json_first(all); item; item = json_next(item)) {
    const char *name = json_text(json_get(item, "sampler"));
    double y = json_number(json_get(item, value), NAN);
    if (!name || !(y > 0 && y < far) || strcmp(family_of(name), family)) continue;
    SvgCurve *last = c.curves ? &c.curve[c.curves - 1] : NULL;
    if (!last || strcmp(last->name, name)) {
      if (c.curves == MOST_CURVES) break;
      last = &c.curve[c.curves];
      *last = (SvgCurve){ .name = name,
                          .x = arena_array(page->arena, double, MOST_BUDGETS),
                          .y = arena_array(page->arena, double, MOST_BUDGETS),
                          .colour = (int)c.curves++,
                          .ringed = -1,
                          .with_dots = true };
    }
    if (last->count == MOST_BUDGETS) continue;
    ((double *)(uintptr_t)last->x)[last->count] = json_number(json_get(item, "evaluations"), NAN);
    ((double *)(uintptr_t)last->y)[last->count++] = y;
    c.floor = json_number(json_get(item, "floor"), NAN);
  }
  return c;
}

static void put_family(const Page *page, const Json *all, const char *family, const char *value) {
  Curves c = read_curves(page, all, family, value);
  bool distance = !strcmp(value, "distance");
  if (!c.curves) return;
  SvgPlot plot = { .title = family,
                   .x_label = "evaluations of the network",
                   .y_label = distance ? "distance to data" : "strong error",
                   .curve = c.curve,
                   .curves = c.curves,
                   .width = 448,
                   .height = 280,
                   .reference = distance ? c.floor : NAN,
                   .reference_label = "two samples of data",
                   .log_scale = true };
  page_put(page, "<figure><div class=\"head\"><h3>");
  svg_text(page->out, family);
  page_put(page, "</h3></div>\n<ul class=\"legend\">\n");
  for (size_t i = 0; i < c.curves; i++)
    page_put_legend_entry(page, c.curve[i].colour, c.curve[i].name);
  page_put(page, "</ul>\n");
  svg_plot(page->out, &plot);
  page_put(page, "</figure>\n");
}

static void put_families(const Page *page, const Json *all, const char *value) {
  enum { FAMILIES = sizeof families / sizeof *families };
  page_put(page, "<div class=\"figures\">\n");
  for (int i = 0; i < FAMILIES; i++) {
    bool done = false;
    for (int k = 0; k < i; k++) done |= !strcmp(families[k].family, families[i].family);
    if (!done) put_family(page, all, families[i].family, value);
  }
  page_put(page, "</div>\n");
}

static bool has_value(const Json *all, const char *value) {
  for (const Json *item = json_first(all); item; item = json_next(item))
    if (json_is_number(json_get(item, value))) return true;
  return false;
}

static void put_samplers(const Page *page, const History *run) {
  const char *path = arena_text(page->arena, "%s/samplers.json", run->folder);
  Error ignored;
  Json *all = access(path, R_OK) ? NULL : json_parse_file(path, &ignored);
  if (has_value(all, "distance")) {
    page_put(page, "<h2>Error against evaluations of the network</h2>\n<p class=\"note\">Every "
                   "sampler that can do this model, with 4 to 50 evaluations: sliced Wasserstein "
                   "distance of 2048 samples to data, where it is below 3. Dashed: between two "
                   "samples of data, the least that can be seen.</p>\n");
    put_families(page, all, "distance");
  }
  if (has_value(all, "strong")) {
    page_put(page, "<h2>Error of the solvers alone</h2>\n<p class=\"note\">With the exact score of "
                   "the mixture instead of the network: root mean square distance of each point "
                   "to where the ODE leads from the same noise, for methods without noise.</p>\n");
    put_families(page, all, "strong");
  }
  json_free(all);
}

/* PICTURES: none */
static int first_picture(const Page *page, const History *run) {
  int i = 0;
  while (i < PICTURES &&
         access(arena_text(page->arena, "%s/%s", run->folder, pictures[i].file), R_OK))
    i++;
  return i;
}

void page_put_pictures(const Page *page) {
  bool any = false;
  for (size_t r = 0; r < page->count; r++) {
    const History *run = &page->run[r];
    int first = first_picture(page, run);
    if (first == PICTURES) continue;
    if (!any) page_put(page, "<h2>What it has learned</h2>\n");
    any = true;
    if (page->count > 1) put_picture(page, run, first, run->folder);
    for (int i = 0; i < PICTURES && page->count == 1; i++)
      put_picture(page, run, i, pictures[i].title);
    if (page->count == 1) put_grids(page, run), put_samplers(page, run);
  }
}
