/* loss.h -- training objectives of a denoiser.
 *
 * All are one.  The network is shown x = a x_0 + s eps, and its output is compared with the line
 * y = p x_0 + q eps that it predicts (denoiser.h):
 *
 *   mean over rows and dimensions of  w(t) (p x_0 + q eps - output)^2
 *
 * x is known, so the errors of x_0, eps, score, v and velocity are multiples of each other, and a
 * weighting means the same whatever the network predicts.  It is a factor of somebody's error:
 *
 *   weighting      of          factor
 *   native         own output  1                        what the network predicts
 *   simple         eps         1                        Ho et al. 2020, eq. 14
 *   x0             x0          1
 *   dsm            score       s^2                      Song et al. 2021, eq. 7; equal to simple
 *   likelihood     score       g^2                      Song, Durkan et al. 2021
 *   snr+1          x0          a^2/s^2 + 1              Salimans & Ho 2022; v of VP processes
 *   truncated-snr  x0          max(a^2/s^2, 1)          Salimans & Ho 2022
 *   min-snr        x0          min(a^2/s^2, gamma)      Hang et al. 2023
 *   edm            edm         1                        Karras et al. 2022, table 1
 *   flow           velocity    1                        Lipman et al. 2023; Liu et al. 2023
 *
 *   times          how t is drawn
 *   uniform        n of a discrete schedule; t in [t_min, t_max]
 *   lambda         ln(a/s) evenly between the ends
 *   log-normal     ln(s/a) ~ N(-1.2, 1.2^2)                        Karras et al. 2022
 *   logit-normal   the part 1/(1 + e^-z) of the range, z ~ N(0, 1)   Esser et al. 2024
 *
 * Flow matching is velocity prediction on the schedule `flow`.  Time runs from data (0) to noise
 * (1), so the velocity is eps - x_0; where papers put the data at 1 its sign is the other. */
#ifndef DIFFUSION_LOSS_H
#define DIFFUSION_LOSS_H
#include "diffusion/bound.h"

typedef struct {
  const char *weighting, *times; /* NULL: native, uniform */
  double gamma;                  /* min-snr; 0: 5 */
  double mean, std;              /* of the normal that times come from; std 0: as published */
  double drop;                   /* probability that a row loses its condition */
  double path_noise;             /* standard deviation of noise on x alone (Tong et al. 2024) */
  double vlb;                    /* factor of the bound's term that trains learned variances, in
                                  * bits a dimension times steps; Nichol & Dhariwal 2021: 0.001 */
  BoundSpec bound;               /* with vlb: its first term; all times */
} LossSpec;

typedef struct Loss Loss;

/* NULL and an error (FAIL_USAGE) for unknown names, with the nearest one, and for a weighting that
 * is infinite for what this denoiser predicts.  Lives in the arena. */
Loss *loss_new(Arena *arena, const LossSpec *spec, const Denoiser *denoiser, Error *error);

const char *loss_weighting(size_t i); /* names of the lists; NULL behind the last */
const char *loss_times(size_t i);

/* Factor of the squared error of the network's own output. */
double loss_weight(const Loss *loss, const Level *level);

/* what a row is made of; only x0 must be there */
typedef struct {
  Tensor *x0;     /* [k, 1, dim] */
  Tensor *eps;    /* [k, 1, dim]; NULL: drawn.  Given: pairs of optimal transport or reflow */
  Tensor *time;   /* [k, 1, 1], n or t; NULL: drawn.  Given: importance sampling, one level */
  Tensor *weight; /* [k or 1, 1, 1], constant; NULL: 1 */
  Tensor *cond;   /* [k or 1, 1, c], or NULL */
  Tensor *null;   /* ONCE [1, 1, c]: what a dropped condition becomes; NULL: zeros */
  Tensor *keep;   /* [k or 1, 1, dim], 0 or 1: where 1, x is shown as x_0, without noise, for
                   * in-painting with guide_known's `clean`; or NULL */
  Tensor *factor; /* [k or 1, 1, dim], constant: of a dimension's squared error, 0 where x_0 is
                   * known; NULL: 1 */
} LossInputs;

typedef struct {
  Tensor *loss;   /* SUM scalar */
  Tensor *rows;   /* [k, 1, 1]: the mean over dimensions, without `weight` of the row */
  Tensor *time;   /* [k, 1, 1]: n or t */
  Tensor *vlb;    /* [k, 1, 1]: the bound's term in nats, or NULL */
  Tensor *error;  /* [k, 1, dim]: p x_0 + q eps - output */
  Tensor *weight; /* [k, 1, 1]: w(t) of its square, or NULL: 1 */
} LossTerms;

/* Random streams "<stream> time", "<stream> noise", "<stream> drop", "<stream> path".  The bound's
 * term does not train the mean (Nichol & Dhariwal 2021, sec. 3.1). */
LossTerms loss_record(Graph *g, const Loss *loss, const Params *params, const char *stream,
                      const LossInputs *in);

/* The loss of these settings: native, uniform, everything drawn.  For eps this is L_simple (Ho et
 * al. 2020, eq. 14). */
Tensor *diffusion_loss(Graph *g, const Denoiser *denoiser, const Params *params, const char *stream,
                       Tensor *x0, Tensor *cond);

#endif
