/* command_eval.c -- diffrl eval: the return of a saved policy, how it acted and how long an action
 * takes; or the measures of a model of pictures (eval_images.c). */
#include "cli/command_eval.h"
#include "core/log.h"
#include "rl/rollout/evaluate.h"
#include "rl/measure/image_quality.h"
#include "rl/stop.h"
#include "rl/rollout/task.h"
#include <math.h>
#include <string.h>

static const Option options[] = {
  OPTION_TEXT_ROW(Eval, env, "env", "ENV", "default: the one the policy was trained for"),
  OPTION_NUMBER_ROW(Eval, episodes, "episodes", "N", 100, 1, 100000, "default 100"),
  OPTION_NUMBER_ROW(Eval, seed, "seed", "S", 0, 0, 0, "which episodes, or pictures (default 0)"),
  OPTION_TEXT_ROW(Eval, which, "which", "last|best|FILE", "checkpoint of the run (default last)"),
  OPTION_WORDS_ROW(Eval, act, "act", "key=value", "change how the policy acts; may be repeated"),
  OPTION_NUMBER_ROW(Eval, threads, "threads", "N", 0, 1, 1024,
                    "changes no bit (default: the CPUs this process may use)"),
  OPTION_TEXT_ROW(Eval, reference, "reference", "d4rl",
                  "D4RL's normalised scores in environments that are not its own"),
  OPTION_NUMBER_ROW(Eval, pictures, "pictures", "N", IMAGE_QUALITY_COUNT, 2, 30000,
                    "how many a model of pictures samples (default 2048)"),
  OPTION_NUMBER_ROW(Eval, bits, "bits", "N", 0, 1, 1000000,
                    "pictures: instead, bits per dimension of N test pictures"),
  OPTION_TEXT_ROW(Eval, data, "data", "FOLDER",
                  "pictures: where its data lie (default: as in training)"),
  OPTION_TEXT_ROW(Eval, features, "features", "FILE",
                  "pictures: whose features measure: auto, none or a classifier (default auto)"),
  OPTION_TEXT_ROW(Eval, guidance, "guidance", "W",
                  "pictures: towards the label, 1: as trained (default: the run's)"),
  OPTION_TEXT_ROW(Eval, sampler, "sampler", "NAME",
                  "pictures: one of `diffrl list samplers` (default: the run's)"),
  OPTION_TEXT_ROW(Eval, steps, "steps", "K", "pictures: the sampler's steps (default: the run's)"),
  OPTION_TEXT_ROW(Eval, spacing, "spacing", "NAME",
                  "pictures: of its steps, as in `diffrl sample` (default: the run's)"),
  OPTION_TEXT_ROW(Eval, out, "out", "FILE.png", "pictures: a grid of the first samples"),
  OPTION_FLAG_ROW(Eval, json, "json", "the result as a JSON object, with every return"),
};

bool eval_refuse(const Eval *asked, const char *const *foreign, const char *because, Error *error) {
  for (; *foreign; foreign++)
    if (command_given(&asked->parsed, *foreign))
      return error_set(error, FAIL_USAGE, "eval: omit --%s: %s %s", *foreign,
                       asked->parsed.arguments.word[0], because);
  return true;
}

/* The environment asked for, else that of training; the policy's shape has to fit. */
static const EnvDef *choose_env(const Eval *c, const Saved *saved, Error *error) {
  const char *name = c->env ? c->env : saved->env;
  const PolicySpec *spec = &saved->policy->spec;
  if (!name) {
    error_set(error, FAIL_USAGE,
              "%s was trained without an environment; give --env ENV (see "
              "`diffrl list envs`)",
              saved->path);
    return NULL;
  }
  const EnvDef *env = task_env(name, error);
  /* another environment of the same shape is allowed, and a note will say so */
  if (!env || (env->obs_dim == spec->obs_dim && env->act_dim == spec->act_dim)) return env;
  error_set(error, FAIL_INPUT,
            "%s takes %d observations and gives %d actions a step, but %s has %d and %d; expected "
            "a policy trained for it%s%s",
            saved->path, (int)spec->obs_dim, (int)spec->act_dim, env->name, env->obs_dim,
            env->act_dim, saved->env ? ", or --env " : "", saved->env ? saved->env : "");
  return NULL;
}

/* ---- the result ------------------------------------------------------------------------------ */

typedef struct {
  const Saved *saved;
  const EnvDef *env;
  EvalResult result;
  double latency;         /* us */
  double simulator_share; /* of the time of all threads */
  uint64_t seed;
  bool reference;
} Outcome;

/* The members of a line of eval.jsonl, and what only this command measures. */
static void print_json(const Outcome *o, Arena *arena) {
  const int episodes = o->result.episodes;
  JsonText out = { 0 };
  double *value = arena_array(arena, double, measures_numbers(measure_returns, RETURNS, episodes));
  /* the same table of measures as in training, so that the two can be compared */
  eval_values(&o->result, o->env, o->reference, value);
  json_open(&out, NULL, '{');
  json_put_integer(&out, "step", o->saved->step);
  eval_write(value, episodes, o->env, o->saved->policy, o->saved->which, o->reference, &out);
  json_put_integer(&out, "seed", (int64_t)o->seed);
  json_put_text(&out, "algo", o->saved->algo);
  /* times are rounded to what a measurement of this kind can mean */
  json_put_number(&out, "action_us", round(10 * o->latency) / 10);
  json_put_number(&out, "simulator_share", round(1e4 * o->simulator_share) / 1e4);
  json_close(&out, '}');
  command_print(out.text);
  json_text_free(&out);
}

/* One sentence: the return never stands without how the policy acted and how long it took. */
static void print_line(const Outcome *o, Arena *arena) {
  const EvalResult *r = &o->result;
  const char *normalized = "";
  /* the deviation is scaled by the same range that normalises the mean */
  if (o->reference && o->env->return_expert > o->env->return_random) {
    double range = o->env->return_expert - o->env->return_random;
    normalized = arena_text(arena, ", normalized %.1f +- %.1f (d4rl)",
                            env_normalized(o->env, r->return_mean), 100 * r->return_std / range);
  }
  const char *failed = r->failures ? arena_text(arena, ", %d simulator failures", r->failures) : "";
  command_print(
      arena_text(arena,
                 "%s: return %.2f +- %.2f%s over %d episodes of length %.1f%s; acting with %s; "
                 "%.1f us %s",
                 o->env->name, r->return_mean, r->return_std, normalized, r->episodes,
                 r->length_mean, failed, saved_act_text(arena, o->saved->policy), o->latency,
                 o->saved->policy->horizon > 1 ? "a plan" : "an action"));
}

/* ---- evaluating ------------------------------------------------------------------------------ */

/* of the time since `began`, what the threads spent in the simulator */
static double simulator_share(const Profile *profile, int threads, int64_t began) {
  ProfileEntry entry[PROFILE_NAMES];
  double all = (double)(profile_clock(profile) - began) * threads;
  for (int i = profile_entries(profile, entry) - 1; i >= 0; i--)
    if (!strcmp(entry[i].name, "env_step")) return (double)entry[i].ns / all;
  return 0;
}

/* Set up simulator and threads, say what is measured, and let the policy act. */
static bool evaluate_saved(const Eval *c, Arena *arena, Outcome *o, Error *error) {
  const Kernels *kernels = kernels_find("own", error);
  Pool *pool = pool_new(c->threads ? (int)c->threads : pool_cpus(), error);
  EnvModel *model = kernels && pool ? env_load(o->env, error) : NULL;
  if (!model) return pool_free(pool), false;
  /* on stderr, so that stdout carries the result alone */
  log_progress(true, "%s at step %lld (%s) in %s, report seed %llu, threads %d, kernels %s",
               o->saved->path, (long long)o->saved->step,
               o->saved->algo ? o->saved->algo : "unknown algorithm", o->env->name,
               (unsigned long long)o->seed, pool_threads(pool), kernels->name);
  /* evaluating elsewhere is allowed, but never unsaid */
  if (o->saved->env && strcmp(o->saved->env, o->env->name))
    log_progress(true, "note: this policy was trained for %s", o->saved->env);
  EvalSpec spec = { .episodes = (int)c->episodes,
                    .seeds = SEEDS_REPORT,
                    .seed = o->seed,
                    .pool = pool,
                    .kernels = kernels,
                    .profile = profile_new(arena, pool_threads(pool)),
                    .stop = stop_asked,
                    .tells = true };
  /* before the threads are busy, since it times a single caller */
  o->latency = saved_latency(o->saved->policy, kernels, error);
  int64_t began = profile_clock(spec.profile);
  bool done = o->latency >= 0 && evaluate(arena, model, o->saved->policy, &spec, &o->result, error);
  o->simulator_share = simulator_share(spec.profile, pool_threads(pool), began);
  pool_free(pool);
  env_unload(model);
  return done;
}

/* Check what is asked, evaluate, and print the outcome in one of the two forms. */
static int eval_policy(const Eval *c, Saved *saved, Arena *arena, Error *error) {
  static const char *const foreign[] = { "pictures", "bits",    "data",  "out",     "features",
                                         "guidance", "sampler", "steps", "spacing", NULL };
  if (!saved_policy(saved, arena, &c->act, error) ||
      !eval_refuse(c, foreign, "is a policy and samples no pictures", error))
    return (int)error->kind;
  Outcome o = { .saved = saved, .env = choose_env(c, saved, error), .seed = (uint64_t)c->seed };
  if (!o.env) return (int)error->kind;
  /* D4RL's scores belong to its own environments; elsewhere they have to be asked for */
  o.reference = o.env->d4rl_reference || c->reference;
  stop_on_signals();
  if (!evaluate_saved(c, arena, &o, error)) return (int)error->kind;
  /* a mean over some of the episodes would favour the short ones, so none is shown */
  if (o.result.stopped) {
    error_set(error, FAIL_RUNNING, "stopped by signal %d (%s) before the last episode; no result",
              stop_signal(), strsignal(stop_signal()));
    return 128 + stop_signal();
  }
  if (c->json)
    print_json(&o, arena);
  else
    print_line(&o, arena);
  return 0;
}

/* Models that do not act are measured by what they are of; all else is a policy. */
static const struct {
  const ModelDef *def;
  int (*measure)(const Eval *asked, Saved *saved, Arena *arena, Error *error);
} kinds[] = { { &model_pictures, eval_images } };

/* What the checkpoint says about itself decides how it is measured. */
static int run_in(Arena *arena, const Eval *c, Error *error) {
  Saved saved;
  if (!saved_read(&saved, arena, c->parsed.arguments.word[0], c->which, error))
    return (int)error->kind;
  const ModelDef *def = model_saved(saved.checkpoint);
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
    if (kinds[i].def == def) return kinds[i].measure(c, &saved, arena, error);
  return eval_policy(c, &saved, arena, error);
}

static int run(const void *request, Error *error) {
  const Eval *c = request;
  /* D4RL's are the only reference scores there are */
  if (c->reference && strcmp(c->reference, "d4rl")) {
    error_set(error, FAIL_USAGE, "--reference %s: expected d4rl", c->reference);
    return FAIL_USAGE;
  }
  Arena *arena = arena_new();
  unsigned denormals = denormals_off();
  int code = run_in(arena, c, error);
  denormals_restore(denormals);
  arena_free(arena);
  return code;
}

/* The keys that --act accepts, with their defaults. */
static bool help(const Arguments *arguments, FILE *out, Error *error) {
  (void)arguments, (void)error;
  ActRecord record;
  Config config;
  config_init(&config, act_fields, act_field_count, &record);
  fprintf(out, "\nThe act record (--act key=value): key, default, meaning\n");
  config_help(&config, out);
  return true;
}

const Command command_eval = {
  .name = "eval",
  .usage = "RUN|FILE [--env ENV] [--episodes N] [--seed S] [--which last|best|FILE] [options]",
  .about = "measure the return of a saved policy, or the quality of pictures",
  .examples = "  diffrl eval runs/diffusion-ql-hopper-medium-s0\n"
              "  diffrl eval runs/diffusion-ql-hopper-medium-s0 --which best --json\n"
              "  diffrl eval walk.safetensors --act candidates=1 --act choice=sample\n"
              "  diffrl eval runs/image-fashion-mnist-s0\n",
  .options = options,
  .option_count = OPTION_COUNT(options),
  .least = 1,
  .most = 1,
  .size = sizeof(Eval),
  .run = run,
  .help = help,
};
