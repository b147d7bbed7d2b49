/* choice.c -- what the user says of a file, as one line of text. */
#include "core/names.h"
#include "datasets/formats/format.h"
#include <stdio.h>
#include <string.h>

const char *const format_roles[MAP_ROLES] = {
  [CACHE_OBSERVATIONS] = "observations",
  [CACHE_ACTIONS] = "actions",
  [CACHE_REWARDS] = "rewards",
  [CACHE_NEXT_OBSERVATIONS] = "next_observations",
  [CACHE_TERMINALS] = "terminals",
  [CACHE_TIMEOUTS] = "timeouts",
  [MAP_EPISODE] = "episode",
  [MAP_EPISODE_ENDS] = "episode_ends",
  [MAP_TRAJ_LENGTHS] = "traj_lengths",
};

/* the text up to `mark` or its end; what is behind, NULL at the end */
static const char *cut(const char *text, char mark, char *word, size_t size, Error *error) {
  const char *end = strchr(text, mark);
  size_t length = end ? (size_t)(end - text) : strlen(text);
  if (length >= size) {
    error_set(error, FAIL_USAGE, "\"%.60s..\": too long", text);
    length = 0;
  }
  memcpy(word, text, length), word[length] = '\0';
  return end ? end + 1 : NULL;
}

static bool map_parse(Choice *choice, const char *text, Error *error) {
  char entry[MAX_CHOICE], role[STORE_NAME];
  for (; text;) {
    text = cut(text, ',', entry, sizeof entry, error);
    if (error->kind) return false;
    const char *name = cut(entry, '=', role, sizeof role, error);
    if (!name || !*name)
      return error_set(error, FAIL_USAGE, "--map %s: expected ROLE=ARRAY, as timeouts=done", entry);
    int i = names_find(NAMES(format_roles, MAP_ROLES, .what = "role"), role, error);
    if (i < 0) return error_prefix(error, "--map %s", entry);
    snprintf(choice->map[i], MAX_CHOICE, "%s", name);
  }
  return true;
}

bool choice_parse(Choice *choice, const char *text, Error *error) {
  char entry[4 * MAX_CHOICE], key[16];
  *choice = (Choice){ 0 };
  *error = (Error){ 0 };
  while (text && *text) {
    text = cut(text, '&', entry, sizeof entry, error);
    const char *value = error->kind ? NULL : cut(entry, '=', key, sizeof key, error);
    if (error->kind) return false;
    if (!value || !*value)
      return error_set(error, FAIL_USAGE, "\"%s\": expected obs=, map= or mask= with a value",
                       entry);
    if (!strcmp(key, "obs")) {
      if (snprintf(choice->map[CACHE_OBSERVATIONS], MAX_CHOICE, "%s", value) >= MAX_CHOICE)
        return error_set(error, FAIL_USAGE, "--obs: more than %d letters", MAX_CHOICE);
      for (char *c = choice->map[CACHE_OBSERVATIONS]; *c; c++)
        if (*c == ',') *c = '+';
    } else if (!strcmp(key, "mask")) {
      snprintf(choice->mask, sizeof choice->mask, "%s", value);
    } else if (strcmp(key, "map")) {
      return error_set(error, FAIL_USAGE, "\"%s\": expected obs=, map= or mask=", entry);
    } else if (!map_parse(choice, value, error)) {
      return false;
    }
  }
  return true;
}
