/* svg.c -- scales, ticks and paths.
 *
 * Every axis covers its data, so all that is drawn lies inside and nothing needs clipping. */
#include "rl/render/svg.h"
#include "core/check.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

const char svg_style[] =
    ":root{--c0:#0072b2;--c1:#d55e00;--c2:#009e73;--c3:#cc79a7;--c4:#e69f00;--c5:#56b4e9;--c6:#666;"
    "--grid:#e9e9e6;--axis:#a9a9a4;--tick:#6d6d68;--page:#fff}\n"
    "@media screen and (prefers-color-scheme:dark){:root{--c0:#56b4e9;--c1:#ef8a4c;--c2:#2fc79c;"
    "--c3:#e0a3c5;--c4:#f0bf50;--c5:#4a90d0;--c6:#aaa;"
    "--grid:#2a2c2f;--axis:#5b5f64;--tick:#9a9ea4;--page:#16181a}}\n"
    "svg{display:block;width:100%;height:auto;overflow:visible}\n"
    "svg text{font-size:12px;fill:var(--tick);font-variant-numeric:tabular-nums}\n"
    "svg .on-top{paint-order:stroke;stroke:var(--page);stroke-width:4px;stroke-linejoin:round}\n"
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

/* The entry at or below, and the one at or above. */
static int ladder_below(double value) {
  int i = 3 * (int)floor(log10(value)) + 3;
  while (ladder(i) > value) i--;
  return i;
}

static int ladder_above(double value) {
  int i = ladder_below(value);
  return ladder(i) < value ? i + 1 : i;
}

SvgTicks svg_log_ticks(double low, double high) {
  CHECK(1e-200 <= low && low < high && high <= 1e200, "log ticks of [%g, %g]", low, high);
  SvgTicks ticks = { .count = 0 };
  int first = ladder_below(low), last = ladder_above(high);
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
  double low, high; /* the values at its ends */
  double from, to;  /* their pixels */
  bool log;
  int exponent, decimals; /* linear: labels are value / 10^exponent with so many decimals */
} Axis;

static double pixel(const Axis *axis, double value) {
  double part = (value - axis->low) / (axis->high - axis->low);
  if (axis->log) part = (log(value) - log(axis->low)) / (log(axis->high) - log(axis->low));
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
static int put_value(FILE *out, double value, int decimals) {
  double size = fabs(value);
  char text[40];
  int sign = value < 0;
  if (sign) fputs("−", out);
  if (size == 0) return fprintf(out, "0");
  if (size >= 1e-3 && size < 1e4) {
    int needed = snprintf(text, sizeof text, "%.9g", size);
    if (decimals) needed = snprintf(text, sizeof text, "%.*f", decimals, size);
    return fputs(text, out), needed + sign;
  }
  if (size >= 1e4 && size < 1e9)
    return sign + fprintf(out, "%.9g%c", size / (size < 1e6 ? 1e3 : 1e6), size < 1e6 ? 'k' : 'M');
  snprintf(text, sizeof text, "%.9e", size);
  char *mark = strchr(text, 'e');
  *mark = '\0';
  double mantissa = strtod(text, NULL);
  int length = mantissa == 1 ? 0 : fprintf(out, "%.9g×", mantissa) - 1;
  put_power(out, atoi(mark + 1));
  return length + sign + 4;
}

static int put_tick(FILE *out, const Axis *axis, int i) {
  return put_value(out, decimal(axis->ticks.value[i], 1, -axis->exponent), axis->decimals);
}

/* One power of ten for all labels if they are small or huge, and as many decimals for each as one
 * of them needs. */
static void fit_labels(Axis *axis) {
  const double *value = axis->ticks.value;
  double most = fmax(fabs(value[0]), fabs(value[axis->ticks.count - 1]));
  if (most < 1e-2 || most >= 1e9) axis->exponent = (int)floor(log10(most) + 1e-9);
  for (int i = 0; i < axis->ticks.count; i++) {
    char text[40];
    snprintf(text, sizeof text, "%.9g", fabs(decimal(value[i], 1, -axis->exponent)));
    const char *point = strchr(text, '.');
    int needed = point && !strchr(text, 'e') ? (int)strlen(point + 1) : 0;
    axis->decimals = needed > axis->decimals ? needed : axis->decimals;
  }
}

static bool is_visible(const Axis *axis, int i) {
  double value = axis->ticks.value[i];
  return axis->low <= value && value <= axis->high;
}

static double widest_tick(const Axis *axis) {
  char text[64];
  int widest = 1;
  for (int i = 0; i < axis->ticks.count; i++) {
    FILE *sink = fmemopen(text, sizeof text, "w");
    NEED_MEMORY(sink);
    int length = put_tick(sink, axis, i);
    fclose(sink);
    widest = length > widest ? length : widest;
  }
  return 7.0 * widest;
}

/* ---- drawing --------------------------------------------------------------------------------- */

static void put_rule(FILE *out, const char *class, const Axis *x, double y) {
  fprintf(out, "<line class=\"%s\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>\n", class,
          x->from, x->to, y, y);
}

static void put_axis_label(FILE *out, const char *label, const Axis *axis) {
  svg_text(out, label);
  if (axis->log) fputs(", log scale", out);
  if (!axis->exponent) return;
  fputs(" / ", out);
  put_power(out, axis->exponent);
}

static void put_frame(FILE *out, const SvgPlot *plot, const Axis *x, const Axis *y) {
  for (int i = 0; i < y->ticks.count; i++) {
    if (!is_visible(y, i)) continue;
    double at = pixel(y, y->ticks.value[i]);
    put_rule(out, "grid", x, at);
    fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">", x->from - 8, at + 4);
    put_tick(out, y, i);
    fputs("</text>\n", out);
  }
  put_rule(out, "axis", x, y->from);
  for (int i = 0; i < x->ticks.count; i++) {
    if (!is_visible(x, i)) continue;
    double at = pixel(x, x->ticks.value[i]);
    fprintf(out, "<path class=\"axis\" d=\"M%.1f %.1fv4\"/>", at, y->from);
    fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">", at, y->from + 18);
    put_tick(out, x, i);
    fputs("</text>\n", out);
  }
  fprintf(out, "<text x=\"0\" y=\"%.1f\">", y->to - 14);
  put_axis_label(out, plot->y_label, y);
  fprintf(out, "</text><text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">", x->to, y->from + 36);
  put_axis_label(out, plot->x_label, x);
  fputs("</text>\n", out);
}

static void put_reference_label(FILE *out, const SvgPlot *plot, const Axis *x, const Axis *y) {
  if (!usable(plot->reference)) return;
  double at = pixel(y, plot->reference);
  fprintf(out, "<text class=\"on-top\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">", x->to,
          at + (at - y->to < 20 ? 15 : -6));
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

static Axis linear_axis(Range range, double from, double to) {
  Axis axis = { .ticks = svg_ticks(range.low, range.high), .from = from, .to = to };
  axis.low = axis.ticks.value[0];
  axis.high = axis.ticks.value[axis.ticks.count - 1];
  fit_labels(&axis);
  return axis;
}

/* The x axis: nothing comes after the last point, unless the next tick is a hair away. */
static void end_with_data(Axis *axis, Range range) {
  double end = range.high;
  if (range.high <= range.low) return;
  for (int i = 0; i < axis->ticks.count; i++) {
    double beyond = axis->ticks.value[i] - range.high;
    if (beyond > 0 && beyond < 0.02 * (range.high - range.low)) end = axis->ticks.value[i];
  }
  axis->high = end;
}

/* It ends at 1, 2 or 5 times a power of ten, even if its ticks are powers of ten only. */
static Axis log_axis(Range range, double from, double to) {
  return (Axis){ .ticks = svg_log_ticks(range.low, range.high),
                 .low = ladder(ladder_below(range.low)),
                 .high = ladder(ladder_above(range.high)),
                 .from = from,
                 .to = to,
                 .log = true };
}

void svg_plot(FILE *out, const SvgPlot *plot) {
  enum { TOP = 34, BOTTOM = 42, RIGHT = 14 };
  Range across = range_of_x(plot), up = range_of_y(plot);
  Axis y = (svg_is_log(plot) ? log_axis : linear_axis)(up, plot->height - BOTTOM, TOP);
  Axis x = linear_axis(across, widest_tick(&y) + 12, plot->width - RIGHT);
  end_with_data(&x, across);
  fprintf(out, "<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"", plot->width,
          plot->height);
  svg_text(out, plot->title);
  fputs("\">\n", out);
  for (size_t c = 0; c < plot->curves; c++) {
    if (plot->curve[c].low) put_band(out, &plot->curve[c], &x, &y);
  }
  put_frame(out, plot, &x, &y);
  if (usable(plot->reference)) put_rule(out, "reference", &x, pixel(&y, plot->reference));
  for (size_t c = 0; c < plot->curves; c++) put_line(out, &plot->curve[c], &x, &y);
  for (size_t c = 0; c < plot->curves; c++) put_dots(out, &plot->curve[c], &x, &y);
  put_reference_label(out, plot, &x, &y);
  fputs("</svg>\n", out);
}
