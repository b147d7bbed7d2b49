/* test_denoiser.c -- what a network's output says about x_0, and the MLP that Diffusion-QL asks. */
#include "diffusion/denoiser.h"
#include "policy/denoiser_mlp.h"
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

enum { ROWS = 3, LD = 16 };

/* x = a x_0 + s eps, asked for x_0 with an exact network of either kind */
static void the_data_form_undoes_the_forward_process(void **state) {
  (void)state;
  for (int i = 1; i < 20; i++) {
    double a = i / 20.0, s = sqrt(1 - a * a), x0 = 0.3 * i - 2, eps = 1.7 - 0.2 * i;
    double x = a * x0 + s * eps;
    DataForm by_eps = denoiser_data_form(PREDICTS_EPS, a, s);
    DataForm by_x0 = denoiser_data_form(PREDICTS_X0, a, s);
    assert_true(fabs(by_eps.to_x * x + by_eps.to_out * eps - x0) < 1e-12 / a);
    assert_true(by_x0.to_x * x + by_x0.to_out * x0 == x0);
  }
}

static void predictions_have_names(void **state) {
  (void)state;
  assert_int_equal(denoiser_prediction("eps"), PREDICTS_EPS);
  assert_int_equal(denoiser_prediction("x0"), PREDICTS_X0);
}

/* ---- the MLP --------------------------------------------------------------------------------- */

static double mish(double x) { return x * tanh(log1p(exp(x))); }

/* y = W x + b, straight from the slots "<name>/<layer>/{w,b}" declared in this order */
static void layer(const Params *p, int l, const double *x, double *y, bool activate) {
  const Slot *w = &p->layout->slot[2 * l];
  for (int j = 0; j < w->n; j++) {
    y[j] = (double)params_at(p, 2 * l + 1)[j];
    for (int i = 0; i < w->rows; i++) y[j] += x[i] * (double)params_at(p, 2 * l)[i * w->ld + j];
    if (activate) y[j] = mish(y[j]);
  }
}

/* sinusoid, two layers; [x, time, cond] through four */
static void ask(const Params *p, const double x[2], double t, const double cond[3], double out[2]) {
  double h[5][64] = { { 0 } };
  for (int j = 0; j < 8; j++) {
    double angle = t * exp(-j * log(10000) / 7);
    h[0][j] = sin(angle), h[0][8 + j] = cos(angle);
  }
  layer(p, 0, h[0], h[1], true);
  memcpy(h[2], x, 2 * sizeof *x);
  layer(p, 1, h[1], h[2] + 2, false);
  memcpy(h[2] + 18, cond, 3 * sizeof *cond);
  layer(p, 2, h[2], h[3], true);
  layer(p, 3, h[3], h[4], true);
  layer(p, 4, h[4], h[3], true);
  layer(p, 5, h[3], out, false);
}

static void the_mlp_is_its_drawing(void **state) {
  (void)state;
  Arena *arena = arena_new();
  Error error;
  Params *p = params_new(arena, "actor");
  const Schedule *s = schedule_new(arena, "vp", 5, &error);
  const Denoiser *d = mlp_denoiser_new(arena, p, s, PREDICTS_EPS, 2, 3, 20);
  params_allocate(p), params_init(p, 1);
  assert_string_equal(p->layout->slot[0].name, "time/0/w");
  assert_string_equal(p->layout->slot[11].name, "trunk/3/b");
  Graph *g =
      graph_new(arena, &(GraphSpec){ .kernels = kernels_find("own", &error), .max_rows = ROWS });
  Tensor *x = t_input(g, "x", 1, 2), *t = t_input(g, "t", 1, 1), *cond = t_input(g, "cond", 1, 3);
  Tensor *y = d->net(d, g, p, x, d->embed(d, g, p, t), cond);
  graph_keep(y);
  graph_seal(g);
  real data[3][ROWS * LD] = { { 0 } };
  for (int r = 0; r < ROWS; r++) {
    data[0][r * LD] = (real)(r - 0.5), data[0][r * LD + 1] = (real)(0.25 * r);
    data[1][r * LD] = (real)(2 * r);
    for (int j = 0; j < 3; j++) data[2][r * LD + j] = (real)(1 - 0.5 * r * j);
  }
  graph_bind(x, data[0]), graph_bind(t, data[1]), graph_bind(cond, data[2]);
  graph_run(g, ROWS, 0, NULL);
  for (int r = 0; r < ROWS; r++) {
    double expected[2], at[2], given[3];
    for (int j = 0; j < 2; j++) at[j] = (double)data[0][r * LD + j];
    for (int j = 0; j < 3; j++) given[j] = (double)data[2][r * LD + j];
    ask(p, at, 2.0 * r, given, expected);
    for (int j = 0; j < 2; j++)
      assert_true(fabs((double)graph_values(y)[r * LD + j] - expected[j]) <
                  (sizeof(real) == 8 ? 1e-13 : 1e-6));
  }
  arena_free(arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_data_form_undoes_the_forward_process),
    cmocka_unit_test(predictions_have_names),
    cmocka_unit_test(the_mlp_is_its_drawing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
