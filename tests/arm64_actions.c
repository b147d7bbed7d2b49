/* arm64_actions.c -- what policies do, bit by bit: tests/arm64.sh compares two processors by it.
 *
 *   arm64_actions FILE...     prints for each file a hash of the actions of 40 calls */
#include "policy/diffrl.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { CALLS = 40, MOST = 4096 };

/* the same observations everywhere: exact fractions */
static void look(int call, float *obs, int count) {
  for (int j = 0; j < count; j++) obs[j] = (float)((call * 31 + j * 17) % 64 - 32) / 16;
}

static uint64_t hash_of(diffrl_actor *actor, int obs_dim, int act_dim) {
  uint64_t hash = 0xcbf29ce484222325;
  float obs[MOST], action[MOST];
  for (int call = 0; call < CALLS; call++) {
    look(call, obs, obs_dim);
    if (diffrl_actor_act(actor, obs, action)) exit(3);
    const unsigned char *byte = (const unsigned char *)action;
    for (size_t i = 0; i < (size_t)act_dim * sizeof *action; i++)
      hash = (hash ^ byte[i]) * 0x100000001b3;
  }
  return hash;
}

int main(int count, char **file) {
  diffrl_error error;
  for (int i = 1; i < count; i++) {
    diffrl_policy *policy = NULL;
    diffrl_actor *actor = NULL;
    if (diffrl_policy_load(&policy, file[i], NULL, &error) ||
        diffrl_actor_new(&actor, policy, NULL, NULL, 0, &error))
      return puts(error.text), 2;
    printf("%s %016" PRIx64 "\n", file[i],
           hash_of(actor, diffrl_policy_obs_dim(policy), diffrl_policy_act_dim(policy)));
    diffrl_actor_free(actor), diffrl_policy_free(policy);
  }
  return 0;
}
