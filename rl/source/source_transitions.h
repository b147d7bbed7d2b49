/* source_transitions.h -- recorded steps in a file, sampled as batches (datasets/batch.h).
 *
 * An environment beside the file is where policies are evaluated; its bounds are those of actions.
 * Without one the range of the file's actions is, and some episodes are kept for a held-out loss.
 *
 * Settings belong to who uses them.  An algorithm includes DATA_FIELDS if it samples observations
 * through the sampler's units, and RETURN_FIELDS if its targets are made of rewards; only then has
 * the file to have them. */
#ifndef RL_SOURCE_TRANSITIONS_H
#define RL_SOURCE_TRANSITIONS_H
#include "datasets/batch.h"
#include "rl/source/source_environment.h"

#define DATA_FIELDS(F)                                                                             \
  F(BOOL, normalize_obs, false, NULL, NULL, "observations to mean 0 and deviation 1")

#define RETURN_FIELDS(F)                                                                           \
  F(TEXT, reward, "raw", "raw|antmaze|standard|return-range|minus-one", NULL,                      \
    "raw; antmaze: 4 (r - 0.5); standard: (r - mean) / std; return-range: 1000 r / (max - min); "  \
    "minus-one: r - 1")                                                                            \
  F(FLOAT, gamma, 0.99, 0, 1, "discount")                                                          \
  F(INT, nstep, 1, 1, 64, "rewards that a target adds up before it looks at a value")

typedef struct {
  Source source; /* units: normalised if asked, and the bounds of actions */
  const Dataset *data;
  DatasetSummary summary;
  RowSampler train; /* of rows to train on */
  RowSampler held;  /* of episodes kept apart; row_count 0 if there are none */
  int64_t held_episodes;
  const Environment *beside; /* where policies are evaluated; NULL: nowhere */
  Dataset *owned;            /* that is closed with it; NULL: the caller's */
} Transitions;
extern const SourceDef source_transitions;

const Transitions *transitions_of(const Source *source); /* CHECKs the kind */

/* One of a file in memory, which must outlive it: every transition, rewards as they are, actions
 * as they are.  Lives in the arena; `summary` is zero. */
Transitions *transitions_new(Arena *arena, const Dataset *data, uint64_t seed, Pool *pool);

#endif
