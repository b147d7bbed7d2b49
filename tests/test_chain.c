/* test_chain.c -- the executor: the table's recursion, one question replayed, gradients through
 * whole chains, log-probabilities of steps. */
#include "policy/nets/denoiser_mlp.h"
#include "tests/chain.h"

enum { ROWS = 8, DIM = 3, LD = 16 };

/* ---- what is known of a Gaussian ------------------------------------------------------------- */

/* Data N(mu, c^2): E[x_0 | x] is affine in x. */
static const double mu = 0.7, c = 0.5;
static Truth gaussian(double x, double a, double s) {
  double x0 = mu + a * c * c * (x - a * mu) / (a * a * c * c + s * s);
  return (Truth){ x0, s > 0 ? (x - a * x0) / s : 0 };
}

static Sampler *sampler(Arena *arena, const char *method, int steps, double eta,
                        const Denoiser *d) {
  return a_sampler(arena, &(SamplerSpec){ .method = method, .steps = steps, .eta = eta }, d);
}

static void fill(real *x, uint64_t block) {
  for (int i = 0; i < ROWS * LD; i++)
    x[i] = i % LD < DIM ? (real)rng_normal(rng_stream(9, "z"), block, (uint32_t)i, 0) : 0;
}

/* every method with the settings it needs, on a schedule it runs on */
typedef struct {
  const char *method, *schedule;
  int steps;
  double eta, churn;
  bool learned;
} Example;
static const Example examples[] = {
  { "ddpm", "vp", 5, 0, 0, false },
  { "ddpm_large", "linear", 7, 0, 0, false },
  { "ddpm_learned", "cosine", 6, 0, 0, true },
  { "ddim", "linear", 7, 0.5, 0, false },
  { "dpm_2s", "linear", 4, 0, 0, false },
  { "dpm_3s", "vp-sde", 3, 0, 0, false },
  { "dpm_2m", "vp-sde", 5, 0, 0, false },
  { "dpm_3m", "sub-vp", 6, 0, 0, false },
  { "dpm_fast", "vp-sde", 8, 0, 0, false },
  { "dpmpp_2s", "linear", 4, 0, 0, false },
  { "dpmpp_3s", "ve", 3, 0, 0, false },
  { "dpmpp_2m", "cosine", 7, 0, 0, false },
  { "dpmpp_3m", "edm", 7, 0, 0, false },
  { "dpmpp_fast", "vp", 4, 0, 0, false },
  { "sde_dpm_1", "vp-sde", 4, 0, 0, false },
  { "sde_dpm_2m", "vp-sde", 4, 0, 0, false },
  { "sde_dpmpp_1", "linear", 4, 0, 0, false },
  { "sde_dpmpp_2s", "linear", 4, 0, 0, false },
  { "sde_dpmpp_2m", "vp", 5, 0, 0, false },
  { "sde_dpmpp_3m", "linear", 6, 0, 0, false },
  { "unipc", "linear", 6, 0, 0, false },
  { "unipc_bh1", "vp-sde", 6, 0, 0, false },
  { "edm_heun", "linear", 5, 0, 4, false },
  { "euler", "vp-sde", 5, 0, 0, false },
  { "midpoint", "vp-sde", 4, 0, 0, false },
  { "heun", "sub-vp", 4, 0, 0, false },
  { "rk4", "vp-sde", 3, 0, 0, false },
  { "flow_sde", "flow", 5, 0.7, 0, false },
  { "euler_maruyama", "vp-sde", 5, 0, 0, false },
  { "sde_euler", "vp-sde", 5, 0.5, 0, false },
  { "reverse_diffusion", "ncsn", 5, 0, 0, false },
  { "ancestral", "vp", 5, 0, 0, false },
  { "consistency", "linear", 5, 0, 0, false },
};
enum { EXAMPLES = sizeof examples / sizeof *examples };

static Sampler *example_sampler(Arena *arena, const Example *e, bool clip, const Denoiser *d) {
  const SamplerSpec spec = { .method = e->method,
                             .steps = e->steps,
                             .eta = e->eta,
                             .churn = e->churn,
                             .clip = clip,
                             .low = -0.5,
                             .high = 0.75 };
  return a_sampler(arena, &spec, d);
}

static void every_method_has_an_example(void **state) {
  (void)state;
  for (int i = 0; i < EXAMPLES; i++) {
    bool found = false;
    assert_non_null(sampler_name((size_t)i));
    for (int j = 0; j < EXAMPLES; j++)
      found |= !strcmp(examples[j].method, sampler_name((size_t)i));
    if (!found) fail_msg("%s", sampler_name((size_t)i));
  }
  assert_null(sampler_name(EXAMPLES));
}

/* ---- the executor ---------------------------------------------------------------------------- */

/* On an affine network a chain without noise is affine: its mean is what one sample does. */
static void a_recorded_chain_is_the_tables_recursion(void **state) {
  (void)state;
  for (int i = 0; i < EXAMPLES; i++) {
    Arena *arena = arena_new();
    Oracle net = oracle(a_schedule(arena, examples[i].schedule, 20), PREDICTS_X0, DIM, gaussian);
    if (examples[i].learned) net.base.learns_variance = true, net.variance = sin;
    const Sampler *table = example_sampler(arena, &examples[i], false, &net.base);
    static real start[ROWS * LD], zeros[ROWS * LD];
    const real *noise[64];
    for (int j = 0; j < 64; j++) noise[j] = zeros;
    fill(start, 0);
    const real *x = chain_values(arena, table, &net.base, NULL, ROWS, start, noise);
    for (int r = 0; r < ROWS * LD; r++) {
      if (r % LD >= DIM) continue;
      double expected = moments_propagate(table, gaussian, (double)start[r], 0).mean[VAR_X];
      if (!near((double)x[r], expected, sizeof(real) == 8 ? 1e-9 : 2e-2))
        fail_msg("%s: %.12g, the table says %.12g", examples[i].method, (double)x[r], expected);
    }
    arena_free(arena);
  }
}

static Denoiser *small_mlp(Arena *arena, Params *p, const Schedule *s, int cond) {
  Prediction predicts = strcmp(s->def->name, "flow") ? PREDICTS_EPS : PREDICTS_VELOCITY;
  Denoiser *d = mlp_denoiser_new(arena, p, s, predicts, DIM, cond, 9);
  params_allocate(p);
  params_init(p, 1);
  return d;
}

/* Two samples a row with a condition, ids of the rows and a step: one tape of the whole chain, one
 * tape of a question. */
static void check_replay(const Example *e, bool clip) {
  Arena *arena = arena_new();
  const Schedule *s = a_schedule(arena, e->schedule, 50);
  Params *p = params_new(arena, "net");
  const Denoiser *d = small_mlp(arena, p, s, 2);
  const Sampler *table = example_sampler(arena, e, clip, d);
  GraphSpec spec = a_graph(NULL, ROWS);
  Graph *g = graph_new(arena, &spec);
  Tensor *cond = t_input(g, "cond", 1, 2);
  Tensor *x = sampler_record(g, table, d, p, "chain", cond, 2);
  graph_keep(x);
  graph_seal(g);
  static real given[ROWS * LD], y[2 * ROWS * LD];
  static const uint32_t ids[ROWS] = { 5, 9, 1, 7, 0, 2, 31, 8 };
  fill(given, 7);
  for (int i = 0; i < ROWS; i++) given[i * LD + 2] = 0;
  graph_bind(cond, given);
  graph_run(g, ROWS, 12, ids);
  SamplerLoopSpec loop = { .graph = spec, .stream = "chain", .k = 2, .cond = 2 };
  sampler_loop_run(sampler_loop_new(arena, table, d, p, &loop), ROWS, 12, ids, given, y, false);
  for (int i = 0; i < 2 * ROWS * LD; i++)
    if (i % LD < DIM && y[i] != graph_values(x)[i])
      fail_msg("%s: recorded %.17g, replayed %.17g", e->method, (double)graph_values(x)[i],
               (double)y[i]);
  arena_free(arena);
}
static void one_call_replayed_is_the_chain_bit_for_bit(void **state) {
  (void)state;
  for (int i = 0; i < EXAMPLES; i++)
    if (!examples[i].learned) check_replay(&examples[i], false), check_replay(&examples[i], true);
}

/* the same for a variance that the network learned */
static void a_learned_variance_is_replayed_too(void **state) {
  (void)state;
  Arena *arena = arena_new();
  Oracle net = oracle(a_schedule(arena, "cosine", 20), PREDICTS_X0, DIM, gaussian);
  net.base.learns_variance = true, net.variance = sin;
  const Sampler *table = sampler(arena, "ddpm_learned", 9, 0, &net.base);
  static real x[ROWS * LD];
  fill(x, 0);
  const real *expected = chain_values(arena, table, &net.base, NULL, ROWS, x, NULL);
  chain_replay(arena, table, &net.base, ROWS, x);
  for (int i = 0; i < ROWS * LD; i++) assert_true(i % LD >= DIM || x[i] == expected[i]);
  arena_free(arena);
}

/* One law, six ways to say it, one sample. */
static void what_a_network_predicts_does_not_matter(void **state) {
  (void)state;
  static const char *const schedules[] = { "vp-sde", "flow", "edm" };
  for (int i = 0; i < 3; i++)
    for (int m = 0; m < EXAMPLES; m++) {
      Arena *arena = arena_new();
      const Schedule *s = a_schedule(arena, schedules[i], 0);
      SamplerSpec spec = {
        .method = examples[m].method, .steps = 6, .eta = examples[m].eta, .from = 0.95 * s->t_max
      };
      const real *first = NULL;
      for (int predicts = 0; predicts < PREDICTIONS; predicts++) {
        Oracle *net = arena_alloc(arena, sizeof *net);
        *net = oracle(s, (Prediction)predicts, DIM, gaussian);
        net->base.data_std = 0.5;
        Error error;
        const Sampler *table = sampler_new(arena, &spec, &net->base, &error);
        if (!table) break; /* this method, this schedule */
        static real start[ROWS * LD];
        fill(start, 0);
        const real *x = chain_values(arena, table, &net->base, NULL, ROWS, start, NULL);
        for (int r = 0; first && r < ROWS * LD; r++)
          if (r % LD < DIM && !near((double)x[r], (double)first[r], sizeof(real) == 8 ? 1e-9 : 0.1))
            fail_msg("%s on %s: %s gives %.12g, eps %.12g", spec.method, schedules[i],
                     prediction_name((Prediction)predicts), (double)x[r], (double)first[r]);
        if (!first) first = x;
      }
      arena_free(arena);
    }
}

/* ---- gradients ------------------------------------------------------------------------------- */

/* L = mean(w x) of clipped samples, two for each condition; noise constant */
static double loss_of_chain(Arena *arena, Params *p, const Denoiser *d, const Sampler *table,
                            const real *gradient[1]) {
  GraphSpec spec = a_graph(p, ROWS);
  Graph *g = graph_new(arena, &spec);
  Tensor *cond = t_input(g, "cond", 1, DIM), *w = t_input(g, "w", 2, DIM);
  Tensor *x = sampler_record(g, table, d, p, "chain", cond, 2);
  Tensor *loss = t_mean(t_mul(w, x));
  graph_minimise(loss);
  graph_seal(g);
  static real both[2 * ROWS * LD], given[ROWS * LD];
  fill(both, 0), fill(both + ROWS * LD, 1), fill(given, 2);
  graph_bind(cond, given), graph_bind(w, both);
  graph_run(g, ROWS, 0, NULL);
  if (gradient) *gradient = graph_gradient(g);
  return graph_scalar(loss);
}

static void gradients_flow_through_the_whole_chain(void **state) {
  (void)state;
  static const char *const methods[] = { "ddpm", "ddim", "dpmpp_2m", "unipc", "edm_heun" };
  double h = sizeof(real) == 8 ? 1e-6 : 1e-3;
  for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
    Arena *arena = arena_new();
    Params *p = params_new(arena, "net");
    const Denoiser *d = small_mlp(arena, p, a_schedule(arena, "vp", 5), DIM);
    const SamplerSpec spec = { .method = methods[i], .clip = true, .low = -1, .high = 1 };
    const Sampler *table = a_sampler(arena, &spec, d);
    const real *gradient;
    loss_of_chain(arena, p, d, table, &gradient);
    double along = 0, side[2];
    Params *up = params_clone(p, "direction"), *start = params_clone(p, "start");
    params_init(up, 2);
    for (size_t j = 0; j < p->layout->size; j++)
      along += (double)gradient[j] * (double)up->values[j];
    for (int k = 0; k < 2; k++) {
      for (size_t j = 0; j < p->layout->size; j++)
        p->values[j] = start->values[j] + (real)(k ? -h : h) * up->values[j];
      params_touch(p);
      side[k] = loss_of_chain(arena, p, d, table, NULL);
    }
    double numeric = (side[0] - side[1]) / (2 * h);
    assert_true(fabs(along) > 1e-3);
    if (!(fabs(numeric - along) < (sizeof(real) == 8 ? 1e-7 : 2e-2) * fabs(along)))
      fail_msg("%s: difference quotient %.9g, gradient %.9g", methods[i], numeric, along);
    arena_free(arena);
  }
}

/* ---- log-probabilities ----------------------------------------------------------------------- */

typedef struct {
  Params *p;
  const Denoiser *d;
  const Sampler *table;
  int stage;
} Move;

/* ln p(next | x) of every row, and the mean of them with its gradient */
static double log_prob(Arena *arena, const Move *m, const real *x, const real *next,
                       double rows[ROWS], const real **gradient) {
  Error error;
  GraphSpec spec = a_graph(m->p, ROWS);
  Graph *g = graph_new(arena, &spec);
  Tensor *at = t_input(g, "x", 1, DIM), *to = t_input(g, "next", 1, DIM);
  Tensor *l = sampler_log_prob(g, m->table, m->stage, m->d, m->p, at, to, NULL, &error);
  if (!l) fail_msg("%s", error.text);
  Tensor *mean = t_mean(l);
  graph_minimise(mean);
  graph_keep(l);
  graph_seal(g);
  graph_bind(at, x), graph_bind(to, next);
  graph_run(g, ROWS, 0, NULL);
  for (int r = 0; rows && r < ROWS; r++) rows[r] = (double)graph_values(l)[r * LD];
  if (gradient) *gradient = graph_gradient(g);
  return graph_scalar(mean);
}

/* where the chain goes from x without noise: one stage, by a table that has no other */
static void mean_of_stage(Arena *arena, const Move *m, const real *x, real *mean) {
  Stage stage = m->table->stage[m->stage];
  Sampler one = *m->table;
  stage.noise = 0, one.stage = &stage, one.stages = 1;
  memcpy(mean, chain_values(arena, &one, m->d, m->p, ROWS, x, NULL), ROWS * LD * sizeof *mean);
}

static void log_probabilities_are_those_of_the_gaussian(void **state) {
  (void)state;
  static const char *const methods[] = { "ddpm", "ddpm_large", "ddim", "sde_dpmpp_1", "ancestral" };
  for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
    Arena *arena = arena_new();
    Params *p = params_new(arena, "net");
    const Denoiser *d = small_mlp(arena, p, a_schedule(arena, "vp", 5), 0);
    double eta = strcmp(methods[i], "ddim") ? 0 : 0.5;
    Move m = { p, d, sampler(arena, methods[i], 5, eta, d), 2 };
    double v = m.table->stage[2].noise, rows[ROWS];
    static real x[ROWS * LD], next[ROWS * LD], mean[ROWS * LD];
    fill(x, 0), fill(next, 1);
    mean_of_stage(arena, &m, x, mean);
    log_prob(arena, &m, x, next, rows, NULL);
    for (int r = 0; r < ROWS; r++) {
      double expected = 0;
      for (int j = 0; j < DIM; j++) {
        double miss = ((double)next[r * LD + j] - (double)mean[r * LD + j]) / v;
        expected += -0.5 * miss * miss - log(v) - 0.5 * log(2 * acos(-1));
      }
      assert_true(near(rows[r], expected, sizeof(real) == 8 ? 1e-12 : 1e-4));
    }
    arena_free(arena);
  }
}

static void their_gradient_is_the_difference_quotient(void **state) {
  (void)state;
  Arena *arena = arena_new();
  Params *p = params_new(arena, "net");
  const Denoiser *d = small_mlp(arena, p, a_schedule(arena, "vp", 5), 0);
  Move m = { p, d, sampler(arena, "ddpm", 5, 0, d), 1 };
  static real x[ROWS * LD], next[ROWS * LD];
  const real *gradient;
  double h = sizeof(real) == 8 ? 1e-5 : 1e-3;
  fill(x, 0), fill(next, 1);
  log_prob(arena, &m, x, next, NULL, &gradient);
  for (size_t j = 0; j < p->layout->size; j += 37) {
    double side[2], expected = (double)gradient[j];
    real before = p->values[j];
    for (int k = 0; k < 2; k++) {
      p->values[j] = before + (real)(k ? -h : h);
      params_touch(p);
      side[k] = log_prob(arena, &m, x, next, NULL, NULL);
    }
    p->values[j] = before;
    params_touch(p);
    double numeric = (side[0] - side[1]) / (2 * h);
    assert_true(near(numeric, expected, sizeof(real) == 8 ? 1e-7 : 5e-2));
  }
  arena_free(arena);
}

static void log_probabilities_are_refused_where_there_are_none(void **state) {
  (void)state;
  static const struct {
    const char *method;
    double eta;
    int stage;
    bool learned;
    const char *says;
  } cases[] = { { "ddim", 0, 2, false, "adds no noise" },
                { "ddpm", 0, 4, false, "adds no noise" },
                { "sde_dpmpp_2m", 0, 2, false, "older outputs" },
                { "ddpm_learned", 0, 2, true, "learned" } };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    Arena *arena = arena_new();
    Oracle net = oracle(a_schedule(arena, "vp", 5), PREDICTS_EPS, DIM, gaussian);
    net.base.learns_variance = cases[i].learned, net.variance = cases[i].learned ? sin : NULL;
    const Sampler *table = sampler(arena, cases[i].method, 5, cases[i].eta, &net.base);
    GraphSpec spec = a_graph(NULL, ROWS);
    Graph *g = graph_new(arena, &spec);
    Tensor *x = t_input(g, "x", 1, DIM);
    Error error = { 0 };
    assert_null(sampler_log_prob(g, table, cases[i].stage, &net.base, NULL, x, x, NULL, &error));
    assert_int_equal(error.kind, FAIL_USAGE);
    if (!strstr(error.text, cases[i].says)) fail_msg("%s", error.text);
    arena_free(arena);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_method_has_an_example),
    cmocka_unit_test(a_recorded_chain_is_the_tables_recursion),
    cmocka_unit_test(one_call_replayed_is_the_chain_bit_for_bit),
    cmocka_unit_test(a_learned_variance_is_replayed_too),
    cmocka_unit_test(what_a_network_predicts_does_not_matter),
    cmocka_unit_test(gradients_flow_through_the_whole_chain),
    cmocka_unit_test(log_probabilities_are_those_of_the_gaussian),
    cmocka_unit_test(their_gradient_is_the_difference_quotient),
    cmocka_unit_test(log_probabilities_are_refused_where_there_are_none),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
