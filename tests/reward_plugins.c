/* reward_plugins.c -- a plugin that does what REWARD_DOES says: the right thing, or a wrong one. */
#include "rl/reward/reward_plugin.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const int diffrl_reward_version = DIFFRL_REWARD_VERSION;

int diffrl_reward(const float *pictures, int height, int width, int channels, int count,
                  float *value) {
  const char *does = getenv("REWARD_DOES");
  if (!does) does = "";
  if (!strcmp(does, "crash")) abort();
  if (!strcmp(does, "hang")) {
    const char *file = getenv("REWARD_STARTED"); /* made when it begins */
    if (file) fclose(fopen(file, "w"));
    sleep(20);
  }
  if (!strcmp(does, "exit")) _exit(3);
  if (!strcmp(does, "nothing")) return 0;
  if (!strcmp(does, "fail")) return 7;
  if (!strcmp(does, "close")) /* what it answers through, whatever its number */
    for (int i = 0; i < 64; i++) close(i);
  if (!strcmp(does, "print")) printf("this is no answer\n"), fflush(stdout);
  for (int i = 0; i < count; i++) /* the first number of each, and its place: what it is given */
    value[i] = pictures[i * height * width * channels] + 10 * (float)i;
  return 0;
}
