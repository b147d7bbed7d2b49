/* test_golden_baselines.c -- bc, td3-bc, td3, iql, rebrac, cql and edac against PyTorch, with the
 * same weights, batch and noise: losses, gradients, and whole updates of td3-bc and iql.
 *
 * An algorithm is created as a run creates it.  Its tapes' random numbers are replaced by the
 * file's, its blocks get the file's weights, and `update` runs; with rates of zero and targets that
 * stand still every loss is that of the weights as given.  What the golden tensors are is told in
 * scripts/golden/baselines.py. */
#include "envs/analytic.h"
#include "rl/algo.h"
#include "rl/source/source_transitions.h"
#include "tests/golden.h"
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ROWS = 8, OBS = 5, ACT = 3, TAPES = 4 };

#define TOLERANCE (sizeof(real) == 8 ? 1e-8 : 1e-4)
#define SETTINGS  "hidden=16 batch=8 group=4 lane=3 "

/* ---- the file -------------------------------------------------------------------------------- */

/* weights of `net`, results of `name`; what the file has no copy of is td3_bc's, as it says.
 * offset: what the file's program adds to log deviations.  bound: of relative errors where formulas
 * differ in a detail; 0: TOLERANCE. */
typedef struct {
  const char *algo, *settings, *net, *name;
  double offset, bound;
} Case;

static double tolerance(const Case *is) { return is->bound > 0 ? is->bound : TOLERANCE; }

/* draws of a tape, by the block that it trains */
static const struct {
  const char *algos, *block, *stream, *file;
} draws[] = {
  { "td3 td3-bc rebrac", "critic", "target action", "noise/target_action" },
  { "cql", "critic", "target action", "cql/noise/target" },
  { "cql", "critic", "actions here", "cql/noise/policy" },
  { "cql", "critic", "actions next", "cql/noise/next_policy" },
  { "cql", "critic", "uniform actions", "cql/noise/uniform" },
  { "cql", "actor", "action", "cql/noise/actor" },
  { "edac", "critic", "target action", "edac/noise/target" },
  { "edac", "actor", "action", "edac/noise/actor" },
};

static const char *const columns[][2] = {
  { "obs", "batch/obs" },   { "act", "batch/act" },           { "next", "batch/next_obs" },
  { "live", "batch/live" }, { "next_act", "batch/next_act" }, { "reward", "batch/reward" },
};

/* what the file calls a block, and a loss by the block that it trains */
static const char *const blocks[][3] = {
  { "actor", "actor", "actor" },    { "actor_ema", "actor_target", NULL },
  { "critic", "critic", "critic" }, { "critic_target", "critic_target", NULL },
  { "value", "value", "value" },    { "temperature", "temperature", "alpha" }
};

static const char *const *block_row(const char *block) {
  for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
    if (!strcmp(blocks[i][0], block)) return blocks[i];
  fail_msg("the file does not know the block %s", block);
  return NULL;
}

/* "PREFIX/TAIL", or td3_bc's */
static const CheckpointTensor *tensor_of(const Golden *golden, const char *prefix,
                                         const char *tail) {
  char name[160];
  snprintf(name, sizeof name, "%s/%s", prefix, tail);
  const CheckpointTensor *t = checkpoint_tensor(&golden->file, name);
  if (t) return t;
  snprintf(name, sizeof name, "td3_bc/%s", tail);
  return golden_tensor(golden, name);
}

/* our "q/0/gain" is "q/norm0/gain" there, "q/0/shift" "q/norm0/bias" */
static void slot_name(char *name, size_t size, const char *slot) {
  size_t n = strlen(slot);
  bool gain = n > 5 && !strcmp(slot + n - 5, "/gain"), shift = !strcmp(slot + n - 5, "shift");
  if (n > 5 && (gain || shift))
    snprintf(name, size, "q/norm%c/%s", slot[2], gain ? "gain" : "bias");
  else
    snprintf(name, size, "%s", slot);
}

static const CheckpointTensor *slot_of(const Golden *golden, const char *prefix, const char *loss,
                                       const char *block, const Slot *slot) {
  char own[64], tail[128];
  slot_name(own, sizeof own, slot->name);
  snprintf(tail, sizeof tail, "%s%s/%s", loss, block_row(block)[1], own);
  const CheckpointTensor *t = tensor_of(golden, prefix, tail);
  assert_int_equal(golden_count(t), slot->e * slot->rows * slot->n);
  return t;
}

static ptrdiff_t place(const Slot *slot, int i) {
  return (ptrdiff_t)slot->offset + (ptrdiff_t)(i / slot->n) * slot->ld + i % slot->n;
}

static void load_block(const Golden *golden, const char *net, Params *p) {
  for (int s = 0; s < p->layout->slots; s++) {
    const Slot *slot = &p->layout->slot[s];
    const CheckpointTensor *t = slot_of(golden, net, "", p->block, slot);
    for (int i = 0; i < slot->e * slot->rows * slot->n; i++)
      p->values[place(slot, i)] = (real)golden_at(t, (size_t)i);
  }
  params_touch(p);
}

/* relative to the tensor's largest number */
static void assert_block(const Golden *golden, const char *prefix, const char *loss,
                         const Params *p, const real *values, double bound) {
  for (int s = 0; s < p->layout->slots; s++) {
    const Slot *slot = &p->layout->slot[s];
    const CheckpointTensor *t = slot_of(golden, prefix, loss, p->block, slot);
    double difference = 0, size = 0;
    for (int i = 0; i < slot->e * slot->rows * slot->n; i++) {
      double golden_value = golden_at(t, (size_t)i);
      difference = fmax(difference, fabs((double)values[place(slot, i)] - golden_value));
      size = fmax(size, fabs(golden_value));
    }
    if (!(difference <= bound * size))
      fail_msg("%s: off by %.3g of %.3g", t->name, difference, size);
  }
}

static void assert_loss(const Golden *golden, const char *prefix, const char *tail, double value,
                        double bound) {
  const CheckpointTensor *t = tensor_of(golden, prefix, tail);
  double expected = golden_at(t, 0);
  if (!(fabs(value - expected) <= bound * fabs(expected)))
    fail_msg("%s is %.12g, expected %.12g", t->name, value, expected);
}

/* ---- an algorithm with the file's numbers ---------------------------------------------------- */

typedef struct {
  const Case *is;
  Golden golden;
  AlgoSetup setup;
  Agent *agent;
  Environment *world;
  char folder[64];
  Graph *tape[TAPES];
  int tapes;
} Learner;

/* [ROWS, k, n] */
static const real *rows(const Golden *golden, const char *name, int k, int n) {
  const CheckpointTensor *t = golden_tensor(golden, name);
  int ld = row_stride(n);
  real *x = arena_array(golden->arena, real, (ptrdiff_t)ROWS * k * ld);
  assert_int_equal(golden_count(t), ROWS * k * n);
  for (int i = 0; i < ROWS * k * n; i++) x[i / n * ld + i % n] = (real)golden_at(t, (size_t)i);
  return x;
}

static bool listed(const char *names, const char *name) {
  size_t n = strlen(name);
  for (const char *at = names; (at = strstr(at, name)); at++)
    if ((at == names || at[-1] == ' ') && (!at[n] || at[n] == ' ')) return true;
  return false;
}

/* the numbers of a draw before it is scaled: uniform ones lie in [0, 1] */
static const real *drawn(const Golden *golden, const char *stream, const char *file, int k) {
  real *x = (real *)(uintptr_t)rows(golden, file, k, ACT);
  bool uniform = !strcmp(stream, "uniform actions");
  for (int i = 0; uniform && i < ROWS * k; i++)
    for (int j = 0; j < ACT; j++) {
      real *u = x + i * row_stride(ACT) + j;
      *u = (real)(((double)*u + 1) / 2);
    }
  return x;
}

static void give_numbers(void *user, Graph *g) {
  Learner *l = user;
  const char *block = graph_trained(g)->block;
  for (size_t i = 0; i < sizeof draws / sizeof *draws; i++) {
    if (!listed(draws[i].algos, l->setup.def->name) || strcmp(draws[i].block, block)) continue;
    Tensor *noise = graph_override(g, draws[i].stream);
    graph_bind(noise, drawn(&l->golden, draws[i].stream, draws[i].file, noise->k));
  }
  for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
    Tensor *input = graph_input(g, columns[i][0]);
    if (input) graph_bind(input, rows(&l->golden, columns[i][1], 1, input->n));
  }
  assert_true(l->tapes < TAPES);
  l->tape[l->tapes++] = g;
}

/* Something to draw from; what is drawn goes unseen. */
static void give_data(Learner *l) {
  static const int64_t episode[] = { 0, ROWS + 1 };
  static const int64_t transition[ROWS] = { 0, 1, 2, 3, 4, 5, 6, 7 };
  static const float zeros[(ROWS + 1) * OBS];
  static const uint8_t terminals[ROWS + 1];
  Dataset *data = arena_alloc(l->golden.arena, sizeof *data);
  *data = (Dataset){ .rows = ROWS + 1,
                     .transitions = ROWS,
                     .obs_dim = OBS,
                     .act_dim = ACT,
                     .observations = zeros,
                     .actions = zeros,
                     .rewards = zeros,
                     .terminals = terminals,
                     .episodes = 1,
                     .episode_start = episode,
                     .transition = transition };
  l->setup.source = &transitions_new(l->golden.arena, data, 0, NULL)->source;
}

static void world_reset(double *qpos, double *qvel, Rng noise, uint64_t episode) {
  (void)qvel, (void)noise, (void)episode;
  memset(qpos, 0, OBS * sizeof *qpos);
}
static double world_step(double *qpos, double *qvel, const float *act, bool *terminal) {
  (void)qpos, (void)qvel, (void)act, (void)terminal;
  return 0;
}
static void world_observe(const double *qpos, const double *qvel, float *obs) {
  (void)qvel;
  for (int i = 0; i < OBS; i++) obs[i] = (float)qpos[i];
}
static const AnalyticTask still = {
  .nq = OBS, .reset = world_reset, .step = world_step, .observe = world_observe
};
static const EnvDef world = { .name = "still-world",
                              .task = "test",
                              .physics = "none",
                              .about = "nothing happens",
                              .obs_dim = OBS,
                              .act_dim = ACT,
                              .horizon = 100,
                              .act_low = -1,
                              .act_high = 1,
                              .ops = &analytic_ops,
                              .spec = &still };

static void give_world(Learner *l) {
  Error error;
  snprintf(l->folder, sizeof l->folder, "%s/diffrl-test-XXXXXX", P_tmpdir);
  assert_non_null(mkdtemp(l->folder));
  l->world = environment_new(l->golden.arena, &world, &error);
  assert_non_null(l->world);
  l->setup.run = l->folder, l->setup.source = &l->world->source, l->setup.env = l->world->model;
}

static void load_blocks(Learner *l, const Blocks *of) {
  for (int i = 0; i < of->count; i++)
    if (params_held(of->params[i])) load_block(&l->golden, l->is->net, of->params[i]);
}

/* the offset of log deviations as biases of the actor's last layer */
static void add_offset(const Learner *l) {
  Params *actor = l->agent->policy->actor;
  const Slot *slot = &actor->layout->slot[actor->layout->slots - 1];
  assert_true(slot->rows == 1 && slot->n == 2 * ACT);
  for (int i = ACT; i < 2 * ACT; i++) actor->values[place(slot, i)] += (real)l->is->offset;
  params_touch(actor);
}

static void learner_open(Learner *l, const Case *is) {
  static const float low[ACT] = { -1, -1, -1 }, high[ACT] = { 1, 1, 1 };
  Error error;
  Config settings;
  *l = (Learner){ .is = is };
  golden_open(&l->golden, "tests/golden/baselines.safetensors");
  const AlgoDef *algo = algo_find(is->algo, &error);
  void *config = arena_alloc(l->golden.arena, algo->config_size);
  config_init(&settings, algo->fields, algo->field_count, config);
  if (!config_set_all(&settings, is->settings, "test", &error)) fail_msg("%s", error.text);
  l->setup = (AlgoSetup){ .def = algo,
                          .arena = l->golden.arena,
                          .kernels = kernels_find("own", &error),
                          .obs_dim = OBS,
                          .act_dim = ACT,
                          .act_low = low,
                          .act_high = high,
                          .config = config,
                          .recorded = give_numbers,
                          .user = l };
  if (algo->source == &source_transitions)
    give_data(l);
  else
    give_world(l);
  l->agent = algo->create(&l->setup, &error);
  if (!l->agent) fail_msg("%s", error.text);
  l->agent->def = algo;
  load_blocks(l, &l->agent->policy->blocks);
  load_blocks(l, &l->agent->blocks);
  if (is->offset != 0) add_offset(l);
  if (algo->collect && !algo->collect(l->agent, 0, &error)) fail_msg("%s", error.text);
}

static void learner_close(Learner *l) {
  if (l->agent->def->close) l->agent->def->close(l->agent);
  if (l->world) {
    char path[96];
    source_close(&l->world->source);
    snprintf(path, sizeof path, "%s/replay.bin", l->folder);
    unlink(path), rmdir(l->folder);
  }
  golden_close(&l->golden);
}

/* One update.  hold: no weight changes. */
static Log updated(const Learner *l, bool hold) {
  Log log = { 0 };
  for (int i = 0; hold && i < l->agent->blocks.optims; i++) {
    Optim *optim = l->agent->blocks.optim[i];
    optim->spec.rate = 0, optim->ema.average = NULL;
  }
  assert_true(l->agent->def->update(l->agent, 0, &log));
  return log;
}

/* ---- losses and gradients of the weights as given -------------------------------------------- */

static void tape_agrees(const Learner *l, const Graph *g, const Log *log) {
  const Params *p = graph_trained(g);
  const real *gradient = graph_gradient(g);
  char loss[32], grad[48], key[48];
  bool bc = !strcmp(l->is->algo, "bc"), alpha = !strcmp(p->block, "temperature");
  snprintf(loss, sizeof loss, bc ? "loss" : "%s_loss", block_row(p->block)[2]);
  snprintf(grad, sizeof grad, "grad/%s/", loss);
  assert_block(&l->golden, l->is->name, grad, p, gradient, tolerance(l->is));
  snprintf(key, sizeof key, "loss/%s", bc ? "bc" : p->block);
  /* that of the temperature is linear in log alpha, and not told */
  double value = alpha ? (double)p->values[0] * (double)gradient[0] : log_mean(log, key);
  assert_loss(&l->golden, l->is->name, loss, value, tolerance(l->is));
}

static const Case cases[] = {
  { "bc", SETTINGS, "td3_bc", "bc/deterministic", 0, 0 },
  { "bc", SETTINGS "policy=gaussian", "iql", "bc/gaussian", 0, 0 },
  { "bc", SETTINGS "policy=gaussian deviation=tanh squashed=true", "bc/squashed", "bc/squashed", 0,
    0 },
  { "td3-bc", SETTINGS, "td3_bc", "td3_bc", 0, 0 },
  { "td3", SETTINGS "random_steps=16 steps=16", "td3_bc", "td3", 0, 0 },
  { "iql", SETTINGS, "iql", "iql", 0, 0 },
  { "rebrac", SETTINGS "actor_penalty=0.25 critic_penalty=0.5", "rebrac", "rebrac", 0, 0 },
  { "cql", SETTINGS "deviation=tanh cql_alpha=5 proposals=4", "cql", "cql/tanh", 0, 0 },
  /* as CORL, whose log |da/du| has no 1e-6 */
  { "cql", SETTINGS "deviation=clip cql_alpha=5 proposals=4", "cql", "cql/clamp", -1, 1e-4 },
  { "edac", SETTINGS "critics=4 eta=5", "edac", "edac/tanh", 0, 0 },
};

static void losses_and_gradients_agree(void **state) {
  Learner l;
  learner_open(&l, *state);
  Log log = updated(&l, true);
  assert_true(l.tapes > 0);
  for (int i = 0; i < l.tapes; i++) tape_agrees(&l, l.tape[i], &log);
  learner_close(&l);
}

/* Without their second term the losses of critics are that of the temporal difference. */
static void halves_of_losses_agree(void **state) {
  (void)state;
  static const Case halves[] = {
    { "cql", SETTINGS "deviation=tanh cql_alpha=0 proposals=4", "cql", "cql/tanh", 0, 0 },
    { "edac", SETTINGS "critics=4 eta=0", "edac", "edac/tanh", 0, 0 },
  };
  for (int i = 0; i < 2; i++) {
    Learner l;
    learner_open(&l, &halves[i]);
    Log log = updated(&l, true);
    assert_loss(&l.golden, halves[i].name, "td_loss", log_mean(&log, "loss/critic"), TOLERANCE);
    learner_close(&l);
  }
}

/* Where all units of a critic rest, its Q has no slope, hence no direction: as in PyTorch, whose
 * norm of zeros has slope 0, it counts for nothing. */
static void edac_bears_critics_without_slope(void **state) {
  (void)state;
  Learner l;
  learner_open(&l, &cases[sizeof cases / sizeof *cases - 1]);
  assert_string_equal(l.is->algo, "edac");
  Params *critic = l.agent->policy->critics->online;
  const Slot *bias = &critic->layout->slot[1];
  for (int i = 0; i < bias->n; i++) critic->values[place(bias, i)] = -1000; /* of the first */
  params_touch(critic);
  updated(&l, true);
  for (size_t i = 0; i < critic->layout->size; i++)
    assert_true(isfinite((double)graph_gradient(l.tape[0])[i]));
  learner_close(&l);
}

/* ---- whole updates --------------------------------------------------------------------------- */

static void blocks_agree(const Learner *l, const Blocks *of, const char *prefix) {
  /* a step is 3e-4, a step of a target a thousandth of a weight */
  double bound = sizeof(real) == 8 ? TOLERANCE : 1e-6;
  for (int i = 0; i < of->count; i++)
    if (params_held(of->params[i]))
      assert_block(&l->golden, prefix, "", of->params[i], of->params[i]->values, bound);
}

/* td3-bc: critics, then the policy against the new ones, then both targets.  iql: the value, the
 * policy and the critics with the new value, then the target. */
static void a_whole_update_agrees(void **state) {
  const Case *is = *state;
  char prefix[32];
  Learner l;
  learner_open(&l, is);
  Log log = updated(&l, false);
  snprintf(prefix, sizeof prefix, "%s/step", is->name);
  assert_loss(&l.golden, prefix, "critic_loss", log_mean(&log, "loss/critic"), TOLERANCE);
  assert_loss(&l.golden, prefix, "actor_loss", log_mean(&log, "loss/actor"), TOLERANCE);
  if (!strcmp(is->algo, "iql"))
    assert_loss(&l.golden, prefix, "value_loss", log_mean(&log, "loss/value"), TOLERANCE);
  blocks_agree(&l, &l.agent->policy->blocks, prefix);
  blocks_agree(&l, &l.agent->blocks, prefix);
  learner_close(&l);
}

int main(void) {
  enum { CASES = sizeof cases / sizeof *cases };
  struct CMUnitTest tests[CASES + 4];
  int count = 0;
  for (int i = 0; i < CASES; i++)
    tests[count++] = (struct CMUnitTest){ .name = cases[i].name,
                                          .test_func = losses_and_gradients_agree,
                                          .initial_state = (void *)(uintptr_t)&cases[i] };
  tests[count++] = (struct CMUnitTest)cmocka_unit_test(halves_of_losses_agree);
  tests[count++] = (struct CMUnitTest)cmocka_unit_test(edac_bears_critics_without_slope);
  for (int i = 0; i < CASES; i++)
    if (!strcmp(cases[i].algo, "td3-bc") || !strcmp(cases[i].algo, "iql"))
      tests[count++] = (struct CMUnitTest){ .name = cases[i].algo,
                                            .test_func = a_whole_update_agrees,
                                            .initial_state = (void *)(uintptr_t)&cases[i] };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
