/* report.c -- reads the runs, writes the page whole or not at all. */
#include "rl/report/report.h"
#include "core/check.h"
#include "core/file.h"
#include "core/progress.h"
#include "rl/report/page.h"
#include "rl/render/svg.h"
#include <stdlib.h>
#include <string.h>

/* Is it one algorithm on one environment? */
static bool has_name(const Page *page) {
  return page_all_same(page, "algo") && page_all_same(page, "env");
}

/* What all runs have in common: the algorithm and its task, or else their number. */
static const char *title_of(const Page *page) {
  if (!has_name(page)) return arena_text(page->arena, "%zu runs", page->count);
  const char *algo = page_config_text(page, &page->run[0], "algo");
  const char *env = page_config_text(page, &page->run[0], "env");
  /* models without an environment are named by what they learned from */
  if (!env && page_all_same(page, "data")) env = page_data_name(page, &page->run[0]);
  return arena_text(page->arena, "%s%s%s", algo ? algo : "A run", env ? " on " : "",
                    env ? env : "");
}

/* What the runs agree on: 3 runs · data NAME · seed 0 · steps 200,000 · preset NAME. */
static void put_lead(const Page *page) {
  static const char *const keys[] = { "data", "seed", "steps", "preset" };
  const char *between = "";
  page_put(page, "<p class=\"lead\">");
  if (page->count > 1 && has_name(page)) {
    fprintf(page->out, "%zu runs", page->count);
    between = " · ";
  }
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    const Json *value = page_config(&page->run[0], keys[i]);
    /* what differs is left to the tables */
    if (!value || !page_all_same(page, keys[i])) continue;
    fprintf(page->out, "%s%s ", between, keys[i]);
    if (!strcmp(keys[i], "steps") && json_is_number(value))
      page_put_count(page, json_number(value, 0));
    else
      svg_text(page->out, history_text(page->arena, value));
    between = " · ";
  }
  page_put(page, "</p>\n");
}

/* The first box of the page: what went wrong, if anything did. */
static void put_warnings(const Page *page) {
  size_t count = 0;
  for (size_t i = 0; i < page->count; i++) count += page->run[i].warnings;
  if (!count) return;
  page_put(page, "<div class=\"warnings\"><h2>What went wrong</h2>\n<ul>\n");
  for (size_t i = 0; i < page->count; i++) {
    const History *run = &page->run[i];
    for (size_t k = 0; k < run->warnings; k++) {
      page_put(page, "<li>");
      if (page->count > 1) svg_text(page->out, arena_text(page->arena, "%s: ", run->folder));
      svg_text(page->out, run->warning[k]);
      page_put(page, "</li>\n");
    }
  }
  page_put(page, "</ul></div>\n");
}

/* As a shell takes it for one word. */
static void put_word(const Page *page, const char *word) {
  static const char plain[] =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+=,:@%";
  fputc(' ', page->out);
  if (*word && !word[strspn(word, plain)]) {
    svg_text(page->out, word);
    return;
  }
  /* within quotes only a quote itself has to be written otherwise */
  page_put(page, "'");
  for (const char *quote; (quote = strchr(word, '\'')); word = quote + 1) {
    svg_text(page->out, arena_text(page->arena, "%.*s", (int)(quote - word), word));
    page_put(page, "'\\''");
  }
  svg_text(page->out, word);
  page_put(page, "'");
}

/* The command that writes this page again, and how much could not be read. */
static void put_footer(const Page *page) {
  size_t skipped = 0;
  for (size_t i = 0; i < page->count; i++) skipped += page->run[i].skipped;
  page_put(page, "<footer>Written by <code>diffrl report");
  for (size_t i = 0; i < page->count; i++) put_word(page, page->run[i].folder);
  page_put(page, " --out");
  put_word(page, page->path);
  page_put(page, "</code>.");
  if (skipped)
    fprintf(page->out,
            " Skipped %zu unreadable line%s of metrics.jsonl, eval.jsonl and "
            "figures.jsonl.",
            skipped, skipped == 1 ? "" : "s");
  page_put(page, "</footer>\n");
}

/* From the result to the details: measures, pictures, curves, settings. */
static void put_page(const Page *page) {
  const char *title = title_of(page);
  page_put(page,
           "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>\n"
           "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n<title>");
  svg_text(page->out, title);
  fprintf(page->out, "</title>\n<style>\n%s%s</style></head>\n<body>\n<h1>", svg_style, page_style);
  svg_text(page->out, title);
  page_put(page, "</h1>\n");
  put_lead(page);
  put_warnings(page);
  page_put_results(page);
  page_put_pictures(page);
  page_put_learning(page);
  page_put_figures(page);
  page_put_record(page);
  put_footer(page);
  page_put(page, "</body></html>\n");
}

/* The page is made in memory, so that an older file is replaced only by a complete one. */
static bool write_page(Page *page, const char *path, Error *error) {
  char *text = NULL;
  size_t length = 0;
  page->out = open_memstream(&text, &length);
  NEED_MEMORY(page->out);
  put_page(page);
  NEED_MEMORY(!fclose(page->out));
  bool done = file_write(path, text, length, error);
  free(text);
  return done;
}

bool report_write(const char *const *runs, size_t count, const char *out_path, Error *error) {
  CHECK(count > 0, "report_write: no runs");
  Arena *arena = arena_new();
  History *history = arena_array(arena, History, count);
  Page page = { .run = history, .count = count, .path = out_path, .arena = arena };
  size_t read = 0;
  /* one run that cannot be read fails the page, for a comparison without it would mislead */
  Progress progress;
  progress_begin(&progress, "runs", "reading");
  while (read < count && history_read(&history[read], arena, runs[read], error))
    progress_at(&progress, (int64_t)++read, (int64_t)count);
  progress_end(&progress);
  bool written = read == count && write_page(&page, out_path, error);
  while (read > 0) history_close(&history[--read]);
  arena_free(arena);
  return written;
}
