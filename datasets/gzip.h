/* gzip.h -- whole files, compressed by gzip or not. */
#ifndef DATASETS_GZIP_H
#define DATASETS_GZIP_H
#include "core/arena.h"
#include "core/error.h"
#include <stddef.h>
#include <stdint.h>

/* The bytes of the file, decompressed, in the arena.  FAIL_INPUT if it cannot be read, is damaged,
 * or holds more than `most`. */
uint8_t *gzip_read(Arena *arena, const char *path, size_t most, size_t *length, Error *error);

/* Bytes in memory that deflate has packed, without a header (as zip holds them), read from front to
 * back.  NULL: no memory. */
typedef struct Inflater Inflater;
Inflater *inflater_new(const void *packed, size_t length);

/* Fill out[length]; how many bytes were got, fewer where the stream ends or is damaged. */
size_t inflater_read(Inflater *inflater, void *out, size_t length);
void inflater_free(Inflater *inflater); /* may be NULL */

/* The checksum of gzip and zip (CRC-32) of what `sum` is of, 0 of nothing, and these bytes. */
uint32_t gzip_crc(uint32_t sum, const void *bytes, size_t length);

#endif
