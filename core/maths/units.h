/* units.h -- the one place where the data's units become the network's, and back.
 *
 * Everything outside a network speaks the data's units.  A network sees observations as they are or
 * normalised, and actions in [-1, 1] by their bounds, (a - mid) / half with mid and half those of
 * [low, high], or normalised as well (models of whole plans). */
#ifndef CORE_UNITS_H
#define CORE_UNITS_H
#include "core/maths/normalizer.h"

typedef struct {
  int obs_dim, act_dim;
  const Normalizer *obs; /* NULL: observations as they are */
  const Normalizer *act; /* NULL: actions by their bounds */
  /* [act_dim] bounds of actions in the data's units; NULL: actions as they are.  Where `act` is
   * given they only limit what units_act_out says, and may be infinite. */
  const float *low, *high;
} Units;

/* Of numbers from a file: low <= high, both finite, or `open`: low may be -infinite and high
 * infinite.  FAIL_INPUT. */
bool units_check_bounds(const Units *units, bool open, Error *error);

/* One observation [obs_dim] or action [act_dim] as the network sees it. */
void units_obs_in(const Units *units, const float *obs, real *out);
void units_act_in(const Units *units, const float *act, real *out);

/* One action of the network in the data's units; within the bounds if it is normalised. */
void units_act_out(const Units *units, const real *x, float *act);

#endif
