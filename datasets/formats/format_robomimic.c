/* format_robomimic.c -- robomimic's demonstrations: data/demo_<i>, each with T steps.
 *
 * Its observations are many named arrays of obs/, of which the user chooses some (--obs); without a
 * choice those of low dimension that robomimic's own configurations use.  The state behind the last
 * step is the last row of next_obs/; files without have none, and then the last step has no
 * successor unless it is done.  dones are terminals.  mask/NAME lists the demonstrations of a set
 * (--mask).  IsaacLab, LIBERO, MimicGen and robocasa write the same skeleton. */
#include "core/sort.h"
#include "datasets/formats/format.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool recognises(Store *store, const Choice *choice) {
  char name[STORE_NAME];
  (void)choice;
  if (store_member(store, "data") != MEMBER_GROUP) return false;
  return store->kind->list(store, "data", 0, name) && !strncmp(name, "demo_", 5);
}

static int by_number(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

/* Keep the demonstrations that mask/NAME lists. */
static bool mask_apply(Reader *r, Error *error) {
  char path[STORE_NAME + 8], word[STORE_NAME], near[2 * STORE_NAME];
  int64_t kept = 0;
  if (!*r->choice->mask) return true;
  snprintf(path, sizeof path, "mask/%s", r->choice->mask);
  if (store_member(r->store, path) != MEMBER_ARRAY)
    return error_set(error, FAIL_USAGE, "--mask %s: the file has no such list%s", r->choice->mask,
                     store_nearest(r->store, "mask", r->choice->mask, near));
  for (int64_t i = 0; r->store->kind->word(r->store, path, i, word); i++) {
    int64_t number = strncmp(word, "demo_", 5) ? -1 : strtoll(word + 5, NULL, 10);
    int64_t *at =
        bsearch(&number, r->part + kept, (size_t)(r->parts - kept), sizeof number, by_number);
    if (!at)
      return error_set(error, FAIL_INPUT, "%s: names %s, which data/ does not hold, or twice", path,
                       word);
    /* the chosen ones to the front; those behind stay in order */
    memmove(r->part + kept + 1, r->part + kept, (size_t)(at - r->part - kept) * sizeof number);
    r->part[kept++] = number;
  }
  r->parts = kept;
  sort(r->part, (size_t)kept, sizeof *r->part, by_number);
  return kept > 0 || error_set(error, FAIL_INPUT, "%s: lists no demonstration", path);
}

static bool open_demos(Reader *r, Error *error) {
  return parts_numbered(r, "data", "demo_", error) && mask_apply(r, error);
}

/* robomimic's own low-dimensional keys, those that the file has */
static bool usual_keys(const Reader *r, const char *group, char list[MAX_CHOICE], Error *error) {
  static const char *const usual[] = { "robot0_eef_pos", "robot0_eef_quat", "robot0_gripper_qpos",
                                       "robot1_eef_pos", "robot1_eef_quat", "robot1_gripper_qpos",
                                       "object",         "policy" };
  char path[STORE_NAME], name[STORE_NAME];
  size_t used = 0;
  *list = '\0';
  for (size_t i = 0; i < sizeof usual / sizeof *usual; i++) {
    if (snprintf(path, sizeof path, "%.120s/%s", group, usual[i]) < 0) continue;
    if (store_member(r->store, path) != MEMBER_ARRAY) continue;
    used += (size_t)snprintf(list + used, MAX_CHOICE - used, "%s%s", used ? "+" : "", usual[i]);
  }
  if (used) return true;
  for (int64_t i = 0; used < 600 && r->store->kind->list(r->store, group, i, name); i++)
    used += (size_t)snprintf(list + used, MAX_CHOICE - used, "%s%.100s", used ? ", " : "", name);
  return error_set(error, FAIL_INPUT,
                   used ? "%s: which of %s? choose with --obs A,B"
                        : "%s: no observations%s; make them of its states with robomimic's "
                          "dataset_states_to_obs.py",
                   group, list);
}

/* --obs may name obs/key, key, or an array beside obs/ */
static bool observations_open(const Reader *r, const char *demo, Part *part, Error *error) {
  char obs[STORE_NAME], list[MAX_CHOICE];
  const char *chosen = r->choice->map[CACHE_OBSERVATIONS], *group = obs;
  snprintf(obs, sizeof obs, "%.120s/obs", demo);
  if (!*chosen && !usual_keys(r, obs, list, error)) return false;
  if (strchr(chosen, '/')) group = demo;
  return column_open(r, group, CACHE_OBSERVATIONS, *chosen ? NULL : list, true, part, error);
}

/* The same keys of next_obs/, if they are all there. */
static bool next_open(const Reader *r, const char *demo, Part *part, Error *error) {
  Joined *next = &part->column[CACHE_NEXT_OBSERVATIONS];
  const Joined *obs = &part->column[CACHE_OBSERVATIONS];
  char path[STORE_NAME];
  size_t head = strlen(demo) + strlen("/obs/");
  next->count = 0, next->columns = 0;
  for (int i = 0; i < obs->count; i++) {
    const char *key = strstr(obs->array[i].name, "/obs/") ? obs->array[i].name + head : "";
    if (snprintf(path, sizeof path, "%.100s/next_obs/%s", demo, key) >= (int)sizeof path) key = "";
    if (!*key || store_member(r->store, path) != MEMBER_ARRAY) {
      while (next->count > 0) store_close(&next->array[--next->count]);
      return true;
    }
    Array *array = &next->array[next->count];
    if (!store_array(r->store, path, true, false, array, error)) return false;
    next->count++, next->columns += array->columns;
  }
  return true;
}

static bool demo(const Reader *r, int64_t i, Part *part, Error *error) {
  static const char *const own[CACHE_ARRAYS] = {
    [CACHE_ACTIONS] = "actions",
    [CACHE_REWARDS] = "rewards",
    [CACHE_TERMINALS] = "dones",
  };
  char group[STORE_NAME];
  snprintf(group, sizeof group, "data/demo_%lld", (long long)r->part[i]);
  if (!observations_open(r, group, part, error)) return false;
  for (int c = CACHE_ACTIONS; c < CACHE_ARRAYS; c++)
    if (c != CACHE_NEXT_OBSERVATIONS &&
        !column_open(r, group, c, own[c], c == CACHE_ACTIONS, part, error))
      return false;
  if (!next_open(r, group, part, error)) return false;
  part->rows = part->column[CACHE_ACTIONS].array[0].rows;
  part->whole = true;
  int64_t seen = part->column[CACHE_OBSERVATIONS].array[0].rows;
  part->behind = seen == part->rows + 1                        ? BEHIND_OBSERVATION
                 : part->column[CACHE_NEXT_OBSERVATIONS].count ? BEHIND_NEXT
                                                               : BEHIND_NOTHING;
  if (seen == part->rows || seen == part->rows + 1) return true;
  return error_set(error, FAIL_INPUT,
                   "%s: has %lld observations and %lld actions; expected T of "
                   "both",
                   group, (long long)seen, (long long)part->rows);
}

const Format format_robomimic = { "robomimic", "data/demo_N with named observations", recognises,
                                  open_demos, demo };
