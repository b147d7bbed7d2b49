/* test_profile.c -- what a profile counts, and that counting changes no bit.  Promise T7 of
 * docs/design.md. */
#include "tests/tape_net.h"

enum { HIDDEN = 19, GROUP = 20, LANE = 8, LANES = 10 }; /* of 61 rows: 3 + 3 + 3 + 1 lanes */

/* mean of (W2 mish(W1 x))^2; the tape is opened again with a profile if asked */
static void record_net(Net *net, int threads, Profile *(*profile)(Arena *, int)) {
  net_open(net, threads, MAX_ROWS, GROUP, LANE);
  GraphSpec spec = net->g->spec;
  spec.profile = profile ? profile(net->arena, threads) : NULL;
  net->g = graph_new(net->arena, &spec);
  Mlp mlp_ = mlp_new(net->params, &(MlpSpec){ "q", 1, N, HIDDEN, 1, 1, MAP_mish, MLP_PLAIN });
  params_allocate(net->params);
  params_init(net->params, 1);
  net->x = t_input(net->g, "x", 1, N);
  net_minimise(net, t_mean(t_map(MAP_square, mlp(&mlp_, net->g, net->params, IN(net->x)))), false);
}

static ProfileEntry named(const Profile *profile, const char *name) {
  ProfileEntry entry[PROFILE_NAMES];
  int count = profile_entries(profile, entry);
  for (int i = 0; i < count; i++)
    if (!strcmp(entry[i].name, name)) return entry[i];
  fail_msg("no %s in the profile", name);
  return entry[0];
}

static void counting_changes_no_bit(void **state) {
  (void)state;
  Net plain, counted;
  record_net(&plain, 2, NULL), record_net(&counted, 2, profile_new);
  for (uint64_t step = 0; step < 3; step++) {
    graph_run(plain.g, MAX_ROWS, step, NULL), graph_run(counted.g, MAX_ROWS, step, NULL);
    same_gradient(&plain, &counted);
  }
  net_close(&plain), net_close(&counted);
}

/* forward x W1 and h W2, back dy W2' (x needs none), and a weight gradient of each layer */
static void the_arithmetic_of_a_net_is_counted(void **state) {
  (void)state;
  double first = 2.0 * MAX_ROWS * N * HIDDEN, second = 2.0 * MAX_ROWS * HIDDEN;
  for (int threads = 1; threads <= 3; threads++) {
    Net net;
    record_net(&net, threads, profile_new);
    Profile *profile = graph_profile(net.g);
    for (uint64_t step = 0; step < 2; step++) graph_run(net.g, MAX_ROWS, step, NULL);
    ProfileEntry product = named(profile, "product"), weights = named(profile, "weight_grad");
    assert_true(product.flops == 2 * (first + 2 * second));
    assert_true(weights.flops == 2 * (first + second));
    assert_int_equal(product.calls, 2 * LANES * 3);
    assert_int_equal(weights.calls, 2 * LANES * 2);
    net_close(&net);
  }
}

static void entries_come_longest_first_and_fit_into_the_run(void **state) {
  (void)state;
  ProfileEntry entry[PROFILE_NAMES];
  Net net;
  record_net(&net, 1, profile_new);
  Profile *profile = graph_profile(net.g);
  int64_t began = profile_clock(profile), sum = 0;
  for (uint64_t step = 0; step < 50; step++) graph_run(net.g, MAX_ROWS, step, NULL);
  int64_t wall = profile_clock(profile) - began;
  int count = profile_entries(profile, entry);
  for (int i = 0; i < count; i++) {
    sum += entry[i].ns;
    assert_true(i == 0 || entry[i].ns <= entry[i - 1].ns);
  }
  assert_true(count > 3 && sum > 0 && sum <= wall);
  profile_clear(profile);
  assert_int_equal(profile_entries(profile, entry), 0);
  net_close(&net);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(counting_changes_no_bit),
    cmocka_unit_test(the_arithmetic_of_a_net_is_counted),
    cmocka_unit_test(entries_come_longest_first_and_fit_into_the_run),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
