/* train.c -- the loop: update, log, evaluate, save. */
#include "rl/train/train.h"
#include "rl/train/state.h"
#include "core/clock.h"
#include "core/file.h"
#include "rl/stop.h"
#include "rl/train/measuring.h"
#include "rl/train/record.h"
#include "rl/train/watch.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* the first five are in the checkpoint */
typedef struct {
  Trainer *t;
  int64_t step;      /* gradient steps done */
  int64_t evaluated; /* step of the last complete evaluation; -1: none */
  double best;       /* the main measure of `best`, more is better (measure_gain); -inf: none */
  Measured last;     /* of this sitting, for the progress line */
  Log log;
  Watch watch;
  double start, mark; /* seconds: of the loop, of the last metrics line */
  int64_t start_step, mark_step;
  double shown;        /* when the progress line was */
  double apart;        /* seconds of this sitting that went into evaluations */
  int64_t apart_count; /* evaluations of this sitting */
  int signal;          /* that ends the run: agreed between ranks */
  bool unlogged[2];    /* it was said that metrics, evaluations cannot be written */
} Loop;

/* ---- checkpoints ----------------------------------------------------------------------------- */

static bool save(Loop *l, const char *path, Error *error) {
  TrainState state = { l->step, l->evaluated, l->best, &l->log };
  return state_save(l->t, &state, path, error);
}

/* copies of some steps are kept, which no later save overwrites */
static bool save_kept(Loop *l, Error *error) {
  int64_t every = l->t->shared->keep_every;
  if (!every || !l->step || l->step % every) return true;
  const char *folder = l->t->run.folder;
  return save(l, arena_text(l->t->arena, "%s/step-%lld.safetensors", folder, (long long)l->step),
              error);
}

/* A log is only told, so what fails there is said, once, and training goes on. */
static void note_log(Loop *l, const char *path, bool done, const Error *error) {
  bool *said = &l->unlogged[path == l->t->run.eval];
  if (!done && !*said) log_progress(true, "%s; training goes on", error->text);
  *said |= !done;
}

/* `last` says that its step is done, so all that belongs to the step is there before: the copy that
 * is kept, and the lines. */
static bool save_last(Loop *l, Error *error) {
  const Run *run = &l->t->run;
  Error problem;
  if (!save_kept(l, error)) return false;
  note_log(l, run->metrics, log_sync(run->metrics, &problem), &problem);
  note_log(l, run->eval, log_sync(run->eval, &problem), &problem);
  return save(l, run->last, error);
}

/* Lines behind the checkpoint are cut off: their steps are done again. */
static void rewind_logs(Loop *l) {
  const Run *run = &l->t->run;
  Error problem;
  note_log(l, run->metrics, log_rewind(run->metrics, l->step, &problem), &problem);
  note_log(l, run->eval, log_rewind(run->eval, l->evaluated, &problem), &problem);
}

/* for messages of failures: what the run can be resumed from */
static const char *what_stands(const Trainer *t) {
  if (!state_saved(t)) return "nothing was saved yet";
  return arena_text(t->arena, "the last good state is %s", t->run.last);
}

static bool load_last(Loop *l, Error *error) {
  Trainer *t = l->t;
  TrainState state = { l->step, l->evaluated, l->best, &l->log };
  bool saved = state_saved(t);
  if (saved ? !state_load(t, &state, error) : !state_may_begin(t, error)) return false;
  if (!saved && trainer_records(t))
    log_progress(true, "%s was stopped before its first save, so it begins anew", t->run.folder);
  l->step = state.step, l->evaluated = state.evaluated, l->best = state.best;
  if (trainer_records(t)) rewind_logs(l);
  /* what was seen behind the checkpoint will be seen again */
  warnings_rewind(&t->warnings, l->step);
  watch_resume(&l->watch, t->run.metrics);
  return true;
}

/* The folder becomes a run, or a resumed run's record changes, once nothing can refuse it. */
static bool begin_record(Loop *l, Error *error) {
  Trainer *t = l->t;
  if (!trainer_records(t)) return true;
  if (t->request->resume) run_sweep(&t->run);
  if (!t->request->resume && !run_clear(&t->run, t->request->init, error)) return false;
  /* a start from other weights is not in the seed, so it is saved, before there is a run */
  return (!t->request->init || save_last(l, error)) && record_write(t, error);
}

/* ---- what is written while training ---------------------------------------------------------- */

/* the last step of every line: closed, appended and freed */
static void append(Loop *l, const char *path, JsonText *line) {
  Error problem;
  json_close(line, '}');
  note_log(l, path, log_append(path, line->text, &problem), &problem);
  json_text_free(line);
}

/* Seconds to the end: the steps that are left at this rate, and the evaluations among them. */
static double time_left(const Loop *l, double rate) {
  const TrainConfig *c = l->t->shared;
  double left = (double)(c->steps - l->step) / rate;
  if (!l->apart_count) return left;
  int64_t rest = c->eval_every ? c->steps / c->eval_every - l->step / c->eval_every : 1;
  return left + (double)rest * l->apart / (double)l->apart_count;
}

/* Up to three means of this line, by the names of their losses. */
static void put_losses(const Log *log, char *text, size_t room) {
  *text = '\0';
  for (int i = 0, n = 0; i < log->scalars && n < 3; i++) {
    const char *name = log->name[i];
    bool loss = !strncmp(name, "loss/", 5);
    if (!loss && strcmp(name, "q/mean") != 0) continue;
    snprintf(text + strlen(text), room - strlen(text), "%s%s %.4g",
             n++ ? ", " : ", loss: ", loss ? name + 5 : "Q", log_mean(log, name));
  }
}

/* The progress line, what matters first: a terminal may show only the beginning. */
static void show(Loop *l, double now) {
  int64_t steps = l->t->shared->steps;
  /* right after a line of metrics there is no step yet to measure by */
  bool fresh = l->step > l->mark_step;
  double since = fresh ? now - l->mark : now - l->start - l->apart;
  double rate = (double)(l->step - (fresh ? l->mark_step : l->start_step)) / since;
  char measured[128] = "", losses[160], left[PROGRESS_TIME];
  if (l->last.main)
    snprintf(measured, sizeof measured, ", %s %.4g",
             l->last.main->title ? l->last.main->title : l->last.main->key, l->last.value);
  put_losses(&l->log, losses, sizeof losses);
  log_progress(false, "step %lld of %lld, %s left%s, %.4g steps/s%s", (long long)l->step,
               (long long)steps, progress_time(left, time_left(l, rate)), measured, rate, losses);
  l->shown = now;
}

/* Between two lines of metrics, however far they are apart: on a terminal twice a second, elsewhere
 * a first line after a second and then one in five minutes. */
static void show_if_due(Loop *l) {
  double now = clock_now(), passed = now - (l->shown > 0 ? l->shown : l->start);
  if (passed < 0.5) return;
  bool terminal = isatty(STDERR_FILENO);
  if (terminal || passed > (l->shown > 0 ? 300 : 1)) show(l, now);
}

static void report_metrics(Loop *l) {
  double time = clock_now(), rate = (double)(l->step - l->mark_step) / (time - l->mark);
  JsonText line = { 0 };
  json_open(&line, NULL, '{');
  json_put_integer(&line, "step", l->step);
  json_put_number(&line, "time_s", time - l->start);
  json_put_number(&line, "steps_per_s", rate);
  /* means over the steps since the last line, which then begin anew */
  log_write(&l->log, &line);
  watch_metrics(&l->watch, &l->log);
  show(l, time);
  log_clear(&l->log);
  l->mark = time, l->mark_step = l->step;
  append(l, l->t->run.metrics, &line);
}

/* What was measured while a stop was asked for may be half a result; resuming measures again. */
static bool measure_now(Loop *l, Error *error) {
  Trainer *t = l->t;
  Measured measured;
  JsonText line = { 0 };
  json_open(&line, NULL, '{');
  json_put_integer(&line, "step", l->step);
  bool done = measuring_take(t->agent, MEASURE_STEP, &line, &measured, error);
  /* a failure, nothing to measure, or half a result: the line is thrown away */
  if (!done || !measured.any || stop_asked()) return json_text_free(&line), done;
  l->evaluated = l->step, l->last = measured;
  watch_measured(&l->watch, &measured, l->best);
  append(l, t->run.eval, &line);
  /* a measure by which nothing is chosen gives a NAN, which is never better */
  double gain = measure_gain(measured.main, measured.value);
  if (!(gain > l->best)) return true;
  l->best = gain;
  return save(l, t->run.best, error);
}

static bool evaluate_now(Loop *l, Error *error) {
  /* A step is evaluated once, also where the run ends on an evaluation. */
  if (l->evaluated == l->step || stop_asked()) return true;
  double began = clock_now();
  bool done = measure_now(l, error);
  l->t->figures.step = l->step;
  if (done && l->evaluated == l->step) measuring_show(l->t->agent, MEASURE_STEP, &l->t->figures);
  double took = clock_now() - began;
  l->mark += took; /* steps/s are of training alone */
  l->apart += took, l->apart_count++;
  return done;
}

/* RUN/measures.json: what was measured at the end, and with what */
static bool measure_end(Trainer *t, int64_t step, Error *error) {
  Measured measured;
  JsonText out = { 0 };
  json_open(&out, NULL, '{');
  json_put_text(&out, "algo", t->algo->name);
  json_put_text(&out, "data", t->source->name);
  json_put_text(&out, "which", "last");
  json_put_integer(&out, "step", step);
  bool done = measuring_take(t->agent, MEASURE_END, &out, &measured, error);
  json_close(&out, '}');
  if (done && measured.any) done = file_write(t->run.measures, out.text, out.length, error);
  json_text_free(&out);
  return done;
}

double train_rate(Trainer *t, double seconds) {
  if (t->algo->collect || t->request->ranks) return NAN;
  Log log;
  log_clear(&log);
  unsigned denormals = denormals_off();
  int64_t step = 0;
  double start = 0, now = 0;
  /* the first step touches fresh pages and is not counted */
  while (t->algo->update(t->agent, step++, &log)) {
    now = clock_now();
    if (step == 1) start = now;
    if (step > 1 && (now - start > seconds || step == t->shared->steps)) break;
    log_clear(&log);
  }
  denormals_restore(denormals);
  return step > 1 && now > start ? (double)(step - 1) / (now - start) : (double)NAN;
}

void train_show(Trainer *t, const TrainOutcome *outcome) {
  Error error;
  /* a run that was stopped has not come to its end */
  if (!outcome->signal && !measure_end(t, outcome->steps, &error))
    log_progress(true, "not measured at the end: %s", error.text);
  t->figures.step = outcome->steps;
  measuring_show(t->agent, MEASURE_END, &t->figures);
  record_refresh(t);
}

/* ---- ranks ----------------------------------------------------------------------------------- */

/* All ranks hold the same numbers, or nothing is written: another file or library on a machine, or
 * a broken memory, is found here. */
static bool check_ranks(Loop *l, Error *error) {
  Ranks *ranks = l->t->request->ranks;
  int who = ranks ? ranks_differ(ranks, state_number(l->t, l->step)) : -1;
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
    error_set(error, FAIL_RUNNING, "rank %d lost contact with another rank at step %lld; %s",
              ranks->index, (long long)l->step, what_stands(l->t));
  return false;
}

/* ---- the loop -------------------------------------------------------------------------------- */

/* Where the first value that is not finite was seen (finding.h). */
static const char *first_seen(const Trainer *t) {
  const Blocks *b = &t->agent->blocks;
  for (int i = 0; i < b->optims; i++)
    if (*b->optim[i]->finding) return arena_text(t->arena, "; %s", b->optim[i]->finding);
  return "";
}

static bool one_step(Loop *l, Error *error) {
  Trainer *t = l->t;
  const Ranks *ranks = t->request->ranks;
  /* an online algorithm acts first, so that the batch may hold the newest transition */
  if (t->algo->collect && !t->algo->collect(t->agent, l->step, error)) return false;
  bool finite = t->algo->update(t->agent, l->step, &l->log), lost = ranks && ranks->lost;
  /* with a rank lost the sums are garbage and say nothing about divergence */
  if (!finite && !lost)
    return error_set(error, FAIL_DIVERGED,
                     "the gradient is no longer finite at step %lld; %s (try a smaller learning "
                     "rate, or clip)%s",
                     (long long)l->step, what_stands(t), first_seen(t));
  l->step += !lost;
  t->warnings.step = l->step;
  return !lost;
}

static bool due(int64_t step, int64_t every) { return every && step % every == 0; }

/* after a step, what one rank does for all */
static bool keep_record(Loop *l, Error *error) {
  const TrainConfig *c = l->t->shared;
  bool save = due(l->step, c->save_every) || due(l->step, c->keep_every);
  /* compared before a save, so that no file holds numbers that ranks disagree about */
  if (save && !check_ranks(l, error)) return false;
  /* from here on rank 0 alone; the others wait where all meet */
  if (!trainer_records(l->t)) return true;
  /* a line of metrics is shown too */
  if (due(l->step, c->log_every))
    report_metrics(l);
  else
    show_if_due(l);
  if (due(l->step, c->eval_every) && !evaluate_now(l, error)) return false;
  record_refresh(l->t);
  return !save || save_last(l, error);
}

static bool end_record(Loop *l, Error *error) {
  /* a run that was stopped is saved and not evaluated: it goes on from here */
  if (!check_ranks(l, error)) return false;
  if (!trainer_records(l->t)) return true;
  return (l->signal || evaluate_now(l, error)) && save_last(l, error);
}

/* Before the first step of a sitting: what is to be fine-tuned is evaluated as it came; a run that
 * was stopped where an evaluation was due has that first, and a kept copy knows of it. */
static bool make_up(Loop *l, Error *error) {
  if (!trainer_records(l->t) || (!l->step && !l->t->algo->fine_tunes)) return true;
  return (!due(l->step, l->t->shared->eval_every) || evaluate_now(l, error)) && save_kept(l, error);
}

static bool train_loop(Loop *l, Error *error) {
  const TrainConfig *c = l->t->shared;
  if (!meet(l, make_up(l, error), error)) return false;
  /* after each step the ranks agree to go on, so that none waits for one that has stopped */
  while (l->step < c->steps && !l->signal && !l->t->agent->ended)
    if (!meet(l, one_step(l, error) && keep_record(l, error), error)) return false;
  return meet(l, end_record(l, error), error);
}

bool train_run(Trainer *t, TrainOutcome *outcome, Error *error) {
  Loop *l = arena_alloc(t->arena, sizeof *l);
  *l = (Loop){ .t = t, .evaluated = -1, .best = -INFINITY, .watch.warnings = &t->warnings };
  bool ready = !t->request->resume || load_last(l, error);
  if (!meet(l, ready, error)) return false;
  if (!meet(l, check_ranks(l, error) && begin_record(l, error), error)) return false;
  figures_open(&t->figures, t->arena, t->run.folder, l->step);
  /* denormals are flushed to zero here as in the worker threads */
  unsigned denormals = denormals_off();
  l->start = l->mark = clock_now(), l->start_step = l->mark_step = l->step;
  bool done = train_loop(l, error);
  if (!done && error->kind == FAIL_DIVERGED)
    warnings_state(&t->warnings, "diverged", true, "%s", error->text);
  if (trainer_records(t)) record_refresh(t);
  denormals_restore(denormals);
  /* speed and traffic are those of this sitting */
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
