/* optim.h -- Adam and AdamW over one flat block, clipping by global norm, learning-rate schedules,
 * and averages of weights. */
#ifndef CORE_OPTIM_H
#define CORE_OPTIM_H
#include "core/tape/graph.h"
#include "core/tape/params.h"

typedef enum { RATE_CONSTANT, RATE_COSINE } RateSchedule;

typedef struct {
  double rate; /* learning rate */
  double beta1, beta2, eps;
  double weight_decay; /* decoupled (Loshchilov & Hutter 2019); 0: Adam */
  double clip;         /* largest global L2 norm of the gradient; 0: none */
  RateSchedule schedule;
  int64_t period; /* steps until a cosine rate is 0 */
} OptimSpec;

/* PyTorch's Adam defaults at this rate. */
OptimSpec optim_adam(double rate);

/* An average of the weights, or a target network: average += (1 - decay) (params - average) after
 * every `period`-th update from number `start` on (from 0); before that it keeps its initial
 * weights (Diffusion-QL: .995, 5, 1000). */
typedef struct {
  Params *average;
  double decay;
  int64_t start, period;
} Ema;

typedef struct {
  OptimSpec spec;
  Params *params, *m, *v; /* m, v: moments, blocks "<block>_adam_m" and "_v" */
  int64_t step;           /* updates done */
  double grad_norm;       /* of the last gradient, before clipping */
  double *squares;        /* of the last gradient's chunks, added up */
  Ema ema;                /* updated in the same pass; average NULL: none */
  char finding[512];      /* of the last objective_step: why it was refused; "": it was not */
} Optim;

Optim *optim_new(Arena *arena, Params *params, const OptimSpec *spec);

/* The rate that update number `step` (from 0) uses. */
double optim_rate(const OptimSpec *spec, int64_t step);

/* How far the average goes to the weights in the next update: 1 - decay, or 0 where it stays. */
double optim_follow(const Optim *optim);

/* One update from a gradient in the layout of the params.  Clipping scales by
 * min(1, clip / (norm + 1e-6)).  False, and nothing changed, if the gradient is not finite. */
bool optim_step(Optim *optim, const real *gradient, const Kernels *kernels, Pool *pool);

/* The updates after which the average is one: until then it holds what it began with.  0 without
 * an average. */
int64_t optim_average_from(const Optim *optim);

void optim_save(const Optim *optim, Checkpoint *checkpoint); /* moments and "<block>_adam/step" */
bool optim_load(Optim *optim, const Checkpoint *checkpoint, Error *error);

/* ---- a loss that is minimised ---------------------------------------------------------------- */

typedef struct {
  Graph *graph;
  Tensor *loss;
  Optim *optim;
  Pool *pool;
  const struct Adapter *adapter; /* nullable: whose factors are what the optimiser moves */
} Objective;

/* Run the tape on `rows` rows and update.  False, and nothing changed, if the gradient is not
 * finite: then the tape has run again to find the first value that is not (finding.h), and
 * optim->finding says in words where. */
bool objective_step(const Objective *objective, int rows, uint64_t step);

#endif
