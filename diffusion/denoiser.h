/* denoiser.h -- any network that can say what x_0 was.
 *
 * Samplers, losses and guides know this interface alone.  A network is asked with scaled x, an
 * embedding of the time and a condition; what its output means is `predicts`, and the conversions
 * under x = a x_0 + s eps are resolved here. */
#ifndef DIFFUSION_DENOISER_H
#define DIFFUSION_DENOISER_H
#include "core/ops.h"
#include "diffusion/schedule.h"

typedef enum { PREDICTS_EPS, PREDICTS_X0 } Prediction;

typedef struct Denoiser Denoiser;
struct Denoiser {
  /* x [k, 1, dim], embedded time from `embed`, cond [k or 1, 1, c] or NULL -> [k, 1, dim] */
  Tensor *(*net)(const Denoiser *d, Graph *g, const Params *p, Tensor *x, Tensor *h, Tensor *cond);
  /* times [k, 1, 1] -> what `net` takes as h; ONCE for the grid of a sampler */
  Tensor *(*embed)(const Denoiser *d, Graph *g, const Params *p, Tensor *t);
  Prediction predicts;
  const Schedule *schedule;
  int dim;
};

/* x_0 = to_x x + to_out output, at signal a and noise s. */
typedef struct {
  double to_x, to_out;
} DataForm;
DataForm denoiser_data_form(Prediction predicts, double a, double s);

Prediction denoiser_prediction(const char *name); /* "eps" or "x0" (checked by the settings) */

#endif
