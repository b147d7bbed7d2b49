/* escape.c -- a copy, with what a terminal would obey spelled out. */
#include "core/escape.h"
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Bytes of the UTF-8 character that begins here; 0: none does. */
static int length_of(const unsigned char *c) {
  /* the first byte says how many follow; a continuation byte cannot begin a character */
  int length = *c < 0x80 ? 1 : *c >= 0xf0 ? 4 : *c >= 0xe0 ? 3 : 2;
  if ((*c >= 0x80 && *c < 0xc2) || *c > 0xf4) return 0;
  /* a text that ends too early fails here, since its zero byte is no continuation */
  for (int i = 1; i < length; i++)
    if ((c[i] & 0xc0) != 0x80) return 0;
  /* what could be written shorter, halves of UTF-16's pairs, and what is beyond the last one */
  bool none = (*c == 0xe0 && c[1] < 0xa0) || (*c == 0xed && c[1] > 0x9f) ||
              (*c == 0xf0 && c[1] < 0x90) || (*c == 0xf4 && c[1] > 0x8f);
  return none ? 0 : length;
}

/* Characters of three bytes that turn the direction of a line, or end it: U+200E, U+200F, U+2028 to
 * U+202E, U+2066 to U+2069. */
static bool turns(const unsigned char *c) {
  if (c[0] != 0xe2) return false;
  return c[1] == 0x80 ? c[2] == 0x8e || c[2] == 0x8f || (c[2] >= 0xa8 && c[2] <= 0xae)
                      : c[1] == 0x81 && c[2] >= 0xa6 && c[2] <= 0xa9;
}

/* Bytes of the character that begins here and may be shown as it is; 0: none does. */
static int shown(const unsigned char *c) {
  int length = length_of(c);
  bool control = *c < 0x20 || *c == 0x7f || (*c == 0xc2 && c[1] < 0xa0);
  return !length || control || (length == 3 && turns(c)) ? 0 : length;
}

void escape_into(char *to, size_t room, const char *text) {
  const char *end = to + room - 1;
  for (const unsigned char *c = (const unsigned char *)text; *c;) {
    int length = shown(c), takes = length ? length : 4;
    if (end - to < takes) break;
    if (length)
      memcpy(to, c, (size_t)length);
    else
      snprintf(to, 5, "\\x%02x", *c);
    to += takes, c += length ? length : 1;
  }
  *to = '\0';
}

const char *escaped(Arena *arena, const char *text) {
  /* at worst every byte becomes the four characters of \xNN */
  size_t room = 4 * strlen(text) + 1;
  char *copy = arena_alloc(arena, room);
  escape_into(copy, room, text);
  return copy;
}

int escape_fit(const char *text, int columns) {
  const unsigned char *c = (const unsigned char *)text;
  /* a continuation byte takes no column of its own */
  for (int used = 0; *c && (used < columns || (*c & 0xc0) == 0x80); c++)
    used += (*c & 0xc0) != 0x80;
  return (int)(c - (const unsigned char *)text);
}
