/* finetune_gauges.c -- what fine-tuning is watched by: the rewards of samples whose noise is always
 * the same, how far the chain has gone from the reference, how varied the samples are, a sheet. */
#include "policy/models/pictures.h"
#include "rl/algos/finetune.h"
#include "rl/render/picture_grid.h"
#include <math.h>
#include <string.h>

enum { PARTS = 5 }; /* of the chain, from noise to sample, whose distance is reported apart */

/* KL(p_theta(x' | x) || p_reference(x' | x)) of steps of the chains that are shown */
typedef struct FinetuneDrift {
  Graph *g;
  Tensor *x, *numbers, *cond, *kl;
  real *number; /* [rows, number_ld] */
  int rows;
} FinetuneDrift;

static FinetuneDrift *drift_of(Finetune *f) {
  if (f->drift) return f->drift;
  const ModelDef *def = f->model->def;
  const Chains *c = f->shown;
  FinetuneDrift *d = f->drift = arena_alloc(f->setup->arena, sizeof *d);
  d->rows = c->count < def->chunk ? c->count : def->chunk;
  GraphSpec spec = { .pool = f->setup->pool,
                     .kernels = f->setup->kernels,
                     .max_rows = d->rows,
                     .group = def->group,
                     .lane = def->lane };
  Graph *g = d->g = graph_new(f->setup->arena, &spec);
  d->x = t_input(g, "x", 1, c->dim);
  d->numbers = t_input(g, "numbers", 1, transition_size(c->sampler));
  d->cond = c->cond ? t_input(g, "cond", 1, f->model->cond) : NULL;
  Transition now = transition_record(c->sampler, f->model->denoiser, f->model->online, d->x,
                                     d->numbers, d->cond);
  Transition then =
      transition_record(c->sampler, f->model->denoiser, f->reference, d->x, d->numbers, d->cond);
  graph_keep(d->kl = transition_kl(&now, &then));
  graph_seal(g);
  d->number = arena_array(f->setup->arena, real, d->rows * c->number_ld);
  graph_bind(d->numbers, d->number);
  return d;
}

/* the mean over the chains of one stage's distance, in nats */
static double stage_kl(const Chains *c, FinetuneDrift *d, int stage) {
  double sum = 0;
  for (int from = 0; from < c->count; from += d->rows) {
    int rows = c->count - from < d->rows ? c->count - from : d->rows;
    for (int r = 0; r < rows; r++)
      memcpy(d->number + r * c->number_ld, c->number + stage * c->number_ld,
             (size_t)c->number_ld * sizeof(real));
    graph_bind(d->x, chains_state(c, stage, from));
    if (d->cond) graph_bind(d->cond, c->cond + (ptrdiff_t)from * c->cond_ld);
    graph_run(d->g, rows, 0, NULL);
    for (int r = 0; r < rows; r++) sum += (double)graph_values(d->kl)[(ptrdiff_t)r * d->kl->ld];
  }
  return sum / c->count;
}

/* The root of the mean squared distance between two samples of one label, a dimension. */
static double diversity(const Chains *c, int groups) {
  const real *x = chains_samples(c);
  double sum = 0;
  int64_t pairs = 0;
  for (int i = 0; i < c->count; i++) /* labels take turns */
    for (int j = i + groups; j < c->count; j += groups, pairs++)
      for (int k = 0; k < c->dim; k++) {
        double miss = (double)x[(ptrdiff_t)i * c->ld + k] - (double)x[(ptrdiff_t)j * c->ld + k];
        sum += miss * miss / c->dim;
      }
  return pairs ? sqrt(sum / (double)pairs) : (double)NAN;
}

static bool mean_reward(const Finetune *f, Reward *reward, double *mean, Error *error) {
  const Chains *c = f->shown;
  Arena *scratch = arena_under(f->setup->arena);
  float *value = arena_array(scratch, float, c->count);
  bool done = reward_values(reward, chains_samples(c), c->ld, c->count, value, error);
  double sum = 0;
  for (int i = 0; i < c->count && done; i++) sum += (double)value[i];
  arena_free(scratch);
  *mean = sum / c->count;
  return done;
}

/* Ends by itself where what it is not trained on has fallen too often. */
static void judge(Finetune *f, double also) {
  int64_t every = f->cfg->eval_every;
  /* the end of a sitting is evaluated too, and must not count, or resuming would change it */
  if (!every || f->done % every) return;
  if (also > f->best_also) {
    f->best_also = also, f->fell = 0;
    return;
  }
  f->fell++;
  if (!f->cfg->patience || f->fell < (double)f->cfg->patience) return;
  f->agent.ended = true;
  log_progress(true, "%s has not risen in %.0f evaluations, so training ends (patience=%lld)",
               f->also->text, f->fell, (long long)f->cfg->patience);
}

static const Measure measures[] = {
  { .key = "reward",
    .title = "reward",
    .caption = "Mean reward of samples whose noise is the same every time.",
    .main = true },
  { .key = "kl",
    .title = "distance to the reference",
    .unit = "nats a sample",
    .caption = "KL divergence of the chain from the generator as it came, all steps together.",
    .less_is_better = true },
  { .key = "diversity",
    .title = "diversity",
    .caption = "Root mean squared distance between two samples of one label." },
  { .key = "kl_by_time",
    .title = "distance by time",
    .unit = "noise to sample",
    .caption = "The same divergence in fifths of the chain, from noise to sample.",
    .less_is_better = true,
    .count = PARTS },
};

static bool measure_samples(Agent *agent, double *value, Error *error) {
  Finetune *f = (Finetune *)agent;
  const Chains *c = f->shown;
  chains_draw(f->shown, 0);
  if (!mean_reward(f, f->reward, &value[0], error)) return false;
  value[1] = 0, value[2] = diversity(c, f->groups);
  for (int i = 0; i < PARTS; i++) value[3 + i] = 0;
  for (int i = 0; i < c->stages; i++) {
    double kl = chains_random(c, i) ? stage_kl(c, drift_of(f), i) : 0;
    value[1] += kl, value[3 + i * PARTS / c->stages] += kl;
  }
  return true;
}

const MeasureSet finetune_measured = { .measures = measures,
                                       .count = sizeof measures / sizeof *measures,
                                       .measure = measure_samples };

static const Measure others[] = {
  { .key = "also",
    .title = "second reward",
    .caption = "Mean of the reward that nothing is trained on." },
};

static bool has_other(const Agent *agent) { return ((const Finetune *)agent)->also != NULL; }

/* of the samples that the set before has drawn */
static bool measure_other(Agent *agent, double *value, Error *error) {
  Finetune *f = (Finetune *)agent;
  if (!mean_reward(f, f->also, value, error)) return false;
  judge(f, *value);
  return true;
}

const MeasureSet finetune_also = { .measures = others,
                                   .count = sizeof others / sizeof *others,
                                   .applies = has_other,
                                   .measure = measure_other };

/* ---- a sheet --------------------------------------------------------------------------------- */

/* after an evaluation: the samples of the evaluation, the same noise every time */
bool finetune_show(Agent *agent, MeasureWhen when, Figures *figures, Error *error) {
  const Finetune *f = (const Finetune *)agent;
  const Chains *c = f->shown;
  int columns = f->groups > 1 ? f->groups : 10, count = columns * (int)f->cfg->grid;
  if (when != MEASURE_STEP || !f->cfg->grid || f->model->def != &model_pictures) return true;
  if (count > c->count) count = c->count / columns * columns;
  if (count < 1) return true;
  Arena *arena = arena_new();
  double *pictures = arena_array(arena, double, (ptrdiff_t)count * c->dim);
  for (int i = 0; i < count; i++)
    for (int j = 0; j < c->dim; j++)
      pictures[(ptrdiff_t)i * c->dim + j] = (double)chains_samples(c)[(ptrdiff_t)i * c->ld + j];
  const char *kept = arena_text(figures->arena, "images-%lld.png", (long long)figures->step);
  const PicturesModel *m = (const PicturesModel *)f->model;
  bool done =
      image_write_grid(m, pictures, count, f->groups > 1, figures_path(figures, kept), error) &&
      image_write_grid(m, pictures, count, f->groups > 1, figures_path(figures, "images.png"),
                       error);
  arena_free(arena);
  if (!done) return false;
  figures_add(figures, "images.png", "Samples", "The samples of the last evaluation.");
  figures_keep(figures, kept, "Samples over fine-tuning",
               "The same noise at every evaluation: what the reward changes, and what it spoils.");
  return true;
}
