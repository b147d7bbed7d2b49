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
  EpisodeFlags flags = { .rows = ROWS,
                         .terminals = terminals ? done : NULL,
                         .timeouts = timeouts ? cut : NULL,
                         .horizon = horizon };
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

/* ---- rows and their successors --------------------------------------------------------------- */

enum { DIM = 2 };

/* Rows of one long episode: next_observations say what the next row holds, but for row `odd`. */
static EpisodeFlags said_twice(float *obs, float *next, float *tolerance, int odd, float by) {
  for (int i = 0; i < ROWS * DIM; i++) obs[i] = 1e-6f * (float)(1 + i); /* micrometres, say */
  for (int i = 0; i < (ROWS - 1) * DIM; i++) next[i] = obs[i + DIM];
  for (int j = 0; j < DIM; j++) next[(ROWS - 1) * DIM + j] = 7;
  if (odd >= 0) next[odd * DIM + 1] *= 1 + by;
  episodes_tolerance(obs, ROWS, DIM, tolerance);
  return (EpisodeFlags){
    .rows = ROWS, .obs_dim = DIM, .observations = obs, .next = next, .tolerance = tolerance
  };
}

static void a_row_with_another_successor_ends_its_episode(void **state) {
  (void)state;
  float obs[ROWS * DIM], next[ROWS * DIM], tolerance[DIM];
  int64_t transition[ROWS], start[ROWS + 1];
  EpisodeFlags flags = said_twice(obs, next, tolerance, -1, 0);
  EpisodeCounts n = episodes_find(&flags, NULL, NULL);
  assert_true(n.compared == ROWS - 1 && n.cut == 0 && n.first_cut == -1 && n.episodes == 1);
  /* rounding is no contradiction, one part in a hundred is */
  flags = said_twice(obs, next, tolerance, 2, 3e-7f);
  assert_int_equal(episodes_find(&flags, NULL, NULL).cut, 0);
  flags = said_twice(obs, next, tolerance, 2, 1e-2f);
  n = episodes_find(&flags, transition, start);
  assert_true(n.cut == 1 && n.first_cut == 2 && n.episodes == 2 && n.transitions == ROWS - 2);
  assert_true(start[1] == 3 && transition[2] == 3);
  /* where the flags end an episode there is nothing to compare */
  const uint8_t over[ROWS] = { 0, 0, 1, 0, 0, 0 };
  flags.terminals = over;
  n = episodes_find(&flags, NULL, NULL);
  assert_true(n.cut == 0 && n.compared == ROWS - 2 && n.transitions == ROWS - 1);
}

static void a_leap_among_small_steps_looks_like_a_start(void **state) {
  (void)state;
  enum { MANY = 400, LEAP = 150 };
  float obs[MANY * DIM];
  for (int i = 0; i < MANY; i++) {
    obs[i * DIM] = 0.01f * (float)(i % LEAP);
    obs[i * DIM + 1] = 5; /* an entry that never moves says nothing */
  }
  assert_int_equal(episodes_guess(obs, MANY, DIM), LEAP);
  for (int i = 0; i < MANY; i++) obs[i * DIM] = 0.01f * (float)i;
  assert_int_equal(episodes_guess(obs, MANY, DIM), -1);
  for (int i = 0; i < MANY; i++) obs[i * DIM] = 5;
  assert_int_equal(episodes_guess(obs, MANY, DIM), -1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_the_last_row_has_no_successor),
    cmocka_unit_test(test_terminal_rows_are_kept_and_timed_out_ones_dropped),
    cmocka_unit_test(test_the_horizon_counts_only_without_timeouts),
    cmocka_unit_test(a_row_with_another_successor_ends_its_episode),
    cmocka_unit_test(a_leap_among_small_steps_looks_like_a_start),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
