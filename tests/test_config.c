/* test_config.c -- one list makes struct, defaults, ranges, JSON and help; wrong input is named. */
#include "core/config.h"
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#define TD_FIELDS(F)                                                                               \
  F(INT, batch, 256, 1, 65536, "transitions a training step draws")                                \
  F(INT, seed, 0, NULL, NULL, "seed")                                                              \
  F(FLOAT, eta, 1.0, 0, 1e3, "weight of the Q term")                                               \
  F(FLOAT, shift, -0.5, NULL, 2, "shift of the reward")                                            \
  F(BOOL, max_q_backup, true, NULL, NULL, "the best of ten next actions")                          \
  F(TEXT, schedule, "vp", "vp|linear|cosine", NULL, "noise schedule")                              \
  F(TEXT, note, "", NULL, NULL, "any text")
typedef struct {
  CONFIG_MEMBERS(TD_FIELDS)
} TdConfig;
#define CONFIG_STRUCT TdConfig
static const ConfigField td_fields[] = { CONFIG_ROWS(TD_FIELDS) };
#undef CONFIG_STRUCT
enum { TD_COUNT = sizeof td_fields / sizeof *td_fields };

typedef struct {
  TdConfig td;
  Config config;
  Error error;
} Fixture;

static int setup(void **state) {
  Fixture *f = *state = calloc(1, sizeof *f);
  config_init(&f->config, td_fields, TD_COUNT, &f->td);
  return 0;
}

static int teardown(void **state) {
  free(*state);
  return 0;
}

static bool set(Fixture *f, const char *key, const char *value, const char *origin) {
  return config_set(&f->config, key, value, origin, &f->error);
}

static void assert_says(const Fixture *f, const char *part) {
  assert_int_equal(f->error.kind, FAIL_USAGE);
  if (!strstr(f->error.text, part)) fail_msg("expected \"%s\", got: %s", part, f->error.text);
}

static void the_list_makes_the_defaults(void **state) {
  const Fixture *f = *state;
  assert_int_equal(f->td.batch, 256);
  assert_true(f->td.eta == 1.0 && f->td.shift == -0.5);
  assert_true(f->td.max_q_backup);
  assert_string_equal(f->td.schedule.s, "vp");
  assert_string_equal(f->td.note.s, "");
  for (size_t i = 0; i < TD_COUNT; i++) assert_null(f->config.origin[i]);
  for (size_t i = 0; i < TD_COUNT; i++) assert_true(config_is_default(&f->config, i));
}

/* A setting is its default by its value, whoever set it. */
static void a_default_that_somebody_sets_stays_one(void **state) {
  Fixture *f = *state;
  assert_true(set(f, "batch", "256", "a") && set(f, "eta", "1.00", "a") &&
              set(f, "max_q_backup", "yes", "a") && set(f, "schedule", "vp", "a"));
  for (size_t i = 0; i < TD_COUNT; i++) assert_true(config_is_default(&f->config, i));
  assert_true(set(f, "batch", "255", "b") && set(f, "eta", "2", "b") &&
              set(f, "max_q_backup", "no", "b") && set(f, "schedule", "cosine", "b"));
  int changed = 0;
  for (size_t i = 0; i < TD_COUNT; i++) changed += !config_is_default(&f->config, i);
  assert_int_equal(changed, 4);
}

static void text_becomes_values(void **state) {
  Fixture *f = *state;
  assert_true(set(f, "batch", "6e4", "a") && f->td.batch == 60000);
  assert_true(set(f, "batch", "+12", "b") && f->td.batch == 12);
  assert_true(set(f, "seed", "-9007199254740992", "a") && f->td.seed == -9007199254740992);
  assert_true(set(f, "eta", ".5e-3", "a") && f->td.eta == 0.0005);
  assert_true(set(f, "max_q_backup", "no", "a") && !f->td.max_q_backup);
  assert_true(set(f, "max_q_backup", "1", "b") && f->td.max_q_backup);
  assert_true(set(f, "schedule", "cosine", "a") && !strcmp(f->td.schedule.s, "cosine"));
  assert_true(set(f, "note", "a=b c", "a") && !strcmp(f->td.note.s, "a=b c"));
}

/* fifty letters, five times and six: one more than there is room for */
#define FIFTY "01234567890123456789012345678901234567890123456789"

static void bad_values_are_refused_and_change_nothing(void **state) {
  static const struct {
    const char *key, *value, *message;
  } wrong[] = {
    { "batch", "1_000", "batch: \"1_000\" is not a whole number (transitions" },
    { "batch", "1.5", "not a whole number" },
    { "batch", "", "not a whole number" },
    { "batch", " 5", "not a whole number" },
    { "batch", "0x10", "not a whole number" },
    { "batch", "0", "out of range; expected 1 to 65536" },
    { "batch", "65537", "out of range" },
    { "seed", "9007199254740993e1", "not a whole number" },
    { "eta", "one", "not a number" },
    { "eta", "nan", "not a number" },
    { "eta", "1e999", "not a number" },
    { "eta", "-1e-9", "expected 0 to 1e3 (weight of the Q term)" },
    { "shift", "2.1", "expected at most 2" },
    { "max_q_backup", "maybe", "not true or false" },
    { "schedule", "cosin", "not one of \"vp|linear|cosine\"; did you mean cosine?" },
    { "schedule", "vp|linear", "not one of" },
    { "note", FIFTY FIFTY FIFTY FIFTY FIFTY "123456", "at most 255" },
    { "bacth", "1", "unknown setting \"bacth\"; did you mean batch?" },
    { "MAX-Q-backup", "1", "did you mean max_q_backup?" },
    { "gamma_discount", "1", "see --help" },
    { "", "1", "unknown setting" },
  };
  Fixture *f = *state;
  TdConfig before = f->td;
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    assert_false(set(f, wrong[i].key, wrong[i].value, "--set"));
    assert_says(f, wrong[i].message);
  }
  const char *key = NULL;
  assert_true(config_equal(&f->config, &before, &key));
}

static void one_origin_gives_one_value(void **state) {
  Fixture *f = *state;
  assert_true(set(f, "eta", "2", "--set"));
  assert_true(set(f, "eta", "2.0", "--set")); /* the same value */
  assert_false(set(f, "eta", "3", "--set"));
  assert_says(f, "eta: --set gives it two values");
  assert_true(f->td.eta == 2);
}

static void a_later_origin_overrides_an_earlier_one(void **state) {
  Fixture *f = *state;
  assert_true(config_set_all(&f->config, " eta=3  batch=64\n", "preset", &f->error));
  assert_true(set(f, "eta", "4", "--set"));
  assert_true(f->td.eta == 4 && f->td.batch == 64);
  assert_string_equal(f->config.origin[0], "preset");
  assert_string_equal(f->config.origin[2], "--set");
}

static void pairs_are_key_and_value(void **state) {
  Fixture *f = *state;
  assert_true(config_set_all(&f->config, "", "preset", &f->error));
  assert_false(config_set_all(&f->config, "eta=2 batch", "preset", &f->error));
  assert_says(f, "preset: expected key=value, found \"batch\"");
  assert_false(config_set_all(&f->config, "eta=5", "preset", &f->error));
  char long_pair[2000] = "note=";
  memset(long_pair + 5, 'x', sizeof long_pair - 6);
  assert_false(config_set_all(&f->config, long_pair, "preset", &f->error));
}

static bool read_json(Fixture *f, const char *text) {
  Json *json = json_parse(text, strlen(text), &f->error);
  assert_non_null(json);
  bool done = config_read(&f->config, json, "--config", &f->error);
  json_free(json);
  return done;
}

static void what_is_written_reads_back_equal(void **state) {
  Fixture *f = *state, other = { 0 };
  assert_true(config_set_all(&f->config,
                             "batch=512 seed=9007199254740991 eta=0.1 shift=-1e-300 "
                             "max_q_backup=false schedule=linear note=\"\\",
                             "preset", &f->error));
  JsonText out = { 0 };
  json_open(&out, NULL, '{');
  config_write(&f->config, &out);
  json_close(&out, '}');
  config_init(&other.config, td_fields, TD_COUNT, &other.td);
  const char *key = NULL;
  assert_false(config_equal(&f->config, &other.td, &key));
  assert_string_equal(key, "batch");
  assert_true(read_json(&other, out.text));
  assert_true(config_equal(&f->config, &other.td, &key));
  assert_string_equal(other.config.origin[0], "--config");
  json_text_free(&out);
}

static void json_of_the_wrong_kind_is_refused(void **state) {
  Fixture *f = *state;
  assert_false(read_json(f, "{\"batch\": \"256\"}"));
  assert_says(f, "batch: expected a whole number");
  assert_false(read_json(f, "{\"batch\": 2.5}"));
  assert_says(f, "\"2.5\" is not a whole number");
  assert_false(read_json(f, "{\"eta\": null}"));
  assert_says(f, "eta: expected a number");
  assert_false(read_json(f, "{\"max_q_backup\": 1}"));
  assert_says(f, "expected true or false");
  assert_false(read_json(f, "{\"schedule\": true}"));
  assert_says(f, "expected a text");
  assert_false(read_json(f, "{\"etaa\": 1}"));
  assert_says(f, "did you mean eta?");
  assert_false(read_json(f, "[1]"));
  assert_says(f, "expected an object");
}

static void help_has_a_line_for_each_setting(void **state) {
  const Fixture *f = *state;
  char *text = NULL;
  size_t size;
  FILE *out = open_memstream(&text, &size);
  config_help(&f->config, out);
  fclose(out);
  int lines = 0;
  for (const char *p = text; *p; p++) lines += *p == '\n';
  assert_int_equal(lines, TD_COUNT);
  for (size_t i = 0; i < TD_COUNT; i++) {
    assert_non_null(strstr(text, td_fields[i].key));
    assert_non_null(strstr(text, td_fields[i].help));
  }
  assert_non_null(strstr(text, "vp           noise schedule (vp|linear|cosine)"));
  assert_non_null(strstr(text, "(0 to 1e3)"));
  free(text);
}

int main(void) {
#define FACT(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
  const struct CMUnitTest tests[] = {
    FACT(the_list_makes_the_defaults),
    FACT(a_default_that_somebody_sets_stays_one),
    FACT(text_becomes_values),
    FACT(bad_values_are_refused_and_change_nothing),
    FACT(one_origin_gives_one_value),
    FACT(a_later_origin_overrides_an_earlier_one),
    FACT(pairs_are_key_and_value),
    FACT(what_is_written_reads_back_equal),
    FACT(json_of_the_wrong_kind_is_refused),
    FACT(help_has_a_line_for_each_setting),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
