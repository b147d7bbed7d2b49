/* test_reward.c -- rewards where they are known by hand, their gradients against differences, and
 * what programs of the user's may do wrong. */
#include "core/clock.h"
#include "core/tape/graph.h"
#include "rl/reward/reward.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/wait.h>

enum { DIM = 4, COUNT = 2 };
static const real pixel[COUNT * DIM] = { -1, 1, 1, 1, 0.5f, 0.5f, 0.5f, 0.5f };

static Reward *named(Arena *arena, const char *text, Error *error) {
  RewardSpec spec = { .plane = { 2, 2, 1 }, .pictures = true, .seconds = 0.5 };
  return reward_open(arena, text, &spec, error);
}

static void check(const char *text, double first, double second) {
  Arena *arena = arena_new();
  Error error = { 0 };
  float value[COUNT] = { 0 };
  Reward *r = named(arena, text, &error);
  assert_non_null(r);
  if (!reward_values(r, pixel, DIM, COUNT, value, &error)) fail_msg("%s", error.text);
  assert_true(fabs((double)value[0] - first) < 1e-5);
  assert_true(fabs((double)value[1] - second) < 1e-5);
  reward_close(r);
  arena_free(arena);
}

static void formulas(void **state) {
  (void)state;
  check("brightness", 0.75, 0.75);
  check("ink", (3 + 1 / (1 + exp(4))) / 4, 1);
  check("contrast", sqrt(0.75 + 1e-6), 1e-3);
  check("symmetry", -2, 0);
}

static void jpeg_rewards_are_opposite(void **state) {
  Arena *arena = arena_new();
  Error error = { 0 };
  float small[COUNT], large[COUNT];
  (void)state;
  assert_true(reward_values(named(arena, "jpeg-small", &error), pixel, DIM, COUNT, small, &error));
  assert_true(reward_values(named(arena, "jpeg-large", &error), pixel, DIM, COUNT, large, &error));
  for (int i = 0; i < COUNT; i++) {
    assert_true(large[i] > 0.1f); /* the tables of a JPEG file alone are more */
    assert_true(small[i] == -large[i]);
  }
  arena_free(arena);
}

/* It fails with these words, soon, and no child is left. */
static void refused(const char *text, const char *words) {
  Arena *arena = arena_new();
  Error error = { 0 };
  float value[COUNT];
  double start = clock_now();
  Reward *r = named(arena, text, &error);
  assert_false(r && reward_values(r, pixel, DIM, COUNT, value, &error));
  if (!strstr(error.text, words)) fail_msg("%s: %s", text, error.text);
  assert_true(clock_now() - start < 5);
  assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
  assert_int_equal(errno, ECHILD);
  reward_close(r);
  arena_free(arena);
}

static void unknown_names(void **state) {
  (void)state;
  refused("brightnes", "brightness");
  refused("linear:1,2", "points");
  refused("exec", "COMMAND");
}

static void programs(void **state) {
  (void)state;
  check("exec:cat >/dev/null; echo 1; echo -2.5", 1, -2.5);
  check("exec:echo 1; echo 2", 1, 2);
  check("exec:wc -c; echo $DIFFRL_COUNT", COUNT * DIM * 4, COUNT);
  check("exec:cat >/dev/null; echo $DIFFRL_HEIGHT; echo $DIFFRL_CHANNELS", 2, 1);
}

static void programs_that_fail(void **state) {
  (void)state;
  refused("exec:sleep 20", "not done after 0.5 s");
  refused("exec:sleep 20 & sleep 20", "not done after 0.5 s");
  refused("exec:kill -SEGV $$", "signal 11");
  refused("exec:echo 1; echo 2; exit 3", "status 3");
  refused("exec:./no-such-program", "status 127");
  refused("exec:echo 1", "1 lines for 2");
  refused("exec:echo 1; echo 2; echo 3", "more than 2 lines");
  refused("exec:echo 1; echo good", "\"good\"");
  refused("exec:echo 1; echo nan", "nan");
  refused("exec:yes", "more than 128 bytes");
  refused("exec:exec >&-; true", "0 lines");
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(formulas),           cmocka_unit_test(jpeg_rewards_are_opposite),
    cmocka_unit_test(unknown_names),      cmocka_unit_test(programs),
    cmocka_unit_test(programs_that_fail),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
