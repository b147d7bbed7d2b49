/* test_diffuser.c -- plans: what the network is shown, what the simulator says of a trajectory, the
 * same bits however a run is cut, and sentences for what cannot be.  Promises B4 and B9 of
 * docs/design.md. */
#include "diffusion/loss.h"
#include "policy/diffrl.h"
#include "policy/actor.h"
#include "policy/models/plans.h"
#include "rl/rollout/dynamics.h"
#include "rl/rollout/evaluate.h"
#include "tests/pool.h"
#include "tests/program.h"

#define DIFFUSER                                                                                   \
  "train diffuser --data hopper.hdf5 --set horizon=8 --set hidden=8 --set mults=1,2 "              \
  "--set groups=4 --set batch=16 --set group=4 --set lane=2 --set eval_plans=3 "                   \
  "--set diffusion_steps=4 --set eval_every=20 --set log_every=10 --set save_every=10 "            \
  "--set ema_start=15"

static int setup(void **state) {
  if (program_enter(state)) return -1;
  file_make_data("hopper.hdf5", "hopper-v2", 20, 1, "{\"env\": \"hopper-v2\"}");
  return 0;
}

static void assert_same_run(const char *a, const char *b) {
  assert_same_files(a, b, "last.safetensors eval.jsonl plans.png");
}

/* ---- the loss -------------------------------------------------------------------------------- */

enum { DIM = 3, ROWS = 8 };

/* a network that takes what it is shown for x_0 */
static Tensor *echo(const Denoiser *d, Graph *g, const Params *p, Tensor *x, Tensor *h,
                    Tensor *cond) {
  return (void)d, (void)g, (void)p, (void)h, (void)cond, x;
}
static Tensor *no_time(const Denoiser *d, Graph *g, const Params *p, Tensor *t) {
  return (void)d, (void)g, (void)p, t;
}

static double loss_of(const double *keep, const double *factor) {
  Arena *arena = arena_new();
  Error error;
  ScheduleSpec noise = { .name = "cosine", .steps = 20 };
  const Denoiser d = { .net = echo,
                       .embed = no_time,
                       .predicts = PREDICTS_X0,
                       .schedule = schedule_new(arena, &noise, &error),
                       .dim = DIM };
  GraphSpec spec = { .kernels = kernels_find("own", &error), .max_rows = ROWS };
  Graph *g = graph_new(arena, &spec);
  Loss *loss = loss_new(arena, &(LossSpec){ 0 }, &d, &error);
  LossInputs in = { .x0 = t_normal(g, "data", 1, DIM),
                    .keep = keep ? t_table(g, keep, 1, DIM) : NULL,
                    .factor = factor ? t_table(g, factor, 1, DIM) : NULL };
  Tensor *mean = loss_record(g, loss, NULL, "test", &in).loss;
  graph_keep(mean), graph_seal(g);
  graph_run(g, ROWS, 0, NULL);
  double value = graph_scalar(mean);
  arena_free(arena);
  return value;
}

/* The network echoes, so an entry shown clean has no error; what factors leave is a sum. */
static void known_entries_are_shown_clean(void **state) {
  (void)state;
  static const double all[] = { 1, 1, 1 }, first[] = { 1, 0, 0 }, rest[] = { 0, 1, 1 };
  static const double tenfold[] = { 10, 1, 1 };
  double whole = loss_of(NULL, NULL), a = loss_of(NULL, first), b = loss_of(NULL, rest);
  assert_true(whole > 0.1);
  assert_true(loss_of(all, NULL) == 0);
  assert_float_equal(loss_of(first, NULL), b, 1e-6);
  assert_float_equal(a + b, whole, 1e-6);
  assert_float_equal(loss_of(NULL, tenfold), 10 * a + b, 1e-5);
}

/* ---- the simulator --------------------------------------------------------------------------- */

enum { HORIZON = 6, OBS = 11, ACT = 3, WIDTH = OBS + ACT };

/* what the simulator itself does from its start */
static void simulate(EnvModel *model, float *trajectory) {
  Error error;
  Env *env = env_create(model, &error);
  assert_non_null(env);
  float obs[ENV_MAX_OBS];
  env_reset(env, 5, 0, obs);
  for (int t = 0; t < HORIZON; t++, trajectory += WIDTH) {
    for (int j = 0; j < ACT; j++) trajectory[j] = 0.3f * (float)(j - 1) + 0.1f * (float)t;
    memcpy(trajectory + ACT, obs, OBS * sizeof *obs);
    env_step(env, trajectory, obs);
  }
  env_free(env);
}

static void the_simulators_own_way_has_no_error(void **state) {
  (void)state;
  Error error;
  Dynamics d;
  EnvModel *model = env_load(env_find("hopper-v2"), &error);
  float way[HORIZON * WIDTH], played[HORIZON * WIDTH], scale[OBS];
  simulate(model, way);
  for (int j = 0; j < OBS; j++) scale[j] = 0.5f;
  assert_true(dynamics_measure(model, scale, way, 1, HORIZON, &d, &error));
  assert_true(d.error < 1e-4 && d.no_change > 0.1 && d.drift[1] < 1e-4 && isnan(d.drift[2]));
  assert_int_equal(d.failures, 0);
  assert_true(dynamics_play(model, way, 1, HORIZON, played, &error));
  for (int i = 0; i < HORIZON * WIDTH; i++) assert_float_equal(way[i], played[i], 1e-4);
  /* one entry of the last state off by one unit, among five steps of eleven entries */
  way[(HORIZON - 1) * WIDTH + ACT + 4] += 0.5f;
  assert_true(dynamics_measure(model, scale, way, 1, HORIZON, &d, &error));
  assert_float_equal(d.error, sqrt(1.0 / (5 * OBS)), 1e-3);
  env_unload(model);
}

/* planar tasks can be put into the state of an observation; others say that they cannot */
static void observations_tell_the_state(void **state) {
  (void)state;
  size_t count;
  const EnvDef *const *all = env_list(&count);
  int planar = 0;
  for (size_t i = 0; i < count; i++) {
    Error error;
    EnvModel *model = env_load(all[i], &error);
    Env *env = env_create(model, &error);
    float obs[ENV_MAX_OBS], same[ENV_MAX_OBS], act[ENV_MAX_ACT] = { 0 }, next[ENV_MAX_OBS];
    env_reset(env, 1, 0, obs);
    bool told = env_set_observed(env, obs);
    assert_int_equal(told, strcmp(all[i]->physics, "none") != 0);
    if (told) {
      planar++;
      env_step(env, act, same);
      env_reset(env, 1, 0, obs);
      env_step(env, act, next);
      for (int j = 0; j < all[i]->obs_dim; j++) assert_float_equal(same[j], next[j], 1e-3);
    }
    env_free(env), env_unload(model);
  }
  assert_true(planar >= 3);
}

/* ---- plans ----------------------------------------------------------------------------------- */

static PlansModel *small_model(Arena *arena) {
  Error error;
  Model *base = model_start(arena, &model_plans, NULL);
  PlansModel *m = (PlansModel *)base;
  m->obs_dim = 3, m->act_dim = 2;
  assert_true(model_set_all(base,
                            "horizon=4 hidden=8 mults=1,2 groups=4 diffusion_steps=5 "
                            "weights=online",
                            &error));
  assert_true(model_build(base, &error) && blocks_allocate(&base->blocks, &error));
  params_init(base->online, 3);
  for (int j = 0; j < m->width; j++)
    m->step.mean[j] = 0.3f * (float)j, m->step.std[j] = 0.7f + (float)j;
  return m;
}

static void plans_of(const PlansModel *m, int threads, int count, float *plans) {
  Error error;
  float first[8 * 3];
  for (int i = 0; i < 8 * 3; i++) first[i] = 0.37f * (float)i - 2;
  ModelSampling how = model_sampling(&m->base);
  how.seed = 9, how.pool = pool_of(threads), how.kernels = kernels_find("own", &error);
  assert_true(plans_sample(m, &how, count, first, plans, &error));
  for (int i = 0; i < count; i++)
    assert_memory_equal(plans + 20 * i + 2, first + 3 * i, 3 * sizeof *first);
  pool_free(how.pool);
}

static void plans_begin_in_their_state(void **state) {
  (void)state;
  Arena *arena = arena_new();
  Error error;
  const PlansModel *m = small_model(arena);
  float a[8 * 20], b[8 * 20], c[8 * 20];
  plans_of(m, 1, 8, a), plans_of(m, 3, 8, b), plans_of(m, 1, 3, c);
  assert_memory_equal(a, b, sizeof a);                     /* threads */
  assert_memory_equal(a, c, 3 * 20 * sizeof *a);           /* the first three of eight */
  assert_true(memcmp(a + 5, a + 25, 15 * sizeof *a) != 0); /* each has noise of its own */
  Checkpoint file;
  checkpoint_init(&file, arena);
  model_save(&m->base, &file);
  const PlansModel *again = (PlansModel *)model_load(arena, &model_plans, &file, &error);
  assert_non_null(again);
  plans_of(again, 1, 8, b);
  assert_memory_equal(a, b, sizeof a);
  arena_free(arena);
}

/* ---- the same bits --------------------------------------------------------------------------- */

static void forty_steps_are_20_resume_20(void **state) {
  (void)state;
  program_succeed(DIFFUSER " --steps 40 --threads 1 --out whole");
  program_succeed(DIFFUSER " --steps 20 --threads 2 --out half");
  program_succeed("train --resume half --steps 40 --threads 3");
  assert_same_run("whole", "half");
  program_succeed(DIFFUSER " --steps 20 --init whole --out later");
}

static void without_an_environment_there_is_a_held_out_loss(void **state) {
  (void)state;
  size_t n;
  program_succeed(DIFFUSER " --steps 20 --env none --out blind");
  char *text = file_read("blind/eval.jsonl", &n);
  assert_non_null(strstr(text, "\"held_out_loss\":"));
  free(text);
}

static void the_report_shows_plans(void **state) {
  (void)state;
  size_t n;
  char *page = file_read("whole/report.html", &n), *line = file_read("whole/eval.jsonl", &n);
  assert_non_null(strstr(page, "data:image/png;base64,iVBOR"));
  assert_non_null(strstr(page, "<h3>Error of plans</h3>"));
  assert_non_null(strstr(page, "<th>error of plans</th><th>of no change</th><th>ratio</th>"));
  assert_non_null(strstr(line, "\"plan_error\":"));
  assert_non_null(strstr(line, "\"data_drift_4\":"));
  free(page), free(line);
}

/* ---- sample ---------------------------------------------------------------------------------- */

static void plans_as_files(void **state) {
  (void)state;
  size_t n, m;
  program_succeed("sample whole --count 5 --seed 4 --threads 1 --out a.csv");
  program_succeed("sample whole --count 3 --seed 4 --threads 3 --out b.csv");
  char *a = file_read("a.csv", &n), *b = file_read("b.csv", &m);
  int lines = 0;
  for (size_t i = 0; i < n; i++) lines += a[i] == '\n';
  assert_int_equal(lines, 1 + 5 * 8);
  assert_memory_equal(a, "plan,step,a0,a1,a2,s0,", 22);
  assert_true(m < n && !memcmp(a, b, m)); /* the first three of five */
  free(a), free(b);
  program_succeed("sample whole --count 2 --sampler ddim --steps 2 --out p.npy");
  char *npy = file_read("p.npy", &n);
  assert_int_equal(n, 128 + 2 * 8 * 14 * 8);
  assert_non_null(strstr(npy + 10, "'shape': (2, 8, 14)"));
  free(npy);
  program_succeed("sample whole --out p.png");
  program_refuse(2, "sample blind --out p.png", "trained without one");
  program_refuse(2, "sample whole --label 1 --out p.png", "conditioned on labels");
}

/* ---- acting by plans ------------------------------------------------------------------------- */

static Policy *load_policy(Arena *arena, const char *path, int act_steps) {
  Error error;
  Checkpoint file;
  checkpoint_init(&file, arena);
  assert_true(checkpoint_load(&file, path, NULL, &error));
  Policy *policy = policy_load(arena, &file, &error);
  if (!policy) fail_msg("%s", error.text);
  policy->act.act_steps = act_steps;
  return policy;
}

/* the return of one episode alone, with a plan whenever act_steps actions are done */
static double play(Env *env, Actor *actor, const Policy *policy, uint64_t seed, uint32_t episode) {
  float obs[ENV_MAX_OBS], plan[8][ENV_MAX_ACT];
  double total = 0;
  EnvStep step = { 0 };
  env_reset(env, seed, episode, obs);
  for (int64_t t = 0; !step.terminal && !step.timeout; t++) {
    int64_t age = t % policy->act.act_steps;
    if (!age) actor_answer(actor, obs, 1, (uint64_t)t, &episode, *plan, NULL);
    step = env_step(env, *plan + age * policy->spec.act_dim, obs);
    total += (double)step.reward;
  }
  return total;
}

/* Whatever the number of threads and in whatever order episodes end. */
static void an_evaluation_replans_every_episode(void **state) {
  (void)state;
  enum { EPISODES = 7 };
  Arena *arena = arena_new();
  Error error;
  const Policy *policy = load_policy(arena, "whole/last.safetensors", 3);
  const Kernels *kernels = kernels_find("own", &error);
  EnvModel *model = env_load(env_find("hopper-v2"), &error);
  Env *env = env_create(model, &error);
  EvalSpec spec = { .episodes = EPISODES, .seeds = SEEDS_REPORT, .seed = 2, .kernels = kernels };
  uint64_t seed = eval_episode_seed(SEEDS_REPORT, 2);
  Actor *alone = actor_new(arena, policy, 1, seed, NULL, kernels, &error);
  for (int threads = 1; threads <= 3; threads++) {
    EvalResult result;
    spec.pool = pool_of(threads);
    assert_true(evaluate(arena, model, policy, &spec, &result, &error));
    for (uint32_t i = 0; i < EPISODES; i++)
      assert_true(result.returns[i] == play(env, alone, policy, seed, i));
    pool_free(spec.pool);
  }
  env_free(env), env_unload(model);
  arena_free(arena);
}

/* `act`, `eval` and `export` take a run of plans; what act prints is what the library does. */
static void a_run_of_plans_acts(void **state) {
  (void)state;
  enum { LINES = 7 };
  Outcome o = { 0 };
  program_succeed("eval whole --episodes 3 --act act_steps=8");
  program_succeed("export whole --act act_steps=3 --out alone");
  program_refuse(2, "export whole --format c --out alone", "a policy of plans cannot be printed");
  program_refuse(2, "eval whole --act act_steps=9", "answers with 8 actions at once");
  FILE *in = tmpfile(), *out = tmpfile();
  diffrl_policy *policy = NULL;
  diffrl_actor *actor = NULL;
  char expected[1000] = "";
  float obs[11] = { 1.25f }, action[3];
  assert_int_equal(diffrl_policy_load(&policy, "alone/policy.safetensors", NULL, NULL), DIFFRL_OK);
  assert_int_equal(diffrl_actor_new(&actor, policy, NULL, NULL, 0, NULL), DIFFRL_OK);
  diffrl_actor_reset(actor, eval_episode_seed(SEEDS_REPORT, 4));
  for (int i = 0; i < LINES; i++) {
    obs[1] = (float)i;
    fprintf(in, "1.25 %d 0 0 0 0 0 0 0 0 0\n", i);
    assert_int_equal(diffrl_actor_act(actor, obs, action), DIFFRL_OK);
    size_t at = strlen(expected);
    snprintf(expected + at, sizeof expected - at, "%.9g %.9g %.9g\n", (double)action[0],
             (double)action[1], (double)action[2]);
  }
  rewind(in);
  int status;
  pid_t child =
      program_start("act whole --seed 4 --act act_steps=3", fileno(in), fileno(out), -1, 0);
  assert_int_equal(waitpid(child, &status, 0), child);
  program_read(out, o.out);
  assert_string_equal(o.out, expected);
  fclose(in);
  diffrl_actor_free(actor), diffrl_policy_free(policy);
}

/* ---- what cannot be -------------------------------------------------------------------------- */

static void bad_input_is_told(void **state) {
  (void)state;
  program_refuse(2, "train diffuser --data hopper.hdf5 --set horizon=12",
                 "a horizon of 12 cannot be halved 3 times");
  program_refuse(2, "train diffuser --data hopper.hdf5 --set groups=5",
                 "32 channels cannot be normalised in 5 groups");
  program_refuse(2, "train diffuser --data hopper.hdf5 --set mults=1,x",
                 "mults=1,x: expected 1 to 6");
  program_refuse(2, "train diffuser --data hopper.hdf5 --set mults=1,2,", "mults=1,2,: expected");
  program_refuse(2, "train diffuser --data hopper.hdf5 --set schedule=cosin",
                 "did you mean cosine");
  program_refuse(3, "train diffuser --data hopper.hdf5 --set horizon=256",
                 "choose a smaller horizon");
  program_refuse(2, "train diffuser --data hopper.hdf5 --set horizon=1000", "at most 4096 numbers");
  program_refuse(2, "train diffuser --data hopper.hdf5 --set horizon=8 --init whole --out other",
                 "its hidden is 8");
  file_make_data("point.hdf5", "point-v0", 3, 1, "{\"env\": \"point-v0\"}");
  program_refuse(2, "train diffuser --data point.hdf5 --env point-v0", "or use --env none");
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(known_entries_are_shown_clean),
    cmocka_unit_test(the_simulators_own_way_has_no_error),
    cmocka_unit_test(observations_tell_the_state),
    cmocka_unit_test(plans_begin_in_their_state),
    cmocka_unit_test(forty_steps_are_20_resume_20),
    cmocka_unit_test(without_an_environment_there_is_a_held_out_loss),
    cmocka_unit_test(the_report_shows_plans),
    cmocka_unit_test(plans_as_files),
    cmocka_unit_test(an_evaluation_replans_every_episode),
    cmocka_unit_test(a_run_of_plans_acts),
    cmocka_unit_test(bad_input_is_told),
  };
  return cmocka_run_group_tests(tests, setup, program_leave);
}
