/* picture.h -- scientific pictures as pixels: panels side by side with dots, lines, arrows, shades.
 *
 * A picture is a grid of square panels on white.  A panel has a frame, a title and ticks, and maps
 * its data coordinates (y upwards) to pixels; nothing is drawn outside its frame.  All edges are
 * anti-aliased.  Points that are not finite are left out. */
#ifndef RL_PICTURE_H
#define RL_PICTURE_H
#include "core/arena.h"
#include "core/error.h"

typedef struct Picture Picture;

/* Colours are 0xRRGGBB.  Blue and orange can be told apart by everyone (Okabe and Ito 2008). */
enum {
  PICTURE_BLUE = 0x123f7d,
  PICTURE_ORANGE = 0xd55e00,
  PICTURE_GREEN = 0x00785a,
  PICTURE_GREY = 0x8c8f94,
  PICTURE_INK = 0x33363b,
  PICTURE_WHITE = 0xffffff,
};

/* What is drawn with. */
typedef struct {
  int colour;
  double width; /* of a line, or across a dot; in pixels */
  double alpha; /* 0: nothing, 1: opaque */
} Pen;

typedef struct {
  Picture *picture;
  int left, top, size;    /* pixels inside the frame */
  double low[2], high[2]; /* data at its lower left and upper right corner */
} Panel;

/* A white picture with room for columns x rows panels; lives in the arena. */
Picture *picture_new(Arena *arena, int columns, int rows);

/* Frame, ticks and title of the panel at (column, row), row 0 on top.  low < high, both finite. */
Panel picture_panel(Picture *picture, int column, int row, const char *title, const double low[2],
                    const double high[2]);

/* at: [count, 2], data coordinates.  Each dot is blended by itself, a line as a whole. */
void picture_dots(const Panel *panel, const double *at, int count, Pen pen);
void picture_line(const Panel *panel, const double *at, int count, Pen pen);
void picture_arrow(const Panel *panel, const double from[2], const double to[2], Pen pen);

/* Fill the panel with shades.  value: [rows, columns], row 0 at the bottom, for the middles of as
 * many cells that fill the panel, interpolated between them.  The greatest value is darkest; zero
 * and below, and what is not finite, is white. */
void picture_shades(const Panel *panel, const double *value, int columns, int rows);

/* The colour of a value in [0, 1], from white over green to a blue that dark arrows still show on;
 * lightness (Oklab) falls linearly, so that equal steps look equal and a grey print keeps order. */
int picture_shade(double value);

/* Write a PNG file (datasets/png.h). */
bool picture_save(const Picture *picture, const char *path, Error *error);

#endif
