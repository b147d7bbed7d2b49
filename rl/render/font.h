/* font.h -- a small font of our own: letters as dots on a grid, to be joined by strokes. */
#ifndef RL_FONT_H
#define RL_FONT_H
#include <stdbool.h>

/* Row 0 is the top of a capital, FONT_CAPITAL - 1 the base line; the rest hangs below it. */
enum { FONT_COLUMNS = 5, FONT_ROWS = 9, FONT_CAPITAL = 7 };

typedef struct {
  int width; /* columns used, 1 to FONT_COLUMNS */
  bool dot[FONT_ROWS][FONT_COLUMNS];
} Glyph;

/* The letter's grid; what is not printable ASCII looks like '?'. */
Glyph font_glyph(char letter);

#endif
