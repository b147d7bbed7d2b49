/* svg.c -- scales, ticks and paths.
 *
 * An axis runs from its first to its last tick, so all that is drawn lies inside and nothing needs
 * clipping. */
#include "rl/svg.h"
#include "core/check.h"
#include <math.h>
#include <string.h>

const char svg_style[] =
    ":root{--c0:#0072b2;--c1:#d55e00;--c2:#009e73;--c3:#cc79a7;--c4:#e69f00;--c5:#56b4e9;--c6:#666;"
    "--grid:#e9e9e6;--axis:#a9a9a4;--tick:#6d6d68;--page:#fff}\n"
    "@media screen and (prefers-color-scheme:dark){:root{--c0:#56b4e9;--c1:#ef8a4c;--c2:#2fc79c;"
    "--c3:#e0a3c5;--c4:#f0bf50;--c5:#4a90d0;--c6:#aaa;"
    "--grid:#2a2c2f;--axis:#5b5f64;--tick:#9a9ea4;--page:#16181a}}\n"
    "svg{display:block;width:100%;height:auto;overflow:visible}\n"
    "svg text{font-size:12px;fill:var(--tick);font-variant-numeric:tabular-nums}\n"
    "svg .grid{stroke:var(--grid)}svg .axis{stroke:var(--axis)}\n"
    "svg .reference{stroke:var(--tick);stroke-dasharray:5 4}\n"
    "svg .line{fill:none;stroke-width:1.5;stroke-linejoin:round;stroke-linecap:round}\n"
    "svg .dashed{stroke-dasharray:6 3}svg .band{stroke:none;fill-opacity:.15}\n"
    "svg .ring{fill:var(--page);stroke-width:1.75}\n"
    ".c0{stroke:var(--c0);fill:var(--c0)}.c1{stroke:var(--c1);fill:var(--c1)}"
    ".c2{stroke:var(--c2);fill:var(--c2)}.c3{stroke:var(--c3);fill:var(--c3)}"
    ".c4{stroke:var(--c4);fill:var(--c4)}.c5{stroke:var(--c5);fill:var(--c5)}"
    ".c6{stroke:var(--c6);fill:var(--c6)}\n";

void svg_text(FILE *out, const char *text) {
  for (; text && *text; text++) {
    switch (*text) {
    case '&': fputs("&amp;", out); break;
    case '<': fputs("&lt;", out); break;
    case '>': fputs("&gt;", out); break;
    case '"': fputs("&quot;", out); break;
    case '\'': fputs("&#39;", out); break;
    default: fputc((unsigned char)*text < 0x20 || *text == 0x7f ? ' ' : *text, out);
    }
  }
}

const char *svg_colour(int colour, bool *dashed) {
  static const char *const name[SVG_COLOURS] = { "c0", "c1", "c2", "c3", "c4", "c5", "c6" };
  *dashed = colour / SVG_COLOURS % 2;
  return name[colour % SVG_COLOURS];
}

/* ---- ticks ----------------------------------------------------------------------------------- */

/* k * digit * 10^exponent, correctly rounded for the numbers an axis shows. */
static double decimal(double k, int digit, int exponent) {
  return exponent < 0 ? k * digit / pow(10, -exponent) : k * digit * pow(10, exponent);
}

/* The multiples of digit * 10^exponent that cover [low, high], if there is room for them. */
static bool multiples(SvgTicks *ticks, double low, double high, int digit, int exponent) {
  double step = decimal(1, digit, exponent), first = floor(low / step), last = ceil(high / step);
  if (decimal(first + 1, digit, exponent) <= low) first++; /* the quotient was rounded */
  if (decimal(last - 1, digit, exponent) >= high) last--;
  if (decimal(first, digit, exponent) > low) first--;
  if (decimal(last, digit, exponent) < high) last++;
  if (last - first + 1 > SVG_MAX_TICKS) return false;
  ticks->count = 0;
  for (double k = first; k <= last; k++)
    ticks->value[ticks->count++] = k == 0 ? 0 : decimal(k, digit, exponent);
  return true;
}

SvgTicks svg_ticks(double low, double high) {
  CHECK(low <= high && fabs(low) <= 1e300 && fabs(high) <= 1e300, "ticks of [%g, %g]", low, high);
  double size = fmax(fabs(low), fabs(high));
  if (high - low <= 1e-9 * size || size < 1e-290) { /* a constant, up to rounding */
    double pad = size < 1e-290 ? 1 : size / 2;
    low -= pad, high += pad;
  }
  int exponent = (int)floor(log10((high - low) / SVG_MAX_TICKS));
  SvgTicks ticks = { .count = 0 };
  for (;; exponent++) {
    if (multiples(&ticks, low, high, 1, exponent)) return ticks;
    if (multiples(&ticks, low, high, 2, exponent)) return ticks;
    if (multiples(&ticks, low, high, 5, exponent)) return ticks;
  }
}

/* Entry i of ..., 0.5, 1, 2, 5, 10, 20, ...; entry 0 is 1. */
static double ladder(int i) {
  int decade = (int)floor(i / 3.0);
  return decimal(1, (const int[]){ 1, 2, 5 }[i - 3 * decade], decade);
}

SvgTicks svg_log_ticks(double low, double high) {
  CHECK(1e-200 <= low && low < high && high <= 1e200, "log ticks of [%g, %g]", low, high);
  SvgTicks ticks = { .count = 0 };
  int first = 3 * (int)floor(log10(low)) + 3, last;
  while (ladder(first) > low) first--;
  for (last = first + 1; ladder(last) < high;) last++;
  if (last - first < SVG_MAX_TICKS) {
    for (int i = first; i <= last; i++) ticks.value[ticks.count++] = ladder(i);
    return ticks;
  }
  int bottom = (int)floor(first / 3.0), top = (int)ceil(last / 3.0), stride = 0;
  for (int i = 0; !stride; i++) {
    int tried = (int)ladder(i);
    double from = floor(bottom / (double)tried), to = ceil(top / (double)tried);
    if (to - from < SVG_MAX_TICKS) stride = tried, bottom = (int)from * tried;
  }
  for (int decade = bottom; ticks.count < 2 || decade - stride < top; decade += stride)
    ticks.value[ticks.count++] = decimal(1, 1, decade);
  return ticks;
}

/* ---- scales ---------------------------------------------------------------------------------- */

static bool usable(double value) { return fabs(value) <= 1e300; } /* false for NaN */

typedef struct {
  double low, high;
} Range;

static void include(Range *range, double value) {
  if (!usable(value)) return;
  range->low = fmin(range->low, value);
  range->high = fmax(range->high, value);
}

static Range range_of_x(const SvgPlot *plot) {
  Range range = { INFINITY, -INFINITY };
  for (size_t c = 0; c < plot->curves; c++) {
    const SvgCurve *curve = &plot->curve[c];
    for (size_t i = 0; i < curve->count; i++) {
      if (usable(curve->y[i])) include(&range, curve->x[i]);
    }
  }
  if (range.low > 0) range.low = 0; /* a run begins at 0 */
  return range.high >= range.low ? range : (Range){ 0, 1 };
}

static Range range_of_y(const SvgPlot *plot) {
  Range range = { INFINITY, -INFINITY };
  for (size_t c = 0; c < plot->curves; c++) {
    const SvgCurve *curve = &plot->curve[c];
    for (size_t i = 0; i < curve->count; i++) {
      include(&range, curve->y[i]);
      if (!curve->low || !usable(curve->y[i])) continue;
      include(&range, curve->low[i]);
      include(&range, curve->high[i]);
    }
  }
  include(&range, plot->reference);
  if (plot->from_zero) include(&range, 0);
  return range.high >= range.low ? range : (Range){ 0, 1 };
}

bool svg_is_log(const SvgPlot *plot) {
  Range range = range_of_y(plot);
  return plot->log_scale && !plot->from_zero && range.low >= 1e-200 && range.high <= 1e200 &&
         range.high > 10 * range.low;
}

typedef struct {
  SvgTicks ticks;
  bool log;
  double from, to; /* pixels of the first and the last tick */
} Axis;

static double pixel(const Axis *axis, double value) {
  double first = axis->ticks.value[0], last = axis->ticks.value[axis->ticks.count - 1];
  double part =
      axis->log ? log(value / first) / log(last / first) : (value - first) / (last - first);
  return axis->from + part * (axis->to - axis->from);
}

/* ---- labels ---------------------------------------------------------------------------------- */

static void put_power(FILE *out, int exponent) {
  static const char *const digit[] = { "⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹" };
  fputs(exponent < 0 ? "10⁻" : "10", out);
  int rest = exponent < 0 ? -exponent : exponent;
  if (rest >= 100) fputs(digit[rest / 100], out);
  if (rest >= 10) fputs(digit[rest / 10 % 10], out);
  fputs(digit[rest % 10], out);
}

/* 0.02, 4000, 20k, 1.5M, 5×10⁻⁶, 10¹²; returns its length in characters. */
static int put_tick(FILE *out, double value) {
  double size = fabs(value);
  char text[40];
  if (value < 0) fputs("−", out);
  int sign = value < 0;
  if (size == 0 || (size >= 1e-3 && size < 1e9)) {
    const char *unit = size >= 1e6 ? "M" : size >= 1e4 ? "k" : "";
    int length = snprintf(text, sizeof text, "%.9g%s",
                          size >= 1e6   ? size / 1e6
                          : size >= 1e4 ? size / 1e3
                                        : size,
                          unit);
    fputs(text, out);
    return length + sign;
  }
  snprintf(text, sizeof text, "%.9e", size);
  int exponent = 0;
  double mantissa = 0;
  sscanf(text, "%lfe%d", &mantissa, &exponent);
  int length = mantissa == 1 ? 0 : fprintf(out, "%.9g×", mantissa) - 1;
  put_power(out, exponent);
  return length + sign + 4;
}

static double widest_tick(const Axis *axis) {
  char text[64];
  int widest = 1;
  for (int i = 0; i < axis->ticks.count; i++) {
    FILE *sink = fmemopen(text, sizeof text, "w");
    CHECK(sink, "out of memory");
    int length = put_tick(sink, axis->ticks.value[i]);
    fclose(sink);
    widest = length > widest ? length : widest;
  }
  return 7.0 * widest;
}

/* ---- drawing --------------------------------------------------------------------------------- */

static void put_frame(FILE *out, const SvgPlot *plot, const Axis *x, const Axis *y) {
  for (int i = 0; i < y->ticks.count; i++) {
    double at = pixel(y, y->ticks.value[i]);
    fprintf(out, "<line class=\"%s\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>",
            i ? "grid" : "axis", x->from, x->to, at, at);
    fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">", x->from - 8, at + 4);
    put_tick(out, y->ticks.value[i]);
    fputs("</text>\n", out);
  }
  for (int i = 0; i < x->ticks.count; i++) {
    double at = pixel(x, x->ticks.value[i]);
    fprintf(out, "<line class=\"axis\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>", at, at,
            y->from, y->from + 4);
    fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">", at, y->from + 18);
    put_tick(out, x->ticks.value[i]);
    fputs("</text>\n", out);
  }
  fprintf(out, "<text x=\"0\" y=\"%.1f\">", y->to - 14);
  svg_text(out, plot->y_label);
  fprintf(out, "%s</text><text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">",
          y->log ? " (log scale)" : "", x->to, y->from + 36);
  svg_text(out, plot->x_label);
  fputs("</text>\n", out);
}

static void put_reference(FILE *out, const SvgPlot *plot, const Axis *x, const Axis *y) {
  if (!usable(plot->reference)) return;
  double at = pixel(y, plot->reference);
  fprintf(out, "<line class=\"reference\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>",
          x->from, x->to, at, at);
  fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">", x->to, at - 6);
  svg_text(out, plot->reference_label);
  fputs("</text>\n", out);
}

static bool has_point(const SvgCurve *curve, size_t i) {
  return i < curve->count && usable(curve->x[i]) && usable(curve->y[i]);
}

static bool has_band(const SvgCurve *curve, size_t i) {
  return has_point(curve, i) && usable(curve->low[i]) && usable(curve->high[i]);
}

/* One closed path per stretch without gaps: along the upper edge, back along the lower. */
static void put_band(FILE *out, const SvgCurve *curve, const Axis *x, const Axis *y) {
  bool dashed;
  fprintf(out, "<path class=\"band %s\" d=\"", svg_colour(curve->colour, &dashed));
  for (size_t start = 0, end; start < curve->count; start = end + 1) {
    for (end = start; has_band(curve, end);) end++;
    for (size_t i = start; i < end; i++)
      fprintf(out, "%c%.1f %.1f", i == start ? 'M' : 'L', pixel(x, curve->x[i]),
              pixel(y, curve->high[i]));
    for (size_t i = end; i-- > start;)
      fprintf(out, "L%.1f %.1f", pixel(x, curve->x[i]), pixel(y, curve->low[i]));
    if (end > start) fputc('Z', out);
  }
  fputs("\"/>\n", out);
}

/* A stretch of a single point is a line of no length, which a round cap makes a dot. */
static void put_line(FILE *out, const SvgCurve *curve, const Axis *x, const Axis *y) {
  bool dashed, open = false;
  const char *colour = svg_colour(curve->colour, &dashed);
  fprintf(out, "<path class=\"%s line%s\" d=\"", colour, dashed ? " dashed" : "");
  for (size_t i = 0; i < curve->count; i++) {
    bool lone = !open && !has_point(curve, i + 1), shown = has_point(curve, i);
    if (shown)
      fprintf(out, "%c%.1f %.1f%s", open ? 'L' : 'M', pixel(x, curve->x[i]), pixel(y, curve->y[i]),
              lone ? "h0" : "");
    open = shown;
  }
  fputs("\"><title>", out);
  svg_text(out, curve->name);
  fputs("</title></path>\n", out);
}

static void put_dots(FILE *out, const SvgCurve *curve, const Axis *x, const Axis *y) {
  bool dashed;
  const char *colour = svg_colour(curve->colour, &dashed);
  for (size_t i = 0; i < curve->count; i++) {
    bool ring = (int)i == curve->ringed;
    if (!has_point(curve, i) || !(ring || curve->with_dots)) continue;
    fprintf(out, "<circle class=\"%s%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"%s\"/>\n", colour,
            ring ? " ring" : "", pixel(x, curve->x[i]), pixel(y, curve->y[i]), ring ? "4" : "1.8");
  }
}

void svg_plot(FILE *out, const SvgPlot *plot) {
  enum { TOP = 34, BOTTOM = 42, RIGHT = 14 };
  Range across = range_of_x(plot), up = range_of_y(plot);
  bool log_scale = svg_is_log(plot);
  Axis y = { .ticks = log_scale ? svg_log_ticks(up.low, up.high) : svg_ticks(up.low, up.high),
             .log = log_scale,
             .from = plot->height - BOTTOM,
             .to = TOP };
  Axis x = { .ticks = svg_ticks(across.low, across.high),
             .from = widest_tick(&y) + 12,
             .to = plot->width - RIGHT };
  fprintf(out, "<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"", plot->width,
          plot->height);
  svg_text(out, plot->title);
  fputs("\">\n", out);
  for (size_t c = 0; c < plot->curves; c++) {
    if (plot->curve[c].low) put_band(out, &plot->curve[c], &x, &y);
  }
  put_frame(out, plot, &x, &y);
  put_reference(out, plot, &x, &y);
  for (size_t c = 0; c < plot->curves; c++) put_line(out, &plot->curve[c], &x, &y);
  for (size_t c = 0; c < plot->curves; c++) put_dots(out, &plot->curve[c], &x, &y);
  fputs("</svg>\n", out);
}
