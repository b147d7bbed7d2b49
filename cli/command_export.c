/* command_export.c -- diffrl export: a policy alone, without what training needs, or as C. */
#include "cli/saved.h"
#include "core/file.h"
#include "policy/classifier.h"
#include "policy/models/pictures.h"
#include "policy/export/export.h"
#include "rl/version.h"
#include <string.h>

typedef struct {
  Parsed parsed;
  Arguments act;
  const char *out, *which, *format, *name, *guidance;
  bool half;
} Export;

static const Option options[] = {
  OPTION_TEXT_ROW(Export, out, "out", "DIR", "folder to write to"),
  OPTION_TEXT_ROW(Export, name, "name", "NAME", "of the files (default policy; with --half model)"),
  OPTION_TEXT_ROW(Export, format, "format", "c|safetensors",
                  "C that needs no library, or weights for diffrl (default safetensors)"),
  OPTION_TEXT_ROW(Export, which, "which", "last|best|FILE", "checkpoint of the run (default last)"),
  OPTION_FLAG_ROW(Export, half, "half",
                  "models of pictures and classifiers: float16, and only what sampling needs"),
  OPTION_TEXT_ROW(Export, guidance, "guidance", "W",
                  "with --half: how pictures are sampled from the file (default: the run's)"),
  OPTION_WORDS_ROW(Export, act, "act", "key=value", "change how the policy acts; may be repeated"),
};

/* The acting weights, and the critics if it chooses among candidates. */
static bool write_policy(Arena *arena, const Saved *saved, const char *path, Error *error) {
  Checkpoint c;
  checkpoint_init(&c, arena);
  policy_save_acting(saved->policy, &c);
  if (saved->algo) checkpoint_add_text(&c, "algo", saved->algo);
  if (saved->env) checkpoint_add_text(&c, "env", saved->env);
  checkpoint_add_text(&c, "step", arena_text(arena, "%lld", (long long)saved->step));
  return checkpoint_save(&c, path, error);
}

/* NAME.h, NAME.c and NAME_check.c; what is printed is the path of the second */
static bool write_c(Arena *arena, const Export *c, const Saved *saved, const char *name,
                    Error *error) {
  /* the comment on top of the C file says which checkpoint it came from and how it acts */
  const char *origin =
      arena_text(arena, "Made by diffrl %s from a checkpoint of %s on %s, step %lld, acting by",
                 DIFFRL_VERSION, saved->algo ? saved->algo : "unknown origin",
                 saved->env ? saved->env : "no environment", (long long)saved->step);
  ExportSpec spec = {
    .folder = c->out, .name = name, .origin = origin, .acts = saved_act_text(arena, saved->policy)
  };
  return export_c(saved->policy, &spec, error);
}

/* Whose file it is, beside what the model says itself. */
static void add_origin(Arena *arena, const Saved *saved, Checkpoint *c) {
  const char *hash = checkpoint_text(saved->checkpoint, "data_hash");
  if (saved->algo) checkpoint_add_text(c, "algo", saved->algo);
  /* by which `eval` knows the pictures that it learned */
  if (hash) checkpoint_add_text(c, "data_hash", hash);
  checkpoint_add_text(c, "step", arena_text(arena, "%lld", (long long)saved->step));
}

/* The weights that sample, or the classifier, as float16. */
static bool write_half(Arena *arena, const Export *asked, const Saved *saved, const char *path,
                       Error *error) {
  const Checkpoint *from = saved->checkpoint;
  Checkpoint c;
  checkpoint_init(&c, arena);
  add_origin(arena, saved, &c);
  bool done;
  if (classifier_saved(from) && asked->guidance) {
    return error_set(error, FAIL_USAGE,
                     "--guidance is for models that sample, and %s is a "
                     "classifier",
                     saved->path);
  } else if (classifier_saved(from)) {
    const Classifier *classifier = classifier_load(arena, from, error);
    done = classifier && classifier_save_half(classifier, &c, error);
  } else if (model_saved(from) == &model_pictures) {
    Model *model = model_load(arena, &model_pictures, from, error);
    done = model &&
           (!asked->guidance ||
            model_resample(model, "guidance", asked->guidance, "--guidance", error)) &&
           model_save_half(model, &c, error);
  } else
    return error_set(
        error, FAIL_USAGE,
        "--half is for models of `diffrl train image` and `classifier`, and %s is none",
        saved->path);
  return done ? checkpoint_save(&c, path, error) : error_prefix(error, "%s", saved->path);
}

static bool is_c(const Export *c) { return c->format && !strcmp(c->format, "c"); }

/* Find mistakes in the request, and make the folder, before a checkpoint is read. */
static bool check(const Export *c, Error *error) {
  if (!c->out) return error_set(error, FAIL_USAGE, "export: where to? expected --out DIR");
  if (c->format && !is_c(c) && strcmp(c->format, "safetensors"))
    return error_set(error, FAIL_USAGE, "--format %s: expected c or safetensors", c->format);
  if (c->half && is_c(c))
    return error_set(error, FAIL_USAGE, "--half is a kind of safetensors; leave out --format c");
  if (c->half && c->act.count)
    return error_set(error, FAIL_USAGE, "--act is for policies, and --half for models of pictures");
  if (!c->half && c->guidance)
    return error_set(error, FAIL_USAGE, "--guidance is for --half, of models of pictures");
  return file_make_folders(c->out, error);
}

/* the same for what does not act */
static bool run_half(Arena *arena, const Export *c, Error *error) {
  Saved saved;
  const char *path = arena_text(arena, "%s/%s.safetensors", c->out, c->name ? c->name : "model");
  if (!saved_read(&saved, arena, c->parsed.arguments.word[0], c->which, error) ||
      !write_half(arena, c, &saved, path, error))
    return false;
  command_print(path);
  return true;
}

/* Changes by --act are part of what is exported: the file acts as it was told here. */
static bool run_in(Arena *arena, const Export *c, Error *error) {
  Saved saved;
  if (!check(c, error)) return false;
  if (c->half) return run_half(arena, c, error);
  if (!saved_open(&saved, arena, c->parsed.arguments.word[0], c->which, &c->act, error))
    return false;
  const char *name = c->name ? c->name : "policy";
  const char *path = arena_text(arena, "%s/%s.%s", c->out, name, is_c(c) ? "c" : "safetensors");
  bool done =
      is_c(c) ? write_c(arena, c, &saved, name, error) : write_policy(arena, &saved, path, error);
  if (done) command_print(path);
  return done;
}

static int run(const void *request, Error *error) {
  Arena *arena = arena_new();
  bool done = run_in(arena, request, error);
  arena_free(arena);
  return done ? 0 : (int)error->kind;
}

const Command command_export = {
  .name = "export",
  .usage = "RUN --out DIR",
  .about = "a policy alone, ready to act: as C that needs no library, or as one safetensors file",
  .examples =
      "  diffrl export runs/diffusion-ql-hopper-medium-s0 --out walk --format c --name walk\n"
      "  cc -O3 -march=native -o walk_check walk/walk.c walk/walk_check.c && ./walk_check\n"
      "  diffrl export runs/sac-hopper-v2-s0 --which step-100000.safetensors --out .\n",
  .options = options,
  .option_count = OPTION_COUNT(options),
  .least = 1,
  .most = 1,
  .size = sizeof(Export),
  .run = run,
};
