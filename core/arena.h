/* arena.h -- memory with one lifetime: allocate by bumping, free all at once.
 *
 * Everything that belongs to a run lives in one arena and goes with it.  Memory comes zeroed,
 * aligned to 64 bytes; running out of it is fatal (CHECK), since a run's needs are known at its
 * start.  In the address-sanitizer build the gaps between blocks are poisoned. */
#ifndef CORE_ARENA_H
#define CORE_ARENA_H
#include <stdbool.h>
#include <stddef.h>

typedef struct Arena Arena;
typedef struct {
  size_t chunk, used;
} ArenaMark;

Arena *arena_new(void);
void arena_free(Arena *arena); /* arena may be NULL */

/* An arena in memory of the caller's, of any alignment, which needs arena_footprint bytes for the
 * blocks of another arena and must stay until arena_free. */
Arena *arena_over(void *memory, size_t bytes);
size_t arena_footprint(const Arena *arena);

/* Zeroed bytes, aligned to 64; valid until arena_free or a reset below this point. */
void *arena_alloc(Arena *arena, size_t bytes);
char *arena_text(Arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Everything allocated after the mark is given back by the reset. */
ArenaMark arena_mark(const Arena *arena);
void arena_reset(Arena *arena, ArenaMark mark);
size_t arena_bytes(const Arena *arena); /* handed out so far */

/* Would the system give so many bytes more at once?  For what a user asks for, before an arena,
 * whose callers cannot fail, is asked. */
bool arena_has_room(size_t bytes);

#define arena_array(arena, type, count)                                                            \
  ((type *)arena_alloc((arena), sizeof(type) * (size_t)(count)))

#endif
