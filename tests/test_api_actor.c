/* test_api_actor.c -- what diffrl.h says about acting: the actions of the command line's Actor,
 * recomputable, within limits, with a fallback where a number is not finite. */
#include "tests/library.h"
#include <pthread.h>

enum { CALLS = 20 };

/* ---- questions ------------------------------------------------------------------------------- */

static void a_policy_says_what_it_is(void **state) {
  const Folder *folder = *state;
  diffrl_policy *policy = load(saved_diffusion(folder, "a", NULL), "candidates=5 choice=softmax");
  assert_int_equal(diffrl_policy_obs_dim(policy), OBS);
  assert_int_equal(diffrl_policy_act_dim(policy), ACT);
  for (int j = 0; j < ACT; j++) {
    assert_true(diffrl_policy_low(policy)[j] == saved_low[j]);
    assert_true(diffrl_policy_high(policy)[j] == saved_high[j]);
  }
  assert_non_null(strstr(diffrl_policy_act(policy), "\"sampler\":\"ddpm\""));
  assert_non_null(strstr(diffrl_policy_act(policy), "\"candidates\":5"));
  diffrl_policy_free(policy);
  assert_int_equal(diffrl_policy_obs_dim(NULL), 0);
  assert_null(diffrl_policy_act(NULL));
}

/* ---- the same actions ------------------------------------------------------------------------ */

/* Call n of seed s is what actor_act gives at step n, row 0, with seed s: bit for bit, for every
 * way of acting. */
static void actions_are_those_of_the_actor(void **state) {
  const Folder *folder = *state;
  static const char *const ways[] = { NULL, "sampler=ddim", "candidates=7 choice=argmax",
                                      "candidates=7 choice=softmax temperature=0.1",
                                      "sampler=dpmpp_2m steps=3" };
  const char *files[] = { saved_diffusion(folder, "d", NULL), saved_gaussian(folder, "g") };
  for (size_t w = 0; w < 2 * sizeof ways / sizeof *ways; w++) {
    const char *file = files[w % 2], *way = ways[w / 2];
    if (w % 2 && way) continue;
    const uint64_t seed = 77;
    diffrl_policy *policy = load(file, way);
    diffrl_actor *actor = actor_of(policy, NULL);
    Arena *arena = arena_new();
    Actor *same = saved_actor(arena, file, way, seed);
    OK(diffrl_actor_reset(actor, seed));
    for (uint64_t n = 0; n < CALLS; n++) {
      float obs[OBS], action[ACT], expected[ACT];
      draw_obs(n, obs);
      OK(diffrl_actor_act(actor, obs, action));
      actor_answer(same, obs, 1, n, NULL, expected, NULL);
      assert_memory_equal(action, expected, sizeof action);
    }
    arena_free(arena);
    diffrl_actor_free(actor);
    diffrl_policy_free(policy);
  }
}

/* Any call can be made again, in any order, by any actor of the policy. */
static void any_action_can_be_recomputed(void **state) {
  const Folder *folder = *state;
  diffrl_policy *policy = load(saved_diffusion(folder, "d", NULL), NULL);
  const float change[ACT] = { 0.01f, 0.02f };
  diffrl_actor_options options = diffrl_actor_defaults();
  options.change = change;
  diffrl_actor *first = actor_of(policy, &options), *second = actor_of(policy, &options);
  float obs[OBS], action[CALLS][ACT], again[ACT];
  diffrl_actor_reset(first, 5);
  for (uint64_t n = 0; n < CALLS; n++) {
    draw_obs(n, obs);
    OK(diffrl_actor_act(first, obs, action[n]));
  }
  diffrl_actor_reset(second, 5);
  for (uint64_t n = CALLS; n-- > 0;) {
    draw_obs(n, obs);
    OK(diffrl_actor_seek(second, n, n ? action[n - 1] : NULL));
    OK(diffrl_actor_act(second, obs, again));
    assert_memory_equal(again, action[n], sizeof again);
  }
  assert_memory_not_equal(action[0], action[1], sizeof again); /* the noise is another */
  diffrl_actor_reset(second, 6);
  draw_obs(0, obs);
  OK(diffrl_actor_act(second, obs, again));
  assert_memory_not_equal(again, action[0], sizeof again);
  diffrl_actor_free(first);
  diffrl_actor_free(second);
  diffrl_policy_free(policy);
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* In exactly so many bytes of the caller's, whatever they held and wherever they begin. */
static void an_actor_lives_in_memory_of_the_caller(void **state) {
  const Folder *folder = *state;
  diffrl_policy *policy = load(saved_diffusion(folder, "d", NULL), NULL);
  size_t size = diffrl_actor_size(policy);
  unsigned char *memory = malloc(size + 2);
  diffrl_actor *actor = NULL, *own = actor_of(policy, NULL);
  float obs[OBS], action[ACT], expected[ACT];
  memset(memory, 0xee, size + 2);
  assert_int_equal(diffrl_actor_new(&actor, policy, NULL, memory + 1, size - 1, &error),
                   DIFFRL_BAD_ARGUMENT);
  assert_non_null(strstr(error.text, "bytes"));
  OK(diffrl_actor_new(&actor, policy, NULL, memory + 1, size, &error));
  for (uint64_t n = 0; n < CALLS; n++) {
    draw_obs(n, obs);
    OK(diffrl_actor_act(actor, obs, action));
    OK(diffrl_actor_act(own, obs, expected));
    assert_memory_equal(action, expected, sizeof action);
  }
  diffrl_actor_free(actor);
  assert_true(memory[0] == 0xee && memory[size + 1] == 0xee);
  free(memory);
  diffrl_actor_free(own);
  diffrl_policy_free(policy);
}

/* ---- threads --------------------------------------------------------------------------------- */

typedef struct {
  const diffrl_policy *policy;
  float action[CALLS][ACT];
} Robot;

static void *drive(void *argument) {
  Robot *robot = argument;
  diffrl_actor *actor = NULL;
  if (diffrl_actor_new(&actor, robot->policy, NULL, NULL, 0, NULL)) return robot;
  for (uint64_t n = 0; n < CALLS; n++) {
    float obs[OBS];
    draw_obs(n, obs);
    if (diffrl_actor_act(actor, obs, robot->action[n])) return robot;
  }
  diffrl_actor_free(actor);
  return NULL;
}

static void threads_share_a_policy(void **state) {
  const Folder *folder = *state;
  enum { ROBOTS = 4 };
  static Robot robot[ROBOTS];
  pthread_t thread[ROBOTS];
  diffrl_policy *policy = load(saved_diffusion(folder, "d", NULL), "candidates=3 choice=argmax");
  for (int i = 0; i < ROBOTS; i++) {
    robot[i].policy = policy;
    assert_int_equal(pthread_create(&thread[i], NULL, drive, &robot[i]), 0);
  }
  for (int i = 0; i < ROBOTS; i++) {
    void *failed;
    pthread_join(thread[i], &failed);
    assert_null(failed);
    assert_memory_equal(robot[i].action, robot[0].action, sizeof robot[0].action);
  }
  diffrl_policy_free(policy);
}

/* ---- limits ---------------------------------------------------------------------------------- */

static void limits_hold(void **state) {
  const Folder *folder = *state;
  const float low[ACT] = { -0.1f, 0.05f }, high[ACT] = { 0.2f, 0.3f };
  const float change[ACT] = { 0.01f, INFINITY };
  diffrl_policy *policy = load(saved_diffusion(folder, "d", NULL), NULL);
  diffrl_actor_options options = diffrl_actor_defaults();
  options.low = low, options.high = high, options.change = change;
  diffrl_actor *actor = actor_of(policy, &options), *free_one = actor_of(policy, NULL);
  float obs[OBS], action[ACT], raw[ACT], last[ACT] = { 0 };
  int limited = 0;
  for (uint64_t n = 0; n < CALLS; n++) {
    draw_obs(n, obs);
    OK(diffrl_actor_act(actor, obs, action));
    OK(diffrl_actor_act(free_one, obs, raw));
    for (int j = 0; j < ACT; j++) {
      float expected = raw[j] < low[j] ? low[j] : raw[j] > high[j] ? high[j] : raw[j];
      if (n && expected < last[j] - change[j]) expected = last[j] - change[j], limited++;
      if (n && expected > last[j] + change[j]) expected = last[j] + change[j], limited++;
      assert_true(action[j] == expected);
    }
    memcpy(last, action, sizeof last);
  }
  assert_true(limited > 5);
  diffrl_actor_free(actor);
  diffrl_actor_free(free_one);
  diffrl_policy_free(policy);
}

/* ---- what is not finite ---------------------------------------------------------------------- */

static void a_fallback_takes_the_place_of_what_is_not_finite(void **state) {
  const Folder *folder = *state;
  if (sizeof(real) > sizeof(float))
    skip(); /* weights that a file can hold overflow nothing there */
  const char *good = saved_diffusion(folder, "d", NULL);
  const char *bad = saved_diffusion(folder, "nan", "overflow");
  const float given[ACT] = { 7, 8 }, change[ACT] = { 0.5f, 0.5f };
  const float expected[][ACT] = { { 3, 4 }, { 0, 0 }, { 7, 8 } };
  for (int fallback = DIFFRL_FALL_KEEP; fallback <= DIFFRL_FALL_GIVEN; fallback++)
    for (int b = 0; b < 2; b++) {
      diffrl_policy *policy = load(b ? bad : good, NULL);
      diffrl_actor_options options = diffrl_actor_defaults();
      options.fallback = fallback, options.change = change;
      if (fallback == DIFFRL_FALL_GIVEN) options.given = given;
      diffrl_actor *actor = actor_of(policy, &options);
      float obs[OBS] = { 0 }, action[ACT] = { 3, 4 };
      if (!b) obs[OBS - 1] = fallback ? NAN : -INFINITY;
      assert_int_equal(diffrl_actor_act(actor, obs, action),
                       b ? DIFFRL_NOT_FINITE : DIFFRL_BAD_OBSERVATION);
      assert_memory_equal(action, expected[fallback], sizeof action);
      /* the next action is within the change of what was written, free after nothing was */
      obs[OBS - 1] = 0;
      if (!b) {
        OK(diffrl_actor_act(actor, obs, action));
        assert_true((fabsf(action[1] - 8) <= 0.5f) == (fallback == DIFFRL_FALL_GIVEN));
      }
      diffrl_actor_free(actor);
      diffrl_policy_free(policy);
    }
}

/* A call that failed counts: the one after it has the noise it would have had. */
static void a_failed_call_counts(void **state) {
  const Folder *folder = *state;
  diffrl_policy *policy = load(saved_diffusion(folder, "d", NULL), NULL);
  diffrl_actor *actor = actor_of(policy, NULL), *other = actor_of(policy, NULL);
  float obs[OBS] = { 0 }, broken[OBS] = { NAN }, action[ACT], expected[ACT];
  OK(diffrl_actor_act(other, obs, expected));
  OK(diffrl_actor_act(other, obs, expected));
  assert_int_equal(diffrl_actor_act(actor, broken, action), DIFFRL_BAD_OBSERVATION);
  assert_int_equal(diffrl_actor_act(actor, NULL, action), DIFFRL_BAD_ARGUMENT); /* not a call */
  OK(diffrl_actor_act(actor, obs, action));
  assert_memory_equal(action, expected, sizeof action);
  diffrl_actor_free(actor);
  diffrl_actor_free(other);
  diffrl_policy_free(policy);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_policy_says_what_it_is),
    cmocka_unit_test(actions_are_those_of_the_actor),
    cmocka_unit_test(any_action_can_be_recomputed),
    cmocka_unit_test(an_actor_lives_in_memory_of_the_caller),
    cmocka_unit_test(threads_share_a_policy),
    cmocka_unit_test(limits_hold),
    cmocka_unit_test(a_fallback_takes_the_place_of_what_is_not_finite),
    cmocka_unit_test(a_failed_call_counts),
  };
  return cmocka_run_group_tests(tests, folder_open, folder_close);
}
