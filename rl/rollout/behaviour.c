/* behaviour.c -- policies embedded in the program. */
#include "rl/rollout/behaviour.h"
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Every file of rl/behaviour/ that is shipped: X(symbol, name). */
#define BEHAVIOURS(X) X(hopper_medium, "hopper-medium") X(hopper_expert, "hopper-expert")

/* the file becomes read-only data of the program, between two symbols */
#define EMBED(symbol, file)                                                                        \
  __asm__(".section .rodata\n.balign 64\nbehaviour_" #symbol ":\n.incbin \"rl/behaviour/" file     \
          ".safetensors\"\nbehaviour_" #symbol "_end:\n.previous\n");                              \
  extern const unsigned char behaviour_##symbol[] __attribute__((visibility("hidden")));           \
  extern const unsigned char behaviour_##symbol##_end[] __attribute__((visibility("hidden")));
BEHAVIOURS(EMBED)

typedef struct {
  const char *name;
  const unsigned char *from, *to;
} Behaviour;
#define ENTRY(symbol, file) { file, behaviour_##symbol, behaviour_##symbol##_end },
static const Behaviour behaviours[] = { BEHAVIOURS(ENTRY) };

static const Behaviour *find(const char *name) {
  for (size_t i = 0; i < sizeof behaviours / sizeof *behaviours; i++)
    if (!strcmp(behaviours[i].name, name)) return &behaviours[i];
  return NULL;
}

/* an untrained Gaussian policy: the initial weights of seed 0 */
static Policy *random_policy(Arena *arena, int obs_dim, int act_dim, Error *error) {
  Policy *policy = policy_start(arena, &policy_gaussian);
  policy->spec.obs_dim = obs_dim, policy->spec.act_dim = act_dim;
  if (!policy_build(policy, error)) return NULL;
  params_allocate(policy->actor);
  params_init(policy->actor, 0);
  return policy;
}

/* the reader takes files, so the bytes become one that exists in memory alone */
static bool load(Checkpoint *checkpoint, const Behaviour *b, Error *error) {
  int fd = memfd_create("behaviour", MFD_CLOEXEC);
  size_t size = (size_t)(b->to - b->from);
  if (fd < 0 || write(fd, b->from, size) != (ssize_t)size) {
    if (fd >= 0) close(fd);
    return error_set(error, FAIL_RUNNING, "cannot unpack the policy %s", b->name);
  }
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  bool done = checkpoint_load(checkpoint, path, NULL, error);
  close(fd);
  return done;
}

Policy *behaviour_policy(Arena *arena, const char *name, int obs_dim, int act_dim, Error *error) {
  if (!strcmp(name, "random")) return random_policy(arena, obs_dim, act_dim, error);
  const Behaviour *b = find(name);
  if (!b) {
    error_set(error, FAIL_USAGE, "no policy \"%s\" is shipped with this release", name);
    return NULL;
  }
  Checkpoint checkpoint;
  checkpoint_init(&checkpoint, arena);
  return load(&checkpoint, b, error) ? policy_load(arena, &checkpoint, error) : NULL;
}
