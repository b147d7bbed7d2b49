/* reward_likeness.c -- how like a picture is to one in a file: minus the mean squared difference,
 * 0 for the same picture. */
#include "datasets/png.h"
#include "rl/reward/reward.h"

/* the file's pixels in [-1, 1] */
static bool likeness_open(Reward *r, const char *argument, Error *error) {
  const Plane plane = r->spec.plane;
  Image image;
  if (!png_load(&image, r->arena, argument, error))
    return error_prefix(error, "reward %s", r->text);
  if (image.height != plane.height || image.width != plane.width ||
      image.channels != plane.channels)
    return error_set(error, FAIL_USAGE,
                     "reward %s: the picture is %d x %d with %d channels; expected %d x %d with "
                     "%d, as this model makes them",
                     r->text, image.height, image.width, image.channels, plane.height, plane.width,
                     plane.channels);
  double *wanted = r->own = arena_array(r->arena, double, r->dim);
  for (int j = 0; j < r->dim; j++) wanted[j] = image.pixel[j] / 127.5 - 1;
  return true;
}

static bool likeness_values(Reward *r, const float *samples, int count, float *value,
                            Error *error) {
  const double *wanted = r->own;
  (void)error;
  for (int i = 0; i < count; i++) {
    double sum = 0;
    for (int j = 0; j < r->dim; j++) {
      double miss = (double)samples[(ptrdiff_t)i * r->dim + j] - wanted[j];
      sum += miss * miss;
    }
    value[i] = (float)(-sum / r->dim);
  }
  return true;
}

static Tensor *likeness_record(const Reward *r, Graph *g, Tensor *x) {
  Tensor *miss = t_sub(t_clip(x, -1, 1), t_table(g, r->own, 1, r->dim));
  return t_scale(-1.0 / r->dim, t_sum_last(t_map(MAP_square, miss)));
}

const RewardDef reward_likeness = { .name = "likeness",
                                    .takes = "FILE.png",
                                    .about = "minus the mean squared difference to a picture",
                                    .open = likeness_open,
                                    .values = likeness_values,
                                    .record = likeness_record };
