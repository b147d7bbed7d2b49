/* guide.h -- hooks around the call of the network.
 *
 * A guide may change the point where the network is evaluated (in-painting), call it itself
 * (classifier-free: both conditions at once), and change what it says about x_0 (energies,
 * thresholds).  Guides are a list.  Within one stage all `before` run in its order, then the one
 * guide that calls (or the executor), then all `after` in its order; an `after` sees x as the
 * network did and x_0 as the guides before it left it.  The sampler's own clip comes last.
 *
 *   guide_energy     x_0 += w s^2/a grad f(x, t), which is eps -= w s grad f
 *   guide_free       eps = (1 + w) eps_c - w eps_null
 *   guide_threshold  x_0 = clip(x_0 / q, -1, 1), q a quantile of |x_0|
 *   guide_known      entries of x_0 that are known: in-painting */
#ifndef DIFFUSION_GUIDE_H
#define DIFFUSION_GUIDE_H
#include "diffusion/denoiser.h"
#include "diffusion/energy.h"

enum { GUIDE_NUMBERS = 4 };

/* What a network is called with in one stage.  time, a, s and own are once-numbers in a chain, and
 * rows where every sample has its own time; h and scale likewise. */
typedef struct {
  Graph *g;
  const Denoiser *denoiser;
  const Params *params;
  Tensor *h;    /* embedded time [k or 1, 1, *] */
  Tensor *cond; /* or NULL */
  Tensor *time; /* [k or 1, 1, 1] the schedule's time */
  Tensor *a, *s;
  Tensor *scale; /* of x, for the network; NULL: 1 */
  Tensor *own;   /* [k or 1, 1, GUIDE_NUMBERS]: what this guide's `numbers` said */
} NetInput;

typedef struct Guide Guide;
struct Guide {
  Tensor *(*before)(const Guide *guide, const NetInput *input, Tensor *x);
  Tensor *(*call)(const Guide *guide, const NetInput *input, Tensor *x); /* -> output */
  Tensor *(*after)(const Guide *guide, const NetInput *input, Tensor *x, Tensor *x0);
  /* what depends on the noise level alone, in double */
  void (*numbers)(const Guide *guide, const Level *level, double own[GUIDE_NUMBERS]);
};

/* The network itself: net(scale x, h, cond). */
Tensor *call_net(const NetInput *input, Tensor *x, Tensor *cond);

/* ---- guides; they live in the arena and copy their settings ---------------------------------- */

/* Weight w at noise levels low <= s/a <= high, 0 elsewhere (Kynkaanniemi et al. 2024); high 0: no
 * upper end. */
typedef struct {
  double w, low, high;
} Strength;

/* The score plus w grad_x f(x, t, cond).  f = ln p(c | x_t) is classifier guidance (Dhariwal &
 * Nichol 2021, alg. 2); f = ln E[e^(beta E(x_0)) | x_t] samples p(x_0) e^(beta E(x_0)) exactly at
 * w = 1 (Lu et al. 2023, theorem 3.1: contrastive energy prediction, QGPO). */
typedef struct {
  const Energy *energy;
  const Params *params; /* of the energy; NULL if it has none */
  Strength strength;
  bool through; /* gradients of the chain pass through grad f: it needs second derivatives */
} EnergyGuide;
const Guide *guide_energy(Arena *arena, const EnergyGuide *spec);

/* What stands for "no condition": a slot [1, 1, c] of the denoiser's Params, or zeros. */
typedef struct {
  bool learned;
  int slot;
} NullCondition;

/* (1 + w) output(c) - w output(null), in one call of twice the samples (Ho & Salimans 2022, eq. 6);
 * w = g - 1 for those who write null + g (c - null).  All kinds of output are affine in each other
 * at one x, so they agree; a learned variance stays that of c.  Then the output times
 * rescale std(output_c) / std(output) + 1 - rescale, std over a sample's dimensions, at least two
 * (Lin et al. 2024, who take 0.7; this depends on the kind of output). */
typedef struct {
  Strength strength;
  NullCondition null;
  double rescale; /* 0: none */
} FreeGuide;
const Guide *guide_free(Arena *arena, const FreeGuide *spec); /* train with LossSpec.drop */

/* Dynamic thresholding (Saharia et al. 2022, section 2.3), every sample for itself: q = quantile of
 * |x_0|, at least `range` and at most `most`; x_0 = range clip(x_0 / q, -1, 1).  For data that lie
 * in [-range, range] in every dimension, never for latents.  q is a constant for gradients. */
typedef struct {
  double quantile; /* Imagen: 0.995 */
  double range;    /* 0: 1 */
  double most;     /* 0: none */
} Threshold;
const Guide *guide_threshold(Arena *arena, const Threshold *spec);

/* In-painting: where keep is 1, x_0 is `known`.  Chains that end at clean data end at the known
 * values exactly; for others there is known_overwrite.
 *
 *   clean  x is overwritten as well, without noise: Diffuser (Janner et al. 2022).  Exact if the
 *          network was trained so, with its known entries clean.
 *   else   the known entries of x are noised to the level: Song et al. 2021, app. I.2, and RePaint
 *          (Lugmayr et al. 2022, eq. 8a).  Nothing need be drawn for that: with x_0 known, a step
 *          of ddpm or ddim at temperature 1 draws x' from q(x' | x, x_0).  For networks not trained
 *          for it; exact only where each level is sampled over and over (RePaint's resampling). */
typedef struct {
  Tensor *keep, *known; /* [k or 1, 1, dim], on the tape of the call; keep is 0 or 1 */
} Known;
typedef struct {
  Known known; /* for chains recorded on the tape of these tensors, */
  Known (*find)(const void *user, const NetInput *input); /* or recorded with the call; or NULL */
  const void *user;
  bool clean;
} KnownGuide;
const Guide *guide_known(Arena *arena, const KnownGuide *spec);
Tensor *known_overwrite(Known known, Tensor *x); /* keep known + (1 - keep) x */

#endif
