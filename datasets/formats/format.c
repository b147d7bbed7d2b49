/* format.c -- the list, and what formats share: opening columns, dividing files into parts. */
#include "datasets/formats/format.h"
#include "core/names.h"
#include "core/sort.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* those that need more come first; plain rows are what is left */
static const Format *const formats[] = { &format_minari,  &format_robomimic, &format_maniskill,
                                         &format_ogbench, &format_dppo,      &format_rows };

const Format *format_find(Store *store, const Choice *choice) {
  size_t i = 0;
  while (!formats[i]->recognises(store, choice)) i++;
  return formats[i];
}

/* ---- columns --------------------------------------------------------------------------------- */

static bool path_join(char path[STORE_NAME], const char *group, const char *name, Error *error) {
  int n = snprintf(path, STORE_NAME, "%s%s%s", group, *group ? "/" : "", name);
  return n < STORE_NAME || error_set(error, FAIL_INPUT, "%s: too long a name", name);
}

static bool array_missing(const Reader *r, const char *group, const char *name, bool chosen,
                          Error *error) {
  char near[2 * STORE_NAME], path[STORE_NAME];
  if (!path_join(path, group, name, error)) return false;
  return error_set(error, chosen ? FAIL_USAGE : FAIL_INPUT, "%s: no such array%s%s", path,
                   store_nearest(r->store, group, name, near),
                   chosen ? "" : "; expected D4RL's layout, one row per step, or --map");
}

/* One array, or every number of a group in the order of the names. */
static bool joined_add(const Reader *r, const char *path, bool vector, bool flag, Joined *joined,
                       Error *error) {
  char name[STORE_NAME], inner[STORE_NAME];
  if (store_member(r->store, path) == MEMBER_GROUP && vector && r->format != &format_rows) {
    for (int64_t i = 0; r->store->kind->list(r->store, path, i, name); i++)
      if (*name && (!path_join(inner, path, name, error) ||
                    !joined_add(r, inner, vector, flag, joined, error)))
        return false;
    return joined->count > 0 || error_set(error, FAIL_INPUT, "%s: an empty group", path);
  }
  if (joined->count == MAX_JOINED)
    return error_set(error, FAIL_INPUT, "%s: more than %d arrays side by side", path, MAX_JOINED);
  Array *array = &joined->array[joined->count];
  if (!store_array(r->store, path, vector, flag, array, error)) return false;
  joined->count++, joined->columns += array->columns;
  if (array->rows == joined->array[0].rows) return true;
  return error_set(error, FAIL_INPUT, "%s: has %lld rows where %s has %lld", path,
                   (long long)array->rows, joined->array[0].name, (long long)joined->array[0].rows);
}

bool column_open(const Reader *r, const char *group, int c, const char *own, bool required,
                 Part *part, Error *error) {
  const char *chosen = r->choice->map[c], *list = *chosen ? chosen : own;
  Joined *joined = &part->column[c];
  joined->count = 0, joined->columns = 0;
  bool vector = c == CACHE_OBSERVATIONS || c == CACHE_ACTIONS || c == CACHE_NEXT_OBSERVATIONS;
  bool flag = c == CACHE_TERMINALS || c == CACHE_TIMEOUTS;
  while (list && *list) {
    char name[STORE_NAME], path[STORE_NAME];
    size_t length = strcspn(list, "+");
    if (length >= sizeof name) return error_set(error, FAIL_INPUT, "%s: too long a name", list);
    memcpy(name, list, length), name[length] = '\0';
    list += length + (list[length] == '+');
    if (!path_join(path, group, name, error)) return false;
    if (store_member(r->store, path) == MEMBER_NONE) {
      if (!*chosen && !required) return true;
      return array_missing(r, group, name, *chosen, error);
    }
    if (!joined_add(r, path, vector, flag, joined, error)) return false;
  }
  return true;
}

void part_close(Part *part) {
  if (part->borrowed) return;
  for (int c = 0; c < CACHE_ARRAYS; c++) {
    Joined *joined = &part->column[c];
    for (int i = 0; i < joined->count; i++) store_close(&joined->array[i]);
    joined->count = 0;
  }
}

bool joined_read(Joined *joined, int64_t first, int64_t rows, float *out, Error *error) {
  if (joined->count == 1) return store_read(&joined->array[0], first, rows, out, error);
  int64_t at = 0;
  for (int i = 0; i < joined->count; i++) {
    Array *array = &joined->array[i];
    float *buffer = malloc((size_t)(rows * array->columns + 1) * sizeof *buffer);
    bool done = buffer ? store_read(array, first, rows, buffer, error)
                       : error_set(error, FAIL_RUNNING, "out of memory");
    for (int64_t r = 0; done && r < rows; r++)
      memcpy(out + r * joined->columns + at, buffer + r * array->columns,
             (size_t)array->columns * sizeof *buffer);
    free(buffer);
    if (!done) return false;
    at += array->columns;
  }
  return true;
}

/* ---- parts ----------------------------------------------------------------------------------- */

static int ascending(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

static bool parts_grow(Reader *r, Error *error) {
  int64_t n = r->parts;
  if (n & (n + 1)) return true; /* doubled at 2^k - 1 */
  int64_t *more = realloc(r->part, (size_t)(2 * (n + 1) + 1) * sizeof *more);
  if (!more) return error_set(error, FAIL_RUNNING, "out of memory");
  r->part = more;
  return true;
}

static bool parts_add(Reader *r, int64_t number, Error *error) {
  if (!parts_grow(r, error)) return false;
  r->part[r->parts++] = number;
  return true;
}

bool parts_numbered(Reader *r, const char *group, const char *prefix, Error *error) {
  char name[STORE_NAME];
  size_t length = strlen(prefix);
  for (int64_t i = 0; r->store->kind->list(r->store, group, i, name); i++) {
    char *end = name;
    if (strncmp(name, prefix, length) || name[length] < '0' || name[length] > '9') continue;
    long long number = strtoll(name + length, &end, 10);
    if (*end || (number && name[length] == '0')) continue;
    if (!parts_add(r, number, error)) return false;
  }
  sort(r->part, (size_t)r->parts, sizeof *r->part, ascending);
  return r->parts > 0 || error_set(error, FAIL_INPUT, "%s: no group %s0", group, prefix);
}

float *array_all(const Reader *r, const char *name, int64_t *rows, Error *error) {
  Array array;
  if (!store_array(r->store, name, false, true, &array, error)) return NULL;
  *rows = array.rows;
  float *x = malloc((size_t)(array.rows + 1) * sizeof *x);
  if (!x) error_set(error, FAIL_RUNNING, "out of memory");
  if (x && !store_read(&array, 0, array.rows, x, error)) free(x), x = NULL;
  store_close(&array);
  return x;
}

static bool bounds_from(Reader *r, int role, const char *name, const float *x, int64_t n,
                        Error *error) {
  int64_t rows = r->all.column[CACHE_OBSERVATIONS].array[0].rows, at = 0;
  if (!parts_add(r, 0, error)) return false;
  for (int64_t i = 0; i < n; i++) {
    double v = (double)x[i];
    if (role == MAP_EPISODE) {
      at = i + 1;
      if (i + 1 < n && x[i] == x[i + 1]) continue;
    } else {
      double next = role == MAP_TRAJ_LENGTHS ? (double)at + v : v;
      if (v > 1 << 24)
        return error_set(error, FAIL_INPUT,
                         "%s: numbers above 2^24 are not exact; say it by the "
                         "rows of each episode (traj_lengths)",
                         name);
      if (!(v == rint(v) && next > (double)at && next <= (double)rows))
        return error_set(error, FAIL_INPUT, "%s: entry %lld is %g; expected %s, %lld rows in all",
                         name, (long long)i, v,
                         role == MAP_TRAJ_LENGTHS ? "the rows of an episode" : "ascending rows",
                         (long long)rows);
      at = (int64_t)next;
    }
    if (!parts_add(r, at, error)) return false;
  }
  if (at != rows)
    return error_set(error, FAIL_INPUT,
                     "%s: its episodes have %lld rows where observations has "
                     "%lld",
                     name, (long long)at, (long long)rows);
  r->parts--; /* the last bound begins none */
  return true;
}

bool parts_from(Reader *r, int role, const char *name, Error *error) {
  int64_t n = 0;
  float *x = array_all(r, name, &n, error);
  if (!x) return false;
  r->parts = 0;
  bool done = bounds_from(r, role, name, x, n, error);
  free(x);
  return done;
}

bool parts_from_column(Reader *r, const float *number, int64_t rows, Error *error) {
  r->parts = 0;
  return bounds_from(r, MAP_EPISODE, "episode", number, rows, error);
}
