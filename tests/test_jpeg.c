/* test_jpeg.c -- files are read and their sizes counted as Pillow does; none crashes the reader. */
#include "datasets/jpeg.h"
#include "core/rng.h"
#include "tests/folder.h"
#include "tests/golden.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char golden_folder[4096];

/* tests run in a folder of their own; the files are where they were started */
static int enter_from_here(void **state) {
  if (!realpath("tests/golden/jpeg", golden_folder)) return -1;
  return enter(state);
}

static const char *const name[] = { "grey", "colour", "progressive" };
enum { NAMES = sizeof name / sizeof *name };

static char *file_of(Arena *arena, const char *which) {
  return arena_text(arena, "%s/%s.jpg", golden_folder, which);
}

static void open_golden(Golden *golden) {
  char path[4200];
  snprintf(path, sizeof path, "%s/jpeg.safetensors", golden_folder);
  golden_open(golden, path);
}

/* Both are libjpeg's exact inverse transform, so every pixel is the same. */
static void pixels_are_those_of_pillow(void **state) {
  (void)state;
  Golden golden;
  open_golden(&golden);
  for (int k = 0; k < NAMES; k++) {
    Image image;
    Error error;
    const char *path = file_of(golden.arena, name[k]);
    if (!jpeg_load(&image, golden.arena, path, &error)) fail_msg("%s", error.text);
    const CheckpointTensor *pixels =
        golden_tensor(&golden, arena_text(golden.arena, "%s/pixels", name[k]));
    assert_int_equal(image.height, pixels->shape[0]);
    assert_int_equal(image.width, pixels->shape[1]);
    assert_int_equal(image.channels, pixels->shape[2]);
    for (size_t i = 0; i < golden_count(pixels); i++)
      assert_int_equal(image.pixel[i], (int)golden_at(pixels, i));
  }
  golden_close(&golden);
}

/* of baseline files; Pillow's default is libjpeg's: standard tables, colour at half resolution */
static void sizes_are_those_of_pillow(void **state) {
  (void)state;
  Golden golden;
  open_golden(&golden);
  for (int k = 0; k < NAMES; k++) {
    const CheckpointTensor *source =
        golden_tensor(&golden, arena_text(golden.arena, "%s/source", name[k]));
    const CheckpointTensor *bytes =
        golden_tensor(&golden, arena_text(golden.arena, "%s/bytes", name[k]));
    size_t count = golden_count(source);
    uint8_t *pixel = arena_alloc(golden.arena, count);
    for (size_t i = 0; i < count; i++) pixel[i] = (uint8_t)golden_at(source, i);
    for (int quality = 1; quality <= 100; quality++) {
      Error error;
      int size = jpeg_bytes(pixel, (int)source->shape[0], (int)source->shape[1],
                            (int)source->shape[2], quality, &error);
      assert_int_equal(size, (int)golden_at(bytes, (size_t)quality - 1));
    }
  }
  golden_close(&golden);
}

/* larger than the buffer that counts: a picture of noise hardly gets smaller */
static void a_large_file_is_counted_whole(void **state) {
  (void)state;
  enum { SIDE = 200 };
  static uint8_t pixel[SIDE * SIDE];
  Error error;
  Rng rng = rng_stream(1, "pixels");
  for (uint32_t i = 0; i < SIDE * SIDE; i++) pixel[i] = (uint8_t)rng_below(rng, 0, 0, i, 256);
  int noisy = jpeg_bytes(pixel, SIDE, SIDE, 1, 95, &error);
  memset(pixel, 100, sizeof pixel);
  int flat = jpeg_bytes(pixel, SIDE, SIDE, 1, 95, &error);
  assert_true(noisy > SIDE * SIDE * 3 / 4);
  assert_true(flat > 300 && flat < 1500);
}

static void write_bytes(const char *path, const uint8_t *bytes, size_t length) {
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(bytes, 1, length, file), length);
  assert_int_equal(fclose(file), 0);
}

static size_t read_bytes(const char *path, uint8_t *bytes, size_t room) {
  FILE *file = fopen(path, "rb");
  assert_non_null(file);
  size_t length = fread(bytes, 1, room, file);
  assert_int_equal(fclose(file), 0);
  assert_true(length < room);
  return length;
}

static void assert_refused(const char *path, const char *says) {
  Image image;
  Error error = { 0 };
  Arena *arena = arena_new();
  assert_false(jpeg_load(&image, arena, path, &error));
  assert_int_equal(error.kind, FAIL_INPUT);
  assert_non_null(strstr(error.text, path));
  if (!strstr(error.text, says)) fail_msg("\"%s\" does not say \"%s\"", error.text, says);
  arena_free(arena);
}

static void other_things_are_refused_by_name(void **state) {
  (void)state;
  Arena *arena = arena_new();
  write_bytes("text.jpg", (const uint8_t *)"these are no pixels at all", 26);
  write_bytes("empty.jpg", (const uint8_t *)"", 0);
  assert_int_equal(mkfifo("pipe.jpg", 0666), 0);
  assert_refused("missing.jpg", "No such file");
  assert_refused("text.jpg", "not a whole JPEG file");
  assert_refused("empty.jpg", "not a whole JPEG file");
  assert_refused("pipe.jpg", "cannot be read");
  assert_refused(".", "cannot be read");
  assert_refused(file_of(arena, "cmyk"), "a JPEG with 4 channels, expected grey or RGB");
  arena_free(arena);
}

/* the sizes stand five bytes behind the marker of the frame's header */
static void a_huge_picture_is_refused_by_its_header(void **state) {
  (void)state;
  Arena *arena = arena_new();
  uint8_t bytes[4096];
  size_t length = read_bytes(file_of(arena, "grey"), bytes, sizeof bytes), at = 0;
  while (at + 9 < length && !(bytes[at] == 0xff && bytes[at + 1] == 0xc0)) at++;
  assert_true(at + 9 < length);
  memset(bytes + at + 5, 0xfd, 4);
  write_bytes("huge.jpg", bytes, length);
  assert_refused("huge.jpg", "65021 x 65021 pixels, expected at most 8192 a side");
  /* and one that has fewer rows than its header says */
  memcpy(bytes + at + 5, (const uint8_t[]){ 0, 200, 0, 28 }, 4);
  write_bytes("short.jpg", bytes, length);
  assert_refused("short.jpg", "not a whole JPEG file");
  arena_free(arena);
}

/* Every cut is refused; a flipped bit is refused or gives pixels, and never more than that. */
static void damaged_files_are_refused(void **state) {
  (void)state;
  Arena *arena = arena_new();
  for (int k = 0; k < NAMES; k++) {
    uint8_t bytes[8192];
    size_t length = read_bytes(file_of(arena, name[k]), bytes, sizeof bytes);
    for (size_t keep = 0; keep + 2 < length; keep += 13) {
      write_bytes("cut.jpg", bytes, keep);
      assert_refused("cut.jpg", "not a whole JPEG file");
    }
    for (size_t i = 0; i < length; i++) {
      Image image;
      Error error = { 0 };
      ArenaMark mark = arena_mark(arena);
      bytes[i] ^= (uint8_t)(1 << i % 8);
      write_bytes("bit.jpg", bytes, length);
      if (!jpeg_load(&image, arena, "bit.jpg", &error)) assert_int_equal(error.kind, FAIL_INPUT);
      bytes[i] ^= (uint8_t)(1 << i % 8);
      arena_reset(arena, mark);
    }
  }
  arena_free(arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(pixels_are_those_of_pillow),
    cmocka_unit_test(sizes_are_those_of_pillow),
    cmocka_unit_test(a_large_file_is_counted_whole),
    cmocka_unit_test(other_things_are_refused_by_name),
    cmocka_unit_test(a_huge_picture_is_refused_by_its_header),
    cmocka_unit_test(damaged_files_are_refused),
  };
  return cmocka_run_group_tests(tests, enter_from_here, leave);
}
