/* held_out.c -- the same batches and noise each time, so that only the weights change the loss. */
#include "rl/algos/held_out.h"
#include "diffusion/loss.h"
#include "rl/algos/td.h"
#include "rl/source/source_transitions.h"

enum { BATCHES = 32 };

const Column cloned_columns[] = { COLUMN("obs", OF_OBS, 0, 1), COLUMN("act", OF_ACT, 0, 1), { 0 } };

struct HeldOut {
  Graph *graph;
  Tensor *loss;
  Batch *batch;
};

Tensor *held_out_denoising(const Policy *policy, Graph *g, const Batch *batch) {
  Tensor *obs = batch_input(g, batch, "obs"), *act = batch_input(g, batch, "act");
  return diffusion_loss(g, policy->model->denoiser, policy->actor, "held out", act, obs);
}

HeldOut *held_out_new(const AlgoSetup *setup, const Policy *policy, HeldOutLoss *loss) {
  const TrainConfig *config = setup->config;
  HeldOut *held = arena_alloc(setup->arena, sizeof *held);
  Graph *g = held->graph = algo_graph(setup, NULL);
  held->batch =
      batch_new(setup->arena, (int)config->batch, setup->obs_dim, setup->act_dim, cloned_columns);
  held->loss = loss(policy, g, held->batch);
  graph_keep(held->loss);
  graph_seal(g);
  return held;
}

double held_out_loss(HeldOut *held, const Drawer *drawer) {
  double sum = 0;
  for (uint64_t i = 0; i < BATCHES; i++) {
    data_draw(drawer, i, held->batch);
    graph_run(held->graph, held->batch->rows, i, NULL);
    sum += graph_scalar(held->loss);
  }
  return sum / BATCHES;
}

const Measure held_out_measures[] = { { "held_out_loss", "held-out loss",
                                        .caption = "Loss on data held out of training.",
                                        .less_is_better = true, .main = true, .no_best = true } };

const Drawer *held_out_rows(const Agent *agent) {
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
