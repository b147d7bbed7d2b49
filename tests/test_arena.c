/* test_arena.c -- blocks are zeroed, aligned, apart from each other, and reused after a reset. */
#include "core/arena.h"
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdint.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static bool all_zero(const unsigned char *bytes, size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (bytes[i]) return false;
  }
  return true;
}

static void blocks_are_zeroed_aligned_and_disjoint(void **state) {
  (void)state;
  enum { BLOCKS = 200 };
  Arena *arena = arena_new();
  unsigned char *block[BLOCKS];
  size_t total = 0;
  for (size_t i = 0; i < BLOCKS; i++) { /* up to 80 kB each: many chunks */
    size_t bytes = i * i * 2;
    block[i] = arena_alloc(arena, bytes);
    assert_int_equal((uintptr_t)block[i] % 64, 0);
    assert_true(all_zero(block[i], bytes));
    memset(block[i], (int)i, bytes);
    total += bytes;
  }
  for (size_t i = 0; i < BLOCKS; i++) {
    for (size_t at = 0; at < i * i * 2; at++) assert_int_equal(block[i][at], i);
  }
  assert_int_equal(arena_bytes(arena), total);
  arena_free(arena);
}

static void a_reset_gives_back_what_came_after_the_mark(void **state) {
  (void)state;
  Arena *arena = arena_new();
  char *kept = arena_text(arena, "kept");
  ArenaMark mark = arena_mark(arena);
  unsigned char *first = arena_alloc(arena, 100);
  memset(first, 7, 100);
  memset(arena_alloc(arena, 10 << 20), 7, 10 << 20); /* a chunk of its own */
  arena_reset(arena, mark);
  unsigned char *again = arena_alloc(arena, 100);
  assert_ptr_equal(again, first);
  assert_true(all_zero(again, 100));
  assert_true(all_zero(arena_alloc(arena, 10 << 20), 10 << 20));
  assert_string_equal(kept, "kept");
  arena_free(arena);
}

static void a_cycle_of_mark_and_reset_needs_no_more_memory(void **state) {
  (void)state;
  Arena *arena = arena_new();
  ArenaMark mark = arena_mark(arena);
  void *place[3] = { 0 };
  for (int cycle = 0; cycle < 1000; cycle++) {
    for (int i = 0; i < 3; i++) {
      void *block = arena_alloc(arena, 300000);
      assert_true(cycle == 0 || block == place[i]);
      place[i] = block;
    }
    arena_reset(arena, mark);
  }
  arena_free(arena);
}

static void text_is_formatted(void **state) {
  (void)state;
  Arena *arena = arena_new();
  assert_string_equal(arena_text(arena, "%s/%d", "online", 3), "online/3");
  assert_string_equal(arena_text(arena, "%s", ""), "");
  assert_int_equal(strlen(arena_text(arena, "%0500000d", 1)), 500000);
  double *numbers = arena_array(arena, double, 3);
  assert_true(numbers[0] == 0 && numbers[2] == 0);
  arena_free(arena);
  arena_free(NULL);
}

/* what a child says that asks for so much, and how it ends */
static int ask_for(size_t bytes, char said[256]) {
  int status, both[2];
  assert_int_equal(pipe(both), 0);
  pid_t child = fork();
  if (child == 0) {
    dup2(both[1], 2);
    arena_alloc(arena_new(), bytes);
    _exit(0);
  }
  close(both[1]);
  ssize_t length = read(both[0], said, 255);
  said[length > 0 ? length : 0] = '\0';
  close(both[0]);
  assert_int_equal(waitpid(child, &status, 0), child);
  return status;
}

static void more_memory_than_there_is_ends_the_program_with_a_sentence(void **state) {
  (void)state;
  const size_t sizes[] = { (size_t)1 << 50, SIZE_MAX / 2, SIZE_MAX };
  for (int i = 0; i < 3; i++) {
    char said[256];
    int status = ask_for(sizes[i], said);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    assert_non_null(strstr(said, "out of memory ("));
  }
}

static void note(void *thing) { strcat(thing, "a"); }
static void note_other(void *thing) { strcat(thing, "b"); }

/* asks for more than there is while `held` says what is held */
static void ask_in_vain(ArenaRescue *rescue, int held, char dropped[8]) {
  ArenaHold hold[2];
  Arena *arena = arena_guest(rescue), *scratch = arena_under(arena);
  if (held > 0) arena_hold(arena, &hold[0], note, dropped);
  if (held > 1) arena_hold(scratch, &hold[1], note_other, dropped);
  if (held == 3) arena_let_go(arena, &hold[0]);
  if (held == 4) arena_free(scratch), scratch = arena;
  arena_alloc(scratch, (size_t)1 << 50);
  fail_msg("nothing was refused");
}

static void a_guest_goes_back_and_drops_the_innermost_first(void **state) {
  (void)state;
  const char *const expected[] = { "", "a", "ba", "b", "ba" };
  for (volatile int held = 0; held < 5; held++) {
    static char dropped[8]; /* static: kept on the way back */
    ArenaRescue rescue;
    *dropped = '\0';
    if (!arena_rescued(&rescue)) ask_in_vain(&rescue, held, dropped);
    assert_string_equal(dropped, expected[held]);
  }
}

static void an_arena_that_stays_has_left_its_guest(void **state) {
  (void)state;
  ArenaRescue rescue;
  if (arena_rescued(&rescue)) fail();
  Arena *arena = arena_guest(&rescue);
  arena_settle(arena);
  assert_null(rescue.held);
  arena_free(arena_under(arena));
  arena_free(arena);
}

/* Whatever was there before, and wherever it begins. */
static void an_arena_fits_into_its_footprint(void **state) {
  (void)state;
  Arena *model = arena_new();
  for (size_t i = 0; i < 50; i++) arena_alloc(model, i * i);
  size_t bytes = arena_footprint(model);
  unsigned char *memory = malloc(bytes + 64);
  for (size_t shift = 0; shift < 64; shift += 7) {
    memset(memory, 0xaa, bytes + 64);
    Arena *arena = arena_over(memory + shift, bytes);
    for (size_t i = 0; i < 50; i++) {
      unsigned char *block = arena_alloc(arena, i * i);
      assert_int_equal((uintptr_t)block % 64, 0);
      assert_true(all_zero(block, i * i));
    }
    arena_free(arena);
    for (size_t i = 0; i < shift; i++) assert_int_equal(memory[i], 0xaa);
    for (size_t i = shift + bytes; i < bytes + 64; i++) assert_int_equal(memory[i], 0xaa);
  }
  free(memory);
  arena_free(model);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(blocks_are_zeroed_aligned_and_disjoint),
    cmocka_unit_test(a_reset_gives_back_what_came_after_the_mark),
    cmocka_unit_test(a_cycle_of_mark_and_reset_needs_no_more_memory),
    cmocka_unit_test(text_is_formatted),
    cmocka_unit_test(an_arena_fits_into_its_footprint),
    cmocka_unit_test(more_memory_than_there_is_ends_the_program_with_a_sentence),
    cmocka_unit_test(a_guest_goes_back_and_drops_the_innermost_first),
    cmocka_unit_test(an_arena_that_stays_has_left_its_guest),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
