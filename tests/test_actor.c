/* test_actor.c -- an actor is the tape of policy_record, however its work is shared out.
 * Promises B4 and R4 of docs/design.md. */
#include "tests/pool.h"
#include "tests/saved_policy.h"

enum { ROWS = 7, SEED = 12 };
static const int candidates[] = { 1, 7, 16, 50, 64 };
enum { CASES = sizeof candidates / sizeof *candidates };

static const Kernels *own(void) {
  Error error;
  return kernels_find("own", &error);
}

static Policy *policy_of(Arena *arena, int count) {
  Policy *policy = draft_policy(arena, "diffusion").policy;
  policy->act.candidates = count;
  if (count > 1) strcpy(policy->act.choice.s, "softmax");
  return policy;
}

static Actor *actor_of(Arena *arena, const Policy *policy, int rows, Pool *pool) {
  Error error;
  Actor *actor = actor_new(arena, policy, rows, SEED, pool, own(), &error);
  if (!actor) fail_msg("%s", error.text);
  return actor;
}

static void draw_rows(float obs[ROWS][OBS], uint32_t id[ROWS]) {
  for (uint32_t r = 0; r < ROWS; r++) draw_obs(r, obs[r]), id[r] = 3 * r + 1;
}

/* Which has all candidates of an observation in one row and the choice on the same tape. */
static void actions_are_those_of_the_recorded_policy(void **state) {
  const Folder *folder = *state;
  float obs[ROWS][OBS], act[ROWS][ACT];
  uint32_t id[ROWS];
  draw_rows(obs, id);
  for (int c = 0; c < CASES; c++) {
    Error error;
    const Policy *policy = policy_of(folder->arena, candidates[c]);
    Graph *g =
        graph_new(folder->arena, &(GraphSpec){ .seed = SEED, .kernels = own(), .max_rows = ROWS });
    Tensor *input = t_input(g, "obs", 1, OBS);
    Tensor *recorded = policy_record(policy, g, input, NULL, &error);
    graph_keep(recorded);
    graph_seal(g);
    real *normal = arena_array(folder->arena, real, ROWS * row_stride(OBS));
    for (int r = 0; r < ROWS; r++)
      normalizer_apply(policy->units.obs, obs[r], normal + r * row_stride(OBS));
    graph_bind(input, normal);
    graph_run(g, ROWS, 5, id);
    Actor *actor = actor_of(folder->arena, policy, ROWS, NULL);
    actor_answer(actor, *obs, ROWS, 5, id, *act, NULL);
    for (int r = 0; r < ROWS; r++)
      for (int j = 0; j < ACT; j++) {
        double mid = 0.5 * ((double)saved_low[j] + (double)saved_high[j]);
        double half = 0.5 * ((double)saved_high[j] - (double)saved_low[j]);
        double x = (double)graph_values(recorded)[r * row_stride(ACT) + j];
        assert_true(act[r][j] == (float)(mid + half * x));
      }
  }
}

/* Alone or among others, by one thread or several. */
static void an_action_depends_on_its_row_alone(void **state) {
  const Folder *folder = *state;
  float obs[ROWS][OBS], act[ROWS][ACT], again[ROWS][ACT];
  uint32_t id[ROWS];
  draw_rows(obs, id);
  for (int c = 0; c < CASES; c++) {
    const Policy *policy = policy_of(folder->arena, candidates[c]);
    actor_answer(actor_of(folder->arena, policy, ROWS, NULL), *obs, ROWS, 5, id, *act, NULL);
    for (int threads = 1; threads <= 4; threads++) {
      Pool *pool = pool_of(threads);
      actor_answer(actor_of(folder->arena, policy, ROWS, pool), *obs, ROWS, 5, id, *again, NULL);
      assert_memory_equal(again, act, sizeof act);
      Actor *alone = actor_of(folder->arena, policy, 1, pool);
      for (int r = 0; r < ROWS; r++) actor_answer(alone, obs[r], 1, 5, id + r, again[r], NULL);
      assert_memory_equal(again, act, sizeof act);
      pool_free(pool);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(actions_are_those_of_the_recorded_policy),
    cmocka_unit_test(an_action_depends_on_its_row_alone),
  };
  return cmocka_run_group_tests(tests, folder_open, folder_close);
}
