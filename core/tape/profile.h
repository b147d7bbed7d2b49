/* profile.h -- where the time of a tape goes: counters by name, filled by graph_run and
 * objective_step if a GraphSpec has them.  Off (NULL) they cost one comparison a node. */
#ifndef CORE_PROFILE_H
#define CORE_PROFILE_H
#include "core/arena.h"
#include <stdint.h>

enum { PROFILE_NAMES = 128 };

typedef struct {
  const char *name;
  int64_t calls, ns; /* ns: of threads, so two threads collect two seconds a second */
  double flops;      /* 0 for what is not a product */
} ProfileEntry;

typedef struct Profile Profile;

Profile *profile_new(Arena *arena, int workers);
void profile_clear(Profile *profile);

int64_t profile_clock(const Profile *profile); /* ns; profile NULL: 0 */

/* One more call of `name`, from `began` (of profile_clock) to now, by this worker.  Names are
 * texts that outlive the profile. */
void profile_add(Profile *profile, int worker, const char *name, int64_t began, double flops);

/* Sums over the workers, longest first; returns how many. */
int profile_entries(const Profile *profile, ProfileEntry entry[PROFILE_NAMES]);

#endif
