/* walk.h -- the interface of an exported policy.  Text that export.c prints behind the sizes
 * (WALK_OBS, ..): all from the ruler on. */

/* ---- interface ------------------------------------------------------------------------------- */

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
  WALK_OK,
  WALK_BAD_OBSERVATION, /* a number of it is not finite */
  WALK_BAD_ACTION,      /* likewise: the observation is far from all that was learned */
  WALK_NEEDS_FMA        /* an old x86-64 processor: compile with WALK_PORTABLE defined */
} walk_status;

/* What calls change: one for each robot. */
typedef struct {
  uint64_t step;                 /* calls since the reset: the counter of the random numbers */
  uint32_t row;                  /* 0 after a reset; rows of one seed draw different numbers */
  uint32_t key[WALK_STREAMS][2]; /* of the random numbers */
  int32_t seen;                  /* observations in `last`: 0 after a reset, else all of them */
  int32_t done;                  /* actions of `answer` that were handed out */
  float last[WALK_OBS_STEPS * WALK_OBS]; /* the last observations, the oldest first */
  float answer[WALK_HORIZON * WALK_ACT]; /* what it last answered */
  float memory[WALK_MEMORY];             /* of a call; nothing in it is kept */
} walk_state;

/* Begin with this seed.  The same seed and observations give the same actions. */
void walk_reset(walk_state *state, uint64_t seed);

/* observation [WALK_OBS] -> action [WALK_ACT], both in the data's units.  Unless the status is
 * WALK_OK, the action is left as it was, and what is left of the last answer is dropped.  Every
 * call counts as a step. */
walk_status walk_act(walk_state *state, const float *observation, float *action);

#ifdef __cplusplus
}
#endif
