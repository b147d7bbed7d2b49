/* format_rows.c -- D4RL's layout: one row a step, all episodes one after the other.
 *
 * v0, v1, v2 and the maze, AntMaze, Adroit and kitchen files differ in what else they hold.  Where
 * episodes end is said by terminals and timeouts; files of others say it by the rows of each
 * episode (traj_lengths), the row behind each (episode_ends), or a number a row (episode). */
#include "datasets/formats/format.h"
#include <string.h>

static bool recognises(Store *store, const Choice *choice) {
  (void)store, (void)choice;
  return true;
}

/* Ends of episodes under other names are not guessed: `done` means this here and that there. */
static bool ends_check(const Reader *r, Error *error) {
  static const char *const other[][2] = {
    { "terminations", "terminals" },
    { "terminated", "terminals" },
    { "is_terminal", "terminals" },
    { "truncations", "timeouts" },
    { "truncated", "timeouts" },
    { "timeout", "timeouts" },
    { "dones", "terminals (no value after that row) or timeouts" },
    { "done", "terminals (no value after that row) or timeouts" },
    { "is_last", "timeouts" },
    { "ends", "timeouts" },
  };
  bool have[] = { r->all.column[CACHE_TERMINALS].count, r->all.column[CACHE_TIMEOUTS].count };
  for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
    bool missing = strstr(other[i][1], "terminals") ? !have[0] : !have[1];
    if (strstr(other[i][1], " or ")) missing = !have[0] && !have[1];
    if (missing && store_member(r->store, other[i][0]) != MEMBER_NONE)
      return error_set(error, FAIL_INPUT,
                       "has the array %s and no %s; where episodes end is read from terminals and "
                       "timeouts alone: give it that name, or say --map timeouts=%s",
                       other[i][0], other[i][1], other[i][0]);
  }
  return true;
}

static bool open_rows(Reader *r, Error *error) {
  for (int c = 0; c < CACHE_ARRAYS; c++)
    if (!column_open(r, "", c, format_roles[c], c <= CACHE_ACTIONS, &r->all, error)) return false;
  r->all.borrowed = true;
  r->all.rows = r->all.column[CACHE_OBSERVATIONS].array[0].rows;
  for (int role = MAP_EPISODE; role < MAP_ROLES; role++) {
    const char *chosen = r->choice->map[role], *name = *chosen ? chosen : format_roles[role];
    if (!*chosen && store_member(r->store, name) != MEMBER_ARRAY) continue;
    if (!*chosen && r->all.column[CACHE_TIMEOUTS].count) continue;
    return parts_from(r, role, name, error);
  }
  r->parts = 1;
  return ends_check(r, error);
}

const Format format_rows = { "rows", "D4RL's: one row a step, flags where episodes end", recognises,
                             open_rows, NULL };
