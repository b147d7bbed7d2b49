/* measure.c -- tables of measures, as numbers of a line and as JSON; and the table of returns. */
#include "rl/measure/measure.h"
#include <math.h>

/* clang-format off */
const Measure measure_returns[RETURNS] = {
  { "episodes", "episodes", .total = true },
  { "return_mean", "return", "per episode", "Mean return of the evaluation's episodes.",
    .spread = "return_std", .over = "episodes", .main = true },
  { .key = "return_std" },
  { "normalized_mean", "normalised return", "0 random, 100 expert", /* before the return */
    "Normalised: 0 is the random and 100 the expert policy of the reference.",
    .spread = "normalized_std", .over = "episodes", .main = true },
  { .key = "normalized_std" },
  { .key = "length_mean", .title = "length" },
  { "simulator_failures", "failed", .total = true,
    .caption = "Failed: episodes in which the simulator gave up; they count with the return "
               "reached." },
  { "returns", .count = MEASURE_EPISODES },
  { "lengths", .count = MEASURE_EPISODES },
};
/* clang-format on */

/* ---- numbers --------------------------------------------------------------------------------- */

int measure_numbers(const Measure *m, int episodes) {
  return m->count == MEASURE_EPISODES ? episodes : m->count ? m->count : 1;
}

int measures_numbers(const Measure *m, int count, int episodes) {
  int sum = 0;
  for (int i = 0; i < count; i++) sum += measure_numbers(&m[i], episodes);
  return sum;
}

const double *measures_put(const Measure *m, int count, int episodes, const double *value,
                           JsonText *out) {
  for (int i = 0; i < count; i++) {
    /* a single number stands alone; a list is an array even if it has one entry */
    if (!m[i].count) {
      json_put_number(out, m[i].key, *value++);
      continue;
    }
    int numbers = measure_numbers(&m[i], episodes);
    json_open(out, m[i].key, '[');
    for (int k = 0; k < numbers; k++) json_put_number(out, NULL, *value++);
    json_close(out, ']');
  }
  return value;
}

const Measure *measures_main(const Measure *m, int count, int episodes, const double *value,
                             double *main) {
  /* a later row takes the place of an earlier one, if it is a number */
  const Measure *found = NULL;
  for (int i = 0; i < count; value += measure_numbers(&m[i], episodes), i++)
    if (m[i].main && isfinite(*value)) found = &m[i], *main = *value;
  return found;
}

double measure_gain(const Measure *m, double value) {
  return !m || m->no_best ? NAN : m->less_is_better ? -value : value;
}

/* ---- the table as JSON ----------------------------------------------------------------------- */

/* What a measure lacks is not written, so that the table stays short. */
static void put_some(JsonText *out, const char *key, const char *text) {
  if (text) json_put_text(out, key, text);
}
static void put_flag(JsonText *out, const char *key, bool flag) {
  if (flag) json_put_bool(out, key, true);
}

void measures_describe(const Measure *m, int count, int episodes, JsonText *out) {
  for (int i = 0; i < count; i++) {
    json_open(out, NULL, '{');
    json_put_text(out, "key", m[i].key);
    put_some(out, "title", m[i].title), put_some(out, "unit", m[i].unit);
    put_some(out, "caption", m[i].caption), put_some(out, "beside", m[i].beside);
    put_some(out, "spread", m[i].spread), put_some(out, "over", m[i].over);
    put_flag(out, "less_is_better", m[i].less_is_better), put_flag(out, "main", m[i].main);
    put_flag(out, "no_best", m[i].no_best), put_flag(out, "total", m[i].total);
    /* the number of episodes is known by now, so it is written in place of the mark */
    if (m[i].count) json_put_integer(out, "count", measure_numbers(&m[i], episodes));
    json_close(out, '}');
  }
}

bool measure_read(Measure *m, const Json *row) {
#define TEXT(key) .key = json_text(json_get(row, #key))
#define FLAG(key) .key = json_bool(json_get(row, #key), false)
  enum { MOST = 1 << 12 }; /* numbers under a key that are believed */
  double count = json_number(json_get(row, "count"), 0);
  *m = (Measure){
    TEXT(key),    TEXT(title),   TEXT(unit),  TEXT(caption),
    TEXT(beside), TEXT(spread),  TEXT(over),  FLAG(less_is_better),
    FLAG(main),   FLAG(no_best), FLAG(total), .count = count > 0 && count < MOST ? (int)count : 0
  };
#undef TEXT
#undef FLAG
  return m->key != NULL;
}
