/* test_gif.c -- what was saved is what a reader of GIF89a finds, read here by the specification. */
#include "datasets/gif.h"
#include "core/rng.h"
#include "tests/folder.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

enum { WIDTH = 23, HEIGHT = 9, FRAMES = 3, PIXELS = WIDTH * HEIGHT, MOST = 1 << 16 };

static size_t read_bytes(const char *path, uint8_t *bytes) {
  FILE *file = fopen(path, "rb");
  assert_non_null(file);
  size_t length = fread(bytes, 1, MOST, file);
  assert_int_equal(fclose(file), 0);
  assert_true(length < MOST);
  return length;
}

static int word(const uint8_t *at) { return at[0] | at[1] << 8; }

/* the data of sub-blocks, one after the other */
static const uint8_t *join(const uint8_t *at, uint8_t *to, int *length) {
  for (*length = 0; *at; at += *at + 1) memcpy(to + *length, at + 1, *at), *length += *at;
  return at + 1;
}

/* LZW of variable length (GIF89a, appendix F) */
static void unpack(const uint8_t *data, int length, int bits, uint8_t out[PIXELS]) {
  static int before[4096], last[4096];
  int clear = 1 << bits, next = clear + 2, width = bits + 1, old = -1, count = 0;
  for (int at = 0; at + width <= 8 * length;) {
    int code = 0;
    for (int i = 0; i < width; i++, at++) code |= (data[at / 8] >> at % 8 & 1) << i;
    if (code == clear) {
      next = clear + 2, width = bits + 1, old = -1;
      continue;
    }
    if (code == clear + 1) break;
    uint8_t text[4096];
    int n = 0, from = code < next ? code : old;
    for (; from >= clear; from = before[from]) text[n++] = (uint8_t)last[from];
    text[n++] = (uint8_t)from;
    if (old >= 0 && next < 4096) before[next] = old, last[next] = from, next++;
    if (old >= 0 && code == next - 1 && n > 0 && code != old) {
      /* the code that has just been made: the old text and its first letter again */
      n = 0, from = code;
      for (; from >= clear; from = before[from]) text[n++] = (uint8_t)last[from];
      text[n++] = (uint8_t)from;
    }
    for (; n > 0; n--) {
      assert_true(count < PIXELS);
      out[count++] = text[n - 1];
    }
    if (next == 1 << width && width < 12) width++;
    old = code;
  }
  assert_int_equal(count, PIXELS);
}

typedef struct {
  uint8_t map[256][3], index[FRAMES][PIXELS];
  int delay[FRAMES], frames;
  bool forever;
} Found;

static const uint8_t *read_extension(Found *f, const uint8_t *at) {
  uint8_t data[1024];
  int length, label = at[1];
  at = join(at + 2, data, &length);
  if (label == 0xf9) f->delay[f->frames] = word(data + 1);
  if (label == 0xff) f->forever = length == 14 && !memcmp(data, "NETSCAPE2.0\1\0\0", 14);
  return at;
}

static void read_gif(Found *f, const char *path) {
  static uint8_t bytes[MOST], data[MOST];
  size_t length = read_bytes(path, bytes);
  memset(f, 0, sizeof *f);
  assert_memory_equal(bytes, "GIF89a", 6);
  assert_int_equal(word(bytes + 6), WIDTH);
  assert_int_equal(word(bytes + 8), HEIGHT);
  assert_int_equal(bytes[10] & 0x87, 0x87); /* a map of 256 colours for all frames */
  memcpy(f->map, bytes + 13, sizeof f->map);
  const uint8_t *at = bytes + 13 + sizeof f->map;
  while (*at != 0x3b) {
    assert_true(at < bytes + length);
    if (*at == 0x21) {
      at = read_extension(f, at);
      continue;
    }
    assert_int_equal(*at, 0x2c);
    assert_true(f->frames < FRAMES);
    int packed, bits = at[10];
    at = join(at + 11, data, &packed);
    unpack(data, packed, bits, f->index[f->frames++]);
  }
  assert_ptr_equal(at, bytes + length - 1);
}

static void save(int channels, uint8_t *pixel) {
  Error error;
  Image frame[FRAMES];
  const Image *frames[FRAMES];
  for (int i = 0; i < FRAMES; i++) {
    frame[i] = (Image){ WIDTH, HEIGHT, channels, pixel + i * PIXELS * channels };
    frames[i] = &frame[i];
  }
  if (!gif_save(frames, FRAMES, 7, 150, "a.gif", &error)) fail_msg("%s", error.text);
}

static void every_grey_pixel_comes_back(void **state) {
  (void)state;
  static uint8_t pixel[FRAMES * PIXELS];
  static Found f;
  Rng rng = rng_stream(1, "pixels");
  for (uint32_t i = 0; i < sizeof pixel; i++) pixel[i] = (uint8_t)rng_below(rng, 0, 0, i, 256);
  memset(pixel + PIXELS, 77, PIXELS); /* and long runs of one shade */
  save(1, pixel);
  read_gif(&f, "a.gif");
  assert_int_equal(f.frames, FRAMES);
  assert_true(f.forever);
  assert_int_equal(f.delay[0], 7);
  assert_int_equal(f.delay[FRAMES - 1], 150);
  for (int i = 0; i < FRAMES; i++)
    for (int j = 0; j < PIXELS; j++)
      for (int k = 0; k < 3; k++) assert_int_equal(f.map[f.index[i][j]][k], pixel[i * PIXELS + j]);
}

/* A pixel is the next shade above or below, and the mean over 4 x 4 of them is near the colour. */
static void colours_are_mixed_of_the_nearest(void **state) {
  (void)state;
  static uint8_t pixel[FRAMES * PIXELS * 3];
  static Found f;
  static const uint8_t colour[FRAMES][3] = { { 200, 100, 30 }, { 0, 255, 128 }, { 17, 60, 240 } };
  static const double step[3] = { 255 / 5.0, 255 / 6.0, 255 / 5.0 };
  for (int i = 0; i < FRAMES * PIXELS * 3; i++) pixel[i] = colour[i / 3 / PIXELS][i % 3];
  save(3, pixel);
  read_gif(&f, "a.gif");
  for (int i = 0; i < FRAMES; i++)
    for (int k = 0; k < 3; k++) {
      double sum = 0;
      for (int y = 0; y < 8; y++)
        for (int x = 0; x < 20; x++) {
          double shown = f.map[f.index[i][y * WIDTH + x]][k];
          assert_true(shown > colour[i][k] - step[k] - 1 && shown < colour[i][k] + step[k] + 1);
          sum += shown / (8 * 20);
        }
      assert_true(sum > colour[i][k] - step[k] / 16 - 1 && sum < colour[i][k] + step[k] / 16 + 1);
    }
}

static void a_file_that_cannot_be_written_is_named(void **state) {
  (void)state;
  Error error;
  uint8_t pixel = 0;
  const Image one = { 1, 1, 1, &pixel }, *frames = &one;
  assert_false(gif_save(&frames, 1, 1, 1, "nowhere/a.gif", &error));
  assert_int_equal(error.kind, FAIL_RUNNING);
  assert_non_null(strstr(error.text, "nowhere/a.gif"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_grey_pixel_comes_back),
    cmocka_unit_test(colours_are_mixed_of_the_nearest),
    cmocka_unit_test(a_file_that_cannot_be_written_is_named),
  };
  return cmocka_run_group_tests(tests, enter, leave);
}
