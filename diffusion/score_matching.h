/* score_matching.h -- learning the gradient of ln p itself, for data of a few dimensions.
 *
 * S(x) is any tensor [k, 1, dim] recorded from x by ops that can be differentiated twice, an MLP
 * say; `denoising` also takes the t_grad_through of an energy.  x is a ROW node, one sample of data
 * (or noised data) to each of its k values.
 *
 *   explicit    E |S|^2 / 2 + tr dS/dx        Hyvarinen 2005: needs no score of the data
 *   sliced      E |S|^2 / 2 + v' (dS/dx) v    Song et al. 2019: one derivative, whatever the dim
 *   denoising   E |S - (a x_0 - x) / s^2|^2 / 2   Vincent 2011: the score of noised data
 *
 * The first two differ from E |S - grad ln p|^2 / 2 by a number that S has no part in; so does the
 * third, with the p of noised data.  Losses of many noise levels are loss.h's. */
#ifndef DIFFUSION_SCORE_MATCHING_H
#define DIFFUSION_SCORE_MATCHING_H
#include "core/ops/ops.h"

/* SUM scalars: means over rows (and k) of sums over dimensions. */
Tensor *explicit_score_matching(Tensor *score, Tensor *x);

/* v [k, 1, dim] with E v v' = 1: t_normal, or signs; given (not drawn here) so that tests bind it.
 * `reduced`: |S|^2 / 2 as it stands (SSM-VR, for such v); else (v' S)^2 / 2. */
Tensor *sliced_score_matching(Tensor *score, Tensor *x, Tensor *v, bool reduced);

/* x = a x_0 + s eps at one level */
Tensor *denoising_score_matching(Tensor *score, Tensor *x, Tensor *x0, double a, double s);

/* v' (dS/dx) v of each row [k, 1, 1]; the trace for the unit vectors.  NULL if S is not of x. */
Tensor *score_curvature(Tensor *score, Tensor *x, Tensor *v);

#endif
