/* test_png.c -- what was saved is what is loaded, and no file crashes the reader. */
#include "datasets/png.h"
#include "core/rng.h"
#include "tests/folder.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static int setup(void **state) {
  *state = arena_new();
  return 0;
}

static int teardown(void **state) {
  arena_free(*state);
  return 0;
}

static Image noise(Arena *arena, int width, int height, int channels) {
  Image image = { width, height, channels,
                  arena_alloc(arena, (size_t)(width * height * channels)) };
  for (int i = 0; i < width * height * channels; i++)
    image.pixel[i] = (uint8_t)rng_below(rng_stream(1, "pixels"), 0, 0, (uint32_t)i, 256);
  return image;
}

static size_t read_bytes(const char *path, uint8_t *bytes, size_t room) {
  FILE *file = fopen(path, "rb");
  assert_non_null(file);
  size_t length = fread(bytes, 1, room, file);
  assert_int_equal(fclose(file), 0);
  assert_true(length < room);
  return length;
}

static void write_bytes(const char *path, const uint8_t *bytes, size_t length) {
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(bytes, 1, length, file), length);
  assert_int_equal(fclose(file), 0);
}

static void assert_refused(const char *path, Failure kind, const char *says) {
  Image image;
  Error error = { 0 };
  Arena *arena = arena_new();
  assert_false(png_load(&image, arena, path, &error));
  assert_int_equal(error.kind, kind);
  assert_non_null(strstr(error.text, path));
  assert_non_null(strstr(error.text, says));
  arena_free(arena);
}

static void every_pixel_comes_back(void **state) {
  static const int size[][3] = { { 1, 1, 1 }, { 1, 1, 3 }, { 28, 28, 1 }, { 33, 7, 3 } };
  Error error;
  for (int k = 0; k < 4; k++) {
    Image image = noise(*state, size[k][0], size[k][1], size[k][2]), back;
    assert_true(png_save(&image, "a.png", &error));
    assert_true(png_load(&back, *state, "a.png", &error));
    assert_int_equal(back.width, image.width);
    assert_int_equal(back.height, image.height);
    assert_int_equal(back.channels, image.channels);
    assert_memory_equal(back.pixel, image.pixel, (size_t)(size[k][0] * size[k][1] * size[k][2]));
  }
}

/* PNG (ISO 15948) 5.2 and 11.2.2: signature, then IHDR with size, depth and colour type. */
static void the_header_is_that_of_the_standard(void **state) {
  static const uint8_t start[] = { 0x89, 'P', 'N', 'G', 13, 10, 26, 10, 0, 0, 0, 13, 'I',
                                   'H',  'D', 'R', 0,   0,  0,  5,  0,  0, 0, 4, 8,  2 };
  uint8_t bytes[1000];
  Error error;
  Image image = noise(*state, 5, 4, 3);
  assert_true(png_save(&image, "b.png", &error));
  assert_true(read_bytes("b.png", bytes, sizeof bytes) > sizeof start);
  assert_memory_equal(bytes, start, sizeof start);
}

static void a_file_that_cannot_be_written_leaves_the_old_one(void **state) {
  Error error;
  uint8_t before[1000], after[1000];
  Image image = noise(*state, 4, 4, 1);
  assert_false(png_save(&image, "nowhere/a.png", &error));
  assert_int_equal(error.kind, FAIL_RUNNING);
  assert_non_null(strstr(error.text, "nowhere/a.png"));
  assert_true(png_save(&image, "old.png", &error));
  size_t length = read_bytes("old.png", before, sizeof before);
  assert_int_equal(mkdir("old.png.tmp", 0777), 0);
  image.pixel[0] ^= 1;
  assert_false(png_save(&image, "old.png", &error));
  assert_int_equal(read_bytes("old.png", after, sizeof after), length);
  assert_memory_equal(before, after, length);
  char endless[5000];
  memset(endless, 'x', sizeof endless - 1);
  endless[sizeof endless - 1] = '\0';
  assert_false(png_save(&image, endless, &error));
}

/* Files that are not there, not files, or not PNG. */
static void other_things_are_refused_by_name(void **state) {
  (void)state;
  write_bytes("text.png", (const uint8_t *)"these are no pixels at all", 26);
  write_bytes("empty.png", (const uint8_t *)"", 0);
  assert_int_equal(mkfifo("pipe.png", 0666), 0);
  assert_refused("missing.png", FAIL_INPUT, "No such file");
  assert_refused("text.png", FAIL_INPUT, "not a PNG file");
  assert_refused("empty.png", FAIL_INPUT, "not a PNG file");
  assert_refused("pipe.png", FAIL_INPUT, "not a file");
  assert_refused(".", FAIL_INPUT, "not a file");
}

static uint32_t crc(const uint8_t *bytes, size_t length) { /* PNG, annex D */
  uint32_t c = 0xffffffff;
  for (size_t i = 0; i < length; i++) {
    c ^= bytes[i];
    for (int k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ c >> 1 : c >> 1;
  }
  return ~c;
}

/* A header of our choice, with a checksum that holds, before the rest of a true file. */
static void write_header(const char *path, uint8_t bytes[], size_t length, uint32_t width,
                         uint32_t height, uint8_t depth, uint8_t type) {
  const uint32_t size[2] = { width, height };
  for (int i = 0; i < 8; i++) bytes[16 + i] = (uint8_t)(size[i / 4] >> (24 - 8 * (i % 4)));
  bytes[24] = depth, bytes[25] = type;
  uint32_t sum = crc(bytes + 12, 17);
  for (int i = 0; i < 4; i++) bytes[29 + i] = (uint8_t)(sum >> (24 - 8 * i));
  write_bytes(path, bytes, length);
}

static void other_kinds_of_png_are_refused_with_the_reason(void **state) {
  uint8_t bytes[1000];
  Error error;
  Image image = noise(*state, 5, 4, 3), back;
  assert_true(png_save(&image, "d.png", &error));
  size_t length = read_bytes("d.png", bytes, sizeof bytes);
  write_header("d.png", bytes, length, 5, 4, 8, 2);
  assert_true(png_load(&back, *state, "d.png", &error));
  write_header("d.png", bytes, length, 5, 4, 8, 6);
  assert_refused("d.png", FAIL_INPUT, "transparency");
  write_header("d.png", bytes, length, 5, 4, 16, 2);
  assert_refused("d.png", FAIL_INPUT, "16 bits");
  write_header("d.png", bytes, length, 9000, 4, 8, 2);
  assert_refused("d.png", FAIL_INPUT, "at most 8192");
  write_header("d.png", bytes, length, 0x7fffffff, 0x7fffffff, 8, 2);
  assert_refused("d.png", FAIL_INPUT, "d.png");
  write_header("d.png", bytes, length, 0, 4, 8, 2);
  assert_refused("d.png", FAIL_INPUT, "d.png");
  write_header("d.png", bytes, length, 5, 40, 8, 2); /* promises more rows than there are */
  assert_refused("d.png", FAIL_INPUT, "not a whole PNG");
}

/* Every cut is refused; a flipped bit is refused or harmless, and never more than that. */
static void damaged_files_are_refused(void **state) {
  uint8_t bytes[2000];
  Error error;
  Image image = noise(*state, 12, 9, 3), back;
  assert_true(png_save(&image, "e.png", &error));
  size_t length = read_bytes("e.png", bytes, sizeof bytes), refused = 0;
  for (size_t keep = 0; keep < length - 16; keep += 7) { /* the last 16 bytes hold no pixels */
    write_bytes("e.png", bytes, keep);
    assert_refused("e.png", FAIL_INPUT, "PNG");
  }
  for (size_t i = 0; i < length; i++) {
    bytes[i] ^= (uint8_t)(1 << i % 8);
    write_bytes("e.png", bytes, length);
    refused += !png_load(&back, *state, "e.png", &error);
    bytes[i] ^= (uint8_t)(1 << i % 8);
  }
  assert_true(refused > length * 3 / 4);
}

#define FACT(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
    FACT(every_pixel_comes_back),
    FACT(the_header_is_that_of_the_standard),
    FACT(a_file_that_cannot_be_written_leaves_the_old_one),
    FACT(other_things_are_refused_by_name),
    FACT(other_kinds_of_png_are_refused_with_the_reason),
    FACT(damaged_files_are_refused),
  };
  return cmocka_run_group_tests(tests, enter, leave);
}
