/* test_batch.c -- a drawn row is a transition of the file in the network's units, and depends on
 * (seed, step, row) alone.  Promise R3 of docs/design.md. */
#include "datasets/batch.h"
#include "tests/pool.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 2000, OBS = 3, ACT = 2, LENGTH = 20, BATCH = 64, EPISODES = ROWS / LENGTH };

typedef struct {
  float observations[ROWS * OBS], actions[ROWS * ACT], rewards[ROWS];
  uint8_t terminals[ROWS];
  int64_t transition[ROWS], episode_start[EPISODES + 1];
  Dataset data;
  Arena *arena;
} Fixture;

/* Row i: observation (i, i + .25, i + .5), action (i, -i), reward i; every 7th row is terminal;
 * episodes of 20 rows end in a time-out. */
static int setup(void **state) {
  Fixture *f = *state = calloc(1, sizeof *f);
  int64_t n = 0;
  for (int i = 0; i < ROWS; i++) {
    for (int j = 0; j < OBS; j++) f->observations[OBS * i + j] = (float)i + 0.25f * (float)j;
    f->actions[ACT * i] = (float)i, f->actions[ACT * i + 1] = (float)-i;
    f->rewards[i] = (float)i;
    f->terminals[i] = i % 7 == 0;
    if (i % LENGTH == 0) f->episode_start[i / LENGTH] = i;
    if (i % LENGTH != LENGTH - 1) f->transition[n++] = i;
  }
  f->episode_start[EPISODES] = ROWS;
  f->data = (Dataset){ .rows = ROWS,
                       .transitions = n,
                       .episodes = EPISODES,
                       .obs_dim = OBS,
                       .act_dim = ACT,
                       .observations = f->observations,
                       .actions = f->actions,
                       .rewards = f->rewards,
                       .terminals = f->terminals,
                       .transition = f->transition,
                       .episode_start = f->episode_start };
  f->arena = arena_new();
  return 0;
}

static int teardown(void **state) {
  Fixture *f = *state;
  arena_free(f->arena);
  free(f);
  return 0;
}

static RowSampler sampler(const Fixture *f) {
  return (RowSampler){ .data = &f->data, .rng = rng_stream(1, "batch"), .reward_scale = 1 };
}

static Batch *transitions(const Fixture *f, int rows) {
  return batch_new(f->arena, rows, OBS, ACT, (const Column[]){ TRANSITION_COLUMNS(1), { 0 } });
}

/* number j of row r of a column */
static real at(const Batch *b, const char *column, int r, int j) {
  const BatchColumn *c = batch_column(b, column);
  return c->values[r * c->ld + j];
}

static void test_rows_are_transitions_of_the_file(void **state) {
  Fixture *f = *state;
  RowSampler d = sampler(f);
  Batch *b = transitions(f, BATCH);
  for (uint64_t step = 0; step < 20; step++) {
    data_sample(&d, step, b);
    for (int r = 0; r < BATCH; r++) {
      real i = at(b, "obs", r, 0);
      assert_true((int)i % LENGTH != LENGTH - 1);
      assert_true(at(b, "obs", r, 2) == i + (real)0.5);
      assert_true(at(b, "next", r, 0) == i + 1 && at(b, "next", r, 2) == i + (real)1.5);
      assert_true(at(b, "act", r, 0) == i && at(b, "act", r, 1) == -i);
      assert_true(at(b, "reward", r, 0) == i);
      assert_true(at(b, "live", r, 0) == ((int)i % 7 != 0));
    }
  }
}

/* Rows 119 and 259 are terminal and the last of their episodes (7 divides both), and so is every
 * 140th from there on; windows of the others are never filled up. */
static void test_windows_stay_in_their_episode(void **state) {
  Fixture *f = *state;
  enum { HORIZON = 8, WIDTH = OBS + ACT };
  Normalizer norm = normalizer_new(f->arena, OBS);
  for (int j = 0; j < OBS; j++) norm.mean[j] = 3, norm.std[j] = 2;
  const Units units = { .obs_dim = OBS, .act_dim = ACT, .obs = &norm };
  for (int pad = 0; pad < 2; pad++) {
    RowSampler d = sampler(f);
    d.units = &units;
    d.rows = data_window_starts(f->arena, &d, HORIZON, pad, &d.row_count);
    int more = (ROWS - 120 + 139) / 140 * (HORIZON - 2);
    assert_int_equal(d.row_count, EPISODES * (LENGTH - HORIZON + 1) + (pad ? more : 0));
    const Column columns[] = { COLUMN("windows", OF_STEP, 0, HORIZON), { 0 } };
    Batch *b = batch_new(f->arena, BATCH, OBS, ACT, columns);
    const BatchColumn *c = batch_column(b, "windows");
    for (uint64_t step = 0; step < 40; step++) {
      data_sample(&d, step, b);
      for (int r = 0; r < BATCH * HORIZON; r++) {
        const real *window = c->values + r / HORIZON * c->ld;
        const real *now = window + r % HORIZON * WIDTH;
        int first = (int)window[0], row = first + r % HORIZON;
        bool inside = row / LENGTH == first / LENGTH;
        assert_true(inside || (pad && (first / LENGTH * LENGTH + LENGTH - 1) % 7 == 0));
        assert_true(now[0] == (inside ? row : 0) && now[1] == -now[0]);
        assert_true(now[ACT + 1] == (inside ? (row + (real)0.25 - 3) / 2 : (real)-1.5));
      }
    }
  }
}

static void assert_same(const Batch *a, const Batch *b, int rows) {
  for (int i = 0; i < b->columns; i++)
    assert_memory_equal(a->column[i].values, b->column[i].values,
                        sizeof(real) * (size_t)(rows * b->column[i].ld));
}

static void test_a_row_depends_on_seed_step_and_row_alone(void **state) {
  Fixture *f = *state;
  RowSampler d = sampler(f), other = sampler(f), together = sampler(f);
  Batch *b = transitions(f, BATCH), *small = transitions(f, 5);
  data_sample(&d, 41, b);
  data_sample(&d, 42, b);
  data_sample(&d, 42, small); /* another size, after other draws: the same first rows */
  assert_same(small, b, 5);
  int same_step = 0, same_seed = 0;
  Batch *c = transitions(f, BATCH);
  together.pool = pool_of(3);
  data_sample(&together, 42, c);
  assert_same(c, b, BATCH);
  pool_free(together.pool);
  data_sample(&d, 43, c);
  for (int r = 0; r < BATCH; r++) same_step += at(c, "obs", r, 0) == at(b, "obs", r, 0);
  other.rng = rng_stream(2, "batch");
  data_sample(&other, 42, c);
  for (int r = 0; r < BATCH; r++) same_seed += at(c, "obs", r, 0) == at(b, "obs", r, 0);
  assert_true(same_step < 5 && same_seed < 5);
}

/* 1900 transitions, 1.2 million draws: each count has mean 640 and deviation 25. */
static void test_draws_are_uniform(void **state) {
  Fixture *f = *state;
  RowSampler d = sampler(f);
  Batch *b = transitions(f, 4096);
  int count[ROWS] = { 0 };
  double n = 0, chi = 0, mean;
  for (uint64_t step = 0; step < 300; step++, n += 4096) {
    data_sample(&d, step, b);
    for (int r = 0; r < 4096; r++) count[(int)at(b, "obs", r, 0)]++;
  }
  mean = n / (double)f->data.transitions;
  for (int64_t t = 0; t < f->data.transitions; t++)
    chi += pow(count[f->transition[t]] - mean, 2) / mean;
  assert_true(fabs(chi - 1899) < 5 * sqrt(2 * 1899.0)); /* chi-squared, 1899 degrees */
}

static void test_units_of_the_network(void **state) {
  Fixture *f = *state;
  RowSampler d = sampler(f);
  Batch *b = transitions(f, BATCH);
  Normalizer norm = normalizer_new(f->arena, OBS);
  normalizer_fit(&norm, f->observations, NULL, ROWS);
  const float low[ACT] = { 0, -2000 }, high[ACT] = { 2000, 0 };
  const Units units = { OBS, ACT, &norm, NULL, low, high };
  d.units = &units;
  d.reward_scale = 4, d.reward_shift = -2;
  data_sample(&d, 7, b);
  for (int r = 0; r < BATCH; r++) {
    double row = ((double)at(b, "reward", r, 0) + 2) / 4;
    assert_true(row == rint(row) && row >= 0 && row < ROWS);
    double z = (row - (double)norm.mean[0]) / (double)norm.std[0];
    assert_true(fabs((double)at(b, "obs", r, 0) - z) < 1e-5);
    assert_true(fabs((double)at(b, "next", r, 0) - z - 1 / (double)norm.std[0]) < 1e-5);
    assert_true(fabs((double)at(b, "act", r, 0) - (row - 1000) / 1000) < 1e-6);
    assert_true(fabs((double)at(b, "act", r, 1) - (1000 - row) / 1000) < 1e-6);
  }
}

static void test_padding_stays_zero_and_missing_columns_have_defaults(void **state) {
  Fixture *f = *state;
  RowSampler d = sampler(f);
  Batch *b = transitions(f, BATCH);
  f->data.rewards = NULL, f->data.terminals = NULL;
  d.reward_shift = -1;
  data_sample(&d, 3, b);
  for (int r = 0; r < BATCH; r++) {
    for (int j = OBS; j < row_stride(OBS); j++)
      assert_true(at(b, "obs", r, j) == 0 && at(b, "next", r, j) == 0);
    for (int j = ACT; j < row_stride(ACT); j++) assert_true(at(b, "act", r, j) == 0);
    for (int j = 1; j < row_stride(1); j++) assert_true(at(b, "live", r, j) == 0);
    assert_true(at(b, "reward", r, 0) == -1 && at(b, "live", r, 0) == 1);
  }
}

static void test_held_out_episodes_are_whole_and_apart(void **state) {
  Fixture *f = *state;
  DataSplit s = data_split(f->arena, &f->data, rng_stream(1, "split"), DATA_HELD_SHARE);
  assert_int_equal(s.held_count, 5 * (LENGTH - 1)); /* 5 % of 100 episodes */
  assert_int_equal(s.train_count + s.held_count, f->data.transitions);
  int seen[ROWS] = { 0 }, held[EPISODES] = { 0 };
  for (int64_t i = 0; i < s.train_count; i++) seen[s.train[i]]++;
  for (int64_t i = 0; i < s.held_count; i++) seen[s.held[i]]++, held[s.held[i] / LENGTH]++;
  for (int64_t t = 0; t < f->data.transitions; t++) assert_int_equal(seen[f->transition[t]], 1);
  for (int e = 0; e < EPISODES; e++) assert_true(held[e] == 0 || held[e] == LENGTH - 1);
  DataSplit other = data_split(f->arena, &f->data, rng_stream(2, "split"), DATA_HELD_SHARE);
  assert_memory_not_equal(s.held, other.held, sizeof *s.held * (size_t)s.held_count);
}

static void test_a_single_episode_is_all_for_training(void **state) {
  Fixture *f = *state;
  f->data.episodes = 1, f->episode_start[1] = ROWS;
  DataSplit s = data_split(f->arena, &f->data, rng_stream(1, "split"), DATA_HELD_SHARE);
  assert_int_equal(s.held_count, 0);
  assert_int_equal(s.train_count, f->data.transitions);
}

static void test_the_pool_limits_what_is_drawn(void **state) {
  Fixture *f = *state;
  DataSplit s = data_split(f->arena, &f->data, rng_stream(1, "split"), DATA_HELD_SHARE);
  RowSampler d = sampler(f);
  d.rows = s.held, d.row_count = s.held_count;
  Batch *b = transitions(f, BATCH);
  data_sample(&d, 0, b);
  for (int r = 0; r < BATCH; r++) {
    int64_t row = (int64_t)at(b, "obs", r, 0), i = 0;
    while (i < s.held_count && s.held[i] != row) i++;
    assert_true(i < s.held_count);
  }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
    TEST(test_rows_are_transitions_of_the_file),
    TEST(test_windows_stay_in_their_episode),
    TEST(test_a_row_depends_on_seed_step_and_row_alone),
    TEST(test_draws_are_uniform),
    TEST(test_units_of_the_network),
    TEST(test_padding_stays_zero_and_missing_columns_have_defaults),
    TEST(test_held_out_episodes_are_whole_and_apart),
    TEST(test_a_single_episode_is_all_for_training),
    TEST(test_the_pool_limits_what_is_drawn),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
