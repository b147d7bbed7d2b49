/* idx.h -- writing IDX files: sets of pictures made for a test. */
#ifndef TESTS_IDX_H
#define TESTS_IDX_H
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>

/* sizes [rank], most significant byte first, then `bytes` of data */
static inline void idx_write(const char *path, int rank, const int size[], const uint8_t *data,
                             int bytes) {
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  fputc(0, file), fputc(0, file), fputc(8, file), fputc(rank, file);
  for (int i = 0; i < rank; i++)
    for (int shift = 24; shift >= 0; shift -= 8) fputc(size[i] >> shift & 255, file);
  assert_int_equal(fwrite(data, 1, (size_t)bytes, file), bytes);
  assert_int_equal(fclose(file), 0);
}

#endif
