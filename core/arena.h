/* arena.h -- memory with one lifetime: allocate by bumping, free all at once.
 *
 * Everything that belongs to a run lives in one arena and goes with it.  Memory comes zeroed,
 * aligned to 64 bytes.  Who allocates need not look whether there was any: where there is none, a
 * program ends (memory_out), and a guest in somebody else's program goes back to where it entered
 * (ArenaRescue).  In the address-sanitizer build the gaps between blocks are poisoned. */
#ifndef CORE_ARENA_H
#define CORE_ARENA_H
#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct Arena Arena;
typedef struct {
  size_t chunk, used;
} ArenaMark;

Arena *arena_new(void);
void arena_free(Arena *arena); /* arena may be NULL */

/* ---- where to go without memory -------------------------------------------------------------- */

/* What is undone on the way back. */
typedef struct ArenaHold ArenaHold;
struct ArenaHold {
  void (*drop)(void *thing);
  void *thing;
  ArenaHold *outer;
};
typedef struct {
  jmp_buf entry;
  ArenaHold *held; /* the innermost */
} ArenaRescue;

/* At the entrance of a guest, in a function that returns after all that allocates:
 *     if (arena_rescued(&rescue)) return NO_MEMORY;
 *     Arena *arena = arena_guest(&rescue);
 * Where memory runs out later, what is held is dropped, the arena and those under it are freed, and
 * arena_rescued returns again, true. */
#define arena_rescued(rescue) (setjmp((rescue)->entry) != 0)
Arena *arena_guest(ArenaRescue *rescue);
void arena_settle(Arena *arena); /* the guest leaves and the arena stays: no way back any more */

/* For scratch: an arena of its own that goes the way of `arena`; freed before it. */
Arena *arena_under(Arena *arena);

/* While allocating from `arena` one holds a thing that is not in it: what drops it (close, free) on
 * the way back.  The hold is the caller's and must be let go before it goes out of scope. */
void arena_hold(Arena *arena, ArenaHold *hold, void (*drop)(void *thing), void *thing);
void arena_let_go(Arena *arena, ArenaHold *hold);

/* ---- the rest -------------------------------------------------------------------------------- */

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

/* Would the system give so many bytes more at once (core/limits.h), and let them be used? */
bool arena_has_room(size_t bytes);

#define arena_array(arena, type, count)                                                            \
  ((type *)arena_alloc((arena), sizeof(type) * (size_t)(count)))

#endif
