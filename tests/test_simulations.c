/* test_simulations.c -- many simulations side by side (rl/rollout/simulations.h). */
#include "rl/rollout/simulations.h"
#include "core/rng.h"
#include "tests/pool.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

enum { COUNT = 5, CHUNK = 3, DONE = 2, SEEN = 3, CALLS = 260 };

static EnvModel *model_of(const char *name) {
  Error error;
  EnvModel *model = env_load(env_find(name), &error);
  if (!model) fail_msg("%s", error.text);
  return model;
}

static Simulations *some(Arena *arena, const EnvModel *model, Pool *pool) {
  Error error;
  SimulationsSpec spec = { model, COUNT, SEEN, DONE, CHUNK, 11, pool };
  Simulations *s = simulations_new(arena, &spec, &error);
  if (!s) fail_msg("%s", error.text);
  return s;
}

/* the actions of call t, for all of them: [COUNT, CHUNK, act_dim] */
static void actions(const EnvDef *def, int t, float *act) {
  Rng rng = rng_stream(5, "actions");
  for (int j = 0; j < COUNT * CHUNK * def->act_dim; j++)
    act[j] = (float)(def->act_low + rng_uniform(rng, (uint64_t)t, 0, (uint32_t)j) *
                                        (def->act_high - def->act_low));
}

static size_t seen_bytes(const EnvDef *def) {
  return sizeof(float) * (size_t)(COUNT * SEEN * def->obs_dim);
}

/* Each goes on as one Env would that is reset where its episodes end. */
static void each_is_an_environment_alone(const char *name) {
  EnvModel *model = model_of(name);
  const EnvDef *def = env_def(model);
  Arena *arena = arena_new();
  Error error;
  Simulations *s = some(arena, model, NULL);
  Env *env = env_create(model, &error);
  enum { WHICH = 3 };
  float act[COUNT * CHUNK * ENV_MAX_ACT], obs[ENV_MAX_OBS], next[ENV_MAX_OBS];
  Decision d[COUNT];
  int64_t steps = 0, episode = 0, terminal = 0, timeouts = 0;
  env_reset(env, 11, WHICH, obs);
  for (int t = 0; t < CALLS; t++) {
    const float *seen = simulations_seen(s) + (ptrdiff_t)WHICH * SEEN * def->obs_dim;
    assert_memory_equal(seen + (SEEN - 1) * def->obs_dim, obs, sizeof *obs * (size_t)def->obs_dim);
    actions(def, t, act);
    simulations_step(s, act, d);
    EnvStep step = { 0 };
    double reward = 0;
    int done = 0;
    for (; done < DONE && !step.terminal && !step.timeout; done++) {
      step = env_step(env, act + (WHICH * CHUNK + done) * def->act_dim, next);
      reward += (double)step.reward;
    }
    assert_true(d[WHICH].reward == reward && d[WHICH].steps == done);
    assert_true(d[WHICH].terminal == step.terminal);
    assert_true(d[WHICH].ended == (step.terminal || step.timeout));
    /* what was reached is the end of the episode, not the start of the next */
    const float *after = simulations_after(s) + (ptrdiff_t)WHICH * SEEN * def->obs_dim;
    assert_memory_equal(after + (SEEN - 1) * def->obs_dim, next,
                        sizeof *next * (size_t)def->obs_dim);
    memcpy(obs, next, sizeof obs);
    terminal += step.terminal, timeouts += d[WHICH].ended && !step.terminal;
    if (d[WHICH].ended) env_reset(env, 11, (uint64_t)(++episode * COUNT + WHICH), obs);
    steps += done;
  }
  assert_true(terminal + timeouts > 0);
  assert_true(steps <= simulations_steps(s));
  env_free(env), simulations_close(s);
  arena_free(arena), env_unload(model);
}

static void episodes_that_fail_are_terminal(void **state) {
  (void)state;
  each_is_an_environment_alone("hopper-v2");
}

static void episodes_that_end_by_time_are_not(void **state) {
  (void)state;
  EnvModel *model = model_of("pendulum-v1");
  each_is_an_environment_alone("pendulum-v1");
  Arena *arena = arena_new();
  Simulations *s = some(arena, model, NULL);
  float act[COUNT * CHUNK * ENV_MAX_ACT];
  Decision d[COUNT];
  int ended = 0;
  for (int t = 0; t < CALLS; t++) {
    actions(env_def(model), t, act);
    simulations_step(s, act, d);
    for (int i = 0; i < COUNT; i++) ended += d[i].ended, assert_false(d[i].terminal);
  }
  /* 200 steps an episode, 2 a call */
  assert_int_equal(ended, COUNT * (CALLS * DONE / env_def(model)->horizon));
  simulations_close(s);
  arena_free(arena), env_unload(model);
}

/* What was seen goes back to the episode's first observation and no further. */
static void the_first_observation_stands_for_those_before_it(void **state) {
  (void)state;
  EnvModel *model = model_of("hopper-v2");
  Arena *arena = arena_new();
  Simulations *s = some(arena, model, NULL);
  int n = env_def(model)->obs_dim;
  for (int i = 0; i < COUNT; i++) {
    const float *seen = simulations_seen(s) + (ptrdiff_t)i * SEEN * n;
    for (int t = 1; t < SEEN; t++)
      assert_memory_equal(seen, seen + t * n, sizeof *seen * (size_t)n);
    if (i) assert_memory_not_equal(seen, simulations_seen(s), sizeof *seen * (size_t)n);
  }
  simulations_close(s);
  arena_free(arena), env_unload(model);
}

static void threads_change_no_bit(void **state) {
  (void)state;
  EnvModel *model = model_of("hopper-v2");
  const EnvDef *def = env_def(model);
  Arena *arena = arena_new();
  Pool *pool[3] = { NULL, pool_of(2), pool_of(3) };
  Simulations *s[3];
  Decision d[3][COUNT];
  float act[COUNT * CHUNK * ENV_MAX_ACT];
  for (int k = 0; k < 3; k++) s[k] = some(arena, model, pool[k]);
  for (int t = 0; t < CALLS; t++) {
    actions(def, t, act);
    for (int k = 0; k < 3; k++) memset(d[k], 0, sizeof d[k]), simulations_step(s[k], act, d[k]);
    for (int k = 1; k < 3; k++) {
      assert_memory_equal(simulations_seen(s[0]), simulations_seen(s[k]), seen_bytes(def));
      assert_memory_equal(simulations_after(s[0]), simulations_after(s[k]), seen_bytes(def));
      for (int i = 0; i < COUNT; i++) assert_true(d[0][i].reward == d[k][i].reward);
    }
  }
  for (int k = 0; k < 3; k++) {
    assert_true(simulations_return(s[k]) == simulations_return(s[0]));
    simulations_close(s[k]), pool_free(pool[k]);
  }
  arena_free(arena), env_unload(model);
}

/* From a file on they do what they did before it was written. */
static void a_checkpoint_holds_them_whole(void **state) {
  (void)state;
  EnvModel *model = model_of("hopper-v2");
  const EnvDef *def = env_def(model);
  Arena *arena = arena_new();
  Error error;
  Simulations *s = some(arena, model, NULL), *other = some(arena, model, NULL);
  float act[COUNT * CHUNK * ENV_MAX_ACT];
  Decision d[COUNT], e[COUNT];
  for (int t = 0; t < 37; t++) actions(def, t, act), simulations_step(s, act, d);
  Checkpoint c;
  checkpoint_init(&c, arena);
  simulations_save(s, &c);
  assert_true(simulations_load(other, &c, &error));
  assert_true(simulations_steps(s) == simulations_steps(other));
  for (int t = 37; t < CALLS; t++) {
    actions(def, t, act);
    simulations_step(s, act, d), simulations_step(other, act, e);
    assert_memory_equal(simulations_seen(s), simulations_seen(other), seen_bytes(def));
    for (int i = 0; i < COUNT; i++)
      assert_true(d[i].reward == e[i].reward && d[i].ended == e[i].ended);
  }
  assert_true(simulations_return(s) == simulations_return(other));
  simulations_close(s), simulations_close(other);
  arena_free(arena), env_unload(model);
}

static void what_is_no_state_is_refused(void **state) {
  (void)state;
  EnvModel *model = model_of("hopper-v2");
  Arena *arena = arena_new();
  Error error;
  Simulations *s = some(arena, model, NULL);
  const char *const names[] = { "simulations/state", "simulations/seen", "simulations/returns",
                                "simulations/counts" };
  for (int i = 0; i < 4; i++) {
    Checkpoint c;
    checkpoint_init(&c, arena);
    simulations_save(s, &c);
    for (size_t k = 0; k < c.tensors; k++) {
      CheckpointTensor *t = &c.tensor[k];
      if (strcmp(t->name, names[i])) continue;
      /* NaN, a negative count, or bytes that no simulator wrote */
      void *data = arena_alloc(arena, checkpoint_bytes(t));
      t->data = memset(data, 0xff, checkpoint_bytes(t));
    }
    assert_false(simulations_load(s, &c, &error));
    assert_int_equal(error.kind, FAIL_INPUT);
    assert_non_null(strstr(error.text, names[i]));
  }
  simulations_close(s);
  arena_free(arena), env_unload(model);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(episodes_that_fail_are_terminal),
    cmocka_unit_test(episodes_that_end_by_time_are_not),
    cmocka_unit_test(the_first_observation_stands_for_those_before_it),
    cmocka_unit_test(threads_change_no_bit),
    cmocka_unit_test(a_checkpoint_holds_them_whole),
    cmocka_unit_test(what_is_no_state_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
