/* test_denoiser.c -- what a network's output says about x_0, and the MLP that Diffusion-QL asks. */
#include "diffusion/denoiser.h"
#include "policy/nets/denoiser_mlp.h"
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

enum { ROWS = 3, LD = 16 };

/* ---- predictions ----------------------------------------------------------------------------- */

static bool near(double value, double expected, double eps) {
  return fabs(value - expected) <= eps * fmax(1, fabs(expected));
}

/* seven levels of each schedule, away from the ends, and x_0, eps there */
enum { LEVELS = 7 };
typedef struct {
  Level l;
  double x0, eps, x;
} Point;
static Point point(const Schedule *s, int i) {
  double u = (i + 0.5) / LEVELS;
  Point p = { .l = schedule_level(s, s->steps ? floor(u * s->steps)
                                              : s->t_min + u * (s->t_max - s->t_min)) };
  p.x0 = 0.6 * i - 2, p.eps = 1.7 - 0.4 * i, p.x = p.l.a * p.x0 + p.l.s * p.eps;
  return p;
}
static double value_of(Prediction predicts, const Point *p) {
  Line y = prediction_line(predicts, &p->l, 0.5);
  return y.p * p->x0 + y.q * p->eps;
}
typedef void Check(const Schedule *s, const Point *p);
static void everywhere(Check *check) {
  Arena *arena = arena_new();
  size_t count;
  const ScheduleDef *const *list = schedule_list(&count);
  for (size_t i = 0; i < count; i++) {
    Error error;
    ScheduleSpec spec = { .name = list[i]->name, .steps = 100 };
    const Schedule *s = schedule_new(arena, &spec, &error);
    for (int j = 0; j < LEVELS; j++) {
      Point p = point(s, j);
      check(s, &p);
    }
  }
  arena_free(arena);
}

/* any output gives any other, and the way back gives itself; the error is that of one division, by
 * the sine of the angle between the output's line and x's */
static void check_round_trip(const Schedule *s, const Point *p) {
  for (int y = 0; y < PREDICTIONS; y++)
    for (int w = 0; w < PREDICTIONS; w++) {
      Line from = prediction_line((Prediction)y, &p->l, 0.5);
      Line to = prediction_line((Prediction)w, &p->l, 0.5);
      Form there = line_form(from, to, &p->l), back = line_form(to, from, &p->l);
      double output = value_of((Prediction)y, p), wanted = value_of((Prediction)w, p);
      double found = there.to_x * p->x + there.to_out * output;
      double size = fmax(fabs(there.to_x * p->x), fabs(there.to_out * output));
      double again = fmax(fabs(back.to_x * p->x), fabs(back.to_out) * fmax(size, fabs(wanted)));
      if (fabs(found - wanted) > 1e-12 * fmax(1, size))
        fail_msg("%s: %s from %s is %.17g, not %.17g", s->def->name, prediction_name((Prediction)w),
                 prediction_name((Prediction)y), found, wanted);
      assert_true(fabs(back.to_x * p->x + back.to_out * found - output) <= 1e-12 * fmax(1, again));
    }
}
static void every_prediction_gives_every_other(void **state) {
  (void)state;
  everywhere(check_round_trip);
}

/* The formulas of each publication, as they are written there. */
static void check_formulas(const Schedule *s, const Point *p) {
  double a = p->l.a, n = p->l.s, da = p->l.da, dn = p->l.ds, d = 0.5,
         r = sqrt(n * n + a * a * d * d);
  double D = a * dn - da * n, u = da * p->x0 + dn * p->eps;
  assert_true(value_of(PREDICTS_EPS, p) == p->eps && value_of(PREDICTS_X0, p) == p->x0);
  assert_true(near(value_of(PREDICTS_SCORE, p), (a * p->x0 - p->x) / (n * n), 1e-9));
  assert_true(near(value_of(PREDICTS_V, p), a * p->eps - n * p->x0, 1e-12));
  assert_true(near(value_of(PREDICTS_VELOCITY, p), u, 1e-12));
  assert_true(near((dn * p->x - n * u) / D, p->x0, 1e-9)); /* the inverse of the velocity */
  assert_true(near((a * u - da * p->x) / D, p->eps, 1e-9));
  if (!strcmp(s->def->name, "flow")) assert_true(near(p->x - p->l.time * u, p->x0, 1e-12));
  /* x_0 = c_skip x + c_out F with c_skip = d^2 a / r^2, c_out = s d / r (a = 1: Karras et al.) */
  double F = value_of(PREDICTS_EDM, p);
  assert_true(near(d * d * a / (r * r) * p->x + n * d / r * F, p->x0, 1e-9));
}
static void predictions_are_what_was_published(void **state) {
  (void)state;
  everywhere(check_formulas);
}

/* |dx0| = s/a |deps|, |dx0| = s |dv| and |deps| = a |dv| where a^2 + s^2 = 1, |dscore| = |deps|/s,
 * |du| = D/a |deps|: what exchanges the weights of losses. */
static void check_error_weights(const Schedule *s, const Point *p) {
  double a = p->l.a, n = p->l.s, D = a * p->l.ds - p->l.da * n;
  Line x0 = { 1, 0 }, eps = { 0, 1 }, score = prediction_line(PREDICTS_SCORE, &p->l, 0.5);
  Line v = prediction_line(PREDICTS_V, &p->l, 0), u = prediction_line(PREDICTS_VELOCITY, &p->l, 0);
  assert_true(near(fabs(line_form(eps, x0, &p->l).to_out), n / a, 1e-12));
  assert_true(near(fabs(line_form(eps, score, &p->l).to_out), 1 / n, 1e-12));
  assert_true(near(fabs(line_form(eps, u, &p->l).to_out), D / a, 1e-12));
  if (!s->def->preserves) return;
  assert_true(near(fabs(line_form(v, x0, &p->l).to_out), n, 1e-12));
  assert_true(near(fabs(line_form(v, eps, &p->l).to_out), a, 1e-12));
  if (!strcmp(s->def->name, "gvp")) assert_true(near(u.q / v.q, acos(-1) / 2, 1e-12));
}
static void errors_scale_as_the_predictions_do(void **state) {
  (void)state;
  everywhere(check_error_weights);
}

/* the scale of x and of the output keep unit variance for data of that deviation */
static void edm_sees_and_says_unit_variance(void **state) {
  (void)state;
  Arena *arena = arena_new();
  Error error;
  const Schedule *s = schedule_new(arena, &(ScheduleSpec){ .name = "edm" }, &error);
  for (double sigma = 0.002; sigma < 80; sigma *= 3) {
    Level l = schedule_level(s, sigma);
    Denoiser d = {
      .predicts = PREDICTS_EDM, .schedule = s, .data_std = 0.5, .time = TIME_LOG_SIGMA
    };
    Line f = prediction_line(PREDICTS_EDM, &l, 0.5);
    double scale = denoiser_scale(&d, &l);
    assert_true(near(scale * scale * (0.25 + sigma * sigma), 1, 1e-12));
    assert_true(near(f.p * f.p * 0.25 + f.q * f.q, 1, 1e-12));
    assert_true(near(denoiser_time(&d, &l), 0.25 * log(sigma), 1e-12));
  }
  arena_free(arena);
}

static void times_are_told_as_asked(void **state) {
  (void)state;
  Arena *arena = arena_new();
  Error error;
  const Schedule *vp = schedule_new(arena, &(ScheduleSpec){ .name = "vp", .steps = 50 }, &error);
  const Schedule *flow = schedule_new(arena, &(ScheduleSpec){ .name = "flow" }, &error);
  Level n = schedule_level(vp, 7), t = schedule_level(flow, 0.25);
  Denoiser d = { .schedule = vp, .time = TIME_THOUSANDS }, own = { .schedule = vp };
  assert_true(denoiser_time(&d, &n) == 140 && denoiser_time(&own, &n) == 7);
  d.schedule = flow;
  assert_true(denoiser_time(&d, &t) == 250 && denoiser_scale(&d, &t) == 1);
  arena_free(arena);
}

static void predictions_have_names(void **state) {
  (void)state;
  for (int i = 0; i < PREDICTIONS; i++)
    assert_int_equal(denoiser_prediction(prediction_name((Prediction)i)), i);
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
  const Schedule *s = schedule_new(arena, &(ScheduleSpec){ .name = "vp", .steps = 5 }, &error);
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
    cmocka_unit_test(every_prediction_gives_every_other),
    cmocka_unit_test(predictions_are_what_was_published),
    cmocka_unit_test(errors_scale_as_the_predictions_do),
    cmocka_unit_test(edm_sees_and_says_unit_variance),
    cmocka_unit_test(times_are_told_as_asked),
    cmocka_unit_test(predictions_have_names),
    cmocka_unit_test(the_mlp_is_its_drawing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
