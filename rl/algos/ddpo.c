/* ddpo.c -- policy gradients of a diffusion model.  Black et al. 2023 (arXiv 2305.13301).
 *
 * A chain is a decision process: its state (x_t, c), its action x_{t-1}, its reward r(x_0, c) at
 * the end.  With log-probabilities that are means over the D numbers of a sample, as in the
 * authors' code, and A the advantage of the whole chain,
 *
 *   ddpo-sf   L = -mean A log p(x_{t-1} | x_t)                                       eq. 4
 *   ddpo      L = -mean min(A rho, A clip(rho, 1 - e, 1 + e)),   rho = p / p_old     eq. 5
 *
 * over all steps of all chains of an epoch, in one random order. */
#include "rl/algos/finetune.h"
#include "rl/algos/ratio.h"
#include "rl/source/source_samples.h"

#define DDPO_FIELDS(F)                                                                             \
  F(FLOAT, clip_ratio, 1e-4, 0, 1, "ratios are kept within 1 - this and 1 + this")

typedef struct {
  CONFIG_MEMBERS(FINETUNE_FIELDS)
  CONFIG_MEMBERS(DDPO_FIELDS)
} DdpoConfig;

#define CONFIG_STRUCT DdpoConfig
static const ConfigField fields[] = { CONFIG_ROWS(FINETUNE_FIELDS) CONFIG_ROWS(DDPO_FIELDS) };
#undef CONFIG_STRUCT
enum { FIELDS = sizeof fields / sizeof *fields, SHARED = FIELDS - 1 };

typedef struct {
  Finetune base;
  const DdpoConfig *cfg;
  Objective objective;
  Ratio ratio;
} Ddpo;

static Agent *create(const AlgoSetup *setup, bool clipped, Error *error) {
  Ddpo *m = arena_alloc(setup->arena, sizeof *m);
  m->cfg = setup->config;
  if (!finetune_open(&m->base, setup, &(FinetuneSpec){ 0 }, error)) return NULL;
  Params *online = m->base.model->online;
  Graph *g = objective_begin(&m->objective, setup, online);
  FinetuneInputs in = finetune_inputs(&m->base, g);
  Transition step = finetune_transition(&m->base, &in, online);
  ratio_record(&m->ratio, &in, &step);
  Tensor *loss = clipped ? ratio_clipped(&m->ratio, m->cfg->clip_ratio)
                         : t_scale(-1, t_mul(in.advantage, m->ratio.log_prob));
  objective_end(&m->objective, setup, &m->base.agent, t_mean(loss), m->cfg->rate, m->cfg->clip,
                (Ema){ 0 });
  return &m->base.agent;
}

static Agent *create_sf(const AlgoSetup *setup, Error *error) {
  return create(setup, false, error);
}
static Agent *create_clipped(const AlgoSetup *setup, Error *error) {
  return create(setup, true, error);
}

static bool update(Agent *agent, int64_t step, Log *log) {
  Ddpo *m = (Ddpo *)agent;
  int rows = finetune_rows(&m->base, step);
  if (!objective_step(&m->objective, rows, (uint64_t)step)) return false;
  ratio_check(&m->ratio, rows, finetune_first(&m->base, step));
  objective_log(&m->objective, log, "policy");
  ratio_log(&m->ratio, rows, m->cfg->clip_ratio, log);
  finetune_log(&m->base, log);
  return true;
}

#define DDPO(symbol, NAME, ABOUT, COUNT, CREATE)                                                   \
  const AlgoDef symbol = { .name = NAME,                                                           \
                           .paper = "Black et al. 2023, arXiv 2305.13301",                         \
                           .about = ABOUT,                                                         \
                           .source = &source_samples,                                              \
                           .fields = fields,                                                       \
                           .field_count = COUNT,                                                   \
                           .config_size = sizeof(DdpoConfig),                                      \
                           .fine_tunes = true,                                                     \
                           .create = CREATE,                                                       \
                           .collect = finetune_collect,                                            \
                           .update = update,                                                       \
                           .measured = { &finetune_measured, &finetune_also, &finetune_features }, \
                           .show = finetune_show,                                                  \
                           .save_more = finetune_save,                                             \
                           .load_more = finetune_load,                                             \
                           .close = finetune_close }

DDPO(algo_ddpo, "ddpo", "fine-tunes a generator: clipped importance sampling on the chain", FIELDS,
     create_clipped);
DDPO(algo_ddpo_sf, "ddpo-sf", "fine-tunes a generator: the score-function policy gradient", SHARED,
     create_sf);
