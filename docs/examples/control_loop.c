/* control_loop.c -- a trained policy inside a control loop.
 *
 *   control_loop rl/behaviour/hopper-expert.safetensors
 *
 * A robot of one's own takes the place of `sense` and `drive`. */
#include <diffrl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static void sense(int tick, float *obs, int count) {
  int j;
  for (j = 0; j < count; j++) obs[j] = (float)(tick * (j + 1) % 7) / 8;
  if (tick == 2) obs[0] = NAN; /* a sensor fails */
}

static void drive(int tick, const float *action, int count, diffrl_status status) {
  int j;
  printf("tick %d:", tick);
  for (j = 0; j < count; j++) printf(" %6.3f", action[j]);
  puts(status ? "  (no action: the fallback)" : "");
}

int main(int count, char **argument) {
  diffrl_policy *policy = NULL;
  diffrl_actor *actor = NULL;
  diffrl_actor_options options = diffrl_actor_defaults();
  diffrl_error error;
  float obs[16], action[8], change[8];
  int obs_dim, act_dim, j, tick;

  if (count != 2 || diffrl_policy_load(&policy, argument[1], "choice=mean", &error))
    return puts(count == 2 ? error.text : "usage: control_loop FILE"), 1;
  obs_dim = diffrl_policy_obs_dim(policy), act_dim = diffrl_policy_act_dim(policy);
  printf("%d numbers in, %d out\n", obs_dim, act_dim);
  if (obs_dim > 16 || act_dim > 8) return 1;

  for (j = 0; j < act_dim; j++) change[j] = 0.5f; /* no joint may jump */
  options.change = change, options.fallback = DIFFRL_FALL_ZEROS;
  {
    size_t bytes = diffrl_actor_size(policy); /* could as well be a static array */
    void *memory = malloc(bytes);
    if (!memory || diffrl_actor_new(&actor, policy, &options, memory, bytes, &error)) return 1;
    diffrl_actor_reset(actor, 1);
    for (tick = 0; tick < 5; tick++) { /* acting takes no memory and no lock, calls no system */
      sense(tick, obs, obs_dim);
      drive(tick, action, act_dim, diffrl_actor_act(actor, obs, action));
    }
    diffrl_actor_free(actor);
    free(memory);
  }
  diffrl_policy_free(policy);
  return 0;
}
