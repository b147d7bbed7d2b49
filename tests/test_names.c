/* test_names.c -- what is in a list is found, what is not is answered with the nearest. */
#include "core/names.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdint.h>
#include <string.h>

typedef struct {
  const char *name;
  int weight;
} Fruit;
static const Fruit fruits[] = { { "apple", 3 }, { "pear", 4 }, { "plum", 1 } };
static const Fruit *const basket[] = { &fruits[2], &fruits[0] };
static const char *const plain[] = { "lr", "eta", "tau", "n_timesteps", "steps", "ddim", "ddpm" };
#define COUNT(list) (sizeof(list) / sizeof *(list))

static void entries_are_structs_pointers_or_names(void **state) {
  Error error;
  (void)state;
  assert_int_equal(names_find(NAMES(fruits, COUNT(fruits), .what = "fruit"), "pear", &error), 1);
  assert_int_equal(
      names_find(NAMES(basket, COUNT(basket), .pointers = true, .what = "fruit"), "apple", &error),
      1);
  assert_int_equal(names_find(NAMES(plain, COUNT(plain), .what = "setting"), "ddpm", &error), 6);
  assert_int_equal(names_index(NAMES(fruits, COUNT(fruits), .what = "fruit"), "Pear"), -1);
  assert_int_equal(names_index(NAMES(fruits, 0, .what = "fruit"), "pear"), -1);
}

static void refuse(const Names *names, const char *name, const char *text) {
  Error error = { 0 };
  assert_int_equal(names_find(names, name, &error), -1);
  assert_int_equal(error.kind, FAIL_USAGE);
  assert_string_equal(error.text, text);
}

static void what_is_not_there_is_answered(void **state) {
  (void)state;
  refuse(NAMES(fruits, 3, .what = "fruit"), "aple", "unknown fruit \"aple\"; did you mean apple?");
  refuse(NAMES(fruits, 3, .what = "fruit"), "x",
         "unknown fruit \"x\"; expected apple, pear or plum");
  refuse(NAMES(fruits, 1, .what = "fruit"), "x", "unknown fruit \"x\"; expected apple");
  refuse(NAMES(fruits, 3, .what = "fruit", .see = "`diffrl list fruits`"), "x",
         "unknown fruit \"x\"; see `diffrl list fruits`");
  refuse(NAMES(fruits, 3, .what = "option", .mark = "--"), "plumm",
         "unknown option \"--plumm\"; did you mean --plum?");
}

static void no_name_is_too_long_for_an_answer(void **state) {
  char endless[5000];
  const char *all[100];
  Error error = { 0 };
  (void)state;
  memset(endless, 'e', sizeof endless - 1);
  endless[sizeof endless - 1] = '\0';
  for (size_t i = 0; i < COUNT(all); i++) all[i] = endless;
  assert_null(names_nearest(NAMES(plain, 3, .what = "setting"), endless));
  assert_int_equal(names_find(NAMES(all, COUNT(all), .what = "word"), "e", &error), -1);
  assert_int_equal(names_find(NAMES(plain, 3, .what = "setting"), endless, &error), -1);
  assert_non_null(strstr(error.text, "expected lr, eta or tau"));
}

static void the_nearest_name_is_near(void **state) {
  static const struct {
    const char *word, *nearest;
  } cases[] = {
    { "eta", "eta" },     { "etas", "eta" },  { "n-timestep", "n_timesteps" },
    { "stpes", "steps" }, { "DDIM", "ddim" }, { "ddpn", "ddpm" },
    { "x", NULL },        { "", NULL },       { "lrr", "lr" },
    { "nothing", NULL },  { "tua", NULL },
  };
  (void)state;
  for (size_t i = 0; i < COUNT(cases); i++) {
    const char *near = names_nearest(NAMES(plain, COUNT(plain), .what = "setting"), cases[i].word);
    if (!cases[i].nearest)
      assert_null(near);
    else
      assert_string_equal(near, cases[i].nearest);
  }
}

static void a_word_of_a_list_is_whole_and_not_empty(void **state) {
  (void)state;
  assert_true(names_has("one two three", ' ', "one") && names_has("one two three", ' ', "three"));
  assert_true(names_has("cpuset,cpu", ',', "cpu") && !names_has("cpuset,cpuacct", ',', "cpu"));
  assert_false(names_has("one two", ' ', "tw"));
  assert_false(names_has("one two", ' ', "") || names_has("", ' ', "") ||
               names_has(NULL, ' ', "x"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(entries_are_structs_pointers_or_names),
    cmocka_unit_test(what_is_not_there_is_answered),
    cmocka_unit_test(no_name_is_too_long_for_an_answer),
    cmocka_unit_test(the_nearest_name_is_near),
    cmocka_unit_test(a_word_of_a_list_is_whole_and_not_empty),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
