/* format_minari.c -- Minari's main_data.hdf5: a group for each episode.
 *
 * episode_<i>/observations has T + 1 rows for T steps; the last is the final state.  A dict space
 * is a group, a tuple a group of _index_<i>: their arrays are joined in the order of their names,
 * and so on inside.  terminations are terminals.  Some early files have T rows: the last step then
 * has no successor. */
#include "datasets/formats/format.h"
#include <stdio.h>

static bool recognises(Store *store, const Choice *choice) {
  char name[STORE_NAME];
  (void)choice;
  for (int64_t i = 0; i < 4 && store->kind->list(store, "", i, name); i++) {
    int number, end = 0;
    if (sscanf(name, "episode_%d%n", &number, &end) == 1 && !name[end] &&
        store_member(store, name) == MEMBER_GROUP)
      return true;
  }
  return false;
}

static bool open_episodes(Reader *r, Error *error) {
  return parts_numbered(r, "", "episode_", error);
}

static bool episode(const Reader *r, int64_t i, Part *part, Error *error) {
  static const char *const own[CACHE_ARRAYS] = {
    [CACHE_OBSERVATIONS] = "observations",
    [CACHE_ACTIONS] = "actions",
    [CACHE_REWARDS] = "rewards",
    [CACHE_TERMINALS] = "terminations",
  };
  char group[STORE_NAME];
  snprintf(group, sizeof group, "episode_%lld", (long long)r->part[i]);
  for (int c = 0; c < CACHE_ARRAYS; c++)
    if (!column_open(r, group, c, own[c], c <= CACHE_ACTIONS, part, error)) return false;
  part->rows = part->column[CACHE_ACTIONS].array[0].rows;
  part->whole = true;
  int64_t seen = part->column[CACHE_OBSERVATIONS].array[0].rows;
  part->behind = seen == part->rows + 1 ? BEHIND_OBSERVATION : BEHIND_NOTHING;
  if (seen == part->rows || part->behind) return true;
  return error_set(error, FAIL_INPUT,
                   "%s: has %lld observations and %lld actions; expected T + 1 "
                   "and T",
                   group, (long long)seen, (long long)part->rows);
}

const Format format_minari = { "minari", "a group an episode, T + 1 observations", recognises,
                               open_episodes, episode };
