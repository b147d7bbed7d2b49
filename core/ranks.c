/* ranks.c -- who owns what, and what ranks agree on; ranks_mpi.c moves the bytes. */
#include "core/ranks.h"
#include <stdlib.h>

bool ranks_open(Ranks **ranks, bool (*stopped)(void), Error *error) {
  *ranks = NULL;
  if (ranks_mpi_open) return ranks_mpi_open(ranks, stopped, error);
  const char *count = getenv("OMPI_COMM_WORLD_SIZE");
  if (!count || atoi(count) < 2) return true;
  return error_set(error, FAIL_USAGE,
                   "mpirun started %s processes of a program that was built without MPI; use the "
                   "one that `make MPI=1` builds",
                   count);
}

void ranks_close(Ranks *ranks) {
  if (ranks) ranks_mpi_close(ranks);
}

int ranks_count(const Ranks *ranks) { return ranks ? ranks->count : 1; }
int ranks_index(const Ranks *ranks) { return ranks ? ranks->index : 0; }

/* ---- who owns what --------------------------------------------------------------------------- */

int ranks_first(const Ranks *ranks, int groups, int rank) {
  return (int)((int64_t)groups * rank / ranks_count(ranks));
}

int ranks_owner(const Ranks *ranks, int groups, int group) {
  return (int)((((int64_t)group + 1) * ranks_count(ranks) - 1) / groups);
}

void ranks_rows(const Ranks *ranks, int rows, int group, int *from, int *to) {
  int groups = (rows + group - 1) / group, me = ranks_index(ranks);
  *from = ranks_first(ranks, groups, me) * group;
  *to = ranks_first(ranks, groups, me + 1) * group;
  if (*to > rows) *to = rows;
}

/* ---- all together ---------------------------------------------------------------------------- */

enum { FAILED = 1024 }; /* any failure is more than any signal */

bool ranks_meet(Ranks *ranks, bool fine, int *signal, Error *error) {
  if (!ranks) return fine;
  int mine = !fine ? FAILED + (int)error->kind : signal ? *signal : 0, who;
  int worst = ranks_greatest(ranks, mine, &who);
  if (ranks->lost)
    return error_set(error, FAIL_RUNNING, "rank %d lost contact with another rank", ranks->index);
  if (worst >= FAILED && who == ranks->index)
    return who ? error_prefix(error, "rank %d", who) : false;
  if (worst >= FAILED) return error_set(error, (Failure)(worst - FAILED), "%s", "");
  if (signal) *signal = worst;
  return true;
}

int ranks_differ(Ranks *ranks, uint64_t number) {
  if (!ranks) return -1;
  int who, some = ranks_greatest(ranks, ranks_first_number(ranks, number) != number, &who);
  return some && !ranks->lost ? who : -1;
}
