/* walk_act.c -- what stands around the tape of an exported policy.  Text that export.c
 * prints behind the tape: all from the ruler on. */

/* ---- act ------------------------------------------------------------------------------------- */

#ifdef WALK_ASKS /* back to what the processor surely has */
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif

void walk_reset(walk_state *state, uint64_t seed) {
  for (int i = 0; i < WALK_STREAMS; i++) walk_stream(seed, walk_names[i], state->key[i]);
  state->step = 0;
  state->row = 0;
  state->seen = 0;
  state->done = WALK_ACT_STEPS;
}

/* The newest goes last; the first stands for those before it. */
static void walk_remember(walk_state *state, const float *observation) {
  for (int t = 0; t + 1 < WALK_OBS_STEPS; t++)
    memcpy(state->last + t * WALK_OBS, state->seen ? state->last + (t + 1) * WALK_OBS : observation,
           WALK_OBS * sizeof *observation);
  memcpy(state->last + (WALK_OBS_STEPS - 1) * WALK_OBS, observation,
         WALK_OBS * sizeof *observation);
  state->seen = WALK_OBS_STEPS;
}

/* A new answer to the last observations; false if a number of it is not finite. */
static int walk_answer(walk_state *state) {
  float *m = state->memory + (64 - ((uintptr_t)state->memory & 63)) / sizeof(float);
  float *obs = m + WALK_OBS_AT, *act = m + WALK_ACT_AT;
  for (int i = 0; i < WALK_OBS_STEPS * WALK_OBS; i++)
    obs[i] = (state->last[i] - walk_mean[i % WALK_OBS]) / walk_std[i % WALK_OBS];
  walk_tape(state, m);
  for (int i = 0; i < WALK_HORIZON * WALK_ACT; i++)
    act[i] = (float)(walk_middle[i % WALK_ACT] + walk_half[i % WALK_ACT] * (double)act[i]);
  if (!walk_finite(act, WALK_HORIZON * WALK_ACT)) return 0;
  memcpy(state->answer, act, sizeof state->answer);
  state->done = 0;
  return 1;
}

walk_status walk_act(walk_state *state, const float *observation, float *action) {
#ifdef WALK_ASKS
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return WALK_NEEDS_FMA;
#endif
  walk_status status = WALK_BAD_OBSERVATION;
  if (walk_finite(observation, WALK_OBS)) {
    walk_remember(state, observation);
    status = WALK_OK;
    if (state->done >= WALK_ACT_STEPS && !walk_answer(state)) status = WALK_BAD_ACTION;
  }
  if (status == WALK_OK)
    memcpy(action, state->answer + state->done++ * WALK_ACT, WALK_ACT * sizeof *action);
  else
    state->done = WALK_ACT_STEPS;
  state->step++;
  return status;
}
