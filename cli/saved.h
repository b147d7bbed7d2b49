/* saved.h -- the checkpoint in a run's folder, or a checkpoint file, and the policy in it: one file
 * suffices to act. */
#ifndef CLI_SAVED_H
#define CLI_SAVED_H
#include "cli/command.h"
#include "policy/actor.h"

typedef struct {
  const Checkpoint *checkpoint;
  Policy *policy;         /* NULL until saved_policy */
  const char *path;       /* of the checkpoint */
  const char *which;      /* "last", "best" or the path */
  const char *algo, *env; /* as the checkpoint says; NULL if it does not */
  int64_t step;
} Saved;

/* run: a folder, a checkpoint file, or the name of a shipped one (rl/shipped.h).  which: "last",
 * "best", a file, or a file of that folder; NULL: last.  act: changes to the act record,
 * "key=value".  All of it lives in the arena. */
bool saved_open(Saved *saved, Arena *arena, const char *run, const char *which,
                const Arguments *act, Error *error);

/* Its two steps: the checkpoint, whatever it is of, and the policy in it. */
bool saved_read(Saved *saved, Arena *arena, const char *run, const char *which, Error *error);
bool saved_policy(Saved *saved, Arena *arena, const Arguments *act, Error *error);

/* The path of the checkpoint, with saved->which set; NULL and an error if there is none. */
const char *saved_find(Saved *saved, Arena *arena, const char *run, const char *which,
                       Error *error);

/* How it acts, for people: "weights=ema sampler=ddpm steps=0 ..." */
const char *saved_act_text(Arena *arena, const Policy *policy);

/* Median time of one action, or plan, in microseconds, measured in the calling thread; negative and
 * an error if the act record asks for what the policy has not. */
double saved_latency(const Policy *policy, const Kernels *kernels, Error *error);

#endif
