/* langevin.h -- Langevin dynamics: moving about within one noise level.
 *
 *   x <- x + h score(x, t) + sqrt(2 h) z
 *
 * keeps p_t up to an error of O(h): the variance c^2 of a normal becomes c^2 / (1 - h / (2 c^2)).
 * Others write alpha / 2 and sqrt(alpha), alpha = 2 h.
 *
 * Annealed: a ladder of levels from noise to data (Song & Ermon 2019, alg. 1), at each some moves
 * with alpha = eps s^2 / s_last^2.  Plain Langevin is one rung.
 *
 * Predictor and corrector: some moves before each step of any sampler (Song et al. 2021, alg. 1),
 * h = 2 alpha (r |z| / |score|)^2 with alpha = (a / a')^2 of the step, which is 1 - beta, and 1
 * where the signal is not scaled.  The two norms are
 *
 *   of the sample   not averages over the batch as in the paper's code, so that a sample does not
 *                   depend on its neighbours.  As in that code h depends on x, which is a bias of
 *                   its own: negligible for images, 30 percent of the variance in 8 dimensions.
 *                   h is at most s^2, since |score| may be next to nothing.
 *   expected        |z|^2 = dim and |score|^2 = dim / s^2, as if x_0 were known, so that
 *                   h = 2 alpha r^2 s^2.  For few dimensions. */
#ifndef DIFFUSION_LANGEVIN_H
#define DIFFUSION_LANGEVIN_H
#include "diffusion/field.h"
#include "diffusion/sampler.h"

typedef struct {
  double time, step; /* h */
  int repeats;
} Rung;

/* Zeros are as published in 2019; of 2020 (Song & Ermon, NCSNv2): repeats 5, eps 6.2e-6, on s from
 * 50 to 0.01 in 232 levels, and a denoising step at the end. */
typedef struct {
  int levels;          /* 0: as many as a discrete schedule has */
  const char *spacing; /* grid.h; NULL: linspace */
  int repeats;         /* 0: 100 */
  double eps;          /* alpha at the last level; 0: 2e-5 */
} LadderSpec;

/* Rungs [*count] from noise to data.  NULL and an error (FAIL_USAGE) for a spacing that the
 * schedule has not, and for steps at which the dynamics are not stable. */
Rung *langevin_ladder(Arena *arena, const Schedule *schedule, const LadderSpec *spec, int *count,
                      Error *error);

typedef struct {
  GraphSpec graph; /* kernels, pool, seed, max_rows; trained must be NULL */
  const char *stream;
  int cond;                   /* width of the condition, 0: none */
  double temperature;         /* factor of z; 0: 1 */
  const Guide *const *guides; /* NULL, or a list that ends with NULL */
} LangevinSpec;

typedef struct Langevin Langevin;

/* NULL and an error (FAIL_USAGE) where the temperature is below 0.  Lives in the arena. */
Langevin *langevin_new(Arena *arena, const Denoiser *denoiser, const Params *params,
                       const LangevinSpec *spec, Error *error);

/* who the samples of a run are: as in graph_run, and a condition [rows, row_stride(c)] or NULL */
typedef struct {
  int rows;
  uint64_t step;
  const uint32_t *row_ids;
  const real *cond;
} LangevinRows;

/* Up the ladder: x [rows, dim] is the start and becomes the end.  Move m draws z_j from (stream;
 * step, row id, m dim + j). */
void langevin_run(Langevin *l, const Rung *rung, int rungs, const LangevinRows *who, double *x);

/* x <- E[x_0 | x] = (x + s^2 score) / a: takes the last level's noise away (NCSNv2). */
void langevin_denoise(Langevin *l, double time, const LangevinRows *who, double *x);

/* ---- predictor and corrector ----------------------------------------------------------------- */

typedef enum { NORMS_OF_SAMPLE, NORMS_EXPECTED } Norms;

typedef struct {
  int repeats; /* moves before each step; 0: 1 */
  Norms norms;
  double snr;   /* r; 0: 0.16 */
  bool denoise; /* at the end, if the sampler's end is noisy */
} CorrectorSpec;

typedef struct Corrector Corrector;

/* The predictor is any sampler; its own settings apply (guides to both).  NULL and an error
 * (FAIL_USAGE) for bad settings, and for more than one sample a row. */
Corrector *corrector_new(Arena *arena, const Sampler *sampler, const Denoiser *denoiser,
                         const Params *params, const CorrectorSpec *spec,
                         const SamplerLoopSpec *loop, Error *error);

/* As sampler_loop_run; the corrector's noise is the stream "<stream> corrector". */
void corrector_run(Corrector *c, const LangevinRows *who, real *x, bool from_x);

#endif
