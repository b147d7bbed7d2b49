/* draft.c -- direct reward fine-tuning.  Clark et al. 2023 (arXiv 2309.17400), algorithm 1.
 *
 * Where the reward has a gradient, the chain has one too: x_0 is a function of the network in every
 * step.  From the state x_K with K steps to go, which is drawn and held fast, the last steps are
 * recorded again with new noise, and the reward goes back through them:
 *
 *   draft-K    L = -mean r(x_0),   x_0 = the last K steps from x_K
 *   draft-LV   L = -mean r(x_0) over n copies, x_0 = the last step from a x_0' + s eps
 *
 * with x_0' the sample, held fast, and a, s the level of the last step: one sample that was drawn
 * gives n gradients of less variance.  One step through the sampler is much cheaper than a policy
 * gradient and nearly as good as all of them.  Nothing holds the samples back: watch `also`, kl and
 * diversity, and end in time. */
#include "rl/algos/draft.h"
#include "rl/algos/finetune.h"
#include "rl/source/source_samples.h"

/* a rate at which pictures stay pictures */
#define DRAFT_TRAINING(F) FINETUNE_TRAINING_OF(F, 3e-5)
#define DRAFT_FIELDS(F)                                                                            \
  F(INT, last, 1, 1, 1000, "K: steps that the reward's gradient goes back through")                \
  F(INT, copies, 0, 0, 1000, "n: noised copies of a sample that take the last step; 0: draft-K")

typedef struct {
  CONFIG_MEMBERS(FINETUNE_FIELDS)
  CONFIG_MEMBERS(DRAFT_FIELDS)
} DraftConfig;

#define CONFIG_STRUCT DraftConfig
static const ConfigField fields[] = { CONFIG_ROWS(FINETUNE_DRAWING) CONFIG_ROWS(DRAFT_TRAINING)
                                          CONFIG_ROWS(DRAFT_FIELDS) };
#undef CONFIG_STRUCT

typedef struct {
  Finetune base;
  const DraftConfig *cfg;
  Objective objective;
} Draft;

/* the last `count` stages of a sampler */
static const Sampler *tail_of(Arena *arena, const Sampler *whole, int count) {
  Sampler *tail = arena_alloc(arena, sizeof *tail);
  *tail = *whole;
  tail->stage += whole->stages - count, tail->stages = count;
  return tail;
}

/* as much noise again as the last step takes away */
static Tensor *noised(Graph *g, const Stage *last, Tensor *x0, int copies) {
  return t_add(t_scale(last->at.a, x0),
               t_scale(last->at.s, t_normal(g, "draft copies", copies, x0->n)));
}

Tensor *draft_rewards(Graph *g, const DraftSpec *s, Tensor *x, Tensor *cond, Error *error) {
  const Sampler *tail = tail_of(graph_arena(g), s->sampler, s->copies ? 1 : s->last);
  if (s->copies) x = noised(g, &tail->stage[0], x, s->copies);
  Tensor *x0 = sampler_record_from(g, tail, s->denoiser, s->params, "draft", x, cond);
  return reward_record(s->reward, g, x0, error);
}

static Agent *create(const AlgoSetup *setup, Error *error) {
  Draft *m = arena_alloc(setup->arena, sizeof *m);
  Finetune *f = &m->base;
  const DraftConfig *c = m->cfg = setup->config;
  int last = (int)c->last;
  if (c->copies && last != 1) {
    error_set(error, FAIL_USAGE,
              "copies=%d take the last step alone, and last=%d asks for more: omit one of them",
              (int)c->copies, last);
    return NULL;
  }
  const FinetuneSpec states = { .nearest = last, .farthest = last, .any_sampler = true };
  const FinetuneSpec samples = { .rows_per_sample = 1, .any_sampler = true };
  if (!finetune_open(f, setup, c->copies ? &samples : &states, error)) return NULL;
  const DraftSpec spec = {
    f->chains->sampler, f->model->denoiser, f->model->online, f->reward, last, (int)c->copies
  };
  /* what a step does must follow from its state */
  if (!transition_check(spec.sampler, error)) return NULL;
  Graph *g = objective_begin(&m->objective, setup, f->model->online);
  FinetuneInputs in = finetune_inputs(f, g);
  Tensor *reward = draft_rewards(g, &spec, in.x, in.cond, error);
  if (!reward) return NULL;
  objective_end(&m->objective, setup, &f->agent, t_scale(-1, t_mean(reward)), f->cfg->rate,
                f->cfg->clip, (Ema){ 0 });
  return &f->agent;
}

static bool update(Agent *agent, int64_t step, Log *log) {
  Draft *m = (Draft *)agent;
  int rows = finetune_rows(&m->base, step);
  if (!objective_step(&m->objective, rows, (uint64_t)step)) return false;
  objective_log(&m->objective, log, "reward");
  finetune_log(&m->base, log);
  return true;
}

const AlgoDef algo_draft = { .name = "draft",
                             .paper = "Clark et al. 2023, arXiv 2309.17400",
                             .about = "fine-tunes a generator: the reward's gradient through the "
                                      "last steps",
                             .source = &source_samples,
                             .fields = fields,
                             .field_count = sizeof fields / sizeof *fields,
                             .config_size = sizeof(DraftConfig),
                             .fine_tunes = true,
                             .create = create,
                             .collect = finetune_collect,
                             .update = update,
                             .measured = { &finetune_measured, &finetune_also, &finetune_features },
                             .show = finetune_show,
                             .save_more = finetune_save,
                             .load_more = finetune_load,
                             .close = finetune_close };
