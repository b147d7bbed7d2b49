/* ranks_mpi.c -- ranks over MPI.  The only door to mpi.h, in programs built with MPI=1.
 *
 * Only the main thread calls MPI.  Nothing here waits inside MPI, which spins: requests are begun,
 * then tested until they are done, and a long wait sleeps between tests.  So ranks that wait while
 * rank 0 evaluates leave it the CPUs, and a wait can end when a rank is gone. */
#include "core/check.h"
#include "core/clock.h"
#include "core/ranks.h"
#include <limits.h>
#include <mpi.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>

/* a message for each complete subtree of a rank's groups: twice the bits of their number at most */
enum { MESSAGES = 64 };

/* A wait up to YIELD gives way to others; a longer one sleeps, for a small share of it at a time.
 * After a signal an answer comes within a step, or never: mpirun kills 1 s after its signal.
 * Rank 0 speaks before that, and the others leave it the time to write. */
#define YIELD             5e-4
#define NAP_SHARE         0.05
#define NAP_MOST          2e-3
#define PATIENCE_OF_FIRST 0.5
#define PATIENCE          60.0

typedef struct Transport {
  bool (*stopped)(void);
  MPI_Request *request; /* [room] begun and not awaited */
  int requests, room;
} Transport;

/* ---- waiting --------------------------------------------------------------------------------- */

static MPI_Request *new_request(Ranks *ranks) {
  Transport *t = ranks->transport;
  CHECK(t->requests < t->room, "ranks: more than %d messages at once", t->room);
  return &t->request[t->requests++];
}

/* every call's result comes by: a failure means that a rank is gone */
static void note(Ranks *ranks, int result) {
  if (result != MPI_SUCCESS) ranks->lost = true;
}

static void nap(double waited) {
  double s = NAP_SHARE * waited;
  if (s > NAP_MOST) s = NAP_MOST;
  nanosleep(&(struct timespec){ .tv_nsec = (long)(1e9 * s) }, NULL);
}

void ranks_await(Ranks *ranks) {
  Transport *t = ranks->transport;
  double began = 0, patience = ranks->index ? PATIENCE : PATIENCE_OF_FIRST, give_up = 0;
  for (int done = 0; !ranks->lost;) {
    note(ranks, MPI_Testall(t->requests, t->request, &done, MPI_STATUSES_IGNORE));
    if (done) break;
    double time = clock_now();
    if (!began) began = time;
    if (!give_up && t->stopped()) give_up = time + patience;
    if (give_up && time > give_up) ranks->lost = true;
    if (time < began + YIELD)
      sched_yield();
    else
      nap(time - began);
  }
  t->requests = 0;
}

/* ---- messages -------------------------------------------------------------------------------- */

static const MPI_Datatype number = sizeof(real) == sizeof(float) ? MPI_FLOAT : MPI_DOUBLE;

void ranks_send(Ranks *ranks, int to, const real *from, size_t count) {
  CHECK(count <= INT_MAX, "ranks: %zu numbers in one message", count);
  if (ranks->lost) return;
  note(ranks, MPI_Isend(from, (int)count, number, to, 0, MPI_COMM_WORLD, new_request(ranks)));
  ranks->bytes += count * sizeof(real);
}

void ranks_receive(Ranks *ranks, int from, real *to, size_t count) {
  CHECK(count <= INT_MAX, "ranks: %zu numbers in one message", count);
  if (ranks->lost) return;
  note(ranks, MPI_Irecv(to, (int)count, number, from, 0, MPI_COMM_WORLD, new_request(ranks)));
}

int ranks_greatest(Ranks *ranks, int value, int *who) {
  int mine[2] = { value, ranks->index }, all[2] = { value, ranks->index };
  if (!ranks->lost)
    note(ranks,
         MPI_Iallreduce(mine, all, 1, MPI_2INT, MPI_MAXLOC, MPI_COMM_WORLD, new_request(ranks)));
  ranks_await(ranks);
  *who = all[1];
  return all[0];
}

uint64_t ranks_first_number(Ranks *ranks, uint64_t number_of_first) {
  if (!ranks->lost)
    note(ranks,
         MPI_Ibcast(&number_of_first, 1, MPI_UINT64_T, 0, MPI_COMM_WORLD, new_request(ranks)));
  ranks_await(ranks);
  return number_of_first;
}

/* ---- opening --------------------------------------------------------------------------------- */

/* Launchers bind ranks to CPUs of their own, or they do not: count those whose CPUs meet ours. */
static int count_neighbours(void) {
  MPI_Comm machine;
  int ranks = 1, sharing = 0;
  cpu_set_t mine, both;
  if (sched_getaffinity(0, sizeof mine, &mine)) return 1;
  MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &machine);
  MPI_Comm_size(machine, &ranks);
  cpu_set_t *all = calloc((size_t)ranks, sizeof *all);
  NEED_MEMORY(all);
  MPI_Allgather(&mine, sizeof mine, MPI_BYTE, all, sizeof mine, MPI_BYTE, machine);
  for (int i = 0; i < ranks; i++) {
    CPU_AND(&both, &mine, &all[i]);
    sharing += CPU_COUNT(&both) > 0;
  }
  MPI_Comm_free(&machine);
  free(all);
  return sharing;
}

/* The start of a process that no launcher started would cost a third of a second. */
static bool launched(void) {
  return getenv("OMPI_COMM_WORLD_SIZE") || getenv("PMIX_RANK") || getenv("PMI_RANK");
}

bool ranks_mpi_open(Ranks **ranks, bool (*stopped)(void), Error *error) {
  int level, count, index;
  if (!launched()) return true;
  if (MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &level) != MPI_SUCCESS)
    return error_set(error, FAIL_RUNNING, "MPI cannot be started; its own message says why");
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  MPI_Comm_size(MPI_COMM_WORLD, &count);
  MPI_Comm_rank(MPI_COMM_WORLD, &index);
  if (count == 1) return MPI_Finalize(), true;
  Ranks *r = calloc(1, sizeof *r);
  Transport *t = calloc(1, sizeof *t);
  NEED_MEMORY(r && t);
  *t = (Transport){ .stopped = stopped, .room = MESSAGES * count };
  t->request = calloc((size_t)t->room, sizeof *t->request);
  NEED_MEMORY(t->request);
  *r = (Ranks){ .index = index, .count = count, .neighbours = count_neighbours(), .transport = t };
  *ranks = r;
  return true;
}

/* All meet before any leaves, since a launcher ends those that are left when one has failed. */
void ranks_mpi_close(Ranks *ranks) {
  int who;
  ranks_greatest(ranks, 0, &who);
  if (!ranks->lost) MPI_Finalize();
  free(ranks->transport->request);
  free(ranks->transport);
  free(ranks);
}
