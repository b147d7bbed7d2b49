/* library.h -- diffrl.h as its callers use it, for tests of policies and actors. */
#ifndef TESTS_LIBRARY_H
#define TESTS_LIBRARY_H
#include "policy/diffrl.h"
#include "tests/saved_policy.h"

#define OK(call)                                                                                   \
  do {                                                                                             \
    if ((call) != DIFFRL_OK) fail_msg("%s: %s", #call, error.text);                                \
  } while (0)

static diffrl_error error;

static diffrl_policy *load(const char *path, const char *act) {
  diffrl_policy *policy = NULL;
  OK(diffrl_policy_load(&policy, path, act, &error));
  return policy;
}

static diffrl_actor *actor_of(const diffrl_policy *policy, const diffrl_actor_options *options) {
  diffrl_actor *actor = NULL;
  OK(diffrl_actor_new(&actor, policy, options, NULL, 0, &error));
  return actor;
}

#endif
