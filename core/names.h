/* names.h -- looking a name up in a list; one that is not there is answered with the nearest.
 *
 *   static const Blob sets[] = { { "moons", .. }, { "rings", .. } };
 *   int i = names_find(NAMES(sets, 2, .what = "toy set"), name, error);
 *   return i < 0 ? NULL : &sets[i];
 *
 * An entry is a struct whose first member is its name, a name alone, or a pointer to such a struct.
 * Names are compared letter by letter; only a suggestion is lenient. */
#ifndef CORE_NAMES_H
#define CORE_NAMES_H
#include "core/error.h"
#include <stdbool.h>
#include <stddef.h>

typedef struct {
  const void *table; /* [count], entries `stride` bytes apart */
  size_t count, stride;
  bool pointers;    /* entries point to structs */
  const char *what; /* of what it is a list: "sampler" */
  const char *see;  /* who shows the list: "`diffrl list samplers`"; NULL: an error shows it */
  const char *mark; /* that people write before a name: "--"; NULL: none */
} Names;

#define NAMES(list, length, ...)                                                                   \
  (&(Names){ .table = (list), .count = (length), .stride = sizeof *(list), __VA_ARGS__ })

/* The place of `name`; -1 if it is not there. */
int names_index(const Names *names, const char *name);

/* The same, but -1 comes with FAIL_USAGE: unknown sampler "dimm"; did you mean ddim? */
int names_find(const Names *names, const char *name, Error *error);

/* The entry nearest to `word` by edit distance, itself if it is there; NULL if none is near. */
const char *names_nearest(const Names *names, const char *word);

/* Is `word` one of the words of `list`, which are parted by `mark`?  list may be NULL; an empty
 * word is none. */
bool names_has(const char *list, char mark, const char *word);

#endif
