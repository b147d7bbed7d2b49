/* test_image_features.c -- measures of a classifier's features: where they are known, and on real
 * pictures that are spoilt more and more. */
#include "core/rng.h"
#include "rl/measure/image_features.h"
#include "tests/pool.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

enum { CLASSES = 10, WIDTH = 4, COUNT = 400 };

/* ---- the score ------------------------------------------------------------------------------- */

static void sure_and_balanced_labels_reach_their_number(void **state) {
  (void)state;
  double p[COUNT * CLASSES] = { 0 };
  for (int i = 0; i < COUNT; i++) p[i * CLASSES + i % CLASSES] = 1;
  assert_true(fabs(image_features_score(p, COUNT, CLASSES) - CLASSES) < 1e-12);
  /* five of ten labels alone */
  memset(p, 0, sizeof p);
  for (int i = 0; i < COUNT; i++) p[i * CLASSES + i % 5] = 1;
  assert_true(fabs(image_features_score(p, COUNT, CLASSES) - 5) < 1e-12);
}

static void predictions_that_are_alike_score_one(void **state) {
  (void)state;
  double p[COUNT * CLASSES];
  for (int i = 0; i < COUNT * CLASSES; i++) p[i] = (1 + i % CLASSES) / 55.0;
  assert_true(fabs(image_features_score(p, COUNT, CLASSES) - 1) < 1e-12);
}

/* ---- sets ------------------------------------------------------------------------------------ */

/* features of two equal modes, sure of the label i % CLASSES */
static FeatureSet two_modes(Arena *arena, const char *name, double apart) {
  FeatureSet set = { COUNT, WIDTH, CLASSES, arena_array(arena, double, COUNT *WIDTH),
                     arena_array(arena, double, COUNT *CLASSES) };
  Rng rng = rng_stream(1, name);
  for (int i = 0; i < COUNT; i++) {
    for (int j = 0; j < WIDTH; j++)
      set.feature[i * WIDTH + j] = rng_normal(rng, 0, (uint32_t)i, (uint32_t)j);
    set.feature[i * WIDTH] += i % 2 ? apart : 0;
    set.probability[i * CLASSES + i % CLASSES] = 1;
  }
  return set;
}

static void a_set_is_as_good_as_itself(void **state) {
  (void)state;
  Arena *arena = arena_new();
  FeatureSet set = two_modes(arena, "modes", 3);
  FeatureQuality q = image_features_compare(&set, &set, true);
  assert_true(q.precision == 1 && q.recall == 1 && q.consistency == 1);
  assert_true(fabs(q.frechet) < 1e-9 &&
              q.kernel < 0); /* without bias: less than 0 by the diagonal */
  assert_true(isnan(image_features_compare(&set, &set, false).consistency));
  arena_free(arena);
}

static void a_dropped_mode_is_seen_by_the_recall(void **state) {
  (void)state;
  Arena *arena = arena_new();
  FeatureSet both = two_modes(arena, "both", 60), one = two_modes(arena, "one", 0);
  FeatureQuality q = image_features_compare(&one, &both, true);
  assert_true(q.precision > 0.9 && q.recall > 0.4 && q.recall <= 0.5);
  arena_free(arena);
}

static void a_wrong_label_is_not_consistent(void **state) {
  (void)state;
  Arena *arena = arena_new();
  FeatureSet set = two_modes(arena, "labels", 3);
  /* of the first hundred each is sure of the next label */
  for (int i = 0; i < 100; i++) {
    set.probability[i * CLASSES + i % CLASSES] = 0;
    set.probability[i * CLASSES + (i + 1) % CLASSES] = 1;
  }
  FeatureQuality q = image_features_compare(&set, &set, true);
  assert_true(fabs(q.consistency - 0.75) < 1e-12);
  arena_free(arena);
}

/* ---- real pictures --------------------------------------------------------------------------- */

enum { SIDE = 28, PIXELS = SIDE * SIDE, SHOWN = 600 };

typedef struct {
  Arena *arena;
  ImageSet *set;
  const ImageFeatures *gauge;
  Pool *pool;
  const Kernels *kernels;
  FeatureSet real_ones;
} World;

static double *pictures(World *w, int from) {
  double *x = arena_array(w->arena, double, SHOWN *PIXELS);
  real one[PIXELS];
  for (int i = 0; i < SHOWN; i++) {
    images_decode(&w->set->test, from + i, SIDE, one);
    for (int j = 0; j < PIXELS; j++) x[i * PIXELS + j] = (double)one[j];
  }
  return x;
}

static FeatureSet seen(World *w, const double *x) {
  return image_features_of(w->arena, w->gauge, x, SIDE, SHOWN, w->pool, w->kernels);
}

static int setup(void **state) {
  Arena *arena = arena_new();
  World *w = arena_alloc(arena, sizeof *w);
  Error error;
  w->arena = arena, *state = w;
  w->set = images_open(arena, "fashion-mnist", &error); /* NULL: not on this machine */
  if (!w->set) return 0;
  w->pool = pool_of(1), w->kernels = kernels_find("own", &error);
  if (!image_features_open(arena, "auto", w->set, &w->gauge, &error) || !w->gauge) return -1;
  w->real_ones = seen(w, pictures(w, 0));
  return 0;
}

static int teardown(void **state) {
  World *w = *state;
  pool_free(w->pool);
  arena_free(w->arena);
  return 0;
}

/* Pictures of another part of the set with noise of deviation s added. */
static double *noisy(World *w, double s) {
  double *x = pictures(w, SHOWN);
  Rng rng = rng_stream(1, "spoil");
  for (int i = 0; i < SHOWN * PIXELS; i++)
    x[i] = fmin(fmax(x[i] + s * rng_normal(rng, 0, 0, (uint32_t)i), -1), 1);
  return x;
}

/* The mean over neighbours along both axes, `times` over. */
static double *blurred(World *w, int times) {
  double *x = pictures(w, SHOWN), *y = arena_array(w->arena, double, SHOWN *PIXELS);
  for (int t = 0; t < times; t++) {
    for (int i = 0; i < SHOWN * PIXELS; i++) {
      int at = i % PIXELS, right = at % SIDE < SIDE - 1, down = at / SIDE < SIDE - 1;
      y[i] = (x[i] + x[i + right] + x[i + down * SIDE] + x[i + right + down * SIDE]) / 4;
    }
    memcpy(x, y, SHOWN * PIXELS * sizeof *x);
  }
  return x;
}

static void assert_worse(const FeatureQuality *a, const FeatureQuality *b) {
  assert_true(b->frechet > a->frechet && b->kernel > a->kernel && b->precision <= a->precision);
}

/* Blurred once, by half a pixel, pictures are to this network as real ones are. */
static void noise_and_blur_make_it_worse(void **state) {
  World *w = *state;
  if (!w->set) skip();
  FeatureQuality noise[3], blur[3];
  for (int k = 0; k < 3; k++) {
    FeatureSet a = seen(w, noisy(w, 0.15 * k)), b = seen(w, blurred(w, 2 * k));
    noise[k] = image_features_compare(&a, &w->real_ones, false);
    blur[k] = image_features_compare(&b, &w->real_ones, false);
    print_message(
        "noise %g: Frechet %.2f kernel %.3f precision %.2f; blur %d times: %.2f %.3f %.2f\n",
        0.15 * k, noise[k].frechet, noise[k].kernel, noise[k].precision, 2 * k, blur[k].frechet,
        blur[k].kernel, blur[k].precision);
  }
  for (int k = 0; k < 2; k++)
    assert_worse(&noise[k], &noise[k + 1]), assert_worse(&blur[k], &blur[k + 1]);
}

static void threads_and_a_black_frame_change_no_bit(void **state) {
  World *w = *state;
  if (!w->set) skip();
  enum { LARGE = 32, FRAME = 2 };
  double *x = pictures(w, 0), *framed = arena_array(w->arena, double, SHOWN *LARGE *LARGE);
  for (int i = 0; i < SHOWN * LARGE * LARGE; i++) framed[i] = -1;
  for (int i = 0; i < SHOWN * PIXELS; i++) {
    int at = i % PIXELS, row = at / SIDE + FRAME, column = at % SIDE + FRAME;
    framed[i / PIXELS * LARGE * LARGE + row * LARGE + column] = x[i];
  }
  Pool *three = pool_of(3);
  FeatureSet other = image_features_of(w->arena, w->gauge, framed, LARGE, SHOWN, three, w->kernels);
  pool_free(three);
  size_t bytes = (size_t)SHOWN * (size_t)other.width * sizeof *other.feature;
  assert_memory_equal(other.feature, w->real_ones.feature, bytes);
}

static void other_labels_are_refused(void **state) {
  World *w = *state;
  Error error;
  const ImageFeatures *features;
  ImageSet set = { .name = "four", .classes = 4 };
  assert_true(image_features_open(w->arena, "auto", &set, &features, &error) && !features);
  /* a folder that is called like the set, with other pictures in it */
  ImageSet alike = { .name = "fashion-mnist", .classes = 10, .hash = "another" };
  assert_true(image_features_open(w->arena, "auto", &alike, &features, &error) && !features);
  assert_true(image_features_open(w->arena, "none", &set, &features, &error) && !features);
  assert_false(image_features_open(w->arena, "fashion-mnist-gauge", &set, &features, &error));
  assert_int_equal(error.kind, FAIL_USAGE);
  assert_false(image_features_open(w->arena, "nowhere", &set, &features, &error));
  assert_int_equal(error.kind, FAIL_INPUT);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(sure_and_balanced_labels_reach_their_number),
    cmocka_unit_test(predictions_that_are_alike_score_one),
    cmocka_unit_test(a_set_is_as_good_as_itself),
    cmocka_unit_test(a_dropped_mode_is_seen_by_the_recall),
    cmocka_unit_test(a_wrong_label_is_not_consistent),
    cmocka_unit_test(noise_and_blur_make_it_worse),
    cmocka_unit_test(threads_and_a_black_frame_change_no_bit),
    cmocka_unit_test(other_labels_are_refused),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
