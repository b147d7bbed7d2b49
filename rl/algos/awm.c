/* awm.c -- advantage weighted matching.  Xue et al. 2025 (arXiv 2509.25050).
 *
 * The policy gradient needs ln p(x_0), of which the denoising loss of pre-training is a bound; so
 * samples of any sampler get noise again, and the loss of each is weighted by its advantage A:
 *
 *   ln p(x_0) = -w(t) |y - output(x_t, t)|^2 / D,   x_t = a x_0 + s eps,   y the network's target
 *   rho = p(x_0) / p_old(x_0)                                              at the same t and eps
 *   L = -mean min(A rho, A clip(rho, 1 - e, 1 + e)) + beta mean w |output - output_ref|^2 / D
 *
 * With the weighting `likelihood` the mean over t and eps is the bound of Song, Durkan et al. 2021,
 * and its gradient, where the network is right, that of ln p itself. */
#include "rl/algos/awm.h"
#include "rl/source/source_samples.h"

#define AWM_FIELDS(F)                                                                              \
  F(INT, levels, 8, 1, 1000, "noise levels at which a sample is trained on")                       \
  F(FLOAT, clip_ratio, 1e-2, 1e-9, 10, "ratios are kept within 1 - this and 1 + this")             \
  F(FLOAT, beta, 0.3, 0, 1e6, "weight of the distance from the generator as it came")              \
  F(TEXT, weighting, "native",                                                                     \
    "native|simple|x0|dsm|likelihood|snr+1|truncated-snr|min-snr|edm|flow", NULL,                  \
    "w(t), as in training; native: of the network's own output")                                   \
  F(TEXT, times, "uniform", "uniform|lambda|log-normal|logit-normal", NULL, "how t is drawn")

typedef struct {
  CONFIG_MEMBERS(FINETUNE_FIELDS)
  CONFIG_MEMBERS(AWM_FIELDS)
} AwmConfig;

#define CONFIG_STRUCT AwmConfig
static const ConfigField fields[] = { CONFIG_ROWS(FINETUNE_FIELDS) CONFIG_ROWS(AWM_FIELDS) };
#undef CONFIG_STRUCT

typedef struct {
  Finetune base;
  const AwmConfig *cfg;
  Objective objective;
  Ratio ratio;
} Awm;

Tensor *awm_loss(Ratio *ratio, const AwmTerms *terms, Tensor *advantage, double clip, double beta) {
  Tensor *loss =
      matching_loss(ratio, terms->now->rows, terms->old->rows, advantage, clip, true, false);
  if (!(beta > 0)) return loss;
  return t_mix(1, loss, beta, t_mean(matching_distance(terms->now, terms->reference)));
}

static Agent *create(const AlgoSetup *setup, Error *error) {
  Awm *m = arena_alloc(setup->arena, sizeof *m);
  const AwmConfig *c = m->cfg = setup->config;
  Finetune *f = &m->base;
  const FinetuneSpec spec = { .rows_per_sample = (int)c->levels, .any_sampler = true, .old = true };
  if (!finetune_open(f, setup, &spec, error)) return NULL;
  const LossSpec losses = { .weighting = c->weighting.s, .times = c->times.s };
  const Loss *loss = loss_new(setup->arena, &losses, f->model->denoiser, error);
  if (!loss) return NULL;
  Graph *g = objective_begin(&m->objective, setup, f->model->online);
  FinetuneInputs in = finetune_inputs(f, g);
  LossInputs rows = { .x0 = in.x, .cond = in.cond };
  LossTerms now = matching_ask(g, loss, f->model->online, "awm", &rows), reference;
  LossTerms old = matching_ask(g, loss, f->old, "awm", &rows);
  if (c->beta > 0) reference = matching_ask(g, loss, f->reference, "awm", &rows);
  const AwmTerms terms = { &now, &old, &reference };
  objective_end(&m->objective, setup, &f->agent,
                awm_loss(&m->ratio, &terms, in.advantage, c->clip_ratio, c->beta), c->rate, c->clip,
                (Ema){ 0 });
  return &f->agent;
}

static bool update(Agent *agent, int64_t step, Log *log) {
  Awm *m = (Awm *)agent;
  Finetune *f = &m->base;
  int rows = finetune_rows(f, step);
  if (!objective_step(&m->objective, rows, (uint64_t)step)) return false;
  ratio_check(&m->ratio, rows, finetune_first(f, step));
  objective_log(&m->objective, log, "policy");
  ratio_log(&m->ratio, rows, m->cfg->clip_ratio, log);
  finetune_log(f, log);
  finetune_follow(f, step, 0);
  return true;
}

const AlgoDef algo_awm = {
  .name = "awm",
  .paper = "Xue et al. 2025, arXiv 2509.25050",
  .about = "fine-tunes a generator: denoising losses weighted by advantages, for any sampler",
  .source = &source_samples,
  .fields = fields,
  .field_count = sizeof fields / sizeof *fields,
  .config_size = sizeof(AwmConfig),
  .fine_tunes = true,
  .create = create,
  .collect = finetune_collect,
  .update = update,
  .measured = { &finetune_measured, &finetune_also, &finetune_features },
  .show = finetune_show,
  .save_more = finetune_save,
  .load_more = finetune_load,
  .close = finetune_close,
};
