/* test_gradient.c -- recorded gradients: of rows and of sums, and through gradients that were
 * recorded before.  The score-matching losses are functions of a network's derivatives, so their
 * gradients with respect to its weights need second derivatives of every op on the way.
 * Promises T4 and B1 of docs/design.md. */
#include "tests/tape_net.h"
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- gradients ------------------------------------------------------------------------------- */

static double mean_over_rows(const Net *net, int rows, int j) {
  double sum = 0;
  for (int r = 0; r < rows; r++) sum += (double)net->data[r * LD + j];
  return sum / rows;
}

/* With m = mean(x w) and a = mean |x w|, m / detach(a) has the gradient m' / a, and m / a has
 * m' / a - m a' / a^2.  The gradient of a row waits for the sums of all rows. */
static void a_sum_in_the_gradient_is_a_second_phase(void **state) {
  (void)state;
  for (int detached = 0; detached < 2; detached++) {
    Net net;
    net_open(&net, 2, MAX_ROWS, 8, 3);
    params_slot(net.params, "w", 1, 1, N, 1);
    params_allocate(net.params), params_init(net.params, 3);
    net.x = t_input(net.g, "x", 1, N);
    Tensor *xw = t_mul(net.x, t_param(net.g, net.params, 0)), *a = t_mean(t_map(MAP_abs, xw));
    net_minimise(&net, t_div(t_mean(xw), detached ? t_detach(a) : a), false);
    graph_run(net.g, MAX_ROWS, 0, NULL);
    assert_int_equal(graph_size(net.g).phases, 2);
    const real *w = net.params->values;
    double m = 0, abs = 0, d_abs[N] = { 0 };
    for (int r = 0; r < MAX_ROWS; r++)
      for (int j = 0; j < N; j++) {
        double x = (double)net.data[r * LD + j], y = x * (double)w[j];
        m += y / (MAX_ROWS * N), abs += fabs(y) / (MAX_ROWS * N);
        d_abs[j] += (y > 0 ? x : -x) / (MAX_ROWS * N);
      }
    double eps = sizeof(real) == 8 ? 1e-14 : 2e-6;
    assert_true(fabs(graph_scalar(net.loss) - m / abs) < eps);
    for (int j = 0; j < N; j++) {
      double d = mean_over_rows(&net, MAX_ROWS, j) / N / abs;
      if (!detached) d -= m * d_abs[j] / (abs * abs);
      assert_true(fabs((double)graph_gradient(net.g)[j] - d) < eps);
    }
    net_close(&net);
  }
}

/* t_grad of a cubic, of a mean of squares, and of what does not depend on x */
static void t_grad_is_the_derivative(void **state) {
  (void)state;
  Net net;
  net_open(&net, 0, MAX_ROWS, 8, 3);
  params_allocate(net.params);
  Tensor *x = net.x = t_input(net.g, "x", 1, N), *other = t_input(net.g, "other", 1, N);
  Tensor *cubic = t_grad(t_mul(x, t_map(MAP_square, x)), x);
  Tensor *mean = t_grad(t_mean(t_map(MAP_square, x)), x);
  assert_null(t_grad(t_map(MAP_square, other), x));
  assert_null(t_grad(t_mul(t_detach(x), other), x));
  graph_keep(cubic), graph_keep(mean);
  graph_seal(net.g);
  graph_bind(x, net.data);
  graph_run(net.g, MAX_ROWS, 0, NULL);
  double eps = sizeof(real) == 8 ? 1e-14 : 1e-5;
  for (int i = 0; i < MAX_ROWS * LD; i++) {
    double v = (double)net.data[i];
    assert_true(fabs((double)graph_values(cubic)[i] - 3 * v * v) < eps);
    assert_true(fabs((double)graph_values(mean)[i] - 2 * v / (MAX_ROWS * N)) < eps);
  }
  net_close(&net);
}

/* y = w tanh(x)^2: dy/dx depends on w, yet the loss that reads it must not see that */
static void t_grad_counts_as_constant(void **state) {
  (void)state;
  Net with, without;
  Net *both[] = { &with, &without };
  for (int i = 0; i < 2; i++) {
    Net *net = both[i];
    net_open(net, 0, MAX_ROWS, 8, 3);
    params_slot(net->params, "w", 1, 1, N, 1);
    params_allocate(net->params), params_init(net->params, 3);
    net->x = t_input(net->g, "x", 1, N);
    Tensor *xw = t_mul(net->x, t_param(net->g, net->params, 0)), *loss = t_mean(xw);
    Tensor *dx = t_grad(t_map(MAP_tanh, xw), net->x);
    net_minimise(net, i ? loss : t_add(loss, t_mean(dx)), false);
    graph_run(net->g, MAX_ROWS, 0, NULL);
  }
  assert_memory_equal(graph_gradient(with.g), graph_gradient(without.g), net_bytes(&with));
  assert_true(graph_scalar(with.loss) != graph_scalar(without.loss));
  net_close(&with), net_close(&without);
}

/* ---- gradients of recorded gradients --------------------------------------------------------- */

enum { D = 4, SAMPLES = 9 };
typedef Tensor *ScoreLoss(Graph *g, Tensor *score, Tensor *x);

/* E[|S|^2 / 2 + tr dS/dx] (Hyvarinen 2005) */
static Tensor *explicit_score_matching(Graph *g, Tensor *score, Tensor *x) {
  (void)g;
  Tensor *loss = t_scale(0.5, t_sum_last(t_map(MAP_square, score)));
  for (int i = 0; i < D; i++) loss = t_add(loss, t_col(t_grad_through(t_col(score, i), x), i));
  return t_mean(loss);
}

/* E[v.(dS/dx)v + (v.S)^2 / 2] (Song et al. 2019) */
static Tensor *sliced_score_matching(Graph *g, Tensor *score, Tensor *x) {
  Tensor *v = t_normal(g, "v", 1, D), *along = t_sum_last(t_mul(v, score));
  Tensor *bend = t_sum_last(t_mul(v, t_grad_through(along, x)));
  return t_mean(t_add(bend, t_scale(0.5, t_map(MAP_square, along))));
}

/* the energy -log p is learned and its gradient matched to v: the slopes' slopes see the weights */
static Tensor *energy_matching(Graph *g, Tensor *score, Tensor *x) {
  Tensor *energy = t_sum_last(t_map(MAP_softplus, t_mul(score, t_map(MAP_sin, score))));
  Tensor *force = t_grad_through(t_add(energy, t_log_softmax_last(score)), x);
  return t_mean(t_map(MAP_square, t_sub(force, t_normal(g, "v", 1, D))));
}

static void score_open(Net *net, int threads, Map map, ScoreLoss *loss) {
  net_open(net, threads, SAMPLES, 4, 3);
  Mlp layers = mlp_new(net->params, &(MlpSpec){ "score", 1, D, 6, 2, D, map, MLP_PLAIN });
  params_allocate(net->params), params_init(net->params, 1);
  for (int r = 0; r < MAX_ROWS; r++) net->data[r * LD + D] = 0;
  net->x = t_input(net->g, "x", 1, D);
  Tensor *score = mlp(&layers, net->g, net->params, IN(net->x));
  net_minimise(net, loss(net->g, score, net->x), false);
}

static double loss_with(Net *net, size_t i, double value) {
  net->params->values[i] = (real)value;
  params_touch(net->params);
  graph_run(net->g, SAMPLES, 0, NULL);
  return graph_scalar(net->loss);
}

/* every derivative with respect to a parameter against the central difference */
static void gradients_pass_through_gradients(void **state) {
  (void)state;
  static const Map maps[] = { MAP_tanh, MAP_silu, MAP_mish };
  ScoreLoss *const losses[] = { explicit_score_matching, sliced_score_matching, energy_matching };
  double h = sizeof(real) == 8 ? 1e-4 : 2e-2, bound = sizeof(real) == 8 ? 1e-7 : 2e-3;
  for (int m = 0; m < 3; m++)
    for (int l = 0; l < 3; l++) {
      Net net;
      score_open(&net, 0, maps[m], losses[l]);
      graph_run(net.g, SAMPLES, 0, NULL);
      real *gradient = malloc(net_bytes(&net));
      memcpy(gradient, graph_gradient(net.g), net_bytes(&net));
      for (size_t i = 0; i < net.params->layout->size; i++) {
        double w = (double)net.params->values[i];
        if (w == 0) continue; /* padding */
        double numeric = (loss_with(&net, i, w + h) - loss_with(&net, i, w - h)) / (2 * h);
        if (!(fabs(numeric - (double)gradient[i]) < bound))
          fail_msg("%s, loss %d, parameter %d: difference quotient %.9g, gradient %.9g",
                   map_name(maps[m]), l, (int)i, numeric, (double)gradient[i]);
        net.params->values[i] = (real)w;
      }
      free(gradient);
      net_close(&net);
    }
}

static void a_gradient_of_a_gradient_has_the_same_bits_on_any_threads(void **state) {
  (void)state;
  Net alone, many;
  score_open(&alone, 0, MAP_silu, explicit_score_matching);
  score_open(&many, 3, MAP_silu, explicit_score_matching);
  for (uint64_t step = 0; step < 10; step++) {
    graph_run(alone.g, SAMPLES, step, NULL), graph_run(many.g, SAMPLES, step, NULL);
    same_gradient(&alone, &many);
  }
  net_close(&alone), net_close(&many);
}

/* ---- gradients per row ----------------------------------------------------------------------- */

/* sum_i dS_i / dx_i of every sample */
static Tensor *divergence(Tensor *s, Tensor *x) {
  Tensor *sum = t_col(t_grad(t_col(s, 0), x), 0);
  for (int i = 1; i < D; i++) sum = t_add(sum, t_col(t_grad(t_col(s, i), x), i));
  return sum;
}

/* Three samples a row; the energy is a number for each, and no sample sees another. */
static void energies_and_divergences_are_per_sample(void **state) {
  (void)state;
  enum { K = 3, ROWS = MAX_ROWS / K, COUNT = ROWS * K };
  Net net;
  net_open(&net, 0, ROWS, 8, 3);
  Mlp layers = mlp_new(net.params, &(MlpSpec){ "score", 1, D, 8, 2, D, MAP_silu, MLP_PLAIN });
  params_allocate(net.params), params_init(net.params, 1);
  for (int r = 0; r < MAX_ROWS; r++) net.data[r * LD + D] = 0;
  Tensor *x = t_input(net.g, "x", K, D), *s = mlp(&layers, net.g, net.params, IN(x));
  Tensor *energy = t_sum_last(t_map(MAP_square, s)), *slope = t_grad(energy, x);
  Tensor *trace = divergence(s, x);
  assert_true(energy->k == K && energy->n == 1 && slope->k == K && slope->n == D);
  graph_keep(energy), graph_keep(slope), graph_keep(trace), graph_keep(s);
  graph_seal(net.g), graph_bind(x, net.data);
  graph_run(net.g, ROWS, 0, NULL);
  double h = sizeof(real) == 8 ? 1e-5 : 0x1p-7, bound = sizeof(real) == 8 ? 1e-8 : 1e-3;
  static real d_energy[COUNT * LD], d_score[COUNT];
  memcpy(d_energy, graph_values(slope), sizeof d_energy);
  for (int i = 0; i < COUNT; i++) d_score[i] = graph_values(trace)[i * LD];
  double sum[COUNT] = { 0 };
  for (int j = 0; j < D; j++) {
    double numeric[COUNT] = { 0 };
    for (int side = -1; side <= 1; side += 2) {
      for (int i = 0; i < COUNT; i++) net.data[i * LD + j] += (real)(side * h);
      graph_run(net.g, ROWS, 0, NULL);
      for (int i = 0; i < COUNT; i++) {
        numeric[i] += side * (double)graph_values(energy)[i * LD] / (2 * h);
        sum[i] += side * (double)graph_values(s)[i * LD + j] / (2 * h);
        net.data[i * LD + j] -= (real)(side * h);
      }
    }
    for (int i = 0; i < COUNT; i++)
      assert_true(fabs(numeric[i] - (double)d_energy[i * LD + j]) < bound);
  }
  for (int i = 0; i < COUNT; i++) assert_true(fabs(sum[i] - (double)d_score[i]) < bound);
  net_close(&net);
}

/* v.(dS/dx)v for every sign vector v: their mean is the trace (Hutchinson 1990) */
static void the_mean_over_all_sign_vectors_is_the_trace(void **state) {
  (void)state;
  Net net;
  net_open(&net, 0, SAMPLES, 4, 3);
  Mlp layers = mlp_new(net.params, &(MlpSpec){ "score", 1, D, 8, 2, D, MAP_tanh, MLP_PLAIN });
  params_allocate(net.params), params_init(net.params, 1);
  for (int r = 0; r < MAX_ROWS; r++) net.data[r * LD + D] = 0;
  Tensor *x = t_input(net.g, "x", 1, D), *s = mlp(&layers, net.g, net.params, IN(x));
  Tensor *mean = t_scale(0, t_col(s, 0)), *trace = divergence(s, x), *first = NULL;
  for (int bits = 0; bits < 1 << D; bits++) {
    double sign[D];
    for (int i = 0; i < D; i++) sign[i] = bits >> i & 1 ? 1 : -1;
    Tensor *v = t_table(net.g, sign, 1, D);
    Tensor *estimate = t_sum_last(t_mul(v, t_grad(t_sum_last(t_mul(v, s)), x)));
    mean = t_mix(1, mean, 1.0 / (1 << D), estimate);
    if (!bits) first = estimate;
  }
  graph_keep(mean), graph_keep(trace), graph_keep(first);
  graph_seal(net.g), graph_bind(x, net.data);
  graph_run(net.g, SAMPLES, 0, NULL);
  double bound = sizeof(real) == 8 ? 1e-14 : 1e-6;
  for (int r = 0; r < SAMPLES; r++) {
    double exact = (double)graph_values(trace)[r * LD];
    assert_true(fabs((double)graph_values(mean)[r * LD] - exact) < bound);
    assert_true(fabs((double)graph_values(first)[r * LD] - exact) > 1e-3); /* one does not do */
  }
  net_close(&net);
}

/* ---- what is refused ------------------------------------------------------------------------- */

static void slope_of_layernorm(Net *net) {
  t_grad_through(t_layernorm(net->g, NULL, -1, -1, net->x, 1e-5), net->x);
}
static void third_derivative(Net *net) {
  Tensor *once = t_grad_through(t_map(MAP_tanh, net->x), net->x);
  t_grad_through(once, net->x);
}
static void two_numbers_of_time(Net *net) { t_timeembed(t_col(net->x, 0), 2); }
static void stack_of_other_widths(Net *net) { t_stack(net->x, t_col(net->x, 0)); }

/* the child's last words */
static void expect_abort(void (*record_it)(Net *), const char *says) {
  int pipes[2], status;
  assert_int_equal(pipe(pipes), 0);
  fflush(NULL);
  pid_t child = fork();
  if (!child) {
    dup2(pipes[1], 2);
    signal(SIGABRT, SIG_DFL);
    Net net;
    net_open(&net, 0, MAX_ROWS, 8, 3);
    params_allocate(net.params);
    net.x = t_input(net.g, "x", 1, N);
    record_it(&net);
    _exit(0);
  }
  close(pipes[1]);
  char text[1024] = "";
  size_t length = 0;
  for (ssize_t got; (got = read(pipes[0], text + length, sizeof text - 1 - length)) > 0;)
    length += (size_t)got;
  close(pipes[0]);
  assert_int_equal(waitpid(child, &status, 0), child);
  if (!WIFSIGNALED(status) || !strstr(text, says)) fail_msg("\"%s\", not \"%s\"", text, says);
}

static void what_cannot_be_recorded_is_named(void **state) {
  (void)state;
  expect_abort(slope_of_layernorm, "t_grad_through: standardize has no second derivative");
  expect_abort(third_derivative, "t_grad_through: map has no third derivative");
  expect_abort(two_numbers_of_time, "expected an even number of at least 4");
  expect_abort(stack_of_other_widths, "t_stack: rows of 5 and 1 numbers");
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_sum_in_the_gradient_is_a_second_phase),
    cmocka_unit_test(t_grad_is_the_derivative),
    cmocka_unit_test(t_grad_counts_as_constant),
    cmocka_unit_test(gradients_pass_through_gradients),
    cmocka_unit_test(a_gradient_of_a_gradient_has_the_same_bits_on_any_threads),
    cmocka_unit_test(energies_and_divergences_are_per_sample),
    cmocka_unit_test(the_mean_over_all_sign_vectors_is_the_trace),
    cmocka_unit_test(what_cannot_be_recorded_is_named),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
