/* test_episodes.c -- D4RL's rule for rows without a successor, case by case. */
#include "datasets/episodes.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

enum { ROWS = 6 };

/* Flags are texts: '1' is set; NULL: no such array.  Expected: kept rows and starts as digits. */
static void check(const char *terminals, const char *timeouts, int horizon, const char *kept,
                  const char *starts, bool complete) {
  uint8_t done[ROWS], cut[ROWS];
  int64_t transition[ROWS], start[ROWS + 1];
  for (int i = 0; i < ROWS; i++) {
    done[i] = terminals && terminals[i] == '1';
    cut[i] = timeouts && timeouts[i] == '1';
  }
  EpisodeFlags flags = { ROWS, terminals ? done : NULL, timeouts ? cut : NULL, horizon };
  EpisodeCounts count = episodes_find(&flags, transition, start);
  assert_int_equal(count.transitions, strlen(kept));
  assert_int_equal(count.episodes + 1, strlen(starts));
  assert_int_equal(count.complete, complete);
  for (int i = 0; kept[i]; i++) assert_int_equal(transition[i], kept[i] - '0');
  for (int i = 0; starts[i]; i++) assert_int_equal(start[i], starts[i] - '0');
}

static void test_the_last_row_has_no_successor(void **state) {
  (void)state;
  check(NULL, NULL, 0, "01234", "06", false);
  check("000001", NULL, 0, "01234", "06", true);
}

static void test_terminal_rows_are_kept_and_timed_out_ones_dropped(void **state) {
  (void)state;
  check("001000", "000000", 0, "01234", "036", false);
  check("000000", "001000", 0, "0134", "036", false);
  check("001000", "001000", 0, "0134", "036", false); /* both: dropped */
  check(NULL, "111111", 0, "", "0123456", true);
}

static void test_the_horizon_counts_only_without_timeouts(void **state) {
  (void)state;
  check("000000", NULL, 2, "024", "0246", true);
  check("000000", "000000", 2, "01234", "06", false);
  check("100000", NULL, 3, "0124", "0146", false); /* counted from row 1 */
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_the_last_row_has_no_successor),
    cmocka_unit_test(test_terminal_rows_are_kept_and_timed_out_ones_dropped),
    cmocka_unit_test(test_the_horizon_counts_only_without_timeouts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
