/* checkpoint.c -- safetensors with checksums, written so that no instant finds a broken file.
 *
 *   8 bytes   length of the header, little-endian
 *   header    {"__metadata__":{text: text, ...},"name":{"dtype","shape","data_offsets"}, ...}
 *             one line of JSON, every level sorted, padded with spaces to a multiple of 8
 *   data      tensors without gaps, by element size (widest first: everything is aligned), name
 *
 * The metadata holds "format" (diffrl-1), "checksum/NAME" of each tensor's bytes, and "checksum" of
 * all that precedes the data, taken with its own 16 digits as zeros.  A file that has none of the
 * three is another writer's and is taken on trust; a file that has one must have all. */
#include "core/checkpoint.h"
#include "core/check.h"
#include "core/file.h"
#include "core/json.h"
#include "core/sort.h"
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "files are little-endian, as memory is");

enum { FORMAT = 1, MAX_RANK = 4, MAX_HEADER = 1 << 20, PREFIX = 8, DIGITS = 16 };
static const char sum_prefix[] = "checksum/", sum_mark[] = "\"checksum\":\"";
static const char zeros[] = "0000000000000000";

static const struct {
  const char *name;
  size_t size;
} types[] = {
  [CHECKPOINT_F32] = { "F32", 4 }, [CHECKPOINT_F64] = { "F64", 8 }, [CHECKPOINT_U8] = { "U8", 1 },
  [CHECKPOINT_I64] = { "I64", 8 }, [CHECKPOINT_F16] = { "F16", 2 },
};
enum { TYPES = sizeof types / sizeof *types };

size_t checkpoint_element_size(CheckpointType type) { return types[type].size; }
const char *checkpoint_type_name(CheckpointType type) { return types[type].name; }

size_t checkpoint_bytes(const CheckpointTensor *tensor) {
  size_t bytes = types[tensor->type].size;
  for (int i = 0; i < tensor->rank; i++) bytes *= (size_t)tensor->shape[i];
  return bytes;
}

int64_t checkpoint_numbers(const Checkpoint *c) {
  int64_t numbers = 0;
  for (size_t i = 0; i < c->tensors; i++)
    numbers += (int64_t)(checkpoint_bytes(&c->tensor[i]) / types[c->tensor[i].type].size);
  return numbers;
}

/* A checksum as 16 hex digits.  Every step is a bijection of the state, so two inputs that differ
 * in one 8-byte word never agree; otherwise they agree by chance, one in 2^64. */
static void checksum(const void *data, size_t bytes, char digits[DIGITS + 1]) {
  const unsigned char *p = data;
  uint64_t hash = bytes * 0x9e3779b97f4a7c15u;
  for (size_t at = 0; at < bytes; at += 8) {
    uint64_t word = 0;
    memcpy(&word, p + at, bytes - at < 8 ? bytes - at : 8);
    hash = (hash ^ word) * 0xd6e8feb86659fd93u;
    hash ^= hash >> 32;
  }
  snprintf(digits, DIGITS + 1, "%016llx", (unsigned long long)hash);
}

static bool starts_with(const char *text, const char *start) {
  return strncmp(text, start, strlen(start)) == 0;
}

static bool reserved(const char *key) {
  return !strcmp(key, "format") || !strcmp(key, "checksum") || starts_with(key, sum_prefix);
}

/* ---- the set --------------------------------------------------------------------------------- */

void checkpoint_init(Checkpoint *checkpoint, Arena *arena) {
  *checkpoint = (Checkpoint){ .arena = arena };
}

/* `array` with place for one more of `size` bytes. */
static void *with_room(Arena *arena, void *array, size_t size, size_t count, size_t *room) {
  if (count < *room) return array;
  *room = 2 * count + 32;
  void *larger = arena_alloc(arena, *room * size);
  if (count) memcpy(larger, array, count * size);
  return larger;
}

static CheckpointTensor *append_tensor(Checkpoint *checkpoint) {
  checkpoint->tensor = with_room(checkpoint->arena, checkpoint->tensor, sizeof *checkpoint->tensor,
                                 checkpoint->tensors, &checkpoint->tensor_room);
  return &checkpoint->tensor[checkpoint->tensors++];
}

static void append_text(Checkpoint *checkpoint, const char *key, const char *value) {
  checkpoint->text = with_room(checkpoint->arena, checkpoint->text, sizeof *checkpoint->text,
                               checkpoint->texts, &checkpoint->text_room);
  checkpoint->text[checkpoint->texts++] = (CheckpointText){
    arena_text(checkpoint->arena, "%s", key),
    arena_text(checkpoint->arena, "%s", value),
  };
}

void checkpoint_add(Checkpoint *checkpoint, const char *name, CheckpointType type, int rank,
                    const int64_t *shape, void *data) {
  CHECK(rank >= 0 && rank <= MAX_RANK, "checkpoint: tensor %s of rank %d", name, rank);
  CHECK(strcmp(name, "__metadata__") && !checkpoint_tensor(checkpoint, name),
        "checkpoint: tensor %s is there already", name);
  CheckpointTensor *tensor = append_tensor(checkpoint);
  *tensor =
      (CheckpointTensor){ arena_text(checkpoint->arena, "%s", name), type, rank, { 0 }, data, 0 };
  if (rank) memcpy(tensor->shape, shape, (size_t)rank * sizeof *shape);
}

void checkpoint_add_text(Checkpoint *checkpoint, const char *key, const char *value) {
  CHECK(!reserved(key) && !checkpoint_text(checkpoint, key),
        "checkpoint: text %s is reserved or there already", key);
  append_text(checkpoint, key, value);
}

const CheckpointTensor *checkpoint_tensor(const Checkpoint *checkpoint, const char *name) {
  for (size_t i = 0; i < checkpoint->tensors; i++) {
    if (!strcmp(checkpoint->tensor[i].name, name)) return &checkpoint->tensor[i];
  }
  return NULL;
}

const char *checkpoint_text(const Checkpoint *checkpoint, const char *key) {
  for (size_t i = 0; i < checkpoint->texts; i++) {
    if (!strcmp(checkpoint->text[i].key, key)) return checkpoint->text[i].value;
  }
  return NULL;
}

const char *checkpoint_need_text(const Checkpoint *checkpoint, const char *key, const char *what,
                                 Error *error) {
  const char *text = checkpoint_text(checkpoint, key);
  if (!text) error_set(error, FAIL_INPUT, "no \"%s\" in the metadata: not %s", key, what);
  return text;
}

bool checkpoint_read_number(const Checkpoint *checkpoint, const char *key, double *value,
                            Error *error) {
  const char *text = checkpoint_text(checkpoint, key);
  char *end = NULL;
  /* as "%.17g" writes them */
  bool plain = text && *text && !text[strspn(text, "0123456789+-.einf")];
  *value = plain ? strtod(text, &end) : NAN;
  if (plain && !*end && !isnan(*value)) return true;
  return error_set(error, FAIL_INPUT, "\"%s\" in the metadata %s%.40s, expected a number", key,
                   text ? "is " : "is missing", text ? text : "");
}

bool checkpoint_read_whole(const Checkpoint *checkpoint, const char *key, int64_t low, int64_t high,
                           int64_t *value, Error *error) {
  double number;
  if (!checkpoint_read_number(checkpoint, key, &number, error)) return false;
  bool inside = number >= (double)low && number <= (double)high && number == trunc(number);
  *value = inside ? (int64_t)number : low;
  return inside || error_set(error, FAIL_INPUT,
                             "\"%s\" in the metadata is %.17g, expected a whole number from %lld "
                             "to %lld",
                             key, number, (long long)low, (long long)high);
}

/* "F32 [3, 5]" */
static const char *shape_text(char text[128], const CheckpointTensor *tensor) {
  int at = snprintf(text, 128, "%s [", checkpoint_type_name(tensor->type));
  for (int i = 0; i < tensor->rank; i++)
    at +=
        snprintf(text + at, 128 - (size_t)at, "%s%lld", i ? ", " : "", (long long)tensor->shape[i]);
  snprintf(text + at, 128 - (size_t)at, "]");
  return text;
}

const void *checkpoint_need_vector(const Checkpoint *checkpoint, const char *name,
                                   CheckpointType type, int64_t count, Error *error) {
  const CheckpointTensor *tensor = checkpoint_tensor(checkpoint, name);
  char found[128];
  if (tensor && tensor->type == type && tensor->rank == 1 && tensor->shape[0] == count)
    return tensor->data;
  error_set(error, FAIL_INPUT, "tensor %s %s%s, expected %s [%lld]", name,
            tensor ? "is " : "is missing", tensor ? shape_text(found, tensor) : "",
            checkpoint_type_name(type), (long long)count);
  return NULL;
}

void checkpoint_add_config(Checkpoint *checkpoint, const char *key, const ConfigField *fields,
                           size_t count, const void *values) {
  JsonText text = { 0 };
  config_write_object(fields, count, values, NULL, &text);
  checkpoint_add_text(checkpoint, key, text.text);
  json_text_free(&text);
}

bool checkpoint_read_config(const Checkpoint *checkpoint, const char *key,
                            const ConfigField *fields, size_t count, void *values, const char *what,
                            Error *error) {
  Config config;
  config_init(&config, fields, count, values);
  const char *text = checkpoint_need_text(checkpoint, key, what, error);
  Json *json = text ? json_parse(text, strlen(text), error) : NULL;
  bool done = json && config_read(&config, json, "checkpoint", error);
  json_free(json);
  if (!done) error_blame(error, FAIL_INPUT);
  return done;
}

/* ---- saving ---------------------------------------------------------------------------------- */

typedef struct {
  CheckpointTensor *tensor;
  size_t begin, end; /* bytes of the data part */
} Span;

static int compare_texts(const void *a, const void *b) {
  return strcmp(((const CheckpointText *)a)->key, ((const CheckpointText *)b)->key);
}

static int compare_names(const void *a, const void *b) {
  return strcmp(((const Span *)a)->tensor->name, ((const Span *)b)->tensor->name);
}

static int compare_places(const void *a, const void *b) {
  size_t x = types[((const Span *)a)->tensor->type].size;
  size_t y = types[((const Span *)b)->tensor->type].size;
  return x != y ? (x < y) - (x > y) : compare_names(a, b);
}

/* The tensors in the order of their data. */
static Span *place_tensors(const Checkpoint *checkpoint) {
  Span *span = arena_array(checkpoint->arena, Span, checkpoint->tensors + 1);
  for (size_t i = 0; i < checkpoint->tensors; i++) span[i].tensor = &checkpoint->tensor[i];
  sort(span, checkpoint->tensors, sizeof *span, compare_places);
  size_t at = 0;
  for (size_t i = 0; i < checkpoint->tensors; i++) {
    span[i].begin = at;
    span[i].end = at += checkpoint_bytes(span[i].tensor);
  }
  return span;
}

static void put_metadata(const Checkpoint *checkpoint, JsonText *header) {
  Checkpoint all = { .arena = checkpoint->arena };
  char digits[DIGITS + 1];
  append_text(&all, "format", arena_text(all.arena, "diffrl-%d", FORMAT));
  append_text(&all, "checksum", zeros);
  for (size_t i = 0; i < checkpoint->tensors; i++) {
    const CheckpointTensor *tensor = &checkpoint->tensor[i];
    checksum(tensor->data, checkpoint_bytes(tensor), digits);
    append_text(&all, arena_text(all.arena, "%s%s", sum_prefix, tensor->name), digits);
  }
  for (size_t i = 0; i < checkpoint->texts; i++)
    append_text(&all, checkpoint->text[i].key, checkpoint->text[i].value);
  sort(all.text, all.texts, sizeof *all.text, compare_texts);
  json_open(header, "__metadata__", '{');
  for (size_t i = 0; i < all.texts; i++) json_put_text(header, all.text[i].key, all.text[i].value);
  json_close(header, '}');
}

static void put_tensor(JsonText *header, const Span *span) {
  json_open(header, span->tensor->name, '{');
  json_put_text(header, "dtype", types[span->tensor->type].name);
  json_open(header, "shape", '[');
  for (int i = 0; i < span->tensor->rank; i++)
    json_put_integer(header, NULL, span->tensor->shape[i]);
  json_close(header, ']');
  json_open(header, "data_offsets", '[');
  json_put_integer(header, NULL, (int64_t)span->begin);
  json_put_integer(header, NULL, (int64_t)span->end);
  json_close(header, ']');
  json_close(header, '}');
}

/* All that precedes the data: length, header, padding; its size in *bytes.
 * The mark is found nowhere else, since inside a text its quotes would be escaped. */
static char *make_head(const Checkpoint *checkpoint, const Span *span, size_t *bytes) {
  size_t count = checkpoint->tensors;
  Span *sorted = arena_array(checkpoint->arena, Span, count + 1);
  memcpy(sorted, span, count * sizeof *span);
  sort(sorted, count, sizeof *sorted, compare_names);
  JsonText header = { 0 };
  json_open(&header, NULL, '{');
  put_metadata(checkpoint, &header);
  for (size_t i = 0; i < count; i++) put_tensor(&header, &sorted[i]);
  json_close(&header, '}');

  size_t padded = (header.length + 7) / 8 * 8;
  *bytes = PREFIX + padded;
  char *head = arena_alloc(checkpoint->arena, *bytes + 1), digits[DIGITS + 1];
  memset(head, ' ', *bytes);
  memcpy(head, &padded, PREFIX);
  memcpy(head + PREFIX, header.text, header.length);
  json_text_free(&header);
  checksum(head, *bytes, digits);
  char *mark = memmem(head, *bytes, sum_mark, sizeof sum_mark - 1);
  memcpy(mark + sizeof sum_mark - 1, digits, DIGITS);
  return head;
}

bool checkpoint_save(const Checkpoint *checkpoint, const char *path, Error *error) {
  ArenaMark mark = arena_mark(checkpoint->arena);
  Span *span = place_tensors(checkpoint);
  size_t count = checkpoint->tensors, head_bytes;
  char *head = make_head(checkpoint, span, &head_bytes);
  FilePiece *piece = arena_array(checkpoint->arena, FilePiece, count + 1);
  piece[0] = (FilePiece){ head, head_bytes };
  for (size_t i = 0; i < count; i++)
    piece[1 + i] = (FilePiece){ span[i].tensor->data, span[i].end - span[i].begin };
  bool done = head_bytes - PREFIX > MAX_HEADER
                  ? error_set(error, FAIL_RUNNING,
                              "%s: cannot be written: names and texts need %zu bytes, 1 MB is the "
                              "limit",
                              path, head_bytes)
                  : file_write_pieces(path, piece, count + 1, error);
  arena_reset(checkpoint->arena, mark);
  return done;
}

/* ---- loading --------------------------------------------------------------------------------- */

typedef struct {
  int fd;
  size_t head_bytes, data_bytes;
  char *head; /* [head_bytes], zero-terminated */
  bool looks; /* a damaged tensor is no reason to stop */
} Source;

static bool read_at(int fd, void *data, size_t bytes, size_t at) {
  char *p = data;
  while (bytes) {
    ssize_t got = pread(fd, p, bytes < 1 << 30 ? bytes : 1 << 30, (off_t)at);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    p += got, at += (size_t)got, bytes -= (size_t)got;
  }
  return true;
}

static bool open_source(Source *source, Arena *arena, const char *path, Error *error) {
  struct stat info;
  size_t length, memory = (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
  const int how = O_RDONLY | O_CLOEXEC | O_NONBLOCK;
  while ((source->fd = open(path, how)) < 0 && errno == EINTR) {}
  if (source->fd < 0 || fstat(source->fd, &info) != 0)
    return error_set(error, FAIL_INPUT, "cannot be opened: %s", strerror(errno));
  if (!S_ISREG(info.st_mode)) return error_set(error, FAIL_INPUT, "not a regular file");
  if (file_is_lfs_pointer(path)) return file_fail_lfs_pointer(error);
  size_t size = (size_t)info.st_size;
  if (size < PREFIX + 2 || !read_at(source->fd, &length, PREFIX, 0))
    return error_set(error, FAIL_INPUT, "not a safetensors file: only %zu bytes", size);
  if (length < 2 || length > MAX_HEADER)
    return error_set(error, FAIL_INPUT,
                     "not a safetensors file: header length %zu, expected 2 to 1048576", length);
  if (length > size - PREFIX)
    return error_set(error, FAIL_INPUT, "cut short: %zu bytes, the header alone needs %zu", size,
                     length + PREFIX);
  if (size > memory) return error_set(error, FAIL_INPUT, "larger than this machine's memory");
  source->head_bytes = PREFIX + length;
  source->data_bytes = size - source->head_bytes;
  source->head = arena_alloc(arena, source->head_bytes + 1);
  if (!read_at(source->fd, source->head, source->head_bytes, 0) || source->head[PREFIX] != '{')
    return error_set(error, FAIL_INPUT, "not a safetensors file: its header is not a JSON object");
  return true;
}

/* A whole number from 0 to 2^53, beyond which JSON's numbers are not exact. */
static bool whole(const Json *value, int64_t *out) {
  double number = json_number(value, -1);
  if (!(number >= 0 && number <= 0x1p53) || number != (double)(int64_t)number) return false;
  *out = (int64_t)number;
  return true;
}

static bool read_type(const Json *dtype, CheckpointType *type, Error *error) {
  const char *name = json_text(dtype);
  for (int i = 0; i < TYPES && name; i++) {
    if (strcmp(types[i].name, name)) continue;
    *type = (CheckpointType)i;
    return true;
  }
  return error_set(error, FAIL_INPUT, "dtype %.20s; F16, F32, F64, U8 and I64 can be read",
                   name ? name : "is missing");
}

static bool read_shape(const Json *shape, CheckpointTensor *tensor, Error *error) {
  if (!json_is_array(shape) || json_count(shape) > MAX_RANK)
    return error_set(error, FAIL_INPUT, "its shape is not a list of at most %d sizes", MAX_RANK);
  size_t bytes = types[tensor->type].size;
  for (const Json *side = json_first(shape); side; side = json_next(side)) {
    int64_t *size = &tensor->shape[tensor->rank++];
    if (!whole(side, size) || __builtin_mul_overflow(bytes, (size_t)*size, &bytes))
      return error_set(error, FAIL_INPUT, "its shape has an impossible size");
  }
  return true;
}

static bool read_entry(const Json *entry, size_t data_bytes, Span *span, Error *error) {
  CheckpointTensor *tensor = span->tensor;
  if (!read_type(json_get(entry, "dtype"), &tensor->type, error) ||
      !read_shape(json_get(entry, "shape"), tensor, error))
    return false;
  const Json *offsets = json_get(entry, "data_offsets"), *first = json_first(offsets);
  int64_t begin, end;
  if (!json_is_array(offsets) || json_count(offsets) != 2 || !whole(first, &begin) ||
      !whole(json_next(first), &end) || begin > end)
    return error_set(error, FAIL_INPUT, "data_offsets is not [begin, end]");
  span->begin = (size_t)begin, span->end = (size_t)end;
  if (span->end > data_bytes)
    return error_set(error, FAIL_INPUT,
                     "the file is cut short: %zu bytes of data, needed up to %zu", data_bytes,
                     span->end);
  return span->end - span->begin == checkpoint_bytes(tensor) ||
         error_set(error, FAIL_INPUT, "its shape needs %zu bytes, its data_offsets give %zu",
                   checkpoint_bytes(tensor), span->end - span->begin);
}

static int compare_spans(const void *a, const void *b) {
  const Span *x = a, *y = b; /* a tensor without elements may share its place: it comes first */
  return x->begin != y->begin ? (x->begin > y->begin) - (x->begin < y->begin)
                              : (x->end > y->end) - (x->end < y->end);
}

/* The reference rule: sorted by place, tensors cover the data without hole or overlap. */
static bool check_cover(Span *span, size_t count, size_t data_bytes, Error *error) {
  size_t at = 0;
  sort(span, count, sizeof *span, compare_spans);
  for (size_t i = 0; i < count; at = span[i++].end) {
    if (span[i].begin != at)
      return error_set(error, FAIL_INPUT, "tensor \"%.100s\" begins at byte %zu, expected %zu",
                       span[i].tensor->name, span[i].begin, at);
  }
  return at == data_bytes ||
         error_set(error, FAIL_INPUT, "%zu bytes of data belong to no tensor", data_bytes - at);
}

static bool read_entries(Checkpoint *checkpoint, const Json *root, size_t data_bytes, Span *span,
                         Error *error) {
  checkpoint->tensor_room = json_count(root);
  checkpoint->tensor = arena_array(checkpoint->arena, CheckpointTensor, checkpoint->tensor_room);
  for (const Json *entry = json_first(root); entry; entry = json_next(entry)) {
    if (!strcmp(json_key(entry), "__metadata__")) continue;
    CheckpointTensor *tensor = append_tensor(checkpoint);
    tensor->name = arena_text(checkpoint->arena, "%s", json_key(entry));
    span->tensor = tensor;
    if (!read_entry(entry, data_bytes, span++, error))
      return error_prefix(error, "tensor \"%.100s\"", tensor->name);
  }
  return true;
}

static bool read_texts(Checkpoint *checkpoint, const Json *metadata, Error *error) {
  if (metadata && !json_is_object(metadata))
    return error_set(error, FAIL_INPUT, "__metadata__ is not an object of texts");
  for (const Json *entry = json_first(metadata); entry; entry = json_next(entry)) {
    if (!json_text(entry))
      return error_set(error, FAIL_INPUT, "__metadata__ \"%.100s\" is not a text", json_key(entry));
    if (!reserved(json_key(entry))) append_text(checkpoint, json_key(entry), json_text(entry));
  }
  return true;
}

/* Whether the file is one of ours: it has our format or a checksum like ours, so that one damaged
 * byte cannot pass it off as another writer's. */
static bool check_format(const Json *metadata, bool *ours, Error *error) {
  const char *format = json_text(json_get(metadata, "format"));
  const char *digits = json_text(json_get(metadata, "checksum"));
  bool named = format && starts_with(format, "diffrl-");
  long version = named ? strtol(format + strlen("diffrl-"), NULL, 10) : 0;
  *ours = named || (digits && strlen(digits) == DIGITS);
  if (version > FORMAT)
    return error_set(error, FAIL_INPUT,
                     "format %.40s is newer than this diffrl reads (diffrl-%d): use a later one",
                     format, FORMAT);
  return !named || version == FORMAT ||
         error_set(error, FAIL_INPUT, "unknown format %.40s", format);
}

static bool check_head(Source *source, const Json *metadata, Error *error) {
  const char *expected = json_text(json_get(metadata, "checksum"));
  char *mark = memmem(source->head, source->head_bytes, sum_mark, sizeof sum_mark - 1);
  char *digits = mark ? mark + sizeof sum_mark - 1 : NULL, found[DIGITS + 1];
  if (!expected || !mark || digits + DIGITS > source->head + source->head_bytes)
    return error_set(error, FAIL_INPUT, "its header has no checksum: the file is damaged");
  memcpy(digits, zeros, DIGITS);
  checksum(source->head, source->head_bytes, found);
  return !strcmp(found, expected) ||
         error_set(error, FAIL_INPUT,
                   "the checksum of the header does not match: the file was changed or damaged "
                   "after it was written; use another checkpoint");
}

static bool read_data(Checkpoint *checkpoint, const Source *source, const Span *span,
                      const Json *sums, Error *error) {
  for (size_t i = 0; i < checkpoint->tensors; i++) {
    CheckpointTensor *tensor = span[i].tensor;
    size_t bytes = span[i].end - span[i].begin;
    tensor->data = arena_alloc(checkpoint->arena, bytes);
    if (!read_at(source->fd, tensor->data, bytes, source->head_bytes + span[i].begin))
      return error_set(error, FAIL_INPUT, "tensor \"%.100s\" cannot be read", tensor->name);
    if (!sums) continue;
    char found[DIGITS + 1], *key = arena_text(checkpoint->arena, "%s%s", sum_prefix, tensor->name);
    const char *expected = json_text(json_get(sums, key));
    checksum(tensor->data, bytes, found);
    tensor->verdict = !expected                 ? CHECKSUM_MISSING
                      : strcmp(found, expected) ? CHECKSUM_WRONG
                                                : CHECKSUM_GOOD;
    if (tensor->verdict != CHECKSUM_GOOD && !source->looks)
      return error_set(
          error, FAIL_INPUT,
          "the checksum of tensor \"%.100s\" %s: the file was changed or damaged after "
          "it was written; use another checkpoint",
          tensor->name, expected ? "does not match" : "is missing");
  }
  return true;
}

static void drop_file(void *fd) {
  if (*(int *)fd >= 0) close(*(int *)fd);
}

static bool read_source(Checkpoint *checkpoint, Source *source, bool *ours, Error *error) {
  Json *root = json_parse(source->head + PREFIX, source->head_bytes - PREFIX, error);
  if (!root) return error_prefix(error, "its header");
  ArenaHold hold;
  json_hold(checkpoint->arena, &hold, root);
  const Json *metadata = json_get(root, "__metadata__");
  Span *span = arena_array(checkpoint->arena, Span, json_count(root) + 1);
  bool done = check_format(metadata, ours, error) && read_texts(checkpoint, metadata, error) &&
              (!*ours || check_head(source, metadata, error)) &&
              read_entries(checkpoint, root, source->data_bytes, span, error) &&
              check_cover(span, checkpoint->tensors, source->data_bytes, error) &&
              read_data(checkpoint, source, span, *ours ? metadata : NULL, error);
  arena_let_go(checkpoint->arena, &hold);
  json_free(root);
  return done;
}

static bool load(Checkpoint *checkpoint, const char *path, bool looks, bool *verified,
                 Error *error) {
  CHECK(!checkpoint->tensors && !checkpoint->texts, "checkpoint_load: the set is not empty");
  ArenaMark mark = arena_mark(checkpoint->arena);
  Source source = { .fd = -1, .looks = looks };
  ArenaHold hold;
  arena_hold(checkpoint->arena, &hold, drop_file, &source.fd);
  bool ours = false, done = open_source(&source, checkpoint->arena, path, error) &&
                            read_source(checkpoint, &source, &ours, error);
  arena_let_go(checkpoint->arena, &hold);
  drop_file(&source.fd);
  if (!done) {
    arena_reset(checkpoint->arena, mark);
    checkpoint_init(checkpoint, checkpoint->arena);
    error_prefix(error, "%s", path);
  }
  if (verified) *verified = done && ours;
  return done;
}

bool checkpoint_load(Checkpoint *checkpoint, const char *path, bool *verified, Error *error) {
  return load(checkpoint, path, false, verified, error);
}
bool checkpoint_inspect(Checkpoint *checkpoint, const char *path, bool *verified, Error *error) {
  return load(checkpoint, path, true, verified, error);
}
