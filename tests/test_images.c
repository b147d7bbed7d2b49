/* test_images.c -- IDX files written here are read as they are, and no file crashes the reader. */
#include "datasets/images.h"
#include "core/rng.h"
#include "tests/idx.h"
#include "tests/folder.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TRAIN = 5, TEST = 3, HEIGHT = 4, WIDTH = 6 };

static uint8_t pixel(int picture, int j) { return (uint8_t)(37 * picture + 11 * j); }

static void write_set(void) {
  uint8_t data[TRAIN * HEIGHT * WIDTH], label[TRAIN] = { 0, 2, 1, 2, 0 };
  for (int i = 0; i < TRAIN * HEIGHT * WIDTH; i++)
    data[i] = pixel(i / (HEIGHT * WIDTH), i % (HEIGHT * WIDTH));
  for (int part = 0; part < 2; part++) {
    int count = part ? TEST : TRAIN;
    idx_write(part ? "t10k-images-idx3-ubyte" : "train-images-idx3-ubyte", 3,
              (int[]){ count, HEIGHT, WIDTH }, data, count * HEIGHT * WIDTH);
    idx_write(part ? "t10k-labels-idx1-ubyte" : "train-labels-idx1-ubyte", 1, &count, label, count);
  }
}

static void files_are_read_as_they_are(void **state) {
  (void)state;
  Arena *arena = arena_new();
  Error error;
  write_set();
  ImageSet *plain = images_open(arena, folder, &error);
  assert_non_null(plain);
  assert_int_equal(system("gzip train-images-idx3-ubyte t10k-labels-idx1-ubyte"), 0);
  ImageSet *packed = images_open(arena, folder, &error);
  assert_non_null(packed);
  assert_string_equal(plain->hash, packed->hash);
  assert_int_equal(packed->train.count, TRAIN);
  assert_int_equal(packed->test.count, TEST);
  assert_int_equal(packed->classes, 3);
  assert_int_equal(packed->train.label[3], 2);
  assert_memory_equal(packed->train.pixel, plain->train.pixel, TRAIN * HEIGHT * WIDTH);
  assert_int_equal(system("rm *.gz"), 0);
  arena_free(arena);
}

/* black is -1, white 1, and around a picture all is black */
static void pictures_lie_in_the_middle(void **state) {
  (void)state;
  enum { SIDE = 8 };
  Arena *arena = arena_new();
  Error error;
  write_set();
  ImageSet *set = images_open(arena, folder, &error);
  assert_non_null(set);
  real x[SIDE * SIDE];
  images_decode(&set->train, 3, SIDE, x);
  for (int row = 0; row < SIDE; row++)
    for (int column = 0; column < SIDE; column++) {
      int r = row - (SIDE - HEIGHT) / 2, c = column - (SIDE - WIDTH) / 2;
      bool inside = r >= 0 && r < HEIGHT && c >= 0 && c < WIDTH;
      double value = inside ? pixel(3, r * WIDTH + c) / 127.5 - 1 : -1;
      assert_true(fabs((double)x[row * SIDE + column] - value) < 1e-6);
    }
  arena_free(arena);
}

/* by number, name, or a word of one name alone; a whole name comes before words */
static void labels_are_found(void **state) {
  (void)state;
  static const struct {
    const char *text;
    int label;
  } cases[] = { { "0", 0 },    { "9", 9 },         { "ankle boot", 9 }, { "boot", 9 },
                { "BAG", 8 },  { "shirt", 6 },     { "t-shirt", 0 },    { "10", -1 },
                { "-1", -1 },  { "boo", -1 },      { "", -1 },          { "ankle boots", -1 },
                { "7th", -1 }, { "ankleboot", -1 } };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    int label = -1;
    Error error;
    bool found = images_label_find("fashion-mnist", NULL, 10, cases[i].text, &label, &error);
    assert_int_equal(found, cases[i].label >= 0);
    if (found) assert_int_equal(label, cases[i].label);
    if (!found) assert_non_null(strstr(error.text, "expected 0 to 9, or one of T-shirt, trousers"));
  }
  static const char *const names[] = { "red door", "blue door", "3", "0" };
  int label;
  Error error;
  assert_true(images_label_find("x", names, 4, "red", &label, &error) && label == 0);
  assert_true(images_label_find("x", names, 4, "0", &label, &error) && label == 3); /* a name */
  assert_true(images_label_find("x", names, 4, "1", &label, &error) && label == 1);
  assert_false(images_label_find("x", names, 4, "door", &label, &error)); /* which one? */
  assert_true(images_label_find("x", NULL, 4, "3", &label, &error) && label == 3);
  assert_false(images_label_find("x", NULL, 4, "red", &label, &error));
  assert_string_equal(error.text, "expected 0 to 3");
}

static void expect_refusal(const char *says) {
  Arena *arena = arena_new();
  Error error;
  assert_null(images_open(arena, folder, &error));
  assert_int_equal(error.kind, FAIL_INPUT);
  if (!strstr(error.text, says)) fail_msg("\"%s\" does not say \"%s\"", error.text, says);
  arena_free(arena);
}

static void what_is_wrong_is_said(void **state) {
  (void)state;
  uint8_t bytes[TRAIN * HEIGHT * WIDTH] = { 0 };
  write_set();
  idx_write("train-images-idx3-ubyte", 3, (int[]){ TRAIN, HEIGHT, WIDTH }, bytes, 100);
  expect_refusal("its header promises 120 bytes, but 100 follow");
  idx_write("train-images-idx3-ubyte", 3, (int[]){ 4, HEIGHT, WIDTH }, bytes, 4 * HEIGHT * WIDTH);
  expect_refusal("4 pictures, but 5 labels");
  idx_write("train-images-idx3-ubyte", 3, (int[]){ 0, HEIGHT, WIDTH }, bytes, 0);
  expect_refusal("axis 0 has 0 entries");
  idx_write("train-images-idx3-ubyte", 1, (int[]){ 3 }, bytes, 3);
  expect_refusal("not an IDX file of bytes with 3 axes");
  write_set();
  bytes[0] = 3;
  idx_write("t10k-labels-idx1-ubyte", 1, (int[]){ TEST }, bytes, TEST);
  expect_refusal("test picture 0 has label 3, which no training picture has");
  /* a gzip that ends early */
  assert_int_equal(
      system("gzip -f train-images-idx3-ubyte && head -c 60 train-images-idx3-ubyte.gz "
             ">cut && mv cut train-images-idx3-ubyte.gz"),
      0);
  expect_refusal("train-images-idx3-ubyte.gz: damaged: ");
  unlink("train-images-idx3-ubyte.gz"), write_set();
  unlink("t10k-labels-idx1-ubyte");
  expect_refusal("t10k-labels-idx1-ubyte: cannot be read");
  Arena *arena = arena_new();
  Error error;
  assert_null(images_open(arena, "no-such-folder", &error));
  assert_non_null(strstr(error.text, "expected a name of `diffrl list datasets`, or a folder"));
  arena_free(arena);
}

/* any change of any byte of a compressed file is an error, or no change of what is read */
static void no_file_crashes_the_reader(void **state) {
  (void)state;
  enum { TIMES = 300, MOST = 512 };
  Rng rng = rng_stream(1, "damage");
  uint8_t bytes[MOST];
  write_set();
  assert_int_equal(system("gzip -f train-images-idx3-ubyte"), 0);
  FILE *file = fopen("train-images-idx3-ubyte.gz", "rb");
  size_t length = fread(bytes, 1, MOST, file);
  assert_true(length > 20 && length < MOST);
  assert_int_equal(fclose(file), 0);
  for (uint64_t i = 0; i < TIMES; i++) {
    size_t at = (size_t)rng_below(rng, i, 0, 0, length);
    uint8_t was = bytes[at];
    bytes[at] = (uint8_t)rng_below(rng, i, 0, 1, 256);
    file = fopen("train-images-idx3-ubyte.gz", "wb");
    fwrite(bytes, 1, i % 3 ? length : at, file);
    fclose(file);
    Arena *arena = arena_new();
    Error error;
    ImageSet *set = images_open(arena, folder, &error);
    if (set) assert_int_equal(set->train.count, TRAIN);
    arena_free(arena);
    bytes[at] = was;
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(files_are_read_as_they_are), cmocka_unit_test(pictures_lie_in_the_middle),
    cmocka_unit_test(labels_are_found),           cmocka_unit_test(what_is_wrong_is_said),
    cmocka_unit_test(no_file_crashes_the_reader),
  };
  return cmocka_run_group_tests(tests, enter, leave);
}
