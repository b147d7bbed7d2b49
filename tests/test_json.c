/* test_json.c -- reading refuses what cJSON lets through; writing round-trips. */
#include "core/json.h"
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static Json *parse(const char *text, Error *error) { return json_parse(text, strlen(text), error); }

static void values_are_read(void **state) {
  (void)state;
  Error error;
  Json *json =
      parse("{\"a\": [1, -2.5e3, \"t\\u00e9\\n\"], \"b\": true, \"A\": null, \"\": {}}", &error);
  assert_non_null(json);
  assert_int_equal(json_count(json), 4);
  const Json *a = json_get(json, "a");
  assert_true(json_is_array(a) && json_count(a) == 3 && json_key(json_first(a)) == NULL);
  assert_true(json_number(json_first(a), 0) == 1);
  assert_true(json_number(json_next(json_first(a)), 0) == -2500);
  assert_string_equal(json_text(json_next(json_next(json_first(a)))), "t\xc3\xa9\n");
  assert_true(json_bool(json_get(json, "b"), false));
  assert_true(json_is_null(json_get(json, "A"))); /* case matters */
  assert_true(json_is_object(json_get(json, "")));
  assert_string_equal(json_key(json_first(json)), "a");
  json_free(json);
}

static void a_wrong_kind_gives_the_fallback(void **state) {
  (void)state;
  Error error;
  Json *json = parse("[\"x\"]", &error);
  const Json *text = json_first(json);
  assert_true(json_number(text, 7) == 7);
  assert_true(json_bool(text, true) && !json_bool(text, false));
  assert_null(json_text(json));
  assert_null(json_get(json, "x"));
  assert_null(json_get(NULL, "x"));
  assert_null(json_first(NULL));
  assert_null(json_next(text));
  assert_int_equal(json_count(NULL), 0);
  json_free(json);
}

static void comments_are_skipped_outside_strings(void **state) {
  (void)state;
  Error error;
  Json *json = parse(
      "// first\n{\"url\": \"http://a/*b*/\", /* \"x\": 1,\n */ \"y\": \"\\\"//\"} // end", &error);
  assert_non_null(json);
  assert_string_equal(json_text(json_get(json, "url")), "http://a/*b*/");
  assert_string_equal(json_text(json_get(json, "y")), "\"//");
  assert_int_equal(json_count(json), 2);
  json_free(json);
}

static void what_is_wrong_is_located(void **state) {
  static const struct {
    const char *text, *message;
  } wrong[] = {
    { "{\n  \"a\": 1,\n  \"b\" 2\n}", "line 3, column 7" },
    { "/* one\n two */ {\"a\": tru}", "line 2, column 15" },
    { "[1, 2] x", "line 1, column 8" },
    { "", "line 1, column 1" },
    { "[1, \"abc", "column 5: this string is never closed" },
    { "[1, \"abc\n\"]", "control character" },
    { "[1, \"\\u0000\"]", "zero character" },
    { "[1 /* 2]", "comment is never closed" },
    { "{\"a\": 1, \"b\": {\"c\": 1, \"d\": 2, \"c\": 3}}", "\"c\" is there twice" },
    { "{\"a\": 1, \"\\u0061\": 2}", "\"a\" is there twice" },
    { "{\"a\": [1e999]}", "beyond the range" },
    { "[1,]", "not JSON" },
    { "[NaN]", "not JSON" },
    { "{\"a\"}", "not JSON" },
    { "{1: 2}", "not JSON" },
    { "\"\\ud800\"", "not JSON" },
    { "\"\\", "never closed" },
    { "/", "not JSON" },
  };
  (void)state;
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    Error error = { 0 };
    Json *json = parse(wrong[i].text, &error);
    assert_null(json);
    assert_int_equal(error.kind, FAIL_INPUT);
    if (!strstr(error.text, wrong[i].message))
      fail_msg("%s: expected \"%s\", got: %s", wrong[i].text, wrong[i].message, error.text);
  }
}

static void only_the_given_bytes_are_read(void **state) {
  (void)state;
  Error error;
  Json *json = json_parse("[1, 2]]]]", 6, &error);
  assert_non_null(json);
  json_free(json);
  assert_null(json_parse("[1]\0[2]", 7, &error));
  assert_non_null(strstr(error.text, "zero byte"));
  assert_null(json_parse(NULL, 0, &error));
}

static void depth_and_size_are_limited(void **state) {
  (void)state;
  Error error;
  char deep[2 * 65];
  memset(deep, '[', 65);
  memset(deep + 65, ']', 65);
  Json *json = json_parse(deep + 1, 128, &error);
  assert_non_null(json);
  json_free(json);
  assert_null(json_parse(deep, 130, &error));
  assert_non_null(strstr(error.text, "64 deep"));
  size_t size = (16 << 20) + 1;
  char *large = malloc(size);
  memset(large, ' ', size);
  memcpy(large, "[]", 2);
  json = json_parse(large, size - 1, &error);
  assert_non_null(json);
  json_free(json);
  assert_null(json_parse(large, size, &error));
  assert_non_null(strstr(error.text, "16 MB"));
  free(large);
}

static void many_keys_cost_a_sort(void **state) {
  (void)state;
  Error error;
  JsonText out = { 0 };
  char key[16];
  json_open(&out, NULL, '{');
  for (int i = 0; i < 100000; i++) {
    snprintf(key, sizeof key, "k%d", i);
    json_put_integer(&out, key, i);
  }
  json_close(&out, '}');
  Json *json = json_parse(out.text, out.length, &error);
  assert_int_equal(json_count(json), 100000);
  json_free(json);
  json_text_free(&out);
}

static void writing_is_exact_text(void **state) {
  (void)state;
  JsonText out = { 0 };
  json_open(&out, NULL, '{');
  json_put_text(&out, "a\"b", "\\ \"\n\x01 \xc3\xa9");
  json_put_text(&out, "none", NULL);
  json_open(&out, "list", '[');
  json_put_integer(&out, NULL, INT64_MIN);
  json_put_bool(&out, NULL, true);
  json_open(&out, NULL, '{');
  json_close(&out, '}');
  json_put_raw(&out, NULL, "[1,2]");
  json_close(&out, ']');
  json_put_number(&out, "x", NAN);
  json_close(&out, '}');
  assert_string_equal(out.text, "{\"a\\\"b\":\"\\\\ \\\"\\n\\u0001 \xc3\xa9\",\"none\":null,"
                                "\"list\":[-9223372036854775808,true,{},[1,2]],\"x\":null}");
  assert_int_equal(out.length, strlen(out.text));
  json_text_free(&out);
}

static void numbers_use_the_fewest_digits(void **state) {
  static const struct {
    double value;
    const char *text;
  } cases[] = {
    { 0, "0" },
    { -1, "-1" },
    { 0.1, "0.1" },
    { 1e6, "1000000" },
    { 1e15, "1000000000000000" },
    { 0x1p53, "9007199254740992" },
    { 1e300, "1e+300" },
    { 1.0 / 3, "0.3333333333333333" },
    { 0.1 + 0.2, "0.30000000000000004" },
    { 3e-4, "0.0003" },
    { 5e-324, "4.94065645841247e-324" },
    { INFINITY, "null" },
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    JsonText out = { 0 };
    json_put_number(&out, NULL, cases[i].value);
    assert_string_equal(out.text, cases[i].text);
    json_text_free(&out);
  }
}

static void every_double_survives_the_round_trip(void **state) {
  (void)state;
  Error error;
  uint64_t bits = 1;
  for (int i = 0; i < 20000; i++) {
    bits = bits * 6364136223846793005u + 1442695040888963407u;
    double value;
    memcpy(&value, &bits, sizeof value);
    if (!isfinite(value)) continue;
    JsonText out = { 0 };
    json_put_number(&out, NULL, value);
    Json *json = json_parse(out.text, out.length, &error);
    assert_true(json_number(json, NAN) == value);
    json_free(json);
    json_text_free(&out);
  }
}

static void files_are_read_and_named_in_errors(void **state) {
  (void)state;
  Error error;
  char path[] = "/tmp/test_json.XXXXXX";
  int fd = mkstemp(path);
  assert_int_equal(write(fd, "{\"a\": 1, }", 10), 10);
  assert_null(json_parse_file(path, &error));
  assert_non_null(strstr(error.text, path));
  assert_non_null(strstr(error.text, "line 1, column"));
  assert_int_equal(ftruncate(fd, 0), 0);
  assert_int_equal(pwrite(fd, "{\"a\": 1}\n", 9, 0), 9);
  Json *json = json_parse_file(path, &error);
  assert_true(json_number(json_get(json, "a"), 0) == 1);
  json_free(json);
  close(fd);
  unlink(path);
  assert_null(json_parse_file(path, &error));
  assert_non_null(strstr(error.text, "No such file"));
  assert_null(json_parse_file("/tmp", &error));
  assert_null(json_parse_file("/dev/zero", &error));
  assert_non_null(strstr(error.text, "16 MB"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(values_are_read),
    cmocka_unit_test(a_wrong_kind_gives_the_fallback),
    cmocka_unit_test(comments_are_skipped_outside_strings),
    cmocka_unit_test(what_is_wrong_is_located),
    cmocka_unit_test(only_the_given_bytes_are_read),
    cmocka_unit_test(depth_and_size_are_limited),
    cmocka_unit_test(many_keys_cost_a_sort),
    cmocka_unit_test(writing_is_exact_text),
    cmocka_unit_test(numbers_use_the_fewest_digits),
    cmocka_unit_test(every_double_survives_the_round_trip),
    cmocka_unit_test(files_are_read_and_named_in_errors),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
