/* test_bench.c -- what the benchmarks count, and what they print.  No test here asks for speed. */
#include "core/json.h"
#include "rl/bench/bench_def.h"
#include "tests/program.h"

/* ---- arithmetic ------------------------------------------------------------------------------ */

static const BenchDef *named(const char *name) {
  size_t count;
  const BenchDef *const *all = bench_list(&count);
  for (size_t i = 0; i < count; i++)
    if (!strcmp(bench_name(all[i]), name)) return all[i];
  fail_msg("no benchmark %s", name);
  return NULL;
}

/* The same networks in PyTorch, counted by hooks on its layers: GFLOP of a call. */
static void the_arithmetic_is_what_pytorch_counts(void **state) {
  (void)state;
  static const struct {
    const char *name;
    double gflop;
  } counted[] = {
    { "diffusion-ql-step", 2.414870528 }, { "diffusion-bc-step", 0.215875584 },
    { "sac-step", 0.569376768 },          { "action-1", 0.00140544 },
    { "action-50", 0.0972544 },           { "unet2d-step", 204.648480768 },
    { "unet2d-eval", 68.216160256 },
  };
  for (size_t i = 0; i < sizeof counted / sizeof *counted; i++)
    assert_true(fabs(named(counted[i].name)->gflop() - counted[i].gflop) < 1e-9);
}

static void names_are_unique_and_explained(void **state) {
  (void)state;
  size_t count;
  const BenchDef *const *all = bench_list(&count);
  for (size_t i = 0; i < count; i++) {
    assert_true(strlen(bench_about(all[i])) > 10);
    assert_ptr_equal(named(bench_name(all[i])), all[i]);
  }
}

/* ---- what is printed ------------------------------------------------------------------------- */

static double number(const Json *line, const char *key) {
  const Json *value = json_get(line, key);
  if (!value || !json_is_number(value)) fail_msg("no number %s", key);
  return json_number(value, NAN);
}

static void near(double x, double y) {
  if (!(fabs(x - y) <= 1e-4 * fabs(y))) fail_msg("%g is not %g", x, y);
}

static void check_line(const Json *line, const char *name) {
  assert_string_equal(json_text(json_get(line, "name")), name);
  double best = number(line, "best_ms"), floor = number(line, "floor_ms");
  assert_true(best > 0 && floor > 0 && number(line, "p50_ms") >= best);
  assert_true(number(line, "threads") >= 1 && number(line, "peak_gflops") > 0);
  near(number(line, "ratio"), best / floor);
  assert_true(number(line, "ratio_p50") > 0);
}

static Json *only_line(const char *command, const char *name) {
  Outcome o;
  Error error;
  program_run(&o, "%s", command);
  program_expect(&o, 0, name);
  Json *line = json_parse(o.out, strlen(o.out), &error);
  assert_non_null(line);
  check_line(line, name);
  return line;
}

/* A step: nothing allocated, its ops share the time among them, and their products are the
 * arithmetic needed but for the time network, which runs once for all rows. */
static void a_step_and_its_profile_add_up(void **state) {
  (void)state;
  Json *line = only_line("bench diffusion-bc-step --threads 1 --seconds 1 --json --profile",
                         "diffusion-bc-step");
  double needed = number(line, "needed_gflop"), share = 0, gflop = 0;
  near(number(line, "floor_ms"), 1e3 * needed / number(line, "peak_gflops"));
  assert_true(number(line, "allocated_bytes") == 0);
  const Json *profile = json_get(line, "profile");
  assert_true(json_is_array(profile) && json_count(profile) > 5);
  for (const Json *e = json_first(profile); e; e = json_next(e)) {
    share += number(e, "share");
    gflop += 1e-3 * number(e, "ms") * json_number(json_get(e, "gflops"), 0);
  }
  near(share, 1);
  assert_true(gflop > 0.95 * needed && gflop < 1.0 * needed);
  json_free(line);
}

/* One action is bounded by arithmetic or by reading its weights, whichever takes longer; fifty are
 * bounded by arithmetic. */
static void actions_have_their_own_floors(void **state) {
  (void)state;
  Json *one = only_line("bench action-1 --seconds 1 --json", "action-1");
  assert_true(number(one, "threads") == 1 && number(one, "allocated_bytes") == 0);
  assert_true(1.0001 * number(one, "floor_ms") >
              1e3 * number(one, "needed_gflop") / number(one, "peak_gflops"));
  json_free(one);
  Json *many = only_line("bench action-50 --threads 2 --seconds 1 --json", "action-50");
  assert_true(number(many, "threads") == 2 && number(many, "allocated_bytes") == 0);
  near(number(many, "floor_ms"), 1e3 * number(many, "needed_gflop") / number(many, "peak_gflops"));
  json_free(many);
}

static void paced_calls_are_counted_and_sorted(void **state) {
  (void)state;
  Json *line = only_line("bench latency --rate 200 --seconds 1 --json", "latency");
  assert_true(number(line, "calls") == 200 && number(line, "rate") == 200);
  assert_true(number(line, "misses") >= 0 && number(line, "misses") <= 200);
  const char *order[] = { "p50_us", "p99_us", "p999_us", "max_us" };
  for (int i = 0; i < 3; i++) assert_true(number(line, order[i]) <= number(line, order[i + 1]));
  near(number(line, "p50_us"), 1e3 * number(line, "p50_ms"));
  json_free(line);
}

/* A run's own policy, of any shape and as it acts; and what is missing is said. */
static void a_policy_of_ones_own_is_timed(void **state) {
  (void)state;
  file_make_data("point.hdf5", "point-v0", 5, 1, "{}");
  program_succeed("train diffusion-bc --data point.hdf5 --env point-v0 --out own --steps 2 --set "
                  "hidden=16 --set batch=8 --set chunk=3 --set obs_steps=2 --set eval_every=0 "
                  "--set eval_episodes=1");
  Json *line = only_line("bench --policy own --seconds 1 --json", "policy");
  assert_true(number(line, "calls") >= 20 && json_is_null(json_get(line, "needed_gflop")));
  json_free(line);
  line = only_line("bench policy --policy own/last.safetensors --rate 50 --seconds 1 --json --act "
                   "steps=2 --act sampler=ddim",
                   "policy");
  assert_true(number(line, "calls") == 50 && number(line, "rate") == 50);
  json_free(line);
  program_refuse(2, "bench policy", "give --policy RUN or FILE");
  program_refuse(2, "bench action-1 --act steps=2", "give --policy RUN too");
  program_refuse(3, "bench --policy nowhere", "no such run or checkpoint");
}

/* Set-up and step are the whole; the first run reads the HDF5 file. */
static void a_start_is_its_set_up_and_its_step(void **state) {
  (void)state;
  Json *line = only_line("bench startup --threads 1 --seconds 1 --json", "startup");
  near(number(line, "setup_ms") + number(line, "step_ms"), number(line, "p50_ms"));
  assert_true(number(line, "first_ms") > number(line, "best_ms"));
  assert_true(number(line, "rss_mb") > 1 && number(line, "data_mb") > 0.1);
  assert_true(number(line, "runs") >= 5);
  json_free(line);
}

/* A line an environment, which no arithmetic bounds. */
static void environments_run_beside_their_engine(void **state) {
  (void)state;
  static const char *const envs[] = { "hopper-v2", "halfcheetah-v2", "walker2d-v2" };
  Outcome o;
  Error error;
  program_run(&o, "bench env-step --seconds 1 --json");
  program_expect(&o, 0, "env-step");
  char *rest = o.out;
  for (int i = 0; i < 3; i++) {
    char *text = strsep(&rest, "\n");
    Json *line = json_parse(text, strlen(text), &error);
    assert_non_null(line);
    check_line(line, "env-step");
    assert_string_equal(json_text(json_get(line, "env")), envs[i]);
    assert_true(json_is_null(json_get(line, "needed_gflop")));
    near(number(line, "steps_per_s"), 1e3 / number(line, "best_ms"));
    near(number(line, "engine_share"), 1 / number(line, "ratio_p50"));
    json_free(line);
  }
  assert_string_equal(rest, "");
}

static void an_unknown_name_is_refused_with_the_nearest(void **state) {
  (void)state;
  Outcome o;
  program_run(&o, "bench difusion-ql-step");
  program_expect(&o, 2, "did you mean diffusion-ql-step");
  program_run(&o, "bench qqqqqqqqqqqqqqqqqq");
  program_expect(&o, 2, "list benchmarks");
  program_run(&o, "list benchmarks");
  program_expect(&o, 0, "diffusion-ql-step");
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_arithmetic_is_what_pytorch_counts),
    cmocka_unit_test(names_are_unique_and_explained),
    cmocka_unit_test(a_step_and_its_profile_add_up),
    cmocka_unit_test(actions_have_their_own_floors),
    cmocka_unit_test(paced_calls_are_counted_and_sorted),
    cmocka_unit_test(a_policy_of_ones_own_is_timed),
    cmocka_unit_test(a_start_is_its_set_up_and_its_step),
    cmocka_unit_test(environments_run_beside_their_engine),
    cmocka_unit_test(an_unknown_name_is_refused_with_the_nearest),
  };
  return cmocka_run_group_tests(tests, program_enter, program_leave);
}
