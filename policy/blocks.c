/* blocks.c -- saving, loading, beginning and allocating: one loop each. */
#include "policy/blocks.h"
#include "core/check.h"
#include <string.h>

Params *blocks_add(Blocks *b, Params *declared) {
  CHECK(b->count < BLOCKS_MAX, "blocks: %s is one too many", declared->block);
  return b->params[b->count++] = declared;
}

Optim *blocks_train(Blocks *b, Optim *optim) {
  CHECK(b->optims < BLOCKS_MAX_OPTIMS, "blocks: too many optimisers");
  return b->optim[b->optims++] = optim;
}

void blocks_join(Blocks *b, const Blocks *more) {
  for (int i = 0; i < more->count; i++) blocks_add(b, more->params[i]);
  for (int i = 0; i < more->optims; i++) blocks_train(b, more->optim[i]);
}

size_t blocks_bytes(const Blocks *b) {
  size_t numbers = 0;
  for (int i = 0; i < b->count; i++) numbers += b->params[i]->layout->size;
  return numbers * sizeof(real);
}

bool blocks_allocate(Blocks *b, Error *error) {
  /* refused in words, not by the system when memory runs out */
  if (!arena_has_room(blocks_bytes(b)))
    return error_set(
        error, FAIL_RUNNING,
        "networks of this shape have %.1f GB of weights, more than this machine gives; "
        "choose a smaller one",
        1e-9 * (double)blocks_bytes(b));
  /* a block that was filled before keeps its numbers */
  for (int i = 0; i < b->count; i++)
    if (!params_held(b->params[i])) params_allocate(b->params[i]);
  return true;
}

void blocks_save(const Blocks *b, Checkpoint *c) {
  for (int i = 0; i < b->count; i++)
    if (params_held(b->params[i])) params_save(b->params[i], c);
  for (int i = 0; i < b->optims; i++) optim_save(b->optim[i], c);
}

bool blocks_load(Blocks *b, const Checkpoint *c, Error *error) {
  for (int i = 0; i < b->count; i++)
    if (params_held(b->params[i]) && !params_load(b->params[i], c, error)) return false;
  for (int i = 0; i < b->optims; i++)
    if (!optim_load(b->optim[i], c, error)) return false;
  return true;
}

bool blocks_load_held(Blocks *b, const Checkpoint *c, Error *error) {
  for (int i = 0; i < b->count; i++) {
    Params *p = b->params[i];
    /* what the file lacks stays absent; shapes are compared before memory is taken */
    if (!params_saved(p, c)) continue;
    if (!params_match(p, c, error)) return false;
    if (!params_held(p)) params_allocate(p);
    if (!params_load(p, c, error)) return false;
  }
  return true;
}

/* "actor_ema" is the average of "actor" */
static const Params *averaged(const Blocks *b, const Params *average) {
  static const char ending[] = "_ema";
  size_t length = strlen(average->block);
  if (length < sizeof ending || strcmp(average->block + length - sizeof ending + 1, ending))
    return NULL;
  /* the name without its ending is the origin */
  for (int i = 0; i < b->count; i++)
    if (strlen(b->params[i]->block) == length - sizeof ending + 1 &&
        !strncmp(b->params[i]->block, average->block, length - sizeof ending + 1))
      return b->params[i];
  return NULL;
}

static void add_name(const BlocksBegun *begun, const char **list, const char *name) {
  *list = arena_text(begun->arena, "%s%s%s", *list, **list ? ", " : "", name);
}

bool blocks_begin(const Blocks *to, const Checkpoint *from, BlocksBegun *begun, Error *error) {
  for (int i = 0; i < to->count; i++) {
    Params *p = to->params[i];
    const Params *origin = averaged(to, p);
    if (!params_held(p)) continue;
    /* an average that the file lacks begins as a copy of what it averages, loaded before it */
    bool there = params_saved(p, from), copied = origin && params_saved(origin, from);
    add_name(begun, there || copied ? &begun->taken : &begun->anew, p->block);
    if (!there && copied) params_copy(p, origin);
    if (!there) continue;
    Error why;
    if (!params_match(p, from, &why))
      return error_set(error, FAIL_USAGE,
                       "%s has other shapes than in the new run (%s); expected the same algorithm, "
                       "dimensions and hidden",
                       p->block, why.text);
    if (!params_load(p, from, error)) return false;
    begun->count++;
  }
  return true;
}

/* is `name` a word of the list? */
static bool is_in(const char *list, const char *name) {
  size_t length = strlen(name);
  for (const char *at = list; (at = strstr(at, name)); at += length)
    if ((at == list || at[-1] == ' ') && (!at[length] || at[length] == ',')) return true;
  return false;
}

/* not weights: what is read by others, or moments */
static bool is_aside(const char *block) {
  return is_in("log, env, normalizer", block) || strstr(block, "_adam");
}

const char *blocks_left(const BlocksBegun *begun, const Checkpoint *from) {
  const char *left = "";
  for (size_t i = 0; i < from->tensors; i++) {
    const char *name = from->tensor[i].name, *slash = strchr(name, '/');
    const char *block = arena_text(begun->arena, "%.*s", slash ? (int)(slash - name) : 0, name);
    if (*block && !is_aside(block) && !is_in(begun->taken, block) && !is_in(left, block))
      add_name(begun, &left, block);
  }
  return left;
}
