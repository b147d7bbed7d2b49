/* names.c -- comparing names, exactly and by edit distance. */
#include "core/names.h"
#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum { WORD_SIZE = 64, TEXT_SIZE = 512 };

static const char *name_at(const Names *names, size_t i) {
  const void *entry = (const char *)names->table + i * names->stride;
  const char *name;
  if (names->pointers) memcpy(&entry, entry, sizeof entry);
  memcpy(&name, entry, sizeof name);
  return name;
}

int names_index(const Names *names, const char *name) {
  for (size_t i = 0; i < names->count; i++)
    if (!strcmp(name_at(names, i), name)) return (int)i;
  return -1;
}

/* Letters to insert, delete or replace between two words; case and - for _ cost nothing. */
static size_t edit_distance(const char *a, const char *b) {
  size_t row[WORD_SIZE + 1], columns = strlen(b);
  for (size_t j = 0; j <= columns; j++) row[j] = j;
  for (size_t i = 0; a[i]; i++) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < columns; j++) {
      int x = a[i] == '-' ? '_' : tolower((unsigned char)a[i]);
      int y = b[j] == '-' ? '_' : tolower((unsigned char)b[j]);
      size_t replace = diagonal + (x != y), step = (row[j] < row[j + 1] ? row[j] : row[j + 1]) + 1;
      diagonal = row[j + 1];
      row[j + 1] = replace < step ? replace : step;
    }
  }
  return row[columns];
}

const char *names_nearest(const Names *names, const char *word) {
  size_t length = strlen(word), best = (length + 2) / 3 + 1;
  const char *nearest = NULL;
  for (size_t i = 0; i < names->count && length && length <= WORD_SIZE; i++) {
    const char *name = name_at(names, i);
    if (strlen(name) > WORD_SIZE) continue;
    size_t distance = edit_distance(word, name);
    if (distance < best && distance < length) nearest = name, best = distance;
  }
  return nearest;
}

/* "a, b or c" */
static void write_list(const Names *names, const char *mark, char text[TEXT_SIZE]) {
  size_t used = 0;
  *text = '\0';
  for (size_t i = 0; i < names->count && used < TEXT_SIZE; i++) {
    const char *between = !i ? "" : i + 1 < names->count ? ", " : " or ";
    used +=
        (size_t)snprintf(text + used, TEXT_SIZE - used, "%s%s%s", between, mark, name_at(names, i));
  }
}

int names_find(const Names *names, const char *name, Error *error) {
  int i = names_index(names, name);
  if (i >= 0) return i;
  const char *nearest = names_nearest(names, name), *mark = names->mark ? names->mark : "";
  char list[TEXT_SIZE];
  write_list(names, mark, list);
  if (nearest)
    error_set(error, FAIL_USAGE, "unknown %s \"%s%.60s\"; did you mean %s%s?", names->what, mark,
              name, mark, nearest);
  else
    error_set(error, FAIL_USAGE, "unknown %s \"%s%.60s\"; %s %s", names->what, mark, name,
              names->see ? "see" : "expected", names->see ? names->see : list);
  return -1;
}

bool names_has(const char *list, char mark, const char *word) {
  size_t length = strlen(word);
  for (const char *at = list; length && at && (at = strstr(at, word)); at += length)
    if ((at == list || at[-1] == mark) && (!at[length] || at[length] == mark)) return true;
  return false;
}
