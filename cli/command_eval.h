/* command_eval.h -- what `diffrl eval` is asked for.  Policies are measured by returns, models of
 * pictures by how their samples compare with real ones. */
#ifndef CLI_EVAL_H
#define CLI_EVAL_H
#include "cli/saved.h"

typedef struct {
  Parsed parsed;
  Arguments act;
  const char *env, *which, *reference, *data, *out, *features, *guidance, *sampler, *steps,
      *spacing;
  int64_t episodes, pictures, bits, seed, threads;
  bool json;
} Eval;

/* The exit code. */
int eval_images(const Eval *asked, Saved *saved, Arena *arena, Error *error);

/* Refuse (FAIL_USAGE) options that do not belong to this kind of model; NULL behind the last. */
bool eval_refuse(const Eval *asked, const char *const *foreign, const char *because, Error *error);

#endif
