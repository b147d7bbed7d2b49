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
}

walk_status walk_act(walk_state *state, const float *observation, float *action) {
#ifdef WALK_ASKS
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return WALK_NEEDS_FMA;
#endif
  walk_status status = WALK_BAD_OBSERVATION;
  float *m = state->memory + (64 - ((uintptr_t)state->memory & 63)) / sizeof(float);
  float *obs = m + WALK_OBS_AT, *act = m + WALK_ACT_AT;
  if (walk_finite(observation, WALK_OBS)) {
    for (int j = 0; j < WALK_OBS; j++) obs[j] = (observation[j] - walk_mean[j]) / walk_std[j];
    walk_tape(state, m);
    for (int j = 0; j < WALK_ACT; j++)
      act[j] = (float)(walk_middle[j] + walk_half[j] * (double)act[j]);
    status = walk_finite(act, WALK_ACT) ? WALK_OK : WALK_BAD_ACTION;
  }
  if (status == WALK_OK) memcpy(action, act, WALK_ACT * sizeof *act);
  state->step++;
  return status;
}
