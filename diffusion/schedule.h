/* schedule.h -- how much signal and noise there is at each time.
 *
 * One convention for the whole core: x_t = a(t) x_0 + s(t) eps, lambda = ln(a / s), which falls
 * with t.  Discrete schedules have integer times n = 0 .. steps - 1, n = 0 the least noisy;
 * continuous ones t in [t_min, t_max].  Everything is double.
 *
 *   linear         beta_n evenly from 1e-4 to 2e-2                      Ho et al. 2020
 *   scaled-linear  sqrt(beta_n) evenly, .00085 to .012                  Rombach et al. 2022
 *   cosine         abar(u) = cos^2((u + .008) / 1.008 pi/2)             Nichol & Dhariwal 2021
 *   vp             beta_n = 1 - exp(-b0/N - (b1-b0)(2n-1)/(2N^2))       Wang et al. 2023
 *   ncsn           a = 1, s geometric from .01 to 1                     Song & Ermon 2019
 *   vp-sde         ln a = -(b1-b0) t^2/4 - b0 t/2, s^2 = 1 - a^2        Song et al. 2021
 *   sub-vp         the same a, s = 1 - a^2                              Song et al. 2021
 *   ve             a = 1, s = .01 (50 / .01)^t                          Song et al. 2021
 *   flow           a = 1 - t, s = t: straight paths                     Liu et al. 2023
 *   gvp            a = cos(pi t/2), s = sin(pi t/2)                     Albergo & V.-Eijnden 2023
 *   edm            a = 1, s = t                                         Karras et al. 2022       */
#ifndef DIFFUSION_SCHEDULE_H
#define DIFFUSION_SCHEDULE_H
#include "core/arena.h"
#include "core/error.h"
#include <stdbool.h>

typedef struct Schedule Schedule;

/* a schedule at one time; da, ds: derivatives by time.  At the clean end a = 1, s = 0 and lambda is
 * infinite; where no signal is left a = 0 and lambda is minus infinity. */
typedef struct {
  double time, a, s, da, ds, lambda;
} Level;

typedef struct {
  const char *name;
  bool discrete, preserves;  /* preserves: a^2 + s^2 = 1 */
  double low, high;          /* the two numbers of the family, as published */
  double t_min, t_max;       /* continuous: the times trained and sampled */
  void (*fill)(Schedule *s); /* discrete: beta[], or log_sigma[] */
  void (*at)(const Schedule *s, double t, Level *l); /* continuous: a, s, da, ds */
  double (*time)(const Schedule *s, double lambda);  /* continuous, in closed form; or NULL */
  const char *about;                                 /* its formula and who published it */
} ScheduleDef;

typedef struct {
  const char *name;
  int steps;        /* discrete: N >= 1; ignored otherwise */
  double low, high; /* both 0: as published */
  bool rescale;     /* linear, scaled-linear: betas times 1000 / N, for few steps */
  bool zero_snr;    /* discrete, preserving: no signal at N - 1 (Lin et al. 2024, alg. 1) */
  double shift;     /* continuous: t -> k t / (1 + (k - 1) t) (Esser et al. 2024, eq. 23); 0: no */
} ScheduleSpec;

struct Schedule {
  const ScheduleDef *def;
  int steps; /* discrete: N; continuous: 0 */
  double low, high, shift;
  double t_min, t_max; /* discrete: 0, N - 1 */
  double *beta;        /* [steps], preserving schedules; else NULL */
  double *log_abar;    /* [steps] 2 ln a, preserving schedules; else NULL */
  double *log_sigma;   /* [steps] ln s, where a = 1; else NULL */
};

const ScheduleDef *const *schedule_list(size_t *count);

/* NULL and an error (FAIL_USAGE) for an unknown name, with the nearest one, for settings that the
 * schedule does not have, and where signal to noise would not fall.  Lives in the arena. */
Schedule *schedule_new(Arena *arena, const ScheduleSpec *spec, Error *error);

/* A discrete schedule from somebody else's betas [steps]; copied. */
Schedule *schedule_from_betas(Arena *arena, const double *beta, int steps, Error *error);

/* t is an index for discrete schedules (ln a, or ln s, is linear between them), a time for
 * continuous ones. */
Level schedule_level(const Schedule *s, double t);
Level schedule_clean(void); /* the end of sampling: a = 1, s = 0 */
double schedule_a(const Schedule *s, double t);
double schedule_s(const Schedule *s, double t);
double schedule_lambda(const Schedule *s, double t);

/* The inverse of lambda, in closed form or by bisection; the ends for what lies outside. */
double schedule_time(const Schedule *s, double lambda);

/* The linear SDE dx = f x dt + g dw with these marginals: f = a'/a, g^2 = (s^2)' - 2 f s^2. */
double level_f(const Level *l);
double level_g2(const Level *l);

/* Standard deviation of the normal that sampling starts from: 1, or s where a stays 1. */
double schedule_prior(const Schedule *s);

/* q(x_r | x_t, x_0) = N(c0 x_0 + c1 x_t, variance) for a less noisy level r than t; for
 * neighbouring steps Ho et al. 2020, eq. 6 and 7. */
typedef struct {
  double c0, c1, variance;
} Posterior;
Posterior level_posterior(const Level *r, const Level *t);
Posterior schedule_posterior(const Schedule *s, int n); /* from step n to n - 1; -1 is clean */

/* Outside conventions for the same level of noise, all by way of lambda:
 *   lambda  logsnr = 2 lambda  snr = a^2/s^2  abar = a^2/(a^2 + s^2)  sigma = s/a (EDM)
 *   flow: s/(a + s), noise at 1      flow-data: the same path with data at 1
 * NAN for an unknown name. */
double level_from(const char *convention, double value); /* -> lambda */
double level_to(const char *convention, double lambda);
const char *level_convention(size_t i); /* NULL behind the last */

/* a and s at the times t [k, 1] as columns of a tensor [k, 1, 2]; constant for gradients. */
struct Tensor;
struct Tensor *t_marginal(const Schedule *s, struct Tensor *t);

#endif
