/* command_cache.c -- diffrl data cache: the converted copies of data files, and their end. */
#include "cli/command.h"
#include "core/escape.h"
#include "core/arena.h"
#include "core/json.h"
#include "datasets/cache_folder.h"
#include <string.h>
#include <time.h>

typedef struct {
  Parsed parsed;
  bool json;
} Cache;

static const Option options[] = { OPTION_FLAG_ROW(Cache, json, "json", "as a JSON object") };

static const char *state_of(const CacheEntry *e) {
  if (!e->source) return "of an older version";
  return e->current ? "current" : "its file has changed or is gone";
}

static void put_entry(const CacheEntry *e, JsonText *out) {
  json_open(out, NULL, '{');
  json_put_text(out, "cache", e->path);
  json_put_text(out, "file", e->source);
  json_put_integer(out, "bytes", (int64_t)e->bytes);
  json_put_integer(out, "used", e->used / 1000000000);
  json_put_bool(out, "current", e->current);
  json_close(out, '}');
}

static void print_entry(Arena *arena, const CacheEntry *e) {
  time_t used = (time_t)(e->used / 1000000000);
  char day[32];
  struct tm date;
  strftime(day, sizeof day, "%Y-%m-%d %H:%M", localtime_r(&used, &date));
  printf("%8.1f MB  %s  %s (%s)\n", 1e-6 * (double)e->bytes, day,
         escaped(arena, e->source ? e->source : e->path), state_of(e));
}

static void list(Arena *arena, bool json) {
  const CacheEntry *entry;
  size_t count = cache_folder_list(arena, &entry);
  uint64_t sum = 0;
  JsonText out = { 0 };
  json_open(&out, NULL, '{');
  json_open(&out, "caches", '[');
  for (size_t i = 0; i < count; i++) {
    sum += entry[i].bytes;
    if (json)
      put_entry(&entry[i], &out);
    else
      print_entry(arena, &entry[i]);
  }
  json_close(&out, ']');
  json_put_integer(&out, "bytes", (int64_t)sum);
  json_close(&out, '}');
  if (json)
    command_print(out.text);
  else
    command_print(arena_text(arena, "%8.1f MB  in %zu file%s", 1e-6 * (double)sum, count,
                             count == 1 ? "" : "s"));
  json_text_free(&out);
}

/* All can be made again; a run that has mapped one keeps it until it ends. */
static bool clear(Arena *arena, Error *error) {
  const CacheEntry *entry;
  size_t count = cache_folder_list(arena, &entry);
  uint64_t sum = 0;
  for (size_t i = 0; i < count; i++) {
    if (!cache_folder_remove(&entry[i], error)) return false;
    sum += entry[i].bytes;
  }
  command_print(arena_text(arena, "removed %.1f MB in %zu file%s", 1e-6 * (double)sum, count,
                           count == 1 ? "" : "s"));
  return true;
}

static int run_cache(const void *request, Error *error) {
  const Cache *c = request;
  const char *what = c->parsed.arguments.count ? c->parsed.arguments.word[0] : "list";
  bool done = true;
  Arena *arena = arena_new();
  if (!strcmp(what, "list"))
    list(arena, c->json);
  else if (!strcmp(what, "clear"))
    done = clear(arena, error);
  else
    done = error_set(error, FAIL_USAGE, "data cache %s: expected list or clear", what);
  arena_free(arena);
  return done ? 0 : (int)error->kind;
}

const Command command_data_cache = {
  .name = "data cache",
  .usage = "[list|clear] [--json]",
  .about = "list or remove the converted copies of data files",
  .examples = "  diffrl data cache\n"
              "  diffrl data cache clear\n",
  .options = options,
  .option_count = OPTION_COUNT(options),
  .least = 0,
  .most = 1,
  .size = sizeof(Cache),
  .run = run_cache,
};
