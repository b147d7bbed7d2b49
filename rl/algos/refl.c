/* refl.c -- reward feedback learning.  Xu et al. 2023 (arXiv 2304.05977), algorithm 1.
 *
 * The chain is drawn to a random late step; there the network says what the sample will be, and the
 * reward of that goes back through this one evaluation:
 *
 *   L = -mean min(r(x_0(x_t)), goal),   x_0(x_t) the prediction with 1 to `late` steps to go
 *
 * Late, since what is predicted from much noise is a blur that no reward was made for; not the last
 * step alone, since then nothing but details could be changed.  The authors' code has 40 steps, 1
 * to 10 of them to go, and goal 2 for a reward of deviation 1.  The loss of the paper has a second
 * term, that of the data which the generator was trained on; the code has none, and neither has
 * this file, since the data are not at hand.  Nothing holds the samples back but `goal`. */
#include "rl/algos/finetune.h"
#include "rl/source/source_samples.h"

/* a rate at which pictures stay pictures */
#define REFL_TRAINING(F) FINETUNE_TRAINING_OF(F, 3e-5)
#define REFL_FIELDS(F)                                                                             \
  F(INT, late, 5, 1, 1000, "most steps that are to go where the sample is predicted")              \
  F(FLOAT, goal, 1e30, NULL, NULL, "rewards are raised up to this")

typedef struct {
  CONFIG_MEMBERS(FINETUNE_FIELDS)
  CONFIG_MEMBERS(REFL_FIELDS)
} ReflConfig;

#define CONFIG_STRUCT ReflConfig
static const ConfigField fields[] = { CONFIG_ROWS(FINETUNE_DRAWING) CONFIG_ROWS(REFL_TRAINING)
                                          CONFIG_ROWS(REFL_FIELDS) };
#undef CONFIG_STRUCT

typedef struct {
  Finetune base;
  const ReflConfig *cfg;
  Objective objective;
} Refl;

static Agent *create(const AlgoSetup *setup, Error *error) {
  Refl *m = arena_alloc(setup->arena, sizeof *m);
  Finetune *f = &m->base;
  const ReflConfig *c = m->cfg = setup->config;
  const FinetuneSpec spec = { .nearest = 1, .farthest = (int)c->late, .any_sampler = true };
  if (!finetune_open(f, setup, &spec, error)) return NULL;
  if (!f->chains->sampler->data_form) {
    error_set(error, FAIL_USAGE,
              "refl looks at predicted samples, and sampler %s makes none: use ddim or ddpm",
              c->sampler.s);
    return NULL;
  }
  Graph *g = objective_begin(&m->objective, setup, f->model->online);
  FinetuneInputs in = finetune_inputs(f, g);
  Tensor *x0 = finetune_transition(f, &in, f->model->online).M;
  Tensor *reward = reward_record(f->reward, g, x0, error);
  if (!reward) return NULL;
  Tensor *loss = t_scale(-1, t_mean(t_clip(reward, -1e30, c->goal)));
  objective_end(&m->objective, setup, &f->agent, loss, f->cfg->rate, f->cfg->clip, (Ema){ 0 });
  return &f->agent;
}

static bool update(Agent *agent, int64_t step, Log *log) {
  Refl *m = (Refl *)agent;
  int rows = finetune_rows(&m->base, step);
  if (!objective_step(&m->objective, rows, (uint64_t)step)) return false;
  objective_log(&m->objective, log, "reward");
  finetune_log(&m->base, log);
  return true;
}

const AlgoDef algo_refl = { .name = "refl",
                            .paper = "Xu et al. 2023, arXiv 2304.05977",
                            .about = "fine-tunes a generator: the reward of what a late step "
                                     "predicts",
                            .source = &source_samples,
                            .fields = fields,
                            .field_count = sizeof fields / sizeof *fields,
                            .config_size = sizeof(ReflConfig),
                            .fine_tunes = true,
                            .create = create,
                            .collect = finetune_collect,
                            .update = update,
                            .measured = { &finetune_measured, &finetune_also, &finetune_features },
                            .show = finetune_show,
                            .save_more = finetune_save,
                            .load_more = finetune_load,
                            .close = finetune_close };
