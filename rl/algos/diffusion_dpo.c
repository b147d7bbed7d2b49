/* diffusion_dpo.c -- direct preference optimization of diffusion models.  Wallace et al. 2023
 * (arXiv 2311.12908), eq. 14.
 *
 * Of two samples of one condition one is the better.  At one time and with one noise for both the
 * network is to err less on the better than the generator as it came does, more than on the other:
 *
 *   L = -mean ln sigmoid(-beta / 2 [ (e_w - e_ref_w) - (e_l - e_ref_l) ])
 *   e = |network(x_t) - target|^2 / D
 *
 * e is a mean over the D numbers of a sample, as in the authors' code, whose beta is 5000 for
 * latents of 16384 numbers; the paper's has T and a weight of the time in it.  There pairs are
 * people's choices, here the reward ranks two samples of an epoch, and pairs of equals teach
 * nothing.  Only the order of rewards counts, not how much they differ.  draws=reference makes all
 * pairs of the generator as it came, as in the paper; draws=present goes on from what was learned.
 *
 * Neither log-probabilities nor chains, so any sampler will do. */
#include "rl/algos/diffusion_dpo.h"
#include "rl/algos/finetune.h"
#include "rl/source/source_samples.h"
#include <string.h>

/* a rate at which pictures stay pictures */
#define DPO_TRAINING(F) FINETUNE_TRAINING_OF(F, 1e-4)
#define DPO_FIELDS(F)                                                                              \
  F(FLOAT, beta, 500, 0, 1e9, "how far the errors are to part")                                    \
  F(TEXT, draws, "present", "present|reference", NULL,                                             \
    "whose samples are ranked: of the present weights, or of the generator as it came")            \
  F(INT, levels, 8, 1, 10000, "pairs of a sample in a pass, each at a noise level of its own")     \
  F(TEXT, weighting, "native", NULL, NULL, "of the squared error (diffusion/loss.h)")              \
  F(TEXT, times, "uniform", NULL, NULL, "how times are sampled (diffusion/loss.h)")

typedef struct {
  CONFIG_MEMBERS(FINETUNE_FIELDS)
  CONFIG_MEMBERS(DPO_FIELDS)
} DpoConfig;

#define CONFIG_STRUCT DpoConfig
static const ConfigField fields[] = { CONFIG_ROWS(FINETUNE_DRAWING) CONFIG_ROWS(DPO_TRAINING)
                                          CONFIG_ROWS(DPO_FIELDS) };
#undef CONFIG_STRUCT

typedef struct {
  Finetune base;
  const DpoConfig *cfg;
  Objective objective;
  Tensor *margin;
  real *other, *sign; /* [batch, ld], [batch, row_stride(1)] */
} Dpo;

/* ---- the loss -------------------------------------------------------------------------------- */

Tensor *dpo_loss(Graph *g, const Loss *loss, const Params *trained, const Params *reference,
                 const DpoInputs *in, double beta, Tensor **margin) {
  LossInputs one = { .x0 = in->one, .cond = in->cond, .eps = in->eps, .time = in->time };
  if (!one.eps) one.eps = t_normal(g, "dpo noise", 1, in->one->n);
  LossTerms e = loss_record(g, loss, trained, "dpo", &one);
  one.time = e.time;
  LossInputs other = one;
  other.x0 = in->other;
  Tensor *gain = t_sub(e.rows, loss_record(g, loss, reference, "dpo", &one).rows);
  Tensor *loss_of_other = t_sub(loss_record(g, loss, trained, "dpo", &other).rows,
                                loss_record(g, loss, reference, "dpo", &other).rows);
  *margin = t_mul(in->sign, t_scale(-beta / 2, t_sub(gain, loss_of_other)));
  graph_keep(*margin);
  return t_mean(t_map(MAP_softplus, t_scale(-1, *margin)));
}

static Tensor *bound(Graph *g, const char *name, int n, const real *data) {
  Tensor *t = t_input(g, name, 1, n);
  graph_bind(t, data);
  return t;
}

static Agent *create(const AlgoSetup *setup, Error *error) {
  Dpo *m = arena_alloc(setup->arena, sizeof *m);
  Finetune *f = &m->base;
  const DpoConfig *c = m->cfg = setup->config;
  const FinetuneSpec spec = { .rows_per_sample = (int)c->levels,
                              .any_sampler = true,
                              .reference = c->draws.s[0] == 'r' };
  if (!finetune_open(f, setup, &spec, error)) return NULL;
  const LossSpec how = { .weighting = c->weighting.s, .times = c->times.s };
  Loss *loss = loss_new(setup->arena, &how, f->model->denoiser, error);
  if (!loss) return NULL;
  m->other = arena_array(setup->arena, real, c->batch * f->chains->ld);
  m->sign = arena_array(setup->arena, real, c->batch * row_stride(1));
  Graph *g = objective_begin(&m->objective, setup, f->model->online);
  FinetuneInputs rows = finetune_inputs(f, g);
  const DpoInputs in = { .one = rows.x,
                         .other = bound(g, "other", f->chains->dim, m->other),
                         .cond = rows.cond,
                         .sign = bound(g, "sign", 1, m->sign) };
  Tensor *ranked = dpo_loss(g, loss, f->model->online, f->reference, &in, c->beta, &m->margin);
  objective_end(&m->objective, setup, &f->agent, ranked, c->rate, c->clip, (Ema){ 0 });
  return &f->agent;
}

/* ---- pairs ----------------------------------------------------------------------------------- */

/* another sample of i's label, drawn evenly by (step, row); i itself if there is none */
static int other_of(const Finetune *f, int i, int64_t step, int row) {
  int count = 0;
  for (int j = 0; j < f->samples; j++) count += j != i && f->group[j] == f->group[i];
  if (!count) return i;
  Rng rng = rng_stream(f->setup->seed, "dpo pairs");
  int64_t left = (int64_t)rng_below(rng, (uint64_t)step, (uint32_t)row, 0, (uint64_t)count);
  for (int j = 0; j < f->samples; j++)
    if (j != i && f->group[j] == f->group[i] && left-- == 0) return j;
  return i;
}

static void pair_rows(const Dpo *m, int rows, int64_t step) {
  const Finetune *f = &m->base;
  const Chains *c = f->chains;
  for (int r = 0; r < rows; r++) {
    int i = f->sample[r], j = other_of(f, i, step, r);
    memcpy(m->other + (ptrdiff_t)r * c->ld, chains_samples(c) + (ptrdiff_t)j * c->ld,
           (size_t)c->ld * sizeof(real));
    m->sign[(ptrdiff_t)r * row_stride(1)] =
        (real)((f->value[i] > f->value[j]) - (f->value[i] < f->value[j]));
  }
}

/* "accuracy": the share of pairs that the network ranks as the reward does; one half before */
static void log_accuracy(const Dpo *m, int rows, Log *log) {
  int ranked = 0, right = 0;
  for (int r = 0; r < rows; r++) {
    ranked += m->sign[(ptrdiff_t)r * row_stride(1)] != 0;
    right += graph_values(m->margin)[(ptrdiff_t)r * m->margin->ld] > 0;
  }
  if (ranked) log_scalar(log, "accuracy", (double)right / ranked);
}

static bool update(Agent *agent, int64_t step, Log *log) {
  Dpo *m = (Dpo *)agent;
  int rows = finetune_rows(&m->base, step);
  pair_rows(m, rows, step);
  if (!objective_step(&m->objective, rows, (uint64_t)step)) return false;
  objective_log(&m->objective, log, "preference");
  log_accuracy(m, rows, log);
  finetune_log(&m->base, log);
  return true;
}

const AlgoDef algo_diffusion_dpo = { .name = "diffusion-dpo",
                                     .paper = "Wallace et al. 2023, arXiv 2311.12908",
                                     .about = "fine-tunes a generator: of two samples the better",
                                     .source = &source_samples,
                                     .fields = fields,
                                     .field_count = sizeof fields / sizeof *fields,
                                     .config_size = sizeof(DpoConfig),
                                     .fine_tunes = true,
                                     .create = create,
                                     .collect = finetune_collect,
                                     .update = update,
                                     .measured = { &finetune_measured, &finetune_also,
                                                   &finetune_features },
                                     .show = finetune_show,
                                     .save_more = finetune_save,
                                     .load_more = finetune_load,
                                     .close = finetune_close };
