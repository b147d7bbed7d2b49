/* finetune.c -- epochs of samples, their rewards and advantages, and the rows of gradient steps. */
#include "rl/algos/finetune.h"
#include "datasets/images.h"
#include "policy/models/pictures.h"
#include "policy/models/points.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* what the inputs of a tape read: [batch, stride] each */
typedef struct FinetuneRows {
  real *x, *next, *numbers, *old, *cond, *advantage;
  bool from_chain; /* is a row a step of a chain? */
  int per_sample;
  int nearest, farthest; /* the step with so many to go, drawn between these; 0: every random one */
  int *stage;            /* of the chains' random stages, in order */
  int stages;
} FinetuneRows;

/* ---- the generator --------------------------------------------------------------------------- */

/* The model that is fine-tuned, at the weights that sample; an average is not kept of it. */
static bool load_model(Finetune *f, Error *error) {
  const Checkpoint *from = f->setup->from;
  const ModelDef *def = model_saved(from);
  if (def != &model_pictures && def != &model_points)
    return error_set(error, FAIL_INPUT,
                     "it holds no generator; expected a run of `diffrl train image` or `toy`");
  Model *m = f->model = f->agent.model = model_load(f->setup->arena, def, from, error);
  if (!m) return false;
  const Params *best = model_weights(m);
  if (best != m->online) params_copy(m->online, best);
  params_drop(m->average);
  /* what comes of it is sampled with the guidance that it was trained under */
  m->settings.guidance = f->cfg->guidance;
  return model_set_all(m, "weights=online", error) &&
         snprintf(m->settings.weights.s, sizeof m->settings.weights.s, "online") > 0;
}

static RewardSpec reward_spec(const Finetune *f, bool measures) {
  bool pictures = f->model->def == &model_pictures;
  int size = pictures ? (int)((const PicturesModel *)f->model)->size : 1; /* a side */
  return (RewardSpec){ .plane = { size, size, f->model->denoiser->dim / (size * size) },
                       .pictures = pictures,
                       .data = f->model->data,
                       .pool = f->setup->pool,
                       .kernels = f->setup->kernels,
                       .seconds = f->cfg->reward_seconds,
                       .measures = measures };
}

static bool open_rewards(Finetune *f, Error *error) {
  const RewardSpec raised = reward_spec(f, false), measured = reward_spec(f, true);
  const FinetuneConfig *c = f->cfg;
  if (!*c->reward.s)
    return error_set(error, FAIL_USAGE,
                     "%s raises a reward: give --reward NAME, one of `diffrl "
                     "list rewards`",
                     f->setup->def->name);
  f->reward = reward_open(f->setup->arena, c->reward.s, &raised, error);
  if (!f->reward || !*c->also.s) return f->reward != NULL;
  f->also = reward_open(f->setup->arena, c->also.s, &measured, error);
  return f->also != NULL;
}

/* ---- labels ---------------------------------------------------------------------------------- */

enum { EVERY = -1, NONE = -2 };

static bool read_label(const Finetune *f, int *label, Error *error) {
  const char *text = f->cfg->label.s;
  *label = !strcmp(text, "all") ? EVERY : NONE;
  if (*label == EVERY || !strcmp(text, "none")) return true;
  if (!f->model->cond)
    return error_set(error, FAIL_USAGE,
                     "label=%s, but this generator is not conditioned on labels; omit it", text);
  const PicturesModel *m = (const PicturesModel *)f->model;
  return images_label_find(m->base.data, m->label_name, m->classes, text, label, error) ||
         error_prefix(error, "label=%s (or all, or none)", text);
}

/* Conditions of the chains, and which samples are compared with each other. */
static void give_labels(const Chains *c, int label, int *group) {
  int classes = c->model->cond;
  for (int i = 0; i < c->count; i++) {
    int own = label == EVERY && classes ? i % classes : label;
    for (int j = 0; j < classes; j++) c->cond[i * c->cond_ld + j] = j == own;
    if (group) group[i] = label == EVERY && classes ? own : 0;
  }
}

/* ---- opening --------------------------------------------------------------------------------- */

static ChainsSpec chains_spec(const Finetune *f, const FinetuneSpec *spec) {
  const FinetuneConfig *c = f->cfg;
  return (ChainsSpec){ .model = f->model,
                       .params = spec->reference ? f->reference
                                 : f->old        ? f->old
                                                 : f->model->online,
                       .stream = "finetune",
                       .sampler = { .method = c->sampler.s,
                                    .steps = (int)c->sample_steps,
                                    .spacing = c->spacing.s,
                                    .from = f->model->start,
                                    .eta = c->eta },
                       .guidance = c->guidance,
                       .from = spec->from,
                       .to = spec->to,
                       .count = f->samples,
                       .ends = spec->any_sampler && !spec->farthest };
}

/* An evaluation draws chains whose steps are random, so that their distance to the reference is
 * known: those that are trained, or ddim's. */
static bool open_shown(Finetune *f, ChainsSpec spec, Error *error) {
  spec.stream = "evaluation", spec.count = (int)f->cfg->eval_samples;
  spec.params = f->model->online;
  spec.from = spec.to = 0, spec.ends = false;
  bool random = !f->chains->loop && transition_count(f->chains->sampler) > 0;
  if (!random) spec.sampler.method = "ddim", spec.sampler.eta = 1;
  f->shown = chains_new(f->setup, &spec, error);
  spec.params = f->reference;
  f->before = chains_new(f->setup, &spec, error);
  return f->shown && f->before;
}

static bool open_chains(Finetune *f, const FinetuneSpec *spec, Error *error) {
  const ChainsSpec chains = chains_spec(f, spec);
  int label;
  if (!read_label(f, &label, error)) return false;
  f->chains = chains_new(f->setup, &chains, error);
  if (!f->chains || !open_shown(f, chains, error)) return false;
  f->group = arena_array(f->setup->arena, int, f->samples);
  f->groups = label == EVERY && f->model->cond ? f->model->cond : 1;
  give_labels(f->chains, label, f->group), give_labels(f->shown, label, NULL);
  give_labels(f->before, label, NULL);
  if (spec->farthest > f->chains->stages)
    return error_set(error, FAIL_USAGE, "the chain has %d steps, fewer than %d: set sample_steps",
                     f->chains->stages, spec->farthest);
  bool random = spec->any_sampler || chains_random_count(f->chains) > 0;
  return random || error_set(error, FAIL_USAGE,
                             "the chain of sampler %s with eta=%g has no random step, so no "
                             "log-probability: use ddpm, or ddim, flow_sde or sde_euler with eta "
                             "above 0",
                             f->cfg->sampler.s, f->cfg->eta);
}

static void take_memory(Finetune *f, const FinetuneSpec *spec) {
  Arena *arena = f->setup->arena;
  FinetuneRows *h = f->held = arena_alloc(arena, sizeof *h);
  const Chains *c = f->chains;
  size_t batch = (size_t)f->cfg->batch;
  h->from_chain = !spec->rows_per_sample;
  if (h->from_chain) {
    h->stage = arena_array(arena, int, c->stages);
    h->next = arena_array(arena, real, batch * (size_t)c->ld);
    h->numbers = arena_array(arena, real, batch * (size_t)c->number_ld);
    h->old = arena_array(arena, real, batch * row_stride(1));
  }
  h->nearest = spec->nearest, h->farthest = spec->farthest;
  h->x = arena_array(arena, real, batch * (size_t)c->ld);
  h->advantage = arena_array(arena, real, batch * row_stride(1));
  if (c->cond) h->cond = arena_array(arena, real, batch * (size_t)c->cond_ld);
  f->value = arena_array(arena, float, f->samples);
  f->also_value = arena_array(arena, float, f->samples);
  f->advantage = arena_array(arena, real, f->samples);
  f->sample = arena_array(arena, int, batch);
  h->per_sample = h->farthest ? 1 : spec->rows_per_sample;
}

/* which stages a row may be of; a window changes them */
static void find_rows(Finetune *f) {
  FinetuneRows *h = f->held;
  h->stages = 0;
  for (int i = 0; h->from_chain && i < f->chains->stages; i++)
    if (chains_random(f->chains, i)) h->stage[h->stages++] = i;
  f->rows = (int64_t)f->samples * (h->per_sample ? h->per_sample : h->stages);
}

void finetune_window(Finetune *f, int from, int to) {
  chains_window(f->chains, from, to);
  find_rows(f);
}

bool finetune_open(Finetune *f, const AlgoSetup *setup, const FinetuneSpec *spec, Error *error) {
  f->setup = setup, f->cfg = setup->config, f->samples = (int)f->cfg->samples;
  f->epoch = -1, f->best_also = -INFINITY;
  if (!load_model(f, error)) return false;
  f->reference = params_clone(f->model->online, "reference");
  blocks_add(&f->agent.blocks, f->reference);
  if (spec->old) f->old = blocks_add(&f->agent.blocks, params_clone(f->model->online, "old"));
  if (!objective_adapt(setup, &f->agent, f->model->online, f->reference, (int)f->cfg->lora, error))
    return false;
  if (!open_rewards(f, error) || !open_chains(f, spec, error)) return false;
  take_memory(f, spec);
  find_rows(f);
  return true;
}

void finetune_close(Agent *agent) {
  Finetune *f = (Finetune *)agent;
  reward_close(f->reward), reward_close(f->also);
}

/* ---- epochs ---------------------------------------------------------------------------------- */

int64_t finetune_steps(const Finetune *f) {
  int64_t batch = f->cfg->batch;
  return f->cfg->passes * ((f->rows + batch - 1) / batch);
}

bool finetune_first(const Finetune *f, int64_t step) { return step % finetune_steps(f) == 0; }

void finetune_follow(Finetune *f, int64_t step, double decay) {
  if (!finetune_first(f, step + 1)) return;
  if (decay > 0)
    params_lerp(f->old, f->model->online, 1 - decay);
  else
    params_copy(f->old, f->model->online); /* to the bit */
}

/* mean and deviation of the values of one group; of all: group -1 */
static void moments(const Finetune *f, int group, double *mean, double *std) {
  double sum = 0, squares = 0;
  int count = 0;
  for (int i = 0; i < f->samples; i++)
    if (group < 0 || f->group[i] == group) sum += (double)f->value[i], count++;
  *mean = count ? sum / count : 0;
  for (int i = 0; i < f->samples; i++)
    if (group < 0 || f->group[i] == group)
      squares += ((double)f->value[i] - *mean) * ((double)f->value[i] - *mean);
  *std = count ? sqrt(squares / count) : 0;
}

/* A = (r - mean) / (std + 1e-6) within the clip: Black et al. 2023, section 5.2 */
static void find_advantages(Finetune *f) {
  const FinetuneConfig *c = f->cfg;
  double mean, std, own_mean, own_std, limit = c->advantage_clip;
  moments(f, -1, &mean, &std);
  for (int i = 0; i < f->samples; i++) {
    moments(f, f->group[i], &own_mean, &own_std);
    double base = *c->baseline.s == 'l' ? own_mean : *c->baseline.s == 'e' ? mean : 0;
    double scale = *c->deviation.s == 'l' ? own_std : *c->deviation.s == 'e' ? std : 1 - 1e-6;
    double a = ((double)f->value[i] - base) / (scale + 1e-6);
    f->advantage[i] = (real)(limit > 0 ? fmin(fmax(a, -limit), limit) : a);
  }
}

bool finetune_collect(Agent *agent, int64_t step, Error *error) {
  Finetune *f = (Finetune *)agent;
  int64_t epoch = step / finetune_steps(f);
  if (epoch == f->epoch) return true;
  const Chains *c = f->chains;
  chains_draw(f->chains, (uint64_t)epoch);
  const real *x = chains_samples(c);
  if (!reward_values(f->reward, x, c->ld, f->samples, f->value, error)) return false;
  if (f->also && !reward_values(f->also, x, c->ld, f->samples, f->also_value, error)) return false;
  f->epoch = epoch;
  find_advantages(f);
  return true;
}

/* ---- rows ------------------------------------------------------------------------------------ */

static Tensor *bound(Graph *g, const char *name, int n, const real *data) {
  Tensor *t = t_input(g, name, 1, n);
  graph_bind(t, data);
  return t;
}

FinetuneInputs finetune_inputs(Finetune *f, Graph *g) {
  const FinetuneRows *h = f->held;
  const Chains *c = f->chains;
  FinetuneInputs in = { .x = bound(g, "x", c->dim, h->x),
                        .advantage = bound(g, "advantage", 1, h->advantage) };
  if (c->cond) in.cond = bound(g, "cond", f->model->cond, h->cond);
  if (!h->from_chain) return in;
  in.next = bound(g, "next", c->dim, h->next);
  in.numbers = bound(g, "numbers", transition_size(c->sampler), h->numbers);
  in.old = bound(g, "old", 1, h->old);
  return in;
}

Transition finetune_transition(const Finetune *f, const FinetuneInputs *in, const Params *params) {
  return transition_record(f->chains->sampler, f->model->denoiser, params, in->x, in->numbers,
                           in->cond);
}

/* the stage that number i of a chain's rows begins at */
static int stage_of(const Finetune *f, int64_t pass, int sample, int i) {
  const FinetuneRows *h = f->held;
  if (!h->farthest) return h->stage[i];
  Rng rng = rng_stream(f->setup->seed, "finetune stage");
  uint64_t span = (uint64_t)(h->farthest - h->nearest + 1);
  int to_go = h->nearest + (int)rng_below(rng, (uint64_t)pass, (uint32_t)sample, 0, span);
  return f->chains->stages - to_go;
}

static void put_row(Finetune *f, int r, int64_t pass, int64_t i) {
  const FinetuneRows *h = f->held;
  const Chains *c = f->chains;
  int per = h->per_sample ? h->per_sample : h->stages, sample = (int)(i / per);
  size_t bytes = (size_t)c->ld * sizeof(real);
  real *x = h->x + (ptrdiff_t)r * c->ld;
  f->sample[r] = sample;
  h->advantage[(ptrdiff_t)r * row_stride(1)] = f->advantage[sample];
  if (c->cond)
    memcpy(h->cond + (ptrdiff_t)r * c->cond_ld, c->cond + (ptrdiff_t)sample * c->cond_ld,
           (size_t)c->cond_ld * sizeof(real));
  if (!h->from_chain) {
    memcpy(x, chains_samples(c) + (ptrdiff_t)sample * c->ld, bytes);
    return;
  }
  int stage = stage_of(f, pass, sample, (int)(i % per));
  memcpy(x, chains_state(c, stage, sample), bytes);
  memcpy(h->next + (ptrdiff_t)r * c->ld, chains_state(c, stage + 1, sample), bytes);
  memcpy(h->numbers + (ptrdiff_t)r * c->number_ld, c->number + stage * c->number_ld,
         (size_t)c->number_ld * sizeof(real));
  h->old[(ptrdiff_t)r * row_stride(1)] = c->log_prob[(ptrdiff_t)stage * c->count + sample];
}

int finetune_rows(Finetune *f, int64_t step) {
  f->done = step + 1;
  int64_t batch = f->cfg->batch, a_pass = (f->rows + batch - 1) / batch;
  int64_t pass = step / a_pass, from = step % a_pass * batch;
  int rows = (int)(f->rows - from < batch ? f->rows - from : batch);
  /* another order in every pass, of all steps of all chains together */
  Rng order = rng_stream(f->setup->seed, "finetune order");
  for (int r = 0; r < rows; r++)
    put_row(f, r, pass,
            (int64_t)rng_permute(order, (uint64_t)pass, (uint64_t)(from + r), (uint64_t)f->rows));
  return rows;
}

void finetune_log(const Finetune *f, Log *log) {
  double mean, std, sum = 0;
  moments(f, -1, &mean, &std);
  for (int i = 0; i < f->samples; i++) sum += (double)f->also_value[i];
  log_scalar(log, "reward/mean", mean);
  log_scalar(log, "reward/std", std);
  if (f->also) log_scalar(log, "also/mean", sum / f->samples);
  log_scalar(log, "queries", (double)((f->epoch + 1) * f->samples));
}

/* ---- checkpoints ----------------------------------------------------------------------------- */

enum { REAL = sizeof(real) == sizeof(double) ? CHECKPOINT_F64 : CHECKPOINT_F32 };

typedef struct {
  const char *name;
  void *data;
  int64_t count;
  int type;
} Piece;

/* What the rest of an epoch's steps learn from: it was drawn with weights that are gone. */
static int pieces(const Finetune *f, Piece piece[5]) {
  const Chains *c = f->chains;
  int64_t states = (c->loop ? 1 : c->stages + 1) * (int64_t)c->count * c->ld;
  int n = 0;
  piece[n++] = (Piece){ "epoch/x", c->x, states, REAL };
  piece[n++] = (Piece){ "epoch/advantage", f->advantage, f->samples, REAL };
  piece[n++] = (Piece){ "epoch/reward", f->value, f->samples, CHECKPOINT_F32 };
  piece[n++] = (Piece){ "epoch/also", f->also_value, f->samples, CHECKPOINT_F32 };
  if (c->log_prob)
    piece[n++] = (Piece){ "epoch/log_prob", c->log_prob, (int64_t)c->stages * c->count, REAL };
  return n;
}

bool finetune_save(const Agent *agent, Checkpoint *c, Error *error) {
  const Finetune *f = (const Finetune *)agent;
  Piece piece[5];
  (void)error;
  /* after its last step an epoch is of no use any more */
  bool held = f->epoch >= 0 && f->done % finetune_steps(f);
  checkpoint_add_text(c, "epoch", arena_text(c->arena, "%lld", held ? (long long)f->epoch : -1LL));
  checkpoint_add_text(c, "done", arena_text(c->arena, "%lld", (long long)f->done));
  checkpoint_add_text(c, "fell", arena_text(c->arena, "%.0f", f->fell));
  checkpoint_add_text(c, "best_also", arena_text(c->arena, "%.17g", f->best_also));
  for (int i = 0, n = held ? pieces(f, piece) : 0; i < n; i++)
    checkpoint_add(c, piece[i].name, (CheckpointType)piece[i].type, 1, &piece[i].count,
                   piece[i].data);
  return true;
}

static bool all_finite(const void *data, const Piece *piece) {
  const float *f32 = data;
  const double *f64 = data;
  for (int64_t i = 0; i < piece->count; i++)
    if (!isfinite(piece->type == CHECKPOINT_F64 ? f64[i] : (double)f32[i])) return false;
  return true;
}

bool finetune_load(Agent *agent, const Checkpoint *c, Error *error) {
  Finetune *f = (Finetune *)agent;
  Piece piece[5];
  if (!checkpoint_read_whole(c, "epoch", -1, (int64_t)1 << 53, &f->epoch, error) ||
      !checkpoint_read_whole(c, "done", 0, (int64_t)1 << 53, &f->done, error) ||
      !checkpoint_read_number(c, "fell", &f->fell, error) ||
      !checkpoint_read_number(c, "best_also", &f->best_also, error))
    return false;
  for (int i = 0, n = f->epoch < 0 ? 0 : pieces(f, piece); i < n; i++) {
    const void *data = checkpoint_need_vector(c, piece[i].name, (CheckpointType)piece[i].type,
                                              piece[i].count, error);
    if (!data) return false;
    if (!all_finite(data, &piece[i]))
      return error_set(error, FAIL_INPUT, "tensor %s: a number is not finite", piece[i].name);
    memcpy(piece[i].data, data, (size_t)piece[i].count * (piece[i].type == CHECKPOINT_F64 ? 8 : 4));
  }
  return true;
}
