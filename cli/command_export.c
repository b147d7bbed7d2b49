/* command_export.c -- diffrl export: a policy alone, without what training needs, or as C. */
#include "cli/saved.h"
#include "core/file.h"
#include "policy/export/export.h"
#include "rl/version.h"
#include <string.h>

typedef struct {
  Parsed parsed;
  Arguments act;
  const char *out, *which, *format, *name;
} Export;

static const Option options[] = {
  OPTION_TEXT_ROW(Export, out, "out", "DIR", "folder to write to"),
  OPTION_TEXT_ROW(Export, name, "name", "NAME", "of the files (default policy)"),
  OPTION_TEXT_ROW(Export, format, "format", "c|safetensors",
                  "C that needs no library, or weights for diffrl (default safetensors)"),
  OPTION_TEXT_ROW(Export, which, "which", "last|best|FILE", "checkpoint of the run (default last)"),
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

static bool is_c(const Export *c) { return c->format && !strcmp(c->format, "c"); }

/* Find mistakes in the request, and make the folder, before a checkpoint is read. */
static bool check(const Export *c, Error *error) {
  if (!c->out) return error_set(error, FAIL_USAGE, "export: where to? expected --out DIR");
  if (c->format && !is_c(c) && strcmp(c->format, "safetensors"))
    return error_set(error, FAIL_USAGE, "--format %s: expected c or safetensors", c->format);
  return file_make_folders(c->out, error);
}

/* Changes by --act are part of what is exported: the file acts as it was told here. */
static bool run_in(Arena *arena, const Export *c, Error *error) {
  Saved saved;
  if (!check(c, error) ||
      !saved_open(&saved, arena, c->parsed.arguments.word[0], c->which, &c->act, error))
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
