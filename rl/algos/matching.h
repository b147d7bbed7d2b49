/* matching.h -- how likely weights make a sample, told by how well they denoise it: the estimator
 * that fpo (policies) and awm (generators) share, and what nft compares.
 *
 * A sample x_0 gets noise eps at a time t, and the denoising loss L of a row stands for -ln p(x_0).
 * So samples may come from any sampler. */
#ifndef RL_MATCHING_H
#define RL_MATCHING_H
#include "diffusion/loss.h"
#include "rl/algos/ratio.h"

/* What these weights say to x0 at its noise.  Noise and times that are NULL are drawn from the
 * streams "<stream> noise" and "<stream> time" and put into `in`, so that the next weights are
 * asked the same. */
LossTerms matching_ask(Graph *g, const Loss *loss, const Params *params, const char *stream,
                       LossInputs *in);

/* w(t) |output - output'|^2 / D of two weights: [k, 1, 1] */
Tensor *matching_distance(const LossTerms *a, const LossTerms *b);

/* ln rho = L_old - L, within +-10; losses, old: [k, 1, 1] of the k noise levels of a sample;
 * advantage: [1, 1, 1].
 *
 *   each     a ratio rho_i of every noise level, else one of the mean over them
 *   bent     A < 0: A rho - |A| (rho - 1)^2 / (2 e) in place of the clip (fpo++)
 *
 * -min(A rho, A clip(rho, 1 - e, 1 + e)), the mean: a SUM scalar. */
Tensor *matching_loss(Ratio *ratio, Tensor *losses, Tensor *old, Tensor *advantage, double clip,
                      bool each, bool bent);

#endif
