/* test_report.c -- from the folders of made-up runs to the page: the right numbers, well-formed
 * HTML, nothing fetched, and no harm from broken lines. */
#include "rl/report/report.h"
#include "core/check.h"
#include "rl/report/history.h"
#include "rl/report/results.h"
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[64], run[96], other[96], page_path[96];

static int setup(void **state) {
  (void)state;
  strcpy(root, "/tmp/test_report.XXXXXX");
  if (!mkdtemp(root)) return -1;
  snprintf(run, sizeof run, "%s/run", root);
  snprintf(other, sizeof other, "%s/other", root);
  snprintf(page_path, sizeof page_path, "%s/report.html", root);
  return mkdir(run, 0700) || mkdir(other, 0700);
}

static void remove_in(const char *folder, const char *name) {
  char path[128];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  remove(path);
}

static int teardown(void **state) {
  (void)state;
  static const char *const names[] = { "config.json",   "metrics.jsonl", "eval.jsonl",
                                       "measures.json", "figures.jsonl", "" };
  for (int i = 0; i < 6; i++) remove_in(run, names[i]), remove_in(other, names[i]);
  remove_in(root, "report.html");
  return rmdir(root);
}

static FILE *open_in(const char *folder, const char *name) {
  char path[128];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  return file;
}

static void write_in(const char *folder, const char *name, const char *text) {
  FILE *file = open_in(folder, name);
  fputs(text, file);
  fclose(file);
}

/* `count` rows of a table; NULL: none, as in release 0.1 */
static void write_described(const char *folder, int seed, const char *eta, const Measure *measures,
                            int count) {
  FILE *file = open_in(folder, "config.json");
  JsonText rows = { 0 };
  json_open(&rows, NULL, '[');
  if (measures) measures_describe(measures, count, 10, &rows);
  json_close(&rows, ']');
  fprintf(file,
          "{%s%s%s\"diffrl\":\"0.1.0\",\"algo\":\"diffusion-ql\",\"env\":\"hopper-v2\","
          "\"generated\":true,\"data\":\"x/"
          "<medium>&-v1.hdf5\",\"data_hash\":\"77ab\",\"seed\":%d,\"steps\":600,"
          "\"preset\":null,\"settings\":{\"batch\":256,\"eta\":%s,\"hidden\":[256,128]},"
          "\"changed\":[\"eta\"],\"versions\":{\"mujoco\":\"2.2.2\",\"kernels\":\"avx512\"},"
          "\"dataset\":{\"transitions\":1000000,\"return_mean\":1422.25,"
          "\"normalized_mean\":44.5}}",
          measures ? "\"measures\":" : "", measures ? rows.text : "", measures ? "," : "", seed,
          eta);
  fclose(file);
  json_text_free(&rows);
}

static void write_config(const char *folder, int seed, const char *eta) {
  write_described(folder, seed, eta, measure_returns, RETURNS);
}

#define ACT "\"act\":{\"weights\":\"online\",\"sampler\":\"ddpm\",\"steps\":5,\"temperature\":1}"

/* Returns 100, 300, 200, 400, 350, 250 after 100, 200, ... 600 steps, normalised a tenth of them,
 * all plus `offset`; 10 episodes with a std of 30 each. */
static void write_evaluations(const char *folder, double offset) {
  static const double mean[] = { 100, 300, 200, 400, 350, 250 };
  FILE *file = open_in(folder, "eval.jsonl");
  for (int i = 0; i < 6; i++)
    fprintf(file,
            "{\"step\":%d,\"which\":\"last\",\"episodes\":10,\"return_mean\":%g,\"return_std\":30,"
            "\"normalized_mean\":%g,\"normalized_std\":3,\"length_mean\":77," ACT "}\n",
            100 * (i + 1), mean[i] + offset, (mean[i] + offset) / 10);
  fclose(file);
}

static void write_metrics(const char *folder) {
  FILE *file = open_in(folder, "metrics.jsonl");
  for (int i = 1; i <= 60; i++)
    fprintf(file,
            "{\"step\":%d,\"time_s\":%g,\"steps_per_s\":80,\"loss/critic\":%g,\"loss/q\":-1.5,"
            "\"q/mean\":%d,\"q/target_mean\":%d,\"grad_norm/actor\":%s,\"lr/actor\":0.0003}\n",
            10 * i, i / 8.0, 100.0 / i, i, i - 1, i == 30 ? "null" : "0.7");
  fclose(file);
}

static void write_run(const char *folder, int seed, double offset) {
  write_config(folder, seed, "1.5");
  write_metrics(folder);
  write_evaluations(folder, offset);
}

static char *read_page(void) {
  FILE *file = fopen(page_path, "r");
  assert_non_null(file);
  char *text = calloc(1, 1 << 20);
  CHECK(text, "out of memory");
  assert_true(fread(text, 1, (1 << 20) - 1, file) < (1 << 20) - 1);
  fclose(file);
  return text;
}

/* Write the report of `count` of the runs (run, other); the caller frees the text. */
static char *report(size_t count) {
  Error error;
  if (!report_write((const char *const[]){ run, other }, count, page_path, &error))
    fail_msg("%s", error.text);
  return read_page();
}

/* ---- HTML ------------------------------------------------------------------------------------ */

/* Every tag that opens is closed, in order; attributes have quotes; & begins an entity. */
static void assert_well_formed(const char *html) {
  char open[32][16];
  int depth = 0;
  for (const char *p = html + strlen("<!DOCTYPE html>"); *p; p++) {
    if (*p == '&')
      assert_int_equal(p[1 + strspn(p + 1, "#abcdefghijklmnopqrstuvwxyz0123456789")], ';');
    if (*p != '<') continue;
    const char *name = p + (p[1] == '/' ? 2 : 1), *end = strchr(p, '>');
    int length = (int)strcspn(name, " />\n");
    assert_non_null(end);
    assert_in_range(length, 1, 15);
    size_t quotes = 0;
    for (const char *q = p; q < end; q++) quotes += *q == '"', assert_true(q == p || *q != '<');
    assert_int_equal(quotes % 2, 0);
    if (p[1] == '/') {
      assert_true(depth > 0 && !strncmp(open[depth - 1], name, (size_t)length));
      assert_int_equal(strlen(open[--depth]), length);
    } else if (end[-1] != '/') {
      assert_true(depth < 32);
      snprintf(open[depth++], sizeof *open, "%.*s", length, name);
    }
    p = end;
  }
  assert_int_equal(depth, 0);
}

/* Nothing that a browser would fetch or run. */
static void assert_self_contained(const char *html) {
  static const char *const loads[] = { "http",  "//",   " src",    "href",    "url(", "@import",
                                       "<link", "<img", "<script", "<iframe", "<use", "onload" };
  for (size_t i = 0; i < sizeof loads / sizeof *loads; i++) assert_null(strstr(html, loads[i]));
}

/* Path data are numbers and the letters M, L, H, Z, h, v. */
static void assert_paths_are_numbers(const char *html) {
  size_t paths = 0;
  for (const char *p = html; (p = strstr(p, " d=\"")); paths++) {
    p += 4;
    assert_int_equal(p[strspn(p, "MLHZhv0123456789.- ")], '"');
  }
  assert_true(paths > 0);
  assert_null(strstr(html, "\"nan"));
  assert_null(strstr(html, "\"inf"));
  assert_null(strstr(html, "\"-nan"));
}

static void assert_good(const char *html) {
  assert_well_formed(html);
  assert_self_contained(html);
  assert_paths_are_numbers(html);
}

static void assert_has(const char *html, const char *text) {
  if (!strstr(html, text)) fail_msg("the page lacks: %s", text);
}

/* ---- one run --------------------------------------------------------------------------------- */

static void the_page_has_the_right_numbers(void **state) {
  (void)state;
  write_run(run, 7, 0);
  char *html = report(1);
  assert_good(html);
  assert_has(html, "<title>diffusion-ql on hopper-v2</title>");
  assert_has(html, "x/&lt;medium&gt;&amp;-v1.hdf5 · seed 7 · steps 600");
  assert_has(html, "<td>last</td><td>600</td><td>250.0 <span class=\"spread\">± 30.0</span></td>"
                   "<td>25.00 <span class=\"spread\">± 3.00</span></td><td>10</td><td>77.00</td>");
  assert_has(html, "<td>best</td><td>400</td><td>400.0 <span");
  /* (300 + 200 + 400 + 350 + 250) / 5 = 300; over their 50 episodes the squares sum to
   * 5 * 9 * 30^2 + 10 * (0 + 100^2 + 100^2 + 50^2 + 50^2) = 290500; / 49, root: 77.0 */
  assert_has(html, "<td>mean of the last 5</td><td>600</td><td>300.0 "
                   "<span class=\"spread\">± 77.0</span></td><td>30.00 "
                   "<span class=\"spread\">± 7.70</span></td><td>50</td>");
  assert_has(html, "<code>weights=online sampler=ddpm steps=5 temperature=1</code>");
  assert_has(html, "no comparison with published D4RL scores");
  assert_has(html, "mean of the data set");
  assert_has(html, "<div class=\"changed\"><dt>eta</dt><dd>1.5</dd>");
  assert_has(html, "<div class=\"plain\"><dt>hidden</dt><dd>[256 128]</dd>");
  assert_has(html, "<dt>transitions</dt><dd>1,000,000</dd>");
  assert_has(html, "<dt>data_hash</dt><dd>77ab</dd>");
  assert_has(html, "<dt>kernels</dt><dd>avx512</dd>");
  free(html);
}

static void every_metric_has_a_curve(void **state) {
  (void)state;
  static const char *const titles[] = {
    "<h3>loss/critic</h3>",      "<h3>loss/q</h3>", "<h3>Q values</h3>",
    "<h3>Gradient norms</h3>",   "<h3>Speed</h3>",  "<h3>Learning rates</h3>",
    "<title>target_mean</title>"
  };
  write_run(run, 7, 0);
  char *html = report(1);
  for (size_t i = 0; i < sizeof titles / sizeof *titles; i++) assert_has(html, titles[i]);
  assert_has(html, "loss, log scale"); /* critic: 100 to 1.7 */
  assert_null(strstr(html, "<h3>step</h3>"));
  assert_null(strstr(html, "<h3>time_s</h3>"));
  free(html);
}

static void a_null_is_a_gap(void **state) {
  (void)state;
  write_run(run, 7, 0);
  char *html = report(1), *figure = strstr(html, "<h3>Gradient norms</h3>");
  assert_non_null(figure);
  char *path = strstr(figure, "line\" d=\""), *end = strstr(path, "<title>");
  size_t stretches = 0;
  for (; path < end; path++) stretches += *path == 'M';
  assert_int_equal(stretches, 2);
  free(html);
}

/* ---- what config.json describes -------------------------------------------------------------- */

static const Measure own_measures[] = {
  { "nll", "surprise", "nats", "Surprise <at> rows that no training saw.", .beside = "bound",
    .less_is_better = true, .main = true },
  { .key = "bound", .title = "of the data" },
  { "by_part", "surprise by part", "part, 0 first to 1 last", .less_is_better = true, .count = 3 },
  { .key = "hidden" },
  { "gap", "gap", .caption = "How far apart.", .beside = "gap_real", .less_is_better = true },
  { .key = "gap_real", .title = "of real ones" },
};
enum { OWN = sizeof own_measures / sizeof *own_measures };

static void write_own(const char *folder, int seed) {
  write_described(folder, seed, "1", own_measures, OWN);
  write_metrics(folder);
  write_in(folder, "eval.jsonl",
           "{\"step\":100,\"nll\":2,\"bound\":0.5,\"by_part\":[1,2,3],\"hidden\":77}\n"
           "{\"step\":200,\"nll\":1,\"bound\":0.5,\"by_part\":[1,1,1],\"hidden\":77}\n"
           "{\"step\":300,\"nll\":3,\"bound\":0.5,\"by_part\":[1,1,7],\"hidden\":77}\n");
}

static void any_measure_is_shown_as_it_is_described(void **state) {
  (void)state;
  write_own(run, 0);
  char *html = report(1);
  assert_good(html);
  assert_has(html, "<th>surprise</th><th>of the data</th><th>ratio</th></tr>");
  assert_has(html, "<td>last</td><td>300</td><td>3.00</td><td>0.5000</td><td>6.00</td></tr>");
  assert_has(html, "<td>best</td><td>200</td><td>1.00</td>"); /* less is better */
  assert_has(html, "<td>mean of the last 3</td><td>300</td><td>2.00</td><td>0.5000</td>");
  assert_has(html, "Surprise &lt;at&gt; rows that no training saw. Less is better.");
  assert_has(html, "<h3>Surprise</h3>");
  assert_has(html, "Surprise, nats");
  assert_has(html, "Dashed: of the data.");
  assert_has(html, "<h3>Surprise by part</h3>");
  assert_has(html, "part, 0 first to 1 last");
  assert_null(strstr(html, "hidden</th>"));
  assert_null(strstr(html, "Measured at the end"));
  free(html);
}

/* A measure beside the one that runs are compared by has a plot, what it is compared with not; and
 * the main one is drawn over what learning has cost, from 0 on: evaluations at steps 0, 100, 200
 * after 0, 5000 and 10000 questions. */
static void other_measures_and_costs_have_plots(void **state) {
  (void)state;
  write_own(run, 0);
  char *html = report(1);
  assert_has(html, "The same over the time of training.");
  assert_null(strstr(html, "questions to the reward"));
  free(html);
  write_in(run, "metrics.jsonl",
           "{\"step\":100,\"time_s\":2,\"queries\":5000}\n"
           "{\"step\":200,\"time_s\":4,\"queries\":10000}\n");
  write_in(run, "eval.jsonl",
           "{\"step\":0,\"nll\":2,\"bound\":0.5,\"gap\":1,\"gap_real\":0.1}\n"
           "{\"step\":100,\"nll\":1,\"bound\":0.5,\"gap\":2,\"gap_real\":0.1}\n"
           "{\"step\":200,\"nll\":3,\"bound\":0.5,\"gap\":3,\"gap_real\":0.1}\n");
  html = report(1);
  assert_good(html);
  assert_has(html, "<h3>gap</h3>");
  assert_null(strstr(html, "<h3>Of real ones</h3>"));
  char *figure = strstr(html, "questions to the reward");
  assert_non_null(figure);
  char *path = strstr(html, "The same over how often the reward was asked.");
  size_t dots = 0;
  for (char *at = figure; at < path; at++) dots += !strncmp(at, "<circle", 7);
  assert_int_equal(dots, 3);
  assert_has(figure, ">10k</text>");
  free(html);
}

/* A measure of several numbers has its plot whichever of the runs has it. */
static void parts_of_any_run_are_shown(void **state) {
  (void)state;
  write_run(run, 0, 0);
  write_own(other, 1);
  char *html = report(2);
  assert_has(html, "<h3>Surprise by part</h3>");
  free(html);
  write_own(run, 0);
  html = report(2);
  char *first = strstr(html, "<h3>Surprise by part</h3>");
  assert_non_null(first);
  assert_null(strstr(first + 1, "<h3>Surprise by part</h3>"));
  free(html);
}

/* What the footer says, a shell does: with the page, and a folder's name in quotes. */
static void the_footer_is_the_command(void **state) {
  (void)state;
  char odd[128], expected[512];
  write_run(run, 0, 0);
  snprintf(odd, sizeof odd, "%s/it's & one", root);
  assert_int_equal(symlink(run, odd), 0);
  Error error;
  assert_true(report_write((const char *const[]){ odd }, 1, page_path, &error));
  char *html = read_page();
  snprintf(expected, sizeof expected,
           "<code>diffrl report '%s/it'\\''s &amp; one' --out %s</code>.", root, page_path);
  assert_has(html, expected);
  free(html);
  unlink(odd);
}

static void what_is_measured_at_the_end_has_a_table(void **state) {
  (void)state;
  write_own(run, 0);
  write_in(run, "measures.json",
           "{\"which\":\"best\",\"step\":200,\"gap\":3,\"gap_real\":1.5,"
           "\"sampling\":{\"sampler\":\"heun\",\"steps\":15}}");
  char *html = report(1);
  assert_good(html);
  assert_has(html, "<th>weights</th><th>step</th><th>gap</th><th>of real ones</th><th>ratio</th>");
  assert_has(html, "<td>best</td><td>200</td><td>3.00</td><td>1.50</td><td>2.00</td></tr>");
  assert_has(html, "With <code>sampler=heun steps=15</code>");
  free(html);
}

static void runs_compared_by_different_measures_say_by_which(void **state) {
  (void)state;
  write_own(run, 0);
  write_run(other, 1, 0);
  char *html = report(2);
  assert_good(html);
  assert_has(html, "<th>run</th><th>measure</th>");
  assert_has(html, "/run</td><td>surprise</td>");
  assert_has(html, "/other</td><td>normalised return</td>");
  assert_null(strstr(html, "seed_std"));
  free(html);
}

/* ---- figures --------------------------------------------------------------------------------- */

#define FIGURE(file, title, caption, step)                                                         \
  "{" step "\"file\":\"" file "\",\"title\":\"" title "\",\"caption\":\"" caption "\"}\n"

static void figures_are_shown_in_their_order(void **state) {
  (void)state;
  static const char *const files[] = { "b.png", "a.png", "at-100.png", "at-200.png" };
  write_own(run, 0);
  for (int i = 0; i < 4; i++) write_in(run, files[i], i < 3 ? "abc" : "abcd");
  write_in(run, "figures.jsonl",
           FIGURE("b.png", "Second <letter>", "One.", "") FIGURE("a.png", "First", "Two.", "")
               FIGURE("gone.png", "Gone", "Three.", "") FIGURE("../x.png", "Elsewhere", "", "")
                   FIGURE("at-100.png", "Row", "Over time.", "\"step\":100,")
                       FIGURE("at-200.png", "Row", "Over time.", "\"step\":200,") "{\"fi");
  char *html = report(1), *second, *first;
  assert_well_formed(html);
  assert_non_null(second = strstr(html, "<h3>Second &lt;letter&gt;</h3>"));
  assert_non_null(first = strstr(html, "<h3>First</h3>"));
  assert_true(second < first);
  assert_has(html, "<h3>Row</h3>\n<p class=\"note\">Over time.</p>");
  assert_has(html, "<h3>step 100</h3></div>\n<img alt=\"Row\" "
                   "src=\"data:image/png;base64,YWJj\"/>");
  assert_has(html, "base64,YWJjZA==\"/>");
  assert_null(strstr(html, "Gone"));
  assert_null(strstr(html, "Elsewhere"));
  assert_has(html, "Skipped 2 unreadable lines");
  free(html);
  for (int i = 0; i < 4; i++) remove_in(run, files[i]);
}

static void tables_and_plots_describe_themselves(void **state) {
  (void)state;
  write_own(run, 0);
  write_in(run, "table.json",
           "{\"columns\":[\"name\",\"<n>\"],\"rows\":[[\"one & two\",12000],[\"x\",null]]}");
  write_in(
      run, "plots.json",
      "{\"plots\":[{\"title\":\"Errors\",\"x\":\"calls\",\"y\":\"error\",\"most\":3,\"log_scale\":"
      "true,\"reference\":0.1,\"reference_label\":\"least\",\"curves\":[{\"name\":\"good\",\"x\":["
      "1,"
      "2,3],\"y\":[2,1,0.5]},{\"name\":\"far\",\"x\":[1,2],\"y\":[9,null]}]},{\"curves\":7}]}");
  write_in(run, "figures.jsonl",
           FIGURE("table.json", "Numbers", "Of all.", "") FIGURE("plots.json", "Plots", "Two.", "")
               FIGURE("config.json", "No figure", "", ""));
  char *html = report(1);
  assert_good(html);
  assert_has(html, "<h2>Numbers</h2>");
  assert_has(html, "<th>name</th><th>&lt;n&gt;</th>");
  assert_has(html, "<td>one &amp; two</td><td>12,000</td></tr>\n<tr><td>x</td><td>–</td>");
  assert_has(html, "<h2>Plots</h2>\n<p class=\"note\">Two.</p>");
  assert_has(html, "<h3>Errors</h3>");
  assert_has(html, "<title>good</title>");
  assert_null(strstr(html, "<title>far</title>"));
  assert_null(strstr(html, "No figure"));
  free(html);
  remove_in(run, "table.json"), remove_in(run, "plots.json");
}

/* ---- runs of release 0.1 --------------------------------------------------------------------- */

static void numbers_that_nothing_describes_are_shown_by_their_keys(void **state) {
  (void)state;
  write_described(run, 0, "1", NULL, 0);
  write_metrics(run);
  write_in(run, "eval.jsonl",
           "{\"step\":100,\"points\":64,\"loss\":0.5,\"parts\":[1,2]}\n"
           "{\"step\":200,\"points\":64,\"loss\":0.25,\"parts\":[1,2]}\n"
           "{\"step\":300,\"points\":64,\"loss\":0.75,\"parts\":[1,2]}\n");
  char *html = report(1);
  assert_good(html);
  assert_has(html, "<th>loss</th><th>points</th></tr>"); /* compared by the first that changes */
  assert_has(html, "<td>last</td><td>300</td><td>0.7500</td><td>64.00</td>");
  assert_has(html, "<td>best</td><td>200</td><td>0.2500</td>"); /* less is better */
  assert_has(html, "<td>mean of the last 3</td><td>300</td><td>0.5000</td>");
  assert_has(html, "<h3>loss</h3>");
  assert_has(html, "<p class=\"note\">loss: less is better.");
  free(html);
}

/* measures.json may have keys that no line of eval.jsonl has: every row has a place for them. */
static void the_end_of_an_old_run_may_have_keys_of_its_own(void **state) {
  (void)state;
  write_described(run, 0, "1", NULL, 0);
  write_metrics(run);
  write_in(run, "eval.jsonl",
           "{\"step\":100,\"points\":64,\"loss\":0.5}\n{\"step\":200,\"points\":64,\"loss\":2}\n");
  FILE *file = open_in(run, "measures.json");
  fprintf(file, "{\"step\":200");
  for (int i = 0; i < 60; i++) fprintf(file, ",\"late%d\":%d", i, 1000 + i);
  fprintf(file, "}");
  fclose(file);
  Arena *arena = arena_new();
  History history;
  Error error;
  assert_true(history_read(&history, arena, run, &error));
  assert_int_equal(history.evaluations, 2);
  for (int i = 0; i < history.measures; i++)
    for (size_t k = 0; k < 2; k++) {
      const HistoryMeasure *m = &history.measure[i];
      bool late = !strncmp(m->is.key, "late", 4);
      assert_true(isnan(history_value(&history.evaluation[k], m)) == late);
      assert_true(isnan(history_value(history.end, m)) == !late);
    }
  history_close(&history);
  arena_free(arena);
  char *html = report(1);
  assert_good(html);
  assert_has(html, "<td>last</td><td>200</td><td>2.00</td><td>64.00</td></tr>");
  free(html);
}

/* A number that some evaluations lack is no difference between them. */
static void what_is_missing_is_not_what_runs_are_compared_by(void **state) {
  (void)state;
  write_described(run, 0, "1", NULL, 0);
  write_metrics(run);
  write_in(run, "eval.jsonl",
           "{\"step\":100,\"same\":null,\"loss\":0.5}\n{\"step\":200,\"same\":7,\"loss\":2}\n"
           "{\"step\":300,\"same\":7,\"loss\":1}\n");
  char *html = report(1);
  assert_has(html, "<td>best</td><td>100</td><td>0.5000</td>");
  assert_has(html, "<h3>loss</h3>");
  free(html);
}

static void returns_that_nothing_describes_are_known(void **state) {
  (void)state;
  write_run(run, 7, 0);
  char *described = report(1);
  write_described(run, 7, "1.5", NULL, 0);
  char *plain = report(1);
  assert_string_equal(described, plain);
  free(described), free(plain);
}

static void later_evaluations_of_other_weights_are_not_part_of_the_curve(void **state) {
  (void)state;
  write_run(run, 0, 0);
  char path[128];
  snprintf(path, sizeof path, "%s/eval.jsonl", run);
  FILE *file = fopen(path, "a");
  assert_non_null(file);
  fputs("{\"step\":400,\"which\":\"best\",\"return_mean\":9999,\"return_std\":1,\"episodes\":100,"
        "\"act\":{\"weights\":\"ema\"}}\n",
        file);
  fclose(file);
  char *html = report(1);
  assert_has(html, "<td>best</td><td>400</td><td>400.0 <span");
  assert_has(html, "<td>weights of best</td><td>400</td><td>9999.0 <span");
  assert_has(html, "<td class=\"act\">weights=ema</td>"); /* records differ: a column */
  free(html);
}

/* ---- broken files ---------------------------------------------------------------------------- */

static void broken_lines_are_skipped_and_counted(void **state) {
  (void)state;
  write_config(run, 0, "1");
  write_in(run, "metrics.jsonl",
           "\n\n{\"step\":10,\"loss/critic\":2}\nnot json\n[1,2]\n{\"loss/critic\":5}\n"
           "{\"step\":20,\"loss/critic\":null}\n{\"step\":30,\"loss/critic\":1e308}\n"
           "{\"step\":40,\"loss/critic\":\"text\",\"odd <key>\":3}\n{\"step\":50,\"loss/cr");
  write_in(run, "eval.jsonl",
           "{\"step\":10,\"return_mean\":5,\"act\":{}}\n{\"step\":20,\"return_mean\":null}\n{");
  char *html = report(1);
  assert_good(html);
  assert_has(html, "Skipped 5 unreadable lines");
  assert_has(html, "<h3>odd &lt;key&gt;</h3>");
  assert_has(html, "<td>last</td><td>10</td><td>5.00</td>"); /* null is no score */
  free(html);
}

static void empty_files_give_a_page_that_says_so(void **state) {
  (void)state;
  write_in(run, "config.json", "{}");
  write_in(run, "metrics.jsonl", "");
  char *html = report(1); /* and no eval.jsonl: not evaluated yet */
  assert_well_formed(html);
  assert_self_contained(html);
  assert_has(html, "Not evaluated yet.");
  assert_has(html, "No reports yet.");
  free(html);
}

static void assert_fails(const char *named) {
  Error error = { .kind = FAIL_NONE };
  assert_false(report_write((const char *const[]){ run }, 1, page_path, &error));
  assert_non_null(strstr(error.text, named));
  assert_int_not_equal(error.kind, FAIL_NONE);
  assert_int_not_equal(access(page_path, F_OK), 0);
}

static void a_missing_or_wrong_file_is_named(void **state) {
  (void)state;
  assert_fails("run/config.json");
  write_in(run, "config.json", "[1]");
  assert_fails("run/config.json");
  write_in(run, "config.json", "{\"algo\":");
  assert_fails("run/config.json");
  write_config(run, 0, "1");
  assert_fails("run/metrics.jsonl");
  write_metrics(run);
  strcat(page_path, "/no/folder.html");
  assert_fails("report.html/no/folder.html");
}

static void a_page_that_cannot_be_put_in_place_leaves_no_draft(void **state) {
  (void)state;
  Error error;
  write_run(run, 0, 0);
  assert_int_equal(mkdir(page_path, 0700), 0);
  assert_false(report_write((const char *const[]){ run }, 1, page_path, &error));
  assert_non_null(strstr(error.text, page_path));
  strcat(page_path, ".tmp");
  assert_int_not_equal(access(page_path, F_OK), 0);
}

/* ---- several runs ---------------------------------------------------------------------------- */

static void runs_that_differ_in_the_seed_give_seed_std(void **state) {
  (void)state;
  write_run(run, 0, 0);
  write_run(other, 1, 60);
  char *html = report(2);
  assert_good(html);
  /* last: 25 and 31: mean 28, std sqrt(2 * 3^2) = 4.24 */
  assert_has(
      html,
      "<td>diffusion-ql on hopper-v2, &lt;medium&gt;&amp;-v1</td><td>2</td><td>600</td><td>28.00 "
      "<span class=\"spread\">± 4.24</span></td>");
  assert_has(html, "seed_std");
  assert_has(html, "/other</li>"); /* the legend */
  free(html);
}

/* Rows say in what they differ; what they share is said once, below. */
static void how_rows_acted_is_told_apart(void **state) {
  (void)state;
  static const char *const act[] = { "\"steps\":5,\"candidates\":50",
                                     "\"steps\":5,\"candidates\":1" };
  const char *const folder[] = { run, other };
  for (int i = 0; i < 2; i++) {
    write_run(folder[i], 0, 0);
    FILE *file = open_in(folder[i], "eval.jsonl");
    fprintf(file, "{\"step\":9,\"return_mean\":1,\"act\":{%s}}\n", act[i]);
    fclose(file);
  }
  char *html = report(2);
  assert_good(html);
  assert_has(html, "<td class=\"act\">candidates=50</td>");
  assert_has(html, "<td class=\"act\">candidates=1</td>");
  assert_has(html, "All with <code>steps=5</code>");
  free(html);
}

static void runs_that_differ_in_a_setting_are_not_averaged(void **state) {
  (void)state;
  write_run(run, 0, 0);
  write_run(other, 1, 60);
  write_config(other, 1, "2.5");
  char *html = report(2);
  assert_good(html);
  assert_null(strstr(html, "seed_std"));
  assert_has(html, "<tr><td>eta</td><td class=\"value differs\" colspan=\"1\">1.5</td>"
                   "<td class=\"value differs\" colspan=\"1\">2.5</td></tr>");
  assert_has(html, "<tr><td>batch</td><td class=\"value\" colspan=\"2\">256</td></tr>");
  free(html);
}

static void the_same_seed_twice_is_no_spread(void **state) {
  (void)state;
  write_run(run, 3, 0);
  write_run(other, 3, 0);
  char *html = report(2);
  assert_null(strstr(html, "seed_std"));
  free(html);
}

/* ---- long runs ------------------------------------------------------------------------------- */

static void thinning_keeps_the_mean(void **state) {
  (void)state;
  enum { COUNT = 1200, MOST = 400 };
  double x[COUNT], y[COUNT], thin_x[MOST], thin_y[MOST];
  for (int i = 0; i < COUNT; i++) x[i] = i, y[i] = i % 3 ? 1 : 4;
  size_t bucket, points = history_thin(x, y, COUNT, thin_x, thin_y, MOST, &bucket);
  assert_int_equal(points, 400);
  assert_int_equal(bucket, 3);
  for (int i = 0; i < MOST; i++) assert_true(thin_x[i] == 3 * i + 1 && thin_y[i] == 2);
  y[0] = NAN; /* 1199 left: the last bucket has two */
  y[600] = INFINITY;
  points = history_thin(x, y, COUNT, thin_x, thin_y, MOST, &bucket);
  assert_int_equal(points, 400);
  assert_true(thin_x[0] == 2 && thin_x[399] == 1198.5);
  size_t gaps = 0;
  for (int i = 0; i < MOST; i++) gaps += isinf(thin_y[i]);
  assert_int_equal(gaps, 1);
  assert_int_equal(history_thin(x, y, 5, thin_x, thin_y, MOST, &bucket), 4);
  assert_int_equal(bucket, 1);
  assert_int_equal(history_thin(x, y, 1, thin_x, thin_y, MOST, &bucket), 0);
}

static void a_long_run_gives_a_small_page(void **state) {
  (void)state;
  write_run(run, 0, 0);
  FILE *file = open_in(run, "metrics.jsonl");
  for (int i = 1; i <= 20000; i++)
    fprintf(file, "{\"step\":%d,\"loss/critic\":%d,\"time_s\":%d}\n", i, i % 100, i % 10000);
  fclose(file);
  char *html = report(1);
  assert_good(html);
  assert_has(html, "Each point averages 50 reports.");
  assert_true(strlen(html) < 40000);
  free(html);
}

static void scores_of_no_evaluations_are_not_numbers(void **state) {
  (void)state;
  Arena *arena = arena_new();
  Results s = results_of(arena, &(History){ .folder = "x" });
  assert_int_equal(s.count, 0);
  assert_true(isnan(results_value(&s, &s.last)) && isnan(results_value(&s, &s.mean)));
  arena_free(arena);
}

int main(void) {
#define FACT(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
  const struct CMUnitTest tests[] = {
    FACT(the_page_has_the_right_numbers),
    FACT(every_metric_has_a_curve),
    FACT(a_null_is_a_gap),
    FACT(any_measure_is_shown_as_it_is_described),
    FACT(other_measures_and_costs_have_plots),
    FACT(parts_of_any_run_are_shown),
    FACT(the_footer_is_the_command),
    FACT(what_is_measured_at_the_end_has_a_table),
    FACT(runs_compared_by_different_measures_say_by_which),
    FACT(figures_are_shown_in_their_order),
    FACT(tables_and_plots_describe_themselves),
    FACT(numbers_that_nothing_describes_are_shown_by_their_keys),
    FACT(the_end_of_an_old_run_may_have_keys_of_its_own),
    FACT(what_is_missing_is_not_what_runs_are_compared_by),
    FACT(returns_that_nothing_describes_are_known),
    FACT(later_evaluations_of_other_weights_are_not_part_of_the_curve),
    FACT(broken_lines_are_skipped_and_counted),
    FACT(empty_files_give_a_page_that_says_so),
    FACT(a_missing_or_wrong_file_is_named),
    FACT(a_page_that_cannot_be_put_in_place_leaves_no_draft),
    FACT(runs_that_differ_in_the_seed_give_seed_std),
    FACT(how_rows_acted_is_told_apart),
    FACT(runs_that_differ_in_a_setting_are_not_averaged),
    FACT(the_same_seed_twice_is_no_spread),
    FACT(thinning_keeps_the_mean),
    FACT(a_long_run_gives_a_small_page),
    FACT(scores_of_no_evaluations_are_not_numbers),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
