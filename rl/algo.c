/* algo.c -- the list of algorithms. */
#include "rl/algo.h"
#include <string.h>

extern const AlgoDef algo_diffuser, algo_diffusion_bc, algo_diffusion_ql, algo_image, algo_sac,
    algo_toy;
static const AlgoDef *const algos[] = { &algo_diffuser, &algo_diffusion_bc, &algo_diffusion_ql,
                                        &algo_image,    &algo_sac,          &algo_toy };
enum { ALGOS = sizeof algos / sizeof *algos };

const AlgoDef *const *algo_list(size_t *count) {
  *count = ALGOS;
  return algos;
}

const AlgoDef *algo_find(const char *name, Error *error) {
  const char *names[ALGOS];
  for (int i = 0; i < ALGOS; i++) {
    names[i] = algos[i]->name;
    if (!strcmp(name, names[i])) return algos[i];
  }
  const char *nearest = config_nearest(name, names, ALGOS);
  error_set(error, FAIL_USAGE, "unknown algorithm \"%s\"; %s%s", name,
            nearest ? "did you mean " : "see `diffrl list algos`", nearest ? nearest : "");
  return NULL;
}

OptimSpec algo_optim(const TrainConfig *config, double rate, double clip) {
  OptimSpec spec = optim_adam(rate);
  spec.clip = clip;
  spec.schedule = strcmp(config->schedule_rate.s, "cosine") ? RATE_CONSTANT : RATE_COSINE;
  spec.period = config->rate_steps ? config->rate_steps : config->steps;
  return spec;
}

void algo_policy(const AlgoSetup *setup, Policy *policy) {
  params_init(policy->actor, setup->seed);
  params_copy(policy->actor_ema, policy->actor);
  size_t bytes = (size_t)setup->act_dim * sizeof(float);
  memcpy(policy->low, setup->act_low, bytes);
  memcpy(policy->high, setup->act_high, bytes);
  policy->normalizer = setup->source->units.obs;
}

GraphSpec algo_graph_spec(const AlgoSetup *setup, Params *trained) {
  const TrainConfig *config = setup->config;
  return (GraphSpec){ .trained = trained,
                      .seed = setup->seed,
                      .pool = setup->pool,
                      .ranks = trained ? setup->ranks : NULL,
                      .kernels = setup->kernels,
                      .max_rows = (int)config->batch,
                      .group = (int)config->group,
                      .lane = (int)config->lane,
                      .profile = setup->profile };
}

Graph *algo_graph(const AlgoSetup *setup, Params *trained) {
  GraphSpec spec = algo_graph_spec(setup, trained);
  return graph_new(setup->arena, &spec);
}

Batch *algo_batch(const AlgoSetup *setup, const Column *columns) {
  const TrainConfig *config = setup->config;
  Batch *batch =
      batch_new(setup->arena, (int)config->batch, setup->obs_dim, setup->act_dim, columns);
  ranks_rows(setup->ranks, batch->rows, (int)config->group, &batch->from, &batch->to);
  return batch;
}
