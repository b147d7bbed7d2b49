/* arena.c -- a list of chunks; a block never moves. */
#include "core/arena.h"
#include "core/check.h"
#include "core/limits.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
enum { GAP = 64 };
#else
#define ASAN_POISON_MEMORY_REGION(address, size)   ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
enum { GAP = 0 };
#endif

enum { ALIGN = 64, MAX_CHUNKS = 48, LARGE_CHUNK = 64 << 20 };
#define FIRST_CHUNK ((size_t)1 << 18)
#define LARGE_PAGE  ((size_t)2 << 20)

struct Arena {
  unsigned char *chunk[MAX_CHUNKS]; /* sizes double, so 48 chunks outlast any memory */
  size_t size[MAX_CHUNKS];
  size_t touched[MAX_CHUNKS]; /* beyond it a chunk is as the system gave it: zero */
  size_t current, used;       /* chunk in use, bytes used in it */
  size_t total, room;         /* bytes asked for; the same with the gaps between blocks */
  bool borrowed;              /* its one chunk is the caller's */
  ArenaRescue *rescue;        /* NULL: the program's */
  ArenaHold own;              /* of the rescue: this arena */
};

/* ---- where to go without memory -------------------------------------------------------------- */

static _Noreturn void go_back(ArenaRescue *rescue, size_t bytes) {
  if (!rescue) memory_out(bytes);
  while (rescue->held) {
    ArenaHold hold = *rescue->held;
    rescue->held = hold.outer;
    hold.drop(hold.thing);
  }
  longjmp(rescue->entry, 1);
}

static void hold(ArenaRescue *rescue, ArenaHold *held, void (*drop)(void *), void *thing) {
  if (!rescue) return;
  *held = (ArenaHold){ drop, thing, rescue->held };
  rescue->held = held;
}

static void let_go(ArenaRescue *rescue, const ArenaHold *held) {
  ArenaHold **at = rescue ? &rescue->held : NULL;
  while (at && *at && *at != held) at = &(*at)->outer;
  if (at && *at) *at = held->outer;
}

void arena_hold(Arena *arena, ArenaHold *held, void (*drop)(void *), void *thing) {
  hold(arena->rescue, held, drop, thing);
}
void arena_let_go(Arena *arena, ArenaHold *held) { let_go(arena->rescue, held); }

void arena_settle(Arena *arena) {
  let_go(arena->rescue, &arena->own);
  arena->rescue = NULL;
}

/* ---- chunks ---------------------------------------------------------------------------------- */

/* Fresh zeros, or NULL: also where a large chunk is more than there is, which the system may say
 * only when it is touched, by ending a process.  Large ones begin at a large page and ask for such:
 * looking up the small pages that a training step walks over takes 4 % of its time. */
static void *map_pages(size_t size) {
  if (size >= LARGE_CHUNK && size > limits_memory()) return NULL;
  size_t spare = size >= LARGE_PAGE ? LARGE_PAGE : 0;
  void *pages =
      mmap(NULL, size + spare, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) return NULL;
  if (!spare) return pages;
  unsigned char *from = pages;
  unsigned char *at = from + (LARGE_PAGE - (uintptr_t)from % LARGE_PAGE) % LARGE_PAGE;
  if (at > from) munmap(from, (size_t)(at - from));
  if (at < from + spare) munmap(at + size, (size_t)(from + spare - at));
  madvise(at, size, MADV_HUGEPAGE); /* where the system has none, small ones do */
  return at;
}

enum { FRONT = (sizeof(Arena) + ALIGN - 1) / ALIGN * ALIGN }; /* where the first block may begin */

static void add_chunk(Arena *arena, size_t index, size_t bytes) {
  CHECK(!arena->borrowed, "arena: %zu bytes more than the caller's memory has", bytes);
  if (index == MAX_CHUNKS) go_back(arena->rescue, bytes);
  size_t size = index ? 2 * arena->size[index - 1] : FIRST_CHUNK;
  size_t least = (bytes + 4095) / 4096 * 4096;
  if (size < least) size = least;
  void *chunk = map_pages(size);
  if (!chunk && least && least < size) chunk = map_pages(size = least); /* a limit is near */
  if (!chunk) go_back(arena->rescue, size);
  arena->chunk[index] = chunk, arena->size[index] = size;
  ASAN_POISON_MEMORY_REGION(arena->chunk[index], size);
}

static void drop_arena(void *arena) { arena_free(arena); }

static Arena *begin(ArenaRescue *rescue) {
  Arena *arena = calloc(1, sizeof *arena);
  if (!arena) go_back(rescue, sizeof *arena);
  arena->rescue = rescue;
  hold(rescue, &arena->own, drop_arena, arena);
  add_chunk(arena, 0, 0);
  return arena;
}

Arena *arena_new(void) { return begin(NULL); }
Arena *arena_under(Arena *arena) { return begin(arena->rescue); }

Arena *arena_guest(ArenaRescue *rescue) {
  rescue->held = NULL;
  return begin(rescue);
}

Arena *arena_over(void *memory, size_t bytes) {
  unsigned char *at = (unsigned char *)(((uintptr_t)memory + ALIGN - 1) / ALIGN * ALIGN);
  Arena *arena = (Arena *)at;
  size_t before = (size_t)(at - (unsigned char *)memory) + FRONT;
  CHECK(memory && bytes >= before, "arena: %zu bytes of memory", bytes);
  *arena = (Arena){ .chunk = { at + FRONT }, .borrowed = true };
  arena->size[0] = arena->touched[0] = bytes - before;
  ASAN_POISON_MEMORY_REGION(arena->chunk[0], arena->size[0]);
  return arena;
}

size_t arena_footprint(const Arena *arena) { return ALIGN + FRONT + arena->room; }

void arena_free(Arena *arena) {
  if (!arena) return;
  let_go(arena->rescue, &arena->own);
  if (arena->borrowed) {
    ASAN_UNPOISON_MEMORY_REGION(arena->chunk[0], arena->size[0]);
    return;
  }
  for (size_t i = 0; i < MAX_CHUNKS && arena->chunk[i]; i++) {
    ASAN_UNPOISON_MEMORY_REGION(arena->chunk[i], arena->size[i]);
    munmap(arena->chunk[i], arena->size[i]);
  }
  free(arena);
}

/* only what was handed out before needs it: pages that nobody uses are never touched */
static void clear(Arena *arena, size_t from, size_t bytes) {
  size_t *touched = &arena->touched[arena->current], end = from + bytes;
  size_t dirty = *touched > from ? *touched - from : 0;
  memset(arena->chunk[arena->current] + from, 0, dirty < bytes ? dirty : bytes);
  if (end > *touched) *touched = end;
}

void *arena_alloc(Arena *arena, size_t bytes) {
  if (bytes >= SIZE_MAX / 4) go_back(arena->rescue, bytes);
  size_t need = (bytes + ALIGN - 1) / ALIGN * ALIGN + GAP;
  while (arena->used + need > arena->size[arena->current]) {
    arena->current++, arena->used = 0;
    if (!arena->chunk[arena->current]) add_chunk(arena, arena->current, need);
  }
  unsigned char *block = arena->chunk[arena->current] + arena->used;
  arena->used += need, arena->total += bytes, arena->room += need;
  ASAN_UNPOISON_MEMORY_REGION(block, bytes);
  clear(arena, arena->used - need, bytes);
  return block;
}

char *arena_text(Arena *arena, const char *format, ...) {
  va_list args, again;
  va_start(args, format);
  va_copy(again, args);
  int length = vsnprintf(NULL, 0, format, args);
  if (length < 0) go_back(arena->rescue, 0);
  char *text = arena_alloc(arena, (size_t)length + 1);
  vsnprintf(text, (size_t)length + 1, format, again);
  va_end(args);
  va_end(again);
  return text;
}

ArenaMark arena_mark(const Arena *arena) { return (ArenaMark){ arena->current, arena->used }; }

void arena_reset(Arena *arena, ArenaMark mark) {
  for (size_t i = mark.chunk; i < MAX_CHUNKS && arena->chunk[i]; i++) {
    size_t from = i == mark.chunk ? mark.used : 0;
    ASAN_POISON_MEMORY_REGION(arena->chunk[i] + from, arena->size[i] - from);
  }
  arena->current = mark.chunk, arena->used = mark.used;
}

size_t arena_bytes(const Arena *arena) { return arena->total; }

bool arena_has_room(size_t bytes) {
  if (bytes > limits_memory()) return false;
  void *room = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return room != MAP_FAILED && !munmap(room, bytes);
}
