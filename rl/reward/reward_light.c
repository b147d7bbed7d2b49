/* reward_light.c -- how light a picture is: the mean of its pixels, 0 black to 1 white. */
#include "rl/reward/reward.h"

static bool light_values(Reward *r, const float *samples, int count, float *value, Error *error) {
  (void)error;
  for (int i = 0; i < count; i++) {
    double sum = 0;
    for (int j = 0; j < r->dim; j++) sum += (double)samples[i * r->dim + j];
    value[i] = (float)(0.5 + 0.5 * sum / r->dim);
  }
  return true;
}

static Tensor *light_record(const Reward *r, Graph *g, Tensor *x) {
  (void)g;
  /* beyond white and black nothing is gained */
  return t_shift(t_scale(0.5 / r->dim, t_sum_last(t_clip(x, -1, 1))), 0.5);
}

const RewardDef reward_brightness = { .name = "brightness",
                                      .about = "the mean of all pixels, 0 black to 1 white",
                                      .values = light_values,
                                      .record = light_record };
