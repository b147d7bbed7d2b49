/* dpok.c -- diffusion policy optimization with KL regularization.  Fan et al. 2023 (arXiv
 * 2305.16381).
 *
 * The policy gradient of ddpo, and at every step the distance to the generator as it came:
 *
 *   L = mean [ -min(A rho, A clip(rho, 1 - e, 1 + e)) + kl KL(p(x' | x) || p_ref(x' | x)) / D ]
 *
 * with p = N(mean(x), std^2) of both, so KL = |mean - mean_ref|^2 / (2 std^2).  The sum of these
 * distances bounds the divergence of the samples from those of the generator as it came (their
 * lemma 4.2).  As in the paper the gradient does not go through the states at which distances are
 * taken.
 *
 * Log-probabilities and distances are means over the D numbers of a sample, so kl is in units of
 * the advantage: where raw rewards are advantages (deviation=none), chains approach
 * p_ref exp(reward / kl).
 *
 * The authors' code has no value of kl for this formula: its distance is mean (eps - eps_ref)^2
 * without 1 / (2 std^2), its reward has a weight instead of a deviation, and its ratio is clipped
 * without the minimum, so that a row beyond the clip has no gradient even where it should go back.
 * There and in the paper a network learns V(x_t) as the baseline; here it is the mean of the
 * label's samples (`baseline`). */
#include "rl/algos/dpok.h"
#include "rl/source/source_samples.h"

#define DPOK_FIELDS(F)                                                                             \
  F(FLOAT, clip_ratio, 1e-4, 0, 1, "ratios are kept within 1 - this and 1 + this")                 \
  F(FLOAT, kl, 0.1, 0, 1e6, "price of a nat of distance to the generator as it came")

typedef struct {
  CONFIG_MEMBERS(FINETUNE_FIELDS)
  CONFIG_MEMBERS(DPOK_FIELDS)
} DpokConfig;

#define CONFIG_STRUCT DpokConfig
static const ConfigField fields[] = { CONFIG_ROWS(FINETUNE_FIELDS) CONFIG_ROWS(DPOK_FIELDS) };
#undef CONFIG_STRUCT

typedef struct {
  Finetune base;
  const DpokConfig *cfg;
  Objective objective;
  Ratio ratio;
  Tensor *distance;
} Dpok;

Tensor *dpok_loss(Ratio *ratio, const FinetuneInputs *in, const Transition *step,
                  const Transition *reference, double clip, double kl, Tensor **distance) {
  ratio_record(ratio, in, step);
  *distance = t_mean(t_scale(1.0 / in->x->n, transition_kl(step, reference)));
  graph_keep(*distance);
  return t_mix(1, t_mean(ratio_clipped(ratio, clip)), kl, *distance);
}

static Agent *create(const AlgoSetup *setup, Error *error) {
  Dpok *m = arena_alloc(setup->arena, sizeof *m);
  m->cfg = setup->config;
  if (!finetune_open(&m->base, setup, &(FinetuneSpec){ 0 }, error)) return NULL;
  Params *online = m->base.model->online;
  Graph *g = objective_begin(&m->objective, setup, online);
  FinetuneInputs in = finetune_inputs(&m->base, g);
  Transition step = finetune_transition(&m->base, &in, online);
  Transition reference = finetune_transition(&m->base, &in, m->base.reference);
  Tensor *loss =
      dpok_loss(&m->ratio, &in, &step, &reference, m->cfg->clip_ratio, m->cfg->kl, &m->distance);
  objective_end(&m->objective, setup, &m->base.agent, loss, m->cfg->rate, m->cfg->clip, (Ema){ 0 });
  return &m->base.agent;
}

static bool update(Agent *agent, int64_t step, Log *log) {
  Dpok *m = (Dpok *)agent;
  int rows = finetune_rows(&m->base, step);
  if (!objective_step(&m->objective, rows, (uint64_t)step)) return false;
  ratio_check(&m->ratio, rows, finetune_first(&m->base, step));
  objective_log(&m->objective, log, "policy");
  ratio_log(&m->ratio, rows, m->cfg->clip_ratio, log);
  log_scalar(log, "kl/reference", graph_scalar(m->distance));
  finetune_log(&m->base, log);
  return true;
}

const AlgoDef algo_dpok = { .name = "dpok",
                            .paper = "Fan et al. 2023, arXiv 2305.16381",
                            .about = "fine-tunes a generator: ddpo that stays near what it was",
                            .source = &source_samples,
                            .fields = fields,
                            .field_count = sizeof fields / sizeof *fields,
                            .config_size = sizeof(DpokConfig),
                            .fine_tunes = true,
                            .create = create,
                            .collect = finetune_collect,
                            .update = update,
                            .measured = { &finetune_measured, &finetune_also, &finetune_features },
                            .show = finetune_show,
                            .save_more = finetune_save,
                            .load_more = finetune_load,
                            .close = finetune_close };
