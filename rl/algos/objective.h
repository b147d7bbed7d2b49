/* objective.h -- a loss of an algorithm: recorded, minimised, stepped and logged.
 *
 *   Graph *g = objective_begin(&m->critic, setup, p->critics->online);
 *   Tensor *loss = ..;                                     the paper's equation
 *   objective_end(&m->critic, setup, &m->agent, loss, rate, clip, target);
 *   ..
 *   objective_step(&m->critic, rows, step)                 in update
 *   objective_log(&m->critic, log, "critic");                                             */
#ifndef RL_OBJECTIVE_H
#define RL_OBJECTIVE_H
#include "rl/algo.h"

/* A tape of this run that trains these Params. */
Graph *objective_begin(Objective *objective, const AlgoSetup *setup, Params *trained);

/* Minimise the loss: its gradient is recorded and the tape sealed (what is to be read after a step
 * was kept before), with an optimiser at this rate (clip 0: none) that the agent saves and loads.
 * `ema` moves in the optimiser's pass; {0}: nothing does.  If the agent has an adapter of what is
 * trained, its factors learn. */
void objective_end(Objective *objective, const AlgoSetup *setup, Agent *agent, Tensor *loss,
                   double rate, double clip, Ema ema);

/* Low-rank adapters of this rank learn in place of the matrices of `trained`, in every objective
 * that is recorded later; 0: its weights do.  Their factors become a block of the agent; `base`, a
 * copy of `trained` as it came, is one.  FAIL_USAGE for a rank that is too large. */
bool objective_adapt(const AlgoSetup *setup, Agent *agent, Params *trained, const Params *base,
                     int rank, Error *error);

/* The same with the optimiser of another objective, for two losses of the same Params. */
void objective_end_as(Objective *objective, const AlgoSetup *setup, Tensor *loss,
                      const Objective *other);

/* target += tau (params - target) after every `period`-th update: TD3's delayed targets. */
Ema objective_target(Params *target, double tau, int64_t period);

/* The average of step `step`: of few steps it is short, or the first weights would stay in it. */
Ema objective_average(Params *average, double decay, int64_t step);

/* Its rate falls along a cosine to 0 at the run's end, whatever the others do. */
void objective_cosine(Objective *objective, const AlgoSetup *setup);

/* "loss/NAME", "grad_norm/NAME" and "lr/NAME" of the last step. */
void objective_log(const Objective *objective, Log *log, const char *name);

#endif
