/* murmur.h -- MurmurHash3, x64 128-bit variant (Austin Appleby, public domain), seed 0.
 *
 * Names the content of a source file and guards the cache against accidents.  Not a defence
 * against somebody who wants two files with one hash. */
#ifndef DATASETS_MURMUR_H
#define DATASETS_MURMUR_H
#include <stddef.h>
#include <stdint.h>

enum { MURMUR_TEXT = 33 }; /* 32 hexadecimal digits and the end */

typedef struct {
  uint64_t h[2];
  uint64_t length;  /* bytes so far */
  uint8_t tail[16]; /* the last length % 16 of them */
} Murmur;

typedef struct {
  uint64_t h[2];
} MurmurSum;

/* Start from (Murmur){ 0 }; any cutting of the same bytes into pieces gives the same sum. */
void murmur_add(Murmur *murmur, const void *data, size_t bytes);
MurmurSum murmur_sum(const Murmur *murmur);
MurmurSum murmur_of(const void *data, size_t bytes);
void murmur_text(MurmurSum sum, char text[MURMUR_TEXT]); /* the digest's 16 bytes in order */

#endif
