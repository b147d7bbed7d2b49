/* format_ogbench.c -- OGBench's files, as they are served and as its loaders give them.
 *
 * Served: terminals is 1 in the last row of each trajectory, which holds the final state: 1001 rows
 * are 1000 steps.  Compact (`valids`): the same rows, valids 0 in the last.  Regular
 * (`next_observations`, `masks`): a row a step, terminals 1 in the last.  None of them is a
 * terminal in the sense of a value; that is masks 0, where a single task has been set. */
#include "datasets/formats/format.h"
#include <stdlib.h>
#include <string.h>

static bool there(Store *store, const char *name) {
  return store_member(store, name) == MEMBER_ARRAY;
}

static bool recognises(Store *store, const Choice *choice) {
  if (*choice->map[CACHE_TERMINALS] || *choice->map[CACHE_TIMEOUTS] || *choice->map[MAP_EPISODE] ||
      *choice->map[MAP_EPISODE_ENDS] || *choice->map[MAP_TRAJ_LENGTHS] ||
      !there(store, "terminals") || there(store, "timeouts") || !there(store, "observations"))
    return false;
  bool served = there(store, "qpos") && there(store, "qvel") && !there(store, "rewards");
  return served || there(store, "valids") || there(store, "masks");
}

/* masks are 1 where a value follows; terminals are 1 where none does */
static bool masks_open(Reader *r, Error *error) {
  Joined *masks = &r->all.column[CACHE_TERMINALS];
  masks->count = 0;
  if (!there(r->store, "masks")) return true;
  masks->count = masks->columns = 1;
  r->all.inverted = true;
  return store_array(r->store, "masks", false, true, &masks->array[0], error);
}

/* Trajectories from the flag in the last row of each. */
static bool parts_from_flags(Reader *r, Error *error) {
  bool compact = there(r->store, "valids");
  int64_t n = 0, at = 0;
  float *last = array_all(r, compact ? "valids" : "terminals", &n, error);
  if (!last) return false;
  if (n != r->all.rows) {
    free(last);
    return error_set(error, FAIL_INPUT, "%s: has %lld rows where observations has %lld",
                     compact ? "valids" : "terminals", (long long)n, (long long)r->all.rows);
  }
  /* from numbers of episodes to bounds, as any file of rows */
  float number = 0;
  for (int64_t i = 0; i < n; i++) {
    bool end = compact ? last[i] == 0 : last[i] != 0;
    last[i] = number;
    if (end) number = (float)(at = (at + 1) % (1 << 20));
  }
  bool done = parts_from_column(r, last, n, error);
  free(last);
  return done;
}

static bool open_rows(Reader *r, Error *error) {
  for (int c = 0; c < CACHE_TERMINALS; c++)
    if (!column_open(r, "", c, format_roles[c], c <= CACHE_ACTIONS, &r->all, error)) return false;
  r->all.borrowed = true;
  r->all.rows = r->all.column[CACHE_OBSERVATIONS].array[0].rows;
  r->states = !r->all.column[CACHE_NEXT_OBSERVATIONS].count || there(r->store, "valids");
  return masks_open(r, error) && parts_from_flags(r, error);
}

const Format format_ogbench = { "ogbench", "the last row of a trajectory is its final state",
                                recognises, open_rows, NULL };
