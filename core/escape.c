/* escape.c -- a copy, with what a terminal would obey spelled out. */
#include "core/escape.h"
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

void escape_into(char *to, size_t room, const char *text) {
  for (const unsigned char *c = (const unsigned char *)text; *c;) {
    int length = shown(c);
    size_t needed = length ? (size_t)length : 4;
    if (needed >= room) break;
    if (length)
      memcpy(to, c, (size_t)length);
    else
      snprintf(to, room, "\\x%02x", *c);
    to += needed, room -= needed, c += length ? length : 1;
  }
  *to = '\0';
}

const char *escaped(Arena *arena, const char *text) {
  size_t room = 4 * strlen(text) + 1;
  char *copy = arena_alloc(arena, room);
  escape_into(copy, room, text);
  return copy;
}
