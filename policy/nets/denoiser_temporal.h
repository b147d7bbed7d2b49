/* denoiser_temporal.h -- the temporal U-Net of Diffuser (Janner et al. 2022) and Decision Diffuser
 * (Ajay et al. 2023): trajectories of `width` numbers a step, convolved along time; and the
 * value of a noisy trajectory, by the U-Net's first half (Diffuser, section 3.2). */
#ifndef POLICY_DENOISER_TEMPORAL_H
#define POLICY_DENOISER_TEMPORAL_H
#include "diffusion/energy.h"
#include "policy/nets/denoiser_mlp.h"

enum { TEMPORAL_MAX_LEVELS = 6 };

typedef struct {
  VectorSpec vector; /* dim = horizon * width; hidden: a level's channels are multiples of it;
                      * cond 0: a condition is for guides alone */
  int horizon, width;
  int levels, mults[TEMPORAL_MAX_LEVELS]; /* the horizon halves from one to the next */
  int groups;                             /* of the norms (8 in the paper) */
  bool attention;                         /* linear attention at every level */
} TemporalSpec;

/* False with a sentence: a horizon that does not halve often enough, channels that the groups of
 * the norms do not divide. */
bool temporal_fits(const TemporalSpec *spec, Error *error);

/* Declare the parameters in p; CHECKs temporal_fits. */
Denoiser *temporal_new(Arena *arena, Params *p, const TemporalSpec *spec);

/* The value network: x [k, 1, horizon * width] and the schedule's time -> [k, 1, 1].  The horizon
 * halves behind every level; then two blocks follow, of half and a quarter of the last level's
 * channels, which the groups must divide too.  No condition. */
bool temporal_value_fits(const TemporalSpec *spec, Error *error);
Energy *temporal_value_new(Arena *arena, Params *p, const TemporalSpec *spec);

#endif
