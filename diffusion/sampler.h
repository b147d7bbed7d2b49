/* sampler.h -- a sampler is a table of stages; one executor records any of them.
 *
 * A stage asks the network at `time`, turns (x, output) into the data estimate x0 = to_x x +
 * to_out output, clips it if the sampler clips, and moves on:
 *
 *   x' = base x + sum_j out[j] X_j + noise z,   X_0 this stage's x0, X_1 the previous one's, ..
 *
 *   ddpm        posterior mean and variance      Ho et al. 2020, eq. 6-7 ("fixed small")
 *   ddim        any eta in [0, 1]                Song et al. 2021, eq. 12
 *   dpmpp_2m    DPM-Solver++ multistep, order 2  Lu et al. 2022, alg. 2; the first step, and one
 *                                                that ends at clean data, are of order 1
 */
#ifndef DIFFUSION_SAMPLER_H
#define DIFFUSION_SAMPLER_H
#include "diffusion/denoiser.h"

enum { SAMPLER_HISTORY = 2 };

typedef struct {
  double time;
  double to_x, to_out;
  double base, out[SAMPLER_HISTORY], noise;
} Stage;

typedef struct {
  const char *method; /* "ddpm", "ddim", "dpmpp_2m" */
  int steps;          /* network evaluations; 0: as many as the schedule has */
  double eta;         /* ddim only: 0 deterministic, 1 as ddpm */
  bool clip;          /* x0 to [low, high] in every stage */
  double low, high;
} SamplerSpec;

typedef struct {
  SamplerSpec spec;
  int stages;
  Stage *stage; /* [stages], from noise to data */
} Sampler;

const char *const *sampler_list(size_t *count);

/* Fill the table for this schedule and kind of prediction.  NULL and an error (FAIL_USAGE) if the
 * method is unknown, or asks for more steps than a discrete schedule has. */
Sampler *sampler_new(Arena *arena, const SamplerSpec *spec, const Schedule *schedule,
                     Prediction predicts, Error *error);

/* Record the whole chain: k samples a row from noise, [k, 1, dim].  Gradients go through all
 * steps, noise constant.  Random streams are "<stream> start" and "<stream> 0", "1", ... */
Tensor *sampler_record(Graph *g, const Sampler *sampler, const Denoiser *denoiser,
                       const Params *params, const char *stream, Tensor *cond, int k);

/* One stage as a tape to be replayed: its numbers are given before each run.  Bit for bit the
 * chain's numbers when driven with the same noise. */
typedef struct {
  Tensor *x;       /* ROW input [k, 1, dim] */
  Tensor *before;  /* ROW input: the previous x0 estimate */
  Tensor *noise;   /* ROW input: z */
  Tensor *numbers; /* ONCE given [1, SAMPLER_NUMBERS]: sampler_numbers fills it */
  Tensor *next, *x0;
} SamplerStep;
enum { SAMPLER_NUMBERS = 7 };

SamplerStep sampler_step_record(Graph *g, const Sampler *sampler, const Denoiser *denoiser,
                                const Params *params, Tensor *cond, int k);
void sampler_numbers(const Stage *stage, real numbers[16]);

#endif
