/* test_world.c -- a world model of a linear system, whose next state is known in distribution:
 *
 *   s' = A s + B a + 0.1 n,   r = s_0 - a,   the episode ends where a > 0.8
 *
 * The model is to recover both matrices, the noise, the reward and the end. */
#include "policy/models/worlds.h"
#include "rl/measure/world_errors.h"
#include "rl/source/source_transitions.h"
#include "rl/train/train.h"
#include "tests/program.h"

enum { ROWS = 6000, LONGEST = 60, POINTS = 1024, DRAWS = 16 };
static const double noise = 0.1, a_of[2][2] = { { 0.9, 0.2 }, { -0.1, 0.8 } }, b_of[2] = { 0, 0.5 };

static void system_step(const float *s, float a, Rng rng, uint64_t row, float *next) {
  for (uint32_t j = 0; j < 2; j++)
    next[j] = (float)(a_of[j][0] * (double)s[0] + a_of[j][1] * (double)s[1] + b_of[j] * (double)a +
                      noise * rng_normal(rng, row, j, 0));
}

static void make_system(const char *path) {
  Error error;
  DatasetWriter *writer = dataset_writer_open(path, 2, 1, 0, 0, &error);
  assert_non_null(writer);
  Rng rng = rng_stream(1, "system"), choice = rng_stream(1, "actions");
  float s[2] = { 0, 0 }, next[2];
  for (uint64_t row = 0, t = 0; row < ROWS; row++, t++) {
    float a = (float)(2 * rng_uniform(choice, row, 0, 0) - 1);
    bool over = a > 0.8f, last = over || t + 1 == LONGEST;
    system_step(s, a, rng, row, next);
    DatasetStep step = { s, &a, next, s[0] - a, over, last && !over, NAN, NULL, NULL };
    assert_true(dataset_writer_add(writer, &step, &error));
    for (uint32_t j = 0; j < 2; j++)
      s[j] = last ? (float)rng_normal(choice, row, 1 + j, 0) : next[j];
    if (last) t = (uint64_t)-1;
  }
  assert_true(dataset_writer_close(writer, "{}", &error));
}

/* errors of the mean over draws of one state and action, their deviation, rewards, wrong ends */
typedef struct {
  double mean, spread, reward, ends;
} Found;

static Found look(const WorldsModel *model, const ModelSampling *how) {
  enum { ALL = POINTS * DRAWS };
  static float s[ALL][2], a[ALL], next[ALL][2], reward[ALL];
  static bool end[ALL];
  Error error;
  Found f = { 0, 0, 0, 0 };
  Rng rng = rng_stream(2, "points");
  for (uint64_t i = 0; i < ALL; i++) {
    uint64_t point = i / DRAWS; /* the same one again and again */
    for (uint32_t j = 0; j < 2; j++) s[i][j] = (float)(0.5 * rng_normal(rng, point, j, 0));
    a[i] = (float)(2 * rng_uniform(rng, point, 2, 0) - 1);
    if (a[i] > 0.5f) a[i] = a[i] > 0.8f ? 0.95f : 0.4f; /* away from the edge */
  }
  assert_true(worlds_predict(model, how, ALL, &s[0][0], a, &next[0][0], reward, end, &error));
  double ended = 0, going = 0;
  for (int i = 0; i < ALL; i += DRAWS) {
    bool over = a[i] > 0.8f; /* what follows was never seen */
    for (int k = i; k < i + DRAWS; k++) {
      f.ends += end[k] != over, f.reward += fabs((double)(reward[k] - s[k][0] + a[k])) / ALL;
      ended += over, going += !over;
    }
    for (int j = 0; j < 2 && !over; j++) {
      double right =
          a_of[j][0] * (double)s[i][0] + a_of[j][1] * (double)s[i][1] + b_of[j] * (double)a[i];
      double sum = 0, squares = 0;
      for (int k = i; k < i + DRAWS; k++) sum += (double)next[k][j] / DRAWS;
      for (int k = i; k < i + DRAWS; k++)
        squares += ((double)next[k][j] - sum) * ((double)next[k][j] - sum) / (DRAWS - 1);
      f.mean += (sum - right) * (sum - right), f.spread += squares;
    }
  }
  double n = 2 * going / DRAWS;
  assert_true(ended > 0 && going > 0);
  /* of a mean of DRAWS draws noise^2 / DRAWS is chance */
  f.mean = sqrt(fmax(f.mean / n - f.spread / n / DRAWS, 0)), f.spread = sqrt(f.spread / n);
  f.ends /= ALL;
  return f;
}

static void a_linear_system_is_recovered(void **state) {
  (void)state;
  TrainRequest request = { .algo = "world-diffusion",
                           .data = "system.hdf5",
                           .env = "none",
                           .out = "world",
                           .sets = 9,
                           .threads = 1,
                           .set = { "steps=4000", "hidden=64", "batch=128", "lane=64", "rate=2e-3",
                                    "schedule_rate=cosine", "eval_every=4000", "sampler=edm_heun",
                                    "sample_steps=18" } };
  Error error = { 0 };
  Trainer trainer;
  TrainOutcome outcome;
  if (!trainer_open(&trainer, &request, &error) || !train_run(&trainer, &outcome, &error))
    fail_msg("%s", error.text);
  const WorldsModel *model = (const WorldsModel *)trainer.agent->model;
  const ModelSampling how = algo_sampling(trainer.agent->setup, trainer.agent->model);
  Found f = look(model, &how);
  print_message("world: mean off by %.4f, deviation %.4f of %.4f, reward off by %.4f, ends %.4f\n",
                f.mean, f.spread, noise, f.reward, f.ends);
  trainer_close(&trainer);
  assert_true(f.mean < 0.3 * noise);
  assert_true(fabs(f.spread - noise) < 0.15 * noise);
  assert_true(f.reward < 0.3 * noise);
  assert_true(f.ends < 0.01);
}

/* Of a perfect model the error of one step is that of two draws: sqrt 2 times the noise. */
static void its_error_is_that_of_two_draws(void **state) {
  (void)state;
  Outcome o;
  program_run(&o, "inspect world --json");
  program_expect(&o, 0, "");
  FILE *file = fopen("world/eval.jsonl", "r");
  assert_non_null(file);
  char line[4096], *at;
  assert_non_null(fgets(line, sizeof line, file));
  fclose(file);
  assert_non_null(at = strstr(line, "\"windows_held_out\":"));
  assert_int_equal(atoi(at + strlen("\"windows_held_out\":")), 1);
  assert_non_null(at = strstr(line, "\"world_error_1\":"));
  double one = atof(at + strlen("\"world_error_1\":"));
  assert_non_null(at = strstr(line, "\"still_1\":"));
  double still = atof(at + strlen("\"still_1\":"));
  print_message("world: error %.4f of deviations, of no change %.4f\n", one, still);
  assert_true(one < 0.6 * still);
  program_run(&o, "eval world --episodes 1");
  program_expect(&o, 2, "world-diffusion");
  program_run(&o, "train --resume world --steps 4010");
  program_expect(&o, 0, "");
}

static int enter(void **state) {
  if (program_enter(state)) return -1;
  make_system("system.hdf5");
  return 0;
}

int main(void) {
  if (PROGRAM_SLOW) {
    puts("[  PASSED  ] 0 tests, skipped in MODE=double and MODE=tsan");
    return 0;
  }
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_linear_system_is_recovered),
    cmocka_unit_test(its_error_is_that_of_two_draws),
  };
  return cmocka_run_group_tests(tests, enter, program_leave);
}
