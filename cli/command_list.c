/* command_list.c -- diffrl list: every name that other commands take, from the tables that hold
 * them. */
#include "cli/command.h"
#include "core/kernels/kernels.h"
#include "core/names.h"
#include "diffusion/grid.h"
#include "diffusion/method.h"
#include "diffusion/schedule.h"
#include "rl/algo.h"
#include "rl/bench/bench.h"
#include "rl/reward/reward.h"
#include "rl/rollout/make_data.h"
#include "datasets/images.h"
#include "datasets/toy_sets.h"
#include "rl/shipped.h"
#include "rl/train/preset.h"
#include <string.h>

typedef struct {
  Parsed parsed;
  bool json;
} List;

static const Option options[] = {
  OPTION_FLAG_ROW(List, json, "json", "one JSON object a line"),
};

/* One line: what kind of thing, its name, a word more, and what it is; NULL: nothing to say. */
static void put(bool json, const char *kind, const char *name, const char *more,
                const char *about) {
  if (!json) {
    printf("%-30s %-30s %s\n", name, more ? more : "", about ? about : "");
    return;
  }
  JsonText out = { 0 };
  json_open(&out, NULL, '{');
  json_put_text(&out, "kind", kind);
  json_put_text(&out, "name", name);
  json_put_text(&out, "detail", more);
  json_put_text(&out, "about", about);
  json_close(&out, '}');
  command_print(out.text);
  json_text_free(&out);
}

/* What an algorithm learns from is said beside its name. */
static void list_algos(bool json) {
  size_t count;
  const AlgoDef *const *all = algo_list(&count);
  for (size_t i = 0; i < count; i++)
    put(json, "algos", all[i]->name, all[i]->source->about, all[i]->about);
}

/* The shape is what decides whether a policy fits. */
static void list_envs(bool json) {
  size_t count;
  const EnvDef *const *all = env_list(&count);
  for (size_t i = 0; i < count; i++) {
    char dims[64];
    snprintf(dims, sizeof dims, "obs %d, act %d, horizon %d", all[i]->obs_dim, all[i]->act_dim,
             all[i]->horizon);
    put(json, "envs", all[i]->name, dims, all[i]->about);
  }
}

/* Every name that --data takes: what `data make` generates, points, and pictures. */
static void list_datasets(bool json) {
  size_t count;
  const DataSpec *all = make_data_list(&count);
  for (size_t i = 0; i < count; i++) {
    char size[96];
    snprintf(size, sizeof size, "%s, %lld rows", all[i].env, (long long)all[i].transitions);
    put(json, "datasets", all[i].name, size, all[i].about);
  }
  const ToyDef *points = toy_list(&count);
  for (size_t i = 0; i < count; i++)
    put(json, "datasets", points[i].name, "points, endless", points[i].about);
  const ImagesDef *images = images_list(&count);
  for (size_t i = 0; i < count; i++) {
    char about[512];
    snprintf(about, sizeof about, "%s; labels", images[i].about);
    /* a name is what `sample --label` takes */
    for (int k = 0; k < IMAGES_MAX_NAMES && images[i].class_name[k]; k++)
      snprintf(about + strlen(about), sizeof about - strlen(about), "%s %s", k ? "," : "",
               images[i].class_name[k]);
    put(json, "datasets", images[i].name, "pictures", about);
  }
}

/* Methods that add noise on the way solve the SDE, the others the ODE. */
static void list_samplers(bool json) {
  size_t count;
  const Method *all = method_list(&count);
  for (size_t i = 0; i < count; i++)
    put(json, "samplers", all[i].name, all[i].noise > 0 ? "SDE" : "ODE", all[i].about);
}

/* Discrete schedules have a number of steps, continuous ones a range of times. */
static void list_schedules(bool json) {
  size_t count;
  const ScheduleDef *const *all = schedule_list(&count);
  for (size_t i = 0; i < count; i++)
    put(json, "schedules", all[i]->name, all[i]->discrete ? "discrete" : "continuous",
        all[i]->about);
}

/* How a sampler divides the times between noise and data. */
static void list_spacings(bool json) {
  size_t count;
  const char *const *all = grid_list(&count);
  for (size_t i = 0; i < count; i++) put(json, "spacings", all[i], NULL, grid_about(i));
}

/* The settings themselves are shown, with where they were published. */
static void list_presets(bool json) {
  size_t count;
  const Preset *all = preset_list(&count);
  for (size_t i = 0; i < count; i++) {
    char of[128];
    snprintf(of, sizeof of, "%s  %s", all[i].algo, all[i].settings);
    put(json, "presets", all[i].name, of, all[i].source);
  }
}

/* What is inside the program, as other commands take it in place of a file. */
static void list_shipped(bool json) {
  size_t count;
  const Shipped *all = shipped_list(&count);
  for (size_t i = 0; i < count; i++) put(json, "shipped", all[i].name, NULL, all[i].about);
}

/* Each set is tried, since whether it runs depends on the processor and the build. */
static void list_kernels(bool json) {
  size_t count;
  const char *const *names = kernels_list(&count);
  for (size_t i = 0; i < count; i++) {
    Error why = { 0 };
    const Kernels *kernels = kernels_find(names[i], &why);
    put(json, "kernels", names[i], kernels ? kernels->name : "not on this machine",
        kernels ? NULL : why.text);
  }
}

/* What `diffrl bench` can time. */
static void list_benchmarks(bool json) {
  size_t count;
  const BenchDef *const *all = bench_list(&count);
  for (size_t i = 0; i < count; i++)
    put(json, "benchmarks", bench_name(all[i]), NULL, bench_about(all[i]));
}

/* A reward with a gradient is what `draft` and `refl` need. */
static void list_rewards(bool json) {
  size_t count;
  const RewardDef *const *all = reward_list(&count);
  for (size_t i = 0; i < count; i++) {
    char name[64], more[64];
    snprintf(name, sizeof name, "%s%s%s", all[i]->name, all[i]->takes ? ":" : "",
             all[i]->takes ? all[i]->takes : "");
    snprintf(more, sizeof more, "%s%s", all[i]->points ? "points" : "pictures",
             all[i]->record ? ", differentiable" : "");
    put(json, "rewards", name, more, all[i]->about);
  }
}

/* what may be listed, in the order in which all of it is shown */
static const struct {
  const char *name;
  void (*list)(bool json);
} kinds[] = {
  { "algos", list_algos },           { "envs", list_envs },
  { "datasets", list_datasets },     { "samplers", list_samplers },
  { "schedules", list_schedules },   { "spacings", list_spacings },
  { "presets", list_presets },       { "shipped", list_shipped },
  { "kernels", list_kernels },       { "rewards", list_rewards },
  { "benchmarks", list_benchmarks },
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static int run(const void *request, Error *error) {
  const List *c = request;
  const char *wanted = c->parsed.arguments.word[0];
  /* one list by name, or all of them under headings */
  const Names *names = NAMES(kinds, KINDS, .what = "list");
  int only = wanted ? names_find(names, wanted, error) : 0;
  if (only < 0) return (int)error->kind;
  if (wanted) return kinds[only].list(c->json), 0;
  for (int i = 0; i < KINDS; i++) {
    if (!c->json) printf("%s%s\n", i ? "\n" : "", kinds[i].name);
    kinds[i].list(c->json);
  }
  return 0;
}

const Command command_list = {
  .name = "list",
  .usage = "[algos|envs|datasets|samplers|schedules|spacings|presets|shipped|kernels|"
           "rewards|benchmarks] [--json]",
  .about = "the names that other commands take",
  .examples = "  diffrl list algos\n"
              "  diffrl list presets --json\n",
  .options = options,
  .option_count = OPTION_COUNT(options),
  .most = 1,
  .size = sizeof(List),
  .run = run,
};
