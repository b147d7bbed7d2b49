/* denoiser.h -- any network that can say what x_0 was.
 *
 * Samplers, losses and guides know this interface alone.  A network is asked with scaled x, an
 * embedding of the time and a condition; what its output means is `predicts`:
 *
 *   output = p x_0 + q eps,   x = a x_0 + s eps
 *
 *              p            q
 *   x0         1            0
 *   eps        0            1                                   Ho et al. 2020
 *   score      0            -1/s                                Song et al. 2021
 *   v          -s           a                                   Salimans & Ho 2022
 *   velocity   a'           s'        dx/dt of a path           Lipman et al. 2023
 *   edm        s/(r d)      -a d/r    r^2 = s^2 + a^2 d^2       Karras et al. 2022, table 1
 *
 * Two equations, two unknowns: every conversion is the solution of this system. */
#ifndef DIFFUSION_DENOISER_H
#define DIFFUSION_DENOISER_H
#include "core/ops/ops.h"
#include "diffusion/schedule.h"

typedef enum {
  PREDICTS_EPS,
  PREDICTS_X0,
  PREDICTS_SCORE,
  PREDICTS_V,
  PREDICTS_VELOCITY,
  PREDICTS_EDM,
  PREDICTIONS
} Prediction;

/* what the network is told about the time */
typedef enum {
  TIME_OWN,       /* n of a discrete schedule, t of a continuous one */
  TIME_THOUSANDS, /* 1000 t (continuous), 1000 n / N (discrete) */
  TIME_LOG_SIGMA, /* ln(s/a) / 4 (Karras et al. 2022); times 1000 in consistency models */
  TIMES
} TimeInput;

typedef struct Denoiser Denoiser;
struct Denoiser {
  /* x [k, 1, dim], embedded time from `embed`, cond [k or 1, 1, c] or NULL -> [k, 1, outputs] */
  Tensor *(*net)(const Denoiser *d, Graph *g, const Params *p, Tensor *x, Tensor *h, Tensor *cond);
  /* times [k, 1, 1] -> what `net` takes as h; ONCE for the grid of a sampler */
  Tensor *(*embed)(const Denoiser *d, Graph *g, const Params *p, Tensor *t);
  Prediction predicts;
  const Schedule *schedule;
  int dim;
  TimeInput time;
  double data_std; /* edm: d, the standard deviation of the data; 0: 1 */
  bool
      learns_variance; /* outputs = 2 dim: the second half is v of Nichol & Dhariwal 2021, eq. 15 */
};

/* y = p x_0 + q eps */
typedef struct {
  double p, q;
} Line;
Line prediction_line(Prediction predicts, const Level *level, double data_std);

/* wanted = to_x x + to_out output.  Infinite or NAN where the output does not tell: eps without
 * signal, x_0 or v from a velocity where path and noise are parallel. */
typedef struct {
  double to_x, to_out;
} Form;
Form line_form(Line output, Line wanted, const Level *level);
Form denoiser_form(const Denoiser *d, Prediction wanted, const Level *level);

/* The number that `embed` takes, and the factor of x that `net` takes: 1, or EDM's c_in. */
double denoiser_time(const Denoiser *d, const Level *level);
double denoiser_scale(const Denoiser *d, const Level *level);

const char *prediction_name(Prediction predicts);
Prediction denoiser_prediction(const char *name); /* a listed name (checked by the settings) */

#endif
