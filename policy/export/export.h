/* export.h -- a policy printed as C: its tape as a list of calls, its weights as tables.
 *
 *   NAME.h        sizes, the state of one robot, NAME_reset and NAME_act
 *   NAME.c        the functions that the policy needs (text/walk.c), tables, the calls
 *   NAME_check.c  a program that replays recorded calls and compares the actions
 *
 * What it prints is C99 and C++11, needs no library, allocates nothing and has no other symbol than
 * NAME_*.  Random numbers are those of an Actor with the same seed whose row is 0 and whose step
 * counts the calls; actions have its bits where the compiler has a fused multiply-add. */
#ifndef POLICY_EXPORT_H
#define POLICY_EXPORT_H
#include "policy/actor.h"

enum { EXPORT_CALLS = 100 /* that are recorded */, EXPORT_MAX_NAME = 40 };

typedef struct {
  const char *folder;        /* exists */
  const char *name;          /* lower-case letters, digits and _: what every symbol begins with */
  const char *origin, *acts; /* for the comment at the top: of what run, and how it acts */
} ExportSpec;

/* Write the three files, each whole or not at all.  False and an error if the name is none, the
 * policy cannot act as its record says, has numbers that are not finite or an op that cannot be
 * printed, or a file cannot be written. */
bool export_c(const Policy *policy, const ExportSpec *spec, Error *error);

#endif
