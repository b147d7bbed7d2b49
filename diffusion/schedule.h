/* schedule.h -- how much signal and noise there is at each time.
 *
 * One convention for the whole core: x_t = a(t) x_0 + s(t) eps, lambda = ln(a / s); a falls and s
 * grows with t.  Discrete schedules have integer times n = 0 .. steps - 1, n = 0 the least noisy;
 * continuous ones t in (0, 1].  Everything is double.
 *
 *   linear   beta_n evenly from 1e-4 to 2e-2                       Ho et al. 2020
 *   cosine   abar(u) = cos^2((u + .008) / 1.008 pi/2)              Nichol & Dhariwal 2021
 *   vp       beta_n = 1 - exp(-bmin/N - (bmax-bmin)(2n-1)/(2N^2))  Wang et al. 2023 (Diffusion-QL)
 *   vp-sde   ln a = -(b1-b0) t^2/4 - b0 t/2, s^2 = 1 - a^2         Song et al. 2021, continuous */
#ifndef DIFFUSION_SCHEDULE_H
#define DIFFUSION_SCHEDULE_H
#include "core/arena.h"
#include "core/error.h"
#include <stdbool.h>

typedef struct Schedule Schedule;

typedef struct {
  const char *name;
  bool discrete;
  void (*fill)(Schedule *s);                    /* discrete: beta[] */
  double (*log_a)(const Schedule *s, double t); /* continuous */
  double (*time)(const Schedule *s, double lambda);
} ScheduleDef;

struct Schedule {
  const ScheduleDef *def;
  int steps;               /* discrete: N; continuous: 0 */
  double b0, b1;           /* vp-sde: beta(t) = b0 + t (b1 - b0) */
  double t_min;            /* continuous: the earliest time trained and sampled */
  double *beta, *log_abar; /* [steps]; log_abar = 2 ln a */
};

const ScheduleDef *const *schedule_list(size_t *count);

/* steps: for discrete schedules, >= 1; ignored otherwise.  NULL and an error (FAIL_USAGE) for an
 * unknown name, with the nearest one.  Lives in the arena. */
Schedule *schedule_new(Arena *arena, const char *name, int steps, Error *error);

/* t is an index for discrete schedules (linear in ln a between them), a time for continuous ones;
 * schedule_clean() is the end of sampling of a discrete schedule: a = 1, s = 0. */
double schedule_log_a(const Schedule *s, double t);
double schedule_a(const Schedule *s, double t);
double schedule_s(const Schedule *s, double t);
double schedule_lambda(const Schedule *s, double t);
double schedule_time(const Schedule *s, double lambda); /* the inverse; continuous only */

/* Posterior q(x_{n-1} | x_n, x_0) = N(c0 x_0 + c1 x_n, variance), DDPM eq. 6 and 7. */
typedef struct {
  double c0, c1, variance;
} Posterior;
Posterior schedule_posterior(const Schedule *s, int n);

/* a and s at the times t [k, 1] as columns of a tensor [k, 1, 2]; constant for gradients. */
struct Tensor;
struct Tensor *t_marginal(const Schedule *s, struct Tensor *t);

#endif
