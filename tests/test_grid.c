/* test_grid.c -- spacings against diffusers' and numpy's, and what each is even in. */
#include "diffusion/grid.h"
#include "tests/golden.h"
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

enum { MOST = 64 };

static Schedule *schedule(Arena *arena, const ScheduleSpec *spec) {
  Error error;
  Schedule *s = schedule_new(arena, spec, &error);
  if (!s) fail_msg("%s", error.text);
  return s;
}
static void grid(const Schedule *s, const char *spacing, double from, int count, double *times) {
  Error error;
  if (!grid_times(s, spacing, from, count, times, &error)) fail_msg("%s", error.text);
}
static bool near(double value, double expected, double relative) {
  return fabs(value - expected) <= relative * fmax(1e-3, fabs(expected));
}

/* DPM and UniPC take the first K of K + 1 steps, as we do when a chain ends at noisy data. */
static void integer_steps_are_those_of_diffusers(void **state) {
  (void)state;
  static const struct {
    const char *name, *spacing;
    int more;
  } cases[] = { { "ddpm_linspace", "linspace", 0 }, { "ddpm_leading", "leading", 0 },
                { "ddpm_trailing", "trailing", 0 }, { "dpm_linspace", "linspace", 1 },
                { "dpm_leading", "leading", 1 },    { "dpm_trailing", "trailing", 0 } };
  Golden golden;
  golden_open(&golden, "tests/golden/diffusers.safetensors");
  const Schedule *s = schedule(golden.arena, &(ScheduleSpec){ .name = "linear", .steps = 1000 });
  for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
    for (int K = 5; K <= 20; K += 5) {
      double times[MOST];
      const CheckpointTensor *theirs =
          golden_tensor(&golden, arena_text(golden.arena, "spacing/%s_%d", cases[c].name, K));
      grid(s, cases[c].spacing, 0, K + cases[c].more, times);
      for (int i = 0; i < K; i++)
        if (times[i] != golden_at(theirs, (size_t)i))
          fail_msg("%s_%d: %g, diffusers %g", cases[c].name, K, times[i],
                   golden_at(theirs, (size_t)i));
    }
  golden_close(&golden);
}

static void continuous_levels_are_those_of_diffusers(void **state) {
  (void)state;
  Golden golden;
  golden_open(&golden, "tests/golden/diffusers.safetensors");
  Arena *arena = golden.arena;
  const Schedule *edm = schedule(arena, &(ScheduleSpec){ .name = "edm" });
  for (int K = 5; K <= 20; K += 5) {
    double times[MOST];
    grid(edm, "karras", 0, K, times);
    for (int i = 0; i < K; i++)
      assert_true(
          near(times[i],
               golden_at(golden_tensor(&golden, arena_text(arena, "spacing/edm_%d", K)), (size_t)i),
               1e-12));
    for (int shift = 1; shift <= 3; shift += 2) { /* they shift their last point twice */
      const Schedule *flow = schedule(arena, &(ScheduleSpec){ .name = "flow", .shift = shift });
      double last = schedule_s(flow, 1e-3);
      for (int i = 0; i < K; i++)
        assert_true(
            near(schedule_s(flow, 1 + (last - 1) * i / (K - 1)),
                 golden_at(
                     golden_tensor(&golden, arena_text(arena, "spacing/flow_shift%d_%d", shift, K)),
                     (size_t)i),
                 1e-12));
    }
  }
  golden_close(&golden);
}

/* int(linspace(0, sqrt(.8 N), K)^2) of DDIM */
static void quadratic_is_ddims(void **state) {
  (void)state;
  static const double expected[] = { 800, 632, 483, 355, 246, 158, 88, 39, 9, 0 };
  Arena *arena = arena_new();
  double times[10];
  grid(schedule(arena, &(ScheduleSpec){ .name = "linear", .steps = 1000 }), "quadratic", 0, 10,
       times);
  for (int i = 0; i < 10; i++) assert_true(times[i] == expected[i]);
  arena_free(arena);
}

static double in_time(const Schedule *s, double t) { return (void)s, t; }
static double in_root(const Schedule *s, double t) { return (void)s, sqrt(t); }
static double in_sigma(const Schedule *s, double t) { return exp(-schedule_lambda(s, t) / 7); }

/* Equal differences of what the name says, from end to end. */
static void spacings_are_even(void **state) {
  (void)state;
  static const struct {
    const char *spacing, *schedule;
    double (*measure)(const Schedule *s, double t);
    double from;
  } cases[] = {
    { "linspace", "vp-sde", in_time, 0 },        { "linspace", "flow", in_time, 0.5 },
    { "quadratic", "vp-sde", in_root, 0 },       { "lambda", "vp-sde", schedule_lambda, 0 },
    { "lambda", "cosine", schedule_lambda, 0 },  { "lambda", "sub-vp", schedule_lambda, 0.7 },
    { "lambda", "linear", schedule_lambda, 25 }, { "karras", "ve", in_sigma, 0 },
    { "karras", "ncsn", in_sigma, 0 },           { "karras", "edm", in_sigma, 10 },
  };
  Arena *arena = arena_new();
  for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
    const ScheduleSpec spec = { .name = cases[c].schedule, .steps = 50 };
    const Schedule *s = schedule(arena, &spec);
    double times[21], value[21];
    grid(s, cases[c].spacing, cases[c].from, 21, times);
    for (int i = 0; i < 21; i++) value[i] = cases[c].measure(s, times[i]);
    double step = (value[20] - value[0]) / 20;
    for (int i = 0; i < 20; i++) assert_true(near(value[i + 1] - value[i], step, 1e-9));
    assert_true(times[0] == (cases[c].from > 0 ? cases[c].from : s->t_max));
    assert_true(near(times[20], s->t_min, 1e-12));
  }
  arena_free(arena);
}

static void every_spacing_is_listed_and_falls(void **state) {
  (void)state;
  Arena *arena = arena_new();
  const Schedule *s = schedule(arena, &(ScheduleSpec){ .name = "vp", .steps = 100 });
  size_t count;
  const char *const *names = grid_list(&count);
  assert_int_equal(count, 6);
  for (size_t i = 0; i < count; i++)
    for (int K = 1; K <= 9; K++) { /* in sqrt(n) ten would not fit */
      double times[10];
      grid(s, names[i], 0, K, times);
      for (int j = 1; j < K; j++) assert_true(times[j] < times[j - 1]);
      assert_true(times[0] <= 99 && times[K - 1] >= 0);
    }
  arena_free(arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(integer_steps_are_those_of_diffusers),
    cmocka_unit_test(continuous_levels_are_those_of_diffusers),
    cmocka_unit_test(quadratic_is_ddims),
    cmocka_unit_test(spacings_are_even),
    cmocka_unit_test(every_spacing_is_listed_and_falls),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
