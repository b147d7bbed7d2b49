/* test_image_quality.c -- training pictures as points, against loops in double over all of them;
 * and measures where they are known. */
#include "core/maths/eigen.h"
#include "core/rng.h"
#include "diffusion/bound.h"
#include "rl/measure/image_bits.h"
#include "rl/measure/image_quality.h"
#include "rl/measure/image_space.h"
#include "tests/pool.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TRAIN = 700, TEST = 90, BYTES = 6, SIDE = 8, PIXELS = SIDE * SIDE, CLASSES = 3 };
static const double precision = sizeof(real) > sizeof(float) ? 1e-12 : 1e-5;

typedef struct {
  Arena *arena;
  const Kernels *kernels;
  Pool *pool[2]; /* of 1 and of 3 threads */
  ImageSet set;
  PicturesModel model;
  ImageSpace *space;
} World;

/* Pictures of 6 x 6, brighter towards the right, more or less; labels by chance. */
static Images pictures(Arena *arena, const char *name, int count) {
  uint8_t *pixel = arena_array(arena, uint8_t, count * BYTES * BYTES);
  uint8_t *label = arena_array(arena, uint8_t, count);
  Rng rng = rng_stream(1, name);
  for (int i = 0; i < count; i++) {
    double slope = 20 * rng_uniform(rng, 1, (uint32_t)i, 0);
    label[i] = (uint8_t)rng_below(rng, 2, (uint32_t)i, 0, CLASSES);
    for (int j = 0; j < BYTES * BYTES; j++) {
      double noise = 60 * rng_uniform(rng, 0, (uint32_t)i, (uint32_t)j);
      pixel[i * BYTES * BYTES + j] = (uint8_t)(40 + slope * (j % BYTES) + noise);
    }
  }
  return (Images){ count, BYTES, BYTES, pixel, label, 1 };
}

static int setup(void **state) {
  Arena *arena = arena_new();
  World *w = arena_alloc(arena, sizeof *w);
  Error error;
  w->arena = arena, w->kernels = kernels_find("own", &error);
  w->pool[0] = pool_of(1), w->pool[1] = pool_of(3);
  w->set = (ImageSet){ .name = "slopes", .classes = CLASSES };
  w->set.train = pictures(arena, "train", TRAIN), w->set.test = pictures(arena, "test", TEST);
  w->model = (PicturesModel){ .classes = CLASSES };
  w->model.size = SIDE, w->model.labels = true;
  w->space = image_space_new(arena, &w->set.train, SIDE, w->pool[0], w->kernels);
  *state = w;
  return w->kernels ? 0 : -1;
}

static int teardown(void **state) {
  World *w = *state;
  pool_free(w->pool[0]), pool_free(w->pool[1]);
  arena_free(w->arena);
  return 0;
}

static double *draw(World *w, const Images *from, int count) {
  double *x = arena_array(w->arena, double, count *PIXELS);
  real one[PIXELS];
  for (int i = 0; i < count; i++) {
    images_decode(from, i, SIDE, one);
    for (int j = 0; j < PIXELS; j++) x[i * PIXELS + j] = (double)one[j];
  }
  return x;
}

/* ---- points ---------------------------------------------------------------------------------- */

static void the_nearest_is_that_of_all_pairs(void **state) {
  World *w = *state;
  double *test = draw(w, &w->set.test, TEST), *train = draw(w, &w->set.train, TRAIN);
  double distance[TEST];
  int which[TEST];
  image_space_nearest(w->space, test, TEST, distance, which);
  for (int i = 0; i < TEST; i++) {
    double least = INFINITY;
    int nearest = 0;
    for (int k = 0; k < TRAIN; k++) {
      double sum = 0;
      for (int j = 0; j < PIXELS; j++) {
        double off = test[i * PIXELS + j] - train[k * PIXELS + j];
        sum += off * off;
      }
      if (sum < least) least = sum, nearest = k;
    }
    assert_int_equal(which[i], nearest);
    assert_true(fabs(distance[i] / sqrt(least) - 1) < 1e-14);
  }
}

static void a_training_picture_is_nearest_to_itself(void **state) {
  World *w = *state;
  double *train = draw(w, &w->set.train, TRAIN), distance[TRAIN];
  int which[TRAIN];
  image_space_nearest(w->space, train, TRAIN, distance, which);
  for (int i = 0; i < TRAIN; i++) assert_true(which[i] == i && distance[i] == 0);
}

static void components_are_eigenvectors_of_the_covariance(void **state) {
  enum { COUNT = 5 };
  World *w = *state;
  double *x = draw(w, &w->set.train, TRAIN), mean[PIXELS] = { 0 };
  double *c = arena_array(w->arena, double, PIXELS *PIXELS), value[PIXELS];
  double *vector = arena_array(w->arena, double, PIXELS *PIXELS);
  for (int i = 0; i < TRAIN * PIXELS; i++) mean[i % PIXELS] += x[i] / TRAIN;
  for (int i = 0; i < TRAIN; i++)
    for (int j = 0; j < PIXELS; j++)
      for (int k = 0; k < PIXELS; k++)
        c[j * PIXELS + k] += (x[i * PIXELS + j] - mean[j]) * (x[i * PIXELS + k] - mean[k]);
  for (int j = 0; j < PIXELS * PIXELS; j++) c[j] /= TRAIN - 1;
  eigen_symmetric(c, PIXELS, value, vector);
  Error error;
  assert_true(image_space_fit(w->space, COUNT, &error));
  for (int k = 0; k < COUNT; k++)
    assert_true(fabs(w->space->variance[k] / value[k] - 1) < precision);
  double along = 0;
  for (int j = 0; j < PIXELS; j++) along += vector[j] * w->space->component[j];
  assert_true(fabs(fabs(along) - 1) < precision); /* of the first, which is well apart */
}

/* Features of the training pictures have the components' variances and do not vary together. */
static void features_vary_as_the_components_say(void **state) {
  enum { COUNT = 6 };
  World *w = *state;
  Error error;
  assert_true(image_space_fit(w->space, COUNT, &error));
  double *f = arena_array(w->arena, double, TRAIN *COUNT);
  image_space_project(w->space, draw(w, &w->set.train, TRAIN), TRAIN, f);
  for (int a = 0; a < COUNT; a++)
    for (int b = 0; b <= a; b++) {
      double sum = 0;
      for (int i = 0; i < TRAIN; i++) sum += f[i * COUNT + a] * f[i * COUNT + b] / (TRAIN - 1);
      double expected = a == b ? w->space->variance[a] : 0;
      assert_true(fabs(sum - expected) < 10 * precision * w->space->variance[0]);
    }
}

static void threads_change_no_bit(void **state) {
  World *w = *state;
  ImageQuality scores[2];
  Error error;
  double *x = draw(w, &w->set.train, 20);
  memset(scores, 0, sizeof scores);
  for (int i = 0; i < 2; i++)
    assert_true(
        image_quality(&w->model, &w->set, NULL, x, 20, w->pool[i], w->kernels, &scores[i], &error));
  assert_memory_equal(&scores[0], &scores[1], sizeof *scores);
}

/* ---- two hands of real pictures -------------------------------------------------------------- */

static int find(const double *picture, const double *among, int count) {
  int found = -1;
  for (int i = 0; i < count; i++)
    if (!memcmp(picture, among + i * PIXELS, PIXELS * sizeof *picture)) found = i;
  return found;
}

static void hands_share_no_picture_and_have_labels_in_turn(void **state) {
  World *w = *state;
  Error error;
  int count = image_quality_pictures(&w->model, &w->set, 1000, &error), held[CLASSES] = { 0 };
  double *test = draw(w, &w->set.test, TEST), *hand[2];
  bool dealt[TEST] = { false };
  for (int i = 0; i < TEST; i++) held[w->set.test.label[i]]++;
  int least = held[0] < held[1] ? held[0] : held[1];
  assert_int_equal(count, CLASSES * ((least < held[2] ? least : held[2]) / 2));
  for (int h = 0; h < 2; h++) hand[h] = arena_array(w->arena, double, count *PIXELS);
  image_quality_deal(&w->model, &w->set, count, hand);
  for (int i = 0; i < 2 * count; i++) {
    int k = find(hand[i % 2] + i / 2 * PIXELS, test, TEST);
    assert_true(k >= 0 && !dealt[k] && w->set.test.label[k] == i / 2 % CLASSES);
    dealt[k] = true;
  }
}

static void without_labels_the_set_is_halved(void **state) {
  World *w = *state;
  Error error;
  w->model.labels = false;
  assert_int_equal(image_quality_pictures(&w->model, &w->set, 1000, &error), TEST / 2);
  assert_int_equal(image_quality_pictures(&w->model, &w->set, 7, &error), 7);
}

/* ---- scores ---------------------------------------------------------------------------------- */

static ImageQuality score(World *w, const double *x, int count) {
  ImageQuality scores;
  Error error;
  assert_true(
      image_quality(&w->model, &w->set, NULL, x, count, w->pool[0], w->kernels, &scores, &error));
  return scores;
}

static void the_hand_itself_scores_zero(void **state) {
  enum { COUNT = 24 };
  World *w = *state;
  double *hand[] = { arena_array(w->arena, double, COUNT *PIXELS),
                     arena_array(w->arena, double, COUNT *PIXELS) };
  image_quality_deal(&w->model, &w->set, COUNT, hand);
  ImageQuality a = score(w, hand[0], COUNT), b = score(w, hand[1], COUNT);
  assert_int_equal(a.pictures, COUNT);
  assert_int_equal(a.features, PIXELS);
  assert_true(fabs(a.frechet.samples) < 1e-5 * a.frechet.real); /* roots of a singular matrix */
  assert_true(b.frechet.samples == b.frechet.real && b.frechet.real == a.frechet.real);
  assert_true(a.nearest.samples == a.nearest.real && b.nearest.real == a.nearest.real);
}

/* All pixels lighter or darker by s: the means move along all features together by s sqrt(PIXELS),
 * the covariance stays, so the second difference of the distance is 2 PIXELS s^2. */
static void a_shift_adds_its_square(void **state) {
  enum { COUNT = 20 };
  const double s = 0.1;
  World *w = *state;
  double *x = draw(w, &w->set.train, COUNT), frechet[3];
  for (int i = 0; i < COUNT * PIXELS; i++) x[i] = 0.5 * x[i]; /* nothing is clipped */
  for (int k = 0; k < 3; k++) {
    frechet[k] = score(w, x, COUNT).frechet.samples;
    for (int i = 0; i < COUNT * PIXELS; i++) x[i] += s;
  }
  double second = frechet[0] - 2 * frechet[1] + frechet[2];
  assert_true(fabs(second / (2 * PIXELS * s * s) - 1) < 1e-5);
}

static void copies_of_training_pictures_are_found(void **state) {
  World *w = *state;
  ImageQuality scores = score(w, draw(w, &w->set.train, 20), 20);
  assert_true(scores.nearest.samples == 0 && scores.nearest.real > 0);
}

/* every picture with three channels, all equal to the grey one */
static Images repeated(Arena *arena, const Images *grey) {
  Images rgb = *grey;
  int64_t numbers = (int64_t)grey->count * grey->height * grey->width * 3;
  uint8_t *pixel = arena_alloc(arena, (size_t)numbers);
  for (int64_t i = 0; i < numbers; i++) pixel[i] = grey->pixel[i / 3];
  rgb.channels = 3, rgb.pixel = pixel;
  return rgb;
}

/* Each square of a distance is there three times; and a grey model is not measured by colours. */
static void three_equal_channels_count_three_times(void **state) {
  enum { COUNT = 20 };
  World *w = *state;
  Error error;
  double *grey = draw(w, &w->set.train, 2 * COUNT);
  double *rgb = arena_array(w->arena, double, COUNT * 3 * PIXELS);
  /* means of two pictures: new ones, in the space of the components */
  for (int i = 0; i < COUNT * PIXELS; i++) grey[i] = (grey[i] + grey[i + COUNT * PIXELS]) / 2;
  for (int i = 0; i < COUNT * PIXELS * 3; i++) rgb[i] = grey[i / 3];
  ImageQuality one = score(w, grey, COUNT);
  w->set.train = repeated(w->arena, &w->set.train), w->set.test = repeated(w->arena, &w->set.test);
  assert_int_equal(image_quality_pictures(&w->model, &w->set, COUNT, &error), 0);
  assert_non_null(strstr(error.text, "has RGB pictures and this model makes grey ones"));
  w->model.channels = 3;
  assert_int_equal(image_quality_pictures(&w->model, &w->set, COUNT, &error), COUNT);
  ImageQuality three = score(w, rgb, COUNT);
  assert_true(fabs(three.frechet.samples / (3 * one.frechet.samples) - 1) < 1e-5);
  assert_true(fabs(three.frechet.real / (3 * one.frechet.real) - 1) < 1e-5);
  assert_true(fabs(three.nearest.samples / (sqrt(3) * one.nearest.samples) - 1) < precision);
  assert_true(fabs(three.nearest.real / (sqrt(3) * one.nearest.real) - 1) < precision);
}

static void what_cannot_be_scored_is_told(void **state) {
  World *w = *state;
  ImageQuality scores;
  Error error;
  double *x = draw(w, &w->set.train, 20);
  x[7] = NAN;
  assert_false(
      image_quality(&w->model, &w->set, NULL, x, 20, w->pool[0], w->kernels, &scores, &error));
  assert_int_equal(error.kind, FAIL_DIVERGED);
  w->set.test.count = 2;
  assert_int_equal(image_quality_pictures(&w->model, &w->set, 20, &error), 0);
  assert_non_null(strstr(error.text, "too few"));
  w->set.test.count = TEST, w->model.size = IMAGE_SPACE_MOST + 1;
  assert_int_equal(image_quality_pictures(&w->model, &w->set, 20, &error), 0);
  assert_non_null(strstr(error.text, "expected at most 64 x 64"));
}

/* Labels and pixels index what was made for the model: no other set is measured. */
static void a_set_of_another_shape_is_refused(void **state) {
  World *w = *state;
  Error error;
  for (int other = CLASSES - 1; other <= CLASSES + 1; other += 2) {
    w->set.classes = other;
    assert_int_equal(image_quality_pictures(&w->model, &w->set, 20, &error), 0);
    assert_int_equal(error.kind, FAIL_INPUT);
    assert_non_null(strstr(error.text, "was trained on 3; give the pictures"));
  }
  w->model.labels = false; /* then they are not looked at */
  assert_int_equal(image_quality_pictures(&w->model, &w->set, 20, &error), 20);
  w->model.size = BYTES - 1;
  assert_int_equal(image_quality_pictures(&w->model, &w->set, 20, &error), 0);
  assert_non_null(strstr(error.text, "pictures of 6 x 6 and this model makes 5 x 5"));
}

/* ---- bits per dimension ---------------------------------------------------------------------- */

/* says a number for each label, whatever it sees; with noise: and some of what it sees */
typedef struct {
  Denoiser base;
  double noise;
} Stubborn;
static Tensor *stubborn_net(const Denoiser *d, Graph *g, const Params *p, Tensor *x, Tensor *h,
                            Tensor *cond) {
  (void)g, (void)p, (void)h;
  return t_add(t_scale(((const Stubborn *)d)->noise, x), t_scale(0.25, t_col(cond, 1)));
}
static Tensor *plain_time(const Denoiser *d, Graph *g, const Params *p, Tensor *t) {
  return (void)d, (void)g, (void)p, t;
}

static void make_stubborn(World *w, Stubborn *net, const char *schedule, int steps) {
  Error error;
  ScheduleSpec spec = { .name = schedule, .steps = steps };
  net->base = (Denoiser){ .net = stubborn_net, .embed = plain_time, .predicts = PREDICTS_X0 };
  net->base.dim = PIXELS, net->base.schedule = schedule_new(w->arena, &spec, &error);
  assert_non_null(net->base.schedule);
  w->model.base.schedule = net->base.schedule, w->model.base.denoiser = &net->base;
  w->model.base.cond = CLASSES;
}

static ImageBits bits_of(World *w, int from, int count, int pool, double *each) {
  ImageBits bits;
  Error error;
  ModelSampling how = { .seed = 5, .pool = w->pool[pool], .kernels = w->kernels };
  assert_true(image_bits(&w->model, &w->set, from, count, &how, each, &bits, &error));
  return bits;
}

static double normal_cdf(double x) { return 0.5 * erfc(-x / sqrt(2)); }

/* For an answer that is not random the terms telescope: (SNR_0 - SNR_T) |x_0 - answer|^2 / 2. */
static double stubborn_nats(const Schedule *s, double first, double last, double v, double x,
                            double answer) {
  Level clear = schedule_level(s, first), noisy = schedule_level(s, last);
  double fall = exp(2 * clear.lambda) - exp(2 * noisy.lambda), half = 1.0 / 255;
  double upper = x > 1 - half ? 1 : normal_cdf((x - answer + half) / sqrt(v));
  double lower = x < -1 + half ? 0 : normal_cdf((x - answer - half) / sqrt(v));
  double prior = pow(noisy.a * x, 2) + noisy.s * noisy.s - 1 - 2 * log(noisy.s);
  return fall * pow(x - answer, 2) / 2 - log(fmax(upper - lower, 1e-12)) + prior / 2;
}

static void bits_of_a_stubborn_network_are_known(void **state) {
  World *w = *state;
  for (int discrete = 0; discrete < 2; discrete++) {
    Stubborn net = { .noise = 0 };
    make_stubborn(w, &net, discrete ? "vp" : "flow", 5);
    const Schedule *s = net.base.schedule;
    double last = discrete ? 4 : schedule_time(s, -6.65);
    double first = discrete ? 0 : schedule_time(s, 6.65), expected = 0, each[TEST];
    double v = discrete ? schedule_posterior(s, 1).variance : exp(-2 * schedule_lambda(s, first));
    for (int i = 0; i < TEST; i++) {
      real x[PIXELS];
      images_decode(&w->set.test, i, SIDE, x);
      for (int j = 0; j < PIXELS; j++)
        expected +=
            stubborn_nats(s, first, last, v, (double)x[j], w->set.test.label[i] == 1 ? 0.25 : 0);
    }
    ImageBits bits = bits_of(w, 0, TEST, 0, each);
    expected /= TEST * BYTES * BYTES * log(2);
    assert_int_equal(bits.steps, discrete ? 5 : 128);
    assert_true(fabs(bits.bits / expected - 1) < 10 * precision);
  }
}

/* The parts are the whole to the bit, whoever computes them, and agree with each other. */
static void parts_of_the_bits_are_the_whole(void **state) {
  World *w = *state;
  Stubborn net = { .noise = 0.5 };
  make_stubborn(w, &net, "vp", 5);
  double whole[TEST], part[TEST];
  ImageBits all = bits_of(w, 0, TEST, 0, whole);
  ImageBits a = bits_of(w, 0, 45, 1, part), b = bits_of(w, 45, TEST - 45, 1, part + 45);
  assert_memory_equal(whole, part, sizeof whole);
  assert_true(fabs((a.bits + b.bits) / 2 - all.bits) < 1e-12 * all.bits);
  assert_true(a.bits != b.bits && fabs(a.bits - b.bits) < 3 * hypot(a.error, b.error));
  /* half as many have 1 / sqrt 2 of the precision, as far as 45 tell */
  assert_true(fabs(a.error / all.error / sqrt(2) - 1) < 0.3);
}

static void bits_of_too_many_pictures_are_refused(void **state) {
  World *w = *state;
  Stubborn net = { .noise = 0 };
  ImageBits bits;
  Error error;
  ModelSampling how = { .pool = w->pool[0], .kernels = w->kernels };
  make_stubborn(w, &net, "vp", 5);
  assert_false(image_bits(&w->model, &w->set, 0, TEST + 1, &how, NULL, &bits, &error));
  assert_non_null(strstr(error.text, "has 90 test pictures"));
}

#define FACT(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
    FACT(the_nearest_is_that_of_all_pairs),
    FACT(a_training_picture_is_nearest_to_itself),
    FACT(components_are_eigenvectors_of_the_covariance),
    FACT(features_vary_as_the_components_say),
    FACT(threads_change_no_bit),
    FACT(hands_share_no_picture_and_have_labels_in_turn),
    FACT(without_labels_the_set_is_halved),
    FACT(the_hand_itself_scores_zero),
    FACT(a_shift_adds_its_square),
    FACT(copies_of_training_pictures_are_found),
    FACT(three_equal_channels_count_three_times),
    FACT(what_cannot_be_scored_is_told),
    FACT(a_set_of_another_shape_is_refused),
    FACT(bits_of_a_stubborn_network_are_known),
    FACT(parts_of_the_bits_are_the_whole),
    FACT(bits_of_too_many_pictures_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
