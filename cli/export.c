/* export.c -- diffrl export: a policy alone, without what training needs. */
#include "cli/saved.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

typedef struct {
  Given given;
  Words act;
  const char *out, *which, *format, *name;
} Export;

static const Option options[] = {
  OPTION_TEXT_ROW(Export, out, "out", "DIR", "folder to write to"),
  OPTION_TEXT_ROW(Export, name, "name", "NAME", "of the file (default policy)"),
  OPTION_TEXT_ROW(Export, format, "format", "safetensors", "the one format of this release"),
  OPTION_TEXT_ROW(Export, which, "which", "last|best|FILE", "checkpoint of the run (default last)"),
  OPTION_WORDS_ROW(Export, act, "act", "key=value", "change how the policy acts; may be repeated"),
};

/* The acting weights, and the critics if it chooses among candidates. */
static bool write_policy(Arena *arena, const Saved *saved, const char *path, Error *error) {
  const Policy *p = saved->policy;
  Checkpoint c;
  checkpoint_init(&c, arena);
  policy_save(p, &c);
  if (saved->algo) checkpoint_add_text(&c, "algo", saved->algo);
  if (saved->env) checkpoint_add_text(&c, "env", saved->env);
  checkpoint_add_text(&c, "step", arena_text(arena, "%lld", (long long)saved->step));
  params_save(p->actor, &c);
  if (!strcmp(p->act.weights.s, "ema")) params_save(p->actor_ema, &c);
  if (p->act.candidates > 1) params_save(p->critic_target, &c);
  return checkpoint_save(&c, path, error);
}

static bool check(const Export *c, Error *error) {
  if (!c->out) return error_set(error, FAIL_USAGE, "export: where to? expected --out DIR");
  if (c->format && strcmp(c->format, "safetensors"))
    return error_set(error, FAIL_USAGE, "--format %s: this release writes safetensors only",
                     c->format);
  if (mkdir(c->out, 0777) && errno != EEXIST)
    return error_set(error, FAIL_RUNNING, "cannot make folder %s: %s", c->out, strerror(errno));
  return true;
}

static int run(const void *request, Error *error) {
  const Export *c = request;
  Arena *arena = arena_new();
  Saved saved;
  const char *name = c->name ? c->name : "policy";
  const char *path = arena_text(arena, "%s/%s.safetensors", c->out ? c->out : "", name);
  if (check(c, error) &&
      saved_open(&saved, arena, c->given.arguments.word[0], c->which, &c->act, error) &&
      write_policy(arena, &saved, path, error))
    command_print(path);
  arena_free(arena);
  return (int)error->kind;
}

const Command command_export = {
  .name = "export",
  .usage = "RUN --out DIR",
  .about = "a policy alone, ready to act, as one safetensors file",
  .examples = "  diffrl export runs/diffusion-ql-hopper-medium-s0 --out walk --name walk\n"
              "  diffrl export runs/sac-hopper-v2-s0 --which step-100000.safetensors --out .\n",
  .options = options,
  .option_count = OPTION_COUNT(options),
  .least = 1,
  .most = 1,
  .size = sizeof(Export),
  .run = run,
};
