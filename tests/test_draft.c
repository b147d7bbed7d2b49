/* test_draft.c -- the reward's gradient through the last steps of a sampler. */
#include "rl/algos/draft.h"
#include "tests/guided.h"

typedef struct {
  Graph *g;
  Tensor *loss;
} Recorded;

static Recorded record_loss(Model *m, const DraftSpec *spec, const real *x, const real *cond) {
  Error error;
  GraphSpec graph = a_graph(m->params, ROWS);
  Graph *g = graph_new(m->arena, &graph);
  Tensor *at = t_input(g, "x", 1, DIM), *c = t_input(g, "cond", 1, COND);
  Tensor *reward = draft_rewards(g, spec, at, c, &error);
  assert_non_null(reward);
  Recorded r = { g, t_scale(-1, t_mean(reward)) };
  graph_keep(r.loss);
  graph_minimise(r.loss);
  graph_seal(g);
  graph_bind(at, x), graph_bind(c, cond);
  return r;
}

static double loss_at(Model *m, const Recorded *r, size_t i, double value) {
  m->params->values[i] = (real)value;
  params_touch(m->params);
  graph_run(r->g, ROWS, 5, NULL);
  return graph_scalar(r->loss);
}

/* The same noise on either side of a weight, so the loss is a smooth function of it. */
static void expect_differences(Model *m, const DraftSpec *spec) {
  real x[ROWS * LD] = { 0 }, cond[ROWS * LD] = { 0 };
  fill(x, ROWS, DIM, "x"), fill(cond, ROWS, COND, "cond");
  Recorded r = record_loss(m, spec, x, cond);
  graph_run(r.g, ROWS, 5, NULL);
  const Layout *layout = m->params->layout;
  real *gradient = arena_array(m->arena, real, layout->size);
  memcpy(gradient, graph_gradient(r.g), layout->size * sizeof *gradient);
  const double h = precise ? 1e-4 : 1e-2, tolerance = precise ? 1e-6 : 1e-2;
  double largest = 0, off = 0;
  for (int s = 0; s < NULL_SLOT; s++) {
    const Slot *slot = &layout->slot[s];
    for (int k = 0; k < slot->rows * slot->n; k++) {
      size_t i = slot->offset + (size_t)(k / slot->n * slot->ld + k % slot->n);
      double held = (double)m->params->values[i];
      double up = loss_at(m, &r, i, held + h), down = loss_at(m, &r, i, held - h);
      (void)loss_at(m, &r, i, held);
      largest = fmax(largest, fabs((double)gradient[i]));
      off = fmax(off, fabs((up - down) / (2 * h) - (double)gradient[i]));
    }
  }
  if (!(largest > 0.01 && off <= tolerance * largest))
    fail_msg("last %d, copies %d: off by %.3g of %.3g", spec->last, spec->copies, off, largest);
}

static Reward *a_reward(Arena *arena) {
  Error error;
  const RewardSpec spec = { .plane = { 1, 1, DIM } };
  Reward *reward = reward_open(arena, "near:0.5,-1,0.2", &spec, &error);
  if (!reward) fail_msg("%s", error.text);
  return reward;
}

static void the_gradient_is_that_of_finite_differences_through_the_chain(void **state) {
  (void)state;
  static const struct {
    const char *method;
    double eta;
    int last, copies;
  } cases[] = { { "ddim", 1, 1, 0 },
                { "ddim", 1, 4, 0 },
                { "ddim", 0, 6, 0 },
                { "ddpm", 0, 6, 0 },
                { "ddim", 1, 1, 3 } };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    Model m = model_open("cosine", DIM);
    const SamplerSpec how = { .method = cases[i].method, .steps = 6, .eta = cases[i].eta };
    const DraftSpec spec = { a_sampler(m.arena, &how, &m.d),
                             &m.d,
                             m.params,
                             a_reward(m.arena),
                             cases[i].last,
                             cases[i].copies };
    expect_differences(&m, &spec);
    arena_free(m.arena);
  }
}

/* From the state that a chain had with K steps to go, the K last steps without noise are the chain
 * itself, and so is its reward. */
static void without_noise_the_last_steps_are_those_of_the_chain(void **state) {
  (void)state;
  Model m = model_open("cosine", DIM);
  const SamplerSpec how = { .method = "ddim", .steps = 6 };
  Sampler *s = a_sampler(m.arena, &how, &m.d), head = *s;
  head.stages = 4;
  real x[ROWS * LD] = { 0 }, cond[ROWS * LD] = { 0 }, at[ROWS * LD], end[ROWS * LD];
  fill(x, ROWS, DIM, "x"), fill(cond, ROWS, COND, "cond");
  sample(&head, &m.d, m.params, 1, COND, x, cond, at);
  sample(s, &m.d, m.params, 1, COND, x, cond, end);
  Reward *reward = a_reward(m.arena);
  float value[ROWS];
  Error error;
  assert_true(reward_values(reward, end, LD, ROWS, value, &error));
  double mean = 0;
  for (int r = 0; r < ROWS; r++) mean += (double)value[r] / ROWS;
  const DraftSpec spec = { s, &m.d, m.params, reward, 2, 0 };
  Recorded r = record_loss(&m, &spec, at, cond);
  graph_run(r.g, ROWS, 0, NULL);
  /* rewards are told in float */
  assert_true(near(graph_scalar(r.loss), -mean, 1e-6));
  arena_free(m.arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_gradient_is_that_of_finite_differences_through_the_chain),
    cmocka_unit_test(without_noise_the_last_steps_are_those_of_the_chain),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
