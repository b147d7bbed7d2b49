/* state.c -- the checkpoints of a run: what it is, how far, the agent, sums of its log. */
#include "rl/train/state.h"
#include "datasets/murmur.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const double most_whole = 0x1p53; /* of steps, as everywhere */

/* sums and counts as tensors, and the order of the names, which files do not keep */
static void save_log(const Log *log, Checkpoint *c) {
  const char *names = "";
  for (int i = 0; i < log->scalars; i++) {
    double *pair = arena_array(c->arena, double, 2);
    pair[0] = log->sum[i], pair[1] = (double)log->count[i];
    names = arena_text(c->arena, "%s%s%s", names, i ? " " : "", log->name[i]);
    checkpoint_add(c, arena_text(c->arena, "log/%s", log->name[i]), CHECKPOINT_F64, 1,
                   &(int64_t){ 2 }, pair);
  }
  checkpoint_add_text(c, "log", names);
}

/* 17 digits are enough to read back the same double */
static void add_number(Checkpoint *c, const char *key, double value) {
  checkpoint_add_text(c, key, arena_text(c->arena, "%.17g", value));
}

bool state_save(const Trainer *t, const TrainState *state, const char *path, Error *error) {
  Arena *arena = arena_new();
  Checkpoint c;
  const char *hash = t->source->hash;
  checkpoint_init(&c, arena);
  /* what the file belongs to */
  checkpoint_add_text(&c, "algo", t->algo->name);
  checkpoint_add_text(&c, "env", t->env_def ? t->env_def->name : "none");
  checkpoint_add_text(&c, "data_hash", hash ? hash : "none");
  /* how far the run has come */
  add_number(&c, "seed", (double)t->seed), add_number(&c, "step", (double)state->step);
  add_number(&c, "evaluated", (double)state->evaluated), add_number(&c, "best", state->best);
  save_log(state->log, &c);
  bool done = algo_save(t->agent, &c, error) && checkpoint_save(&c, path, error);
  arena_free(arena);
  return done;
}

static bool load_scalar(Log *log, const char *name, const Checkpoint *c, Error *error) {
  const char *tensor = arena_text(c->arena, "log/%s", name);
  const double *pair = checkpoint_need_vector(c, tensor, CHECKPOINT_F64, 2, error);
  int at = log->scalars;
  if (!pair) return false;
  if (at == LOG_MAX_SCALARS || strlen(name) >= LOG_MAX_NAME || !isnan(log_mean(log, name)) ||
      !(pair[1] >= 1 && pair[1] <= most_whole))
    return error_set(error, FAIL_INPUT, "tensor %s: not the sum and count of a new scalar", tensor);
  log_scalar(log, name, 0);
  log->sum[at] = pair[0], log->count[at] = (int64_t)pair[1];
  return true;
}

static bool load_log(Log *log, const Checkpoint *c, Error *error) {
  const char *names = checkpoint_need_text(c, "log", "a checkpoint of a run", error);
  char *rest = names ? arena_text(c->arena, "%s", names) : NULL, *name;
  while ((name = strsep(&rest, " ")))
    if (*name && !load_scalar(log, name, c, error)) return false;
  return names;
}

/* Shapes can agree by chance. */
static bool check_algo(const Trainer *t, const Checkpoint *c, Error *error) {
  const char *algo = checkpoint_need_text(c, "algo", "a checkpoint of a run", error);
  if (!algo) return false;
  return !strcmp(algo, t->algo->name) ||
         error_set(error, FAIL_INPUT, "a checkpoint of %.60s in a run of %s", algo, t->algo->name);
}

static bool load_counts(TrainState *state, const Checkpoint *c, Error *error) {
  const int64_t most = (int64_t)most_whole;
  return checkpoint_read_whole(c, "step", 0, most, &state->step, error) &&
         checkpoint_read_whole(c, "evaluated", -1, state->step, &state->evaluated, error) &&
         checkpoint_read_number(c, "best", &state->best, error);
}

bool state_saved(const Trainer *t) { return !access(t->run.last, F_OK) || errno != ENOENT; }

/* the step of `best`; -1: there is none that can be read */
static int64_t best_step(const Trainer *t) {
  Arena *arena = arena_new();
  Checkpoint c;
  Error ignored;
  checkpoint_init(&c, arena);
  int64_t step = -1;
  if (!checkpoint_load(&c, t->run.best, NULL, &ignored) ||
      !checkpoint_read_whole(&c, "step", 0, (int64_t)most_whole, &step, &ignored))
    step = -1;
  arena_free(arena);
  return step;
}

bool state_may_begin(const Trainer *t, Error *error) {
  const TrainConfig *config = t->shared;
  if (t->init)
    return error_set(error, FAIL_INPUT,
                     "%s is missing, and the run began with the weights of %s, which its seed does "
                     "not make again; start a new one with --init",
                     t->run.last, t->init);
  /* a `best` from before the first save is made again, to the bit */
  int64_t best = best_step(t), first = config->save_every;
  if (config->keep_every && config->keep_every < first) first = config->keep_every;
  return best <= first ||
         error_set(error, FAIL_INPUT,
                   "%s is missing, though the run came to step %lld and saved every %lld; put it "
                   "back, or start a new run with --init %s",
                   t->run.last, (long long)best, (long long)first, t->run.best);
}

static bool check_steps(const Trainer *t, int64_t done, Error *error) {
  return done <= t->shared->steps ||
         error_set(error, FAIL_USAGE,
                   "%s: %lld steps are done, more than the %lld it is to do in all; give --steps "
                   "%lld or more, or train a shorter run with another --out",
                   t->run.folder, (long long)done, (long long)t->shared->steps, (long long)done);
}

bool state_load(const Trainer *t, TrainState *state, Error *error) {
  Arena *arena = arena_new();
  Checkpoint c;
  checkpoint_init(&c, arena);
  bool read = checkpoint_load(&c, t->run.last, NULL, error); /* which names the file itself */
  bool done = read && check_algo(t, &c, error) && load_counts(state, &c, error) &&
              load_log(state->log, &c, error);
  bool fits = done && check_steps(t, state->step, error); /* which speaks of the run */
  done = fits && algo_load(t->agent, &c, error);
  if (done) trainer_keep_units(t);
  arena_free(arena);
  bool of_file = read && (fits || error->kind != FAIL_USAGE);
  return done || (of_file && error_prefix(error, "%s", t->run.last));
}

uint64_t state_number(const Trainer *t, int64_t step) {
  Arena *arena = arena_new();
  Checkpoint c;
  Error ignored;
  Murmur sum = { 0 };
  const char *hash = t->source->hash;
  checkpoint_init(&c, arena);
  /* what a checkpoint would hold, put together in memory and hashed, texts and numbers */
  checkpoint_add_text(&c, "data_hash", hash ? hash : "none");
  /* the step too: ranks that are not at the same step differ */
  add_number(&c, "step", (double)step);
  algo_save(t->agent, &c, &ignored);
  for (size_t i = 0; i < c.texts; i++) murmur_add(&sum, c.text[i].value, strlen(c.text[i].value));
  for (size_t i = 0; i < c.tensors; i++) {
    size_t bytes = checkpoint_element_size(c.tensor[i].type);
    for (int k = 0; k < c.tensor[i].rank; k++) bytes *= (size_t)c.tensor[i].shape[k];
    murmur_add(&sum, c.tensor[i].data, bytes);
  }
  arena_free(arena);
  return murmur_sum(&sum).h[0];
}
