/* reward_child.h -- a child process that is fed and listened to at once, with a time limit, so that
 * code of a user's cannot stop or harm the run. */
#ifndef RL_REWARD_CHILD_H
#define RL_REWARD_CHILD_H
#include "core/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

typedef struct {
  pid_t pid;         /* and the number of its process group; 0: none runs */
  int input, output; /* our ends of its standard input and output; -1: closed */
} RewardChild;

typedef enum { CHILD_DONE, CHILD_CLOSED, CHILD_TOO_MUCH, CHILD_LATE } ChildEnd;

/* Start argv[0] with this environment (NULL-terminated lists).  Its error output is ours; if we
 * die, it dies.  FAIL_RUNNING if the system gives no process. */
bool reward_child_start(RewardChild *child, char *const argv[], char *const environment[],
                        Error *error);

/* In a child that is this program itself and leads its group: return in a process of its own, the
 * worker, and ever after guard it.  If the run dies, even by SIGKILL, the whole group is killed
 * (the system tells only children of the run, not theirs); if the worker ends, the guard ends like
 * it. */
void reward_child_guard(void);

/* The path of this program, to start as a child. */
bool reward_child_self(char path[4096]);

/* Write all of `in`, and read until `size` bytes are there (CHILD_DONE) or the child closes its
 * output (CHILD_CLOSED).  A child that does not read its input is no failure.  `last`: nothing is
 * written after this, so its input is closed, and bytes beyond `size` are CHILD_TOO_MUCH. */
ChildEnd reward_child_exchange(RewardChild *child, const void *in, size_t in_size, char *out,
                               size_t size, size_t *used, bool last, double seconds);

/* Wait for its end, at most so long, then kill it with all that it started; the status of
 * waitpid. */
int reward_child_stop(RewardChild *child, double seconds);

/* "was ended by signal 11 (Segmentation fault)", or "ended with status 3". */
void reward_child_fate(int status, char text[128]);

#endif
