/* test_picture.c -- strokes have their area, their place and their colour, and stay in the frame.
 * What is measured is the file that was saved. */
#include "rl/render/picture.h"
#include "datasets/png.h"
#include "tests/folder.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PI 3.14159265358979323846

static int setup(void **state) {
  *state = arena_new();
  return 0;
}

static int teardown(void **state) {
  arena_free(*state);
  return 0;
}

static const double low[2] = { -1, -1 }, high[2] = { 1, 1 };
static const Pen black = { 0, 20, 1 };

static Panel panel_of(Arena *arena) {
  return picture_panel(picture_new(arena, 1, 1), 0, 0, "", low, high);
}

static Image saved(const Panel *panel, Arena *arena) {
  Image image = { 0 };
  Error error;
  assert_true(picture_save(panel->picture, "p.png", &error));
  assert_true(png_load(&image, arena, "p.png", &error));
  assert_int_equal(image.channels, 3);
  return image;
}

static int channel(const Image *image, int x, int y, int c) {
  return image->pixel[3 * (y * image->width + x) + c];
}

/* How much ink the panel holds, in pixels of black, and its centre in data coordinates. */
static double ink(const Panel *panel, Arena *arena, double centre[2]) {
  Image image = saved(panel, arena);
  double sum = 0, x = 0, y = 0;
  for (int j = 0; j < panel->size; j++) {
    for (int i = 0; i < panel->size; i++) {
      double dark = 1 - channel(&image, panel->left + i, panel->top + j, 0) / 255.0;
      sum += dark, x += dark * (i + 0.5), y += dark * (j + 0.5);
    }
  }
  if (centre) centre[0] = 2 * x / sum / panel->size - 1, centre[1] = 1 - 2 * y / sum / panel->size;
  return sum;
}

static void a_dot_is_a_disc_in_its_place(void **state) {
  static const double at[][2] = { { 0, 0 }, { 0.5, -0.25 }, { -0.8, 0.81234 } };
  for (int k = 0; k < 3; k++) {
    for (double width = 6; width < 40; width *= 2.3) {
      Panel panel = panel_of(*state);
      double centre[2];
      picture_dots(&panel, at[k], 1, (Pen){ 0, width, 1 });
      double area = PI * width * width / 4;
      assert_true(fabs(ink(&panel, *state, centre) / area - 1) < 0.02);
      for (int d = 0; d < 2; d++) assert_true(fabs(centre[d] - at[k][d]) < 1e-3);
    }
  }
}

static void a_line_has_the_area_of_its_length_and_round_ends(void **state) {
  for (int k = 0; k < 12; k++) {
    Panel panel = panel_of(*state);
    double dx = 0.4 * cos(0.3 * k), dy = 0.4 * sin(0.3 * k), width = 1 + k;
    const double at[6] = { -dx, -dy, dx / 3, dy / 3, dx, dy };
    picture_line(&panel, at, 3, (Pen){ 0, width, 1 });
    double area = 0.8 * panel.size / 2 * width + PI * width * width / 4;
    assert_true(fabs(ink(&panel, *state, NULL) / area - 1) < 0.03);
  }
}

/* Alpha 0.5 of black is 127.5 everywhere on a line, but half of a half where two dots overlap. */
static void a_line_is_blended_once_and_dots_one_by_one(void **state) {
  const double at[6] = { -0.5, 0, 0.5, 0.01, -0.5, 0.02 };
  Panel panel = panel_of(*state);
  picture_line(&panel, at, 3, (Pen){ 0, 20, 0.5 });
  Image image = saved(&panel, *state);
  int darkest = 255;
  for (int i = 0; i < image.width * image.height; i++)
    darkest = image.pixel[3 * i] < darkest ? image.pixel[3 * i] : darkest;
  assert_in_range(darkest, 0, 128);
  assert_int_equal(channel(&image, panel.left + 240, panel.top + 240, 0), darkest);
  assert_in_range(darkest, 127, 128);
  const double dots[4] = { 0, 0.5, 0, 0.5 };
  picture_dots(&panel, dots, 2, (Pen){ 0, 20, 0.5 });
  image = saved(&panel, *state);
  assert_in_range(channel(&image, panel.left + 240, panel.top + 120, 0), 63, 64);
}

/* An arrow points where it should: its ink is heavier at the head. */
static void an_arrow_has_its_head_in_front(void **state) {
  for (int k = 0; k < 8; k++) {
    Panel panel = panel_of(*state);
    double ux = cos(PI / 4 * k), uy = sin(PI / 4 * k), centre[2];
    const double from[2] = { -0.1 * ux, -0.1 * uy }, to[2] = { 0.1 * ux, 0.1 * uy };
    picture_arrow(&panel, from, to, (Pen){ 0, 3, 1 });
    double area = ink(&panel, *state, centre), head = 12;
    assert_true(fabs(area - (48 - head) * 3 - 0.45 * head * head) < 0.12 * area);
    assert_true(centre[0] * ux + centre[1] * uy > 0.005);
    assert_true(fabs(centre[0] * uy - centre[1] * ux) < 1e-3);
  }
}

static void nothing_is_drawn_outside_the_frame(void **state) {
  Panel panel = panel_of(*state);
  Image before = saved(&panel, *state);
  static const double far[] = {
    -3, -3, 3, 3, 1, -1, 1e7, 0, -1, 1, 1.02, 0, 0, -1.02, -1e300, 1e300
  };
  picture_dots(&panel, far, 8, black);
  picture_line(&panel, far, 8, black);
  picture_arrow(&panel, far, far + 2, black);
  Image after = saved(&panel, *state);
  bool changed = false;
  for (int y = 0; y < before.height; y++) {
    for (int x = 0; x < before.width; x++) {
      bool inside = x >= panel.left && x < panel.left + panel.size && y >= panel.top &&
                    y < panel.top + panel.size;
      bool same = channel(&before, x, y, 1) == channel(&after, x, y, 1);
      assert_true(inside || same);
      changed |= !same;
    }
  }
  assert_true(changed);
}

static void points_that_are_not_finite_are_left_out(void **state) {
  Panel panel = panel_of(*state);
  Image before = saved(&panel, *state);
  const double bad[] = { NAN, 0, 0, INFINITY, -INFINITY, NAN, NAN, NAN };
  picture_dots(&panel, bad, 4, black);
  picture_line(&panel, bad, 4, black);
  picture_arrow(&panel, bad, bad + 2, black);
  Image after = saved(&panel, *state);
  assert_memory_equal(before.pixel, after.pixel, (size_t)(3 * before.width * before.height));
}

/* Oklab's lightness of an sRGB colour (Ottosson 2020). */
static double lightness(int colour) {
  double rgb[3];
  for (int c = 0; c < 3; c++) {
    double x = (colour >> (16 - 8 * c) & 255) / 255.0;
    rgb[c] = x <= 0.04045 ? x / 12.92 : pow((x + 0.055) / 1.055, 2.4);
  }
  double l = 0.4122214708 * rgb[0] + 0.5363325363 * rgb[1] + 0.0514459929 * rgb[2];
  double m = 0.2119034982 * rgb[0] + 0.6806995451 * rgb[1] + 0.1073969566 * rgb[2];
  double s = 0.0883024619 * rgb[0] + 0.2817188376 * rgb[1] + 0.6299787005 * rgb[2];
  return 0.2104542553 * cbrt(l) + 0.7936177850 * cbrt(m) - 0.0040720468 * cbrt(s);
}

static void shades_darken_evenly(void **state) {
  (void)state;
  assert_int_equal(picture_shade(0), 0xffffff);
  double last = lightness(picture_shade(1));
  for (int i = 0; i <= 200; i++)
    assert_true(fabs(lightness(picture_shade(i / 200.0)) - 1 - (last - 1) * i / 200) < 0.003);
  assert_int_equal(picture_shade(-3), picture_shade(0));
  assert_int_equal(picture_shade(3), picture_shade(1));
}

static void the_greatest_value_is_darkest_and_row_0_below(void **state) {
  const double value[] = { 0, 7, NAN, -1, 0, 0 }; /* 2 rows of 3; the 7 is below, in the middle */
  Panel panel = panel_of(*state);
  picture_shades(&panel, value, 3, 2);
  Image image = saved(&panel, *state);
  int dark = picture_shade(1);
  for (int c = 0; c < 3; c++) {
    int expected = dark >> (16 - 8 * c) & 255;
    int found = channel(&image, panel.left + 240, panel.top + 360, c);
    assert_in_range(found, expected - 2, expected + 2);
    assert_int_equal(channel(&image, panel.left + 10, panel.top + 400, c), 255);
    assert_int_equal(channel(&image, panel.left + 470, panel.top + 470, c), 255); /* not finite */
    assert_int_equal(channel(&image, panel.left + 240, panel.top + 10, c), 255);
  }
}

static void panels_lie_side_by_side(void **state) {
  Picture *picture = picture_new(*state, 3, 2);
  Panel first = picture_panel(picture, 0, 0, "a", low, high), other;
  for (int column = 0; column < 3; column++) {
    for (int row = 0; row < 2; row++) {
      other = picture_panel(picture, column, row, "any title: (1), x_0", low, high);
      assert_true(column == 0 || other.left >= first.left + first.size);
      assert_true(row == 0 || other.top >= first.top + first.size);
    }
  }
  Image image = saved(&other, *state);
  assert_true(other.left + other.size < image.width && other.top + other.size < image.height);
}

/* A title is dark ink above the frame, in the middle. */
static void a_title_is_above_its_panel(void **state) {
  Picture *picture = picture_new(*state, 1, 1);
  Panel panel = picture_panel(picture, 0, 0, "moons", low, high);
  Image image = saved(&panel, *state);
  double sum = 0, middle = 0;
  for (int y = 0; y < panel.top - 2; y++)
    for (int x = 0; x < image.width; x++) {
      double dark = 1 - channel(&image, x, y, 0) / 255.0;
      sum += dark, middle += dark * x;
    }
  assert_true(sum > 100);
  assert_true(fabs(middle / sum - panel.left - panel.size / 2.0) < 8);
}

static void a_picture_that_cannot_be_saved_says_so(void **state) {
  Error error;
  assert_false(picture_save(picture_new(*state, 1, 1), "nowhere/p.png", &error));
  assert_non_null(strstr(error.text, "nowhere/p.png"));
}

#define FACT(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
    FACT(a_dot_is_a_disc_in_its_place),
    FACT(a_line_has_the_area_of_its_length_and_round_ends),
    FACT(a_line_is_blended_once_and_dots_one_by_one),
    FACT(an_arrow_has_its_head_in_front),
    FACT(nothing_is_drawn_outside_the_frame),
    FACT(points_that_are_not_finite_are_left_out),
    FACT(shades_darken_evenly),
    FACT(the_greatest_value_is_darkest_and_row_0_below),
    FACT(panels_lie_side_by_side),
    FACT(a_title_is_above_its_panel),
    FACT(a_picture_that_cannot_be_saved_says_so),
  };
  return cmocka_run_group_tests(tests, enter, leave);
}
