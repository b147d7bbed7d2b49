/* ranks.h -- processes that train one network together, on one machine or on many (MPI).
 *
 * A rank owns consecutive groups of rows (graph.h) and holds all Params.  What ranks send each
 * other are blocks of sums, which are added in the tree that threads use too, so the number of
 * ranks changes no bit.  Ranks NULL: this process is alone, and nothing costs anything.
 *
 * A rank that is gone never answers.  Whoever waits for it learns that from the transport, or from
 * the signal that the launcher sends to those that are left.  Then `lost` is set: nothing more is
 * sent, received or agreed upon, and what was to be received is garbage. */
#ifndef CORE_RANKS_H
#define CORE_RANKS_H
#include "core/error.h"
#include "core/real.h"
#include <stddef.h>
#include <stdint.h>

typedef struct {
  int index, count;
  int neighbours; /* ranks that may use CPUs of this one's, itself included */
  bool lost;
  uint64_t bytes; /* sent by this rank so far */
  struct Transport *transport;
} Ranks;

/* Join the processes that mpirun started; *ranks is NULL if it started none beside this one.
 * `stopped`: has a signal come that ends the run?  FAIL_USAGE in a program built without MPI. */
bool ranks_open(Ranks **ranks, bool (*stopped)(void), Error *error);

/* Wait until all ranks close, unless one is lost.  NULL is fine. */
void ranks_close(Ranks *ranks);

int ranks_count(const Ranks *ranks); /* 1 if NULL */
int ranks_index(const Ranks *ranks); /* 0 if NULL */

/* ---- who owns what --------------------------------------------------------------------------- */

/* Rank r owns groups [ranks_first(.., r), ranks_first(.., r + 1)) of a batch; none if there are
 * fewer groups than ranks. */
int ranks_first(const Ranks *ranks, int groups, int rank);
int ranks_owner(const Ranks *ranks, int groups, int group);

/* The rows [*from, *to) that this rank owns. */
void ranks_rows(const Ranks *ranks, int rows, int group, int *from, int *to);

/* ---- all together ---------------------------------------------------------------------------- */

/* True if all are `fine`; *signal (nullable) becomes the greatest of all.  If not, the lowest rank
 * of those with the gravest failure keeps its message; the others get that kind and no text. */
bool ranks_meet(Ranks *ranks, bool fine, int *signal, Error *error);

/* The lowest rank whose number is not that of rank 0; -1: all are equal. */
int ranks_differ(Ranks *ranks, uint64_t number);

/* ---- the transport: ranks_mpi.c, or absent --------------------------------------------------- */

#define RANKS_MPI __attribute__((weak)) /* called with ranks that exist: not NULL */

RANKS_MPI bool ranks_mpi_open(Ranks **ranks, bool (*stopped)(void), Error *error);
RANKS_MPI void ranks_mpi_close(Ranks *ranks);

/* Begin; memory must stand until ranks_await has returned.  Between two ranks order is kept. */
RANKS_MPI void ranks_send(Ranks *ranks, int to, const real *from, size_t count);
RANKS_MPI void ranks_receive(Ranks *ranks, int from, real *to, size_t count);

/* Wait for all that was begun.  Sleeps rather than spins when it takes long. */
RANKS_MPI void ranks_await(Ranks *ranks);

/* The greatest value of all ranks, and in *who the lowest rank that has it. */
RANKS_MPI int ranks_greatest(Ranks *ranks, int value, int *who);

/* Rank 0's number, for all. */
RANKS_MPI uint64_t ranks_first_number(Ranks *ranks, uint64_t number);

#endif
