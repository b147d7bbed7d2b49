/* diffusion_ql.c -- Diffusion-QL.  Wang, Hunt & Zhou 2023 (arXiv 2208.06193), Algorithm 1.
 *
 * The policy is a diffusion model of actions given the observation.  Its loss is the denoising
 * loss (stay near the data) minus the value of what it samples, differentiated through all T
 * steps of the chain.  As in the released code the Q term is normalised by the other critic, the
 * targets come from an average of the actor, and acting draws 50 candidates and samples one from
 * the softmax of the target critics' least value. */
#include "rl/algos/diffusion_ql.h"
#include "rl/algo.h"
#include "rl/algos/held_out.h"
#include "rl/algos/objective.h"
#include "rl/algos/values.h"
#include "rl/measure/returns.h"
#include "rl/source/source_transitions.h"
#include <string.h>

#define DIFFUSION_QL_FIELDS(F)                                                                     \
  F(INT, hidden, 256, 1, 4096, "units of a hidden layer (three of Mish)")                          \
  F(TEXT, schedule, "vp", "vp|linear|cosine", NULL, "noise schedule")                              \
  F(INT, diffusion_steps, 5, 1, 1000, "T: steps of the chain")                                     \
  F(FLOAT, actor_rate, 3e-4, 1e-8, 1, "learning rate of the policy")                               \
  F(FLOAT, critic_rate, 3e-4, 1e-8, 1, "learning rate of the critics")                             \
  F(FLOAT, eta, 1.0, 0, 1e3, "weight of the Q term; 0: clone, and let the critics choose")         \
  F(INT, eta_from, 0, 0, NULL, "first step with the Q term; before it the actor only clones")      \
  F(FLOAT, clip, 9.0, 0, 1e6, "largest gradient norm of actor and critics; 0: none")               \
  F(BOOL, max_q_backup, false, NULL, NULL, "targets by the best of 10 actions, per critic")        \
  F(FLOAT, tau, 0.005, 0, 1, "target critics: target += tau (online - target)")                    \
  F(FLOAT, ema, 0.995, 0, 1, "decay of the actor's average")                                       \
  F(INT, ema_every, 5, 1, NULL, "steps between updates of the average")                            \
  F(INT, ema_start, 1000, 0, NULL, "step from which the average moves")                            \
  F(INT, candidates, 50, 1, 4096, "actions sampled when acting")                                   \
  F(TEXT, choice, "softmax", "softmax|argmax|average", NULL,                                       \
    "among them, by the critics: one sampled, the best, or the mean weighted by softmax")          \
  F(FLOAT, temperature, 1.0, 1e-6, 1e6, "of that softmax, over raw Q values")                      \
  F(TEXT, weights, "online", "online|ema", NULL, "which actor acts")                               \
  F(INT, critics, 2, 1, 64, "members of the critic")                                               \
  CRITIC_FIELDS(F)                                                                                 \
  VALUE_FIELDS(F)

typedef struct {
  CONFIG_MEMBERS(TRAIN_FIELDS)
  CONFIG_MEMBERS(DATA_FIELDS)
  CONFIG_MEMBERS(CHUNK_FIELDS)
  CONFIG_MEMBERS(RETURN_FIELDS)
  CONFIG_MEMBERS(DIFFUSION_QL_FIELDS)
} DiffusionQlConfig;

#define CONFIG_STRUCT DiffusionQlConfig
static const ConfigField fields[] = { CONFIG_ROWS(TRAIN_FIELDS) CONFIG_ROWS(DATA_FIELDS)
                                          CONFIG_ROWS(CHUNK_FIELDS) CONFIG_ROWS(RETURN_FIELDS)
                                              CONFIG_ROWS(DIFFUSION_QL_FIELDS) };
#undef CONFIG_STRUCT

static const SettingNeed needs[] = { { "choice", "candidates", NULL, "1" },
                                     { "temperature", "candidates", NULL, "1" },
                                     { "temperature", "choice", NULL, "argmax" },
                                     { "eta_from", "eta", NULL, "0" },
                                     { NULL, NULL, NULL, NULL } };

enum { BACKUP_ACTIONS = 10 };

typedef struct {
  Agent agent;
  const AlgoSetup *setup;
  const DiffusionQlConfig *cfg;
  Objective critic, actor, clone; /* clone: the actor without its Q term */
  CriticObjective critic_terms;
  ActorObjective actor_terms;
  Optim *actor_optim;
  Batch *batch;
} DiffusionQl;

/* ---- objectives ------------------------------------------------------------------------------ */

CriticObjective diffusion_ql_critic(Graph *g, const DiffusionQlSpec *spec, const Batch *batch) {
  const Policy *p = spec->policy;
  Tensor *obs = batch_input(g, batch, "obs"), *act = batch_input(g, batch, "act");
  Tensor *next = batch_input(g, batch, "next");
  int k = spec->max_q_backup ? BACKUP_ACTIONS : 1;
  /* y: an action of the actor's average in s', valued by the target critics */
  Tensor *a =
      sampler_record(g, spec->sampler, p->model->denoiser, p->actor_ema, "target chain", next, k);
  Tensor *next_q = critic_q(p->critics, g, p->critics->target, next, a); /* [k, 1, 2] */
  if (k > 1) next_q = t_max_k(next_q);                                   /* per critic */
  Tensor *value = critic_value(next_q, spec->value, spec->rho);
  Tensor *y = td_target(g, batch, spec->gamma, value);
  /* the error of all critics towards the same y */
  Tensor *q = critic_q(p->critics, g, p->critics->online, obs, act);
  return (CriticObjective){ td_loss(g, batch, q, y), q, y, t_mean(q), t_mean(y) };
}

/* x where coin is 1, else y */
static Tensor *either(Tensor *coin, Tensor *x, Tensor *y) {
  return t_add(t_mul(x, coin), t_mul(y, t_shift(t_scale(-1, coin), 1)));
}

/* -E Q_i / E|Q_j| of two members, a coin says which is i; or of the value that more stand for. */
static Tensor *q_loss(Graph *g, const DiffusionQlSpec *spec, Tensor *q) {
  /* as released: the critic that is climbed and the one that scales are drawn by a coin */
  Tensor *above, *below;
  if (q->n == 2 && !strcmp(spec->value, "min")) {
    Tensor *coin = t_coin(g, "critic coin"), *q0 = t_col(q, 0), *q1 = t_col(q, 1);
    above = either(coin, q1, q0), below = either(coin, q0, q1);
  } else {
    above = below = critic_value(q, spec->value, spec->rho);
  }
  /* a constant to the gradient: eta weighs Q alike, whatever the size of rewards */
  Tensor *scale = t_detach(t_mean(t_map(MAP_abs, below)));
  return t_scale(-1, t_div(t_mean(above), scale));
}

ActorObjective diffusion_ql_actor(Graph *g, const DiffusionQlSpec *spec, const Batch *batch) {
  const Policy *p = spec->policy;
  /* L_d clones the data's actions; L_q values an action of the whole chain and trains through it */
  Tensor *obs = batch_input(g, batch, "obs"), *Ld = td_denoising(g, p, batch, "bc");
  Tensor *a0 =
      sampler_record(g, spec->sampler, p->model->denoiser, p->actor, "actor chain", obs, 1);
  Tensor *Lq = q_loss(g, spec, critic_q(p->critics, g, p->critics->online, obs, a0));
  return (ActorObjective){ t_mix(1, Ld, spec->eta, Lq), Ld, Lq, a0 };
}

/* does this step's actor climb Q? */
static bool climbs(const DiffusionQlConfig *cfg, int64_t step) {
  return cfg->eta > 0 && step >= cfg->eta_from;
}

static void build_critic(DiffusionQl *m, const DiffusionQlSpec *spec) {
  const DiffusionQlConfig *cfg = m->cfg;
  /* the loss of the critics, whose optimiser moves the targets too */
  Critic *c = spec->policy->critics;
  Graph *g = objective_begin(&m->critic, m->setup, c->online);
  const CriticObjective *terms = &m->critic_terms;
  m->critic_terms = diffusion_ql_critic(g, spec, m->batch);
  graph_keep(terms->q_mean), graph_keep(terms->target_mean);
  objective_end(&m->critic, m->setup, &m->agent, terms->loss, cfg->critic_rate, cfg->clip,
                objective_target(c->target, cfg->tau, 1));
}

/* One optimiser for both losses of the actor: cloning alone before eta_from, and with Q. */
static void build_actor(DiffusionQl *m, const DiffusionQlSpec *spec) {
  const DiffusionQlConfig *cfg = m->cfg;
  Params *actor = spec->policy->actor;
  const Ema average = { spec->policy->actor_ema, cfg->ema, cfg->ema_start, cfg->ema_every };
  /* the loss with Q, if any step will use it */
  if (climbs(cfg, INT64_MAX)) {
    m->actor_terms =
        diffusion_ql_actor(objective_begin(&m->actor, m->setup, actor), spec, m->batch);
    graph_keep(m->actor_terms.bc), graph_keep(m->actor_terms.q);
    objective_end(&m->actor, m->setup, &m->agent, m->actor_terms.loss, cfg->actor_rate, cfg->clip,
                  average);
    m->actor_optim = m->actor.optim;
  }
  /* cloning alone, if any step comes before Q; both share weights and moments */
  if (climbs(cfg, 0)) return;
  Graph *g = objective_begin(&m->clone, m->setup, actor);
  Tensor *loss = td_denoising(g, spec->policy, m->batch, "bc");
  if (m->actor_optim)
    objective_end_as(&m->clone, m->setup, loss, &m->actor);
  else
    objective_end(&m->clone, m->setup, &m->agent, loss, cfg->actor_rate, cfg->clip, average);
  m->actor_optim = m->clone.optim;
}

/* ---- set-up ---------------------------------------------------------------------------------- */

/* how it acts is stored with it: candidates, and how the critics choose among them */
static Policy *new_policy(const AlgoSetup *setup, const DiffusionQlConfig *cfg, Error *error) {
  Policy *p = algo_policy(setup, &policy_diffusion, error);
  if (!p) return NULL;
  p->act.candidates = cfg->candidates, p->act.weights = cfg->weights;
  p->act.temperature = cfg->temperature;
  p->act.value = cfg->value, p->act.rho = cfg->rho;
  if (cfg->candidates > 1) p->act.choice = cfg->choice;
  return p;
}

static Agent *create(const AlgoSetup *setup, Error *error) {
  DiffusionQl *m = arena_alloc(setup->arena, sizeof *m);
  m->setup = setup, m->cfg = setup->config;
  Policy *p = m->agent.policy = new_policy(setup, m->cfg, error);
  if (!p) return NULL;
  /* the chain that training differentiates: DDPM over all T steps, within the action bounds */
  SamplerSpec chain = { .method = "ddpm", .clip = true, .low = -1, .high = 1 };
  Sampler *sampler = sampler_new(setup->arena, &chain, p->model->denoiser, error);
  if (!sampler) return NULL;
  m->batch = td_batch(setup, p, (int)m->cfg->nstep, false, error);
  if (!m->batch) return NULL;
  const DiffusionQlConfig *cfg = m->cfg;
  const DiffusionQlSpec spec = { .policy = p,
                                 .sampler = sampler,
                                 .gamma = cfg->gamma,
                                 .eta = cfg->eta,
                                 .max_q_backup = cfg->max_q_backup,
                                 .value = cfg->value.s,
                                 .rho = cfg->rho };
  build_critic(m, &spec);
  build_actor(m, &spec);
  m->agent.held = held_out_new(setup, p, held_out_denoising);
  return &m->agent;
}

/* ---- Algorithm 1 ----------------------------------------------------------------------------- */

/* losses of the steps just done, and sizes of the values behind them */
static void report(const DiffusionQl *m, bool with_q, Log *log) {
  const Optim *actor = m->actor_optim;
  objective_log(&m->critic, log, "critic");
  log_scalar(log, "loss/bc", graph_scalar(with_q ? m->actor_terms.bc : m->clone.loss));
  if (with_q) log_scalar(log, "loss/q", graph_scalar(m->actor_terms.q));
  log_scalar(log, "q/mean", graph_scalar(m->critic_terms.q_mean));
  log_scalar(log, "q/target_mean", graph_scalar(m->critic_terms.target_mean));
  log_scalar(log, "grad_norm/actor", actor->grad_norm);
  log_scalar(log, "lr/actor", optim_rate(&actor->spec, actor->step - 1));
}

/* the critics, then the actor by the new critics; averages move with each */
static bool update(Agent *agent, int64_t step, Log *log) {
  DiffusionQl *m = (DiffusionQl *)agent;
  bool with_q = climbs(m->cfg, step);
  data_sample(&transitions_of(m->setup->source)->train, (uint64_t)step, m->batch);
  if (!objective_step(&m->critic, m->batch->rows, (uint64_t)step)) return false;
  if (!objective_step(with_q ? &m->actor : &m->clone, m->batch->rows, (uint64_t)step)) return false;
  report(m, with_q, log);
  return true;
}

const AlgoDef algo_diffusion_ql = {
  .name = "diffusion-ql",
  .paper = "Wang, Hunt & Zhou 2023, arXiv 2208.06193",
  .about = "a diffusion policy that clones the data and climbs Q",
  .source = &source_transitions,
  .fields = fields,
  .field_count = sizeof fields / sizeof *fields,
  .config_size = sizeof(DiffusionQlConfig),
  .needs = needs,
  .create = create,
  .update = update,
  .measured = { &measured_returns, &measured_values, &measured_held_out, &measured_choice },
};
