/* test_warnings.c -- what goes wrong in a run is told in words: on the terminal, in the result, in
 * config.json and in the first box of the report. */
#include "core/json.h"
#include "rl/algos/values.h"
#include "rl/train/watch.h"
#include "tests/program.h"

/* ---- the list -------------------------------------------------------------------------------- */

static const char *text_of(const Warnings *w, const char *key) {
  for (int i = 0; i < w->count; i++)
    if (!strcmp(w->item[i].key, key)) return w->item[i].text;
  return NULL;
}

/* A happening is the first of its kind and stays; a state is the newest and goes when it ends. */
static void a_happening_stays_and_a_state_ends(void **state) {
  (void)state;
  Warnings w = { .step = 3 };
  warnings_happened(&w, "burst", "at %d", 3);
  warnings_state(&w, "low", true, "below %d", 1);
  w.step = 5;
  warnings_happened(&w, "burst", "at %d", 5);
  warnings_state(&w, "low", true, "below %d", 2);
  assert_int_equal(w.count, 2);
  assert_string_equal(text_of(&w, "burst"), "at 3");
  assert_string_equal(text_of(&w, "low"), "below 2");
  assert_int_equal(w.item[0].step, 3);
  assert_int_equal(w.item[1].step, 5);
  warnings_state(&w, "low", false, "never");
  assert_null(text_of(&w, "low"));
  warnings_happened(NULL, "burst", "nobody listens");
  warnings_state(NULL, "low", true, "nobody listens");
  for (int i = 0; i < 2 * WARNINGS_MOST; i++) {
    char key[16];
    snprintf(key, sizeof key, "kind %d", i);
    warnings_state(&w, key, true, "%s", key);
  }
  assert_int_equal(w.count, WARNINGS_MOST); /* the others are as they were */
  assert_string_equal(text_of(&w, "burst"), "at 3");
}

static void they_are_read_as_they_were_written(void **state) {
  (void)state;
  Warnings w = { .step = 7 }, again = { 0 };
  warnings_happened(&w, "burst", "\"quoted\" %s", "\033[2J");
  w.step = 9;
  warnings_state(&w, "low", true, "below");
  JsonText out = { 0 };
  Error error;
  json_open(&out, NULL, '[');
  warnings_write(&w, &out);
  json_close(&out, ']');
  Json *json = json_parse(out.text, out.length, &error);
  warnings_read(&again, json);
  assert_int_equal(again.count, 2);
  assert_string_equal(again.item[0].text, w.item[0].text);
  assert_true(again.item[0].happening && !again.item[1].happening);
  warnings_rewind(&again, 8); /* what is done again is seen again */
  assert_int_equal(again.count, 1);
  assert_string_equal(again.item[0].key, "burst");
  json_free(json);
  json_text_free(&out);
  static const char *const wrong[] = { "{}", "7", "[1,{},{\"key\":1,\"text\":2,\"step\":3}]",
                                       "[{\"key\":\"a\",\"text\":\"b\",\"step\":1e300}]",
                                       "[{\"key\":\"a\",\"text\":\"b\",\"step\":null}]" };
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    Warnings none = { 0 };
    json = json_parse(wrong[i], strlen(wrong[i]), &error);
    warnings_read(&none, json);
    assert_int_equal(none.count, 0);
    json_free(json);
  }
}

/* ---- who watches ----------------------------------------------------------------------------- */

static void see(Watch *w, double norm) {
  Log log = { 0 };
  log_scalar(&log, "grad_norm/critic", norm);
  log_scalar(&log, "loss/critic", 1e30 * norm); /* no norm */
  watch_metrics(w, &log);
}

/* Four decades above the least, and large in itself; a resumed run has seen what was written. */
static void gradients_that_explode_are_seen(void **state) {
  (void)state;
  Warnings w = { 0 };
  Watch watch = { .warnings = &w };
  see(&watch, 30), see(&watch, 2), see(&watch, 1.9e4), see(&watch, 1e-9), see(&watch, 9e3);
  assert_int_equal(w.count, 0);
  see(&watch, 1.1e4);
  assert_non_null(strstr(text_of(&w, "gradients"), "gradients exploded: the norm of critic"));
  const char lines[] =
      "{\"step\":1,\"grad_norm/critic\":0.5}\nbroken\n{\"grad_norm/critic\":null}\n";
  file_write("metrics.jsonl", lines, strlen(lines));
  Warnings after = { 0 };
  Watch resumed = { .warnings = &after };
  watch_resume(&resumed, "metrics.jsonl");
  watch_resume(&resumed, "absent");
  assert_true(resumed.norms == 1 && resumed.norm[0].least == 0.5);
  see(&resumed, 1.1e4);
  assert_int_equal(after.count, 1);
}

static void a_run_that_falls_is_seen(void **state) {
  (void)state;
  static const Measure gain = { "return_mean", "return", .main = true };
  static const Measure loss = { "loss", "loss", .main = true, .less_is_better = true };
  Warnings w = { 0 };
  Watch watch = { .warnings = &w };
  watch_measured(&watch, &(Measured){ true, &gain, 67 }, -INFINITY);
  watch_measured(&watch, &(Measured){ true, &gain, 34 }, 67);
  watch_measured(&watch, &(Measured){ true, &gain, -900 }, -300);
  watch_measured(&watch, &(Measured){ true, &loss, 5 }, -1);
  assert_int_equal(w.count, 0);
  watch_measured(&watch, &(Measured){ true, &gain, 1 }, 67);
  assert_non_null(strstr(text_of(&w, "fell"), "its last return is 1 and its best was 67"));
  watch_measured(&watch, &(Measured){ true, NULL, 0 }, 67);
  assert_non_null(text_of(&w, "no_number"));
  watch_measured(&watch, &(Measured){ true, &gain, 60 }, 67);
  assert_int_equal(w.count, 0);
}

/* sum of gamma^i r_i, r in [low, high], which an end may cut off */
static void values_are_discounted_sums(void **state) {
  (void)state;
  double range[2];
  values_range(1, 3, 0.99, 10, range);
  assert_true(range[0] == 0 && fabs(range[1] - 300) < 1e-9);
  values_range(-2, -1, 0.5, 10, range);
  assert_true(fabs(range[0] + 4) < 1e-12 && range[1] == 0);
  values_range(-1, 2, 1, 10, range);
  assert_true(range[0] == -10 && range[1] == 20);
}

/* ---- a run ----------------------------------------------------------------------------------- */

#define BASE                                                                                       \
  "train td3-bc --data point.hdf5 --env point-v0 --threads 1 --set hidden=32 --set batch=32 "      \
  "--set eval_episodes=2 --set eval_every=1 --set log_every=1 --set gamma=0.5 --steps 4 "

static void assert_file_has(const char *path, const char *text, bool has) {
  size_t length;
  char *all = file_read(path, &length);
  if (!strstr(all, text) == has) fail_msg("%s: %s in %s", path, text, all);
  free(all);
}

/* A rate of 1 makes critics of nothing: every place says so; at the usual rate none does. */
static void a_run_that_went_wrong_says_how(void **state) {
  (void)state;
  static const char says[] = "Q left the range of the returns: the critics value";
  file_make_data("point.hdf5", "point-v0", 12, 1, "{}");
  Outcome o;
  program_run(&o, BASE "--set critic_rate=1 --out wrong");
  program_expect(&o, 0, "warnings=[");
  if (!strstr(o.err, says)) fail_msg("%s", o.err);
  assert_non_null(strstr(o.out, says));
  assert_file_has("wrong/config.json", says, true);
  assert_file_has("wrong/report.html", "<h2>What went wrong</h2>", true);
  assert_file_has("wrong/report.html", says, true);
  assert_file_has("wrong/eval.jsonl", "warning", false);
  program_succeed("train --resume wrong --steps 5"); /* what happened stays in the record */
  assert_file_has("wrong/config.json", says, true);
  program_run(&o, BASE "--out right");
  program_expect(&o, 0, "run=right");
  assert_null(strstr(o.err, "warning"));
  assert_file_has("right/config.json", "\"warnings\":[]", true);
  assert_file_has("right/report.html", "What went wrong", false);
}

/* A run that ends since its numbers are not finite leaves a page that says so. */
static void a_run_that_diverged_has_a_page(void **state) {
  (void)state;
  if (sizeof(real) > sizeof(float)) skip(); /* 1e30 overflows a float's gradient */
  file_make_data("huge.hdf5", "point-v0", 3, 1e30f, "{}");
  program_refuse(4,
                 "train diffusion-ql --data huge.hdf5 --env point-v0" SMALL " --steps 9 --out gone",
                 "no longer finite at step 0");
  assert_file_has("gone/config.json", "\"key\":\"diverged\"", true);
  assert_file_has("gone/report.html", "no longer finite at step", true);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_happening_stays_and_a_state_ends),
    cmocka_unit_test(they_are_read_as_they_were_written),
    cmocka_unit_test(gradients_that_explode_are_seen),
    cmocka_unit_test(a_run_that_falls_is_seen),
    cmocka_unit_test(values_are_discounted_sums),
    cmocka_unit_test(a_run_that_went_wrong_says_how),
    cmocka_unit_test(a_run_that_diverged_has_a_page),
  };
  return cmocka_run_group_tests(tests, program_enter, program_leave);
}
