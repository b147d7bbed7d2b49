/* npz.c -- NumPy's .npz as a store: a zip archive of .npy arrays, stored or deflated, Zip64 too.
 *
 * Nothing is unpacked to disk and no name in the archive is a path.  Refused are object arrays
 * (pickles are programs), encrypted members, members that lie over each other, sizes that do not
 * fit, and more than deflate can pack. */
#include "core/error.h"
#include "core/sort.h"
#include "datasets/formats/store.h"
#include "datasets/gzip.h"
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
  MOST_MEMBERS = 4096,
  LOCAL = 30,
  CENTRAL = 46,
  END = 22,
  LOCATOR = 20,
  END64 = 56,
  MOST_COMMENT = 65535,
  MOST_HEADER = 1 << 16, /* of an array */
  DEFLATE_RATIO = 1040,
  STORED = 0,
  DEFLATED = 8,
};

typedef struct {
  char name[STORE_NAME];
  uint64_t header, offset, packed, bytes; /* of the local header; of the content */
  uint32_t crc;
  int method;
} Member;

typedef struct {
  int count;
  uint64_t directory; /* where it begins */
  Member member[];
} Archive;

static uint64_t get(const void *at, int bytes) {
  const unsigned char *p = at;
  uint64_t value = 0;
  while (bytes-- > 0) value = value << 8 | p[bytes];
  return value;
}

static bool bad(Error *error, const char *message) {
  return error_set(error, FAIL_INPUT, "%s", message);
}

static bool recognises(const char *path, const unsigned char *head, size_t length) {
  (void)path;
  return length >= 4 && (!memcmp(head, "PK\3\4", 4) || !memcmp(head, "PK\5\6", 4));
}

static bool open_file(Store *store, const char *path, Error *error) {
  (void)path;
  store->text = mmap(NULL, store->bytes, PROT_READ, MAP_PRIVATE, store->fd, 0);
  if (store->text != MAP_FAILED) return true;
  store->text = NULL;
  return error_set(error, FAIL_INPUT, "cannot be read: %s", strerror(errno));
}

/* ---- the directory --------------------------------------------------------------------------- */

typedef struct {
  uint64_t count, bytes, offset;
} Directory;

/* The record at the end, behind which a comment may follow; of large files the larger one. */
static bool directory_find(const Store *store, Directory *d, Error *error) {
  const char *text = store->text;
  if (store->bytes < END) return bad(error, "damaged: too short for an archive");
  uint64_t at = store->bytes - END, least = at > MOST_COMMENT ? at - MOST_COMMENT : 0;
  while (memcmp(text + at, "PK\5\6", 4) || at + END + get(text + at + 20, 2) != store->bytes)
    if (at-- <= least) return bad(error, "truncated: the archive has no directory at its end");
  *d = (Directory){ get(text + at + 10, 2), get(text + at + 12, 4), get(text + at + 16, 4) };
  uint64_t end = at;
  if (at >= LOCATOR + END64 && !memcmp(text + at - LOCATOR, "PK\6\7", 4)) {
    end = get(text + at - LOCATOR + 8, 8);
    if (end > at - LOCATOR - END64 || memcmp(text + end, "PK\6\6", 4))
      return bad(error, "damaged: its Zip64 directory is not where it says");
    *d = (Directory){ get(text + end + 32, 8), get(text + end + 40, 8), get(text + end + 48, 8) };
  }
  if (d->offset > end || d->bytes > end - d->offset)
    return bad(error, "damaged: its directory is not where it says");
  if (d->count <= MOST_MEMBERS) return true;
  return error_set(error, FAIL_INPUT, "%llu members; expected at most %d arrays",
                   (unsigned long long)d->count, MOST_MEMBERS);
}

/* What does not fit into 32 bits stands in an extra field, in this order. */
static bool extra_sizes(const char *extra, uint64_t length, uint64_t *const value[3]) {
  while (length >= 4) {
    uint64_t id = get(extra, 2), size = get(extra + 2, 2);
    extra += 4, length -= 4;
    if (size > length) return false;
    for (int i = 0; id == 1 && i < 3; i++) {
      if (*value[i] != UINT32_MAX) continue;
      if (size < 8) return false;
      *value[i] = get(extra, 8);
      extra += 8, length -= 8, size -= 8;
    }
    extra += size, length -= size;
  }
  return true;
}

static bool name_check(const char *name, uint64_t length, Error *error) {
  bool path = length && *name == '/';
  for (uint64_t i = 0; i < length; i++) {
    if ((unsigned char)name[i] < ' ' || name[i] == 127)
      return bad(error, "damaged: a member's name");
    path |= name[i] == '\\' || name[i] == ':';
    path |= name[i] == '.' && i + 1 < length && name[i + 1] == '.';
  }
  if (path)
    return error_set(error, FAIL_INPUT,
                     "a member is named %.*s, a path out of the archive; refused",
                     (int)(length < 80 ? length : 80), name);
  if (length < STORE_NAME) return true;
  return bad(error, "a member's name is too long");
}

static bool member_check(const Store *store, const Archive *a, Member *m, Error *error) {
  const char *text = store->text;
  if (m->header > a->directory || a->directory - m->header < LOCAL ||
      memcmp(text + m->header, "PK\3\4", 4))
    return bad(error, "damaged: it is not where the directory says");
  m->offset = m->header + LOCAL + get(text + m->header + 26, 2) + get(text + m->header + 28, 2);
  if (m->offset > a->directory || m->packed > a->directory - m->offset)
    return bad(error, "damaged: it is longer than the file");
  if (m->method != STORED && m->method != DEFLATED)
    return error_set(error, FAIL_INPUT, "packed by method %d; expected none or deflate", m->method);
  if (m->method == STORED ? m->packed != m->bytes : m->bytes / DEFLATE_RATIO > m->packed)
    return error_set(error, FAIL_INPUT, "claims %llu bytes where %llu are stored; damaged",
                     (unsigned long long)m->bytes, (unsigned long long)m->packed);
  return true;
}

/* One entry of the directory; its length, 0 with an error. */
static uint64_t entry_read(const Store *store, Archive *a, const char *at, uint64_t left,
                           Error *error) {
  if (left < CENTRAL || memcmp(at, "PK\1\2", 4))
    return bad(error, "damaged: its directory breaks off");
  uint64_t name = get(at + 28, 2), extra = get(at + 30, 2), comment = get(at + 32, 2);
  uint64_t length = CENTRAL + name + extra + comment;
  Member *m = &a->member[a->count];
  *m = (Member){ .method = (int)get(at + 10, 2),
                 .crc = (uint32_t)get(at + 16, 4),
                 .packed = get(at + 20, 4),
                 .bytes = get(at + 24, 4),
                 .header = get(at + 42, 4) };
  uint64_t *const wide[3] = { &m->bytes, &m->packed, &m->header };
  if (length > left || !extra_sizes(at + CENTRAL + name, extra, wide))
    return bad(error, "damaged: its directory breaks off");
  if (!name_check(at + CENTRAL, name, error)) return 0;
  memcpy(m->name, at + CENTRAL, name);
  if (get(at + 8, 2) & 1)
    return error_set(error, FAIL_INPUT, "%s: encrypted; expected plain arrays", m->name);
  if (!member_check(store, a, m, error)) return error_prefix(error, "%s", m->name);
  bool array = name > 4 && !strcmp(m->name + name - 4, ".npy");
  if (array) m->name[name - 4] = '\0';
  a->count++;
  return length;
}

static int by_header(const void *a, const void *b) {
  const Member *x = a, *y = b;
  return (x->header > y->header) - (x->header < y->header);
}

static bool overlaps_check(Archive *a, Error *error) {
  sort(a->member, (size_t)a->count, sizeof *a->member, by_header);
  for (int i = 0; i < a->count; i++) {
    const Member *m = &a->member[i];
    if (i + 1 < a->count && m->offset + m->packed > a->member[i + 1].header)
      return error_set(error, FAIL_INPUT, "%s and %s lie over each other in the archive; refused",
                       m->name, a->member[i + 1].name);
    for (int k = 0; k < i; k++)
      if (!strcmp(m->name, a->member[k].name))
        return error_set(error, FAIL_INPUT, "%s: there twice; refused", m->name);
  }
  return true;
}

static bool look(Store *store, Error *error) {
  Directory d = { 0 };
  if (!directory_find(store, &d, error)) return false;
  Archive *a = store->own = calloc(1, sizeof *a + (d.count + 1) * sizeof *a->member);
  if (!a) return error_set(error, FAIL_RUNNING, "out of memory");
  a->directory = d.offset;
  const char *at = store->text + d.offset;
  uint64_t left = d.bytes;
  for (uint64_t i = 0, length; i < d.count; i++, at += length, left -= length)
    if (!(length = entry_read(store, a, at, left, error))) return false;
  return overlaps_check(a, error);
}

static const Member *find(const Store *store, const char *name) {
  const Archive *a = store->own;
  for (int i = 0; i < a->count; i++)
    if (!strcmp(a->member[i].name, name)) return &a->member[i];
  return NULL;
}

static MemberKind member(Store *store, const char *name) {
  return find(store, name) ? MEMBER_ARRAY : MEMBER_NONE;
}

static bool list(Store *store, const char *group, int64_t i, char name[STORE_NAME]) {
  const Archive *a = store->own;
  if (*group || i >= a->count) return false;
  memcpy(name, a->member[i].name, STORE_NAME);
  return true;
}

/* ---- arrays ---------------------------------------------------------------------------------- */

typedef struct {
  const Member *member;
  Inflater *inflater;
  uint64_t at, header; /* bytes read so far; of the array's own header */
  uint32_t crc;
  char kind; /* f, i, u or b */
  bool swap; /* big-endian */
} Reading;

/* The next bytes of the content; false where there are no more. */
static bool take(const Store *store, Reading *r, void *out, uint64_t length) {
  const Member *m = r->member;
  if (length > m->bytes - r->at) return false;
  if (m->method == STORED)
    memcpy(out, store->text + m->offset + r->at, length);
  else if (inflater_read(r->inflater, out, length) != length)
    return false;
  r->crc = gzip_crc(r->crc, out, length);
  r->at += length;
  return r->at < m->bytes || r->crc == m->crc;
}

static bool rewind_to_start(const Store *store, Reading *r) {
  const Member *m = r->member;
  inflater_free(r->inflater);
  r->inflater = NULL, r->at = 0, r->crc = 0;
  if (m->method == DEFLATED) r->inflater = inflater_new(store->text + m->offset, m->packed);
  return m->method == STORED || r->inflater;
}

/* "<f4" and such. */
static bool type_read(const char *text, bool flag, Array *array, Reading *r, Error *error) {
  char order = 0, kind = 0;
  int width = 0;
  if (strstr(text, "'descr': [") || strstr(text, "'descr': '|V"))
    return bad(error, "holds records; expected numbers");
  if (strstr(text, "'descr': '|O"))
    return bad(error, "holds Python objects (a pickle, which is a program); expected numbers: "
                      "store it as a float array");
  const char *at = strstr(text, "'descr': '");
  if (!at || sscanf(at + 10, "%c%c%d", &order, &kind, &width) != 3 || !strchr("<>|=", order))
    return bad(error, "damaged: its header says no type");
  bool sized = width == 1 || width == 2 || width == 4 || width == 8;
  bool number = sized && (kind == 'i' || kind == 'u' || (kind == 'f' && width > 1) ||
                          (kind == 'b' && flag && width == 1));
  if (!number)
    return error_set(error, FAIL_INPUT, "holds %s of %d bytes; expected %s",
                     kind == 'b'                  ? "booleans"
                     : kind == 'U' || kind == 'S' ? "strings"
                                                  : "values of an unusual type",
                     width, flag ? "booleans or numbers 0 and 1" : "float32, float64 or integers");
  r->kind = kind, r->swap = order == '>', array->width = width;
  return true;
}

static bool shape_read(const char *text, Array *array, Error *error) {
  const char *at = strstr(text, "'shape': (");
  int64_t size[2] = { 1, 1 };
  if (!at) return bad(error, "damaged: its header says no shape");
  at += strlen("'shape': (");
  for (array->rank = 0; *at && *at != ')'; array->rank++) {
    char *end;
    if (!isdigit((unsigned char)*at)) return bad(error, "damaged: its header says no shape");
    long long n = strtoll(at, &end, 10);
    if (array->rank < 2) size[array->rank] = n;
    for (at = end; *at == ',' || *at == ' ' || *at == 'L';) at++;
  }
  array->rows = size[0], array->columns = size[1];
  if (array->rank == 2 && array->columns > 1 && strstr(text, "'fortran_order': True"))
    return bad(error, "stored column by column; write it with np.ascontiguousarray");
  return *at == ')' || bad(error, "damaged: its header says no shape");
}

static bool header_read(const Store *store, Reading *r, char **text, Error *error) {
  unsigned char head[12];
  int more = 2;
  uint64_t length = 0;
  bool done =
      take(store, r, head, 8) && !memcmp(head, "\x93NUMPY", 6) && head[6] >= 1 && head[6] <= 3;
  if (done) more = head[6] == 1 ? 2 : 4;
  if (done) done = take(store, r, head + 8, (uint64_t)more);
  if (done) length = get(head + 8, more);
  if (!done || length > MOST_HEADER) return bad(error, "damaged, or no .npy array");
  *text = calloc(1, length + 1);
  if (*text && take(store, r, *text, length)) return true;
  return bad(error, "damaged: its header breaks off");
}

static bool array_open(Store *store, const char *name, bool flag, Array *array, Error *error) {
  const Member *m = find(store, name);
  Reading *r = array->state = calloc(1, sizeof *r);
  char *text = NULL;
  if (!m) return bad(error, "no such array");
  if (!r) return error_set(error, FAIL_RUNNING, "out of memory");
  r->member = m;
  bool done = (rewind_to_start(store, r) || bad(error, "cannot be unpacked")) &&
              header_read(store, r, &text, error) && type_read(text, flag, array, r, error) &&
              shape_read(text, array, error);
  free(text);
  if (!done || !store_check_shape(array, true, error)) return false;
  r->header = r->at;
  uint64_t bytes = (uint64_t)array->rows * (uint64_t)array->columns * (uint64_t)array->width;
  if (bytes == m->bytes - r->header) return true;
  return error_set(error, FAIL_INPUT, "is [%lld, %lld] of %d bytes each, but %llu bytes are there",
                   (long long)array->rows, (long long)array->columns, array->width,
                   (unsigned long long)(m->bytes - r->header));
}

static float half(uint16_t h) {
  int exponent = h >> 10 & 31;
  float fraction = (float)(h & 1023), sign = h & 0x8000 ? -1.0f : 1.0f;
  if (exponent == 31) return fraction > 0 ? NAN : sign * INFINITY;
  return sign * (exponent ? ldexpf(1024 + fraction, exponent - 25) : ldexpf(fraction, -24));
}

static float number(const unsigned char *p, const Reading *r, int width) {
  unsigned char turned[8];
  for (int i = 0; i < width; i++) turned[i] = p[r->swap ? width - 1 - i : i];
  uint64_t u = get(turned, width);
  if (r->kind == 'f') {
    float f;
    double d;
    if (width == 2) return half((uint16_t)u);
    if (width == 4) return memcpy(&f, &(uint32_t){ (uint32_t)u }, sizeof f), f;
    memcpy(&d, &u, sizeof d);
    return (float)d;
  }
  if (r->kind != 'i') return (float)u;
  int shift = 64 - 8 * width;
  return (float)((int64_t)(u << shift) >> shift);
}

/* Skip to a byte of the content, from the front if it lies behind us. */
static bool seek(const Store *store, Reading *r, uint64_t to) {
  char skipped[4096];
  if (to < r->at && !rewind_to_start(store, r)) return false;
  while (r->at < to) {
    uint64_t left = to - r->at;
    if (!take(store, r, skipped, left < sizeof skipped ? left : sizeof skipped)) return false;
  }
  return true;
}

static bool array_read(Array *array, int64_t first, int64_t rows, float *out, Error *error) {
  enum { PIECE = 4096 };
  Reading *r = array->state;
  const uint64_t width = (uint64_t)array->width, columns = (uint64_t)array->columns;
  unsigned char piece[PIECE * 8];
  bool done = seek(array->store, r, r->header + (uint64_t)first * columns * width);
  for (uint64_t left = (uint64_t)rows * columns; done && left;) {
    uint64_t n = left < PIECE ? left : PIECE;
    done = take(array->store, r, piece, n * width);
    for (uint64_t i = 0; done && i < n; i++) *out++ = number(piece + i * width, r, (int)width);
    left -= n;
  }
  if (done) return true;
  return error_set(error, FAIL_INPUT,
                   "damaged: rows %lld to %lld cannot be unpacked, or do not have "
                   "their checksum; copy or download the file again",
                   (long long)first, (long long)(first + rows - 1));
}

static void array_close(Array *array) {
  Reading *r = array->state;
  if (r) inflater_free(r->inflater);
  free(r);
  array->state = NULL;
}

static void end(Store *store) { free(store->own); }

const StoreKind store_npz = { "npz",      recognises, open_file, look,        member, list,
                              array_open, array_read, NULL,      array_close, NULL,   end };
