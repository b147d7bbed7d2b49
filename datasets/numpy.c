/* numpy.c -- headers of two formats before the numbers as they lie in memory, little-endian. */
#include "datasets/numpy.h"
#include "core/check.h"
#include "core/file.h"
#include "datasets/gzip.h"
#include <stdio.h>
#include <string.h>

/* ---- one array ------------------------------------------------------------------------------- */

enum { HEADER = 128 }; /* a multiple of 64, so that readers find the numbers aligned */

static size_t bytes_of(const NumpyArray *a) {
  size_t bytes = sizeof(double);
  for (int i = 0; i < a->rank; i++) bytes *= (size_t)a->shape[i];
  return bytes;
}
static const void *body_of(const NumpyArray *a) {
  return a->value ? (const void *)a->value : a->whole;
}

/* The shape is written as a Python tuple, and says how many numbers follow. */
static void write_header(const NumpyArray *a, char header[HEADER]) {
  CHECK(0 < a->rank && a->rank <= NUMPY_MOST_RANK, "an array of %d axes", a->rank);
  char shape[64] = "";
  for (int i = 0; i < a->rank; i++) {
    size_t length = strlen(shape);
    snprintf(shape + length, sizeof shape - length, "%s%d", i ? ", " : "", a->shape[i]);
  }
  /* padded with blanks up to a line end */
  memset(header, ' ', HEADER);
  memcpy(header, "\x93NUMPY\x01\x00\x76\x00", 10); /* 0x76 = 128 - 10 */
  int length = snprintf(header + 10, HEADER - 10,
                        "{'descr': '%s', 'fortran_order': False, 'shape': (%s%s), }",
                        a->value ? "<f8" : "<i8", shape, a->rank == 1 ? "," : "");
  /* blanks go on where the text's zero stood */
  header[10 + length] = ' ', header[HEADER - 1] = '\n';
}

bool numpy_save(const NumpyArray *a, const char *path, Error *error) {
  char header[HEADER];
  write_header(a, header);
  const FilePiece piece[] = { { header, HEADER }, { body_of(a), bytes_of(a) } };
  return file_write_pieces(path, piece, 2, error);
}

/* ---- several in a zip archive ---------------------------------------------------------------- */

enum { LOCAL = 30, CENTRAL = 46, END = 22, MOST_NAME = 32, VERSION = 20, OLDEST_DAY = 0x21 };

typedef struct {
  char name[MOST_NAME], header[HEADER];
  unsigned char local[LOCAL + MOST_NAME], central[CENTRAL + MOST_NAME];
  size_t length; /* of the name */
} Member;

static unsigned char *put(unsigned char *at, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; i++) *at++ = (unsigned char)(value >> 8 * i);
  return at;
}

/* What both headers of a member say from the version on: no flags, stored, 1 January 1980. */
static unsigned char *put_entry(unsigned char *at, uint32_t sum, size_t size, size_t name) {
  at = put(at, VERSION, 2), at = put(at, 0, 2), at = put(at, 0, 2);
  at = put(at, 0, 2), at = put(at, OLDEST_DAY, 2), at = put(at, sum, 4);
  at = put(at, size, 4), at = put(at, size, 4), at = put(at, name, 2);
  return put(at, 0, 2);
}

static size_t fill_member(Member *m, const NumpyArray *a, size_t offset) {
  write_header(a, m->header);
  snprintf(m->name, sizeof m->name, "%s.npy", a->name);
  m->length = strlen(m->name);
  size_t size = HEADER + bytes_of(a);
  uint32_t sum = gzip_crc(gzip_crc(0, m->header, HEADER), body_of(a), bytes_of(a));
  memcpy(m->local, "PK\3\4", 4);
  unsigned char *at = put_entry(m->local + 4, sum, size, m->length);
  memcpy(at, m->name, m->length);
  memcpy(m->central, "PK\1\2", 4);
  at = put_entry(put(m->central + 4, VERSION, 2), sum, size, m->length);
  /* no comment, disk 0, no attributes */
  at = put(at, 0, 2), at = put(at, 0, 2), at = put(at, 0, 2), at = put(at, 0, 4);
  at = put(at, offset, 4);
  memcpy(at, m->name, m->length);
  return offset + LOCAL + m->length + size;
}

bool numpy_save_all(const NumpyArray *array, int count, const char *path, Error *error) {
  CHECK(0 < count && count <= NUMPY_MOST_ARRAYS, "%d arrays", count);
  Member member[NUMPY_MOST_ARRAYS];
  FilePiece piece[4 * NUMPY_MOST_ARRAYS + 1];
  size_t offset = 0, directory = 0;
  int pieces = 0;
  for (int i = 0; i < count; i++) {
    Member *m = &member[i];
    if (offset + bytes_of(&array[i]) > UINT32_MAX - 4096)
      return error_set(error, FAIL_USAGE,
                       "%s: 4 GiB or more do not fit in one .npz file; write fewer, or FILE.npy",
                       path);
    offset = fill_member(m, &array[i], offset);
    directory += CENTRAL + m->length;
    piece[pieces++] = (FilePiece){ m->local, LOCAL + m->length };
    piece[pieces++] = (FilePiece){ m->header, HEADER };
    piece[pieces++] = (FilePiece){ body_of(&array[i]), bytes_of(&array[i]) };
  }
  for (int i = 0; i < count; i++)
    piece[pieces++] = (FilePiece){ member[i].central, CENTRAL + member[i].length };
  unsigned char end[END] = "PK\5\6";
  unsigned char *at = put(put(end + 8, (uint64_t)count, 2), (uint64_t)count, 2);
  at = put(put(at, directory, 4), offset, 4), put(at, 0, 2);
  piece[pieces++] = (FilePiece){ end, END };
  return file_write_pieces(path, piece, (size_t)pieces, error);
}
