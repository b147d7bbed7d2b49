/* page.c -- typography: the style sheet and how numbers are written. */
#include "rl/report/page.h"
#include "rl/render/svg.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One style sheet inside the page; plots take their colours from the same variables. */
const char page_style[] =
    ":root{color-scheme:light dark;--ink:#1d1e20;--soft:#62646a;--rule:#dcdcd8;"
    "--warn:#a8480d}\n"
    "@media screen and (prefers-color-scheme:dark){:root{--ink:#e4e5e7;--soft:#9a9ea4;"
    "--rule:#33363a;--warn:#f0a35e}}\n"
    "*{box-sizing:border-box}\n"
    "body{margin:0 auto;padding:3.5rem 1.5rem 4rem;max-width:61rem;background:var(--page);"
    "color:var(--ink);font:15px/1.55 system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',"
    "'Liberation Sans',Arial,sans-serif;-webkit-text-size-adjust:100%}\n"
    "h1{font-size:1.9rem;line-height:1.2;font-weight:600;letter-spacing:-.015em;margin:0}\n"
    "h2{font-size:1.15rem;font-weight:600;margin:3.2rem 0 .9rem;padding-top:.9rem;"
    "border-top:1px solid var(--rule)}\n"
    "h3{font-size:.95rem;font-weight:600;margin:0}\n"
    ".head{display:flex;flex-wrap:wrap;justify-content:space-between;align-items:baseline;"
    "gap:0 1.4rem;margin:0 0 .35rem}\n"
    "p{margin:.6rem 0}.lead,figcaption,.note,footer{color:var(--soft)}\n"
    ".lead{margin:.5rem 0 2.4rem;font-size:1rem}figcaption,.note,footer{font-size:.85rem}\n"
    "figcaption,.note{max-width:48rem}figcaption{margin-top:.4rem}\n"
    ".warnings{border:1px solid var(--warn);border-left-width:4px;border-radius:6px;"
    "padding:.7rem 1.2rem;margin:0 0 2.4rem}.warnings h2{margin:0;padding:0;border:0;"
    "font-size:1rem;color:var(--warn)}.warnings ul{margin:.4rem 0 0;padding-left:1.1rem}"
    ".warnings li{overflow-wrap:anywhere}\n"
    "code,.act{font-family:ui-monospace,'SF Mono',Menlo,Consolas,'DejaVu Sans Mono',monospace;"
    "font-size:.86em;overflow-wrap:anywhere}\n"
    ".scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;"
    "font-variant-numeric:tabular-nums}\n"
    "th{font-size:.8rem;font-weight:500;color:var(--soft);text-align:right;vertical-align:bottom}\n"
    "th,td{padding:.45rem 0 .45rem 1.2rem;border-bottom:1px solid var(--rule)}\n"
    "td{text-align:right;white-space:nowrap;vertical-align:baseline}\n"
    "th:first-child,td:first-child{text-align:left;padding-left:0}tbody tr:last-child td{"
    "border-bottom:0}\n"
    "td:first-child{font-weight:500;white-space:normal;overflow-wrap:anywhere;min-width:8rem}"
    "td.act,th.act{text-align:left}td.act{white-space:normal;"
    "min-width:13rem;color:var(--soft);font-size:.78rem;line-height:1.4}\n"
    ".value{text-align:left}td.value{white-space:normal;overflow-wrap:anywhere}.differs{font-"
    "weight:600}"
    ".spread{color:var(--soft)}\n"
    "figure{margin:0;break-inside:avoid}.picture{margin:0 0 2.4rem}.picture img{width:100%;"
    "display:block;border-radius:6px;background:#fff}\n"
    ".strip{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,16rem),1fr));"
    "gap:1rem 1.4rem;margin-top:1.2rem}.strip .picture{margin:0}.strip h3{font-weight:400;"
    "color:var(--soft)}\n"
    ".figures{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,27rem),1fr));"
    "gap:2.6rem 2.4rem}figure+.figures{margin-top:2.6rem}\n"
    ".legend{display:flex;flex-wrap:wrap;gap:.15rem 1.4rem;list-style:none;margin:0 0 1rem;"
    "padding:0;font-size:.85rem;color:var(--soft)}\n"
    ".legend li{display:flex;align-items:center;gap:.5rem}.legend svg{width:24px;flex:none}.head "
    ".legend{margin:0}\n"
    "dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,18.5rem),1fr));"
    "gap:0 2.4rem;margin:0}\n"
    "dl div{display:flex;justify-content:space-between;gap:1rem;padding:.3rem 0;"
    "border-bottom:1px solid var(--rule);break-inside:avoid}dl .wide{grid-column:1/-1}\n"
    "dt{color:var(--soft)}dd{margin:0;text-align:right;font-variant-numeric:tabular-nums;"
    "overflow-wrap:anywhere}\n"
    ".changed dt{color:var(--ink);font-weight:600}.changed dd{font-weight:600}\n"
    ".changed dt:after{content:'\\2009\\2022';color:var(--c1)}\n"
    "footer{margin-top:3.5rem;padding-top:.9rem;border-top:1px solid var(--rule)}\n"
    "@media print{@page{margin:16mm}body{padding:0;max-width:none;font-size:10pt}"
    ".figures{grid-template-columns:1fr 1fr;gap:8mm}h2{margin-top:9mm}svg text{font-size:13px}"
    "h2,h3{break-after:avoid}.scroll{overflow:visible}table,tr{break-inside:avoid}}\n";

/* ---- numbers for people ---------------------------------------------------------------------- */

void page_put(const Page *page, const char *html) { fputs(html, page->out); }

void page_put_text(const Page *page, const char *text) { svg_text(page->out, text ? text : "–"); }

/* Decimals that leave at least three digits that matter, down to 0.01. */
static int decimals(double value) {
  double size = fabs(value);
  return size >= 100 ? 1 : size >= 1 ? 2 : 4;
}

/* `value` with as many decimals as `like` has. */
static void put_number_like(const Page *page, double value, double like) {
  char text[64];
  if (!isfinite(value)) {
    page_put(page, "–");
    return;
  }
  double size = fabs(value), order = fabs(like);
  /* very small and very large numbers get four digits, with an exponent where one is needed */
  bool plain = size == 0 || (order >= 1e-2 && order < 1e7 && size < 1e9);
  snprintf(text, sizeof text, plain ? "%.*f" : "%.*g", plain ? decimals(like) : 4, size);
  /* the sign is written apart, as a true minus, and never before a rounded zero */
  if (value < 0 && strtod(text, NULL) != 0) page_put(page, "−");
  page_put(page, text);
}

void page_put_number(const Page *page, double value) { put_number_like(page, value, value); }

void page_put_spread(const Page *page, double mean, double spread) {
  page_put_number(page, mean);
  if (!isfinite(mean) || !isfinite(spread)) return;
  page_put(page, " <span class=\"spread\">± ");
  /* a deviation has the decimals of its mean, so that the two can be read together */
  put_number_like(page, spread, mean);
  page_put(page, "</span>");
}

void page_put_count(const Page *page, double value) {
  char digits[32];
  /* only whole numbers that a double holds exactly are grouped by thousands */
  if (!(fabs(value) < 1e15) || value != floor(value)) {
    page_put_number(page, value);
    return;
  }
  int length = snprintf(digits, sizeof digits, "%.0f", fabs(value));
  if (value < 0) page_put(page, "−");
  for (int i = 0; i < length; i++) {
    if (i && (length - i) % 3 == 0) fputc(',', page->out);
    fputc(digits[i], page->out);
  }
}

/* ---- what the runs say ----------------------------------------------------------------------- */

const Json *page_config(const History *run, const char *key) {
  const Json *value = json_get(run->config, key);
  return json_is_null(value) ? NULL : value;
}

const char *page_config_text(const Page *page, const History *run, const char *key) {
  const Json *value = page_config(run, key);
  return value ? history_text(page->arena, value) : NULL;
}

const char *page_data_name(const Page *page, const History *run) {
  const char *data = page_config_text(page, run, "data");
  const char *slash = data ? strrchr(data, '/') : NULL, *name = slash ? slash + 1 : data;
  return name ? arena_text(page->arena, "%.*s", (int)strcspn(name, "."), name) : NULL;
}

bool page_same_text(const char *a, const char *b) { return a == b || (a && b && !strcmp(a, b)); }

bool page_all_same(const Page *page, const char *key) {
  const char *first = page_config_text(page, &page->run[0], key);
  for (size_t i = 1; i < page->count; i++) {
    if (!page_same_text(first, page_config_text(page, &page->run[i], key))) return false;
  }
  return true;
}

void page_put_legend_entry(const Page *page, int colour, const char *name) {
  bool dashed;
  /* the same class as the curve in the plot, so both follow the page's colours */
  const char *class = svg_colour(colour, &dashed);
  fprintf(page->out,
          "<li><svg viewBox=\"0 0 24 6\" aria-hidden=\"true\"><path class=\"%s line%s\" "
          "d=\"M1 3H23\"/></svg>",
          class, dashed ? " dashed" : "");
  svg_text(page->out, name);
  page_put(page, "</li>\n");
}
