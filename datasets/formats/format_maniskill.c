/* format_maniskill.c -- trajectories of ManiSkill: a group for each.
 *
 * traj_<i>/obs has T + 1 rows for T actions, or is a group of such arrays, joined in the order of
 * their names; terminated are terminals.  Files without observations have env_states alone and are
 * replayed with ManiSkill's tool first. */
#include "datasets/formats/format.h"
#include <stdio.h>

static bool recognises(Store *store, const Choice *choice) {
  (void)choice;
  return store_member(store, "traj_0") == MEMBER_GROUP;
}

static bool open_episodes(Reader *r, Error *error) { return parts_numbered(r, "", "traj_", error); }

static bool trajectory(const Reader *r, int64_t i, Part *part, Error *error) {
  static const char *const own[CACHE_ARRAYS] = {
    [CACHE_OBSERVATIONS] = "obs",
    [CACHE_ACTIONS] = "actions",
    [CACHE_REWARDS] = "rewards",
    [CACHE_TERMINALS] = "terminated",
  };
  char group[STORE_NAME], path[STORE_NAME + 8];
  snprintf(group, sizeof group, "traj_%lld", (long long)r->part[i]);
  snprintf(path, sizeof path, "%s/obs", group);
  if (!*r->choice->map[CACHE_OBSERVATIONS] && store_member(r->store, path) == MEMBER_NONE)
    return error_set(error, FAIL_INPUT,
                     "%s: no observations; make them of its states with `python "
                     "-m mani_skill.trajectory.replay_trajectory -o state`",
                     path);
  for (int c = 0; c < CACHE_ARRAYS; c++)
    if (!column_open(r, group, c, own[c], c <= CACHE_ACTIONS, part, error)) return false;
  part->rows = part->column[CACHE_ACTIONS].array[0].rows;
  part->whole = true, part->behind = BEHIND_OBSERVATION;
  int64_t seen = part->column[CACHE_OBSERVATIONS].array[0].rows;
  if (seen == part->rows + 1) return true;
  return error_set(error, FAIL_INPUT,
                   "%s: has %lld observations and %lld actions; expected T + 1 "
                   "and T",
                   group, (long long)seen, (long long)part->rows);
}

const Format format_maniskill = { "maniskill", "a group a trajectory, T + 1 observations",
                                  recognises, open_episodes, trajectory };
