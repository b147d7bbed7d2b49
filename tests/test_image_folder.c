/* test_image_folder.c -- folders of PNG and JPEG files: their pictures and labels, which are kept
 * for testing, and what is refused by name. */
#include "datasets/images.h"
#include "datasets/png.h"
#include "tests/folder.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char golden_folder[4096];

/* tests run in a folder of their own; the files are where they were started */
static int enter_from_here(void **state) {
  if (!realpath("tests/golden/jpeg", golden_folder)) return -1;
  return enter(state);
}

static void run(const char *command) { assert_int_equal(system(command), 0); }

/* a picture of one shade; a colour's channels are shade, shade + 1 and shade + 2 */
static void write_png(const char *path, int width, int height, int channels, int shade) {
  Error error;
  uint8_t *pixel = malloc((size_t)(width * height * channels));
  assert_non_null(pixel);
  for (int i = 0; i < width * height * channels; i++) pixel[i] = (uint8_t)(shade + i % channels);
  if (!png_save(&(Image){ width, height, channels, pixel }, path, &error))
    fail_msg("%s", error.text);
  free(pixel);
}

/* FOLDER/00.png ..: shade i */
static void write_many(const char *name, int count, int side) {
  char path[200];
  mkdir(name, 0700);
  for (int i = 0; i < count; i++) {
    snprintf(path, sizeof path, "%s/%02d.png", name, i);
    write_png(path, side, side, 1, i);
  }
}

static ImageSet *open_set(Arena *arena, const char *name, int resize) {
  Error error;
  ImageSet *set = images_open_resized(arena, name, resize, &error);
  if (!set) fail_msg("%s", error.text);
  return set;
}

static void expect_refusal(const char *name, int resize, const char *says) {
  Arena *arena = arena_new();
  Error error = { 0 };
  assert_null(images_open_resized(arena, name, resize, &error));
  assert_int_equal(error.kind, FAIL_INPUT);
  if (!strstr(error.text, says)) fail_msg("\"%s\" does not say \"%s\"", error.text, says);
  arena_free(arena);
}

/* ---- what is read ---------------------------------------------------------------------------- */

static void every_picture_is_in_one_of_the_parts(void **state) {
  (void)state;
  enum { COUNT = 35, SIDE = 5 };
  Arena *arena = arena_new();
  write_many("flat", COUNT, SIDE);
  ImageSet *set = open_set(arena, "flat", 0);
  assert_int_equal(set->classes, 0);
  assert_int_equal(set->test.count, COUNT / 10);
  assert_int_equal(set->train.count + set->test.count, COUNT);
  assert_int_equal(set->train.channels, 1);
  int seen[COUNT] = { 0 };
  for (int part = 0; part < 2; part++) {
    const Images *images = part ? &set->test : &set->train;
    for (int i = 0; i < images->count; i++) {
      const uint8_t *pixel = images->pixel + (ptrdiff_t)i * SIDE * SIDE;
      for (int j = 1; j < SIDE * SIDE; j++) assert_int_equal(pixel[j], pixel[0]);
      if (i) assert_true(pixel[0] > pixel[-SIDE * SIDE]); /* in the order of names */
      seen[pixel[0]]++;
    }
  }
  for (int i = 0; i < COUNT; i++) assert_int_equal(seen[i], 1);
  arena_free(arena);
}

/* Where the folder lies does not matter; one file more moves one picture at most. */
static void the_same_are_kept_for_testing(void **state) {
  (void)state;
  Arena *arena = arena_new();
  write_many("kept", 29, 4);
  run("cp -r kept elsewhere");
  ImageSet *a = open_set(arena, "kept", 0), *b = open_set(arena, "./elsewhere/", 0);
  assert_string_equal(a->hash, b->hash);
  assert_int_equal(a->test.count, 2);
  assert_memory_equal(a->test.pixel, b->test.pixel, 2 * 16);
  write_png("elsewhere/zz.png", 4, 4, 1, 200);
  b = open_set(arena, "elsewhere", 0);
  assert_string_not_equal(a->hash, b->hash);
  assert_int_equal(b->test.count, 3);
  int same = 0;
  for (int i = 0; i < 2; i++)
    for (int j = 0; j < 3; j++) same += a->test.pixel[i * 16] == b->test.pixel[j * 16];
  assert_int_equal(same, 2);
  arena_free(arena);
}

static void folders_are_labels(void **state) {
  (void)state;
  Arena *arena = arena_new();
  mkdir("named", 0700);
  write_many("named/boot", 4, 6), write_many("named/Bag", 12, 6), write_many("named/coat", 1, 6);
  run("mkdir named/empty named/.hidden; echo x >named/notes.txt; echo x >named/.secret");
  ImageSet *set = open_set(arena, "named", 0);
  assert_int_equal(set->classes, 3);
  assert_string_equal(images_label(set, 0), "Bag"); /* in the order of their bytes */
  assert_string_equal(images_label(set, 1), "boot");
  assert_string_equal(images_label(set, 2), "coat");
  assert_int_equal(set->skipped, 1);
  int count[2][3] = { { 0 } };
  for (int i = 0; i < set->train.count; i++) count[0][set->train.label[i]]++;
  for (int i = 0; i < set->test.count; i++) count[1][set->test.label[i]]++;
  const int expected[2][3] = { { 11, 3, 1 }, { 1, 1, 0 } }; /* a tenth of each, one at least */
  assert_memory_equal(count, expected, sizeof count);
  arena_free(arena);
}

/* One picture in colour makes all of them RGB; JPEG files are read beside PNG. */
static void grey_beside_colour_is_rgb(void **state) {
  (void)state;
  Arena *arena = arena_new();
  char command[8600];
  write_many("mixed", 3, 8);
  write_png("mixed/colour.PNG", 8, 8, 3, 100);
  snprintf(command, sizeof command, "cp '%s/grey.jpg' mixed/grey.JPEG", golden_folder);
  run(command);
  ImageSet *set = open_set(arena, "mixed", 8);
  assert_int_equal(set->train.channels, 3);
  assert_int_equal(set->train.count + set->test.count, 5);
  int colours = 0, x_size = 8 * 8 * 3;
  for (int part = 0; part < 2; part++) {
    const Images *images = part ? &set->test : &set->train;
    real *x = arena_array(arena, real, x_size);
    for (int i = 0; i < images->count; i++) {
      images_decode(images, i, 8, x);
      bool grey = x[0] == x[1] && x[1] == x[2];
      if (!grey) assert_true(x[0] == (real)100 / (real)127.5 - 1 && x[2] > x[1] && x[1] > x[0]);
      colours += !grey;
    }
  }
  assert_int_equal(colours, 1);
  arena_free(arena);
}

static void a_frame_is_black_in_all_channels(void **state) {
  (void)state;
  Arena *arena = arena_new();
  mkdir("framed", 0700);
  write_png("framed/a.png", 2, 2, 3, 250), write_png("framed/b.png", 2, 2, 3, 250);
  ImageSet *set = open_set(arena, "framed", 0);
  real x[4 * 4 * 3];
  images_decode(&set->train, 0, 4, x);
  for (int i = 0; i < 16; i++)
    for (int k = 0; k < 3; k++) {
      bool inside = i / 4 >= 1 && i / 4 <= 2 && i % 4 >= 1 && i % 4 <= 2;
      assert_true(x[i * 3 + k] == (inside ? (real)(250 + k) / (real)127.5 - 1 : -1));
    }
  arena_free(arena);
}

/* ---- what is refused ------------------------------------------------------------------------- */

static void sizes_that_differ_are_named(void **state) {
  (void)state;
  Arena *arena = arena_new();
  write_many("sizes", 3, 6);
  write_png("sizes/odd.png", 9, 7, 1, 50);
  expect_refusal("sizes", 0, "sizes/00.png has 6 x 6 pixels, but sizes/odd.png has 9 x 7");
  expect_refusal("sizes", 0, "--set resize=N");
  ImageSet *set = open_set(arena, "sizes", 6);
  assert_int_equal(set->train.width, 6);
  assert_int_equal(set->train.height, 6);
  write_many("wide", 2, 1025);
  expect_refusal("wide", 0, "expected at most 1024 a side; use --set resize=N");
  assert_int_equal(open_set(arena, "wide", 4)->train.width, 4);
  arena_free(arena);
}

static void what_is_no_set_is_refused(void **state) {
  (void)state;
  mkdir("nothing", 0700);
  expect_refusal("nothing", 0, "nothing: 0 pictures, expected at least 2 files named .png");
  write_many("single", 1, 4);
  expect_refusal("single", 0, "1 pictures, expected at least 2");
  write_many("both", 2, 4), write_many("both/boot", 2, 4);
  expect_refusal("both", 0, "both has pictures, and so has the folder boot in it");
  mkdir("ones", 0700), write_many("ones/a", 1, 4), write_many("ones/b", 1, 4);
  expect_refusal("ones", 0, "no label has two pictures");
}

static void broken_files_are_refused_by_name(void **state) {
  (void)state;
  char command[8600];
  write_many("broken", 3, 40);
  run("head -c 60 broken/01.png >broken/01.tmp && mv broken/01.tmp broken/01.png");
  expect_refusal("broken", 0, "broken/01.png: not a whole PNG file");
  run("rm broken/01.png");
  snprintf(command, sizeof command, "head -c 300 '%s/grey.jpg' >broken/cut.jpg", golden_folder);
  run(command);
  expect_refusal("broken", 28, "broken/cut.jpg: not a whole JPEG file");
  run("rm broken/cut.jpg; ln -s nowhere broken/link.png");
  expect_refusal("broken", 0, "broken/link.png: cannot be read");
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_picture_is_in_one_of_the_parts),
    cmocka_unit_test(the_same_are_kept_for_testing),
    cmocka_unit_test(folders_are_labels),
    cmocka_unit_test(grey_beside_colour_is_rgb),
    cmocka_unit_test(a_frame_is_black_in_all_channels),
    cmocka_unit_test(sizes_that_differ_are_named),
    cmocka_unit_test(what_is_no_set_is_refused),
    cmocka_unit_test(broken_files_are_refused_by_name),
  };
  return cmocka_run_group_tests(tests, enter_from_here, leave);
}
