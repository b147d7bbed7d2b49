/* method.h -- what a sampling method is: a function that adds the stages of one step. */
#ifndef DIFFUSION_METHOD_H
#define DIFFUSION_METHOD_H
#include "diffusion/sampler.h"

/* the table while it is filled */
typedef struct {
  const SamplerSpec *spec;
  const Denoiser *denoiser;
  const Schedule *schedule;
  Prediction combines;
  Level *knot;    /* [steps + 1]; the last is where the chain ends */
  int steps, now; /* the present step goes from knot[now] to knot[now + 1] */
  Stage *stage;
  int stages;
  bool unipc_bh1; /* UniPC's B(h) = h instead of e^h - 1 */
} Table;

typedef enum {
  NEEDS_NOISY_END = 1, /* combines noise estimates or slopes that have no limit at sigma 0 */
  NEEDS_SLOPES = 2,    /* a', s': continuous schedules */
  NEEDS_FLOW = 4,      /* made for straight paths */
  NEEDS_VARIANCE = 8,  /* of the network */
  BY_BUDGET = 16,      /* `steps` counts network evaluations */
  INVERTS = 32,        /* deterministic, without history: runs from data to noise as well */
  TAKES_ETA = 64,
  TAKES_ORDER = 128,
  TAKES_TAYLOR = 256,
  TAKES_COMPAT = 512,
  TAKES_LOWER_FINAL = 1024,
  TAKES_CHURN = 2048, /* and alpha */
} MethodNeeds;

typedef struct {
  const char *name, *about; /* about: what it is and who published it, one line */
  Prediction combines;
  unsigned needs;
  int widest;                            /* stages of one step, at most */
  void (*step)(Table *table, int order); /* add the stages of step `now` */
  int order;                             /* passed to `step`; the highest if the settings choose */
  double noise;                          /* 0: ODE, 1: SDE */
} Method;

const Method *method_list(size_t *count);

/* ---- for those who write one ----------------------------------------------------------------- */

const Level *table_from(const Table *t); /* where the present step begins and ends */
const Level *table_to(const Table *t);
Level table_at_lambda(const Table *t, double lambda);

/* The next stage, rebasing and otherwise zero; or one that evaluates at this level. */
Stage *table_move(Table *t);
Stage *table_ask(Table *t, const Level *at);

/* exponential.c */
typedef void MethodStep(Table *table, int order);
MethodStep exponential_multistep, exponential_multistep_sde;
MethodStep exponential_singlestep, exponential_singlestep_sde;
MethodStep exponential_unipc, exponential_unipc_bh1;

/* Orders of a budget of evaluations (Lu et al. 2022, app. D.2); returns the number of steps. */
int method_budget(int evaluations, int highest, int *order /* [evaluations] */);

#endif
