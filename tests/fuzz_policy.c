/* fuzz_policy.c -- any bytes as a policy's file: the library refuses it with a reason, or acts. */
#include "core/check.h"
#include "policy/diffrl.h"
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One action: within the bounds, or said not to be a number. */
static void act(const diffrl_policy *policy) {
  diffrl_error error;
  diffrl_actor *actor;
  int obs_dim = diffrl_policy_obs_dim(policy), act_dim = diffrl_policy_act_dim(policy);
  float *obs = malloc((size_t)obs_dim * sizeof *obs);
  float *action = malloc((size_t)act_dim * sizeof *action);
  for (int i = 0; i < obs_dim; i++) obs[i] = 0.1f * (float)i;
  if (!diffrl_actor_new(&actor, policy, NULL, NULL, 0, &error)) {
    diffrl_status status = diffrl_actor_act(actor, obs, action);
    CHECK(!status || status == DIFFRL_NOT_FINITE, "status %d", (int)status);
    const float *low = diffrl_policy_low(policy), *high = diffrl_policy_high(policy);
    for (int i = 0; !status && i < act_dim; i++)
      CHECK(action[i] >= low[i] && action[i] <= high[i], "action %d: %g", i, (double)action[i]);
    diffrl_actor_free(actor);
  }
  free(obs);
  free(action);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static int file;
  static char path[64];
  if (!file) {
    file = memfd_create("policy", MFD_CLOEXEC);
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
  }
  CHECK(!ftruncate(file, 0) && pwrite(file, data, size, 0) == (ssize_t)size, "no bytes");
  diffrl_error error = { 0 };
  diffrl_policy *policy;
  if (diffrl_policy_load(&policy, path, NULL, &error)) {
    CHECK(*error.text, "refused without a reason");
    return 0;
  }
  act(policy);
  diffrl_policy_free(policy);
  return 0;
}
