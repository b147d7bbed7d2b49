/* test_fpo.c -- ratios of denoising losses (rl/algos/fpo.h). */
#include "rl/algos/fpo.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

enum { ROWS = 40, LEVELS = 5, OBS = 4, ACT = 3, LD = 16, VALUES = ROWS * LEVELS };
static const bool precise = sizeof(real) == 8;
static const double clip = 0.05;

static GraphSpec spec_of(Params *trained) {
  Error error;
  return (GraphSpec){ .trained = trained,
                      .max_rows = ROWS,
                      .group = 16,
                      .lane = 8,
                      .kernels = kernels_find("own", &error) };
}

static void fill(real *x, int rows, int n, const char *name, double scale) {
  Rng rng = rng_stream(3, name);
  memset(x, 0, sizeof *x * (size_t)(rows * LD));
  for (int i = 0; i < rows; i++)
    for (int j = 0; j < n; j++)
      x[i * LD + j] = (real)(scale * rng_normal(rng, 0, (uint32_t)i, (uint32_t)j));
}

/* ---- the formula ----------------------------------------------------------------------------- */

/* J of one ratio, as the heads of the papers say it */
static double clipped(double a, double rho) {
  return fmin(a * rho, a * fmin(fmax(rho, 1 - clip), 1 + clip));
}
static double bent(double a, double rho) {
  return a >= 0 ? clipped(a, rho) : a * rho - fabs(a) * (rho - 1) * (rho - 1) / (2 * clip);
}

static void losses_are_as_written(bool each) {
  static real now[VALUES * LD], old[VALUES * LD], a[ROWS * LD];
  fill(now, VALUES, 1, "now", 0.3), fill(old, VALUES, 1, "old", 0.3), fill(a, ROWS, 1, "a", 1);
  Arena *arena = arena_new();
  GraphSpec spec = spec_of(NULL);
  Graph *g = graph_new(arena, &spec);
  Tensor *losses = t_input(g, "losses", LEVELS, 1);
  FpoInputs in = { .old = t_input(g, "old", LEVELS, 1), .advantage = t_input(g, "a", 1, 1) };
  Ratio ratio;
  Tensor *loss = fpo_loss(&ratio, losses, &in, clip, each);
  graph_keep(loss), graph_seal(g);
  graph_bind(losses, now), graph_bind(in.old, old), graph_bind(in.advantage, a);
  graph_run(g, ROWS, 0, NULL);
  double expected = 0, within = 0;
  for (int r = 0; r < ROWS; r++) {
    double sum = 0, advantage = (double)a[r * LD];
    for (int i = 0; i < LEVELS; i++) {
      double off = (double)old[(r * LEVELS + i) * LD] - (double)now[(r * LEVELS + i) * LD];
      sum += off, within += fabs(exp(off) - 1) < clip;
      if (each) expected -= bent(advantage, exp(off)) / VALUES;
    }
    if (!each) expected -= clipped(advantage, exp(sum / LEVELS)) / ROWS;
  }
  assert_true(within > 0 && within < VALUES);
  assert_true(fabs(graph_scalar(loss) - expected) <= (precise ? 1e-13 : 1e-5) * fabs(expected));
  arena_free(arena);
}

static void one_ratio_of_an_action(void **state) { (void)state, losses_are_as_written(false); }
static void a_ratio_of_each_noise_level(void **state) { (void)state, losses_are_as_written(true); }

/* Ratios that would overflow stay finite. */
static void far_ratios_stay_finite(void **state) {
  (void)state;
  static real now[VALUES * LD], old[VALUES * LD], a[ROWS * LD];
  fill(now, VALUES, 1, "now", 1000), fill(old, VALUES, 1, "old", 1000), fill(a, ROWS, 1, "a", 1);
  for (int each = 0; each < 2; each++) {
    Arena *arena = arena_new();
    GraphSpec spec = spec_of(NULL);
    Graph *g = graph_new(arena, &spec);
    Tensor *losses = t_input(g, "losses", LEVELS, 1);
    FpoInputs in = { .old = t_input(g, "old", LEVELS, 1), .advantage = t_input(g, "a", 1, 1) };
    Ratio ratio;
    Tensor *loss = fpo_loss(&ratio, losses, &in, clip, each);
    graph_keep(loss), graph_seal(g);
    graph_bind(losses, now), graph_bind(in.old, old), graph_bind(in.advantage, a);
    graph_run(g, ROWS, 0, NULL);
    assert_true(isfinite(graph_scalar(loss)));
    arena_free(arena);
  }
}

/* ---- a policy -------------------------------------------------------------------------------- */

typedef struct {
  Arena *arena;
  Policy *p;
  Graph *g;
  Ratio ratio;
  Tensor *losses, *loss;
  real x0[VALUES * LD], eps[VALUES * LD], time[VALUES * LD], old[VALUES * LD];
  real obs[ROWS * LD], a[ROWS * LD];
} Net;

static void net_open(Net *n, const char *settings, bool continuous) {
  Error error;
  n->arena = arena_new();
  n->p = policy_start(n->arena, &policy_diffusion);
  n->p->spec.obs_dim = OBS, n->p->spec.act_dim = ACT, n->p->spec.hidden = 16;
  if (!policy_set_all(n->p, settings, &error) || !policy_build(n->p, &error) ||
      !blocks_allocate(&n->p->blocks, &error))
    fail_msg("%s", error.text);
  policy_init(n->p, 5);
  fill(n->x0, VALUES, ACT, "x0", 0.5), fill(n->eps, VALUES, ACT, "eps", 1);
  fill(n->obs, ROWS, OBS, "obs", 1), fill(n->a, ROWS, 1, "a", 1);
  memset(n->time, 0, sizeof n->time), memset(n->old, 0, sizeof n->old);
  for (int i = 0; i < VALUES; i++) n->time[i * LD] = (real)(continuous ? (i % 7 + 1) / 8.0 : i % 5);
}

/* how: 'f' fpo, '+' fpo++, 'p' the plain gradient, of mean A L */
static void run(Net *n, char how) {
  GraphSpec spec = spec_of(n->p->actor);
  n->g = graph_new(n->arena, &spec);
  FpoInputs in = { .x0 = t_input(n->g, "x0", LEVELS, ACT),
                   .eps = t_input(n->g, "eps", LEVELS, ACT),
                   .time = t_input(n->g, "time", LEVELS, 1),
                   .cond = t_input(n->g, "cond", 1, OBS),
                   .old = t_input(n->g, "old", LEVELS, 1),
                   .advantage = t_input(n->g, "advantage", 1, 1) };
  n->losses = fpo_losses(n->g, n->p->model, &in, 1e6);
  graph_keep(n->losses);
  n->loss = how == 'p' ? t_mean(t_mul(in.advantage, n->losses))
                       : fpo_loss(&n->ratio, n->losses, &in, clip, how == '+');
  graph_minimise(n->loss);
  graph_seal(n->g);
  graph_bind(in.x0, n->x0), graph_bind(in.eps, n->eps), graph_bind(in.time, n->time);
  graph_bind(in.cond, n->obs), graph_bind(in.advantage, n->a);
  if (how != 'p') graph_bind(in.old, n->old);
  graph_run(n->g, ROWS, 0, NULL);
}

/* With the losses of the same weights every ratio is 1 and the gradient is that of mean A L: less
 * loss for actions that were better than expected. */
static void before_the_first_update_it_is_the_gradient_of_weighted_losses(void **state) {
  (void)state;
  static Net n;
  const char *const settings[] = { "schedule=vp", "schedule=flow predicts=velocity" };
  for (int k = 0; k < 2; k++) {
    net_open(&n, settings[k], k == 1);
    run(&n, 'p');
    memcpy(n.old, graph_values(n.losses), sizeof n.old);
    size_t size = n.p->actor->layout->size;
    real *expected = arena_array(n.arena, real, size);
    memcpy(expected, graph_gradient(n.g), size * sizeof *expected);
    for (int each = 0; each < 2; each++) {
      run(&n, each ? '+' : 'f');
      ratio_check(&n.ratio, ROWS, true);
      double off = 0, most = 0;
      for (size_t i = 0; i < size; i++) {
        off = fmax(off, fabs((double)graph_gradient(n.g)[i] - (double)expected[i]));
        most = fmax(most, fabs((double)expected[i]));
      }
      assert_true(most > 0 && off <= (precise ? 1e-13 : 1e-5) * most);
    }
    arena_free(n.arena);
  }
}

/* Each level's loss is the squared error of what the network predicts, here the velocity. */
static void losses_are_those_of_their_noise_levels(void **state) {
  (void)state;
  static Net n;
  net_open(&n, "schedule=flow predicts=velocity", true);
  /* a network that says 0: the loss is the mean square of eps - x0 */
  memset(n.p->actor->values, 0, n.p->actor->layout->size * sizeof(real));
  params_touch(n.p->actor);
  run(&n, 'p');
  for (int i = 0; i < VALUES; i++) {
    double sum = 0;
    for (int j = 0; j < ACT; j++)
      sum += pow((double)n.eps[i * LD + j] - (double)n.x0[i * LD + j], 2) / ACT;
    double told = (double)graph_values(n.losses)[i * LD];
    assert_true(fabs(told - sum) <= (precise ? 1e-13 : 1e-5) * sum);
  }
  arena_free(n.arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(one_ratio_of_an_action),
    cmocka_unit_test(a_ratio_of_each_noise_level),
    cmocka_unit_test(far_ratios_stay_finite),
    cmocka_unit_test(before_the_first_update_it_is_the_gradient_of_weighted_losses),
    cmocka_unit_test(losses_are_those_of_their_noise_levels),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
