/* policy.c -- what all policies do alike: building, the act record, choosing, files. */
#include "policy/policy.h"
#include "core/check.h"
#include "core/names.h"
#include <math.h>
#include <string.h>

static const PolicyDef *const policies[] = { &policy_deterministic, &policy_diffusion,
                                             &policy_gaussian, &policy_one_step, &policy_plans };
enum { POLICIES = sizeof policies / sizeof *policies };

#define CONFIG_STRUCT PolicySpec
static const ConfigField spec_fields[] = { CONFIG_ROWS(POLICY_FIELDS) };
#undef CONFIG_STRUCT
#define CONFIG_STRUCT ActRecord
const ConfigField act_fields[] = { CONFIG_ROWS(ACT_FIELDS) };
#undef CONFIG_STRUCT
enum {
  SPEC_FIELDS = sizeof spec_fields / sizeof *spec_fields,
  ACT_FIELD_COUNT = sizeof act_fields / sizeof *act_fields
};
const size_t act_field_count = ACT_FIELD_COUNT;
_Static_assert((int)ACT_FIELD_COUNT <= (int)ACT_ROWS, "every row has a place");

/* three lists of settings: what all kinds share, a kind's own, the act record */
static Config spec_of(const Policy *p) {
  return (
      Config){ .fields = spec_fields, .count = SPEC_FIELDS, .values = (void *)(uintptr_t)&p->spec };
}
static Config own_of(const Policy *p) {
  return (Config){ .fields = p->def->fields,
                   .count = p->def->field_count,
                   .values = (void *)(uintptr_t)p };
}
static Config act_of(const Policy *p) {
  return (
      Config){ .fields = p->act_row, .count = p->act_rows, .values = (void *)(uintptr_t)&p->act };
}

/* ---- building -------------------------------------------------------------------------------- */

Policy *policy_start(Arena *arena, const PolicyDef *def) {
  Policy *p = arena_alloc(arena, def->size);
  Config config;
  config_init(&config, def->fields, def->field_count, p);
  config_init(&config, spec_fields, SPEC_FIELDS, &p->spec);
  config_init(&config, act_fields, ACT_FIELD_COUNT, &p->act);
  p->def = def, p->arena = arena;
  snprintf(p->spec.kind.s, sizeof p->spec.kind.s, "%s", def->kind);
  return p;
}

void policy_set(Policy *p, const ConfigField *fields, size_t count, const void *values) {
  Config spec = spec_of(p), own = own_of(p);
  config_copy(&spec, fields, count, values);
  config_copy(&own, fields, count, values);
}

/* has one of the two lists this key? */
static bool has_key(const Config *config, const char *pair) {
  size_t length = strcspn(pair, "=");
  for (size_t i = 0; i < config->count; i++)
    if (strlen(config->fields[i].key) == length && !strncmp(config->fields[i].key, pair, length))
      return true;
  return false;
}

bool policy_set_all(Policy *p, const char *pairs, Error *error) {
  Config spec = spec_of(p), own = own_of(p);
  /* one pair after the other, each to the list that has its key */
  Arena *scratch = arena_under(p->arena);
  char *rest = arena_text(scratch, "%s", pairs), *pair;
  bool done = true;
  while (done && (pair = strsep(&rest, " ")))
    if (*pair) done = config_set_all(has_key(&own, pair) ? &own : &spec, pair, "policy", error);
  arena_free(scratch);
  return done;
}

static Map activation_of(const Policy *p) {
  static const Map maps[] = { MAP_relu, MAP_mish, MAP_gelu, MAP_silu, MAP_tanh };
  for (size_t i = 0; i < sizeof maps / sizeof *maps; i++)
    if (!strcmp(map_name(maps[i]), p->spec.critic_activation.s)) return maps[i];
  /* "own": as published for this kind of policy */
  return p->def->critic_activation;
}

static MlpNorm norm_of(const Policy *p) {
  const char *name = p->spec.layernorm.s;
  return *name == 'n' ? MLP_PLAIN : *name == 'b' ? MLP_NORM_BEFORE : MLP_NORM_AFTER;
}

static void add_critics(Policy *p) {
  const PolicySpec *s = &p->spec;
  /* 0 and "own" stand for what was published */
  int layers = s->critic_layers ? (int)s->critic_layers : p->def->critic_layers;
  CriticSpec spec = { .members = (int)s->critics,
                      .layers = layers,
                      .activation = activation_of(p),
                      .norm = norm_of(p),
                      .norm_eps = p->def->critic_norm_eps,
                      .inputs = p->seen + p->width,
                      .hidden = (int)s->hidden };
  p->critics = critic_new(p->arena, &p->blocks, &spec);
}

/* What this policy may be told about acting, in the order of the whole list. */
static void choose_rows(Policy *p) {
  /* only critics can choose, and only among the samples of a model */
  bool chooses = p->model && p->critics;
  for (size_t i = 0; i < ACT_FIELD_COUNT; i++) {
    const char *key = act_fields[i].key;
    if (names_has(p->def->takes, ' ', key) || names_has("obs_steps horizon act_steps", ' ', key) ||
        (p->energy && !strcmp(key, "guidance")) ||
        (chooses && names_has("candidates choice temperature value rho", ' ', key)))
      p->act_row[p->act_rows++] = act_fields[i];
  }
}

static void set_dims(Policy *p) {
  const PolicySpec *s = &p->spec;
  CHECK(s->act_dim <= POLICY_MAX_ACT, "policy: %d actions", (int)s->act_dim);
  /* until data or a file give others */
  for (int i = 0; i < s->act_dim; i++) p->low[i] = -1, p->high[i] = 1;
  p->units = (Units){
    .obs_dim = (int)s->obs_dim, .act_dim = (int)s->act_dim, .low = p->low, .high = p->high
  };
  /* a history and a chunk are vectors, one step after the other */
  p->seen = (int)(s->obs_steps * s->obs_dim), p->width = (int)(s->chunk * s->act_dim);
  p->horizon = (int)s->chunk;
  p->act.obs_steps = s->obs_steps, p->act.horizon = p->act.act_steps = s->chunk;
}

bool policy_build(Policy *p, Error *error) {
  /* dimensions first: networks, critics and the act record are built on them */
  set_dims(p);
  if (!p->def->network(p, error)) return false;
  if (p->spec.critics) add_critics(p);
  choose_rows(p);
  return true;
}

void policy_init(Policy *p, uint64_t seed) {
  params_init(p->actor, seed);
  params_copy(p->actor_ema, p->actor);
  if (p->energy) params_init(p->energy, seed);
  if (p->critics) critic_init(p->critics, seed);
}

/* the block of the first steps, which may have no numbers yet */
static void add_early(Policy *p, Params *early, int steps) {
  CHECK(p->model && !p->early && steps > 0, "policy: its first steps cannot be split off");
  p->early = blocks_add(&p->blocks, early), p->early_steps = steps;
}

void policy_split(Policy *p, int steps) {
  add_early(p, params_clone(p->actor, "actor_early"), steps);
}

/* Two sets of weights, packed or filtered copies, some twenty values a layer and candidate, levels
 * of a U-Net; and an arena may take the next power of two, and once more. */
size_t policy_bytes(const Policy *p) {
  const ActRecord *a = &p->act;
  size_t weights = blocks_bytes(&p->blocks), members = (size_t)p->spec.critics;
  size_t width = (size_t)row_stride((int)p->spec.hidden);
  size_t layer = (size_t)(p->seen + p->width) + 80 + (members + 1) * width;
  size_t stages = (size_t)a->steps, values = (size_t)a->candidates * layer;
  size_t base = (size_t)1 << 23;
  /* a sampler without a number of steps takes all of the schedule */
  if (p->model) {
    if (p->model->settings.diffusion_steps > a->steps)
      stages = (size_t)p->model->settings.diffusion_steps;
    values += 4 * (size_t)p->model->denoiser->dim;
  }
  /* a network of plans keeps all its channels for every number of a plan */
  if (p->def->file) base = (size_t)1 << 28, values += 12 * (size_t)p->model->denoiser->dim * width;
  return base + 8 * weights + 4 * (20 * values + 4096 * stages) * sizeof(real);
}

/* ---- the act record -------------------------------------------------------------------------- */

static bool refuse_row(const Policy *p, const char *pair, Error *error) {
  Arena *scratch = arena_under(p->arena);
  /* the rows that this policy does have, for the message */
  const char *rows = "";
  for (size_t i = 0; i < p->act_rows; i++)
    rows = arena_text(scratch, "%s%s%s", rows, i ? ", " : "", p->act_row[i].key);
  bool guides = !strncmp(pair, "guidance", strcspn(pair, "="));
  const char *lacks = !p->model    ? ""
                      : guides     ? " without an energy"
                      : p->critics ? ""
                                   : " without critics";
  error_set(error, FAIL_USAGE, "%.60s: a %s policy%s has no %.*s; it has %s", pair, p->def->kind,
            lacks, (int)strcspn(pair, "="), pair, rows);
  arena_free(scratch);
  return false;
}

bool policy_set_act(Policy *p, const char *pairs, const char *origin, Error *error) {
  Config act = act_of(p), all = { .fields = act_fields, .count = ACT_FIELD_COUNT };
  Arena *scratch = arena_under(p->arena);
  char *rest = arena_text(scratch, "%s", pairs), *pair;
  bool done = true;
  while (done && (pair = strsep(&rest, " \t\n"))) {
    if (!*pair) continue;
    /* a row that only other policies have gets a message of its own */
    bool foreign = has_key(&all, pair) && !has_key(&act, pair);
    done = foreign ? refuse_row(p, pair, error) : config_set_all(&act, pair, origin, error);
  }
  if (done && p->average_waits && !strcmp(p->act.weights.s, "ema"))
    done = error_set(error, FAIL_USAGE,
                     "weights=ema: the average of the weights had not begun when this file was "
                     "written, it is still their random start; use weights=online");
  arena_free(scratch);
  return done;
}

static bool by_average(const Policy *p) {
  return !strcmp(p->act.weights.s, "ema") && !p->average_waits;
}

/* as it acts now: an average that has not begun does not */
static ActRecord acts_by(const Policy *p) {
  ActRecord act = p->act;
  if (!by_average(p)) act.weights = (CONFIG_C_TEXT){ "online" };
  return act;
}

void policy_write_act(const Policy *p, const char *key, JsonText *text) {
  const ActRecord act = acts_by(p);
  config_write_object(p->act_row, p->act_rows, &act, key, text);
}

/* The network fixes both lengths; how many actions are done before it is asked again is free. */
static bool check_steps(const Policy *p, Error *error) {
  const ActRecord *a = &p->act;
  int horizon = p->horizon;
  if (a->horizon != horizon || a->act_steps > horizon)
    return error_set(error, FAIL_USAGE, "%s=%d: this policy answers with %d action%s at once",
                     a->horizon != horizon ? "horizon" : "act_steps",
                     (int)(a->horizon != horizon ? a->horizon : a->act_steps), horizon,
                     horizon > 1 ? "s" : "");
  return a->obs_steps == p->spec.obs_steps ||
         error_set(error, FAIL_USAGE, "obs_steps=%d: this policy sees %d observation%s",
                   (int)a->obs_steps, (int)p->spec.obs_steps, p->spec.obs_steps > 1 ? "s" : "");
}

static bool check_record(const Policy *p, Error *error) {
  const ActRecord *a = &p->act;
  bool chooses = strstr("softmax argmax average", a->choice.s) != NULL, several = a->candidates > 1;
  if (by_average(p) && !params_held(p->actor_ema))
    return error_set(error, FAIL_USAGE,
                     "weights=ema: this file holds no averaged weights; use weights=online");
  if (several && !(p->critics && params_held(p->critics->target)))
    return error_set(error, FAIL_USAGE,
                     "candidates=%d needs critics to choose by, and this file holds none; use "
                     "candidates=1",
                     (int)a->candidates);
  if (p->energy && a->guidance > 0 && !params_held(p->energy))
    return error_set(error, FAIL_USAGE,
                     "guidance=%g needs the energy that it follows, and this file holds none; use "
                     "guidance=0",
                     a->guidance);
  /* several candidates need a rule to choose by */
  if (several && !chooses)
    return error_set(error, FAIL_USAGE, "candidates=%d needs choice=softmax, argmax or average",
                     (int)a->candidates);
  return check_steps(p, error);
}

/* ---- acting on a tape ------------------------------------------------------------------------ */

Tensor *policy_propose(const Policy *p, Graph *g, Tensor *obs, int k, Proposal *more,
                       Error *error) {
  const Params *actor = by_average(p) ? p->actor_ema : p->actor;
  *more = (Proposal){ NULL, NULL };
  if (!check_record(p, error)) return NULL;
  return p->def->propose(p, g, actor, obs, k, more, error);
}

Tensor *policy_choose(const Policy *p, Tensor *x, Tensor *q) {
  bool argmax = !strcmp(p->act.choice.s, "argmax");
  if (!strcmp(p->act.choice.s, "average")) return t_average(x, q, p->act.temperature);
  /* the best is the limit of softmax at temperature 0 */
  return t_pick(x, q, "act choice", argmax ? 0 : p->act.temperature);
}

Tensor *policy_record(const Policy *p, Graph *g, Tensor *obs, Tensor **log_prob, Error *error) {
  Proposal more;
  /* more.q is there only if candidates are to be chosen among */
  Tensor *x = policy_propose(p, g, obs, (int)p->act.candidates, &more, error);
  if (log_prob) *log_prob = more.log_prob;
  return x && more.q ? policy_choose(p, x, more.q) : x;
}

void policy_put(const Policy *p, const real *x, float *act) {
  int n = (int)p->spec.act_dim;
  if (p->def->put)
    p->def->put(p, x, act);
  else
    for (int t = 0; t < p->spec.chunk; t++) units_act_out(&p->units, x + t * n, act + t * n);
}

/* ---- files ----------------------------------------------------------------------------------- */

/* one or two lists of settings as one object of the metadata */
static void save_text(Checkpoint *c, const char *key, const Config *first, const Config *second) {
  JsonText text = { 0 };
  json_open(&text, NULL, '{');
  config_write(first, &text);
  if (second) config_write(second, &text);
  json_close(&text, '}');
  checkpoint_add_text(c, key, text.text);
  json_text_free(&text);
}

/* files keep their own copy: the policy may go before they are written */
static void save_vector(Checkpoint *c, const char *name, const float *values, int64_t n) {
  float *copy = arena_array(c->arena, float, n);
  memcpy(copy, values, (size_t)n * sizeof *copy);
  checkpoint_add(c, name, CHECKPOINT_F32, 1, &n, copy);
}

void policy_save_shape(const Policy *p, Checkpoint *c) {
  Config act = act_of(p), spec = spec_of(p), own = own_of(p);
  ActRecord record = acts_by(p);
  act.values = &record;
  save_text(c, "act", &act, NULL);
  /* the file of a policy of plans is its model's, which has units and bounds itself */
  if (p->def->file) {
    model_save_shape(p->model, c);
    return;
  }
  save_text(c, "policy", &spec, &own);
  if (p->early) checkpoint_add_text(c, "early_steps", arena_text(c->arena, "%d", p->early_steps));
  save_vector(c, "action_low", p->low, p->spec.act_dim);
  save_vector(c, "action_high", p->high, p->spec.act_dim);
  if (!p->units.obs) return;
  save_vector(c, "normalizer/mean", p->units.obs->mean, p->spec.obs_dim);
  save_vector(c, "normalizer/std", p->units.obs->std, p->spec.obs_dim);
}

void policy_save(const Policy *p, Checkpoint *c) {
  policy_save_shape(p, c);
  if (p->average_waits && !strcmp(p->act.weights.s, "ema"))
    checkpoint_add_text(c, "average", "has not begun");
  blocks_save(&p->blocks, c);
}

void policy_save_acting(const Policy *p, Checkpoint *c) {
  policy_save_shape(p, c);
  /* beside the actor only what the act record makes use of */
  params_save(p->actor, c);
  if (p->early) params_save(p->early, c);
  if (by_average(p)) params_save(p->actor_ema, c);
  if (p->act.candidates > 1) params_save(p->critics->target, c);
  if (p->energy && p->act.guidance > 0) params_save(p->energy, c);
}

/* One member of a file's text goes to the list that has its key. */
static bool read_member(Policy *p, const Json *member, Error *error) {
  Config lists[2] = { spec_of(p), own_of(p) };
  const char *key = json_key(member);
  bool own = has_key(&lists[1], key), known = own || has_key(&lists[0], key);
  if (!known && names_has(p->def->ignored, ' ', key)) return true;
  return config_read_member(&lists[own], member, "checkpoint", error);
}

static const PolicyDef *find_kind(const char *kind, Error *error) {
  if (!kind) return &policy_diffusion; /* the default of that setting */
  for (int i = 0; i < POLICIES; i++)
    if (!policies[i]->file && !strcmp(policies[i]->kind, kind)) return policies[i];
  error_set(error, FAIL_INPUT, "a policy of kind \"%.40s\", which this release does not know",
            kind);
  return NULL;
}

/* the settings of a policy's file; NULL and an error if they are not those of a policy */
static Policy *read_policy(Arena *arena, const Checkpoint *c, Error *error) {
  const char *text = checkpoint_need_text(c, "policy", "a policy of diffrl", error);
  if (!text) return NULL;
  Json *json = json_parse(text, strlen(text), error);
  bool object = json && (json_is_object(json) ||
                         error_set(error, FAIL_INPUT, "\"policy\": expected a JSON object"));
  /* the kind says which settings there may be */
  const PolicyDef *def = object ? find_kind(json_text(json_get(json, "kind")), error) : NULL;
  ArenaHold hold;
  json_hold(arena, &hold, json);
  Policy *p = def ? policy_start(arena, def) : NULL;
  for (const Json *member = json_first(json); p && member; member = json_next(member))
    if (!read_member(p, member, error)) p = NULL;
  arena_let_go(arena, &hold);
  json_free(json);
  return p;
}

static bool read_act(Policy *p, const Checkpoint *c, Error *error) {
  const char *text = checkpoint_text(c, "act");
  /* a file of a model need not have a record: the defaults act */
  if (!text)
    return p->def->file ||
           error_set(error, FAIL_INPUT, "no \"act\" in the metadata: not a policy of diffrl");
  Config act = act_of(p), all = { .fields = act_fields, .count = ACT_FIELD_COUNT };
  Json *json = json_parse(text, strlen(text), error);
  bool done = json && (json_is_object(json) ||
                       error_set(error, FAIL_INPUT, "\"act\": expected a JSON object"));
  for (const Json *row = json_first(json); done && row; row = json_next(row)) {
    /* rows that mean nothing for this policy are passed over */
    bool foreign = has_key(&all, json_key(row)) && !has_key(&act, json_key(row));
    if (!foreign) done = config_read_member(&act, row, "checkpoint", error);
  }
  json_free(json);
  return done;
}

static bool load_vector(const Checkpoint *c, const char *name, float *values, int64_t n,
                        Error *error) {
  const void *numbers = checkpoint_need_vector(c, name, CHECKPOINT_F32, n, error);
  if (numbers) memcpy(values, numbers, (size_t)n * sizeof *values);
  return numbers != NULL;
}

static bool load_bounds(Policy *p, const Checkpoint *c, Error *error) {
  int n = (int)p->spec.act_dim;
  return load_vector(c, "action_low", p->low, n, error) &&
         load_vector(c, "action_high", p->high, n, error) &&
         units_check_bounds(&p->units, false, error);
}

static bool load_normalizer(Policy *p, const Checkpoint *c, Error *error) {
  /* observations as they are: no normaliser in the file */
  if (!checkpoint_tensor(c, "normalizer/mean")) return true;
  Normalizer *n = arena_alloc(p->arena, sizeof *n);
  *n = normalizer_new(p->arena, (int)p->spec.obs_dim);
  p->units.obs = n;
  return load_vector(c, "normalizer/mean", n->mean, n->dim, error) &&
         load_vector(c, "normalizer/std", n->std, n->dim, error) && normalizer_check(n, error);
}

/* the kind of policy whose file is that of such a model; NULL: none */
static const PolicyDef *kind_of_model(const ModelDef *model) {
  for (int i = 0; i < POLICIES; i++)
    if (model && policies[i]->file == model) return policies[i];
  return NULL;
}

bool policy_is_model(const Model *m) { return kind_of_model(m->def) != NULL; }

Policy *policy_of_model(Arena *arena, Model *m, Error *error) {
  Policy *p = policy_start(arena, kind_of_model(m->def));
  Config spec = spec_of(p);
  p->model = m;
  config_copy(&spec, m->def->fields, m->def->field_count, m);
  p->spec.hidden = m->settings.hidden;
  if (!policy_build(p, error)) return NULL;
  memcpy(p->low, p->units.low, (size_t)p->spec.act_dim * sizeof *p->low);
  memcpy(p->high, p->units.high, (size_t)p->spec.act_dim * sizeof *p->high);
  return p;
}

static Policy *load_model_shape(Arena *arena, const PolicyDef *def, const Checkpoint *c,
                                Error *error) {
  Model *m = model_load_shape(arena, def->file, c, error);
  return m ? policy_of_model(arena, m, error) : NULL;
}

/* a policy whose last steps alone were fine-tuned */
static bool load_early(Policy *p, const Checkpoint *c, Error *error) {
  int64_t steps;
  if (!p->model || !checkpoint_text(c, "early_steps")) return true;
  if (!checkpoint_read_whole(c, "early_steps", 1, 100000, &steps, error)) return false;
  add_early(p, params_twin(p->actor, "actor_early"), (int)steps);
  return true;
}

Policy *policy_load_shape(Arena *arena, const Checkpoint *c, Error *error) {
  const PolicyDef *def = kind_of_model(model_saved(c));
  Policy *p = def ? load_model_shape(arena, def, c, error) : read_policy(arena, c, error);
  bool done = p && (def || (policy_build(p, error) && load_early(p, c, error) &&
                            load_bounds(p, c, error) && load_normalizer(p, c, error)));
  if (done && read_act(p, c, error)) return p;
  /* whatever cannot be built from a file is the file's fault */
  error_blame(error, FAIL_INPUT);
  return NULL;
}

/* Is the average the random start of the run's seed?  So it is until it begins, in every file. */
static bool is_random_start(const Policy *p, const Checkpoint *c) {
  Error none;
  int64_t seed;
  if (p->def->file || !params_held(p->actor_ema) ||
      !checkpoint_read_whole(c, "seed", 0, (int64_t)1 << 53, &seed, &none))
    return false;
  Arena *scratch = arena_under(p->arena);
  Params start = { .block = p->actor->block, .layout = p->actor->layout, .arena = scratch };
  params_allocate(&start);
  params_init(&start, (uint64_t)seed);
  bool same = !memcmp(start.values, p->actor_ema->values, start.layout->size * sizeof(real));
  arena_free(scratch);
  return same;
}

/* The text tells of an average that has not gone on from where it began.  A file without it whose
 * record says weights=ema is older, and does what it always did. */
static void find_average(Policy *p, const Checkpoint *c) {
  bool told = checkpoint_text(c, "average") != NULL, asked = !strcmp(p->act.weights.s, "ema");
  bool random = told || is_random_start(p, c);
  p->average_asked = told || (random && asked);
  p->average_waits = told || (random && !asked);
  if (told) p->act.weights = (CONFIG_C_TEXT){ "online" };
}

Policy *policy_load(Arena *arena, const Checkpoint *c, Error *error) {
  Policy *p = policy_load_shape(arena, c, error);
  if (!p || !params_match(p->actor, c, error) || (p->early && !params_match(p->early, c, error)) ||
      !blocks_load_held(&p->blocks, c, error))
    return NULL;
  find_average(p, c);
  return p;
}

/* Weights answer in the terms they were trained in: the kind, its settings (what a denoiser
 * predicts, on which schedule) and normalised observations or not. */
static bool same_terms(const Policy *p, const Policy *other, Error *error) {
  const char *key;
  Config own = own_of(p);
  if (p->def != other->def)
    return error_set(error, FAIL_USAGE, "it is a %s policy; expected a %s one", other->def->kind,
                     p->def->kind);
  if (!config_equal(&own, other, &key)) {
    char value[CONFIG_TEXT_SIZE];
    own = own_of(other);
    config_value(&own, key, value);
    return error_set(error, FAIL_USAGE, "its %s is %s; use --set %s=%s", key, value, key, value);
  }
  bool there = other->units.obs != NULL;
  return there == (p->units.obs != NULL) ||
         error_set(error, FAIL_USAGE, "its observations are %s; use --set normalize_obs=%s",
                   there ? "normalised" : "not normalised", there ? "true" : "false");
}

/* the other's bounds and normaliser, which its weights were trained in */
static void take_units(Policy *p, const Policy *other) {
  size_t n = (size_t)p->spec.act_dim, m = (size_t)p->spec.obs_dim;
  memcpy(p->low, other->low, n * sizeof *p->low);
  memcpy(p->high, other->high, n * sizeof *p->high);
  if (!other->units.obs) return;
  Normalizer *own = arena_alloc(p->arena, sizeof *own);
  *own = normalizer_new(p->arena, (int)m);
  memcpy(own->mean, other->units.obs->mean, m * sizeof *own->mean);
  memcpy(own->std, other->units.obs->std, m * sizeof *own->std);
  p->units.obs = own;
}

static bool same_dims(const Policy *p, const Policy *other, Error *error) {
  return (p->spec.obs_dim == other->spec.obs_dim && p->spec.act_dim == other->spec.act_dim) ||
         error_set(error, FAIL_USAGE,
                   "its policy takes %d numbers and gives %d, and the new one %d and %d; expected "
                   "the same",
                   (int)other->spec.obs_dim, (int)other->spec.act_dim, (int)p->spec.obs_dim,
                   (int)p->spec.act_dim);
}

bool policy_begin(Policy *p, const Checkpoint *from, BlocksBegun *begun, Error *error) {
  Arena *scratch = arena_under(p->arena);
  const Policy *other = policy_load_shape(scratch, from, error);
  bool done = other && same_dims(p, other, error) && same_terms(p, other, error) &&
              blocks_begin(&p->blocks, from, begun, error);
  if (done && !begun->count)
    done = error_set(error, FAIL_USAGE, "it holds none of the networks of the new run");
  if (done) take_units(p, other);
  arena_free(scratch);
  return done;
}

bool policy_read(Policy *p, const Checkpoint *c, Error *error) {
  bool normalised = p->units.obs != NULL;
  if (normalised && !checkpoint_tensor(c, "normalizer/mean"))
    return error_set(error, FAIL_INPUT, "tensor normalizer/mean is missing");
  return load_bounds(p, c, error) && (!normalised || load_normalizer(p, c, error)) &&
         blocks_load(&p->blocks, c, error);
}
