/* test_td.c -- what temporal differences share: smoothed actions, targets, losses, slow copies. */
#include "rl/algos/objective.h"
#include "rl/algos/td.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>

enum { ROWS = 1000, N = 3, LD = 16 };
#define EXACT (sizeof(real) == 8 ? 1e-12 : 1e-6)

static const Kernels *own(void) {
  Error error;
  return kernels_find("own", &error);
}

static void near(double value, double expected, double error) {
  if (!(fabs(value - expected) <= error)) fail_msg("%.17g, expected %.17g", value, expected);
}

static Graph *tape(Arena *arena) {
  return graph_new(arena, &(GraphSpec){ .seed = 3, .kernels = own(), .max_rows = ROWS });
}

/* ---- smoothed actions ------------------------------------------------------------------------ */

/* [ROWS, N] actions in [-1, 1] and what becomes of them */
typedef struct {
  double before[ROWS][N], after[ROWS][N];
} Smoothed;

static void smooth(Smoothed *s, double std, double most) {
  static real data[ROWS * LD];
  Arena *arena = arena_new();
  Graph *g = tape(arena);
  Tensor *act = t_input(g, "act", 1, N), *a = td_smoothed(act, std, most);
  Rng rng = rng_stream(1, "actions");
  graph_keep(a);
  graph_seal(g);
  for (int r = 0; r < ROWS; r++)
    for (int j = 0; j < N; j++) {
      data[r * LD + j] = (real)(2 * rng_uniform(rng, 0, (uint32_t)r, (uint32_t)j) - 1);
      s->before[r][j] = (double)data[r * LD + j];
    }
  graph_bind(act, data);
  graph_run(g, ROWS, 0, NULL);
  for (int r = 0; r < ROWS; r++)
    for (int j = 0; j < N; j++) s->after[r][j] = (double)graph_values(a)[r * LD + j];
  arena_free(arena);
}

/* how many of them are at the action's bounds, and at the noise's */
typedef struct {
  int act, noise;
} AtBounds;

static AtBounds count_bounds(const Smoothed *s, double most) {
  AtBounds at = { 0 };
  for (int r = 0; r < ROWS; r++)
    for (int j = 0; j < N; j++) {
      double moved = fabs(s->after[r][j] - s->before[r][j]);
      assert_true(fabs(s->after[r][j]) <= 1 && moved <= most + EXACT);
      at.act += fabs(s->after[r][j]) >= 1, at.noise += moved >= most - EXACT;
    }
  return at;
}

/* A normal passes 2.5 deviations in 1.2 % of draws. */
static void smoothed_actions_keep_both_bounds(void **state) {
  (void)state;
  static Smoothed s;
  smooth(&s, 0.2, 0.5);
  AtBounds at = count_bounds(&s, 0.5);
  assert_in_range(at.noise, 10, 60);
  assert_in_range(at.act, 100, 500);
  smooth(&s, 10, 0.25); /* all noise is at its bound, but where the action's comes first */
  at = count_bounds(&s, 0.25);
  assert_true(at.noise > 0.8 * ROWS * N && at.act > 0.05 * ROWS * N);
}

static void without_noise_actions_stay(void **state) {
  (void)state;
  static Smoothed s;
  for (int i = 0; i < 2; i++) {
    smooth(&s, i ? 0.2 : 0, i ? 0 : 0.5);
    for (int r = 0; r < ROWS; r++)
      for (int j = 0; j < N; j++) near(s.after[r][j], s.before[r][j], 0);
  }
}

/* Inside of the bounds the noise has mean 0 and the deviation that it is said to have. */
static void noise_is_normal_inside(void **state) {
  (void)state;
  static Smoothed s;
  double sum = 0, squares = 0;
  int count = 0;
  smooth(&s, 0.1, 1);
  for (int r = 0; r < ROWS; r++)
    for (int j = 0; j < N; j++) {
      if (fabs(s.before[r][j]) > 0.5) continue;
      double moved = s.after[r][j] - s.before[r][j];
      sum += moved, squares += moved * moved, count++;
    }
  near(sum / count, 0, 4 * 0.1 / sqrt(count));
  near(sqrt(squares / count), 0.1, 4 * 0.1 / sqrt(2 * count));
}

/* ---- targets and losses ---------------------------------------------------------------------- */

/* y = r + gamma live v, and what 2 members lack of it */
static void targets_and_losses_are_as_written(void **state) {
  (void)state;
  static const double reward[] = { 1, -2, 0.5 }, live[] = { 1, 0, 0.25 }, value[] = { 4, 9, -8 };
  static const double q[][2] = { { 3, 5 }, { -2, 0 }, { -1, -2 } };
  static const double expected[] = { 3, -2, -0.5 };
  real v[3 * LD] = { 0 }, both[3 * LD] = { 0 };
  Arena *arena = arena_new();
  Batch *batch = batch_new(arena, 3, 1, 1, (const Column[]){ TRANSITION_COLUMNS(1), { 0 } });
  Graph *g = tape(arena);
  Tensor *given = t_input(g, "v", 1, 1), *y = td_target(g, batch, 0.5, given);
  Tensor *members = t_input(g, "q", 1, 2), *loss = td_loss(g, batch, members, y);
  graph_keep(y), graph_keep(loss);
  graph_seal(g);
  for (int r = 0; r < 3; r++) {
    batch_column(batch, "reward")->values[r * LD] = (real)reward[r];
    batch_column(batch, "live")->values[r * LD] = (real)live[r];
    v[r * LD] = (real)value[r];
    for (int j = 0; j < 2; j++) both[r * LD + j] = (real)q[r][j];
  }
  graph_bind(given, v), graph_bind(members, both);
  graph_run(g, 3, 0, NULL);
  for (int r = 0; r < 3; r++) near((double)graph_values(y)[r * LD], expected[r], EXACT);
  /* (0 + 0 + 1/4) / 3 of the first, (4 + 4 + 9/4) / 3 of the second */
  near(graph_scalar(loss), 10.5 / 3, EXACT);
  assert_ptr_equal(batch_input(g, batch, "reward"), graph_input(g, "reward"));
  arena_free(arena);
}

/* Of a chunk that the episode cuts short the entries behind are nothing, and its row is left out of
 * the loss; a batch without chunks has no mask. */
static void what_is_not_there_counts_for_nothing(void **state) {
  (void)state;
  static const double valid[3][2] = { { 1, 1 }, { 1, 0 }, { 1, 1 } };
  static const double q[] = { 3, 100, -1 }, y[] = { 1, -100, -1.5 };
  real data[2][3 * LD] = { { 0 } }, x[3 * LD] = { 0 };
  Arena *arena = arena_new();
  const Column columns[] = { COLUMN("act", OF_ACT, 0, 2), COLUMN("valid", OF_VALID, 0, 2), { 0 } };
  Batch *batch = batch_new(arena, 3, 1, 2, columns),
        *plain = batch_new(arena, 3, 1, 2, columns + 2);
  Graph *g = tape(arena);
  Tensor *entries = t_input(g, "x", 1, 4), *kept = td_masked(g, batch, entries);
  Tensor *value = t_input(g, "q", 1, 1), *target = t_input(g, "y", 1, 1);
  Tensor *loss = td_loss(g, batch, value, target);
  graph_keep(kept), graph_keep(loss);
  assert_null(td_entries(g, plain));
  assert_ptr_equal(td_masked(g, plain, entries), entries);
  graph_seal(g);
  for (int r = 0; r < 3; r++) {
    for (int i = 0; i < 2; i++)
      batch_column(batch, "valid")->values[r * LD + i] = (real)valid[r][i];
    for (int j = 0; j < 4; j++) x[r * LD + j] = (real)(4 * r + j + 1);
    data[0][r * LD] = (real)q[r], data[1][r * LD] = (real)y[r];
  }
  graph_bind(entries, x), graph_bind(value, data[0]), graph_bind(target, data[1]);
  graph_run(g, 3, 0, NULL);
  for (int r = 0; r < 3; r++)
    for (int j = 0; j < 4; j++)
      near((double)graph_values(kept)[r * LD + j], (4 * r + j + 1) * valid[r][j / 2], 0);
  near(graph_scalar(loss), (4 + 0.25) / 3, EXACT);
  arena_free(arena);
}

/* ---- slow copies ----------------------------------------------------------------------------- */

enum { WEIGHTS = 5, STEPS = 7 };

static void fill(Params *p, double from) {
  for (int i = 0; i < WEIGHTS; i++) p->values[i] = (real)(from + i);
  params_touch(p);
}

/* The copy follows the new weights after updates 0, period, 2 period, .., and rests between. */
static void compare_targets(double tau, int64_t period) {
  Arena *arena = arena_new();
  Params *p = params_new(arena, "critic");
  params_slot(p, "w", 1, 1, WEIGHTS, 0);
  Params *slow = params_twin(p, "critic_target");
  params_allocate(p), params_allocate(slow);
  fill(p, 1), fill(slow, -3);
  OptimSpec spec = optim_adam(0.1);
  Optim *optim = optim_new(arena, p, &spec);
  optim->ema = objective_target(slow, tau, period);
  real *gradient = arena_array(arena, real, (ptrdiff_t)p->layout->size);
  double expected[WEIGHTS];
  for (int i = 0; i < WEIGHTS; i++) expected[i] = -3 + i;
  for (int64_t step = 0; step < STEPS; step++) {
    for (int i = 0; i < WEIGHTS; i++) gradient[i] = (real)(i - 2 + 0.1 * (double)step);
    uint64_t version = slow->version;
    assert_true(optim_step(optim, gradient, own(), NULL));
    bool moves = step % period == 0;
    assert_true((slow->version != version) == moves);
    for (int i = 0; i < WEIGHTS; i++) {
      if (moves) expected[i] += tau * ((double)p->values[i] - expected[i]);
      near((double)slow->values[i], expected[i], 4 * EXACT);
    }
  }
  arena_free(arena);
}
static void targets_follow_when_they_are_due(void **state) {
  (void)state;
  compare_targets(0.005, 1), compare_targets(0.25, 2);
  compare_targets(0.5, 3), compare_targets(1, 2);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(smoothed_actions_keep_both_bounds),
    cmocka_unit_test(without_noise_actions_stay),
    cmocka_unit_test(noise_is_normal_inside),
    cmocka_unit_test(targets_and_losses_are_as_written),
    cmocka_unit_test(what_is_not_there_counts_for_nothing),
    cmocka_unit_test(targets_follow_when_they_are_due),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
