/* The stages of samplers as Gaussians (diffusion/transition.h). */
#include "diffusion/transition.h"
#include "tests/guided.h"

/* x [ROWS, LD] at stage i of each row: draw, and the log-probability of what was drawn */
typedef struct {
  Graph *g;
  Tensor *x, *numbers, *cond, *next, *log_prob, *mean, *kl;
  real *row; /* [ROWS, row_stride(size)] */
  int ld;
} Drawn;

static Drawn drawn(const Model *m, const Sampler *s, Params *trained, bool given) {
  GraphSpec spec = a_graph(trained, ROWS);
  Drawn d = { .g = graph_new(m->arena, &spec), .ld = row_stride(transition_size(s)) };
  d.x = t_input(d.g, "x", 1, DIM), d.cond = t_input(d.g, "cond", 1, COND);
  d.numbers = t_input(d.g, "numbers", 1, transition_size(s));
  Transition t = transition_record(s, &m->d, m->params, d.x, d.numbers, d.cond);
  d.next =
      given ? t_input(d.g, "next", 1, DIM) : transition_move(&t, t_normal(d.g, "move", 1, DIM));
  d.log_prob = transition_log_prob(&t, d.next), d.mean = t.mean;
  d.kl = transition_kl(&t, &t);
  graph_keep(d.next), graph_keep(d.log_prob), graph_keep(d.mean), graph_keep(d.kl);
  if (trained) graph_minimise(t_mean(d.log_prob));
  graph_seal(d.g);
  d.row = arena_array(m->arena, real, ROWS * d.ld);
  graph_bind(d.numbers, d.row);
  return d;
}

static const char *const random_ones[] = { "ddpm", "ddim", "ddpm_large", "sde_dpmpp_1",
                                           "ancestral" };

static Sampler *sampler_of(const Model *m, const char *method) {
  Error error;
  SamplerSpec spec = { .method = method, .steps = ROWS, .eta = strcmp(method, "ddim") ? 0 : 1 };
  Sampler *s = sampler_new(m->arena, &spec, &m->d, &error);
  if (!s) fail_msg("%s", error.text);
  return s;
}

/* Each row has another stage; what one row alone says (sampler_log_prob) is said of each. */
static void rows_of_all_stages_agree_with_each_stage_alone(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof random_ones / sizeof *random_ones; i++) {
    Model m = model_open("linear", DIM);
    Sampler *s = sampler_of(&m, random_ones[i]);
    Error error;
    assert_true(transition_check(s, &error));
    Drawn d = drawn(&m, s, NULL, false);
    real x[ROWS * LD] = { 0 }, cond[ROWS * LD] = { 0 };
    fill(x, ROWS, DIM, "x"), fill(cond, ROWS, COND, "cond");
    for (int r = 0; r < ROWS; r++) transition_numbers(s, r % s->stages, d.row + r * d.ld);
    graph_bind(d.x, x), graph_bind(d.cond, cond);
    graph_run(d.g, ROWS, 3, NULL);
    for (int r = 0; r < ROWS; r++) {
      int stage = r % s->stages;
      double told = (double)graph_values(d.log_prob)[r * LD];
      /* nothing random: the move is the mean and has no density */
      if (!transition_random(s, stage)) {
        assert_true(told == 0);
        assert_memory_equal(graph_values(d.next) + r * LD, graph_values(d.mean) + r * LD,
                            DIM * sizeof(real));
        continue;
      }
      GraphSpec spec = a_graph(NULL, ROWS);
      Graph *g = graph_new(m.arena, &spec);
      Tensor *at = t_input(g, "x", 1, DIM), *to = t_input(g, "next", 1, DIM);
      Tensor *c = t_input(g, "cond", 1, COND);
      Tensor *alone = sampler_log_prob(g, s, stage, &m.d, m.params, at, to, c, &error);
      assert_non_null(alone);
      graph_keep(alone), graph_seal(g);
      graph_bind(at, x), graph_bind(to, graph_values(d.next)), graph_bind(c, cond);
      graph_run(g, ROWS, 0, NULL);
      double expected = (double)graph_values(alone)[r * LD];
      assert_true(near(told, expected, precise ? 1e-11 : 2e-4));
    }
    arena_free(m.arena);
  }
}

/* What reinforcement learning divides: computed by the tape that drew, and again by the one that
 * trains, with other rows, threads and lanes. */
static void a_log_probability_is_the_same_to_the_bit_when_it_is_computed_again(void **state) {
  (void)state;
  Model m = model_open("cosine", DIM);
  Sampler *s = sampler_of(&m, "ddim");
  Drawn draws = drawn(&m, s, NULL, false), trains = drawn(&m, s, m.params, true);
  real x[ROWS * LD] = { 0 }, cond[ROWS * LD] = { 0 }, next[ROWS * LD] = { 0 };
  real turned[3][ROWS * LD] = { { 0 } };
  fill(x, ROWS, DIM, "x"), fill(cond, ROWS, COND, "cond");
  for (int r = 0; r < ROWS; r++) transition_numbers(s, r % s->stages, draws.row + r * draws.ld);
  graph_bind(draws.x, x), graph_bind(draws.cond, cond);
  graph_run(draws.g, ROWS, 0, NULL);
  memcpy(next, graph_values(draws.next), sizeof next);
  /* the rows in another order */
  for (int r = 0; r < ROWS; r++) {
    int to = ROWS - 1 - r;
    memcpy(turned[0] + to * LD, x + r * LD, LD * sizeof(real));
    memcpy(turned[1] + to * LD, cond + r * LD, LD * sizeof(real));
    memcpy(turned[2] + to * LD, next + r * LD, LD * sizeof(real));
    memcpy(trains.row + to * trains.ld, draws.row + r * draws.ld, (size_t)draws.ld * sizeof(real));
  }
  graph_bind(trains.x, turned[0]), graph_bind(trains.cond, turned[1]);
  graph_bind(graph_input(trains.g, "next"), turned[2]);
  graph_run(trains.g, ROWS, 0, NULL);
  for (int r = 0; r < ROWS; r++)
    assert_memory_equal(graph_values(draws.log_prob) + r * LD,
                        graph_values(trains.log_prob) + (ROWS - 1 - r) * LD, sizeof(real));
  arena_free(m.arena);
}

/* The density of a path is the product of its steps': for a network that knows nothing the chain is
 * a random walk whose sum of squares is chi-squared. */
static void log_probabilities_sum_to_the_density_of_the_path(void **state) {
  (void)state;
  Model m = model_open("linear", DIM);
  Sampler *s = sampler_of(&m, "ddpm");
  Drawn d = drawn(&m, s, NULL, false);
  real x[ROWS * LD] = { 0 }, cond[ROWS * LD] = { 0 };
  double told[ROWS] = { 0 }, expected[ROWS] = { 0 };
  fill(x, ROWS, DIM, "x"), fill(cond, ROWS, COND, "cond");
  graph_bind(d.x, x), graph_bind(d.cond, cond);
  for (int i = 0; i < s->stages; i++) {
    for (int r = 0; r < ROWS; r++) transition_numbers(s, i, d.row + r * d.ld);
    graph_run(d.g, ROWS, (uint64_t)i, NULL);
    Rng move = rng_stream(a_graph(NULL, ROWS).seed, "move");
    for (int r = 0; r < ROWS && transition_random(s, i); r++) {
      told[r] += (double)graph_values(d.log_prob)[r * LD];
      float z[DIM];
      rng_normals(move, (uint64_t)i, (uint32_t)r, z, DIM);
      for (int j = 0; j < DIM; j++)
        expected[r] +=
            -0.5 * (double)z[j] * (double)z[j] - log(s->stage[i].noise) - 0.5 * log(2 * acos(-1));
    }
    memcpy(x, graph_values(d.next), sizeof x);
  }
  for (int r = 0; r < ROWS; r++) assert_true(near(told[r], expected[r], precise ? 1e-9 : 1e-2));
  arena_free(m.arena);
}

/* At least so much noise: the move spreads by one, the density by the other, and what is random
 * enough stays as it was. */
static void noise_is_raised_where_there_is_too_little(void **state) {
  (void)state;
  Model m = model_open("linear", DIM);
  Sampler *s = sampler_of(&m, "ddpm");
  double log_density = 0;
  const double least = 0.3, dense = 0.4;
  Drawn d = drawn(&m, s, NULL, false);
  real x[ROWS * LD] = { 0 }, cond[ROWS * LD] = { 0 };
  fill(x, ROWS, DIM, "x"), fill(cond, ROWS, COND, "cond");
  graph_bind(d.x, x), graph_bind(d.cond, cond);
  for (int r = 0; r < ROWS; r++) {
    transition_numbers(s, r, d.row + r * d.ld);
    transition_raise(s, r, least, dense, d.row + r * d.ld);
  }
  graph_run(d.g, ROWS, 0, NULL);
  int raised = 0;
  for (int r = 0; r < ROWS; r++, log_density = 0) {
    double std = fmax(s->stage[r].noise, least), spread = fmax(s->stage[r].noise, dense);
    float z[DIM];
    rng_normals(rng_stream(a_graph(NULL, ROWS).seed, "move"), 0, (uint32_t)r, z, DIM);
    for (int j = 0; j < DIM; j++) {
      double off =
          (double)graph_values(d.next)[r * LD + j] - (double)graph_values(d.mean)[r * LD + j];
      assert_true(near(off, std * (double)z[j], precise ? 1e-12 : 1e-5));
      log_density -= 0.5 * pow(std * (double)z[j] / spread, 2);
      log_density -= log(spread) + 0.5 * log(2 * acos(-1));
    }
    raised += std > s->stage[r].noise;
    assert_true(
        near((double)graph_values(d.log_prob)[r * LD], log_density, precise ? 1e-10 : 1e-4));
  }
  assert_true(raised > 0 && raised <= ROWS);
  arena_free(m.arena);
}

/* Number by number they add up; each is kept within its bounds. */
static void densities_of_single_numbers_add_up(void **state) {
  (void)state;
  Model m = model_open("linear", DIM);
  Sampler *s = sampler_of(&m, "ddpm");
  GraphSpec spec = a_graph(NULL, ROWS);
  Graph *g = graph_new(m.arena, &spec);
  Tensor *x = t_input(g, "x", 1, DIM), *cond = t_input(g, "cond", 1, COND);
  Tensor *numbers = t_input(g, "numbers", 1, transition_size(s)),
         *next = t_input(g, "next", 1, DIM);
  Transition t = transition_record(s, &m.d, m.params, x, numbers, cond);
  Tensor *free = transition_log_probs(&t, next, -1e9, 1e9), *sum = transition_log_prob(&t, next);
  Tensor *kept = transition_log_probs(&t, next, -2, 0.5);
  graph_keep(free), graph_keep(sum), graph_keep(kept);
  graph_seal(g);
  real given[ROWS * LD] = { 0 }, c[ROWS * LD] = { 0 }, to[ROWS * LD] = { 0 };
  int ld = row_stride(transition_size(s)), cut = 0;
  real *row = arena_array(m.arena, real, ROWS * ld);
  fill(given, ROWS, DIM, "x"), fill(c, ROWS, COND, "cond"), fill(to, ROWS, DIM, "to");
  /* the first stages, which are all random */
  for (int r = 0; r < ROWS; r++) transition_numbers(s, r % 3, row + r * ld);
  graph_bind(x, given), graph_bind(cond, c), graph_bind(next, to), graph_bind(numbers, row);
  graph_run(g, ROWS, 0, NULL);
  for (int r = 0; r < ROWS; r++) {
    double total = 0;
    for (int j = 0; j < DIM; j++) {
      double one = (double)graph_values(free)[r * LD + j];
      assert_true((double)graph_values(kept)[r * LD + j] == fmin(fmax(one, -2), 0.5));
      total += one, cut += one < -2 || one > 0.5;
    }
    assert_true(near(total, (double)graph_values(sum)[r * LD], precise ? 1e-12 : 1e-4));
  }
  assert_true(cut > 0);
  arena_free(m.arena);
}

/* A chain whose first stages have other weights is one chain behind another. */
static void the_first_stages_may_have_other_weights(void **state) {
  (void)state;
  Model m = model_open("linear", DIM);
  Sampler *s = sampler_of(&m, "ddpm"), whole = *s, head = *s, tail = *s;
  enum { FIRST = 2 };
  Params *early = params_clone(m.params, "early");
  for (size_t i = 0; i < early->layout->size; i++) early->values[i] *= (real)0.5;
  params_touch(early);
  /* without noise, whose streams are counted by stages */
  for (int i = 0; i < s->stages; i++) s->stage[i].noise = 0;
  whole.early = early, whole.early_stages = FIRST;
  head.stages = FIRST, tail.stage += FIRST, tail.stages -= FIRST;
  real x[ROWS * LD] = { 0 }, c[ROWS * LD] = { 0 };
  fill(x, ROWS, DIM, "x"), fill(c, ROWS, COND, "cond");
  real once[ROWS * LD], half[ROWS * LD], twice[ROWS * LD], plain[ROWS * LD];
  sample(&whole, &m.d, m.params, 1, COND, x, c, once);
  sample(&head, &m.d, early, 1, COND, x, c, half);
  sample(&tail, &m.d, m.params, 1, COND, half, c, twice);
  sample(s, &m.d, m.params, 1, COND, x, c, plain);
  for (int r = 0; r < ROWS; r++) {
    assert_memory_equal(once + r * LD, twice + r * LD, DIM * sizeof(real));
    assert_memory_not_equal(once + r * LD, plain + r * LD, DIM * sizeof(real));
  }
  arena_free(m.arena);
}

static void chains_that_look_back_are_refused(void **state) {
  (void)state;
  Model m = model_open("linear", DIM);
  Error error;
  assert_false(transition_check(sampler_of(&m, "dpmpp_2m"), &error));
  assert_int_equal(error.kind, FAIL_USAGE);
  assert_non_null(strstr(error.text, "dpmpp_2m"));
  arena_free(m.arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(rows_of_all_stages_agree_with_each_stage_alone),
    cmocka_unit_test(a_log_probability_is_the_same_to_the_bit_when_it_is_computed_again),
    cmocka_unit_test(log_probabilities_sum_to_the_density_of_the_path),
    cmocka_unit_test(noise_is_raised_where_there_is_too_little),
    cmocka_unit_test(densities_of_single_numbers_add_up),
    cmocka_unit_test(the_first_stages_may_have_other_weights),
    cmocka_unit_test(chains_that_look_back_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
