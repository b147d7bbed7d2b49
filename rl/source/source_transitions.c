/* source_transitions.c -- from the name of a file to samplers of its rows. */
#include "rl/source/source_transitions.h"
#include "core/check.h"
#include "core/log.h"
#include "policy/policy.h"
#include "rl/rollout/task.h"
#include <math.h>
#include <string.h>

/* ---- settings -------------------------------------------------------------------------------- */

typedef struct {
  CONFIG_MEMBERS(DATA_FIELDS)
  CONFIG_MEMBERS(RETURN_FIELDS)
} Settings;

#define CONFIG_STRUCT Settings
static const ConfigField own_fields[] = { CONFIG_ROWS(DATA_FIELDS) CONFIG_ROWS(RETURN_FIELDS) };
#undef CONFIG_STRUCT

/* those that the algorithm has; the others stay what they are by default */
static Settings settings_of(const SourceRequest *request) {
  Settings settings;
  Config config;
  config_init(&config, own_fields, sizeof own_fields / sizeof *own_fields, &settings);
  config_copy(&config, request->fields, request->field_count, request->config);
  return settings;
}

/* Whoever has RETURN_FIELDS. */
static bool learns_from_rewards(const SourceRequest *request) {
  for (size_t i = 0; i < request->field_count; i++)
    if (!strcmp(request->fields[i].key, "reward")) return true;
  return false;
}

/* ---- what is refused ------------------------------------------------------------------------- */

/* an algorithm that learns from rewards needs them and terminals, and a scale that exists */
static bool check_rewards(const Transitions *t, const SourceRequest *request, Error *error) {
  const Dataset *d = t->data;
  if (!learns_from_rewards(request)) return true;
  if (!d->rewards || !d->terminals)
    return error_set(error, FAIL_INPUT,
                     "%s has no array %s, which %s learns from; add it, or use an "
                     "algorithm that clones (`diffrl list algos`)",
                     d->source, d->rewards ? "terminals" : "rewards", request->algo);
  if (!dataset_check_finite(d, "rewards", error)) return false;
  Settings settings = settings_of(request);
  /* a scale of 1 / deviation must exist */
  if (strcmp(settings.reward.s, "standard") || t->summary.reward_std > 0) return true;
  return error_set(error, FAIL_INPUT,
                   "%s: all rewards are equal, so reward=standard divides by 0; use reward=raw",
                   d->source);
}

/* an action must fit a policy; rows must fit the environment that judges it */
static bool check_dims(const Dataset *d, const EnvDef *e, Error *error) {
  if (d->act_dim > POLICY_MAX_ACT)
    return error_set(error, FAIL_INPUT, "%s: actions have %d numbers a row, expected at most %d",
                     d->source, d->act_dim, POLICY_MAX_ACT);
  if (!e || (d->obs_dim == e->obs_dim && d->act_dim == e->act_dim)) return true;
  return error_set(error, FAIL_INPUT,
                   "%s: observations have %d and actions %d numbers a row, but "
                   "%s has %d and %d; give the --env the file was made for",
                   d->source, d->obs_dim, d->act_dim, e->name, e->obs_dim, e->act_dim);
}

/* Files of `data make` say where they were made. */
static bool check_made_in(const Dataset *d, const SourceRequest *request, Error *error) {
  if (!request->env || request->allow_env_mismatch) return true;
  Json *meta = json_parse_if(d->metadata, strlen(d->metadata));
  /* files of other makers need not say it */
  const char *made = meta ? json_text(json_get(meta, "env")) : NULL;
  bool same = !made || !strcmp(made, request->env->name);
  if (!same)
    error_set(error, FAIL_INPUT,
              "%s was made in %s, not %s; use --env %s, or "
              "--allow-env-mismatch if you mean it",
              d->source, made, request->env->name, made);
  json_free(meta);
  return same;
}

/* ---- units and samplers ---------------------------------------------------------------------- */

/* reward' = scale r + shift, by the conventions of the task families */
static void transform_rewards(RowSampler *d, const char *kind, const DatasetSummary *s) {
  /* antmaze is 4 (r - 1/2); minus-one and return-range are IQL's, of AntMaze and locomotion */
  if (!strcmp(kind, "antmaze")) d->reward_scale = 4, d->reward_shift = -2;
  if (!strcmp(kind, "minus-one")) d->reward_shift = -1;
  /* mean 0 and deviation 1 over the transitions of the file */
  if (!strcmp(kind, "standard"))
    d->reward_scale = 1 / s->reward_std, d->reward_shift = -s->reward_mean / s->reward_std;
  /* the range of returns becomes 1000 */
  if (!strcmp(kind, "return-range") && s->return_max > s->return_min)
    d->reward_scale = 1000 / (s->return_max - s->return_min);
}

/* The smallest and the largest of each entry; one that never changes gets a range of 1 above, or of
 * the next number where 1 is lost in rounding. */
static void range_of_actions(const Dataset *d, float *low, float *high) {
  for (int j = 0; j < d->act_dim; j++) {
    low[j] = high[j] = d->actions[j];
    for (int64_t i = 1; i < d->rows; i++) {
      float a = d->actions[i * d->act_dim + j];
      low[j] = a < low[j] ? a : low[j], high[j] = a > high[j] ? a : high[j];
    }
    if (!(high[j] > low[j])) high[j] = fmaxf(low[j] + 1, nextafterf(low[j], INFINITY));
  }
}

static void set_units(Transitions *t, const SourceRequest *request, bool normalize) {
  Units *units = &t->source.units;
  Arena *arena = request->arena;
  /* bounds of the environment, or without one the range of the data's actions */
  if (t->beside) {
    units->low = t->beside->source.units.low, units->high = t->beside->source.units.high;
  } else {
    float *low = arena_array(arena, float, t->data->act_dim);
    float *high = arena_array(arena, float, t->data->act_dim);
    range_of_actions(t->data, low, high);
    units->low = low, units->high = high;
  }
  if (!normalize) return;
  /* fitted to transitions alone, not to rows that are never sampled */
  Normalizer *n = arena_alloc(arena, sizeof *n);
  *n = normalizer_new(arena, t->data->obs_dim);
  normalizer_fit(n, t->data->observations, t->data->transition, t->data->transitions);
  units->obs = n;
}

/* Where no environment can judge, some episodes are kept to do so. */
static void hold_out(Transitions *t, const SourceRequest *request) {
  DataSplit split =
      data_split(request->arena, t->data, rng_stream(request->seed, "held out"), DATA_HELD_SHARE);
  /* the same file by two samplers: one for training, one that only measures */
  t->held = t->train;
  t->train.rows = split.train, t->train.row_count = split.train_count;
  t->held.rows = split.held, t->held.row_count = split.held_count;
  t->held.rng = rng_stream(request->seed, "held-out batch");
  t->held_episodes = split.held_episodes;
}

/* ---- opening --------------------------------------------------------------------------------- */

const Transitions *transitions_of(const Source *source) {
  CHECK(source->def == &source_transitions, "source: %s", source->def->name);
  return (const Transitions *)source;
}

Transitions *transitions_new(Arena *arena, const Dataset *data, uint64_t seed, Pool *pool) {
  Transitions *t = arena_alloc(arena, sizeof *t);
  t->data = data;
  t->source = (Source){ .def = &source_transitions,
                        .name = data->source,
                        .hash = data->hash,
                        .rows = data->transitions,
                        .bytes = data->map_bytes,
                        .units = { .obs_dim = data->obs_dim, .act_dim = data->act_dim } };
  t->train = (RowSampler){ .data = data,
                           .rng = rng_stream(seed, "batch"),
                           .units = &t->source.units,
                           .reward_scale = 1,
                           .discount = 1,
                           .pool = pool };
  return t;
}

static Dataset *open_file(const SourceRequest *request, Error *error) {
  const char *path = task_data_path(request->arena, request->data, error);
  /* the environment's horizon tells time-outs where a file does not record them */
  if (path) return dataset_open(path, request->env ? request->env->horizon : 0, error);
  if (request->resumes)
    error_prefix(error, "the data of this run (give --data FILE if it was moved)");
  return NULL;
}

static Source *open_transitions(const SourceRequest *request, Error *error) {
  Dataset *data = open_file(request, error);
  if (!data) return NULL;
  Transitions *t = transitions_new(request->arena, data, request->seed, request->pool);
  t->owned = data, t->beside = request->beside;
  /* files of `data make` carry this name in their metadata */
  t->source.generated = strstr(data->metadata, "\"diffrl/") != NULL;
  bool same = source_same(request, data->source, data->hash, error);
  if (same) dataset_summary(data, &t->summary);
  /* refused before networks are built */
  if (!same || !check_rewards(t, request, error) || !check_dims(data, request->env, error) ||
      !check_made_in(data, request, error)) {
    dataset_close(data);
    return NULL;
  }
  Settings settings = settings_of(request);
  set_units(t, request, settings.normalize_obs);
  transform_rewards(&t->train, settings.reward.s, &t->summary);
  t->train.discount = settings.gamma;
  /* without a simulator some episodes must stay unseen */
  if (!t->beside) hold_out(t, request);
  return &t->source;
}

static void close_transitions(Source *source) { dataset_close(((Transitions *)source)->owned); }

/* ---- what is said ---------------------------------------------------------------------------- */

static void announce_transitions(const Source *source) {
  const Transitions *t = transitions_of(source);
  const DatasetSummary *s = &t->summary;
  /* who trains without an environment should know what that means */
  if (!t->beside)
    log_progress(true,
                 "note: no environment, so the range of the file's actions bounds the policy "
                 "and its measure is the loss on held-out episodes: %lld of them with %lld "
                 "of the transitions",
                 (long long)t->held_episodes, (long long)t->held.row_count);
  log_progress(true,
               "data: %lld transitions, %lld episodes, %lld terminals, %lld time-outs, "
               "%lld rows dropped, return %.1f +- %.1f",
               (long long)s->transitions, (long long)s->episodes, (long long)s->terminals,
               (long long)s->timeouts, (long long)s->dropped, s->return_mean, s->return_std);
  if (s->cut)
    log_progress(true,
                 "note: next_observations of %lld rows (first: row %lld) are not the observations "
                 "of the next row; episodes are taken to end there",
                 (long long)s->cut, (long long)s->first_cut);
  if (s->guess >= 0)
    log_progress(true,
                 "note: the file says nowhere that an episode ends, yet at row %lld one seems to "
                 "begin; add an array timeouts that is 1 in the last row of each episode",
                 (long long)s->guess);
}

/* A network whose answers lie within other bounds cannot learn what lies beyond them. */
static bool fits(const Source *source, const float *low, const float *high, Error *error) {
  const Dataset *d = transitions_of(source)->data;
  for (int64_t i = 0; i < d->rows * d->act_dim; i++) {
    int j = (int)(i % d->act_dim);
    float rounding = 1e-3f * (high[j] - low[j]), a = d->actions[i];
    if (a >= low[j] - rounding && a <= high[j] + rounding) continue;
    return error_set(error, FAIL_USAGE,
                     "its policy acts within [%g, %g] in number %d of an action, and %s holds %g, "
                     "which it could not learn; train without --init",
                     (double)low[j], (double)high[j], j, d->source, (double)a);
  }
  return true;
}

static void describe_transitions(const Source *source, JsonText *out) {
  const Transitions *t = transitions_of(source);
  const DatasetSummary *s = &t->summary;
  const EnvDef *env = t->beside ? t->beside->def : NULL;
  json_put_integer(out, "transitions", s->transitions);
  json_put_integer(out, "episodes", s->episodes);
  if (!t->beside) {
    json_put_integer(out, "held_out_episodes", t->held_episodes);
    json_put_integer(out, "held_out_transitions", t->held.row_count);
  }
  if (!s->has_rewards) return;
  json_put_number(out, "return_mean", s->return_mean);
  json_put_number(out, "return_std", s->return_std);
  json_put_number(out, "return_min", s->return_min);
  json_put_number(out, "return_max", s->return_max);
  /* as scores of policies: only where the environment has reference returns */
  bool scored = env && t->beside->reference && env->return_expert > env->return_random;
  json_put_number(out, "normalized_mean", scored ? env_normalized(env, s->return_mean) : NAN);
}

const SourceDef source_transitions = {
  .name = "transitions",
  .about = "from a file",
  .asks = "learns from a file: give --data FILE or a name from `diffrl list datasets`",
  .beside_env = true,
  .env_of = task_env_of,
  .open = open_transitions,
  .fits = fits,
  .announce = announce_transitions,
  .describe = describe_transitions,
  .close = close_transitions,
};
