/* trainer.c -- from a request to a run that is set up. */
#include "core/check.h"
#include "core/file.h"
#include "rl/train/measuring.h"
#include "rl/train/preset.h"
#include "rl/rollout/task.h"
#include "rl/train/train.h"
#include "rl/version.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- settings: defaults < preset < --config < flags and --set -------------------------------- */

static bool apply_file(Trainer *t, const char *path, Error *error) {
  Json *json = json_parse_file(path, error);
  if (!json) return false;
  const Json *settings = json_get(json, "settings"); /* a run's own config.json */
  bool done = config_read(&t->settings, settings ? settings : json, "--config", error);
  json_free(json);
  return done || error_prefix(error, "%s", path);
}

static bool apply_sets(Trainer *t, Error *error) {
  const TrainRequest *r = t->request;
  char number[32];
  snprintf(number, sizeof number, "%lld", (long long)r->steps);
  if (r->steps && !config_set(&t->settings, "steps", number, "--set", error)) return false;
  for (int i = 0; i < r->sets; i++) {
    const char *equals = strchr(r->set[i], '=');
    if (!equals) return error_set(error, FAIL_USAGE, "--set %s: expected key=value", r->set[i]);
    const char *key = arena_text(t->arena, "%.*s", (int)(equals - r->set[i]), r->set[i]);
    if (!config_set(&t->settings, key, equals + 1, "--set", error)) return false;
  }
  return true;
}

static bool apply_settings(Trainer *t, Error *error) {
  const TrainRequest *r = t->request;
  const Preset *preset = NULL;
  if (r->preset) {
    if (!(preset = preset_find(t->algo->name, r->preset, error))) return false;
  } else if (t->data_name)
    preset = preset_for(t->algo->name, t->data_name);
  if (preset && !config_set_all(&t->settings, preset->settings, "preset", error)) return false;
  t->preset = preset ? preset->name : NULL;
  if (r->config_file && !apply_file(t, r->config_file, error)) return false;
  if (!apply_sets(t, error)) return false;
  TrainConfig *shared = t->config; /* the length of a cosine is that of the first sitting */
  if (!strcmp(shared->schedule_rate.s, "cosine") && !shared->rate_steps)
    shared->rate_steps = shared->steps;
  return true;
}

/* ---- data and environment -------------------------------------------------------------------- */

static bool open_env(Trainer *t, Error *error) {
  if (!t->env_def) return true;
  t->env = env_load(t->env_def, error);
  return t->env != NULL;
}

static bool check_dims(const Trainer *t, Error *error) {
  const Dataset *d = t->data;
  const EnvDef *e = t->env_def;
  if (!e || (d->obs_dim == e->obs_dim && d->act_dim == e->act_dim)) return true;
  return error_set(error, FAIL_INPUT,
                   "%s: observations have %d and actions %d numbers a row, but "
                   "%s has %d and %d; give the --env the file was made for",
                   d->source, d->obs_dim, d->act_dim, e->name, e->obs_dim, e->act_dim);
}

static bool check_file_env(const Trainer *t, Error *error) {
  Json *meta = json_parse(t->data->metadata, strlen(t->data->metadata), error);
  const char *made = meta ? json_text(json_get(meta, "env")) : NULL;
  bool same = !made || !t->env_def || !strcmp(made, t->env_def->name);
  if (!same && !t->request->allow_env_mismatch)
    error_set(error, FAIL_INPUT,
              "%s was made in %s, not %s; use --env %s, or "
              "--allow-env-mismatch if you mean it",
              t->data->source, made, t->env_def->name, made);
  json_free(meta);
  return same || t->request->allow_env_mismatch;
}

const char *trainer_data(const Trainer *t) {
  return t->toy ? t->toy->name : t->images ? t->images->name : t->data ? t->data->source : NULL;
}
const char *trainer_data_hash(const Trainer *t) {
  return t->images ? t->images->hash : t->data ? t->data->hash : NULL;
}

/* hash: of what a resumed run was started on; NULL: anything will do */
static bool check_hash(const Trainer *t, const char *hash, Error *error) {
  if (!hash || !trainer_data_hash(t) || !strcmp(hash, trainer_data_hash(t))) return true;
  return error_set(error, FAIL_INPUT,
                   "%s is not the data this run was started on (its content differs); give the "
                   "right one with --data",
                   trainer_data(t));
}

static bool open_images(Trainer *t, const char *hash, Error *error) {
  t->images = images_open(t->arena, t->data_name, error);
  return t->images && check_hash(t, hash, error);
}

static bool open_data(Trainer *t, const char *hash, Error *error) {
  if (t->algo->data == ALGO_TOY) return (t->toy = toy_find(t->data_name, error)) != NULL;
  if (t->algo->data == ALGO_IMAGES) return open_images(t, hash, error);
  const char *path = task_data_path(t->arena, t->data_name, error);
  if (!path && t->request->resume)
    return error_prefix(error, "the data of this run (give --data FILE if it was moved)");
  if (!path) return false;
  t->data = dataset_open(path, t->env_def ? t->env_def->horizon : 0, error);
  if (!t->data || !check_hash(t, hash, error)) return false;
  dataset_summary(t->data, &t->summary);
  if (t->algo->needs_rewards && (!t->data->rewards || !t->data->terminals))
    return error_set(error, FAIL_INPUT,
                     "%s has no array %s, which %s learns from; add it, or use "
                     "diffusion-bc",
                     path, t->data->rewards ? "terminals" : "rewards", t->algo->name);
  if (t->data->act_dim > POLICY_MAX_ACT)
    return error_set(error, FAIL_INPUT, "%s: actions have %d numbers a row, expected at most %d",
                     path, t->data->act_dim, POLICY_MAX_ACT);
  bool standard = !strcmp(t->shared->reward.s, "standard");
  if (standard && t->data->rewards && !(t->summary.reward_std > 0))
    return error_set(error, FAIL_INPUT,
                     "%s: all rewards are equal, so reward=standard divides by "
                     "0; use reward=raw",
                     path);
  return check_dims(t, error) && check_file_env(t, error);
}

/* reward' = scale r + shift, by the conventions of the task families */
static void reward_transform(const Trainer *t, double *scale, double *shift) {
  const char *kind = t->shared->reward.s;
  const DatasetSummary *s = &t->summary;
  *scale = 1, *shift = 0;
  if (!strcmp(kind, "antmaze")) *scale = 4, *shift = -2;
  if (!strcmp(kind, "standard"))
    *scale = 1 / s->reward_std, *shift = -s->reward_mean / s->reward_std;
  if (!strcmp(kind, "return-range") && s->return_max > s->return_min)
    *scale = 1000 / (s->return_max - s->return_min);
}

/* bounds: the environment's, else the range of the data */
static void action_bounds(Trainer *t, float *low, float *high, float *mid, float *half) {
  int n = t->data ? t->data->act_dim : t->env_def->act_dim;
  for (int j = 0; j < n; j++) {
    low[j] = (float)(t->env_def ? t->env_def->act_low : -1);
    high[j] = (float)(t->env_def ? t->env_def->act_high : 1);
    if (!t->env_def) {
      low[j] = high[j] = t->data->actions[j];
      for (int64_t i = 1; i < t->data->rows; i++) {
        float a = t->data->actions[i * n + j];
        low[j] = a < low[j] ? a : low[j], high[j] = a > high[j] ? a : high[j];
      }
      if (!(high[j] > low[j])) high[j] = low[j] + 1;
    }
    mid[j] = 0.5f * (low[j] + high[j]), half[j] = 0.5f * (high[j] - low[j]);
  }
}

static void prepare_drawers(Trainer *t, float *mid, float *half) {
  Drawer *d = &t->drawer;
  *d = (Drawer){ .data = t->data,
                 .rng = rng_stream(t->seed, "batch"),
                 .act_mid = mid,
                 .act_half = half,
                 .threads = t->pool };
  reward_transform(t, &d->reward_scale, &d->reward_shift);
  if (!t->env_def) {
    DataSplit split =
        data_split(t->arena, t->data, rng_stream(t->seed, "held out"), DATA_HELD_SHARE);
    t->held = *d;
    d->pool = split.train, d->pool_count = split.train_count;
    t->held.pool = split.held, t->held.pool_count = split.held_count;
    t->held.rng = rng_stream(t->seed, "held-out batch");
  }
  if (!t->shared->normalize_obs) return;
  Normalizer *n = arena_alloc(t->arena, sizeof *n);
  *n = normalizer_new(t->arena, t->data->obs_dim);
  normalizer_fit(n, t->data->observations, t->data->transition, t->data->transitions);
  d->obs_norm = t->held.obs_norm = n;
}

static void prepare_setup(Trainer *t) {
  t->setup = (AlgoSetup){ .def = t->algo,
                          .arena = t->arena,
                          .pool = t->pool,
                          .ranks = t->request->ranks,
                          .kernels = t->kernels,
                          .seed = t->seed,
                          .toy = t->toy,
                          .images = t->images,
                          .run = t->run.folder,
                          .config = t->config };
  if (t->toy || t->images) return;
  float *bounds = arena_array(t->arena, float, 4 * POLICY_MAX_ACT);
  float *low = bounds, *high = low + POLICY_MAX_ACT, *mid = high + POLICY_MAX_ACT,
        *half = mid + POLICY_MAX_ACT;
  action_bounds(t, low, high, mid, half);
  if (t->data) prepare_drawers(t, mid, half);
  t->setup.obs_dim = t->data ? t->data->obs_dim : t->env_def->obs_dim;
  t->setup.act_dim = t->data ? t->data->act_dim : t->env_def->act_dim;
  t->setup.act_low = low, t->setup.act_high = high;
  t->setup.drawer = t->data ? &t->drawer : NULL, t->setup.env = t->env;
  t->setup.held = t->held.pool_count ? &t->held : NULL, t->setup.reference = t->reference;
}

/* ---- the run's folder ------------------------------------------------------------------------ */

static const char *folder_of(const Trainer *t) {
  const char *name = t->data_name ? task_short_name(t->arena, t->data_name) : t->env_def->name;
  return arena_text(t->arena, "runs/%s-%s-s%llu", t->algo->name, name, (unsigned long long)t->seed);
}

static void write_dataset(const Trainer *t, JsonText *out) {
  const DatasetSummary *s = &t->summary;
  json_open(out, "dataset", '{');
  json_put_integer(out, "transitions", s->transitions);
  json_put_integer(out, "episodes", s->episodes);
  if (s->has_rewards) {
    json_put_number(out, "return_mean", s->return_mean);
    json_put_number(out, "return_std", s->return_std);
    json_put_number(out, "return_min", s->return_min);
    json_put_number(out, "return_max", s->return_max);
    bool scored = t->reference && t->env_def && t->env_def->score_expert > t->env_def->score_random;
    json_put_number(out, "normalized_mean",
                    scored ? env_normalized(t->env_def, s->return_mean) : NAN);
  }
  json_close(out, '}');
}

static void write_versions(const Trainer *t, JsonText *out) {
  json_open(out, "versions", '{');
  json_put_text(out, "diffrl", DIFFRL_VERSION);
  json_put_text(out, "simulator", env_simulator());
  json_put_text(out, "kernels", t->kernels->name);
  json_close(out, '}');
}

static bool write_config(const Trainer *t, Error *error) {
  JsonText out = { 0 };
  json_open(&out, NULL, '{');
  json_put_text(&out, "diffrl", DIFFRL_VERSION);
  json_put_text(&out, "algo", t->algo->name);
  json_put_text(&out, "env", t->env_def ? t->env_def->name : NULL);
  json_put_text(&out, "data", trainer_data(t));
  json_put_bool(&out, "generated", t->data && strstr(t->data->metadata, "\"diffrl/"));
  json_put_text(&out, "data_hash", trainer_data_hash(t));
  json_put_integer(&out, "seed", (int64_t)t->seed);
  json_put_integer(&out, "steps", t->shared->steps);
  json_put_text(&out, "preset", t->preset);
  json_put_bool(&out, "d4rl_reference", t->reference);
  json_open(&out, "settings", '{');
  config_write(&t->settings, &out);
  json_close(&out, '}');
  json_open(&out, "changed", '[');
  for (size_t i = 0; i < t->settings.count; i++)
    if (t->settings.origin[i]) json_put_text(&out, NULL, t->settings.fields[i].key);
  json_close(&out, ']');
  write_versions(t, &out);
  if (t->data) write_dataset(t, &out);
  json_open(&out, "measures", '[');
  measuring_describe(t->agent, &out);
  json_close(&out, ']');
  json_close(&out, '}');
  bool done = (t->request->resume || file_write(t->run.metrics, "", 0, error)) &&
              file_write(t->run.config, out.text, out.length, error);
  json_text_free(&out);
  return done;
}

/* ---- old weights ----------------------------------------------------------------------------- */

/* --init: a run's folder or a checkpoint */
static bool init_weights(Trainer *t, const char *init, Error *error) {
  const char *path = arena_text(t->arena, "%s/last.safetensors", init);
  if (access(path, F_OK)) path = init;
  Arena *arena = arena_new();
  Checkpoint checkpoint;
  checkpoint_init(&checkpoint, arena);
  bool done = checkpoint_load(&checkpoint, path, NULL, error);
  if (done) done = algo_begin(t->agent, &checkpoint, error);
  if (!done) error_prefix(error, "--init %s", path);
  arena_free(arena);
  return done;
}

/* ---- opening --------------------------------------------------------------------------------- */

/* a resumed run takes everything from its config.json */
typedef struct {
  Json *config;
  const char *algo, *env, *data;
} Resumed;

static bool read_resumed(Trainer *t, Resumed *old, Error *error) {
  const char *path = arena_text(t->arena, "%s/config.json", t->request->resume);
  if (!(old->config = json_parse_file(path, error)))
    return error_prefix(error, "cannot resume %s", t->request->resume);
  old->algo = json_text(json_get(old->config, "algo"));
  old->env = json_text(json_get(old->config, "env"));
  old->data = json_text(json_get(old->config, "data"));
  t->seed = (uint64_t)json_number(json_get(old->config, "seed"), 0);
  if (old->algo) return true;
  return error_set(error, FAIL_INPUT, "%s: no \"algo\"; not written by diffrl", path);
}

/* what config.json says beside the settings, so that writing it again loses nothing */
static void restore_record(Trainer *t, const Json *config) {
  const Json *changed = json_get(config, "changed");
  for (size_t i = 0; i < t->settings.count; i++) {
    const Json *key = json_first(changed);
    while (key && strcmp(json_text(key) ? json_text(key) : "", t->settings.fields[i].key))
      key = json_next(key);
    if (!key) t->settings.origin[i] = NULL;
  }
  const char *preset = json_text(json_get(config, "preset"));
  t->preset = preset ? arena_text(t->arena, "%s", preset) : NULL;
  t->reference = json_bool(json_get(config, "d4rl_reference"), t->reference);
}

static bool choose_env(Trainer *t, const char *name, Error *error) {
  bool none = !name || !strcmp(name, "none");
  if (t->algo->data == ALGO_TOY || t->algo->data == ALGO_IMAGES)
    return none ||
           error_set(error, FAIL_USAGE, "%s learns %s, it does not act: leave --env %s away",
                     t->algo->name, t->algo->data == ALGO_TOY ? "points" : "pictures", name);
  if (!name && t->data_name) name = task_env_of(t->data_name);
  if (!name)
    return t->algo->data == ALGO_OFFLINE || error_set(error, FAIL_USAGE,
                                                      "%s acts in an environment: give --env (see "
                                                      "`diffrl list envs`)",
                                                      t->algo->name);
  if (!strcmp(name, "none")) return true;
  t->env_def = task_env(name, error);
  if (t->env_def) t->reference = t->env_def->d4rl_reference || t->request->d4rl_reference;
  return t->env_def != NULL;
}

static bool choose(Trainer *t, const Resumed *old, Error *error) {
  const TrainRequest *r = t->request;
  t->algo = algo_find(r->resume ? old->algo : r->algo, error);
  if (!t->algo) return false;
  t->data_name = r->data ? r->data : r->resume ? old->data : NULL;
  if (t->algo->data == ALGO_TOY && !t->data_name)
    return error_set(error, FAIL_USAGE,
                     "%s learns a set of points: give --data swissroll, moons, rings, "
                     "checkerboard, 8gaussians, 2spirals or gmm",
                     t->algo->name);
  if (t->algo->data == ALGO_IMAGES && !t->data_name)
    return error_set(error, FAIL_USAGE,
                     "%s learns pictures: give --data fashion-mnist, or a folder of IDX files",
                     t->algo->name);
  if (t->algo->data == ALGO_OFFLINE && !t->data_name)
    return error_set(error, FAIL_USAGE,
                     "%s learns from a file: give --data FILE or a name from "
                     "`diffrl list datasets`",
                     t->algo->name);
  if (t->algo->data == ALGO_ONLINE) t->data_name = NULL;
  if (t->algo->data == ALGO_ONLINE && r->ranks)
    return error_set(error, FAIL_USAGE,
                     "%s acts in an environment step by step, which ranks cannot share; run it "
                     "without mpirun, with --threads",
                     t->algo->name);
  if (!choose_env(t, r->resume ? old->env ? old->env : "none" : r->env, error)) return false;
  t->config = arena_alloc(t->arena, t->algo->config_size);
  t->shared = t->config;
  config_init(&t->settings, t->algo->fields, t->algo->field_count, t->config);
  if (!r->resume) return apply_settings(t, error);
  if (!config_read(&t->settings, json_get(old->config, "settings"), "run", error)) return false;
  restore_record(t, old->config);
  return apply_sets(t, error);
}

/* the CPUs of this process, shared with ranks that have the same */
static int own_cpus(const Ranks *ranks) {
  int cpus = pool_cpus() / (ranks ? ranks->neighbours : 1);
  return cpus ? cpus : 1;
}

static bool open_all(Trainer *t, Error *error) {
  const TrainRequest *r = t->request;
  Resumed old = { 0 };
  t->seed = r->seed;
  if (r->resume && !read_resumed(t, &old, error)) return false;
  bool chosen = choose(t, &old, error);
  if (chosen && old.data && !r->data) t->data_name = arena_text(t->arena, "%s", old.data);
  const char *hash = json_text(json_get(old.config, "data_hash"));
  if (hash) hash = arena_text(t->arena, "%s", hash);
  json_free(old.config);
  if (!chosen) return false;
  t->kernels = kernels_find(t->shared->kernels.s, error);
  if (!t->kernels || !open_env(t, error)) return false;
  if (t->data_name && !open_data(t, hash, error)) return false;
  const char *folder = r->resume ? r->resume : r->out ? r->out : folder_of(t);
  run_name(&t->run, t->arena, folder);
  bool writes = !r->dry_run && trainer_records(t);
  if (writes && !run_open(&t->run, t->arena, folder, !r->resume, error)) return false;
  t->pool = pool_new(r->threads ? r->threads : own_cpus(r->ranks));
  prepare_setup(t);
  t->agent = t->algo->create(&t->setup, error);
  if (!t->agent) return false;
  t->agent->def = t->algo, t->agent->setup = &t->setup;
  if (t->agent->wants_init && !r->init && !r->resume)
    return error_set(error, FAIL_USAGE, "a student learns from a trained run: give --init RUN");
  if (r->init && !init_weights(t, r->init, error)) return false;
  return !writes || write_config(t, error);
}

bool trainer_records(const Trainer *t) { return !ranks_index(t->request->ranks); }

/* Rank 0 opens first: it makes a cache that is not there yet, and says what all would say. */
bool trainer_open(Trainer *t, const TrainRequest *request, Error *error) {
  Ranks *ranks = request->ranks;
  *t = (Trainer){ .request = request, .arena = arena_new(), .run.lock = -1 };
  bool open = true;
  for (int turn = 0; turn < (ranks ? 2 : 1) && open; turn++) {
    if (turn == (ranks_index(ranks) > 0)) open = open_all(t, error);
    open = ranks_meet(ranks, open, NULL, error);
  }
  if (open) return true;
  trainer_close(t);
  return false;
}

void trainer_close(Trainer *t) {
  if (t->run.folder) run_close(&t->run);
  if (t->agent && t->algo->close) t->algo->close(t->agent);
  pool_free(t->pool);
  env_unload(t->env);
  dataset_close(t->data);
  arena_free(t->arena);
  *t = (Trainer){ .run.lock = -1 };
}
