/* test_columns.c -- n-step returns, discounts, masks, histories and chunks are those of a slow loop
 * over the flags of a file, at every place of episodes that end in each of the ways there are. */
#include "core/ops/ops.h"
#include "datasets/batch.h"
#include "datasets/episodes.h"
#include "rl/algos/td.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

enum { ROWS = 48, OBS = 3, ACT = 2, OWN = 2, MOST = 7 };
#define GAMMA 0.9
#define SCALE 2.0
#define SHIFT -1.0

static const Units units = {
  .obs_dim = OBS, .act_dim = ACT, .low = (const float[]){ -2, -4 }, .high = (const float[]){ 2, 4 }
};

/* an episode's length, and its last row's flags */
typedef struct {
  int length;
  bool terminal, timeout;
} Ending;

typedef struct {
  float obs[ROWS * OBS], act[ROWS * ACT], reward[ROWS], own[ROWS * OWN];
  uint8_t terminal[ROWS], timeout[ROWS];
  int64_t transition[ROWS], start[ROWS + 1];
  Dataset data;
} File;

/* by a terminal, a time-out, both, after one step and after two, and by the end of the file */
static const Ending cut[] = { { 9, true, false },  { 8, false, true }, { 1, true, false },
                              { 7, true, true },   { 2, false, true }, { 2, true, false },
                              { 10, true, false }, { 9, false, false } };
/* ending with a terminal, whose successor is not there, or with a time-out */
static const Ending whole[] = { { 20, false, true }, { 28, true, false } };
static const Ending timed[] = { { 20, true, false }, { 28, false, true } };

static void make_file(File *f, const Ending *ending) {
  *f = (File){ .data = { .rows = ROWS, .obs_dim = OBS, .act_dim = ACT } };
  Rng rng = rng_stream(3, "file");
  rng_normals(rng, 0, 0, f->obs, ROWS * OBS), rng_normals(rng, 1, 0, f->act, ROWS * ACT);
  rng_normals(rng, 2, 0, f->reward, ROWS), rng_normals(rng, 3, 0, f->own, ROWS * OWN);
  int row = 0;
  for (; row < ROWS; ending++) {
    row += ending->length;
    f->terminal[row - 1] = ending->terminal, f->timeout[row - 1] = ending->timeout;
  }
  const EpisodeFlags flags = { .rows = ROWS, .terminals = f->terminal, .timeouts = f->timeout };
  EpisodeCounts n = episodes_find(&flags, f->transition, f->start);
  f->data.transitions = n.transitions, f->data.episodes = n.episodes;
  f->data.observations = f->obs, f->data.actions = f->act, f->data.rewards = f->reward;
  f->data.terminals = f->terminal, f->data.timeouts = f->timeout;
  f->data.transition = f->transition, f->data.episode_start = f->start;
}

/* ---- the slow loop --------------------------------------------------------------------------- */

static bool ends(const File *f, int row) { return f->terminal[row] || f->timeout[row]; }
static double reward_of(const File *f, int row) { return SCALE * (double)f->reward[row] + SHIFT; }

static bool is_transition(const File *f, int row) {
  for (int64_t i = 0; i < f->data.transitions; i++)
    if (f->transition[i] == row) return true;
  return false;
}

typedef struct {
  double reward, live;
  int next; /* row */
} Steps;

static Steps add_steps(const File *f, int t, int n) {
  Steps s = { 0, 1, t };
  for (int i = 0; i < n && is_transition(f, t + i); i++) {
    s.reward += pow(GAMMA, i) * reward_of(f, t + i);
    s.live = f->terminal[t + i] ? 0 : pow(GAMMA, i);
    s.next = t + i + 1;
    if (f->terminal[t + i]) break;
  }
  return s;
}

/* the row i steps after row t of an episode, or the episode's first or last */
static int row_near(const File *f, int t, int i, bool *inside) {
  *inside = true;
  for (; i > 0 && *inside; i--) *inside = !ends(f, t) && t + 1 < ROWS, t += *inside;
  for (; i < 0 && *inside; i++) *inside = t > 0 && !ends(f, t - 1), t -= *inside;
  return t;
}

static double return_of(const File *f, int t) {
  double sum = 0, weight = 1;
  for (bool more = true; more; weight *= GAMMA) {
    sum += weight * reward_of(f, t);
    t = row_near(f, t, 1, &more);
  }
  return sum;
}

/* ---- beside the batch ------------------------------------------------------------------------ */

static void assert_near(const Batch *b, const char *column, int j, double expected) {
  double found = (double)batch_column(b, column)->values[j];
  if (fabs(found - expected) > 1e-5 * (1 + fabs(expected)))
    fail_msg("%s %d: %g, expected %g", column, j, found, expected);
}

static void assert_obs(const File *f, const Batch *b, const char *column, int place, int row) {
  for (int j = 0; j < OBS; j++)
    assert_near(b, column, place * OBS + j, (double)f->obs[row * OBS + j]);
}

/* Every transition alone: its batch is what the slow loop says. */
static void check_file(const File *f, int n) {
  Arena *arena = arena_new();
  const Column columns[] = {
    TRANSITION_COLUMNS(n),
    COLUMN("history", OF_OBS, 1 - n, n),
    COLUMN("next history", OF_NEXT, n, n),
    COLUMN("later", OF_OBS, 0, n + 1),
    COLUMN("chunk", OF_ACT, 0, n),
    COLUMN("past", OF_ACT, -n, n),
    COLUMN("valid", OF_VALID, 0, n),
    COLUMN("known", OF_VALID, 1 - n, n),
    COLUMN("to go", OF_RETURN, 0, 1),
    { .name = "own", .of = OF_OWN, .steps = n, .own = f->own, .width = OWN },
    { 0 }
  };
  Batch *b = batch_new(arena, 1, OBS, ACT, columns);
  for (int64_t i = 0; i < f->data.transitions; i++) {
    const RowSampler d = { .data = &f->data,
                           .rng = rng_stream(1, "batch"),
                           .rows = &f->transition[i],
                           .row_count = 1,
                           .units = &units,
                           .reward_scale = SCALE,
                           .reward_shift = SHIFT,
                           .discount = GAMMA };
    int t = (int)f->transition[i];
    Steps s = add_steps(f, t, n);
    bool inside;
    data_sample(&d, 0, b);
    assert_obs(f, b, "obs", 0, t), assert_obs(f, b, "next", 0, s.next);
    assert_near(b, "reward", 0, s.reward), assert_near(b, "live", 0, s.live);
    assert_near(b, "to go", 0, return_of(f, t));
    for (int k = 0; k < n; k++) {
      int before = row_near(f, t, k + 1 - n, &inside);
      assert_obs(f, b, "history", k, before), assert_near(b, "known", k, inside);
      int last = s.next + k + 1 - n, first = row_near(f, t, -ROWS, &inside);
      assert_obs(f, b, "next history", k, last > first ? last : first);
      int past = row_near(f, t, k - n, &inside), later = row_near(f, t, k, &inside);
      assert_near(b, "valid", k, inside);
      for (int j = 0; j < ACT; j++) {
        double unit = j ? 4 : 2; /* actions are divided by their bounds */
        assert_near(b, "chunk", k * ACT + j, (double)f->act[later * ACT + j] / unit);
        assert_near(b, "past", k * ACT + j, (double)f->act[past * ACT + j] / unit);
        assert_near(b, "own", k * OWN + j, (double)f->own[later * OWN + j]);
      }
    }
    for (int k = 0; k <= n; k++) assert_obs(f, b, "later", k, add_steps(f, t, k).next);
  }
  arena_free(arena);
}

static void columns_are_those_of_a_slow_loop(void **state) {
  (void)state;
  static const Ending *const endings[] = { cut, whole, timed };
  for (int i = 0; i < 3; i++) {
    File f;
    make_file(&f, endings[i]);
    for (int n = 1; n <= MOST; n++) check_file(&f, n);
  }
}

/* For one step nothing is rounded: live is 0 or 1, the reward that of the file. */
static void one_step_is_exact(void **state) {
  (void)state;
  File f;
  Arena *arena = arena_new();
  make_file(&f, cut);
  Batch *b = batch_new(arena, 1, OBS, ACT, (const Column[]){ TRANSITION_COLUMNS(1), { 0 } });
  assert_false(b->looks_around);
  for (int64_t i = 0; i < f.data.transitions; i++) {
    const RowSampler d = {
      .data = &f.data, .rows = &f.transition[i], .row_count = 1, .reward_scale = 1
    };
    int64_t t = f.transition[i];
    data_sample(&d, 0, b);
    assert_true(batch_column(b, "reward")->values[0] == (real)f.reward[t]);
    assert_true(batch_column(b, "live")->values[0] == (f.terminal[t] ? 0 : 1));
    assert_true(batch_column(b, "next")->values[0] == (real)f.obs[(t + 1) * OBS]);
    assert_true(batch_column(b, "act")->values[0] == (real)f.act[t * ACT]);
  }
  arena_free(arena);
}

/* r + gamma live V for a V that is known: with V the return to go, any n gives the return to go of
 * an episode that ends in a terminal. */
static void targets_agree_for_every_n(void **state) {
  (void)state;
  File f;
  make_file(&f, cut);
  for (int n = 1; n <= MOST; n++) {
    Arena *arena = arena_new();
    Batch *b = batch_new(
        arena, 1, OBS, ACT,
        (const Column[]){ TRANSITION_COLUMNS(n), COLUMN("to go", OF_RETURN, 0, 1), { 0 } });
    for (int t = 0; t < cut[0].length; t++) {
      int64_t row = t;
      const RowSampler d = { .data = &f.data,
                             .rows = &row,
                             .row_count = 1,
                             .reward_scale = SCALE,
                             .reward_shift = SHIFT,
                             .discount = GAMMA };
      data_sample(&d, 0, b);
      int after = t + n < cut[0].length ? t + n : cut[0].length - 1;
      double value = return_of(&f, after), live = (double)batch_column(b, "live")->values[0];
      double y = (double)batch_column(b, "reward")->values[0] + GAMMA * live * value;
      assert_near(b, "to go", 0, y);
    }
    arena_free(arena);
  }
}

/* ---- on the tape ----------------------------------------------------------------------------- */

static Tensor *shown(Graph *g, const Batch *b, const char *column) {
  Tensor *t = t_scale(2, batch_input(g, b, column));
  graph_keep(t);
  return t;
}

/* Inputs are bound to what is drawn, each to its own batch. */
static void two_batches_share_a_tape(void **state) {
  (void)state;
  enum { BATCH = 6 };
  Error error;
  File f;
  Arena *arena = arena_new();
  make_file(&f, cut);
  const Column columns[] = { COLUMN("obs", OF_OBS, 0, 1), { 0 } };
  Batch *a = batch_new(arena, BATCH, OBS, ACT, columns),
        *b = batch_new(arena, BATCH, OBS, ACT, columns);
  batch_name(b, arena, "other");
  assert_string_equal(batch_column(a, "obs")->input, "obs");
  assert_string_equal(batch_column(b, "obs")->input, "other obs");
  Graph *g = graph_new(arena, &(GraphSpec){ .max_rows = BATCH,
                                            .group = 4,
                                            .lane = 2,
                                            .kernels = kernels_find("own", &error) });
  Tensor *x = shown(g, a, "obs"), *y = shown(g, b, "obs");
  graph_seal(g);
  const RowSampler d = { .data = &f.data, .rng = rng_stream(1, "batch") };
  data_sample(&d, 0, a), data_sample(&d, 1, b);
  graph_run(g, BATCH, 0, NULL);
  for (int r = 0; r < BATCH; r++)
    for (int j = 0; j < OBS; j++) {
      assert_true(graph_values(x)[r * x->ld + j] ==
                  2 * batch_column(a, "obs")->values[r * x->ld + j]);
      assert_true(graph_values(y)[r * y->ld + j] ==
                  2 * batch_column(b, "obs")->values[r * y->ld + j]);
    }
  arena_free(arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(columns_are_those_of_a_slow_loop),
    cmocka_unit_test(one_step_is_exact),
    cmocka_unit_test(targets_agree_for_every_n),
    cmocka_unit_test(two_batches_share_a_tape),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
