/* held_out.c -- the same batches and noise each time, so that only the weights change the loss. */
#include "rl/algos/held_out.h"
#include "rl/algos/td.h"
#include "rl/source/source_transitions.h"

enum { BATCHES = 32 };

struct HeldOut {
  Graph *graph;
  Tensor *loss;
  Batch *batch;
};

Tensor *held_out_denoising(const Policy *policy, Graph *g, const Batch *batch) {
  return td_denoising(g, policy, batch, "held out");
}

HeldOut *held_out_new(const AlgoSetup *setup, const Policy *policy, HeldOutLoss *loss) {
  HeldOut *held = arena_alloc(setup->arena, sizeof *held);
  Graph *g = held->graph = algo_graph(setup, NULL);
  /* the same columns as in training */
  held->batch = td_cloned(setup, policy);
  held->batch->from = 0, held->batch->to = held->batch->rows; /* one rank measures for all */
  held->loss = loss(policy, g, held->batch);
  graph_keep(held->loss);
  graph_seal(g);
  return held;
}

double held_out_loss(HeldOut *held, const RowSampler *sampler) {
  /* batch i is the same at every call: rows and noise are counted by i */
  double sum = 0;
  for (uint64_t i = 0; i < BATCHES; i++) {
    data_sample(sampler, i, held->batch);
    graph_run(held->graph, held->batch->rows, i, NULL);
    sum += graph_scalar(held->loss);
  }
  return sum / BATCHES;
}

/* a loss that chooses no best weights: it does not say which policy acts best */
const Measure held_out_measures[] = { { "held_out_loss", "held-out loss",
                                        .caption = "Loss on data held out of training.",
                                        .less_is_better = true, .main = true, .no_best = true } };

const RowSampler *held_out_rows(const Agent *agent) {
  return &transitions_of(agent->setup->source)->held;
}

bool held_out_applies(const Agent *agent) {
  return !agent->setup->env && held_out_rows(agent)->row_count;
}

static bool measure(Agent *agent, double *value, Error *error) {
  (void)error;
  *value = held_out_loss(agent->held, held_out_rows(agent));
  return true;
}

const MeasureSet measured_held_out = {
  .measures = held_out_measures, .count = 1, .applies = held_out_applies, .measure = measure
};
