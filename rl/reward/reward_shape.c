/* reward_shape.c -- rewards of what a picture's pixels are together: how much ink there is, how
 * strong the contrast, how alike the left and the right half.  All of them have gradients. */
#include "rl/reward/reward.h"
#include <math.h>

/* where a pixel counts as half inked, and the width of the change, on the scale of -1 to 1 */
static const double ink_threshold = -0.8, ink_width = 0.05;

static bool ink_values(Reward *r, const float *samples, int count, float *value, Error *error) {
  (void)error;
  for (int i = 0; i < count; i++) {
    double sum = 0;
    for (int j = 0; j < r->dim; j++)
      sum += 1 / (1 + exp((ink_threshold - (double)samples[i * r->dim + j]) / ink_width));
    value[i] = (float)(sum / r->dim);
  }
  return true;
}

static Tensor *ink_record(const Reward *r, Graph *g, Tensor *x) {
  (void)g;
  /* sigmoid(z) = (1 + tanh(z / 2)) / 2 */
  Tensor *half = t_scale(0.5 / ink_width, t_shift(t_clip(x, -1, 1), -ink_threshold));
  return t_shift(t_scale(0.5 / r->dim, t_sum_last(t_map(MAP_tanh, half))), 0.5);
}

const RewardDef reward_ink = {
  .name = "ink",
  .about = "the share of pixels that are not black: mean of sigmoid((x + 0.8) / 0.05)",
  .values = ink_values,
  .record = ink_record
};

/* under the root, so that its slope is finite at a picture of one grey */
static const double contrast_floor = 1e-6;

static bool contrast_values(Reward *r, const float *samples, int count, float *value,
                            Error *error) {
  (void)error;
  for (int i = 0; i < count; i++) {
    double sum = 0, squares = 0;
    for (int j = 0; j < r->dim; j++) sum += (double)samples[i * r->dim + j];
    for (int j = 0; j < r->dim; j++) {
      double miss = (double)samples[i * r->dim + j] - sum / r->dim;
      squares += miss * miss;
    }
    value[i] = (float)sqrt(squares / r->dim + contrast_floor);
  }
  return true;
}

static Tensor *contrast_record(const Reward *r, Graph *g, Tensor *x) {
  (void)g;
  Tensor *pixel = t_clip(x, -1, 1);
  Tensor *miss = t_sub(pixel, t_scale(1.0 / r->dim, t_sum_last(pixel)));
  Tensor *variance = t_scale(1.0 / r->dim, t_sum_last(t_map(MAP_square, miss)));
  return t_map(MAP_sqrt, t_shift(variance, contrast_floor));
}

const RewardDef reward_contrast = {
  .name = "contrast",
  .about = "the standard deviation of all pixels, 0 for one grey, at most 1",
  .values = contrast_values,
  .record = contrast_record
};

static bool symmetry_values(Reward *r, const float *samples, int count, float *value,
                            Error *error) {
  const Plane plane = r->spec.plane;
  const int line = plane.width * plane.channels;
  (void)error;
  for (int i = 0; i < count; i++) {
    double sum = 0;
    for (int j = 0; j < r->dim; j++) {
      int column = j % line / plane.channels;
      int twin = j + (plane.width - 1 - 2 * column) * plane.channels;
      double miss = (double)samples[i * r->dim + j] - (double)samples[i * r->dim + twin];
      sum += miss * miss;
    }
    value[i] = (float)(-sum / r->dim);
  }
  return true;
}

/* Column by column: each with its twin on the other side, which counts for both. */
static Tensor *symmetry_record(const Reward *r, Graph *g, Tensor *x) {
  const Plane plane = r->spec.plane;
  const int c = plane.channels;
  (void)g;
  Tensor *pixel = t_clip(x, -1, 1), *sum = t_scale(0, t_sum_last(pixel));
  for (int left = 0, right = plane.width - 1; left < right; left++, right--) {
    Tensor *miss = t_sub(t_channel_slice(pixel, plane.height, left * c, c),
                         t_channel_slice(pixel, plane.height, right * c, c));
    sum = t_add(sum, t_sum_last(t_map(MAP_square, miss)));
  }
  return t_scale(-2.0 / r->dim, sum);
}

const RewardDef reward_symmetry = {
  .name = "symmetry",
  .about = "minus the mean squared difference to the picture mirrored left to right",
  .values = symmetry_values,
  .record = symmetry_record
};
