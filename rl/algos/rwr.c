/* rwr.c -- reward-weighted regression.  Peters & Schaal 2007; of diffusion models Lee et al. 2023
 * (arXiv 2302.12192) and the baselines of Black et al. 2023 (arXiv 2305.13301, section 4.1).
 *
 * The denoising loss of what was drawn, each sample with a weight of its own:
 *
 *   L = mean w(x_0) |network(x_t) - target|^2,   w = exp(beta A) / mean exp(beta A)       exp
 *                                                w = 1 for the best share, else 0         sparse
 *
 * means and shares over the samples of one label.  No log-probabilities, so any sampler will do.
 * With A the reward (deviation=none), the samples of an epoch teach p exp(beta r) / Z exactly, p
 * being what drew them.  draws=reference: that is the generator as it came, and p_ref exp(beta r) /
 * Z stays the aim.  draws=present: every epoch tilts what the one before has made, and nothing
 * holds it back but the end of training.
 *
 * Lee et al. draw once, have weights r of a learned reward in [0, 1], and add the loss of the data
 * that the generator was trained on, which is not at hand here. */
#include "rl/algos/rwr.h"
#include "diffusion/loss.h"
#include "rl/algos/finetune.h"
#include "rl/source/source_samples.h"
#include <math.h>

/* a rate at which pictures stay pictures */
#define RWR_TRAINING(F) FINETUNE_TRAINING_OF(F, 3e-5)
#define RWR_FIELDS(F)                                                                              \
  F(FLOAT, beta, 1, 0, 1000, "samples weigh exp(this * advantage)")                                \
  F(TEXT, form, "exp", "exp|sparse", NULL, "weights: by beta, or 1 for the best and 0 for others") \
  F(FLOAT, best, 0.1, 0, 1, "form=sparse: share of a label's samples that is learned from")        \
  F(TEXT, draws, "present", "present|reference", NULL,                                             \
    "what is weighed: samples of the present weights, or of the generator as it came")             \
  F(INT, levels, 8, 1, 10000, "noise levels of a sample in a pass")                                \
  F(TEXT, weighting, "native", NULL, NULL, "of the squared error (diffusion/loss.h)")              \
  F(TEXT, times, "uniform", NULL, NULL, "how times are sampled (diffusion/loss.h)")

typedef struct {
  CONFIG_MEMBERS(FINETUNE_FIELDS)
  CONFIG_MEMBERS(RWR_FIELDS)
} RwrConfig;

#define CONFIG_STRUCT RwrConfig
static const ConfigField fields[] = { CONFIG_ROWS(FINETUNE_DRAWING) CONFIG_ROWS(FINETUNE_ADVANTAGES)
                                          CONFIG_ROWS(RWR_TRAINING) CONFIG_ROWS(RWR_FIELDS) };
#undef CONFIG_STRUCT

static const SettingNeed needs[] = { { "best", "form", "sparse", NULL },
                                     { "beta", "form", NULL, "sparse" },
                                     { NULL, NULL, NULL, NULL } };

typedef struct {
  Finetune base;
  const RwrConfig *cfg;
  Objective objective;
} Rwr;

/* ---- weights --------------------------------------------------------------------------------- */

/* the weights of the group of sample `first` */
static void weigh_group(const real *advantage, const int *group, int n, int first, double beta,
                        double *weight) {
  double most = -INFINITY, sum = 0; /* relative to the most, or it would overflow */
  int count = 0;
  for (int i = first; i < n; i++)
    if (group[i] == group[first]) most = fmax(most, beta * (double)advantage[i]);
  for (int i = first; i < n; i++)
    if (group[i] == group[first])
      sum += weight[i] = exp(beta * (double)advantage[i] - most), count++;
  for (int i = first; i < n; i++)
    if (group[i] == group[first]) weight[i] *= count / sum;
}

void rwr_weigh(const real *advantage, const int *group, int n, double beta, double *weight) {
  for (int i = 0; i < n; i++) {
    int first = 0;
    while (group[first] != group[i]) first++;
    if (first == i) weigh_group(advantage, group, n, i, beta, weight);
  }
}

void rwr_weigh_best(const real *advantage, const int *group, int n, double share, double *weight) {
  for (int i = 0; i < n; i++) {
    int count = 0, better = 0;
    for (int j = 0; j < n; j++) {
      if (group[j] != group[i]) continue;
      count++;
      better += advantage[j] > advantage[i] || (advantage[j] == advantage[i] && j < i);
    }
    double kept = fmax(1, floor(share * count));
    weight[i] = better < kept ? count / kept : 0;
  }
}

/* An epoch's weights stand in the place of its advantages, and are saved with it. */
static bool collect(Agent *agent, int64_t step, Error *error) {
  Rwr *m = (Rwr *)agent;
  Finetune *f = &m->base;
  int64_t before = f->epoch;
  if (!finetune_collect(agent, step, error)) return false;
  if (f->epoch == before) return true;
  Arena *scratch = arena_under(f->setup->arena);
  double *weight = arena_array(scratch, double, f->samples);
  if (m->cfg->form.s[0] == 's')
    rwr_weigh_best(f->advantage, f->group, f->samples, m->cfg->best, weight);
  else
    rwr_weigh(f->advantage, f->group, f->samples, m->cfg->beta, weight);
  for (int i = 0; i < f->samples; i++) f->advantage[i] = (real)weight[i];
  arena_free(scratch);
  return true;
}

/* how many samples of equal weight would say as much: (sum w)^2 / sum w^2 */
static double effective(const Finetune *f) {
  double sum = 0, squares = 0;
  for (int i = 0; i < f->samples; i++) {
    double w = (double)f->advantage[i];
    sum += w, squares += w * w;
  }
  return sum * sum / squares;
}

/* ---- training -------------------------------------------------------------------------------- */

static Agent *create(const AlgoSetup *setup, Error *error) {
  Rwr *m = arena_alloc(setup->arena, sizeof *m);
  const RwrConfig *c = m->cfg = setup->config;
  const FinetuneSpec spec = { .rows_per_sample = (int)c->levels,
                              .any_sampler = true,
                              .reference = c->draws.s[0] == 'r' };
  if (!finetune_open(&m->base, setup, &spec, error)) return NULL;
  const Model *model = m->base.model;
  const LossSpec how = { .weighting = c->weighting.s, .times = c->times.s };
  Loss *loss = loss_new(setup->arena, &how, model->denoiser, error);
  if (!loss) return NULL;
  Graph *g = objective_begin(&m->objective, setup, model->online);
  FinetuneInputs in = finetune_inputs(&m->base, g);
  const LossInputs rows = { .x0 = in.x, .cond = in.cond, .weight = in.advantage };
  Tensor *weighted = loss_record(g, loss, model->online, "rwr", &rows).loss;
  objective_end(&m->objective, setup, &m->base.agent, weighted, c->rate, c->clip, (Ema){ 0 });
  return &m->base.agent;
}

static bool update(Agent *agent, int64_t step, Log *log) {
  Rwr *m = (Rwr *)agent;
  int rows = finetune_rows(&m->base, step);
  if (!objective_step(&m->objective, rows, (uint64_t)step)) return false;
  objective_log(&m->objective, log, "denoising");
  log_scalar(log, "samples/effective", effective(&m->base));
  finetune_log(&m->base, log);
  return true;
}

const AlgoDef algo_rwr = { .name = "rwr",
                           .paper = "Lee et al. 2023, arXiv 2302.12192",
                           .about =
                               "fine-tunes a generator: the denoising loss, weighted by reward",
                           .source = &source_samples,
                           .fields = fields,
                           .field_count = sizeof fields / sizeof *fields,
                           .config_size = sizeof(RwrConfig),
                           .fine_tunes = true,
                           .needs = needs,
                           .create = create,
                           .collect = collect,
                           .update = update,
                           .measured = { &finetune_measured, &finetune_also, &finetune_features },
                           .show = finetune_show,
                           .save_more = finetune_save,
                           .load_more = finetune_load,
                           .close = finetune_close };
