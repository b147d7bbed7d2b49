/* flow_grpo.c -- group-relative policy gradients of a diffusion or flow model.
 * Liu et al. 2025 (arXiv 2505.05470).
 *
 * Steps of a chain with noise are Gaussians p(x' | x) = N(mu, S^2), and samples of one label are
 * compared with each other.  With A the advantage of the whole chain and means over the D numbers
 * of a sample,
 *
 *   L = -mean min(A rho, A clip(rho, 1 - e, 1 + e)) + beta mean |mu - mu_ref|^2 / (2 S^2 D)
 *   ln rho = (ln p(x' | x) - ln p_old(x' | x)) / D
 *
 * Three later papers change one thing each:
 *
 *   window   only w steps that follow each other have noise and are trained, the others follow the
 *            ODE; the window moves from noise to sample.  MixGRPO (arXiv 2507.21802)
 *   guard    the mean of ln rho is -d < 0, d = |mu - mu_old|^2 / (2 S^2 D), and its size depends on
 *            S, so that clipping is one-sided and of some steps alone.  The regulated ratio
 *              ln rho = S (ln p - ln p_old + D d) / D = mean (mu - mu_old) (x' - mu_old) / S
 *            has mean 0; what the network's output weighs in mu is divided out of the loss.
 *            GRPO-Guard (arXiv 2510.22319)
 *   mask     in place of the clip, rows with d > mask whose ratio moves on, A (rho - 1) > 0, are
 *            left out.  Flow-DPPO (arXiv 2606.11025) */
#include "rl/algos/flow_grpo.h"
#include "rl/source/source_samples.h"

#define FLOW_GRPO_FIELDS(F)                                                                        \
  F(FLOAT, clip_ratio, 1e-4, 1e-9, 1, "ratios are kept within 1 - this and 1 + this")              \
  F(FLOAT, beta, 0.04, 0, 1e6, "weight of the divergence from the generator as it came")           \
  F(INT, window, 0, 0, 1000, "random steps of a chain (MixGRPO); 0: all")                          \
  F(INT, window_every, 5, 1, 1e9, "epochs after which the window moves on by a step")              \
  F(BOOL, guard, false, NULL, NULL, "the regulated ratio (GRPO-Guard)")                            \
  F(TEXT, trust, "clip", "clip|mask", NULL, "what ends a row's part: the clip, or its divergence") \
  F(FLOAT, mask, 1e-5, 1e-12, 1e6, "that divergence from the weights that drew (Flow-DPPO)")

typedef struct {
  CONFIG_MEMBERS(FINETUNE_FIELDS)
  CONFIG_MEMBERS(FLOW_GRPO_FIELDS)
} FlowGrpoConfig;

#define CONFIG_STRUCT FlowGrpoConfig
static const ConfigField fields[] = { CONFIG_ROWS(FINETUNE_FIELDS) CONFIG_ROWS(FLOW_GRPO_FIELDS) };
#undef CONFIG_STRUCT
static const SettingNeed needs[] = { { "clip_ratio", "trust", NULL, "mask" },
                                     { "mask", "trust", "mask", NULL },
                                     { "window_every", "window", NULL, "0" },
                                     { NULL, NULL, NULL, NULL } };

typedef struct {
  Finetune base;
  const FlowGrpoConfig *cfg;
  FlowGrpoSpec spec;
  Objective objective;
  Ratio ratio;
  Tensor *kept;
  int from;   /* where the window is */
  int random; /* steps that it may cover */
} FlowGrpo;

/* ---- the loss -------------------------------------------------------------------------------- */

/* 1 where x > 0, else 0 */
static Tensor *above_zero(Tensor *x) { return t_clip(t_scale(1e30, x), 0, 1); }

/* ln rho of x' from weights that have moved by mu - mu_old; 0 to the bit before they move */
static Tensor *regulated(const FinetuneInputs *in, const Transition *now, const Transition *old) {
  Tensor *moved = t_sub(now->mean, old->mean), *noise = t_sub(in->next, old->mean);
  return t_scale(1.0 / in->x->n, t_mul(t_sum_last(t_mul(moved, noise)), now->inverse));
}

/* -A rho, or 0 where the weights are far from the old ones and go further */
static Tensor *masked(const Ratio *ratio, Tensor *divergence, double most, Tensor **kept) {
  Tensor *far = above_zero(t_shift(divergence, -most));
  Tensor *on = above_zero(t_mul(ratio->advantage, t_shift(ratio->ratio, -1)));
  *kept = t_detach(t_shift(t_scale(-1, t_mul(far, on)), 1));
  graph_keep(*kept);
  return t_scale(-1, t_mul(*kept, t_mul(ratio->advantage, ratio->ratio)));
}

Tensor *flow_grpo_loss(Ratio *ratio, const FlowGrpoSpec *spec, const FinetuneInputs *in,
                       const FlowGrpoSteps *steps, Tensor **kept) {
  double each = 1.0 / in->x->n;
  const Transition *now = steps->now, *old = steps->old;
  if (spec->guard)
    ratio_of_log(ratio, regulated(in, now, old), in->advantage);
  else
    ratio_record(ratio, in, now);
  Tensor *rows = spec->mask > 0
                     ? masked(ratio, t_scale(each, transition_kl(now, old)), spec->mask, kept)
                     : ratio_clipped(ratio, spec->clip);
  if (spec->guard) rows = t_div(rows, t_map(MAP_abs, now->out));
  if (spec->beta > 0)
    rows = t_mix(1, rows, spec->beta * each, transition_kl(now, steps->reference));
  return t_mean(rows);
}

/* ---- the window ------------------------------------------------------------------------------ */

int flow_grpo_window(int64_t epoch, int64_t every, int window, int steps) {
  return (int)(epoch / every % (steps - window + 1));
}

/* Chains with all their noise say how many steps a window may cover. */
static bool open_window(FlowGrpo *m, Error *error) {
  const FlowGrpoConfig *c = m->cfg;
  m->random = transition_count(m->base.chains->sampler);
  return c->window <= m->random ||
         error_set(error, FAIL_USAGE,
                   "window=%lld, but only %d steps of the chain are random: give at most that",
                   (long long)c->window, m->random);
}

static bool collect(Agent *agent, int64_t step, Error *error) {
  FlowGrpo *m = (FlowGrpo *)agent;
  int window = (int)m->cfg->window;
  int64_t epoch = step / finetune_steps(&m->base);
  int from = window ? flow_grpo_window(epoch, m->cfg->window_every, window, m->random) : 0;
  if (from != m->from) finetune_window(&m->base, m->from = from, from + window);
  return finetune_collect(agent, step, error);
}

/* ---- the algorithm --------------------------------------------------------------------------- */

static Agent *create(const AlgoSetup *setup, Error *error) {
  FlowGrpo *m = arena_alloc(setup->arena, sizeof *m);
  const FlowGrpoConfig *c = m->cfg = setup->config;
  Finetune *f = &m->base;
  double mask = *c->trust.s == 'm' ? c->mask : 0;
  m->spec = (FlowGrpoSpec){ c->clip_ratio, c->beta, mask, c->guard };
  bool compares = c->guard || mask > 0;
  const FinetuneSpec spec = { .to = (int)c->window, .old = compares };
  if (!finetune_open(f, setup, &spec, error) || !open_window(m, error)) return NULL;
  Graph *g = objective_begin(&m->objective, setup, f->model->online);
  FinetuneInputs in = finetune_inputs(f, g);
  Transition now = finetune_transition(f, &in, f->model->online), old, reference;
  if (compares) old = finetune_transition(f, &in, f->old);
  if (c->beta > 0) reference = finetune_transition(f, &in, f->reference);
  const FlowGrpoSteps steps = { &now, &old, &reference };
  Tensor *loss = flow_grpo_loss(&m->ratio, &m->spec, &in, &steps, &m->kept);
  objective_end(&m->objective, setup, &f->agent, loss, c->rate, c->clip, (Ema){ 0 });
  return &f->agent;
}

static bool update(Agent *agent, int64_t step, Log *log) {
  FlowGrpo *m = (FlowGrpo *)agent;
  Finetune *f = &m->base;
  int rows = finetune_rows(f, step);
  if (!objective_step(&m->objective, rows, (uint64_t)step)) return false;
  ratio_check(&m->ratio, rows, finetune_first(f, step));
  objective_log(&m->objective, log, "policy");
  ratio_log(&m->ratio, rows, m->cfg->clip_ratio, log);
  double kept = 0;
  for (int r = 0; m->kept && r < rows; r++)
    kept += (double)graph_values(m->kept)[(ptrdiff_t)r * m->kept->ld];
  if (m->kept) log_scalar(log, "masked", 1 - kept / rows);
  finetune_log(f, log);
  if (f->old) finetune_follow(f, step, 0);
  return true;
}

const AlgoDef algo_flow_grpo = {
  .name = "flow-grpo",
  .paper = "Liu et al. 2025, arXiv 2505.05470",
  .about = "fine-tunes a generator: clipped ratios, kept near it; MixGRPO, GRPO-Guard, Flow-DPPO",
  .source = &source_samples,
  .fields = fields,
  .field_count = sizeof fields / sizeof *fields,
  .config_size = sizeof(FlowGrpoConfig),
  .fine_tunes = true,
  .needs = needs,
  .create = create,
  .collect = collect,
  .update = update,
  .measured = { &finetune_measured, &finetune_also, &finetune_features },
  .show = finetune_show,
  .save_more = finetune_save,
  .load_more = finetune_load,
  .close = finetune_close,
};
