/* sampler.h -- a sampler is a table of stages; one executor records any of them.
 *
 * The state is a point x, the base point x_b of the present step, and the last outputs M_0 (the
 * newest), M_1, ..  A stage that evaluates the network puts M = to_x x + to_out output(scale x,
 * time) first, in the form that its solver combines (x_0, eps or velocity); then every stage does
 *
 *   x <- base x_b + sum_j out[j] M_j + noise z      and, if it rebases, x_b <- x
 *
 * Guides and clipping work on x_0 and are asked for only where there are any.
 *
 *   ddpm ddpm_large          posterior mean; variance small, large     Ho et al. 2020
 *   ddpm_learned             variance from the network                 Nichol & Dhariwal 2021
 *   ddim                     any eta in [0, 1]; inverse: data to noise Song et al. 2021
 *   consistency              x_0, then noise again                     Song et al. 2023, alg. 1
 *   dpm_{2s,3s,2m,3m,fast}   DPM-Solver, noise form                    Lu et al. 2022
 *   dpmpp_{2s,3s,2m,3m,fast} DPM-Solver++, data form                   Lu et al. 2022b
 *   sde_dpm_{1,2m}           their SDE forms                           Lu et al. 2022b
 *   sde_dpmpp_{1,2s,2m,3m}                                             and k-diffusion
 *   unipc unipc_bh1          predictor and corrector of one order      Zhao et al. 2023
 *   edm_heun                 Heun in sigma, with churn                 Karras et al. 2022, alg. 2
 *   euler midpoint heun rk4  probability-flow ODE in t; flow samplers
 *   flow_sde                 straight paths, noise eta sqrt(t/(1-t))   Liu et al. 2025
 *   euler_maruyama           the reverse SDE                           Song et al. 2021
 *   sde_euler                .. with noise eta g                       Karras et al. 2022
 *   reverse_diffusion        the forward process turned round          Song et al. 2021, app. E
 *   ancestral                                                          Song et al. 2021, app. F
 *
 * dpm_fast and dpmpp_fast take `steps` as a budget of network evaluations. */
#ifndef DIFFUSION_SAMPLER_H
#define DIFFUSION_SAMPLER_H
#include "diffusion/stage.h"

typedef enum { END_AUTO, END_CLEAN, END_LAST } End;

typedef struct {
  const char *method; /* a name of the list above */
  int steps;          /* 0: as many as a discrete schedule allows */
  double eta;         /* ddim: 0 deterministic .. 1 as ddpm; flow_sde, sde_euler: their noise */
  bool clip;          /* x0 to [low, high] in every stage */
  double low, high;
  const char *spacing; /* grid.h; NULL: linspace */
  double from;         /* time to start from (early-stopped starts); 0: the last */
  End end;             /* clean data, or the schedule's first time; AUTO: clean for discrete ones */
  const double
      *times;       /* [steps] explicit times instead of a spacing, from noise to data; or NULL */
  double final;     /* with `times` and END_LAST: the time to end at */
  int order;        /* unipc 1..3, fast 2..3; 0: the highest */
  bool taylor;      /* 2M: exact for linear M instead of "midpoint" */
  bool lower_final; /* multistep: order 2, then 1, at the end, for very few steps */
  bool compat;      /* 3M: the second difference halved, as in published code (then order 2) */
  bool inverse;     /* from data to noise; methods without noise or history */
  double alpha;     /* edm_heun: where the second slope is taken; 0: 1, Heun */
  double churn, churn_min, churn_max, churn_noise; /* edm_heun; max 0: infinite, noise 0: 1 */
  double temperature;                              /* factor of all noise but the start; 0: 1 */
  const Guide *const *guides;                      /* NULL, or a list that ends with NULL */
} SamplerSpec;

typedef struct {
  SamplerSpec spec;
  const Schedule *schedule;
  double start;   /* standard deviation of the first x */
  Level end;      /* where the chain ends */
  bool data_form; /* M is x_0 */
  int stages, evaluations;
  Stage *stage; /* [stages], from noise to data */
  /* for sampler_record: the first stages by other weights of the network; NULL and 0: none */
  const Params *early;
  int early_stages;
} Sampler;

const char *sampler_name(size_t i); /* NULL behind the last */

/* Fill the table for this denoiser.  NULL and an error (FAIL_USAGE) if the method is unknown, or
 * cannot do what the settings ask; the message says why. */
Sampler *sampler_new(Arena *arena, const SamplerSpec *spec, const Denoiser *denoiser, Error *error);

/* Record the whole chain: k samples a row from noise, [k, 1, dim].  Gradients go through all
 * steps, noise constant.  Random streams are "<stream> start" and "<stream> 0", "1", ... */
Tensor *sampler_record(Graph *g, const Sampler *sampler, const Denoiser *denoiser,
                       const Params *params, const char *stream, Tensor *cond, int k);

/* The same from a given x [k, 1, dim] (early-stopped starts, inversion, editing). */
Tensor *sampler_record_from(Graph *g, const Sampler *sampler, const Denoiser *denoiser,
                            const Params *params, const char *stream, Tensor *x, Tensor *cond);

/* ln p(next | x) of stage i, a Gaussian: sum over dimensions, [k, 1, 1].  NULL and an error
 * (FAIL_USAGE) where the mean uses an older output, there is no noise, or it is learned. */
Tensor *sampler_log_prob(Graph *g, const Sampler *sampler, int i, const Denoiser *denoiser,
                         const Params *params, Tensor *x, Tensor *next, Tensor *cond, Error *error);

/* ---- replayed -------------------------------------------------------------------------------- */

/* One call, recorded once and run in every stage: for chains of many steps.  Gives the
 * chain's numbers bit for bit. */
typedef struct SamplerLoop SamplerLoop;

typedef struct {
  GraphSpec graph; /* kernels, pool, seed, max_rows; trained must be NULL */
  const char *stream;
  int k, cond; /* samples a row; width of the condition, 0: none */
} SamplerLoopSpec;

SamplerLoop *sampler_loop_new(Arena *arena, const Sampler *sampler, const Denoiser *denoiser,
                              const Params *params, const SamplerLoopSpec *spec);

/* x [rows, k, row_stride(dim)]: written; if `from_x`, also the start.  cond [rows, row_stride(c)]
 * or NULL; step and row_ids (nullable) count the noise as in graph_run.  `watch` (nullable) sees x
 * after every stage that rebases. */
typedef void SamplerWatch(void *user, int stage, const real *x);
void sampler_loop_run(SamplerLoop *loop, int rows, uint64_t step, const uint32_t *row_ids,
                      const real *cond, real *x, bool from_x);
void sampler_loop_watch(SamplerLoop *loop, SamplerWatch *watch, void *user);

/* `correct` (nullable) may move x where a step begins, before its stage evaluates the network:
 * predictor-corrector (langevin.h). */
typedef void SamplerCorrect(void *user, int stage, real *x);
void sampler_loop_correct(SamplerLoop *loop, SamplerCorrect *correct, void *user);

#endif
