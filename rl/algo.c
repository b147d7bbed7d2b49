/* algo.c -- the list of algorithms, and what all of them do alike: policies and models of a run,
 * tapes, batches, checkpoints. */
#include "rl/algo.h"
#include "core/names.h"
#include <string.h>

/* clang-format off */
/* a line for each */
#define ALGOS_LISTED(X) \
  X(awm) \
  X(bc) \
  X(bc_10) \
  X(classifier) \
  X(cql) \
  X(ddpo) \
  X(ddpo_sf) \
  X(diffuser) \
  X(diffusion_bc) \
  X(diffusion_dpo) \
  X(diffusion_ql) \
  X(dpok) \
  X(dppo) \
  X(draft) \
  X(edac) \
  X(flow_grpo) \
  X(fpo) \
  X(fql) \
  X(idql) \
  X(ifql) \
  X(image) \
  X(iql) \
  X(nft) \
  X(qgpo) \
  X(rebrac) \
  X(reinflow) \
  X(refl) \
  X(rwr) \
  X(sac) \
  X(td3) \
  X(td3_bc) \
  X(toy) \
  X(world_diffusion)

/* clang-format on */
#define DECLARE(name) extern const AlgoDef algo_##name;
ALGOS_LISTED(DECLARE)
#define ENTRY(name) &algo_##name,
static const AlgoDef *const algos[] = { ALGOS_LISTED(ENTRY) };
enum { ALGOS = sizeof algos / sizeof *algos };

const AlgoDef *const *algo_list(size_t *count) {
  *count = ALGOS;
  return algos;
}

const AlgoDef *algo_find(const char *name, Error *error) {
  const Names *names =
      NAMES(algos, ALGOS, .pointers = true, .what = "algorithm", .see = "`diffrl list algos`");
  int i = names_find(names, name, error);
  return i < 0 ? NULL : algos[i];
}

int algo_episodes(const AlgoSetup *setup) {
  struct {
    CONFIG_C_INT eval_episodes;
  } own = { 0 };
  ConfigField row = { .key = "eval_episodes", .type = CONFIG_INT, .offset = 0 };
  Config config = { .fields = &row, .count = 1, .values = &own };
  config_copy(&config, setup->def->fields, setup->def->field_count, setup->config);
  return (int)own.eval_episodes;
}

OptimSpec algo_optim(const TrainConfig *config, double rate, double clip) {
  OptimSpec spec = optim_adam(rate);
  spec.clip = clip;
  /* the rate's schedule is that of the run, unless an algorithm changes it */
  spec.schedule = strcmp(config->schedule_rate.s, "cosine") ? RATE_CONSTANT : RATE_COSINE;
  spec.period = config->rate_steps ? config->rate_steps : config->steps;
  return spec;
}

Policy *algo_policy(const AlgoSetup *setup, const PolicyDef *def, Error *error) {
  Policy *p = policy_start(setup->arena, def);
  /* the algorithm's settings that a policy has too; dimensions are those of the data */
  policy_set(p, setup->def->fields, setup->def->field_count, setup->config);
  p->spec.obs_dim = setup->obs_dim, p->spec.act_dim = setup->act_dim;
  if (!policy_build(p, error) || !blocks_allocate(&p->blocks, error)) return NULL;
  policy_init(p, setup->seed);
  /* bounds and normaliser belong to the policy, whose file then acts in the data's units */
  size_t bytes = (size_t)setup->act_dim * sizeof(float);
  memcpy(p->low, setup->act_low, bytes);
  memcpy(p->high, setup->act_high, bytes);
  p->units.obs = setup->source->units.obs;
  return p;
}

Model *algo_model(const AlgoSetup *setup, const ModelDef *def, const char *data) {
  Model *m = model_start(setup->arena, def, data);
  model_set(m, setup->def->fields, setup->def->field_count, setup->config);
  return m;
}

bool algo_model_build(const AlgoSetup *setup, Model *m, Error *error) {
  if (!model_build(m, error) || !blocks_allocate(&m->blocks, error)) return false;
  model_init(m, setup->seed);
  return true;
}

ModelSampling algo_sampling(const AlgoSetup *setup, const Model *m) {
  ModelSampling how = model_sampling(m);
  /* noise by the seed of the run, work by its threads */
  how.seed = setup->seed, how.pool = setup->pool, how.kernels = setup->kernels;
  return how;
}

Optim *algo_train(const AlgoSetup *setup, Agent *agent, Params *params, double rate, double clip) {
  OptimSpec spec = algo_optim(setup->config, rate, clip);
  return blocks_train(&agent->blocks, optim_new(setup->arena, params, &spec));
}

size_t algo_bytes(const Agent *agent) {
  const Blocks *owned[] = { &agent->blocks, agent->policy ? &agent->policy->blocks : NULL,
                            agent->model ? &agent->model->blocks : NULL };
  size_t bytes = 0;
  for (int i = 0; i < 3; i++) {
    if (!owned[i]) continue;
    bytes += blocks_bytes(owned[i]);
    for (int k = 0; k < owned[i]->optims; k++)
      bytes += 2 * owned[i]->optim[k]->params->layout->size * sizeof(real);
  }
  return bytes;
}

bool algo_check_acting(const Agent *agent, Error *error) {
  const AlgoSetup *setup = agent->setup;
  Arena *scratch = arena_new();
  const Policy *p = agent->policy;
  bool acts = p || (agent->model && policy_is_model(agent->model));
  if (acts && !p) p = policy_of_model(scratch, agent->model, error);
  bool can = !acts || (p && actor_new(scratch, p, 1, setup->seed, NULL, setup->kernels, error));
  arena_free(scratch);
  if (can) return true;
  error->kind = FAIL_USAGE;
  return error_prefix(error, "what %s trains could not act by these settings", agent->def->name);
}

/* the optimiser that moves the average of the policy's weights; NULL: none does */
static const Optim *averaging(const Agent *agent) {
  const Blocks *b = &agent->blocks;
  for (int i = 0; i < b->optims; i++)
    if (agent->policy && b->optim[i]->ema.average &&
        b->optim[i]->ema.average == agent->policy->actor_ema)
      return b->optim[i];
  return NULL;
}

int64_t algo_average_from(const Agent *agent) {
  const Optim *optim = averaging(agent);
  return optim ? optim_average_from(optim) : 0;
}

void algo_average(const Agent *agent) {
  const Optim *optim = averaging(agent);
  if (optim) agent->policy->average_waits = optim->step < optim_average_from(optim);
}

/* what a checkpoint holds follows from what the agent owns; a simulation is beyond that */
bool algo_save(const Agent *agent, Checkpoint *c, Error *error) {
  algo_average(agent);
  if (agent->policy) policy_save(agent->policy, c);
  if (agent->model) model_save(agent->model, c);
  blocks_save(&agent->blocks, c);
  return !agent->def->save_more || agent->def->save_more(agent, c, error);
}

/* in the same order; the first part that does not fit says why */
bool algo_load(Agent *agent, const Checkpoint *c, Error *error) {
  return (!agent->policy || policy_read(agent->policy, c, error)) &&
         (!agent->model || model_read(agent->model, c, error)) &&
         blocks_load(&agent->blocks, c, error) &&
         (!agent->def->load_more || agent->def->load_more(agent, c, error));
}

bool algo_begin(Agent *agent, const Checkpoint *from, BlocksBegun *begun, Error *error) {
  if (agent->policy)
    return policy_begin(agent->policy, from, begun, error) &&
           blocks_begin(&agent->blocks, from, begun, error);
  /* neither acts nor samples: its blocks are all it has */
  if (!agent->model) return blocks_begin(&agent->blocks, from, begun, error);
  if (!model_begin(agent->model, from, error)) return false;
  const Blocks *all = &agent->model->blocks;
  for (int i = 0; i < all->count; i++)
    begun->taken =
        arena_text(begun->arena, "%s%s%s", begun->taken, i ? ", " : "", all->params[i]->block);
  return true;
}

GraphSpec algo_graph_spec(const AlgoSetup *setup, Params *trained) {
  const TrainConfig *config = setup->config;
  return (GraphSpec){ .trained = trained,
                      .seed = setup->seed,
                      .pool = setup->pool,
                      /* a tape that trains is run by all ranks together, any other by one */
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
  /* of all rows each rank samples those that its tape will read */
  ranks_rows(setup->ranks, batch->rows, (int)config->group, &batch->from, &batch->to);
  return batch;
}
