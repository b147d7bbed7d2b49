/* page_record.c -- what was run: settings, data, versions. */
#include "rl/page.h"
#include <math.h>
#include <string.h>

/* ---- settings, data, versions ---------------------------------------------------------------- */

static bool is_changed(const History *run, const char *key) {
  const Json *item = json_first(history_config(run, "changed"));
  for (; item; item = json_next(item)) {
    const char *name = json_text(item);
    if (name && !strcmp(name, key)) return true;
  }
  return false;
}

static void put_pair(const Page *page, const char *key, const Json *value, bool changed) {
  const char *text = history_text(page->arena, value);
  const char *wide = strlen(text) > 40 ? " wide" : "";
  fprintf(page->out, "<div class=\"%s%s\"><dt>", changed ? "changed" : "plain", wide);
  svg_text(page->out, key);
  page_put(page, "</dt><dd>");
  double number = json_number(value, NAN);
  if (fabs(number) >= 1e4 && number == floor(number))
    page_count(page, number);
  else
    svg_text(page->out, text);
  page_put(page, "</dd></div>\n");
}

/* The members of an object of config.json, as pairs. */
static void put_object(const Page *page, const char *heading, const char *key) {
  const Json *object = history_config(&page->run[0], key);
  if (!json_is_object(object) || !json_first(object)) return;
  fprintf(page->out, "<h2>%s</h2>\n<dl>\n", heading);
  for (const Json *item = json_first(object); item; item = json_next(item))
    put_pair(page, json_key(item), item,
             !strcmp(key, "settings") && is_changed(&page->run[0], json_key(item)));
  page_put(page, "</dl>\n");
}

/* A row of the table that compares runs: one cell if they agree, else one for each. */
static void put_compared(const Page *page, const char *object, const char *key) {
  bool same = true;
  const char **text = arena_array(page->arena, const char *, page->count);
  for (size_t i = 0; i < page->count; i++) {
    const History *run = &page->run[i];
    const Json *value = object ? json_get(history_config(run, object), key) : history_config(run, key);
    text[i] = value ? history_text(page->arena, value) : "–";
    same = same && !strcmp(text[i], text[0]);
  }
  page_put(page, "<tr>");
  put_text_cell(page, key);
  if (same) {
    fprintf(page->out, "<td class=\"same\" colspan=\"%zu\">", page->count);
    svg_text(page->out, text[0]);
    page_put(page, "</td>");
  }
  for (size_t i = 0; i < page->count && !same; i++) {
    page_put(page, "<td class=\"same\"><b>");
    svg_text(page->out, text[i]);
    page_put(page, "</b></td>");
  }
  page_put(page, "</tr>\n");
}

static void put_comparison(const Page *page, const char *heading, const char *object) {
  size_t members = 0;
  for (size_t i = 0; i < page->count; i++) members += json_count(history_config(&page->run[i], object));
  if (!members) return;
  fprintf(page->out, "<h2>%s</h2>\n<div class=\"scroll\"><table><thead><tr><th>%s</th>", heading,
          "key");
  for (size_t i = 0; i < page->count; i++) {
    page_put(page, "<th class=\"act\">");
    svg_text(page->out, page->run[i].folder);
    page_put(page, "</th>");
  }
  page_put(page, "</tr></thead><tbody>\n");
  for (size_t i = 0; i < page->count; i++) {
    const Json *item = json_first(history_config(&page->run[i], object));
    for (; item; item = json_next(item)) {
      bool earlier = false;
      for (size_t k = 0; k < i; k++)
        earlier |= json_get(history_config(&page->run[k], object), json_key(item)) != NULL;
      if (!earlier) put_compared(page, object, json_key(item));
    }
  }
  page_put(page, "</tbody></table></div>\n");
}

static void put_record(const Page *page) {
  static const char *const section[][2] = { { "Settings", "settings" },
                                            { "Data", "dataset" },
                                            { "Versions", "versions" } };
  for (size_t i = 0; i < 3; i++) {
    if (page->count > 1) {
      put_comparison(page, section[i][0], section[i][1]);
      continue;
    }
    put_object(page, section[i][0], section[i][1]);
    if (i == 0 && json_count(history_config(&page->run[0], "changed")))
      page_put(page, "<p class=\"note\">Bold with a dot: changed from the default by a preset, a file or "
             "the command line.</p>\n");
  }
}

