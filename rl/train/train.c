/* train.c -- the loop: update, log, evaluate, save; and the state that makes resuming exact. */
#include "rl/train/train.h"
#include "core/check.h"
#include "core/clock.h"
#include "core/file.h"
#include "datasets/murmur.h"
#include "rl/stop.h"
#include "rl/train/measuring.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* what the loop carries from step to step, all of it in the checkpoint */
typedef struct {
  Trainer *t;
  int64_t step;      /* gradient steps done */
  int64_t evaluated; /* step of the last complete evaluation; -1: none */
  double best;       /* the main measure of `best`, more is better (measure_gain); -inf: none */
  Measured last;     /* of this sitting, for the progress line */
  Log log;
  double start, mark; /* seconds: of the loop, of the last metrics line */
  int64_t start_step, mark_step;
  int signal; /* that ends the run: agreed between ranks */
} Loop;

/* ---- checkpoints ----------------------------------------------------------------------------- */

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

static void add_number(Checkpoint *c, const char *key, double value) {
  checkpoint_add_text(c, key, arena_text(c->arena, "%.17g", value));
}

bool trainer_save(const Trainer *t, const char *path, int64_t step, int64_t evaluated, double best,
                  const Log *log, Error *error) {
  Arena *arena = arena_new();
  Checkpoint c;
  const char *hash = trainer_data_hash(t);
  checkpoint_init(&c, arena);
  checkpoint_add_text(&c, "algo", t->algo->name);
  checkpoint_add_text(&c, "env", t->env_def ? t->env_def->name : "none");
  checkpoint_add_text(&c, "data_hash", hash ? hash : "none");
  add_number(&c, "seed", (double)t->seed), add_number(&c, "step", (double)step);
  add_number(&c, "evaluated", (double)evaluated), add_number(&c, "best", best);
  save_log(log, &c);
  bool done = algo_save(t->agent, &c, error) && checkpoint_save(&c, path, error);
  arena_free(arena);
  return done;
}

static bool save_last(Loop *l, Error *error) {
  Trainer *t = l->t;
  if (!trainer_save(t, t->run.last, l->step, l->evaluated, l->best, &l->log, error)) return false;
  int64_t every = t->shared->keep_every;
  if (!every || !l->step || l->step % every) return true;
  const char *path =
      arena_text(t->arena, "%s/step-%lld.safetensors", t->run.folder, (long long)l->step);
  return trainer_save(t, path, l->step, l->evaluated, l->best, &l->log, error);
}

static double number_of(const Checkpoint *c, const char *key) {
  const char *text = checkpoint_text(c, key);
  double value = NAN;
  if (text) sscanf(text, "%lf", &value);
  return value;
}

static void load_log(Loop *l, const Checkpoint *c) {
  const char *names = checkpoint_text(c, "log");
  char *rest = names ? arena_text(l->t->arena, "%s", names) : NULL, *name;
  while ((name = strsep(&rest, " "))) {
    const CheckpointTensor *tensor = checkpoint_tensor(c, arena_text(c->arena, "log/%s", name));
    int at = l->log.scalars;
    if (!tensor || tensor->type != CHECKPOINT_F64 || tensor->rank != 1 || tensor->shape[0] != 2 ||
        at == LOG_MAX_SCALARS)
      continue;
    const double *pair = tensor->data;
    log_scalar(&l->log, name, 0);
    l->log.sum[at] = pair[0], l->log.count[at] = (int64_t)pair[1];
  }
}

/* Killed before the first checkpoint: a run starts again, since its start is its seed. */
static bool never_saved(const Trainer *t) {
  return access(t->run.last, F_OK) && access(t->run.best, F_OK);
}

static bool rewind_logs(const Trainer *t, int64_t step, int64_t evaluated, Error *error) {
  return !trainer_records(t) ||
         (log_rewind(t->run.metrics, step, error) && log_rewind(t->run.eval, evaluated, error));
}

static const char *what_stands(const Trainer *t) {
  if (never_saved(t)) return "nothing was saved yet";
  return arena_text(t->arena, "the last good state is %s", t->run.last);
}

static bool load_last(Loop *l, Error *error) {
  Trainer *t = l->t;
  if (never_saved(t)) return rewind_logs(t, 0, -1, error);
  Arena *arena = arena_new();
  Checkpoint c;
  checkpoint_init(&c, arena);
  bool done =
      checkpoint_load(&c, t->run.last, NULL, error) || error_prefix(error, "%s", t->run.last);
  if (done && !algo_load(t->agent, &c, error)) done = error_prefix(error, "%s", t->run.last);
  if (done) {
    l->step = (int64_t)number_of(&c, "step"), l->evaluated = (int64_t)number_of(&c, "evaluated");
    l->best = number_of(&c, "best");
    load_log(l, &c);
  }
  arena_free(arena);
  return done && rewind_logs(t, l->step, l->evaluated, error);
}

/* ---- what is written while training ---------------------------------------------------------- */

static bool append(const char *path, JsonText *line, Error *error) {
  json_close(line, '}');
  bool done = log_append(path, line->text, error);
  json_text_free(line);
  return done;
}

static void show(Loop *l, double rate) {
  double left = rate > 0 ? (double)(l->t->shared->steps - l->step) / rate : 0;
  char measured[96] = "";
  if (l->last.main)
    snprintf(measured, sizeof measured, "  %s %.4g", l->last.main->key, l->last.value);
  char losses[160] = "";
  for (int i = 0, n = 0; i < l->log.scalars && n < 3; i++)
    if (!strncmp(l->log.name[i], "loss/", 5) || !strcmp(l->log.name[i], "q/mean"))
      snprintf(losses + strlen(losses), sizeof losses - strlen(losses), "  %s %.4g", l->log.name[i],
               log_mean(&l->log, l->log.name[i])),
          n++;
  log_progress(false, "step %lld/%lld  %.1f steps/s%s%s  %d:%02d left", (long long)l->step,
               (long long)l->t->shared->steps, rate, losses, measured, (int)(left / 60),
               (int)fmod(left, 60));
}

static bool report_metrics(Loop *l, Error *error) {
  double time = clock_now(), rate = (double)(l->step - l->mark_step) / (time - l->mark);
  JsonText line = { 0 };
  json_open(&line, NULL, '{');
  json_put_integer(&line, "step", l->step);
  json_put_number(&line, "time_s", time - l->start);
  json_put_number(&line, "steps_per_s", rate);
  log_write(&l->log, &line);
  show(l, rate);
  log_clear(&l->log);
  l->mark = time, l->mark_step = l->step;
  return append(l->t->run.metrics, &line, error);
}

/* What was measured while a stop was asked for may be half a result; resuming measures again. */
static bool measure_now(Loop *l, Error *error) {
  Trainer *t = l->t;
  Measured measured;
  JsonText line = { 0 };
  json_open(&line, NULL, '{');
  json_put_integer(&line, "step", l->step);
  bool done = measuring_take(t->agent, MEASURE_STEP, &line, &measured, error);
  if (!done || !measured.any || stop_asked()) return json_text_free(&line), done;
  l->evaluated = l->step, l->last = measured;
  if (!append(t->run.eval, &line, error)) return false;
  double gain = measure_gain(measured.main, measured.value);
  if (!(gain > l->best)) return true;
  l->best = gain;
  return trainer_save(t, t->run.best, l->step, l->evaluated, l->best, &l->log, error);
}

static bool evaluate_now(Loop *l, Error *error) {
  if (l->evaluated == l->step || stop_asked()) return true;
  double began = clock_now();
  bool done = measure_now(l, error);
  l->t->figures.step = l->step;
  if (done && l->evaluated == l->step) measuring_show(l->t->agent, MEASURE_STEP, &l->t->figures);
  l->mark += clock_now() - began; /* steps/s are of training alone */
  return done;
}

/* RUN/measures.json: what was measured at the end, and with what */
static bool measure_end(Trainer *t, int64_t step, Error *error) {
  Measured measured;
  JsonText out = { 0 };
  json_open(&out, NULL, '{');
  json_put_text(&out, "algo", t->algo->name);
  json_put_text(&out, "data", trainer_data(t));
  json_put_text(&out, "which", "last");
  json_put_integer(&out, "step", step);
  bool done = measuring_take(t->agent, MEASURE_END, &out, &measured, error);
  json_close(&out, '}');
  if (done && measured.any) done = file_write(t->run.measures, out.text, out.length, error);
  json_text_free(&out);
  return done;
}

void train_show(Trainer *t, const TrainOutcome *outcome) {
  Error error;
  if (!outcome->signal && !measure_end(t, outcome->steps, &error))
    log_progress(true, "not measured at the end: %s", error.text);
  t->figures.step = outcome->steps;
  measuring_show(t->agent, MEASURE_END, &t->figures);
}

/* ---- ranks ----------------------------------------------------------------------------------- */

/* a number of all that a checkpoint holds of the agent */
static uint64_t state_number(const Loop *l) {
  const Trainer *t = l->t;
  Arena *arena = arena_new();
  Checkpoint c;
  Error ignored;
  Murmur sum = { 0 };
  const char *hash = trainer_data_hash(t);
  checkpoint_init(&c, arena);
  checkpoint_add_text(&c, "data_hash", hash ? hash : "none");
  add_number(&c, "step", (double)l->step);
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

/* All ranks hold the same numbers, or nothing is written: another file or library on a machine, or
 * a broken memory, is found here. */
static bool check_ranks(Loop *l, Error *error) {
  Ranks *ranks = l->t->request->ranks;
  int who = ranks ? ranks_differ(ranks, state_number(l)) : -1;
  return who < 0 || error_set(error, FAIL_RUNNING,
                              "rank %d holds other numbers than rank 0 at step %lld, so nothing is "
                              "saved; are program, data and run folder the same on all machines?",
                              who, (long long)l->step);
}

/* have all come so far, and has a signal come to any? */
static bool meet(Loop *l, bool fine, Error *error) {
  Ranks *ranks = l->t->request->ranks;
  l->signal = stop_signal();
  if (ranks_meet(ranks, fine, &l->signal, error)) return true;
  if (ranks && ranks->lost)
    error_set(error, FAIL_RUNNING, "rank %d waits for one that is gone at step %lld; %s",
              ranks->index, (long long)l->step, what_stands(l->t));
  return false;
}

/* ---- the loop -------------------------------------------------------------------------------- */

static bool one_step(Loop *l, Error *error) {
  Trainer *t = l->t;
  const Ranks *ranks = t->request->ranks;
  if (t->algo->collect && !t->algo->collect(t->agent, l->step, error)) return false;
  bool finite = t->algo->update(t->agent, l->step, &l->log), lost = ranks && ranks->lost;
  if (!finite && !lost)
    return error_set(error, FAIL_DIVERGED,
                     "the gradient is no longer finite at step %lld; %s (try a smaller learning "
                     "rate, or clip)",
                     (long long)l->step, what_stands(t));
  l->step += !lost;
  return !lost;
}

static bool due(int64_t step, int64_t every) { return every && step % every == 0; }

/* after a step, what one rank does for all */
static bool keep_record(Loop *l, Error *error) {
  const TrainConfig *c = l->t->shared;
  bool save = due(l->step, c->save_every) || due(l->step, c->keep_every);
  if (save && !check_ranks(l, error)) return false;
  if (!trainer_records(l->t)) return true;
  if (due(l->step, c->log_every) && !report_metrics(l, error)) return false;
  if (due(l->step, c->eval_every) && !evaluate_now(l, error)) return false;
  return !save || save_last(l, error);
}

static bool end_record(Loop *l, Error *error) {
  if (!check_ranks(l, error)) return false;
  if (!trainer_records(l->t)) return true;
  return (l->signal || evaluate_now(l, error)) && save_last(l, error);
}

static bool train_loop(Loop *l, Error *error) {
  const TrainConfig *c = l->t->shared;
  bool again = l->step && due(l->step, c->eval_every) && trainer_records(l->t);
  if (!meet(l, !again || evaluate_now(l, error), error)) return false;
  while (l->step < c->steps && !l->signal)
    if (!meet(l, one_step(l, error) && keep_record(l, error), error)) return false;
  return meet(l, end_record(l, error), error);
}

bool train_run(Trainer *t, TrainOutcome *outcome, Error *error) {
  Loop *l = arena_alloc(t->arena, sizeof *l);
  *l = (Loop){ .t = t, .evaluated = -1, .best = -INFINITY };
  bool ready = !t->request->resume || load_last(l, error);
  if (!meet(l, ready, error)) return false;
  figures_open(&t->figures, t->arena, t->run.folder, l->step);
  /* a start from other weights is not in the seed, so it is saved */
  ready =
      check_ranks(l, error) && (!t->request->init || !trainer_records(t) || save_last(l, error));
  if (!meet(l, ready, error)) return false;
  unsigned denormals = denormals_off();
  l->start = l->mark = clock_now(), l->start_step = l->mark_step = l->step;
  bool done = train_loop(l, error);
  denormals_restore(denormals);
  double seconds = clock_now() - l->start, steps = (double)(l->step - l->start_step);
  const Ranks *ranks = t->request->ranks;
  *outcome =
      (TrainOutcome){ .steps = l->step,
                      .seconds = seconds,
                      .steps_per_s = steps / seconds,
                      .sent = ranks && steps > 0 ? (int64_t)((double)ranks->bytes / steps) : 0,
                      .signal = l->signal };
  return done;
}
