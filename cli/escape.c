/* escape.c -- a copy, with what a terminal would obey spelled out. */
#include "cli/escape.h"
#include <stdio.h>
#include <string.h>

/* Bytes of the character that begins here and may be shown as it is; 0: none does. */
static int shown(const unsigned char *c) {
  /* ASCII is shown but for control characters */
  if (*c < 0x80) return *c >= 0x20 && *c != 0x7f;
  /* the first byte says how many follow; a continuation byte cannot begin a character */
  int length = *c >= 0xf0 && *c < 0xf5 ? 4 : *c >= 0xe0 ? 3 : *c >= 0xc2 ? 2 : 0;
  if (*c >= 0xf5) return 0;
  /* a text that ends too early fails here, since its zero byte is no continuation */
  for (int i = 1; i < length; i++)
    if ((c[i] & 0xc0) != 0x80) return 0;
  return *c == 0xc2 && c[1] < 0xa0 ? 0 : length; /* C1 */
}

const char *escaped(Arena *arena, const char *text) {
  /* at worst every byte becomes the four characters of \xNN */
  char *copy = arena_alloc(arena, 4 * strlen(text) + 1), *to = copy;
  for (const unsigned char *c = (const unsigned char *)text; *c;) {
    int length = shown(c);
    if (length) {
      memcpy(to, c, (size_t)length);
      to += length, c += length;
    } else
      to += sprintf(to, "\\x%02x", *c++);
  }
  *to = '\0';
  return copy;
}
