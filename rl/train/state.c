/* state.c -- the checkpoints of a run: what it is, how far, the agent, sums of its log. */
#include "rl/train/state.h"
#include "datasets/murmur.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

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

static double number_of(const Checkpoint *c, const char *key) {
  const char *text = checkpoint_text(c, key);
  double value = NAN;
  if (text) sscanf(text, "%lf", &value);
  return value;
}

static void load_log(Log *log, const Checkpoint *c) {
  const char *names = checkpoint_text(c, "log");
  char *rest = names ? arena_text(c->arena, "%s", names) : NULL, *name;
  while ((name = strsep(&rest, " "))) {
    /* names that were damaged or are too many are left out: the log is no part of the result */
    const CheckpointTensor *tensor = checkpoint_tensor(c, arena_text(c->arena, "log/%s", name));
    int at = log->scalars;
    if (!tensor || tensor->type != CHECKPOINT_F64 || tensor->rank != 1 || tensor->shape[0] != 2 ||
        at == LOG_MAX_SCALARS)
      continue;
    const double *pair = tensor->data;
    /* the name takes its place in the list with a 0, then gets its sum and count back */
    log_scalar(log, name, 0);
    log->sum[at] = pair[0], log->count[at] = (int64_t)pair[1];
  }
}

bool state_saved(const Trainer *t) {
  return !access(t->run.last, F_OK) || !access(t->run.best, F_OK);
}

bool state_load(const Trainer *t, TrainState *state, Error *error) {
  Arena *arena = arena_new();
  Checkpoint c;
  checkpoint_init(&c, arena);
  bool done = checkpoint_load(&c, t->run.last, NULL, error) && algo_load(t->agent, &c, error);
  if (done) {
    state->step = (int64_t)number_of(&c, "step");
    state->evaluated = (int64_t)number_of(&c, "evaluated");
    state->best = number_of(&c, "best");
    /* the log was cleared before, so its names come back in their order */
    load_log(state->log, &c);
  }
  arena_free(arena);
  return done || error_prefix(error, "%s", t->run.last);
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
