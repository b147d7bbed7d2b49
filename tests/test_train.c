/* test_train.c -- what training promises its users: the same bits whatever the threads and however
 * often it was interrupted, and a whole checkpoint whatever happens.  Promises B1 and B9 of
 * docs/design.md. */
#include "core/checkpoint.h"
#include "core/clock.h"
#include "core/json.h"
#include "core/real.h"
#include "tests/program.h"
#include <signal.h>

#define TRAIN "train diffusion-ql --data point.hdf5 --env point-v0" SMALL

static int setup(void **state) {
  if (program_enter(state)) return -1;
  file_make_data("point.hdf5", "point-v0", 12, 1, "{\"env\": \"point-v0\"}");
  return 0;
}

static void train(const char *line) {
  Outcome o;
  program_run(&o, "%s", line);
  program_expect(&o, 0, "steps");
}

static void assert_same_run(const char *a, const char *b) {
  assert_same_files(a, b, "last.safetensors best.safetensors eval.jsonl");
}

/* metrics without the columns that tell time */
static void assert_same_metrics(const char *a, const char *b) {
  size_t n, m;
  char *x = file_read(a, &n), *y = file_read(b, &m), *rest_x = x, *rest_y = y;
  for (char *line_x, *line_y; (line_x = strsep(&rest_x, "\n"));) {
    assert_non_null(line_y = strsep(&rest_y, "\n"));
    char *from_x = strstr(line_x, "\"loss/"), *from_y = strstr(line_y, "\"loss/");
    assert_true(!from_x == !from_y);
    if (from_x) assert_string_equal(from_x, from_y);
  }
  assert_true(!rest_y || !*rest_y);
  free(x), free(y);
}

/* ---- the same bits --------------------------------------------------------------------------- */

static void test_threads_and_repetition_change_no_bit(void **state) {
  (void)state;
  train(TRAIN " --steps 100 --threads 1 --out one");
  train(TRAIN " --steps 100 --threads 2 --out two");
  train(TRAIN " --steps 100 --threads 3 --out three");
  train(TRAIN " --steps 100 --threads 4 --out four");
  train(TRAIN " --steps 100 --threads 2 --out again");
  assert_same_run("one", "two");
  assert_same_run("one", "three");
  assert_same_run("one", "four");
  assert_same_run("one", "again");
}

static void test_another_seed_is_another_run(void **state) {
  (void)state;
  size_t n, m;
  train(TRAIN " --steps 20 --seed 1 --out seed1");
  train(TRAIN " --steps 20 --seed 2 --out seed2");
  char *x = file_read("seed1/last.safetensors", &n), *y = file_read("seed2/last.safetensors", &m);
  assert_true(n != m || memcmp(x, y, n) != 0);
  free(x), free(y);
}

static void test_200_steps_are_100_resume_100(void **state) {
  (void)state;
  train(TRAIN " --steps 200 --out whole");
  train(TRAIN " --steps 100 --out halves");
  train("train --resume halves --steps 200");
  assert_same_run("whole", "halves");
  assert_same_metrics("whole/metrics.jsonl", "halves/metrics.jsonl");
}

static void test_a_cosine_rate_keeps_its_length(void **state) {
  (void)state;
#define COSINE TRAIN " --set schedule_rate=cosine --set rate_steps=200"
  train(COSINE " --steps 200 --out cosine");
  train(COSINE " --steps 100 --out cosines");
  train("train --resume cosines --steps 200");
  assert_same_run("cosine", "cosines");
  /* and the default length is that of the first sitting */
  train(TRAIN " --set schedule_rate=cosine --steps 200 --out default");
  assert_same_run("cosine", "default");
}

static void test_resume_goes_on_between_reports(void **state) {
  (void)state;
  train(TRAIN " --steps 110 --out odd");
  train(TRAIN " --steps 60 --out odds");
  /* the end of a sitting is evaluated, so the two differ in that alone */
  train("train --resume odds --steps 110");
  assert_same_metrics("odd/metrics.jsonl", "odds/metrics.jsonl");
}

/* Online: the simulator, the episode that is running and the replay file go on too. */
static void test_an_online_run_resumes_to_the_same_bits(void **state) {
  (void)state;
#define SAC                                                                                        \
  "train sac --env point-v0 --set hidden=32 --set batch=32 --set random_steps=130"                 \
  " --set eval_episodes=2 --set eval_every=50 --set log_every=25"
  train(SAC " --steps 150 --out online");
  train(SAC " --steps 50 --out onlines");
  train("train --resume onlines --steps 150");
  assert_same_run("online", "onlines");
  assert_same_metrics("online/metrics.jsonl", "onlines/metrics.jsonl");
}

/* Kill it as nothing can be caught, at a time that differs from try to try. */
static void test_a_killed_run_resumes_to_the_same_bits(void **state) {
  (void)state;
  enum { TRIES = 3 };
  Rng rng = rng_stream((uint64_t)time(NULL), "kill");
#define LONG TRAIN " --steps 400"
  train(LONG " --out calm");
  for (uint32_t i = 0; i < TRIES; i++) {
    char line[1024], folder[32], last[64];
    snprintf(folder, sizeof folder, "killed%u", i);
    snprintf(last, sizeof last, "%s/last.safetensors", folder);
    snprintf(line, sizeof line, LONG " --out %s", folder);
    FILE *nowhere = fopen("/dev/null", "w");
    pid_t child = program_start(line, -1, fileno(nowhere), fileno(nowhere), 0);
    for (int wait = 0; wait < 2000 && file_size(last) < 0; wait++) nap(0.005);
    nap(0.15 * rng_uniform(rng, 0, i, 0));
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    fclose(nowhere);
    snprintf(line, sizeof line, "train --resume %s", folder);
    train(line);
    assert_same_run("calm", folder);
    snprintf(last, sizeof last, "%s/metrics.jsonl", folder);
    assert_same_metrics("calm/metrics.jsonl", last);
  }
}

/* Targets of three steps: their own run, with the same promises. */
static void test_targets_of_three_steps(void **state) {
  (void)state;
#define THREE TRAIN " --set nstep=3"
  size_t n, m;
  train(THREE " --steps 200 --threads 1 --out three-steps");
  train(THREE " --steps 100 --threads 3 --out three-halves");
  train("train --resume three-halves --steps 200 --threads 2");
  assert_same_run("three-steps", "three-halves");
  train(TRAIN " --steps 200 --out one-step");
  char *x = file_read("three-steps/last.safetensors", &n);
  char *y = file_read("one-step/last.safetensors", &m);
  assert_true(n != m || memcmp(x, y, n) != 0);
  free(x), free(y);
}

/* ---- settings -------------------------------------------------------------------------------- */

static void test_settings_belong_to_who_uses_them(void **state) {
  (void)state;
  Outcome o;
  program_run(&o, "train diffusion-bc --data point.hdf5 --env point-v0 --set reward=raw");
  program_expect(&o, 2, "unknown setting \"reward\"");
  program_run(&o, "train diffuser --data point.hdf5 --env none --set normalize_obs=true");
  program_expect(&o, 2, "unknown setting \"normalize_obs\"");
  program_run(&o, "train sac --env point-v0 --set nstep=3");
  program_expect(&o, 2, "unknown setting \"nstep\"");
  program_run(&o, TRAIN " --set nstep=0");
  program_expect(&o, 2, "nstep: 0 is out of range");
  program_run(&o, "train sac --env none");
  program_expect(&o, 2, "sac acts in an environment: give --env");
}

/* a run's config.json with another text in one place */
static void rewrite(const char *path, const char *what, const char *with) {
  size_t n;
  char *text = file_read(path, &n), *at = strstr(text, what);
  assert_non_null(at);
  FILE *file = fopen(path, "w");
  fprintf(file, "%.*s%s%s", (int)(at - text), text, with, at + strlen(what));
  fclose(file), free(text);
}

/* Release 0.1 wrote two settings for every algorithm, also where they meant nothing. */
static void test_a_record_of_release_0_1_is_resumed(void **state) {
  (void)state;
  Outcome o;
#define BC                                                                                         \
  "train diffusion-bc --data point.hdf5 --env none --set hidden=16 --set batch=32 --steps 20"
  train(BC " --out release");
  train(BC " --out release-0.1");
  rewrite("release-0.1/config.json", "\"hidden\":16", "\"hidden\":16,\"reward\":\"raw\"");
  train("train --resume release --steps 40");
  train("train --resume release-0.1 --steps 40");
  assert_same_file("release/last.safetensors", "release-0.1/last.safetensors");
  train(BC " --config release-0.1/config.json --out release-again");
  train(BC " --out release-odd");
  rewrite("release-odd/config.json", "\"hidden\":16", "\"hidden\":16,\"reward\":\"antmaze\"");
  program_run(&o, "train --resume release-odd --steps 40");
  program_expect(&o, 3, "reward: diffusion-bc has no such setting any more");
  rewrite("release-odd/config.json", "\"settings\"", "\"set\"");
  program_run(&o, "train --resume release-odd --steps 40");
  program_expect(&o, 3, "expected an object");
}

/* ---- stopping -------------------------------------------------------------------------------- */

static void check_signal(int number, const char *folder) {
  char line[1024], metrics[64];
  snprintf(line, sizeof line, TRAIN " --steps 10000000 --out %s", folder);
  snprintf(metrics, sizeof metrics, "%s/metrics.jsonl", folder);
  FILE *out = tmpfile(), *err = tmpfile();
  pid_t child = program_start(line, -1, fileno(out), fileno(err), 0);
  for (int wait = 0; wait < 2000 && file_size(metrics) <= 0; wait++) nap(0.005);
  double sent = clock_now();
  int status;
  /* a terminal that closes, a batch system and a CPU limit send several */
  for (int times = 0; times < (number == SIGTERM || number == SIGINT ? 1 : 3); times++)
    kill(child, number);
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(clock_now() - sent < 2);
  Outcome o = { .code = program_code(status) };
  program_read(out, o.out), program_read(err, o.err);
  snprintf(line, sizeof line, "diffrl train --resume %s", folder);
  program_expect(&o, 128 + number, line);
  program_run(&o, "eval %s --episodes 1", folder);
  program_expect(&o, 0, "return");
}

static void test_a_signal_leaves_a_checkpoint(void **state) {
  (void)state;
  static const int numbers[] = { SIGINT,  SIGTERM, SIGHUP,  SIGUSR1, SIGUSR2,
                                 SIGXCPU, SIGALRM, SIGPIPE, SIGPWR };
  char folder[32];
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    snprintf(folder, sizeof folder, "stopped%d", numbers[i]);
    check_signal(numbers[i], folder);
  }
}

static void test_a_full_disk_leaves_the_old_checkpoint(void **state) {
  (void)state;
  Outcome o;
  train(TRAIN " --steps 50 --out full");
  size_t n, m;
  char *before = file_read("full/last.safetensors", &n);
  program_run_limited(&o, 20000, "train --resume full --steps 100");
  program_expect(&o, 1, "cannot be written");
  char *after = file_read("full/last.safetensors", &m);
  assert_int_equal(n, m);
  assert_memory_equal(before, after, n);
  free(before), free(after);
  train("train --resume full --steps 100");
}

/* Observations of 1e30 overflow a float's gradient, not a double's. */
static void test_numbers_that_diverge_end_with_4(void **state) {
  (void)state;
  Outcome o;
  if (sizeof(real) > sizeof(float)) skip();
  file_make_data("huge.hdf5", "point-v0", 3, 1e30f, "{}");
  program_run(&o,
              "train diffusion-ql --data huge.hdf5 --env point-v0" SMALL " --steps 100 --out h");
  program_expect(&o, 4, "no longer finite at step 0; nothing was saved yet");
  /* what was saved before stands: here the weights it started from */
  program_run(&o,
              "train diffusion-ql --data point.hdf5 --env point-v0" SMALL " --steps 20 --out fine");
  program_expect(&o, 0, "run=fine");
  program_run(&o, "train diffusion-ql --data huge.hdf5 --env point-v0" SMALL
                  " --steps 100 --init fine --out late");
  program_expect(&o, 4, "the last good state is late/last.safetensors");
  program_run(&o, "eval late --episodes 1");
  program_expect(&o, 0, "return");
}

/* Large observations, which the usual rate bears and a rate of 1 does not: the message names the
 * tape, the node, the rows and what went in. */
static void test_what_diverges_is_found_on_its_tape(void **state) {
  (void)state;
  Outcome o;
  if (sizeof(real) > sizeof(float)) skip();
  file_make_data("large.hdf5", "point-v0", 3, 1e16f, "{}");
  const char *line = "train diffusion-ql --data large.hdf5 --env point-v0" SMALL
                     " --set critic_rate=%s --steps 60 --out rate-%s";
  program_run(&o, line, "3e-4", "3e-4");
  program_expect(&o, 0, "run=rate-3e-4");
  program_run(&o, line, "1", "1");
  program_expect(&o, 4, "on the tape that trains critic, node ");
  assert_null(strstr(o.err, "no longer finite at step 0;"));
  if (!strstr(o.err, " of phase 0 is the first that is not finite: inf ") ||
      !strstr(o.err, "; its inputs there: "))
    fail_msg("no node and inputs in %s", o.err);
}

/* ---- starting -------------------------------------------------------------------------------- */

static void load(Checkpoint *c, Arena *arena, const char *path) {
  Error error;
  checkpoint_init(c, arena);
  if (!checkpoint_load(c, path, NULL, &error)) fail_msg("%s: %s", path, error.text);
}

static double number_at(const CheckpointTensor *t, int i) {
  return t->type == CHECKPOINT_F64 ? ((double *)t->data)[i] : (double)((float *)t->data)[i];
}

static void test_init_starts_from_old_weights(void **state) {
  (void)state;
  Outcome o;
  Arena *arena = arena_new();
  Checkpoint old, new;
  train(TRAIN " --steps 50 --out old");
  train(TRAIN " --steps 1 --seed 9 --set actor_rate=1e-8 --init old --out new");
  load(&old, arena, "old/last.safetensors"), load(&new, arena, "new/last.safetensors");
  const CheckpointTensor *a = checkpoint_tensor(&old, "actor/trunk/1/w");
  const CheckpointTensor *b = checkpoint_tensor(&new, "actor/trunk/1/w");
  assert_true(a && b);
  for (int i = 0; i < 16 * 16; i++) assert_true(fabs(number_at(a, i) - number_at(b, i)) < 1e-6);
  arena_free(arena);
  program_run(&o, TRAIN " --set hidden=32 --init old --out other");
  program_expect(&o, 2, "hidden");
  program_run(
      &o, "train diffusion-ql --data point.hdf5 --env point-v0 --set diffusion_steps=3 --steps 5 "
          "--init old --out x");
  program_expect(&o, 2, "shapes");
}

static void test_without_environment_the_held_out_loss(void **state) {
  (void)state;
  size_t n;
  train("train diffusion-bc --data point.hdf5 --env none --set hidden=32 --set batch=32 --steps 20 "
        "--out blind");
  char *lines = file_read("blind/eval.jsonl", &n);
  assert_non_null(strstr(lines, "held_out_loss"));
  free(lines);
  assert_int_equal(file_size("blind/best.safetensors"), -1);
}

static void test_a_moved_data_file_is_known_by_its_content(void **state) {
  (void)state;
  Outcome o;
  file_make_data("here.hdf5", "point-v0", 12, 1, "{\"env\": \"point-v0\"}");
  program_run(&o, "train diffusion-ql --data here.hdf5 --env point-v0" SMALL
                  " --steps 20 --out moving");
  program_expect(&o, 0, "moving");
  assert_int_equal(rename("here.hdf5", "there.hdf5"), 0);
  program_run(&o, "train --resume moving --steps 40");
  program_expect(&o, 3, "--data");
  file_make_data("here.hdf5", "point-v0", 13, 1, "{\"env\": \"point-v0\"}");
  program_run(&o, "train --resume moving --steps 40");
  program_expect(&o, 3, "content differs");
  program_run(&o, "train --resume moving --steps 40 --data there.hdf5");
  program_expect(&o, 0, "steps=40");
}

static void test_the_last_line_tells_the_result(void **state) {
  (void)state;
  Outcome o;
  Error error;
  program_run(&o, TRAIN " --steps 100 --out told --json");
  program_expect(&o, 0, "{");
  Json *line = json_parse(o.out, strlen(o.out), &error);
  assert_non_null(line);
  assert_string_equal(json_text(json_get(line, "run")), "told");
  assert_string_equal(json_text(json_get(line, "algo")), "diffusion-ql");
  assert_string_equal(json_text(json_get(line, "env")), "point-v0");
  assert_true(json_number(json_get(line, "steps"), 0) == 100);
  assert_true(json_number(json_get(line, "seconds"), 0) > 0);
  assert_true(json_number(json_get(line, "steps_per_s"), 0) > 0);
  assert_true(json_number(json_get(line, "last"), 1) < 0);
  assert_true(json_number(json_get(line, "best"), 1) < 0);
  assert_non_null(json_get(json_get(line, "act"), "sampler"));
  json_free(line);
  assert_true(file_size("told/report.html") > 1000);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_threads_and_repetition_change_no_bit),
    cmocka_unit_test(test_another_seed_is_another_run),
    cmocka_unit_test(test_200_steps_are_100_resume_100),
    cmocka_unit_test(test_a_cosine_rate_keeps_its_length),
    cmocka_unit_test(test_resume_goes_on_between_reports),
    cmocka_unit_test(test_an_online_run_resumes_to_the_same_bits),
    cmocka_unit_test(test_a_killed_run_resumes_to_the_same_bits),
    cmocka_unit_test(test_targets_of_three_steps),
    cmocka_unit_test(test_settings_belong_to_who_uses_them),
    cmocka_unit_test(test_a_record_of_release_0_1_is_resumed),
    cmocka_unit_test(test_a_signal_leaves_a_checkpoint),
    cmocka_unit_test(test_a_full_disk_leaves_the_old_checkpoint),
    cmocka_unit_test(test_numbers_that_diverge_end_with_4),
    cmocka_unit_test(test_what_diverges_is_found_on_its_tape),
    cmocka_unit_test(test_init_starts_from_old_weights),
    cmocka_unit_test(test_without_environment_the_held_out_loss),
    cmocka_unit_test(test_a_moved_data_file_is_known_by_its_content),
    cmocka_unit_test(test_the_last_line_tells_the_result),
  };
  return cmocka_run_group_tests(tests, setup, program_leave);
}
