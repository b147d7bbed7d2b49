/* reward_points.c -- rewards of points, for which the best fine-tuned density is known: linear,
 * which moves a Gaussian, and the squared distance to a place, which narrows it too. */
#include "rl/reward/reward.h"
#include <stdlib.h>

/* "A,B": as many numbers as a point has */
static bool read_place(Reward *r, const char *argument, Error *error) {
  double *place = r->own = arena_array(r->arena, double, r->dim);
  const char *at = argument;
  for (int j = 0; j < r->dim; j++) {
    char *end;
    place[j] = strtod(at, &end);
    if (end == at || *end != (j + 1 < r->dim ? ',' : '\0') || !(place[j] > -1e6 && place[j] < 1e6))
      return error_set(error, FAIL_USAGE, "reward %s: expected %d numbers, with commas between",
                       r->text, r->dim);
    at = end + 1;
  }
  return true;
}

static bool linear_values(Reward *r, const float *samples, int count, float *value, Error *error) {
  const double *direction = r->own;
  (void)error;
  for (int i = 0; i < count; i++) {
    double sum = 0;
    for (int j = 0; j < r->dim; j++) sum += direction[j] * (double)samples[i * r->dim + j];
    value[i] = (float)sum;
  }
  return true;
}

static Tensor *linear_record(const Reward *r, Graph *g, Tensor *x) {
  return t_sum_last(t_mul(t_table(g, r->own, 1, r->dim), x));
}

const RewardDef reward_linear = { .name = "linear",
                                  .takes = "A,B",
                                  .about = "A x + B y of a point (x, y)",
                                  .points = true,
                                  .open = read_place,
                                  .values = linear_values,
                                  .record = linear_record };

static bool near_values(Reward *r, const float *samples, int count, float *value, Error *error) {
  const double *place = r->own;
  (void)error;
  for (int i = 0; i < count; i++) {
    double sum = 0;
    for (int j = 0; j < r->dim; j++) {
      double miss = (double)samples[i * r->dim + j] - place[j];
      sum += miss * miss;
    }
    value[i] = (float)(-0.5 * sum);
  }
  return true;
}

static Tensor *near_record(const Reward *r, Graph *g, Tensor *x) {
  Tensor *miss = t_sub(x, t_table(g, r->own, 1, r->dim));
  return t_scale(-0.5, t_sum_last(t_map(MAP_square, miss)));
}

const RewardDef reward_near = { .name = "near",
                                .takes = "A,B",
                                .about = "minus half the squared distance to the point (A, B)",
                                .points = true,
                                .open = read_place,
                                .values = near_values,
                                .record = near_record };
