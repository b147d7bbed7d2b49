/* policy.c -- building networks from a shape, and recording how they act. */
#include "policy/policy.h"
#include "core/check.h"
#include "policy/nets/denoiser_mlp.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST_STAGES = 2000, MOST_PLAN_STAGES = 100 }; /* a tape has room for them */

#define CONFIG_STRUCT PolicySpec
const ConfigField policy_fields[] = { CONFIG_ROWS(POLICY_FIELDS) };
#undef CONFIG_STRUCT
#define CONFIG_STRUCT ActRecord
const ConfigField act_fields[] = { CONFIG_ROWS(ACT_FIELDS) };
#undef CONFIG_STRUCT
const size_t policy_field_count = sizeof policy_fields / sizeof *policy_fields;
const size_t act_field_count = sizeof act_fields / sizeof *act_fields;

/* ---- networks -------------------------------------------------------------------------------- */

static bool build_diffusion(Policy *p, Error *error) {
  const PolicySpec *s = &p->spec;
  p->schedule = schedule_new(
      p->arena, &(ScheduleSpec){ .name = s->schedule.s, .steps = (int)s->diffusion_steps }, error);
  if (!p->schedule) return false;
  p->denoiser =
      mlp_denoiser_new(p->arena, p->actor, p->schedule, denoiser_prediction(s->predicts.s),
                       (int)s->act_dim, (int)s->obs_dim, (int)s->hidden);
  return true;
}

static void build_gaussian(Policy *p) {
  const PolicySpec *s = &p->spec;
  p->gaussian = mlp_new(p->actor, &(MlpSpec){ "trunk", 1, (int)s->obs_dim, (int)s->hidden, 2,
                                              2 * (int)s->act_dim, MAP_relu });
}

/* Diffusion-QL's critics have three hidden layers of Mish, SAC's two of ReLU. */
static void build_critics(Policy *p, bool diffusion) {
  const PolicySpec *s = &p->spec;
  p->critic = params_new(p->arena, "critic");
  p->critics = mlp_new(p->critic, &(MlpSpec){ "q", (int)s->critics, (int)(s->obs_dim + s->act_dim),
                                              (int)s->hidden, diffusion ? 3 : 2, 1,
                                              diffusion ? MAP_mish : MAP_relu });
  params_allocate(p->critic);
  p->critic_target = params_clone(p->critic, "critic_target");
}

Policy *policy_new(Arena *arena, const PolicySpec *spec, Error *error) {
  Policy *p = arena_alloc(arena, sizeof *p);
  p->spec = *spec, p->arena = arena;
  CHECK(spec->act_dim <= POLICY_MAX_ACT, "policy: %d actions", (int)spec->act_dim);
  Config act;
  config_init(&act, act_fields, act_field_count, &p->act);
  for (int i = 0; i < spec->act_dim; i++) p->low[i] = -1, p->high[i] = 1;
  p->actor = params_new(arena, "actor");
  bool diffusion = !strcmp(spec->kind.s, "diffusion");
  if (!diffusion)
    build_gaussian(p);
  else if (!build_diffusion(p, error))
    return NULL;
  params_allocate(p->actor);
  p->actor_ema = params_clone(p->actor, "actor_ema");
  if (spec->critics) build_critics(p, diffusion);
  return p;
}

Tensor *policy_critics(const Policy *p, Graph *g, const Params *critic, Tensor *obs, Tensor *act) {
  return t_fold(mlp(&p->critics, g, critic, IN(obs, act)));
}

/* log pi(a) = sum log N(u; mean, std) - log(1 - tanh(u)^2 + 1e-6) */
static Tensor *squashed_log_prob(Tensor *noise, Tensor *log_std, Tensor *act) {
  const double half_log_2pi = 0.91893853320467274178;
  Tensor *normal = t_mix(-0.5, t_map(MAP_square, noise), -1, log_std);
  Tensor *volume = t_map(MAP_log, t_shift(t_scale(-1, t_map(MAP_square, act)), 1 + 1e-6));
  return t_sum_last(t_shift(t_sub(normal, volume), -half_log_2pi));
}

Tensor *policy_gaussian(const Policy *p, Graph *g, const Params *actor, Tensor *obs, Tensor *noise,
                        Tensor **log_prob) {
  int n = (int)p->spec.act_dim;
  Tensor *out = mlp(&p->gaussian, g, actor, IN(obs)), *mean = t_slice(out, 0, n);
  if (log_prob) *log_prob = NULL;
  if (!noise) return t_map(MAP_tanh, mean);
  Tensor *log_std = t_shift(t_scale(3.5, t_map(MAP_tanh, t_slice(out, n, n))), -1.5);
  Tensor *u = t_add(mean, t_mul(t_map(MAP_exp, log_std), noise)), *act = t_map(MAP_tanh, u);
  if (log_prob) *log_prob = squashed_log_prob(noise, log_std, act);
  return act;
}

/* ---- acting ---------------------------------------------------------------------------------- */

/* Actions lie in [-1, 1]; a plan begins in the state that is seen. */
static SamplerSpec sampler_of(const Policy *p, Arena *arena) {
  const ActRecord *a = &p->act;
  SamplerSpec spec = { .method = a->sampler.s,
                       .steps = (int)a->steps,
                       .spacing = a->spacing.s,
                       .order = (int)a->order,
                       .eta = a->eta };
  const Guide **guides = arena_array(arena, const Guide *, 2);
  if (p->diffuser)
    guides[0] = diffuser_guide(arena, p->diffuser), spec.guides = guides;
  else
    spec.clip = true, spec.low = -1, spec.high = 1;
  return spec;
}

static Tensor *propose_diffusion(const Policy *p, Graph *g, const Params *actor, Tensor *obs, int k,
                                 Tensor **q, Error *error) {
  const ActRecord *a = &p->act;
  SamplerSpec spec = sampler_of(p, graph_arena(g));
  Sampler *sampler = sampler_new(graph_arena(g), &spec, p->denoiser, error);
  if (!sampler) return NULL;
  int most = p->diffuser ? MOST_PLAN_STAGES : MOST_STAGES;
  if (sampler->stages > most) {
    error_set(error, FAIL_USAGE, "sampler %s with %d stages: %s with at most %d", a->sampler.s,
              sampler->stages, p->diffuser ? "plans are acted on" : "a policy acts", most);
    return NULL;
  }
  const char *stream = p->diffuser ? "plan" : "act";
  Tensor *x = sampler_record(g, sampler, p->denoiser, actor, stream, obs, k);
  if (a->candidates > 1) *q = t_min_last(policy_critics(p, g, p->critic_target, obs, x));
  return x;
}

int policy_horizon(const Policy *p) { return p->diffuser ? p->diffuser->horizon : 1; }

static bool check_steps(const Policy *p, Error *error) {
  int horizon = policy_horizon(p), given = (int)p->act.horizon, steps = (int)p->act.act_steps;
  if (given != horizon)
    return error_set(error, FAIL_USAGE, "horizon=%d: this policy plans %d action%s at once", given,
                     horizon, horizon > 1 ? "s" : "");
  return steps <= horizon ||
         error_set(error, FAIL_USAGE, "act_steps=%d: this policy plans %d action%s at once", steps,
                   horizon, horizon > 1 ? "s" : "");
}

static bool check_record(const Policy *p, Error *error) {
  const ActRecord *a = &p->act;
  if (!strcmp(a->weights.s, "ema") && !p->actor_ema)
    return error_set(error, FAIL_USAGE,
                     "weights=ema: this file holds no averaged weights; use "
                     "weights=online");
  bool diffusion = p->denoiser, chooses = strstr("softmax argmax", a->choice.s) != NULL;
  if (a->candidates > 1 && !diffusion)
    return error_set(error, FAIL_USAGE, "candidates=%d: a %s policy draws one action",
                     (int)a->candidates, p->spec.kind.s);
  if (a->candidates > 1 && !p->critic_target)
    return error_set(error, FAIL_USAGE,
                     "candidates=%d needs critics to choose by, and this "
                     "policy was trained without; use candidates=1",
                     (int)a->candidates);
  if (a->candidates > 1 && !chooses)
    return error_set(error, FAIL_USAGE, "candidates=%d needs choice=softmax or choice=argmax",
                     (int)a->candidates);
  if (diffusion && !strcmp(a->choice.s, "mean"))
    return error_set(error, FAIL_USAGE,
                     "choice=mean: a diffusion policy has no mean action; "
                     "use choice=sample");
  return check_steps(p, error);
}

Tensor *policy_propose(const Policy *p, Graph *g, Tensor *obs, int k, Tensor **q, Tensor **log_prob,
                       Error *error) {
  *q = NULL;
  if (log_prob) *log_prob = NULL;
  if (!check_record(p, error)) return NULL;
  const Params *actor = strcmp(p->act.weights.s, "ema") ? p->actor : p->actor_ema;
  if (p->denoiser) return propose_diffusion(p, g, actor, obs, k, q, error);
  bool mean = !strcmp(p->act.choice.s, "mean");
  Tensor *noise = mean ? NULL : t_normal(g, "act", 1, (int)p->spec.act_dim);
  return policy_gaussian(p, g, actor, obs, noise, log_prob);
}

Tensor *policy_choose(const Policy *p, Tensor *x, Tensor *q) {
  return t_pick(x, q, "act choice", strcmp(p->act.choice.s, "argmax") ? p->act.temperature : 0);
}

Tensor *policy_record(const Policy *p, Graph *g, Tensor *obs, Tensor **log_prob, Error *error) {
  Tensor *q, *x = policy_propose(p, g, obs, (int)p->act.candidates, &q, log_prob, error);
  return x && q ? policy_choose(p, x, q) : x;
}

/* ---- files ----------------------------------------------------------------------------------- */

static void write_fields(JsonText *text, const ConfigField *fields, size_t count,
                         const void *values) {
  Config config = { .fields = fields, .count = count, .values = (void *)(uintptr_t)values };
  json_open(text, NULL, '{');
  config_write(&config, text);
  json_close(text, '}');
}

void policy_write_act(const Policy *p, JsonText *text) {
  write_fields(text, act_fields, act_field_count, &p->act);
}

static void save_fields(Checkpoint *c, const char *key, const ConfigField *fields, size_t count,
                        const void *values) {
  JsonText text = { 0 };
  write_fields(&text, fields, count, values);
  checkpoint_add_text(c, key, text.text);
  json_text_free(&text);
}

static void save_vector(Checkpoint *c, const char *name, const float *values, int64_t n) {
  float *copy = arena_array(c->arena, float, n);
  memcpy(copy, values, (size_t)n * sizeof *copy);
  checkpoint_add(c, name, CHECKPOINT_F32, 1, &n, copy);
}

void policy_save(const Policy *p, Checkpoint *c) {
  save_fields(c, "act", act_fields, act_field_count, &p->act);
  if (p->diffuser) {
    diffuser_save_shape(p->diffuser, c);
    return;
  }
  save_fields(c, "policy", policy_fields, policy_field_count, &p->spec);
  save_vector(c, "action_low", p->low, p->spec.act_dim);
  save_vector(c, "action_high", p->high, p->spec.act_dim);
  if (!p->normalizer) return;
  save_vector(c, "normalizer/mean", p->normalizer->mean, p->spec.obs_dim);
  save_vector(c, "normalizer/std", p->normalizer->std, p->spec.obs_dim);
}

static bool load_fields(const Checkpoint *c, const char *key, const ConfigField *fields,
                        size_t count, void *values, Error *error) {
  Config config;
  config_init(&config, fields, count, values);
  const char *text = checkpoint_text(c, key);
  if (!text)
    return error_set(error, FAIL_INPUT, "no \"%s\" in the metadata: not a policy of diffrl", key);
  Json *json = json_parse(text, strlen(text), error);
  bool done = json && config_read(&config, json, "checkpoint", error);
  json_free(json);
  if (!done) error->kind = FAIL_INPUT;
  return done;
}

static bool load_vector(const Checkpoint *c, const char *name, float *values, int64_t n,
                        Error *error) {
  const CheckpointTensor *t = checkpoint_tensor(c, name);
  if (!t || t->type != CHECKPOINT_F32 || t->rank != 1 || t->shape[0] != n)
    return error_set(error, FAIL_INPUT, "tensor %s: expected F32 [%d]", name, (int)n);
  memcpy(values, t->data, (size_t)n * sizeof *values);
  return true;
}

/* blocks that are there; the actor must be, another that is absent is NULL in the policy */
static bool load_params(Policy *p, const Checkpoint *c, Error *error) {
  Params **blocks[] = { &p->actor, &p->actor_ema, &p->critic, &p->critic_target };
  for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
    Params *block = *blocks[i];
    if (!block) continue;
    char first[192];
    snprintf(first, sizeof first, "%s/%s", block->block, block->layout->slot[0].name);
    if (i && !checkpoint_tensor(c, first))
      *blocks[i] = NULL;
    else if (!params_load(block, c, error))
      return false;
  }
  return true;
}

static bool holds_block(const Checkpoint *c, const char *block) {
  for (size_t i = 0; i < c->tensors; i++)
    if (!strncmp(c->tensor[i].name, block, strlen(block))) return true;
  return false;
}

/* A first layer and one between hidden ones for each network that is there: a short file cannot
 * ask for much memory. */
static bool check_size(const Checkpoint *c, const PolicySpec *s, Error *error) {
  int64_t numbers = checkpoint_numbers(c), networks = 1;
  if (holds_block(c, "critic/") || holds_block(c, "critic_target/")) networks += s->critics;
  int64_t needed = networks * (s->obs_dim + s->hidden) * s->hidden;
  return numbers >= needed ||
         error_set(error, FAIL_INPUT,
                   "the file holds %lld numbers, networks of its shape have at least %lld",
                   (long long)numbers, (long long)needed);
}

bool policy_read(const Checkpoint *c, PolicySpec *spec, ActRecord *act, Error *error) {
  return load_fields(c, "policy", policy_fields, policy_field_count, spec, error) &&
         load_fields(c, "act", act_fields, act_field_count, act, error) &&
         check_size(c, spec, error);
}

static bool load_bounds(Policy *p, const Checkpoint *c, Error *error) {
  int n = (int)p->spec.act_dim;
  if (!load_vector(c, "action_low", p->low, n, error)) return false;
  if (!load_vector(c, "action_high", p->high, n, error)) return false;
  for (int j = 0; j < n; j++)
    if (!isfinite(p->low[j]) || !isfinite(p->high[j]) || p->low[j] > p->high[j])
      return error_set(error, FAIL_INPUT,
                       "action_low[%d] is %g and action_high[%d] %g, expected low <= high", j,
                       (double)p->low[j], j, (double)p->high[j]);
  return true;
}

static bool load_normalizer(Policy *p, const Checkpoint *c, Error *error) {
  if (!checkpoint_tensor(c, "normalizer/mean")) return true;
  Normalizer *n = arena_alloc(p->arena, sizeof *n);
  *n = normalizer_new(p->arena, (int)p->spec.obs_dim);
  p->normalizer = n;
  return load_vector(c, "normalizer/mean", n->mean, n->dim, error) &&
         load_vector(c, "normalizer/std", n->std, n->dim, error);
}

/* ---- a model of plans as a policy ------------------------------------------------------------ */

/* how `diffrl sample` plans */
static void planners_act(ActRecord *act, const DiffuserShape *shape) {
  Config config;
  config_init(&config, act_fields, act_field_count, act);
  memcpy(act->weights.s, shape->weights.s, sizeof act->weights.s);
  memcpy(act->sampler.s, shape->sampler.s, sizeof act->sampler.s);
  act->steps = shape->sample_steps, act->horizon = shape->horizon;
}

static Policy *planner_new(Arena *arena, DiffuserModel *m) {
  Policy *p = arena_alloc(arena, sizeof *p);
  *p = (Policy){ .arena = arena, .diffuser = m, .schedule = m->schedule, .denoiser = m->denoiser };
  p->actor = m->online, p->actor_ema = m->average;
  p->spec = (PolicySpec){ .kind = { "diffuser" },
                          .obs_dim = m->obs_dim,
                          .act_dim = m->act_dim,
                          .hidden = m->shape.hidden,
                          .schedule = m->shape.schedule,
                          .diffusion_steps = m->shape.diffusion_steps,
                          .predicts = m->shape.predicts };
  planners_act(&p->act, &m->shape);
  memcpy(p->low, m->low, (size_t)m->act_dim * sizeof *m->low);
  memcpy(p->high, m->high, (size_t)m->act_dim * sizeof *m->high);
  Normalizer *state = arena_alloc(arena, sizeof *state);
  *state =
      (Normalizer){ m->obs_dim, m->normalizer.mean + m->act_dim, m->normalizer.std + m->act_dim };
  p->normalizer = state;
  return p;
}

static Policy *load_planner(Arena *arena, const Checkpoint *c, Error *error) {
  DiffuserModel *m = diffuser_load_shape(arena, c, error);
  if (!m) return NULL;
  if (m->act_dim > POLICY_MAX_ACT) {
    error_set(error, FAIL_INPUT, "%d numbers in an action; a policy has at most %d", m->act_dim,
              POLICY_MAX_ACT);
    return NULL;
  }
  Policy *p = planner_new(arena, m);
  if (checkpoint_text(c, "act") &&
      !load_fields(c, "act", act_fields, act_field_count, &p->act, error))
    return NULL;
  return load_params(p, c, error) ? p : NULL;
}

static Policy *load_plain(Arena *arena, const Checkpoint *c, Error *error) {
  PolicySpec spec;
  ActRecord act;
  if (!policy_read(c, &spec, &act, error)) return NULL;
  PolicySpec held = spec;
  if (!holds_block(c, "critic/") && !holds_block(c, "critic_target/")) held.critics = 0;
  Policy *p = policy_new(arena, &held, error);
  if (!p) return NULL;
  p->spec = spec, p->act = act;
  bool done = load_bounds(p, c, error) && load_normalizer(p, c, error) && load_params(p, c, error);
  return done ? p : NULL;
}

Policy *policy_load(Arena *arena, const Checkpoint *c, Error *error) {
  return checkpoint_text(c, "diffuser") ? load_planner(arena, c, error)
                                        : load_plain(arena, c, error);
}
