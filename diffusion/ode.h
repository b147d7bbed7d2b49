/* ode.h -- ordinary differential equations by embedded pairs, every sample with steps of its own.
 *
 * An attempt goes from t over h by slopes k_0, k_1, .. each taken at c_i of the way and at the
 * point base_i y + sum_j w_ij k_j.  A lower formula of the same slopes says how far to trust it:
 *
 *            slopes  difference d of the two, divided by      h grows by
 *   dp5        7     atol + rtol max(|y|, |y'|)               10 at most    Dormand & Prince 1980
 *   dpm_12     2     max(atol, rtol max(|y|, |y' - d|))                     Lu et al. 2022, app. C
 *   dpm_23     3     the same
 *
 * e is the root mean square over the entries of one sample; e <= 1 accepts y' of the higher
 * formula, and h becomes h 0.9 e^(-1/order), never longer right after a rejection.  dp5 hands its
 * last slope to the next attempt.  The dpm pairs are exact for the linear part of the diffusion
 * ODE: their "time" is lambda = ln(a/s), their slope the network's eps.
 *
 * A sample is never asked for once it has arrived, and its path does not depend on who else is in
 * the batch (published solvers put the whole batch under one error norm).  A run always ends: where
 * steps vanish, evaluations run out or numbers are not finite, the sample's result says so. */
#ifndef DIFFUSION_ODE_H
#define DIFFUSION_ODE_H
#include "diffusion/field.h"

/* dy/dt [rows, n] at t [rows], y [rows, n]; row r belongs to sample ids[r] */
typedef void OdeSlope(void *user, int rows, const uint32_t *ids, const double *t, const double *y,
                      double *dy);

typedef struct {
  const char *method;       /* of the list above; NULL: dp5 */
  const Schedule *schedule; /* dpm_12, dpm_23: whose lambda */
  double rtol, atol;        /* 0: 1e-5 and 1e-5; dpm: 0.05 and 0.0078 */
  double first;             /* length of the first step, 0: 1/1000 of the way; dpm: 0.05 */
  int steps;                /* more than 0: as many equal steps, with no regard to the error */
  int most;                 /* evaluations for one sample; 0: 10000 */
} OdeSpec;

typedef enum { ODE_DONE, ODE_UNDERFLOW, ODE_LIMIT, ODE_NOT_FINITE } OdeStatus;

typedef struct {
  OdeStatus status;
  double t; /* how far it came */
  int evaluations, accepted, rejected;
} OdeResult;

typedef struct Ode Ode;

/* NULL and an error (FAIL_USAGE) for an unknown method and for tolerances, steps or limits that
 * make no sense.  n: numbers a sample.  Lives in the arena. */
Ode *ode_new(Arena *arena, const OdeSpec *spec, int max_rows, int n, Error *error);

/* y [rows, n] from time `from` to `to`, either of which may be the greater; y of a sample that
 * fails stays where it came to.  result [rows]. */
void ode_run(Ode *ode, OdeSlope *slope, void *user, int rows, double from, double to, double *y,
             OdeResult *result);

/* The probability-flow ODE dx/dt = velocity(x, t) (Song et al. 2021, eq. 13), y [rows, field_width]
 * and times of the schedule.  The field's wanted: velocity for dp5, eps and no divergence for the
 * dpm pairs. */
void ode_flow(Ode *ode, Field *field, int rows, double from, double to, double *y,
              OdeResult *result);

/* false and an error (FAIL_DIVERGED) about the first sample that did not arrive. */
bool ode_arrived(const OdeResult *result, int rows, Error *error);

#endif
