/* svg.h -- line plots as inline SVG: thin lines, bands, few labels, no scripts.
 *
 * A plot takes its colours from the CSS of the page (svg_style), so that it follows light, dark and
 * print.  Numbers that are not finite are gaps, never text in a path. */
#ifndef RL_SVG_H
#define RL_SVG_H
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum { SVG_MAX_TICKS = 8, SVG_COLOURS = 7 };

/* Round numbers for an axis, ascending, equally spaced (in value, or by position on a log axis). */
typedef struct {
  double value[SVG_MAX_TICKS];
  int count; /* at least 2 */
} SvgTicks;

/* Multiples of 1, 2 or 5 times a power of ten that cover [low, high], spaced as closely as
 * SVG_MAX_TICKS allows.  An empty range is widened.  Both |low| and |high| at most 1e300. */
SvgTicks svg_ticks(double low, double high);

/* For a log axis: 1, 2, 5, 10, 20, ... or, if those are too many, every 1st, 2nd, 5th, 10th, ...
 * power of ten.  1e-200 <= low < high <= 1e200. */
SvgTicks svg_log_ticks(double low, double high);

/* One line; x, y, low, high: [count], owned by the caller. */
typedef struct {
  const char *name;         /* shown when the pointer rests on the line */
  const double *x, *y;      /* non-finite: a gap */
  const double *low, *high; /* a band around the line; NULL for none */
  size_t count;
  int colour;     /* any number >= 0: SVG_COLOURS colours, then the same dashed */
  int ringed;     /* this point gets a ring; -1 for none */
  bool with_dots; /* a dot on every point */
} SvgCurve;

typedef struct {
  const char *title; /* for those who cannot see it */
  const char *x_label, *y_label;
  const SvgCurve *curve; /* [curves] */
  size_t curves;
  double width, height; /* of the viewBox; 1 is a pixel at 100 % */
  double reference;     /* a dashed level, not finite for none */
  const char *reference_label;
  bool from_zero; /* the y axis includes 0 */
  bool log_scale; /* if all is positive and spans more than a decade */
} SvgPlot;

/* Write one <svg> element. */
void svg_plot(FILE *out, const SvgPlot *plot);

/* Would this plot have a log axis? */
bool svg_is_log(const SvgPlot *plot);

/* Text with the characters escaped that mean something in HTML or SVG; fit for content and for
 * quoted attributes.  NULL writes nothing. */
void svg_text(FILE *out, const char *text);

/* The class of a curve's colour, "c0" to "c6", and whether it is dashed. */
const char *svg_colour(int colour, bool *dashed);

/* The style sheet: the palette as CSS variables (Okabe and Ito 2008, a shade lighter on dark pages;
 * safe for the colour-blind) and the classes that svg_plot uses. */
extern const char svg_style[];

#endif
