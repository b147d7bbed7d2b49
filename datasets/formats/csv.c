/* csv.c -- a table of text as a store: a header of names, then a line a step.
 *
 * The array `observations` is the column of that name, or those named obs_0, obs_1, .. in order
 * (also observation_0, observations[0], obs.0); actions likewise; rewards may be `reward`.  true
 * and false are 1 and 0. */
#include "core/error.h"
#include "datasets/cache.h"
#include "datasets/formats/store.h"
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>

enum { MOST_COLUMNS = 4096, MOST_FIELD = 64 };

typedef struct {
  int columns;
  int64_t rows;
  uint64_t body; /* where the lines begin */
  char (*name)[STORE_NAME];
} Table;

/* Which columns an array is made of, and where reading stands. */
typedef struct {
  int64_t row;
  uint64_t at;
  int place[MOST_COLUMNS]; /* [columns of the table] of each column in a row; -1: not ours */
} Reading;

/* ---- lines ----------------------------------------------------------------------------------- */

static uint64_t line_end(const Store *store, uint64_t at) {
  const char *end = memchr(store->text + at, '\n', store->bytes - at);
  return end ? (uint64_t)(end - store->text) : store->bytes;
}

/* The next field of a line that ends at `end`, without blanks around it; false behind the last. */
static bool field(const Store *store, uint64_t *at, uint64_t end, char *text, size_t size) {
  if (*at > end) return false;
  const char *comma = memchr(store->text + *at, ',', end - *at);
  uint64_t stop = comma ? (uint64_t)(comma - store->text) : end, from = *at, to = stop;
  while (from < to && isspace((unsigned char)store->text[from])) from++;
  while (to > from && isspace((unsigned char)store->text[to - 1])) to--;
  if (to - from >= 2 && store->text[from] == '"' && store->text[to - 1] == '"') from++, to--;
  size_t length = to - from < size - 1 ? to - from : size - 1;
  memcpy(text, store->text + from, length), text[length] = '\0';
  *at = stop + 1;
  return true;
}

static bool blank(const Store *store, uint64_t at, uint64_t end) {
  while (at < end && isspace((unsigned char)store->text[at])) at++;
  return at == end;
}

/* ---- the file -------------------------------------------------------------------------------- */

static bool recognises(const char *path, const unsigned char *head, size_t length) {
  (void)path;
  size_t end = strcspn((const char *)head, "\n"), commas = 0, letters = 0;
  if (length > 3 && !memcmp(head, "\xef\xbb\xbf", 3)) return true;
  for (size_t i = 0; i < end; i++) {
    if (head[i] < ' ' && head[i] != '\t' && head[i] != '\r') return false;
    commas += head[i] == ',', letters += isalpha(head[i]) != 0;
  }
  return end > 0 && end <= length && commas > 0 && letters > 0 && head[0] != '{';
}

static bool open_file(Store *store, const char *path, Error *error) {
  (void)path;
  store->text = mmap(NULL, store->bytes, PROT_READ, MAP_PRIVATE, store->fd, 0);
  if (store->text != MAP_FAILED) return true;
  store->text = NULL;
  return error_set(error, FAIL_INPUT, "cannot be read: %s", strerror(errno));
}

static bool look(Store *store, Error *error) {
  Table *t = store->own = calloc(1, sizeof *t);
  if (t) t->name = calloc(MOST_COLUMNS, sizeof *t->name);
  if (!t || !t->name) return error_set(error, FAIL_RUNNING, "out of memory");
  bool mark = store->bytes > 3 && !memcmp(store->text, "\xef\xbb\xbf", 3);
  uint64_t end = line_end(store, 0), at = mark ? 3 : 0;
  while (t->columns < MOST_COLUMNS && field(store, &at, end, t->name[t->columns], STORE_NAME))
    t->columns++;
  if (at <= end)
    return error_set(error, FAIL_INPUT, "more than %d columns in its header", MOST_COLUMNS);
  t->body = at = end < store->bytes ? end + 1 : end;
  for (; at < store->bytes; at = end + 1) {
    end = line_end(store, at);
    t->rows += !blank(store, at, end);
  }
  return true;
}

/* ---- columns --------------------------------------------------------------------------------- */

static const char *const other_names[][3] = {
  { "observations", "observation", "obs" },
  { "actions", "action", "act" },
  { "rewards", "reward", "r" },
  { "next_observations", "next_observation", "next_obs" },
  { "terminals", "terminal", "terminated" },
  { "timeouts", "timeout", "truncated" },
};

/* "obs_3" with the stem "obs": 3; "obs" itself: 0; -1: another. */
static int64_t place_of(const char *name, const char *stem) {
  size_t length = strlen(stem);
  char *end;
  if (strncasecmp(name, stem, length)) return -1;
  if (!name[length]) return 0;
  if (!strchr("_.[", name[length]) || !isdigit((unsigned char)name[length + 1])) return -1;
  long long place = strtoll(name + length + 1, &end, 10);
  bool whole = name[length] == '[' ? !strcmp(end, "]") : !*end;
  return whole && place < MOST_COLUMNS ? place : -1;
}

/* Which columns `name` means: place[i] for each; how many, -1 if they leave one out. */
static int64_t columns_of(const Table *t, const char *name, int *place) {
  const char *stem[3] = { name, NULL, NULL };
  for (size_t i = 0; i < sizeof other_names / sizeof *other_names; i++)
    if (!strcmp(name, other_names[i][0])) stem[1] = other_names[i][1], stem[2] = other_names[i][2];
  for (int i = 0; i < t->columns; i++) {
    place[i] = strcmp(t->name[i], name) ? -1 : 0;
    if (!place[i]) {
      for (int k = i + 1; k < t->columns; k++) place[k] = -1;
      return 1;
    }
  }
  for (int s = 0; s < 3 && stem[s]; s++) {
    int64_t count = 0, most = -1;
    for (int i = 0; i < t->columns; i++) {
      place[i] = (int)place_of(t->name[i], stem[s]);
      count += place[i] >= 0;
      most = place[i] > most ? place[i] : most;
    }
    if (count) return most == count - 1 ? count : -1;
  }
  return 0;
}

static MemberKind member(Store *store, const char *name) {
  int place[MOST_COLUMNS];
  return columns_of(store->own, name, place) ? MEMBER_ARRAY : MEMBER_NONE;
}

static bool list(Store *store, const char *group, int64_t i, char name[STORE_NAME]) {
  const Table *t = store->own;
  if (*group || i >= t->columns) return false;
  memcpy(name, t->name[i], STORE_NAME);
  return true;
}

static bool array_open(Store *store, const char *name, bool flag, Array *array, Error *error) {
  const Table *t = store->own;
  Reading *r = array->state = calloc(1, sizeof *r);
  (void)flag;
  if (!r) return error_set(error, FAIL_RUNNING, "out of memory");
  array->columns = columns_of(t, name, r->place);
  if (array->columns <= 0)
    return error_set(error, FAIL_INPUT,
                     array->columns ? "its columns are not numbered 0, 1, 2, .. each once"
                                    : "no such column");
  array->rank = array->columns > 1 ? 2 : 1;
  array->rows = t->rows, array->width = 8, r->at = t->body;
  return true;
}

static bool number(const char *text, float *out) {
  char *end;
  *out = strtof(text, &end);
  if (*text && !*end) return true;
  *out = !strcasecmp(text, "true");
  return *out == 1 || !strcasecmp(text, "false");
}

static bool line_read(const Array *array, const Reading *r, uint64_t end, float *out,
                      Error *error) {
  const Store *store = array->store;
  const Table *t = store->own;
  char text[MOST_FIELD];
  uint64_t at = r->at;
  int i = 0;
  for (; field(store, &at, end, text, sizeof text); i++) {
    if (i >= t->columns || r->place[i] < 0) continue;
    if (!number(text, &out[r->place[i]]))
      return error_set(error, FAIL_INPUT, "row %lld, column %s is \"%s\"; expected a number",
                       (long long)r->row, t->name[i], text);
  }
  if (i == t->columns) return true;
  return error_set(error, FAIL_INPUT, "row %lld has %d fields; expected %d as in the header",
                   (long long)r->row, i, t->columns);
}

static bool array_read(Array *array, int64_t first, int64_t rows, float *out, Error *error) {
  const Store *store = array->store;
  Reading *r = array->state;
  if (first < r->row) r->row = 0, r->at = ((Table *)store->own)->body;
  while (r->at < store->bytes && r->row < first + rows) {
    uint64_t end = line_end(store, r->at);
    if (!blank(store, r->at, end)) {
      if (r->row >= first &&
          !line_read(array, r, end, out + (r->row - first) * array->columns, error))
        return false;
      r->row++;
    }
    r->at = end + 1;
  }
  return r->row == first + rows || error_set(error, FAIL_INPUT, "it changed while it was read");
}

static void array_close(Array *array) {
  free(array->state);
  array->state = NULL;
}

static void end_table(Store *store) {
  Table *t = store->own;
  if (t) free(t->name);
  free(t);
}

const StoreKind store_csv = { "csv",      recognises, open_file, look,        member, list,
                              array_open, array_read, NULL,      array_close, NULL,   end_table };
