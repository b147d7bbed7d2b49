/* test_numpy.c -- arrays are written as the formats of NumPy and zip say, read here by their
 * specifications. */
#include "datasets/numpy.h"
#include "tests/folder.h"
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

enum { HEADER = 128, MOST = 4096 };

static size_t read_bytes(const char *path, uint8_t *bytes) {
  FILE *file = fopen(path, "rb");
  assert_non_null(file);
  size_t length = fread(bytes, 1, MOST, file);
  assert_int_equal(fclose(file), 0);
  assert_true(length < MOST);
  return length;
}

static uint32_t number(const uint8_t *at, int bytes) {
  uint32_t value = 0;
  for (int i = 0; i < bytes; i++) value |= (uint32_t)at[i] << 8 * i;
  return value;
}

/* CRC-32 by its polynomial (APPNOTE.TXT 4.4.7) */
static uint32_t crc(const uint8_t *bytes, size_t length) {
  uint32_t c = 0xffffffff;
  for (size_t i = 0; i < length; i++) {
    c ^= bytes[i];
    for (int k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ c >> 1 : c >> 1;
  }
  return ~c;
}

/* NEP 1: magic, version 1.0, the header's length, a Python literal that ends with a line end */
static void assert_header(const uint8_t *at, const char *dictionary) {
  assert_memory_equal(at, "\x93NUMPY\1\0", 8);
  assert_int_equal(number(at + 8, 2), HEADER - 10);
  assert_memory_equal(at + 10, dictionary, strlen(dictionary));
  for (size_t i = 10 + strlen(dictionary); i < HEADER - 1; i++) assert_int_equal(at[i], ' ');
  assert_int_equal(at[HEADER - 1], '\n');
}

static const double value[6] = { 1, -2.5, 3e300, 0, 5e-300, 6 };
static const int64_t whole[3] = { -1, 7, INT64_C(1) << 40 };
static const NumpyArray arrays[] = {
  { .name = "pictures", .rank = 3, .shape = { 1, 2, 3 }, .value = value },
  { .name = "labels", .rank = 1, .shape = { 3 }, .whole = whole },
};
static const char first[] = "{'descr': '<f8', 'fortran_order': False, 'shape': (1, 2, 3), }";
static const char second[] = "{'descr': '<i8', 'fortran_order': False, 'shape': (3,), }";

static void one_array_is_its_header_and_numbers(void **state) {
  (void)state;
  uint8_t bytes[MOST];
  Error error;
  assert_true(numpy_save(arrays, "a.npy", &error));
  assert_int_equal(read_bytes("a.npy", bytes), HEADER + sizeof value);
  assert_header(bytes, first);
  assert_memory_equal(bytes + HEADER, value, sizeof value);
  assert_true(numpy_save(arrays + 1, "b.npy", &error));
  assert_int_equal(read_bytes("b.npy", bytes), HEADER + sizeof whole);
  assert_header(bytes, second);
  assert_memory_equal(bytes + HEADER, whole, sizeof whole);
}

/* one member at the offset that the directory says, which says the same of it */
static void assert_member(const uint8_t *bytes, const uint8_t *entry, const char *name,
                          const char *dictionary, const void *body, size_t size) {
  assert_memory_equal(entry, "PK\1\2", 4);
  const uint8_t *at = bytes + number(entry + 42, 4);
  assert_memory_equal(at, "PK\3\4", 4);
  assert_memory_equal(at + 4, entry + 6, 26); /* both headers agree, from the version needed on */
  assert_int_equal(number(at + 8, 2), 0);     /* stored */
  assert_int_equal(number(at + 18, 4), HEADER + size);
  assert_int_equal(number(at + 22, 4), HEADER + size);
  assert_int_equal(number(at + 26, 2), strlen(name));
  assert_memory_equal(at + 30, name, strlen(name));
  assert_memory_equal(entry + 46, name, strlen(name));
  const uint8_t *data = at + 30 + strlen(name);
  assert_int_equal(number(at + 14, 4), crc(data, HEADER + size));
  assert_header(data, dictionary);
  assert_memory_equal(data + HEADER, body, size);
}

static void an_archive_holds_them_all(void **state) {
  (void)state;
  uint8_t bytes[MOST];
  Error error;
  assert_true(numpy_save_all(arrays, 2, "c.npz", &error));
  size_t length = read_bytes("c.npz", bytes);
  const uint8_t *end = bytes + length - 22;
  assert_memory_equal(end, "PK\5\6\0\0\0\0", 8);
  assert_int_equal(number(end + 8, 2), 2);
  assert_int_equal(number(end + 10, 2), 2);
  uint32_t size = number(end + 12, 4), offset = number(end + 16, 4);
  assert_int_equal(offset + size, length - 22);
  assert_member(bytes, bytes + offset, "pictures.npy", first, value, sizeof value);
  const uint8_t *next = bytes + offset + 46 + strlen("pictures.npy");
  assert_member(bytes, next, "labels.npy", second, whole, sizeof whole);
  assert_ptr_equal(next + 46 + strlen("labels.npy"), end);
}

static void a_file_that_cannot_be_written_is_named(void **state) {
  (void)state;
  Error error;
  assert_false(numpy_save_all(arrays, 2, "nowhere/c.npz", &error));
  assert_int_equal(error.kind, FAIL_RUNNING);
  assert_non_null(strstr(error.text, "nowhere/c.npz"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(one_array_is_its_header_and_numbers),
    cmocka_unit_test(an_archive_holds_them_all),
    cmocka_unit_test(a_file_that_cannot_be_written_is_named),
  };
  return cmocka_run_group_tests(tests, enter, leave);
}
