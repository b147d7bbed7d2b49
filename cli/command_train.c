/* command_train.c -- diffrl train: what is requested, progress, and the result. */
#include "cli/command.h"
#include "cli/saved.h"
#include "core/escape.h"
#include "core/progress.h"
#include "datasets/data_files.h"
#include "rl/train/preset.h"
#include "rl/report/report.h"
#include "rl/report/results.h"
#include "rl/train/train.h"
#include "rl/stop.h"
#include <math.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

typedef struct {
  Parsed parsed;
  Arguments set;
  const char *data, *obs, *map, *mask, *env, *out, *preset, *config, *resume, *init, *reference;
  const char *algo, *reward, *also; /* of finetune */
  int64_t steps, seed, threads;
  bool allow_env_mismatch, dry_run, json;
} Train;

static const Option options[] = {
  OPTION_TEXT_ROW(Train, data, "data", "DATA",
                  "files (docs/data.md says which), or a name of `diffrl list datasets`"),
  OPTION_TEXT_ROW(Train, obs, "obs", "A,B", "arrays of the file that are the observation"),
  OPTION_TEXT_ROW(Train, map, "map", "ROLE=ARRAY,..", "arrays under other names: timeouts=done"),
  OPTION_TEXT_ROW(Train, mask, "mask", "NAME", "the episodes that a robomimic file lists so"),
  OPTION_TEXT_ROW(Train, env, "env", "ENV",
                  "what to evaluate in (default: what DATA names; none: held-out loss)"),
  OPTION_NUMBER_ROW(Train, steps, "steps", "N", 0, 1, 0, "gradient steps in all"),
  OPTION_NUMBER_ROW(Train, seed, "seed", "S", 0, 0, 0, "of weights, batches and noise (default 0)"),
  OPTION_NUMBER_ROW(Train, threads, "threads", "N", 0, 1, 1024,
                    "changes no bit (default: the CPUs this process may use)"),
  OPTION_TEXT_ROW(Train, out, "out", "RUN", "the run's folder (default runs/ALGO-DATA-sSEED)"),
  OPTION_TEXT_ROW(Train, preset, "preset", "NAME",
                  "settings of `diffrl list presets` (default: the row of ALGO and DATA)"),
  OPTION_TEXT_ROW(Train, config, "config", "FILE", "settings as JSON; a run's config.json works"),
  OPTION_WORDS_ROW(Train, set, "set", "key=value", "one setting; may be repeated"),
  OPTION_TEXT_ROW(Train, init, "init", "RUN", "start from the weights of this run or file"),
  OPTION_TEXT_ROW(Train, resume, "resume", "RUN", "continue this run"),
  OPTION_TEXT_ROW(Train, reference, "reference", "d4rl",
                  "D4RL's normalised scores in environments that are not its own"),
  OPTION_FLAG_ROW(Train, allow_env_mismatch, "allow-env-mismatch",
                  "accept a file that was made in another environment"),
  OPTION_FLAG_ROW(Train, dry_run, "dry-run", "show settings, data and memory; write nothing"),
  OPTION_FLAG_ROW(Train, json, "json", "the result as a JSON object"),
};

/* finetune RUN is train ALGO --init RUN with a reward: the rows that it has of the same struct */
static const Option finetune_options[] = {
  OPTION_TEXT_ROW(Train, algo, "algo", "ALGO",
                  "ddpo (default), or another that fine-tunes (`diffrl list algos`)"),
  OPTION_TEXT_ROW(Train, reward, "reward", "R", "what is raised, of `diffrl list rewards`"),
  OPTION_TEXT_ROW(Train, also, "also", "R", "another reward, which is only measured"),
  OPTION_NUMBER_ROW(Train, steps, "steps", "N", 0, 1, 0, "gradient steps in all"),
  OPTION_NUMBER_ROW(Train, seed, "seed", "S", 0, 0, 0, "of samples and batches (default 0)"),
  OPTION_NUMBER_ROW(Train, threads, "threads", "N", 0, 1, 1024,
                    "changes no bit (default: the CPUs this process may use)"),
  OPTION_TEXT_ROW(Train, out, "out", "RUN", "the run's folder (default runs/ALGO-RUN-sSEED)"),
  OPTION_TEXT_ROW(Train, config, "config", "FILE", "settings as JSON; a run's config.json works"),
  OPTION_WORDS_ROW(Train, set, "set", "key=value", "one setting; may be repeated"),
  OPTION_FLAG_ROW(Train, dry_run, "dry-run", "show settings, data and memory; write nothing"),
  OPTION_FLAG_ROW(Train, json, "json", "the result as a JSON object"),
};

/* ---- the request ----------------------------------------------------------------------------- */

/* A resumed run keeps its settings but for those that change no result. */
static bool check_resume(const Train *c, Error *error) {
  static const char *const fixed[] = {
    "env", "seed", "out", "preset", "config", "init", "reference"
  };
  static const char *const free_keys[] = { "steps=",     "eval_every=", "eval_episodes=",
                                           "log_every=", "save_every=", "keep_every=" };
  enum { FIXED = sizeof fixed / sizeof *fixed, FREE = sizeof free_keys / sizeof *free_keys };
  if (c->parsed.arguments.count)
    return error_set(error, FAIL_USAGE, "--resume takes the algorithm from the run; omit \"%s\"",
                     c->parsed.arguments.word[0]);
  for (int i = 0; i < FIXED; i++)
    if (command_given(&c->parsed, fixed[i]))
      return error_set(error, FAIL_USAGE,
                       "--resume takes --%s from the run; omit it, or start a new run", fixed[i]);
  /* every --set has to name one of the free keys */
  for (int i = 0, k; i < c->set.count; i++) {
    for (k = 0; k < FREE && strncmp(c->set.word[i], free_keys[k], strlen(free_keys[k])); k++) {}
    if (k == FREE)
      return error_set(error, FAIL_USAGE,
                       "--set %s: a resumed run keeps its settings; only steps, eval_every, "
                       "eval_episodes, log_every, save_every and keep_every may change",
                       c->set.word[i]);
  }
  return true;
}

/* Copy what was given into the trainer's own form, and refuse what cannot go together. */
static bool make_request(Arena *arena, const Train *c, TrainRequest *r, Error *error) {
  *r = (TrainRequest){ .algo = c->parsed.arguments.word[0],
                       .data = data_files_chosen(arena, c->data, c->obs, c->map, c->mask, error),
                       .env = c->env,
                       .out = c->out,
                       .preset = c->preset,
                       .config_file = c->config,
                       .resume = c->resume,
                       .init = c->init,
                       .sets = c->set.count,
                       .steps = c->steps,
                       .seed = (uint64_t)c->seed,
                       .threads = (int)c->threads,
                       .allow_env_mismatch = c->allow_env_mismatch,
                       .dry_run = c->dry_run,
                       .json = c->json,
                       .d4rl_reference = c->reference != NULL };
  _Static_assert((int)WORDS_MAX <= (int)TRAIN_MAX_SETS, "every --set has a place");
  if (c->data && !r->data) return false;
  if (!c->data && (c->obs || c->map || c->mask))
    return error_set(error, FAIL_USAGE, "--obs, --map and --mask are about --data; give it too");
  memcpy(r->set, c->set.word, sizeof *r->set * (size_t)r->sets);
  if (c->reference && strcmp(c->reference, "d4rl"))
    return error_set(error, FAIL_USAGE, "--reference %s: expected d4rl", c->reference);
  /* a resumed run knows its algorithm, a new one has to be told */
  if (r->resume) return check_resume(c, error);
  if (r->algo) return true;
  return error_set(error, FAIL_USAGE,
                   "train: which algorithm? expected diffrl train ALGO, with an "
                   "ALGO of `diffrl list algos`, or --resume RUN");
}

/* ---- progress -------------------------------------------------------------------------------- */

/* Groups of rows are what ranks and threads share out. */
static void announce_groups(const Trainer *t) {
  const int64_t batch = t->shared->batch, ranks = ranks_count(t->request->ranks);
  const int64_t groups = (batch + t->shared->group - 1) / t->shared->group;
  const int64_t workers = ranks * pool_threads(t->pool);
  /* with fewer groups than threads some would have nothing to do */
  if (groups >= workers) return;
  log_progress(true,
               "note: a batch is %lld group%s of rows, so %lld of the %lld %s mostly wait; a "
               "smaller group (--set group=%lld) gives all some, and other bits",
               (long long)groups, groups == 1 ? "" : "s", (long long)(workers - groups),
               (long long)workers, ranks > 1 ? "ranks' threads" : "threads",
               (long long)(batch > workers ? batch / workers : 1));
}

/* Until an average begins it is a random start, by which nothing should act. */
static void announce_average(const Trainer *t) {
  int64_t from = algo_average_from(t->agent), steps = t->shared->steps;
  if (steps >= from || strcmp(t->agent->policy->act.weights.s, "ema")) return;
  log_progress(true,
               "note: weights=ema, but the average of the weights begins after step %lld and the "
               "run ends at %lld: the online weights act (ema_start says when it begins)",
               (long long)from - 1, (long long)steps);
}

static void announce(const Trainer *t) {
  const char *source = "";
  const Ranks *r = t->request->ranks;
  Error ignored;
  const Preset *preset = t->preset ? preset_find(t->algo->name, t->preset, &ignored) : NULL;
  /* where the preset's settings were published */
  if (preset) source = arena_text(t->arena, " (%s)", preset->source);
  const char *ranks = r ? arena_text(t->arena, "ranks %d, ", r->count) : "";
  log_progress(true, "%s on %s, env %s, preset %s%s, seed %llu, %sthreads %d, kernels %s",
               t->algo->name, t->source->name ? t->source->name : "its own experience",
               t->env_def ? t->env_def->name : "none", t->preset ? t->preset : "none", source,
               (unsigned long long)t->seed, ranks, pool_threads(t->pool), t->kernels->name);
  announce_groups(t);
  announce_average(t);
  if (t->source->def->announce) t->source->def->announce(t->source);
}

/* every setting, its value and who set it */
static void show_settings(const Trainer *t, JsonText *json) {
  JsonText text = { 0 };
  json_open(&text, NULL, '{');
  /* values pass through JSON, the form that config.json has, so that both show the same */
  config_write(&t->settings, &text);
  json_close(&text, '}');
  Json *values = json_parse_if(text.text, text.length);
  const Json *value = json_first(values);
  for (size_t i = 0; i < t->settings.count; i++, value = json_next(value)) {
    const char *origin = t->settings.origin[i] ? t->settings.origin[i] : "default";
    const char *plain = history_text(t->arena, value), *key = t->settings.fields[i].key;
    if (!json) {
      printf("  %-20s %-12s %s\n", key, escaped(t->arena, plain), origin);
      continue;
    }
    /* for programs: an object a setting, of what it is and where it comes from */
    json_open(json, key, '{');
    json_put_text(json, "value", plain);
    json_put_text(json, "origin", origin);
    json_close(json, '}');
  }
  json_free(values);
  json_text_free(&text);
}

/* The dry run: everything was set up as for training, so that sizes are known, not guessed. */
static void show_plan(Trainer *t) {
  const double mib = 1024.0 * 1024.0, rate = train_rate(t, 0.5);
  const double seconds = (double)t->shared->steps / rate;
  const TrainerMemory m = trainer_memory(t);
  if (!t->request->json) {
    printf("settings\n");
    show_settings(t, NULL);
    printf("memory: about %.0f MiB (%.0f of weights and moments) of the %.0f MiB that this machine "
           "gives, and %.0f MiB of data shared with the page cache\n",
           (double)m.all / mib, (double)m.weights / mib, (double)m.given / mib,
           (double)m.data / mib);
    char time[PROGRESS_TIME];
    if (rate > 0)
      printf("time: about %s by %.1f steps/s of half a second's steps, without evaluations\n",
             progress_time(time, seconds), rate);
    else
      printf("time: unknown before the first steps, which act\n");
    printf("dry run: nothing was written\n");
    return;
  }
  JsonText out = { 0 };
  json_open(&out, NULL, '{');
  json_put_bool(&out, "dry_run", true);
  json_put_text(&out, "algo", t->algo->name);
  json_put_text(&out, "env", t->env_def ? t->env_def->name : NULL);
  json_put_text(&out, "data", t->source->name);
  json_put_text(&out, "preset", t->preset);
  json_put_integer(&out, "transitions", t->source->rows);
  json_put_integer(&out, "memory_bytes", (int64_t)m.all);
  json_put_integer(&out, "weights_bytes", (int64_t)m.weights);
  json_put_integer(&out, "memory_given", (int64_t)m.given);
  json_put_integer(&out, "data_bytes", (int64_t)m.data);
  /* NAN, which is written as null: not known */
  json_put_number(&out, "steps_per_s", rate);
  json_put_number(&out, "seconds", seconds);
  json_open(&out, "settings", '{');
  show_settings(t, &out);
  json_close(&out, '}');
  json_close(&out, '}');
  command_print(out.text);
  json_text_free(&out);
}

/* ---- what came of it ------------------------------------------------------------------------- */

/* The run's main measure, as far as there is one, and how long an action takes. */
typedef struct {
  bool any;
  const char *key, *title, *unit; /* unit: nullable */
  double last, best, last_step, best_step;
  double action_us; /* NAN: it does not act, or could not be timed */
} Achieved;

/* From RUN/eval.jsonl, so that earlier sittings of a resumed run count. */
static Achieved achieved_by(const Trainer *t) {
  Error error;
  History history;
  Achieved a = { .action_us = NAN };
  if (!history_read(&history, t->arena, t->run.folder, &error)) return a;
  Results s = results_of(t->arena, &history);
  if ((a.any = s.count > 0)) {
    const Measure *m = &s.main->is;
    a.key = arena_text(t->arena, "%s", m->key);
    a.title = m->title ? arena_text(t->arena, "%s", m->title) : a.key;
    a.unit = m->unit ? arena_text(t->arena, "%s", m->unit) : NULL;
    a.last = results_value(&s, &s.last), a.best = results_value(&s, &s.best);
    a.last_step = s.last.step, a.best_step = s.best.step;
  }
  history_close(&history);
  if (!a.any || !t->agent->policy) return a;
  double latency = saved_latency(t->agent->policy, t->kernels, &error);
  if (latency < 0) log_progress(true, "actions are not timed: %s", error.text);
  if (latency >= 0) a.action_us = round(10 * latency) / 10;
  return a;
}

static void put_achieved(const Trainer *t, const Achieved *a, JsonText *out) {
  if (!a->any) return;
  json_put_text(out, "measure", a->key);
  json_put_text(out, "unit", a->unit);
  json_put_number(out, "last", a->last);
  json_put_number(out, "best", a->best);
  /* no return is told without how the policy acts and how long an action takes */
  if (!t->agent->policy) return;
  policy_write_act(t->agent->policy, "act", out);
  json_put_number(out, "action_us", a->action_us);
}

/* For people on a terminal: what was done, what it came to, how it acts. */
static void print_table(const Trainer *t, const TrainOutcome *done, const Achieved *a) {
  char time[PROGRESS_TIME];
  printf("\n%-20s %s\n", "run", escaped(t->arena, t->run.folder));
  printf("%-20s %s on %s%s%s, seed %llu\n", "trained", t->algo->name,
         t->source->name ? escaped(t->arena, t->source->name) : "its own experience",
         t->env_def ? " in " : "", t->env_def ? t->env_def->name : "", (unsigned long long)t->seed);
  printf("%-20s %lld, this sitting took %s at %.1f steps/s\n", "steps", (long long)done->steps,
         progress_time(time, done->seconds), done->steps_per_s);
  if (a->any) {
    printf("\n%-20s %12s %12s\n", "", "last", "best");
    printf("%-20s %12.5g %12.5g   %s\n", a->title, a->last, a->best, a->unit ? a->unit : "");
    printf("%-20s %12.0f %12.0f\n", "at step", a->last_step, a->best_step);
  }
  if (a->any && t->agent->policy) {
    printf("\n%-20s %s\n", "acts with", saved_act_text(t->arena, t->agent->policy));
    if (isfinite(a->action_us)) printf("%-20s %.1f us\n", "an action takes", a->action_us);
  }
  if (t->warnings.count)
    printf("%-20s %d, as said above and in the report\n", "warnings", t->warnings.count);
  fflush(stdout);
}

static void put_warnings(const Warnings *w, JsonText *out) {
  json_open(out, "warnings", '[');
  for (int i = 0; i < w->count; i++) json_put_text(out, NULL, w->item[i].text);
  json_close(out, ']');
}

/* What went wrong and was not told when it happened. */
static void tell_warnings(const Warnings *w) {
  for (int i = 0; i < w->count; i++)
    if (!w->item[i].happening) log_progress(true, "warning: %s", w->item[i].text);
}

/* The result on stdout: a table on a terminal; else as JSON, or as the same members in one line of
 * key=value. */
static void print_result(const Trainer *t, const TrainOutcome *done, bool json) {
  Achieved a = achieved_by(t);
  /* mpirun gives a rank a terminal of its own, whoever reads the output */
  if (!json && !t->request->ranks && isatty(STDOUT_FILENO)) {
    print_table(t, done, &a);
    return;
  }
  const Ranks *ranks = t->request->ranks;
  JsonText out = { 0 };
  json_open(&out, NULL, '{');
  json_put_text(&out, "run", t->run.folder);
  json_put_text(&out, "algo", t->algo->name);
  json_put_text(&out, "env", t->env_def ? t->env_def->name : NULL);
  json_put_integer(&out, "steps", done->steps);
  json_put_number(&out, "seconds", round(1e3 * done->seconds) / 1e3);
  json_put_number(&out, "steps_per_s", round(10 * done->steps_per_s) / 10);
  /* what it costs to train together */
  if (ranks) {
    json_put_integer(&out, "ranks", ranks->count);
    json_put_integer(&out, "sent_bytes_per_step", done->sent);
  }
  put_achieved(t, &a, &out);
  if (t->warnings.count) put_warnings(&t->warnings, &out);
  json_close(&out, '}');
  /* the plain form is made from the JSON, so that neither says more than the other */
  Json *parsed = json_parse_if(out.text, out.length);
  /* warnings of earlier sittings were read from a file */
  command_print(json ? out.text : escaped(t->arena, history_text(t->arena, parsed)));
  json_free(parsed);
  json_text_free(&out);
}

/* The page is a convenience: failing to write it does not undo the training. */
static void write_report(const Trainer *t) {
  Error error;
  if (report_write(&t->run.folder, 1, t->run.report, &error))
    log_progress(true, "report: %s", t->run.report);
  else
    log_progress(true, "no report: %s", error.text);
}

/* The loop, and what is told of it; a run that a signal stopped is reported like a complete one. */
static int train(Trainer *t, Error *error) {
  TrainOutcome done;
  stop_on_signals();
  if (!train_run(t, &done, error)) {
    /* the page of a run that diverged says how */
    if (error->kind == FAIL_DIVERGED && trainer_records(t)) write_report(t);
    return (int)error->kind;
  }
  int code = done.signal ? 128 + done.signal : 0;
  /* ranks other than the first have nothing to write or to say */
  if (!trainer_records(t)) return code;
  if (done.signal)
    log_progress(true,
                 "stopped by signal %d (%s) at step %lld, checkpoint written; continue with "
                 "`diffrl train --resume %s`",
                 done.signal, strsignal(done.signal), (long long)done.steps, t->run.folder);
  train_show(t, &done);
  tell_warnings(&t->warnings);
  write_report(t);
  print_result(t, &done, t->request->json);
  return code;
}

/* Set up, announce, train or only show the plan, and give everything back. */
static int train_on_this_rank(const TrainRequest *r, Error *error) {
  Trainer t;
  if (!trainer_open(&t, r, error)) return (int)error->kind;
  if (trainer_records(&t)) announce(&t);
  if (trainer_records(&t) && r->dry_run) show_plan(&t);
  int code = r->dry_run ? 0 : train(&t, error);
  trainer_close(&t);
  return code;
}

/* Every rank does the same with the same request; only the first one talks. */
static int run(const void *request, Error *error) {
  TrainRequest r = { 0 };
  Arena *arena = arena_new();
  stop_not_on_pipes();
  bool ready = make_request(arena, request, &r, error) && ranks_open(&r.ranks, stop_asked, error);
  int code = ready ? train_on_this_rank(&r, error) : (int)error->kind;
  if (r.ranks) command_complain(error); /* before a rank leaves, for a launcher ends the others */
  ranks_close(r.ranks);
  arena_free(arena);
  return code;
}

/* one more --set, in memory that outlives the run */
static bool add_setting(TrainRequest *r, Arena *arena, const char *key, const char *value,
                        Error *error) {
  if (!value) return true;
  if (r->sets == TRAIN_MAX_SETS)
    return error_set(error, FAIL_USAGE, "at most %d settings can be given", TRAIN_MAX_SETS - 2);
  r->set[r->sets++] = arena_text(arena, "%s=%s", key, value);
  return true;
}

static int run_finetune(const void *request, Error *error) {
  const Train *c = request;
  TrainRequest r = { .algo = c->algo ? c->algo : "ddpo",
                     .init = c->parsed.arguments.word[0],
                     .out = c->out,
                     .config_file = c->config,
                     .sets = c->set.count,
                     .steps = c->steps,
                     .seed = (uint64_t)c->seed,
                     .threads = (int)c->threads,
                     .dry_run = c->dry_run,
                     .json = c->json };
  const AlgoDef *algo = algo_find(r.algo, error);
  if (!algo) return (int)error->kind;
  if (!algo->fine_tunes) {
    error_set(error, FAIL_USAGE,
              "finetune: %s does not fine-tune; expected one that does (`diffrl list algos`), or "
              "`diffrl train %s`",
              r.algo, r.algo);
    return (int)error->kind;
  }
  stop_not_on_pipes();
  Arena *arena = arena_new();
  memcpy(r.set, c->set.word, sizeof *r.set * (size_t)r.sets);
  bool fits = add_setting(&r, arena, "reward", c->reward, error) &&
              add_setting(&r, arena, "also", c->also, error);
  int code = fits ? train_on_this_rank(&r, error) : (int)error->kind;
  arena_free(arena);
  return code;
}

/* ---- help ------------------------------------------------------------------------------------ */

/* Without an algorithm the list of them, with one its settings. */
static bool help(const Arguments *arguments, FILE *out, Error *error) {
  if (!arguments->count) {
    size_t count;
    const AlgoDef *const *algos = algo_list(&count);
    fprintf(out, "\nAlgorithms (diffrl train ALGO --help lists the settings)\n");
    for (size_t i = 0; i < count; i++)
      fprintf(out, "  %-24s %s\n", algos[i]->name, algos[i]->about);
    return true;
  }
  const AlgoDef *algo = algo_find(arguments->word[0], error);
  if (!algo) return false;
  Arena *arena = arena_new();
  Config config;
  /* the defaults come from the same table that training reads */
  config_init(&config, algo->fields, algo->field_count, arena_alloc(arena, algo->config_size));
  fprintf(out, "\n%s: %s\n%s\n\nSettings (--set key=value): key, default, meaning\n", algo->name,
          algo->about, algo->paper);
  config_help(&config, out);
  arena_free(arena);
  return true;
}

const Command command_train = {
  .name = "train",
  .usage = "ALGO --data DATA [--env ENV] [options]   or   --resume RUN [--steps N]",
  .about = "train a policy and write it, its settings and its returns to a folder",
  .examples = "  diffrl data make hopper-medium\n"
              "  diffrl train diffusion-ql --data hopper-medium --steps 100000\n"
              "  diffrl train diffusion-ql --data hopper-medium --set eta=0.5 --dry-run\n"
              "  diffrl train --resume runs/diffusion-ql-hopper-medium-s0 --steps 200000\n"
              "  diffrl train sac --env hopper-v2\n",
  .options = options,
  .option_count = OPTION_COUNT(options),
  .most = 1,
  .size = sizeof(Train),
  .run = run,
  .help = help,
};

const Command command_finetune = {
  .name = "finetune",
  .usage = "RUN|FILE|NAME --reward R [--algo ALGO] [options]",
  .about = "fine-tune a generator against a reward; continue with train --resume",
  .examples = "  diffrl finetune fashion-mnist --reward jpeg-small --also contrast\n"
              "  diffrl finetune runs/toy-moons-s0 --reward near:0,0 --algo ddpo-sf\n"
              "  diffrl finetune fashion-mnist --reward ink --set label=none --steps 100\n",
  .options = finetune_options,
  .option_count = OPTION_COUNT(finetune_options),
  .least = 1,
  .most = 1,
  .size = sizeof(Train),
  .run = run_finetune,
};
