/* test_loss.c -- the denoising loss of a one-parameter network, term by term.
 *
 * The network says w x + 0.1 t.  Every draw is bound to numbers of ours, so loss and gradient are
 * sums that can be written down. */
#include "diffusion/loss.h"
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>

enum { ROWS = 12, DIM = 3, LD = 16 };

static Tensor *embed(const Denoiser *d, Graph *g, const Params *p, Tensor *t) {
  (void)d, (void)g, (void)p;
  return t_scale(0.1, t);
}
static Tensor *net(const Denoiser *d, Graph *g, const Params *p, Tensor *x, Tensor *h,
                   Tensor *cond) {
  (void)d, (void)cond;
  return t_add(t_mul(x, t_param(g, p, 0)), h);
}

typedef struct {
  real x0[ROWS * LD], eps[ROWS * LD], time[ROWS * LD];
} Draws;

static void fill(Draws *draws, const Schedule *s) {
  Rng rng = rng_stream(5, "draws");
  *draws = (Draws){ { 0 }, { 0 }, { 0 } };
  for (int r = 0; r < ROWS; r++) {
    double u = rng_uniform(rng, 1, (uint32_t)r, 0);
    draws->time[r * LD] = (real)(s->steps ? floor(u * s->steps) : u);
    for (int j = 0; j < DIM; j++) {
      draws->x0[r * LD + j] = (real)rng_normal(rng, 2, (uint32_t)r, (uint32_t)j);
      draws->eps[r * LD + j] = (real)rng_normal(rng, 3, (uint32_t)r, (uint32_t)j);
    }
  }
}

/* mean of (target - w x_t - 0.1 t)^2 and its derivative, from the definition */
static void expected(const Draws *d, const Schedule *s, Prediction predicts, double w, double *loss,
                     double *slope) {
  *loss = *slope = 0;
  for (int r = 0; r < ROWS; r++) {
    double t = (double)d->time[r * LD];
    if (!s->steps) t = s->t_min + (1 - s->t_min) * t; /* uniform in [t_min, 1] */
    for (int j = 0; j < DIM; j++) {
      double x0 = (double)d->x0[r * LD + j], eps = (double)d->eps[r * LD + j];
      double x = schedule_a(s, t) * x0 + schedule_s(s, t) * eps;
      double miss = (predicts == PREDICTS_X0 ? x0 : eps) - w * x - 0.1 * t;
      *loss += miss * miss / (ROWS * DIM), *slope -= 2 * miss * x / (ROWS * DIM);
    }
  }
}

static void check(const char *name, Prediction predicts) {
  Arena *arena = arena_new();
  Error error;
  const Schedule *s = schedule_new(arena, name, 20, &error);
  Params *p = params_new(arena, "net");
  params_slot(p, "w", 1, 1, 1, 1);
  params_allocate(p);
  params_at(p, 0)[0] = (real)0.375;
  params_touch(p);
  Denoiser d = { net, embed, predicts, s, DIM };
  Graph *g = graph_new(arena, &(GraphSpec){ .trained = p,
                                            .kernels = kernels_find("own", &error),
                                            .max_rows = ROWS,
                                            .group = 5,
                                            .lane = 2 });
  Tensor *x0 = t_input(g, "x0", 1, DIM);
  Tensor *loss = diffusion_loss(g, &d, p, "bc", x0, NULL);
  Tensor *time = graph_override(g, "bc time"), *noise = graph_override(g, "bc noise");
  graph_minimise(loss);
  graph_seal(g);
  Draws draws;
  fill(&draws, s);
  graph_bind(x0, draws.x0), graph_bind(noise, draws.eps), graph_bind(time, draws.time);
  graph_run(g, ROWS, 0, NULL);
  double value, slope, eps = sizeof(real) == 8 ? 1e-12 : 1e-5;
  expected(&draws, s, predicts, 0.375, &value, &slope);
  assert_true(fabs(graph_scalar(loss) - value) < eps);
  assert_true(fabs((double)graph_gradient(g)[0] - slope) < eps);
  arena_free(arena);
}

static void loss_and_gradient_are_the_definition(void **state) {
  (void)state;
  size_t count;
  const ScheduleDef *const *list = schedule_list(&count);
  for (size_t i = 0; i < count; i++)
    check(list[i]->name, PREDICTS_EPS), check(list[i]->name, PREDICTS_X0);
}

/* For data N(0, 1) of a VP process x_t is N(0, 1) too, and the best w for eps at one level is s:
 * what is left is a^2.  Unit draws of the tape itself, averaged over 200 steps. */
static void its_own_draws_have_the_right_moments(void **state) {
  (void)state;
  Arena *arena = arena_new();
  Error error;
  const Schedule *s = schedule_new(arena, "vp", 1, &error); /* one level: a^2 = exp(-5.05) */
  Params *p = params_new(arena, "net");
  params_slot(p, "w", 1, 1, 1, 1);
  params_allocate(p);
  params_at(p, 0)[0] = (real)schedule_s(s, 0);
  Denoiser d = { net, embed, PREDICTS_EPS, s, DIM };
  Graph *g = graph_new(
      arena, &(GraphSpec){ .trained = p, .kernels = kernels_find("own", &error), .max_rows = 256 });
  Tensor *loss = diffusion_loss(g, &d, p, "bc", t_normal(g, "x0", 1, DIM), NULL);
  graph_minimise(loss);
  graph_seal(g);
  double mean = 0, slope = 0;
  for (uint64_t step = 0; step < 200; step++) {
    graph_run(g, 256, step, NULL);
    mean += graph_scalar(loss) / 200, slope += (double)graph_gradient(g)[0] / 200;
  }
  double a2 = exp(-5.05), draws = 200 * 256 * DIM;
  assert_true(fabs(mean - a2) < 4 * a2 * sqrt(2 / draws)); /* chi-square of that many draws */
  assert_true(fabs(slope) < 4 * 2 * sqrt(a2 / draws));     /* the gradient vanishes at the best w */
  arena_free(arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(loss_and_gradient_are_the_definition),
    cmocka_unit_test(its_own_draws_have_the_right_moments),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
