/* qgpo.c -- Q-Guided Policy Optimization by contrastive energy prediction.  Lu et al. 2023
 * (arXiv 2304.12824).
 *
 *   mu       E |eps - net(a_t, t, s)|^2                     behaviour, first and alone
 *   a_1 .. a_M ~ mu(. | s),  a'_1 .. a'_M ~ mu(. | s')       its support of either state
 *   V(s')  = sum_j softmax_j(alpha_q Q'(s', a'_j)) Q'(s', a'_j)                        eq. 17
 *   JQ     = sum_i mean (Q_i(s, a) - r - gamma live V(s'))^2
 *   Jf     = -mean sum_j softmax_j(alpha Q'(s, a_j)) ln softmax_j(f(a_jt, t, s))       eq. 12
 *   pi     ~ mu(a | s) e^(alpha Q(s, a)):  eps - w s(t) grad f(a_t, t, s), w = 1       eq. 9
 *
 * Q' is the least of the target critics, a_jt action j with noise of its own, one t for all M.  At
 * the optimum of Jf f is ln E[e^(alpha Q(s, a)) | a_t] up to a number of t and s, and its gradient
 * makes samples of pi exactly; w is the act record's `guidance`, to be chosen after training. */
#include "diffusion/energy.h"
#include "rl/algos/held_out.h"
#include "rl/algos/objective.h"
#include "rl/algos/support.h"
#include "rl/algos/values.h"
#include "rl/measure/returns.h"
#include "rl/source/source_transitions.h"

#define QGPO_FIELDS(F)                                                                             \
  F(INT, hidden, 256, 1, 4096, "units of a hidden layer")                                          \
  F(TEXT, schedule, "vp-sde", "vp|linear|cosine|vp-sde|flow", NULL, "noise schedule")              \
  F(INT, diffusion_steps, 5, 1, 1000, "T: steps of a discrete schedule")                           \
  F(TEXT, predicts, "eps", "eps|x0|velocity", NULL, "what the network's output is")                \
  F(TEXT, sampler, "dpmpp_2m", "ddpm|ddim|dpmpp_2m|dpmpp_2s|euler", NULL,                          \
    "how actions are sampled, of the support too")                                                 \
  F(INT, sample_steps, 15, 0, 1000, "network evaluations an action; 0: T")                         \
  F(FLOAT, behaviour, 0.375, 0, 1, "share of the steps, the first, that teach the behaviour")      \
  F(FLOAT, critics_end, 0.6875, 0, 1, "and at what share the critics stop, beside the energy")     \
  F(INT, support, 16, 2, 256, "M: actions of the behaviour for each state")                        \
  F(FLOAT, alpha, 3.0, 0, 1e6, "how strongly Q tilts the policy (beta in the paper)")              \
  F(FLOAT, alpha_q, 1.0, 0, 1e6, "of the softmax over the next state's support, in targets")       \
  F(FLOAT, guidance, 1.0, 0, 1000, "when acting: of the energy's gradient; 1: exact")              \
  F(FLOAT, behaviour_rate, 1e-4, 1e-8, 1, "learning rate of the behaviour")                        \
  F(FLOAT, rate, 3e-4, 1e-8, 1, "learning rate of critics and energy")                             \
  F(FLOAT, tau, 0.005, 0, 1, "target critics: target += tau (online - target)")                    \
  F(INT, energy_layers, 4, 2, 7, "hidden layers of the energy (SiLU)")                             \
  F(INT, critics, 2, 1, 64, "members of the critic")                                               \
  F(INT, critic_layers, 3, 1, 7, "hidden layers of a critic")                                      \
  F(TEXT, critic_activation, "relu", "relu|mish|gelu|silu|tanh", NULL,                             \
    "after every hidden layer of a critic")                                                        \
  F(TEXT, layernorm, "none", "none|before|after", NULL,                                            \
    "layer norm in the critics, before or after the activation")                                   \
  VALUE_FIELDS(F)

typedef struct {
  CONFIG_MEMBERS(TRAIN_FIELDS)
  CONFIG_MEMBERS(DATA_FIELDS)
  CONFIG_MEMBERS(CHUNK_FIELDS)
  CONFIG_MEMBERS(RETURN_FIELDS)
  CONFIG_MEMBERS(QGPO_FIELDS)
} QgpoConfig;

#define CONFIG_STRUCT QgpoConfig
static const ConfigField fields[] = { CONFIG_ROWS(TRAIN_FIELDS) CONFIG_ROWS(
    DATA_FIELDS) CONFIG_ROWS(CHUNK_FIELDS) CONFIG_ROWS(RETURN_FIELDS) CONFIG_ROWS(QGPO_FIELDS) };
#undef CONFIG_STRUCT

typedef struct {
  Agent agent;
  const AlgoSetup *setup;
  const QgpoConfig *cfg;
  Objective behaviour, critic, energy;
  Support *here, *next; /* of s and of s' */
  Batch *batch;
} Qgpo;

/* ---- objectives ------------------------------------------------------------------------------ */

/* the least of the target critics, or what `value` says: obs [1, 1, seen], act [k, 1, width] */
static Tensor *target_q(const Qgpo *m, Graph *g, const char *obs, Tensor *act) {
  const Critic *c = m->agent.policy->critics;
  Tensor *q = critic_q(c, g, c->target, batch_input(g, m->batch, obs), act);
  return critic_value(q, m->cfg->value.s, m->cfg->rho);
}

static Tensor *critic_loss(const Qgpo *m, Graph *g) {
  const Critic *c = m->agent.policy->critics;
  Tensor *q = target_q(m, g, "next", support_input(g, m->next));
  Tensor *weight = t_map(MAP_exp, t_log_softmax_k(t_scale(m->cfg->alpha_q, q)));
  Tensor *y = td_target(g, m->batch, m->cfg->gamma, t_sum_k(t_mul(weight, q)));
  Tensor *obs = batch_input(g, m->batch, "obs"), *act = batch_input(g, m->batch, "act");
  return td_loss(g, m->batch, critic_q(c, g, c->online, obs, act), y);
}

static Tensor *energy_loss(const Qgpo *m, Graph *g) {
  const Policy *p = m->agent.policy;
  Tensor *act = support_input(g, m->here);
  const EnergyBatch batch = { .energy = p->energy_net,
                              .params = p->energy,
                              .schedule = p->model->schedule,
                              .stream = "energy",
                              .x0 = act,
                              .reward = t_scale(m->cfg->alpha, target_q(m, g, "obs", act)),
                              .cond = batch_input(g, m->batch, "obs") };
  return energy_contrastive(&batch);
}

/* ---- set-up ---------------------------------------------------------------------------------- */

static Policy *new_policy(const AlgoSetup *setup, const QgpoConfig *cfg, Error *error) {
  Policy *p = algo_policy(setup, &policy_diffusion, error);
  if (!p) return NULL;
  p->act.sampler = cfg->sampler, p->act.steps = cfg->sample_steps;
  /* a continuous schedule has no steps of its own: T evaluations instead */
  if (!p->model->schedule->def->discrete && !p->act.steps) p->act.steps = cfg->diffusion_steps;
  p->act.guidance = cfg->guidance;
  p->act.value = cfg->value, p->act.rho = cfg->rho;
  params_drop(p->actor_ema);
  return p;
}

static bool new_support(Qgpo *m, Error *error) {
  const Policy *p = m->agent.policy;
  int count = (int)m->cfg->support;
  m->here = support_new(m->setup, p, m->batch, "obs", count, error);
  m->next = m->here ? support_new(m->setup, p, m->batch, "next", count, error) : NULL;
  return m->next != NULL;
}

static Agent *create(const AlgoSetup *setup, Error *error) {
  Qgpo *m = arena_alloc(setup->arena, sizeof *m);
  const QgpoConfig *cfg = m->cfg = setup->config;
  m->setup = setup;
  Policy *p = m->agent.policy = new_policy(setup, cfg, error);
  if (!p) return NULL;
  m->batch = td_batch_with(setup, p, (int)cfg->nstep, false, support_rows(setup), error);
  if (!m->batch || !new_support(m, error)) return NULL;
  Graph *g = objective_begin(&m->behaviour, setup, p->actor);
  objective_end(&m->behaviour, setup, &m->agent, td_denoising(g, p, m->batch, "bc"),
                cfg->behaviour_rate, 0, (Ema){ 0 });
  g = objective_begin(&m->critic, setup, p->critics->online);
  objective_end(&m->critic, setup, &m->agent, critic_loss(m, g), cfg->rate, 0,
                objective_target(p->critics->target, cfg->tau, 1));
  g = objective_begin(&m->energy, setup, p->energy);
  objective_end(&m->energy, setup, &m->agent, energy_loss(m, g), cfg->rate, 0, (Ema){ 0 });
  m->agent.held = held_out_new(setup, p, held_out_denoising);
  return &m->agent;
}

/* ---- steps ----------------------------------------------------------------------------------- */

static bool step_of(const Objective *o, int rows, int64_t step, Log *log, const char *name) {
  if (!objective_step(o, rows, (uint64_t)step)) return false;
  objective_log(o, log, name);
  return true;
}

/* has this share of the run's steps been made? */
static bool behind(const Qgpo *m, double share, int64_t step) {
  return (double)step >= share * (double)m->energy.optim->spec.period;
}

static bool update(Agent *agent, int64_t step, Log *log) {
  Qgpo *m = (Qgpo *)agent;
  int rows = m->batch->rows;
  data_sample(&transitions_of(m->setup->source)->train, (uint64_t)step, m->batch);
  if (!behind(m, m->cfg->behaviour, step)) return step_of(&m->behaviour, rows, step, log, "actor");
  support_find(m->here);
  /* the energy follows the critics as they are, and goes on when they have stopped */
  if (!behind(m, m->cfg->critics_end, step)) {
    support_find(m->next);
    if (!step_of(&m->critic, rows, step, log, "critic")) return false;
  }
  return step_of(&m->energy, rows, step, log, "energy");
}

const AlgoDef algo_qgpo = {
  .name = "qgpo",
  .paper = "Lu et al. 2023, arXiv 2304.12824",
  .about = "clones the data by diffusion; the gradient of a learned energy guides it",
  .source = &source_transitions,
  .fields = fields,
  .field_count = sizeof fields / sizeof *fields,
  .config_size = sizeof(QgpoConfig),
  .create = create,
  .update = update,
  .measured = { &measured_returns, &measured_values, &measured_held_out },
};
