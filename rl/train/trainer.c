/* trainer.c -- from a request to a run that is set up. */
#include "rl/train/trainer.h"
#include "rl/shipped.h"
#include "core/limits.h"
#include "core/log.h"
#include "rl/rollout/task.h"
#include "rl/source/source_environment.h"
#include "rl/train/record.h"
#include "rl/train/settings.h"
#include <math.h>
#include <string.h>
#include <unistd.h>

/* ---- where rows come from -------------------------------------------------------------------- */

/* hash: of what a resumed run was started on */
static SourceRequest request_of(const Trainer *t, const char *hash) {
  const TrainRequest *r = t->request;
  return (SourceRequest){ .arena = t->arena,
                          .algo = t->algo->name,
                          .data = t->data_name,
                          .init = t->init,
                          .env = t->env_def,
                          .reference = t->reference,
                          .allow_env_mismatch = r->allow_env_mismatch,
                          .resumes = r->resume != NULL,
                          .hash = hash,
                          .fields = t->algo->fields,
                          .field_count = t->algo->field_count,
                          .config = t->config,
                          .seed = t->seed,
                          .pool = t->pool };
}

/* The environment is opened first: it bounds the actions of the data. */
static bool open_sources(Trainer *t, const char *hash, Error *error) {
  SourceRequest request = request_of(t, hash);
  if (t->env_def) {
    Source *environment = source_open(&source_environment, &request, error);
    if (!environment) return false;
    /* an online algorithm learns from the environment itself, any other from data beside it */
    *(t->algo->source->by_env ? &t->source : &t->beside) = environment;
    t->environment = environment_of(environment);
    t->env = t->environment->model;
  }
  request.beside = t->environment;
  if (!t->source) t->source = source_open(t->algo->source, &request, error);
  return t->source != NULL;
}

/* what the algorithm's `create` sees of the run */
static void prepare_setup(Trainer *t) {
  const Units *units = &t->source->units;
  t->setup = (AlgoSetup){ .def = t->algo,
                          .arena = t->arena,
                          .pool = t->pool,
                          .ranks = t->request->ranks,
                          .kernels = t->kernels,
                          .seed = t->seed,
                          .obs_dim = units->obs_dim,
                          .act_dim = units->act_dim,
                          .act_low = units->low,
                          .act_high = units->high,
                          .source = t->source,
                          .env = t->env,
                          .run = t->run.folder,
                          .from = t->from_arena ? &t->from : NULL,
                          .warnings = &t->warnings,
                          .config = t->config };
  t->setup.reference = t->reference;
}

/* ---- the run's folder ------------------------------------------------------------------------ */

/* the default of --out: runs/ALGORITHM-DATA-sSEED */
static const char *folder_of(const Trainer *t) {
  const char *name = t->data_name ? t->data_name : t->env_def ? NULL : t->init;
  name = name ? task_short_name(t->arena, name) : t->env_def->name;
  return arena_text(t->arena, "runs/%s-%s-s%llu", t->algo->name, name, (unsigned long long)t->seed);
}

/* ---- old weights ----------------------------------------------------------------------------- */

void trainer_keep_units(const Trainer *t) {
  const Policy *p = t->agent->policy;
  if (!p) return;
  t->source->units.low = p->low, t->source->units.high = p->high;
  t->source->units.obs = p->units.obs;
}

/* the largest distance between two normalisers, in deviations of the second */
static double distance_of(const Normalizer *a, const Normalizer *b) {
  double most = 0;
  for (int j = 0; a && b && j < a->dim; j++) {
    double std = (double)b->std[j];
    most = fmax(most, fabs((double)a->mean[j] - (double)b->mean[j]) / std);
    most = fmax(most, fabs((double)a->std[j] - std) / std);
  }
  return most;
}

/* What the data would give and what the weights were trained in. */
static bool take_units(const Trainer *t, Error *error) {
  const Policy *p = t->agent->policy;
  const Units *own = p ? &t->source->units : NULL;
  size_t bytes = p ? (size_t)p->spec.act_dim * sizeof *p->low : 0;
  if (!p) return true;
  bool moved = memcmp(p->low, own->low, bytes) || memcmp(p->high, own->high, bytes);
  if (moved && !t->source->def->fits(t->source, p->low, p->high, error)) return false;
  double distance = distance_of(p->units.obs, own->obs);
  if (moved && trainer_records(t))
    log_progress(true, "init: actions stay within the bounds of its policy, which are not those "
                       "that this run would have");
  if (distance > 0 && trainer_records(t))
    log_progress(true,
                 "init: observations are normalised as its policy does, by other data: this run's "
                 "would differ by up to %.2g of their deviation",
                 distance);
  trainer_keep_units(t);
  return true;
}

static void say_taken(const Trainer *t, const char *path, const BlocksBegun *begun,
                      const Checkpoint *from) {
  const char *left = blocks_left(begun, from);
  if (!trainer_records(t)) return;
  log_progress(true, "init: %s gives %s%s%s%s%s; optimisers begin anew", path, begun->taken,
               *begun->anew ? "; it does not hold, and begins anew, " : "", begun->anew,
               *left ? "; not used of it are " : "", left);
}

/* What the run begins with or continues: a run's folder, a checkpoint or the name of what is
 * shipped; or the last checkpoint of the run itself, if there is one yet. */
static bool open_from(Trainer *t, Error *error) {
  const TrainRequest *r = t->request;
  const char *folder = r->resume ? (t->algo->fine_tunes ? t->run.folder : NULL) : r->init;
  if (!folder) return true;
  const char *path = arena_text(t->arena, "%s/last.safetensors", folder);
  bool last = !access(path, F_OK);
  /* a run that was stopped before its first save begins anew */
  if (!last && r->resume) return true;
  t->from_path = last ? path : folder;
  t->from_arena = arena_new();
  checkpoint_init(&t->from, t->from_arena);
  return shipped_or_file(&t->from, t->from_path, error) || /* which names the file */
         (!r->resume && error_prefix(error, "--init"));
}

/* --init: what the agent takes of it */
static bool init_weights(Trainer *t, Error *error) {
  BlocksBegun begun = { .arena = t->from_arena, .taken = "", .anew = "" };
  bool done = algo_begin(t->agent, &t->from, &begun, error) && take_units(t, error);
  if (!done) return error_prefix(error, "--init %s", t->from_path);
  say_taken(t, t->from_path, &begun, &t->from);
  return true;
}

/* an algorithm that fine-tunes has begun with it already */
static bool begin_with(Trainer *t, Error *error) {
  if (!t->algo->fine_tunes) return init_weights(t, error);
  if (trainer_records(t)) log_progress(true, "fine-tunes %s", t->from_path);
  trainer_keep_units(t);
  return true;
}

/* ---- opening --------------------------------------------------------------------------------- */

/* Ranks sample a batch together, but a world goes on step by step. */
static bool check_ranks(const Trainer *t, Error *error) {
  const SourceDef *defs[] = { t->algo->source, t->algo->also };
  for (int i = 0; i < 2; i++)
    if (t->request->ranks && defs[i] && defs[i]->alone)
      return error_set(error, FAIL_USAGE, "%s %s", t->algo->name, defs[i]->alone);
  return true;
}

/* names of data and environment, before anything is opened */
static bool choose_sources(Trainer *t, const Record *old, Error *error) {
  const TrainRequest *r = t->request;
  const char *data = r->data ? r->data : old->data, *env = r->env;
  /* a resumed run stays in its environment, or without one */
  if (r->resume) env = old->env ? old->env : "none";
  const SourceDef *source = t->algo->source;
  /* what a run of samples calls its data is what it began with */
  if (r->resume && source->by_init) data = NULL;
  if (data && !source->by_env) t->data_name = arena_text(t->arena, "%s", data);
  SourceRequest request = request_of(t, NULL);
  if (!check_ranks(t, error) ||
      !source_choose(t->algo->source, t->algo->also, &request, env, error))
    return false;
  t->env_def = request.env;
  /* whether returns are shown normalised too: known references, or the user asks for D4RL's */
  if (t->env_def) t->reference = t->env_def->d4rl_reference || r->d4rl_reference;
  return true;
}

/* algorithm, data, environment, settings: as requested, or as the record of a resumed run says */
static bool choose(Trainer *t, const Record *old, Error *error) {
  const TrainRequest *r = t->request;
  t->algo = algo_find(r->resume ? old->algo : r->algo, error);
  if (!t->algo || !choose_sources(t, old, error)) return false;
  /* settings come last: which there are, and their presets, depends on algorithm and data */
  if (!r->resume) return settings_choose(t, error);
  t->reference = json_bool(json_get(old->json, "d4rl_reference"), t->reference);
  return settings_restore(t, old->json, error);
}

/* the CPUs of this process, shared with ranks that have the same */
static int own_cpus(const Ranks *ranks) {
  int cpus = pool_cpus() / (ranks ? ranks->neighbours : 1);
  return cpus ? cpus : 1;
}

TrainerMemory trainer_memory(const Trainer *t) {
  size_t free = limits_memory(), taken = limits_resident();
  return (TrainerMemory){ .all = arena_bytes(t->arena),
                          .weights = algo_bytes(t->agent),
                          .data = t->source->bytes,
                          .given = free > SIZE_MAX - taken ? SIZE_MAX : free + taken };
}

static bool check_memory(const Trainer *t, Error *error) {
  const TrainerMemory m = trainer_memory(t);
  return m.all <= m.given ||
         error_set(error, FAIL_RUNNING,
                   "this run needs about %.1f GB of memory, %.1f GB of it for weights and moments, "
                   "and the machine gives %.1f GB; choose a smaller network, batch or lane, or "
                   "fewer --threads",
                   1e-9 * (double)m.all, 1e-9 * (double)m.weights, 1e-9 * (double)m.given);
}

/* what a run is: as requested, or as the record of a resumed one says */
static bool choose_all(Trainer *t, const char **hash, Error *error) {
  const TrainRequest *r = t->request;
  Record old = { 0 };
  t->seed = r->seed;
  if (r->resume && !record_read(t, &old, error)) return false;
  warnings_read(&t->warnings, json_get(old.json, "warnings"));
  const char *init = r->resume ? old.init : r->init;
  /* texts of the record outlive it */
  *hash = old.data_hash ? arena_text(t->arena, "%s", old.data_hash) : NULL;
  t->init = init ? arena_text(t->arena, "%s", init) : NULL;
  bool chosen = choose(t, &old, error);
  json_free(old.json);
  return chosen;
}

static bool check_init(const Trainer *t, Error *error) {
  const TrainRequest *r = t->request;
  if (!t->algo->fine_tunes || r->init || r->resume) return true;
  /* `finetune` is for generators; a policy acts, and is told where by --env */
  if (t->algo->source->by_env)
    return error_set(error, FAIL_USAGE,
                     "%s fine-tunes what was trained before: give --init RUN, a run of "
                     "diffusion-bc or diffusion-ql",
                     t->algo->name);
  return error_set(error, FAIL_USAGE,
                   "%s fine-tunes what was trained before: give --init RUN, or use `diffrl "
                   "finetune RUN --algo %s`",
                   t->algo->name, t->algo->name);
}

/* the steps of setting up; each needs the ones before */
static bool open_all(Trainer *t, Error *error) {
  const TrainRequest *r = t->request;
  const char *hash;
  if (!choose_all(t, &hash, error) || !check_init(t, error)) return false;
  /* what computes it and what it learns from */
  t->kernels = kernels_find(t->shared->kernels.s, error);
  t->pool = pool_new(r->threads ? r->threads : own_cpus(r->ranks), error);
  if (!t->kernels || !t->pool || !open_sources(t, hash, error)) return false;
  /* the folder is locked before the agent may write to it */
  const char *folder = r->resume ? r->resume : r->out ? r->out : folder_of(t);
  run_name(&t->run, t->arena, folder);
  bool writes = !r->dry_run && trainer_records(t);
  if (writes && !run_open(&t->run, t->arena, folder, !r->resume, error)) return false;
  if (!open_from(t, error)) return false;
  /* networks, tapes and optimisers, at initial weights or those of --init */
  prepare_setup(t);
  t->agent = t->algo->create(&t->setup, error);
  if (!t->agent) return false;
  t->agent->def = t->algo, t->agent->setup = &t->setup;
  if (!check_memory(t, error)) return false;
  if (!algo_check_acting(t->agent, error)) return false;
  if (t->agent->wants_init && !r->init && !r->resume)
    return error_set(error, FAIL_USAGE, "a student learns from a trained run: give --init RUN");
  return !r->init || begin_with(t, error);
}

bool trainer_records(const Trainer *t) { return !ranks_index(t->request->ranks); }

/* Rank 0 opens first: it makes a cache that is not there yet, and says what all would say. */
bool trainer_open(Trainer *t, const TrainRequest *request, Error *error) {
  Ranks *ranks = request->ranks;
  *t = (Trainer){ .request = request, .arena = arena_new(), .run.lock = -1 };
  bool open = true;
  for (int turn = 0; turn < (ranks ? 2 : 1) && open; turn++) {
    /* the first turn is rank 0's, the second that of all others; all wait for the outcome */
    if (turn == (ranks_index(ranks) > 0)) open = open_all(t, error);
    open = ranks_meet(ranks, open, NULL, error);
  }
  if (open) return true;
  trainer_close(t);
  return false;
}

void trainer_close(Trainer *t) {
  if (t->run.folder) run_close(&t->run);
  /* an agent may hold a simulation, which its arena does not give back */
  if (t->agent && t->algo->close) t->algo->close(t->agent);
  pool_free(t->pool);
  source_close(t->source);
  source_close(t->beside);
  arena_free(t->from_arena);
  arena_free(t->arena);
  *t = (Trainer){ .run.lock = -1 };
}
