/* test_reward.c -- rewards where they are known by hand, their gradients against differences, and
 * what programs of the user's may do wrong. */
#include "core/clock.h"
#include "core/ops/ops.h"
#include "core/rng.h"
#include "core/tape/graph.h"
#include "datasets/png.h"
#include "rl/reward/reward.h"
#include "rl/reward/reward_child.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DIM = 4, COUNT = 2 };
static const real pixel[COUNT * DIM] = { -1, 1, 1, 1, 0.5f, 0.5f, 0.5f, 0.5f };

static Reward *named(Arena *arena, const char *text, Error *error) {
  RewardSpec spec = { .plane = { 2, 2, 1 }, .pictures = true, .seconds = 0.5 };
  return reward_open(arena, text, &spec, error);
}

static void check(const char *text, double first, double second) {
  Arena *arena = arena_new();
  Error error = { 0 };
  float value[COUNT] = { 0 };
  Reward *r = named(arena, text, &error);
  assert_non_null(r);
  if (!reward_values(r, pixel, DIM, COUNT, value, &error)) fail_msg("%s", error.text);
  assert_true(fabs((double)value[0] - first) < 1e-5);
  assert_true(fabs((double)value[1] - second) < 1e-5);
  reward_close(r);
  arena_free(arena);
}

static void formulas(void **state) {
  (void)state;
  check("brightness", 0.75, 0.75);
  check("ink", (3 + 1 / (1 + exp(4))) / 4, 1);
  check("contrast", sqrt(0.75 + 1e-6), 1e-3);
  check("symmetry", -2, 0);
}

/* value of one sample */
static double value_of(const char *text, Plane plane, bool pictures, const real *x) {
  Arena *arena = arena_new();
  Error error = { 0 };
  float value;
  RewardSpec spec = { .plane = plane, .pictures = pictures };
  Reward *r = reward_open(arena, text, &spec, &error);
  assert_non_null(r);
  assert_true(reward_values(r, x, plane_size(plane), 1, &value, &error));
  reward_close(r);
  arena_free(arena);
  return (double)value;
}

static void points(void **state) {
  const Plane point = { 1, 1, 2 };
  const real x[2] = { 3, -1.5f };
  (void)state;
  assert_true(value_of("linear:2,-4", point, false, x) == 12);
  assert_true(value_of("near:1,0.5", point, false, x) == -4);
  assert_true(value_of("near:3,-1.5", point, false, x) == 0);
}

/* A light left half, of which the right one is another colour: channels are compared with their
 * own twins, and n counts them all. */
static void colours(void **state) {
  const Plane plane = { 1, 2, 3 };
  const real x[6] = { 1, 0, -1, -1, 0, 0.5f };
  (void)state;
  assert_true(fabs(value_of("brightness", plane, true, x) - (0.5 - 0.5 / 12)) < 1e-6);
  assert_true(fabs(value_of("symmetry", plane, true, x) + 2 * (4 + 0 + 2.25) / 6) < 1e-6);
}

/* By the tables of ISO 10918-1, annex K: a grey file is 330 bytes of markers, and a block without
 * change 2 bits for "no difference" and 4 for "no more": 16 blocks are 12 bytes.  In colour the
 * markers are 625 bytes, and the one unit of 16 x 16 pixels is four blocks of 6 bits and two of
 * 4: 4 bytes. */
static void sizes_of_plain_pictures_are_known(void **state) {
  static const real grey[28 * 28], colour[16 * 16 * 3];
  (void)state;
  const double small = value_of("jpeg-small", (Plane){ 28, 28, 1 }, true, grey);
  assert_true(fabs(small + 0.342) < 1e-7);
  const double large = value_of("jpeg-large", (Plane){ 16, 16, 3 }, true, colour);
  assert_true(fabs(large - 0.629) < 1e-7);
}

/* A coefficient of uniform noise has a deviation of 73.6 and is divided by at most 12, so it takes
 * about log2(73.6 sqrt(2 pi e) / 12) = 4.7 bits and more: 28 x 28 of them 457 bytes. */
static void noise_is_not_compressed(void **state) {
  real x[28 * 28];
  Rng rng = rng_stream(5, "noise");
  (void)state;
  for (int i = 0; i < 28 * 28; i++) x[i] = (real)(2 * rng_uniform(rng, 0, 0, (uint32_t)i) - 1);
  assert_true(value_of("jpeg-large", (Plane){ 28, 28, 1 }, true, x) > 0.330 + 0.457);
}

static void jpeg_rewards_are_opposite(void **state) {
  Arena *arena = arena_new();
  Error error = { 0 };
  float small[COUNT], large[COUNT];
  (void)state;
  assert_true(reward_values(named(arena, "jpeg-small", &error), pixel, DIM, COUNT, small, &error));
  assert_true(reward_values(named(arena, "jpeg-large", &error), pixel, DIM, COUNT, large, &error));
  for (int i = 0; i < COUNT; i++) {
    assert_true(large[i] > 0.1f); /* the tables of a JPEG file alone are more */
    assert_true(small[i] == -large[i]);
  }
  arena_free(arena);
}

/* It fails with these words, soon, and no child is left. */
static void refused(const char *text, const char *words) {
  Arena *arena = arena_new();
  Error error = { 0 };
  float value[COUNT];
  double start = clock_now();
  Reward *r = named(arena, text, &error);
  assert_false(r && reward_values(r, pixel, DIM, COUNT, value, &error));
  if (!strstr(error.text, words)) fail_msg("%s: %s", text, error.text);
  assert_true(clock_now() - start < 5);
  assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
  assert_int_equal(errno, ECHILD);
  reward_close(r);
  arena_free(arena);
}

/* A picture of 2 x 2 pixels, the second of `pixel`, 128 of 255 each. */
static const char *grey_file(int width) {
  static char name[64];
  uint8_t grey[8];
  Error error = { 0 };
  memset(grey, 128, sizeof grey);
  snprintf(name, sizeof name, "/tmp/reward-%d-%d.png", (int)getpid(), width);
  assert_true(png_save(&(Image){ width, 2, 1, grey }, name, &error));
  return name;
}

static void likeness(void **state) {
  char text[96];
  const double grey = 128 / 127.5 - 1;
  (void)state;
  snprintf(text, sizeof text, "likeness:%s", grey_file(2));
  check(text, -((1 + grey) * (1 + grey) + 3 * (1 - grey) * (1 - grey)) / 4,
        -(0.5 - grey) * (0.5 - grey));
  unlink(text + 9);
  snprintf(text, sizeof text, "likeness:%s", grey_file(4));
  refused(text, "2 x 4 with 1 channels; expected 2 x 2 with 1");
  unlink(text + 9);
  refused(text, "cannot be");
}

/* ---- a classifier ---------------------------------------------------------------------------- */

/* Noise of `side` x `side` pixels in the middle of the plane of `wide` x `wide`, black around. */
static void put_noise(int side, int wide, real *x) {
  Rng rng = rng_stream(5, "noise");
  int at = (wide - side) / 2;
  for (int i = 0; i < wide * wide; i++) x[i] = -1;
  for (int i = 0; i < side * side; i++)
    x[(i / side + at) * wide + i % side + at] =
        (real)(float)(2 * rng_uniform(rng, 0, 0, (uint32_t)i) - 1);
}

static float probability(const char *text, int side, int wide) {
  Arena *arena = arena_new();
  Error error = { 0 };
  RewardSpec spec = { .plane = { wide, wide, 1 }, .pictures = true };
  real x[40 * 40];
  float value;
  Reward *r = reward_open(arena, text, &spec, &error);
  if (!r) fail_msg("%s", error.text);
  put_noise(side, wide, x);
  assert_true(reward_values(r, x, wide * wide, 1, &value, &error));
  arena_free(arena);
  return value;
}

/* The probabilities of all labels add up to 1, and the judge sees a picture of 28 pixels a side as
 * one of 32 with black around it, and of a larger one the middle. */
static void classes(void **state) {
  double sum = 0;
  (void)state;
  for (int k = 0; k < 10; k++) {
    char text[32];
    snprintf(text, sizeof text, "class:%d", k);
    sum += (double)probability(text, 28, 28);
    assert_true(probability(text, 28, 28) == probability(text, 28, 32));
    assert_true(probability(text, 28, 28) == probability(text, 28, 40));
  }
  assert_true(fabs(sum - 1) < 1e-6);
  assert_true(probability("class:7", 28, 28) == probability("class:sneaker", 28, 28));
  assert_true(probability("class:7", 28, 28) ==
              probability("class:sneaker@fashion-mnist-judge", 28, 28));
}

static void classes_that_are_none(void **state) {
  (void)state;
  refused("class:spoon", "sneaker");
  refused("class:sneaker@no-such-file", "no-such-file");
  refused("class:sneaker@fashion-mnist", "classifier");
  refused("class:sneaker@fashion-mnist-gauge", "measures");
  Arena *arena = arena_new();
  Error error = { 0 };
  RewardSpec spec = { .plane = { 2, 2, 3 }, .pictures = true };
  assert_null(reward_open(arena, "class:sneaker", &spec, &error));
  assert_non_null(strstr(error.text, "1 channel, and this model's have 3"));
  spec.plane.channels = 1, spec.measures = true;
  assert_non_null(reward_open(arena, "class:sneaker@fashion-mnist-gauge", &spec, &error));
  arena_free(arena);
}

static void unknown_names(void **state) {
  (void)state;
  refused("brightnes", "brightness");
  refused("linear:1,2", "points");
  refused("exec", "COMMAND");
}

static void programs(void **state) {
  (void)state;
  check("exec:cat >/dev/null; echo 1; echo -2.5", 1, -2.5);
  check("exec:echo 1; echo 2", 1, 2);
  check("exec:wc -c; echo $DIFFRL_COUNT", COUNT * DIM * 4, COUNT);
  check("exec:cat >/dev/null; echo $DIFFRL_HEIGHT; echo $DIFFRL_CHANNELS", 2, 1);
}

static void programs_that_fail(void **state) {
  (void)state;
  refused("exec:sleep 20", "not done after 0.5 s");
  refused("exec:sleep 20 & sleep 20", "not done after 0.5 s");
  refused("exec:kill -SEGV $$", "signal 11");
  refused("exec:echo 1; echo 2; exit 3", "status 3");
  refused("exec:./no-such-program", "status 127");
  refused("exec:echo 1", "1 lines for 2");
  refused("exec:echo 1; echo 2; echo 3", "more than 2 lines");
  refused("exec:echo 1; echo good", "\"good\"");
  refused("exec:echo 1; echo nan", "nan");
  refused("exec:yes", "more than 128 bytes");
  refused("exec:exec >&-; true", "0 lines");
}

/* ---- plugins --------------------------------------------------------------------------------- */

/* "plugin:" and a file beside this test */
static const char *beside(const char *file) {
  static char text[4200];
  char self[4000];
  ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
  assert_true(n > 0);
  self[n] = '\0';
  *strrchr(self, '/') = '\0';
  snprintf(text, sizeof text, "plugin:%s/%s", self, file);
  return text;
}

static void plugins(void **state) {
  (void)state;
  unsetenv("REWARD_DOES");
  check(beside("reward_plugins.so"), -1, 10.5);
  setenv("REWARD_DOES", "print", 1);
  check(beside("reward_plugins.so"), -1, 10.5);
  unsetenv("REWARD_DOES");
  assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

/* Its process runs from the opening on; it fails with these words, soon, and no child is left. */
static void plugin_fails(const char *does, const char *words) {
  Arena *arena = arena_new();
  Error error = { 0 };
  float value[COUNT];
  double start = clock_now();
  setenv("REWARD_DOES", does, 1);
  Reward *r = named(arena, beside("reward_plugins.so"), &error);
  assert_non_null(r);
  assert_false(reward_values(r, pixel, DIM, COUNT, value, &error));
  if (!strstr(error.text, words)) fail_msg("%s: %s", does, error.text);
  assert_int_equal(error.kind, FAIL_RUNNING);
  assert_true(clock_now() - start < 5);
  reward_close(r);
  assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
  unsetenv("REWARD_DOES");
  arena_free(arena);
}

static void plugins_that_fail(void **state) {
  (void)state;
  plugin_fails("crash", "signal 6");
  plugin_fails("hang", "not done after 0.5 s");
  plugin_fails("exit", "status 3");
  plugin_fails("nothing", "nan");
  plugin_fails("fail", "returned 7");
  plugin_fails("close", "ended with");
  refused(beside("reward_of_old.so"), "version 99; expected 1");
  refused(beside("faults.so"), "no function diffrl_reward");
  refused(beside("not_there.so"), "cannot be read");
  refused("plugin:/proc/self/status", "status");
}

/* A run in a process of its own that asks this reward and is killed once `file` is there.  All that
 * it has started comes to us and ends by SIGKILL, soon. */
static void is_killed_with_the_run(const char *text, const char *file) {
  unlink(file);
  assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
  pid_t run = fork();
  if (run == 0) {
    Arena *arena = arena_new();
    Error error = { 0 };
    float value[COUNT];
    RewardSpec spec = { .plane = { 2, 2, 1 }, .pictures = true, .seconds = 15 };
    Reward *r = reward_open(arena, text, &spec, &error);
    if (r) reward_values(r, pixel, DIM, COUNT, value, &error);
    _exit(1);
  }
  double start = clock_now();
  while (access(file, F_OK) != 0 && clock_now() - start < 10) usleep(1000);
  assert_int_equal(unlink(file), 0);
  start = clock_now();
  kill(run, SIGKILL);
  int status, count = 0;
  for (; waitpid(-1, &status, 0) > 0; count++) {
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_true(clock_now() - start < 5); /* not by the end of a sleep */
  }
  assert_true(count >= 3); /* the run, a guard and a worker */
  prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
}

/* A plugin that works, and a program that cares neither for the end of its input nor for signals,
 * and has children of its own. */
static void a_killed_run_takes_its_children_along(void **state) {
  char file[64], text[200];
  (void)state;
  snprintf(file, sizeof file, "/tmp/reward-%d.started", (int)getpid());
  setenv("REWARD_DOES", "hang", 1), setenv("REWARD_STARTED", file, 1);
  is_killed_with_the_run(beside("reward_plugins.so"), file);
  unsetenv("REWARD_DOES"), unsetenv("REWARD_STARTED");
  snprintf(text, sizeof text, "exec:trap '' TERM HUP; sleep 20 & echo x >%s; sleep 20; sleep 20",
           file);
  is_killed_with_the_run(text, file);
}

/* ---- large batches --------------------------------------------------------------------------- */

enum { MANY = 40000 }; /* 640 kB to a child and 160 kB and more back: a pipe holds 64 */

/* Sample i is i / MANY in its first number; the value is to be that, plus `more` times i. */
static void many(const char *text, double more) {
  Arena *arena = arena_new();
  Error error = { 0 };
  RewardSpec spec = { .plane = { 2, 2, 1 }, .pictures = true, .seconds = 20 };
  Reward *r = reward_open(arena, text, &spec, &error);
  assert_non_null(r);
  real *x = arena_array(arena, real, MANY * DIM);
  float *value = arena_array(arena, float, MANY);
  for (int i = 0; i < MANY; i++) x[i * DIM] = (real)i / MANY;
  if (!reward_values(r, x, DIM, MANY, value, &error)) fail_msg("%s", error.text);
  for (int i = 0; i < MANY; i++) {
    double wanted = (double)x[i * DIM] + more * i;
    assert_true(fabs((double)value[i] - wanted) <= 1e-6 * fmax(1, wanted));
  }
  reward_close(r);
  arena_free(arena);
}

/* Children that answer while they read, and such as write all before they read. */
static void pipes_hold_less_than_a_batch(void **state) {
  (void)state;
  many("exec:od -An -v -tf4 -w16 | awk '{print $1}'", 0);
  many("exec:seq -f '%.9g' 0 0.000025 0.999975; cat >/dev/null", 0);
  many(beside("reward_plugins.so"), 10);
}

/* ---- gradients ------------------------------------------------------------------------------- */

enum { HIGH = 4, WIDE = 3, SIZE = HIGH * WIDE };

/* Along pixel j, by central differences of fourth order in the tape's own values. */
static double difference(Graph *g, Tensor *in, Tensor *out, const real *x, int j, double step) {
  static const int place[] = { -2, -1, 1, 2 };
  real moved[SIZE + 16];
  double f[4];
  for (int k = 0; k < 4; k++) {
    memcpy(moved, x, sizeof moved);
    moved[j] += (real)(step * place[k]);
    graph_bind(in, moved);
    graph_run(g, 1, 0, NULL);
    f[k] = (double)graph_values(out)[0];
  }
  return (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * step);
}

/* The tape has the values of the reward, and its gradient is that of its values. */
static void gradient_of(const char *text, Plane plane, bool pictures) {
  const bool fine = sizeof(real) > sizeof(float);
  const double step = fine ? 1e-3 : 1e-2, tolerance = fine ? 1e-6 : 2e-3;
  Arena *arena = arena_new();
  Error error = { 0 };
  const int size = plane_size(plane);
  RewardSpec spec = { .plane = plane, .pictures = pictures };
  Reward *r = reward_open(arena, text, &spec, &error);
  assert_non_null(r);
  real x[SIZE + 16] = { 0 };
  Rng rng = rng_stream(3, "pixels");
  for (int j = 0; j < size; j++) x[j] = (real)(1.6 * rng_uniform(rng, 0, 0, (uint32_t)j) - 0.9);
  Graph *g =
      graph_new(arena, &(GraphSpec){ .kernels = kernels_find("own", &error), .max_rows = 1 });
  Tensor *in = t_input(g, "x", 1, size), *out = reward_record(r, g, in, &error);
  Tensor *slope = t_grad(out, in);
  graph_keep(out), graph_keep(slope), graph_seal(g);
  graph_bind(in, x);
  graph_run(g, 1, 0, NULL);
  float value;
  assert_true(reward_values(r, x, size, 1, &value, &error));
  double raised = (double)graph_values(out)[0];
  if (!strncmp(text, "class", 5)) raised = exp(raised);
  assert_true(fabs(raised - (double)value) < 2e-6);
  double slopes[SIZE];
  for (int j = 0; j < size; j++) slopes[j] = (double)graph_values(slope)[j];
  for (int j = 0; j < size; j++) {
    double known = difference(g, in, out, x, j, step);
    if (!(fabs(known - slopes[j]) < tolerance))
      fail_msg("%s, pixel %d: %.9g, by differences %.9g", text, j, slopes[j], known);
  }
  arena_free(arena);
}

static void gradient(const char *text) { gradient_of(text, (Plane){ HIGH, WIDE, 1 }, true); }

static void gradients_in_colour(void **state) {
  static const char *const names[] = { "brightness", "ink", "contrast", "symmetry" };
  (void)state;
  for (int i = 0; i < 4; i++) gradient_of(names[i], (Plane){ 2, 2, 3 }, true);
  gradient_of("symmetry", (Plane){ 1, 4, 3 }, true);
}

static void gradients_of_points(void **state) {
  (void)state;
  gradient_of("linear:0.5,-2", (Plane){ 1, 1, 2 }, false);
  gradient_of("near:0.25,-0.75", (Plane){ 1, 1, 2 }, false);
  gradient_of("near:1,2,3", (Plane){ 1, 1, 3 }, false);
}

static void gradients(void **state) {
  (void)state;
  gradient("brightness"), gradient("ink"), gradient("contrast"), gradient("symmetry");
  gradient("class:bag"), gradient("class:sneaker");
  char text[96], name[64];
  uint8_t pixel_of[SIZE];
  Error error = { 0 };
  for (int i = 0; i < SIZE; i++) pixel_of[i] = (uint8_t)(20 * i);
  snprintf(name, sizeof name, "/tmp/reward-%d.png", (int)getpid());
  assert_true(png_save(&(Image){ WIDE, HIGH, 1, pixel_of }, name, &error));
  snprintf(text, sizeof text, "likeness:%s", name);
  gradient(text);
  unlink(name);
}

static void no_gradient(void **state) {
  Arena *arena = arena_new();
  Error error = { 0 };
  (void)state;
  Reward *r = named(arena, "jpeg-small", &error);
  assert_null(reward_record(r, NULL, NULL, &error));
  assert_non_null(strstr(error.text, "brightness, ink"));
  arena_free(arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(formulas),
    cmocka_unit_test(jpeg_rewards_are_opposite),
    cmocka_unit_test(likeness),
    cmocka_unit_test(classes),
    cmocka_unit_test(classes_that_are_none),
    cmocka_unit_test(unknown_names),
    cmocka_unit_test(programs),
    cmocka_unit_test(programs_that_fail),
    cmocka_unit_test(plugins),
    cmocka_unit_test(plugins_that_fail),
    cmocka_unit_test(a_killed_run_takes_its_children_along),
    cmocka_unit_test(points),
    cmocka_unit_test(colours),
    cmocka_unit_test(sizes_of_plain_pictures_are_known),
    cmocka_unit_test(noise_is_not_compressed),
    cmocka_unit_test(pipes_hold_less_than_a_batch),
    cmocka_unit_test(gradients),
    cmocka_unit_test(gradients_in_colour),
    cmocka_unit_test(gradients_of_points),
    cmocka_unit_test(no_gradient),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
