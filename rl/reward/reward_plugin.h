/* reward_plugin.h -- what a shared object offers that `plugin:FILE.so` is to load.  It needs no
 * other file of diffrl.  Build one with
 *
 *   cc -O2 -shared -fPIC -o my_reward.so my_reward.c
 *
 * It runs in a process of its own: what it does wrong cannot harm the run. */
#ifndef DIFFRL_REWARD_PLUGIN_H
#define DIFFRL_REWARD_PLUGIN_H

#define DIFFRL_REWARD_VERSION 1

#ifdef __cplusplus
extern "C" {
#endif

/* Must be DIFFRL_REWARD_VERSION: `const int diffrl_reward_version = DIFFRL_REWARD_VERSION;` */
extern const int diffrl_reward_version;

/* pictures: [count, height, width, channels] floats, channels last, -1 black to 1 white; points of
 * n numbers have height and width 1 and n channels.  Write a finite number for each to
 * value [count], more for better; return 0, or another number to say that it failed. */
int diffrl_reward(const float *pictures, int height, int width, int channels, int count,
                  float *value);

#ifdef __cplusplus
}
#endif
#endif
