/* sac.c -- Soft Actor-Critic, online.  Haarnoja et al. 2018 (arXiv 1812.05905).
 *
 * Makes the behaviour policies of the generated data sets.  One gradient step for each step in the
 * environment; the first `random_steps` actions are uniform.
 *
 *   y  = r + gamma live (min_i Q'_i(s', a') - alpha log pi(a'|s')),     a' ~ pi(.|s')
 *   JQ = sum_i mean (Q_i(s, a) - y)^2
 *   Jpi = mean (alpha log pi(a|s) - min_i Q_i(s, a)),                   a ~ pi(.|s)
 *   Ja = -mean alpha (log pi(a|s) + target entropy),                    target entropy = -dim A */
#include "policy/policies/policy_gaussian.h"
#include "rl/algo.h"
#include "rl/rollout/replay.h"
#include "rl/algos/td.h"
#include "rl/measure/returns.h"
#include "rl/source/source_environment.h"
#include <math.h>
#include <string.h>

#define SAC_FIELDS(F)                                                                              \
  F(INT, hidden, 256, 1, 4096, "units of a hidden layer (two of ReLU)")                            \
  F(FLOAT, actor_rate, 3e-4, 1e-8, 1, "learning rate of the policy")                               \
  F(FLOAT, critic_rate, 1e-3, 1e-8, 1, "learning rate of critics and temperature")                 \
  F(FLOAT, gamma, 0.99, 0, 1, "discount")                                                          \
  F(FLOAT, tau, 0.005, 0, 1, "target critics: target += tau (online - target)")                    \
  F(INT, random_steps, 5000, 1, NULL, "uniform actions at the start; updates begin after")         \
  F(INT, critics, 2, 1, 64, "members of the critic")                                               \
  CRITIC_FIELDS(F)

typedef struct {
  CONFIG_MEMBERS(TRAIN_FIELDS)
  CONFIG_MEMBERS(SAC_FIELDS)
} SacConfig;

#define CONFIG_STRUCT SacConfig
static const ConfigField fields[] = { CONFIG_ROWS(TRAIN_FIELDS) CONFIG_ROWS(SAC_FIELDS) };
#undef CONFIG_STRUCT

typedef struct {
  Agent agent;
  AlgoSetup setup;
  const SacConfig *cfg;
  Params *log_alpha;
  Objective critic, actor, alpha;
  Tensor *q, *y, *log_prob, *log_prob_in;
  Batch *batch;
  Rng data, explore;
  /* in the environment */
  Actor *act;
  Env *env;
  Replay *replay;
  float *obs; /* [obs_dim] where the episode is */
  uint64_t episode;
  double episode_return, last_return;
  bool fresh; /* the next step starts an episode */
} Sac;

/* ---- objectives ------------------------------------------------------------------------------ */

static Tensor *alpha_of(const Sac *m, Graph *g) {
  return t_map(MAP_exp, t_param(g, m->log_alpha, 0));
}

static void build_critic(Sac *m) {
  const Policy *p = m->agent.policy;
  Graph *g = m->critic.graph = algo_graph(&m->setup, p->critics->online);
  Tensor *obs = batch_input(g, m->batch, "obs"), *act = batch_input(g, m->batch, "act");
  Tensor *next = batch_input(g, m->batch, "next");
  Tensor *noise = t_normal(g, "target action", 1, m->setup.act_dim), *log_prob;
  Tensor *next_act = gaussian_act(p, g, p->actor, next, noise, &log_prob);
  Tensor *next_q = t_min_last(critic_q(p->critics, g, p->critics->target, next, next_act));
  Tensor *value = t_sub(next_q, t_mul(log_prob, alpha_of(m, g)));
  Tensor *q = critic_q(p->critics, g, p->critics->online, obs, act);
  m->critic.loss = td_loss(q, td_target(g, m->batch, m->cfg->gamma, value));
  m->q = t_mean(q);
  graph_keep(m->q);
}

static void build_actor(Sac *m) {
  const Policy *p = m->agent.policy;
  Graph *g = m->actor.graph = algo_graph(&m->setup, p->actor);
  Tensor *obs = batch_input(g, m->batch, "obs");
  Tensor *noise = t_normal(g, "action", 1, m->setup.act_dim), *log_prob;
  Tensor *act = gaussian_act(p, g, p->actor, obs, noise, &log_prob);
  Tensor *q = t_min_last(critic_q(p->critics, g, p->critics->online, obs, act));
  m->actor.loss = t_mean(t_sub(t_mul(log_prob, alpha_of(m, g)), q));
  m->log_prob = log_prob;
  graph_keep(log_prob);
}

static void build_alpha(Sac *m) {
  Graph *g = m->alpha.graph = algo_graph(&m->setup, m->log_alpha);
  m->log_prob_in = t_input(g, "log prob", 1, 1);
  Tensor *gap = t_shift(m->log_prob_in, -m->setup.act_dim); /* log pi + target entropy */
  m->alpha.loss = t_mean(t_scale(-1, t_mul(gap, alpha_of(m, g))));
}

static void finish(Sac *m, Objective *o, Params *trained, double rate) {
  graph_minimise(o->loss);
  graph_seal(o->graph);
  o->optim = algo_train(&m->setup, &m->agent, trained, rate, 0);
  o->pool = m->setup.pool;
}

static Agent *create(const AlgoSetup *setup, Error *error) {
  Sac *m = arena_alloc(setup->arena, sizeof *m);
  m->setup = *setup, m->cfg = setup->config;
  Policy *p = m->agent.policy = algo_policy(setup, &policy_gaussian, error);
  if (!p) return NULL;
  params_drop(p->actor_ema); /* the newest weights act */
  m->log_alpha = params_new(setup->arena, "temperature");
  params_slot(m->log_alpha, "log_alpha", 1, 1, 1, 0);
  params_allocate(blocks_add(&m->agent.blocks, m->log_alpha));
  m->batch = algo_batch(setup, (const Column[]){ TRANSITION_COLUMNS(1), { 0 } });
  m->data = rng_stream(setup->seed, "replay batch"),
  m->explore = rng_stream(setup->seed, "explore");
  build_critic(m), build_actor(m), build_alpha(m);
  finish(m, &m->critic, p->critics->online, m->cfg->critic_rate);
  m->critic.optim->follows = (Ema){ p->critics->target, 1 - m->cfg->tau, 0, 1 };
  finish(m, &m->actor, p->actor, m->cfg->actor_rate);
  finish(m, &m->alpha, m->log_alpha, m->cfg->critic_rate);
  graph_bind(m->log_prob_in, graph_values(m->log_prob));
  m->act = actor_new(setup->arena, p, 1, setup->seed ^ 0x5ac, NULL, setup->kernels, error);
  m->env = env_create(environment_of(setup->source)->model, error);
  m->obs = arena_array(setup->arena, float, setup->obs_dim);
  m->fresh = true, m->last_return = NAN;
  return m->act && m->env ? &m->agent : NULL;
}

/* ---- in the environment ---------------------------------------------------------------------- */

static void choose(Sac *m, int64_t t, float *act) {
  int n = m->setup.act_dim;
  if (t >= m->cfg->random_steps) {
    actor_answer(m->act, m->obs, 1, (uint64_t)t, NULL, act, NULL);
    return;
  }
  for (int j = 0; j < n; j++) {
    double u = rng_uniform(m->explore, (uint64_t)t, 0, (uint32_t)j);
    double low = (double)m->setup.act_low[j], high = (double)m->setup.act_high[j];
    act[j] = (float)(low + u * (high - low));
  }
}

/* networks see actions in [-1, 1] */
static void to_unit(const Sac *m, const float *act, float *unit) {
  for (int j = 0; j < m->setup.act_dim; j++) {
    float low = m->setup.act_low[j], high = m->setup.act_high[j];
    unit[j] = (act[j] - 0.5f * (low + high)) / (0.5f * (high - low));
  }
}

static void interact(Sac *m, int64_t t) {
  float act[ENV_MAX_ACT], unit[ENV_MAX_ACT], next[ENV_MAX_OBS];
  if (m->fresh) env_reset(m->env, m->setup.seed, m->episode++, m->obs), m->episode_return = 0;
  choose(m, t, act);
  EnvStep step = env_step(m->env, act, next);
  to_unit(m, act, unit);
  replay_add(m->replay, m->obs, unit, step.reward, next, !step.terminal);
  memcpy(m->obs, next, (size_t)m->setup.obs_dim * sizeof *next);
  m->episode_return += (double)step.reward;
  m->fresh = step.terminal || step.timeout;
  if (m->fresh) m->last_return = m->episode_return;
}

static bool open_replay(Sac *m, int64_t count, Error *error) {
  int64_t room = m->cfg->steps + m->cfg->random_steps + 1;
  m->replay = replay_open(m->setup.arena, m->setup.run, room, m->setup.obs_dim, m->setup.act_dim,
                          count, error);
  return m->replay != NULL;
}

static bool collect(Agent *agent, int64_t step, Error *error) {
  Sac *m = (Sac *)agent;
  if (!m->replay && !open_replay(m, 0, error)) return false;
  if (step == 0)
    for (int64_t t = 0; t < m->cfg->random_steps; t++) interact(m, t);
  interact(m, m->cfg->random_steps + step);
  return true;
}

static bool update(Agent *agent, int64_t step, Log *log) {
  Sac *m = (Sac *)agent;
  int rows = m->batch->rows;
  replay_draw(m->replay, m->data, (uint64_t)step, m->batch);
  if (!objective_step(&m->critic, rows, (uint64_t)step)) return false;
  if (!objective_step(&m->actor, rows, (uint64_t)step)) return false;
  if (!objective_step(&m->alpha, rows, (uint64_t)step)) return false;
  log_scalar(log, "loss/critic", graph_scalar(m->critic.loss));
  log_scalar(log, "loss/actor", graph_scalar(m->actor.loss));
  log_scalar(log, "q/mean", graph_scalar(m->q));
  log_scalar(log, "grad_norm/critic", m->critic.optim->grad_norm);
  log_scalar(log, "grad_norm/actor", m->actor.optim->grad_norm);
  log_scalar(log, "alpha", exp((double)m->log_alpha->values[0]));
  if (isfinite(m->last_return)) log_scalar(log, "episode_return", m->last_return);
  return true;
}

/* ---- checkpoints ----------------------------------------------------------------------------- */

static bool save(const Agent *agent, Checkpoint *c, Error *error) {
  const Sac *m = (const Sac *)agent;
  if (m->replay && !replay_flush(m->replay, error)) return false;
  int64_t size = (int64_t)env_state_size(m->env), n = m->setup.obs_dim;
  void *state = arena_alloc(c->arena, (size_t)size);
  env_state_save(m->env, state);
  checkpoint_add(c, "env/state", CHECKPOINT_U8, 1, &size, state);
  checkpoint_add(c, "env/obs", CHECKPOINT_F32, 1, &n, m->obs);
  double *d = arena_array(c->arena, double, 2);
  d[0] = m->episode_return, d[1] = m->last_return;
  checkpoint_add(c, "env/returns", CHECKPOINT_F64, 1, &(int64_t){ 2 }, d);
  int64_t *i = arena_array(c->arena, int64_t, 3);
  i[0] = (int64_t)m->episode, i[1] = m->fresh, i[2] = m->replay ? replay_count(m->replay) : 0;
  checkpoint_add(c, "env/counts", CHECKPOINT_I64, 1, &(int64_t){ 3 }, i);
  return true;
}

static const void *tensor_of(const Checkpoint *c, const char *name, int64_t count, Error *error) {
  const CheckpointTensor *t = checkpoint_tensor(c, name);
  if (t && t->rank == 1 && t->shape[0] == count) return t->data;
  error_set(error, FAIL_INPUT, "tensor %s: expected %d numbers; was it saved by sac?", name,
            (int)count);
  return NULL;
}

static bool load(Agent *agent, const Checkpoint *c, Error *error) {
  Sac *m = (Sac *)agent;
  const void *state = tensor_of(c, "env/state", (int64_t)env_state_size(m->env), error);
  const float *obs = tensor_of(c, "env/obs", m->setup.obs_dim, error);
  const double *d = tensor_of(c, "env/returns", 2, error);
  const int64_t *i = tensor_of(c, "env/counts", 3, error);
  if (!state || !obs || !d || !i) return false;
  env_state_load(m->env, state);
  memcpy(m->obs, obs, (size_t)m->setup.obs_dim * sizeof *obs);
  m->episode_return = d[0], m->last_return = d[1];
  m->episode = (uint64_t)i[0], m->fresh = i[1];
  return open_replay(m, i[2], error);
}

static void close_agent(Agent *agent) {
  Sac *m = (Sac *)agent;
  replay_close(m->replay);
  env_free(m->env);
}

const AlgoDef algo_sac = {
  .name = "sac",
  .paper = "Haarnoja et al. 2018, arXiv 1812.05905",
  .about = "soft actor-critic, online; makes behaviour policies for generated data",
  .source = &source_environment,
  .fields = fields,
  .field_count = sizeof fields / sizeof *fields,
  .config_size = sizeof(SacConfig),
  .create = create,
  .collect = collect,
  .update = update,
  .measured = { &measured_returns },
  .save_more = save,
  .load_more = load,
  .close = close_agent,
};
