/* test_learning.c -- what is learned, where the right answer is known: a bandit with four modes.
 *
 * The data choose each mode a quarter of the time.  Cloning must keep all four; Diffusion-QL must
 * move its samples, and its choice among candidates, to the one that pays best. */
#include "policy/nets/denoiser_mlp.h"
#include "policy/policies/policy_one_step.h"
#include "rl/train/train.h"
#include "tests/program.h"

enum { ROWS = 4000, SAMPLES = 2000 };

/* actions around the corners (+-0.8, +-0.8), reward from the environment times `truth` */
static void make_bandit(const char *path, float truth) {
  Error error;
  EnvModel *model = env_load(env_find("bandit-v0"), &error);
  Env *env = env_create(model, &error);
  DatasetWriter *writer = dataset_writer_open(path, 1, 2, 0, 0, &error);
  assert_true(env && writer);
  Rng rng = rng_stream(1, "corners");
  for (uint64_t e = 0; e < ROWS; e++) {
    float obs[1], next[1], act[2];
    env_reset(env, 1, e, obs);
    for (uint32_t j = 0; j < 2; j++) {
      double corner = rng_uniform(rng, e, j, 0) < 0.5 ? -0.8 : 0.8;
      act[j] = (float)fmin(fmax(corner + 0.1 * rng_normal(rng, e, j, 1), -1), 1);
    }
    EnvStep step = env_step(env, act, next);
    DatasetStep row = { obs, act, next, truth * step.reward, true, false, NAN, NULL, NULL };
    assert_true(dataset_writer_add(writer, &row, &error));
  }
  assert_true(dataset_writer_close(writer, "{\"env\": \"bandit-v0\"}", &error));
  env_free(env);
  env_unload(model);
}

typedef struct {
  double best, others; /* shares of samples within 0.4 of the best corner, of the other three */
  double map;          /* of fql: how far its policy is from the flow's map */
  double guided[3];    /* of qgpo: the best corner's share of samples at any corner */
} Shares;

static Shares shares_of(const Policy *policy) {
  Arena *arena = arena_new();
  Error error;
  Actor *actor = actor_new(arena, policy, SAMPLES, 7, NULL, kernels_find("own", &error), &error);
  assert_non_null(actor);
  float *obs = arena_array(arena, float, SAMPLES), *act = arena_array(arena, float, 2 * SAMPLES);
  for (int i = 0; i < SAMPLES; i++) obs[i] = 1;
  actor_answer(actor, obs, SAMPLES, 0, NULL, act, NULL);
  Shares s = { 0 };
  for (int i = 0; i < SAMPLES; i++) {
    double x = fabs((double)act[2 * i]) - 0.8, y = fabs((double)act[2 * i + 1]) - 0.8;
    if (x * x + y * y > 0.16) continue;
    bool best = act[2 * i] > 0 && act[2 * i + 1] > 0;
    *(best ? &s.best : &s.others) += 1.0 / SAMPLES;
  }
  arena_free(arena);
  return s;
}

/* mean |mu(z) - flow(z)|^2 over that of the flow's distances from its mean, at the one state */
static double map_error(const Agent *agent) {
  const Policy *p = agent->policy;
  Arena *arena = arena_new();
  Error error;
  const Schedule *paths = schedule_new(arena, &(ScheduleSpec){ .name = "flow" }, &error);
  Params *shape = params_new(arena, "flow"), *flow = NULL;
  const Denoiser *d = mlp_denoiser_new(arena, shape, paths, PREDICTS_VELOCITY, 2, 1, 64);
  for (int i = 0; i < agent->blocks.count; i++)
    if (!strcmp(agent->blocks.params[i]->block, "flow")) flow = agent->blocks.params[i];
  assert_non_null(flow);
  /* a hundred steps, so that the ten of training are seen to be enough */
  SamplerSpec spec = { .method = "ddim", .steps = 100, .end = END_CLEAN };
  Sampler *ode = sampler_new(arena, &spec, d, &error);
  assert_non_null(ode);
  Graph *g = graph_new(
      arena,
      &(GraphSpec){ .seed = 3, .kernels = kernels_find("own", &error), .max_rows = SAMPLES });
  Tensor *obs = t_input(g, "obs", 1, 1), *z = t_normal(g, "z", 1, 2);
  Tensor *there = t_clip(sampler_record_from(g, ode, d, flow, "flow", z, obs), -1, 1);
  Tensor *mu = t_clip(one_step_act(p, g, p->actor, obs, z), -1, 1);
  Tensor *error_of = t_mean(t_map(MAP_square, t_sub(mu, there)));
  Tensor *size = t_mean(t_map(MAP_square, there)); /* the modes lie around 0 */
  real *ones = arena_array(arena, real, (ptrdiff_t)SAMPLES * obs->ld);
  for (int i = 0; i < SAMPLES; i++) ones[i * obs->ld] = 1;
  graph_bind(obs, ones), graph_keep(error_of), graph_keep(size), graph_seal(g);
  graph_run(g, SAMPLES, 0, NULL);
  double ratio = graph_scalar(error_of) / graph_scalar(size);
  arena_free(arena);
  return ratio;
}

static const double guidances[] = { 0, 1, 4 };

/* train and look at one sample a state, and (chosen) at the act record as trained */
static Shares train(const char *algo, const char *out, const char *const *set, int sets,
                    Shares *chosen) {
  TrainRequest request = {
    .algo = algo, .data = "bandit.hdf5", .env = "bandit-v0", .out = out, .sets = sets, .threads = 1
  };
  for (int i = 0; i < sets; i++) request.set[i] = set[i];
  Error error = { 0 };
  Trainer trainer;
  TrainOutcome outcome;
  if (!trainer_open(&trainer, &request, &error)) fail_msg("%s", error.text);
  if (!train_run(&trainer, &outcome, &error)) fail_msg("%s", error.text);
  Policy *policy = trainer.agent->policy;
  if (chosen) *chosen = shares_of(policy);
  policy->act.candidates = 1;
  strcpy(policy->act.choice.s, "sample");
  Shares single = shares_of(policy);
  if (!strcmp(algo, "fql")) single.map = map_error(trainer.agent);
  for (int i = 0; !strcmp(algo, "qgpo") && i < 3; i++) {
    policy->act.guidance = guidances[i];
    Shares at = shares_of(policy);
    single.guided[i] = at.best / (at.best + at.others);
  }
  trainer_close(&trainer);
  return single;
}

#define SMALL_NET                                                                                  \
  "hidden=64", "batch=64", "group=64", "lane=64", "actor_rate=1e-3", "eval_every=0",               \
      "eval_episodes=1"

#define CHOOSER_OF(steps)                                                                          \
  "hidden=64", "batch=64", "group=64", "lane=64", "rate=1e-3", "eval_every=0", "eval_episodes=1",  \
      "steps=" steps
#define CHOOSER CHOOSER_OF("4000")

static void cloning_keeps_every_mode(void **state) {
  (void)state;
  static const char *const set[] = { SMALL_NET, "steps=4000", "diffusion_steps=20" };
  Shares s = train("diffusion-bc", "bc", set, sizeof set / sizeof *set, NULL);
  print_message("diffusion-bc: best %.2f, others %.2f\n", s.best, s.others);
  assert_true(s.best > 0.17 && s.best < 0.33);
  assert_true(s.best + s.others > 0.9);
}

static void diffusion_ql_finds_the_best_mode(void **state) {
  (void)state;
  static const char *const set[] = { SMALL_NET, "steps=4000", "critic_rate=1e-3", "candidates=16" };
  Shares chosen, s = train("diffusion-ql", "ql", set, sizeof set / sizeof *set, &chosen);
  print_message("diffusion-ql: 1 candidate best %.2f, others %.2f; 16 candidates best %.2f\n",
                s.best, s.others, chosen.best);
  assert_true(s.best > 0.8);
  assert_true(s.others < 0.1);
}

/* The behaviour alone is the data's four modes, the best of 16 of it the best mode. */
static void idql_chooses_the_best_mode(void **state) {
  (void)state;
  static const char *const set[] = { CHOOSER, "weights=online", "candidates=16",
                                     "diffusion_steps=20", "actor_schedule=constant" };
  Shares chosen, s = train("idql", "idql", set, sizeof set / sizeof *set, &chosen);
  print_message("idql: 1 candidate best %.2f, others %.2f; 16 candidates best %.2f\n", s.best,
                s.others, chosen.best);
  assert_true(s.best > 0.17 && s.best < 0.33);
  assert_true(s.best + s.others > 0.9);
  assert_true(chosen.best > 0.9);
}

/* For a large alpha the policy is the flow's map, which keeps every mode; for a small one it finds
 * the best.  A map that ignored its noise would be off by 1; this one is by 0.03, nearly all of it
 * between the modes, where the flow's map is steep and a network of 64 units is not. */
static void fql_goes_as_far_as_alpha_lets_it(void **state) {
  (void)state;
  static const char *const near[] = { CHOOSER, "actor_layers=2", "critic_layers=2", "alpha=1000",
                                      "schedule_rate=cosine" };
  static const char *const far[] = { CHOOSER, "actor_layers=2", "critic_layers=2", "alpha=0.1" };
  Shares s = train("fql", "near", near, sizeof near / sizeof *near, NULL);
  double error = s.map;
  Shares f = train("fql", "far", far, sizeof far / sizeof *far, NULL);
  print_message(
      "fql: alpha 1000 best %.2f, others %.2f, off the map by %.4f; alpha 0.1 best %.2f\n", s.best,
      s.others, error, f.best);
  assert_true(error < 0.05);
  assert_true(s.best > 0.12 && s.others > 0.4);
  assert_true(f.best > 0.9);
}

/* What e^(alpha r) makes of the data, known exactly: the best corner's share. */
static double tilted_share(double alpha) {
  Error error;
  Dataset *data = dataset_open("bandit.hdf5", 0, &error);
  assert_non_null(data);
  double best = 0, all = 0;
  for (int64_t i = 0; i < data->rows; i++) {
    double weight = exp(alpha * (double)data->rewards[i]);
    all += weight;
    if (data->actions[2 * i] > 0 && data->actions[2 * i + 1] > 0) best += weight;
  }
  dataset_close(data);
  return best / all;
}

/* With guidance 0 the modes of the data, with 1 those of p(a) e^(3 Q), with more yet more. */
static void qgpo_tilts_by_its_energy(void **state) {
  (void)state;
  static const char *const set[] = { CHOOSER_OF("8000"), "behaviour=0.5", "critics_end=1",
                                     "behaviour_rate=1e-3" };
  Shares s = train("qgpo", "qgpo", set, sizeof set / sizeof *set, NULL);
  double expected = tilted_share(3);
  print_message("qgpo: best %.3f, %.3f, %.3f with guidance 0, 1, 4; e^(3 r) has %.3f\n",
                s.guided[0], s.guided[1], s.guided[2], expected);
  assert_true(s.best + s.others > 0.9);
  assert_true(fabs(s.guided[0] - 0.25) < 0.06);
  assert_true(fabs(s.guided[1] - expected) < 0.08);
  assert_true(s.guided[2] > s.guided[1] + 0.2);
}

/* Critics that learned what is not so choose what pays least, and `train` says so; those that
 * learned the truth are not blamed. */
static void a_bad_choice_is_told(void **state) {
  (void)state;
  static const char *const data[] = { "bandit", "lies" };
  for (int lies = 0; lies < 2; lies++) {
    Outcome o;
    program_run(&o,
                "train diffusion-ql --data %s.hdf5 --env bandit-v0 --out of-%s --threads 1 --set "
                "hidden=64 --set batch=64 --set steps=4000 --set actor_rate=1e-3 --set "
                "critic_rate=1e-3 --set eta=0 --set diffusion_steps=10 --set candidates=16 --set "
                "temperature=0.02 --set "
                "eval_every=0 --set eval_episodes=200",
                data[lies], data[lies]);
    program_expect(&o, 0, "action_us");
    bool told = strstr(o.err, "the critics choose badly: with candidates=16") != NULL;
    if (told != (lies == 1)) fail_msg("%s: %s", data[lies], o.err);
  }
}

static int enter(void **state) {
  if (program_enter(state)) return -1;
  make_bandit("bandit.hdf5", 1), make_bandit("lies.hdf5", -1);
  return 0;
}

int main(void) {
  if (PROGRAM_SLOW) {
    puts("[  PASSED  ] 0 tests, skipped in MODE=double and MODE=tsan");
    return 0;
  }
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(cloning_keeps_every_mode),
    cmocka_unit_test(diffusion_ql_finds_the_best_mode),
    cmocka_unit_test(idql_chooses_the_best_mode),
    cmocka_unit_test(qgpo_tilts_by_its_energy),
    cmocka_unit_test(fql_goes_as_far_as_alpha_lets_it),
    cmocka_unit_test(a_bad_choice_is_told),
  };
  return cmocka_run_group_tests(tests, enter, program_leave);
}
