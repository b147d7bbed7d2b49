/* test_env.c -- every registered task keeps the contract of env.h, and the physics are the
 * reference's: transitions of Gymnasium's v4, and the masses that D4RL's MuJoCo had. */
#include "core/arena.h"
#include "core/checkpoint.h"
#include "envs/analytic.h"
#include "envs/env.h"
#include "envs/env_ops.h"
#include "envs/mujoco.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

enum { MAX_STEPS = 1000 };

typedef struct {
  const EnvDef *def;
  EnvModel *model;
  Env *env, *other; /* two simulations of one model */
} Pair;

static Pair pair_open(const EnvDef *def) {
  Error error = { 0 };
  Pair p = { .def = def, .model = env_load(def, &error) };
  if (!p.model) fail_msg("%s", error.text);
  p.env = env_create(p.model, &error);
  p.other = env_create(p.model, &error);
  if (!p.env || !p.other) fail_msg("%s", error.text);
  return p;
}

static void pair_close(Pair *p) {
  env_free(p->env);
  env_free(p->other);
  env_unload(p->model);
}

static void for_each_env(void (*test)(Pair *)) {
  size_t count;
  const EnvDef *const *list = env_list(&count);
  for (size_t i = 0; i < count; i++) {
    Pair p = pair_open(list[i]);
    test(&p);
    pair_close(&p);
  }
}

/* The action of step t of a fixed random sequence; a little beyond the bounds now and then. */
static void random_action(const EnvDef *def, uint64_t t, float *act) {
  double middle = (def->act_high + def->act_low) / 2, half = (def->act_high - def->act_low) / 2;
  for (int i = 0; i < def->act_dim; i++) {
    double u = 2 * rng_uniform(rng_stream(7, "test action"), t, 0, (uint32_t)i) - 1;
    act[i] = (float)(middle + 1.1 * half * u);
  }
}

static EnvStep random_step(Env *env, const EnvDef *def, uint64_t t, float *obs) {
  float act[ENV_MAX_ACT];
  random_action(def, t, act);
  return env_step(env, act, obs);
}

static void assert_finite(const float *x, int n) {
  for (int i = 0; i < n; i++) assert_true(isfinite(x[i]));
}

static void assert_near(double got, double expected, double tolerance) {
  if (!(fabs(got - expected) <= tolerance))
    fail_msg("got %.17g, expected %.17g +- %g", got, expected, tolerance);
}

static void assert_same_step(EnvStep a, EnvStep b) {
  assert_memory_equal(&a.reward, &b.reward, sizeof a.reward);
  assert_int_equal(a.terminal, b.terminal);
  assert_int_equal(a.timeout, b.timeout);
  assert_int_equal(a.failed, b.failed);
}

/* ---- the contract, for every task ------------------------------------------------------------ */

static void test_registry(void **state) {
  (void)state;
  size_t count;
  const EnvDef *const *list = env_list(&count);
  for (size_t i = 0; i < count; i++) {
    assert_ptr_equal(env_find(list[i]->name), list[i]);
    assert_in_range(list[i]->obs_dim, 1, ENV_MAX_OBS);
    assert_in_range(list[i]->act_dim, 1, ENV_MAX_ACT);
    assert_true(list[i]->horizon > 0 && list[i]->act_low < list[i]->act_high);
    assert_non_null(list[i]->about);
    assert_true(!list[i]->d4rl_reference || list[i]->return_expert > list[i]->return_random);
  }
  assert_null(env_find("hopper"));
}

static void reset_depends_on_seed_and_episode_alone(Pair *p) {
  float first[ENV_MAX_OBS], again[ENV_MAX_OBS], next[ENV_MAX_OBS], step[ENV_MAX_OBS];
  size_t bytes = sizeof(float) * (size_t)p->def->obs_dim;
  env_reset(p->env, 3, 5, first);
  assert_finite(first, p->def->obs_dim);
  env_reset(p->other, 3, 6, next);
  random_step(p->other, p->def, 0, step);
  env_reset(p->other, 3, 5, again);
  assert_memory_equal(first, again, bytes);
  if (env_nq(p->env)) assert_memory_not_equal(first, next, bytes);
}

static void steps_are_deterministic(Pair *p) {
  float a[ENV_MAX_OBS], b[ENV_MAX_OBS];
  size_t bytes = sizeof(float) * (size_t)p->def->obs_dim;
  env_reset(p->other, 1, 9, b);
  random_step(p->other, p->def, 99, b);
  env_reset(p->env, 1, 0, a);
  env_reset(p->other, 1, 0, b);
  for (uint64_t t = 0;; t++) {
    EnvStep sa = random_step(p->env, p->def, t, a), sb = random_step(p->other, p->def, t, b);
    assert_same_step(sa, sb);
    assert_memory_equal(a, b, bytes);
    assert_finite(a, p->def->obs_dim);
    if (sa.terminal || sa.timeout) break;
  }
}

static void an_episode_ends_at_its_horizon(Pair *p) {
  float obs[ENV_MAX_OBS];
  EnvStep s = { 0 };
  int length = 0;
  env_reset(p->env, 1, 1, obs);
  while (!s.terminal && !s.timeout) s = random_step(p->env, p->def, (uint64_t)length++, obs);
  assert_false(s.failed);
  assert_true(length <= p->def->horizon);
  assert_true(s.terminal != s.timeout);
  if (s.timeout) assert_int_equal(length, p->def->horizon);
}

/* Saved in the middle of an episode, loaded into another simulation: the same bits to the end. */
static void a_saved_state_continues_bit_for_bit(Pair *p) {
  float a[ENV_MAX_OBS], b[ENV_MAX_OBS];
  void *saved = malloc(env_state_size(p->env));
  uint64_t t = 0;
  env_reset(p->env, 2, 2, a);
  for (EnvStep s = { 0 }; t < 10 && t < (uint64_t)p->def->horizon / 2; t++) {
    s = random_step(p->env, p->def, t, a);
    assert_false(s.terminal);
  }
  env_state_save(p->env, saved);
  env_reset(p->other, 4, 4, b);
  random_step(p->other, p->def, 50, b);
  env_state_load(p->other, saved);
  for (EnvStep s = { 0 }; !s.terminal && !s.timeout; t++) {
    s = random_step(p->env, p->def, t, a);
    assert_same_step(s, random_step(p->other, p->def, t, b));
    assert_memory_equal(a, b, sizeof(float) * (size_t)p->def->obs_dim);
  }
  free(saved);
}

static void actions_are_clipped_to_the_bounds(Pair *p) {
  float wild[ENV_MAX_ACT], bound[ENV_MAX_ACT], a[ENV_MAX_OBS], b[ENV_MAX_OBS];
  for (int i = 0; i < p->def->act_dim; i++) {
    wild[i] = i % 2 ? -23 : 17;
    bound[i] = (float)(i % 2 ? p->def->act_low : p->def->act_high);
  }
  env_reset(p->env, 1, 1, a);
  env_reset(p->other, 1, 1, b);
  EnvStep far = env_step(p->env, wild, a), near = env_step(p->other, bound, b);
  assert_memory_equal(a, b, sizeof(float) * (size_t)p->def->obs_dim);
  if (!p->def->charges_given) {
    assert_same_step(far, near);
    return;
  }
  /* Gymnasium's -v4 tasks charge the effort of what was asked for */
  double rate = strcmp(p->def->task, "halfcheetah") ? 1e-3 : 0.1, more = 0;
  for (int i = 0; i < p->def->act_dim; i++)
    more += (double)wild[i] * (double)wild[i] - (double)bound[i] * (double)bound[i];
  assert_true(fabs((double)near.reward - (double)far.reward - rate * more) < 1e-5 * (1 + more));
  assert_true(far.terminal == near.terminal && far.timeout == near.timeout);
}

static void an_action_that_is_no_number_fails(Pair *p) {
  float act[ENV_MAX_ACT] = { 0 }, before[ENV_MAX_OBS], after[ENV_MAX_OBS];
  act[p->def->act_dim - 1] = NAN;
  env_reset(p->env, 1, 1, before);
  EnvStep s = env_step(p->env, act, after);
  assert_true(s.failed && s.terminal && s.reward == 0);
  assert_memory_equal(before, after, sizeof(float) * (size_t)p->def->obs_dim);
}

static void positions_that_were_set_come_back(Pair *p) {
  double qpos[64], qvel[64], qpos_back[64], qvel_back[64];
  float obs[ENV_MAX_OBS];
  size_t nq = (size_t)env_nq(p->env), nv = (size_t)env_nv(p->env);
  env_reset(p->env, 1, 1, obs);
  env_positions(p->env, qpos, qvel);
  env_set_positions(p->other, qpos, qvel, obs);
  env_positions(p->other, qpos_back, qvel_back);
  assert_memory_equal(qpos, qpos_back, nq * sizeof *qpos);
  assert_memory_equal(qvel, qvel_back, nv * sizeof *qvel);
}

static void test_contract(void **state) {
  (void)state;
  for_each_env(reset_depends_on_seed_and_episode_alone);
  for_each_env(steps_are_deterministic);
  for_each_env(an_episode_ends_at_its_horizon);
  for_each_env(a_saved_state_continues_bit_for_bit);
  for_each_env(actions_are_clipped_to_the_bounds);
  for_each_env(an_action_that_is_no_number_fails);
  for_each_env(positions_that_were_set_come_back);
}

/* ---- the reference's physics ----------------------------------------------------------------- */

static const double *golden(const Checkpoint *c, const char *task, const char *column, int rows,
                            int width) {
  char name[64];
  snprintf(name, sizeof name, "%s/%s", task, column);
  const CheckpointTensor *t = checkpoint_tensor(c, name);
  if (!t) fail_msg("tests/golden/envs.safetensors lacks %s", name);
  assert_int_equal(t->type, CHECKPOINT_F64);
  assert_int_equal(t->shape[0], rows);
  if (width) assert_int_equal(t->shape[1], width);
  return t->data;
}

static double largest_difference(const double *a, const double *b, int n) {
  double largest = 0;
  for (int i = 0; i < n; i++) largest = fmax(largest, fabs(a[i] - b[i]));
  return largest;
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* One step from each recorded state: qpos and qvel to 1e-9 in 99 of 100 rows, rewards to the float
 * they are given in, and every end of an episode.  Not in all rows: where the axes of two links of
 * the hopper cross, the direction in which they are pushed apart is rounding in any release. */
static void replay(const Checkpoint *c, const char *env_name, const char *task) {
  enum { ROWS = 500 };
  Pair p = pair_open(env_find(env_name));
  int nq = env_nq(p.env), nv = env_nv(p.env), nu = p.def->act_dim;
  const double *qpos = golden(c, task, "qpos", ROWS, nq);
  const double *qvel = golden(c, task, "qvel", ROWS, nv);
  const double *action = golden(c, task, "action", ROWS, nu);
  const double *next_qpos = golden(c, task, "next_qpos", ROWS, nq);
  const double *next_qvel = golden(c, task, "next_qvel", ROWS, nv);
  const double *reward = golden(c, task, "reward", ROWS, 0);
  const double *terminal = golden(c, task, "terminal", ROWS, 0);
  double difference[ROWS], reward_difference[ROWS], q[64], v[64];
  for (int r = 0; r < ROWS; r++) {
    float act[ENV_MAX_ACT], obs[ENV_MAX_OBS];
    for (int i = 0; i < nu; i++) act[i] = (float)action[r * nu + i];
    env_set_positions(p.env, qpos + r * nq, qvel + r * nv, obs);
    EnvStep s = env_step(p.env, act, obs);
    env_positions(p.env, q, v);
    difference[r] = fmax(largest_difference(q, next_qpos + r * nq, nq),
                         largest_difference(v, next_qvel + r * nv, nv));
    reward_difference[r] = fabs((double)s.reward - reward[r]) - 6e-8 * fabs(reward[r]);
    assert_false(s.failed);
    assert_int_equal(s.terminal, terminal[r] != 0);
  }
  qsort(difference, ROWS, sizeof *difference, ascending);
  qsort(reward_difference, ROWS, sizeof *reward_difference, ascending);
  print_message("%s against %s: median %.1e, 99th percentile %.1e, largest %.1e\n", env_name,
                checkpoint_text(c, "mujoco"), difference[ROWS / 2], difference[ROWS * 99 / 100],
                difference[ROWS - 1]);
  assert_true(difference[ROWS * 99 / 100] < 1e-9);
  assert_true(reward_difference[ROWS * 99 / 100] < 1e-9);
  pair_close(&p);
}

static void test_transitions_of_gymnasium(void **state) {
  (void)state;
  Arena *arena = arena_new();
  Checkpoint c;
  Error error = { 0 };
  checkpoint_init(&c, arena);
  if (!checkpoint_load(&c, "tests/golden/envs.safetensors", NULL, &error))
    fail_msg("%s", error.text);
  replay(&c, "hopper-v4", "hopper");
  replay(&c, "halfcheetah-v4", "halfcheetah");
  replay(&c, "walker2d-v4", "walker2d");
  replay(&c, "pendulum-v1", "pendulum");
  arena_free(arena);
}

/* MuJoCo prints 9 digits; moments are in the order of the body's own frame of inertia. */
static const struct {
  const char *env, *body;
  double mass, inertia[3];
} weights[] = {
  { "hopper-v2", "torso", 3.53429174, { 0.0618501054, 0.0618501054, 0.00441786467 } },
  { "hopper-v2", "thigh", 3.92699082, { 0.0842666779, 0.0842666779, 0.00490873852 } },
  { "hopper-v2", "leg", 2.71433605, { 0.0670441005, 0.0670441005, 0.00217146884 } },
  { "hopper-v2", "foot", 5.0893801, { 0.0904637313, 0.0904637313, 0.00916088418 } },
  { "hopper-v4", "torso", 3.66519143, { 0.0692459381, 0.0692459381, 0.00445058959 } },
  { "hopper-v4", "thigh", 4.05789051, { 0.0932987568, 0.0932987568, 0.00494146344 } },
  { "hopper-v4", "leg", 2.7813567, { 0.0723025402, 0.0723025402, 0.00218219215 } },
  { "hopper-v4", "foot", 5.31557477, { 0.103523081, 0.103523081, 0.00924231426 } },
  { "walker2d-v2", "torso", 3.53429174, { 0.0618501054, 0.0618501054, 0.00441786467 } },
  { "walker2d-v2", "thigh_left", 3.92699082, { 0.0842666779, 0.0842666779, 0.00490873852 } },
  { "walker2d-v2", "leg_left", 2.71433605, { 0.0670441005, 0.0670441005, 0.00217146884 } },
  { "walker2d-v2", "foot", 2.94053072, { 0.0192114674, 0.0192114674, 0.0052929553 } },
  { "walker2d-v2", "foot_left", 2.94053072, { 0.0192114674, 0.0192114674, 0.0052929553 } },
  { "walker2d-v4", "foot", 3.16672539, { 0.0239977466, 0.0239977466, 0.00537438538 } },
  { "halfcheetah-v2", "torso", 6.36031332, { 0.894453607, 0.883565022, 0.0176177962 } },
  { "halfcheetah-v2", "bthigh", 1.53524804, { 0.0152557598, 0.0152557598, 0.00162429243 } },
  { "halfcheetah-v2", "bshin", 1.58093995, { 0.0166083011, 0.0166083011, 0.00167263446 } },
  { "halfcheetah-v2", "bfoot", 1.0691906, { 0.00544431854, 0.00544431854, 0.00113120366 } },
  { "halfcheetah-v2", "fthigh", 1.42558747, { 0.0123185013, 0.0123185013, 0.00150827154 } },
  { "halfcheetah-v2", "fshin", 1.17885117, { 0.00716269974, 0.00716269974, 0.00124722454 } },
  { "halfcheetah-v2", "ffoot", 0.849869452, { 0.00289975457, 0.00289975457, 0.00089916188 } },
  { "halfcheetah-v4", "torso", 6.25020921, { 0.897117688, 0.885655452, 0.0179609234 } },
  { "halfcheetah-v4", "bthigh", 1.54351464, { 0.0168443396, 0.0168443396, 0.00157602159 } },
  { "halfcheetah-v4", "ffoot", 0.884518828, { 0.00352910946, 0.00352910946, 0.000878804017 } },
};

static void test_v2_weighs_what_d4rl_weighed(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof weights / sizeof *weights; i++) {
    Pair p = pair_open(env_find(weights[i].env));
    double mass, inertia[3], centre[3];
    assert_true(mujoco_body(p.model, weights[i].body, &mass, inertia, centre));
    assert_near(mass, weights[i].mass, 1e-6);
    for (int k = 0; k < 3; k++) assert_near(inertia[k], weights[i].inertia[k], 1e-6);
    pair_close(&p);
  }
}

/* The formula of a cylinder r/2 longer at both ends, independent of the table above. */
static void test_a_v2_capsule_is_a_longer_cylinder(void **state) {
  (void)state;
  Pair p = pair_open(env_find("hopper-v2"));
  const double pi = acos(-1), r = 0.05, length = 2 * (0.2 + r / 2), density = 1000;
  double expected = density * pi * r * r * length, mass, inertia[3], centre[3];
  assert_true(mujoco_body(p.model, "torso", &mass, inertia, centre));
  assert_near(mass, expected, 1e-12);
  assert_near(inertia[0], expected * (3 * r * r + length * length) / 12, 1e-12);
  assert_near(inertia[2], expected * r * r / 2, 1e-12);
  assert_near(centre[2], 0, 1e-12);
  assert_false(mujoco_body(p.model, "wing", &mass, inertia, centre));
  pair_close(&p);
}

static void test_normalized_scores(void **state) {
  (void)state;
  const EnvDef *def = env_find("hopper-v2");
  assert_near(env_normalized(def, 3234.3), 100, 1e-12);
  assert_near(env_normalized(def, -20.272305), 0, 1e-12);
  assert_near(env_normalized(def, 1607.0138475), 50, 1e-9);
  assert_true(def->d4rl_reference);
  assert_false(env_find("hopper-v4")->d4rl_reference);
}

/* ---- when the simulator gives up ------------------------------------------------------------- */

/* The engine resets such states to the start pose without a word. */
static void assert_blown_up(Pair *p, double speed) {
  double qpos[64], qvel[64], q[64], v[64];
  float act[ENV_MAX_ACT] = { 0 }, before[ENV_MAX_OBS], after[ENV_MAX_OBS];
  env_reset(p->env, 1, 1, before);
  env_positions(p->env, qpos, qvel);
  qvel[env_nv(p->env) - 1] = speed;
  env_set_positions(p->env, qpos, qvel, before);
  EnvStep s = env_step(p->env, act, after);
  assert_true(s.failed && s.terminal && !s.timeout && s.reward == 0);
  env_positions(p->env, q, v);
  assert_memory_equal(q, qpos, sizeof *q * (size_t)env_nq(p->env));
  assert_memory_equal(v, qvel, sizeof *v * (size_t)env_nv(p->env));
  assert_memory_equal(before, after, sizeof(float) * (size_t)p->def->obs_dim);

  env_reset(p->env, 1, 1, after);
  assert_false(env_step(p->env, act, after).failed);
}

static void test_a_blown_up_state_is_no_teleport(void **state) {
  (void)state;
  const char *const names[] = { "hopper-v2", "halfcheetah-v2", "walker2d-v2" };
  for (int i = 0; i < 3; i++) {
    Pair p = pair_open(env_find(names[i]));
    assert_blown_up(&p, 1e11); /* the engine refuses it at once */
    assert_blown_up(&p, 9e9);  /* it is accepted and grows */
    assert_blown_up(&p, NAN);
    pair_close(&p);
  }
}

/* The engine's own entry points, to raise an error in the midst of a step. */
extern void (*mjcb_control)(const void *model, void *data);
extern void mju_error(const char *text, ...);

static void raise_error(const void *model, void *data) {
  (void)model, (void)data;
  mju_error("the test says %d", 42);
}

static void test_an_engine_error_is_a_failed_step(void **state) {
  (void)state;
  Pair p = pair_open(env_find("walker2d-v2"));
  float act[ENV_MAX_ACT] = { 0 }, before[ENV_MAX_OBS], after[ENV_MAX_OBS];
  size_t bytes = sizeof(float) * (size_t)p.def->obs_dim;
  env_reset(p.env, 1, 1, before);
  for (int i = 0; i < 100; i++) { /* no leak of the engine's stack either */
    mjcb_control = raise_error;
    EnvStep s = env_step(p.env, act, after);
    mjcb_control = NULL;
    assert_true(s.failed && s.terminal);
    assert_memory_equal(before, after, bytes);
  }
  assert_false(env_step(p.env, act, after).failed);
  pair_close(&p);
}

static void test_a_bad_model_is_an_error(void **state) {
  (void)state;
  MujocoTask task = { .xml = "<mujoco><worldbody><geom size='minus one'/></worldbody></mujoco>" };
  EnvDef def = { .name = "bad-v0", .physics = "v4", .ops = &mujoco_ops, .spec = &task };
  Error error = { 0 };
  assert_null(env_load(&def, &error));
  assert_int_equal(error.kind, FAIL_RUNNING);
  assert_non_null(strstr(error.text, "environment bad-v0"));
  assert_non_null(strstr(error.text, "does not compile"));
  assert_non_null(strstr(error.text, env_simulator()));
}

/* What the tests above provoked has left no MUJOCO_LOG.TXT in the current folder. */
static int enter_empty_folder(void **state) {
  char folder[] = "/tmp/diffrl-test-XXXXXX";
  if (!mkdtemp(folder) || chdir(folder) != 0) return -1;
  *state = strdup(folder);
  return 0;
}

static int leave_empty_folder(void **state) {
  char *folder = *state;
  int left = rmdir(folder); /* fails unless empty */
  free(folder);
  return left;
}

/* ---- the small tasks, by their formulas ------------------------------------------------------ */

static void test_pointmass(void **state) {
  (void)state;
  Pair p = pair_open(env_find("point-v0"));
  const double qpos[2] = { 0.3, -0.4 }, qvel[2] = { 1, 0.5 };
  const float act[2] = { -1, 0.5F };
  float obs[ENV_MAX_OBS];
  env_set_positions(p.env, qpos, qvel, obs);
  EnvStep s = env_step(p.env, act, obs);
  assert_near((double)obs[2], 0.9, 1e-6);
  assert_near((double)obs[3], 0.55, 1e-6);
  assert_near((double)obs[0], 0.39, 1e-6);
  assert_near((double)obs[1], -0.345, 1e-6);
  assert_near((double)s.reward, -sqrt(0.39 * 0.39 + 0.345 * 0.345), 1e-6);
  pair_close(&p);
}

static double pull(Env *env, float x, float y) {
  float act[2] = { x, y }, obs[ENV_MAX_OBS];
  env_reset(env, 0, 0, obs);
  EnvStep s = env_step(env, act, obs);
  assert_true(s.terminal && !s.timeout && !s.failed);
  return (double)s.reward;
}

static void test_bandit(void **state) {
  (void)state;
  Pair p = pair_open(env_find("bandit-v0"));
  assert_near(pull(p.env, 0.8F, 0.8F), 1, 1e-6);
  assert_near(pull(p.env, -0.8F, 0.8F), 0.5, 1e-6);
  assert_near(pull(p.env, 0.8F, 0.6F), exp(-0.5), 1e-6);
  assert_true(pull(p.env, 0, 0) < 1e-6);
  pair_close(&p);
}

int main(void) {
  const struct CMUnitTest facts[] = {
    cmocka_unit_test(test_registry),
    cmocka_unit_test(test_contract),
    cmocka_unit_test(test_transitions_of_gymnasium),
    cmocka_unit_test(test_v2_weighs_what_d4rl_weighed),
    cmocka_unit_test(test_a_v2_capsule_is_a_longer_cylinder),
    cmocka_unit_test(test_normalized_scores),
    cmocka_unit_test(test_pointmass),
    cmocka_unit_test(test_bandit),
  };
  const struct CMUnitTest failures[] = {
    cmocka_unit_test(test_a_blown_up_state_is_no_teleport),
    cmocka_unit_test(test_an_engine_error_is_a_failed_step),
    cmocka_unit_test(test_a_bad_model_is_an_error),
  };
  print_message("%s\n", env_simulator());
  int failed = cmocka_run_group_tests_name("facts", facts, NULL, NULL);
  failed += cmocka_run_group_tests_name("failures leave no files", failures, enter_empty_folder,
                                        leave_empty_folder);
  return failed;
}
