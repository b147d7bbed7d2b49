/* reinflow.c -- online fine-tuning of flow policies.  Zhang et al. 2025 (arXiv 2505.22094).
 *
 * An Euler step of the flow gets noise whose deviation a small network learns, and so a density; K
 * steps are one decision:
 *
 *   x_{k+1} = mean_k + std_k z,   mean_k = x_k + v(x_k, t_k, s) dt,  std_k in [least_std, most_std]
 *   rho     = exp(mean over k and j of (ln p - ln p_old)(x_{k+1,j} | x_k, s))
 *   L       = -mean min(A rho, A clip(rho, 1 - e, 1 + e)) - entropy mean ln std
 *
 * The density of the first x does not depend on the weights and leaves rho.  The policy and the
 * network of noise are stepped one after the other, the second beside the new policy.  most_std
 * stays for noise_hold of the run and then falls to noise_end of itself.  Evaluations act by the
 * policy's own sampler, without noise. */
#include "rl/algos/noisy_flow.h"
#include "rl/measure/returns.h"
#include "rl/source/source_environment.h"
#include <math.h>
#include <string.h>

#define REINFLOW_FIELDS(F)                                                                         \
  F(FLOAT, least_std, 0.1, 1e-3, 10, "least deviation of the noise of a step")                     \
  F(FLOAT, most_std, 0.24, 1e-3, 10, "and the most, at first")                                     \
  F(FLOAT, noise_hold, 0.35, 0, 1, "part of the run for which that stays")                         \
  F(FLOAT, noise_end, 0.7, 0, 1, "what part of it is left at the end")                             \
  F(FLOAT, noise_rate, 1e-3, 1e-8, 1, "learning rate of the network of noise")                     \
  F(FLOAT, entropy, 0.03, 0, 100, "weight of the logarithm of the deviation")                      \
  F(FLOAT, clip_ratio, 0.01, 1e-6, 10, "e: ratios stay within 1 - e and 1 + e")
#define SHARED_FIELDS(F) ONPOLICY_FIELDS_OF(F, 512, 4.5e-5, 0.99, 1)

typedef struct {
  CONFIG_MEMBERS(SHARED_FIELDS)
  CONFIG_MEMBERS(REINFLOW_FIELDS)
} ReinflowConfig;

#define CONFIG_STRUCT ReinflowConfig
static const ConfigField fields[] = { CONFIG_ROWS(SHARED_FIELDS) CONFIG_ROWS(REINFLOW_FIELDS) };
#undef CONFIG_STRUCT

/* the loss of both networks; one of them learns by it */
typedef struct {
  Objective objective;
  Ratio ratio;
  FlowSteps steps;
  real *next, *old, *advantage; /* [batch, K, *] twice, [batch, *] */
  Tensor *spread;               /* mean ln std */
} ReinflowLoss;

typedef struct {
  Onpolicy base;
  const ReinflowConfig *cfg;
  NoisyFlow flow;
  ReinflowLoss actor, noise;
  /* of an iteration: [rows, K + 1, ld] and [rows, K] */
  real *x, *log_prob;
} Reinflow;

/* ---- the loss -------------------------------------------------------------------------------- */

static void record_loss(Reinflow *m, ReinflowLoss *l, Params *trained, double rate) {
  Onpolicy *o = &m->base;
  const NoisyFlow *f = &m->flow;
  Graph *g = objective_begin(&l->objective, o->setup, trained);
  l->steps = noisy_flow_record(f, g, f->steps);
  Tensor *next = onpolicy_input(o, g, "next", f->steps, f->dim, &l->next);
  Tensor *old = onpolicy_input(o, g, "old", f->steps, 1, &l->old);
  Tensor *advantage = onpolicy_input(o, g, "advantage", 1, 1, &l->advantage);
  /* the differences first: where old and new are equal their sum is 0 to the bit */
  Tensor *gain = t_sub(t_sum_last(noisy_flow_log_probs(&l->steps, next)), old);
  ratio_of_log(&l->ratio, t_scale(1.0 / (f->steps * f->dim), t_sum_k(gain)), advantage);
  l->spread = t_mean(l->steps.log_std);
  graph_keep(l->spread);
  Tensor *loss = t_mean(ratio_clipped(&l->ratio, m->cfg->clip_ratio));
  objective_end(&l->objective, o->setup, &o->agent, t_mix(1, loss, -m->cfg->entropy, l->spread),
                rate, m->cfg->clip, (Ema){ 0 });
}

/* ---- acting ---------------------------------------------------------------------------------- */

/* ln(most / least) in the iteration that is held */
static double span(const Reinflow *m) {
  const ReinflowConfig *c = m->cfg;
  double done = (double)(m->base.iteration * onpolicy_steps(&m->base)) /
                (double)m->actor.objective.optim->spec.period;
  double fall = done > c->noise_hold ? (done - c->noise_hold) / (1 - c->noise_hold) : 0;
  double most = c->most_std * (1 - (1 - c->noise_end) * fmin(fall, 1));
  return log(fmax(most, c->least_std) / c->least_std);
}

static real *state(const Reinflow *m, int64_t row, int k) {
  return m->x + (row * (m->flow.steps + 1) + k) * m->flow.ld;
}

static void answer(Onpolicy *o, int64_t number, int t, real *act) {
  Reinflow *m = (Reinflow *)o;
  NoisyFlow *f = &m->flow;
  int64_t first = (int64_t)t * o->envs;
  noisy_flow_draw(f, number, onpolicy_seen(o, t), span(m), state(m, first, 0),
                  m->log_prob + first * f->steps);
  for (int i = 0; i < o->envs; i++)
    memcpy(act + (ptrdiff_t)i * f->ld, state(m, first + i, f->steps), sizeof *act * (size_t)f->ld);
}

static void put_into(const Reinflow *m, const ReinflowLoss *l, int r, int64_t row) {
  const NoisyFlow *f = &m->flow;
  noisy_flow_put_row(f, &l->steps, r, m->base.seen + row * m->base.seen_ld, span(m));
  l->advantage[r * f->one] = m->base.advantage[row];
  for (int k = 0; k < f->steps; k++) {
    ptrdiff_t at = (ptrdiff_t)r * f->steps + k;
    noisy_flow_put_step(f, &l->steps, at, k, state(m, row, k));
    memcpy(l->next + at * f->ld, state(m, row, k + 1), sizeof(real) * (size_t)f->ld);
    l->old[at * f->one] = m->log_prob[row * f->steps + k];
  }
}

static void put(Onpolicy *o, int r, int64_t row) {
  const Reinflow *m = (const Reinflow *)o;
  put_into(m, &m->actor, r, row), put_into(m, &m->noise, r, row);
}

static bool check_noise(const ReinflowConfig *c, Error *error) {
  return c->most_std >= c->least_std ||
         error_set(error, FAIL_USAGE, "most_std=%g is below least_std=%g", c->most_std,
                   c->least_std);
}

static Agent *create(const AlgoSetup *setup, Error *error) {
  Reinflow *m = arena_alloc(setup->arena, sizeof *m);
  Onpolicy *o = &m->base;
  const ReinflowConfig *c = m->cfg = setup->config;
  if (!check_noise(c, error) || !onpolicy_load_policy(o, setup, error) ||
      !onpolicy_whole(o, error) || !noisy_flow_check(o, error))
    return NULL;
  if (!onpolicy_open(o, &(OnpolicySpec){ 1, answer, put }, error) ||
      !noisy_flow_open(&m->flow, o, c->least_std, error))
    return NULL;
  m->x = onpolicy_keep(o, "x", (int64_t)o->rows * (m->flow.steps + 1) * m->flow.ld);
  m->log_prob = onpolicy_keep(o, "log_prob", (int64_t)o->rows * m->flow.steps);
  record_loss(m, &m->actor, o->agent.policy->actor, c->actor_rate);
  record_loss(m, &m->noise, m->flow.noise, c->noise_rate);
  return &o->agent;
}

static bool update(Agent *agent, int64_t step, Log *log) {
  Reinflow *m = (Reinflow *)agent;
  Onpolicy *o = &m->base;
  const Objective *noise = &m->noise.objective;
  if (!onpolicy_update(o, &m->actor.objective, &m->actor.ratio, m->cfg->clip_ratio, step, log))
    return false;
  if (!o->learned) return true;
  if (!objective_step(noise, o->learned, (uint64_t)step)) return false;
  objective_log(noise, log, "noise");
  log_scalar(log, "noise/log_std", graph_scalar(m->actor.spread));
  return true;
}

const AlgoDef algo_reinflow = {
  .name = "reinflow",
  .paper = "Zhang et al. 2025, arXiv 2505.22094",
  .about = "fine-tunes a flow policy online: learned noise makes its steps random",
  .source = &source_environment,
  .fields = fields,
  .field_count = sizeof fields / sizeof *fields,
  .config_size = sizeof(ReinflowConfig),
  .fine_tunes = true,
  .create = create,
  .collect = onpolicy_collect,
  .update = update,
  .measured = { &measured_returns },
  .save_more = onpolicy_save,
  .load_more = onpolicy_load,
  .close = onpolicy_close,
};
