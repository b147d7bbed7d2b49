/* walk_check.c -- does this build of the policy act as the library did?  Text that export.c
 * prints behind the recorded calls.
 *
 *   walk_check          replays them: "agree" and status 0, or what does not and status 1
 *   walk_check 1000     then times 100 batches of as many calls */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* ---- check ----------------------------------------------------------------------------------- */

/* Largest difference to the recorded actions, in parts of the action range. */
static double walk_replay(walk_state *state) {
  double largest = 0;
  walk_reset(state, 1);
  for (int i = 0; i < WALK_CALLS; i++) {
    float action[WALK_ACT];
    if (walk_act(state, walk_observation[i], action) != WALK_OK) return HUGE_VAL;
    for (int j = 0; j < WALK_ACT; j++) {
      double difference = (double)action[j] - walk_expected[i][j];
      if (difference < 0) difference = -difference;
      difference /= walk_range[j];
      if (!(difference <= largest)) largest = difference;
    }
  }
  return largest;
}

/* An observation that is not finite: a status, and the action stays as it was. */
static int walk_refuses(walk_state *state) {
  float observation[WALK_OBS] = { 0 }, action[WALK_ACT];
  for (int j = 0; j < WALK_ACT; j++) action[j] = 0.25f;
  observation[WALK_OBS - 1] = (float)HUGE_VAL;
  if (walk_act(state, observation, action) != WALK_BAD_OBSERVATION) return 0;
  for (int j = 0; j < WALK_ACT; j++)
    if (action[j] < 0.25f || action[j] > 0.25f) return 0;
  return 1;
}

static int walk_by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Microseconds of processor time a call takes: the median of 100 batches. */
static double walk_time(walk_state *state, long calls) {
  double time[WALK_CALLS];
  for (int batch = 0; batch < WALK_CALLS; batch++) {
    clock_t start = clock();
    for (long i = 0; i < calls; i++) {
      float action[WALK_ACT];
      walk_act(state, walk_observation[(batch + i) % WALK_CALLS], action);
    }
    time[batch] = 1e6 * (double)(clock() - start) / CLOCKS_PER_SEC / (double)calls;
  }
  qsort(time, WALK_CALLS, sizeof *time, walk_by_size);
  return time[WALK_CALLS / 2];
}

int main(int count, char **word) {
  static walk_state state;
  double difference = walk_replay(&state);
  int agrees = difference <= 1e-6, refuses = walk_refuses(&state);
  long calls = count > 1 ? strtol(word[1], NULL, 10) : 0;
  printf("%d calls %s: largest difference %.3g of the action range, 1e-06 allowed\n", WALK_CALLS,
         agrees ? "agree" : "DO NOT AGREE", difference);
  if (!refuses) printf("an infinite observation was NOT REFUSED\n");
  if (calls > 0)
    printf("%.2f us an action, median of %d batches of %ld\n", walk_time(&state, calls), WALK_CALLS,
           calls);
  return !(agrees && refuses);
}
