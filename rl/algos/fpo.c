/* fpo.c -- flow policy optimization.  McAllister et al. 2025 (arXiv 2507.21053).
 *
 * No chain and no log-probability: for an action a that was drawn, noise eps_i and times t_i are
 * drawn and kept, and the denoising loss L_i of these tells how likely the policy makes a.
 *
 *   fpo     rho = exp(mean_i (L_old,i - L_i))
 *           J   = min(A rho, A clip(rho, 1 - e, 1 + e))
 *   fpo++   rho_i = exp(L_old,i - L_i), J the mean over i of
 *           A >= 0:  min(A rho_i, A clip(rho_i, 1 - e, 1 + e))
 *           A < 0:   A rho_i - |A| (rho_i - 1)^2 / (2 e)
 *
 * so any sampler will do.  Losses are kept below loss_most, and logarithms of ratios within
 * +-10, as in the code of fpo++. */
#include "rl/algos/fpo.h"
#include "rl/algos/onpolicy.h"
#include "rl/measure/returns.h"
#include "rl/source/source_environment.h"
#include <string.h>

#define FPO_FIELDS(F)                                                                              \
  F(TEXT, form, "fpo", "fpo|fpo++", NULL, "one ratio of an action, or one of each noise level")    \
  F(INT, levels, 8, 1, 256, "noise levels that are kept of each action")                           \
  F(FLOAT, clip_ratio, 0.05, 1e-6, 10, "e: ratios stay within 1 - e and 1 + e")                    \
  F(FLOAT, loss_most, 20, 1e-3, 1e6, "losses are kept below this")
#define SHARED_FIELDS(F) ONPOLICY_FIELDS_OF(F, 128, 3e-4, 0.995, 0)

typedef struct {
  CONFIG_MEMBERS(SHARED_FIELDS)
  CONFIG_MEMBERS(FPO_FIELDS)
} FpoConfig;

#define CONFIG_STRUCT FpoConfig
static const ConfigField fields[] = { CONFIG_ROWS(SHARED_FIELDS) CONFIG_ROWS(FPO_FIELDS) };
#undef CONFIG_STRUCT

/* the rows of a tape */
typedef struct {
  real *x0, *eps, *time, *cond, *old, *advantage;
} FpoRows;

typedef struct {
  Onpolicy base;
  const FpoConfig *cfg;
  Objective actor;
  Ratio ratio;
  Chains *chains;
  Graph *asked; /* losses by the weights that draw */
  Tensor *told;
  int levels, dim, ld, one; /* numbers of an action; strides of it and of a number */
  FpoRows asks, in;
  /* of an iteration: [rows, ld], [rows, levels, ld], [rows, levels] twice */
  real *act, *eps, *time, *old;
} Fpo;

/* ---- the loss -------------------------------------------------------------------------------- */

Tensor *fpo_losses(Graph *g, const Model *model, const FpoInputs *in, double most) {
  Error impossible;
  Loss *loss = loss_new(graph_arena(g), &(LossSpec){ 0 }, model->denoiser, &impossible);
  LossInputs rows = { .x0 = in->x0, .eps = in->eps, .time = in->time, .cond = in->cond };
  return t_clip(matching_ask(g, loss, model->online, "fpo", &rows).rows, 0, most);
}

Tensor *fpo_loss(Ratio *ratio, Tensor *losses, const FpoInputs *in, double clip, bool each) {
  return matching_loss(ratio, losses, in->old, in->advantage, clip, each, each);
}

static FpoInputs inputs(const Fpo *m, Graph *g, FpoRows *rows) {
  const Onpolicy *o = &m->base;
  const Policy *p = o->agent.policy;
  return (FpoInputs){ .x0 = onpolicy_input(o, g, "x0", m->levels, p->width, &rows->x0),
                      .eps = onpolicy_input(o, g, "eps", m->levels, p->width, &rows->eps),
                      .time = onpolicy_input(o, g, "time", m->levels, 1, &rows->time),
                      .cond = onpolicy_input(o, g, "cond", 1, p->seen, &rows->cond) };
}

static void record_tapes(Fpo *m) {
  Onpolicy *o = &m->base;
  const Model *model = o->agent.policy->model;
  m->asked = algo_graph(o->setup, NULL);
  FpoInputs asks = inputs(m, m->asked, &m->asks);
  m->told = fpo_losses(m->asked, model, &asks, m->cfg->loss_most);
  graph_keep(m->told), graph_seal(m->asked);
  Graph *g = objective_begin(&m->actor, o->setup, model->online);
  FpoInputs in = inputs(m, g, &m->in);
  in.old = onpolicy_input(o, g, "old", m->levels, 1, &m->in.old);
  in.advantage = onpolicy_input(o, g, "advantage", 1, 1, &m->in.advantage);
  Tensor *losses = fpo_losses(g, model, &in, m->cfg->loss_most);
  Tensor *loss = fpo_loss(&m->ratio, losses, &in, m->cfg->clip_ratio, m->cfg->form.s[3] == '+');
  objective_end(&m->actor, o->setup, &o->agent, loss, m->cfg->actor_rate, m->cfg->clip, (Ema){ 0 });
}

/* ---- acting ---------------------------------------------------------------------------------- */

/* what of a decision is the same on both tapes */
static void put_row(const Fpo *m, const FpoRows *to, int r, int64_t row) {
  size_t n = (size_t)m->levels, seen = (size_t)m->base.seen_ld, size = sizeof(real);
  ptrdiff_t first = (ptrdiff_t)r * m->levels;
  for (int i = 0; i < m->levels; i++)
    memcpy(to->x0 + (first + i) * m->ld, m->act + row * m->ld, size * (size_t)m->ld);
  memcpy(to->eps + first * m->ld, m->eps + row * m->levels * m->ld, size * n * (size_t)m->ld);
  for (int i = 0; i < m->levels; i++) to->time[(first + i) * m->one] = m->time[row * m->levels + i];
  memcpy(to->cond + r * (ptrdiff_t)seen, m->base.seen + row * (ptrdiff_t)seen, size * seen);
}

/* noise levels of row `row`, uniform in the schedule's times */
static void draw_levels(Fpo *m, int64_t number, int i, int64_t row) {
  const Schedule *s = m->base.agent.policy->model->schedule;
  Rng noise = rng_stream(m->base.setup->seed, "fpo noise");
  Rng when = rng_stream(m->base.setup->seed, "fpo time");
  float z[POLICY_MAX_ACT * 256]; /* the longest chunk */
  for (int j = 0; j < m->levels; j++) {
    uint32_t at = (uint32_t)(i * m->levels + j);
    rng_normals(noise, (uint64_t)number, at, z, m->dim);
    for (int k = 0; k < m->dim; k++) m->eps[(row * m->levels + j) * m->ld + k] = (real)z[k];
    double u = rng_uniform(when, (uint64_t)number, at, 0);
    double t =
        s->def->discrete ? (double)(int)(u * s->steps) : s->t_min + u * (s->t_max - s->t_min);
    m->time[row * m->levels + j] = (real)t;
  }
}

static void answer(Onpolicy *o, int64_t number, int t, real *act) {
  Fpo *m = (Fpo *)o;
  const Chains *c = m->chains;
  memcpy(c->cond, onpolicy_seen(o, t), sizeof(real) * (size_t)(o->envs * c->cond_ld));
  chains_draw(m->chains, (uint64_t)number);
  memcpy(act, chains_samples(c), sizeof(real) * (size_t)(o->envs * m->ld));
  memcpy(m->act + (ptrdiff_t)t * o->envs * m->ld, act, sizeof(real) * (size_t)(o->envs * m->ld));
  int most = (int)o->cfg->batch;
  for (int from = 0; from < o->envs; from += most) {
    int rows = o->envs - from < most ? o->envs - from : most;
    int64_t first = (int64_t)t * o->envs + from;
    for (int r = 0; r < rows; r++)
      draw_levels(m, number, from + r, first + r), put_row(m, &m->asks, r, first + r);
    graph_run(m->asked, rows, 0, NULL);
    for (int r = 0; r < rows * m->levels; r++)
      m->old[first * m->levels + r] = graph_values(m->told)[(ptrdiff_t)r * m->one];
  }
}

static void put(Onpolicy *o, int r, int64_t row) {
  Fpo *m = (Fpo *)o;
  put_row(m, &m->in, r, row);
  for (int i = 0; i < m->levels; i++)
    m->in.old[((ptrdiff_t)r * m->levels + i) * m->one] = m->old[row * m->levels + i];
  m->in.advantage[r * m->one] = o->advantage[row];
}

static Agent *create(const AlgoSetup *setup, Error *error) {
  Fpo *m = arena_alloc(setup->arena, sizeof *m);
  Onpolicy *o = &m->base;
  m->cfg = setup->config, m->levels = (int)m->cfg->levels;
  if (!onpolicy_load_policy(o, setup, error) || !onpolicy_whole(o, error)) return NULL;
  const Policy *p = o->agent.policy;
  m->dim = p->width, m->ld = row_stride(p->width), m->one = row_stride(1);
  m->chains = onpolicy_samples(o, "fpo", error);
  if (!m->chains || !onpolicy_open(o, &(OnpolicySpec){ 1, answer, put }, error)) return NULL;
  m->act = onpolicy_keep(o, "act", (int64_t)o->rows * m->ld);
  m->eps = onpolicy_keep(o, "eps", (int64_t)o->rows * m->levels * m->ld);
  m->time = onpolicy_keep(o, "time", (int64_t)o->rows * m->levels);
  m->old = onpolicy_keep(o, "loss", (int64_t)o->rows * m->levels);
  record_tapes(m);
  return &o->agent;
}

/* ---- steps ----------------------------------------------------------------------------------- */

static bool update(Agent *agent, int64_t step, Log *log) {
  Fpo *m = (Fpo *)agent;
  return onpolicy_update(&m->base, &m->actor, &m->ratio, m->cfg->clip_ratio, step, log);
}

const AlgoDef algo_fpo = {
  .name = "fpo",
  .paper = "McAllister et al. 2025, arXiv 2507.21053",
  .about = "fine-tunes a diffusion policy online: ratios of denoising losses, for any sampler",
  .source = &source_environment,
  .fields = fields,
  .field_count = sizeof fields / sizeof *fields,
  .config_size = sizeof(FpoConfig),
  .fine_tunes = true,
  .create = create,
  .collect = onpolicy_collect,
  .update = update,
  .measured = { &measured_returns },
  .save_more = onpolicy_save,
  .load_more = onpolicy_load,
  .close = onpolicy_close,
};
