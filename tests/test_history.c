/* test_history.c -- histories and chunks from training to the robot: where a state is hidden, a
 * history shows it, and a chunk of actions is the same in every place that acts.  Promise B4 of
 * docs/design.md. */
#include "policy/diffrl.h"
#include "rl/rollout/evaluate.h"
#include "tests/program.h"

enum { EPISODES = 60, LINES = 26, SHOWN = 3 };

/* ---- data ------------------------------------------------------------------------------------ */

/* Swing up by the energy of E = rate^2 / 2 + 15 cos, hold by a linear law: torque within +-2. */
static float swing_up(const float *obs) {
  double rate = (double)obs[2], angle = atan2((double)obs[1], (double)obs[0]);
  double lift = 0.1 * rate * (15 - rate * rate / 2 - 15 * (double)obs[0]);
  double torque = fabs(angle) < 0.5 ? -10 * angle - 2 * rate : lift;
  return (float)fmin(fmax(torque, -2), 2);
}

/* The same episodes with `shown` numbers of each observation; their mean return. */
static double make_pendulum(const char *path, int shown) {
  Error error;
  EnvModel *model = env_load(env_find("pendulum-v1"), &error);
  Env *env = env_create(model, &error);
  DatasetWriter *writer = dataset_writer_open(path, shown, 1, 0, 0, &error);
  assert_true(env && writer);
  double sum = 0;
  for (uint64_t e = 0; e < EPISODES; e++) {
    float obs[SHOWN], next[SHOWN];
    EnvStep step = { 0 };
    for (env_reset(env, 1, e, obs); !step.timeout; memcpy(obs, next, sizeof obs)) {
      float act = swing_up(obs);
      step = env_step(env, &act, next);
      sum += (double)step.reward / EPISODES;
      DatasetStep row = { obs, &act, next, step.reward, false, step.timeout, NAN, NULL, NULL };
      assert_true(dataset_writer_add(writer, &row, &error));
    }
  }
  assert_true(dataset_writer_close(writer, "{}", &error));
  env_free(env);
  env_unload(model);
  return sum;
}

/* ---- the hidden rate ------------------------------------------------------------------------- */

static double cloned_return(const char *data, const char *env, const char *history) {
  Outcome o;
  program_run(&o,
              "train bc --data %s --env %s --out %s-%s --threads 1 --set %s --set "
              "policy=deterministic --set hidden=128 --set steps=20000 --set batch=128 --set "
              "actor_rate=1e-3 --set eval_every=0",
              data, env, data, history, history);
  program_expect(&o, 0, "");
  program_run(&o, "eval %s-%s --episodes 40 --json", data, history);
  const char *mean = strstr(o.out, "\"return_mean\":");
  if (!mean) fail_msg("no mean in %s%s", o.out, o.err);
  return atof(strchr(mean, ':') + 1);
}

/* The difference of two angles is the rate: with a history of two, the policy without a rate does
 * what the policy that sees it does, and without a history it cannot. */
static void a_history_shows_what_is_hidden(void **state) {
  (void)state;
  if (PROGRAM_SLOW) skip();
  double expert = make_pendulum("full.hdf5", 3);
  make_pendulum("angle.hdf5", 2);
  double full = cloned_return("full.hdf5", "pendulum-v1", "obs_steps=1");
  double blind = cloned_return("angle.hdf5", "pendulum-angle-v1", "obs_steps=1");
  double history = cloned_return("angle.hdf5", "pendulum-angle-v1", "obs_steps=2");
  print_message("returns: data %.0f, full %.0f, angle %.0f, two angles %.0f\n", expert, full, blind,
                history);
  assert_true(full > expert - 30);
  assert_true(history > full - 30);
  assert_true(blind < full - 300);
}

/* ---- the same chunk in three places ---------------------------------------------------------- */

static void draw_line(int line, float obs[11]) {
  rng_normals(rng_stream(1, "lines"), (uint64_t)line, 0, obs, 11);
}

static void put_action(char *text, const float *act) {
  sprintf(text + strlen(text), "%.9g %.9g %.9g\n", (double)act[0], (double)act[1], (double)act[2]);
}

static void act_by_program(char said[PROGRAM_TEXT]) {
  FILE *in = tmpfile(), *out = tmpfile();
  for (int i = 0; i < LINES; i++) {
    float obs[11];
    draw_line(i, obs);
    for (int j = 0; j < 11; j++) fprintf(in, "%.9g%c", (double)obs[j], j < 10 ? ' ' : '\n');
  }
  rewind(in);
  int status;
  pid_t child = program_start("act chunks --seed 4", fileno(in), fileno(out), -1, 0);
  assert_int_equal(waitpid(child, &status, 0), child);
  program_read(out, said);
  fclose(in);
}

static void act_by_library(char said[PROGRAM_TEXT]) {
  diffrl_policy *policy = NULL;
  diffrl_actor *actor = NULL;
  /* a run's folder, as the program takes it */
  assert_int_equal(diffrl_policy_load(&policy, "chunks", NULL, NULL), DIFFRL_OK);
  assert_int_equal(diffrl_actor_new(&actor, policy, NULL, NULL, 0, NULL), DIFFRL_OK);
  assert_int_equal(diffrl_policy_obs_steps(policy), 2);
  assert_int_equal(diffrl_policy_horizon(policy), 4);
  diffrl_actor_reset(actor, eval_episode_seed(SEEDS_REPORT, 4));
  for (int i = 0; i < LINES; i++) {
    float obs[11], act[3];
    draw_line(i, obs);
    assert_int_equal(diffrl_actor_act(actor, obs, act), DIFFRL_OK);
    put_action(said, act);
  }
  diffrl_actor_free(actor), diffrl_policy_free(policy);
}

/* The export itself, which a compiler here makes into a program. */
static void act_by_export(char said[PROGRAM_TEXT]) {
  program_succeed("export chunks --format c --name robot --out robot");
  FILE *out = fopen("robot/main.c", "w");
  assert_non_null(out);
  fprintf(out, "#include \"robot.h\"\n#include <stdio.h>\nstatic const float obs[][11] = {\n");
  for (int i = 0; i < LINES; i++) {
    float obs[11];
    draw_line(i, obs);
    for (int j = 0; j < 11; j++) fprintf(out, "%s%.9g,", j ? " " : "  { ", (double)obs[j]);
    fprintf(out, " },\n");
  }
  fprintf(out,
          "};\nint main(void) {\n  static robot_state state;\n  robot_reset(&state, %lluull);\n"
          "  for (int i = 0; i < %d; i++) {\n    float act[3];\n"
          "    if (robot_act(&state, obs[i], act)) return 1;\n"
          "    printf(\"%%.9g %%.9g %%.9g\\n\", act[0], act[1], act[2]);\n  }\n"
          "  return 0;\n}\n",
          (unsigned long long)eval_episode_seed(SEEDS_REPORT, 4), LINES);
  assert_int_equal(fclose(out), 0);
  const char *compiler = getenv("CC") ? getenv("CC") : "gcc";
  char line[256];
  snprintf(line, sizeof line, "cd robot && %s -O1 -o robot robot.c main.c && ./robot >said",
           compiler);
  if (system(line)) fail_msg("%s", line);
  size_t length;
  char *text = file_read("robot/said", &length);
  snprintf(said, PROGRAM_TEXT, "%s", text);
  free(text);
}

/* Four actions an answer, the last two observations: to the bit, on the command line, in the
 * library and in the exported C. */
static void chunks_are_the_same_everywhere(void **state) {
  (void)state;
  static char program[PROGRAM_TEXT], library[PROGRAM_TEXT], exported[PROGRAM_TEXT];
  file_make_data("hopper.hdf5", "hopper-v2", 20, 1, "{}");
  program_succeed("train diffusion-bc --data hopper.hdf5 --env hopper-v2 --out chunks --set "
                  "steps=20 --set chunk=4 --set obs_steps=2 --set hidden=40 --set batch=32 --set "
                  "eval_episodes=2 --set eval_every=0");
  act_by_program(program), act_by_library(library);
  assert_string_equal(program, library);
#if defined __x86_64__ && !defined DIFFRL_DOUBLE /* what is exported is float */
  act_by_export(exported);
  assert_string_equal(exported, library);
#else
  (void)exported;
#endif
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_history_shows_what_is_hidden),
    cmocka_unit_test(chunks_are_the_same_everywhere),
  };
  return cmocka_run_group_tests(tests, program_enter, program_leave);
}
