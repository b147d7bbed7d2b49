/* test_assignment.c -- no permutation is cheaper than the one found. */
#include "core/maths/assignment.h"
#include "core/rng.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST = 256 };

static int setup(void **state) {
  *state = arena_new();
  return 0;
}

static int teardown(void **state) {
  arena_free(*state);
  return 0;
}

static void assert_permutation(const int *map, int n) {
  bool seen[MOST] = { 0 };
  for (int i = 0; i < n; i++) {
    assert_in_range(map[i], 0, n - 1);
    assert_false(seen[map[i]]);
    seen[map[i]] = true;
  }
}

/* The cheapest way to give rows i.. n - 1 the columns not in `used`: every way is tried. */
static double cheapest(const double *cost, int n, int i, unsigned used) {
  double best = i == n ? 0 : INFINITY;
  for (int j = 0; j < n && i < n; j++)
    if (!(used >> j & 1))
      best = fmin(best, cost[i * n + j] + cheapest(cost, n, i + 1, used | 1u << j));
  return best;
}

static void no_permutation_is_cheaper(void **state) {
  Assignment *work = assignment_new(*state, 7);
  Rng rng = rng_stream(1, "costs");
  for (uint64_t trial = 0; trial < 400; trial++) {
    int n = 1 + (int)(trial % 7), map[7];
    double cost[49], sum = 0;
    for (int k = 0; k < n * n; k++) { /* every third problem has small whole costs: many ties */
      double c = 10 * rng_normal(rng, trial, 0, (uint32_t)k);
      cost[k] = trial % 3 ? c : round(c / 8);
    }
    double found = assignment_solve(work, n, cost, map);
    assert_permutation(map, n);
    for (int i = 0; i < n; i++) sum += cost[i * n + map[i]];
    assert_true(found == sum);
    assert_true(fabs(found - cheapest(cost, n, 0, 0)) < 1e-12 * 70);
  }
}

static void a_cheap_diagonal_is_the_identity(void **state) {
  Assignment *work = assignment_new(*state, 50);
  double cost[50 * 50];
  int map[50];
  for (int k = 0; k < 50 * 50; k++) cost[k] = k / 50 == k % 50 ? -1 : 0;
  assert_true(assignment_solve(work, 50, cost, map) == -50);
  for (int i = 0; i < 50; i++) assert_int_equal(map[i], i);
}

static void equal_costs_still_give_a_permutation(void **state) {
  Assignment *work = assignment_new(*state, 50);
  double cost[50 * 50];
  int map[50];
  for (int k = 0; k < 50 * 50; k++) cost[k] = 3;
  assert_true(assignment_solve(work, 50, cost, map) == 150);
  assert_permutation(map, 50);
}

/* The sum of row prices and column prices is a lower bound for any permutation.  A cost that is
 * u_i + v_j on a hidden permutation and more elsewhere has a known optimum at any size. */
static void a_hidden_permutation_is_found(void **state) {
  Arena *arena = *state;
  Assignment *work = assignment_new(arena, MOST);
  double *cost = arena_array(arena, double, MOST *MOST);
  Rng rng = rng_stream(2, "costs");
  int map[MOST];
  for (int i = 0; i < MOST; i++) {
    for (int j = 0; j < MOST; j++) {
      bool hidden = rng_permute(rng, 0, (uint64_t)i, MOST) == (uint64_t)j;
      cost[i * MOST + j] = rng_normal(rng, 1, (uint32_t)i, 0) + rng_normal(rng, 2, (uint32_t)j, 0) +
                           (hidden ? 0 : 1e-6 + rng_uniform(rng, 3, (uint32_t)i, (uint32_t)j));
    }
  }
  assignment_solve(work, MOST, cost, map);
  for (int i = 0; i < MOST; i++) assert_int_equal(map[i], rng_permute(rng, 0, (uint64_t)i, MOST));
}

static void costs_that_are_not_finite_end_in_a_permutation(void **state) {
  static const double bad[] = { NAN, INFINITY, -INFINITY };
  Assignment *work = assignment_new(*state, 20);
  Rng rng = rng_stream(3, "costs");
  for (uint64_t trial = 0; trial < 60; trial++) {
    double cost[400];
    int map[20];
    for (uint32_t k = 0; k < 400; k++) {
      cost[k] = rng_normal(rng, trial, 0, k);
      if (rng_uniform(rng, trial, 1, k) < 0.02 * (double)trial) cost[k] = bad[(trial + k) % 3];
    }
    assignment_solve(work, 20, cost, map);
    assert_permutation(map, 20);
  }
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* In one dimension the least sum of squares pairs smallest with smallest, and so on. */
static void pairing_on_a_line_is_sorting(void **state) {
  enum { N = 100, LD = 16 };
  Arena *arena = *state;
  Assignment *work = assignment_new(arena, N);
  real *a = arena_array(arena, real, N * LD), *b = arena_array(arena, real, N * LD);
  double p[N], q[N], sum = 0;
  int map[N];
  Rng rng = rng_stream(4, "points");
  for (int i = 0; i < N; i++) {
    p[i] = (double)(a[i * LD] = (real)rng_normal(rng, 0, (uint32_t)i, 0));
    q[i] = (double)(b[i * LD] = (real)(3 + rng_normal(rng, 1, (uint32_t)i, 0)));
  }
  double found = assignment_pair(work, N, 1, LD, a, b, map);
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++)
      if (p[i] < p[j]) assert_true(q[map[i]] <= q[map[j]]);
  qsort(p, N, sizeof *p, ascending);
  qsort(q, N, sizeof *q, ascending);
  for (int i = 0; i < N; i++) sum += (p[i] - q[i]) * (p[i] - q[i]);
  assert_true(fabs(found - sum) < 1e-9 * sum);
}

static void a_shuffled_copy_is_paired_with_itself(void **state) {
  enum { N = 60, DIM = 3, LD = 16 };
  Arena *arena = *state;
  Assignment *work = assignment_new(arena, N);
  real *a = arena_array(arena, real, N * LD), *b = arena_array(arena, real, N * LD);
  Rng rng = rng_stream(5, "points");
  int map[N];
  for (uint64_t i = 0; i < N; i++) {
    uint64_t j = rng_permute(rng, 0, i, N);
    for (uint32_t d = 0; d < DIM; d++)
      a[i * LD + d] = b[j * LD + d] = (real)rng_normal(rng, i, 0, d);
  }
  assert_true(assignment_pair(work, N, DIM, LD, a, b, map) == 0);
  for (int i = 0; i < N; i++) assert_int_equal(map[i], rng_permute(rng, 0, (uint64_t)i, N));
}

/* A batch of 256 is paired within a training step: milliseconds, against a bound for sanitizers. */
static void a_batch_takes_milliseconds(void **state) {
  Arena *arena = *state;
  Assignment *work = assignment_new(arena, MOST);
  double *cost = arena_array(arena, double, MOST *MOST);
  size_t bytes = arena_bytes(arena);
  int map[MOST];
  Rng rng = rng_stream(6, "costs");
  for (int k = 0; k < MOST * MOST; k++) cost[k] = rng_uniform(rng, 0, 0, (uint32_t)k);
  clock_t before = clock();
  double sum = assignment_solve(work, MOST, cost, map);
  assert_true((double)(clock() - before) < 0.2 * CLOCKS_PER_SEC);
  assert_int_equal(arena_bytes(arena), bytes);
  assert_true(fabs(sum - 1.64) < 0.15); /* tends to pi^2 / 6 (Aldous 2001) */
}

#define FACT(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
    FACT(no_permutation_is_cheaper),
    FACT(a_cheap_diagonal_is_the_identity),
    FACT(equal_costs_still_give_a_permutation),
    FACT(a_hidden_permutation_is_found),
    FACT(costs_that_are_not_finite_end_in_a_permutation),
    FACT(pairing_on_a_line_is_sorting),
    FACT(a_shuffled_copy_is_paired_with_itself),
    FACT(a_batch_takes_milliseconds),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
