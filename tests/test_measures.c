/* test_measures.c -- what a definition says it is measured by: the tables of all algorithms, and
 * one of this file alone through the loop to the report: one more measure is one more row. */
#include "core/check.h"
#include "rl/report/report.h"
#include "rl/train/measuring.h"
#include "rl/train/train.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char root[64];
static const char *in_root(Arena *arena, const char *name) {
  return arena_text(arena, "%s/%s", root, name);
}

static int setup(void **state) {
  (void)state;
  strcpy(root, "/tmp/test_measures.XXXXXX");
  return mkdtemp(root) ? 0 : -1;
}

static int teardown(void **state) {
  (void)state;
  static const char *const names[] = { "config.json",      "metrics.jsonl",    "eval.jsonl",
                                       "measures.json",    "figures.jsonl",    "lock",
                                       "last.safetensors", "best.safetensors", "counts.json",
                                       "report.html" };
  Arena *arena = arena_new();
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) remove(in_root(arena, names[i]));
  arena_free(arena);
  return rmdir(root);
}

static const char *read_file(Arena *arena, const char *name) {
  FILE *file = fopen(in_root(arena, name), "r");
  if (!file) return NULL;
  char *text = arena_alloc(arena, 1 << 18);
  assert_true(fread(text, 1, (1 << 18) - 1, file) < (1 << 18) - 1);
  fclose(file);
  return text;
}

static void assert_has(const char *text, const char *part) {
  if (!text || !strstr(text, part)) fail_msg("not there: %s", part);
}

/* ---- the tables of all algorithms ------------------------------------------------------------ */

static bool names_a_row(const MeasureSet *set, const char *key) {
  for (int i = 0; i < set->count && key; i++)
    if (!strcmp(set->measures[i].key, key)) return true;
  return !key;
}

static void tables_name_their_own_rows(void **state) {
  (void)state;
  size_t count;
  const AlgoDef *const *algos = algo_list(&count);
  for (size_t a = 0; a < count; a++) {
    bool compared = false;
    for (int s = 0; algos[a]->measured[s]; s++) {
      const MeasureSet *set = algos[a]->measured[s];
      assert_true(s < ALGO_MEASURES && set->measure);
      assert_true(set->count > 0 || !set->measures); /* none: it looks for warnings */
      for (int i = 0; i < set->count; i++) {
        const Measure *m = &set->measures[i];
        assert_true(names_a_row(set, m->beside) && names_a_row(set, m->spread));
        assert_true(names_a_row(set, m->over));
        compared |= m->main && set->when == MEASURE_STEP;
        for (int k = 0; k < i; k++) assert_string_not_equal(set->measures[k].key, m->key);
      }
    }
    if (!compared) fail_msg("%s: no measure is the main one", algos[a]->name);
  }
}

static void a_row_is_read_as_it_was_written(void **state) {
  (void)state;
  static const Measure rows[] = {
    { "a", "b", "c", "d", "e", "f", "g", true, true, true, true, 3 },
    { .key = "alone" },
    { .key = "each", .count = MEASURE_EPISODES },
  };
  JsonText text = { 0 };
  Error error;
  json_open(&text, NULL, '[');
  measures_describe(rows, 3, 7, &text);
  json_close(&text, ']');
  Json *json = json_parse(text.text, text.length, &error);
  const Json *row = json_first(json);
  Measure m;
  assert_true(measure_read(&m, row));
  assert_string_equal(m.key, "a"), assert_string_equal(m.title, "b");
  assert_string_equal(m.unit, "c"), assert_string_equal(m.caption, "d");
  assert_string_equal(m.beside, "e"), assert_string_equal(m.spread, "f");
  assert_string_equal(m.over, "g");
  assert_true(m.less_is_better && m.main && m.no_best && m.total && m.count == 3);
  assert_true(measure_read(&m, row = json_next(row)));
  assert_true(!m.title && !m.main && m.count == 0);
  assert_true(measure_read(&m, json_next(row)) && m.count == 7);
  json_free(json);
  json_text_free(&text);
}

static void the_main_one_is_the_last_that_is_a_number(void **state) {
  (void)state;
  static const Measure rows[] = { { .key = "plain", .main = true },
                                  { .key = "parts", .count = 2 },
                                  { .key = "scaled", .less_is_better = true, .main = true } };
  double main = 0;
  assert_ptr_equal(measures_main(rows, 3, 0, (double[]){ 1, 2, 3, 4 }, &main), &rows[2]);
  assert_true(main == 4 && measure_gain(&rows[2], main) == -4);
  assert_ptr_equal(measures_main(rows, 3, 0, (double[]){ 1, 2, 3, NAN }, &main), &rows[0]);
  assert_true(main == 1 && measure_gain(&rows[0], main) == 1);
  assert_null(measures_main(rows, 3, 0, (double[]){ NAN, 2, 3, NAN }, &main));
  assert_true(isnan(measure_gain(NULL, 1)));
}

/* ---- a definition of our own ----------------------------------------------------------------- */

typedef struct {
  Agent agent;
  int updates;
} Counter;

static bool update(Agent *agent, int64_t step, Log *log) {
  (void)step;
  log_scalar(log, "loss/count", ++((Counter *)agent)->updates);
  return true;
}

static bool save(const Agent *agent, Checkpoint *c, Error *error) {
  (void)error;
  checkpoint_add_text(c, "updates", arena_text(c->arena, "%d", ((const Counter *)agent)->updates));
  return true;
}

/* how far the count is from 4, beside what one can see */
static const Measure misses[] = {
  { "miss", "distance to four", "counts", "How far the count is from four.", .beside = "least",
    .less_is_better = true, .main = true },
  { .key = "least", .title = "that can be seen" },
};
static bool measure_miss(Agent *agent, double *value, Error *error) {
  (void)error;
  value[0] = abs(((Counter *)agent)->updates - 4), value[1] = 0.5;
  return true;
}
static const MeasureSet measured_miss = { .measures = misses, .count = 2, .measure = measure_miss };

/* one more measure: a row and the code that computes it */
static const Measure parities[] = { { .key = "parity", .title = "odd or even" } };
static bool measure_parity(Agent *agent, double *value, Error *error) {
  (void)error;
  *value = ((Counter *)agent)->updates % 2;
  return true;
}
static const MeasureSet measured_parity = { .measures = parities,
                                            .count = 1,
                                            .measure = measure_parity };

static const Measure totals[] = { { .key = "count", .title = "count at the end" } };
static bool measure_total(Agent *agent, double *value, Error *error) {
  int updates = ((Counter *)agent)->updates;
  *value = updates;
  return updates != 5 || error_set(error, FAIL_RUNNING, "five cannot be measured");
}
static const MeasureSet measured_total = {
  .measures = totals, .count = 1, .when = MEASURE_END, .measure = measure_total
};

static bool never(const Agent *agent) { return agent == NULL; }
static const MeasureSet measured_never = {
  .measures = totals, .count = 1, .applies = never, .measure = measure_total
};

/* a figure fails at every step; that at the end is a table */
static bool show(Agent *agent, MeasureWhen when, Figures *figures, Error *error) {
  if (when == MEASURE_STEP) return error_set(error, FAIL_RUNNING, "no picture of a count");
  FILE *file = fopen(figures_path(figures, "counts.json"), "w");
  CHECK(file, "cannot write");
  fprintf(file, "{\"columns\":[\"updates\"],\"rows\":[[%d]]}", ((Counter *)agent)->updates);
  fclose(file);
  figures_add(figures, "counts.json", "All counts", "As counted.");
  return true;
}

static const AlgoDef algo_counter = { .name = "counter",
                                      .update = update,
                                      .measured = { &measured_never, &measured_miss,
                                                    &measured_parity, &measured_total },
                                      .show = show,
                                      .save_more = save };

static void train_counter(Arena *arena, int64_t steps, const char *report) {
  TrainRequest request = { 0 };
  const SourceDef nothing = { .name = "nothing" };
  Source source = { .def = &nothing };
  TrainConfig config = { .steps = steps, .eval_every = 2, .log_every = 1 };
  config.save_every = steps;
  Counter counter = { .updates = 0 };
  Trainer t = { .arena = arena,
                .request = &request,
                .algo = &algo_counter,
                .config = &config,
                .shared = &config,
                .run.lock = -1,
                .kernels = kernels_find("own", &(Error){ 0 }),
                .source = &source,
                .setup = { .def = &algo_counter, .arena = arena, .config = &config },
                .agent = &counter.agent };
  TrainOutcome outcome;
  Error error;
  counter.agent = (Agent){ .def = &algo_counter, .setup = &t.setup };
  assert_true(run_open(&t.run, arena, root, true, &error));
  if (!train_run(&t, &outcome, &error)) fail_msg("%s", error.text);
  train_show(&t, &outcome);
  const char *runs[] = { root };
  if (!report_write(runs, 1, report, &error)) fail_msg("%s", error.text);
  run_close(&t.run);
}

static void a_measure_goes_from_its_row_to_the_report(void **state) {
  (void)state;
  Arena *arena = arena_new();
  train_counter(arena, 6, in_root(arena, "report.html"));
  assert_string_equal(read_file(arena, "eval.jsonl"),
                      "{\"step\":2,\"miss\":2,\"least\":0.5,\"parity\":0}\n"
                      "{\"step\":4,\"miss\":0,\"least\":0.5,\"parity\":0}\n"
                      "{\"step\":6,\"miss\":2,\"least\":0.5,\"parity\":0}\n");
  assert_string_equal(
      read_file(arena, "measures.json"),
      "{\"algo\":\"counter\",\"data\":null,\"which\":\"last\",\"step\":6,\"count\":6}");
  Checkpoint best;
  Error error;
  checkpoint_init(&best, arena);
  assert_true(checkpoint_load(&best, in_root(arena, "best.safetensors"), NULL, &error));
  assert_string_equal(checkpoint_text(&best, "updates"), "4");
  const char *page = read_file(arena, "report.html");
  assert_has(page, "<th>distance to four</th><th>that can be seen</th><th>ratio</th>"
                   "<th>odd or even</th></tr>");
  assert_has(page, "<td>best</td><td>4</td><td>0.0000</td><td>0.5000</td><td>0.0000</td>");
  assert_has(page, "<h3>Distance to four</h3>");
  assert_has(page, "Distance to four, counts");
  assert_has(page, "How far the count is from four. Less is better.");
  assert_has(page, "<th>count at the end</th></tr>");
  assert_has(page, "<h2>All counts</h2>");
  assert_has(page, "<tr><td>6</td></tr>");
  arena_free(arena);
}

static void what_fails_at_the_end_ends_nothing(void **state) {
  (void)state;
  Arena *arena = arena_new();
  train_counter(arena, 5, in_root(arena, "report.html"));
  assert_null(read_file(arena, "measures.json"));
  assert_non_null(read_file(arena, "last.safetensors"));
  assert_has(read_file(arena, "report.html"), "<h2>All counts</h2>");
  arena_free(arena);
}

/* ---- figures --------------------------------------------------------------------------------- */

static void figures_take_their_place_and_do_not_grow(void **state) {
  (void)state;
  Arena *arena = arena_new();
  Figures f;
  Error error;
  figures_open(&f, arena, root, 0);
  assert_true(figures_save(&f, &error) && !read_file(arena, "figures.jsonl"));
  f.step = 10, figures_keep(&f, "ten.png", "Row", NULL);
  figures_add(&f, "last.png", "Last", "Of ten.");
  f.step = 20, figures_keep(&f, "twenty.png", "Row", NULL);
  figures_add(&f, "last.png", "Last", "Of twenty.");
  assert_true(figures_save(&f, &error));
  const char *all = read_file(arena, "figures.jsonl");
  assert_string_equal(all,
                      "{\"file\":\"last.png\",\"title\":\"Last\",\"caption\":\"Of twenty.\"}\n"
                      "{\"step\":10,\"file\":\"ten.png\",\"title\":\"Row\",\"caption\":null}\n"
                      "{\"step\":20,\"file\":\"twenty.png\",\"title\":\"Row\",\"caption\":null}\n");
  figures_open(&f, arena, root, 15); /* resumed before twenty */
  assert_int_equal(f.count, 2);
  f.step = 20, figures_keep(&f, "twenty.png", "Row", NULL);
  assert_true(figures_save(&f, &error));
  assert_string_equal(read_file(arena, "figures.jsonl"), all);
  arena_free(arena);
}

int main(void) {
#define FACT(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
  const struct CMUnitTest tests[] = {
    FACT(tables_name_their_own_rows),
    FACT(a_row_is_read_as_it_was_written),
    FACT(the_main_one_is_the_last_that_is_a_number),
    FACT(a_measure_goes_from_its_row_to_the_report),
    FACT(what_fails_at_the_end_ends_nothing),
    FACT(figures_take_their_place_and_do_not_grow),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
