/* page_record.c -- what was run: settings, data, versions; side by side if there are
 * several runs. */
#include "rl/report/page.h"
#include "rl/render/svg.h"
#include <math.h>
#include <string.h>

static const struct {
  const char *heading, *object; /* an object in config.json */
  const char *also[2];          /* members of config.json that belong there too */
} sections[] = {
  { "Settings", "settings", { NULL } },
  { "Data", "dataset", { "data", "data_hash" } },
  { "Versions", "versions", { NULL } },
};
enum { SECTIONS = sizeof sections / sizeof *sections, WIDE = 36 };

/* NULL if it is no object, so that its members have keys. */
static const Json *object_of(const History *run, const char *key) {
  const Json *object = page_config(run, key);
  return json_is_object(object) ? object : NULL;
}

/* Large whole numbers are grouped by thousands, all else is written as it is. */
static void put_value(const Page *page, const Json *value) {
  double number = json_number(value, NAN);
  if (fabs(number) >= 1e4 && number == floor(number))
    page_put_count(page, number);
  else
    page_put_text(page, value ? history_text(page->arena, value) : NULL);
}

/* ---- one run --------------------------------------------------------------------------------- */

/* config.json lists the settings that a preset, a file or the command line has set. */
static bool is_changed(const History *run, const char *key) {
  const Json *item = json_first(page_config(run, "changed"));
  for (; item; item = json_next(item)) {
    if (page_same_text(json_text(item), key)) return true;
  }
  return false;
}

/* One entry of the list; a long value takes the whole width. */
static void put_pair(const Page *page, const char *key, const Json *value, bool changed) {
  bool wide = strlen(history_text(page->arena, value)) > WIDE;
  fprintf(page->out, "<div class=\"%s%s\"><dt>", changed ? "changed" : "plain",
          wide ? " wide" : "");
  svg_text(page->out, key);
  page_put(page, "</dt><dd>");
  put_value(page, value);
  page_put(page, "</dd></div>\n");
}

/* All members of one object, with what config.json says about it elsewhere. */
static void put_section(const Page *page, int section) {
  const History *run = &page->run[0];
  const Json *item = json_first(object_of(run, sections[section].object));
  if (!item) return;
  /* only settings have defaults from which they may be changed */
  bool settings = section == 0, changed = false;
  fprintf(page->out, "<h2>%s</h2>\n<dl>\n", sections[section].heading);
  for (int i = 0; i < 2 && sections[section].also[i]; i++) {
    const Json *value = page_config(run, sections[section].also[i]);
    if (value) put_pair(page, sections[section].also[i], value, false);
  }
  for (; item; item = json_next(item)) {
    bool differs = settings && is_changed(run, json_key(item));
    put_pair(page, json_key(item), item, differs);
    changed |= differs;
  }
  page_put(page, "</dl>\n");
  if (changed)
    page_put(page, "<p class=\"note\">Bold, with a dot: changed from the default by a preset, a "
                   "file or the command line.</p>\n");
}

/* ---- several runs ---------------------------------------------------------------------------- */

/* One cell across if the runs agree, else one for each.  object NULL: a member of config.json. */
static void put_row(const Page *page, const char *object, const char *key) {
  const Json **value = arena_array(page->arena, const Json *, page->count);
  const char *first = NULL;
  bool same = true;
  for (size_t i = 0; i < page->count; i++) {
    const History *run = &page->run[i];
    value[i] = object ? json_get(object_of(run, object), key) : page_config(run, key);
    /* values are compared as they are shown */
    const char *text = value[i] ? history_text(page->arena, value[i]) : NULL;
    if (i == 0) first = text;
    same = same && page_same_text(text, first);
  }
  page_put(page, "<tr><td>");
  svg_text(page->out, key);
  page_put(page, "</td>");
  for (size_t i = 0; i < (same ? 1 : page->count); i++) {
    fprintf(page->out, "<td class=\"%s\" colspan=\"%zu\">", same ? "value" : "value differs",
            same ? page->count : 1);
    put_value(page, value[i]);
    page_put(page, "</td>");
  }
  page_put(page, "</tr>\n");
}

/* A column for each run, a row for each member that any of them has. */
static void put_comparison(const Page *page, int section) {
  const char *object = sections[section].object;
  size_t members = 0;
  /* a section of which no run has anything is left out */
  for (size_t i = 0; i < page->count; i++) members += json_count(object_of(&page->run[i], object));
  if (!members) return;
  fprintf(page->out,
          "<h2>%s</h2>\n<div class=\"scroll\"><table class=\"compared\"><thead><tr><th></th>",
          sections[section].heading);
  for (size_t i = 0; i < page->count; i++) {
    page_put(page, "<th class=\"value\">");
    svg_text(page->out, page->run[i].folder);
    page_put(page, "</th>");
  }
  page_put(page, "</tr></thead><tbody>\n");
  for (int i = 0; i < 2 && sections[section].also[i]; i++)
    put_row(page, NULL, sections[section].also[i]);
  for (size_t i = 0; i < page->count; i++) {
    /* a member is shown where the first run that has it comes, and only once */
    const Json *item = json_first(object_of(&page->run[i], object));
    for (; item; item = json_next(item)) {
      bool done = false;
      for (size_t k = 0; k < i; k++)
        done |= json_get(object_of(&page->run[k], object), json_key(item)) != NULL;
      if (!done) put_row(page, object, json_key(item));
    }
  }
  page_put(page, "</tbody></table></div>\n");
}

void page_put_record(const Page *page) {
  for (int section = 0; section < SECTIONS; section++) {
    if (page->count == 1)
      put_section(page, section);
    else
      put_comparison(page, section);
  }
}
