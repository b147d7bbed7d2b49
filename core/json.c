/* json.c -- JSON through cJSON, with the checks that cJSON leaves to its caller.
 *
 * Before parsing, one pass over the bytes blanks out comments (so that lines and columns stay
 * true) and refuses deep nesting and control characters; after it, a walk over the tree refuses
 * duplicate keys and numbers beyond the range of a double. */
#include "core/json.h"
#include "core/check.h"
#include "core/file.h"
#include "core/sort.h"
#include <cJSON.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 64, MAX_BYTES = 16 << 20 };

/* ---- before parsing -------------------------------------------------------------------------- */

static bool fail_at(Error *error, const char *text, const char *at, const char *what) {
  int line = 1;
  const char *start = text;
  for (const char *p = text; p < at; p++) {
    if (*p == '\n') line++, start = p + 1;
  }
  return error_set(error, FAIL_INPUT, "line %d, column %d: %s", line, (int)(at - start) + 1, what);
}

/* The byte after a comment that starts at p, every byte of it but the line ends made a space;
 * NULL if a block comment never ends. */
static char *blank_comment(char *p, const char *end) {
  bool block = p[1] == '*';
  char *stop =
      block ? memmem(p + 2, (size_t)(end - p - 2), "*/", 2) : memchr(p, '\n', (size_t)(end - p));
  if (!stop && block) return NULL;
  stop = !stop ? p + (end - p) : block ? stop + 2 : stop;
  for (; p < stop; p++) {
    if (*p != '\n') *p = ' ';
  }
  return stop;
}

/* The closing quote of the string that opens at p; NULL and a message if it is malformed. */
static char *skip_string(const char *text, char *p, const char *end, Error *error) {
  char *open = p++;
  for (; p < end && *p != '"'; p++) {
    if ((unsigned char)*p < 0x20) {
      fail_at(error, text, p, "a raw control character in a string (a missing quote?)");
      return NULL;
    }
    if (*p != '\\') continue;
    if (end - p >= 6 && memcmp(p, "\\u0000", 6) == 0) {
      fail_at(error, text, p, "a zero character in a string");
      return NULL;
    }
    p++;
  }
  if (p < end) return p;
  fail_at(error, text, open, "this string is never closed");
  return NULL;
}

/* Blank the comments of text[0 .. length), check strings and depth. */
static bool prepare(char *text, size_t length, Error *error) {
  const char *end = text + length;
  int depth = 0;
  for (char *p = text; p < end; p++) {
    if (*p == '"') {
      if (!(p = skip_string(text, p, end, error))) return false;
    } else if (*p == '/' && p + 1 < end && (p[1] == '/' || p[1] == '*')) {
      char *after = blank_comment(p, end);
      if (!after) return fail_at(error, text, p, "this comment is never closed");
      p = after - 1;
    } else if (*p == '{' || *p == '[') {
      if (++depth > MAX_DEPTH) return fail_at(error, text, p, "nested more than 64 deep");
    } else if (*p == '}' || *p == ']') {
      depth--;
    } else if (*p == '\0') {
      return fail_at(error, text, p, "a zero byte: this is not a text file");
    }
  }
  return true;
}

/* ---- after parsing --------------------------------------------------------------------------- */

static int compare_keys(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorted, so that a file of a million keys costs no more than a sort. */
static bool unique_keys(const cJSON *object, Error *error) {
  size_t count = json_count(object), i = 0;
  const char **key = malloc((count + 1) * sizeof *key);
  if (!key) return error_memory(error, (count + 1) * sizeof *key);
  for (const cJSON *member = object->child; member; member = member->next)
    key[i++] = member->string;
  sort(key, count, sizeof *key, compare_keys);
  bool unique = true;
  for (i = 1; i < count && unique; i++) {
    if (strcmp(key[i - 1], key[i]) == 0)
      unique = error_set(error, FAIL_INPUT, "the key \"%.100s\" is there twice", key[i]);
  }
  free(key);
  return unique;
}

static bool check_values(const cJSON *value, Error *error) {
  if (cJSON_IsNumber(value) && !isfinite(value->valuedouble))
    return error_set(error, FAIL_INPUT, "a number beyond the range of a double%s%.100s",
                     value->string ? " at key " : "", value->string ? value->string : "");
  if (cJSON_IsObject(value) && !unique_keys(value, error)) return false;
  for (const cJSON *child = value->child; child; child = child->next) {
    if (!check_values(child, error)) return false;
  }
  return true;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* cJSON does not say that memory ran out; errno does. */
static cJSON *parse(const char *copy, size_t length, Error *error) {
  const char *stop = copy;
  errno = 0;
  cJSON *root = cJSON_ParseWithLengthOpts(copy, length + 1, &stop, true);
  if (!root && errno == ENOMEM)
    error_memory(error, 0);
  else if (!root)
    fail_at(error, copy, stop, "not JSON from here on");
  return root;
}

Json *json_parse(const char *text, size_t length, Error *error) {
  if (length > MAX_BYTES) {
    error_set(error, FAIL_INPUT, "%zu bytes of JSON; at most 16 MB are read", length);
    return NULL;
  }
  char *copy = malloc(length + 1);
  if (!copy) return error_memory(error, length + 1), NULL;
  if (length) memcpy(copy, text, length);
  copy[length] = '\0';
  cJSON *root = prepare(copy, length, error) ? parse(copy, length, error) : NULL;
  if (root && !check_values(root, error)) json_free(root), root = NULL;
  free(copy);
  return root;
}

Json *json_parse_if(const char *text, size_t length) {
  Error why = { 0 };
  Json *json = json_parse(text, length, &why);
  NEED_MEMORY(json || !why.memory);
  return json;
}

Json *json_parse_file(const char *path, Error *error) {
  FILE *file = fopen(path, "rb");
  int reason = errno;
  char *text = malloc(MAX_BYTES + 1);
  size_t length = file && text ? fread(text, 1, MAX_BYTES + 1, file) : 0;
  Json *json = NULL;
  if (file && ferror(file)) reason = errno;
  if (!text)
    error_memory(error, MAX_BYTES + 1);
  else if (!file || ferror(file))
    error_set(error, FAIL_INPUT, "cannot be read: %s", strerror(reason));
  else
    json = json_parse(text, length, error);
  if (file) fclose(file);
  free(text);
  if (!json && file_is_lfs_pointer(path)) file_fail_lfs_pointer(error);
  if (!json) error_prefix(error, "%s", path);
  return json;
}

void json_free(Json *json) { cJSON_Delete(json); }

static void drop(void *json) { json_free(json); }
void json_hold(Arena *arena, ArenaHold *hold, Json *json) { arena_hold(arena, hold, drop, json); }

const Json *json_get(const Json *object, const char *key) {
  return cJSON_IsObject(object) ? cJSON_GetObjectItemCaseSensitive(object, key) : NULL;
}

const char *json_text(const Json *value) {
  return cJSON_IsString(value) ? value->valuestring : NULL;
}

double json_number(const Json *value, double otherwise) {
  return cJSON_IsNumber(value) ? value->valuedouble : otherwise;
}

bool json_bool(const Json *value, bool otherwise) {
  return cJSON_IsBool(value) ? cJSON_IsTrue(value) : otherwise;
}

bool json_whole(const Json *value, int64_t low, int64_t high, int64_t *whole) {
  double number = json_number(value, NAN);
  if (!(number >= (double)low && number <= (double)high) || number != trunc(number)) return false;
  *whole = (int64_t)number;
  return true;
}

bool json_is_number(const Json *value) { return cJSON_IsNumber(value); }
bool json_is_object(const Json *value) { return cJSON_IsObject(value); }
bool json_is_array(const Json *value) { return cJSON_IsArray(value); }
bool json_is_null(const Json *value) { return cJSON_IsNull(value); }
const Json *json_first(const Json *container) { return container ? container->child : NULL; }
const Json *json_next(const Json *value) { return value->next; }
const char *json_key(const Json *member) { return member->string; }

size_t json_count(const Json *container) {
  size_t count = 0;
  for (const Json *child = json_first(container); child; child = child->next) count++;
  return count;
}

/* ---- writing --------------------------------------------------------------------------------- */

static char *with_room(const JsonText *out) {
  char *text = arena_alloc(out->arena, out->capacity);
  if (out->length) memcpy(text, out->text, out->length);
  return text;
}

static void append(JsonText *out, const char *bytes, size_t count) {
  if (out->length + count + 1 > out->capacity) {
    out->capacity = 2 * (out->length + count) + 256;
    out->text = out->arena ? with_room(out) : realloc(out->text, out->capacity);
    NEED_MEMORY(out->text);
  }
  memcpy(out->text + out->length, bytes, count);
  out->length += count;
  out->text[out->length] = '\0';
}

/* U+0080 to U+009F in UTF-8 */
static bool is_c1(const char *text) {
  return (unsigned char)text[0] == 0xc2 && ((unsigned char)text[1] & 0xe0) == 0x80;
}

static void append_quoted(JsonText *out, const char *text) {
  append(out, "\"", 1);
  for (; *text; text++) {
    char escape[8] = { *text };
    if (*text == '"' || *text == '\\') snprintf(escape, sizeof escape, "\\%c", *text);
    if (*text == '\n')
      snprintf(escape, sizeof escape, "\\n");
    else if ((unsigned char)*text < 0x20 || *text == 0x7f)
      snprintf(escape, sizeof escape, "\\u%04x", *text);
    else if (is_c1(text)) /* a terminal obeys these too */
      snprintf(escape, sizeof escape, "\\u%04x", (unsigned char)*++text);
    append(out, escape, strlen(escape));
  }
  append(out, "\"", 1);
}

void json_put_raw(JsonText *out, const char *key, const char *json) {
  if (out->comma) append(out, ",", 1);
  if (key) append_quoted(out, key), append(out, ":", 1);
  append(out, json, strlen(json));
  out->comma = true;
}

void json_open(JsonText *out, const char *key, char bracket) {
  json_put_raw(out, key, (char[]){ bracket, '\0' });
  out->comma = false;
}

void json_close(JsonText *out, char bracket) {
  append(out, &bracket, 1);
  out->comma = true;
}

void json_put_text(JsonText *out, const char *key, const char *value) {
  json_put_raw(out, key, value ? "" : "null");
  if (value) append_quoted(out, value);
}

const char *json_number_text(double value, char text[JSON_NUMBER_TEXT]) {
  strcpy(text, "null");
  if (fabs(value) < 0x1p53 && value == trunc(value)) {
    snprintf(text, JSON_NUMBER_TEXT, "%.0f", value);
  } else if (isfinite(value)) {
    for (int digits = 15; digits <= 17; digits++) {
      snprintf(text, JSON_NUMBER_TEXT, "%.*g", digits, value);
      if (strtod(text, NULL) == value) break;
    }
  }
  return text;
}

void json_put_number(JsonText *out, const char *key, double value) {
  char text[JSON_NUMBER_TEXT];
  json_put_raw(out, key, json_number_text(value, text));
}

void json_put_integer(JsonText *out, const char *key, int64_t value) {
  char text[32];
  snprintf(text, sizeof text, "%lld", (long long)value);
  json_put_raw(out, key, text);
}

void json_put_bool(JsonText *out, const char *key, bool value) {
  json_put_raw(out, key, value ? "true" : "false");
}

void json_text_free(JsonText *out) {
  if (!out->arena) free(out->text);
  *out = (JsonText){ 0 };
}
