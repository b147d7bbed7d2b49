/* test_api_plan.c -- what diffrl.h says about plans: two halves that are one call of act, actions
 * in the order of the plan, and what is done where there is none. */
#include "tests/library.h"
#include <pthread.h>
#include <stdatomic.h>

enum { CALLS = 20 };

/* ---- the same actions ------------------------------------------------------------------------ */

/* A plan and act_steps times next are as many calls of act, and these are those of an Actor that is
 * asked whenever a plan is due: bit for bit, for every kind of policy. */
static void a_plan_and_next_are_act(void **state) {
  const char *d = saved_diffusion(*state, "d", NULL), *p = saved_planner(*state, "p", NULL);
  const struct {
    const char *file, *act;
    int steps;
  } ways[] = { { d, NULL, 1 },
               { d, "candidates=7 choice=softmax", 1 },
               { saved_gaussian(*state, "g"), NULL, 1 },
               { p, NULL, 1 },
               { p, "act_steps=3 sampler=ddim", 3 },
               { p, "act_steps=8 weights=online", 8 } };
  for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
    diffrl_policy *policy = load(ways[w].file, ways[w].act);
    diffrl_actor *whole = actor_of(policy, NULL), *halves = actor_of(policy, NULL);
    Arena *arena = arena_new();
    Actor *same = saved_actor(arena, ways[w].file, ways[w].act, 5);
    float obs[OBS], action[ACT], again[ACT], expected[HORIZON][ACT];
    OK(diffrl_actor_reset(whole, 5));
    OK(diffrl_actor_reset(halves, 5));
    for (int n = 0; n < CALLS; n++) {
      int age = n % ways[w].steps;
      draw_obs((uint64_t)n, obs);
      if (!age) {
        OK(diffrl_actor_plan(halves, obs));
        actor_answer(same, obs, 1, (uint64_t)n, NULL, *expected, NULL);
      }
      OK(diffrl_actor_next(halves, again));
      OK(diffrl_actor_act(whole, obs, action));
      assert_memory_equal(action, expected[age], sizeof action);
      assert_memory_equal(again, expected[age], sizeof again);
    }
    arena_free(arena);
    diffrl_actor_free(whole), diffrl_actor_free(halves);
    diffrl_policy_free(policy);
  }
}

/* The actions of the plan that `diffrl sample` draws with this seed from this state, in its order,
 * within the bounds. */
static void actions_are_those_of_the_plan(void **state) {
  const Folder *folder = *state;
  const PlansModel *m = draft_model(folder->arena);
  diffrl_policy *policy = load(saved_planner(folder, "p", NULL), NULL);
  diffrl_actor *actor = actor_of(policy, NULL);
  Error why;
  float obs[OBS], action[ACT], plan[HORIZON][ACT + OBS];
  int cut = 0;
  draw_obs(0, obs);
  ModelSampling how = model_sampling(&m->base);
  how.seed = 9, how.kernels = kernels_find("own", &why);
  assert_true(plans_sample(m, &how, 1, obs, *plan, &why));
  OK(diffrl_actor_reset(actor, 9));
  assert_int_equal(diffrl_policy_horizon(policy), HORIZON);
  OK(diffrl_actor_plan(actor, obs));
  for (int t = 0; t < HORIZON; t++) {
    OK(diffrl_actor_next(actor, action));
    for (int j = 0; j < ACT; j++) {
      float x = plan[t][j], low = saved_low[j], high = saved_high[j];
      cut += x < low || x > high;
      assert_true(action[j] == (x < low ? low : x > high ? high : x));
    }
  }
  assert_true(cut > 0 && cut < HORIZON * ACT);
  diffrl_actor_free(actor);
  diffrl_policy_free(policy);
}

/* Limits hold from one action handed out to the next, across plans. */
static void limits_hold_across_plans(void **state) {
  const float change[ACT] = { 0.05f, 0.01f };
  diffrl_policy *policy = load(saved_planner(*state, "p", NULL), "act_steps=3");
  diffrl_actor_options options = diffrl_actor_defaults();
  options.change = change;
  diffrl_actor *actor = actor_of(policy, &options);
  float obs[OBS], action[ACT], last[ACT];
  for (int n = 0; n < CALLS; n++) {
    draw_obs((uint64_t)n, obs);
    OK(diffrl_actor_act(actor, obs, action));
    for (int j = 0; n && j < ACT; j++)
      assert_true(action[j] >= last[j] - change[j] && action[j] <= last[j] + change[j]);
    memcpy(last, action, sizeof last);
  }
  diffrl_actor_free(actor);
  diffrl_policy_free(policy);
}

/* ---- where there is no plan ------------------------------------------------------------------ */

static void without_a_plan_there_is_the_fallback(void **state) {
  const float given[ACT] = { 7, 8 }, expected[][ACT] = { { 3, 4 }, { 0, 0 }, { 7, 8 } };
  diffrl_policy *policy = load(saved_planner(*state, "p", NULL), NULL);
  for (int fallback = DIFFRL_FALL_KEEP; fallback <= DIFFRL_FALL_GIVEN; fallback++) {
    diffrl_actor_options options = diffrl_actor_defaults();
    options.fallback = fallback, options.given = given;
    diffrl_actor *actor = actor_of(policy, &options);
    float obs[OBS], action[ACT];
    draw_obs(0, obs);
    for (int why = 0; why < 4; why++) { /* none yet, all done, reset, sought */
      if (why) OK(diffrl_actor_plan(actor, obs));
      for (int t = 0; why == 1 && t < HORIZON; t++) OK(diffrl_actor_next(actor, action));
      if (why == 2) OK(diffrl_actor_reset(actor, 5));
      if (why == 3) OK(diffrl_actor_seek(actor, 5, NULL));
      for (int again = 0; again < 2; again++) {
        memcpy(action, expected[0], sizeof action);
        assert_int_equal(diffrl_actor_next(actor, action), DIFFRL_NO_PLAN);
        assert_memory_equal(action, expected[fallback], sizeof action);
      }
    }
    diffrl_actor_free(actor);
  }
  diffrl_policy_free(policy);
}

/* A plan has the number of the actions handed out before it, fallbacks too. */
static void what_is_handed_out_counts(void **state) {
  diffrl_policy *policy = load(saved_planner(*state, "p", NULL), NULL);
  diffrl_actor *actor = actor_of(policy, NULL), *other = actor_of(policy, NULL);
  float obs[OBS], action[ACT], expected[ACT];
  draw_obs(0, obs);
  assert_int_equal(diffrl_actor_next(actor, action), DIFFRL_NO_PLAN);
  OK(diffrl_actor_plan(actor, obs));
  OK(diffrl_actor_plan(actor, obs));
  OK(diffrl_actor_next(actor, action));
  OK(diffrl_actor_next(actor, action));
  OK(diffrl_actor_plan(actor, obs));
  OK(diffrl_actor_next(actor, action)); /* number 3 */
  OK(diffrl_actor_seek(other, 3, NULL));
  OK(diffrl_actor_act(other, obs, expected));
  assert_memory_equal(action, expected, sizeof action);
  OK(diffrl_actor_seek(other, 2, NULL));
  OK(diffrl_actor_act(other, obs, expected));
  assert_memory_not_equal(action, expected, sizeof action);
  diffrl_actor_free(actor), diffrl_actor_free(other);
  diffrl_policy_free(policy);
}

static void a_failed_plan_leaves_the_old_one(void **state) {
  if (sizeof(real) > sizeof(float))
    skip(); /* weights that a file can hold overflow nothing there */
  diffrl_policy *policy = load(saved_planner(*state, "p", NULL), NULL);
  diffrl_policy *broken = load(saved_planner(*state, "nan", "overflow"), NULL);
  diffrl_actor *actor = actor_of(policy, NULL), *other = actor_of(policy, NULL);
  diffrl_actor *never = actor_of(broken, NULL);
  float obs[OBS], bad[OBS] = { INFINITY }, action[ACT], expected[ACT];
  draw_obs(0, obs);
  OK(diffrl_actor_plan(actor, obs));
  OK(diffrl_actor_plan(other, obs));
  for (int t = 0; t < HORIZON; t++) {
    if (t > 1) assert_int_equal(diffrl_actor_plan(actor, bad), DIFFRL_BAD_OBSERVATION);
    OK(diffrl_actor_next(actor, action));
    OK(diffrl_actor_next(other, expected));
    assert_memory_equal(action, expected, sizeof action);
  }
  assert_int_equal(diffrl_actor_next(actor, action), DIFFRL_NO_PLAN);
  assert_int_equal(diffrl_actor_plan(never, obs), DIFFRL_NOT_FINITE);
  assert_int_equal(diffrl_actor_next(never, action), DIFFRL_NO_PLAN);
  assert_int_equal(diffrl_actor_act(never, obs, action), DIFFRL_NOT_FINITE);
  diffrl_actor_free(actor), diffrl_actor_free(other), diffrl_actor_free(never);
  diffrl_policy_free(policy), diffrl_policy_free(broken);
}

/* After a call of act that failed, the next one plans anew. */
static void a_failed_act_ends_the_plan(void **state) {
  diffrl_policy *policy = load(saved_planner(*state, "p", NULL), "act_steps=8");
  diffrl_actor *actor = actor_of(policy, NULL), *other = actor_of(policy, NULL);
  float obs[OBS], bad[OBS] = { NAN }, action[ACT], expected[ACT];
  draw_obs(0, obs);
  OK(diffrl_actor_act(actor, obs, action));
  assert_int_equal(diffrl_actor_act(actor, bad, action), DIFFRL_BAD_OBSERVATION);
  OK(diffrl_actor_act(actor, obs, action));
  OK(diffrl_actor_seek(other, 2, NULL));
  OK(diffrl_actor_act(other, obs, expected));
  assert_memory_equal(action, expected, sizeof action);
  diffrl_actor_free(actor), diffrl_actor_free(other);
  diffrl_policy_free(policy);
}

static void what_cannot_be_is_refused(void **state) {
  const char *planner = saved_planner(*state, "p", NULL), *d = saved_diffusion(*state, "d", NULL);
  const char *cases[][3] = { { planner, "horizon=4", "answers with 8 actions at once" },
                             { planner, "act_steps=9", "answers with 8 actions at once" },
                             { planner, "candidates=2 choice=argmax", "critics" },
                             { planner, "choice=mean", "has no choice" },
                             { planner, "sampler=dpmpp2m", "dpmpp_2m" },
                             { d, "act_steps=2", "answers with 1 action at once" },
                             { d, "horizon=8", "answers with 1 action at once" } };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    diffrl_policy *none = NULL;
    assert_int_equal(diffrl_policy_load(&none, cases[i][0], cases[i][1], &error),
                     DIFFRL_BAD_ARGUMENT);
    if (!strstr(error.text, cases[i][2])) fail_msg("%s: %s", cases[i][1], error.text);
  }
}

/* ---- two threads ----------------------------------------------------------------------------- */

enum { MANY = 400 };

typedef struct {
  diffrl_actor *actor;
  float obs[OBS];
  int made;
  atomic_bool stop;
} Planner;

static void *keep_planning(void *argument) {
  Planner *planner = argument;
  for (; !atomic_load(&planner->stop); planner->made++)
    if (diffrl_actor_plan(planner->actor, planner->obs)) return planner;
  return NULL;
}

/* While one thread plans without end, every action handed out is whole: action t of a plan made
 * when so many or fewer had been handed out, t one more than before or 0. */
static void one_thread_plans_while_another_acts(void **state) {
  static float plan[MANY][HORIZON][ACT], action[MANY][ACT];
  diffrl_policy *policy = load(saved_planner(*state, "p", NULL), NULL);
  Planner planner = { .actor = actor_of(policy, NULL) };
  pthread_t thread;
  draw_obs(0, planner.obs);
  for (uint64_t n = 0; n < MANY; n++) {
    OK(diffrl_actor_seek(planner.actor, n, NULL));
    OK(diffrl_actor_plan(planner.actor, planner.obs));
    for (int t = 0; t < HORIZON; t++) OK(diffrl_actor_next(planner.actor, plan[n][t]));
  }
  OK(diffrl_actor_reset(planner.actor, 0));
  OK(diffrl_actor_plan(planner.actor, planner.obs));
  assert_int_equal(pthread_create(&thread, NULL, keep_planning, &planner), 0);
  for (int n = 0, of = -1, t = 0; n < MANY; n++) {
    diffrl_status status = diffrl_actor_next(planner.actor, action[n]);
    if (status == DIFFRL_NO_PLAN) {
      assert_int_equal(t, HORIZON); /* only where one was done */
      usleep(50);
      continue;
    }
    bool goes_on = of >= 0 && t < HORIZON && !memcmp(action[n], plan[of][t], sizeof *action);
    for (of = goes_on ? of : n; !goes_on && of >= 0; of--)
      if (!memcmp(action[n], plan[of][0], sizeof *action)) break;
    assert_true(of >= 0);
    t = goes_on ? t + 1 : 1;
  }
  void *failed;
  atomic_store(&planner.stop, true);
  pthread_join(thread, &failed);
  assert_null(failed);
  assert_true(planner.made > 3);
  diffrl_actor_free(planner.actor);
  diffrl_policy_free(policy);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_plan_and_next_are_act),
    cmocka_unit_test(actions_are_those_of_the_plan),
    cmocka_unit_test(limits_hold_across_plans),
    cmocka_unit_test(without_a_plan_there_is_the_fallback),
    cmocka_unit_test(what_is_handed_out_counts),
    cmocka_unit_test(a_failed_plan_leaves_the_old_one),
    cmocka_unit_test(a_failed_act_ends_the_plan),
    cmocka_unit_test(what_cannot_be_is_refused),
    cmocka_unit_test(one_thread_plans_while_another_acts),
  };
  return cmocka_run_group_tests(tests, folder_open, folder_close);
}
