/* figures.c -- the list of a run's figures, read once and written whole. */
#include "rl/measure/figures.h"
#include "core/file.h"
#include "core/json.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char list_name[] = "figures.jsonl";

const char *figures_path(const Figures *f, const char *file) {
  return arena_text(f->arena, "%s/%s", f->folder, file);
}

/* A file is listed once: what is said of it again takes the place of what was said before. */
static void put(Figures *f, Figure figure) {
  int i = 0;
  while (i < f->count && strcmp(f->figure[i].file, figure.file)) i++;
  /* the old array stays in the arena; doubling keeps that small */
  if (i == f->capacity) {
    f->capacity = 2 * f->capacity + 16;
    Figure *more = arena_array(f->arena, Figure, f->capacity);
    if (f->count) memcpy(more, f->figure, (size_t)f->count * sizeof *more);
    f->figure = more;
  }
  f->figure[i] = figure;
  f->count += i == f->count;
}

void figures_add(Figures *f, const char *file, const char *title, const char *caption) {
  put(f, (Figure){ file, title, caption, -1 });
}

void figures_keep(Figures *f, const char *file, const char *title, const char *caption) {
  put(f, (Figure){ file, title, caption, f->step });
}

/* ---- the file -------------------------------------------------------------------------------- */

/* A copy, since the line it stands in is freed. */
static const char *text_of(const Figures *f, const Json *line, const char *key) {
  const char *text = json_text(json_get(line, key));
  return text ? arena_text(f->arena, "%s", text) : NULL;
}

/* One line of an older list; a resumed run makes those later than its step again. */
static void take_line(Figures *f, const char *text, size_t length) {
  Json *line = json_parse_if(text, length);
  const Json *step = json_get(line, "step");
  Figure figure = { text_of(f, line, "file"), text_of(f, line, "title"),
                    text_of(f, line, "caption"), -1 };
  /* a figure is a convenience: what does not describe a file of this folder is left out */
  bool right = figure.file && *figure.file && !strchr(figure.file, '/') &&
               (!step || json_whole(step, 0, f->step, &figure.step));
  if (right) put(f, figure);
  json_free(line);
}

void figures_open(Figures *f, Arena *arena, const char *folder, int64_t step) {
  *f = (Figures){ .arena = arena, .folder = folder, .step = step };
  FILE *file = file_open(figures_path(f, list_name));
  /* a new run has no list yet */
  if (!file) return;
  char *line = NULL;
  size_t capacity = 0;
  for (ssize_t length; (length = getline(&line, &capacity, file)) > 0;)
    take_line(f, line, (size_t)length);
  free(line);
  fclose(file);
}

/* One figure as a line of figures.jsonl. */
static void write_line(const Figure *figure, FILE *out) {
  JsonText line = { 0 };
  json_open(&line, NULL, '{');
  if (figure->step >= 0) json_put_integer(&line, "step", figure->step);
  json_put_text(&line, "file", figure->file);
  json_put_text(&line, "title", figure->title);
  json_put_text(&line, "caption", figure->caption);
  json_close(&line, '}');
  fprintf(out, "%s\n", line.text);
  json_text_free(&line);
}

/* First those without a step, so that the order is that of a run that was never interrupted. */
bool figures_save(const Figures *f, Error *error) {
  /* a run without figures has no list */
  if (!f->count) return true;
  char *text = NULL;
  size_t length = 0;
  /* made in memory, so that the file is replaced whole or not at all */
  FILE *out = open_memstream(&text, &length);
  if (!out) return error_set(error, FAIL_RUNNING, "out of memory");
  for (int kept = 0; kept < 2; kept++)
    for (int i = 0; i < f->count; i++)
      if ((f->figure[i].step >= 0) == kept) write_line(&f->figure[i], out);
  bool done = fclose(out) == 0 ? file_write(figures_path(f, list_name), text, length, error)
                               : error_set(error, FAIL_RUNNING, "out of memory");
  free(text);
  return done;
}
