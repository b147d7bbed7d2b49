/* test_murmur.c -- digests of the published MurmurHash3_x64_128 (by Python's mmh3 5.x). */
#include "datasets/murmur.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

static void assert_digest(const void *data, size_t bytes, const char *expected) {
  char text[MURMUR_TEXT];
  murmur_text(murmur_of(data, bytes), text);
  assert_string_equal(text, expected);
}

static void test_digests_are_the_published_ones(void **state) {
  (void)state;
  const char *fox = "The quick brown fox jumps over the lazy dog";
  uint8_t ramp[1000];
  for (int i = 0; i < 1000; i++) ramp[i] = (uint8_t)(7 * i);
  assert_digest("", 0, "00000000000000000000000000000000");
  assert_digest("hello", 5, "029bbd41b3a7d8cb191dae486a901e5b");
  assert_digest("0123456789abcdef", 16, "a7d14acf946de04bda08a7635c5bc387");
  assert_digest(fox, strlen(fox), "6c1b07bc7bbc4be347939ac4a93c437a");
  assert_digest(ramp, sizeof ramp, "776c24f7d85cc10dd803dd1cde42d46a");
}

static void test_pieces_do_not_matter(void **state) {
  (void)state;
  uint8_t bytes[150];
  for (int i = 0; i < 150; i++) bytes[i] = (uint8_t)(i * i);
  MurmurSum whole = murmur_of(bytes, sizeof bytes);
  for (size_t piece = 1; piece < 40; piece++) {
    Murmur murmur = { 0 };
    for (size_t at = 0; at < sizeof bytes; at += piece)
      murmur_add(&murmur, bytes + at, at + piece < sizeof bytes ? piece : sizeof bytes - at);
    MurmurSum sum = murmur_sum(&murmur);
    assert_memory_equal(&sum, &whole, sizeof sum);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_digests_are_the_published_ones),
    cmocka_unit_test(test_pieces_do_not_matter),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
