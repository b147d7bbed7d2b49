/* test_escape.c -- what a terminal gets of a text: every character that it shows, and no other. */
#include "core/escape.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

static void assert_escaped(const char *text, const char *expected) {
  Arena *arena = arena_new();
  assert_string_equal(escaped(arena, text), expected);
  arena_free(arena);
}

/* UTF-8 of any number, whether there is such a character or not. */
static void encode(unsigned code, int length, char *to) {
  static const unsigned char first[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
  for (int i = length - 1; i > 0; i--, code >>= 6) to[i] = (char)(0x80 | (code & 0x3f));
  to[0] = (char)(length == 1 ? code : first[length] | code);
  to[length] = '\0';
}

static int shortest(unsigned code) {
  return code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
}

static bool is_shown(unsigned code) {
  bool turns = code == 0x200e || code == 0x200f || (code >= 0x2028 && code <= 0x202e) ||
               (code >= 0x2066 && code <= 0x2069);
  return code >= 0x20 && !(code >= 0x7f && code < 0xa0) && !(code >= 0xd800 && code < 0xe000) &&
         code <= 0x10ffff && !turns;
}

/* Every number that four bytes can hold, in every length that holds it: shown as it is if it is a
 * character in its shortest form, else every byte is spelled out. */
static void characters_are_shown_and_nothing_else(void **state) {
  (void)state;
  static const unsigned room[] = { 0, 0x80, 0x800, 0x10000, 0x200000 };
  for (int length = 1; length <= 4; length++)
    for (unsigned code = 1; code < room[length]; code++) {
      char text[8], to[32], spelled[32] = "";
      encode(code, length, text);
      for (int i = 0; i < length; i++)
        snprintf(spelled + 4 * i, 5, "\\x%02x", (unsigned char)text[i]);
      escape_into(to, sizeof to, text);
      bool shown = length == shortest(code) && is_shown(code);
      if (strcmp(to, shown ? text : spelled)) fail_msg("U+%04X in %d bytes: %s", code, length, to);
    }
}

static void parts_of_characters_are_spelled_out(void **state) {
  (void)state;
  assert_escaped("a\xe2\x82", "a\\xe2\\x82");
  assert_escaped("\xf0\x9f\x98", "\\xf0\\x9f\\x98");
  assert_escaped("\xff\xfe z", "\\xff\\xfe z");
  assert_escaped("\\x1b \xe2\x82\xac", "\\x1b \xe2\x82\xac");
}

static void only_whole_characters_are_cut_off(void **state) {
  (void)state;
  char to[6];
  escape_into(to, sizeof to,
              "ab\x1b"
              "cd");
  assert_string_equal(to, "ab"); /* \x1b would take four of the three that are left */
  escape_into(to, sizeof to, "abc\xe2\x82\xac");
  assert_string_equal(to, "abc");
  assert_int_equal(escape_fit("a\xe2\x82\xac"
                              "b",
                              2),
                   4);
  assert_int_equal(escape_fit("a\xe2\x82\xac"
                              "b",
                              9),
                   5);
  assert_int_equal(escape_fit("", 9), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(characters_are_shown_and_nothing_else),
    cmocka_unit_test(parts_of_characters_are_spelled_out),
    cmocka_unit_test(only_whole_characters_are_cut_off),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
