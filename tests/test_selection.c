/* test_selection.c -- idql, ifql and fql against PyTorch, with the same weights, batch and noise;
 * and the value of the first two is an expectile.
 *
 * An algorithm is created as a run creates it, its tapes get the file's batch and noise, its blocks
 * the file's weights, and `update` runs with rates of zero: every loss is that of the weights as
 * given.  What the golden tensors are is told in scripts/golden/selection.py. */
#include "rl/algo.h"
#include "rl/source/source_transitions.h"
#include "tests/golden.h"
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { ROWS = 8, OBS = 5, ACT = 3, TAPES = 3 };
#define TOLERANCE (sizeof(real) == 8 ? 1e-8 : 1e-4)

typedef struct {
  const char *name;
  Golden golden;
  AlgoSetup setup;
  Agent *agent;
  Graph *tape[TAPES];
  int tapes;
} Learner;

static const char *key_of(char key[128], const Learner *l, const char *what, const char *block,
                          const char *slot) {
  snprintf(key, 128, "%s/%s%s%s%s", l->name, what, block, *slot ? "/" : "", slot);
  return key;
}

/* [ROWS, n] of the file, as a tape's rows */
static const real *rows(const Golden *golden, const char *key, int n) {
  const CheckpointTensor *t = golden_tensor(golden, key);
  int ld = row_stride(n);
  real *x = arena_array(golden->arena, real, (ptrdiff_t)ROWS * ld);
  assert_int_equal(golden_count(t), ROWS * n);
  for (int i = 0; i < ROWS * n; i++) x[i / n * ld + i % n] = (real)golden_at(t, (size_t)i);
  return x;
}

/* draws of a tape, by the block that it trains */
static const struct {
  const char *algo, *block, *stream;
  int n;
} draws[] = {
  { "idql", "actor", "bc time", 1 },      { "idql", "actor", "bc noise", ACT },
  { "ifql", "actor", "bc time", 1 },      { "ifql", "actor", "bc noise", ACT },
  { "fql", "flow", "bc time", 1 },        { "fql", "flow", "bc noise", ACT },
  { "fql", "actor", "actor noise", ACT }, { "fql", "critic", "target noise", ACT },
};

static void give_numbers(void *user, Graph *g) {
  static const char *const columns[] = { "obs", "act", "next", "reward", "live" };
  Learner *l = user;
  char key[128];
  for (int i = 0; i < 5; i++) {
    Tensor *input = graph_input(g, columns[i]);
    snprintf(key, sizeof key, "batch/%s", columns[i]);
    if (input) graph_bind(input, rows(&l->golden, key, input->n));
  }
  for (size_t i = 0; i < sizeof draws / sizeof *draws; i++) {
    bool own = !strcmp(draws[i].algo, l->name) && !strcmp(draws[i].block, graph_trained(g)->block);
    if (!own) continue;
    const real *x = rows(&l->golden, key_of(key, l, "", draws[i].stream, ""), draws[i].n);
    graph_bind(graph_override(g, draws[i].stream), x);
  }
  assert_true(l->tapes < TAPES);
  l->tape[l->tapes++] = g;
}

static ptrdiff_t place(const Slot *slot, int i) {
  return (ptrdiff_t)slot->offset + (ptrdiff_t)(i / slot->n) * slot->ld + i % slot->n;
}

static void load_blocks(const Learner *l, const Blocks *of) {
  char key[128];
  for (int b = 0; b < of->count; b++) {
    Params *p = of->params[b];
    if (!strcmp(p->block, "actor_ema")) continue; /* no loss reads it */
    for (int s = 0; s < p->layout->slots; s++) {
      const Slot *slot = &p->layout->slot[s];
      const CheckpointTensor *t =
          golden_tensor(&l->golden, key_of(key, l, "", p->block, slot->name));
      assert_int_equal(golden_count(t), slot->e * slot->rows * slot->n);
      for (int i = 0; i < slot->e * slot->rows * slot->n; i++)
        p->values[place(slot, i)] = (real)golden_at(t, (size_t)i);
    }
    params_touch(p);
  }
}

/* Something to draw from; what is drawn goes unseen. */
static const Source *data_of(Arena *arena) {
  static const int64_t episode[] = { 0, ROWS + 1 };
  static const int64_t transition[ROWS] = { 0, 1, 2, 3, 4, 5, 6, 7 };
  static const float zeros[(ROWS + 1) * OBS];
  static const uint8_t terminals[ROWS + 1];
  Dataset *data = arena_alloc(arena, sizeof *data);
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
  return &transitions_new(arena, data, 0, NULL)->source;
}

static void learner_open(Learner *l, const char *name) {
  static const float low[ACT] = { -1, -1, -1 }, high[ACT] = { 1, 1, 1 };
  Error error;
  Config settings;
  *l = (Learner){ .name = name };
  golden_open(&l->golden, "tests/golden/selection.safetensors");
  const AlgoDef *algo = algo_find(name, &error);
  assert_non_null(algo);
  void *config = arena_alloc(l->golden.arena, algo->config_size);
  config_init(&settings, algo->fields, algo->field_count, config);
  if (!config_set_all(&settings, "hidden=16 batch=8 group=4 lane=3", "test", &error))
    fail_msg("%s", error.text);
  l->setup = (AlgoSetup){ .def = algo,
                          .arena = l->golden.arena,
                          .kernels = kernels_find("own", &error),
                          .obs_dim = OBS,
                          .act_dim = ACT,
                          .act_low = low,
                          .act_high = high,
                          .source = data_of(l->golden.arena),
                          .config = config,
                          .recorded = give_numbers,
                          .user = l };
  l->agent = algo->create(&l->setup, &error);
  if (!l->agent) fail_msg("%s", error.text);
  l->agent->def = algo;
  load_blocks(l, &l->agent->policy->blocks);
  load_blocks(l, &l->agent->blocks);
  for (int i = 0; i < l->agent->blocks.optims; i++) {
    Optim *optim = l->agent->blocks.optim[i];
    optim->spec.rate = 0, optim->ema.average = NULL;
  }
}

static Graph *tape_of(const Learner *l, const char *block) {
  for (int i = 0; i < l->tapes; i++)
    if (!strcmp(graph_trained(l->tape[i])->block, block)) return l->tape[i];
  fail_msg("%s: no tape trains %s", l->name, block);
  return NULL;
}

static void gradient_agrees(const Learner *l, const char *block) {
  const Graph *g = tape_of(l, block);
  const Params *p = graph_trained(g);
  char key[128];
  for (int s = 0; s < p->layout->slots; s++) {
    const Slot *slot = &p->layout->slot[s];
    const CheckpointTensor *t =
        golden_tensor(&l->golden, key_of(key, l, "grad/", block, slot->name));
    double difference = 0, size = 0;
    for (int i = 0; i < slot->e * slot->rows * slot->n; i++) {
      double expected = golden_at(t, (size_t)i);
      difference = fmax(difference, fabs((double)graph_gradient(g)[place(slot, i)] - expected));
      size = fmax(size, fabs(expected));
    }
    if (!(difference <= TOLERANCE * size))
      fail_msg("%s: off by %.3g of %.3g", key, difference, size);
  }
}

static void losses_and_gradients_are_pytorchs(void **state) {
  const char *const second = !strcmp(*state, "fql") ? "flow" : "value";
  const char *const blocks[] = { "actor", second, "critic" };
  Learner l;
  Log log = { 0 };
  char key[128], of[32];
  learner_open(&l, *state);
  assert_true(l.agent->def->update(l.agent, 0, &log));
  assert_int_equal(l.tapes, TAPES);
  for (int i = 0; i < TAPES; i++) {
    gradient_agrees(&l, blocks[i]);
    snprintf(of, sizeof of, "loss/%s", blocks[i]);
    double expected = golden_at(golden_tensor(&l.golden, key_of(key, &l, of, "", "")), 0);
    double value = log_mean(&log, of);
    if (!(fabs(value - expected) <= TOLERANCE * fabs(expected)))
      fail_msg("%s is %.12g, expected %.12g", key, value, expected);
  }
  golden_close(&l.golden);
}

/* Where V is one number for all states, JV is least where it is the expectile of the data's Q': the
 * e with expectile sum max(q - e, 0) = (1 - expectile) sum max(e - q, 0).  The slope there is the
 * difference of two equal sums, each rounded. */
static void value_is_the_expectile(void **state) {
  Learner l;
  Log log = { 0 };
  learner_open(&l, *state);
  double tau = !strcmp(l.name, "idql") ? 0.7 : 0.9, e = 0, q[ROWS];
  /* each row's Q' by a tape of its own */
  const Critic *c = l.agent->policy->critics;
  GraphSpec spec = algo_graph_spec(&l.setup, NULL);
  Graph *g = graph_new(l.golden.arena, &spec);
  Tensor *obs = t_input(g, "obs", 1, OBS), *act = t_input(g, "act", 1, ACT);
  Tensor *least = critic_value(critic_q(c, g, c->target, obs, act), "min", 0);
  graph_bind(obs, rows(&l.golden, "batch/obs", OBS));
  graph_bind(act, rows(&l.golden, "batch/act", ACT));
  graph_keep(least), graph_seal(g), graph_run(g, ROWS, 0, NULL);
  for (int i = 0; i < ROWS; i++) q[i] = (double)graph_values(least)[i * least->ld];
  for (int round = 0; round < 500; round++) { /* the weighted mean of which e is the fixed point */
    double sum = 0, weight = 0;
    for (int i = 0; i < ROWS; i++) {
      double w = q[i] > e ? tau : 1 - tau;
      sum += w * q[i], weight += w;
    }
    e = sum / weight;
  }
  Params *value = graph_trained(tape_of(&l, "value"));
  const Slot *last = &value->layout->slot[value->layout->slots - 2];
  for (int i = 0; i < last->rows; i++) value->values[place(last, i)] = 0;
  const Slot *bias = last + 1;
  value->values[place(bias, 0)] = (real)e;
  params_touch(value);
  assert_true(l.agent->def->update(l.agent, 0, &log));
  double slope = (double)graph_gradient(tape_of(&l, "value"))[place(bias, 0)];
  double bound = sizeof(real) == 8 ? 1e-12 : 1e-5;
  if (!(fabs(slope) <= bound * sqrt(log_mean(&log, "loss/value")))) fail_msg("slope %.3g", slope);
  golden_close(&l.golden);
}

int main(void) {
  char idql[] = "idql", ifql[] = "ifql", fql[] = "fql";
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_prestate(losses_and_gradients_are_pytorchs, idql),
    cmocka_unit_test_prestate(losses_and_gradients_are_pytorchs, ifql),
    cmocka_unit_test_prestate(losses_and_gradients_are_pytorchs, fql),
    cmocka_unit_test_prestate(value_is_the_expectile, idql),
    cmocka_unit_test_prestate(value_is_the_expectile, ifql),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
