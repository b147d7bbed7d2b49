/* reward_jpeg.c -- how large a picture's JPEG file is: little for plain pictures, much for busy
 * ones (Black et al. 2023, "compressibility").  It has no gradient. */
#include "datasets/jpeg.h"
#include "rl/reward/reward.h"
#include <math.h>

enum { QUALITY = 95 };

/* thousands of bytes, times sign; pixels as a PNG file would hold them */
static bool sizes(Reward *r, const float *samples, int count, float sign, float *value,
                  Error *error) {
  const Plane plane = r->spec.plane;
  Arena *scratch = arena_under(r->arena);
  uint8_t *pixel = arena_array(scratch, uint8_t, r->dim);
  int bytes = 0;
  for (int i = 0; bytes >= 0 && i < count; i++) {
    for (int j = 0; j < r->dim; j++)
      pixel[j] = (uint8_t)lrintf(127.5f * (samples[i * r->dim + j] + 1));
    bytes = jpeg_bytes(pixel, plane.height, plane.width, plane.channels, QUALITY, error);
    value[i] = sign * (float)bytes / 1000;
  }
  arena_free(scratch);
  return bytes >= 0;
}

static bool jpeg_open(Reward *r, const char *argument, Error *error) {
  const int channels = r->spec.plane.channels;
  (void)argument;
  return channels == 1 || channels == 3 ||
         error_set(error, FAIL_USAGE,
                   "reward %s is of pictures with 1 or 3 channels, and this model's have %d",
                   r->text, channels);
}

static bool small_values(Reward *r, const float *samples, int count, float *value, Error *error) {
  return sizes(r, samples, count, -1, value, error);
}

static bool large_values(Reward *r, const float *samples, int count, float *value, Error *error) {
  return sizes(r, samples, count, 1, value, error);
}

const RewardDef reward_jpeg_small = {
  .name = "jpeg-small",
  .about = "minus the size of the picture as JPEG of quality 95, in kB (1000 bytes)",
  .open = jpeg_open,
  .values = small_values
};

const RewardDef reward_jpeg_large = {
  .name = "jpeg-large",
  .about = "the size of the picture as JPEG of quality 95, in kB (1000 bytes)",
  .open = jpeg_open,
  .values = large_values
};
