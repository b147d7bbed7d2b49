/* test_score_matching.c -- what is learned is grad ln p: in closed form, then by a network.
 *
 * Averages over rows are exact expectations: N(m, c^2) as m, four times, and m +- sqrt(3) c has its
 * moments up to the fifth. */
#include "diffusion/score_matching.h"
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

enum { MAX_ROWS = 256, LD = 16, NODES = 6 };
static const double node[NODES] = { 0, 0, 0, 0, 1.7320508075688772, -1.7320508075688772 };

static double tight(double exact, double loose) { return sizeof(real) == 8 ? exact : loose; }
static bool near(double x, double y, double eps) { return fabs(x - y) <= eps * fmax(1, fabs(y)); }

typedef struct {
  Arena *arena;
  Params *p;
  Graph *g;
  Tensor *x, *loss;
  int rows;
  real data[MAX_ROWS * LD], clean[MAX_ROWS * LD];
} Fit;

static void fit_open(Fit *f, int dim, const int (*slot)[2], int slots) {
  Error error;
  *f = (Fit){ .arena = arena_new() };
  f->p = params_new(f->arena, "score");
  for (int i = 0; i < slots; i++)
    params_slot(f->p, arena_text(f->arena, "%d", i), 1, slot[i][0], slot[i][1], 1);
  params_allocate(f->p), params_init(f->p, 4);
  const Kernels *kernels = kernels_find("own", &error);
  f->g = graph_new(f->arena,
                   &(GraphSpec){ .trained = f->p, .kernels = kernels, .max_rows = MAX_ROWS });
  f->x = t_input(f->g, "x", 1, dim);
}
static void fit_seal(Fit *f, Tensor *loss) {
  f->loss = loss;
  graph_minimise(loss), graph_seal(f->g);
  graph_bind(f->x, f->data);
}
static double run(Fit *f) {
  graph_run(f->g, f->rows, 0, NULL);
  return graph_scalar(f->loss);
}
static double slope(const Fit *f, int slot, int i, int j) {
  const Slot *s = &f->p->layout->slot[slot];
  return (double)graph_gradient(f->g)[s->offset + (size_t)(i * s->ld + j)];
}
static void fit_close(Fit *f) { arena_free(f->arena); }

/* ---- a Gaussian in the plane: S = x W + b ---------------------------------------------------- */

/* covariance L L', its inverse, and 4 signs times 4 points m +- sqrt(2) L_i with these moments */
static const double MEAN[2] = { 0.4, -0.7 }, L[2][2] = { { 0.8, 0 }, { -0.3, 0.5 } };
static void precision(double p[2][2]) {
  double a = L[0][0] * L[0][0], b = L[0][0] * L[1][0], c = L[1][0] * L[1][0] + L[1][1] * L[1][1];
  double det = a * c - b * b;
  p[0][0] = c / det, p[0][1] = p[1][0] = -b / det, p[1][1] = a / det;
}
static void plane_points(Fit *f, real *sign) {
  f->rows = 16;
  for (int r = 0; r < 16; r++)
    for (int j = 0; j < 2; j++) {
      f->data[r * LD + j] = (real)(MEAN[j] + (r & 1 ? 1 : -1) * sqrt(2) * L[j][r >> 1 & 1]);
      sign[r * LD + j] = r >> (2 + j) & 1 ? 1 : -1;
    }
}

/* 0: explicit; 1: sliced; 2: sliced, reduced */
static Tensor *loss_of(int kind, Tensor *score, Tensor *x, Tensor *v) {
  return kind ? sliced_score_matching(score, x, v, kind == 2) : explicit_score_matching(score, x);
}

/* W = -inverse covariance, b = that times -mean: there all gradients vanish, and the loss is
 * -tr(inverse) / 2, minus half the Fisher information of the location.  Over all sign vectors v
 * the sliced losses are the explicit one. */
static void a_gaussian_is_recovered(void **state) {
  (void)state;
  static const int slots[][2] = { { 2, 2 }, { 1, 2 } };
  double p[2][2], elsewhere[3];
  precision(p);
  for (int kind = 0; kind < 3; kind++) {
    Fit f;
    real sign[MAX_ROWS * LD] = { 0 };
    fit_open(&f, 2, slots, 2);
    Tensor *v = t_input(f.g, "v", 1, 2), *score = t_affine(f.g, f.p, 0, 1, IN(f.x));
    fit_seal(&f, loss_of(kind, score, f.x, v));
    if (kind) graph_bind(v, sign);
    plane_points(&f, sign);
    elsewhere[kind] = run(&f);
    for (int i = 0; i < 2; i++) {
      for (int j = 0; j < 2; j++) params_at(f.p, 0)[i * LD + j] = (real)-p[i][j];
      params_at(f.p, 1)[i] = (real)(p[i][0] * MEAN[0] + p[i][1] * MEAN[1]);
    }
    params_touch(f.p);
    assert_true(near(run(&f), -0.5 * (p[0][0] + p[1][1]), tight(1e-13, 1e-5)));
    for (int i = 0; i < 2; i++) {
      for (int j = 0; j < 2; j++) assert_true(fabs(slope(&f, 0, i, j)) < tight(1e-13, 1e-5));
      assert_true(fabs(slope(&f, 1, 0, i)) < tight(1e-13, 1e-5));
    }
    assert_true(near(elsewhere[kind], elsewhere[0], tight(1e-13, 1e-5)));
    fit_close(&f);
  }
}

/* ---- a mixture: the best quadratic ----------------------------------------------------------- */

/* N(-1, .4^2) once and N(.8, .25^2) three times, then noised: x = a x_0 + s eps */
static const double A = 0.9, S = 0.45;
static void mixture_points(Fit *f, bool noised) {
  static const double mean[4] = { -1, 0.8, 0.8, 0.8 }, std[4] = { 0.4, 0.25, 0.25, 0.25 };
  f->rows = 0;
  for (int i = 0; i < 4 * NODES; i++)
    for (int j = 0; j < (noised ? NODES : 1); j++, f->rows++) {
      double x0 = mean[i / NODES] + std[i / NODES] * node[i % NODES];
      f->clean[f->rows * LD] = (real)x0;
      f->data[f->rows * LD] = (real)(noised ? A * x0 + S * node[j] : x0);
    }
}
static Tensor *quadratic(Fit *f) {
  Tensor *x2 = t_map(MAP_square, f->x);
  return t_add(t_add(t_param(f->g, f->p, 0), t_mul(f->x, t_param(f->g, f->p, 1))),
               t_mul(x2, t_param(f->g, f->p, 2)));
}

/* raw moments of N(m, c^2), and of the mixture */
static double moment(double m, double c, int k) {
  return k == 0 ? 1 : m * moment(m, c, k - 1) + (k > 1 ? (k - 1) * c * c * moment(m, c, k - 2) : 0);
}
static double mixed(int k) { return 0.25 * moment(-1, 0.4, k) + 0.75 * moment(0.8, 0.25, k); }

/* E f f' theta = -E df/dx for f = (1, x, x^2), by elimination */
static void best_quadratic(double theta[3]) {
  double m[3][4];
  for (int i = 0; i < 3; i++) {
    for (int j = 0; j < 3; j++) m[i][j] = mixed(i + j);
    m[i][3] = i ? -i * mixed(i - 1) : 0;
  }
  for (int i = 0; i < 3; i++)
    for (int row = 0; row < 3; row++)
      for (int j = 3; row != i && j >= i; j--) m[row][j] -= m[row][i] / m[i][i] * m[i][j];
  for (int i = 0; i < 3; i++) theta[i] = m[i][3] / m[i][i];
}

static const int three_numbers[][2] = { { 1, 1 }, { 1, 1 }, { 1, 1 } };

/* E |S - grad ln p|^2 is least at the projection of grad ln p, which needs moments alone. */
static void a_mixture_is_projected_on_quadratics(void **state) {
  (void)state;
  Fit f;
  double theta[3];
  best_quadratic(theta);
  fit_open(&f, 1, three_numbers, 3);
  fit_seal(&f, explicit_score_matching(quadratic(&f), f.x));
  mixture_points(&f, false);
  for (int i = 0; i < 3; i++) params_at(f.p, i)[0] = (real)theta[i];
  params_touch(f.p), run(&f);
  for (int i = 0; i < 3; i++) assert_true(fabs(slope(&f, i, 0, 0)) < tight(1e-12, 1e-4));
  fit_close(&f);
}

/* Vincent 2011: on noised data the explicit and the denoising loss differ by a constant. */
static void denoising_is_explicit_on_noised_data(void **state) {
  (void)state;
  double by[2][3], loss[2][2];
  for (int denoising = 0; denoising < 2; denoising++) {
    Fit f;
    fit_open(&f, 1, three_numbers, 3);
    Tensor *x0 = t_input(f.g, "x0", 1, 1), *score = quadratic(&f);
    fit_seal(&f, denoising ? denoising_score_matching(score, f.x, x0, A, S)
                           : explicit_score_matching(score, f.x));
    if (denoising) graph_bind(x0, f.clean);
    mixture_points(&f, true);
    loss[denoising][0] = run(&f);
    for (int i = 0; i < 3; i++) by[denoising][i] = slope(&f, i, 0, 0);
    params_at(f.p, 1)[0] = -2, params_touch(f.p);
    loss[denoising][1] = run(&f);
    fit_close(&f);
  }
  for (int i = 0; i < 3; i++) assert_true(near(by[0][i], by[1][i], tight(1e-12, 1e-4)));
  assert_true(near(loss[0][1] - loss[0][0], loss[1][1] - loss[1][0], tight(1e-12, 1e-4)));
  assert_false(near(loss[0][0], loss[1][0], 0.1));
}

/* ---- a network ------------------------------------------------------------------------------- */

static const int two_layers[][2] = { { 2, 7 }, { 1, 7 }, { 7, 2 }, { 1, 2 } };
static Tensor *network(Fit *f) {
  Tensor *h = t_map(MAP_mish, t_affine(f->g, f->p, 0, 1, IN(f->x)));
  return t_affine(f->g, f->p, 2, 3, IN(h));
}

/* the network at a point, from its numbers */
static void network_at(const Params *p, const double x[2], double out[2]) {
  double h[7];
  for (int j = 0; j < 7; j++) {
    double z = (double)params_at(p, 1)[j];
    for (int i = 0; i < 2; i++) z += x[i] * (double)params_at(p, 0)[i * LD + j];
    h[j] = z * tanh(log1p(exp(z)));
  }
  for (int j = 0; j < 2; j++) {
    out[j] = (double)params_at(p, 3)[j];
    for (int i = 0; i < 7; i++) out[j] += h[i] * (double)params_at(p, 2)[i * LD + j];
  }
}

/* |S|^2 / 2 + v' J v with J by central differences; v NULL: the trace */
static double by_differences(const Params *p, const real *x, const real *v, int kind) {
  double at[2] = { (double)x[0], (double)x[1] }, S0[2], side[2][2], J[2][2], h = 1e-5;
  network_at(p, at, S0);
  for (int j = 0; j < 2; j++) {
    for (int i = 0; i < 2; i++) {
      double moved[2] = { at[0], at[1] };
      moved[j] += i ? h : -h;
      network_at(p, moved, side[i]);
    }
    for (int i = 0; i < 2; i++) J[i][j] = (side[1][i] - side[0][i]) / (2 * h);
  }
  double a = (double)v[0], b = (double)v[1], along = a * S0[0] + b * S0[1];
  double half = 0.5 * (S0[0] * S0[0] + S0[1] * S0[1]);
  if (!kind) return half + J[0][0] + J[1][1];
  return a * a * J[0][0] + a * b * (J[0][1] + J[1][0]) + b * b * J[1][1] +
         (kind == 2 ? half : 0.5 * along * along);
}

static void a_network_has_the_loss_and_gradient_of_its_jacobian(void **state) {
  (void)state;
  for (int kind = 0; kind < 3; kind++) {
    Fit f;
    real v_data[MAX_ROWS * LD] = { 0 };
    fit_open(&f, 2, two_layers, 4);
    Tensor *v = t_input(f.g, "v", 1, 2);
    fit_seal(&f, loss_of(kind, network(&f), f.x, v));
    if (kind) graph_bind(v, v_data);
    plane_points(&f, v_data);
    double expected = 0, h = tight(1e-5, 1e-2);
    for (int r = 0; r < f.rows; r++) {
      v_data[r * LD] *= (real)(0.3 + 0.1 * r); /* not only signs */
      expected += by_differences(f.p, f.data + r * LD, v_data + r * LD, kind) / f.rows;
    }
    assert_true(near(run(&f), expected, tight(1e-8, 1e-4)));
    for (int slot = 0; slot < 4; slot++)
      for (int i = 0; i < two_layers[slot][0]; i++)
        for (int j = 0; j < two_layers[slot][1]; j++) {
          run(&f);
          real *w = params_at(f.p, slot) + i * LD + j, was = *w;
          double side[2], by = slope(&f, slot, i, j);
          for (int k = 0; k < 2; k++) {
            *w = was + (real)(k ? h : -h), params_touch(f.p);
            side[k] = run(&f);
          }
          *w = was, params_touch(f.p);
          assert_true(near((side[1] - side[0]) / (2 * h), by, tight(1e-8, 1e-3)));
        }
    fit_close(&f);
  }
}

/* a score that does not read x has no divergence */
static void a_constant_has_no_curvature(void **state) {
  (void)state;
  static const int slots[][2] = { { 1, 2 } };
  Fit f;
  fit_open(&f, 2, slots, 1);
  Tensor *zero = t_scale(0, t_input(f.g, "other", 1, 2));
  Tensor *score = t_add(zero, t_param(f.g, f.p, 0));
  assert_null(score_curvature(score, f.x, zero));
  fit_seal(&f, explicit_score_matching(score, f.x));
  f.rows = 3;
  graph_bind(zero->in[0], f.data);
  params_at(f.p, 0)[0] = 3, params_at(f.p, 0)[1] = 4, params_touch(f.p);
  assert_true(run(&f) == 12.5);
  fit_close(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_gaussian_is_recovered),
    cmocka_unit_test(a_mixture_is_projected_on_quadratics),
    cmocka_unit_test(denoising_is_explicit_on_noised_data),
    cmocka_unit_test(a_network_has_the_loss_and_gradient_of_its_jacobian),
    cmocka_unit_test(a_constant_has_no_curvature),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
