/* test_advantage.c -- what on-policy learning makes of rewards (rl/algos/advantage.h). */
#include "rl/algos/advantage.h"
#include "core/rng.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>

enum { TIME = 40, COUNT = 3, ALL = TIME * COUNT };
#define EXACT (sizeof(real) == 8 ? 1e-12 : 2e-6)

/* episodes of random lengths, some of which end by time */
typedef struct {
  double reward[ALL];
  bool terminal[ALL], ended[ALL];
  real value[ALL], after[ALL], advantage[ALL], target[ALL];
  AdvantageSpec spec;
} Batch;

static void fill(Batch *b, double gamma, double lambda) {
  Rng rng = rng_stream(4, "episodes");
  for (int i = 0; i < ALL; i++) {
    uint32_t row = (uint32_t)i;
    b->reward[i] = rng_normal(rng, 0, row, 0);
    b->terminal[i] = rng_uniform(rng, 1, row, 0) < 0.1;
    b->ended[i] = b->terminal[i] || rng_uniform(rng, 2, row, 0) < 0.1;
    b->value[i] = (real)rng_normal(rng, 3, row, 0);
    b->after[i] = (real)rng_normal(rng, 4, row, 0);
  }
  /* within an episode the state that is reached is the next that is seen */
  for (int i = 0; i + COUNT < ALL; i++)
    if (!b->ended[i]) b->after[i] = b->value[i + COUNT];
  b->spec = (AdvantageSpec){ TIME,        COUNT,    gamma,    lambda,  b->reward,
                             b->terminal, b->ended, b->value, b->after };
}

/* the discounted rewards of n steps from t on, with the value of where they lead to, less V(s_t);
 * `last` is set where the episode or the batch ends within them */
static double n_step(const Batch *b, int t, int i, int n, bool *last) {
  double sum = 0, discount = 1, gamma = b->spec.gamma;
  int at = t * COUNT + i;
  for (int k = 0; k < n; k++) {
    at = (t + k) * COUNT + i;
    sum += discount * b->reward[at], discount *= gamma;
    *last = b->ended[at] || t + k + 1 == TIME;
    if (*last) break;
  }
  double end = b->terminal[at] ? 0 : (double)b->after[at];
  return sum + discount * end - (double)b->value[t * COUNT + i];
}

/* (1 - lambda) sum_n lambda^(n-1) A^(n), where the last one takes all weight that is left:
 * Schulman et al. 2016, eq. 16, written as it is defined */
static double slow(const Batch *b, int t, int i) {
  double sum = 0, weight = 1, lambda = b->spec.lambda;
  bool last = false;
  for (int n = 1; !last; n++) {
    double a = n_step(b, t, i, n, &last);
    sum += (last ? weight : weight * (1 - lambda)) * a;
    weight *= lambda;
  }
  return sum;
}

static void they_are_the_weighted_sums_of_the_definition(void **state) {
  (void)state;
  static Batch b;
  const double pairs[][2] = { { 0.99, 0.95 }, { 0.9, 0.5 }, { 1, 1 }, { 0.97, 0 }, { 0, 0.9 } };
  for (size_t k = 0; k < sizeof pairs / sizeof *pairs; k++) {
    fill(&b, pairs[k][0], pairs[k][1]);
    advantage_find(&b.spec, b.advantage, b.target);
    for (int t = 0; t < TIME; t++)
      for (int i = 0; i < COUNT; i++) {
        double expected = slow(&b, t, i), got = (double)b.advantage[t * COUNT + i];
        assert_true(fabs(got - expected) <= EXACT * fmax(1, fabs(expected)));
        double target = (double)b.target[t * COUNT + i];
        expected += (double)b.value[t * COUNT + i];
        assert_true(fabs(target - expected) <= EXACT * fmax(1, fabs(expected)));
      }
  }
}

/* One decision that ends by time has the value of what was reached; a terminal one has not. */
static void a_time_out_keeps_the_value_behind_it(void **state) {
  (void)state;
  double reward[] = { 1, 1 };
  bool terminal[] = { false, true }, ended[] = { true, true };
  real value[] = { 2, 2 }, after[] = { 10, 10 }, advantage[2], target[2];
  AdvantageSpec spec = { 1, 2, 0.5, 0.9, reward, terminal, ended, value, after };
  advantage_find(&spec, advantage, target);
  assert_true((double)advantage[0] == 4 && (double)target[0] == 6);
  assert_true((double)advantage[1] == -1 && (double)target[1] == 1);
}

/* The rewards of the next episode belong to it alone. */
static void nothing_crosses_the_end_of_an_episode(void **state) {
  (void)state;
  static Batch b, other;
  fill(&b, 0.99, 0.95), fill(&other, 0.99, 0.95);
  for (int i = 0; i < COUNT; i++) {
    int t = 0;
    while (t < TIME - 1 && !b.ended[t * COUNT + i]) t++;
    for (int k = t + 1; k < TIME; k++) other.reward[k * COUNT + i] += 100;
    advantage_find(&b.spec, b.advantage, b.target);
    advantage_find(&other.spec, other.advantage, other.target);
    for (int k = 0; k <= t; k++)
      assert_true(b.advantage[k * COUNT + i] == other.advantage[k * COUNT + i]);
  }
}

/* (a - mean) / (std + 1e-8), by sums in double; so their mean is 0 and their deviation nearly 1. */
static void normalized_they_have_mean_0_and_deviation_1(void **state) {
  (void)state;
  real a[ALL], before[ALL];
  Rng rng = rng_stream(4, "numbers");
  double mean = 0, squares = 0, sum = 0, all = 0;
  for (int i = 0; i < ALL; i++) {
    a[i] = before[i] = (real)(7 + 3 * rng_normal(rng, 0, (uint32_t)i, 0));
    mean += (double)a[i] / ALL;
  }
  for (int i = 0; i < ALL; i++) squares += pow((double)a[i] - mean, 2) / ALL;
  advantage_normalize(a, ALL);
  for (int i = 0; i < ALL; i++) {
    double expected = ((double)before[i] - mean) / (sqrt(squares) + 1e-8);
    assert_true(fabs((double)a[i] - expected) < EXACT);
    sum += (double)a[i], all += (double)a[i] * (double)a[i];
  }
  assert_true(fabs(sum / ALL) < EXACT);
  /* off by what is added to the divisor, 2e-8 / 3 at most, and by rounding */
  assert_true(fabs(all / ALL - 1) < 1e-8 + EXACT);
}

static void values_explain_all_or_nothing(void **state) {
  (void)state;
  real target[] = { 1, 2, 3, 6 }, none[] = { 3, 3, 3, 3 };
  assert_true(advantage_explained(target, target, 4) == 1);
  assert_true(advantage_explained(none, target, 4) == 0);
  assert_true(advantage_explained(target, none, 4) == 0);
}

/* The running sums are those of all numbers at once. */
static void the_scale_is_the_deviation_of_all_sums(void **state) {
  (void)state;
  enum { N = 1000 };
  RewardScale scale = { 0 };
  double sum = 0, squares = 0, x[N];
  Rng rng = rng_stream(9, "sums");
  assert_true(reward_scale_std(&scale) == 1);
  for (int i = 0; i < N; i++) {
    x[i] = 1e4 + rng_normal(rng, 0, (uint32_t)i, 0);
    reward_scale_add(&scale, x[i]), sum += x[i];
  }
  for (int i = 0; i < N; i++) squares += (x[i] - sum / N) * (x[i] - sum / N);
  assert_true(fabs(reward_scale_std(&scale) - sqrt(squares / N + 1e-8)) < 1e-9);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(they_are_the_weighted_sums_of_the_definition),
    cmocka_unit_test(a_time_out_keeps_the_value_behind_it),
    cmocka_unit_test(nothing_crosses_the_end_of_an_episode),
    cmocka_unit_test(normalized_they_have_mean_0_and_deviation_1),
    cmocka_unit_test(values_explain_all_or_nothing),
    cmocka_unit_test(the_scale_is_the_deviation_of_all_sums),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
