/* objective.c -- the tape, the optimiser and the log of a loss. */
#include "rl/algos/objective.h"
#include "core/tape/adapter.h"
#include <stdio.h>

Graph *objective_begin(Objective *o, const AlgoSetup *setup, Params *trained) {
  *o = (Objective){ .graph = algo_graph(setup, trained), .pool = setup->pool };
  return o->graph;
}

bool objective_adapt(const AlgoSetup *setup, Agent *agent, Params *trained, const Params *base,
                     int rank, Error *error) {
  if (!rank) return true;
  Adapter *a = adapter_new(setup->arena, trained, base, rank, setup->seed, error);
  if (!a) return error_prefix(error, "lora=%d", rank);
  agent->adapter = a;
  blocks_add(&agent->blocks, a->factors);
  return true;
}

/* The gradient ends a tape; a test may look at it before it is closed. */
static void seal(Objective *o, const AlgoSetup *setup, Tensor *loss) {
  o->loss = loss;
  graph_minimise(loss);
  if (setup->recorded) setup->recorded(setup->user, o->graph);
  graph_seal(o->graph);
}

void objective_end(Objective *o, const AlgoSetup *setup, Agent *agent, Tensor *loss, double rate,
                   double clip, Ema ema) {
  seal(o, setup, loss);
  Params *trained = graph_trained(o->graph);
  bool adapted = agent->adapter && agent->adapter->into == trained;
  o->adapter = adapted ? agent->adapter : NULL;
  o->optim = algo_train(setup, agent, adapted ? o->adapter->factors : trained, rate, clip);
  o->optim->ema = ema;
}

void objective_end_as(Objective *o, const AlgoSetup *setup, Tensor *loss, const Objective *other) {
  seal(o, setup, loss);
  /* both losses move the same weights, so they share moments and rate */
  o->optim = other->optim, o->adapter = other->adapter;
}

Ema objective_target(Params *target, double tau, int64_t period) {
  return (Ema){ target, 1 - tau, 0, period };
}

/* (1 + k) / (10 + k): Karras et al. and others */
Ema objective_average(Params *average, double decay, int64_t step) {
  /* a short average at first, or the initial weights would stay in it for long */
  double warm = (double)(1 + step) / (double)(10 + step);
  return (Ema){ average, warm < decay ? warm : decay, 0, 1 };
}

void objective_cosine(Objective *o, const AlgoSetup *setup) {
  const TrainConfig *config = setup->config;
  o->optim->spec.schedule = RATE_COSINE;
  o->optim->spec.period = config->rate_steps ? config->rate_steps : config->steps;
}

void objective_log(const Objective *o, Log *log, const char *name) {
  char key[64];
  const Optim *optim = o->optim;
  snprintf(key, sizeof key, "loss/%s", name);
  log_scalar(log, key, graph_scalar(o->loss));
  snprintf(key, sizeof key, "grad_norm/%s", name);
  log_scalar(log, key, optim->grad_norm);
  snprintf(key, sizeof key, "lr/%s", name);
  log_scalar(log, key, optim_rate(&optim->spec, optim->step - 1));
}
