/* gzip.c -- zlib's reader of both kinds of files. */
#include "datasets/gzip.h"
#include "core/file.h"
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { PIECE = 1 << 16 };

/* How long it is, by reading it once: what the file's end says is true modulo 2^32 alone. */
static bool measure(gzFile file, size_t most, size_t *length, Error *error) {
  char piece[PIECE];
  int got;
  *length = 0;
  while ((got = gzread(file, piece, PIECE)) > 0 && *length <= most) *length += (size_t)got;
  if (*length > most)
    return error_set(error, FAIL_INPUT, "more than the %zu bytes expected at most", most);
  int code;
  const char *says = gzerror(file, &code);
  if (code == Z_OK && !got) return true;
  return error_set(error, FAIL_INPUT, "damaged: %s", code == Z_ERRNO ? strerror(errno) : says);
}

static uint8_t *read_all(Arena *arena, gzFile file, size_t most, size_t *length, Error *error) {
  if (!measure(file, most, length, error)) return NULL;
  uint8_t *bytes = arena_alloc(arena, *length + 1);
  gzrewind(file);
  for (size_t at = 0; at < *length;) {
    size_t rest = *length - at;
    int got = gzread(file, bytes + at, rest < PIECE ? (unsigned)rest : PIECE);
    if (got <= 0) {
      error_set(error, FAIL_INPUT, "it changed while it was read");
      return NULL;
    }
    at += (size_t)got;
  }
  return bytes;
}

uint8_t *gzip_read(Arena *arena, const char *path, size_t most, size_t *length, Error *error) {
  errno = 0; /* zlib and a folder set none */
  gzFile file = file_is_regular(path) ? gzopen(path, "rbe") : NULL;
  uint8_t *bytes = NULL;
  if (!file)
    error_set(error, FAIL_INPUT, "cannot be read: %s", errno ? strerror(errno) : "not a file");
  else if (file_is_lfs_pointer(path))
    file_fail_lfs_pointer(error);
  else
    bytes = read_all(arena, file, most, length, error);
  if (file) gzclose_r(file);
  if (!bytes) error_prefix(error, "%s", path);
  return bytes;
}

uint32_t gzip_crc(uint32_t sum, const void *bytes, size_t length) {
  return (uint32_t)crc32_z(sum, bytes, length);
}

/* ---- packed bytes in memory ------------------------------------------------------------------ */

struct Inflater {
  z_stream stream;
  const unsigned char *rest;
  size_t left;
  bool over;
};

Inflater *inflater_new(const void *packed, size_t length) {
  Inflater *inflater = calloc(1, sizeof *inflater);
  if (!inflater) return NULL;
  inflater->rest = packed, inflater->left = length;
  if (inflateInit2(&inflater->stream, -MAX_WBITS) == Z_OK) return inflater;
  free(inflater);
  return NULL;
}

size_t inflater_read(Inflater *inflater, void *out, size_t length) {
  enum { MOST = 1 << 30 }; /* zlib counts in unsigned */
  z_stream *z = &inflater->stream;
  size_t got = 0;
  while (got < length && !inflater->over) {
    size_t room = length - got < MOST ? length - got : MOST;
    size_t give = inflater->left < MOST ? inflater->left : MOST;
    z->next_in = (unsigned char *)inflater->rest, z->avail_in = (unsigned)give;
    z->next_out = (unsigned char *)out + got, z->avail_out = (unsigned)room;
    int code = inflate(z, Z_NO_FLUSH);
    size_t used = give - z->avail_in, made = room - z->avail_out;
    inflater->rest += used, inflater->left -= used, got += made;
    inflater->over = code != Z_OK || (!used && !made);
  }
  return got;
}

void inflater_free(Inflater *inflater) {
  if (!inflater) return;
  inflateEnd(&inflater->stream);
  free(inflater);
}
