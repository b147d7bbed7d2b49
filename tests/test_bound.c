/* test_bound.c -- the terms of the variational bound against integrals, and its limits. */
#include "diffusion/bound.h"
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

enum { ROWS = 256, LD = 16 };

static bool near(double x, double y, double eps) { return fabs(x - y) <= eps * fmax(1, fabs(y)); }
static double tight(double exact, double loose) { return sizeof(real) == 8 ? exact : loose; }
static double density(double x, double mean, double variance) {
  return exp(-0.5 * (x - mean) * (x - mean) / variance) / sqrt(2 * acos(-1) * variance);
}

static Schedule *a_schedule(Arena *arena, const ScheduleSpec *spec) {
  Error error;
  Schedule *s = schedule_new(arena, spec, &error);
  if (!s) fail_msg("%s", error.text);
  return s;
}
static Bound *a_bound(Arena *arena, const BoundSpec *spec, const Denoiser *d) {
  Error error;
  Bound *b = bound_new(arena, spec, d, &error);
  if (!b) fail_msg("%s", error.text);
  return b;
}
static GraphSpec a_graph(Params *trained) {
  Error error;
  const Kernels *kernels = kernels_find("own", &error);
  return (
      GraphSpec){ .trained = trained, .seed = 3, .max_rows = ROWS, .kernels = kernels, .lane = 7 };
}

/* ---- one term, everything given -------------------------------------------------------------- */

typedef struct {
  Arena *arena;
  Denoiser d;
  Bound *bound;
  Graph *g;
  Tensor *in[5]; /* step, x0, x, output, v */
  real data[5][ROWS * LD];
  BoundTerm term;
} Term;

static void term_open(Term *t, const BoundSpec *spec, bool learns) {
  *t = (Term){ .arena = arena_new() };
  t->d = (Denoiser){ .predicts = PREDICTS_X0, .dim = 1, .learns_variance = learns };
  t->d.schedule = a_schedule(t->arena, &(ScheduleSpec){ .name = "cosine", .steps = 20 });
  t->bound = a_bound(t->arena, spec, &t->d);
  GraphSpec graph = a_graph(NULL);
  t->g = graph_new(t->arena, &graph);
  static const char *const names[] = { "step", "x0", "x", "output", "v" };
  for (int i = 0; i < 5; i++) t->in[i] = t_input(t->g, names[i], 1, 1);
  t->term = bound_term(t->bound, t->in[0], t->in[1], t->in[2], t->in[3], learns ? t->in[4] : NULL);
  graph_keep(t->term.nats), graph_keep(t->term.squares);
  graph_seal(t->g);
  for (int i = 0; i < (learns ? 5 : 4); i++) graph_bind(t->in[i], t->data[i]);
}
static double term_at(const Term *t, int row) {
  return (double)graph_values(t->term.nats)[row * LD];
}
static void term_close(Term *t) { arena_free(t->arena); }

static void the_bins_share_one_mass(void **state) {
  (void)state;
  Term t;
  term_open(&t, &(BoundSpec){ .bins = 256 }, true);
  const BoundStep *first = &t.bound->step[0];
  static const double mean[] = { 0, 0.7, -1.02, 1.5, 0.013 }, std[] = { 0.002, 0.02, 0.3, 1, 4 };
  for (int i = 0; i < 25; i++) {
    double log_v = 2 * log(std[i / 5]), sum = 0;
    for (int r = 0; r < ROWS; r++) {
      t.data[1][r * LD] = (real)(-1 + 2 * r / 255.0), t.data[3][r * LD] = (real)mean[i % 5];
      t.data[4][r * LD] =
          (real)(2 * (log_v - first->log_low) / (first->log_high - first->log_low) - 1);
    }
    graph_run(t.g, ROWS, 0, NULL);
    for (int r = 0; r < ROWS; r++) sum += exp(-term_at(&t, r));
    assert_true(near(sum, 1, tight(1e-9, 1e-3))); /* 256 masses, each at least 1e-12 */
  }
  term_close(&t);
}

/* Simpson's rule for a function of two Gaussians */
typedef struct {
  double mean, variance;
} Normal;
static double divergence(Normal q, Normal p) {
  enum { POINTS = 2000 };
  double std = sqrt(q.variance), sum = 0, h = 24 * std / POINTS;
  for (int i = 0; i <= POINTS; i++) {
    double x = q.mean - 12 * std + i * h, d = x - p.mean, e = x - q.mean;
    double log_ratio =
        0.5 * (log(p.variance / q.variance) + d * d / p.variance - e * e / q.variance);
    sum += (i % POINTS == 0 ? 1 : 2 + 2 * (i % 2)) * density(x, q.mean, q.variance) * log_ratio;
  }
  return sum * h / 3;
}
static double mass(Normal p, double from, double to) {
  enum { POINTS = 2000 };
  double sum = 0, reach = 12 * sqrt(p.variance), h;
  from = fmax(from, p.mean - reach), to = fmin(to, p.mean + reach), h = (to - from) / POINTS;
  for (int i = 0; i <= POINTS; i++)
    sum += (i % POINTS == 0 ? 1 : 2 + 2 * (i % 2)) * density(from + i * h, p.mean, p.variance);
  return sum * h / 3;
}

/* ln v of the model at v, from the definition of each kind */
static double log_variance(const Schedule *s, int n, const BoundSpec *spec, bool learns, double v) {
  double small = log(schedule_posterior(s, n ? n : 1).variance), large = log(s->beta[n]);
  if (learns) return 0.5 * (1 + v) * large + 0.5 * (1 - v) * small;
  return spec->large && n ? large : small;
}

static void check_terms(const BoundSpec *spec, bool learns) {
  Term t;
  term_open(&t, spec, learns);
  const Schedule *s = t.d.schedule;
  for (int r = 0; r < 80; r++) { /* every step, every bin, guesses on both sides of it */
    t.data[0][r * LD] = (real)(r % 20), t.data[1][r * LD] = (real)(r / 20 / 1.5 - 1);
    t.data[2][r * LD] = (real)(0.7 - 0.02 * r);
    t.data[3][r * LD] = t.data[1][r * LD] + (real)(0.3 - 0.008 * r);
    t.data[4][r * LD] = (real)(0.025 * r - 1);
  }
  graph_run(t.g, 80, 0, NULL);
  for (int r = 0; r < 80; r++) {
    double x0 = (double)t.data[1][r * LD], x = (double)t.data[2][r * LD];
    double guess = (double)t.data[3][r * LD];
    Posterior c = schedule_posterior(s, r % 20);
    Normal q = { c.c0 * x0 + c.c1 * x, c.variance }, p = { c.c0 * guess + c.c1 * x, 0 };
    p.variance = exp(log_variance(s, r % 20, spec, learns, (double)t.data[4][r * LD]));
    double low = x0 < -0.9 ? -9 : x0 - 1.0 / 3, high = x0 > 0.9 ? 9 : x0 + 1.0 / 3;
    double expected = r % 20       ? divergence(q, p)
                      : spec->bins ? -log(mass(p, low, high))
                                   : -log(density(x0, p.mean, p.variance));
    assert_true(near(term_at(&t, r), expected, tight(1e-8, 1e-3)));
    assert_true(near((double)graph_values(t.term.squares)[r * LD], (x0 - guess) * (x0 - guess),
                     tight(1e-13, 1e-5)));
  }
  term_close(&t);
}

static void terms_are_the_integrals(void **state) {
  (void)state;
  for (int bins = 0; bins <= 4; bins += 4)
    for (int kind = 0; kind < 3; kind++)
      check_terms(&(BoundSpec){ .bins = bins, .large = kind == 1 }, kind == 2);
}

static void a_guess_can_be_clipped(void **state) {
  (void)state;
  Term t;
  term_open(&t, &(BoundSpec){ .clip = true, .low = -0.5, .high = 0.25 }, false);
  t.data[3][0] = 2, t.data[3][LD] = -2;
  graph_run(t.g, 2, 0, NULL);
  assert_true(graph_values(t.term.squares)[0] == (real)0.0625);
  assert_true(graph_values(t.term.squares)[LD] == (real)0.25);
  term_close(&t);
}

/* by the output and by v, against central differences of the sum over steps and bins */
static void terms_have_their_derivatives(void **state) {
  (void)state;
  for (int bins = 0; bins <= 4; bins += 4) {
    Term t;
    Error error;
    term_open(&t, &(BoundSpec){ .bins = bins }, true);
    Params *p = params_new(t.arena, "shift");
    params_slot(p, "output", 1, 1, 1, 1), params_slot(p, "v", 1, 1, 1, 1);
    params_allocate(p);
    GraphSpec spec = { .trained = p, .kernels = kernels_find("own", &error), .max_rows = ROWS };
    Graph *g = graph_new(t.arena, &spec);
    Tensor *k = t_input(g, "k", 1, 1), *x0 = t_input(g, "x0", 1, 1), *at = t_scale(0, x0);
    Tensor *output = t_add(t_shift(t_scale(0.9, x0), 0.01), t_param(g, p, 0));
    Tensor *v = t_add(t_scale(0.3, x0), t_param(g, p, 1));
    Tensor *loss = t_mean(bound_term(t.bound, k, x0, at, output, v).nats);
    graph_minimise(loss), graph_seal(g);
    graph_bind(k, t.data[0]), graph_bind(x0, t.data[1]);
    for (int r = 0; r < 80; r++)
      t.data[0][r * LD] = (real)(r % 20), t.data[1][r * LD] = (real)(r / 20 / 1.5 - 1);
    for (int slot = 0; slot < 2; slot++) {
      double h = tight(1e-5, 1e-2), side[2];
      for (int i = 0; i < 2; i++) {
        params_at(p, slot)[0] = (real)(i ? h : -h), params_touch(p);
        graph_run(g, 80, 0, NULL), side[i] = graph_scalar(loss);
      }
      params_at(p, slot)[0] = 0, params_touch(p);
      graph_run(g, 80, 0, NULL);
      double slope = (double)graph_gradient(g)[p->layout->slot[slot].offset];
      assert_true(slope != 0 &&
                  fabs((side[1] - side[0]) / (2 * h) / slope - 1) < tight(1e-7, 0.02));
    }
    term_close(&t);
  }
}

/* ---- the whole bound of an exact denoiser ---------------------------------------------------- */

/* the conditional mean of each law, told as x_0 */
typedef double Guess(double x, double a, double s);
static const double STD = 0.5;
static double gaussian(double x, double a, double s) {
  return a * STD * STD / (a * a * STD * STD + s * s) * x;
}
static const double value[] = { -1, -1.0 / 3, 1.0 / 3, 1 }, chance[] = { 0.1, 0.2, 0.3, 0.4 };
static double four_values(double x, double a, double s) {
  double sum = 0, moment = 0, most = -INFINITY, e[4];
  for (int i = 0; i < 4; i++) {
    e[i] = -0.5 * (x - a * value[i]) * (x - a * value[i]) / (s * s);
    most = fmax(most, e[i]);
  }
  for (int i = 0; i < 4; i++) {
    double weight = chance[i] * exp(e[i] - most);
    sum += weight, moment += weight * value[i];
  }
  return moment / sum;
}

typedef struct {
  Denoiser base;
  Guess *guess;
  Call call;
} Exact;
static void answer(void *user, const CallSamples *samples) { /* as whatever it predicts */
  const Exact *exact = user;
  const Denoiser *d = &exact->base;
  for (int i = 0; i < samples->count; i++) {
    Level l = schedule_level(d->schedule, (double)samples->time[i * samples->time_stride]);
    Line y = prediction_line(d->predicts, &l, d->data_std);
    double x = (double)samples->x[i * samples->x_stride] / denoiser_scale(d, &l);
    double x0 = exact->guess(x, l.a, l.s), eps = (x - l.a * x0) / l.s;
    samples->out[i * samples->out_stride] = (real)(y.p * x0 + y.q * eps);
  }
}
static Tensor *exact_net(const Denoiser *d, Graph *g, const Params *p, Tensor *x, Tensor *h,
                         Tensor *cond) {
  (void)g, (void)p, (void)cond;
  return t_call(&((const Exact *)d)->call, x, h, d->dim);
}
static Tensor *embed(const Denoiser *d, Graph *g, const Params *p, Tensor *t) {
  return (void)d, (void)g, (void)p, t;
}
static void exact_open(Exact *exact, const Schedule *s, Guess *guess) {
  *exact = (Exact){ .guess = guess, .call = { answer, exact } };
  exact->base = (Denoiser){ .net = exact_net, .embed = embed, .predicts = PREDICTS_X0, .dim = 1 };
  exact->base.schedule = s;
}

/* rows of (x0, eps) with weights: expectations by quadrature */
typedef struct {
  int rows;
  real x0[ROWS * LD], eps[ROWS * LD];
  double weight[ROWS];
} Rule;

/* terms [K], then the prior; returns their sum */
static double expect(const Bound *b, const Rule *rule, double *nats) {
  Arena *arena = arena_new();
  GraphSpec spec = a_graph(NULL);
  Graph *g = graph_new(arena, &spec);
  Tensor *k = t_input(g, "step", 1, 1), *x0 = t_input(g, "x0", 1, 1),
         *eps = t_input(g, "eps", 1, 1);
  BoundTerm term = bound_record(g, b, NULL, k, x0, eps, NULL);
  real step[ROWS * LD] = { 0 };
  double total = 0;
  graph_keep(term.nats), graph_seal(g);
  graph_bind(k, step), graph_bind(x0, rule->x0), graph_bind(eps, rule->eps);
  for (int i = 0; i <= b->steps; i++) {
    nats[i] = 0;
    for (int r = 0; r < rule->rows; r++) step[r * LD] = (real)i;
    if (i < b->steps) graph_run(g, rule->rows, 0, NULL);
    for (int r = 0; r < rule->rows; r++)
      nats[i] += rule->weight[r] * (i < b->steps ? (double)graph_values(term.nats)[r * LD]
                                                 : bound_prior(b, 1, rule->x0 + r * LD));
    total += nats[i];
  }
  arena_free(arena);
  return total;
}

/* second moments of N(0, STD^2) and N(0, 1) are exact over four points */
static void gaussian_rule(Rule *rule) {
  *rule = (Rule){ .rows = 4 };
  for (int r = 0; r < 4; r++) {
    rule->x0[r * LD] = (real)(r & 1 ? STD : -STD), rule->eps[r * LD] = r & 2 ? 1 : -1;
    rule->weight[r] = 0.25;
  }
}

static double bound_of_gaussian(int steps, bool even_lambda, double *terms, double *i_mmse,
                                double *limit) {
  Arena *arena = arena_new();
  const Schedule *s = a_schedule(arena, &(ScheduleSpec){ .name = "vp-sde" });
  Exact exact;
  exact_open(&exact, s, gaussian);
  double *times = arena_array(arena, double, steps + 1),
         *nats = arena_array(arena, double, steps + 2);
  double v = STD * STD, snr[2] = { 0 };
  double clear = schedule_lambda(s, 1e-3), noisy = schedule_lambda(s, 1);
  for (int k = 0; k <= steps; k++)
    times[k] = even_lambda ? schedule_time(s, clear + (noisy - clear) * k / steps)
               : k         ? (double)k / steps
                           : 1e-3;
  const Bound *b = a_bound(arena, &(BoundSpec){ .times = times, .steps = steps + 1 }, &exact.base);
  Rule rule;
  gaussian_rule(&rule);
  double total = expect(b, &rule, nats);
  *terms = *i_mmse = 0;
  for (int k = 1; k <= steps; k++) {
    const Level *l = &b->step[k].at, *l1 = &b->step[k - 1].at;
    snr[0] = exp(2 * l1->lambda), snr[1] = exp(2 * l->lambda);
    *i_mmse += 0.5 * (snr[0] - snr[1]) * v * l->s * l->s / (l->a * l->a * v + l->s * l->s);
    *terms += nats[k];
  }
  snr[0] = exp(2 * b->step[0].at.lambda);
  *limit = 0.5 * log((1 + v * snr[0]) / (1 + v * snr[1]));
  arena_free(arena);
  return total;
}

/* The terms are half the fall of SNR times the error; 277.5266 is that sum for 12 steps.  In the
 * limit of many steps they become 1/2 ln((1 + c^2 SNR_0) / (1 + c^2 SNR_T)) (Guo et al. 2005), and
 * the whole bound the entropy of the data. */
static void gaussian_data_is_bounded_tightly(void **state) {
  (void)state;
  double terms, i_mmse, limit, gap[3], entropy = 0.5 * log(2 * acos(-1) * exp(1) * STD * STD);
  bound_of_gaussian(12, false, &terms, &i_mmse, &limit);
  assert_true(near(terms, 277.5266, 1e-6) && near(limit, 3.8648, 2e-5));
  for (int i = 0; i < 3; i++) {
    double total = bound_of_gaussian(100 << i, true, &terms, &i_mmse, &limit);
    assert_true(near(terms, i_mmse, tight(1e-8, 1e-3)));
    gap[i] = terms - limit;
    assert_true(near(total - entropy, gap[i], 1e-5)); /* the gap is the size of the steps, alone */
    if (i) assert_true(fabs(gap[i - 1] / gap[i] - 2) < 0.07);
  }
}

/* 4 values with 41 even points for eps: the bound is above the entropy and falls on it. */
static void a_discrete_law_is_bounded_by_its_entropy(void **state) {
  (void)state;
  static const int steps[] = { 25, 100, 400 };
  Rule rule = { .rows = 4 * 41 };
  double entropy = 0, gap[3], norm = 0;
  for (int j = 0; j < 41; j++) norm += density(0.3 * (j - 20), 0, 1);
  for (int i = 0; i < 4; i++) {
    entropy -= chance[i] * log2(chance[i]);
    for (int j = 0; j < 41; j++) {
      int r = 41 * i + j;
      rule.x0[r * LD] = (real)value[i], rule.eps[r * LD] = (real)(0.3 * (j - 20));
      rule.weight[r] = chance[i] * density(0.3 * (j - 20), 0, 1) / norm;
    }
  }
  for (int i = 0; i < 3; i++) {
    Arena *arena = arena_new();
    Exact exact;
    exact_open(&exact, a_schedule(arena, &(ScheduleSpec){ .name = "cosine", .steps = steps[i] }),
               four_values);
    double nats[402];
    const Bound *b = a_bound(arena, &(BoundSpec){ .bins = 4 }, &exact.base);
    gap[i] = bits_per_dim(expect(b, &rule, nats), 1, 1) - entropy;
    assert_true(gap[i] > 0 && (i == 0 || gap[i] < 0.3 * gap[i - 1]));
    arena_free(arena);
  }
  assert_true(gap[2] < 0.04);
}

/* ---- a batch --------------------------------------------------------------------------------- */

static void a_run_gives_the_terms_of_its_draws(void **state) {
  (void)state;
  Arena *arena = arena_new();
  const Schedule *s = a_schedule(arena, &(ScheduleSpec){ .name = "vp", .steps = 5 });
  Exact exact;
  exact_open(&exact, s, gaussian);
  const Bound *b = a_bound(arena, &(BoundSpec){ 0 }, &exact.base);
  GraphSpec spec = a_graph(NULL);
  BoundRun *run = bound_run_new(arena, b, NULL, &spec, "test", 0);
  Rng rng = rng_stream(3, "test noise");
  real x0[9 * LD] = { 0 };
  double nats[6], squares[5], each[9], sum = 0, by_row = 0;
  for (int r = 0; r < 9; r++) x0[r * LD] = (real)(0.2 * r - 0.9);
  double total = bound_run(run, 9, 4, NULL, x0, NULL, nats, squares, each);
  for (int k = 0; k < 5; k++) {
    Level l = schedule_level(s, k);
    double mean = 0;
    for (uint32_t r = 0; r < 9; r++) {
      float eps;
      rng_normals(rng, 4 * 5 + (uint64_t)k, r, &eps, 1);
      double x = l.a * (double)x0[r * LD] + l.s * (double)eps;
      double missed = (double)x0[r * LD] - gaussian(x, l.a, l.s);
      mean += missed * missed / 9;
    }
    assert_true(near(squares[k], mean, tight(1e-12, 1e-5)));
    sum += nats[k];
  }
  for (int r = 0; r < 9; r++) by_row += each[r] / 9;
  assert_true(near(total, by_row, tight(1e-12, 1e-5)));
  assert_true(near(total, sum + nats[5], tight(1e-12, 1e-5)) && nats[5] == bound_prior(b, 9, x0));
  arena_free(arena);
}

static void a_bound_is_the_same_for_every_prediction(void **state) {
  (void)state;
  double nats[6], first = 0;
  real x0[9 * LD] = { 0 };
  for (int r = 0; r < 9; r++) x0[r * LD] = (real)(0.2 * r - 0.9);
  for (int predicts = 0; predicts < PREDICTIONS; predicts++) {
    Arena *arena = arena_new();
    Exact exact;
    exact_open(&exact, a_schedule(arena, &(ScheduleSpec){ .name = "vp", .steps = 5 }), gaussian);
    exact.base.predicts = (Prediction)predicts, exact.base.data_std = 0.7;
    GraphSpec spec = a_graph(NULL);
    const Bound *b = a_bound(arena, &(BoundSpec){ 0 }, &exact.base);
    BoundRun *run = bound_run_new(arena, b, NULL, &spec, "test", 0);
    double total = bound_run(run, 9, 0, NULL, x0, NULL, nats, NULL, NULL);
    if (!predicts) first = total;
    assert_true(near(total, first, tight(1e-12, 1e-4)));
    arena_free(arena);
  }
}

/* 8 bits, all values alike, as real numbers: density 1/2 on [-1, 1], 1 on [0, 1]; 8 bits */
static void dequantised_data_counts_its_cells(void **state) {
  (void)state;
  assert_true(near(bits_per_dim(3 * log(2), 3, 2.0 / 256), 8, 1e-14));
  assert_true(near(bits_per_dim(0, 3, 1.0 / 256), 8, 1e-14));
  assert_true(near(bits_per_dim(8 * log(2), 1, 1), 8, 1e-14));
}

static void what_has_no_bound_is_refused(void **state) {
  (void)state;
  static const double back[] = { 0.5, 0.2 };
  const struct {
    ScheduleSpec schedule;
    Prediction predicts;
    BoundSpec spec;
    const char *why;
  } cases[] = {
    { { .name = "flow" }, PREDICTS_X0, { 0 }, "needs the times" },
    { { .name = "flow" }, PREDICTS_X0, { .times = back, .steps = 2 }, "must grow" },
    { { .name = "vp", .steps = 5 }, PREDICTS_X0, { .bins = 1 }, "2 or more bins" },
    { { .name = "linear", .steps = 9, .zero_snr = true },
      PREDICTS_EPS,
      { 0 },
      "does not tell x_0" },
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    Arena *arena = arena_new();
    Error error = { .kind = FAIL_NONE };
    Denoiser d = { .predicts = cases[i].predicts, .dim = 1 };
    d.schedule = a_schedule(arena, &cases[i].schedule);
    assert_null(bound_new(arena, &cases[i].spec, &d, &error));
    assert_int_equal(error.kind, FAIL_USAGE);
    assert_non_null(strstr(error.text, cases[i].why));
    arena_free(arena);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_bins_share_one_mass),
    cmocka_unit_test(terms_are_the_integrals),
    cmocka_unit_test(a_guess_can_be_clipped),
    cmocka_unit_test(terms_have_their_derivatives),
    cmocka_unit_test(gaussian_data_is_bounded_tightly),
    cmocka_unit_test(a_discrete_law_is_bounded_by_its_entropy),
    cmocka_unit_test(a_run_gives_the_terms_of_its_draws),
    cmocka_unit_test(a_bound_is_the_same_for_every_prediction),
    cmocka_unit_test(dequantised_data_counts_its_cells),
    cmocka_unit_test(what_has_no_bound_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
