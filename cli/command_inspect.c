/* command_inspect.c -- diffrl inspect: what is in a checkpoint, and whether its checksums agree; or
 * what is in a data file. */
#include "cli/command_data.h"
#include "core/escape.h"
#include "cli/saved.h"
#include "core/json.h"
#include "core/sort.h"
#include "rl/report/history.h"
#include "rl/shipped.h"
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
  Parsed parsed;
  const char *which, *env;
  bool json;
} Inspect;

static const Option options[] = {
  OPTION_TEXT_ROW(Inspect, which, "which", "last|best|FILE",
                  "checkpoint of the run (default last)"),
  OPTION_TEXT_ROW(Inspect, env, "env", "ENV",
                  "of data: for normalised returns and the episode limit (default: what it says)"),
  OPTION_FLAG_ROW(Inspect, json, "json", "as a JSON object"),
};

static const char *const verdicts[] = { [CHECKSUM_NONE] = "none",
                                        [CHECKSUM_GOOD] = "good",
                                        [CHECKSUM_WRONG] = "WRONG",
                                        [CHECKSUM_MISSING] = "MISSING" };

/* ---- blocks ---------------------------------------------------------------------------------- */

/* tensors whose names begin alike; one without a slash is a block of its own */
typedef struct {
  const char *name;
  size_t first, count; /* of the sorted tensors */
  bool moments;        /* of an optimiser */
  int64_t numbers;
  size_t bytes;
} Block;

typedef struct {
  Saved saved;
  Checkpoint checkpoint;
  bool verified;
  Block *block;
  size_t blocks, bytes, moment_bytes, damaged;
} Found;

static size_t block_length(const char *name) { return strcspn(name, "/"); }

/* by block, then by name */
static int by_name(const void *a, const void *b) {
  const CheckpointTensor *x = a, *y = b;
  size_t n = block_length(x->name), m = block_length(y->name);
  int order = memcmp(x->name, y->name, n < m ? n : m);
  if (order || n != m) return order ? order : n < m ? -1 : 1;
  return strcmp(x->name, y->name);
}

static bool ends(const char *text, const char *end) {
  size_t length = strlen(text), tail = strlen(end);
  return length > tail && !strcmp(text + length - tail, end);
}

/* Tensors come sorted, so one that begins otherwise than the last block opens a new block. */
static void add_tensor(Found *f, Arena *arena, size_t i) {
  const CheckpointTensor *t = &f->checkpoint.tensor[i];
  int length = (int)block_length(t->name);
  Block *block = f->blocks ? &f->block[f->blocks - 1] : NULL;
  if (!block || (int)strlen(block->name) != length ||
      strncmp(block->name, t->name, (size_t)length) != 0) {
    block = &f->block[f->blocks++];
    *block = (Block){ .name = arena_text(arena, "%.*s", length, t->name), .first = i };
    /* an optimiser's blocks are named for what it trains, with one of these endings */
    block->moments =
        ends(block->name, "_adam") || ends(block->name, "_adam_m") || ends(block->name, "_adam_v");
  }
  size_t bytes = checkpoint_bytes(t);
  block->count++, block->bytes += bytes, f->bytes += bytes;
  block->numbers += (int64_t)(bytes / checkpoint_element_size(t->type));
  if (block->moments) f->moment_bytes += bytes;
  /* a checksum that is missing among others counts as damage, a file without any does not */
  f->damaged += t->verdict == CHECKSUM_WRONG || t->verdict == CHECKSUM_MISSING;
}

/* Sort the tensors by name, so that each block is a range of them, then sum up each block. */
static void find_blocks(Found *f, Arena *arena) {
  Checkpoint *c = &f->checkpoint;
  sort(c->tensor, c->tensors, sizeof *c->tensor, by_name);
  f->block = arena_array(arena, Block, c->tensors + 1);
  for (size_t i = 0; i < c->tensors; i++) add_tensor(f, arena, i);
}

/* ---- what it is ------------------------------------------------------------------------------ */

/* A model is known by its mark in the texts, a policy by its act record; NULL: neither. */
static const char *kind_of(Arena *arena, const Checkpoint *c) {
  const ModelDef *model = model_saved(c);
  if (model) return arena_text(arena, "model of %s", model->kind);
  return checkpoint_text(c, "act") ? "policy" : NULL;
}

/* these lead, in this order, and are not said again among the other texts */
static const char *const leading[] = { "algo", "env", "step" };
enum { LEADING = sizeof leading / sizeof *leading };

static bool leads(const char *key) {
  for (int i = 0; i < LEADING; i++)
    if (!strcmp(key, leading[i])) return true;
  return false;
}

/* ---- as JSON --------------------------------------------------------------------------------- */

/* One tensor, under what is left of its name behind that of its block. */
static void put_tensor(JsonText *out, const Block *block, const CheckpointTensor *t) {
  size_t length = strlen(block->name);
  json_open(out, NULL, '{');
  json_put_text(out, "slot", t->name[length] ? t->name + length + 1 : "");
  json_put_text(out, "dtype", checkpoint_type_name(t->type));
  json_open(out, "shape", '[');
  for (int i = 0; i < t->rank; i++) json_put_integer(out, NULL, t->shape[i]);
  json_close(out, ']');
  json_put_integer(out, "bytes", (int64_t)checkpoint_bytes(t));
  json_put_text(out, "checksum", verdicts[t->verdict]);
  json_close(out, '}');
}

/* One block: its sums, then its tensors in order. */
static void put_block(JsonText *out, const Checkpoint *c, const Block *block) {
  json_open(out, NULL, '{');
  json_put_text(out, "block", block->name);
  json_put_bool(out, "optimiser", block->moments);
  json_put_integer(out, "numbers", block->numbers);
  json_put_integer(out, "bytes", (int64_t)block->bytes);
  json_open(out, "tensors", '[');
  for (size_t i = 0; i < block->count; i++) put_tensor(out, block, &c->tensor[block->first + i]);
  json_close(out, ']');
  json_close(out, '}');
}

/* Who made it, all other texts, the blocks, and the sums over the whole file. */
static void print_json(Arena *arena, const Found *f) {
  const Checkpoint *c = &f->checkpoint;
  const char *step = checkpoint_text(c, "step");
  JsonText out = { 0 };
  json_open(&out, NULL, '{');
  json_put_text(&out, "file", f->saved.path);
  json_put_text(&out, "algo", checkpoint_text(c, "algo"));
  json_put_text(&out, "env", checkpoint_text(c, "env"));
  Error ignored;
  double steps;
  if (checkpoint_read_number(c, "step", &steps, &ignored))
    json_put_number(&out, "step", steps);
  else if (step)
    json_put_text(&out, "step", step);
  json_put_text(&out, "kind", kind_of(arena, c));
  json_put_bool(&out, "checksums", f->verified);
  /* texts may be anything the writer put there: the act record, shapes, versions */
  json_open(&out, "texts", '{');
  for (size_t i = 0; i < c->texts; i++)
    if (!leads(c->text[i].key)) json_put_text(&out, c->text[i].key, c->text[i].value);
  json_close(&out, '}');
  json_open(&out, "blocks", '[');
  for (size_t i = 0; i < f->blocks; i++) put_block(&out, c, &f->block[i]);
  json_close(&out, ']');
  json_put_integer(&out, "tensors", (int64_t)c->tensors);
  json_put_integer(&out, "numbers", checkpoint_numbers(c));
  json_put_integer(&out, "bytes", (int64_t)f->bytes);
  json_put_integer(&out, "optimiser_bytes", (int64_t)f->moment_bytes);
  json_put_integer(&out, "damaged", (int64_t)f->damaged);
  json_close(&out, '}');
  command_print(out.text);
  json_text_free(&out);
}

/* ---- for people ------------------------------------------------------------------------------ */

/* Texts come from a file that anyone may have written, so they are escaped for the terminal. */
static void print_pair(Arena *arena, const char *name, const char *text) {
  printf("%-22s %s\n", escaped(arena, name), text && *text ? escaped(arena, text) : "-");
}

/* a text that is a JSON object (a shape, the act record) as a line of key=value */
static void print_text(Arena *arena, const CheckpointText *text) {
  Json *json = *text->value == '{' ? json_parse_if(text->value, strlen(text->value)) : NULL;
  print_pair(arena, text->key, json ? history_text(arena, json) : text->value);
  json_free(json);
}

/* Name, type, shape, size and checksum of one tensor. */
static void print_tensor(Arena *arena, const Block *block, const CheckpointTensor *t) {
  size_t length = strlen(block->name);
  char shape[96] = "";
  for (int i = 0, at = 0; i < t->rank; i++)
    at += snprintf(shape + at, sizeof shape - (size_t)at, "%s%lld", i ? ", " : "",
                   (long long)t->shape[i]);
  printf("  %-32s %s [%s]  %zu bytes, checksum %s\n",
         t->name[length] ? escaped(arena, t->name + length + 1) : "-",
         checkpoint_type_name(t->type), shape, checkpoint_bytes(t), verdicts[t->verdict]);
}

/* First what the checkpoint is, then a paragraph for each block, then the sums. */
static void print_found(Arena *arena, const Found *f) {
  const Checkpoint *c = &f->checkpoint;
  print_pair(arena, "file", f->saved.path);
  for (int i = 0; i < LEADING; i++) print_pair(arena, leading[i], checkpoint_text(c, leading[i]));
  print_pair(arena, "kind", kind_of(arena, c));
  for (size_t i = 0; i < c->texts; i++)
    if (!leads(c->text[i].key)) print_text(arena, &c->text[i]);
  for (size_t i = 0; i < f->blocks; i++) {
    const Block *block = &f->block[i];
    printf("\n%s%s: %zu tensor%s, %lld numbers, %zu bytes\n", escaped(arena, block->name),
           block->moments ? " (optimiser)" : "", block->count, block->count > 1 ? "s" : "",
           (long long)block->numbers, block->bytes);
    for (size_t k = 0; k < block->count; k++)
      print_tensor(arena, block, &c->tensor[block->first + k]);
  }
  /* optimisers are named apart, since acting needs none of them */
  printf("\n%zu tensors, %lld numbers, %zu bytes, of which optimisers %zu; ", c->tensors,
         (long long)checkpoint_numbers(c), f->bytes, f->moment_bytes);
  if (f->verified)
    printf("checksums: %zu good, %zu not\n", c->tensors - f->damaged, f->damaged);
  else
    printf("no checksums: another program's file\n");
  fflush(stdout);
}

/* What is shipped goes by its name, unless a file or folder has it too. */
static const Shipped *find_shipped(const Inspect *c) {
  const char *given = c->parsed.arguments.word[0];
  return !c->which && access(given, F_OK) ? shipped_find(given) : NULL;
}

/* Read the file without refusing damaged tensors, show it all, and fail at the end if one is. */
static bool inspect_checkpoint(Arena *arena, const Inspect *c, Error *error) {
  const char *given = c->parsed.arguments.word[0];
  Found f = { 0 };
  if (c->env)
    return error_set(error, FAIL_USAGE, "--env is for data, and %s is a checkpoint or a run",
                     given);
  const Shipped *shipped = find_shipped(c);
  f.saved.path = shipped ? given : saved_find(&f.saved, arena, given, c->which, error);
  if (!f.saved.path) return false;
  checkpoint_init(&f.checkpoint, arena);
  if (!(shipped ? shipped_inspect(&f.checkpoint, shipped, &f.verified, error)
                : checkpoint_inspect(&f.checkpoint, f.saved.path, &f.verified, error)))
    return false;
  find_blocks(&f, arena);
  if (c->json)
    print_json(arena, &f);
  else
    print_found(arena, &f);
  return !f.damaged ||
         error_set(error, FAIL_INPUT,
                   "%s: %zu of %zu tensors have not the checksum they were written with: the file "
                   "was changed or damaged; use another checkpoint",
                   f.saved.path, f.damaged, f.checkpoint.tensors);
}

/* ---- which of the two ------------------------------------------------------------------------ */

/* a folder, a name that ends so, or a header's length and its brace; data is all else */
static bool is_checkpoint(const char *path) {
  struct stat status;
  unsigned char head[9] = { 0 };
  if (!stat(path, &status) && S_ISDIR(status.st_mode)) return true;
  if (ends(path, ".safetensors")) return true;
  FILE *file = !stat(path, &status) && S_ISREG(status.st_mode) ? fopen(path, "rb") : NULL;
  if (!file) return false;
  /* safetensors begins with a 64-bit little-endian length, small enough for four zero bytes */
  bool begins = fread(head, 1, sizeof head, file) == sizeof head && head[8] == '{' && !head[7] &&
                !head[6] && !head[5] && !head[4];
  fclose(file);
  return begins;
}

/* A checkpoint or data, by name or content; options of the other kind are refused. */
static bool inspect(Arena *arena, const Inspect *c, Error *error) {
  const char *given = c->parsed.arguments.word[0];
  if (is_checkpoint(given) || find_shipped(c)) return inspect_checkpoint(arena, c, error);
  if (c->which)
    return error_set(error, FAIL_USAGE,
                     "--which chooses among the files of a run, and %s is not a run's folder",
                     given);
  return data_show(arena, given, c->env, c->json, error);
}

static int run(const void *request, Error *error) {
  Arena *arena = arena_new();
  bool done = inspect(arena, request, error);
  arena_free(arena);
  return done ? 0 : (int)error->kind;
}

const Command command_inspect = {
  .name = "inspect",
  .usage = "RUN|FILE|NAME [--which last|best|FILE] [--env ENV] [--json]",
  .about = "show what is in a checkpoint or in data, and check all of it",
  .examples = "  diffrl inspect runs/diffusion-ql-hopper-medium-s0 --which best\n"
              "  diffrl inspect runs/toy-moons-s0/last.safetensors --json\n"
              "  diffrl inspect hopper-medium\n"
              "  diffrl inspect fashion-mnist-judge\n",
  .options = options,
  .option_count = OPTION_COUNT(options),
  .least = 1,
  .most = 1,
  .size = sizeof(Inspect),
  .run = run,
};
