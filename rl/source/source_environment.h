/* source_environment.h -- rows that an algorithm makes by acting, or where policies are judged. */
#ifndef RL_SOURCE_ENVIRONMENT_H
#define RL_SOURCE_ENVIRONMENT_H
#include "rl/source/source.h"

struct Environment {
  Source source; /* units: the bounds of its actions */
  const EnvDef *def;
  EnvModel *model;
  bool reference; /* normalised scores are shown */
};
extern const SourceDef source_environment;

/* NULL for NULL; CHECKs the kind. */
const Environment *environment_of(const Source *source);

/* One of a definition that need not be in the list; owns the model that it loads.  Lives in the
 * arena until source_close; NULL if it cannot be loaded. */
Environment *environment_new(Arena *arena, const EnvDef *def, Error *error);

#endif
