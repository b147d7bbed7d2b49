/* escape.h -- texts from files on a terminal, which obeys control characters. */
#ifndef CORE_ESCAPE_H
#define CORE_ESCAPE_H
#include "core/arena.h"

/* The text with control characters (C0, DEL, C1), what turns the direction of a line around, and
 * bytes that are not UTF-8 (RFC 3629) as \x1b; a backslash stays one.  Lives in the arena. */
const char *escaped(Arena *arena, const char *text);

/* The same into memory of the caller's, [room]; whole characters, as many as there is room for. */
void escape_into(char *to, size_t room, const char *text);

/* Bytes of a text that take at most so many columns of a terminal, a column each character. */
int escape_fit(const char *text, int columns);

#endif
