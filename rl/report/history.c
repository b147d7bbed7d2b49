/* history.c -- JSON lines to columns. */
#include "rl/report/history.h"
#include "core/check.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- lines ----------------------------------------------------------------------------------- */

typedef void (*TakeLine)(History *history, Arena *arena, const Json *line, size_t room);

static bool is_blank(const char *line) { return !line[strspn(line, " \t\r\n")]; }

/* Twice through the file: once to count the lines, so that columns can be allocated whole, and once
 * to take them.  A run that is still being written may grow in between; `room` is the limit. */
static void take_lines(History *history, Arena *arena, FILE *file, TakeLine take) {
  char *line = NULL;
  size_t capacity = 0, room = 0, seen = 0;
  while (getline(&line, &capacity, file) > 0) room++;
  rewind(file);
  for (ssize_t length; seen < room && (length = getline(&line, &capacity, file)) > 0; seen++) {
    if (is_blank(line)) continue;
    Error ignored;
    Json *json = json_parse(line, (size_t)length, &ignored);
    if (json_is_object(json) && json_is_number(json_get(json, "step")))
      take(history, arena, json, room);
    else
      history->skipped++;
    json_free(json);
  }
  free(line);
}

static bool read_lines(History *history, Arena *arena, const char *name, bool required,
                       TakeLine take, Error *error) {
  const char *path = arena_text(arena, "%s/%s", history->folder, name);
  FILE *file = fopen(path, "r");
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

static double *add_metric(History *history, Arena *arena, const char *name, size_t room) {
  if (history->metrics == HISTORY_MAX_METRICS) return NULL;
  double *value = arena_array(arena, double, room);
  for (size_t i = 0; i < room; i++) value[i] = NAN;
  history->metric[history->metrics++] =
      (HistoryMetric){ .name = arena_text(arena, "%s", name), .value = value };
  return value;
}

static void take_metrics(History *history, Arena *arena, const Json *line, size_t room) {
  for (const Json *member = json_first(line); member; member = json_next(member)) {
    if (!json_is_number(member) && !json_is_null(member)) continue;
    const char *name = json_key(member);
    double *value = history_metric(history, name);
    if (!value) value = add_metric(history, arena, name, room);
    if (value) value[history->rows] = json_number(member, INFINITY);
  }
  history->rows++;
}

size_t history_thin(const double *x, const double *y, size_t count, double *thin_x, double *thin_y,
                    size_t most, size_t *bucket) {
  CHECK(most > 0, "history_thin: no room");
  size_t pairs = 0, points = 0, held = 0;
  for (size_t i = 0; i < count; i++) pairs += !isnan(y[i]) && isfinite(x[i]);
  *bucket = pairs <= most ? 1 : (pairs + most - 1) / most;
  double sum_x = 0, sum_y = 0;
  for (size_t i = 0; i < count; i++) {
    if (isnan(y[i]) || !isfinite(x[i])) continue;
    sum_x += x[i], sum_y += y[i], held++, pairs--;
    if (held < *bucket && pairs) continue;
    thin_x[points] = sum_x / (double)held;
    thin_y[points++] = sum_y / (double)held;
    sum_x = sum_y = 0, held = 0;
  }
  return points;
}

/* ---- evaluations ----------------------------------------------------------------------------- */

static void take_evaluation(History *history, Arena *arena, const Json *line, size_t room) {
  if (!history->evaluation) history->evaluation = arena_array(arena, HistoryEvaluation, room);
  const char *which = json_text(json_get(line, "which"));
  const Json *act = json_get(line, "act");
#define NUMBER(key) .key = json_number(json_get(line, #key), NAN)
  history->evaluation[history->evaluations++] = (HistoryEvaluation){
    NUMBER(step),
    NUMBER(episodes),
    NUMBER(simulator_failures),
    NUMBER(length_mean),
    NUMBER(return_mean),
    NUMBER(return_std),
    NUMBER(normalized_mean),
    NUMBER(normalized_std),
    NUMBER(held_out_loss),
    NUMBER(distance),
    NUMBER(floor),
    NUMBER(plan_error),
    NUMBER(plan_still),
    NUMBER(data_error),
    .which = arena_text(arena, "%s", which ? which : "last"),
    .act = act ? history_text(arena, act) : "",
    .training = !which || !strcmp(which, "last"),
  };
#undef NUMBER
  const Json *part = json_first(json_get(line, "held_out_by_time"));
  for (int i = 0; i < HISTORY_TIMES; i++, part = part ? json_next(part) : NULL)
    history->evaluation[history->evaluations - 1].held_out_by_time[i] = json_number(part, NAN);
}

/* ---- values as text -------------------------------------------------------------------------- */

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
  CHECK(out, "out of memory");
  put_value(out, value, false);
  CHECK(fclose(out) == 0, "out of memory");
  const char *kept = arena_text(arena, "%s", text);
  free(text);
  return kept;
}

/* ---- the folder ------------------------------------------------------------------------------ */

bool history_read(History *history, Arena *arena, const char *folder, Error *error) {
  *history = (History){ .folder = folder };
  const char *config = arena_text(arena, "%s/config.json", folder);
  if (!(history->config = json_parse_file(config, error))) return false;
  bool read = json_is_object(history->config) ||
              error_set(error, FAIL_INPUT, "%s: expected an object of settings", config);
  read = read && read_lines(history, arena, "metrics.jsonl", true, take_metrics, error) &&
         read_lines(history, arena, "eval.jsonl", false, take_evaluation, error);
  Error ignored;
  const char *scores = arena_text(arena, "%s/scores.json", folder);
  if (read && !access(scores, R_OK)) history->scores = json_parse_file(scores, &ignored);
  if (!read) history_close(history);
  return read;
}

void history_close(History *history) {
  json_free(history->config), json_free(history->scores);
  history->config = history->scores = NULL;
}
