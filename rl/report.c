/* report.c -- reads the runs, writes the page whole or not at all. */
#include "rl/report.h"
#include "core/check.h"
#include "rl/page.h"
#include "rl/svg.h"
#include <errno.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

/* ---- the page -------------------------------------------------------------------------------- */

static const char *page_title(const Page *page) {
  const char *algo = page_config_text(page, &page->run[0], "algo"), *env = page_config_text(page, &page->run[0], "env");
  if (page->count > 1 && !(page_all_same(page, "algo") && page_all_same(page, "env")))
    return arena_text(page->arena, "%zu runs", page->count);
  return arena_text(page->arena, "%s%s%s", algo ? algo : "A run", env ? " on " : "", env ? env : "");
}

/* data · seed · steps · preset, as far as the runs agree */
static void put_lead(const Page *page) {
  static const char *const keys[] = { "data", "seed", "steps", "preset", "data_hash" };
  const char *between = "";
  page_put(page, "<p class=\"lead\">");
  if (page->count > 1) fprintf(page->out, "%zu runs", page->count), between = " · ";
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    const Json *value = history_config(&page->run[0], keys[i]);
    if (!value || json_is_null(value) || !page_all_same(page, keys[i])) continue;
    const char *name = !strcmp(keys[i], "data_hash") ? "hash" : keys[i];
    fprintf(page->out, "%s%s ", between, name);
    if (json_is_number(value) && strcmp(keys[i], "seed"))
      page_count(page, json_number(value, NAN));
    else
      svg_text(page->out, history_text(page->arena, value));
    between = " · ";
  }
  page_put(page, "</p>\n");
}

static void put_footer(const Page *page) {
  size_t skipped = 0;
  for (size_t i = 0; i < page->count; i++) skipped += page->run[i].skipped;
  page_put(page, "<footer>Made by diffrl report from ");
  if (page->count == 1)
    svg_text(page->out, page->run[0].folder);
  else
    fprintf(page->out, "%zu runs", page->count);
  page_put(page, ".");
  if (skipped)
    fprintf(page->out, " %zu unreadable line%s skipped.", skipped, skipped == 1 ? " was" : "s were");
  page_put(page, "</footer>\n");
}

static void put_page(const Page *page) {
  page_put(page, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>\n"
         "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n<title>");
  svg_text(page->out, page_title(page));
  fprintf(page->out, "</title>\n<style>\n%s%s</style></head>\n<body>\n<h1>", svg_style, page_style);
  svg_text(page->out, page_title(page));
  page_put(page, "</h1>\n");
  put_lead(page);
  if (page->count == 1) {
    put_headline(page);
  } else {
    put_runs(page);
    put_seeds(page);
  }
  put_learning(page);
  put_metrics(page);
  put_record(page);
  put_footer(page);
  page_put(page, "</body></html>\n");
}

/* To a temporary name beside the target, then renamed: the page is there whole, or the old one. */
static bool write_page(Page *page, const char *path, Error *error) {
  const char *draft = arena_text(page->arena, "%s.tmp", path);
  page->out = fopen(draft, "w");
  if (!page->out)
    return error_set(error, FAIL_RUNNING, "%s: cannot be written: %s", path, strerror(errno));
  put_page(page);
  bool written = fflush(page->out) == 0 && !ferror(page->out) && fsync(fileno(page->out)) == 0;
  written &= fclose(page->out) == 0;
  if (written && rename(draft, path) == 0) return true;
  error_set(error, FAIL_RUNNING, "%s: cannot be written: %s", path, strerror(errno));
  unlink(draft);
  return false;
}

bool report_write(const char *const *runs, size_t count, const char *out_path, Error *error) {
  CHECK(count > 0, "report_write: no runs");
  Arena *arena = arena_new();
  History *history = arena_array(arena, History, count);
  Report report = { .run = history, .count = count, .arena = arena };
  size_t open = 0;
  while (open < count && history_read(&history[open], arena, runs[open], error)) open++;
  bool written = open == count && write_page(&report, out_path, error);
  while (open > 0) history_close(&history[--open]);
  arena_free(arena);
  return written;
}
