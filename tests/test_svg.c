/* test_svg.c -- ticks are 1-2-5 numbers that cover their range; plots contain numbers only. */
#include "rl/render/svg.h"
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Is it 1, 2 or 5 times a power of ten, up to rounding? */
static bool is_round(double value) {
  double mantissa = value / pow(10, floor(log10(value) + 1e-6));
  return fabs(mantissa - 1) < 1e-6 || fabs(mantissa - 2) < 1e-6 || fabs(mantissa - 5) < 1e-6;
}

static void assert_covers(const SvgTicks *ticks, double low, double high) {
  assert_in_range(ticks->count, 2, SVG_MAX_TICKS);
  assert_true(ticks->value[0] <= low);
  assert_true(ticks->value[ticks->count - 1] >= high);
}

static void assert_linear(double low, double high) {
  SvgTicks ticks = svg_ticks(low, high);
  assert_covers(&ticks, low, high);
  double step = (ticks.value[ticks.count - 1] - ticks.value[0]) / (ticks.count - 1);
  assert_true(is_round(step));
  for (int i = 0; i < ticks.count; i++) {
    double multiple = ticks.value[i] / step;
    assert_true(fabs(multiple - nearbyint(multiple)) < 1e-6 * fmax(1, fabs(multiple)));
    assert_true(fabs(ticks.value[i] - ticks.value[0] - i * step) < 1e-6 * step);
  }
  if (high - low < 1e-9 * fmax(fabs(low), fabs(high))) return;
  assert_true(ticks.value[1] > low || ticks.count == 2); /* no tick to spare */
  assert_true(ticks.value[ticks.count - 2] < high || ticks.count == 2);
}

static void ticks_are_round_and_cover_the_range(void **state) {
  (void)state;
  static const double size[] = { 1e-280, 1e-12, 3e-4, 0.1, 0.7, 1, 9.99, 123, 2e5, 1e12, 7e299 };
  static const double part[][2] = { { 0, 1 },      { -1, 1 },  { -1, 0 },      { 0.3, 0.7 },
                                    { -0.2, 0.1 }, { 0.9, 1 }, { 0.999, 1.0 }, { -1, -0.35 } };
  for (size_t i = 0; i < sizeof size / sizeof *size; i++) {
    for (size_t k = 0; k < sizeof part / sizeof *part; k++)
      assert_linear(part[k][0] * size[i], part[k][1] * size[i]);
  }
  srand(1);
  for (int i = 0; i < 2000; i++) {
    double a = rand() / (double)RAND_MAX - 0.5, b = rand() / (double)RAND_MAX - 0.5;
    double scale = pow(10, rand() % 40 - 20);
    assert_linear(fmin(a, b) * scale, fmax(a, b) * scale);
  }
}

static void ticks_are_exact_decimals(void **state) {
  (void)state;
  SvgTicks ticks = svg_ticks(0, 0.7);
  const double expected[] = { 0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7 };
  assert_int_equal(ticks.count, 8);
  for (int i = 0; i < 8; i++) assert_true(ticks.value[i] == expected[i]);
  ticks = svg_ticks(-3e5, 1e6);
  assert_int_equal(ticks.count, 8);
  assert_true(ticks.value[0] == -400000 && ticks.value[1] == -200000 && ticks.value[2] == 0);
}

static void an_empty_range_is_widened(void **state) {
  (void)state;
  static const double value[] = { 0, 1, -3e-4, 5e6, 1e300, 4e-320 };
  for (size_t i = 0; i < sizeof value / sizeof *value; i++) {
    SvgTicks ticks = svg_ticks(value[i], value[i]);
    assert_covers(&ticks, value[i], value[i]);
    assert_true(ticks.value[0] < ticks.value[ticks.count - 1]);
  }
}

static void log_ticks_are_1_2_5_or_powers_of_ten(void **state) {
  (void)state;
  for (int decades = 1; decades <= 390; decades += decades < 20 ? 1 : 37) {
    for (double low = 1e-200; log10(low) + decades < 199; low *= 3.7e13) {
      double high = 1.3 * low * pow(10, decades / 2) * pow(10, decades - decades / 2);
      SvgTicks ticks = svg_log_ticks(low, high);
      assert_covers(&ticks, low, high);
      double stride = log10(ticks.value[1] / ticks.value[0]);
      for (int i = 0; i < ticks.count; i++) {
        assert_true(is_round(ticks.value[i]));
        if (stride < 0.5 || i == 0) continue; /* powers of ten: equal distances of 1, 2, 5, ... */
        assert_true(fabs(log10(ticks.value[i] / ticks.value[i - 1]) - stride) < 1e-6);
        assert_true(is_round(stride));
      }
    }
  }
  SvgTicks ticks = svg_log_ticks(0.3, 12);
  assert_int_equal(ticks.count, 7); /* 0.2 0.5 1 2 5 10 20 */
  assert_true(ticks.value[0] == 0.2 && ticks.value[3] == 2 && ticks.value[6] == 20);
}

/* The plot's text, until the next call. */
static const char *plot_text(const SvgPlot *plot) {
  static char text[1 << 14];
  FILE *out = fmemopen(text, sizeof text, "w");
  assert_non_null(out);
  svg_plot(out, plot);
  assert_int_equal(fclose(out), 0);
  return text;
}

static size_t occurrences(const char *text, const char *word) {
  size_t count = 0;
  for (; (text = strstr(text, word)); text += strlen(word)) count++;
  return count;
}

static void numbers_that_are_not_finite_are_gaps(void **state) {
  (void)state;
  const double x[] = { 0, 1, 2, 3, 4, 5, 6 };
  const double y[] = { 1, NAN, 2, 3, INFINITY, -1e308, 2 };
  const double low[] = { 0, 0, 1, NAN, 0, 0, -INFINITY }, high[] = { 2, 3, 3, 4, 4, 4, 4 };
  SvgCurve curve = { "a", x, y, low, high, 7, .colour = 9, .ringed = 2, .with_dots = true };
  SvgPlot plot = { "t", "x", "y", &curve, 1, 400, 200, .reference = NAN };
  const char *text = plot_text(&plot);
  assert_null(strstr(text, "nan"));
  assert_null(strstr(text, "inf"));
  assert_null(strstr(text, "e+"));
  const char *line = strstr(text, "c2 line dashed\" d=\""); /* 9 = 7 + 2: dashed */
  assert_non_null(line);
  const char *end = strstr(line, "<title>");
  size_t stretches = 0, dots = 0;
  for (const char *p = strstr(line, "d=\"M"); p < end; p++)
    stretches += *p == 'M', dots += *p == 'h';
  assert_int_equal(stretches, 3); /* 0 | 2 3 | 6 */
  assert_int_equal(dots, 2);      /* 0 and 6 stand alone */
  assert_int_equal(occurrences(text, "<circle"), 4);
  assert_int_equal(occurrences(text, "ring\""), 1);
}

static void a_point_lies_where_the_axes_say(void **state) {
  (void)state;
  const double x[] = { 0, 50, 100 }, y[] = { 0, 5, 10 }, decades[] = { 1, 10, 100 };
  SvgCurve curve = { .name = "a", .x = x, .y = y, .count = 3, .ringed = -1 };
  SvgPlot plot = { "t", "x", "y", &curve, 1, 400, 200, .reference = 5, .reference_label = "half" };
  double at[3][2];
  for (int pass = 0; pass < 2; pass++) { /* the middle point is in the middle, log or not */
    const char *text = plot_text(&plot);
    const char *path = strstr(text, "c0 line\" d=\"M");
    assert_non_null(path);
    assert_int_equal(sscanf(path, "c0 line\" d=\"M%lf %lfL%lf %lfL%lf %lf", &at[0][0], &at[0][1],
                            &at[1][0], &at[1][1], &at[2][0], &at[2][1]),
                     6);
    for (int c = 0; c < 2; c++) assert_true(fabs(at[0][c] + at[2][c] - 2 * at[1][c]) < 0.11);
    assert_true(at[0][1] > at[2][1] && at[0][0] < at[2][0]);
    assert_true(at[2][0] < 400 && at[2][1] > 0 && at[0][1] < 200);
    assert_int_equal(pass == 1, strstr(text, "log scale") != NULL);
    curve.y = decades;
    plot.log_scale = true;
  }
}

static void a_log_axis_needs_positive_numbers_and_a_decade(void **state) {
  (void)state;
  const double x[] = { 0, 1 };
  const double y[][2] = { { 1, 11 }, { 1, 9 }, { 0, 11 }, { -1, 11 } };
  for (int i = 0; i < 4; i++) {
    SvgCurve curve = { .name = "a", .x = x, .y = y[i], .count = 2, .ringed = -1 };
    SvgPlot plot = { "t", "x", "y", &curve, 1, 400, 200, .reference = NAN, .log_scale = true };
    assert_int_equal(svg_is_log(&plot), i == 0);
  }
}

static void the_widest_axes_have_finite_points(void **state) {
  (void)state;
  const double x[] = { 0, 1e300 }, y[] = { 1e-200, 1e200 }, huge[] = { -1e300, 1e300 };
  SvgCurve curve = { .name = "a", .x = x, .y = y, .count = 2, .ringed = -1 };
  SvgPlot plot = { "t", "x", "y", &curve, 1, 400, 200, .reference = NAN, .log_scale = true };
  assert_true(svg_is_log(&plot));
  assert_null(strstr(plot_text(&plot), "nan"));
  curve.y = huge;
  assert_null(strstr(plot_text(&plot), "nan"));
}

static void text_is_escaped(void **state) {
  (void)state;
  SvgPlot plot = { "<a & \"b\">", "it's", "y\n\x01", NULL, 0, 400, 200, .reference = NAN };
  const char *text = plot_text(&plot);
  assert_non_null(strstr(text, "aria-label=\"&lt;a &amp; &quot;b&quot;&gt;\""));
  assert_non_null(strstr(text, ">it&#39;s<"));
  assert_non_null(strstr(text, ">y  <"));
}

static void tick_labels_share_decimals_and_powers(void **state) {
  (void)state;
  const double x[] = { 0, 60000 }, y[] = { 0.05, 0.29 }, small[] = { 0, 3e-4 };
  SvgCurve curve = { .name = "a", .x = x, .y = y, .count = 2, .ringed = -1 };
  SvgPlot plot = { "t", "x", "rate", &curve, 1, 400, 200, .reference = NAN };
  const char *text = plot_text(&plot);
  assert_non_null(strstr(text, ">0.10<"));
  assert_non_null(strstr(text, ">0.25<"));
  assert_non_null(strstr(text, ">60k<"));
  curve.y = small;
  text = plot_text(&plot);
  assert_non_null(strstr(text, ">rate / 10⁻⁴<"));
  assert_non_null(strstr(text, ">2.5<"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(ticks_are_round_and_cover_the_range),
    cmocka_unit_test(ticks_are_exact_decimals),
    cmocka_unit_test(an_empty_range_is_widened),
    cmocka_unit_test(log_ticks_are_1_2_5_or_powers_of_ten),
    cmocka_unit_test(numbers_that_are_not_finite_are_gaps),
    cmocka_unit_test(a_point_lies_where_the_axes_say),
    cmocka_unit_test(a_log_axis_needs_positive_numbers_and_a_decade),
    cmocka_unit_test(the_widest_axes_have_finite_points),
    cmocka_unit_test(text_is_escaped),
    cmocka_unit_test(tick_labels_share_decimals_and_powers),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
