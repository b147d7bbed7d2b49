/* train.c -- the loop: update, log, evaluate, save. */
#include "rl/train/train.h"
#include "rl/train/state.h"
#include "core/clock.h"
#include "rl/rollout/evaluate.h"
#include "rl/source/source_transitions.h"
#include "rl/version.h"
#include "rl/stop.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* the first five are in the checkpoint */
typedef struct {
  Trainer *t;
  int64_t step;      /* gradient steps done */
  int64_t evaluated; /* step of the last complete evaluation; -1: none */
  double best;       /* best selection score so far; -inf: none */
  double last;       /* last selection score, for the progress line */
  Log log;
  double start, mark; /* seconds: of the loop, of the last metrics line */
  int64_t start_step, mark_step;
  int signal; /* that ends the run: agreed between ranks */
} Loop;

/* ---- checkpoints ----------------------------------------------------------------------------- */

static bool save(Loop *l, const char *path, Error *error) {
  TrainState state = { l->step, l->evaluated, l->best, &l->log };
  return state_save(l->t, &state, path, error);
}

static bool save_last(Loop *l, Error *error) {
  Trainer *t = l->t;
  if (!save(l, t->run.last, error)) return false;
  int64_t every = t->shared->keep_every;
  if (!every || !l->step || l->step % every) return true;
  return save(l,
              arena_text(t->arena, "%s/step-%lld.safetensors", t->run.folder, (long long)l->step),
              error);
}

static bool rewind_logs(const Trainer *t, int64_t step, int64_t evaluated, Error *error) {
  return !trainer_records(t) ||
         (log_rewind(t->run.metrics, step, error) && log_rewind(t->run.eval, evaluated, error));
}

static const char *what_stands(const Trainer *t) {
  if (!state_saved(t)) return "nothing was saved yet";
  return arena_text(t->arena, "the last good state is %s", t->run.last);
}

static bool load_last(Loop *l, Error *error) {
  TrainState state = { l->step, l->evaluated, l->best, &l->log };
  if (state_saved(l->t) && !state_load(l->t, &state, error)) return false;
  l->step = state.step, l->evaluated = state.evaluated, l->best = state.best;
  return rewind_logs(l->t, l->step, l->evaluated, error);
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
  char score[48] = "";
  if (isfinite(l->last)) snprintf(score, sizeof score, "  score %.1f", l->last);
  char losses[160] = "";
  for (int i = 0, n = 0; i < l->log.scalars && n < 3; i++)
    if (!strncmp(l->log.name[i], "loss/", 5) || !strcmp(l->log.name[i], "q/mean"))
      snprintf(losses + strlen(losses), sizeof losses - strlen(losses), "  %s %.4g", l->log.name[i],
               log_mean(&l->log, l->log.name[i])),
          n++;
  log_progress(false, "step %lld/%lld  %.1f steps/s%s%s  %d:%02d left", (long long)l->step,
               (long long)l->t->shared->steps, rate, losses, score, (int)(left / 60),
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

/* the number that `best` is chosen by: the normalised score where there is one */
static double selection_score(const Trainer *t, double mean) {
  bool scored = t->env_def->score_expert > t->env_def->score_random && t->reference;
  return scored ? env_normalized(t->env_def, mean) : mean;
}

static bool evaluate_policy(Loop *l, Error *error) {
  Trainer *t = l->t;
  Arena *arena = arena_new();
  EvalSpec spec = { .episodes = (int)t->shared->eval_episodes,
                    .seeds = SEEDS_SELECTION,
                    .pool = t->pool,
                    .kernels = t->kernels,
                    .stop = stop_asked };
  EvalResult result;
  bool done = evaluate(arena, t->env, t->agent->policy, &spec, &result, error);
  if (done && !result.stopped) {
    JsonText line = { 0 };
    json_open(&line, NULL, '{');
    eval_write(&result, t->env_def, t->agent->policy, "last", l->step, t->reference, true, &line);
    l->evaluated = l->step, l->last = selection_score(t, result.return_mean);
    done = append(t->run.eval, &line, error);
    if (done && l->last > l->best) {
      l->best = l->last;
      done = save(l, t->run.best, error);
    }
  }
  arena_free(arena);
  return done;
}

/* without an environment: the loss on episodes that were kept apart */
static bool evaluate_held_out(Loop *l, Error *error) {
  Trainer *t = l->t;
  const Drawer *held = t->algo->held_out ? &transitions_of(t->source)->held : NULL;
  if (!held || !held->row_count) return true;
  JsonText line = { 0 };
  json_open(&line, NULL, '{');
  json_put_integer(&line, "step", l->step);
  json_put_number(&line, "held_out_loss", t->algo->held_out(t->agent, held));
  l->evaluated = l->step;
  return append(t->run.eval, &line, error);
}

/* without a policy: what the algorithm measures itself by */
static bool evaluate_model(Loop *l, Error *error) {
  Trainer *t = l->t;
  JsonText line = { 0 };
  json_open(&line, NULL, '{');
  json_put_integer(&line, "step", l->step);
  if (!t->algo->measure(t->agent, &line, &l->last, error)) return json_text_free(&line), false;
  l->evaluated = l->step;
  if (!append(t->run.eval, &line, error)) return false;
  if (!(l->last > l->best)) return true;
  l->best = l->last;
  return save(l, t->run.best, error);
}

static bool evaluate_now(Loop *l, Error *error) {
  if (l->evaluated == l->step) return true;
  double began = clock_now();
  const AlgoDef *algo = l->t->algo;
  bool measures = algo->measure && (l->t->env || !algo->held_out);
  bool (*evaluate_it)(Loop *, Error *) = measures    ? evaluate_model
                                         : l->t->env ? evaluate_policy
                                                     : evaluate_held_out;
  bool done = evaluate_it(l, error);
  l->mark += clock_now() - began; /* steps/s are of training alone */
  return done;
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
    error_set(error, FAIL_RUNNING, "rank %d waits for one that is gone at step %lld; %s",
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
  if (t->algo->collect && !t->algo->collect(t->agent, l->step, error)) return false;
  bool finite = t->algo->update(t->agent, l->step, &l->log), lost = ranks && ranks->lost;
  if (!finite && !lost)
    return error_set(error, FAIL_DIVERGED,
                     "the gradient is no longer finite at step %lld; %s (try a smaller learning "
                     "rate, or clip)%s",
                     (long long)l->step, what_stands(t), first_seen(t));
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
  *l = (Loop){ .t = t, .evaluated = -1, .best = -INFINITY, .last = NAN };
  bool ready = !t->request->resume || load_last(l, error);
  if (!meet(l, ready, error)) return false;
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
