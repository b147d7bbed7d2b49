/* dppo.c -- Diffusion Policy Policy Optimization.  Ren et al. 2024 (arXiv 2409.00588).
 *
 * Two decision processes, one in the other: a decision in the environment is a chain of K denoising
 * steps, each a Gaussian.  The last K' of them are fine-tuned, weights from before draw the others.
 * With A the advantage of the decision (value of the environment's state alone) and k steps left,
 *
 *   A_k  = gamma_denoise^k A                                                    eq. 10
 *   rho  = exp(mean_j ln p(x'_j | x, s) - mean_j ln p_old(x'_j | x, s))
 *   L    = mean max(-A_k rho, -A_k clip(rho, 1 - e_k, 1 + e_k))
 *
 * Every step has noise of at least least_std, and at least least_log_std in its density.  The
 * published code clips the last x before its density is taken; here the density is that of what was
 * drawn, and the environment gets it clipped. */
#include "rl/algos/dppo.h"
#include "rl/algos/onpolicy.h"
#include "rl/measure/returns.h"
#include "rl/source/source_environment.h"
#include <math.h>
#include <string.h>

#define DPPO_FIELDS(F)                                                                             \
  F(INT, finetune_steps, 0, 0, 1000, "K': the last denoising steps are fine-tuned; 0: all")        \
  F(FLOAT, gamma_denoise, 0.99, 0, 1, "discount of a denoising step")                              \
  F(FLOAT, least_std, 0.1, 1e-3, 10, "least noise of a denoising step when exploring")             \
  F(FLOAT, least_log_std, 0.1, 1e-3, 10, "and in its log-probability")                             \
  F(FLOAT, most_noise, 3, 0, 100, "normal numbers are kept within this; 0: they are not")          \
  F(FLOAT, clip_ratio, 0.01, 1e-6, 10, "e of the last step: ratios stay within 1 - e and 1 + e")   \
  F(FLOAT, clip_base, 0.01, 1e-6, 10, "e of the first step that is fine-tuned")                    \
  F(FLOAT, clip_growth, 3, 1e-3, 100, "rate of the exponential between them")

typedef struct {
  CONFIG_MEMBERS(ONPOLICY_FIELDS)
  CONFIG_MEMBERS(DPPO_FIELDS)
} DppoConfig;

#define CONFIG_STRUCT DppoConfig
static const ConfigField fields[] = { CONFIG_ROWS(ONPOLICY_FIELDS) CONFIG_ROWS(DPPO_FIELDS) };
#undef CONFIG_STRUCT

typedef struct {
  Onpolicy base;
  const DppoConfig *cfg;
  Objective actor;
  Ratio ratio;
  Chains *chains;
  int tuned, first, dim; /* K'; the first stage of these; numbers of an action */
  /* of an iteration: [rows, K' + 1, ld] and [rows, K'] */
  real *x, *log_prob;
  /* a step's rows */
  struct {
    real *x, *next, *numbers, *cond, *old, *advantage, *clip;
  } in;
} Dppo;

/* ---- the loss -------------------------------------------------------------------------------- */

double dppo_clip(double base, double clip, double rate, int i, int n) {
  if (n < 2) return clip;
  return base + (clip - base) * expm1(rate * i / (n - 1)) / expm1(rate);
}

Tensor *dppo_loss(Ratio *ratio, const Transition *step, const DppoInputs *in) {
  Tensor *sum = t_sum_last(transition_log_probs(step, in->next, DPPO_LEAST, DPPO_MOST));
  ratio_of(ratio, t_scale(1.0 / in->next->n, sum), in->old, in->advantage);
  return t_mean(ratio_clipped_by(ratio, in->clip));
}

static void record_loss(Dppo *m) {
  Onpolicy *o = &m->base;
  const Policy *p = o->agent.policy;
  const Sampler *sampler = m->chains->sampler;
  Graph *g = objective_begin(&m->actor, o->setup, p->actor);
  Tensor *x = onpolicy_input(o, g, "x", 1, m->dim, &m->in.x);
  Tensor *numbers = onpolicy_input(o, g, "numbers", 1, transition_size(sampler), &m->in.numbers);
  Tensor *cond = onpolicy_input(o, g, "cond", 1, p->seen, &m->in.cond);
  DppoInputs in = { .next = onpolicy_input(o, g, "next", 1, m->dim, &m->in.next),
                    .old = onpolicy_input(o, g, "old", 1, 1, &m->in.old),
                    .advantage = onpolicy_input(o, g, "advantage", 1, 1, &m->in.advantage),
                    .clip = onpolicy_input(o, g, "clip", 1, 1, &m->in.clip) };
  Transition step = transition_record(sampler, p->model->denoiser, p->actor, x, numbers, cond);
  Tensor *loss = dppo_loss(&m->ratio, &step, &in);
  objective_end(&m->actor, o->setup, &o->agent, loss, m->cfg->actor_rate, m->cfg->clip, (Ema){ 0 });
}

/* ---- acting ---------------------------------------------------------------------------------- */

static void answer(Onpolicy *o, int64_t number, int t, real *act) {
  Dppo *m = (Dppo *)o;
  const Chains *c = m->chains;
  memcpy(c->cond, onpolicy_seen(o, t), sizeof(real) * (size_t)(o->envs * c->cond_ld));
  chains_draw(m->chains, (uint64_t)number);
  size_t bytes = (size_t)c->ld * sizeof(real);
  for (int i = 0; i < o->envs; i++) {
    ptrdiff_t row = (ptrdiff_t)t * o->envs + i;
    for (int k = 0; k <= m->tuned; k++) {
      const real *x = chains_state(c, m->first + k, i);
      memcpy(m->x + (row * (m->tuned + 1) + k) * c->ld, x, bytes);
      if (k < m->tuned)
        m->log_prob[row * m->tuned + k] = c->log_prob[(ptrdiff_t)(m->first + k) * c->count + i];
    }
    memcpy(act + (ptrdiff_t)i * c->ld, chains_state(c, c->stages, i), bytes);
  }
}

static void put(Onpolicy *o, int r, int64_t i) {
  Dppo *m = (Dppo *)o;
  const DppoConfig *cfg = m->cfg;
  const Chains *c = m->chains;
  int64_t row = i / m->tuned, seen = o->seen_ld;
  int k = (int)(i % m->tuned), one = row_stride(1);
  size_t bytes = sizeof(real);
  const real *x = m->x + (row * (m->tuned + 1) + k) * c->ld;
  memcpy(m->in.x + (ptrdiff_t)r * c->ld, x, bytes * (size_t)c->ld);
  memcpy(m->in.next + (ptrdiff_t)r * c->ld, x + c->ld, bytes * (size_t)c->ld);
  memcpy(m->in.cond + (ptrdiff_t)r * seen, o->seen + row * seen, bytes * (size_t)seen);
  memcpy(m->in.numbers + (ptrdiff_t)r * c->number_ld,
         c->number + (ptrdiff_t)(m->first + k) * c->number_ld, bytes * (size_t)c->number_ld);
  m->in.old[r * one] = m->log_prob[row * m->tuned + k] * (real)(1.0 / m->dim);
  m->in.advantage[r * one] =
      (real)(pow(cfg->gamma_denoise, m->tuned - 1 - k) * (double)o->advantage[row]);
  m->in.clip[r * one] =
      (real)dppo_clip(cfg->clip_base, cfg->clip_ratio, cfg->clip_growth, k, m->tuned);
}

static bool open_chains(Dppo *m, Error *error) {
  const DppoConfig *c = m->cfg;
  Policy *p = m->base.agent.policy;
  const ChainsSpec spec = { .model = p->model,
                            .params = p->actor,
                            .stream = "dppo",
                            .sampler = onpolicy_sampler(&m->base),
                            .guidance = 1,
                            .count = m->base.envs,
                            .least_std = c->least_std,
                            .least_log_std = c->least_log_std,
                            .most_noise = c->most_noise,
                            .low = DPPO_LEAST,
                            .high = DPPO_MOST,
                            .early = p->early,
                            .early_stages = p->early_steps };
  m->chains = chains_new(m->base.setup, &spec, error);
  return m->chains != NULL;
}

static Agent *create(const AlgoSetup *setup, Error *error) {
  Dppo *m = arena_alloc(setup->arena, sizeof *m);
  Onpolicy *o = &m->base;
  m->cfg = setup->config;
  OnpolicySpec spec = { .answer = answer, .put = put };
  if (!onpolicy_load_policy(o, setup, error) ||
      !onpolicy_split(o, (int)m->cfg->finetune_steps, error) || !open_chains(m, error))
    return NULL;
  m->first = o->agent.policy->early_steps, m->tuned = m->chains->stages - m->first;
  spec.rows_per_decision = m->tuned, m->dim = o->agent.policy->width;
  if (!onpolicy_open(o, &spec, error)) return NULL;
  m->x = onpolicy_keep(o, "x", (int64_t)o->rows * (m->tuned + 1) * m->chains->ld);
  m->log_prob = onpolicy_keep(o, "log_prob", (int64_t)o->rows * m->tuned);
  record_loss(m);
  return &o->agent;
}

/* ---- steps ----------------------------------------------------------------------------------- */

static bool update(Agent *agent, int64_t step, Log *log) {
  Dppo *m = (Dppo *)agent;
  return onpolicy_update(&m->base, &m->actor, &m->ratio, m->cfg->clip_ratio, step, log);
}

const AlgoDef algo_dppo = {
  .name = "dppo",
  .paper = "Ren et al. 2024, arXiv 2409.00588",
  .about = "fine-tunes a diffusion policy online: clipped policy gradients of its chain",
  .source = &source_environment,
  .fields = fields,
  .field_count = sizeof fields / sizeof *fields,
  .config_size = sizeof(DppoConfig),
  .fine_tunes = true,
  .create = create,
  .collect = onpolicy_collect,
  .update = update,
  .measured = { &measured_returns },
  .save_more = onpolicy_save,
  .load_more = onpolicy_load,
  .close = onpolicy_close,
};
