/* bc.c -- behaviour cloning: the squared error of a deterministic policy, or the likelihood of a
 * Gaussian one (Pomerleau 1991; "BC" and "BC-10 %" of published tables).
 *
 *   deterministic   J = mean over rows and entries of (tanh(net(s)) - a)^2
 *   gaussian        J = -mean log N(a; tanh(net(s)), std)          one deviation for all states
 *   .. squashed     J = -mean log pi(a|s), a = tanh(u), u ~ N(net(s), std)
 *
 * With `best` below 1 only the episodes of the highest discounted return are cloned: bc-10 is bc
 * with the best tenth. */
#include "datasets/best_episodes.h"
#include "policy/policies/policy_gaussian.h"
#include "rl/algos/held_out.h"
#include "rl/algos/objective.h"
#include "rl/algos/td.h"
#include "rl/measure/returns.h"
#include "rl/source/source_transitions.h"
#include <string.h>

#define BC_FIELDS(F)                                                                               \
  F(TEXT, policy, "deterministic", "deterministic|gaussian", NULL, "what is fitted to actions")    \
  F(INT, hidden, 256, 1, 4096, "units of a hidden layer (ReLU)")                                   \
  F(INT, actor_layers, 2, 1, 7, "hidden layers")                                                   \
  F(FLOAT, actor_rate, 3e-4, 1e-8, 1, "learning rate")                                             \
  F(FLOAT, clip, 0.0, 0, 1e6, "largest gradient norm; 0: none")                                    \
  F(TEXT, deviation, "free", "free|tanh|clip", NULL, "gaussian: one vector, or of the state")      \
  F(BOOL, squashed, false, NULL, NULL, "false: actions are a normal around tanh of the network")

/* which episodes: bc takes all, bc-10 the best tenth */
#define ALL_FIELDS(F)                                                                              \
  F(FLOAT, best, 1.0, 0, 1, "share of the episodes, those of the highest discounted return")       \
  F(FLOAT, gamma, 0.99, 0, 1, "discount of that return")
#define TENTH_FIELDS(F)                                                                            \
  F(FLOAT, best, 0.1, 0, 1, "share of the episodes, those of the highest discounted return")       \
  F(FLOAT, gamma, 0.99, 0, 1, "discount of that return")

typedef struct {
  CONFIG_MEMBERS(TRAIN_FIELDS)
  CONFIG_MEMBERS(DATA_FIELDS)
  CONFIG_MEMBERS(CHUNK_FIELDS)
  CONFIG_MEMBERS(BC_FIELDS)
  CONFIG_MEMBERS(TENTH_FIELDS)
} BcConfig;

#define CONFIG_STRUCT BcConfig
#define SHARED                                                                                     \
  CONFIG_ROWS(TRAIN_FIELDS)                                                                        \
  CONFIG_ROWS(DATA_FIELDS) CONFIG_ROWS(CHUNK_FIELDS) CONFIG_ROWS(BC_FIELDS)
static const ConfigField fields[] = { SHARED CONFIG_ROWS(ALL_FIELDS) };
static const ConfigField tenth_fields[] = { SHARED CONFIG_ROWS(TENTH_FIELDS) };
#undef CONFIG_STRUCT

static const SettingNeed needs[] = { { "deviation", "policy", "gaussian", NULL },
                                     { "squashed", "policy", "gaussian", NULL },
                                     { "gamma", "best", NULL, "1" },
                                     { NULL, NULL, NULL, NULL } };

typedef struct {
  Agent agent;
  const AlgoSetup *setup;
  const BcConfig *cfg;
  Objective actor;
  RowSampler sampler;
  Batch *batch;
} Bc;

static bool is_gaussian(const BcConfig *cfg) { return !strcmp(cfg->policy.s, "gaussian"); }

/* the loss of these weights on a batch */
static Tensor *cloning_loss(const Policy *p, Graph *g, const Batch *batch) {
  /* one of the equations above, by the kind of policy */
  Tensor *obs = batch_input(g, batch, "obs"), *act = batch_input(g, batch, "act");
  if (p->def == &policy_gaussian)
    return t_scale(-1, t_mean(gaussian_log_prob(p, g, p->actor, obs, act, td_entries(g, batch))));
  Tensor *error = t_map(MAP_square, t_sub(deterministic_act(p, g, p->actor, obs), act));
  return t_mean(td_masked(g, batch, error));
}

/* those of the best episodes alone, if asked */
static bool choose_rows(Bc *m, Error *error) {
  const Transitions *data = transitions_of(m->setup->source);
  m->sampler = data->train;
  if (m->cfg->best >= 1) return true;
  if (!data->data->rewards)
    return error_set(error, FAIL_INPUT, "%s has no rewards to choose episodes by; use best=1",
                     data->data->source);
  m->sampler.rows = best_episodes(m->setup->arena, &data->train, m->cfg->best, m->cfg->gamma,
                                  &m->sampler.row_count);
  return true;
}

static Agent *create(const AlgoSetup *setup, Error *error) {
  Bc *m = arena_alloc(setup->arena, sizeof *m);
  const BcConfig *cfg = m->cfg = setup->config;
  m->setup = setup;
  Policy *p = m->agent.policy =
      algo_policy(setup, is_gaussian(cfg) ? &policy_gaussian : &policy_deterministic, error);
  if (!p || !choose_rows(m, error)) return NULL;
  /* no average is kept, and a Gaussian policy acts by its mean */
  params_drop(p->actor_ema);
  if (is_gaussian(cfg)) strcpy(p->act.choice.s, "mean");
  m->batch = td_cloned(setup, p);
  Graph *g = objective_begin(&m->actor, setup, p->actor);
  objective_end(&m->actor, setup, &m->agent, cloning_loss(p, g, m->batch), cfg->actor_rate,
                cfg->clip, (Ema){ 0 });
  /* without an environment the same loss is measured on episodes kept apart */
  m->agent.held = held_out_new(setup, p, cloning_loss);
  return &m->agent;
}

static bool update(Agent *agent, int64_t step, Log *log) {
  Bc *m = (Bc *)agent;
  data_sample(&m->sampler, (uint64_t)step, m->batch);
  if (!objective_step(&m->actor, m->batch->rows, (uint64_t)step)) return false;
  objective_log(&m->actor, log, "bc");
  return true;
}

#define BC(called, what, settings)                                                                 \
  .name = called, .paper = "Pomerleau 1991; Fu et al. 2020, arXiv 2004.07219", .about = what,      \
  .source = &source_transitions, .fields = settings,                                               \
  .field_count = sizeof settings / sizeof *settings, .config_size = sizeof(BcConfig),              \
  .needs = needs, .create = create, .update = update,                                              \
  .measured = { &measured_returns, &measured_held_out }

const AlgoDef algo_bc = { BC("bc", "behaviour cloning with a deterministic or Gaussian policy",
                             fields) };
const AlgoDef algo_bc_10 = { BC("bc-10", "behaviour cloning of the best tenth of the episodes",
                                tenth_fields) };
