/* test_font.c -- letters can be told apart and stand on one line. */
#include "rl/render/font.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

static int dots_below_the_line(const Glyph *glyph) {
  int dots = 0;
  for (int row = FONT_CAPITAL; row < FONT_ROWS; row++)
    for (int column = 0; column < FONT_COLUMNS; column++) dots += glyph->dot[row][column];
  return dots;
}

static void no_two_letters_look_alike(void **state) {
  (void)state;
  for (char a = ' '; a <= '~'; a++) {
    Glyph one = font_glyph(a);
    assert_in_range(one.width, 1, FONT_COLUMNS);
    for (char b = ' '; b < a; b++) {
      Glyph other = font_glyph(b);
      assert_memory_not_equal(one.dot, other.dot, sizeof one.dot);
    }
  }
}

static void only_some_letters_hang_below_the_line(void **state) {
  (void)state;
  for (char a = '!'; a <= '~'; a++) {
    Glyph glyph = font_glyph(a);
    assert_int_equal(dots_below_the_line(&glyph) > 0, strchr("gjpqy,;_|", a) != NULL);
  }
  for (char a = 'A'; a <= 'Z'; a++) { /* capitals reach from the top to the line */
    Glyph glyph = font_glyph(a);
    static const bool nothing[FONT_COLUMNS];
    assert_memory_not_equal(glyph.dot[0], nothing, sizeof nothing);
    assert_memory_not_equal(glyph.dot[FONT_CAPITAL - 1], nothing, sizeof nothing);
  }
}

static void other_bytes_are_question_marks(void **state) {
  (void)state;
  Glyph mark = font_glyph('?');
  static const char other[] = { '\n', '\0', '\x7f', '\xc3', '\xff' };
  for (size_t i = 0; i < sizeof other; i++) {
    Glyph glyph = font_glyph(other[i]);
    assert_memory_equal(&glyph, &mark, sizeof glyph);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(no_two_letters_look_alike),
    cmocka_unit_test(only_some_letters_hang_below_the_line),
    cmocka_unit_test(other_bytes_are_question_marks),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
