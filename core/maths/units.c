/* units.c -- bounds in single precision on the way in, as batches always had them; in double on the
 * way out. */
#include "core/maths/units.h"
#include <math.h>

bool units_check_bounds(const Units *u, bool open, Error *error) {
  for (int j = 0; j < u->act_dim; j++) {
    float low = u->low[j], high = u->high[j];
    bool right = low <= high && low < INFINITY && high > -INFINITY;
    if (right && (open || (isfinite(low) && isfinite(high)))) continue;
    return error_set(error, FAIL_INPUT,
                     "action_low[%d] is %g and action_high[%d] %g, expected low <= high", j,
                     (double)low, j, (double)high);
  }
  return true;
}

void units_obs_in(const Units *u, const float *obs, real *out) {
  if (u->obs)
    normalizer_apply(u->obs, obs, out);
  else
    for (int j = 0; j < u->obs_dim; j++) out[j] = (real)obs[j];
}

static real in_bounds(float x, float low, float high) {
  float mid = 0.5f * low + 0.5f * high, half = 0.5f * high - 0.5f * low;
  return ((real)x - (real)mid) / (real)half;
}

void units_act_in(const Units *u, const float *act, real *out) {
  if (u->act)
    normalizer_apply(u->act, act, out);
  else
    for (int j = 0; j < u->act_dim; j++)
      out[j] = u->low ? in_bounds(act[j], u->low[j], u->high[j]) : (real)act[j];
}

static float within(float x, float low, float high) { return x < low ? low : x > high ? high : x; }

static float from_bounds(real x, float low, float high) {
  double mid = 0.5 * ((double)low + (double)high), half = 0.5 * ((double)high - (double)low);
  return (float)(mid + half * (double)x);
}

void units_act_out(const Units *u, const real *x, float *act) {
  if (u->act) normalizer_invert(u->act, x, act);
  for (int j = 0; j < u->act_dim; j++) {
    if (u->act && u->low)
      act[j] = within(act[j], u->low[j], u->high[j]);
    else if (!u->act)
      act[j] = u->low ? from_bounds(x[j], u->low[j], u->high[j]) : (float)x[j];
  }
}
