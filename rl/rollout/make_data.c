/* make_data.c -- rolling out behaviour policies into a file.
 *
 * Episodes advance in lock step but are written one after the other, so a block of episodes is
 * held in memory and the file does not depend on how they were simulated. */
#include "rl/rollout/make_data.h"
#include "core/check.h"
#include "core/log.h"
#include "core/names.h"
#include "datasets/dataset.h"
#include "rl/rollout/behaviour.h"
#include "rl/rollout/rollout.h"
#include "rl/stop.h"
#include "rl/rollout/task.h"
#include "rl/version.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* clang-format off */
static const DataSpec specs[] = {
  { "hopper-random", "hopper-v2", { "random" }, NULL, 1000000, "a randomly initialised policy" },
  { "hopper-medium", "hopper-v2", { "hopper-medium" }, "SAC", 1000000,
    "SAC stopped at a third of the expert's return" },
  { "hopper-expert", "hopper-v2", { "hopper-expert" }, "SAC", 1000000,
    "SAC at a normalised return of 90 or more" },
  { "hopper-medium-expert", "hopper-v2", { "hopper-medium", "hopper-expert" }, "SAC", 2000000,
    "half medium, half expert" },
};
/* clang-format on */
enum { SPECS = sizeof specs / sizeof *specs, BLOCK = 64 /* episodes held in memory */ };

const DataSpec *make_data_list(size_t *count) {
  *count = SPECS;
  return specs;
}

const DataSpec *make_data_find(const char *name, Error *error) {
  const Names *names =
      NAMES(specs, SPECS, .what = "generated data set", .see = "`diffrl list datasets`");
  int i = names_find(names, name, error);
  return i < 0 ? NULL : &specs[i];
}

/* ---- a block of episodes --------------------------------------------------------------------- */

typedef struct {
  float obs[ENV_MAX_OBS], act[ENV_MAX_ACT], next[ENV_MAX_OBS], reward, log_prob;
  double qpos[ROLLOUT_MAX_Q], qvel[ROLLOUT_MAX_Q];
  bool terminal, timeout;
} Row;

typedef struct {
  const EnvDef *env;
  int first;
  Row *row; /* [BLOCK, horizon] */
  int length[BLOCK];
} Block;

/* one step of an episode in lock step, kept until episodes are written in order */
static void keep_step(void *context, const RolloutStep *step) {
  Block *b = context;
  int episode = step->episode - b->first;
  Row *row = &b->row[(ptrdiff_t)episode * b->env->horizon + b->length[episode]++];
  memcpy(row->obs, step->obs, (size_t)b->env->obs_dim * sizeof *row->obs);
  memcpy(row->next, step->next, (size_t)b->env->obs_dim * sizeof *row->next);
  memcpy(row->act, step->act, (size_t)b->env->act_dim * sizeof *row->act);
  memcpy(row->qpos, step->qpos, sizeof row->qpos);
  memcpy(row->qvel, step->qvel, sizeof row->qvel);
  row->reward = step->step.reward, row->log_prob = step->log_prob;
  row->terminal = step->step.terminal, row->timeout = step->step.timeout;
}

/* ---- writing --------------------------------------------------------------------------------- */

typedef struct {
  int64_t rows, episodes;
  double sum, squares, low, high; /* of episode returns */
} Tally;

/* the rows of one episode, and its return for the file's statistics */
static bool write_episode(const Block *b, int episode, DatasetWriter *writer, Tally *tally,
                          Error *error) {
  double total = 0;
  for (int i = 0; i < b->length[episode]; i++) {
    const Row *row = &b->row[(ptrdiff_t)episode * b->env->horizon + i];
    DatasetStep step = { row->obs,     row->act,      row->next, row->reward, row->terminal,
                         row->timeout, row->log_prob, row->qpos, row->qvel };
    if (!dataset_writer_add(writer, &step, error)) return false;
    total += (double)row->reward;
  }
  tally->rows += b->length[episode];
  tally->low = tally->episodes && tally->low < total ? tally->low : total;
  tally->high = tally->episodes && tally->high > total ? tally->high : total;
  tally->episodes++, tally->sum += total, tally->squares += total * total;
  return true;
}

typedef struct {
  Arena *arena;
  const DataSpec *spec;
  const MakeDataRequest *request;
  EnvModel *env;
  Pool *pool;
  const Kernels *kernels;
  DatasetWriter *writer;
  Tally tally;
  int64_t rows; /* in all */
  Progress progress;
} Making;

/* one block of episodes of one policy; false on failure or a signal */
static bool make_block(Making *m, const Policy *policy, Block *block, uint64_t seed, int64_t until,
                       Error *error) {
  ArenaMark mark = arena_mark(m->arena);
  RolloutSpec spec = { .env = m->env,
                       .policy = policy,
                       .first = block->first,
                       .episodes = BLOCK,
                       .seed = seed,
                       .positions = true,
                       .pool = m->pool,
                       .kernels = m->kernels,
                       .visit = keep_step,
                       .context = block,
                       .stop = stop_asked };
  bool stopped = false;
  memset(block->length, 0, sizeof block->length);
  bool done = rollout(m->arena, &spec, &stopped, error);
  /* the buffers of the rollout are given back before the next block */
  arena_reset(m->arena, mark);
  if (done && stopped) return error_set(error, FAIL_RUNNING, "stopped; nothing was written");
  /* episodes are written whole, so the last may pass the number of rows that was asked for */
  for (int i = 0; i < BLOCK && done && m->tally.rows < until; i++)
    done = write_episode(block, i, m->writer, &m->tally, error);
  block->first += BLOCK;
  return done;
}

/* episodes of one behaviour policy, until the file has `until` rows */
static bool make_part(Making *m, int part, int64_t until, Error *error) {
  const EnvDef *env = env_def(m->env);
  Policy *policy =
      behaviour_policy(m->arena, m->spec->policy[part], env->obs_dim, env->act_dim, error);
  if (!policy) return false;
  Block *block = arena_alloc(m->arena, sizeof *block);
  /* room for a block in which every episode lasts to the horizon */
  *block = (Block){ .env = env, .row = arena_array(m->arena, Row, BLOCK * env->horizon) };
  /* each policy has starts and noise of its own */
  uint64_t seed = rng_seed(m->request->seed, m->spec->policy[part]);
  while (m->tally.rows < until) {
    if (!make_block(m, policy, block, seed, until, error)) return false;
    progress_at(&m->progress, m->tally.rows, m->rows);
  }
  return true;
}

/* JSON text in the arena */
static const char *metadata(const Making *m) {
  const Tally *t = &m->tally;
  double n = (double)t->episodes, mean = t->sum / n;
  /* the sample variance from sums */
  double variance = n > 1 ? (t->squares - n * mean * mean) / (n - 1) : 0;
  JsonText out = { 0 };
  json_open(&out, NULL, '{');
  json_put_text(&out, "name", arena_text(m->arena, "diffrl/%s-v1", m->spec->name));
  json_put_text(&out, "env", m->spec->env);
  if (m->spec->algorithm) json_put_text(&out, "algorithm", m->spec->algorithm);
  json_put_text(&out, "policy",
                m->spec->policy[1]
                    ? arena_text(m->arena, "%s, then %s", m->spec->policy[0], m->spec->policy[1])
                    : m->spec->policy[0]);
  json_put_text(&out, "simulator", env_simulator());
  json_put_text(&out, "diffrl", DIFFRL_VERSION);
  json_put_text(&out, "license", "CC0-1.0");
  json_put_integer(&out, "seed", (int64_t)m->request->seed);
  json_put_number(&out, "return_mean", mean);
  json_put_number(&out, "return_std", variance > 0 ? sqrt(variance) : 0);
  json_put_number(&out, "return_min", t->low);
  json_put_number(&out, "return_max", t->high);
  json_close(&out, '}');
  const char *text = arena_text(m->arena, "%s", out.text);
  json_text_free(&out);
  return text;
}

static bool make_all(Making *m, Error *error) {
  const MakeDataRequest *r = m->request;
  if (!(m->spec = make_data_find(r->name, error))) return false;
  m->env = env_load(env_find(m->spec->env), error);
  if (!m->env || !(m->kernels = kernels_find("own", error))) return false;
  /* one simulation is made to learn how many positions and velocities it has */
  Env *probe = env_create(m->env, error);
  if (!probe) return false;
  const EnvDef *env = env_def(m->env);
  int nq = env_nq(probe), nv = env_nv(probe);
  env_free(probe);
  m->writer = dataset_writer_open(r->out, env->obs_dim, env->act_dim, nq, nv, error);
  if (!m->writer) return false;
  int64_t rows = m->rows = r->transitions ? r->transitions : m->spec->transitions;
  progress_begin(&m->progress, "rows", "making %s", m->spec->name);
  /* of two policies each makes half of the rows */
  bool two = m->spec->policy[1] != NULL;
  if (!make_part(m, 0, two ? rows / 2 : rows, error)) return false;
  if (two && !make_part(m, 1, rows, error)) return false;
  DatasetWriter *writer = m->writer;
  m->writer = NULL; /* closed either way */
  return dataset_writer_close(writer, metadata(m), error);
}

bool make_data(const MakeDataRequest *request, Error *error) {
  Making m = { .arena = arena_new(), .request = request };
  /* generated files do not depend on the number of threads */
  m.pool = pool_new(request->threads ? request->threads : pool_cpus(), error);
  unsigned denormals = denormals_off();
  bool done = m.pool && make_all(&m, error);
  denormals_restore(denormals);
  progress_end(&m.progress);
  /* a file that is not complete does not stay */
  if (!done)
    dataset_writer_abandon(m.writer);
  else
    log_progress(true, "wrote %s: %lld rows, %lld episodes, mean return %.1f", request->out,
                 (long long)m.tally.rows, (long long)m.tally.episodes,
                 m.tally.sum / (double)m.tally.episodes);
  env_unload(m.env);
  pool_free(m.pool);
  arena_free(m.arena);
  return done;
}
