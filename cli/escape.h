/* escape.h -- texts from files on a terminal, which obeys control characters. */
#ifndef CLI_ESCAPE_H
#define CLI_ESCAPE_H
#include "core/arena.h"

/* The text with control characters (C0, DEL, C1) and bytes that are not UTF-8 as \x1b; a backslash
 * stays one.  Lives in the arena. */
const char *escaped(Arena *arena, const char *text);

#endif
