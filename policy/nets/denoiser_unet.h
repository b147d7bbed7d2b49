/* denoiser_unet.h -- the U-Net for pictures of DDPM (Ho et al. 2020; Dhariwal & Nichol 2021), with
 * a condition beside the time (a label) or as tokens that positions attend to (Rombach et al.
 * 2022). */
#ifndef POLICY_DENOISER_UNET_H
#define POLICY_DENOISER_UNET_H
#include "policy/nets/denoiser_mlp.h"

enum { UNET_MAX_LEVELS = 5, UNET_MAX_BLOCKS = 3 };

typedef struct {
  VectorSpec vector; /* dim is the plane's size; hidden: a level's channels are multiples of it */
  Plane plane;
  int levels, mults[UNET_MAX_LEVELS]; /* height and width halve from one to the next */
  int blocks;                         /* of a level on the way down; one more on the way up */
  int groups;                         /* of the norms */
  int attention, heads;               /* how many levels, from the deepest, have self-attention */
  int tokens; /* 0: the condition is added to the time; else it is so many tokens side by side */
} UnetSpec;

/* False with a sentence: a picture that does not halve often enough, channels that the groups of
 * the norms or the heads do not divide, tokens that do not share the condition. */
bool unet_fits(const UnetSpec *spec, Error *error);

/* Declare the parameters in p; CHECKs unet_fits.  The network is zero before its first step of
 * training, and each block the identity (or its skip). */
Denoiser *unet_new(Arena *arena, Params *p, const UnetSpec *spec);

#endif
