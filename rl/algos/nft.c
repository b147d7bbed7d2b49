/* nft.c -- DiffusionNFT: online fine-tuning on the forward process.  Zheng et al. 2025
 * (arXiv 2509.16117).
 *
 * No chain, no log-probability, no ratio, so any sampler will do.  A sample x_0 of the old weights
 * is good with probability r, from its advantage A.  At x_t = a x_0 + s eps the network's output v
 * stands for two policies on either side of the old one, of which the first is to denoise what is
 * good and the second what is not:
 *
 *   r  = 1/2 + clip(A / Z, -1, 1) / 2
 *   v+ = b v + (1 - b) v_old,   v- = (1 + b) v_old - b v
 *   L  = Z/b mean [r |x0(v+) - x_0|^2 / w+  +  (1 - r) |x0(v-) - x_0|^2 / w-] / D
 *        + beta mean |v - v_ref|^2 / D
 *   w+- = mean |x0(v+-) - x_0|, constant
 *
 * x0(v) is what the output says of x_0, a linear map at each t.  Without w the least L is where v
 * denoises the old density times e^(A / (Z b)), to first order in 1/Z; for normal samples and a
 * linear reward exactly.  After an epoch v_old = d v_old + (1 - d) v, and draws the next one. */
#include "rl/algos/nft.h"
#include "rl/source/source_samples.h"
#include <math.h>

#define NFT_FIELDS(F)                                                                              \
  F(INT, levels, 8, 1, 1000, "noise levels at which a sample is trained on")                       \
  F(FLOAT, mix, 1, 1e-3, 1e3, "b: distance of the implicit policies from the old one")             \
  F(FLOAT, spread, 5, 1e-3, 1e6, "Z: advantages within this become probabilities")                 \
  F(FLOAT, beta, 1e-4, 0, 1e6, "weight of the distance from the generator as it came")             \
  F(BOOL, adaptive, true, NULL, NULL, "losses are divided by their mean error")                    \
  F(FLOAT, decay, 0.5, 0, 1, "d: how much the weights that draw keep of themselves, at most ..")   \
  F(FLOAT, decay_rate, 1e-3, 0, 1, ".. and this for every epoch until then")                       \
  F(TEXT, times, "uniform", "uniform|lambda|log-normal|logit-normal", NULL, "how t is drawn")

typedef struct {
  CONFIG_MEMBERS(FINETUNE_FIELDS)
  CONFIG_MEMBERS(NFT_FIELDS)
} NftConfig;

#define CONFIG_STRUCT NftConfig
static const ConfigField fields[] = { CONFIG_ROWS(FINETUNE_FIELDS) CONFIG_ROWS(NFT_FIELDS) };
#undef CONFIG_STRUCT

typedef struct {
  Finetune base;
  const NftConfig *cfg;
  Objective objective;
} Nft;

/* ---- the loss -------------------------------------------------------------------------------- */

/* |x0(v) - x_0|^2 / (w D) of the mixture p v + q v_old, [1, 1, 1]: errors mix as outputs do */
static Tensor *part(const NftSpec *spec, const NftTerms *terms, double p, double q) {
  Tensor *error = t_mix(p, terms->now->error, q, terms->old->error);
  /* of the output; times this that of x_0 */
  if (terms->now->weight) error = t_mul(error, t_map(MAP_sqrt, terms->now->weight));
  double each = 1.0 / error->n;
  Tensor *square = t_scale(each, t_sum_last(t_map(MAP_square, error)));
  if (!spec->adaptive) return square;
  Tensor *mean = t_scale(each, t_sum_last(t_map(MAP_abs, error)));
  return t_div(square, t_detach(t_clip(mean, 1e-5, 1e30)));
}

Tensor *nft_loss(const NftSpec *spec, const NftTerms *terms, Tensor *advantage) {
  double b = spec->mix, half = 0.5 / spec->spread;
  Tensor *r = t_clip(t_shift(t_scale(half, advantage), 0.5), 0, 1);
  Tensor *bad = t_shift(t_scale(-1, r), 1);
  Tensor *good_part = part(spec, terms, b, 1 - b), *bad_part = part(spec, terms, -b, 1 + b);
  Tensor *rows = t_add(t_mul(r, good_part), t_mul(bad, bad_part));
  Tensor *loss = t_scale(spec->spread / b, t_mean(rows));
  if (!(spec->beta > 0)) return loss;
  /* of the outputs themselves */
  LossTerms now = *terms->now;
  now.weight = NULL;
  return t_mix(1, loss, spec->beta, t_mean(matching_distance(&now, terms->reference)));
}

/* ---- the algorithm --------------------------------------------------------------------------- */

static Agent *create(const AlgoSetup *setup, Error *error) {
  Nft *m = arena_alloc(setup->arena, sizeof *m);
  const NftConfig *c = m->cfg = setup->config;
  Finetune *f = &m->base;
  const FinetuneSpec spec = { .rows_per_sample = (int)c->levels, .any_sampler = true, .old = true };
  if (!finetune_open(f, setup, &spec, error)) return NULL;
  const LossSpec of_x0 = { .weighting = "x0", .times = c->times.s };
  const Loss *loss = loss_new(setup->arena, &of_x0, f->model->denoiser, error);
  if (!loss) return NULL;
  Graph *g = objective_begin(&m->objective, setup, f->model->online);
  FinetuneInputs in = finetune_inputs(f, g);
  LossInputs rows = { .x0 = in.x, .cond = in.cond };
  LossTerms now = matching_ask(g, loss, f->model->online, "nft", &rows), reference;
  LossTerms old = matching_ask(g, loss, f->old, "nft", &rows);
  if (c->beta > 0) reference = matching_ask(g, loss, f->reference, "nft", &rows);
  const NftTerms terms = { &now, &old, &reference };
  const NftSpec how = { c->mix, c->spread, c->beta, c->adaptive };
  objective_end(&m->objective, setup, &f->agent, nft_loss(&how, &terms, in.advantage), c->rate,
                c->clip, (Ema){ 0 });
  return &f->agent;
}

static bool update(Agent *agent, int64_t step, Log *log) {
  Nft *m = (Nft *)agent;
  Finetune *f = &m->base;
  int rows = finetune_rows(f, step);
  if (!objective_step(&m->objective, rows, (uint64_t)step)) return false;
  objective_log(&m->objective, log, "policy");
  finetune_log(f, log);
  finetune_follow(f, step, fmin(m->cfg->decay, m->cfg->decay_rate * (double)f->epoch));
  return true;
}

const AlgoDef algo_nft = {
  .name = "nft",
  .paper = "Zheng et al. 2025, arXiv 2509.16117",
  .about =
      "fine-tunes a generator: learns from good and bad samples, for any sampler (DiffusionNFT)",
  .source = &source_samples,
  .fields = fields,
  .field_count = sizeof fields / sizeof *fields,
  .config_size = sizeof(NftConfig),
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
