/* history.c -- JSON lines to columns. */
#include "rl/report/history.h"
#include "core/check.h"
#include "core/file.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- lines ----------------------------------------------------------------------------------- */

/* false: not a line of this file */
typedef bool TakeLine(History *history, Arena *arena, const Json *line, size_t room);

/* Every line of metrics.jsonl and eval.jsonl says at which step it was written. */
static bool has_step(const Json *line) {
  return json_is_object(line) && json_is_number(json_get(line, "step"));
}

static bool is_blank(const char *line) { return !line[strspn(line, " \t\r\n")]; }

/* Twice through the file: once to count the lines, so that columns can be allocated whole, and once
 * to take them.  A run that is still being written may grow in between; `room` is the limit. */
static void take_lines(History *history, Arena *arena, FILE *file, TakeLine *take) {
  char *line = NULL;
  size_t capacity = 0, room = 0, seen = 0;
  while (getline(&line, &capacity, file) > 0) room++;
  rewind(file);
  for (ssize_t length; seen < room && (length = getline(&line, &capacity, file)) > 0; seen++) {
    /* blank lines are no lines; what is not JSON is counted as skipped */
    if (is_blank(line)) continue;
    Json *json = json_parse_if(line, (size_t)length);
    history->skipped += !take(history, arena, json, room);
    json_free(json);
  }
  free(line);
}

/* All lines of a file in the run's folder; one that a run may lack counts as empty. */
static bool read_lines(History *history, Arena *arena, const char *name, bool required,
                       TakeLine *take, Error *error) {
  const char *path = arena_text(arena, "%s/%s", history->folder, name);
  FILE *file = file_open(path);
  if (!file && errno == ENOENT && !required) return true;
  if (!file)
    return error_set(error, FAIL_INPUT,
                     "%s: cannot be read: %s; expected the folder of a run that has begun to train",
                     path, strerror(errno));
  take_lines(history, arena, file, take);
  bool read = !ferror(file) || error_set(error, FAIL_INPUT, "%s: cannot be read", path);
  fclose(file);
  return read;
}

/* ---- metrics --------------------------------------------------------------------------------- */

double *history_metric(const History *history, const char *name) {
  for (int i = 0; i < history->metrics; i++) {
    if (!strcmp(history->metric[i].name, name)) return history->metric[i].value;
  }
  return NULL;
}

/* A new column: the lines before it have no value of it. */
static double *add_metric(History *history, Arena *arena, const char *name, size_t room) {
  if (history->metrics == HISTORY_MAX_METRICS) return NULL;
  double *value = arena_array(arena, double, room);
  for (size_t i = 0; i < room; i++) value[i] = NAN;
  history->metric[history->metrics++] =
      (HistoryMetric){ .name = arena_text(arena, "%s", name), .value = value };
  return value;
}

/* One report of training: a row of all columns, of which any may be absent. */
static bool take_metrics(History *history, Arena *arena, const Json *line, size_t room) {
  if (!has_step(line)) return false;
  for (const Json *member = json_first(line); member; member = json_next(member)) {
    if (!json_is_number(member) && !json_is_null(member)) continue;
    const char *name = json_key(member);
    double *value = history_metric(history, name);
    if (!value) value = add_metric(history, arena, name, room);
    /* null stands for a number that was not finite, so it differs from an absent one */
    if (value) value[history->rows] = json_number(member, INFINITY);
  }
  history->rows++;
  return true;
}

size_t history_thin(const double *x, const double *y, size_t count, double *thin_x, double *thin_y,
                    size_t most, size_t *bucket) {
  CHECK(most > 0, "history_thin: no room");
  size_t pairs = 0, points = 0, held = 0;
  for (size_t i = 0; i < count; i++) pairs += !isnan(y[i]) && isfinite(x[i]);
  /* the smallest number of neighbours to average with which all points fit */
  *bucket = pairs <= most ? 1 : (pairs + most - 1) / most;
  double sum_x = 0, sum_y = 0;
  for (size_t i = 0; i < count; i++) {
    if (isnan(y[i]) || !isfinite(x[i])) continue;
    /* a bucket is closed when it is full or the pairs are used up */
    sum_x += x[i], sum_y += y[i], held++, pairs--;
    if (held < *bucket && pairs) continue;
    thin_x[points] = sum_x / (double)held;
    thin_y[points++] = sum_y / (double)held;
    sum_x = sum_y = 0, held = 0;
  }
  return points;
}

/* ---- measures -------------------------------------------------------------------------------- */

const HistoryMeasure *history_measure(const History *history, const char *key) {
  for (int i = 0; i < history->measures && key; i++)
    if (!strcmp(history->measure[i].is.key, key)) return &history->measure[i];
  return NULL;
}

double history_value(const HistoryEvaluation *evaluation, const HistoryMeasure *m) {
  return m ? evaluation->value[m->at] : NAN;
}

/* Give the measure its place among the numbers of an evaluation; the first of a key counts. */
static void add_measure(History *history, Measure is) {
  if (history->measures == HISTORY_MAX_MEASURES || history_measure(history, is.key)) return;
  HistoryMeasure *m = &history->measure[history->measures++];
  *m = (HistoryMeasure){ is, history->numbers, measure_numbers(&is, 0) };
  history->numbers += m->numbers;
}

/* A key that no table describes: a number of release 0.1. */
static void add_plain(History *history, Arena *arena, const char *key) {
  for (int i = 0; i < RETURNS; i++)
    if (!strcmp(measure_returns[i].key, key)) {
      add_measure(history, measure_returns[i]);
      return;
    }
  key = arena_text(arena, "%s", key);
  add_measure(history, (Measure){ .key = key, .title = key });
}

/* Without a table of measures, the numbers of the evaluations say what was measured. */
static bool take_keys(History *history, Arena *arena, const Json *line, size_t room) {
  (void)room;
  for (const Json *member = json_first(line); member; member = json_next(member))
    if ((json_is_number(member) || json_is_null(member)) && strcmp(json_key(member), "step"))
      add_plain(history, arena, json_key(member));
  return true;
}

/* true if config.json describes measures; their texts live as long as it */
static bool read_measures(History *history) {
  const Json *rows = json_get(history->config, "measures");
  for (const Json *row = json_first(rows); row; row = json_next(row)) {
    Measure m;
    if (measure_read(&m, row)) add_measure(history, m);
  }
  return json_is_array(rows);
}

/* Is it a number, and not the same one in all evaluations?  What is null in some of them was not
 * measured there, so it is no difference. */
static bool tells_apart(const History *history, const HistoryMeasure *m) {
  double least = INFINITY, most = -INFINITY;
  for (size_t k = 0; k < history->evaluations; k++) {
    double value = history_value(&history->evaluation[k], m);
    if (isfinite(value)) least = fmin(least, value), most = fmax(most, value);
  }
  return history->evaluations == 1 ? least <= most : least < most;
}

/* Nothing says by what runs of release 0.1 without returns are compared: by the first number that
 * is not the same in all evaluations.  Of those, less was always better. */
static void choose_main(History *history) {
  for (int i = 0; i < history->measures; i++)
    if (history->measure[i].is.main) return;
  for (int i = 0; i < history->measures; i++)
    if (tells_apart(history, &history->measure[i])) {
      history->measure[i].is.main = history->measure[i].is.less_is_better = true;
      return;
    }
}

/* ---- evaluations ----------------------------------------------------------------------------- */

/* The line's numbers in their places, and what it says of the weights and of how they acted. */
static HistoryEvaluation evaluation_of(const History *history, Arena *arena, const Json *line) {
  const char *which = json_text(json_get(line, "which")), *with = "";
  double *value = arena_array(arena, double, history->numbers + 1);
  for (int i = 0; i < history->measures; i++) {
    const HistoryMeasure *m = &history->measure[i];
    const Json *member = json_get(line, m->is.key);
    /* several numbers under a key: as many as the table says, NAN for those that lack */
    if (json_is_array(member)) member = json_first(member);
    for (int k = 0; k < m->numbers; k++, member = member ? json_next(member) : NULL)
      value[m->at + k] = json_number(member, NAN);
  }
  for (const Json *member = json_first(line); member; member = json_next(member))
    if (json_is_object(member)) with = history_text(arena, member);
  return (HistoryEvaluation){
    .step = json_number(json_get(line, "step"), NAN),
    .which = arena_text(arena, "%s", which ? which : "last"),
    .with = with,
    .training = !which || !strcmp(which, "last"),
    .value = value,
  };
}

static bool take_evaluation(History *history, Arena *arena, const Json *line, size_t room) {
  enum { MOST = 1 << 26 }; /* numbers of all lines: what is described as more is damage */
  if (!has_step(line)) return false;
  if ((history->evaluations + 1) * (size_t)(history->numbers + 1) > MOST) return false;
  if (!history->evaluation) history->evaluation = arena_array(arena, HistoryEvaluation, room);
  history->evaluation[history->evaluations++] = evaluation_of(history, arena, line);
  return true;
}

/* What was measured when the training ended: one object; NULL: there is none.  The caller frees. */
static Json *parse_end(const History *history, Arena *arena) {
  Error ignored;
  const char *path = arena_text(arena, "%s/measures.json", history->folder);
  return file_is_regular(path) ? json_parse_file(path, &ignored) : NULL;
}

static void take_end(History *history, Arena *arena, const Json *end) {
  if (!json_is_object(end)) return;
  history->end = arena_alloc(arena, sizeof *history->end);
  *history->end = evaluation_of(history, arena, end);
}

/* ---- figures --------------------------------------------------------------------------------- */

static bool take_figure(History *history, Arena *arena, const Json *line, size_t room) {
  if (!history->figure) history->figure = arena_array(arena, HistoryFigure, room);
  const char *file = json_text(json_get(line, "file")), *title = json_text(json_get(line, "title"));
  const char *caption = json_text(json_get(line, "caption"));
  if (!file || strchr(file, '/')) return false; /* of another folder */
  history->figure[history->figures++] =
      (HistoryFigure){ arena_text(arena, "%s", file), arena_text(arena, "%s", title ? title : file),
                       arena_text(arena, "%s", caption ? caption : ""),
                       json_number(json_get(line, "step"), NAN) };
  return true;
}

/* ---- warnings -------------------------------------------------------------------------------- */

/* config.json has them, oldest first; runs of release 0.1 have none. */
static void read_warnings(History *history, Arena *arena) {
  const Json *rows = json_get(history->config, "warnings");
  if (!json_is_array(rows)) return;
  history->warning = arena_array(arena, const char *, json_count(rows) + 1);
  for (const Json *row = json_first(rows); row; row = json_next(row)) {
    const char *text = json_text(json_get(row, "text"));
    double step = json_number(json_get(row, "step"), NAN);
    if (text)
      history->warning[history->warnings++] = arena_text(arena, "Step %.0f: %s.", step, text);
  }
}

/* ---- values as text -------------------------------------------------------------------------- */

/* Nested objects and arrays get brackets; the outermost object is a plain row of key=value. */
static void put_value(FILE *out, const Json *value, bool inside) {
  if (json_text(value)) {
    fputs(json_text(value), out);
  } else if (json_is_number(value)) {
    fprintf(out, "%.10g", json_number(value, NAN));
  } else if (json_is_object(value) || json_is_array(value)) {
    bool bracket = inside || json_is_array(value);
    if (bracket) fputc(json_is_array(value) ? '[' : '{', out);
    for (const Json *child = json_first(value); child; child = json_next(child)) {
      if (child != json_first(value)) fputc(' ', out);
      if (json_is_object(value)) fprintf(out, "%s=", json_key(child));
      put_value(out, child, true);
    }
    if (bracket) fputc(json_is_array(value) ? ']' : '}', out);
  } else {
    fputs(json_is_null(value) ? "null" : json_bool(value, false) ? "true" : "false", out);
  }
}

const char *history_text(Arena *arena, const Json *value) {
  char *text = NULL;
  size_t length = 0;
  FILE *out = open_memstream(&text, &length);
  NEED_MEMORY(out);
  put_value(out, value, false);
  NEED_MEMORY(fclose(out) == 0);
  const char *kept = arena_text(arena, "%s", text);
  free(text);
  return kept;
}

/* ---- the folder ------------------------------------------------------------------------------ */

/* eval.jsonl and measures.json.  First the table of what either may hold, then their numbers, whose
 * rows are as long as that table: it may not grow once the first of them is read. */
static bool read_evaluations(History *history, Arena *arena, Error *error) {
  Json *end = parse_end(history, arena);
  size_t skipped = history->skipped;
  bool read = true;
  /* runs of release 0.1 describe none, so their keys are collected in a first pass */
  if (!read_measures(history)) {
    read = read_lines(history, arena, "eval.jsonl", false, take_keys, error);
    if (json_is_object(end)) take_keys(history, arena, end, 0);
  }
  history->skipped = skipped; /* the same lines again */
  read = read && read_lines(history, arena, "eval.jsonl", false, take_evaluation, error);
  /* the main measure depends on the evaluations, so it comes after them */
  if (read) choose_main(history), take_end(history, arena, end);
  json_free(end);
  return read;
}

bool history_read(History *history, Arena *arena, const char *folder, Error *error) {
  *history = (History){ .folder = folder };
  /* the settings first: they describe the measures */
  const char *config = arena_text(arena, "%s/config.json", folder);
  if (!(history->config = json_parse_file(config, error))) return false;
  bool read = json_is_object(history->config) ||
              error_set(error, FAIL_INPUT, "%s: expected an object of settings", config);
  read = read && read_lines(history, arena, "metrics.jsonl", true, take_metrics, error);
  read = read && read_evaluations(history, arena, error) &&
         read_lines(history, arena, "figures.jsonl", false, take_figure, error);
  if (read) read_warnings(history, arena);
  if (!read) history_close(history);
  return read;
}

void history_close(History *history) {
  json_free(history->config);
  history->config = NULL;
}
