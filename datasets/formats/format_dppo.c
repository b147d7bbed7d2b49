/* format_dppo.c -- files of DPPO, DSRL and ReinFlow: rows with the length of each trajectory.
 *
 * states [N, S], actions [N, A], rewards, terminals [N] where there are any, traj_lengths [E].  The
 * last step of a trajectory has no successor unless it is terminal. */
#include "datasets/formats/format.h"

static bool recognises(Store *store, const Choice *choice) {
  (void)choice;
  return store_member(store, "traj_lengths") == MEMBER_ARRAY &&
         store_member(store, "states") == MEMBER_ARRAY;
}

static bool open_rows(Reader *r, Error *error) {
  static const char *const own[CACHE_ARRAYS] = {
    [CACHE_OBSERVATIONS] = "states",
    [CACHE_ACTIONS] = "actions",
    [CACHE_REWARDS] = "rewards",
    [CACHE_TERMINALS] = "terminals",
  };
  for (int c = 0; c < CACHE_ARRAYS; c++)
    if (!column_open(r, "", c, own[c], c <= CACHE_ACTIONS, &r->all, error)) return false;
  r->all.borrowed = true;
  r->all.rows = r->all.column[CACHE_OBSERVATIONS].array[0].rows;
  const char *chosen = r->choice->map[MAP_TRAJ_LENGTHS];
  return parts_from(r, MAP_TRAJ_LENGTHS, *chosen ? chosen : "traj_lengths", error);
}

const Format format_dppo = { "dppo", "states with traj_lengths", recognises, open_rows, NULL };
