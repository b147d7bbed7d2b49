/* onpolicy.c -- iterations of acting, their advantages, and the rows of gradient steps. */
#include "rl/algos/onpolicy.h"
#include "core/check.h"
#include "rl/algos/onpolicy_value.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* what is of no use once advantages are found */
typedef struct OnpolicyBatch {
  real *after;          /* [rows, seen_ld] */
  real *value, *behind; /* [rows]: V(s), V(s') */
  double *reward;       /* [rows] */
  bool *terminal, *ended;
  real *answer; /* [envs, row_stride(width)] */
  float *act;   /* [envs, chunk, act_dim] */
  Decision *decision;
} OnpolicyBatch;

/* ---- the policy ------------------------------------------------------------------------------ */

static bool fits_task(const Onpolicy *o, const Policy *p, Error *error) {
  const AlgoSetup *s = o->setup;
  if (p->spec.obs_dim != s->obs_dim || p->spec.act_dim != s->act_dim)
    return error_set(error, FAIL_USAGE,
                     "--init: its policy takes %d numbers and gives %d, and %s has %d and %d; give "
                     "the --env that it was trained for",
                     (int)p->spec.obs_dim, (int)p->spec.act_dim, env_def(s->env)->name, s->obs_dim,
                     s->act_dim);
  return s->source->def->fits(s->source, p->low, p->high, error) || error_prefix(error, "--init");
}

/* One sample of the weights that acted: no average, no choice among candidates. */
static void act_plainly(Policy *p) {
  if (params_held(p->actor_ema)) {
    if (!strcmp(p->act.weights.s, "ema")) params_copy(p->actor, p->actor_ema);
    params_drop(p->actor_ema);
  }
  snprintf(p->act.weights.s, sizeof p->act.weights.s, "online");
  if (!p->critics) return;
  params_drop(p->critics->online), params_drop(p->critics->target);
  p->act.candidates = 1;
  snprintf(p->act.choice.s, sizeof p->act.choice.s, "sample");
}

bool onpolicy_load_policy(Onpolicy *o, const AlgoSetup *s, Error *error) {
  const OnpolicyConfig *c = o->cfg = s->config;
  o->setup = s, o->iteration = -1;
  o->envs = (int)c->envs, o->decisions = (int)c->decisions;
  if (!s->from)
    return error_set(error, FAIL_INPUT,
                     "%s: there is no checkpoint of the run that it could go on from; start a new "
                     "one with --init RUN",
                     s->run);
  Policy *p = o->agent.policy = policy_load(s->arena, s->from, error);
  if (!p) return error_prefix(error, "--init");
  if (p->def != &policy_diffusion)
    return error_set(error, FAIL_USAGE,
                     "--init: it is a %s policy; %s fine-tunes one of `diffrl train diffusion-bc` "
                     "or `diffusion-ql`",
                     p->def->kind, s->def->name);
  if (!fits_task(o, p, error)) return false;
  act_plainly(p);
  return true;
}

SamplerSpec onpolicy_sampler(const Onpolicy *o) {
  const ActRecord *a = &o->agent.policy->act;
  return (SamplerSpec){ .method = a->sampler.s,
                        .steps = (int)a->steps,
                        .spacing = a->spacing.s,
                        .order = (int)a->order,
                        .eta = a->eta };
}

bool onpolicy_split(Onpolicy *o, int tuned, Error *error) {
  Policy *p = o->agent.policy;
  const SamplerSpec spec = onpolicy_sampler(o);
  const Sampler *sampler = model_sampler(o->setup->arena, p->model, &spec, 1, error);
  if (!sampler) return false;
  int first = tuned ? sampler->stages - tuned : p->early_steps;
  if (first < 0 || first >= sampler->stages || (p->early && first != p->early_steps))
    return error_set(error, FAIL_USAGE,
                     "finetune_steps=%d: the policy acts in %d denoising steps%s", tuned,
                     sampler->stages,
                     p->early ? ", the first of which an older fine-tuning has left; use 0"
                              : "; use 1 to that, or 0 for all");
  if (first && !p->early) policy_split(p, first);
  return true;
}

Chains *onpolicy_samples(const Onpolicy *o, const char *stream, Error *error) {
  const Policy *p = o->agent.policy;
  const ChainsSpec spec = { .model = p->model,
                            .params = p->actor,
                            .stream = stream,
                            .sampler = onpolicy_sampler(o),
                            .guidance = 1,
                            .count = o->envs,
                            .ends = true };
  return chains_new(o->setup, &spec, error);
}

bool onpolicy_whole(const Onpolicy *o, Error *error) {
  int steps = o->agent.policy->early_steps;
  return !steps ||
         error_set(error, FAIL_USAGE,
                   "--init: the first %d denoising steps of its policy have weights of their own, "
                   "left by dppo; %s trains all steps alike",
                   steps, o->setup->def->name);
}

/* ---- opening --------------------------------------------------------------------------------- */

static bool open_simulations(Onpolicy *o, Error *error) {
  const AlgoSetup *s = o->setup;
  const Policy *p = o->agent.policy;
  const SimulationsSpec spec = { .env = s->env,
                                 .count = o->envs,
                                 .obs_steps = (int)p->spec.obs_steps,
                                 .act_steps = (int)p->act.act_steps,
                                 .chunk = (int)p->spec.chunk,
                                 /* other episodes than those of evaluations */
                                 .seed = rng_seed(s->seed, "on-policy episodes"),
                                 .pool = s->pool };
  o->simulations = simulations_new(s->arena, &spec, error);
  return o->simulations != NULL;
}

static void take_memory(Onpolicy *o) {
  Arena *arena = o->setup->arena;
  const Policy *p = o->agent.policy;
  ptrdiff_t rows = o->rows;
  OnpolicyBatch *b = o->batch = arena_alloc(arena, sizeof *b);
  o->seen = onpolicy_keep(o, "seen", rows * o->seen_ld);
  o->advantage = onpolicy_keep(o, "advantage", rows);
  o->target = onpolicy_keep(o, "target", rows);
  o->sum = arena_array(arena, double, o->envs);
  b->after = arena_array(arena, real, rows * o->seen_ld);
  b->value = arena_array(arena, real, rows), b->behind = arena_array(arena, real, rows);
  b->reward = arena_array(arena, double, rows);
  b->terminal = arena_array(arena, bool, rows), b->ended = arena_array(arena, bool, rows);
  b->answer = arena_array(arena, real, (ptrdiff_t)o->envs * row_stride(p->width));
  b->act = arena_array(arena, float, o->envs * p->width);
  b->decision = arena_array(arena, Decision, o->envs);
}

/* what acts is the merged policy; its factors, and how it came, are blocks of the run's files */
static bool adapt(Onpolicy *o, Error *error) {
  if (!o->cfg->lora) return true;
  Params *actor = o->agent.policy->actor;
  Params *came = blocks_add(&o->agent.blocks, params_clone(actor, "reference"));
  return objective_adapt(o->setup, &o->agent, actor, came, (int)o->cfg->lora, error);
}

bool onpolicy_open(Onpolicy *o, const OnpolicySpec *spec, Error *error) {
  const OnpolicyConfig *c = o->cfg;
  if (c->envs * c->decisions > 1 << 24)
    return error_set(error, FAIL_USAGE,
                     "envs=%d decisions=%d: an iteration has at most %d decisions", o->envs,
                     o->decisions, 1 << 24);
  o->rows = o->envs * o->decisions, o->spec = *spec;
  if (!adapt(o, error) || !open_simulations(o, error)) return false;
  o->seen_ld = row_stride(o->agent.policy->seen);
  take_memory(o);
  o->value = onpolicy_value_new(
      o->setup, &o->agent,
      &(OnpolicyValueSpec){ o->agent.policy->seen, (int)c->value_hidden, c->value_rate, c->clip });
  return true;
}

void onpolicy_close(Agent *agent) { simulations_close(((Onpolicy *)agent)->simulations); }

real *onpolicy_keep(Onpolicy *o, const char *name, int64_t count) {
  CHECK(o->keeps < ONPOLICY_KEPT, "onpolicy: no room for %s", name);
  real *data = arena_array(o->setup->arena, real, count);
  o->kept[o->keeps].name = arena_text(o->setup->arena, "iteration/%s", name);
  o->kept[o->keeps].type = sizeof *data == sizeof(double) ? CHECKPOINT_F64 : CHECKPOINT_F32;
  o->kept[o->keeps].count = count, o->kept[o->keeps++].data = data;
  return data;
}

Tensor *onpolicy_input(const Onpolicy *o, Graph *g, const char *name, int k, int n, real **data) {
  Tensor *t = t_input(g, name, k, n);
  *data = arena_array(o->setup->arena, real, (ptrdiff_t)o->cfg->batch * k * row_stride(n));
  graph_bind(t, *data);
  return t;
}

/* ---- acting ---------------------------------------------------------------------------------- */

const real *onpolicy_seen(const Onpolicy *o, int t) {
  return o->seen + (ptrdiff_t)t * o->envs * o->seen_ld;
}

/* observations as the network sees them: [envs, seen_ld] */
static void normalize(const Onpolicy *o, const float *seen, real *to) {
  const Policy *p = o->agent.policy;
  int n = (int)p->spec.obs_dim;
  for (int i = 0; i < o->envs; i++)
    for (int t = 0; t < p->spec.obs_steps; t++)
      units_obs_in(&p->units, seen + (ptrdiff_t)i * p->seen + t * n,
                   to + (ptrdiff_t)i * o->seen_ld + t * n);
}

/* actions stay within the bounds of the policy; the chain that is trained keeps what was drawn */
static bool give_actions(const Onpolicy *o, Error *error) {
  const Policy *p = o->agent.policy;
  OnpolicyBatch *b = o->batch;
  for (int i = 0; i < o->envs; i++) {
    real *x = b->answer + (ptrdiff_t)i * row_stride(p->width);
    for (int j = 0; j < p->width; j++) x[j] = x[j] > 1 ? 1 : x[j] < -1 ? -1 : x[j];
    policy_put(p, x, b->act + (ptrdiff_t)i * p->width);
  }
  return actor_check(b->act, o->envs * p->width, error);
}

static bool decide(Onpolicy *o, int t, Error *error) {
  OnpolicyBatch *b = o->batch;
  int at = t * o->envs;
  normalize(o, simulations_seen(o->simulations), o->seen + (ptrdiff_t)at * o->seen_ld);
  o->spec.answer(o, o->iteration * o->decisions + t, t, b->answer);
  if (!give_actions(o, error)) return false;
  simulations_step(o->simulations, b->act, b->decision);
  normalize(o, simulations_after(o->simulations), b->after + (ptrdiff_t)at * o->seen_ld);
  for (int i = 0; i < o->envs; i++) {
    const Decision *d = &b->decision[i];
    b->reward[at + i] = d->reward;
    b->terminal[at + i] = d->terminal, b->ended[at + i] = d->ended;
    o->sum[i] = o->cfg->gamma * o->sum[i] + d->reward;
    reward_scale_add(&o->scale, o->sum[i]);
    if (d->ended) o->sum[i] = 0;
  }
  return true;
}

static void find_advantages(Onpolicy *o) {
  OnpolicyBatch *b = o->batch;
  double scale = o->cfg->scale_rewards ? reward_scale_std(&o->scale) : 1;
  for (int i = 0; i < o->rows; i++) b->reward[i] /= scale;
  onpolicy_value_find(o->value, o->seen, o->rows, b->value);
  onpolicy_value_find(o->value, b->after, o->rows, b->behind);
  advantage_find(&(AdvantageSpec){ .decisions = o->decisions,
                                   .count = o->envs,
                                   .gamma = o->cfg->gamma,
                                   .lambda = o->cfg->lambda,
                                   .reward = b->reward,
                                   .terminal = b->terminal,
                                   .ended = b->ended,
                                   .value = b->value,
                                   .after = b->behind },
                 o->advantage, o->target);
  o->explained = advantage_explained(b->value, o->target, o->rows);
  advantage_normalize(o->advantage, o->rows);
}

bool onpolicy_collect(Agent *agent, int64_t step, Error *error) {
  Onpolicy *o = (Onpolicy *)agent;
  int64_t iteration = step / onpolicy_steps(o);
  if (iteration == o->iteration) return true;
  o->iteration = iteration, o->stopped = false;
  simulations_forget(o->simulations);
  for (int t = 0; t < o->decisions; t++)
    if (!decide(o, t, error)) return false;
  find_advantages(o);
  return true;
}

/* ---- gradient steps -------------------------------------------------------------------------- */

static int64_t all_rows(const Onpolicy *o) { return (int64_t)o->rows * o->spec.rows_per_decision; }

/* steps of one pass */
static int64_t a_pass(const Onpolicy *o) {
  return (all_rows(o) + o->cfg->batch - 1) / o->cfg->batch;
}

int64_t onpolicy_steps(const Onpolicy *o) { return o->cfg->passes * a_pass(o); }

/* the i-th of n in this step's pass */
static int64_t shuffled(const Onpolicy *o, const char *order, int64_t step, int64_t i, int64_t n) {
  Rng rng = rng_stream(o->setup->seed, order);
  return (int64_t)rng_permute(rng, (uint64_t)(step / a_pass(o)), (uint64_t)i, (uint64_t)n);
}

/* as many steps a pass as the policy's, each with its share of the decisions */
static bool value_step(Onpolicy *o, int64_t step, Log *log) {
  int share = (int)((o->rows + a_pass(o) - 1) / a_pass(o)), from = (int)(step % a_pass(o)) * share;
  int rows = o->rows - from < share ? o->rows - from : share;
  for (int r = 0; r < rows; r++) {
    int64_t i = shuffled(o, "on-policy value order", step, from + r, o->rows);
    onpolicy_value_put(o->value, r, o->seen + i * o->seen_ld, o->target[i]);
  }
  if (rows < 1) return true;
  if (!onpolicy_value_learn(o->value, rows, step)) return false;
  onpolicy_value_log(o->value, log);
  return true;
}

static bool policy_step(Onpolicy *o, const Objective *actor, const Ratio *ratio, double clip,
                        int64_t step, Log *log) {
  int64_t from = step % a_pass(o) * o->cfg->batch, left = all_rows(o) - from;
  int rows = (int)(left < o->cfg->batch ? left : o->cfg->batch);
  for (int r = 0; r < rows; r++)
    o->spec.put(o, r, shuffled(o, "on-policy order", step, from + r, all_rows(o)));
  if (!objective_step(actor, rows, (uint64_t)step)) return false;
  ratio_check(ratio, rows, step % onpolicy_steps(o) == 0);
  objective_log(actor, log, "actor");
  double kl = ratio_log(ratio, rows, clip, log);
  o->learned = rows;
  o->stopped = o->cfg->target_kl > 0 && kl > o->cfg->target_kl;
  return true;
}

static void log_all(const Onpolicy *o, Log *log) {
  double mean = simulations_return(o->simulations);
  if (isfinite(mean)) log_scalar(log, "episode_return", mean);
  log_scalar(log, "env_steps", (double)simulations_steps(o->simulations));
  log_scalar(log, "reward/scale", reward_scale_std(&o->scale));
  log_scalar(log, "value/explained", o->explained);
  log_scalar(log, "stopped", o->stopped);
}

bool onpolicy_update(Onpolicy *o, const Objective *actor, const Ratio *ratio, double clip,
                     int64_t step, Log *log) {
  bool alone = step / onpolicy_steps(o) < o->cfg->value_first, stopped = o->stopped;
  o->done = step + 1, o->learned = 0;
  if (!stopped && !value_step(o, step, log)) return false;
  if (!stopped && !alone && !policy_step(o, actor, ratio, clip, step, log)) return false;
  log_all(o, log);
  return true;
}

/* ---- checkpoints ----------------------------------------------------------------------------- */

enum { SCALE = 4 }; /* numbers before the simulations' sums */

bool onpolicy_save(const Agent *agent, Checkpoint *c, Error *error) {
  const Onpolicy *o = (const Onpolicy *)agent;
  (void)error;
  simulations_save(o->simulations, c);
  double *scale = arena_array(c->arena, double, SCALE + o->envs);
  scale[0] = o->scale.count, scale[1] = o->scale.mean, scale[2] = o->scale.squares;
  scale[3] = o->explained;
  memcpy(scale + SCALE, o->sum, (size_t)o->envs * sizeof *scale);
  checkpoint_add(c, "rewards/scale", CHECKPOINT_F64, 1, &(int64_t){ SCALE + o->envs }, scale);
  /* after its last step an iteration is of no use any more */
  bool held = o->iteration >= 0 && o->done % onpolicy_steps(o);
  checkpoint_add_text(c, "iteration",
                      arena_text(c->arena, "%lld", held ? (long long)o->iteration : -1LL));
  checkpoint_add_text(c, "stopped", held && o->stopped ? "1" : "0");
  for (int i = 0; held && i < o->keeps; i++)
    checkpoint_add(c, o->kept[i].name, o->kept[i].type, 1, &o->kept[i].count, o->kept[i].data);
  return true;
}

static bool all_finite(const void *data, int64_t count, CheckpointType type) {
  const float *f32 = data;
  const double *f64 = data;
  for (int64_t i = 0; i < count; i++)
    if (!isfinite(type == CHECKPOINT_F64 ? f64[i] : (double)f32[i])) return false;
  return true;
}

static bool load_scale(Onpolicy *o, const Checkpoint *c, Error *error) {
  int64_t n = SCALE + o->envs;
  const double *scale = checkpoint_need_vector(c, "rewards/scale", CHECKPOINT_F64, n, error);
  if (!scale) return false;
  if (!all_finite(scale, n, CHECKPOINT_F64) || scale[0] < 0 || scale[2] < 0)
    return error_set(error, FAIL_INPUT,
                     "tensor rewards/scale: expected finite sums of at least 0; use another "
                     "checkpoint");
  o->scale = (RewardScale){ scale[0], scale[1], scale[2] }, o->explained = scale[3];
  memcpy(o->sum, scale + SCALE, (size_t)o->envs * sizeof *scale);
  return true;
}

/* what the rest of an iteration's steps learn from, which was seen with weights that are gone */
static bool load_kept(Onpolicy *o, const Checkpoint *c, Error *error) {
  for (int i = 0; o->iteration >= 0 && i < o->keeps; i++) {
    int64_t count = o->kept[i].count;
    const void *data = checkpoint_need_vector(c, o->kept[i].name, o->kept[i].type, count, error);
    if (!data) return false;
    if (!all_finite(data, count, o->kept[i].type))
      return error_set(error, FAIL_INPUT,
                       "tensor %s: a number is not finite; use another "
                       "checkpoint",
                       o->kept[i].name);
    memcpy(o->kept[i].data, data, (size_t)count * checkpoint_element_size(o->kept[i].type));
  }
  return true;
}

bool onpolicy_load(Agent *agent, const Checkpoint *c, Error *error) {
  Onpolicy *o = (Onpolicy *)agent;
  int64_t stopped;
  if (!checkpoint_read_whole(c, "iteration", -1, (int64_t)1 << 53, &o->iteration, error) ||
      !checkpoint_read_whole(c, "stopped", 0, 1, &stopped, error))
    return false;
  o->stopped = stopped;
  /* a file that holds an iteration was written in the middle of it */
  if (o->iteration >= 0) o->done = o->iteration * onpolicy_steps(o) + 1;
  return load_scale(o, c, error) && load_kept(o, c, error) &&
         simulations_load(o->simulations, c, error);
}
