/* test_image_resize.c -- what is true of area averages. */
#include "core/rng.h"
#include "datasets/image_resize.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

enum { MOST = 24 };

static Image noise(uint8_t *pixel, int width, int height, int channels) {
  Rng rng = rng_stream(1, "pixels");
  for (int i = 0; i < width * height * channels; i++)
    pixel[i] = (uint8_t)rng_below(rng, 0, 0, (uint32_t)i, 256);
  return (Image){ width, height, channels, pixel };
}

static void its_own_size_changes_nothing(void **state) {
  (void)state;
  uint8_t pixel[MOST * MOST * 3], to[MOST * MOST * 3];
  Image image = noise(pixel, MOST, MOST, 3);
  image_resize(&image, MOST, to);
  assert_memory_equal(to, pixel, sizeof to);
}

static void a_whole_factor_gives_the_mean_of_a_block(void **state) {
  (void)state;
  enum { SIDE = 8, FACTOR = MOST / SIDE };
  uint8_t pixel[MOST * MOST * 3], to[SIDE * SIDE * 3];
  Image image = noise(pixel, MOST, MOST, 3);
  image_resize(&image, SIDE, to);
  for (int y = 0; y < SIDE; y++)
    for (int x = 0; x < SIDE; x++)
      for (int k = 0; k < 3; k++) {
        int sum = 0;
        for (int i = 0; i < FACTOR * FACTOR; i++)
          sum += pixel[((y * FACTOR + i / FACTOR) * MOST + x * FACTOR + i % FACTOR) * 3 + k];
        assert_int_equal(to[(y * SIDE + x) * 3 + k], lround(sum / (double)(FACTOR * FACTOR)));
      }
}

/* old pixel j counts by its part under the new one, found here by fine sampling of the line */
static void edges_count_by_the_part_that_is_covered(void **state) {
  (void)state;
  enum { OLD = 10, FINE = 7 * OLD }; /* FINE / OLD samples in each old pixel: exact for side 7 */
  uint8_t pixel[OLD * OLD], to[MOST * MOST];
  Image image = noise(pixel, OLD, OLD, 1);
  image_resize(&image, 7, to);
  for (int y = 0; y < 7; y++)
    for (int x = 0; x < 7; x++) {
      double sum = 0;
      for (int i = y * OLD; i < (y + 1) * OLD; i++)
        for (int j = x * OLD; j < (x + 1) * OLD; j++)
          sum += pixel[i * OLD / FINE * OLD + j * OLD / FINE];
      assert_int_equal(to[y * 7 + x], (int)floor(sum / (OLD * OLD) + 0.5));
    }
}

static void a_larger_size_repeats_pixels(void **state) {
  (void)state;
  uint8_t pixel[4] = { 10, 20, 30, 40 }, to[36];
  image_resize(&(Image){ 2, 2, 1, pixel }, 6, to);
  for (int i = 0; i < 36; i++) assert_int_equal(to[i], pixel[i / 6 / 3 * 2 + i % 6 / 3]);
}

static void the_middle_square_is_taken(void **state) {
  (void)state;
  uint8_t pixel[3 * 8], to[9];
  for (int r = 0; r < 3; r++)
    for (int c = 0; c < 8; c++) pixel[r * 8 + c] = (uint8_t)(10 * r + c);
  image_resize(&(Image){ 8, 3, 1, pixel }, 3, to);
  for (int i = 0; i < 9; i++) assert_int_equal(to[i], 10 * (i / 3) + 2 + i % 3);
  image_resize(&(Image){ 3, 8, 1, pixel }, 3, to);
  assert_memory_equal(to, pixel + 2 * 3, 9);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(its_own_size_changes_nothing),
    cmocka_unit_test(a_whole_factor_gives_the_mean_of_a_block),
    cmocka_unit_test(edges_count_by_the_part_that_is_covered),
    cmocka_unit_test(a_larger_size_repeats_pixels),
    cmocka_unit_test(the_middle_square_is_taken),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
