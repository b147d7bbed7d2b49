/* picture.c -- one stroke at a time: cover pixels in a mask, then blend the mask into the picture.
 *
 * How much of a pixel is covered follows from its distance to the shape, over one pixel at the
 * edge.  Parts of one stroke take the larger cover, so a line that is half transparent has no
 * darker joints. */
#include "rl/render/picture.h"
#include "core/check.h"
#include "datasets/png.h"
#include "rl/render/font.h"
#include "rl/render/svg.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Pixels: a picture is shown at half its size on sharp screens. */
enum { PANEL = 480, LEFT = 64, RIGHT = 20, TOP = 64, BOTTOM = 52, EDGE = 12, MOST_PANELS = 8 };
enum { FRAME_COLOUR = 0xc9ccd0 };

typedef struct {
  int left, top, right, bottom; /* half open */
} Box;

struct Picture {
  Arena *arena;
  int width, height, columns, rows;
  float *rgb;  /* [height, width, 3], 0 to 1 */
  float *mask; /* [height, width]: how much of a pixel the stroke covers; 0 between strokes */
  Box stroke;  /* pixels outside are not covered */
};

Picture *picture_new(Arena *arena, int columns, int rows) {
  CHECK(0 < columns && columns <= MOST_PANELS && 0 < rows && rows <= MOST_PANELS,
        "a picture of %d x %d panels", columns, rows);
  Picture *p = arena_alloc(arena, sizeof *p);
  *p = (Picture){ .arena = arena, .columns = columns, .rows = rows };
  p->width = columns * (LEFT + PANEL + RIGHT) + 2 * EDGE;
  p->height = rows * (TOP + PANEL + BOTTOM) + 2 * EDGE;
  p->rgb = arena_array(arena, float, 3 * p->width * p->height);
  p->mask = arena_array(arena, float, p->width * p->height);
  for (int i = 0; i < 3 * p->width * p->height; i++) p->rgb[i] = 1;
  return p;
}

/* ---- strokes --------------------------------------------------------------------------------- */

static int clamp(double value, int low, int high) {
  return value > low ? value < high ? (int)value : high : low; /* NaN is low */
}

/* The pixels of the clip that are within `reach` of the rectangle spanned by a and b. */
static Box around(Box clip, const double a[2], const double b[2], double reach) {
  return (Box){ clamp(floor(fmin(a[0], b[0]) - reach), clip.left, clip.right),
                clamp(floor(fmin(a[1], b[1]) - reach), clip.top, clip.bottom),
                clamp(ceil(fmax(a[0], b[0]) + reach), clip.left, clip.right),
                clamp(ceil(fmax(a[1], b[1]) + reach), clip.top, clip.bottom) };
}

static Box whole(const Picture *p) { return (Box){ 0, 0, p->width, p->height }; }

static bool is_empty(Box box) { return box.left >= box.right || box.top >= box.bottom; }

static Box hull(Box a, Box b) {
  if (is_empty(a)) return b;
  return (Box){ b.left < a.left ? b.left : a.left, b.top < a.top ? b.top : a.top,
                b.right > a.right ? b.right : a.right, b.bottom > a.bottom ? b.bottom : a.bottom };
}

static void cover(Picture *p, int x, int y, double amount) {
  float *mask = p->mask + y * p->width + x;
  if (amount > (double)*mask) *mask = (float)fmin(amount, 1);
}

/* What lies within half the width of the segment from a to b; a dot if they are one point. */
static void cover_segment(Picture *p, Box clip, const double a[2], const double b[2],
                          double width) {
  double along[2] = { b[0] - a[0], b[1] - a[1] };
  double length2 = along[0] * along[0] + along[1] * along[1];
  if (!(length2 < 1e16)) return; /* not finite, or absurdly far away */
  Box box = around(clip, a, b, width / 2 + 1);
  if (is_empty(box)) return;
  p->stroke = hull(p->stroke, box);
  for (int y = box.top; y < box.bottom; y++) {
    for (int x = box.left; x < box.right; x++) {
      double dx = x + 0.5 - a[0], dy = y + 0.5 - a[1];
      double part = length2 > 0 ? (dx * along[0] + dy * along[1]) / length2 : 0;
      part = fmin(fmax(part, 0), 1);
      double distance = hypot(dx - part * along[0], dy - part * along[1]);
      cover(p, x, y, fmin(width / 2 + 0.5 - distance, width)); /* a hair covers little */
    }
  }
}

/* A triangle, corners clockwise on the screen. */
static void cover_triangle(Picture *p, Box clip, double corner[3][2]) {
  Box box = around(clip, corner[0], corner[1], 1);
  box = hull(box, around(clip, corner[1], corner[2], 1));
  if (is_empty(box)) return;
  p->stroke = hull(p->stroke, box);
  for (int y = box.top; y < box.bottom; y++) {
    for (int x = box.left; x < box.right; x++) {
      double inside = 1;
      for (int k = 0; k < 3; k++) {
        const double *a = corner[k], *b = corner[(k + 1) % 3];
        double ex = b[0] - a[0], ey = b[1] - a[1];
        double left = ex * (y + 0.5 - a[1]) - ey * (x + 0.5 - a[0]);
        inside = fmin(inside, 0.5 + left / hypot(ex, ey));
      }
      cover(p, x, y, inside);
    }
  }
}

static void split(int colour, float rgb[3]) {
  for (int c = 0; c < 3; c++) rgb[c] = (float)(colour >> (16 - 8 * c) & 255) / 255;
}

/* Blend the colour in where the stroke covers, and begin a new stroke. */
static void paint(Picture *p, int colour, double alpha) {
  float rgb[3];
  split(colour, rgb);
  for (int y = p->stroke.top; y < p->stroke.bottom; y++) {
    for (int x = p->stroke.left; x < p->stroke.right; x++) {
      float *mask = p->mask + y * p->width + x, share = (float)alpha * *mask;
      float *pixel = p->rgb + 3 * (y * p->width + x);
      for (int c = 0; c < 3; c++) pixel[c] += share * (rgb[c] - pixel[c]);
      *mask = 0;
    }
  }
  p->stroke = (Box){ 0 };
}

/* ---- text ------------------------------------------------------------------------------------ */

/* Dots side by side are joined; diagonally only if there is no way around the corner. */
static void cover_glyph(Picture *p, const Glyph *glyph, double x, double y, double cell) {
  static const int step[][2] = { { 0, 0 }, { 1, 0 }, { 0, 1 }, { 1, 1 }, { -1, 1 } };
  for (int row = 0; row < FONT_ROWS; row++) {
    for (int column = 0; column < glyph->width; column++) {
      if (!glyph->dot[row][column]) continue;
      for (int k = 0; k < 5; k++) {
        int dx = step[k][0], dy = step[k][1], c = column + dx, r = row + dy;
        if (c < 0 || c >= glyph->width || r >= FONT_ROWS || !glyph->dot[r][c]) continue;
        if (dx && dy && (glyph->dot[row][c] || glyph->dot[r][column])) continue;
        const double from[2] = { x + column * cell, y + row * cell };
        const double to[2] = { x + c * cell, y + r * cell };
        cover_segment(p, whole(p), from, to, 0.82 * cell);
      }
    }
  }
}

enum { GAP = 2 }; /* cells from the last dots of a letter to the first ones of the next */

static double text_width(const char *text, double cell) {
  int cells = 0;
  for (; *text; text++) cells += font_glyph(*text).width - 1 + GAP;
  return (cells - GAP) * cell;
}

/* Base line at y; x is the text's left end, middle or right end for `anchor` 0, 0.5 and 1. */
static void put_text(Picture *p, double x, double y, double anchor, double cell, int colour,
                     const char *text) {
  x -= anchor * text_width(text, cell);
  for (; *text; text++) {
    Glyph glyph = font_glyph(*text);
    cover_glyph(p, &glyph, x, y - (FONT_CAPITAL - 1) * cell, cell);
    x += (glyph.width - 1 + GAP) * cell;
  }
  paint(p, colour, 1);
}

/* ---- panels ---------------------------------------------------------------------------------- */

static Box inside(const Panel *panel) {
  return (Box){ panel->left, panel->top, panel->left + panel->size, panel->top + panel->size };
}

static void to_pixels(const Panel *panel, const double at[2], double pixel[2]) {
  double x = (at[0] - panel->low[0]) / (panel->high[0] - panel->low[0]);
  double y = (at[1] - panel->low[1]) / (panel->high[1] - panel->low[1]);
  pixel[0] = panel->left + x * panel->size;
  pixel[1] = panel->top + (1 - y) * panel->size;
}

/* A tick and its number, below the frame (axis 0) or to its left (axis 1). */
static void put_tick(const Panel *panel, int axis, double value) {
  Picture *p = panel->picture;
  double at[2] = { panel->low[0], panel->low[1] }, edge[2];
  char text[32];
  at[axis] = value;
  to_pixels(panel, at, edge);
  double x = edge[0], y = edge[1], dx = axis ? -1 : 0, dy = axis ? 0 : 1; /* outwards */
  const double from[2] = { x + 1.5 * dx, y + 1.5 * dy }, to[2] = { x + 7 * dx, y + 7 * dy };
  cover_segment(p, whole(p), from, to, 1.5);
  paint(p, FRAME_COLOUR, 1);
  snprintf(text, sizeof text, "%.6g", value);
  put_text(p, x + 14 * dx, y + (axis ? 5 : 27), axis ? 1 : 0.5, 1.7, PICTURE_GREY, text);
}

static void put_ticks(const Panel *panel, int axis) {
  SvgTicks ticks = svg_ticks(panel->low[axis], panel->high[axis]);
  for (int i = 0; i < ticks.count; i++) {
    double value = ticks.value[i];
    if (panel->low[axis] <= value && value <= panel->high[axis]) put_tick(panel, axis, value);
  }
}

static void put_frame(const Panel *panel) {
  double l = panel->left - 0.5, r = l + panel->size + 1;
  double t = panel->top - 0.5, b = t + panel->size + 1;
  const double corner[5][2] = { { l, t }, { r, t }, { r, b }, { l, b }, { l, t } };
  Picture *p = panel->picture;
  for (int k = 0; k < 4; k++) cover_segment(p, whole(p), corner[k], corner[k + 1], 1);
  paint(p, FRAME_COLOUR, 1);
}

Panel picture_panel(Picture *picture, int column, int row, const char *title, const double low[2],
                    const double high[2]) {
  CHECK(0 <= column && column < picture->columns && 0 <= row && row < picture->rows,
        "panel (%d, %d) of %d x %d", column, row, picture->columns, picture->rows);
  for (int d = 0; d < 2; d++)
    CHECK(isfinite(high[d] - low[d]) && low[d] < high[d], "a panel from %g to %g", low[d], high[d]);
  Panel panel = { .picture = picture,
                  .left = EDGE + column * (LEFT + PANEL + RIGHT) + LEFT,
                  .top = EDGE + row * (TOP + PANEL + BOTTOM) + TOP,
                  .size = PANEL };
  memcpy(panel.low, low, sizeof panel.low);
  memcpy(panel.high, high, sizeof panel.high);
  put_ticks(&panel, 0);
  put_ticks(&panel, 1);
  put_frame(&panel);
  put_text(picture, panel.left + PANEL / 2.0, panel.top - 20, 0.5, 2.4, PICTURE_INK, title);
  return panel;
}

void picture_dots(const Panel *panel, const double *at, int count, Pen pen) {
  for (int i = 0; i < count; i++) {
    double middle[2];
    to_pixels(panel, at + 2 * i, middle);
    cover_segment(panel->picture, inside(panel), middle, middle, pen.width);
    paint(panel->picture, pen.colour, pen.alpha);
  }
}

void picture_line(const Panel *panel, const double *at, int count, Pen pen) {
  for (int i = 0; i + 1 < count; i++) {
    double from[2], to[2];
    to_pixels(panel, at + 2 * i, from);
    to_pixels(panel, at + 2 * i + 2, to);
    cover_segment(panel->picture, inside(panel), from, to, pen.width);
  }
  paint(panel->picture, pen.colour, pen.alpha);
}

void picture_arrow(const Panel *panel, const double from[2], const double to[2], Pen pen) {
  double a[2], b[2];
  to_pixels(panel, from, a);
  to_pixels(panel, to, b);
  double length = hypot(b[0] - a[0], b[1] - a[1]);
  if (!(length > 1e-3 && length < 1e6)) return;
  double ux = (b[0] - a[0]) / length, uy = (b[1] - a[1]) / length;
  double head = fmin(3 + 3 * pen.width, 0.6 * length), wing = 0.45 * head;
  double neck[2] = { b[0] - head * ux, b[1] - head * uy };
  double corner[3][2] = { { b[0], b[1] },
                          { neck[0] - wing * uy, neck[1] + wing * ux },
                          { neck[0] + wing * uy, neck[1] - wing * ux } };
  cover_segment(panel->picture, inside(panel), a, neck, pen.width);
  cover_triangle(panel->picture, inside(panel), corner);
  paint(panel->picture, pen.colour, pen.alpha);
}

/* ---- shades ---------------------------------------------------------------------------------- */

/* Oklab to sRGB (Ottosson 2020, bottosson.github.io/posts/oklab). */
static int oklab(double lightness, double a, double b) {
  double l = pow(lightness + 0.3963377774 * a + 0.2158037573 * b, 3);
  double m = pow(lightness - 0.1055613458 * a - 0.0638541728 * b, 3);
  double s = pow(lightness - 0.0894841775 * a - 1.2914855480 * b, 3);
  const double linear[3] = { 4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
                             -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
                             -0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s };
  int colour = 0;
  for (int c = 0; c < 3; c++) {
    double x = fmin(fmax(linear[c], 0), 1);
    x = x <= 0.0031308 ? 12.92 * x : 1.055 * pow(x, 1 / 2.4) - 0.055;
    colour = colour << 8 | (int)lround(255 * x);
  }
  return colour;
}

/* The chroma stays within what sRGB can show; beyond that, lightness would bend. */
int picture_shade(double value) {
  double v = fmin(fmax(value, 0), 1), hue = (115 + 147 * v) * 3.14159265358979323846 / 180;
  double chroma = 0.107 * -expm1(-6 * v);
  return oklab(1 - 0.58 * v, chroma * cos(hue), chroma * sin(hue));
}

/* Between the four points around it; beyond the outermost points the nearest counts. */
static double interpolate(const double *value, int columns, int rows, double x, double y) {
  x = fmin(fmax(x * columns - 0.5, 0), columns - 1);
  y = fmin(fmax(y * rows - 0.5, 0), rows - 1);
  int left = (int)x, lower = (int)y;
  double sum = 0;
  for (int r = lower; r <= lower + 1 && r < rows; r++) {
    for (int c = left; c <= left + 1 && c < columns; c++) {
      double v = value[r * columns + c];
      if (v > 0 && isfinite(v)) sum += (1 - fabs(x - c)) * (1 - fabs(y - r)) * v;
    }
  }
  return sum;
}

void picture_shades(const Panel *panel, const double *value, int columns, int rows) {
  CHECK(columns > 0 && rows > 0, "%d x %d shades", columns, rows);
  Picture *p = panel->picture;
  double most = 0, size = panel->size;
  for (int i = 0; i < columns * rows; i++)
    if (isfinite(value[i])) most = fmax(most, value[i]);
  for (int y = 0; y < panel->size; y++) {
    for (int x = 0; x < panel->size; x++) {
      double v = interpolate(value, columns, rows, (x + 0.5) / size, 1 - (y + 0.5) / size);
      float *pixel = p->rgb + 3 * ((panel->top + y) * p->width + panel->left + x);
      split(picture_shade(most > 0 ? v / most : 0), pixel);
    }
  }
}

bool picture_save(const Picture *p, const char *path, Error *error) {
  ArenaMark mark = arena_mark(p->arena);
  int count = 3 * p->width * p->height;
  Image image = { p->width, p->height, 3, arena_array(p->arena, uint8_t, count) };
  for (int i = 0; i < count; i++) image.pixel[i] = (uint8_t)(p->rgb[i] * 255 + 0.5f);
  bool saved = png_save(&image, path, error);
  arena_reset(p->arena, mark);
  return saved;
}
