/* json.h -- reading and writing JSON; the only door to cJSON.
 *
 * Values are read-only trees owned by the Json they came from.  Parsing limits size and depth and
 * refuses duplicate keys.  Writing goes to a growing text with stable number formats, so equal
 * values are equal bytes. */
#ifndef CORE_JSON_H
#define CORE_JSON_H
#include "core/arena.h"
#include "core/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef struct cJSON Json;

/* text: `length` bytes, not necessarily terminated.  `//` and block comments are allowed. */
Json *json_parse(const char *text, size_t length, Error *error);
/* NULL for what is no JSON, of which nothing need be said; not for want of memory, which ends the
 * program (memory_out): a text that cannot be read just now is not one that says nothing. */
Json *json_parse_if(const char *text, size_t length);
Json *json_parse_file(const char *path, Error *error); /* at most 16 MB */
void json_free(Json *json);                            /* json may be NULL; roots only */

/* To allocate from `arena` while one holds `json` (arena_hold). */
void json_hold(Arena *arena, ArenaHold *hold, Json *json);

const Json *json_get(const Json *object, const char *key); /* NULL if absent */
const char *json_text(const Json *value);                  /* NULL if not a string */
double json_number(const Json *value, double otherwise);   /* otherwise if not a number */
bool json_bool(const Json *value, bool otherwise);
/* false, and nothing is set, if it is not a whole number from low to high (within 2^53) */
bool json_whole(const Json *value, int64_t low, int64_t high, int64_t *whole);
bool json_is_number(const Json *value);
bool json_is_object(const Json *value);
bool json_is_array(const Json *value);
bool json_is_null(const Json *value);
const Json *json_first(const Json *container); /* first member or element, NULL if none */
const Json *json_next(const Json *value);      /* next one */
const char *json_key(const Json *member);      /* its key; NULL for array elements */
size_t json_count(const Json *container);

/* A number as it is written. */
enum { JSON_NUMBER_TEXT = 40 };
const char *json_number_text(double value, char text[JSON_NUMBER_TEXT]);

/* Writing: an object or array is opened, filled in order, closed.  key is NULL inside arrays.
 * Non-finite numbers are written as null.  Doubles use the fewest digits that read back equal. */
typedef struct {
  char *text; /* zero-terminated; NULL before the first write */
  size_t length, capacity;
  bool comma;
  Arena *arena; /* where text grows; NULL: the heap, and a program that gets no more of it ends */
} JsonText;

void json_open(JsonText *out, const char *key, char bracket /* '{' or '[' */);
void json_close(JsonText *out, char bracket /* '}' or ']' */);
void json_put_text(JsonText *out, const char *key, const char *value); /* NULL value: null */
void json_put_number(JsonText *out, const char *key, double value);
void json_put_integer(JsonText *out, const char *key, int64_t value);
void json_put_bool(JsonText *out, const char *key, bool value);
void json_put_raw(JsonText *out, const char *key, const char *json); /* text that is JSON */
void json_text_free(JsonText *out);

#endif
