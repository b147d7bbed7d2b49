/* reward_centre.c -- a reward for `plugin:FILE.so`: how light the middle of a picture is.
 *
 *   cc -O2 -shared -fPIC -I rl/reward -o reward_centre.so docs/examples/reward_centre.c
 *
 * -I names the folder of reward_plugin.h. */
#include "reward_plugin.h"

const int diffrl_reward_version = DIFFRL_REWARD_VERSION;

int diffrl_reward(const float *pictures, int height, int width, int channels, int count,
                  float *value) {
  for (int i = 0; i < count; i++, pictures += height * width * channels) {
    double sum = 0;
    int pixels = 0;
    for (int y = height / 4; y < height - height / 4; y++)
      for (int x = width / 4; x < width - width / 4; x++, pixels++)
        for (int c = 0; c < channels; c++) sum += pictures[(y * width + x) * channels + c];
    value[i] = (float)(sum / (pixels * channels));
  }
  return 0;
}
