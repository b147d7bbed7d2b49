/* test_toy.c -- every set of the list is centred, scaled and where its shape says; gmm has the
 * density it claims. */
#include "datasets/toy_sets.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

enum { MANY = 200000 };

static void every_set_has_mean_0_and_variance_1(void **state) {
  (void)state;
  size_t count;
  const ToyDef *set = toy_list(&count);
  assert_int_equal(count, 7);
  for (size_t k = 0; k < count; k++) {
    double sum[2] = { 0, 0 }, squares = 0, x[2];
    for (uint64_t i = 0; i < MANY; i++) {
      toy_sample(&set[k], 1, i, x);
      assert_true(fabs(x[0]) <= 4 && fabs(x[1]) <= 4);
      sum[0] += x[0], sum[1] += x[1];
      squares += (x[0] * x[0] + x[1] * x[1]) / 2;
    }
    assert_true(fabs(sum[0] / MANY) < 0.012); /* five deviations of such a mean */
    assert_true(fabs(sum[1] / MANY) < 0.012);
    assert_true(fabs(squares / MANY - 1) < 0.012);
  }
}

static void a_sample_depends_on_set_seed_and_number_alone(void **state) {
  (void)state;
  size_t count;
  const ToyDef *set = toy_list(&count);
  for (size_t k = 0; k < count; k++) {
    double a[2], b[2];
    toy_sample(&set[k], 5, 77, a);
    for (uint64_t i = 0; i < 10; i++) toy_sample(&set[k], 5, i, b);
    toy_sample(&set[k], 5, 77, b);
    assert_memory_equal(a, b, sizeof a);
    toy_sample(&set[k], 6, 77, b);
    assert_true(a[0] != b[0]);
    toy_sample(&set[k], 5, ((uint64_t)1 << 40) + 77, b);
    assert_true(a[0] != b[0]);
  }
}

static const ToyDef *find(const char *name) {
  Error error;
  const ToyDef *set = toy_find(name, &error);
  assert_non_null(set);
  assert_string_equal(set->name, name);
  return set;
}

/* Sample i of the set as it was before shift and division. */
static void draw_raw(const ToyDef *set, uint64_t i, double x[2]) {
  toy_sample(set, 3, i, x);
  for (int d = 0; d < 2; d++) x[d] = x[d] * sqrt(set->variance) + set->mean[d];
}

static void samples_lie_on_their_shapes(void **state) {
  (void)state;
  const ToyDef *rings = find("rings"), *board = find("checkerboard"), *roll = find("swissroll");
  const ToyDef *spirals = find("2spirals");
  int ring[4] = { 0 }, square[8] = { 0 };
  for (uint64_t i = 0; i < 4000; i++) {
    double x[2];
    draw_raw(rings, i, x);
    double radius = hypot(x[0], x[1]);
    assert_true(fabs(radius - round(radius)) < 0.5 && round(radius) >= 1 && round(radius) <= 4);
    ring[(int)round(radius) - 1]++;
    draw_raw(board, i, x);
    int column = (int)floor(x[0] + 1e-12) + 2, row = (int)floor(x[1] + 1e-12) + 2;
    assert_int_equal((column + row) % 2, 0);
    square[2 * column + row / 2]++;
    draw_raw(roll, i, x); /* the radius is the angle, up to whole turns */
    double turn = (hypot(x[0], x[1]) - atan2(x[1], x[0])) / 6.283185307179586;
    assert_true(fabs(turn - round(turn)) < 0.5 && hypot(x[0], x[1]) > 2);
    draw_raw(spirals, i, x);
    assert_true(hypot(x[0], x[1]) < 9.43 + 2);
  }
  for (int k = 0; k < 4; k++) assert_in_range(ring[k], 860, 1140);  /* 1000, deviation 27 */
  for (int k = 0; k < 8; k++) assert_in_range(square[k], 395, 605); /* 500, deviation 21 */
}

/* The shares of the mixture's parts, by the nearest centre: they are well apart. */
static void parts_of_gmm_have_their_weights(void **state) {
  (void)state;
  const ToyDef *gmm = find("gmm");
  double weight = 0, mean[2] = { 0, 0 }, variance = 0;
  int lower = 0;
  for (int k = 0; k < TOY_GMM; k++) {
    const ToyGaussian *g = &toy_gmm[k];
    weight += g->weight;
    for (int d = 0; d < 2; d++) {
      mean[d] += g->weight * g->mean[d];
      variance += g->weight * g->mean[d] * g->mean[d] / 2;
    }
    variance += g->weight * (g->xx + g->yy) / 2;
  }
  assert_true(fabs(weight - 1) < 1e-15 && fabs(variance - 1) < 1e-15);
  assert_true(fabs(mean[0]) < 1e-15 && fabs(mean[1]) < 1e-15);
  for (uint64_t i = 0; i < MANY; i++) {
    double x[2];
    toy_sample(gmm, 1, i, x);
    lower += x[1] < -1.1; /* the third part, four deviations and more from its centre */
  }
  assert_true(fabs(lower / (double)MANY - toy_gmm[2].weight) < 0.005);
}

/* On a grid wider than the mixture the density sums to 1, and has the moments of the samples. */
static void the_density_is_that_of_the_samples(void **state) {
  (void)state;
  static const double path[][2] = { { 1, 0 }, { 0.6, 0.8 }, { 0, 1 } };
  for (int k = 0; k < 3; k++) {
    double mass = 0, xx = 0, xy = 0, h = 0.05, a = path[k][0], s = path[k][1];
    for (double u = -7; u <= 7; u += h) {
      for (double v = -7; v <= 7; v += h) {
        double p = h * h * exp(toy_gmm_log_density((double[]){ u, v }, a, s, NULL));
        mass += p, xx += p * u * u, xy += p * u * v;
      }
    }
    double true_xx = s * s, true_xy = 0;
    for (int j = 0; j < TOY_GMM; j++) {
      const ToyGaussian *g = &toy_gmm[j];
      true_xx += a * a * g->weight * (g->xx + g->mean[0] * g->mean[0]);
      true_xy += a * a * g->weight * (g->xy + g->mean[0] * g->mean[1]);
    }
    assert_true(fabs(mass - 1) < 1e-9);
    assert_true(fabs(xx - true_xx) < 1e-9 && fabs(xy - true_xy) < 1e-9);
  }
}

static void the_samples_have_the_density(void **state) {
  (void)state;
  const ToyDef *gmm = find("gmm");
  double xy = 0, mean_log = 0, entropy = 0, h = 0.02, true_xy = 0;
  for (uint64_t i = 0; i < MANY; i++) {
    double x[2];
    toy_sample(gmm, 2, i, x);
    xy += x[0] * x[1] / MANY;
    mean_log += toy_gmm_log_density(x, 1, 0, NULL) / MANY;
  }
  for (double u = -5; u <= 5; u += h) {
    for (double v = -5; v <= 5; v += h) {
      double l = toy_gmm_log_density((double[]){ u, v }, 1, 0, NULL);
      entropy += h * h * exp(l) * l;
      true_xy += h * h * exp(l) * u * v;
    }
  }
  assert_true(fabs(mean_log - entropy) < 0.012);
  assert_true(fabs(xy - true_xy) < 0.012);
}

static void the_score_is_the_gradient(void **state) {
  (void)state;
  for (uint32_t i = 0; i < 200; i++) {
    Rng rng = rng_stream(4, "points");
    double a = rng_uniform(rng, i, 0, 2), s = sqrt(1 - a * a), h = 1e-5, score[2];
    double x[2] = { 4 * rng_uniform(rng, i, 0, 0) - 2, 4 * rng_uniform(rng, i, 0, 1) - 2 };
    toy_gmm_log_density(x, a, s, score);
    for (int d = 0; d < 2; d++) {
      double up[2] = { x[0], x[1] }, down[2] = { x[0], x[1] };
      up[d] += h, down[d] -= h;
      double slope = toy_gmm_log_density(up, a, s, NULL) - toy_gmm_log_density(down, a, s, NULL);
      assert_true(fabs(slope / (2 * h) - score[d]) < 1e-6 * (1 + fabs(score[d])));
    }
  }
  double far[2];
  assert_true(isfinite(toy_gmm_log_density((double[]){ 1e5, -1e5 }, 1, 0, far)));
  assert_true(isfinite(far[0]) && isfinite(far[1]));
}

static void an_unknown_name_gets_the_nearest(void **state) {
  (void)state;
  Error error;
  assert_null(toy_find("swisroll", &error));
  assert_int_equal(error.kind, FAIL_USAGE);
  assert_non_null(strstr(error.text, "did you mean swissroll?"));
  assert_null(toy_find("qqqqqqqqqqqqqqqq", &error));
  size_t count;
  const ToyDef *set = toy_list(&count);
  for (size_t k = 0; k < count; k++) assert_non_null(strstr(error.text, set[k].name));
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_set_has_mean_0_and_variance_1),
    cmocka_unit_test(a_sample_depends_on_set_seed_and_number_alone),
    cmocka_unit_test(samples_lie_on_their_shapes),
    cmocka_unit_test(parts_of_gmm_have_their_weights),
    cmocka_unit_test(the_density_is_that_of_the_samples),
    cmocka_unit_test(the_samples_have_the_density),
    cmocka_unit_test(the_score_is_the_gradient),
    cmocka_unit_test(an_unknown_name_gets_the_nearest),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
