/* picture_sheet.c -- letters of the small font as squares of pixels, beside pictures. */
#include "rl/render/picture_sheet.h"
#include "rl/render/font.h"
#include "rl/render/picture_grid.h"
#include <string.h>

enum { LEAST_CELL = 96, GAP = 4, MARGIN = 8, LARGE = 2, INK = 40 };

/* ---- text ------------------------------------------------------------------------------------ */

static int text_width(const char *text, int dot) {
  int width = 0;
  for (; text && *text; text++) width += dot * (font_glyph(*text).width + 1);
  return width;
}

static void put_dot(Image *image, int x, int y, int dot) {
  for (int i = y; i < y + dot && i < image->height; i++)
    for (int j = x * image->channels; j < (x + dot) * image->channels; j++)
      if (j < image->width * image->channels)
        image->pixel[i * image->width * image->channels + j] = INK;
}

static void put_text(Image *image, const char *text, int x, int y, int dot) {
  for (; *text; text++) {
    Glyph glyph = font_glyph(*text);
    for (int r = 0; r < FONT_ROWS; r++)
      for (int c = 0; c < glyph.width; c++)
        if (glyph.dot[r][c]) put_dot(image, x + c * dot, y + r * dot, dot);
    x += dot * (glyph.width + 1);
  }
}

/* ---- where everything lies ------------------------------------------------------------------- */

typedef struct {
  int zoom, cell, left, top; /* of the pictures */
  int dot;                   /* of the captions above */
} Places;

static Places places_of(const PicturesModel *m, const PictureSheet *s) {
  Places p = { .zoom = (LEAST_CELL + (int)m->size - 1) / (int)m->size,
               .left = MARGIN,
               .dot = LARGE };
  p.cell = p.zoom * (int)m->size + GAP;
  for (int i = 0; i < s->rows; i++) {
    int width = 2 * MARGIN + text_width(s->row[i], LARGE);
    p.left = width > p.left ? width : p.left;
  }
  p.top = MARGIN;
  if (!s->column) return p;
  /* the captions above are small if one of them is wider than a picture */
  for (int i = 0; i < s->columns; i++)
    if (text_width(s->column[i], LARGE) > p.cell) p.dot = 1;
  p.top += FONT_ROWS * p.dot + MARGIN / 2;
  return p;
}

bool picture_sheet_write(const PicturesModel *m, const double *pictures, const PictureSheet *s,
                         const char *path, Error *error) {
  Places p = places_of(m, s);
  int64_t width = p.left + (int64_t)s->columns * p.cell, height = p.top + (int64_t)s->rows * p.cell;
  if (width > PNG_MOST || height > PNG_MOST)
    return error_set(error, FAIL_USAGE,
                     "a sheet of %d x %d pictures is too large for one PNG file; ask for fewer",
                     s->rows, s->columns);
  Arena *arena = arena_new();
  Image sheet = { (int)width, (int)height, pictures_plane(m).channels, NULL };
  size_t bytes = (size_t)width * (size_t)height * (size_t)sheet.channels;
  sheet.pixel = arena_alloc(arena, bytes);
  memset(sheet.pixel, 255, bytes);
  for (int r = 0; r < s->rows; r++) {
    int y = p.top + r * p.cell;
    put_text(&sheet, s->row[r], MARGIN, y + (p.cell - GAP - FONT_CAPITAL * LARGE) / 2, LARGE);
    for (int c = 0; c < s->columns; c++)
      picture_put(&sheet, pictures + ((int64_t)r * s->columns + c) * pictures_numbers(m),
                  (int)m->size, p.zoom, p.left + c * p.cell, y);
  }
  for (int c = 0; c < s->columns && s->column; c++)
    if (s->column[c]) put_text(&sheet, s->column[c], p.left + c * p.cell, MARGIN, p.dot);
  bool done = png_save(&sheet, path, error);
  arena_free(arena);
  return done;
}
